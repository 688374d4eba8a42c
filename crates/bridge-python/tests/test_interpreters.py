"""Which interpreters the package runs under."""

from __future__ import annotations

import subprocess
import sys
import sysconfig

import pytest

free_threaded = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter cannot do without its lock"
)


@free_threaded
def test_an_interpreter_whose_lock_stays_off_is_refused_with_a_sentence():
    command = [sys.executable, "-X", "gil=0", "-c", "import arraybridge._native"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1, told.stderr
    last = told.stderr.splitlines()[-1]
    assert last.startswith("ImportError: arraybridge needs the interpreter's lock"), told.stderr
    assert "Leave that setting out" in last
