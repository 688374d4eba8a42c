"""Streams of the frameworks that have them, for those who order work themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .libraries import ArrayLibrary

__all__ = ["ThreadGPUContext"]


class ThreadGPUContext:
    """One stream a thread and device of the frameworks that have streams.

    Decorated functions run on the current stream; these are for those who order work themselves.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def _stream(self, name: str, make: Callable[[Any], tuple[Any, Any]]) -> Any:
        library = ArrayLibrary.named(name)
        if not library.accelerator_devices():
            return None
        streams: dict[Any, Any] = self._local.__dict__.setdefault("streams", {})
        device, create = make(library.module)
        key = (name, device)
        if key not in streams:
            streams[key] = create()
        return streams[key]

    def stream_of(self, name: str) -> Any:
        """The stream of this thread on the framework's current device, or `None` without a GPU."""
        return self.get_cupy_stream() if name == "cupy" else self.get_torch_stream()

    def get_cupy_stream(self) -> Any:
        """CuPy's stream of this thread on its current device, or `None` without a GPU."""
        return self._stream(
            "cupy", lambda module: (module.cuda.Device().id, module.cuda.Stream)
        )

    def get_torch_stream(self) -> Any:
        """PyTorch's stream of this thread on its current device, or `None` without a GPU."""
        return self._stream(
            "torch", lambda module: (module.cuda.current_device(), module.cuda.Stream)
        )


_thread_gpu_contexts = ThreadGPUContext()
