"""The six frameworks as values, and the names of them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from ._native import convert_memory

if TYPE_CHECKING:
    from .converters_registry import ConverterBase
    from .libraries import ArrayLibrary

__all__ = [
    "CPU_MEMORY_TYPES",
    "GPU_MEMORY_TYPES",
    "MEMORY_TYPE_CUPY",
    "MEMORY_TYPE_JAX",
    "MEMORY_TYPE_NUMPY",
    "MEMORY_TYPE_PYCLESPERANTO",
    "MEMORY_TYPE_TENSORFLOW",
    "MEMORY_TYPE_TORCH",
    "SUPPORTED_MEMORY_TYPES",
    "VALID_GPU_MEMORY_TYPES",
    "VALID_MEMORY_TYPES",
    "MemoryContractAttribute",
    "MemoryType",
]


class _LeftOut:
    """No `gpu_id` was given: not the same as `None`, which is the host."""

    def __repr__(self) -> str:
        return "<left out>"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "LEFT_OUT"


LEFT_OUT: Any = _LeftOut()


_get_converter: Any = None


class MemoryType(Enum):
    """A framework whose arrays can be converted."""

    NUMPY = "numpy"
    CUPY = "cupy"
    TORCH = "torch"
    TENSORFLOW = "tensorflow"
    JAX = "jax"
    PYCLESPERANTO = "pyclesperanto"

    @property
    def converter(self) -> ConverterBase:
        """The converter from this framework."""
        global _get_converter
        if _get_converter is None:  # it needs this module
            from .converters_registry import get_converter as _get_converter
        return _get_converter(self._value_)

    @property
    def library(self) -> ArrayLibrary:
        """What this package can ask the framework."""
        from .libraries import ArrayLibrary  # it needs this module

        return ArrayLibrary.named(self._value_)

    def to_numpy(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """`data`, an array of this framework, as an array of NumPy."""
        return convert_memory(data, self, "numpy", gpu_id)

    def to_cupy(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """`data`, an array of this framework, as an array of CuPy."""
        return convert_memory(data, self, "cupy", gpu_id)

    def to_torch(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """`data`, an array of this framework, as a tensor of PyTorch."""
        return convert_memory(data, self, "torch", gpu_id)

    def to_tensorflow(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """`data`, an array of this framework, as a tensor of TensorFlow."""
        return convert_memory(data, self, "tensorflow", gpu_id)

    def to_jax(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """`data`, an array of this framework, as an array of JAX."""
        return convert_memory(data, self, "jax", gpu_id)

    def to_pyclesperanto(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """`data`, an array of this framework, as an array of pyclesperanto."""
        return convert_memory(data, self, "pyclesperanto", gpu_id)


class MemoryContractAttribute(str, Enum):
    """What a decorated function says of itself, as the names of its attributes."""

    INPUT = "input_memory_type"
    OUTPUT = "output_memory_type"
    EXECUTION = "execution_memory_type"

    def of(self, function: Any) -> str | None:
        """The attribute of `function`, where it has it."""
        return getattr(function, self.value, None)

    def read(self, namespace: Any, default: str | None = None) -> str | None:
        """The framework that an object names under this attribute, or a mapping under this key.

        A `TypeError` where what is there is no name.
        """
        if isinstance(namespace, Mapping):
            found = namespace.get(self.value, default)
        else:
            found = getattr(namespace, self.value, default)
        if found is not None and not isinstance(found, str):
            raise TypeError(
                f"{self.value} is the name of a framework, such as 'numpy', not {found!r}, which it is "
                f"for {namespace!r}"
            )
        return found

    def write(self, namespace: Any, value: str) -> None:
        """Names a framework under this attribute of an object, or under this key of a mapping."""
        if isinstance(namespace, MutableMapping):
            namespace[self.value] = value
        else:
            setattr(namespace, self.value, value)


MEMORY_TYPE_NUMPY = MemoryType.NUMPY.value
MEMORY_TYPE_CUPY = MemoryType.CUPY.value
MEMORY_TYPE_TORCH = MemoryType.TORCH.value
MEMORY_TYPE_TENSORFLOW = MemoryType.TENSORFLOW.value
MEMORY_TYPE_JAX = MemoryType.JAX.value
MEMORY_TYPE_PYCLESPERANTO = MemoryType.PYCLESPERANTO.value

CPU_MEMORY_TYPES: set[MemoryType] = {MemoryType.NUMPY}
GPU_MEMORY_TYPES: set[MemoryType] = set(MemoryType) - CPU_MEMORY_TYPES
SUPPORTED_MEMORY_TYPES: set[MemoryType] = CPU_MEMORY_TYPES | GPU_MEMORY_TYPES
VALID_MEMORY_TYPES: set[str] = {member.value for member in MemoryType}
VALID_GPU_MEMORY_TYPES: set[str] = {member.value for member in GPU_MEMORY_TYPES}

_NAMES: dict[Any, str] = {member: member.value for member in MemoryType}
_NAMES.update({member.value: member.value for member in MemoryType})


def name_of(memory_type: Any) -> str | None:
    """The name that a string or a `MemoryType` stands for, or `None`."""
    try:
        return _NAMES.get(memory_type)
    except TypeError:  # not hashable
        return None


def require_bool(value: Any, what: str, none_is: str | None = None) -> bool | None:
    """The value as a bool, which may be NumPy's, or `None` where that says something.

    Otherwise it is a `TypeError`.
    """
    if isinstance(value, bool) or (value is None and none_is is not None):
        return value
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"):
        return bool(value)
    if none_is is None:
        raise TypeError(f"{what} is True or False, not {value!r}")
    raise TypeError(f"{what} is True, False or None ({none_is}), not {value!r}")


def require_name(memory_type: Any, what: str = "memory_type") -> str:
    """The name that a string or a `MemoryType` stands for; otherwise a `ValueError`."""
    name = name_of(memory_type)
    if name is None:
        known = ", ".join(sorted(VALID_MEMORY_TYPES))
        raise ValueError(f"Invalid {what} {memory_type!r}: it must be one of {known}")
    return name
