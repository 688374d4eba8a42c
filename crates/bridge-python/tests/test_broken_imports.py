"""Frameworks whose import fails or is interrupted: what is raised, and that nobody imports them a second time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

START = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import arraybridge
from arraybridge import MemoryConversionError, MemoryType, convert, convert_memory, stack_slices

array = np.ones((2, 2), "float32")
imports = pathlib.Path(sys.argv[1], "imports")
"""


@pytest.fixture
def with_torch(tmp_path):
    """Runs a program with a torch whose module is this."""

    def run(module: str, program: str) -> str:
        package = tmp_path / "torch"
        package.mkdir(exist_ok=True)
        counting = f"open({str(tmp_path / 'imports')!r}, 'a').write('once\\n')\n"
        (package / "__init__.py").write_text(counting + module)
        command = [sys.executable, "-c", START + program, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize(
    "call",
    [
        "convert(array, 'torch')",
        "convert(array, 'torch', copy=True)",
        "convert_memory(array, 'numpy', 'torch')",
        "convert_memory(array, 'numpy', 'torch', gpu_id=None)",
        "MemoryType.NUMPY.to_torch(array)",
        "arraybridge.torch(lambda x: x)(array)",
    ],
)
def test_what_interrupts_an_import_is_raised_as_it_is(with_torch, raised, call):
    program = f"""
try:
    {call}
except {raised} as error:
    assert str(error) == "by hand", error
else:
    raise AssertionError("it was lost")
assert imports.read_text() == "once\\n", "it was imported again"
"""
    with_torch(f"raise {raised}('by hand')", program)


def test_why_an_import_failed_is_the_cause_and_is_remembered(with_torch):
    program = """
def of_torch(load=False):
    return next(one for one in arraybridge._native.backends(load=load) if one["name"] == "torch")
assert of_torch()["reason"] is None, "nobody has imported it"
try:
    convert(array, "torch")
except MemoryConversionError as error:
    assert type(error.__cause__) is RuntimeError and "broken on purpose" in str(error), error
assert "broken on purpose" in of_torch()["reason"]
assert "import torch" in of_torch()["remedy"]
pathlib.Path(sys.argv[1], "torch", "__init__.py").write_text("raise OSError('broken otherwise')")
assert "broken otherwise" in of_torch(load=True)["reason"], "it is tried again"
"""
    with_torch("raise RuntimeError('broken on purpose')", program)
