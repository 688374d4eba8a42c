"""Hands arrays from one framework to another, without a copy where none is needed.

Names are loaded when they are first asked for; no framework is imported with this package. The
names of frameworks are decorators here: `arraybridge.torch` makes a function take and give tensors.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Which module has a name.
_MODULES: dict[str, tuple[str, ...]] = {
    "_native": (
        "Report",
        "Tensor",
        "__version__",
        "backends",
        "convert",
        "convert_reported",
        "explain",
        "plan",
    ),
    "array_geometry": ("ArrayGeometry",),
    "array_payload": ("ArrayPayload",),
    "arrays": ("Array",),
    "conversion": (
        "ConversionCounters",
        "ConversionObserver",
        "ConversionRecord",
        "ConversionRoute",
    ),
    "converters": ("convert_memory", "detect_memory_type", "set_device_fallback"),
    "decorators": (
        "DtypeConversion",
        "SliceBySliceRuntimeParameter",
        "cupy",
        "jax",
        "memory_types",
        "numpy",
        "pyclesperanto",
        "tensorflow",
        "torch",
        "wrap_dtype_preserving_callable",
    ),
    "devices": ("HOST", "AcceleratorDevice", "Device", "HostDevice", "NamedDevice"),
    "dtype_scaling": ("SCALING_FUNCTIONS", "rescale"),
    "exceptions": ("InvalidMemoryTypeError", "MemoryConversionError"),
    "framework_config": ("_FRAMEWORK_CONFIG",),
    "framework_ops": ("_FRAMEWORK_OPS",),
    "gpu_cleanup": ("cleanup_all_gpu_frameworks",),
    "libraries": ("ArrayLibrary",),
    "matrix": ("ConversionMatrix", "conversion_matrix"),
    "oom_recovery": ("_execute_with_oom_recovery", "split_on_oom", "with_oom_recovery"),
    "slice_processing": ("process_slices",),
    "stack_utils": ("stack_slices", "unstack_slices"),
    "types": (
        "CPU_MEMORY_TYPES",
        "GPU_MEMORY_TYPES",
        "SUPPORTED_MEMORY_TYPES",
        "MemoryContractAttribute",
        "MemoryType",
    ),
    "utils": ("_ensure_module", "_get_device_id", "_supports_dlpack"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
#: Modules that can be reached as attributes without being imported by name.
_SUBMODULES = frozenset(_MODULES) | {
    "array_operations",
    "converters_registry",
    "dtype_conversion",
    "gpu_streams",
    "library_roles",
    "memory",
    "nlsq_large_dataset",
    "nlsq_memory",
    "training",
}

__all__ = sorted(name for name in _MODULE_OF if not name.startswith("_"))


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is not None:
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_SUBMODULES})
