"""What NLSQ's `nlsq.streaming.large_dataset` has for memory, under its names.

Sizes of chunks, buffers of a few sizes, estimates of what a fit takes, and whether it is done at once, in
chunks or as a stream (`MemoryBudget`, `MemoryBudgetSelector`). Fits themselves are not here. GB are 2**30
bytes in this module, as they are in NLSQ's.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import nlsq_memory
from ._native import memory as _native
from .nlsq_memory import _whole

__all__ = [
    "CHUNK_BUCKETS",
    "ChunkBuffer",
    "ChunkBufferPool",
    "DataChunker",
    "DatasetStats",
    "GPUMemoryEstimator",
    "LDMemoryConfig",
    "MemoryBudget",
    "MemoryBudgetSelector",
    "MemoryEstimator",
    "ProgressReporter",
    "cleanup_memory",
    "estimate_memory_requirements",
    "get_bucket_size",
]

logger = logging.getLogger(__name__)

CHUNK_BUCKETS = tuple(1024 << power for power in range(8))

_GIB = 2**30
_FALLBACK_GB = 16.0


def get_bucket_size(chunk_size: int) -> int:
    """The smallest of `CHUNK_BUCKETS` that holds so many items, or the number itself above them."""
    size = int(chunk_size)
    if size <= 0:
        return CHUNK_BUCKETS[0]
    return _native.chunk_bucket(size) or size


@dataclass(slots=True)
class ChunkBuffer:
    """A chunk padded to the size of its bucket."""

    data: np.ndarray
    valid_length: int
    bucket_size: int
    mask: np.ndarray

    @classmethod
    def from_array(cls, arr: np.ndarray, pad_value: float = 0.0) -> ChunkBuffer:
        """A copy of the items, followed by padding."""
        arr = np.asarray(arr)
        length = len(arr)
        size = get_bucket_size(length)
        data = np.empty((size, *arr.shape[1:]), arr.dtype)
        data[:length] = arr
        data[length:] = pad_value
        return cls(data, length, size, np.arange(size) < length)

    def get_valid_data(self) -> np.ndarray:
        """The items that are no padding; a view."""
        return self.data[: self.valid_length]


class ChunkBufferPool:
    """Two buffers, of points and of values, that every chunk is written to in turn."""

    def __init__(
        self,
        chunk_size: int,
        dtype: Any = np.float64,
        x_feature_shape: tuple[int, ...] = (),
    ) -> None:
        size = _whole("chunk_size", chunk_size)
        self._x_buffer = np.empty((size, *x_feature_shape), dtype)
        self._y_buffer = np.empty((size,), dtype)
        self._chunk_size = size
        self._dtype = dtype
        self._x_feature_shape = x_feature_shape

    @property
    def chunk_size(self) -> int:
        """For how many items there is room."""
        return self._chunk_size

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        return self._dtype

    @property
    def x_feature_shape(self) -> tuple[int, ...]:
        """The shape of one point."""
        return self._x_feature_shape

    def get_buffers(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Views of the buffers, the same each time; new arrays where they are too small."""
        size = _whole("size", size)
        if size > self._chunk_size:
            shape = (size, *self._x_feature_shape)
            return np.empty(shape, self._dtype), np.empty((size,), self._dtype)
        return self._x_buffer[:size], self._y_buffer[:size]


@dataclass(slots=True)
class LDMemoryConfig:
    """How much memory a fit of many points may take, and how large its chunks are."""

    memory_limit_gb: float = 8.0
    safety_factor: float = 0.8
    min_chunk_size: int = 1000
    max_chunk_size: int = 1000000
    use_streaming: bool = True
    streaming_batch_size: int = 50000
    streaming_max_epochs: int = 10
    min_success_rate: float = 0.5
    save_diagnostics: bool = False
    gc_chunk_interval: int = 10

    def __post_init__(self) -> None:
        if self.gc_chunk_interval < 1:
            raise ValueError(
                f"gc_chunk_interval is {self.gc_chunk_interval}: garbage is collected every 1 chunk "
                "or more"
            )


@dataclass(slots=True)
class DatasetStats:
    """What a fit takes, and its chunks."""

    n_points: int
    n_params: int
    memory_per_point_bytes: float
    total_memory_estimate_gb: float
    recommended_chunk_size: int
    n_chunks: int


class GPUMemoryEstimator:
    """What JAX has of GPUs' memory. JAX is not imported for it."""

    def get_available_gpu_memory_gb(self) -> float:
        """What is not in use of all GPUs together; 0 where there is none or it does not tell."""
        return self._sum(lambda stats: stats["bytes_limit"] - stats.get("bytes_in_use", 0))

    def get_total_gpu_memory_gb(self) -> float:
        """What all GPUs have together; 0 where there is none or it does not tell."""
        return self._sum(lambda stats: stats["bytes_limit"])

    def has_gpu(self) -> bool:
        """Whether JAX has a device that is no CPU."""
        try:
            return bool(self._devices())
        except Exception:
            return False

    def _sum(self, count) -> float:
        try:
            return sum(count(device.memory_stats()) for device in self._devices()) / _GIB
        except Exception:
            return 0.0

    def _devices(self) -> list:
        jax = sys.modules.get("jax")
        return [] if jax is None else [one for one in jax.devices() if one.platform != "cpu"]


class MemoryEstimator:
    """What fits take, and how their points are divided."""

    @staticmethod
    def estimate_memory_per_point(n_params: int, use_jacobian: bool = True) -> float:
        """Bytes for one point."""
        params = _whole("n_params", n_params)
        return 74 + 16 * params + (8 * params if use_jacobian else 0)

    @staticmethod
    def get_available_memory_gb() -> float:
        """What could be taken of the host's memory; 16 where that cannot be measured."""
        try:
            if nlsq_memory.HAS_PSUTIL:
                return nlsq_memory.psutil.virtual_memory().available / _GIB
            return _native.host_memory()["available"] / _GIB
        except Exception as error:
            logger.warning(
                "the available memory could not be measured, 16 GiB are assumed: %s", error
            )
            return _FALLBACK_GB

    @staticmethod
    def get_total_available_memory_gb() -> float:
        """What could be taken of the host's memory and of GPUs'."""
        gpus = GPUMemoryEstimator().get_available_gpu_memory_gb()
        return MemoryEstimator.get_available_memory_gb() + gpus

    @staticmethod
    def estimate_maximum_memory_usage_gb(
        n_points: int, n_params: int, safety_factor: float = 1.2
    ) -> float:
        """What a fit of all points at once takes, times the safety factor."""
        each = MemoryEstimator.estimate_memory_per_point(n_params)
        return _whole("n_points", n_points) * each * safety_factor / _GIB

    @staticmethod
    def calculate_optimal_chunk_size(
        n_points: int, n_params: int, memory_config: LDMemoryConfig
    ) -> tuple[int, DatasetStats]:
        """How many points a chunk has, and what the fit takes."""
        points = _whole("n_points", n_points, 1)
        each = MemoryEstimator.estimate_memory_per_point(n_params)
        total = points * each / _GIB
        available = MemoryEstimator.get_available_memory_gb()
        limit = min(memory_config.memory_limit_gb, available) * memory_config.safety_factor
        if total <= limit and points <= memory_config.max_chunk_size:
            chunk = points
        else:
            most = int(limit * _GIB / each)
            chunk = max(memory_config.min_chunk_size, min(most, memory_config.max_chunk_size))
            chunk = min(chunk, points)
        stats = DatasetStats(points, n_params, each, total, chunk, -(-points // chunk))
        return chunk, stats


def estimate_memory_requirements(n_points: int, n_params: int) -> DatasetStats:
    """What a fit takes, under the usual limits."""
    return MemoryEstimator.calculate_optimal_chunk_size(n_points, n_params, LDMemoryConfig())[1]


def cleanup_memory() -> None:
    """Collects garbage."""
    gc.collect()


class ProgressReporter:
    """Says how far a fit in chunks is, and how long the rest will take."""

    def __init__(self, total_chunks: int, logger: logging.Logger | None = None) -> None:
        self.total_chunks = _whole("total_chunks", total_chunks)
        self.logger = logger or logging.getLogger(__name__)
        self.start_time = time.time()
        self.completed_chunks = 0

    def update(self, chunk_idx: int, chunk_result: dict | None = None) -> None:
        """One more chunk is done."""
        self.completed_chunks = chunk_idx + 1
        elapsed = time.time() - self.start_time
        left = max(self.total_chunks - self.completed_chunks, 0)
        seconds = elapsed / self.completed_chunks * left
        part = self.completed_chunks / self.total_chunks if self.total_chunks else 1.0
        self.logger.info(
            "chunk %d of %d (%.1f %%), %.1f s left",
            self.completed_chunks,
            self.total_chunks,
            100 * part,
            seconds,
        )


class DataChunker:
    """Divides points and values into chunks."""

    @staticmethod
    def create_chunks(
        xdata: np.ndarray,
        ydata: np.ndarray,
        chunk_size: int,
        shuffle: bool = False,
        random_seed: int | None = None,
        buffer_pool: ChunkBufferPool | None = None,
    ) -> Generator[tuple[np.ndarray, np.ndarray, int, int]]:
        """Points, values, the chunk's number and how many are valid, chunk by chunk.

        A chunk is padded with zeros to the size of its bucket. With `buffer_pool`, the next chunk
        overwrites the last one.
        """
        size = _whole("chunk_size", chunk_size, 1)
        xdata, ydata = np.asarray(xdata), np.asarray(ydata)
        # Several independent variables come as (variables, points).
        by_column = xdata.ndim == 2 and len(xdata) != len(ydata) and xdata.shape[1] == len(ydata)
        points = xdata.T if by_column else xdata
        if len(points) != len(ydata):
            raise ValueError(
                f"xdata has {len(points)} points and ydata {len(ydata)}: there must be a value a point"
            )
        order = None
        if shuffle:
            order = np.random.default_rng(random_seed).permutation(len(points))
        for index, start in enumerate(range(0, len(points), size)):
            length = min(size, len(points) - start)
            which = slice(start, start + length) if order is None else order[start : start + length]
            bucket = get_bucket_size(length)
            if buffer_pool is None:
                x = np.empty((bucket, *points.shape[1:]), points.dtype)
                y = np.empty((bucket,), ydata.dtype)
            else:
                x, y = buffer_pool.get_buffers(bucket)
            for buffer, source in ((x, points), (y, ydata)):
                buffer[:length] = source[which]
                buffer[length:] = 0
            yield x, y, index, length


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """What a fit takes of the memory that is available."""

    available_gb: float
    threshold_gb: float
    data_gb: float
    jacobian_gb: float
    peak_gb: float

    @property
    def chunked_threshold_gb(self) -> float:
        """A peak above this is worked on in chunks."""
        return 0.9 * self.threshold_gb

    @property
    def fits_in_memory(self) -> bool:
        """Whether all of it fits at once."""
        return self.peak_gb <= self.threshold_gb

    @property
    def data_fits(self) -> bool:
        """Whether the points and values alone fit."""
        return self.data_gb <= self.threshold_gb

    @classmethod
    def compute(
        cls,
        n_points: int,
        n_params: int,
        n_features: int = 1,
        dtype_bytes: int = 8,
        safety_factor: float = 0.75,
        memory_limit_gb: float | None = None,
        use_gpu: bool = False,
    ) -> MemoryBudget:
        """What a fit of this size takes of `memory_limit_gb`, or of what is available now."""
        if memory_limit_gb is None:
            memory_limit_gb = MemoryEstimator.get_available_memory_gb()
            if use_gpu:
                memory_limit_gb = (
                    GPUMemoryEstimator().get_available_gpu_memory_gb() or memory_limit_gb
                )
        size = (
            _whole("n_points", n_points, 1),
            _whole("n_params", n_params, 1),
            _whole("n_features", n_features),
            _whole("dtype_bytes", dtype_bytes),
        )
        budget = _native.fit_budget(size, safety_factor, memory_limit_gb)
        return cls(*(budget[name] for name in cls.__slots__))


class MemoryBudgetSelector:
    """Says whether a fit is done at once ("standard"), in chunks ("chunked") or as a stream
    ("streaming")."""

    def __init__(self, safety_factor: float = 0.75) -> None:
        self.safety_factor = safety_factor

    def select(
        self,
        n_points: int,
        n_params: int,
        n_features: int = 1,
        memory_limit_gb: float | None = None,
        goal: Any = None,
        use_gpu: bool = False,
        verbose: bool = False,
        budget: MemoryBudget | None = None,
    ) -> tuple[str, LDMemoryConfig | None]:
        """The strategy, and its sizes; None where there are none.

        How many points are worked on at a time is `streaming_batch_size`, of chunks and of a stream.
        `goal` is taken for the sake of callers, and changes nothing.
        """
        if budget is None:
            budget = MemoryBudget.compute(
                n_points, n_params, n_features, 8, self.safety_factor, memory_limit_gb, use_gpu
            )
        if budget.data_gb > budget.threshold_gb:
            strategy, share = "streaming", 0.5
        elif budget.peak_gb > budget.chunked_threshold_gb:
            strategy, share = "chunked", 0.75
        else:
            strategy, share = "standard", None
        if verbose:
            logger.info("%s: %s", strategy, budget)
        if share is None:
            return strategy, None
        points = int(min(max(share * budget.threshold_gb * _GIB / (16 + 8 * n_params), 1e3), 1e6))
        config = LDMemoryConfig(memory_limit_gb=budget.threshold_gb, safety_factor=1.0)
        config.streaming_batch_size = points
        return strategy, config
