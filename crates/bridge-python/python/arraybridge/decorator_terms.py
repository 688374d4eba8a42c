"""What a decorator was told, and what it does with arguments and results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ._native import memory as _memory
from .converters import convert_memory
from .devices import HOST, AcceleratorDevice, Device
from .dtype_conversion import DtypeConversion, DtypeConversionRequest, DtypeConversionRunner
from .libraries import ArrayLibrary
from .nested_arrays import dtype_name, framework_of, gather, map_arrays

__all__ = ["Terms"]


class Terms:
    """What a decorator was told, looked through once."""

    def __init__(
        self,
        execution: str,
        output: str,
        place: Device | None,
        *,
        converts: bool = True,
        max_retries: int = 0,
        clear_cache: bool = True,
        contract: Callable[[Any], Any] | None = None,
        slice_default: bool = False,
        conversion: DtypeConversion = DtypeConversion.NATIVE_OUTPUT,
        rescale: str = "minmax",
        runtime: bool = True,
        budget: Any = None,
        pool: Any = None,
    ) -> None:
        _memory.within(budget, pool)  # says what is wrong with them now
        self.execution = execution
        self.output = output
        self.place = place
        self.converts = converts
        self.max_retries = max_retries
        self.clear_cache = clear_cache
        self.contract = contract
        self.slice_default = slice_default
        self.conversion = conversion
        self.rescale = rescale
        #: What conversions are told about memory.
        self.room = {"budget": budget, "pool": pool}
        #: Whether calls take the keywords for slices and element types.
        self.runtime = runtime
        self.library = ArrayLibrary.named(execution)
        #: The types of arrays that are of the execution framework.
        self.right_types: set[type] = set()

    @property
    def device_id(self) -> int | None:
        return self.place.index if isinstance(self.place, AcceleratorDevice) else None

    def is_placed(self) -> Callable[[Any], bool] | None:
        """Whether an array of the execution framework lies where it shall; `None`: anywhere."""
        place, library = self.place, self.library
        if place is None or library.name in ("numpy", "pyclesperanto") or not self.converts:
            return None
        if library.name == "torch":
            if place is HOST:
                return lambda tensor: tensor.is_cpu
            if isinstance(place, AcceleratorDevice):
                index = place.index
                return lambda tensor: tensor.is_cuda and tensor.get_device() == index
        return lambda array: library.device_of(array) == place

    # Before the call.

    def converted(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with arrays of the execution framework."""
        place = self._place_of_call(args, kwargs)
        is_placed = self._placed

        def change(array: Any, name: str) -> Any:
            if name == self.execution:
                if is_placed is None or is_placed(array):
                    self.right_types.add(type(array))
                    return array
            if place is None:
                return convert_memory(array, name, self.execution, **self.room)
            return convert_memory(array, name, self.execution, device=place, **self.room)

        made = tuple([map_arrays(value, change) for value in args])
        return made, {key: map_arrays(value, change) for key, value in kwargs.items()}

    @functools.cached_property
    def _placed(self) -> Callable[[Any], bool] | None:
        return self.is_placed()

    def _place_of_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Device | None:
        """The device of the decorator, or that of the arrays that are on an accelerator."""
        if self.place is not None or not self.library.has_accelerators:
            return self.place
        if self.library.name == "pyclesperanto" or self.library.loaded_module() is None:
            return None
        if self.library.default_device() is None:
            return None  # there is no accelerator here
        found: list[tuple[Any, str]] = []
        for value in (*args, *kwargs.values()):
            gather(value, found)
        devices = {self.library.device_of(one) for one, name in found if name == self.execution}
        devices.discard(HOST)
        if len(devices) > 1:
            labels = ", ".join(sorted(device.label for device in devices))
            raise ValueError(
                f"the arrays of one call lie on different devices ({labels}): move them to one, or "
                "say with gpu_id which it shall be"
            )
        return devices.pop() if devices else None

    # After the call.

    def finished(self, result: Any, first: Any, conversion: DtypeConversion, name: str) -> Any:
        """The result with its element type, checked, as arrays of the output framework."""
        if conversion is not DtypeConversion.NATIVE_OUTPUT:
            result = self._of_dtype(result, first, conversion)
        if self.converts:
            result = map_arrays(result, self._to_output)
        if self.contract is not None and not self.contract(result):
            raise ValueError(
                f"Function {name} violated its output contract: the contract refused a result of "
                f"type {type(result).__name__}"
            )
        return result

    def _to_output(self, array: Any, name: str) -> Any:
        if name == self.output:
            return array
        if self.place is None:
            return convert_memory(array, name, self.output, **self.room)
        return convert_memory(array, name, self.output, device=self.place, **self.room)

    def _of_dtype(self, result: Any, first: Any, conversion: DtypeConversion) -> Any:
        """Only the first element of a tuple is an image; the others are left alone."""
        is_tuple = isinstance(result, tuple)
        if is_tuple and not result:
            return result
        main = result[0] if is_tuple else result
        name = framework_of(main)
        if name is None:
            return result
        made = DtypeConversionRunner.for_dtype_conversion(conversion).apply(
            DtypeConversionRequest(
                array=main,
                original_dtype_name=None if first is None else dtype_name(first),
                array_dtype_name=ArrayLibrary.named(name).dtype_name(main),
                scale_func=self._scaled,
            )
        )
        if made is main:
            return result
        if not is_tuple:
            return made
        parts = (made, *result[1:])
        kind = type(result)
        return kind._make(parts) if hasattr(kind, "_make") else kind(parts)

    def _scaled(self, array: Any, dtype: Any) -> Any:
        from .dtype_scaling import rescale

        return rescale(array, dtype, self.rescale, **self.room)
