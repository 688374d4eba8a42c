from __future__ import annotations

import types

import pytest

import numpy as np

from arraybridge import MemoryConversionError
from arraybridge.utils import (
    _ensure_module,
    _get_device_id,
    _ModulePlaceholder,
    _move_to_device,
    _require_tensorflow,
    _set_device,
    _supports_cuda_array_interface,
    _supports_dlpack,
    optional_import,
)


def test_a_module_that_is_there():
    assert optional_import("json").dumps([1]) == "[1]"


def test_a_module_that_is_not():
    module = optional_import("surely_not_here")
    assert isinstance(module, _ModulePlaceholder)
    assert not module
    assert not module.sub.name
    assert repr(module.sub) == "<ModulePlaceholder for 'surely_not_here.sub'>"
    with pytest.raises(ImportError, match=r"Module 'surely_not_here\.sub\.f' is not available"):
        module.sub.f(1)
    assert not hasattr(module, "__iter__")


def test_a_module_that_must_be_there():
    assert _ensure_module("json").__name__ == "json"
    with pytest.raises(ImportError, match="Module surely_not_here is required") as caught:
        _ensure_module("surely_not_here")
    assert caught.value.name == "surely_not_here"


@pytest.mark.parametrize("version", ["1.15.0", "2.11.1", "0"])
def test_a_tensorflow_that_is_too_old(version):
    with pytest.raises(RuntimeError, match="too old"):
        _require_tensorflow(types.SimpleNamespace(__version__=version))


@pytest.mark.parametrize("version", ["2.12.0", "2.21.0", "3.0.0rc1", "nightly"])
def test_a_tensorflow_that_is_not(version):
    _require_tensorflow(types.SimpleNamespace(__version__=version))


def test_protocols(torch):
    assert _supports_dlpack(np.ones(1))
    assert _supports_dlpack(torch.ones(1))
    assert not _supports_dlpack([1])
    for name in ("toDlpack", "to_dlpack"):
        assert _supports_dlpack(types.SimpleNamespace(**{name: None}))
    assert _supports_cuda_array_interface(types.SimpleNamespace(__cuda_array_interface__={}))
    assert not _supports_cuda_array_interface(torch.ones(1))
    assert not _supports_cuda_array_interface(np.ones(1))


def test_devices(torch, no_gpu):
    assert _get_device_id(np.ones(1), "numpy") is None
    assert _get_device_id(torch.ones(1), "torch") is None
    _set_device("numpy", 3)
    _set_device("torch", None)
    with pytest.raises(MemoryConversionError) as caught:
        _set_device("torch", 0)
    assert caught.value.method == "device_selection"
    tensor, array = torch.ones(1), np.ones(1)
    assert _move_to_device(tensor, "torch", None) is tensor
    assert _move_to_device(array, "numpy", 3) is array
    with pytest.raises(MemoryConversionError) as caught:
        _move_to_device(tensor, "torch", 0)
    assert caught.value.method == "device_movement"
    with pytest.raises(ValueError, match="not a registered array library"):
        _get_device_id(array, "bad")
