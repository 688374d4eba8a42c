"""What there is to know of each framework: one class a framework, no conversion.

Nothing here imports a framework unless it is asked by name for something that needs it; what can
be told of a framework that is not loaded is told without it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from types import ModuleType
from typing import Any, ClassVar

from . import _native
from .array_operations import (
    ArrayMath,
    ArrayOperations,
    InPlaceAssignment,
    MutableArrays,
    NumpyArrayApi,
    TensorflowOperations,
    TorchOperations,
)
from .devices import HOST, AcceleratorDevice, Device
from .exceptions import InvalidMemoryTypeError, MemoryConversionError
from .library_roles import (
    AcceleratorDevices,
    CudaLibrary,
    DLPackImport,
    DLPackPayload,
    DLPackProtocolExport,
    HostDevices,
    NumpyBufferSharing,
)
from .masked_arrays import refuse_mask
from .types import LEFT_OUT, name_of

__all__ = [
    "AcceleratorDevices",
    "ArrayLibrary",
    "ArrayMath",
    "CudaLibrary",
    "CupyLibrary",
    "DLPackImport",
    "DLPackPayload",
    "DLPackProtocolExport",
    "HostDevices",
    "InPlaceAssignment",
    "JaxLibrary",
    "MutableArrays",
    "NumpyArrayApi",
    "NumpyBufferSharing",
    "NumpyLibrary",
    "PyclesperantoLibrary",
    "TensorflowLibrary",
    "TorchLibrary",
]


class ArrayLibrary(ArrayOperations):
    """A framework: its module, its devices, its memory."""

    name: ClassVar[str]
    display_name: ClassVar[str]
    #: The package to install.
    package: ClassVar[str]
    #: The first words of the modules that its array types come from.
    module_names: ClassVar[tuple[str, ...]]
    #: Whether it keeps arrays in host memory.
    has_host: ClassVar[bool] = True
    #: Whether it can have arrays on an accelerator.
    has_accelerators: ClassVar[bool] = True
    #: Whether its arrays are handed out and taken in by DLPack.
    exports_dlpack: ClassVar[bool] = True
    imports_dlpack: ClassVar[bool] = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    # Which framework.

    @staticmethod
    def all() -> tuple[ArrayLibrary, ...]:
        """All six, NumPy first."""
        return _ALL

    @staticmethod
    def named(name: Any) -> ArrayLibrary:
        """The framework of a name, a `MemoryType` or an `ArrayLibrary`; or a `ValueError`."""
        if isinstance(name, ArrayLibrary):
            return name
        known = name_of(name)
        if known is None:
            raise ValueError(
                f"{name!r} is not a registered array library. Available: {sorted(_BY_NAME)}"
            )
        return _BY_NAME[known]

    @staticmethod
    def for_module_name(module_name: str) -> ArrayLibrary:
        """The framework whose array types come from this module; or a `ValueError`."""
        top = module_name.partition(".")[0]
        for library in _ALL:
            if top in library.module_names:
                return library
        # pyclesperanto's arrays come from a module for each of its drivers: pyclesperanto_opencl.
        if top.startswith("pyclesperanto"):
            return _BY_NAME["pyclesperanto"]
        raise ValueError(f"no array library has a module {module_name!r}")

    @staticmethod
    def of(value: Any) -> ArrayLibrary:
        """The framework that `value` is an array of; or a `ValueError`."""
        from .converters import detect_memory_type

        return _BY_NAME[detect_memory_type(value)]

    def accepts(self, value: Any) -> bool:
        """Whether `value` is an array of this framework."""
        return _native.detect(value) == self.name

    # The module.

    @property
    def recognized_module_names(self) -> tuple[str, ...]:
        return self.module_names

    def is_installed(self) -> bool:
        """Whether the framework could be imported; it is not imported to find out."""
        if self.loaded_module() is not None:
            return True
        if self.name in sys.modules and sys.modules[self.name] is None:
            return False
        try:
            return importlib.util.find_spec(self.name) is not None
        except (ImportError, ValueError):
            return False

    def loaded_module(self) -> ModuleType | None:
        """The module, where it is loaded to the end: one that is being imported does not count."""
        module = sys.modules.get(self.name)
        if module is None or getattr(getattr(module, "__spec__", None), "_initializing", False):
            return None
        return module

    def import_module(self) -> ModuleType:
        """The module; an `ImportError` that names the package where it is not installed."""
        loaded = self.loaded_module()
        if loaded is not None:
            return loaded
        try:
            return importlib.import_module(self.name)
        except ImportError as error:
            raise ImportError(self.absence(str(error)), name=self.name) from error

    def import_if_installed(self) -> ModuleType | None:
        return self.import_module() if self.is_installed() else None

    @property
    def module(self) -> ModuleType:
        return self.import_module()

    def absence(self, why: str = "") -> str:
        """What is said where the framework is missing."""
        because = f" ({why})" if why else ""
        return (
            f"{self.display_name} is not available: the module {self.name} cannot be imported"
            f"{because}. Install it, for example with `pip install {self.package}`"
        )

    # Its devices.

    def host_devices(self) -> tuple[Device, ...]:
        return (HOST,) if self.has_host else ()

    def accelerator_count(self) -> int:
        """How many accelerators the framework sees. It is imported to find out."""
        return 0

    def accelerator_devices(self) -> tuple[AcceleratorDevice, ...]:
        if not self.has_accelerators or not self.is_installed():
            return ()
        try:
            count = self.accelerator_count()
        except Exception:  # a driver that is missing or broken has no devices
            return ()
        return tuple(AcceleratorDevice(index) for index in range(count))

    def available_devices(self) -> tuple[Device, ...]:
        return self.host_devices() + self.accelerator_devices()

    def require_device(self, device: Device) -> None:
        """A `MemoryConversionError` where the framework lacks the device."""
        available = self.available_devices()
        if device not in available:
            labels = ", ".join(one.label for one in available) or "none"
            raise MemoryConversionError(
                self.name,
                self.name,
                "device_selection",
                f"{self.display_name} has no {device.label} here (available: {labels}; without a "
                "working CUDA driver there is no accelerator). Ask for one of these, or leave "
                "the device out",
            )

    def default_device(self) -> Device | None:
        """Where a new array goes if nothing is said: an accelerator if there is one.

        `None` leaves it to the framework.
        """
        if self.name in _DEFAULTS:
            return _DEFAULTS[self.name]
        devices = self.accelerator_devices()
        chosen = devices[0] if devices else None
        if self.loaded_module() is not None:
            _DEFAULTS[self.name] = chosen
        return chosen

    def device_of(self, data: Any) -> Device:
        """Where the array lies."""
        return HOST

    def activate_device(self, device: Device) -> None:
        """Makes the device the current one of this thread, where the framework has such."""
        self.require_device(device)

    def device_scope(self, device: Device) -> AbstractContextManager[object]:
        """The device is the current one inside `with`."""
        self.require_device(device)
        return nullcontext()

    def move_to_device(self, data: Any, device: Device) -> Any:
        """The array on that device: itself where it is there."""
        if self.device_of(data) == device:
            return data
        return _native.convert(data, self.name, device=device.native_name(self.name))

    # What some have: the roles of `library_roles`.

    def imports_dlpack_from(self, device: Device) -> bool:
        """Whether arrays on that device are taken over by DLPack."""
        return False

    def exports_dlpack_from(self, device: Device) -> bool:
        """Whether arrays on that device are handed over by DLPack."""
        return False

    def exports_dlpack_data(self, data: Any) -> bool:
        """Whether this array is handed over by DLPack."""
        return False

    def export_dlpack(self, data: Any) -> DLPackPayload | None:
        return None

    def shares_numpy_buffer_on(self, device: Device) -> bool:
        """Whether arrays on that device share memory with NumPy's."""
        return False

    def host_address_of(self, data: Any) -> int | None:
        return None

    # Its arrays.

    def nbytes_of(self, data: Any) -> int:
        """The bytes of the elements."""
        return int(data.nbytes)

    def address_of(self, data: Any) -> int | None:
        """Where the elements begin, for arrays that lie in one piece on one device."""
        return None

    def dtype_name(self, data: Any) -> str:
        """The element type as NumPy calls it, of an array or of a dtype of the framework."""
        dtype = getattr(data, "dtype", data)
        return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]

    def to_numpy(self, data: Any) -> Any:
        return _native.convert(data, "numpy")

    def from_numpy(self, data: Any, device: Device | None = None) -> Any:
        name = device.native_name(self.name) if device is not None else None
        return _native.convert(data, self.name, device=name)

    unrecorded_to_numpy = to_numpy
    unrecorded_from_numpy = from_numpy

    def convert_to(self, data: Any, target: Any, device: Any = LEFT_OUT) -> Any:
        """The array as one of `target`, on `device`."""
        from .converters import convert_memory

        return convert_memory(data, self.name, ArrayLibrary.named(target).name, device=device)

    def stack_arrays(self, arrays: Any, device: Device | None = None) -> Any:
        """The arrays, all of one shape, as one with a new first axis."""
        return self.module.stack(arrays)

    # Its memory.

    def held_bytes(self) -> int | None:
        """The bytes that the loaded framework holds on devices, or `None` where it cannot tell."""
        return None

    def trim_loaded(self, device_id: int | None = None) -> None:
        """Gives back what the loaded framework keeps for later. Nothing is imported."""

    def cleanup_loaded(self, device: Any = None) -> int:
        """As `trim_loaded`, after a collection of garbage: the bytes released."""
        from .gpu_cleanup import cleanup

        index = device.index if isinstance(device, AcceleratorDevice) else device
        return cleanup((self.name,), index)

    def is_oom_error(self, error: BaseException) -> bool:
        """Whether the error says that memory ran out."""
        from .oom_recovery import _is_oom_error

        return _is_oom_error(error, self.name)

    def run_with_oom_recovery(self, func: Any, max_retries: int = 2, device: Any = None) -> Any:
        from .oom_recovery import _execute_with_oom_recovery

        index = device.index if isinstance(device, AcceleratorDevice) else device
        return _execute_with_oom_recovery(func, self.name, max_retries, device_id=index)

    def execution_wrapper(self, func: Callable[..., Any], oom_recovery: bool) -> Callable[..., Any]:
        """The function; with `oom_recovery`, it runs again after a lack of memory."""
        if not oom_recovery:
            return func

        @wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return self.run_with_oom_recovery(lambda: func(*args, **kwargs))

        return wrapper

    @staticmethod
    def cleanup_all_loaded(device: Any = None) -> int:
        """As `cleanup_loaded`, of all frameworks that are loaded."""
        from .gpu_cleanup import cleanup_all_gpu_frameworks

        return cleanup_all_gpu_frameworks(
            device.index if isinstance(device, AcceleratorDevice) else device
        )


def _index_in(text: str) -> int:
    digits = text.rpartition(":")[2]
    return int(digits) if digits.isdigit() else 0


class NumpyLibrary(
    HostDevices,
    NumpyArrayApi,
    MutableArrays,
    NumpyBufferSharing,
    DLPackProtocolExport,
    DLPackImport,
    ArrayLibrary,
):
    name = "numpy"
    display_name = "NumPy"
    package = "numpy"
    module_names = ("numpy",)
    has_accelerators = False

    @classmethod
    def registered(cls) -> ArrayLibrary:
        """The one there is."""
        return _BY_NAME[cls.name]

    def address_of(self, data: Any) -> int | None:
        return int(data.__array_interface__["data"][0])

    def stack_arrays(self, arrays: Any, device: Device | None = None) -> Any:
        array_type = self.module.ndarray
        found = [one if type(one) is array_type else self._plain(one) for one in arrays]
        made = _native.stacked(found)
        return self.module.stack(found) if made is None else made

    def _plain(self, data: Any) -> Any:
        """The array without what its class adds: a matrix would have two axes in a stack, too."""
        refuse_mask(data, self.name, "stacking")
        return self.module.asarray(data)


class CupyLibrary(
    CudaLibrary, NumpyArrayApi, MutableArrays, DLPackProtocolExport, DLPackImport, ArrayLibrary
):
    name = "cupy"
    display_name = "CuPy"
    package = "cupy-cuda12x"
    module_names = ("cupy", "cupyx")
    has_host = False

    def accelerator_count(self) -> int:
        return int(self.module.cuda.runtime.getDeviceCount())

    def device_of(self, data: Any) -> Device:
        return AcceleratorDevice(int(data.device.id))

    def activate_device(self, device: Device) -> None:
        self.require_device(device)
        if isinstance(device, AcceleratorDevice):
            self.module.cuda.Device(device.index).use()

    def device_scope(self, device: Device) -> AbstractContextManager[object]:
        self.require_device(device)
        return self.module.cuda.Device(getattr(device, "index", 0))

    def stream_scope(self, stream: Any) -> AbstractContextManager[object]:
        return stream

    def _current_index(self) -> int:
        return int(self.module.cuda.Device().id)

    def address_of(self, data: Any) -> int | None:
        return int(data.data.ptr)

    def held_bytes(self) -> int | None:
        module = self.loaded_module()
        if module is None:
            return None
        pool = module.get_default_memory_pool()
        return sum(int(pool.total_bytes()) for _ in self._current(module, None))

    def trim_loaded(self, device_id: int | None = None) -> None:
        module = self.loaded_module()
        if module is None:
            return
        for _ in self._current(module, device_id):
            module.get_default_memory_pool().free_all_blocks()
        module.get_default_pinned_memory_pool().free_all_blocks()

    @staticmethod
    def _current(module: Any, device_id: int | None) -> Iterator[int]:
        """Makes one device the current one, or each that is in use, in turn.

        CuPy's pool answers for the current device alone.
        """
        if device_id is not None:
            indices = [device_id]
        else:
            count = int(module.cuda.runtime.getDeviceCount())
            indices = [index for index in range(count) if _is_in_use(index)]
        for index in indices:
            with module.cuda.Device(index):
                yield index


def _is_in_use(index: int) -> bool:
    """Whether this process has made a context on a GPU; true where the driver cannot be asked.

    To look at another one would make a context there, which takes hundreds of megabytes.
    """
    flags, active = ctypes.c_uint(), ctypes.c_int()
    try:
        ask = ctypes.CDLL("libcuda.so.1").cuDevicePrimaryCtxGetState
    except (OSError, AttributeError):
        return True
    failed = ask(index, ctypes.byref(flags), ctypes.byref(active))
    return bool(failed or active.value)


class TorchLibrary(
    HostDevices,
    CudaLibrary,
    TorchOperations,
    NumpyBufferSharing,
    DLPackProtocolExport,
    DLPackImport,
    ArrayLibrary,
):
    name = "torch"
    display_name = "PyTorch"
    package = "torch"
    module_names = ("torch",)

    def accelerator_count(self) -> int:
        cuda = self.module.cuda
        return int(cuda.device_count()) if cuda.is_available() else 0

    def default_device(self) -> Device | None:
        cuda = getattr(self.loaded_module(), "cuda", None)
        if cuda is not None and cuda.is_initialized():
            return AcceleratorDevice(int(cuda.current_device()))
        return super().default_device()

    def device_of(self, data: Any) -> Device:
        if data.is_cuda:
            return AcceleratorDevice(int(data.get_device()))
        if data.device.type == "cpu":
            return HOST
        from .devices import NamedDevice

        return NamedDevice(str(data.device))

    def activate_device(self, device: Device) -> None:
        self.require_device(device)
        if isinstance(device, AcceleratorDevice):
            self.module.cuda.set_device(device.index)

    def device_scope(self, device: Device) -> AbstractContextManager[object]:
        self.require_device(device)
        return self.module.device("cpu" if device == HOST else f"cuda:{getattr(device, 'index', 0)}")

    def stream_scope(self, stream: Any) -> AbstractContextManager[object]:
        return self.module.cuda.stream(stream)

    def _current_index(self) -> int:
        return int(self.module.cuda.current_device())

    def address_of(self, data: Any) -> int | None:
        return int(data.data_ptr())

    def _initialised_cuda(self) -> Any:
        cuda = getattr(self.loaded_module(), "cuda", None)
        return cuda if cuda is not None and cuda.is_initialized() else None

    def held_bytes(self) -> int | None:
        cuda = self._initialised_cuda()
        if cuda is None:
            return None
        return sum(int(cuda.memory_reserved(index)) for index in range(cuda.device_count()))

    def trim_loaded(self, device_id: int | None = None) -> None:
        cuda = self._initialised_cuda()
        if cuda is None:
            return
        if device_id is None:
            cuda.synchronize()
            cuda.empty_cache()
        else:
            with cuda.device(device_id):
                cuda.synchronize()
                cuda.empty_cache()


class TensorflowLibrary(
    HostDevices,
    AcceleratorDevices,
    TensorflowOperations,
    NumpyBufferSharing,
    DLPackProtocolExport,
    DLPackImport,
    ArrayLibrary,
):
    name = "tensorflow"
    display_name = "TensorFlow"
    package = "tensorflow"
    module_names = ("tensorflow",)

    def accelerator_count(self) -> int:
        return len(self.module.config.list_physical_devices("GPU"))

    def device_of(self, data: Any) -> Device:
        name = str(getattr(data, "device", "") or "")
        if "GPU" not in name.upper():
            return HOST
        return AcceleratorDevice(_index_in(name))

    def device_scope(self, device: Device) -> AbstractContextManager[object]:
        self.require_device(device)
        return self.module.device("/CPU:0" if device == HOST else f"/GPU:{getattr(device, 'index', 0)}")

    def address_of(self, data: Any) -> int | None:
        try:
            return int(data.__array_interface__["data"][0])
        except Exception:  # on a device, or of a type that NumPy lacks
            return None

    def nbytes_of(self, data: Any) -> int:
        size = 1
        for length in data.shape:
            size *= int(length)
        return size * int(data.dtype.size)

    def held_bytes(self) -> int | None:
        module = self.loaded_module()
        if module is None:
            return None
        held = 0
        for device in module.config.list_logical_devices("GPU"):
            short = f"GPU:{_index_in(device.name)}"
            held += int(module.config.experimental.get_memory_info(short)["current"])
        return held or None


class JaxLibrary(
    HostDevices,
    AcceleratorDevices,
    NumpyArrayApi,
    NumpyBufferSharing,
    DLPackProtocolExport,
    DLPackImport,
    ArrayLibrary,
):
    name = "jax"
    display_name = "JAX"
    package = "jax"
    module_names = ("jax", "jaxlib")

    @property
    def array_module(self) -> Any:
        return self.module.numpy

    def assign(self, data: Any, index: Any, values: Any) -> Any:
        return data.at[index].set(values)

    def device_scope(self, device: Device) -> AbstractContextManager[object]:
        self.require_device(device)
        if isinstance(device, AcceleratorDevice):
            return self.module.default_device(self._accelerators()[device.index])
        return self.module.default_device(self.module.devices("cpu")[0])

    def _accelerators(self) -> list[Any]:
        return [one for one in self.module.devices() if one.platform in ("gpu", "cuda", "rocm")]

    def accelerator_count(self) -> int:
        return len(self._accelerators())

    def device_of(self, data: Any) -> Device:
        devices = list(data.devices())
        if len(devices) != 1:
            raise MemoryConversionError(
                "jax", "jax", "detection", f"the array is spread over {len(devices)} devices"
            )
        if devices[0].platform == "cpu":
            return HOST
        return AcceleratorDevice(int(devices[0].id))

    def address_of(self, data: Any) -> int | None:
        try:
            return int(data.unsafe_buffer_pointer())
        except Exception:  # not committed to one device
            return None

    def held_bytes(self) -> int | None:
        if self.loaded_module() is None:
            return None
        held = None
        for device in self.module.local_devices():
            stats = device.memory_stats()
            if stats:
                held = (held or 0) + int(stats.get("bytes_in_use", 0))
        return held

    def trim_loaded(self, device_id: int | None = None) -> None:
        module = self.loaded_module()
        if module is not None:
            module.clear_caches()

    def stack_arrays(self, arrays: Any, device: Device | None = None) -> Any:
        return self.module.numpy.stack(list(arrays))


class PyclesperantoLibrary(AcceleratorDevices, ArrayLibrary):
    name = "pyclesperanto"
    display_name = "pyclesperanto"
    package = "pyclesperanto"
    module_names = ("pyclesperanto", "pyclesperanto_prototype")
    has_host = False
    imports_dlpack = False

    def accelerator_count(self) -> int:
        return len(self.module.list_available_devices())

    def default_device(self) -> Device | None:
        return None  # it has a current device of its own

    def device_of(self, data: Any) -> Device:
        module = self.module
        own = getattr(data, "device", None) or module.get_device()
        for index, name in enumerate(module.list_available_devices()):
            if str(name) == getattr(own, "name", own):
                return AcceleratorDevice(index)
        return AcceleratorDevice(0)

    def activate_device(self, device: Device) -> None:
        self.require_device(device)
        if isinstance(device, AcceleratorDevice):
            self.module.select_device(device.index)

    @contextmanager
    def device_scope(self, device: Device) -> Iterator[object]:
        before = self.module.get_device()
        self.activate_device(device)
        try:
            yield device
        finally:
            self.module.select_device(before.name)

    def nbytes_of(self, data: Any) -> int:
        size = int(data.dtype.itemsize)
        for length in data.shape:
            size *= int(length)
        return size

    def stack_arrays(self, arrays: Any, device: Device | None = None) -> Any:
        found = list(arrays)
        shape = (len(found), *found[0].shape)
        made = self.module.create(shape, dtype=found[0].dtype, device=found[0].device)
        for index, one in enumerate(found):
            self.module.paste(one, made, destination_z=index)
        return made


_ALL: tuple[ArrayLibrary, ...] = (
    NumpyLibrary(),
    CupyLibrary(),
    TorchLibrary(),
    TensorflowLibrary(),
    JaxLibrary(),
    PyclesperantoLibrary(),
)
_BY_NAME: dict[str, ArrayLibrary] = {library.name: library for library in _ALL}
_DEFAULTS: dict[str, Device | None] = {}


def library_of(name: Any, *, role: str, source: Any, target: Any) -> ArrayLibrary:
    """The framework of a name; otherwise an error that is one of conversion and of value."""
    known = name_of(name)
    if known is None:
        raise InvalidMemoryTypeError(
            str(source),
            str(target),
            "detection",
            f"{role} {name!r} is not the name of a framework; the names are {', '.join(sorted(_BY_NAME))}",
        )
    return _BY_NAME[known]

