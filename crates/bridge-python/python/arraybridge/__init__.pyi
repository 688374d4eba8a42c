"""Hands arrays from one framework to another, without a copy where none is needed."""

from ._native import Report as Report
from ._native import Tensor as Tensor
from ._native import __version__ as __version__
from ._native import backends as backends
from ._native import convert as convert
from ._native import convert_reported as convert_reported
from ._native import explain as explain
from ._native import plan as plan
from .array_geometry import ArrayGeometry as ArrayGeometry
from .array_payload import ArrayPayload as ArrayPayload
from .arrays import Array as Array
from .conversion import ConversionCounters as ConversionCounters
from .conversion import ConversionObserver as ConversionObserver
from .conversion import ConversionRecord as ConversionRecord
from .conversion import ConversionRoute as ConversionRoute
from .converters import convert_memory as convert_memory
from .converters import detect_memory_type as detect_memory_type
from .converters import set_device_fallback as set_device_fallback
from .decorators import DtypeConversion as DtypeConversion
from .decorators import SliceBySliceRuntimeParameter as SliceBySliceRuntimeParameter
from .decorators import cupy as cupy
from .decorators import jax as jax
from .decorators import memory_types as memory_types
from .decorators import numpy as numpy
from .decorators import pyclesperanto as pyclesperanto
from .decorators import tensorflow as tensorflow
from .decorators import torch as torch
from .decorators import wrap_dtype_preserving_callable as wrap_dtype_preserving_callable
from .devices import HOST as HOST
from .devices import AcceleratorDevice as AcceleratorDevice
from .devices import Device as Device
from .devices import HostDevice as HostDevice
from .devices import NamedDevice as NamedDevice
from .dtype_scaling import SCALING_FUNCTIONS as SCALING_FUNCTIONS
from .dtype_scaling import rescale as rescale
from .exceptions import InvalidMemoryTypeError as InvalidMemoryTypeError
from .exceptions import MemoryConversionError as MemoryConversionError
from .framework_config import _FRAMEWORK_CONFIG as _FRAMEWORK_CONFIG
from .framework_ops import _FRAMEWORK_OPS as _FRAMEWORK_OPS
from .gpu_cleanup import cleanup_all_gpu_frameworks as cleanup_all_gpu_frameworks
from .libraries import ArrayLibrary as ArrayLibrary
from .matrix import ConversionMatrix as ConversionMatrix
from .matrix import conversion_matrix as conversion_matrix
from .oom_recovery import _execute_with_oom_recovery as _execute_with_oom_recovery
from .oom_recovery import split_on_oom as split_on_oom
from .oom_recovery import with_oom_recovery as with_oom_recovery
from .slice_processing import process_slices as process_slices
from .stack_utils import stack_slices as stack_slices
from .stack_utils import unstack_slices as unstack_slices
from .types import CPU_MEMORY_TYPES as CPU_MEMORY_TYPES
from .types import GPU_MEMORY_TYPES as GPU_MEMORY_TYPES
from .types import SUPPORTED_MEMORY_TYPES as SUPPORTED_MEMORY_TYPES
from .types import MemoryContractAttribute as MemoryContractAttribute
from .types import MemoryType as MemoryType
from .utils import _ensure_module as _ensure_module
from .utils import _get_device_id as _get_device_id
from .utils import _supports_dlpack as _supports_dlpack

__all__ = [
    "AcceleratorDevice",
    "Array",
    "ArrayGeometry",
    "ArrayLibrary",
    "ArrayPayload",
    "CPU_MEMORY_TYPES",
    "ConversionCounters",
    "ConversionMatrix",
    "ConversionObserver",
    "ConversionRecord",
    "ConversionRoute",
    "Device",
    "DtypeConversion",
    "GPU_MEMORY_TYPES",
    "HOST",
    "HostDevice",
    "InvalidMemoryTypeError",
    "MemoryContractAttribute",
    "MemoryConversionError",
    "MemoryType",
    "NamedDevice",
    "Report",
    "SCALING_FUNCTIONS",
    "SUPPORTED_MEMORY_TYPES",
    "SliceBySliceRuntimeParameter",
    "Tensor",
    "backends",
    "cleanup_all_gpu_frameworks",
    "conversion_matrix",
    "convert",
    "convert_memory",
    "convert_reported",
    "cupy",
    "detect_memory_type",
    "explain",
    "jax",
    "memory_types",
    "numpy",
    "plan",
    "process_slices",
    "pyclesperanto",
    "rescale",
    "set_device_fallback",
    "split_on_oom",
    "stack_slices",
    "tensorflow",
    "torch",
    "unstack_slices",
    "with_oom_recovery",
    "wrap_dtype_preserving_callable",
]

def __dir__() -> list[str]: ...
