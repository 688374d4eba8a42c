"""What becomes of values when an array gets another element type.

There are five rules, each defined for every value:

- "refuse": values keep their size; one that the type does not hold is an error.
- "saturate": values keep their size; what is out of range becomes the nearest end. NaN becomes 0 in
  an integer; infinities and NaN stay in a float.
- "wrap": values keep their size; integers keep their low bits. NaN and infinities become 0 in an
  integer; a float that is too large for its new type becomes infinite.
- "minmax": floats are stretched over the range of an integer type, the smallest becomes the
  smallest. This is what earlier releases did; brightness is not kept from one array to the next.
  Signed types end 128 below their largest value; int8, int64 and uint64 get 0 and 1; an array of
  equal values, integers, and floats that stay floats are only cast, and wrap. NaN and infinities
  are refused.
- "range": `low` to `high` become the range of an integer type, to the nearest, and 0 to 1 in a
  float; what lies outside becomes the nearer end. NaN is refused in an integer and stays in a float.

Fractions are cut off toward zero, except in "range". Empty arrays stay empty; masked ones are refused. The
arithmetic runs in kernels of this package, which reserve what they take in a budget and take it from a pool; the result is
row-major, of the framework, and on the device, of the array. Computed without them are arrays of CuPy, in CuPy,
and in NumPy what changes from or to booleans or complex numbers, its subclasses and types that only it has, and
short floats made of float64 or of integers of 32 and 64 bits, which `ml_dtypes` rounds by way of float32. There
only the result is reserved, in the framework's own memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from . import _native
from ._native import memory as _memory
from .libraries import ArrayLibrary
from .masked_arrays import refuse_mask
from .types import MemoryType

__all__ = ["RULES", "SCALING_FUNCTIONS", "rescale"]

RULES = ("refuse", "saturate", "wrap", "minmax", "range")

#: For "minmax": what 0 to 1 is multiplied with, and what is then taken off.
_SCALING_RANGES: dict[str, tuple[int, int]] = {
    "uint8": (2**8 - 1, 0),
    "uint16": (2**16 - 1, 0),
    "uint32": (2**32 - 1, 0),
    "int16": (2**16 - 1, 2**15),
    "int32": (2**32 - 1, 2**31),
}
#: How far below their largest value signed types end, so that float32 can say it.
_SIGNED_MARGIN = 128


def rescale(
    array: Any,
    dtype: Any,
    rule: str = "saturate",
    *,
    low: float | None = None,
    high: float | None = None,
    budget: Any = None,
    pool: Any = None,
) -> Any:
    """The array with elements of type `dtype`, by one of the rules of this module.

    `dtype` is a name, a dtype of NumPy or of the array's framework. "range" needs `low` and `high`.
    What is made is reserved in `budget` until it is done, and lies in memory of `pool`: those of
    `arraybridge.memory`, or of the `with` blocks that the call is in. No room in the budget is a
    `Shortage`, before anything is computed.
    """
    if rule not in RULES:
        raise ValueError(f"{rule!r} is no rule to rescale by: the rules are {', '.join(RULES)}")
    if (rule == "range") != (low is not None or high is not None):
        raise ValueError("low and high belong to the rule 'range', which needs both")
    if rule == "range" and not (_finite(low) and _finite(high) and low < high):  # type: ignore[operator]
        raise ValueError(
            f"a range has two finite ends, the lower one first, not low={low!r} and high={high!r}"
        )
    if budget is None and pool is None:
        return _of_any(array, dtype, rule, low, high)
    with _memory.within(budget, pool):
        return _of_any(array, dtype, rule, low, high)


def _of_any(array: Any, dtype: Any, rule: str, low: float | None, high: float | None) -> Any:
    """As `rescale`, of an array of any framework."""
    library = ArrayLibrary.of(array)
    target = numpy_dtype(dtype)
    if rule != "range" and library.dtype_name(array) == target.name:
        return array
    refuse_mask(array, library.name, "rescaling")
    if library.name == "cupy":
        device = library.device_of(array).native_name("cupy")
        return _rescaled(library.module, array, target, rule, low, high, device)
    import numpy

    values = array if library.name == "numpy" else _native.convert(array, "numpy")
    made = _rescaled(numpy, values, target, rule, low, high, "cpu")
    if library.name == "numpy":
        return made
    device = library.device_of(array).native_name(library.name)
    return _native.convert(made, library.name, device=device)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def numpy_dtype(dtype: Any) -> Any:
    """The dtype of NumPy for a name, a dtype of any framework, or a member of DtypeConversion."""
    import numpy

    named = getattr(dtype, "numpy_dtype", None) or getattr(dtype, "as_numpy_dtype", None)
    if named is not None:
        return numpy.dtype(named)
    if type(dtype).__module__ == "torch":
        dtype = str(dtype).rpartition(".")[2]
    try:
        return numpy.dtype(dtype)
    except TypeError:
        if not isinstance(dtype, str) or not dtype.startswith(("bfloat16", "float8", "float4")):
            raise TypeError(f"{dtype!r} is not the name of an element type") from None
    import ml_dtypes  # the short floats that NumPy has no names for

    return numpy.dtype(getattr(ml_dtypes, dtype))


def _is_float(dtype: Any) -> bool:
    return dtype.kind == "f" or _is_short_float(dtype)


def _is_short_float(dtype: Any) -> bool:
    """Whether it is a float of `ml_dtypes`, some of which claim NumPy's kind."""
    return bool(dtype.name.startswith(("bfloat16", "float8", "float4")))


def _is_integer(dtype: Any) -> bool:
    return dtype.kind in "iu"


def _rescaled(
    xp: Any,
    values: Any,
    target: Any,
    rule: str,
    low: float | None,
    high: float | None,
    device: str | None,
) -> Any:
    source = values.dtype
    for dtype in (source, target):
        if not (_is_float(dtype) or dtype.kind in "iubc"):
            raise TypeError(f"{dtype} is no type of numbers: there is nothing to rescale")
    if source.kind == "c" and target.kind != "c":
        raise ValueError(f"complex numbers do not fit into {target}: take their parts apart first")
    if rule == "range":
        if source.kind == "c" or target.kind in "bc":
            raise ValueError("a range has real numbers at both ends: rescale real numbers")
    elif values.size == 0 or target.kind in "bc" or source.kind == "b":
        with _memory.admitted_bytes(values.size * target.itemsize, device):
            return values.astype(target)
    ends = float(low or 0.0), float(high or 0.0)
    import numpy

    if type(values) is numpy.ndarray and _is_for_kernels(source, target, rule):
        made = _native.rescaled(values, target, rule, *ends)
        if made is not None:
            return made
    with _memory.admitted_bytes(values.size * target.itemsize, device):
        return _computed(xp, values, target, rule, *ends)


def _is_for_kernels(source: Any, target: Any, rule: str) -> bool:
    """Whether the kernels round as NumPy does."""
    if rule == "range" or not _is_short_float(target):
        return True
    # Short floats of `ml_dtypes`: wider numbers are rounded to float32 first, and by the kernels once. float8_e8m0fnu
    # has neither zero nor a sign.
    is_exact_in_float32 = source.itemsize <= 2 or source.name == "float32"
    return bool(is_exact_in_float32 and target.name != "float8_e8m0fnu")


def _computed(xp: Any, values: Any, target: Any, rule: str, low: float, high: float) -> Any:
    """As `_native.rescaled`, by the module `xp` and of all its types."""
    if rule == "range":
        return _in_range(xp, values, target, low, high)
    source = values.dtype
    if _is_float(source) and _is_integer(target):
        if rule == "minmax":
            return _stretched(xp, values, target)
        return _FLOAT_TO_INTEGER[rule](xp, values, target)
    if _is_integer(source) and _is_integer(target):
        return _integer_to_integer(xp, values, target, rule)
    return _to_float(xp, values, target, rule)


def _stretched(xp: Any, values: Any, target: Any) -> Any:
    wide = values if values.dtype.name in ("float32", "float64") else values.astype("float32")
    _require_finite(xp, wide)
    least, most = wide.min(), wide.max()
    if not most > least:
        return _wrapped(xp, wide, target)
    # 1-element arrays of CuPy broadcast; of NumPy they are numbers of the same type.
    with _quiet():
        span = most - least
        if not bool(xp.isfinite(span)):  # the ends are further apart than the type can say
            wide, least, span = wide / 2, least / 2, most / 2 - least / 2
        places = (wide - least) / span
    known = _SCALING_RANGES.get(target.name)
    if known is None:
        return places.astype(target)
    scale, offset = known
    top = scale - offset - (_SIGNED_MARGIN if offset else 0)
    factor = places.dtype.type
    places = places * factor(scale)
    if offset:
        places = places - factor(offset)
    # The ends are rounded as the numbers are; the last cast then keeps what the type holds.
    places = xp.clip(places, factor(-offset), factor(top))
    return _saturated(xp, places, target)


def _require_finite(xp: Any, values: Any) -> None:
    finite = xp.isfinite(values)
    if bool(finite.all()):
        return
    place = int((~finite).ravel().argmax())
    raise ValueError(
        f"the value {float(values.ravel()[place])}, element {place} in row-major order, cannot be "
        "stretched: replace it first, or take the rule 'saturate'"
    )


def _in_range(xp: Any, values: Any, target: Any, low: float, high: float) -> Any:
    wide = values.astype("float64")
    with _quiet():
        span = high - low
        if math.isfinite(span):
            places = (xp.clip(wide, low, high) - low) / span
        else:
            places = (xp.clip(wide, low, high) / 2 - low / 2) / (high / 2 - low / 2)
    if not _is_integer(target):
        return places.astype(target)
    missing = xp.isnan(wide)
    if bool(missing.any()):
        place = int(missing.ravel().argmax())
        raise ValueError(
            f"NaN, element {place} in row-major order, has no place in a range: replace it first"
        )
    unsigned = f"uint{target.itemsize * 8}"
    whole = _saturated(
        xp, xp.floor(places * float(2 ** (target.itemsize * 8) - 1) + 0.5), xp.dtype(unsigned)
    )
    if target.kind == "u":
        return whole
    return (whole ^ xp.asarray(1 << (target.itemsize * 8 - 1), dtype=unsigned)).view(target)


def _bounds(target: Any) -> tuple[int, int]:
    bits = target.itemsize * 8
    return (0, 2**bits - 1) if target.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _saturated(xp: Any, values: Any, target: Any) -> Any:
    least, most = _bounds(target)
    whole = xp.trunc(values.astype("float64"))
    # float(most) of 64 bits is one above it: everything below fits.
    above, below = whole >= float(most), whole <= float(least)
    inside = xp.where(above | below | xp.isnan(whole), 0.0, whole)
    made = inside.astype(target)
    made[above] = most
    made[below] = least
    return made


def _wrapped(xp: Any, values: Any, target: Any) -> Any:
    whole = xp.trunc(values.astype("float64"))
    whole = xp.where(xp.isfinite(whole), whole, 0.0)
    # What the low 64 bits hold, as a signed number: exact, since fmod is.
    whole = xp.fmod(whole, 2.0**64)
    whole = xp.where(whole >= 2.0**63, whole - 2.0**64, whole)
    whole = xp.where(whole < -(2.0**63), whole + 2.0**64, whole)
    return whole.astype("int64").astype(target)


def _refusing(xp: Any, values: Any, target: Any) -> Any:
    least, most = _bounds(target)
    wide = values.astype("float64")
    whole = xp.trunc(wide)
    too_large = whole > float(most) if target.itemsize < 8 else whole >= float(most)
    bad = xp.isnan(wide) | too_large | (whole < float(least))
    _refuse(xp, bad, values, target)
    return whole.astype(target)


def _refuse(xp: Any, bad: Any, values: Any, target: Any) -> None:
    if not bool(bad.any()):
        return
    place = int(bad.ravel().argmax())
    raise ValueError(
        f"the value {values.ravel()[place]}, element {place} in row-major order, does not fit into "
        f"{target}: choose a rule that says what becomes of it ('saturate', 'wrap', 'minmax', 'range')"
    )


_FLOAT_TO_INTEGER: dict[str, Callable[[Any, Any, Any], Any]] = {
    "saturate": _saturated,
    "wrap": _wrapped,
    "refuse": _refusing,
}


def _integer_to_integer(xp: Any, values: Any, target: Any, rule: str) -> Any:
    if rule in ("wrap", "minmax"):
        return values.astype(target)
    held, wanted = _bounds(values.dtype), _bounds(target)
    least, most = max(held[0], wanted[0]), min(held[1], wanted[1])
    if rule == "refuse":
        _refuse(xp, (values < least) | (values > most), values, target)
        return values.astype(target)
    return xp.clip(values, least, most).astype(target)


def _to_float(xp: Any, values: Any, target: Any, rule: str) -> Any:
    with _quiet():
        made = values.astype(target)
    if rule in ("wrap", "minmax"):
        return made
    is_wide = values.dtype.name in ("float32", "float64") or _is_integer(values.dtype)
    wide = values if is_wide else values.astype("float32")
    lost = xp.isfinite(wide) & ~xp.isfinite(made.astype("float64"))
    if rule == "refuse":
        _refuse(xp, lost, values, target)
        return made
    if bool(lost.any()):
        largest = _largest(target)
        made[lost & (wide > 0)] = largest
        made[lost & (wide < 0)] = -largest
    return made


def _largest(target: Any) -> Any:
    if not _is_short_float(target):
        import numpy

        return numpy.finfo(target).max
    import ml_dtypes

    return ml_dtypes.finfo(target).max


def _quiet() -> Any:
    import numpy

    return numpy.errstate(over="ignore", invalid="ignore")


def _scale_generic(result: Any, target_dtype: Any, mem_type: MemoryType) -> Any:
    """The array by the rule "minmax", as earlier releases scaled; of any framework."""
    return rescale(result, target_dtype, "minmax")


SCALING_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    member.value: partial(_scale_generic, mem_type=member) for member in MemoryType
}
