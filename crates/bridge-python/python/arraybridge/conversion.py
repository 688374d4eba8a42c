"""What was converted, and how: records, who observes them, and the ways there are.

An observer is installed for a context (`contextvars`). A new thread starts without one, unless the interpreter has
threads inherit the context that they are started in (`sys.flags.thread_inherit_context`), as free-threaded ones do.
Where nobody observes, nothing is timed and nothing recorded.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from . import _native, converters
from .devices import HOST, Device, HostDevice
from .html_tables import table
from .libraries import ArrayLibrary

__all__ = [
    "ConversionCounters",
    "ConversionObserver",
    "ConversionRecord",
    "ConversionRoute",
    "ConversionTotal",
    "DLPackExchange",
    "DeviceMove",
    "HostCopy",
    "HostExchange",
    "IgnoreConversions",
    "ObserverOfThisContext",
    "RouteDeclinedError",
    "SharedHostBuffer",
    "StaysInPlace",
]

ConversionKey = tuple[str, str, str, str, str, tuple[str, ...]]


@dataclass(frozen=True)
class ConversionRecord:
    """One conversion that was carried out."""

    source_library: str
    source_device: str
    target_library: str
    target_device: str
    mechanism: str
    nbytes: int
    seconds: float
    declined_mechanisms: tuple[str, ...] = ()

    @property
    def key(self) -> ConversionKey:
        """Everything but the amounts."""
        return (
            self.source_library,
            self.source_device,
            self.target_library,
            self.target_device,
            self.mechanism,
            self.declined_mechanisms,
        )

    def to_json(self) -> dict[str, Any]:
        """The record as JSON has it."""
        row = asdict(self)
        row["declined_mechanisms"] = list(self.declined_mechanisms)
        return row

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> ConversionRecord:
        """A record out of what `to_json` gave."""
        fields = dict(row)
        fields["declined_mechanisms"] = tuple(fields.get("declined_mechanisms", ()))
        return ConversionRecord(**fields)


class ObserverOfThisContext:
    """The attribute `ConversionObserver.current`: who observes in this context, or `None`."""

    def __get__(self, instance: Any, owner: Any = None) -> ConversionObserver | None:
        return _current.get()

    @property
    def current(self) -> ConversionObserver | None:
        return _current.get()


class ConversionObserver(ABC):
    """Is told of conversions, where it is installed."""

    current: ClassVar[Any] = ObserverOfThisContext()

    @abstractmethod
    def record(self, record: ConversionRecord) -> None:
        """Takes notice of one conversion that has succeeded.

        What it raises is raised by that conversion, whose result is lost then; the array is as it was.
        """

    @contextmanager
    def installed(self) -> Iterator[ConversionObserver]:
        """Observes within a `with` block, in this context; whoever did before does again after."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def install(self) -> ConversionObserver:
        """Observes from now on, in this context."""
        _current.set(self)
        return self


_current: ContextVar[ConversionObserver | None] = ContextVar("arraybridge_observer", default=None)
converters.watch_with(_current.get)


class IgnoreConversions(ConversionObserver):
    """Observes nothing: within a block of it, nobody does."""

    def record(self, record: ConversionRecord) -> None:
        return None


@dataclass
class ConversionTotal:
    """How many conversions, how many bytes, how long."""

    count: int = 0
    nbytes: int = 0
    seconds: float = 0.0

    def add(self, other: ConversionTotal) -> None:
        self.count += other.count
        self.nbytes += other.nbytes
        self.seconds += other.seconds


#: Held while counters change or are read: several threads may share them.
_counting = threading.Lock()


@dataclass
class ConversionCounters(ConversionObserver):
    """Adds conversions up, by everything but their amounts. Several threads may share it."""

    totals: dict[ConversionKey, ConversionTotal] = field(default_factory=dict)

    def record(self, record: ConversionRecord) -> None:
        self._add(record.key, ConversionTotal(1, record.nbytes, record.seconds))

    def _add(self, key: ConversionKey, amount: ConversionTotal) -> None:
        with _counting:
            self.totals.setdefault(key, ConversionTotal()).add(amount)

    def _counted(self) -> list[tuple[ConversionKey, ConversionTotal]]:
        with _counting:
            return [(key, replace(total)) for key, total in self.totals.items()]

    def merge(self, other: ConversionCounters) -> ConversionCounters:
        """Adds what another has counted, and returns itself."""
        for key, total in other._counted():
            self._add(key, total)
        return self

    def rows(self) -> list[dict[str, Any]]:
        """A row for each kind of conversion, in the order of their names."""
        names = (
            "source_library",
            "source_device",
            "target_library",
            "target_device",
            "mechanism",
        )
        rows: list[dict[str, Any]] = []
        for key, total in sorted(self._counted(), key=lambda counted: counted[0]):
            row: dict[str, Any] = dict(zip(names, key[:5], strict=True))
            row["declined_mechanisms"] = list(key[5])
            rows.append(row | asdict(total))
        return rows

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as JSON has them."""
        return self.rows()

    @staticmethod
    def from_json(rows: list[dict[str, Any]]) -> ConversionCounters:
        """Counters out of what `to_json` gave."""
        counters = ConversionCounters()
        for row in rows:
            key = (
                row["source_library"],
                row["source_device"],
                row["target_library"],
                row["target_device"],
                row["mechanism"],
                tuple(row.get("declined_mechanisms", ())),
            )
            counters._add(key, ConversionTotal(row["count"], row["nbytes"], row["seconds"]))
        return counters

    def _lines(self) -> list[tuple[str, ...]]:
        lines: list[tuple[str, ...]] = [("from", "to", "how", "times", "MB", "seconds", "declined")]
        for row in self.rows():
            lines.append(
                (
                    f"{row['source_library']} {row['source_device']}",
                    f"{row['target_library']} {row['target_device']}",
                    row["mechanism"],
                    str(row["count"]),
                    f"{row['nbytes'] / 1e6:.1f}",
                    f"{row['seconds']:.3f}",
                    ", ".join(row["declined_mechanisms"]),
                )
            )
        return lines

    def _repr_html_(self) -> str:
        head, *rows = self._lines()
        return table(head, rows)

    def format_table(self) -> str:
        """The rows as a table of text."""
        lines = self._lines()
        widths = [max(len(line[column]) for line in lines) for column in range(7)]
        text = []
        for line in lines:
            cells = [
                cell.rjust(width) if 3 <= column <= 5 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text.append("  ".join(cells).rstrip())
        return "\n".join(text)


class RouteDeclinedError(Exception):
    """A route that does not lead through for this array: the next one is tried."""


class ConversionRoute(ABC):
    """A way for an array from one framework and device to another.

    The routes are classes. `planned` tells from what the frameworks declare, without importing
    one, which comes first; the native module may find that it does not lead through, and
    `taken` tells afterwards which it was.
    """

    mechanism: ClassVar[str]
    writes_a_record: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def applies(cls, source: Any, source_device: Device, target: Any, target_device: Device) -> bool:
        """Whether the route could lead from one to the other."""

    @classmethod
    def convert(cls, data: Any, source: Any, target: Any, target_device: Device) -> Any:
        """The array by this route; a `RouteDeclinedError` where it would not lead through."""
        library = ArrayLibrary.named(source)
        device = library.device_of(data)
        if not cls.applies(library, device, ArrayLibrary.named(target), target_device):
            raise RouteDeclinedError(f"{cls.mechanism} does not lead there")
        result = _run(data, target, target_device, copy=cls._copies())
        if cls is not HostCopy and cls.taken(data, result, source, target) is not cls:
            raise RouteDeclinedError(f"the array was not converted by {cls.mechanism}")
        return result

    @classmethod
    def _copies(cls) -> bool | None:
        return None

    @classmethod
    def taken(cls, data: Any, result: Any, source: Any, target: Any) -> type[ConversionRoute]:
        """The route that `result` has come by, as far as it shows."""
        return _taken(data, result, ArrayLibrary.named(source), ArrayLibrary.named(target))

    @staticmethod
    def candidates(
        source: Any, source_device: Device, target: Any, target_device: Device
    ) -> tuple[type[ConversionRoute], ...]:
        """The routes that apply, in the order in which they are tried."""
        ends = (ArrayLibrary.named(source), source_device, ArrayLibrary.named(target), target_device)
        return tuple(route for route in _ROUTES if route.applies(*ends))

    @staticmethod
    def planned(
        source: Any, source_device: Device, target: Any, target_device: Device
    ) -> type[ConversionRoute]:
        """The route that is tried first."""
        return ConversionRoute.candidates(source, source_device, target, target_device)[0]

    @staticmethod
    def run(data: Any, source: Any, target: Any, target_device: Device) -> Any:
        """The array by the first route that leads through, and a record of it."""
        source, target = ArrayLibrary.named(source), ArrayLibrary.named(target)
        return converters.convert_memory(data, source.name, target.name, device=target_device)


class StaysInPlace(ConversionRoute):
    """The same framework and device: the array itself."""

    mechanism = "stays in place"
    writes_a_record = False

    @classmethod
    def applies(cls, source: Any, source_device: Device, target: Any, target_device: Device) -> bool:
        return source is target and source_device == target_device


class DeviceMove(ConversionRoute):
    """The same framework, another device."""

    mechanism = "device move"

    @classmethod
    def applies(cls, source: Any, source_device: Device, target: Any, target_device: Device) -> bool:
        return source is target and source_device != target_device


class DLPackExchange(ConversionRoute):
    """The memory is handed over by DLPack."""

    mechanism = "dlpack"

    @classmethod
    def applies(cls, source: Any, source_device: Device, target: Any, target_device: Device) -> bool:
        if source is target or "numpy" in (source.name, target.name):
            return False
        if not (source.exports_dlpack and target.imports_dlpack):
            return False
        return target.has_host or not isinstance(source_device, HostDevice)


class HostExchange(ConversionRoute):
    """What both routes through host memory have in common."""

    @classmethod
    @abstractmethod
    def applies(cls, source: Any, source_device: Device, target: Any, target_device: Device) -> bool:
        """Whether the route could lead from one to the other."""


class SharedHostBuffer(HostExchange):
    """Both arrays lie in one piece of host memory."""

    mechanism = "shared host buffer"

    @classmethod
    def applies(cls, source: Any, source_device: Device, target: Any, target_device: Device) -> bool:
        both_on_host = isinstance(source_device, HostDevice) and isinstance(target_device, HostDevice)
        if source is target or not both_on_host:
            return False
        return source.has_host and target.has_host and "numpy" in (source.name, target.name)


class HostCopy(HostExchange):
    """The elements are copied by way of the host."""

    mechanism = "host copy"

    @classmethod
    def applies(cls, source: Any, source_device: Device, target: Any, target_device: Device) -> bool:
        return source is not target

    @classmethod
    def _copies(cls) -> bool | None:
        return True


_ROUTES: tuple[type[ConversionRoute], ...] = (
    StaysInPlace,
    DeviceMove,
    DLPackExchange,
    SharedHostBuffer,
    HostCopy,
)


def _run(data: Any, target: Any, device: Device, copy: bool | None) -> Any:
    name = ArrayLibrary.named(target).name
    return _native.convert(data, name, device=device.native_name(name), copy=copy)


def _taken(
    data: Any, result: Any, source: ArrayLibrary, target: ArrayLibrary
) -> type[ConversionRoute]:
    if result is data:
        return StaysInPlace
    before, after = _device(source, data), _device(target, result)
    if source is target and before != after:
        return DeviceMove
    address = _address(source, data)
    if before == after and address is not None and address == _address(target, result):
        shares_host = SharedHostBuffer.applies(source, before, target, after)
        return SharedHostBuffer if shares_host else DLPackExchange
    return HostCopy


def _device(library: ArrayLibrary, data: Any) -> Device:
    try:
        return library.device_of(data)
    except Exception:  # an array in several pieces
        return HOST


def _address(library: ArrayLibrary, data: Any) -> int | None:
    """Where the elements begin; `None` where there are none, or it cannot be told."""
    try:
        address = library.address_of(data)
        if address is None and library.name == "tensorflow":
            address = int(data.__array_interface__["data"][0])
    except Exception:  # the record is not worth an error
        return None
    return address or None


def record_conversion(data: Any, source: Any, result: Any, target: Any, seconds: float) -> None:
    """Tells the observer of this context of a conversion that was carried out."""
    observer = _current.get()
    if observer is None or isinstance(observer, IgnoreConversions):
        return
    origin, end = ArrayLibrary.named(source), ArrayLibrary.named(target)
    route = _taken(data, result, origin, end)
    if not route.writes_a_record:
        return
    before, after = _device(origin, data), _device(end, result)
    declined: list[str] = []
    for candidate in ConversionRoute.candidates(origin, before, end, after):
        if candidate is route:
            break
        declined.append(candidate.mechanism)
    observer.record(
        ConversionRecord(
            source_library=origin.name,
            source_device=before.label,
            target_library=end.name,
            target_device=after.label,
            mechanism=route.mechanism,
            nbytes=end.nbytes_of(result),
            seconds=seconds,
            declined_mechanisms=tuple(declined),
        )
    )
