"""Budgets, pools, profiles and monitors of memory.

    from arraybridge.memory import Budget, Monitor, Pool, profile

    budget = Budget("images", 64 << 20)
    with budget.reserve(16 << 20, name="loader") as room:
        room.grow(8 << 20)

Conversions take both: `convert(array, "torch", copy=True, budget=budget, pool=pool)`, or all those of a
block, also where a library calls them:

    with budget, pool:
        tensors = [convert(image, "torch", dtype="float32") for image in images]

What a conversion takes is reserved before it begins and until it is done; what it gives lies in memory of
the pool, and goes back when it is dropped. A block holds for its context (`contextvars`): for the tasks
that are started in it as long as it lasts, and for threads only where the interpreter has them inherit contexts
(`sys.flags.thread_inherit_context`), as free-threaded ones do.

A budget that has no room raises `Never` (more than there will ever be) or `NotNow` (more than is left;
`holders` says who has it). Both are `Shortage`, which is a `MemoryError`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ._native import memory as _native

__all__ = [
    "Budget",
    "Consumer",
    "Monitor",
    "Never",
    "NotNow",
    "Pool",
    "PressureHook",
    "Profile",
    "Recording",
    "Reservation",
    "Shortage",
    "doctor",
    "host_memory",
    "process_memory",
    "profile",
]

Budget = _native.Budget
Consumer = _native.Consumer
Monitor = _native.Monitor
Never = _native.Never
NotNow = _native.NotNow
PressureHook = _native.PressureHook
Profile = _native.Profile
Recording = _native.Recording
Reservation = _native.Reservation
Shortage = _native.Shortage
doctor = _native.doctor
host_memory = _native.host_memory
process_memory = _native.process_memory


def profile(name: str = "work") -> Profile:
    """Says what the code inside `with` takes of memory.

    with profile("load") as taken:
        images = load()
    print(taken)  # load    process +12.00 MiB
    """
    return Profile(name)


class Pool:
    """Host memory that is used again, for NumPy arrays.

    An array's memory goes back when nothing refers to the array or to a view of it any more; until then
    nobody else gets it. What is kept is at most `max_bytes` in at most `max_buffers`; what came back
    first is freed first. With a budget, `within`, all that the pool has counts there, under `name`, and
    what is in no use is freed before the budget refuses anybody. Sizes are rounded up by at most a
    quarter, unless `exact`. Conversions inside `with` take the memory that they write to from it, where
    that is the host's; `pool=` names it for one conversion.
    """

    __slots__ = ("__weakref__", "_pool")

    def __init__(
        self,
        max_bytes: int = 1 << 30,
        max_buffers: int = 1024,
        *,
        within: Budget | None = None,
        name: str = "pool",
        exact: bool = False,
    ) -> None:
        self._pool = _native.Pool(max_bytes, max_buffers, within, name, exact)

    def zeros(self, shape: int | tuple[int, ...], dtype: object = np.float64) -> np.ndarray:
        """An array of zeros."""
        return self._array(shape, dtype, True)

    def empty(self, shape: int | tuple[int, ...], dtype: object = np.float64) -> np.ndarray:
        """An array whose elements are whatever the memory held: write them before they are read."""
        return self._array(shape, dtype, False)

    @contextmanager
    def temporary(
        self, shape: int | tuple[int, ...], dtype: object = np.float64, zero: bool = True
    ) -> Iterator[np.ndarray]:
        """Lends an array to a `with` block.

        The memory goes back when the block has ended and no name refers to the array any more, the one
        after `as` included: an array that somebody still has is never given to somebody else.
        """
        yield self._array(shape, dtype, zero)

    def trim(self, max_bytes: int = 0) -> int:
        """Frees what came back first until at most so many bytes are kept; returns how many it freed."""
        return self._pool.trim(max_bytes)

    def keep(self, buffers: int) -> int:
        """Frees what came back first until at most so many buffers are kept; returns the bytes."""
        return self._pool.keep(buffers)

    def clear(self) -> int:
        """Frees all that is kept, and returns how many bytes. Arrays in use come back as ever."""
        return self._pool.trim(0)

    def stats(self) -> dict:
        """What the pool has, and how often it could help."""
        return self._pool.stats()

    def __enter__(self) -> Pool:
        """Conversions of this context take their memory here until the block ends."""
        self._pool.__enter__()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._pool.__exit__()

    def _array(self, shape, dtype, zero):
        dtype = np.dtype(dtype)
        if dtype.hasobject:
            raise ValueError(
                f"a pool has no arrays of {dtype}: Python objects do not lie in its memory; "
                "use numpy.empty"
            )
        shape = _shape(shape)
        block = self._pool.block(math.prod(shape) * dtype.itemsize, zero)
        return np.ndarray(shape, dtype, block)

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<Pool: {stats['bytes_in_use']} bytes in use, {stats['bytes_cached']} kept in "
            f"{stats['pool_arrays']} buffers>"
        )


def _shape(shape) -> tuple[int, ...]:
    """The shape as a tuple, where all lengths are whole numbers from 0 on."""
    if type(shape) is not tuple:
        try:
            shape = (operator.index(shape),)
        except TypeError:
            shape = tuple(shape)
    shape = tuple(map(operator.index, shape))
    if shape and min(shape) < 0:
        raise ValueError(f"the shape is {shape}: no length can be negative")
    return shape
