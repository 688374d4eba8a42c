"""What conversions between each two frameworks do on this machine, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import _native
from .exceptions import MemoryConversionError
from .html_tables import Cell, table
from .types import MemoryType, require_name

__all__ = ["ConversionMatrix", "conversion_matrix"]


@dataclass(frozen=True)
class ConversionMatrix:
    """The plan of a conversion from each framework to each, or why there is none.

    Printed it is a table, in a notebook one that explains the cell that is pointed at.
    """

    frameworks: tuple[str, ...]
    #: By the names of both ends: a `Report`, or a text that says why there can be no conversion.
    cells: Mapping[tuple[str, str], _native.Report | str]

    def __getitem__(self, ends: tuple[Any, Any]) -> _native.Report | str:
        source, target = ends
        return self.cells[require_name(source), require_name(target)]

    def __str__(self) -> str:
        lines = [("from \\ to", *self.frameworks)]
        for source in self.frameworks:
            lines.append((source, *(_short(self.cells[source, one]) for one in self.frameworks)))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ([text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines)
        return "\n".join("  ".join(line).rstrip() for line in padded)

    def _repr_html_(self) -> str:
        rows: list[list[Cell]] = []
        for source in self.frameworks:
            cells = [self.cells[source, target] for target in self.frameworks]
            rows.append([source, *((_short(cell), str(cell)) for cell in cells)])
        return table(("from \\ to", *self.frameworks), rows)


def _short(cell: _native.Report | str) -> str:
    return "refused" if isinstance(cell, str) else ", ".join(cell.steps)


def conversion_matrix(
    frameworks: str | MemoryType | Iterable[str | MemoryType] | None = None,
    *,
    dtype: Any = "float32",
    shape: tuple[int, ...] = (2, 3),
) -> ConversionMatrix:
    """Plans a conversion from each of the frameworks to each, of an array of this element type and shape.

    Left out, `frameworks` are all six, and those that are installed are imported; one may be given
    by itself. The arrays are on the host, or on their framework's own device, row-major, and those
    on the host begin at a multiple of 64 bytes.

    >>> print(conversion_matrix(["numpy"]))
    from \\ to  numpy
    numpy      share
    """
    if isinstance(frameworks, (str, MemoryType)):
        frameworks = (frameworks,)
    wanted = MemoryType if frameworks is None else frameworks
    names = tuple(dict.fromkeys(require_name(one) for one in wanted))
    arrays: dict[str, Any] = {}
    missing: dict[str, str] = {}
    # pyclesperanto has to be imported before TensorFlow.
    for name in sorted(names, key=lambda name: name != "pyclesperanto"):
        try:
            arrays[name] = _sample(name, dtype, shape)
        except MemoryConversionError as error:
            missing[name] = error.reason
    cells: dict[tuple[str, str], _native.Report | str] = {}
    for source in names:
        for target in names:
            why = missing.get(source) or missing.get(target)
            cells[source, target] = why or _planned(arrays[source], target)
    return ConversionMatrix(names, cells)


def _sample(name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
    import numpy

    from .dtype_scaling import numpy_dtype

    element = numpy_dtype(dtype)
    size = element.itemsize * int(numpy.prod(shape))
    block = numpy.zeros(size + 64, numpy.uint8)
    start = -block.ctypes.data % 64
    array = block[start : start + size].view(element).reshape(shape)
    return _native.convert(array, name)


def _planned(array: Any, target: str) -> _native.Report | str:
    try:
        return _native.plan(array, target)
    except MemoryConversionError as error:
        return error.reason
