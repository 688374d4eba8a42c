"""Functions that get arrays of one framework and give arrays of another.

`@torch` hands every array argument to the function as a tensor of PyTorch, whatever framework it
comes from, and makes the results arrays of `output_type`. It looks one level into lists, tuples,
dicts and `ArrayPayload`s; numbers, texts, `None` and everything else stay as they are.

The decorators bear the names of the frameworks: in this module `numpy` is one of them.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from . import _native
from .array_payload import ArrayPayload
from .converters import chosen_device, convert_memory
from .devices import HOST, AcceleratorDevice, Device
from .dtype_conversion import (
    DtypeConversion,
    DtypeConversionConfig,
    DtypeConversionRequest,
    DtypeConversionRunner,
    FixedDtypeConversionRunner,
    Float32DtypeConversionRunner,
    Float64DtypeConversionRunner,
    Int16DtypeConversionRunner,
    Int32DtypeConversionRunner,
    KeywordOnlySignatureExtension,
    NativeOutputDtypeConversionRunner,
    PreserveInputDtypeConfig,
    PreserveInputDtypeConversionRunner,
    SliceBySliceRuntimeParameter,
    Uint8DtypeConversionRunner,
    Uint16DtypeConversionRunner,
    as_dtype_conversion,
)
from .libraries import ArrayLibrary, library_of
from .oom_recovery import _is_oom_error, check_retries, make_room, retried
from .types import LEFT_OUT, MemoryType

__all__ = [
    "DtypeConversion",
    "DtypeConversionConfig",
    "DtypeConversionRequest",
    "DtypeConversionRunner",
    "FixedDtypeConversionRunner",
    "Float32DtypeConversionRunner",
    "Float64DtypeConversionRunner",
    "Int16DtypeConversionRunner",
    "Int32DtypeConversionRunner",
    "KeywordOnlySignatureExtension",
    "NativeOutputDtypeConversionRunner",
    "PreserveInputDtypeConfig",
    "PreserveInputDtypeConversionRunner",
    "SliceBySliceRuntimeParameter",
    "ThreadGPUContext",
    "Uint8DtypeConversionRunner",
    "Uint16DtypeConversionRunner",
    "cupy",
    "jax",
    "memory_types",
    "numpy",
    "pyclesperanto",
    "tensorflow",
    "torch",
    "wrap_dtype_preserving_callable",
]

_detect = _native.detect
#: The keywords that decorated functions take besides their own.
_SLICE, _DTYPE, _CONFIG = "slice_by_slice", "dtype_conversion", "dtype_config"
#: No first argument was given.
_NOTHING: Any = object()
#: How many types are remembered before they are forgotten again.
_MOST_TYPES = 1024


class _Arrays:
    """Which values are arrays, and of which framework, remembered by their type."""

    def __init__(self) -> None:
        self._names: dict[type, str | None] = {}

    def name(self, value: Any) -> str | None:
        """The framework that the value is an array of, or `None`."""
        kind = type(value)
        try:
            return self._names[kind]
        except KeyError:
            pass
        name = _detect(value)
        if len(self._names) >= _MOST_TYPES:
            self._names.clear()
        self._names[kind] = name
        return name


_arrays = _Arrays()


def _map_arrays(value: Any, change: Callable[[Any, str], Any]) -> Any:
    """The value with `change` applied to it, or to the arrays one level within.

    The same object comes back where nothing has changed.
    """
    name = _arrays.name(value)
    if name is not None:
        return change(value, name)
    kind = type(value)
    if isinstance(value, (list, tuple)):
        made = [_map_array(item, change) for item in value]
        if all(new is old for new, old in zip(made, value, strict=True)):
            return value
        if kind is list or kind is tuple:
            return kind(made)
        if hasattr(kind, "_make"):
            return kind._make(made)
        return kind(made)
    if isinstance(value, dict):
        changed = {}
        for key, item in value.items():
            new = _map_array(item, change)
            if new is not item:
                changed[key] = new
        if not changed:
            return value
        copied = value.copy()
        copied.update(changed)
        return copied
    if isinstance(value, ArrayPayload):
        inner = value.array_payload_data()
        made_inner = _map_array(inner, change)
        return value if made_inner is inner else value.with_data(made_inner)
    return value


def _map_array(item: Any, change: Callable[[Any, str], Any]) -> Any:
    name = _arrays.name(item)
    return item if name is None else change(item, name)


def _gather(value: Any, found: list[tuple[Any, str]]) -> None:
    """Adds the arrays in a value, one level deep."""

    def note(array: Any, name: str) -> Any:
        found.append((array, name))
        return array

    _map_arrays(value, note)


class _Terms:
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
    ) -> None:
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
        #: Whether the keywords of `_SLICE` and so on are added.
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
                return convert_memory(array, name, self.execution)
            return convert_memory(array, name, self.execution, device=place)

        made = tuple([_map_arrays(value, change) for value in args])
        return made, {key: _map_arrays(value, change) for key, value in kwargs.items()}

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
            _gather(value, found)
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
            result = _map_arrays(result, self._to_output)
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
            return convert_memory(array, name, self.output)
        return convert_memory(array, name, self.output, device=self.place)

    def _of_dtype(self, result: Any, first: Any, conversion: DtypeConversion) -> Any:
        """Only the first element of a tuple is an image; the others are left alone."""
        is_tuple = isinstance(result, tuple)
        if is_tuple and not result:
            return result
        main = result[0] if is_tuple else result
        name = _arrays.name(main)
        if name is None:
            return result
        made = DtypeConversionRunner.for_dtype_conversion(conversion).apply(
            DtypeConversionRequest(
                array=main,
                original_dtype_name=None if first is None else _dtype_name(first),
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

        return rescale(array, dtype, self.rescale)


def _dtype_name(array: Any) -> str | None:
    name = _arrays.name(array)
    return None if name is None else ArrayLibrary.named(name).dtype_name(array)


def _first_array(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The first array of a call, as it was handed in."""
    for value in (*args, *kwargs.values()):
        if _arrays.name(value) is not None:
            return value
    found: list[tuple[Any, str]] = []
    for value in (*args, *kwargs.values()):
        _gather(value, found)
        if found:
            return found[0][0]
    return None


def _decorated(func: Any, terms: _Terms, input_type: str) -> Any:
    """The function under these terms."""
    if isinstance(func, (staticmethod, classmethod)):
        return type(func)(_decorated(func.__func__, terms, input_type))
    if isinstance(func, type) or not callable(func):
        raise TypeError(
            f"a decorator of arraybridge is for functions, not for {func!r}; arguments are given by "
            "keyword: @torch(gpu_id=0)"
        )
    own = _parameters(func)
    taken = {name for name in (_SLICE, _DTYPE, _CONFIG) if name not in own} if terms.runtime else set()
    name = getattr(func, "__name__", type(func).__name__)

    if inspect.iscoroutinefunction(func):
        wrapper = _async_wrapper(func, terms, taken, name)
    else:
        wrapper = _wrapper(func, terms, taken, name)
    functools.update_wrapper(wrapper, func)
    _describe(wrapper, func, terms, taken)
    wrapper.input_memory_type = input_type
    wrapper.output_memory_type = terms.output
    wrapper.execution_memory_type = terms.execution
    return wrapper


def _parameters(func: Any) -> set[str]:
    try:
        return set(inspect.signature(func).parameters)
    except (TypeError, ValueError):  # a builtin that has none
        return set()


class _Options:
    """What one call says by the added keywords."""

    __slots__ = ("by_slice", "conversion")

    def __init__(self, terms: _Terms, taken: set[str], kwargs: dict[str, Any]) -> None:
        self.by_slice = terms.slice_default
        self.conversion = terms.conversion
        if not kwargs or not taken:
            return
        if _SLICE in taken and _SLICE in kwargs:
            self.by_slice = bool(kwargs.pop(_SLICE))
        config = kwargs.pop(_CONFIG, None) if _CONFIG in taken else None
        mode = kwargs.pop(_DTYPE, None) if _DTYPE in taken else None
        if config is not None:
            self.conversion = as_dtype_conversion(config)
        if mode is not None:
            self.conversion = as_dtype_conversion(mode)


def _wrapper(func: Any, terms: _Terms, taken: set[str], name: str) -> Any:
    right_types = terms.right_types
    placed = terms.is_placed()
    execution, max_retries = terms.execution, terms.max_retries
    # What is decided by then: the short way is for the call that needs nothing done.
    is_plain = (
        terms.contract is None
        and not terms.slice_default
        and terms.output == execution
        and terms.conversion in (DtypeConversion.PRESERVE_INPUT, DtypeConversion.NATIVE_OUTPUT)
    )
    keeps_any = terms.conversion is DtypeConversion.NATIVE_OUTPUT
    default = terms.conversion

    def is_short(error: Exception) -> bool:
        return max_retries > 0 and _is_oom_error(error, execution)

    def recovered(error: Exception, call: Callable[[], Any]) -> Any:
        return retried(
            error, call, execution, max_retries, terms.clear_cache, terms.device_id
        )

    def general(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        options = _Options(terms, taken, kwargs)
        conversion = options.conversion
        first = None
        if conversion is DtypeConversion.PRESERVE_INPUT:
            first = _first_array(args, kwargs)
        if terms.converts:
            args, kwargs = terms.converted(args, kwargs)
        call = func
        if options.by_slice and args and _axes_of(args[0]) == 3:
            call = functools.partial(_by_slice, func)
        try:
            result = call(*args, **kwargs)
        except Exception as error:
            if not is_short(error):
                raise
            result = recovered(error, lambda: call(*args, **kwargs))
        return terms.finished(result, first, conversion, name)

    if not is_plain:
        return lambda *args, **kwargs: general(args, kwargs)

    def wrapper(array: Any = _NOTHING, /, *args: Any, **kwargs: Any) -> Any:
        if (
            not args
            and not kwargs
            and type(array) in right_types
            and (placed is None or placed(array))
        ):
            try:
                result = func(array)
            except Exception as error:
                if not is_short(error):
                    raise
                # Not a lambda: that would make a cell of `array`, which costs every call.
                result = recovered(error, functools.partial(func, array))
            if result is array:
                return result
            if type(result) in right_types and (keeps_any or result.dtype == array.dtype):
                return result
            return terms.finished(result, array, default, name)
        return general(() if array is _NOTHING else (array, *args), kwargs)

    return wrapper


def _async_wrapper(func: Any, terms: _Terms, taken: set[str], name: str) -> Any:
    execution = terms.execution

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        options = _Options(terms, taken, kwargs)
        if options.by_slice:
            raise TypeError(f"{name} is async: slice_by_slice is for functions that are not")
        conversion = options.conversion
        first = _first_array(args, kwargs)
        if terms.converts:
            args, kwargs = terms.converted(args, kwargs)
        error: Exception | None = None
        for _ in range(terms.max_retries + 1):
            try:
                result = await func(*args, **kwargs)
            except Exception as again:
                if terms.max_retries == 0 or not _is_oom_error(again, execution):
                    raise
                error = error or again
                make_room(again, execution, terms.clear_cache, terms.device_id)
            else:
                return terms.finished(result, first, conversion, name)
        assert error is not None
        raise error

    return wrapper


def _axes_of(value: Any) -> int:
    return len(value.shape) if _arrays.name(value) is not None else 0


def _by_slice(func: Any, image: Any, *args: Any, **kwargs: Any) -> Any:
    from .slice_processing import process_slices

    return process_slices(image, func, args, kwargs)


def _describe(wrapper: Any, func: Any, terms: _Terms, taken: set[str]) -> None:
    """The signature and the text of the function, with the keywords that it takes besides."""
    if not taken:
        return
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):
        return
    added = {
        _SLICE: SliceBySliceRuntimeParameter.parameter(default_value=terms.slice_default),
        _DTYPE: inspect.Parameter(
            _DTYPE,
            inspect.Parameter.KEYWORD_ONLY,
            default=terms.conversion,
            annotation=DtypeConversion,
        ),
        _CONFIG: DtypeConversionConfig.parameter(
            default_value=PreserveInputDtypeConfig(terms.conversion)
        ),
    }
    for key in (_SLICE, _DTYPE, _CONFIG):
        if key in taken:
            signature = KeywordOnlySignatureExtension(signature).with_parameter(added[key])
    wrapper.__signature__ = signature
    if func.__doc__:
        text = inspect.cleandoc(func.__doc__)
        wrapper.__doc__ = f"{text}\n\n{_ADDED}"


_ADDED = """Added by the decorator, by keyword:
    slice_by_slice: call the function for each slice of a first argument of three axes.
    dtype_conversion: the element type of the result, a DtypeConversion or its value.
    dtype_config: the same as an object with `default_dtype_conversion`."""


def _decorator(
    execution: str,
    func: Any,
    *,
    input_type: Any,
    output_type: Any,
    gpu_id: Any,
    device: Any,
    oom_recovery: bool,
    clear_cuda_cache: bool,
    contract: Any,
    slice_by_slice_default: bool,
    dtype_config_default: Any,
    max_retries: int,
    dtype_conversion: Any,
    rescale: str,
) -> Any:
    ends = {"source": input_type, "target": output_type}
    entry = library_of(input_type, role="input_type", **ends).name
    output = library_of(output_type, role="output_type", **ends).name
    check_retries(max_retries)
    if contract is not None and not callable(contract):
        raise TypeError(f"a contract is called with the result; {contract!r} cannot be")
    from .dtype_scaling import RULES

    if rescale not in RULES or rescale == "range":
        rules = ", ".join(rule for rule in RULES if rule != "range")
        raise ValueError(f"rescale={rescale!r} is no rule for results: the rules are {rules}")
    conversion = DtypeConversion.PRESERVE_INPUT
    if dtype_config_default is not None:
        conversion = as_dtype_conversion(dtype_config_default)
    if dtype_conversion is not None:
        conversion = as_dtype_conversion(dtype_conversion)
    terms = _Terms(
        execution,
        output,
        chosen_device(gpu_id, device),
        max_retries=max_retries if oom_recovery else 0,
        clear_cache=clear_cuda_cache,
        contract=contract,
        slice_default=bool(slice_by_slice_default),
        conversion=conversion,
        rescale=rescale,
    )

    def decorate(function: Any) -> Any:
        return _decorated(function, terms, entry)

    return decorate if func is None else decorate(func)


_TEXT = """Runs a function with arrays of {display}.

    Arrays among the arguments become {display}'s before the call, one level into lists, tuples and
    dicts; arrays in the result become `output_type`'s after it. Use it bare or with arguments:

    - `input_type`: what callers are said to give; arrays of every framework are taken.
    - `output_type`: the framework of the results.
    - `gpu_id`, `device`: where arrays go, as in `convert_memory`. Left out, they stay on the
      accelerator that one of them is on.
    - `oom_recovery`, `max_retries`: after a lack of memory, the function runs again, at most so often;
      `clear_cuda_cache=False` collects garbage in between and leaves the framework's cache alone.
    - `contract`: is called with the result; a false answer is a `ValueError`.
    - `slice_by_slice_default`, `dtype_config_default`, `dtype_conversion`: what holds where a call
      says nothing by the keywords `slice_by_slice`, `dtype_config` and `dtype_conversion`.
    - `rescale`: the rule of `dtype_scaling` by which results get their element type.
    """


def _create_memory_decorator(library: ArrayLibrary) -> Any:
    """The decorator that bears the framework's name."""
    own = library.name

    def decorator(
        func: Any = None,
        *,
        input_type: Any = own,
        output_type: Any = own,
        gpu_id: Any = LEFT_OUT,
        device: Any = LEFT_OUT,
        oom_recovery: bool = True,
        clear_cuda_cache: bool = True,
        contract: Any = None,
        slice_by_slice_default: bool = False,
        dtype_config_default: Any = None,
        max_retries: int = 2,
        dtype_conversion: Any = None,
        rescale: str = "minmax",
    ) -> Any:
        return _decorator(
            own,
            func,
            input_type=input_type,
            output_type=output_type,
            gpu_id=gpu_id,
            device=device,
            oom_recovery=oom_recovery,
            clear_cuda_cache=clear_cuda_cache,
            contract=contract,
            slice_by_slice_default=slice_by_slice_default,
            dtype_config_default=dtype_config_default,
            max_retries=max_retries,
            dtype_conversion=dtype_conversion,
            rescale=rescale,
        )

    decorator.__name__ = decorator.__qualname__ = own
    decorator.__doc__ = _TEXT.format(display=library.display_name)
    return decorator


numpy = _create_memory_decorator(ArrayLibrary.named("numpy"))
cupy = _create_memory_decorator(ArrayLibrary.named("cupy"))
torch = _create_memory_decorator(ArrayLibrary.named("torch"))
tensorflow = _create_memory_decorator(ArrayLibrary.named("tensorflow"))
jax = _create_memory_decorator(ArrayLibrary.named("jax"))
pyclesperanto = _create_memory_decorator(ArrayLibrary.named("pyclesperanto"))


def memory_types(
    input_type: str | MemoryType,
    output_type: str | MemoryType,
    contract: Callable[[Any], Any] | None = None,
) -> Callable[[Any], Any]:
    """Hands array arguments over as `input_type` and results back as `output_type`.

    Nothing is done about devices, element types or memory. `contract` is called with the result; a
    false answer is a `ValueError`.
    """
    ends = {"source": input_type, "target": output_type}
    entry = library_of(input_type, role="input_type", **ends).name
    output = library_of(output_type, role="output_type", **ends).name
    if contract is not None and not callable(contract):
        raise TypeError(f"a contract is called with the result; {contract!r} cannot be")
    terms = _Terms(entry, output, None, contract=contract, runtime=False)

    def decorate(function: Any) -> Any:
        return _decorated(function, terms, entry)

    return decorate


def wrap_dtype_preserving_callable(
    func: Any,
    mem_type: str | MemoryType,
    *,
    slice_by_slice_default: bool = False,
    dtype_config_default: DtypeConversionConfig | None = None,
) -> Any:
    """The function with the keywords for slices and element types; nothing else is converted."""
    library = ArrayLibrary.named(mem_type)
    config = dtype_config_default or DtypeConversionConfig.default_value()
    terms = _Terms(
        library.name,
        library.name,
        None,
        converts=False,
        slice_default=slice_by_slice_default,
        conversion=as_dtype_conversion(config),
    )
    return _decorated(func, terms, library.name)


class ThreadGPUContext:
    """One stream a thread and device of the frameworks that have streams.

    Decorated functions run on the current stream; these are for those who order work themselves.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def _stream(self, name: str, make: Callable[[Any], tuple[Any, Any]]) -> Any:
        library = ArrayLibrary.named(name)
        if not library.accelerator_devices():
            return None
        streams: dict[Any, Any] = self._local.__dict__.setdefault("streams", {})
        device, create = make(library.module)
        key = (name, device)
        if key not in streams:
            streams[key] = create()
        return streams[key]

    def get_cupy_stream(self) -> Any:
        """CuPy's stream of this thread on its current device, or `None` without a GPU."""
        return self._stream(
            "cupy", lambda module: (module.cuda.Device().id, module.cuda.Stream)
        )

    def get_torch_stream(self) -> Any:
        """PyTorch's stream of this thread on its current device, or `None` without a GPU."""
        return self._stream(
            "torch", lambda module: (module.cuda.current_device(), module.cuda.Stream)
        )


_thread_gpu_contexts = ThreadGPUContext()
