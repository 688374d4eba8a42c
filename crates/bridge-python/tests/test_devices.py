from __future__ import annotations

import pytest

import numpy as np

from arraybridge.devices import HOST, AcceleratorDevice, HostDevice, NamedDevice, as_device
from arraybridge.types import LEFT_OUT


def test_labels():
    assert HOST.label == "host"
    assert AcceleratorDevice(0).label == "accelerator:0"
    assert NamedDevice("mps").label == "device:mps"
    assert str(AcceleratorDevice(2)) == "accelerator:2"


def test_they_are_values():
    assert HostDevice() == HOST
    assert AcceleratorDevice(1) == AcceleratorDevice(1) != AcceleratorDevice(0)
    assert len({HOST, HostDevice(), AcceleratorDevice(0)}) == 2
    assert AcceleratorDevice(np.int64(1)).index == 1


@pytest.mark.parametrize(
    ("value", "device"),
    [
        (None, HOST),
        ("cpu", HOST),
        ("host", HOST),
        (" CPU ", HOST),
        (0, AcceleratorDevice(0)),
        (np.int32(1), AcceleratorDevice(1)),
        ("cuda", AcceleratorDevice(0)),
        ("cuda:1", AcceleratorDevice(1)),
        ("GPU:2", AcceleratorDevice(2)),
        ("accelerator:3", AcceleratorDevice(3)),
        ("mps", NamedDevice("mps")),
        ("device:mps", NamedDevice("mps")),
        (HOST, HOST),
        (LEFT_OUT, None),
    ],
)
def test_what_stands_for_a_device(value, device):
    assert as_device(value) == device


def test_devices_of_frameworks(torch, jax):
    assert as_device(torch.device("cpu")) == HOST
    assert as_device(torch.device("cuda:1")) == AcceleratorDevice(1)
    assert as_device(jax.devices("cpu")[0]) == HOST


@pytest.mark.parametrize("wrong", [True, 1.0, [], object()])
def test_what_is_no_device(wrong):
    with pytest.raises(TypeError):
        as_device(wrong)


def test_numbers_and_names_that_are_none():
    with pytest.raises(ValueError, match="Invalid GPU device ID: -1"):
        AcceleratorDevice(-1)
    with pytest.raises(ValueError, match="not empty"):
        NamedDevice("")
    with pytest.raises(ValueError, match="not empty"):
        as_device("")


def test_names_for_the_native_module():
    assert HOST.native_name("torch") == "cpu"
    assert AcceleratorDevice(1).native_name("torch") == "cuda:1"
    assert AcceleratorDevice(1).native_name("pyclesperanto") == "extension:1"
    # NumPy's arrays lie in host memory, and pyclesperanto has none there.
    assert AcceleratorDevice(1).native_name("numpy") is None
    assert HOST.native_name("pyclesperanto") is None
