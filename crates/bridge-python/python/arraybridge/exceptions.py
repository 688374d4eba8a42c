"""The errors of a conversion."""

from __future__ import annotations

__all__ = ["InvalidMemoryTypeError", "MemoryConversionError"]


class MemoryConversionError(Exception):
    """A conversion that could not be carried out.

    The four arguments are kept as attributes of the same names. `method` is the way that was
    tried: "detection", "dlpack", "copy", "device_selection" and so on.
    """

    def __init__(self, source_type: str, target_type: str, method: str, reason: str) -> None:
        super().__init__(
            f"Cannot convert from {source_type} to {target_type} using {method}. Reason: {reason}"
        )
        self.source_type = source_type
        self.target_type = target_type
        self.method = method
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        # Exception would hand the one text to a constructor of four.
        fields = (self.source_type, self.target_type, self.method, self.reason)
        return type(self), fields


class InvalidMemoryTypeError(MemoryConversionError, ValueError):
    """A name, a device or an array that is not what was said: also a `ValueError`."""
