"""Runs the Python tests of a GPU bundle with the wheel beside this file: `python3.12 run.py`.

The wheel is unpacked into a folder of temporary files and put on the path: nothing is installed and
nothing is fetched. Each test is a line, as Rust's harness prints it: "test FILE::NAME ... ok", or
"... FAILED", or "... ignored, REASON" for one that cannot run here, with what to do.

Where there is no pytest, those tests run that need none of it, and the others are ignored.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import os
import sys
import tempfile
import time
import traceback
import unittest
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

#: The longest that one test may take.
SECONDS = 100


class Lines:
    """Says what came of each test, on the standard output that the program began with."""

    def __init__(self) -> None:
        self.failed = 0
        # pytest takes the number 1 for itself while a test runs.
        self.out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self._begun: str | None = None

    def begin(self, name: str) -> None:
        """Is written before the test runs, so that one that never ends is named."""
        self._say(f"test {name} ... ", "")
        self._begun = name

    def end(self, name: str, verdict: str, why: str = "") -> None:
        if self._begun != name:
            self.begin(name)
        self._begun = None
        self.failed += verdict == "FAILED"
        reason = " ".join(why.split())
        if verdict == "ignored" and reason:
            self._say(f"ignored, {reason}")
            return
        self._say(verdict)
        if why:
            self._say(why.rstrip())

    def _say(self, text: str, end: str = "\n") -> None:
        self.out.write(text + end)
        self.out.flush()

    # What pytest calls.

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self.begin(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.end(report.nodeid, "FAILED", report.longreprtext)
        elif report.skipped:
            self.end(report.nodeid, "ignored", _reason(report))
        elif report.when == "call":
            self.end(report.nodeid, "ok")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.end(report.nodeid, "FAILED", report.longreprtext)
        elif report.skipped:
            self.end(report.nodeid, "ignored", _reason(report))


def _reason(report: Any) -> str:
    """Why pytest has skipped: the last of the file, the line and the words."""
    found = report.longrepr
    words = found[2] if isinstance(found, tuple) else str(found)
    return str(words).removeprefix("Skipped: ")


def missing(wheel: Path) -> str | None:
    """Why nothing can run in this Python at all."""
    wanted = wheel.name.split("-")[2]  # "cp312"
    here = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    if sys.implementation.name != "cpython" or (wanted != here and "-abi3-" not in wheel.name):
        return (
            f"the wheel is for {wanted}, and this is {sys.implementation.name} {here}: name another "
            f"Python, ARRAYBRIDGE_PYTHON=python{wanted[2]}.{wanted[3:]}"
        )
    if importlib.util.find_spec("numpy") is None:
        return f"{sys.executable} has no NumPy: install it, or name another Python by ARRAYBRIDGE_PYTHON"
    return None


def with_pytest(pytest: Any, paths: list[Path], lines: Lines) -> None:
    settings = ["-c", str(HERE / "pyproject.toml"), "--rootdir", str(HERE)]
    quiet = ["-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider"]
    limit = ["-o", f"faulthandler_timeout={SECONDS}", "-o", "faulthandler_exit_on_timeout=true"]
    code = pytest.main([*settings, *quiet, *limit, *map(str, paths)], plugins=[lines])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not lines.failed:
        lines.end("pytest", "FAILED", f"pytest ended with {code!r}")


def without_pytest(paths: list[Path], lines: Lines) -> None:
    for path in paths:
        try:
            module = _loaded(path)
        except Exception as error:
            if isinstance(error, ImportError) and error.name == "pytest":
                why = f"it needs pytest, which {sys.executable} has not: install it"
                lines.end(path.name, "ignored", why)
                continue
            lines.end(path.name, "FAILED", traceback.format_exc())
            continue
        for name, test in list(vars(module).items()):
            if name.startswith("test_") and callable(test):
                _run(f"{path.name}::{name}", test, lines)


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _run(name: str, test: Any, lines: Lines) -> None:
    lines.begin(name)
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=lines.out)
    verdict, why = "ok", ""
    with _captured() as printed:
        try:
            test()
        except unittest.SkipTest as skip:
            verdict, why = "ignored", str(skip)
        except Exception:
            verdict, why = "FAILED", traceback.format_exc()
    faulthandler.cancel_dump_traceback_later()
    lines.end(name, verdict, why + "".join(printed) if verdict == "FAILED" else why)


@contextmanager
def _captured() -> Iterator[list[str]]:
    """Gives what is printed inside `with`, also by libraries in C; it would stand before the test's verdict."""
    printed: list[str] = []
    with tempfile.TemporaryFile() as file:
        before = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield printed
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, kept in zip((1, 2), before, strict=True):
                os.dup2(kept, number)
                os.close(kept)
            file.seek(0)
            printed.append(file.read().decode(errors="replace"))


def prepare(wheel: Path, site: str) -> None:
    """Unpacks the wheel, and has this process and those it starts find it before any other."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    tests = str(HERE / "tests")
    sys.path[:0] = [site, tests]
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [site, tests, *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    # JAX would take three quarters of the GPU for itself, and the others are beside it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-pytest", action="store_true", help="as if there were none")
    given = parser.parse_args()
    lines = Lines()
    wheels = sorted(HERE.glob("*.whl"))
    if len(wheels) != 1:
        lines.end("python", "FAILED", f"{HERE} has {len(wheels)} wheels and must have one")
        return 1
    why = missing(wheels[0])
    if why is not None:
        lines.end("python", "ignored", why)
        return 0
    paths = sorted((HERE / "tests").glob("test_*.py"))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="arraybridge-") as site:
        prepare(wheels[0], site)
        if given.without_pytest:
            sys.modules["pytest"] = None  # type: ignore[assignment]
        try:
            import pytest
        except ImportError:
            without_pytest(paths, lines)
        else:
            with_pytest(pytest, paths, lines)
    print(f"{lines.failed} failed, {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 1 if lines.failed else 0


if __name__ == "__main__":
    sys.exit(main())
