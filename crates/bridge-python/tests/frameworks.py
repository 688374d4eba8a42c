"""Arrays of each framework for tests: made by the framework itself, and read by it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

#: Those that run on a machine without a GPU.
HERE = ("numpy", "torch", "jax", "tensorflow", "pyclesperanto")

#: The element types that an array of each can have, as NumPy names them.
COMMON = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32")
WIDE = ("bool", *COMMON, "int64", "uint64", "float16", "float64", "complex64", "complex128")
DTYPES = {
    "numpy": WIDE,
    "torch": WIDE,
    "jax": ("bool", *COMMON, "float16", "complex64"),  # jax_enable_x64 is off, as it is by default
    "tensorflow": WIDE,
    "pyclesperanto": COMMON,
}


def without_addresses(value: Any) -> str:
    """The name of a test's parameter, which is the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def made(framework: str, values: np.ndarray) -> Any:
    """An array with these values, by the framework's own means; its memory is its own."""
    values = values.copy()
    if framework == "numpy":
        return values
    if framework == "torch":
        import torch

        return torch.from_numpy(values)
    if framework == "jax":
        import jax.numpy as jnp

        return jnp.array(values)
    if framework == "tensorflow":
        import tensorflow as tf

        return tf.constant(values)
    if framework == "pyclesperanto":
        import pyclesperanto as cle

        return cle.push(np.ascontiguousarray(values))
    raise AssertionError(framework)


def read(framework: str, array: Any) -> np.ndarray:
    """The values of an array, by the framework's own means."""
    if framework == "torch":
        return array.numpy()
    if framework == "tensorflow":
        return array.numpy()
    if framework == "pyclesperanto":
        import pyclesperanto as cle

        return cle.pull(array)
    return np.asarray(array)


def address(framework: str, array: Any) -> int | None:
    """Where the elements lie, where that can be told."""
    if framework == "numpy":
        return array.ctypes.data
    if framework == "torch":
        return array.data_ptr()
    if framework == "jax":
        return array.unsafe_buffer_pointer()
    if framework == "tensorflow":
        return np.frombuffer(memoryview(array), np.uint8).ctypes.data if array.shape.rank else None
    return None


def lies_on_the_host(framework: str, array: Any) -> bool:
    """As the framework itself says."""
    if framework == "torch":
        return array.device.type == "cpu"
    if framework == "jax":
        return {device.platform for device in array.devices()} == {"cpu"}
    if framework == "tensorflow":
        return array.device.endswith("device:CPU:0")
    return framework == "numpy"


def values(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Small numbers of an element type, each its own."""
    count = int(np.prod(shape))
    return (np.arange(count) % 100).astype(dtype).reshape(shape)
