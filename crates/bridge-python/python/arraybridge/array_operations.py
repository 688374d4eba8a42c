"""A few operations on arrays of one framework, which earlier releases had as methods of `ArrayLibrary`.

They do what NumPy's functions of the same names do, in the framework itself and on the device of the array; where a
framework has no such function, in NumPy, from where the result goes back. Element types are those that the framework
gives; the mean of integers is a float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = [
    "ArrayMath",
    "ArrayOperations",
    "InPlaceAssignment",
    "MutableArrays",
    "NumpyArrayApi",
    "TensorflowOperations",
    "TorchOperations",
]


def _named(dtype: Any) -> Any:
    from .dtype_scaling import numpy_dtype

    return numpy_dtype(dtype)


class ArrayOperations:
    """The operations, in NumPy."""

    # Of ArrayLibrary, which is made of this.
    module: Any
    to_numpy: Callable[[Any], Any]
    from_numpy: Callable[..., Any]
    device_of: Callable[[Any], Any]

    @property
    def array_module(self) -> Any:
        """The module with the framework's functions on arrays."""
        return self.module

    def _in_numpy(self, operation: Callable[..., Any], like: Any, *others: Any) -> Any:
        import numpy

        made = operation(*[self.to_numpy(one) for one in (like, *others)])
        return self.from_numpy(numpy.ascontiguousarray(made), self.device_of(like))

    def astype(self, data: Any, dtype: Any) -> Any:
        """The array with other elements, as the framework casts: no value is refused."""
        return self._in_numpy(lambda array: array.astype(_named(dtype)), data)

    def scale_dtype(self, data: Any, target_dtype: Any) -> Any:
        """The array by the rule "minmax" of `dtype_scaling`, as earlier releases scaled."""
        from .dtype_scaling import rescale

        return rescale(data, target_dtype, "minmax")

    def reshape(self, data: Any, shape: Sequence[int]) -> Any:
        return self._in_numpy(lambda array: array.reshape(tuple(shape)), data)

    def broadcast_to(self, data: Any, shape: Sequence[int]) -> Any:
        import numpy

        return self._in_numpy(lambda array: numpy.broadcast_to(array, tuple(shape)), data)

    def ones_like(
        self, reference: Any, *, shape: Sequence[int] | None = None, dtype: Any = bool
    ) -> Any:
        """An array of ones where `reference` lies, of its shape unless another is given."""
        import numpy

        lengths = tuple(reference.shape if shape is None else shape)
        return self.from_numpy(numpy.ones(lengths, _named(dtype)), self.device_of(reference))

    def logical_and(self, left: Any, right: Any) -> Any:
        import numpy

        return self._in_numpy(numpy.logical_and, left, right)

    def max(self, data: Any, axis: Any = None) -> Any:
        return self._in_numpy(lambda array: array.max(axis=axis), data)

    def min(self, data: Any, axis: Any = None) -> Any:
        return self._in_numpy(lambda array: array.min(axis=axis), data)

    def mean(self, data: Any, axis: Any = None) -> Any:
        return self._in_numpy(lambda array: array.mean(axis=axis), data)

    def sum(self, data: Any, axis: Any = None) -> Any:
        return self._in_numpy(lambda array: array.sum(axis=axis), data)

    def prepend_axis(self, data: Any) -> Any:
        """The array with a first axis of extent 1 before its own."""
        return self.reshape(data, (1, *data.shape))

    def assign(self, data: Any, index: Any, values: Any) -> Any:
        """The array with `values` at `index`: itself where it can be written to, else another one."""

        def assigned(array: Any, part: Any) -> Any:
            array = array.copy()
            array[index] = part
            return array

        return self._in_numpy(assigned, data, values)


class InPlaceAssignment:
    """Of frameworks whose arrays can be written to."""

    def assign(self, data: Any, index: Any, values: Any) -> Any:
        data[index] = values
        return data


class MutableArrays(InPlaceAssignment):
    """Of frameworks whose arrays are NumPy's or made like them."""


class ArrayMath:
    """Of frameworks that make arrays out of numbers."""

    array_module: Any

    def linspace(self, start: float, stop: float, num: int, *, endpoint: bool = True) -> Any:
        return self.array_module.linspace(start, stop, num, endpoint=endpoint)

    def ones(self, shape: Any, dtype: Any) -> Any:
        return self.array_module.ones(shape, dtype=_named(dtype))

    def outer(self, left: Any, right: Any) -> Any:
        return self.array_module.outer(left, right)

    def floor(self, value: float) -> Any:
        return self.array_module.floor(value)


class NumpyArrayApi(ArrayMath):
    """Of frameworks with NumPy's functions."""

    accepts: Callable[[Any], bool]

    def astype(self, data: Any, dtype: Any) -> Any:
        return data.astype(_named(dtype))

    def reshape(self, data: Any, shape: Sequence[int]) -> Any:
        return data.reshape(tuple(shape))

    def broadcast_to(self, data: Any, shape: Sequence[int]) -> Any:
        return self.array_module.broadcast_to(data, tuple(shape))

    def logical_and(self, left: Any, right: Any) -> Any:
        return self.array_module.logical_and(left, right)

    def max(self, data: Any, axis: Any = None) -> Any:
        return self.array_module.max(data, axis=axis)

    def min(self, data: Any, axis: Any = None) -> Any:
        return self.array_module.min(data, axis=axis)

    def mean(self, data: Any, axis: Any = None) -> Any:
        return self.array_module.mean(data, axis=axis)

    def sum(self, data: Any, axis: Any = None) -> Any:
        return self.array_module.sum(data, axis=axis)


class TorchOperations(InPlaceAssignment, ArrayMath):
    """Those of PyTorch."""

    module: Any

    def _dtype(self, dtype: Any) -> Any:
        return getattr(self.module, _named(dtype).name)

    def astype(self, data: Any, dtype: Any) -> Any:
        return data.to(self._dtype(dtype))

    def reshape(self, data: Any, shape: Sequence[int]) -> Any:
        return data.reshape(tuple(shape))

    def broadcast_to(self, data: Any, shape: Sequence[int]) -> Any:
        return self.module.broadcast_to(data, tuple(shape))

    def ones_like(
        self, reference: Any, *, shape: Sequence[int] | None = None, dtype: Any = bool
    ) -> Any:
        lengths = tuple(reference.shape if shape is None else shape)
        return self.module.ones(lengths, dtype=self._dtype(dtype), device=reference.device)

    def logical_and(self, left: Any, right: Any) -> Any:
        return self.module.logical_and(left, right)

    def max(self, data: Any, axis: Any = None) -> Any:
        return self.module.amax(data, () if axis is None else axis)

    def min(self, data: Any, axis: Any = None) -> Any:
        return self.module.amin(data, () if axis is None else axis)

    def mean(self, data: Any, axis: Any = None) -> Any:
        if not (data.is_floating_point() or data.is_complex()):
            data = data.to(self.module.float64)
        return self.module.mean(data, axis)

    def sum(self, data: Any, axis: Any = None) -> Any:
        return self.module.sum(data, axis)

    def linspace(self, start: float, stop: float, num: int, *, endpoint: bool = True) -> Any:
        if endpoint:
            return self.module.linspace(start, stop, num, dtype=self.module.float64)
        return self.module.linspace(start, stop, num + 1, dtype=self.module.float64)[:-1]

    def ones(self, shape: Any, dtype: Any) -> Any:
        return self.module.ones(shape, dtype=self._dtype(dtype))

    def outer(self, left: Any, right: Any) -> Any:
        return self.module.outer(left.ravel(), right.ravel())

    def floor(self, value: float) -> Any:
        return self.module.floor(self.module.as_tensor(value, dtype=self.module.float64))


class TensorflowOperations(ArrayMath):
    """Those of TensorFlow."""

    module: Any

    def astype(self, data: Any, dtype: Any) -> Any:
        return self.module.cast(data, _named(dtype).name)

    def reshape(self, data: Any, shape: Sequence[int]) -> Any:
        return self.module.reshape(data, tuple(shape))

    def broadcast_to(self, data: Any, shape: Sequence[int]) -> Any:
        return self.module.broadcast_to(data, tuple(shape))

    def ones_like(
        self, reference: Any, *, shape: Sequence[int] | None = None, dtype: Any = bool
    ) -> Any:
        lengths = tuple(reference.shape if shape is None else shape)
        with self.module.device(reference.device):
            return self.ones(lengths, dtype)

    def logical_and(self, left: Any, right: Any) -> Any:
        truth = [self.module.cast(one, "bool") for one in (left, right)]
        return self.module.logical_and(*truth)

    def max(self, data: Any, axis: Any = None) -> Any:
        return self.module.reduce_max(data, axis)

    def min(self, data: Any, axis: Any = None) -> Any:
        return self.module.reduce_min(data, axis)

    def mean(self, data: Any, axis: Any = None) -> Any:
        if not (data.dtype.is_floating or data.dtype.is_complex):
            data = self.module.cast(data, "float64")
        return self.module.reduce_mean(data, axis)

    def sum(self, data: Any, axis: Any = None) -> Any:
        return self.module.reduce_sum(data, axis)

    def linspace(self, start: float, stop: float, num: int, *, endpoint: bool = True) -> Any:
        ends = [self.module.constant(one, "float64") for one in (start, stop)]
        made = self.module.linspace(*ends, num if endpoint else num + 1)
        return made if endpoint else made[:-1]

    def ones(self, shape: Any, dtype: Any) -> Any:
        # TensorFlow's own makes no booleans of a name.
        return self.module.ones(shape, self.module.as_dtype(_named(dtype).name))

    def outer(self, left: Any, right: Any) -> Any:
        flat = [self.module.reshape(one, (-1,)) for one in (left, right)]
        return self.module.tensordot(*flat, axes=0)

    def floor(self, value: float) -> Any:
        return self.module.floor(self.module.constant(value, "float64"))
