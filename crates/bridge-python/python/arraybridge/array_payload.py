"""Objects that carry one array, and can be made again around another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from .arrays import Array

__all__ = ["ArrayPayload"]

ArrayPayloadT = TypeVar("ArrayPayloadT", bound="ArrayPayload")


class ArrayPayload(ABC):
    """An object around one array. Decorated functions convert the array within."""

    @abstractmethod
    def array_payload_data(self) -> Array:
        """The array within."""

    @abstractmethod
    def with_data(self: ArrayPayloadT, data: Array) -> ArrayPayloadT:
        """The same object around another array."""

    def map_array_payload(
        self: ArrayPayloadT, transform: Callable[[Any], Any]
    ) -> ArrayPayloadT:
        """The same object around what `transform` makes of the array."""
        return self.with_data(transform(self.array_payload_data()))
