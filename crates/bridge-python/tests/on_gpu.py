"""For tests that need a GPU: the modules they ask for, or why they cannot run here.

It needs no pytest, nor do tests that use nothing else: `cargo xtask gpu-bundle` packs them for a
machine that may have none.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from arraybridge import AcceleratorDevice, ArrayLibrary, backends, convert

#: How arrays are taken where these frameworks have no elements of 64 bits.
NARROW = ("int32", "uint8", "float16", "float32", "complex64", "bool")


def on_gpu(*frameworks: str) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Gives a test the modules of these frameworks, or skips it with the reason and the remedy."""

    def decorated(test: Callable[..., None]) -> Callable[[], None]:
        def run() -> None:
            test(*[usable(name) for name in frameworks])

        # Without `__wrapped__`, by which pytest would look for fixtures of these names.
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(run, name, getattr(test, name))
        run.frameworks = frameworks  # type: ignore[attr-defined]
        return run

    return decorated


def usable(name: str) -> Any:
    """The module of a framework that sees a GPU."""
    driver = next(row for row in backends() if row["name"] == "cuda")
    if driver["reason"]:
        raise unittest.SkipTest(f"no GPU: {driver['reason']}; {driver['remedy']}")
    library = ArrayLibrary.named(name)
    if not library.is_installed():
        raise unittest.SkipTest(library.absence())
    if not library.accelerator_devices():
        raise unittest.SkipTest(
            f"{library.display_name} sees no GPU, and the driver is there: install the build of "
            f"{library.display_name} for the driver's CUDA, and see CUDA_VISIBLE_DEVICES"
        )
    return library.module


def address(name: str, array: Any) -> int:
    """Where the elements lie, as the framework says."""
    if name == "torch":
        return int(array.data_ptr())
    if name == "jax":
        return int(array.unsafe_buffer_pointer())
    return int(array.data.ptr)


def is_on(name: str, array: Any, index: int = 0) -> bool:
    """Whether the array lies on that GPU, as the framework says."""
    if name == "torch":
        return str(array.device) == f"cuda:{index}"
    if name == "jax":
        return {(one.platform, one.id) for one in array.devices()} == {("gpu", index)}
    return bool(array.device.id == index)


def read(name: str, array: Any) -> Any:
    """The elements as an array of NumPy, by the framework's own means."""
    import numpy as np

    if name == "torch":
        return array.cpu().numpy()
    return array.get() if name == "cupy" else np.asarray(array)


def raises(kind: type[BaseException], words: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    try:
        call(*arguments, **named)
    except kind as error:
        assert words in str(error), str(error)
    else:
        raise AssertionError(f"no {kind.__name__}")


def uploaded(values: Any, name: str) -> Any:
    """The values as an array of the framework on its first GPU."""
    array = convert(values, name, device="cuda:0")
    assert ArrayLibrary.named(name).device_of(array) == AcceleratorDevice(0)
    return array
