"""What all arrays have in common, for annotations."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

__all__ = ["Array"]


@runtime_checkable
class Array(Protocol):
    """An array of any framework."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...
