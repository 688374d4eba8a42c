"""`python -m arraybridge`: the program, with Python's frameworks among its backends."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest


def run(*arguments):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "arraybridge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)


def test_every_pair_of_backends_is_converted_and_verified():
    done = run("matrix", "--json")
    cells = json.loads(done.stdout)["cells"]
    statuses = {(cell["source"], cell["target"]): cell["status"] for cell in cells}
    ready = {source for (source, target), status in statuses.items() if status == "verified"}
    assert {"numpy", "ndarray", "candle"} <= ready
    for (source, target), status in statuses.items():
        if source in ready and target in ready:
            assert status in ("verified", "not applicable"), (source, target, status)
    assert done.returncode == 0


def test_a_file_is_converted(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0))
    done = run("convert", tmp_path / "a.npy", tmp_path / "a.npz", "--via", "numpy")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "a.npz") as archive:
        assert archive[archive.files[0]].tolist() == list(range(6))


def test_doctor_names_each_framework_and_why_one_is_not_there():
    """All but NumPy cannot be imported here, which is quick."""
    hidden = "torch", "jax", "tensorflow", "cupy", "pyclesperanto"
    program = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({hidden!r}))\n"
        "sys.argv = ['arraybridge', 'doctor', '--json']\n"
        "runpy.run_module('arraybridge', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    backends = {backend["name"]: backend for backend in json.loads(done.stdout)["backends"]}
    assert {"ndarray", "candle", "numpy"} <= set(backends)
    assert backends["numpy"]["status"] == "ready"
    for name in hidden:
        assert backends[name]["status"] == "unavailable"
        assert "is not installed" in backends[name]["reason"] and backends[name]["remedy"]


def test_monitor_watches_a_command(tmp_path):
    picture = tmp_path / "memory.svg"
    command = [sys.executable, "-c", "print('hello')"]
    done = run("monitor", "--plot", picture, "--", *command)
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(("convert", "absent.npy", "b.npy"), 1, "absent.npy"), (("nonsense",), 2, "nonsense")],
)
def test_failures_have_the_programs_exit_codes(arguments, code, words, tmp_path):
    done = run(*arguments)
    assert done.returncode == code
    assert words in done.stderr
