"""The simulated CUDA driver for programs of tests, where `cargo build -p simulated-cuda` has built it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

#: At a program's end: what it did that a GPU would not have borne.
VIOLATIONS = """
import ctypes, gc
gc.collect()
cuda = ctypes.CDLL("libcuda.so")
cuda.sim_report.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
text = ctypes.create_string_buffer(10000)
cuda.sim_report(b"violations", text, 10000)
assert not text.value, text.value.decode()
"""


def driver() -> str:
    """Where it is, or a skip that says how it comes."""
    named = os.environ.get("ARRAYBRIDGE_SIMULATED_CUDA")
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[2] / "target"))
    for path in [Path(named)] if named else sorted(target.glob("debug/**/libsimulated_cuda.so")):
        if path.is_file():
            return str(path)
    pytest.skip("there is no simulated CUDA driver: cargo build -p simulated-cuda makes one")


def environment(folder: Path, configuration: str = "devices=2 seed=5") -> dict[str, str]:
    """The environment of a program that finds it, by way of an empty folder."""
    library = driver()
    for name in ("libcuda.so", "libcuda.so.1"):
        (folder / name).symlink_to(library)
    return {
        "LD_LIBRARY_PATH": str(folder),
        "SIMULATED_CUDA": configuration,
        "CUDA_VISIBLE_DEVICES": "0,1",
    }
