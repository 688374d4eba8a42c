from __future__ import annotations

import enum
import pickle

import pytest

import numpy as np

from arraybridge import types
from arraybridge.types import MemoryContractAttribute, MemoryType, name_of, require_name

NAMES = ("numpy", "cupy", "torch", "tensorflow", "jax", "pyclesperanto")


def test_it_is_an_enum_of_six():
    assert issubclass(MemoryType, enum.Enum)
    assert tuple(member.value for member in MemoryType) == NAMES
    assert MemoryType("torch") is MemoryType.TORCH


def test_sets_and_constants():
    assert types.CPU_MEMORY_TYPES == {MemoryType.NUMPY}
    assert types.GPU_MEMORY_TYPES == set(MemoryType) - {MemoryType.NUMPY}
    assert types.SUPPORTED_MEMORY_TYPES == set(MemoryType)
    assert types.VALID_MEMORY_TYPES == set(NAMES)
    assert types.VALID_GPU_MEMORY_TYPES == set(NAMES) - {"numpy"}
    for name in NAMES:
        assert getattr(types, f"MEMORY_TYPE_{name.upper()}") == name


def test_contract_attributes():
    values = {member.name: member.value for member in MemoryContractAttribute}
    assert values == {
        "INPUT": "input_memory_type",
        "OUTPUT": "output_memory_type",
        "EXECUTION": "execution_memory_type",
    }
    assert MemoryContractAttribute.INPUT.of(len) is None


@pytest.mark.parametrize("member", list(MemoryType))
def test_each_has_a_converter(member):
    assert member.converter.memory_type == member.value
    for name in NAMES:
        assert callable(getattr(member, f"to_{name}"))


def test_to_a_framework(torch):
    array = np.arange(3.0)
    tensor = MemoryType.NUMPY.to_torch(array, None)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(MemoryType.TORCH.to_numpy(tensor, None), array)


@pytest.mark.parametrize("wrong", ["Torch", "", None, 3, [], {}, object()])
def test_names_that_are_none(wrong):
    assert name_of(wrong) is None
    with pytest.raises(ValueError, match="must be one of cupy, jax"):
        require_name(wrong)


def test_left_out_is_one_and_false():
    assert not types.LEFT_OUT
    assert repr(types.LEFT_OUT) == "<left out>"
    assert pickle.loads(pickle.dumps(types.LEFT_OUT)) is types.LEFT_OUT
