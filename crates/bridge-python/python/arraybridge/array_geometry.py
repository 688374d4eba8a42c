"""The shape of a value, without converting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ArrayGeometry"]


@dataclass(frozen=True)
class ArrayGeometry:
    """The lengths of an array along its axes."""

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @staticmethod
    def from_value(value: Any) -> ArrayGeometry | None:
        """The geometry of an array, a number, or lists of one length within each other.

        `None` where the value has none: a text, a mapping, ragged lists, lengths unknown.
        """
        shape = _shape(value)
        return None if shape is None else ArrayGeometry(shape)

    @staticmethod
    def require_from_value(value: Any, *, value_name: str = "Value") -> ArrayGeometry:
        """As `from_value`; a `ValueError` where there is none."""
        geometry = ArrayGeometry.from_value(value)
        if geometry is None:
            raise ValueError(f"{value_name} of type {type(value).__name__} has no shape of an array")
        return geometry


def _shape(value: Any) -> tuple[int, ...] | None:
    lengths = getattr(value, "shape", None)
    if lengths is not None and not isinstance(value, type):
        try:
            return tuple(int(length) for length in lengths)
        except (TypeError, ValueError):  # a dimension that TensorFlow does not know
            return None
    if isinstance(value, (bool, int, float, complex)):
        return ()
    if isinstance(value, (list, tuple)):
        shapes = {_shape(item) for item in value}
        if not shapes:
            return (0,)
        first = shapes.pop()
        return None if shapes or first is None else (len(value), *first)
    return None
