"""Many arrays of two axes as one of three, and back.

Nothing is made to fit: slices of different shapes or element types are an error, as are masked arrays.
"""

from __future__ import annotations

from typing import Any

from ._native import memory as _memory
from .converters import chosen_device, convert_memory, detect_memory_type
from .devices import AcceleratorDevice, Device
from .libraries import ArrayLibrary
from .masked_arrays import refuse_mask
from .types import LEFT_OUT, MemoryType, require_name

__all__ = ["stack_slices", "unstack_slices"]


def _is_2d(data: Any) -> bool:
    """Whether the value has two axes."""
    return _axes(data) == 2


def _is_3d(data: Any) -> bool:
    """Whether the value has three axes."""
    return _axes(data) == 3


def _axes(data: Any) -> int | None:
    try:
        return len(data.shape)
    except (AttributeError, TypeError, ValueError):
        return None


def _enforce_gpu_device_requirements(memory_type: str | MemoryType, gpu_id: int | None) -> None:
    """A `ValueError` where a framework with accelerators is given a number that is none."""
    if ArrayLibrary.named(memory_type).has_accelerators and gpu_id is not None:
        AcceleratorDevice(gpu_id)


def stack_slices(
    slices: Any,
    memory_type: str | MemoryType,
    gpu_id: Any = LEFT_OUT,
    device: Any = LEFT_OUT,
    *,
    budget: Any = None,
    pool: Any = None,
) -> Any:
    """The slices, in order, as one array of `memory_type` with a new first axis.

    Slices may be of several frameworks; those of one are stacked there and converted at once.
    `gpu_id`, `device`, `budget` and `pool` are those of `convert_memory`. A stack that a framework
    makes of its own arrays is counted in the budget, and lies in the framework's memory.
    """
    name = require_name(memory_type)
    place = chosen_device(gpu_id, device)
    found = list(slices)
    if budget is None and pool is None:
        return _stack_of(found, name, place)
    with _memory.within(budget, pool):
        return _stack_of(found, name, place)


def _stack_of(found: list[Any], name: str, place: Device | None) -> Any:
    if not found:
        raise ValueError(
            "Cannot stack empty list of slices: there is no shape to give the result. Give at least "
            "one slice, or make the empty array yourself: numpy.empty((0, height, width), dtype)"
        )
    for index, one in enumerate(found):
        if not _is_2d(one):
            raise ValueError(
                f"Slice at index {index} is not a 2D array: {_described(one)}. All must have two axes"
            )
    sources = _sources(found, name)
    _require_alike(found, sources)
    if len(set(sources)) == 1 and sources[0] != "pyclesperanto":
        made = _stacked_by(sources[0], found)
        return _converted(made, sources[0], name, place)
    converted = [
        _converted(one, source, name, place)
        for one, source in zip(found, sources, strict=True)
    ]
    return _stacked_by(name, converted)


def _stacked_by(name: str, arrays: list[Any]) -> Any:
    """The stack, as the framework makes it."""
    library = ArrayLibrary.named(name)
    if name == "numpy":  # which is stacked here, in the budget and the pool
        return library.stack_arrays(arrays)
    like = arrays[0].detach() if name == "torch" else arrays[0]
    with _memory.admitted(like, len(arrays)):
        return library.stack_arrays(arrays)


def _sources(found: list[Any], target: str) -> list[str]:
    """The framework of each; arrays of one type are looked at once."""
    known: dict[type, str] = {}
    names = []
    for index, one in enumerate(found):
        kind = type(one)
        name = known.get(kind)
        if name is None:
            refuse_mask(one, target, "stacking", f"slice {index}: ")
            name = known[kind] = detect_memory_type(one)
        names.append(name)
    return names


def _require_alike(found: list[Any], sources: list[str]) -> None:
    first, library = found[0], ArrayLibrary.named(sources[0])
    shape, dtype = tuple(first.shape), first.dtype
    dtype_name = library.dtype_name(first)
    for index, (one, source) in enumerate(zip(found, sources, strict=True)):
        if tuple(one.shape) != shape:
            raise ValueError(
                f"Slice at index {index} has the shape {tuple(one.shape)} and the first has {shape}: "
                "all input arrays must have the same shape; nothing is broadcast"
            )
        if one.dtype is dtype:
            continue
        other = ArrayLibrary.named(source).dtype_name(one)
        if other != dtype_name:
            raise ValueError(
                f"Slice at index {index} has elements of type {other} and the first of {dtype_name}: "
                "all must have one type; convert them first, by a rule of your choice (rescale)"
            )


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return kind if shape is None else f"{kind} of the shape {tuple(shape)}"


def _converted(
    data: Any,
    source: str,
    target: str,
    place: Device | None,
    budget: Any = None,
    pool: Any = None,
) -> Any:
    where = LEFT_OUT if place is None else place
    return convert_memory(data, source, target, device=where, budget=budget, pool=pool)


def unstack_slices(
    array: Any,
    memory_type: str | MemoryType,
    gpu_id: Any = LEFT_OUT,
    validate_slices: bool = True,
    device: Any = LEFT_OUT,
    *,
    budget: Any = None,
    pool: Any = None,
) -> list[Any]:
    """The parts of an array of three axes along its first, as arrays of `memory_type`.

    They are views where the framework has views. `validate_slices` looks at each once more; the other
    arguments are those of `convert_memory`.
    """
    name = require_name(memory_type)
    place = chosen_device(gpu_id, device)
    source = detect_memory_type(array)
    if not _is_3d(array):
        raise ValueError(f"Array must be 3D, got shape {tuple(array.shape)}")
    converted = _converted(array, source, name, place, budget, pool)
    slices = [converted[index] for index in range(int(converted.shape[0]))]
    if validate_slices:
        for index, one in enumerate(slices):
            if not _is_2d(one):
                raise ValueError(f"Slice at index {index} is not a 2D array: {_described(one)}")
    return slices


def _allocate_stack_array(
    memory_type: str | MemoryType, stack_shape: tuple[int, ...], first_slice: Any, gpu_id: Any
) -> Any:
    """An array of that shape, with unset elements of the slice's type, that can be written to.

    `None` for frameworks whose arrays cannot: they stack without one.
    """
    name = require_name(memory_type)
    if name not in ("numpy", "cupy", "torch"):
        return None
    source = detect_memory_type(first_slice)
    sample = _converted(first_slice, source, name, chosen_device(gpu_id, LEFT_OUT))
    module = ArrayLibrary.named(name).module
    if name == "torch":
        return module.empty(stack_shape, dtype=sample.dtype, device=sample.device)
    if name == "cupy":
        with sample.device:
            return module.empty(stack_shape, dtype=sample.dtype)
    return module.empty(stack_shape, dtype=sample.dtype)
