"""The script that runs Python tests on a GPU machine (`tests/gpu-runner/python/run.py`), with a small wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
SCRIPT = PACKAGE.parents[1] / "tests" / "gpu-runner" / "python" / "run.py"

PLAIN = """
import unittest
def test_good():
    import packed
    assert packed.VALUE == 7
def test_no_gpu():
    raise unittest.SkipTest("no GPU:\\n there is no driver; install it")
def not_a_test():
    raise AssertionError
"""
BAD = """
def test_bad():
    print("what it printed")
    assert 1 == 2, "what was wrong"
"""
WITH_PYTEST = """
import pytest
@pytest.mark.parametrize("number", [1, 2])
def test_each(number):
    pass
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shutil.copy(SCRIPT, tmp_path)
    shutil.copy(PACKAGE / "pyproject.toml", tmp_path)
    here = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    with zipfile.ZipFile(tmp_path / f"packed-1-{here}-{here}-linux_x86_64.whl", "w") as wheel:
        wheel.writestr("packed/__init__.py", "VALUE = 7\n")
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_plain.py").write_text(PLAIN)
    return tmp_path


def run(folder: Path, *options: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, str(folder / "run.py"), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("test ")]


@pytest.mark.parametrize("options", [[], ["--without-pytest"]], ids=["pytest", "no pytest"])
def test_each_test_is_a_line_with_what_came_of_it(bundle: Path, options: list[str]) -> None:
    code, lines = run(bundle, *options)
    assert code == 0
    assert [line.rpartition("test_plain.py")[2] for line in lines] == [
        "::test_good ... ok",
        "::test_no_gpu ... ignored, no GPU: there is no driver; install it",
    ]
    (bundle / "tests" / "test_bad.py").write_text(BAD)
    code, lines = run(bundle, *options)
    assert code == 1
    assert "test_bad.py::test_bad ... FAILED" in lines[0]


def test_what_needs_pytest_says_so_where_there_is_none(bundle: Path) -> None:
    (bundle / "tests" / "test_with.py").write_text(WITH_PYTEST)
    code, lines = run(bundle, "--without-pytest")
    assert (code, len(lines)) == (0, 3)
    assert lines[2].startswith("test test_with.py ... ignored, it needs pytest"), lines[2]
    code, lines = run(bundle)
    assert (code, len(lines)) == (0, 4)
    assert lines[3] == "test tests/test_with.py::test_each[2] ... ok"


def test_another_python_than_the_wheels_is_named_and_no_failure(bundle: Path) -> None:
    [wheel] = bundle.glob("*.whl")
    wheel.rename(bundle / "packed-1-cp35-cp35-linux_x86_64.whl")
    code, [line] = run(bundle)
    assert code == 0
    assert "ignored, the wheel is for cp35" in line and "ARRAYBRIDGE_PYTHON=python3.5" in line
    (bundle / "packed-1-cp35-cp35-linux_x86_64.whl").unlink()
    code, [line] = run(bundle)
    assert (code, line) == (1, "test python ... FAILED")
