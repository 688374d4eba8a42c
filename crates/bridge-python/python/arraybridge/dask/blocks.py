"""A function of a framework on each block of a Dask array."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dask.array as da
import numpy as np
from dask.tokenize import normalize_token

from .. import converters
from ..converters import convert_memory
from ..devices import HOST, AcceleratorDevice, Device
from ..dtype_scaling import numpy_dtype
from ..libraries import ArrayLibrary
from ..oom_recovery import check_retries, is_out_of_memory
from ..types import LEFT_OUT, MemoryContractAttribute, require_name
from .serialization import Stranded
from .workers import device_asked, here

__all__ = ["Block", "map_blocks", "map_overlap"]

_TERMS = """
    What a declared function says of itself, by arraybridge's decorators, is taken; otherwise
    `input_type` says which framework's arrays the function takes, and NumPy's are the default.

    - `output_type`: what the blocks of the result are. Left out, they are arrays of NumPy, whatever
      the function gives, and leave the device before the call ends. Named, they stay as they are
      and where they are, for another `map_blocks` to take.
    - `device`: where the arrays go, as in `convert_memory`. Left out, to the worker's own device.
    - `need`: the bytes of the worker's budget that a call takes, as a number or a function of the
      blocks. Left out, the bytes of the blocks and as many again, at most the whole budget.
    - `max_retries`: how often a call is repeated after a lack of memory, after which it is tried
      once without other calls of the worker beside it.
    - `split_axis`: an axis along which the function can be called on parts of a block as well. A
      block that does not fit is then halved, and the results are put together.
    - `writes`: whether the function writes to its arguments; it gets copies then. Blocks are shared
      with other tasks otherwise, as everywhere in Dask.
    - `dtype`: the element type of the result. Left out, the function is tried here, on arrays of one
      element on the host. A block that has another is a `TypeError`.
"""


class Block:
    """A function with what it takes and gives, as the tasks carry it."""

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        input_type: Any = None,
        output_type: Any = None,
        device: Any = LEFT_OUT,
        need: int | Callable[..., int] | None = None,
        max_retries: int = 2,
        split_axis: int | None = None,
        writes: bool = False,
        dtype: Any = None,
    ) -> None:
        if not callable(func):
            raise TypeError(f"a function is called on each block, and {func!r} cannot be called")
        check_retries(max_retries)
        self.func = func
        self.input_type = _declared(func, input_type)
        self.output_type = "numpy" if output_type is None else require_name(output_type, "output_type")
        self.device = device_asked(device, "device is")
        if need is not None and not callable(need) and operator.index(need) < 0:
            raise ValueError(f"need is a number of bytes from 0 on, not {need!r}")
        self.need = need
        self.max_retries = max_retries
        if split_axis is not None:
            split_axis = operator.index(split_axis)
            if split_axis < 0:
                raise ValueError(f"split_axis is an axis from 0 on, not {split_axis}")
            if self.output_type != "numpy":
                raise ValueError(
                    f"split_axis puts arrays of NumPy together, and output_type is "
                    f"{self.output_type!r}: leave one of them out"
                )
        self.split_axis = split_axis
        self.writes = bool(writes)
        #: The element type that the blocks of the result shall have, or `None` for any.
        self.dtype = None if dtype is None else numpy_dtype(dtype)
        #: Whether it is what somebody said, and not what a call on arrays of one element gave.
        self.is_said = dtype is not None
        self.__name__ = getattr(func, "__name__", type(func).__name__)
        try:
            # Dask looks for the names block_id and block_info.
            self.__signature__ = inspect.signature(func)
        except (TypeError, ValueError):
            pass

    def __dask_tokenize__(self) -> Any:
        need = self.need if not callable(self.need) else normalize_token(self.need)
        terms = (self.input_type, self.output_type, str(self.device), need)
        rest = (self.max_retries, self.split_axis, self.writes, str(self.dtype))
        return (type(self).__qualname__, normalize_token(self.func), terms, rest)

    def __repr__(self) -> str:
        return f"<{self.__name__} on blocks of {self.input_type}>"

    def __call__(self, *blocks: Any, **kwargs: Any) -> Any:
        own = here()
        library = ArrayLibrary.named(self.input_type)
        device = self.device if self.device is not None else own.device(library)

        def run(parts: tuple[Any, ...]) -> Any:
            count = self._count(parts, own.room.capacity)
            return own.run(
                lambda: self.once(parts, kwargs, device), library.name, count, self.max_retries
            )

        if self.split_axis is None:
            return run(blocks)
        return _halved(run, blocks, self.split_axis)

    def once(self, blocks: tuple[Any, ...], kwargs: dict[str, Any], device: Device) -> Any:
        """One call: to the device, the function, and back."""

        def taken(value: Any) -> Any:
            if isinstance(value, Stranded):
                value = value.landed()
            name = converters._detect(value)
            if name is None:
                return value
            if self.writes:
                value = _copied(value, name)
            return convert_memory(value, name, self.input_type, device=device)

        arrays = [taken(block) for block in blocks]
        named = {key: taken(one) for key, one in kwargs.items()}
        with _current(ArrayLibrary.named(self.input_type), device):
            result = self.func(*arrays, **named)
        name = converters._detect(result)
        self._require_dtype(result, name)
        if name is None:
            return result
        if name == self.output_type:
            # What is still being computed could fail when nobody is there to recover from it.
            return result.block_until_ready() if name == "jax" else result
        return convert_memory(result, name, self.output_type)

    def _require_dtype(self, result: Any, name: str | None) -> None:
        """A `TypeError` where the result has other elements than Dask was told."""
        if self.dtype is None:
            return
        if name is None:
            own = getattr(result, "dtype", None)
            found = own.name if isinstance(own, np.dtype) else None
        else:
            found = ArrayLibrary.named(name).dtype_name(result)
        wanted = self.dtype.name
        if found is None or found == wanted:
            return
        why = f"dtype says {wanted}" if self.is_said else f"arrays of one element gave {wanted}"
        what = f"convert in the function, as by .astype({wanted!r})"
        signature = getattr(self, "__signature__", None)
        if signature is not None and "dtype_conversion" in signature.parameters:
            what += (
                ", and decorate it with dtype_conversion=DtypeConversion.NATIVE_OUTPUT, as "
                "decorators give results the type of the first array"
            )
        raise TypeError(
            f"{why}, and {self.__name__} gave a block of {found}: {what}; or say what it gives: "
            f"dtype={found!r}"
        )

    def _count(self, blocks: tuple[Any, ...], capacity: int | None) -> int:
        if callable(self.need):
            return operator.index(self.need(*blocks))
        if self.need is not None:
            return operator.index(self.need)
        count = 0
        for block in blocks:
            name = converters._detect(block)
            if name is not None:
                count += 2 * ArrayLibrary.named(name).nbytes_of(block)
        return count if capacity is None else min(count, capacity)


def _declared(func: Any, input_type: Any) -> str:
    declared = MemoryContractAttribute.EXECUTION.of(func)
    if input_type is None:
        return "numpy" if declared is None else require_name(declared)
    name = require_name(input_type, "input_type")
    if declared not in (None, name):
        raise ValueError(
            f"{getattr(func, '__name__', func)} is declared for arrays of {declared}, and input_type "
            f"is {name!r}: leave input_type out"
        )
    return name


def _current(library: ArrayLibrary, device: Device) -> AbstractContextManager[object]:
    """The device as the current one of the frameworks whose kernels run there alone."""
    if not isinstance(device, AcceleratorDevice):
        return nullcontext()
    if library.name == "torch":
        # Not `torch.device`, which would have a function's own new tensors there too.
        scope: AbstractContextManager[object] = library.module.cuda.device(device.index)
        return scope
    return library.device_scope(device) if library.name == "cupy" else nullcontext()


def _copied(array: Any, name: str) -> Any:
    if name == "numpy":
        return array.copy()
    if name == "torch":
        return array.clone()
    return array.copy() if name == "cupy" else array  # the others cannot be written to


def _halved(run: Callable[[tuple[Any, ...]], Any], blocks: tuple[Any, ...], axis: int) -> Any:
    """The result of all blocks, or of their halves, one after the other, put together."""
    try:
        return run(blocks)
    except Exception as error:
        arrays = [block for block in blocks if converters._detect(block) is not None]
        lengths = {block.shape[axis] if len(block.shape) > axis else 0 for block in arrays}
        if not is_out_of_memory(error) or len(lengths) != 1 or min(lengths) < 2:
            raise
    middle = lengths.pop() // 2
    made = []
    for part in (slice(None, middle), slice(middle, None)):
        index = (slice(None),) * axis + (part,)
        halves = tuple(
            block[index] if any(block is array for array in arrays) else block for block in blocks
        )
        made.append(_halved(run, halves, axis))
    return np.concatenate(made, axis=axis)


def _dtype(block: Block, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The element type of the result, as the function gives it for arrays of one element."""
    library = ArrayLibrary.named(block.input_type)
    try:
        if not library.has_host:
            raise RuntimeError(f"{library.display_name} has no arrays on the host to try it with")
        tried = Block(block.func, input_type=block.input_type, writes=block.writes)
        ones = [np.ones((1,) * one.ndim, one.dtype) if _is_lazy(one) else one for one in args]
        return tried.once(tuple(ones), kwargs, HOST).dtype
    except Exception as error:
        raise ValueError(
            f"the element type of what {block.__name__} gives could not be found out by a call on "
            f"arrays of one element ({type(error).__name__}: {error}). Say it: dtype='float32'"
        ) from error


def _result(block: Block, dtype: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What Dask is told of the result: arrays of NumPy, of this element type or of what is found out."""
    if block.split_axis is not None:
        for one in filter(_is_lazy, args):
            if block.split_axis >= one.ndim:
                raise ValueError(
                    f"split_axis is {block.split_axis}, and an array here has {one.ndim} axes, so that its "
                    f"blocks cannot be halved there: its axes are those from 0 to {one.ndim - 1}"
                )
    if dtype is None:
        block.dtype = dtype = _dtype(block, args, kwargs)
    else:
        dtype = block.dtype
    return {"dtype": dtype, "meta": np.empty((0,), dtype)}


def _is_lazy(value: Any) -> bool:
    return isinstance(value, da.Array)


def map_blocks(
    func: Callable[..., Any],
    *args: Any,
    input_type: Any = None,
    output_type: Any = None,
    device: Any = LEFT_OUT,
    need: int | Callable[..., int] | None = None,
    max_retries: int = 2,
    split_axis: int | None = None,
    writes: bool = False,
    dtype: Any = None,
    name: str | None = None,
    token: str | None = None,
    chunks: Any = None,
    drop_axis: Any = None,
    new_axis: Any = None,
    enforce_ndim: bool = False,
    **kwargs: Any,
) -> da.Array:
    block = Block(
        func,
        input_type=input_type,
        output_type=output_type,
        device=device,
        need=need,
        max_retries=max_retries,
        split_axis=split_axis,
        writes=writes,
        dtype=dtype,
    )
    return da.map_blocks(
        block,
        *args,
        name=name,
        token=token,
        chunks=chunks,
        drop_axis=drop_axis,
        new_axis=new_axis,
        enforce_ndim=enforce_ndim,
        **_result(block, dtype, args, kwargs),
        **kwargs,
    )


def map_overlap(
    func: Callable[..., Any],
    *args: Any,
    depth: Any = None,
    boundary: Any = None,
    trim: bool = True,
    align_arrays: bool = True,
    allow_rechunk: bool = True,
    input_type: Any = None,
    device: Any = LEFT_OUT,
    need: int | Callable[..., int] | None = None,
    max_retries: int = 2,
    writes: bool = False,
    dtype: Any = None,
    **kwargs: Any,
) -> da.Array:
    block = Block(
        func,
        input_type=input_type,
        device=device,
        need=need,
        max_retries=max_retries,
        writes=writes,
        dtype=dtype,
    )
    return da.map_overlap(
        block,
        *args,
        depth=depth,
        boundary=boundary,
        trim=trim,
        align_arrays=align_arrays,
        allow_rechunk=allow_rechunk,
        **_result(block, dtype, args, kwargs),
        **kwargs,
    )


map_blocks.__doc__ = f"""Calls a function on each block of Dask arrays, as `dask.array.map_blocks`.
{_TERMS}
    The other arguments are those of `dask.array.map_blocks`, and the function's own by keyword.
    """
map_overlap.__doc__ = f"""Calls a function on each block with a margin, as `dask.array.map_overlap`.

    `depth`, `boundary` and the other arguments are those of `dask.array.map_overlap`; these are as in
    `map_blocks`: `input_type`, `device`, `need`, `max_retries`, `writes`, `dtype`. Results are arrays
    of NumPy, which Dask trims.
    """
