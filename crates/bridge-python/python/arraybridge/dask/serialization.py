"""Arrays of frameworks on their way between processes, and to disk and back.

They go through host memory: the header names the framework, the type of the elements, the shape,
the device and the machine; one frame holds the elements. Where an array is read, it goes to the
device of that worker. A process that has no such device gets a `Stranded`, whose use is an error
with a sentence, or takes the array on the host where `set_device_fallback` says so.

Dask's own serializers for PyTorch fail for tensors on a GPU and of bfloat16, and its `sizeof`
takes a tensor for some 70 bytes, so that workers would never spill one.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from distributed.protocol.serialize import dask_deserialize, dask_serialize

from .. import callers, converters
from ..devices import HOST, AcceleratorDevice, Device, as_device
from ..exceptions import MemoryConversionError
from ..libraries import ArrayLibrary

__all__ = ["Stranded", "register_serializers"]

_DISPATCHES = (dask_serialize, dask_deserialize, sizeof)


class _Registration:
    """What is registered for one framework, when Dask first sees a type of its modules."""

    def __init__(self, name: str, tops: tuple[str, ...], types: Callable[[Any], Any]) -> None:
        self.library = ArrayLibrary.named(name)
        #: The first words of the modules whose types Dask asks about.
        self.tops = tops
        self.types = types
        self.before: list[Callable[[], None]] = []
        self.done = False
        self.lock = threading.RLock()

    def prepare(self) -> None:
        if self.done:
            return
        for dispatch in _DISPATCHES:
            for top in self.tops:
                theirs = dispatch._lazy.get(top)
                if theirs is not None and theirs is not self and theirs not in self.before:
                    self.before.append(theirs)
                dispatch.register_lazy(top, self)
        if any(self._is_known(dispatch) for dispatch in _DISPATCHES):
            self()

    def _is_known(self, dispatch: Any) -> bool:
        """Whether Dask has met a type of the framework, and will not ask again."""
        return any(kind.__module__.partition(".")[0] in self.tops for kind in dispatch._lookup)

    def __call__(self) -> None:
        with self.lock:
            if self.done:
                return
            for register in self.before:  # what Dask has for other types of the framework stays
                with suppress(Exception):  # as of CuPy where numba is not installed
                    register()
            kinds = self.types(self.library.module)
            for dispatch, function in zip(_DISPATCHES, (_dump, _load, _size), strict=True):
                # What was found for derived types before is found anew.
                for kind in [one for one in dispatch._lookup if issubclass(one, kinds)]:
                    del dispatch._lookup[kind]
                for kind in kinds:
                    dispatch.register(kind, function)
            self.done = True


_REGISTRATIONS = (
    _Registration("cupy", ("cupy", "cupyx"), lambda cupy: (cupy.ndarray,)),
    _Registration(
        "torch", ("torch", "torchvision"), lambda torch: (torch.Tensor, torch.nn.Parameter)
    ),
    _Registration("tensorflow", ("tensorflow",), lambda tf: (type(tf.constant(0)),)),
    _Registration("jax", ("jaxlib",), lambda jax: (type(jax.numpy.zeros(())),)),
)


def register_serializers() -> None:
    """Has this process send and read arrays of PyTorch, JAX, TensorFlow and CuPy.

    No framework is imported: each is registered when Dask first sees one of its arrays. Importing
    `arraybridge.dask` does this; `prepare` does it on the workers.
    """
    for registration in _REGISTRATIONS:
        registration.prepare()


def _size(array: Any) -> int:
    name = converters._detect(array)
    try:
        return int(ArrayLibrary.named(name).nbytes_of(array)) + 64
    except Exception:  # one without elements, as those that are traced
        return 64


# Out.


def _dump(array: Any) -> tuple[dict[str, Any], list[Any]]:
    name = converters._detect(array)
    if name is None:
        raise NotImplementedError(f"{type(array)} is no array")  # left to pickle
    library = ArrayLibrary.named(name)
    header: dict[str, Any] = {
        "framework": name,
        "device": library.device_of(array).label,
        "machine": platform.node(),
        "shape": tuple(int(length) for length in array.shape),
    }
    if name == "torch":
        return _dump_tensor(library.module, array, header)
    host = np.ascontiguousarray(array.numpy() if name == "tensorflow" else library.to_numpy(array))
    if host.dtype.hasobject:
        raise NotImplementedError("texts are left to pickle")
    header["dtype"] = host.dtype.name
    return header, [_bytes_of(host)]


def _bytes_of(host: Any) -> memoryview:
    return memoryview(host.reshape(-1).view(np.uint8))


def _dump_tensor(torch: Any, tensor: Any, header: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    if not plain or tensor.layout is not torch.strided or tensor.is_quantized:
        raise NotImplementedError("other tensors are left to pickle")
    header["dtype"] = str(tensor.dtype).rpartition(".")[2]
    header["requires_grad"] = bool(tensor.requires_grad)
    header["parameter"] = type(tensor) is torch.nn.Parameter
    frames = [_tensor_bytes(torch, tensor)]
    if tensor.is_leaf and tensor.grad is not None:
        header["grad"] = str(tensor.grad.dtype).rpartition(".")[2]
        frames.append(_tensor_bytes(torch, tensor.grad))
    return header, frames


def _tensor_bytes(torch: Any, tensor: Any) -> memoryview:
    """The elements, whatever type they are: NumPy has no bfloat16."""
    host = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return memoryview(host.reshape(-1).view(torch.uint8).numpy())


# In.


class Stranded:
    """An array whose device is absent here. Any use of it raises; it can be sent on as it is.

    Raising while it is read would not do: Dask takes that for a connection that broke, and tries
    again without end.
    """

    def __init__(self, header: dict[str, Any], frames: list[Any], error: MemoryConversionError) -> None:
        self._header = header
        self._frames = frames
        self._error = error

    def __repr__(self) -> str:
        return f"<Stranded: {self._error}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.error()

    def error(self) -> MemoryConversionError:
        """The error that says why, anew for each use."""
        error = self._error
        return MemoryConversionError(
            error.source_type, error.target_type, error.method, error.reason
        )

    def landed(self) -> Any:
        """The array, where there is a place for it by now; otherwise the error."""
        array = _load(self._header, self._frames)
        if isinstance(array, Stranded):
            raise array.error()
        return array

    def __reduce__(self) -> Any:
        frames = [bytes(frame) for frame in self._frames]
        return _load, (self._header, frames)


def _raise(self: Stranded, *_args: Any, **_kwargs: Any) -> Any:
    raise self.error()


for _name in (
    "__array__ __dlpack__ __dlpack_device__ __len__ __iter__ __getitem__ __setitem__ __contains__ "
    "__bool__ __int__ __float__ __index__ __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ "
    "__truediv__ __rtruediv__ __floordiv__ __mod__ __pow__ __matmul__ __rmatmul__ __and__ __or__ "
    "__lt__ __le__ __gt__ __ge__ __neg__ __abs__"
).split():
    setattr(Stranded, _name, _raise)


@dask_serialize.register(Stranded)
def _dump_stranded(array: Stranded) -> tuple[dict[str, Any], list[Any]]:
    return array._header, list(array._frames)


@sizeof.register(Stranded)
def _size_stranded(array: Stranded) -> int:
    return sum(len(memoryview(frame).cast("B")) for frame in array._frames) + 64


def _load(header: dict[str, Any], frames: list[Any]) -> Any:
    library = ArrayLibrary.named(header["framework"])
    try:
        device = _place(header, library)
    except Exception as error:
        if not isinstance(error, MemoryConversionError):
            reason = f"{type(error).__name__}: {error}"
            error = MemoryConversionError(library.name, library.name, "device_selection", reason)
        return Stranded(header, frames, error)
    if library.name == "torch":
        return _load_tensor(library.module, header, frames, device)
    dtype = _dtype_of(header["dtype"])
    host = np.frombuffer(_joined(frames), dtype=np.uint8).view(dtype).reshape(header["shape"])
    return library.from_numpy(host, device)


def _joined(frames: list[Any]) -> Any:
    return frames[0] if len(frames) == 1 else b"".join(frames)


def _dtype_of(name: str) -> np.dtype:
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # comes with the frameworks that have these types

        return np.dtype(getattr(ml_dtypes, name))


def _load_tensor(torch: Any, header: dict[str, Any], frames: list[Any], device: Device) -> Any:
    native = device.native_name("torch")

    def made(frame: Any, dtype: str) -> Any:
        raw = np.frombuffer(frame, dtype=np.uint8)
        if not raw.flags.writeable:
            raw = raw.copy()  # a tensor can be written to
        shape, kind = tuple(header["shape"]), getattr(torch, dtype)
        if not raw.size:
            return torch.empty(shape, dtype=kind, device=native)
        return torch.from_numpy(raw).view(kind).reshape(shape).to(native)

    tensor = made(frames[0], header["dtype"])
    if header["parameter"]:
        tensor = torch.nn.Parameter(tensor, requires_grad=header["requires_grad"])
    elif header["requires_grad"]:
        tensor.requires_grad_(True)
    if "grad" in header:
        tensor.grad = made(frames[1], header["grad"])
    return tensor


dask_deserialize.register(Stranded, _load)


def _place(header: dict[str, Any], library: ArrayLibrary) -> Device:
    """Where the array goes here: a device of the kind that it comes from."""
    named = as_device("cpu" if header["device"] == "host" else header["device"])
    assert named is not None
    if named is HOST or not isinstance(named, AcceleratorDevice):
        return named
    from .workers import here

    assigned = here().device(library)
    if assigned is not HOST:
        return assigned
    devices = library.accelerator_devices()
    if named in devices:
        return named
    why = (
        f"the array lay on {named.label} of {header['machine']}, and "
        f"this process on {platform.node()} has no accelerator for {library.display_name}. Leave "
        "output_type of map_blocks out, so that results are arrays of NumPy; or have them taken on "
        "the host with set_device_fallback(True) or ARRAYBRIDGE_DEVICE_FALLBACK=host"
    )
    if converters.falls_back() and library.has_host:
        callers.warn(f"the array goes to the host instead: {why}")
        return HOST
    raise MemoryConversionError(library.name, library.name, "device_selection", why)
