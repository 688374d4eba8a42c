from __future__ import annotations

import pytest

import numpy as np
from frameworks import lies_on_the_host

from arraybridge import ArrayLibrary, convert_memory, libraries
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


#: A framework with two accelerators, as far as it is asked where arrays go that nobody sends anywhere.
WITH_ACCELERATORS = {
    "torch": """
cuda.is_available = lambda: True
cuda.device_count = lambda: 2
cuda.is_initialized = lambda: False
cuda.current_device = lambda: 1
""",
    "jax": """
gpus = [types.SimpleNamespace(platform="gpu", id=number) for number in (0, 1)]
framework.devices = lambda platform=None: gpus
""",
    "tensorflow": """
framework.config = types.SimpleNamespace()
framework.config.list_physical_devices = lambda kind: ["GPU:0", "GPU:1"] if kind == "GPU" else ["CPU:0"]
""",
}


@pytest.mark.parametrize("name", WITH_ACCELERATORS)
def test_a_device_that_is_left_out_is_the_accelerator_where_there_is_one(name, run_python):
    """On doubles of the frameworks, before any of whose arrays the conversion is caught."""
    run_python(f"""
import sys, types
import numpy as np
framework, cuda = types.ModuleType({name!r}), types.SimpleNamespace()
framework.cuda = cuda
{WITH_ACCELERATORS[name]}
sys.modules[{name!r}] = framework
from arraybridge import convert_memory, converters, MemoryConversionError, HOST
asked = []
convert = converters._convert
converters._convert = lambda data, target, **given: asked.append((target, given["device"]))
array = np.ones(3)
convert_memory(array, "numpy", {name!r})
convert_memory(array, "numpy", {name!r}, gpu_id=1)
convert_memory(array, "numpy", {name!r}, device="cuda:0")
assert asked == [({name!r}, "cuda:0"), ({name!r}, "cuda:1"), ({name!r}, "cuda:0")], asked
if {name!r} == "torch":   # once CUDA is in use it is the current one
    cuda.is_initialized = lambda: True
    convert_memory(array, "numpy", "torch")
    assert asked[3] == ("torch", "cuda:1"), asked
converters._convert = convert
try:
    convert_memory(array, "numpy", {name!r}, gpu_id=7)
except MemoryConversionError as error:
    assert "no CUDA device cuda:7 here, it has cpu, cuda:0, cuda:1" in error.reason, error.reason
else:
    raise AssertionError("there is no such device")
""")


@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_a_device_that_is_left_out_is_the_host_where_there_is_nothing_else(name, request, no_gpu):
    request.getfixturevalue(name)
    library = ArrayLibrary.named(name)
    assert library.accelerator_devices() == () and library.default_device() is None
    made = convert_memory(np.ones(3, np.float32), "numpy", name)
    assert lies_on_the_host(name, made) and library.device_of(made) == HOST


@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_what_frameworks_are_asked_is_what_they_have(name, request, monkeypatch):
    """The questions that the doubles above answer, to the frameworks themselves."""
    framework = request.getfixturevalue(name)
    monkeypatch.setattr(libraries, "_DEFAULTS", {})
    if name == "torch":
        assert framework.cuda.is_initialized() in (True, False)
        monkeypatch.setattr(framework.cuda, "is_initialized", lambda: False)
        monkeypatch.setattr(framework.cuda, "is_available", lambda: True)
        monkeypatch.setattr(framework.cuda, "device_count", lambda: 2)
    elif name == "jax":
        host = framework.devices()[0]
        assert isinstance(host.platform, str) and isinstance(host.id, int)
        gpu = type("Gpu", (), {"platform": "cuda", "id": 0})
        monkeypatch.setattr(framework, "devices", lambda: [gpu, gpu])
    else:
        assert framework.config.list_physical_devices("CPU")
        monkeypatch.setattr(framework.config, "list_physical_devices", lambda kind: ["GPU:0", "GPU:1"])
    library = ArrayLibrary.named(name)
    assert library.available_devices() == (HOST, AcceleratorDevice(0), AcceleratorDevice(1))
    assert library.default_device() == AcceleratorDevice(0)
