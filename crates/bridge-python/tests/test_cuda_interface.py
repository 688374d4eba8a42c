"""The CUDA array interface: what a dictionary says is checked before anybody looks at the memory."""

from __future__ import annotations

import ctypes
import gc

import pytest
from frameworks import without_addresses
from simulated_driver import VIOLATIONS, environment

from arraybridge import MemoryConversionError, convert, plan


class HasInterface:
    """An object that describes memory which it does not have."""

    def __init__(self, interface):
        self.__cuda_array_interface__ = interface


GOOD = {
    "shape": (2, 3),
    "typestr": "<f4",
    "data": (0x7F00_0000_0000, False),
    "version": 3,
    "strides": None,
    "stream": 1,
}
MISSING = object()


def described(**changes):
    entries = {**GOOD, **changes}
    return HasInterface({key: value for key, value in entries.items() if value is not MISSING})


def has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


needs_no_driver = pytest.mark.skipif(has_driver(), reason="there is an NVIDIA driver here")


@needs_no_driver
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"version": 2, "stream": MISSING},
        {"stream": None},
        {"stream": 2},
        {"stream": 0x5555_0000},
        {"strides": (12, 4)},
        {"strides": (-12, 4)},
        {"strides": (4, 8)},
        {"data": (0x7F00_0000_0000, True)},
        {"shape": (0, 3), "data": (0, False)},
        {"shape": ()},
        {"shape": (1, 3), "strides": (5, 4)},
        {"mask": None},
        {"descr": [("", "<f4")]},
        {"typestr": "|b1"},
        {"typestr": "|u1"},
        {"typestr": "<c16"},
    ],
    ids=without_addresses,
)
def test_what_is_good_asks_for_a_driver(changes):
    with pytest.raises(MemoryConversionError) as caught:
        convert(described(**changes), "tensor")
    assert caught.value.method == "device_selection"
    text = str(caught.value)
    assert "CUDA device" in text and "no NVIDIA driver" in text and "array.get()" in text


@pytest.mark.parametrize("target", ["numpy", "torch", "cupy", "tensor"])
@needs_no_driver
def test_every_target_says_so(target):
    with pytest.raises(MemoryConversionError, match="NVIDIA"):
        convert(described(), target)
    with pytest.raises(MemoryConversionError, match="NVIDIA"):
        plan(described(), target)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": MISSING}, 'has no "shape"'),
        ({"typestr": MISSING}, 'has no "typestr"'),
        ({"data": MISSING}, 'has no "data"'),
        ({"version": MISSING}, 'has no "version"'),
        ({"version": 1}, "has version 1; known are 2 and 3"),
        ({"version": 4}, "has version 4"),
        ({"version": "3"}, 'has str in "version", not int'),
        ({"version": True}, 'has bool in "version", not int'),
        ({"shape": [2, 3]}, 'has list for "shape", not tuple'),
        ({"shape": 6}, 'has int for "shape", not tuple'),
        ({"shape": (2, -3)}, "has the extent -3 for axis 1"),
        ({"shape": (2.0, 3)}, 'has float in "shape", not int'),
        ({"shape": (2**70,)}, "out of range"),
        ({"shape": (2**40, 2**40)}, "does not fit the address space"),
        ({"shape": (1,) * 65}, "rank 65"),
        ({"typestr": b"<f4"}, 'has bytes for "typestr", not str'),
        ({"typestr": ">f4"}, "bytes are in the other order"),
        ({"typestr": "<V8"}, "'<V8'|\"<V8\""),
        ({"typestr": "<f16"}, "<f16"),
        ({"typestr": ""}, "elements is not supported"),
        ({"data": None}, 'has NoneType for "data", not tuple'),
        ({"data": 4096}, 'has int for "data", not tuple'),
        ({"data": (4096,)}, "has 1 items"),
        ({"data": (4096, False, 1)}, "has 3 items"),
        ({"data": (-1, False)}, 'has -1 in "data"'),
        ({"data": (2**64, False)}, "out of range"),
        ({"data": ("4096", False)}, 'has str in "data", not int'),
        ({"data": (4096, 0)}, "has int for the read-only flag"),
        ({"data": (0, False)}, "null"),
        ({"data": (2**64 - 8, False)}, "beyond the address space"),
        ({"data": (8, False), "strides": (-12, 4)}, "beyond the address space"),
        ({"strides": (4,)}, "has 1 strides for 2 axes"),
        ({"strides": [12, 4]}, 'has list for "strides", not tuple'),
        ({"strides": (12.0, 4)}, 'has float in "strides", not int'),
        ({"strides": (13, 4)}, "goes on by 13 bytes of 4 each"),
        ({"strides": (2**62, 4), "shape": (9, 3)}, "does not fit the address space"),
        ({"stream": 0}, "has the stream 0, which the interface forbids"),
        ({"stream": -1}, 'has -1 in "stream"'),
        ({"stream": 1.0}, 'has float in "stream", not int'),
        ({"stream": True}, 'has bool in "stream", not int'),
        ({"mask": object()}, "masked array"),
    ],
    ids=without_addresses,
)
def test_what_is_wrong_is_named(changes, said):
    with pytest.raises(MemoryConversionError, match=said):
        convert(described(**changes), "tensor")


@pytest.mark.parametrize("interface", [None, [], "text", 3])
def test_what_is_no_dictionary(interface):
    with pytest.raises(MemoryConversionError, match="not a dictionary"):
        convert(HasInterface(interface), "tensor")


def test_an_exception_is_the_cause():
    class Broken:
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("the context is gone")

    with pytest.raises(MemoryConversionError, match="the context is gone") as caught:
        convert(Broken(), "numpy")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_object_without_the_interface_has_others():
    class OnTheHost:
        """As arrays do that are on a GPU sometimes."""

        @property
        def __cuda_array_interface__(self):
            raise AttributeError("not on a GPU")

        def __init__(self):
            self.memory = (ctypes.c_float * 2)(1, 2)
            address = ctypes.addressof(self.memory)
            self.__array_interface__ = {
                "shape": (2,),
                "typestr": "<f4",
                "data": (address, False),
                "version": 3,
            }

    assert convert(OnTheHost(), "numpy").tolist() == [1, 2]


@needs_no_driver
def test_a_refused_object_is_let_go_of():
    class Counted(HasInterface):
        alive = 0

        def __init__(self, interface):
            super().__init__(interface)
            Counted.alive += 1

        def __del__(self):
            Counted.alive -= 1

    for _ in range(5):
        with pytest.raises(MemoryConversionError):
            convert(Counted(dict(GOOD)), "tensor")
    gc.collect()
    assert Counted.alive == 0


PROGRAM = """
import ctypes, gc, weakref
from arraybridge import MemoryConversionError, convert

cuda = ctypes.CDLL("libcuda.so")

def allocated(device, size):
    context, address = ctypes.c_void_p(), ctypes.c_uint64()
    assert cuda.cuInit(0) == 0
    assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) == 0
    assert cuda.cuCtxSetCurrent(context) == 0
    assert cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)) == 0
    return address.value

class HasInterface:
    def __init__(self, **entries):
        self.__cuda_array_interface__ = {
            "shape": (2, 3), "typestr": "<f4", "data": (there, True), "version": 3, **entries
        }

def said(target, **entries):
    try:
        return convert(HasInterface(**entries), target)
    except MemoryConversionError as error:
        return error.reason

other, there = allocated(0, 4096), allocated(1, 4096)
source = HasInterface(strides=(-12, 4), data=(there + 12, True), stream=1)
alive = weakref.ref(source)
tensor = convert(source, "tensor")
del source
gc.collect()
print(tensor.device, tensor.shape, tensor.strides, tensor.readonly, alive() is not None)
try:
    memoryview(tensor)
except BufferError as error:
    print("memory of the host only" in str(error))
del tensor
gc.collect()
print(alive())
print(said("tensor", data=(there, False)).readonly)
print("knows no memory at 0x1000" in said("tensor", data=(0x1000, False)))
print(f"knows no memory at {there + 4096 + 7:#x}" in said("tensor", data=(there + 4080, False)))
print("on two devices" in said("tensor", shape=(2,), strides=(other - there,), data=(there, False)))
print(said("tensor", shape=(0,), data=(0, False)).device)
"""


@needs_no_driver
def test_the_driver_names_the_device(tmp_path, run_python):
    printed = run_python(PROGRAM + VIOLATIONS, **environment(tmp_path))
    assert printed.splitlines() == [
        "cuda:1 (2, 3) (-3, 1) True True",
        "True",
        "None",
        "False",
        *["True"] * 3,
        "cuda:0",
    ]
