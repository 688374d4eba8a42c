"""Which element type the results of a decorated function have."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

__all__ = [
    "DtypeConversion",
    "DtypeConversionConfig",
    "DtypeConversionRequest",
    "DtypeConversionRunner",
    "FixedDtypeConversionRunner",
    "KeywordOnlySignatureExtension",
    "NativeOutputDtypeConversionRunner",
    "PreserveInputDtypeConfig",
    "PreserveInputDtypeConversionRunner",
    "SliceBySliceRuntimeParameter",
]


class DtypeConversion(Enum):
    """The element type of results: that of the first array, the function's own, or a fixed one."""

    PRESERVE_INPUT = "preserve"
    NATIVE_OUTPUT = "native"
    UINT8 = "uint8"
    UINT16 = "uint16"
    INT16 = "int16"
    INT32 = "int32"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def dtype_name(self) -> str | None:
        """The name of the fixed type, or `None`."""
        return None if self.value in ("preserve", "native") else self.value

    @property
    def numpy_dtype(self) -> Any:
        """The fixed type as NumPy has it, or `None`."""
        if self.dtype_name is None:
            return None
        import numpy

        return getattr(numpy, self.dtype_name)


class DtypeConversionConfig(ABC):
    """Something that says which conversion holds where a call says nothing."""

    @property
    @abstractmethod
    def default_dtype_conversion(self) -> DtypeConversion:
        """The conversion."""

    @classmethod
    def require_parameter_name(cls) -> str:
        return "dtype_config"

    @classmethod
    def default_value(cls) -> DtypeConversionConfig:
        return PreserveInputDtypeConfig()

    @classmethod
    def annotation_type(cls) -> Any:
        return DtypeConversionConfig

    @classmethod
    def parameter(cls, *, default_value: DtypeConversionConfig | None = None) -> inspect.Parameter:
        """The parameter as it is added to signatures."""
        return inspect.Parameter(
            cls.require_parameter_name(),
            inspect.Parameter.KEYWORD_ONLY,
            default=cls.default_value() if default_value is None else default_value,
            annotation=cls.annotation_type(),
        )


@dataclass(frozen=True)
class PreserveInputDtypeConfig(DtypeConversionConfig):
    """Says what it is told; results keep the type of the first array where it is told nothing."""

    default_dtype_conversion: DtypeConversion = DtypeConversion.PRESERVE_INPUT


class SliceBySliceRuntimeParameter:
    """The keyword `slice_by_slice` of decorated functions."""

    @classmethod
    def require_parameter_name(cls) -> str:
        return "slice_by_slice"

    @classmethod
    def default_value(cls) -> bool:
        return False

    @classmethod
    def annotation_type(cls) -> type[bool]:
        return bool

    @classmethod
    def parameter(cls, *, default_value: bool | None = None) -> inspect.Parameter:
        """The parameter as it is added to signatures."""
        return inspect.Parameter(
            cls.require_parameter_name(),
            inspect.Parameter.KEYWORD_ONLY,
            default=cls.default_value() if default_value is None else default_value,
            annotation=cls.annotation_type(),
        )


class KeywordOnlySignatureExtension:
    """Adds parameters that are given by keyword to a signature, before its `**kwargs`."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.signature = signature

    def with_parameter(self, parameter: inspect.Parameter) -> inspect.Signature:
        """The signature with the parameter; unchanged where it has one of that name."""
        if parameter.name in self.signature.parameters:
            return self.signature
        parameters = list(self.signature.parameters.values())
        last = parameters[-1] if parameters else None
        place = len(parameters)
        if last is not None and last.kind is inspect.Parameter.VAR_KEYWORD:
            place -= 1
        parameters.insert(place, parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        return self.signature.replace(parameters=parameters)


@dataclass(frozen=True)
class DtypeConversionRequest:
    """An array, the type that the first argument had, its own, and how to scale it."""

    array: Any
    original_dtype_name: str | None
    array_dtype_name: str | None
    scale_func: Callable[[Any, Any], Any]


class DtypeConversionRunner:
    """Carries one member of `DtypeConversion` out."""

    conversion: ClassVar[DtypeConversion]
    _runners: ClassVar[dict[DtypeConversion, type[DtypeConversionRunner]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "conversion" in cls.__dict__:
            DtypeConversionRunner._runners[cls.conversion] = cls

    @classmethod
    def registry_enum_member(cls) -> DtypeConversion | None:
        """The member that this class carries out."""
        return cls.__dict__.get("conversion")

    @staticmethod
    def for_dtype_conversion(dtype_conversion: DtypeConversion) -> DtypeConversionRunner:
        """Who carries the member out."""
        return DtypeConversionRunner._runners[dtype_conversion]()

    def wanted(self, original_dtype_name: str | None) -> str | None:
        """The type that the result shall have, or `None` for its own."""
        return self.conversion.dtype_name

    def apply(self, request: DtypeConversionRequest) -> Any:
        """The array in the type that it shall have: itself where it has it."""
        wanted = self.wanted(request.original_dtype_name)
        if wanted is None or wanted == request.array_dtype_name:
            return request.array
        return request.scale_func(request.array, wanted)


class PreserveInputDtypeConversionRunner(DtypeConversionRunner):
    conversion = DtypeConversion.PRESERVE_INPUT

    def wanted(self, original_dtype_name: str | None) -> str | None:
        return original_dtype_name

    def apply(self, request: DtypeConversionRequest) -> Any:
        # No real type holds complex numbers: there they stay what they are.
        if (request.array_dtype_name or "").startswith("complex"):
            return request.array
        return super().apply(request)


class NativeOutputDtypeConversionRunner(DtypeConversionRunner):
    conversion = DtypeConversion.NATIVE_OUTPUT


class FixedDtypeConversionRunner(DtypeConversionRunner):
    """One that names a type."""


class Uint8DtypeConversionRunner(FixedDtypeConversionRunner):
    conversion = DtypeConversion.UINT8


class Uint16DtypeConversionRunner(FixedDtypeConversionRunner):
    conversion = DtypeConversion.UINT16


class Int16DtypeConversionRunner(FixedDtypeConversionRunner):
    conversion = DtypeConversion.INT16


class Int32DtypeConversionRunner(FixedDtypeConversionRunner):
    conversion = DtypeConversion.INT32


class Float32DtypeConversionRunner(FixedDtypeConversionRunner):
    conversion = DtypeConversion.FLOAT32


class Float64DtypeConversionRunner(FixedDtypeConversionRunner):
    conversion = DtypeConversion.FLOAT64


def as_dtype_conversion(value: Any) -> DtypeConversion:
    """The conversion that a member, its value, its name or a config stands for."""
    if isinstance(value, DtypeConversion):
        return value
    if isinstance(value, str):
        for member in DtypeConversion:
            if value == member.value or value.upper() == member.name:
                return member
    inner = getattr(value, "default_dtype_conversion", None)
    if inner is not None:
        return as_dtype_conversion(inner)
    known = ", ".join(repr(member.value) for member in DtypeConversion)
    raise ValueError(f"{value!r} is no conversion of element types: it must be one of {known}")
