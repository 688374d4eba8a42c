"""What there is to know of each framework as one table, as earlier releases had it.

The functions take what their names say; nothing here is text to be evaluated. The same facts are
methods of `libraries.ArrayLibrary`, which new code should use.
"""

from __future__ import annotations

from typing import Any

from .converters import convert_memory
from .libraries import ArrayLibrary
from .oom_recovery import _TEXTS, _TYPES
from .types import MemoryType, require_name
from .utils import _get_device_id, _move_to_device, _set_device

__all__ = ["_FRAMEWORK_CONFIG"]


class ByMemoryType(dict[MemoryType, Any]):
    """A table by `MemoryType` that takes the names, too."""

    def __missing__(self, key: Any) -> Any:
        if isinstance(key, str):
            try:
                return self[MemoryType(key)]
            except ValueError:
                pass
        raise KeyError(key)


def _conversion_ops(name: str) -> dict[str, Any]:
    return {
        "to_numpy": lambda data, gpu_id=None: convert_memory(data, name, "numpy"),
        "from_numpy": lambda data, gpu_id=None: convert_memory(data, "numpy", name, gpu_id),
        "from_dlpack": lambda data, gpu_id=None: convert_memory(
            data, ArrayLibrary.of(data).name, name, gpu_id
        ),
        "move_to_device": lambda data, gpu_id=None: convert_memory(data, name, name, gpu_id),
    }


def _entry(memory_type: MemoryType) -> dict[str, Any]:
    name = require_name(memory_type)
    library = ArrayLibrary.named(name)
    clears = name in ("cupy", "torch", "jax")
    return {
        "import_name": name,
        "display_name": library.display_name,
        "is_gpu": library.has_accelerators,
        "get_device_id": lambda data: _get_device_id(data, name),
        "get_device_id_fallback": None,
        "set_device": lambda device_id: _set_device(name, device_id),
        "move_to_device": lambda data, device_id: _move_to_device(data, name, device_id),
        "conversion_ops": _conversion_ops(name),
        "supports_dlpack": library.exports_dlpack and library.imports_dlpack,
        "gpu_check": lambda: bool(library.accelerator_devices()),
        "cleanup_ops": library.cleanup_loaded,
        "has_oom_recovery": True,
        "oom_exception_types": [path for _, path in _TYPES.get(name, ())],
        "oom_string_patterns": list(_TEXTS[name]),
        "oom_clear_cache": library.trim_loaded if clears else None,
    }


_FRAMEWORK_CONFIG: ByMemoryType = ByMemoryType(
    {memory_type: _entry(memory_type) for memory_type in MemoryType}
)
