"""What some frameworks have and others lack, a class a role, as earlier releases had it.

`isinstance(ArrayLibrary.named("torch"), CudaLibrary)` tells whether a framework has a role.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from .devices import AcceleratorDevice, Device, HostDevice

__all__ = [
    "AcceleratorDevices",
    "CudaLibrary",
    "DLPackImport",
    "DLPackPayload",
    "DLPackProtocolExport",
    "HostDevices",
    "NumpyBufferSharing",
]


class HostDevices:
    """Keeps arrays in host memory."""


class AcceleratorDevices:
    """Can have arrays on accelerators."""


class NumpyBufferSharing:
    """Shares host memory with NumPy's arrays, where element types and alignment allow it."""

    device_of: Callable[[Any], Device]
    address_of: Callable[[Any], int | None]

    def shares_numpy_buffer_on(self, device: Device) -> bool:
        return isinstance(device, HostDevice)

    def host_address_of(self, data: Any) -> int | None:
        """Where the elements begin in host memory; `None` for what lies elsewhere."""
        return self.address_of(data) if isinstance(self.device_of(data), HostDevice) else None


@dataclass(frozen=True)
class DLPackPayload:
    """An array that is handed over: what it is, and its capsule, which can be taken once."""

    source: Any
    capsule: Any

    def __dlpack__(self, **_asked: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.source.__dlpack_device__()


class DLPackProtocolExport:
    """Hands arrays over by DLPack."""

    has_host: ClassVar[bool]

    def exports_dlpack_from(self, device: Device) -> bool:
        return self.has_host or not isinstance(device, HostDevice)

    def exports_dlpack_data(self, data: Any) -> bool:
        return hasattr(data, "__dlpack__")

    def export_dlpack(self, data: Any) -> DLPackPayload | None:
        """The array with its capsule; `None` where it has none."""
        if not self.exports_dlpack_data(data):
            return None
        return DLPackPayload(data, data.__dlpack__())


class DLPackImport:
    """Takes arrays over by DLPack."""

    name: ClassVar[str]
    has_host: ClassVar[bool]

    def imports_dlpack_from(self, device: Device) -> bool:
        return self.has_host or not isinstance(device, HostDevice)

    def from_dlpack(self, data: Any) -> Any:
        """An array of this framework, of an object with `__dlpack__`; a copy where it cannot be shared."""
        from . import _native

        return _native.convert(data, self.name)


class CudaLibrary(AcceleratorDevices):
    """Runs on streams of CUDA."""

    module: Any
    name: ClassVar[str]
    accelerator_devices: Callable[[], tuple[AcceleratorDevice, ...]]
    device_scope: Callable[[Device], AbstractContextManager[object]]

    def create_stream(self) -> Any:
        """A new stream of the current device."""
        return self.module.cuda.Stream()

    def stream_scope(self, stream: Any) -> AbstractContextManager[object]:
        """Work inside `with` goes to that stream."""
        raise NotImplementedError

    def current_device(self) -> AcceleratorDevice | None:
        """The device that new arrays go to; `None` where there is none."""
        return AcceleratorDevice(self._current_index()) if self.accelerator_devices() else None

    def _current_index(self) -> int:
        raise NotImplementedError

    def thread_stream(self, device: AcceleratorDevice) -> Any:
        """This thread's own stream of a device, made at its first use."""
        from .gpu_streams import _thread_gpu_contexts

        with self.device_scope(device):
            return _thread_gpu_contexts.stream_of(self.name)
