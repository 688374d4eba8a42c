"""The memory manager of NLSQ, under its names: `MemoryManager` and the functions beside it.

It answers as `nlsq.caching.memory_manager` of NLSQ 0.7.6 does, but for four faults of that:

- An array that is in use is never in the pool: `allocate_array` takes it out, `free_array` puts it back.
- The pool keeps its limits by itself: `pool_max_arrays` and `pool_max_bytes`; what was used longest ago
  goes first.
- `efficiency` of the statistics is the part of the arrays that came from the pool; by how much the
  process grew meanwhile is in `rss_delta_mean_gb` and `rss_delta_max_gb`.
- Nonsense (no points, a limit below one point) is a `ValueError` that says what is wrong, and no
  `ZeroDivisionError`.

What changed since the last measurement is measured anew before a guard refuses, and where a guard begins
and ends. All methods may be called from several threads. GB are 10**9 bytes.

Where NLSQ is not installed, `install_as_nlsq()` makes `from nlsq.caching.memory_manager import
MemoryManager` find this module.
"""

from __future__ import annotations

import gc
import importlib.machinery
import importlib.util
import logging
import math
import operator
import sys
import threading
import time
import types
import warnings
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ._native import memory as _native

try:
    import psutil  # type: ignore[import-untyped,unused-ignore]

    HAS_PSUTIL = True
except ImportError:
    psutil = None
    HAS_PSUTIL = False
    warnings.warn(
        "psutil is not installed: memory is measured by arraybridge itself (pip install psutil)",
        UserWarning,
        stacklevel=2,
    )

__all__ = [
    "HAS_PSUTIL",
    "MemoryManager",
    "clear_memory_pool",
    "get_memory_manager",
    "get_memory_stats",
    "install_as_nlsq",
]

logger = logging.getLogger(__name__)

# What is assumed where nothing could be measured.
_FALLBACK_BYTES = 16 * 2**30
_FALLBACK_FRACTION = 0.5
_GB = 1e9

# The order that a plan is printed in.
_PLAN = ("needs_chunking", "chunk_size", "n_chunks", "memory_per_chunk_gb", "total_points")


class MemoryManager:
    """Says what fits take, whether there is room for it, and keeps arrays for the next use.

    `gc_threshold` is the part of the memory in use above which a guard collects garbage at its end;
    `safety_factor` multiplies predictions; with `enable_adaptive_safety` it falls to what guards needed;
    `disable_padding` leaves it out. Measurements are good for `memory_cache_ttl` seconds, and with
    `adaptive_ttl` for 10 or 15 where they are asked for often.
    """

    # The most that the pool keeps; more goes, what was used longest ago first.
    pool_max_arrays = 100
    pool_max_bytes = 2**30

    def __init__(
        self,
        gc_threshold: float = 0.8,
        safety_factor: float = 1.2,
        enable_adaptive_safety: bool = False,
        disable_padding: bool = False,
        memory_cache_ttl: float = 1.0,
        adaptive_ttl: bool = True,
    ) -> None:
        self._lock = threading.RLock()
        self.memory_pool: OrderedDict = OrderedDict()
        self.allocation_history: deque = deque(maxlen=1000)
        self.gc_threshold = gc_threshold
        self.disable_padding = disable_padding
        self.safety_factor = 1.0 if disable_padding else safety_factor
        self._initial_safety_factor = self.safety_factor
        self.enable_adaptive_safety = enable_adaptive_safety and not disable_padding

        self._hits = 0
        self._misses = 0

        self._memory_cache_ttl = memory_cache_ttl
        self._adaptive_ttl = adaptive_ttl
        self._call_frequency_tracker: deque = deque(maxlen=100)
        self._available_memory_cache = None
        self._available_memory_cache_time = 0.0
        self._memory_usage_cache = None
        self._memory_usage_cache_time = 0.0
        self._memory_fraction_cache = None
        self._memory_fraction_cache_time = 0.0

        self._safety_telemetry: deque = deque(maxlen=1000)
        self._warmup_runs = 10
        self._min_safety_factor = 1.05

        self._peak_memory = 0.0
        self._initial_memory = self.get_memory_usage_bytes()

    # What there is.

    def _get_effective_ttl(self) -> float:
        """For how many seconds a measurement of what is available is good."""
        with self._lock:
            calls = self._call_frequency_tracker
            if not self._adaptive_ttl or len(calls) < 2:
                return self._memory_cache_ttl
            span = calls[-1] - calls[0]
            rate = len(calls) / span if span > 0 else math.inf
        if rate > 100:
            return 15.0
        return 10.0 if rate > 10 else self._memory_cache_ttl

    def get_available_memory(self) -> float:
        """Bytes that could be taken now; 16 GiB where that cannot be measured."""
        now = time.monotonic()
        with self._lock:
            if self._adaptive_ttl:
                self._call_frequency_tracker.append(now)
            cached, when = self._available_memory_cache, self._available_memory_cache_time
        if cached is not None and now - when < self._get_effective_ttl():
            return cached
        try:
            if HAS_PSUTIL:
                available = psutil.virtual_memory().available
            else:
                available = _native.host_memory()["available"]
        except Exception as error:
            logger.warning(
                "the available memory could not be measured, 16 GiB are assumed: %s", error
            )
            return float(_FALLBACK_BYTES)
        with self._lock:
            self._available_memory_cache, self._available_memory_cache_time = available, now
        return available

    def get_memory_usage_bytes(self) -> float:
        """Bytes that this process has in memory; those of the pool where that cannot be measured."""
        now = time.monotonic()
        with self._lock:
            cached, when = self._memory_usage_cache, self._memory_usage_cache_time
        if cached is not None and now - when < self._memory_cache_ttl:
            return cached
        try:
            if HAS_PSUTIL:
                usage = psutil.Process().memory_info().rss
            else:
                usage = _native.process_memory()["resident"]
        except Exception as error:
            logger.warning(
                "the memory of the process could not be measured, only the pool's is counted: %s",
                error,
            )
            return self._pool_bytes() + sys.getsizeof(self.memory_pool)
        with self._lock:
            self._memory_usage_cache, self._memory_usage_cache_time = usage, now
        return usage

    def get_memory_usage_fraction(self) -> float:
        """The part of all memory that is in use, 0 to 1; 0.5 where that cannot be measured."""
        now = time.monotonic()
        with self._lock:
            cached, when = self._memory_fraction_cache, self._memory_fraction_cache_time
        if cached is not None and now - when < self._memory_cache_ttl:
            return cached
        try:
            if HAS_PSUTIL:
                fraction = psutil.virtual_memory().percent / 100.0
            else:
                host = _native.host_memory()
                fraction = 1.0 - host["available"] / host["total"]
        except Exception as error:
            logger.warning("the memory in use could not be measured, half is assumed: %s", error)
            return _FALLBACK_FRACTION
        with self._lock:
            self._memory_fraction_cache, self._memory_fraction_cache_time = fraction, now
        return fraction

    def _measure_anew(self) -> None:
        """Takes no measurement from before."""
        with self._lock:
            self._available_memory_cache = None
            self._memory_usage_cache = None

    # What fits take.

    def predict_memory_requirement(
        self, n_points: int, n_params: int, algorithm: str = "trf", dtype: Any = np.float64
    ) -> int:
        """Bytes that a fit takes, times the safety factor.

        An `algorithm` other than "trf", "lm" and "dogbox" counts a second Jacobian matrix. A number has 4
        bytes where `dtype` is float32, else 8.
        """
        points, params = _whole("n_points", n_points), _whole("n_params", n_params)
        width = 4 if dtype == np.float32 else 8
        try:
            needed = _native.fit_bytes(points, params, str(algorithm), width)
        except ValueError as error:
            raise ValueError(f"n_points={n_points}, n_params={n_params}: {error}") from None
        return int(needed * self.safety_factor)

    def estimate_chunking_strategy(
        self,
        n_points: int,
        n_params: int,
        algorithm: str = "trf",
        memory_limit_gb: float | None = None,
    ) -> dict:
        """How the points of a fit are divided so that a chunk takes at most `memory_limit_gb`, or 0.8 of
        what is available."""
        points, params = _whole("n_points", n_points, 1), _whole("n_params", n_params)
        if memory_limit_gb is None:
            limit = self.get_available_memory() * 0.8
        elif memory_limit_gb > 0 and math.isfinite(memory_limit_gb):
            limit = memory_limit_gb * _GB
        else:
            raise ValueError(
                f"memory_limit_gb is {memory_limit_gb}: it must be a number above 0, or None for "
                "0.8 of what is available"
            )
        plan = _native.fit_chunks(
            points, params, str(algorithm), float(self.safety_factor), int(limit)
        )
        return {name: plan[name] for name in _PLAN if name in plan}

    def check_memory_availability(self, bytes_needed: int) -> tuple[bool, str]:
        """Whether so many bytes are available, if need be after garbage is collected, and a sentence."""
        available = self.get_available_memory()
        if available >= bytes_needed:
            return True, (
                f"Memory available: {available / _GB:.2f}GB >= {bytes_needed / _GB:.2f}GB needed"
            )
        gc.collect()
        self._measure_anew()
        available = self.get_available_memory()
        if available >= bytes_needed:
            return True, "Memory available after garbage collection"
        return False, (
            f"Insufficient memory: need {bytes_needed / _GB:.2f}GB, "
            f"have {available / _GB:.2f}GB available"
        )

    @contextmanager
    def memory_guard(self, bytes_needed: int) -> Iterator[None]:
        """Raises `MemoryError` unless so many bytes are available, and records what the block took.

        Nothing is reserved: for that, see `arraybridge.memory.Budget`.
        """
        enough, message = self.check_memory_availability(bytes_needed)
        if not enough:
            self.clear_pool()
            enough, message = self.check_memory_availability(bytes_needed)
            if not enough:
                raise MemoryError(message)
        before = self._usage_now()
        try:
            yield
        finally:
            after = self._usage_now()
            with self._lock:
                self._peak_memory = max(self._peak_memory, after)
                self.allocation_history.append(
                    {
                        "bytes_requested": bytes_needed,
                        "bytes_used": after - before,
                        "peak_memory": self._peak_memory,
                    }
                )
                if self.enable_adaptive_safety:
                    self._record_safety_telemetry(bytes_needed, after - before)
            if self.get_memory_usage_fraction() > self.gc_threshold:
                gc.collect()

    def _usage_now(self) -> float:
        """What the process has, measured now."""
        with self._lock:
            self._memory_usage_cache = None
        return self.get_memory_usage_bytes()

    # The safety factor.

    def _record_safety_telemetry(self, bytes_predicted: int, bytes_actual: float) -> None:
        """Records what was predicted, with the safety factor, and what was taken."""
        with self._lock:
            needed = 1.0
            if bytes_predicted > 0 and self.safety_factor > 0:
                needed = bytes_actual / (bytes_predicted / self.safety_factor)
            self._safety_telemetry.append(
                {
                    "bytes_predicted": bytes_predicted,
                    "bytes_actual": bytes_actual,
                    "safety_factor_needed": needed,
                    "current_safety_factor": self.safety_factor,
                }
            )
            if self.enable_adaptive_safety and len(self._safety_telemetry) >= self._warmup_runs:
                self._update_adaptive_safety_factor()

    def _update_adaptive_safety_factor(self) -> None:
        """Lowers the factor, by at most 0.05, towards what 95 of 100 guards needed."""
        with self._lock:
            needed = [entry["safety_factor_needed"] for entry in self._safety_telemetry]
            if len(needed) < self._warmup_runs:
                return
            target = max(self._min_safety_factor, float(np.percentile(needed, 95)))
            if target < self.safety_factor:
                self.safety_factor = max(target, self.safety_factor - 0.05)

    def get_safety_telemetry(self) -> dict:
        """What the safety factor is, was, and would have had to be."""
        with self._lock:
            entries = list(self._safety_telemetry)
            telemetry: dict[str, Any] = {
                "current_safety_factor": self.safety_factor,
                "initial_safety_factor": self._initial_safety_factor,
                "min_safety_factor": self._min_safety_factor,
                "telemetry_entries": len(entries),
                "adaptive_enabled": self.enable_adaptive_safety,
            }
        if entries:
            needed = np.array([entry["safety_factor_needed"] for entry in entries], dtype=float)
            telemetry["p95_safety_needed"] = float(np.percentile(needed, 95))
            telemetry["mean_safety_needed"] = float(np.mean(needed))
            telemetry["max_safety_needed"] = float(np.max(needed))
            telemetry["safety_factor_history"] = [
                entry["current_safety_factor"] for entry in entries
            ]
        return telemetry

    # The pool.

    def allocate_array(
        self, shape: tuple[int, ...], dtype: type = np.float64, zero: bool = True
    ) -> np.ndarray:
        """An array from the pool, which is then its caller's alone, or a new one.

        With `zero`, all elements are zero; else they are whatever the memory held.
        """
        shape, kind = _shape(shape), np.dtype(dtype)
        with self._lock:
            array = self.memory_pool.pop((shape, kind), None)
            if array is not None:
                self._hits += 1
        if array is not None:
            if zero:
                array.fill(0)
            return array
        with self.memory_guard(math.prod(shape) * kind.itemsize):
            array = np.zeros(shape, kind) if zero else np.empty(shape, kind)
        with self._lock:
            self._misses += 1
        return array

    def free_array(self, arr: np.ndarray) -> None:
        """Puts an array into the pool. It is not to be used after that: another may get it.

        Nothing is kept of an array that cannot be another's: a view, one that is read-only or of Python
        objects, or one larger than all that the pool keeps.
        """
        key = (arr.shape, arr.dtype)
        if not _can_be_pooled(arr):
            return
        with self._lock:
            pool = self.memory_pool
            # One array of a shape and type is kept.
            if key in pool:
                pool.move_to_end(key)
                return
            if arr.nbytes > self.pool_max_bytes or self.pool_max_arrays < 1:
                return
            pool[key] = arr
            while len(pool) > self.pool_max_arrays or self._pool_bytes() > self.pool_max_bytes:
                pool.popitem(last=False)

    @contextmanager
    def temporary_allocation(
        self, shape: tuple[int, ...], dtype: type = np.float64
    ) -> Iterator[np.ndarray]:
        """Lends an array to a `with` block; at its end the array goes to the pool."""
        array = self.allocate_array(shape, dtype)
        try:
            yield array
        finally:
            self.free_array(array)

    def clear_pool(self) -> None:
        """Lets all arrays of the pool go, and collects garbage."""
        with self._lock:
            self.memory_pool.clear()
        gc.collect()

    def optimize_memory_pool(self, max_arrays: int = 100) -> None:
        """Lets the arrays go that were used longest ago, until so many are left."""
        most = _whole("max_arrays", max_arrays)
        with self._lock:
            while len(self.memory_pool) > most:
                self.memory_pool.popitem(last=False)

    def _pool_bytes(self) -> int:
        with self._lock:
            return sum(array.nbytes for array in self.memory_pool.values())

    def get_memory_stats(self) -> dict:
        """What is in use, what is available, what the pool has and how often it helped."""
        stats: dict[str, Any] = {
            "current_usage_gb": self.get_memory_usage_bytes() / _GB,
            "available_gb": self.get_available_memory() / _GB,
            "peak_usage_gb": self._peak_memory / _GB,
            "usage_fraction": self.get_memory_usage_fraction(),
        }
        with self._lock:
            history = list(self.allocation_history)
            allocated = self._hits + self._misses
            stats["pool_memory_gb"] = self._pool_bytes() / _GB
            stats["pool_arrays"] = len(self.memory_pool)
            stats["allocations"] = len(history)
            if history:
                grown = [entry["bytes_used"] / _GB for entry in history]
                requested = sum(entry["bytes_requested"] for entry in history)
                stats["total_requested_gb"] = requested / _GB
                stats["total_used_gb"] = sum(grown)
                stats["efficiency"] = self._hits / allocated if allocated else 0.0
                stats["rss_delta_mean_gb"] = sum(grown) / len(grown)
                stats["rss_delta_max_gb"] = max(grown)
        if self.enable_adaptive_safety:
            stats["safety_telemetry"] = self.get_safety_telemetry()
        stats["disable_padding"] = self.disable_padding
        return stats


def _whole(name: str, number: int, least: int = 0) -> int:
    """The number, where it is a whole one and not too small."""
    try:
        whole = operator.index(number)
    except TypeError:
        # A float that is whole, as `1e6`.
        if not (isinstance(number, float) and number.is_integer()):
            raise ValueError(f"{name} is {number!r}: it must be a whole number") from None
        whole = int(number)
    if whole < least:
        raise ValueError(f"{name} is {number!r}: it must be {least} or more")
    return whole


def _shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    if type(shape) is tuple:
        return shape
    try:
        return (operator.index(shape),)  # type: ignore[arg-type]
    except TypeError:
        return tuple(operator.index(length) for length in shape)  # type: ignore[union-attr]


def _can_be_pooled(array: np.ndarray) -> bool:
    flags = array.flags
    return (
        type(array) is np.ndarray
        and flags.owndata
        and flags.writeable
        and flags.c_contiguous
        and not array.dtype.hasobject
    )


_memory_manager: MemoryManager | None = None
_memory_manager_lock = threading.Lock()


def get_memory_manager() -> MemoryManager:
    """The manager of the whole program, made when it is first asked for."""
    global _memory_manager
    if _memory_manager is None:
        with _memory_manager_lock:
            if _memory_manager is None:
                _memory_manager = MemoryManager()
    return _memory_manager


def clear_memory_pool() -> None:
    """Clears the pool of the program's manager, where there is one."""
    if _memory_manager is not None:
        _memory_manager.clear_pool()


def get_memory_stats() -> dict:
    """The statistics of the program's manager."""
    return get_memory_manager().get_memory_stats()


# The modules of NLSQ that this package has, and which of its own each is.
_AS_NLSQ = {
    "nlsq.caching.memory_manager": "arraybridge.nlsq_memory",
    "nlsq.memory_manager": "arraybridge.nlsq_memory",
    "nlsq.streaming.large_dataset": "arraybridge.nlsq_large_dataset",
}


def install_as_nlsq() -> bool:
    """Lets programs import this module as `nlsq.caching.memory_manager`, where NLSQ is not installed.

    `nlsq.streaming.large_dataset` is `arraybridge.nlsq_large_dataset` then. Returns whether it is so
    now; False means that NLSQ itself is there, and nothing was changed.
    """
    present = sys.modules.get("nlsq")
    if present is None:
        if importlib.util.find_spec("nlsq") is not None:
            return False
    elif not getattr(present, "__arraybridge__", False):
        return False
    for name, own in _AS_NLSQ.items():
        module = importlib.import_module(own)
        package, _, last = name.rpartition(".")
        sys.modules[name] = module
        setattr(_package(package), last, module)
    return True


def _package(name: str) -> types.ModuleType:
    """The package of this name, which is empty where it is new."""
    package = sys.modules.get(name)
    if package is None:
        package = types.ModuleType(name, "Stands in for a package of NLSQ, which is not installed.")
        package.__arraybridge__ = True  # type: ignore[attr-defined]
        package.__path__ = []
        package.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        sys.modules[name] = package
        above, _, last = name.rpartition(".")
        if above:
            setattr(_package(above), last, package)
    return package
