"""Optional modules, protocols, devices: the helpers of earlier releases."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from .devices import HOST, AcceleratorDevice, as_device
from .exceptions import MemoryConversionError
from .libraries import ArrayLibrary
from .types import MemoryType

__all__ = ["optional_import"]


class _ModulePlaceholder:
    """Stands for a module that is not installed: falsy, and an `ImportError` when called.

    Attributes of it are placeholders too, so that a name can be looked up and passed on.
    """

    def __init__(self, module_name: str) -> None:
        self._module_name = module_name

    def __bool__(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            # Whoever asks for a protocol is told that there is none.
            raise AttributeError(name)
        return _ModulePlaceholder(f"{self._module_name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        top = self._module_name.partition(".")[0]
        raise ImportError(
            f"Module '{self._module_name}' is not available: {top} is not installed", name=top
        )

    def __repr__(self) -> str:
        return f"<ModulePlaceholder for '{self._module_name}'>"


def optional_import(module_name: str) -> Any:
    """The module, or a falsy placeholder where it cannot be imported."""
    try:
        return importlib.import_module(module_name)
    except ImportError:
        return _ModulePlaceholder(module_name)


def _ensure_module(module_name: str) -> Any:
    """The module; an `ImportError` that says what needs it, a `RuntimeError` if it is too old."""
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ImportError(
            f"Module {module_name} is required for this operation but is not installed: install "
            "it, or convert to a framework that is there",
            name=module_name,
        ) from error
    if module_name == "tensorflow":
        _require_tensorflow(module)
    return module


def _require_tensorflow(module: Any) -> None:
    version = str(getattr(module, "__version__", "0"))
    parts = version.split(".")
    try:
        numbers = (int(parts[0]), int(parts[1]) if len(parts) > 1 else 0)
    except ValueError:
        return  # a version that is not told by numbers is a build of its own
    if numbers < (2, 12):
        raise RuntimeError(
            f"TensorFlow {version} is too old: arrays are exchanged from version 2.12 on. Upgrade it"
        )


def _supports_dlpack(obj: Any) -> bool:
    """Whether the object offers itself by DLPack, in any of the spellings there were."""
    return any(hasattr(obj, name) for name in ("__dlpack__", "toDlpack", "to_dlpack"))


def _supports_cuda_array_interface(obj: Any) -> bool:
    """Whether the object offers memory of CUDA by `__cuda_array_interface__`."""
    try:
        return hasattr(obj, "__cuda_array_interface__")
    except Exception:  # torch raises for tensors on the host
        return False


def _get_device_id(data: Any, memory_type: str | MemoryType) -> int | None:
    """The number of the accelerator that the array is on, or `None` for the host."""
    device = ArrayLibrary.named(memory_type).device_of(data)
    return device.index if isinstance(device, AcceleratorDevice) else None


def _set_device(memory_type: str | MemoryType, device_id: int | None) -> None:
    """Makes an accelerator the current one, where the framework has such a thing."""
    library = ArrayLibrary.named(memory_type)
    if library.name == "numpy" or device_id is None:
        return
    try:
        library.activate_device(as_device(device_id) or HOST)
    except MemoryConversionError:
        raise
    except Exception as error:
        raise MemoryConversionError(
            library.name, library.name, "device_selection", str(error)
        ) from error


def _move_to_device(data: Any, memory_type: str | MemoryType, device_id: int | None) -> Any:
    """The array on that accelerator, or on the host for `None`: itself where it is there."""
    library = ArrayLibrary.named(memory_type)
    if library.name == "numpy":
        return data
    try:
        return library.move_to_device(data, as_device(device_id) or HOST)
    except Exception as error:
        reason = error.reason if isinstance(error, MemoryConversionError) else str(error)
        raise MemoryConversionError(
            library.name, library.name, "device_movement", reason
        ) from error


def _is_loaded(module_name: str) -> bool:
    """Whether a module has been imported; it is not imported to find out."""
    return sys.modules.get(module_name) is not None
