"""A double of CuPy: a module named `cupy` whose arrays say that they lie on a GPU.

`install()` puts it into `sys.modules`. What CuPy does where arraybridge looks is done here: exchange by
DLPack with streams and versions, devices and which one is current, memory pools for each device, errors.
What it computes, it computes on the host.

The memory of its arrays is the host's. With `install(driver=PATH)` it is that of a CUDA driver, which is
called for memory, copies, streams and events: the simulated one of `tests/simulated-cuda` is meant.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

import numpy as np

CPU, CUDA, CUDA_MANAGED = 1, 2, 13


class CUDARuntimeError(RuntimeError):
    """What calls of the runtime fail with: it has a number."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class OutOfMemoryError(MemoryError):
    """A pool had no room."""


# Memory.


class HostBlocks:
    """Blocks of host memory, in place of a GPU's."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}
        self._streams = 0x1000

    def allocate(self, device: int, size: int) -> int:
        block = (ctypes.c_char * max(size, 1))()
        self._kept[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def free(self, device: int, address: int) -> None:
        del self._kept[address]

    def write(self, device: int, to: int, values: np.ndarray, stream: int) -> None:
        ctypes.memmove(to, values.ctypes.data, values.nbytes)

    def read(self, device: int, source: int, into: np.ndarray, stream: int) -> None:
        ctypes.memmove(into.ctypes.data, source, into.nbytes)

    def new_stream(self, device: int) -> int:
        self._streams += 0x10
        return self._streams

    def order(self, device: int, first: int, then: int) -> None:
        pass


class DriverBlocks:
    """Memory, copies and streams of a CUDA driver."""

    def __init__(self, path: str) -> None:
        self._cuda = ctypes.CDLL(path)
        self._call("cuInit", ctypes.c_uint(0))
        self._contexts: dict[int, ctypes.c_void_p] = {}

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status == 2:
            raise OutOfMemoryError(f"Out of memory ({name})")
        if status:
            raise CUDARuntimeError(status, f"{name} gave {status}")

    def _enter(self, device: int) -> None:
        if device not in self._contexts:
            context = ctypes.c_void_p()
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
            self._contexts[device] = context
        self._call("cuCtxSetCurrent", self._contexts[device])

    def allocate(self, device: int, size: int) -> int:
        self._enter(device)
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return address.value

    def free(self, device: int, address: int) -> None:
        self._enter(device)
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def write(self, device: int, to: int, values: np.ndarray, stream: int) -> None:
        self._enter(device)
        source, size = ctypes.c_void_p(values.ctypes.data), ctypes.c_size_t(values.nbytes)
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(to), source, size, ctypes.c_void_p(stream))

    def read(self, device: int, source: int, into: np.ndarray, stream: int) -> None:
        self._enter(device)
        to, size = ctypes.c_void_p(into.ctypes.data), ctypes.c_size_t(into.nbytes)
        self._call("cuMemcpyDtoHAsync_v2", to, ctypes.c_uint64(source), size, ctypes.c_void_p(stream))
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def new_stream(self, device: int) -> int:
        self._enter(device)
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(1))  # non-blocking
        return int(stream.value or 0)

    def order(self, device: int, first: int, then: int) -> None:
        """Makes the second stream wait for what the first has been given."""
        self._enter(device)
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(2))
        self._call("cuEventRecord", event, ctypes.c_void_p(first))
        self._call("cuStreamWaitEvent", ctypes.c_void_p(then), event, ctypes.c_uint(0))
        self._call("cuEventDestroy_v2", event)


_blocks: Any = HostBlocks()
#: How many devices there are; an exception instead is raised by whoever asks.
_devices: int | Exception = 2
_current = 0
_stream_of: dict[int, Stream] = {}
#: The streams that were made to wait: (the one that waits, the one waited for).
waits: list[tuple[int, int]] = []
#: What `__dlpack__` was asked with, and what `from_dlpack` asked with.
exports: list[dict[str, Any]] = []
imports: list[dict[str, Any]] = []
#: Whether `__dlpack__` knows `max_version`, as since CuPy 14.
knows_versions = True
#: Whether arrays say that their memory is managed.
managed = False


class Device:
    def __init__(self, id: int | None = None) -> None:
        self.id = _current if id is None else int(id)
        self._before: list[int] = []

    def use(self) -> None:
        _set_device(self.id)

    def __enter__(self) -> Device:
        self._before.append(_current)
        self.use()
        return self

    def __exit__(self, *raised: object) -> None:
        _set_device(self._before.pop())


def _set_device(index: int) -> None:
    global _current
    if not 0 <= index < _device_count():
        raise CUDARuntimeError(101, "cudaErrorInvalidDevice: invalid device ordinal")
    _current = index


def _device_count() -> int:
    if isinstance(_devices, Exception):
        raise _devices
    return _devices


class MemoryPool:
    """Blocks that are kept when they are freed. Its methods are about the current device."""

    def __init__(self) -> None:
        self._free: dict[int, list[tuple[int, int]]] = {}
        self._used: dict[int, int] = {}
        self._limit: dict[int, int] = {}

    def set_limit(self, size: int) -> None:
        self._limit[_current] = size

    def used_bytes(self) -> int:
        return self._used.get(_current, 0)

    def free_bytes(self) -> int:
        return sum(size for _, size in self._free.get(_current, []))

    def total_bytes(self) -> int:
        return self.used_bytes() + self.free_bytes()

    def free_all_blocks(self, stream: Any = None) -> None:
        for address, _ in self._free.pop(_current, []):
            _blocks.free(_current, address)

    def take(self, device: int, size: int) -> int:
        kept = self._free.setdefault(device, [])
        for block in kept:
            if block[1] == size:
                kept.remove(block)
                self._used[device] = self._used.get(device, 0) + size
                return block[0]
        limit = self._limit.get(device)
        total = self._used.get(device, 0) + sum(size for _, size in kept)
        if limit is not None and total + size > limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes, limit "
                f"set to: {limit:,} bytes)."
            )
        address = _blocks.allocate(device, size)
        self._used[device] = self._used.get(device, 0) + size
        return address

    def give_back(self, device: int, address: int, size: int) -> None:
        self._used[device] -= size
        self._free.setdefault(device, []).append((address, size))


class PinnedMemoryPool:
    def __init__(self) -> None:
        self.frees = 0

    def n_free_blocks(self) -> int:
        return 0

    def free_all_blocks(self) -> None:
        self.frees += 1


_pool, _pinned_pool = MemoryPool(), PinnedMemoryPool()


class Memory:
    """A block of the pool, which goes back to it with the last reference."""

    def __init__(self, size: int) -> None:
        self.device_id, self.size = _current, size
        self.ptr = _pool.take(self.device_id, size)

    def __del__(self) -> None:
        if hasattr(self, "ptr"):
            _pool.give_back(self.device_id, self.ptr, self.size)


class MemoryPointer:
    def __init__(self, device_id: int, ptr: int) -> None:
        self.device_id, self.ptr = device_id, ptr


# Streams.


class Event:
    def __init__(self, stream: int) -> None:
        self.stream = stream


class Stream:
    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.device_id = _current
        self.ptr = 0 if null else _blocks.new_stream(_current)

    def record(self, event: Any = None) -> Event:
        return Event(self.ptr)

    def wait_event(self, event: Event) -> None:
        waits.append((self.ptr, event.stream))
        _blocks.order(_current, event.stream, self.ptr)

    def use(self) -> Stream:
        _stream_of[_current] = self
        return self

    def synchronize(self) -> None:
        pass


Stream.null = Stream(null=True)


class ExternalStream(Stream):
    def __init__(self, ptr: int, device_id: int = -1) -> None:
        self.device_id = _current if device_id < 0 else device_id
        self.ptr = ptr


def get_current_stream(device_id: int = -1) -> Stream:
    index = _current if device_id < 0 else device_id
    return _stream_of.get(index) or Stream(null=True)


# Arrays.

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_is_capsule = ctypes.pythonapi.PyCapsule_IsValid
_is_capsule.restype, _is_capsule.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]

#: Where DLPack's structs say which device it is, with a version and without.
_DEVICE_AT = {b"dltensor_versioned": 40, b"dltensor": 8}


def _device_in(capsule: Any) -> Any:
    """The two numbers of the device in a capsule, which can be written."""
    for name, offset in _DEVICE_AT.items():
        if _is_capsule(capsule, name):
            return (ctypes.c_int32 * 2).from_address(_pointer(capsule, name) + offset)
    raise ValueError(
        "A DLPack tensor object cannot be consumed multiple times (or object was not a DLPack capsule)."
    )


class ndarray:
    """An array on a GPU, by its word. `_seen` is a view of its memory, which only says where what is."""

    __module__ = "cupy"

    def __init__(self, seen: np.ndarray, device_id: int, memory: Any) -> None:
        self._seen, self._memory = seen, memory
        self.data = MemoryPointer(device_id, seen.ctypes.data)
        self.device = Device(device_id)

    shape = property(lambda self: self._seen.shape)
    strides = property(lambda self: self._seen.strides)
    dtype = property(lambda self: self._seen.dtype)
    ndim = property(lambda self: self._seen.ndim)
    size = property(lambda self: self._seen.size)
    nbytes = property(lambda self: self._seen.nbytes)
    T = property(lambda self: self._view(self._seen.T))

    def _view(self, seen: np.ndarray) -> ndarray:
        return ndarray(seen, self.data.device_id, self._memory)

    def __getitem__(self, index: Any) -> ndarray:
        return self._view(self._seen[index])

    def __setitem__(self, places: tuple[int, ...], value: Any) -> None:
        """Writes one element."""
        at = self.data.ptr + sum(place * step for place, step in zip(places, self.strides, strict=True))
        stream = get_current_stream(self.data.device_id).ptr
        _blocks.write(self.data.device_id, at, np.array(value, self.dtype), stream)

    def __len__(self) -> int:
        return len(self._seen)

    def __matmul__(self, other: ndarray) -> ndarray:
        with self.device:
            return array(self.get() @ other.get())

    def get(self) -> np.ndarray:
        """The elements, on the host, in the order of the current stream."""
        first, last = np.lib.array_utils.byte_bounds(self._seen)
        raw = np.empty(last - first, "u1")
        if self.size:
            _blocks.read(self.data.device_id, first, raw, get_current_stream().ptr)
        layout = (self.shape, self.dtype, raw, self.data.ptr - first, self.strides)
        return np.ndarray(*layout).copy() if self.size else np.empty(self.shape, self.dtype)

    def copy(self) -> ndarray:
        return array(self.get())

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CUDA_MANAGED if managed else CUDA, self.data.device_id)

    def __dlpack__(self, stream: Any = None, **asked: Any) -> Any:
        if asked and not knows_versions:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        exports.append({"stream": stream, **asked})
        consumer = 1 if stream is None else stream
        if not isinstance(consumer, int) or consumer < -1 or consumer == 0:
            raise ValueError(f"Invalid stream: {stream!r}")
        own = get_current_stream(self.data.device_id).ptr or 1
        if consumer not in (-1, own):
            ExternalStream(consumer, self.data.device_id).wait_event(Event(own))
        version = asked.get("max_version") or (0, 0)
        capsule = self._seen.__dlpack__(max_version=(1, 0)) if version[0] else self._seen.__dlpack__()
        _device_in(capsule)[:] = self.__dlpack_device__()
        return capsule


class _OnTheHost:
    """A capsule that NumPy takes; NumPy looks at no element."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CPU, 0)


def from_dlpack(array: Any, *, device: Any = None, copy: Any = None) -> ndarray:
    """As CuPy's: memory of CUDA alone, with the current stream, which is 1 where it is the default."""
    kind, index = array.__dlpack_device__()
    if kind == CPU:
        raise TypeError(
            "CPU arrays cannot be directly imported to CuPy. Use "
            "`cupy.array(numpy.from_dlpack(input))` instead."
        )
    if kind not in (CUDA, CUDA_MANAGED):
        raise TypeError(f"Unsupported array type: {kind}")
    with Device(index):
        asked = {"stream": get_current_stream().ptr or 1, "max_version": (1, 0), "copy": copy}
        imports.append(asked)
        capsule = array.__dlpack__(**asked)
    _device_in(capsule)[:] = (CPU, 0)
    seen = np.from_dlpack(_OnTheHost(capsule))
    return ndarray(seen, index, seen)


def array(values: Any, dtype: Any = None) -> ndarray:
    if isinstance(values, ndarray):
        values = values.get()
    values = np.ascontiguousarray(np.asarray(values, dtype))
    made = empty(values.shape, values.dtype)
    if values.size:
        _blocks.write(_current, made.data.ptr, values, get_current_stream().ptr)
    return made


def empty(shape: Any, dtype: Any = float) -> ndarray:
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = int(np.prod(shape)) * dtype.itemsize
    memory = Memory(size)
    # A class of its own can hold what keeps the memory.
    block = type("Block", (ctypes.c_char * max(size, 1),), {}).from_address(memory.ptr)
    block.memory = memory
    return ndarray(np.ndarray(shape, dtype, block), memory.device_id, memory)


def rand(*shape: int) -> ndarray:
    return array(np.random.default_rng(1).random(shape))


def asnumpy(values: ndarray) -> np.ndarray:
    return values.get()


def stack(arrays: Any) -> ndarray:
    return array(np.stack([one.get() for one in arrays]))


def install(devices: int | Exception = 2, driver: str | None = None) -> ModuleType:
    """Makes this what `import cupy` gives, with so many devices."""
    global _blocks, _devices
    _devices = devices
    if driver is not None:
        _blocks = DriverBlocks(driver)
    module, cuda, runtime, memory, random = (
        ModuleType(name)
        for name in ("cupy", "cupy.cuda", "cupy.cuda.runtime", "cupy.cuda.memory", "cupy.random")
    )
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    runtime.getDeviceCount = _device_count  # type: ignore[attr-defined]
    runtime.getDevice = lambda: _current  # type: ignore[attr-defined]
    runtime.setDevice = _set_device  # type: ignore[attr-defined]
    runtime.CUDARuntimeError = CUDARuntimeError  # type: ignore[attr-defined]
    memory.OutOfMemoryError = OutOfMemoryError  # type: ignore[attr-defined]
    for one in (Device, Stream, ExternalStream, get_current_stream, MemoryPool, PinnedMemoryPool):
        setattr(cuda, one.__name__, one)
    cuda.runtime, cuda.memory = runtime, memory  # type: ignore[attr-defined]
    module.cuda = cuda  # type: ignore[attr-defined]
    for one in (ndarray, from_dlpack, array, empty, asnumpy, stack):
        setattr(module, one.__name__, one)
    module.asarray = array  # type: ignore[attr-defined]
    random.rand, module.random = rand, random  # type: ignore[attr-defined]
    module.get_default_memory_pool = lambda: _pool  # type: ignore[attr-defined]
    module.get_default_pinned_memory_pool = lambda: _pinned_pool  # type: ignore[attr-defined]
    sys.modules.update({one.__name__: one for one in (module, cuda, runtime, memory, random)})
    return module
