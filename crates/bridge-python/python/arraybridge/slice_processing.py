"""A function of two axes, on each slice of an array of three."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .converters import detect_memory_type
from .libraries import ArrayLibrary
from .masked_arrays import refuse_mask
from .stack_utils import _is_2d, stack_slices, unstack_slices
from .types import LEFT_OUT

__all__ = ["process_slices"]


def process_slices(
    image: Any,
    func: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    gpu_id: Any = None,
    device: Any = LEFT_OUT,
    *,
    budget: Any = None,
    pool: Any = None,
) -> Any:
    """`func(slice, *args, **kwargs)` for each slice along the first axis, stacked again.

    The result is of the framework of `image`, and lies where it lies unless `gpu_id` or `device`
    says otherwise. If `func` gives tuples, their first elements are stacked and the others come as
    a list for each place. All slices must give the same: as many elements, one shape, one type.
    `budget` and `pool` are those of `stack_slices`; what `func` converts is its own.
    """
    name = detect_memory_type(image)
    refuse_mask(image, name, "slice_processing")
    if gpu_id is None:
        where = device if device is not LEFT_OUT and device is not None else None
    elif device is LEFT_OUT:
        where = gpu_id
    else:
        raise ValueError("give gpu_id or device, not both")
    if where is None:
        where = ArrayLibrary.named(name).device_of(image)
    slices = unstack_slices(image, name, device=where, budget=budget, pool=pool)
    if not slices:
        raise ValueError("the array has no slices: there is no result to make a stack of")
    keywords = dict(kwargs or {})
    mains: list[Any] = []
    others: list[list[Any]] = []
    arity: int | None = None
    for index, one in enumerate(slices):
        result = func(one, *args, **keywords)
        found = len(result) if isinstance(result, tuple) else None
        if index == 0:
            arity = found
            others = [[] for _ in range((arity or 1) - 1)]
        _require_same(index, found, arity)
        main = result[0] if isinstance(result, tuple) else result
        _require_slice(index, main)
        mains.append(main)
        if isinstance(result, tuple):
            for place, value in enumerate(result[1:]):
                others[place].append(value)
    stacked = stack_slices(mains, name, device=where, budget=budget, pool=pool)
    return stacked if arity is None else (stacked, *others)


def _require_same(index: int, found: int | None, arity: int | None) -> None:
    if found == 0:
        raise ValueError(f"slice {index} gave an empty tuple: the first element is what is stacked")
    if (found is None) != (arity is None):
        words = ("no tuple", "a tuple") if found is None else ("a tuple", "none")
        raise TypeError(
            f"slice {index} gave {words[0]} and the first {words[1]}: all must give the same"
        )
    if found != arity:
        raise ValueError(
            f"slice {index} gave {found} values and the first {arity}: all must give as many"
        )


def _require_slice(index: int, main: Any) -> None:
    try:
        detect_memory_type(main)
    except ValueError as error:
        raise ValueError(f"slice {index} gave no array to stack: {error}") from None
    if not _is_2d(main):
        raise ValueError(
            f"slice {index} gave an array of the shape {tuple(main.shape)}: only arrays of two axes "
            "can be stacked again"
        )
