"""Tools for the memory of PyTorch models: profiling, monitoring, batch sizes, mixed precision, large
inputs, and layers in segments and on several devices.

PyTorch is imported when a tool first needs it. Sizes in MB are of 2**20 bytes.
"""

from __future__ import annotations

import gc
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import callers, memory
from ._native import memory as _native

if TYPE_CHECKING:
    import torch

    from .mixed_precision import GradScaler, autocast, train_with_mixed_precision
    from .training_modules import (
        CheckpointedSequential,
        DistributedSketchedModel,
        MemoryEfficientSketchedModel,
        PlacedSequential,
    )

__all__ = [
    "AdaptiveBatchTrainer",
    "CheckpointedSequential",
    "DistributedSketchedModel",
    "GradScaler",
    "MemoryEfficientSketchedModel",
    "MemoryMonitor",
    "MemoryProfiler",
    "PlacedSequential",
    "StreamingInference",
    "autocast",
    "layer_memory",
    "place_layers",
    "train_with_mixed_precision",
]

_MB = 1024**2

# Where the classes are that derive from PyTorch's, and cannot be made before that is imported.
_LATE = {
    "CheckpointedSequential": "training_modules",
    "DistributedSketchedModel": "training_modules",
    "GradScaler": "mixed_precision",
    "MemoryEfficientSketchedModel": "training_modules",
    "PlacedSequential": "training_modules",
    "autocast": "mixed_precision",
    "train_with_mixed_precision": "mixed_precision",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f".{_LATE[name]}", __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _cuda():
    """`torch.cuda`, where PyTorch was imported and has a GPU."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_available() else None


def _resident_mb() -> float:
    return memory.process_memory()["resident"] / _MB


def _make_room() -> None:
    """Gives back what nobody uses after memory ran out: garbage with tensors in it, too."""
    gc.collect()
    _empty_cache()


def _empty_cache() -> None:
    """Gives back what PyTorch's GPU allocator keeps."""
    cuda = _cuda()
    if cuda is not None:
        cuda.empty_cache()


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


class MemoryProfiler:
    """Says what an operation takes of the process's memory and of the GPU's, in MB.

    profiler = MemoryProfiler()
    output, memory_usage = profiler.profile_operation(lambda: layer(x), "Forward Pass")
    """

    def __init__(self) -> None:
        self.baseline_memory = self._get_memory_usage()

    def _get_memory_usage(self) -> dict[str, float]:
        """What is in use now."""
        cuda = _cuda()
        return {
            "cpu": _resident_mb(),
            "gpu_allocated": cuda.memory_allocated() / _MB if cuda else 0,
            "gpu_cached": cuda.memory_reserved() / _MB if cuda else 0,
        }

    def profile_operation(
        self, operation: Callable[[], Any], operation_name: str = "Operation"
    ) -> tuple[Any, dict[str, float]]:
        """Runs `operation`, prints what it took, and returns its result and that."""
        _empty_cache()
        before = self._get_memory_usage()
        result = operation()
        after = self._get_memory_usage()
        taken = {name: after[name] - before[name] for name in before}
        print(f"\n{operation_name} Memory Usage:")
        print(f"  CPU: {taken['cpu']:+.2f} MB")
        print(f"  GPU Allocated: {taken['gpu_allocated']:+.2f} MB")
        print(f"  GPU Cached: {taken['gpu_cached']:+.2f} MB")
        return result, taken


class MemoryMonitor:
    """Records memory over time on a thread of its own: of the GPU where there is one, else of the process.

    `time_log` has seconds, `memory_log` MB; `recording` is what `arraybridge.memory.Monitor` saw of the
    process and of each device meanwhile. It can be used with `with`.
    """

    def __init__(self, interval: float = 1.0) -> None:
        self.interval = interval
        self.monitoring = False
        self.memory_log: list[float] = []
        self.time_log: list[float] = []
        self.start_time: float | None = None
        self.recording: memory.Recording | None = None
        self.monitor_thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._monitor = memory.Monitor(interval)

    def start_monitoring(self) -> None:
        """Starts."""
        if self.monitoring:
            raise RuntimeError("the monitor runs already: call stop_monitoring() first")
        self._monitor.start()
        self._stop.clear()
        self.monitoring = True
        self.start_time = time.time()
        self.monitor_thread = threading.Thread(
            target=self._monitor_loop, name="arraybridge-monitor", daemon=True
        )
        self.monitor_thread.start()

    def stop_monitoring(self) -> None:
        """Stops, at once."""
        if not self.monitoring:
            raise RuntimeError("the monitor does not run: call start_monitoring() first")
        self.monitoring = False
        self._stop.set()
        if self.monitor_thread is not None:
            self.monitor_thread.join()
        self.recording = self._monitor.stop()

    def _monitor_loop(self) -> None:
        start = self.start_time or time.time()
        while True:
            cuda = _cuda()
            taken = cuda.memory_allocated() / _MB if cuda else _resident_mb()
            self.time_log.append(time.time() - start)
            self.memory_log.append(taken)
            if self._stop.wait(self.interval):
                return

    def plot_memory_usage(self, path: str | None = None) -> memory.Recording | None:
        """Prints the most, the average and the last, and shows a picture: with matplotlib.

        With `path`, the picture is written there, as SVG, and matplotlib is not needed. Without both, the
        recording is returned, which notebooks show as a picture.
        """
        if not self.memory_log:
            raise RuntimeError("nothing was recorded: call start_monitoring() first")
        shown = None
        recording = self._monitor.recording
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(recording.svg("Memory Usage Over Time"))
        else:
            shown = self._show(recording)
        print("\nMemory Statistics:")
        print(f"  Maximum: {max(self.memory_log):.2f} MB")
        print(f"  Average: {sum(self.memory_log) / len(self.memory_log):.2f} MB")
        print(f"  Final: {self.memory_log[-1]:.2f} MB")
        return shown

    def _show(self, recording: memory.Recording) -> memory.Recording | None:
        try:
            from matplotlib import pyplot
        except ImportError:
            callers.warn(
                "matplotlib is not installed: pass a path for an SVG picture, or pip install matplotlib",
                UserWarning,
            )
            return recording
        pyplot.figure(figsize=(12, 6))
        # The thread may add to the one between the other.
        points = min(len(self.time_log), len(self.memory_log))
        pyplot.plot(self.time_log[:points], self.memory_log[:points], "b-", linewidth=2)
        pyplot.xlabel("Time (seconds)")
        pyplot.ylabel("Memory Usage (MB)")
        pyplot.title("Memory Usage Over Time")
        pyplot.grid(True, alpha=0.3)
        pyplot.tight_layout()
        pyplot.show()
        return None

    def __enter__(self) -> MemoryMonitor:
        self.start_monitoring()
        return self

    def __exit__(self, *raised: object) -> None:
        if self.monitoring:
            self.stop_monitoring()


class AdaptiveBatchTrainer:
    """Trains with the largest batch for which memory suffices.

    A batch fits where a forward and a backward pass leave less than `max_memory_mb` allocated on the GPU,
    or, without one, in the process. `criterion` is the loss, cross entropy by default.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        max_memory_mb: float = 8000,
        criterion: Callable[[Any, Any], torch.Tensor] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.max_memory_mb = max_memory_mb
        self.criterion = criterion
        self.current_batch_size = 32
        self.min_batch_size = 8
        self.max_batch_size = 512

    def _get_gpu_memory_mb(self) -> float:
        """What is allocated on the GPU; without one, what the process has."""
        cuda = _cuda()
        return cuda.memory_allocated() / _MB if cuda else _resident_mb()

    def find_optimal_batch_size(self, data_loader: Iterable) -> int:
        """The largest size from `min_batch_size` to `max_batch_size` that fits, found by halving; the
        smallest where none does. No batch is larger than the loader's first one."""
        sample = next(iter(data_loader))

        def fits(batch_size: int) -> bool:
            ran_out = False
            try:
                return self._test_batch(sample, batch_size)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                ran_out = True
            finally:
                # The error is gone here, and what its frames held can be given back.
                self.optimizer.zero_grad()
                _make_room() if ran_out else _empty_cache()
            return False

        found = _native.find_max_batch(self.min_batch_size, self.max_batch_size, fits)
        self.current_batch_size = self.min_batch_size if found is None else found
        return self.current_batch_size

    _find_optimal_batch_size = find_optimal_batch_size

    def _test_batch_size(self, data_loader: Iterable, batch_size: int) -> bool:
        """Whether memory suffices for a batch of this size."""
        return self._test_batch(next(iter(data_loader)), batch_size)

    def _test_batch(self, sample: tuple[Any, Any], batch_size: int) -> bool:
        if len(sample[0]) < batch_size:
            return False
        x, y = (self._moved(one[:batch_size]) for one in sample[:2])
        self.optimizer.zero_grad()
        self._loss(self.model(x), y).backward()
        return self._get_gpu_memory_mb() < self.max_memory_mb

    def train_epoch(self, data_loader: Any) -> float:
        """Trains on all data once, in batches of the size found; returns the mean loss."""
        from torch.utils.data import DataLoader

        batch_size = self.find_optimal_batch_size(data_loader)
        print(f"Using batch size: {batch_size}")
        loader = DataLoader(data_loader.dataset, batch_size=batch_size, shuffle=True)
        total = 0.0
        for index, (x, y) in enumerate(loader):
            x, y = self._moved(x), self._moved(y)
            self.optimizer.zero_grad()
            loss = self._loss(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
            if index % 10 == 0:
                taken = self._get_gpu_memory_mb()
                print(f"Batch {index}, Loss: {loss.item():.4f}, Memory: {taken:.1f} MB")
        return total / len(loader)

    def _loss(self, output: Any, target: Any) -> torch.Tensor:
        if self.criterion is not None:
            return self.criterion(output, target)
        import torch

        return torch.nn.functional.cross_entropy(output, target)

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the model's device."""
        device = _device_of(self.model)
        return tensor if device is None else tensor.to(device)


class StreamingInference:
    """Predicts for inputs that the device has no memory for at once, `chunk_size` rows at a time.

    Where memory runs out, the chunk is halved, and what was predicted is kept.
    """

    def __init__(self, model: torch.nn.Module, chunk_size: int = 1000) -> None:
        if chunk_size < 1:
            raise ValueError(f"chunk_size is {chunk_size}: a chunk has 1 row or more")
        self.model = model
        self.chunk_size = chunk_size

    def predict_large_batch(self, X: torch.Tensor) -> torch.Tensor:
        """The model's results for all rows, on the host. The model is in evaluation mode after it."""
        import torch

        rows, size = X.shape[0], self.chunk_size
        results, start = None, 0
        self.model.eval()
        with torch.no_grad():
            if rows == 0:
                return self._predict(X)
            while start < rows:
                end = min(start + size, rows)
                try:
                    result = self._predict(X[start:end])
                except (RuntimeError, MemoryError) as error:
                    if size == 1 or not _is_out_of_memory(error):
                        raise
                    result = None
                if result is None:
                    size = max(1, min(size, end - start) // 2)
                    _make_room()
                    continue
                if len(result) != end - start:
                    raise ValueError(
                        f"the model made {len(result)} rows of {end - start}: predictions in chunks "
                        "need a row for each"
                    )
                if results is None:
                    # All at once: to join the parts at the end would take twice as much.
                    results = result.new_empty((rows, *result.shape[1:]))
                results[start:end] = result
                start = end
                _empty_cache()
        return results  # type: ignore[return-value]

    def _predict(self, chunk: torch.Tensor) -> torch.Tensor:
        device = _device_of(self.model)
        return self.model(chunk if device is None else chunk.to(device)).cpu()


def place_layers(layers: int, devices: int) -> list[int]:
    """On which of so many devices each layer is: as many on each, and what is left on the last."""
    ranges = _native.layer_ranges(layers, devices)
    return [place for place, (start, end) in enumerate(ranges) for _ in range(start, end)]


def layer_memory(
    layer: torch.nn.Module,
    in_features: int,
    out_features: int,
    sketch_size: int = 0,
    batch_size: int = 128,
) -> dict[str, float]:
    """What a layer takes, in MB: its parameters, and what a batch is before, in and after it.

    `reduction` is by how many percent its parameters are fewer than those of a `torch.nn.Linear`.
    """
    parameters = sum(one.numel() for one in layer.parameters())
    dense = in_features * out_features + out_features
    each = 4 / _MB
    return {
        "parameters": parameters,
        "parameters_mb": sum(one.nbytes for one in layer.parameters()) / _MB,
        "reduction": (1 - parameters / dense) * 100,
        "input_mb": batch_size * in_features * each,
        "output_mb": batch_size * out_features * each,
        "sketch_mb": batch_size * sketch_size * each,
    }


def _device_of(model: torch.nn.Module) -> torch.device | None:
    """Where the model's first parameter is; None where it has none."""
    parameter = next(iter(model.parameters()), None)
    return None if parameter is None else parameter.device
