"""A converter object for each framework, as earlier releases had them."""

from __future__ import annotations

from typing import Any, ClassVar

from .converters import convert_memory
from .libraries import ArrayLibrary
from .types import LEFT_OUT, MemoryType, name_of
from .utils import _ensure_module as _import_named

__all__ = ["ConverterBase", "get_converter"]


class ConverterBase:
    """Converts arrays of one framework. A subclass names it in `memory_type` and is registered."""

    memory_type: ClassVar[str]
    __registry__: ClassVar[dict[str, type[ConverterBase]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = cls.__dict__.get("memory_type")
        if isinstance(name, str):
            ConverterBase.__registry__[name] = cls

    def to_numpy(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """The array as one of NumPy, on the host."""
        return convert_memory(data, self.memory_type, "numpy", gpu_id)

    def from_numpy(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """An array of NumPy as one of this framework."""
        return convert_memory(data, "numpy", self.memory_type, gpu_id)

    def from_dlpack(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """An array that is exchanged by DLPack as one of this framework."""
        from .converters import detect_memory_type

        return convert_memory(data, detect_memory_type(data), self.memory_type, gpu_id)

    def move_to_device(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        """The array on another device: itself where it is there."""
        return convert_memory(data, self.memory_type, self.memory_type, gpu_id)

    def to_cupy(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        return convert_memory(data, self.memory_type, "cupy", gpu_id)

    def to_torch(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        return convert_memory(data, self.memory_type, "torch", gpu_id)

    def to_tensorflow(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        return convert_memory(data, self.memory_type, "tensorflow", gpu_id)

    def to_jax(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        return convert_memory(data, self.memory_type, "jax", gpu_id)

    def to_pyclesperanto(self, data: Any, gpu_id: Any = LEFT_OUT) -> Any:
        return convert_memory(data, self.memory_type, "pyclesperanto", gpu_id)

    def __repr__(self) -> str:
        return f"<converter of {self.memory_type}>"


class NumpyConverter(ConverterBase):
    memory_type = "numpy"


class CupyConverter(ConverterBase):
    memory_type = "cupy"


class TorchConverter(ConverterBase):
    memory_type = "torch"


class TensorflowConverter(ConverterBase):
    memory_type = "tensorflow"


class JaxConverter(ConverterBase):
    memory_type = "jax"


class PyclesperantoConverter(ConverterBase):
    memory_type = "pyclesperanto"


_CONVERTER_CLASSES = dict(ConverterBase.__registry__)
_made: dict[str, ConverterBase] = {}


def get_converter(memory_type: str | MemoryType) -> ConverterBase:
    """The converter from a framework; a `ValueError` where there is none."""
    name = name_of(memory_type) or memory_type
    found = ConverterBase.__registry__.get(name) if isinstance(name, str) else None
    if found is None or not isinstance(name, str):
        raise ValueError(
            f"No converter registered for memory type {memory_type!r}. "
            f"Available types: {sorted(ConverterBase.__registry__)}"
        )
    made = _made.get(name)
    if made is None or type(made) is not found:
        made = _made[name] = found()
    return made


def _validate_registry() -> None:
    """A `RuntimeError` where the converters are not those of the six frameworks."""
    have = set(ConverterBase.__registry__)
    want = {library.name for library in ArrayLibrary.all()}
    if have != want:
        raise RuntimeError(
            f"the registry of converters does not fit the frameworks. Missing: {sorted(want - have)}, "
            f"Extra: {sorted(have - want)}"
        )


def _ensure_module(memory_type: str | MemoryType) -> Any:
    """The framework's module; an `ImportError` where it is not installed."""
    return _import_named(ArrayLibrary.named(memory_type).name)


_validate_registry()
