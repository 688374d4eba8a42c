from __future__ import annotations

import pytest

import numpy as np

from arraybridge import _FRAMEWORK_CONFIG, _FRAMEWORK_OPS
from arraybridge.types import MemoryType


@pytest.mark.parametrize("member", list(MemoryType))
def test_an_entry_for_each(member):
    entry = _FRAMEWORK_CONFIG[member]
    assert entry["import_name"] == member.value
    assert entry["is_gpu"] == (member is not MemoryType.NUMPY)
    assert set(entry["conversion_ops"]) == {
        "to_numpy",
        "from_numpy",
        "from_dlpack",
        "move_to_device",
    }
    assert _FRAMEWORK_OPS[member] is entry
    assert _FRAMEWORK_CONFIG[member.value] is entry


def test_no_entry():
    for wrong in ("bad", None, 3):
        with pytest.raises(KeyError):
            _FRAMEWORK_CONFIG[wrong]


def test_operations(torch):
    entry = _FRAMEWORK_CONFIG[MemoryType.TORCH]
    tensor = entry["conversion_ops"]["from_numpy"](np.ones(2), None)
    assert isinstance(tensor, torch.Tensor)
    assert entry["conversion_ops"]["to_numpy"](tensor).tolist() == [1, 1]
    assert entry["get_device_id"](torch.ones(1)) is None
    assert entry["gpu_check"]() == torch.cuda.is_available()
    assert not any(isinstance(value, str) and "(" in value for value in entry.values())
