"""A number of bytes that the calls of one worker share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["NoRoom", "Room"]


class NoRoom(MemoryError):
    """A worker's budget has no room for a block: more than it will ever have, or than it has now."""


class _Line:
    """So many bytes, lent in the order in which they are asked for."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.reserved = 0
        self.peak = 0
        self._line: list[object] = []
        self._changed = threading.Condition()

    def reserve(self, count: int, *, name: str = "", timeout: float | None = None) -> Any:
        until = time.monotonic() + (timeout or 0)
        place = object()
        with self._changed:
            self._line.append(place)
            try:
                while self._line[0] is not place or self.reserved + count > self.capacity:
                    left = until - time.monotonic()
                    if left <= 0:
                        raise MemoryError(f"{self.name}: {name} asked for {count} bytes")
                    self._changed.wait(left)
                self.reserved += count
                self.peak = max(self.peak, self.reserved)
            finally:
                self._line.remove(place)
                self._changed.notify_all()
        return self._lent(count)

    @contextmanager
    def _lent(self, count: int) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                self.reserved -= count
                self._changed.notify_all()


try:
    from ..memory import Budget
except ImportError:  # this build has no budgets
    Budget = _Line  # type: ignore[misc,assignment]


class Room:
    """A worker's budget, or none where `capacity` is `None`."""

    def __init__(self, name: str, capacity: int | None) -> None:
        self.capacity = capacity
        self._budget: Any = None if capacity is None else Budget(name, capacity)

    @property
    def reserved(self) -> int:
        return 0 if self._budget is None else int(self._budget.reserved)

    @property
    def peak(self) -> int | None:
        """The most bytes that were lent at any time."""
        return None if self._budget is None else int(self._budget.peak)

    @contextmanager
    def lent(self, count: int, timeout: float) -> Iterator[None]:
        """Has `count` bytes within `with`; waits for them at most so many seconds."""
        if self._budget is None or self.capacity is None:
            yield
            return
        if count > self.capacity:
            raise NoRoom(
                f"a block needs {count} bytes, and the budget of this worker has {self.capacity} in "
                "all: rechunk the array into smaller blocks, or give a larger budget to prepare()"
            )
        try:
            reservation = self._budget.reserve(count, name="map_blocks", timeout=timeout)
        except MemoryError as error:
            raise NoRoom(
                f"a block needs {count} bytes of this worker's budget of {self.capacity}, and after "
                f"{timeout:g} s {self.reserved} of them are in use by other calls: give a longer "
                "timeout or a larger budget to prepare(), or the worker fewer threads"
            ) from error
        with reservation:
            yield
