from __future__ import annotations

import sys
import types

import pytest

import numpy as np

from arraybridge import HOST, AcceleratorDevice, ArrayLibrary, MemoryConversionError
from arraybridge.types import MemoryType


def test_six_by_name_member_and_value(torch):
    assert [library.name for library in ArrayLibrary.all()] == [m.value for m in MemoryType]
    for member in MemoryType:
        library = ArrayLibrary.named(member)
        assert library is ArrayLibrary.named(member.value) is ArrayLibrary.named(library)
    assert ArrayLibrary.of(torch.ones(1)).name == "torch"
    assert ArrayLibrary.of(torch.ones(1)).accepts(torch.ones(1))
    assert ArrayLibrary.for_module_name("jaxlib.xla_extension").name == "jax"
    assert ArrayLibrary.for_module_name("pyclesperanto_opencl._pyclesperanto").name == "pyclesperanto"


def test_names_that_are_none():
    with pytest.raises(ValueError, match="'bad' is not a registered array library. Available:"):
        ArrayLibrary.named("bad")
    with pytest.raises(ValueError, match="no array library has a module"):
        ArrayLibrary.for_module_name("builtins")


def test_a_module_that_is_being_imported_is_not_loaded(monkeypatch):
    half = types.ModuleType("cupy")
    half.__spec__ = types.SimpleNamespace(_initializing=True)
    monkeypatch.setitem(sys.modules, "cupy", half)
    assert ArrayLibrary.named("cupy").loaded_module() is None
    half.__spec__._initializing = False
    assert ArrayLibrary.named("cupy").loaded_module() is half


def test_one_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    library = ArrayLibrary.named("cupy")
    assert not library.is_installed()
    assert library.import_if_installed() is None
    assert library.available_devices() == ()
    with pytest.raises(ImportError, match="CuPy is not available: .*pip install cupy-cuda12x"):
        library.import_module()


def test_devices(torch, no_gpu):
    library = ArrayLibrary.named("torch")
    assert library.available_devices() == (HOST,)
    assert library.device_of(torch.ones(1)) == HOST
    assert library.default_device() is None
    with pytest.raises(MemoryConversionError, match="PyTorch has no accelerator:0 here"):
        library.require_device(AcceleratorDevice(0))
    assert library.device_of(torch.empty(1, device="meta")).label == "device:meta"


def test_a_device_of_opencl(pyclesperanto):
    library = ArrayLibrary.named("pyclesperanto")
    array = pyclesperanto.push(np.ones((2, 2), np.float32))
    assert library.device_of(array) in library.available_devices()
    assert library.nbytes_of(array) == 16
    assert library.dtype_name(array) == "float32"


def test_names_of_element_types(torch, jax):
    for name in ("float32", "uint8", "complex64", "bool"):
        assert ArrayLibrary.named("torch").dtype_name(torch.ones(1).to(getattr(torch, name))) == name
        assert ArrayLibrary.named("numpy").dtype_name(np.ones(1, name)) == name
        assert ArrayLibrary.named("jax").dtype_name(jax.numpy.ones(1, name)) == name
    assert ArrayLibrary.named("torch").dtype_name(torch.bfloat16) == "bfloat16"


def test_tensorflow(tensorflow):
    library = ArrayLibrary.named("tensorflow")
    tensor = tensorflow.ones((2, 3), tensorflow.float64)
    assert library.dtype_name(tensor) == "float64"
    assert library.nbytes_of(tensor) == 48
    assert library.device_of(tensor) == HOST


def test_converting(torch):
    numpy_library = ArrayLibrary.named("numpy")
    tensor = numpy_library.convert_to(np.ones(2), "torch", HOST)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(ArrayLibrary.named("torch").to_numpy(tensor), np.ones(2))
    assert ArrayLibrary.named("torch").from_numpy(np.ones(2), HOST).tolist() == [1, 1]


def test_stacking(torch, jax):
    for name, module in (("numpy", np), ("torch", torch), ("jax", jax.numpy)):
        made = ArrayLibrary.named(name).stack_arrays([module.ones((2, 3))] * 4)
        assert tuple(made.shape) == (4, 2, 3)


def test_recovering():
    library = ArrayLibrary.named("numpy")
    assert library.is_oom_error(MemoryError())
    calls = []

    def work():
        calls.append(1)
        if len(calls) < 3:
            raise MemoryError
        return "done"

    assert library.run_with_oom_recovery(work) == "done"
