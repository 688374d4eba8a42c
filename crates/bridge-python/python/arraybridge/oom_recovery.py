"""Running out of memory: recognising it, making room, trying again, trying smaller.

What counts: the framework's own type, `MemoryError`, or a text of the framework's in an error of a
kind that it raises for that. A text alone does not: a `ValueError` that speaks of memory, an
invalid argument or an illegal access is no lack of memory, and nothing is tried again.
"""

from __future__ import annotations

import errno
import gc
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .exceptions import MemoryConversionError
from .libraries import ArrayLibrary
from .types import MemoryType, require_name

__all__ = ["is_out_of_memory", "split_on_oom", "with_oom_recovery"]

R = TypeVar("R")

#: The types that mean nothing else, by the module and the name within.
_TYPES: dict[str, tuple[tuple[str, str], ...]] = {
    "cupy": (("cupy", "cuda.memory.OutOfMemoryError"),),
    "torch": (("torch", "OutOfMemoryError"), ("torch", "cuda.OutOfMemoryError")),
    "tensorflow": (("tensorflow", "errors.ResourceExhaustedError"),),
}

#: The texts, in lower case, of errors that are of a type in `_BEARERS`. "memory" must be the last
#: word of its kind: "out of memory bounds" is an access that went wrong.
_OUT_OF_MEMORY = r"out of memory(?![-_\w])(?! (?:bounds|range|region|access|address))"
_TEXTS: dict[str, tuple[str, ...]] = {
    "numpy": (r"cannot allocate memory", r"memory exhausted", r"unable to allocate"),
    "cupy": (_OUT_OF_MEMORY, r"cuda_error_out_of_memory", r"cudaerrormemoryallocation"),
    "torch": (
        _OUT_OF_MEMORY,
        r"cuda_error_out_of_memory",
        r"_status_alloc_failed",
        r"defaultcpuallocator: (?:can't|not enough)",
    ),
    "tensorflow": (_OUT_OF_MEMORY, r"resource_exhausted", r"oom when allocating"),
    "jax": (
        _OUT_OF_MEMORY,
        r"oom when allocating",
        r"allocation failure",
        r"resource_exhausted",
    ),
    "pyclesperanto": (
        r"cl_mem_object_allocation_failure",
        r"cl_out_of_resources",
        r"cl_out_of_host_memory",
        _OUT_OF_MEMORY,
    ),
}
_PATTERNS = {name: re.compile("|".join(texts)) for name, texts in _TEXTS.items()}

#: The names of the types, and of those they derive from, whose text is read.
_BEARERS = frozenset(
    {"RuntimeError", "MemoryError", "CUDARuntimeError", "CUDADriverError", "InternalError"}
    | {"UnknownError", "XlaRuntimeError", "JaxRuntimeError", "AcceleratorError"}
)
#: cudaErrorMemoryAllocation and CUDA_ERROR_OUT_OF_MEMORY, which are one number.
_CUDA_OUT_OF_MEMORY = 2


def _is_oom_error(e: BaseException, memory_type: str | MemoryType) -> bool:
    """Whether the error says that memory ran out, for arrays of that framework."""
    return _says_so(e, require_name(memory_type))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out, for any framework."""
    return any(_says_so(error, name) for name in _PATTERNS)


def _says_so(error: BaseException | None, name: str) -> bool:
    if not isinstance(error, Exception):
        return False
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryConversionError):
        cause = error.__cause__
        if cause is not None and cause is not error:
            return _says_so(cause, name)
        return error.method != "detection" and _matches(error.reason, name)
    for module_name, path in _TYPES.get(name, ()):
        wanted: Any = sys.modules.get(module_name)
        for part in path.split("."):
            wanted = getattr(wanted, part, None)
        if isinstance(wanted, type) and isinstance(error, wanted):
            return True
    status = getattr(error, "status", None)
    if isinstance(status, int) and type(error).__name__ in ("CUDARuntimeError", "CUDADriverError"):
        return status == _CUDA_OUT_OF_MEMORY
    if not any(kind.__name__ in _BEARERS for kind in type(error).__mro__):
        return False
    return _matches(str(error), name)


def _matches(text: str, name: str) -> bool:
    return _PATTERNS[name].search(text.lower()) is not None


def _clear_cache_for_memory_type(
    memory_type: str | MemoryType, device_id: int | None = None
) -> None:
    """Collects garbage and has the framework, where it is loaded, give back what it keeps."""
    name = require_name(memory_type)
    gc.collect()
    ArrayLibrary.named(name).trim_loaded(device_id)


def _execute_with_oom_recovery(
    func_callable: Callable[[], R],
    memory_type: str | MemoryType,
    max_retries: int = 2,
    *,
    clear_cache: bool = True,
    device_id: int | None = None,
) -> R:
    """What the function gives; after a lack of memory, caches are cleared and it runs again.

    It runs at most `max_retries` times more; then the first error is raised. Whatever the function
    did before it ran out of memory is done again. `clear_cache=False` collects garbage alone.
    """
    name = require_name(memory_type)
    check_retries(max_retries)
    try:
        return func_callable()
    except Exception as error:
        if max_retries == 0 or not _says_so(error, name):
            raise
        return retried(error, func_callable, name, max_retries, clear_cache, device_id)


def retried(
    first: Exception,
    func_callable: Callable[[], R],
    name: str,
    max_retries: int,
    clear_cache: bool = True,
    device_id: int | None = None,
) -> R:
    """As `_execute_with_oom_recovery`, after the first call has run out of memory."""
    for _ in range(max_retries):
        make_room(first, name, clear_cache, device_id)
        try:
            return func_callable()
        except Exception as error:
            if not _says_so(error, name):
                raise
            _forget(error)
    try:
        raise first
    finally:
        del first  # it holds this frame, which would hold it


def check_retries(max_retries: int) -> None:
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
        raise ValueError(f"max_retries is a whole number from 0 on, not {max_retries!r}")


def make_room(error: BaseException, name: str, clear_cache: bool, device_id: int | None) -> None:
    _forget(error)
    if clear_cache:
        _clear_cache_for_memory_type(name, device_id)
    else:
        gc.collect()


def _forget(error: BaseException) -> None:
    """Lets go of the arrays in the frames that the error has come through."""
    own = error.__traceback__
    traceback.clear_frames(own)
    for other in (error.__cause__, error.__context__):
        if other is not None and other is not error:
            traceback.clear_frames(other.__traceback__)


def with_oom_recovery(
    func: Callable[[], R],
    memory_type: str | MemoryType | None = None,
    max_retries: int = 2,
    *,
    clear_cache: bool = True,
    device_id: int | None = None,
) -> R:
    """What `func()` gives; after a lack of memory, caches are cleared and it is called again.

    Without `memory_type`, a lack of memory of any framework counts, and the caches of all that are
    loaded are cleared.
    """
    if memory_type is not None:
        return _execute_with_oom_recovery(
            func, memory_type, max_retries, clear_cache=clear_cache, device_id=device_id
        )
    check_retries(max_retries)
    first: Exception | None = None
    for _ in range(max_retries + 1):
        try:
            return func()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _forget(error)
            first = first or error
        if clear_cache:
            for library in ArrayLibrary.all():
                library.trim_loaded(device_id)
        gc.collect()
    assert first is not None
    try:
        raise first
    finally:
        del first


def split_on_oom(
    func: Callable[[Any], R],
    data: Any,
    batch_size: int | None = None,
    *,
    min_batch_size: int = 1,
    memory_type: str | MemoryType | None = None,
    combine: Callable[[list[R]], Any] | None = None,
) -> Any:
    """The results of `func` on batches of `data`, in order; a batch that does not fit is halved.

    Every item is handed over exactly once to a call that succeeds. Sizes stay small once they
    had to shrink, and the error is raised where `min_batch_size` items do not fit either.
    `combine` makes one result of the list.
    """
    total = len(data)
    size = total if batch_size is None else batch_size
    for what, value in (("batch_size", size or 1), ("min_batch_size", min_batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{what} is a whole number from 1 on, not {value!r}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is a whole number from 1 on, not {batch_size!r}")
    results = list(_batches(func, data, total, max(size, 1), min_batch_size, memory_type))
    return results if combine is None else combine(results)


def _batches(
    func: Callable[[Any], R],
    data: Any,
    total: int,
    size: int,
    least: int,
    memory_type: str | MemoryType | None,
) -> Iterator[R]:
    start = 0
    while start < total:
        count = min(size, total - start)
        try:
            result = func(data[start : start + count])
        except Exception as error:
            short = (
                is_out_of_memory(error)
                if memory_type is None
                else _is_oom_error(error, memory_type)
            )
            if not short or count <= least:
                raise
            _forget(error)
            size = max(least, count // 2)
        else:
            start += count
            yield result
            continue
        for library in ArrayLibrary.all():
            library.trim_loaded()
        gc.collect()
