from __future__ import annotations

import pytest

import numpy as np

from arraybridge import converters_registry
from arraybridge.converters_registry import ConverterBase, _ensure_module, get_converter
from arraybridge.types import MemoryType


def test_one_for_each_framework():
    assert set(ConverterBase.__registry__) == {member.value for member in MemoryType}
    for member in MemoryType:
        assert get_converter(member.value) is get_converter(member)
        assert repr(get_converter(member)) == f"<converter of {member.value}>"


@pytest.mark.parametrize("wrong", ["bad", None, 3, []])
def test_no_converter(wrong):
    with pytest.raises(ValueError, match="No converter registered for memory type"):
        get_converter(wrong)


def test_methods(torch):
    numpy_converter, torch_converter = get_converter("numpy"), get_converter("torch")
    array = np.arange(3.0)
    tensor = numpy_converter.to_torch(array, None)
    np.testing.assert_array_equal(torch_converter.to_numpy(tensor, None), array)
    assert torch_converter.from_numpy(array, None).tolist() == [0, 1, 2]
    assert torch_converter.from_dlpack(array, None).tolist() == [0, 1, 2]
    assert torch_converter.move_to_device(tensor, None) is tensor


def test_a_registry_that_does_not_fit(monkeypatch):
    monkeypatch.setitem(ConverterBase.__registry__, "extra", ConverterBase)
    monkeypatch.delitem(ConverterBase.__registry__, "jax")
    with pytest.raises(RuntimeError, match=r"Missing: \['jax'\], Extra: \['extra'\]"):
        converters_registry._validate_registry()


def test_modules(torch):
    assert _ensure_module("torch") is torch
    with pytest.raises(ValueError, match="not a registered array library"):
        _ensure_module("bad")
