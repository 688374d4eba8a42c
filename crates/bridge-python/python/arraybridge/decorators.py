"""Functions that get arrays of one framework and give arrays of another.

`@torch` hands every array argument to the function as a tensor of PyTorch, whatever framework it
comes from, and makes the results arrays of `output_type`. It looks one level into lists, tuples,
dicts and `ArrayPayload`s; numbers, texts, `None` and everything else stay as they are.

The decorators bear the names of the frameworks: in this module `numpy` is one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .converters import chosen_device
from .decorated_functions import decorated
from .decorator_terms import Terms
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
from .gpu_streams import ThreadGPUContext
from .gpu_streams import _thread_gpu_contexts as _thread_gpu_contexts
from .libraries import ArrayLibrary, library_of
from .oom_recovery import check_retries
from .types import LEFT_OUT, MemoryType, require_bool

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
    budget: Any,
    pool: Any,
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
    terms = Terms(
        execution,
        output,
        chosen_device(gpu_id, device),
        max_retries=max_retries if oom_recovery else 0,
        clear_cache=clear_cuda_cache,
        contract=contract,
        slice_default=bool(require_bool(slice_by_slice_default, "slice_by_slice_default")),
        conversion=conversion,
        rescale=rescale,
        budget=budget,
        pool=pool,
    )

    def decorate(function: Any) -> Any:
        return decorated(function, terms, entry)

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
    - `contract`: is called with the result; a false answer is a `ValueError`, and what it raises is raised.
    - `slice_by_slice_default`, `dtype_config_default`, `dtype_conversion`: what holds where a call
      says nothing by the keywords `slice_by_slice`, `dtype_config` and `dtype_conversion`.
    - `rescale`: the rule of `dtype_scaling` by which results get their element type.
    - `budget`, `pool`: where the conversions of arguments and results reserve what they take, and
      whose memory they write to, as in `convert_memory` and `rescale`; not what the function itself
      converts.
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
        budget: Any = None,
        pool: Any = None,
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
            budget=budget,
            pool=pool,
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

#: A name that earlier releases had by accident: the last decorator that they made.
decorator_func = pyclesperanto


def getter_func() -> Any:
    """The module pyclesperanto, or a falsy placeholder: another such name, for the last module."""
    from .utils import optional_import

    return optional_import("pyclesperanto")


def memory_types(
    input_type: str | MemoryType,
    output_type: str | MemoryType,
    contract: Callable[[Any], Any] | None = None,
    *,
    budget: Any = None,
    pool: Any = None,
) -> Callable[[Any], Any]:
    """Hands array arguments over as `input_type` and results back as `output_type`.

    Nothing is done about devices, element types or lack of memory. `contract` is called with the
    result; a false answer is a `ValueError`. `budget` and `pool` are those of `convert_memory`.
    """
    ends = {"source": input_type, "target": output_type}
    entry = library_of(input_type, role="input_type", **ends).name
    output = library_of(output_type, role="output_type", **ends).name
    if contract is not None and not callable(contract):
        raise TypeError(f"a contract is called with the result; {contract!r} cannot be")
    terms = Terms(
        entry, output, None, contract=contract, runtime=False, budget=budget, pool=pool
    )

    def decorate(function: Any) -> Any:
        return decorated(function, terms, entry)

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
    terms = Terms(
        library.name,
        library.name,
        None,
        converts=False,
        slice_default=bool(require_bool(slice_by_slice_default, "slice_by_slice_default")),
        conversion=as_dtype_conversion(config),
    )
    return decorated(func, terms, library.name)
