"""Fixtures that give a framework, or skip the test where it is not installed."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FRAMEWORKS = ("numpy", "cupy", "torch", "tensorflow", "jax", "pyclesperanto")

# These must be imported before TensorFlow: each brings an LLVM of its own, and the process ends when
# they meet the other way round. PyTorch imports triton late, for checkpoints and optimisers.
for _early in ("pyclesperanto", "triton"):
    if importlib.util.find_spec(_early) is not None:
        try:
            importlib.import_module(_early)
        except Exception:  # no OpenCL, or no compiler, here: tests of that are skipped
            pass


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with the frameworks whose fixtures it asks for, or that it asks for on a GPU (`on_gpu.py`)."""
    for item in items:
        on_gpu = getattr(getattr(item, "function", None), "frameworks", ())
        if on_gpu:
            item.add_marker(pytest.mark.gpu)
        for name in {*getattr(item, "fixturenames", ()), *on_gpu} & set(FRAMEWORKS):
            item.add_marker(getattr(pytest.mark, f"framework_{name}"))


_modules_seen = 0


@pytest.fixture(autouse=True)
def _little_for_the_collector() -> None:
    """Recovery collects garbage at every try, which takes 0.2 s to look at what frameworks have imported: it is left
    out, as it never is garbage."""
    global _modules_seen
    if len(sys.modules) != _modules_seen:
        gc.collect()
        gc.freeze()
        _modules_seen = len(sys.modules)


def _module(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


@pytest.fixture
def numpy() -> Any:
    return _module("numpy")


@pytest.fixture
def torch() -> Any:
    return _module("torch")


@pytest.fixture
def jax() -> Any:
    return _module("jax")


@pytest.fixture
def tensorflow() -> Any:
    return _module("tensorflow")


@pytest.fixture
def cupy() -> Any:
    module = _module("cupy")
    try:
        count = module.cuda.runtime.getDeviceCount()
    except Exception:
        count = 0
    if not count:
        pytest.skip("CuPy finds no GPU")
    return module


@pytest.fixture
def pyclesperanto() -> Any:
    module = _module("pyclesperanto")
    if not module.list_available_devices():
        pytest.skip("pyclesperanto finds no OpenCL device")
    return module


def has_gpu() -> bool:
    """Whether PyTorch sees a GPU."""
    if importlib.util.find_spec("torch") is None:
        return False
    return bool(importlib.import_module("torch").cuda.is_available())


@pytest.fixture
def gpu_id() -> int | None:
    """0 where there is a GPU; otherwise the host, so that what is written for a GPU runs here."""
    return 0 if has_gpu() else None


@pytest.fixture
def no_gpu() -> None:
    """Skips the test where there is a GPU."""
    if has_gpu():
        pytest.skip("there is a GPU here")


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """Runs a program in a fresh interpreter and gives what it prints."""

    def run(program: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
