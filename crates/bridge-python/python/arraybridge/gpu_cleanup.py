"""Giving memory back: what frameworks keep for later goes to the device and to the system.

Only frameworks that are loaded are asked, and none is imported. The functions return the bytes
that were released, as the frameworks count them; for host memory, by how much the process shrank.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from .libraries import ArrayLibrary

__all__ = [
    "MEMORY_TYPE_CLEANUP_REGISTRY",
    "Released",
    "cleanup_all_gpu_frameworks",
    "cleanup_cupy_gpu",
    "cleanup_jax_gpu",
    "cleanup_numpy_gpu",
    "cleanup_pyclesperanto_gpu",
    "cleanup_tensorflow_gpu",
    "cleanup_torch_gpu",
]

logger = logging.getLogger(__name__)


class Released(int):
    """The bytes released, a number, with what each framework gave of it in `by_framework`.

    What has gone back to the system from host memory is under "host".
    """

    by_framework: dict[str, int]

    def __new__(cls, by_framework: dict[str, int]) -> Released:
        made = super().__new__(cls, sum(by_framework.values()))
        made.by_framework = by_framework
        return made


def cleanup(names: Iterable[str], device_id: int | None = None) -> Released:
    """Collects garbage, then has each of these frameworks give back what it keeps."""
    libraries = [ArrayLibrary.named(name) for name in names]
    loaded = [library for library in libraries if library.loaded_module() is not None]
    before = {library.name: _held(library) for library in loaded}
    resident = _resident_bytes()
    gc.collect()
    released: dict[str, int] = {}
    for library in loaded:
        try:
            library.trim_loaded(device_id)
        except Exception as error:  # one that is broken must not keep the others from it
            logger.warning("%s gave back nothing: %s", library.display_name, error)
        held, now = before[library.name], _held(library)
        if held is not None:
            released[library.name] = max(0, held - (now or 0))
    _trim_heap()
    if resident is not None:
        released["host"] = max(0, resident - (_resident_bytes() or resident))
    return Released(released)


def _held(library: ArrayLibrary) -> int | None:
    try:
        return library.held_bytes()
    except Exception:  # a framework that cannot tell
        return None


def _resident_bytes() -> int | None:
    """The memory of this process, where the system tells it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _trim_heap() -> None:
    """Has the C library give free memory back to the system, where it can."""
    if not sys.platform.startswith("linux"):
        return
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return
    trim(0)


def cleanup_numpy_gpu(device_id: int | None = None) -> int:
    """Collects garbage and gives free host memory back. NumPy has nothing on devices."""
    return cleanup(("numpy",), device_id)


def cleanup_cupy_gpu(device_id: int | None = None) -> int:
    """Empties CuPy's pools, of one device or of all."""
    return cleanup(("cupy",), device_id)


def cleanup_torch_gpu(device_id: int | None = None) -> int:
    """Empties the cache of PyTorch's allocator on CUDA, of one device or of all."""
    return cleanup(("torch",), device_id)


def cleanup_tensorflow_gpu(device_id: int | None = None) -> int:
    """Collects garbage; TensorFlow itself keeps its pool until the process ends."""
    return cleanup(("tensorflow",), device_id)


def cleanup_jax_gpu(device_id: int | None = None) -> int:
    """Clears JAX's caches of compiled functions, and what they hold on to."""
    return cleanup(("jax",), device_id)


def cleanup_pyclesperanto_gpu(device_id: int | None = None) -> int:
    """Collects garbage: pyclesperanto frees an array with its last reference."""
    return cleanup(("pyclesperanto",), device_id)


#: A name that earlier releases had by accident: the last function that they made.
cleanup_func = cleanup_pyclesperanto_gpu

MEMORY_TYPE_CLEANUP_REGISTRY: dict[str, Callable[..., Any]] = {
    "numpy": cleanup_numpy_gpu,
    "cupy": cleanup_cupy_gpu,
    "torch": cleanup_torch_gpu,
    "tensorflow": cleanup_tensorflow_gpu,
    "jax": cleanup_jax_gpu,
    "pyclesperanto": cleanup_pyclesperanto_gpu,
}


def cleanup_all_gpu_frameworks(device_id: int | None = None) -> Released:
    """Has every framework that is loaded give back what it keeps, on one device or on all."""
    released = cleanup(MEMORY_TYPE_CLEANUP_REGISTRY, device_id)
    logger.debug("released %d bytes: %s", released, released.by_framework)
    return released
