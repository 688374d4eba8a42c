"""Arrays of NumPy with masks, which no other framework has."""

from __future__ import annotations

import sys
from typing import Any

from .exceptions import MemoryConversionError

__all__ = ["is_masked", "refuse_mask"]


def is_masked(array: Any) -> bool:
    """Whether it is a masked array, with or without a value that is masked."""
    # Where NumPy has not loaded the module, there is none.
    kind = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    return kind is not None and isinstance(array, kind)


def refuse_mask(array: Any, target: str, method: str, which: str = "") -> None:
    """A `MemoryConversionError` where it is a masked array, as conversions give for it.

    `which` says which of several arrays it is.
    """
    if is_masked(array):
        raise MemoryConversionError(
            "numpy",
            target,
            method,
            f"{which}a masked array is not supported, as its mask would be lost: fill it first: "
            "`array.filled(0)`, and hand the mask over on its own",
        )
