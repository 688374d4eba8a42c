"""What each worker has of its own: a number on its machine, a device, a budget, counts."""

from __future__ import annotations

import os
import platform
import queue
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import distributed
from dask.utils import parse_bytes

from .. import _native
from ..devices import HOST, Device, NamedDevice, as_device
from ..exceptions import MemoryConversionError
from ..libraries import ArrayLibrary
from ..oom_recovery import is_out_of_memory, with_oom_recovery
from ..types import require_bool
from .budget import NoRoom, Room

__all__ = ["NoRoom", "WorkerSetup", "here", "prepare", "status"]

#: The share of a worker's memory limit that is its budget where nothing was said.
_SHARE = 0.5


@dataclass(frozen=True)
class _Terms:
    """What `prepare` was told."""

    devices: Any = None
    budget: int | None = None
    timeout: float = 300.0
    fallback: bool | None = None


class _Slot:
    """The number of a worker among those on its machine, which is taken when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: tuple[int, IO[bytes] | None] | None = None

    @property
    def number(self) -> int:
        with self._lock:
            if self._taken is None:
                self._taken = _free_slot()
            return self._taken[0]

    @property
    def number_if_taken(self) -> int | None:
        return None if self._taken is None else self._taken[0]


class _Worker:
    """One worker's own; a process without a worker, as the client's, has one too."""

    def __init__(self, worker: Any, terms: _Terms, slot: _Slot | None = None) -> None:
        self._worker = None if worker is None else weakref.ref(worker)
        self.name = f"process {os.getpid()}" if worker is None else str(worker.name)
        self.terms = terms
        self.lock = threading.Lock()
        self.blocks = 0
        self.recovered = 0
        #: The device of each framework that was asked for.
        self.devices: dict[str, Device] = {}
        self.slot = _Slot() if slot is None else slot
        self.room = Room(f"worker {self.name}", self._capacity())

    def _capacity(self) -> int | None:
        if self.terms.budget is not None:
            return self.terms.budget
        worker = self._worker() if self._worker is not None else None
        limit = getattr(getattr(worker, "memory_manager", None), "memory_limit", None)
        return int(limit * _SHARE) if limit else None

    def device(self, library: ArrayLibrary) -> Device:
        """Where this worker's arrays of the framework lie."""
        found = self.devices.get(library.name)
        if found is None:
            found = self.devices[library.name] = self._assigned(library)
        return found

    def _assigned(self, library: ArrayLibrary) -> Device:
        devices = self.terms.devices
        device: Device
        if isinstance(devices, Mapping):
            if self.name not in devices:
                raise ValueError(
                    f"prepare() was told the devices of the workers {sorted(devices)}, and none for "
                    f"the worker {self.name!r}: name it too"
                )
            device = devices[self.name]
        elif self._worker is None:
            return HOST  # not a worker
        elif devices is None:
            devices = library.accelerator_devices()
            if not devices:
                return HOST
            device = devices[0 if self._is_cuda_worker() else self.slot.number % len(devices)]
        else:
            device = devices[self.slot.number % len(devices)]
        if device is not HOST and library.has_accelerators:
            library.require_device(device)
        return device

    def _is_cuda_worker(self) -> bool:
        """Whether dask-cuda has put this worker's own GPU first among those that it sees."""
        worker = self._worker() if self._worker is not None else None
        plugins = getattr(worker, "plugins", {}).values()
        return any(type(plugin).__module__.startswith("dask_cuda") for plugin in plugins)

    def run(self, call: Callable[[], Any], name: str, count: int, retries: int) -> Any:
        """What the call gives, within the budget; after a lack of memory it is called again.

        The last try has the whole budget, so that no other call of this worker is in the way.
        """
        tries = 0

        def counted() -> Any:
            nonlocal tries
            tries += 1
            return call()

        try:
            with self.room.lent(count, self.terms.timeout):
                result = with_oom_recovery(counted, name, retries)
        except NoRoom:
            raise
        except Exception as error:
            if not retries or self.room.capacity is None or not is_out_of_memory(error):
                raise
            result = self._alone(counted, name, error)
        with self.lock:
            self.blocks += 1
            self.recovered += tries > 1
        return result

    def _alone(self, call: Callable[[], Any], name: str, error: Exception) -> Any:
        assert self.room.capacity is not None
        try:
            with self.room.lent(self.room.capacity, self.terms.timeout):
                return with_oom_recovery(call, name, 0)
        except NoRoom:
            raise error from None

    def __getstate__(self) -> Any:
        raise TypeError("what a worker has stays with it")

    def report(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "machine": platform.node(),
            "pid": os.getpid(),
            "slot": self.slot.number_if_taken,
            "devices": {name: device.label for name, device in self.devices.items()},
            "budget": self.room.capacity,
            "reserved": self.room.reserved,
            "peak": self.room.peak,
            "blocks": self.blocks,
            "recovered": self.recovered,
        }


def _free_slot() -> tuple[int, IO[bytes] | None]:
    """The lowest number that no other worker of this user has on this machine.

    Each is a locked file; the system unlocks it when the process ends, however it ends.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: all workers have the first number
        return 0, None
    folder = Path(tempfile.gettempdir()) / f"arraybridge-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(
            f"{folder} belongs to somebody else, so that workers cannot be numbered: remove it, "
            "set TMPDIR, or give prepare() the devices of the workers by name"
        )
    number = 0
    while True:
        file = open(folder / f"worker-{number}.lock", "ab")  # noqa: SIM115 - held until the end
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            number += 1
        else:
            return number, file


_workers: weakref.WeakKeyDictionary[Any, _Worker] = weakref.WeakKeyDictionary()
_outside: _Worker | None = None
_lock = threading.Lock()


def here() -> _Worker:
    """What the worker of this thread has of its own."""
    global _outside
    worker = _current()
    with _lock:
        if worker is None:
            if _outside is None:
                _outside = _Worker(None, _Terms())
            return _outside
        found = _workers.get(worker)
        if found is None:
            found = _workers[worker] = _Worker(worker, _Terms())
        return found


def _current() -> Any:
    try:
        return distributed.get_worker()
    except ValueError:
        pass
    # Where arrays are read, no task runs; a process of its own has one worker.
    instances = list(distributed.Worker._instances)
    return instances[0] if len(instances) == 1 else None


class WorkerSetup(distributed.WorkerPlugin):
    """Tells each worker what `prepare` was told, also those that come later or start again."""

    name = "arraybridge"

    def __init__(self, terms: _Terms) -> None:
        self.terms = terms

    def setup(self, worker: Any) -> None:
        # Unpickling this has imported arraybridge.dask, and so registered the serializers.
        from ..converters import set_device_fallback

        if self.terms.fallback is not None:
            set_device_fallback(self.terms.fallback)
        with _lock:
            before = _workers.get(worker)
            # The number stays: calls that run may still hold it.
            slot = None if before is None else before.slot
            _workers[worker] = _Worker(worker, self.terms, slot)


def device_asked(value: Any, role: str) -> Device | None:
    """As `as_device`; a text that names no device is a `ValueError` here, not on a worker.

    Whether the device is there, the worker says: its machine may have others than this one.
    """
    device = as_device(value)
    if isinstance(device, NamedDevice):
        try:
            _native.plan(b"", "numpy", device=device.name)
        except MemoryConversionError:
            pass
        except ValueError:
            raise ValueError(
                f"{role} {value!r}, which is no device: write a kind and an ordinal as in 'cuda:0', or "
                "None for the host"
            ) from None
    return device


def require_client(client: Any) -> None:
    """A `TypeError` where it is no client, nor has the two methods of one that are called here."""
    if not (hasattr(client, "register_plugin") and hasattr(client, "run")):
        raise TypeError(
            f"workers are told by a client of Dask, as distributed.Client(address), and {client!r} is none"
        )


def prepare(
    client: Any,
    *,
    devices: Sequence[Any] | Mapping[Any, Any] | None = None,
    budget: int | str | None = None,
    timeout: float = 300.0,
    device_fallback: bool | None = None,
    reply_timeout: float = 300.0,
) -> dict[str, Any]:
    """Tells the workers of a cluster their devices and budgets, now and when they start again.

    - `devices`: a list is dealt out among the workers of each machine, in turn; a dict names the
      device of each worker by its name. They are what `convert_memory` takes: `None` is the host.
      Left out, workers share the accelerators that the framework sees, in turn, or use the host.
    - `budget`: the bytes that the calls of one worker may use together, as a number or a text like
      "2 GiB". Left out, half the memory limit of the worker.
    - `timeout`: how many seconds a call waits for its part of the budget.
    - `device_fallback`: as `set_device_fallback`, on the workers.
    - `reply_timeout`: how many seconds the workers have to answer. They import this package first,
      which can take minutes on a busy machine. Afterwards it is a `TimeoutError` that names those
      that were not heard of lately; all the same, each is told once it answers again.

    Returns what `status` does. Tell it again to change it; counts begin anew.
    """
    require_client(client)
    fallback = require_bool(device_fallback, "device_fallback", "what the workers have")
    if isinstance(devices, Mapping):
        devices = {str(name): device_asked(one, "devices has") for name, one in devices.items()}
    elif devices is not None:
        if isinstance(devices, str) or not isinstance(devices, Sequence):
            raise TypeError(f"devices is a list or a dict of devices, not {devices!r}")
        devices = tuple(device_asked(device, "devices has") for device in devices)
        if not devices:
            raise ValueError("devices is empty: leave it out, or give [None] for the host")
    if budget is not None:
        given = budget
        budget = parse_bytes(budget)
        if budget < 1:
            raise ValueError(f"a budget is a number of bytes from 1 on, not {given!r}")
    for name, seconds in (("timeout", timeout), ("reply_timeout", reply_timeout)):
        if not seconds >= 0:
            raise ValueError(f"{name} is a number of seconds from 0 on, not {seconds!r}")
    terms = _Terms(devices, budget, float(timeout), fallback)

    def told() -> dict[str, Any]:
        client.register_plugin(WorkerSetup(terms), name=WorkerSetup.name)
        return status(client)

    try:
        return _within(reply_timeout, told)
    except queue.Empty:
        pass
    try:
        who = _within(_LATELY, lambda: _silent(client))
    except queue.Empty:
        who = "nor does the scheduler answer"
    raise TimeoutError(
        f"the workers were told budget and devices, and not all have answered within {reply_timeout:g} s: "
        f"{who}. They are stopped, or too busy to import this package. Look at them, or give "
        "prepare() a longer reply_timeout; each is told once it answers again"
    )


_T = TypeVar("_T")


def _within(seconds: float, call: Callable[[], _T]) -> _T:
    """What the call gives, or `queue.Empty` after so many seconds.

    Dask itself waits without end: a worker that is stopped keeps its connections.
    """
    given: queue.SimpleQueue[tuple[_T, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def run() -> None:
        try:
            given.put((call(), None))
        except BaseException as error:
            given.put((None, error))

    threading.Thread(target=run, name="arraybridge-prepare", daemon=True).start()
    result, error = given.get(timeout=seconds)
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


#: Longer than a worker's heartbeats are apart, in seconds: half of one on a small cluster, two among 200 workers.
_LATELY = 5.0


def _silent(client: Any) -> str:
    workers = client.scheduler_info()["workers"]
    ages = {address: time.time() - worker["last_seen"] for address, worker in workers.items()}
    silent = [
        f"{address} was last heard of {age:.0f} s ago" for address, age in ages.items() if age > _LATELY
    ]
    return ", ".join(silent) or "all were heard of lately"


def _report(dask_worker: Any) -> dict[str, Any]:
    with _lock:
        found = _workers.get(dask_worker)
        if found is None:
            found = _workers[dask_worker] = _Worker(dask_worker, _Terms())
    return found.report()


def status(client: Any) -> dict[str, Any]:
    """What each worker has and has done, by its address.

    `budget`, `reserved` and `peak` are bytes; `blocks` counts calls that succeeded, and `recovered`
    those of them that had run out of memory before. `slot` and `devices` are there once used.
    """
    require_client(client)
    return dict(client.run(_report))
