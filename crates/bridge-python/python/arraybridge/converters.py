"""Telling arrays apart, and converting them.

`convert_memory` decides where the result lies and leaves the conversion to the native module.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from . import _native, callers
from .devices import HOST, AcceleratorDevice, Device, as_device
from .exceptions import InvalidMemoryTypeError, MemoryConversionError
from .libraries import ArrayLibrary, library_of
from .types import LEFT_OUT, MemoryType, name_of, require_bool

__all__ = ["convert_memory", "detect_memory_type", "set_device_fallback"]

_detect = _native.detect
_convert = _native.convert

_FALLBACK_VARIABLE = "ARRAYBRIDGE_DEVICE_FALLBACK"
_fallback: bool | None = None

#: As `_convert_memory`, below, which it calls for all but what is between arrays on the host.
convert_memory = _native.convert_memory

#: As `_claimed_memory_type`, below, which it calls for all but arrays.
detect_memory_type = _native.detect_memory_type


def _claimed_memory_type(data: Any) -> str:
    """As `detect_memory_type`, of what is no array of a framework that is loaded."""
    kind = type(data)
    module = getattr(kind, "__module__", None)
    library = _claimed_library(kind, module)
    if library is None:
        raise ValueError(
            f"Unknown memory type for {kind} (module: {module}): it is no array of "
            f"{', '.join(member.value for member in MemoryType)}"
        )
    return library.name


def _claimed_library(kind: type, module: Any) -> ArrayLibrary | None:
    """The framework that a class says it comes from."""
    if not isinstance(module, str):
        return None
    try:
        library = ArrayLibrary.for_module_name(module)
    except ValueError:
        return None
    # NumPy is told by its own class alone; and what is really there in the module of a framework,
    # as torch.device is, has been looked at already: it is no array.
    if library.name == "numpy" or getattr(sys.modules.get(module), kind.__name__, None) is kind:
        return None
    return library


def set_device_fallback(enabled: bool | None) -> None:
    """Whether a device that was named and is absent is replaced by the host, with a warning.

    The default is an error. `None` goes back to what the environment variable
    `ARRAYBRIDGE_DEVICE_FALLBACK` says: "host" turns the replacement on.
    """
    global _fallback
    _fallback = require_bool(enabled, "enabled", f"what {_FALLBACK_VARIABLE} says")


def falls_back() -> bool:
    """Whether an absent device is replaced by the host."""
    if _fallback is not None:
        return _fallback
    return os.environ.get(_FALLBACK_VARIABLE, "").strip().lower() in ("1", "host", "true", "yes")


def chosen_device(gpu_id: Any, device: Any) -> Device | None:
    """The device that two arguments for one thing name, or `None` where both were left out."""
    if gpu_id is LEFT_OUT:
        return as_device(device)
    first = as_device(gpu_id)
    if device is LEFT_OUT:
        return first
    second = as_device(device)
    if first != second:
        raise ValueError(
            f"gpu_id={gpu_id!r} and device={device!r} name different devices: give one of them"
        )
    return first


def _convert_memory(
    data: Any,
    source_type: str | MemoryType,
    target_type: str | MemoryType,
    gpu_id: Any = LEFT_OUT,
    device: Any = LEFT_OUT,
    *,
    budget: Any = None,
    pool: Any = None,
) -> Any:
    """`data`, an array of `source_type`, as an array of `target_type`.

    Both types are names or members of `MemoryType`. `gpu_id` is the number of an accelerator or
    `None` for the host; `device` says the same as a `Device` or as a text such as "cuda:0". Left
    out, the result goes to the accelerator where the target has one here, and an array that is on
    an accelerator stays there; otherwise it lies on the host. NumPy's arrays are always on the
    host, pyclesperanto's always on a device of its own.

    The elements are shared where both ends allow it and copied otherwise. What is copied is reserved
    in `budget` until it is done, and lies in memory of `pool`: those of `arraybridge.memory`, or of
    the `with` blocks that the call is in. A failure is a `MemoryConversionError`, no room in the
    budget a `Shortage`; a wrong name, or an array of another framework than `source_type`, is a
    `ValueError` as well.
    """
    source = name_of(source_type)
    target = name_of(target_type)
    if source is None:
        library_of(source_type, role="source_type", source=source_type, target=target_type)
    if target is None:
        library_of(target_type, role="target_type", source=source, target=target_type)
    found = _detect(data)
    if found != source and found is not None:
        raise InvalidMemoryTypeError(
            str(source),
            str(target),
            "detection",
            f"the data is an array of {found} ({type(data)}), not of {source}: "
            "detect_memory_type() tells which name to give",
        )
    if gpu_id is LEFT_OUT and device is LEFT_OUT:
        where = _default_place(data, source, target)
        named = False
    else:
        where = _place(source, target, gpu_id, device)
        named = where is not None and where is not HOST
    native = where.native_name(target) if where is not None else None  # type: ignore[arg-type]
    if observer() is not None:
        return _observed(data, source, target, native, named, budget, pool)
    return _carried_out(data, source, target, native, named, budget, pool)


def _place(source: Any, target: Any, gpu_id: Any, device: Any) -> Device | None:
    try:
        return chosen_device(gpu_id, device)
    except (TypeError, ValueError) as error:
        raise InvalidMemoryTypeError(source, target, "device_selection", str(error)) from error


def _default_place(data: Any, source: Any, target: Any) -> Device | None:
    """Where the result goes if nothing is said; `None` for where it happens to be."""
    if target == "numpy" or target == "pyclesperanto":
        return None
    library = ArrayLibrary.named(target)
    if source == target:
        return None
    if source in ("torch", "cupy", "jax", "tensorflow"):
        try:
            if ArrayLibrary.named(source).device_of(data) != HOST:
                return None
        except Exception:  # what is wrong with the array is the conversion's to say
            return None
    if target == "cupy":
        return AcceleratorDevice(0)
    return library.default_device()


def _carried_out(
    data: Any, source: Any, target: Any, native: str | None, named: bool, budget: Any, pool: Any
) -> Any:
    if not named:
        return _convert(data, target, device=native, budget=budget, pool=pool)
    try:
        return _convert(data, target, device=native, budget=budget, pool=pool)
    except MemoryConversionError as error:
        library = ArrayLibrary.named(target)
        if "CUDA" not in error.reason and not library.is_installed():
            raise MemoryConversionError(
                error.source_type,
                error.target_type,
                error.method,
                f"{error.reason}. {native} is a device of CUDA: a machine with one is needed, too; "
                "gpu_id=None asks for the host",
            ) from error
        if not falls_back() or not library.has_host or not library.is_installed():
            raise
        if library.accelerator_devices():
            raise  # there are devices: this error is about something else
        callers.warn(
            f"{library.display_name} has no {native} here: the array goes to the host instead, as "
            f"{_FALLBACK_VARIABLE} or set_device_fallback() asks ({error.reason})"
        )
        return _convert(data, target, device="cpu", budget=budget, pool=pool)


_observer_of_context: Any = None


def observer() -> Any:
    """The observer of this context, where the module of observers is in use at all."""
    return _observer_of_context() if _observer_of_context is not None else None


def watch_with(current: Any) -> None:
    """Lets `conversion` say who observes; until then nobody does, and nothing is asked."""
    global _observer_of_context
    _observer_of_context = current
    _native.set_observed(current is not None)


def _observed(
    data: Any, source: Any, target: Any, native: str | None, named: bool, budget: Any, pool: Any
) -> Any:
    from .conversion import record_conversion

    started = time.perf_counter()
    result = _carried_out(data, source, target, native, named, budget, pool)
    record_conversion(data, source, result, target, time.perf_counter() - started)
    return result
