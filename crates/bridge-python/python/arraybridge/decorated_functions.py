"""Functions under the terms of a decorator: the call itself, its short way, its recovery."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .decorator_terms import Terms
from .dtype_conversion import (
    DtypeConversion,
    DtypeConversionConfig,
    KeywordOnlySignatureExtension,
    PreserveInputDtypeConfig,
    SliceBySliceRuntimeParameter,
    as_dtype_conversion,
)
from .nested_arrays import first_array, framework_of
from .oom_recovery import _is_oom_error, make_room, retried
from .types import require_bool

__all__ = ["decorated"]

#: The keywords that decorated functions take besides their own.
_SLICE, _DTYPE, _CONFIG = "slice_by_slice", "dtype_conversion", "dtype_config"
#: No first argument was given.
_NOTHING: Any = object()


def decorated(func: Any, terms: Terms, input_type: str) -> Any:
    """The function under these terms."""
    if isinstance(func, (staticmethod, classmethod)):
        return type(func)(decorated(func.__func__, terms, input_type))
    if isinstance(func, type) or not callable(func):
        raise TypeError(
            f"a decorator of arraybridge is for functions, not for {func!r}; arguments are given by "
            "keyword: @torch(gpu_id=0)"
        )
    if _is_generator(func):
        raise TypeError(
            "a decorator of arraybridge is for functions that return arrays, and "
            f"{func!r} is a generator: what it yields would be neither converted nor checked. "
            "Decorate the function that makes each array, or convert what is yielded: "
            "yield arraybridge.convert(array, 'torch')"
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


def _is_generator(func: Any) -> bool:
    """Whether a call gives a generator, by `def` or `async def`."""
    if isinstance(func, functools.partial):
        func = func.func
    called = (func, getattr(type(func), "__call__", None))
    return any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in called)


def _parameters(func: Any) -> set[str]:
    try:
        return set(inspect.signature(func).parameters)
    except (TypeError, ValueError):  # a builtin that has none
        return set()


class _Options:
    """What one call says by the added keywords."""

    __slots__ = ("by_slice", "conversion")

    def __init__(self, terms: Terms, taken: set[str], kwargs: dict[str, Any]) -> None:
        self.by_slice = terms.slice_default
        self.conversion = terms.conversion
        if not kwargs or not taken:
            return
        if _SLICE in taken and _SLICE in kwargs:
            self.by_slice = bool(require_bool(kwargs.pop(_SLICE), _SLICE))
        config = kwargs.pop(_CONFIG, None) if _CONFIG in taken else None
        mode = kwargs.pop(_DTYPE, None) if _DTYPE in taken else None
        if config is not None:
            self.conversion = as_dtype_conversion(config)
        if mode is not None:
            self.conversion = as_dtype_conversion(mode)


def _wrapper(func: Any, terms: Terms, taken: set[str], name: str) -> Any:
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
            first = first_array(args, kwargs)
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


def _async_wrapper(func: Any, terms: Terms, taken: set[str], name: str) -> Any:
    execution = terms.execution

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        options = _Options(terms, taken, kwargs)
        if options.by_slice:
            raise TypeError(f"{name} is async: slice_by_slice is for functions that are not")
        conversion = options.conversion
        first = first_array(args, kwargs)
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
    return len(value.shape) if framework_of(value) is not None else 0


def _by_slice(func: Any, image: Any, *args: Any, **kwargs: Any) -> Any:
    from .slice_processing import process_slices

    return process_slices(image, func, args, kwargs)


def _describe(wrapper: Any, func: Any, terms: Terms, taken: set[str]) -> None:
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
