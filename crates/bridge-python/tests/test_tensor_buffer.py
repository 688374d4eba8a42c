"""Our own tensor by the buffer protocol: memory views, bytes, NumPy."""

from __future__ import annotations

import ctypes
import gc
import weakref

import hypothesis.extra.numpy as numpy_strategies
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arraybridge import convert

FORMATS = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "l" if ctypes.sizeof(ctypes.c_long) == 8 else "q",
    "uint64": "L" if ctypes.sizeof(ctypes.c_long) == 8 else "Q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "complex64": "Zf",
    "complex128": "Zd",
}


def test_a_view_says_what_the_tensor_is():
    array = np.arange(24.0, dtype="float32").reshape(2, 3, 4)[::-1, :, ::2]
    tensor = convert(array, "tensor")
    view = memoryview(tensor)
    assert (view.shape, view.strides, view.ndim) == (array.shape, array.strides, 3)
    assert (view.format, view.itemsize, view.nbytes) == ("f", 4, array.nbytes)
    assert view.obj is tensor and not view.readonly
    assert view.tolist() == array.tolist()


@pytest.mark.parametrize(("name", "letter"), FORMATS.items())
def test_the_format_of_each_element_type(name, letter):
    array = np.array([[0, 1], [1, 0]]).astype(name)
    tensor = convert(array, "tensor")
    assert memoryview(tensor).format == letter
    assert np.asarray(memoryview(tensor)).dtype == array.dtype
    assert bytes(tensor) == array.tobytes()


def test_a_view_is_the_memory_itself():
    array = np.arange(6.0).reshape(2, 3)
    view = memoryview(convert(array, "tensor"))
    view[1, 2] = 50.0
    assert array[1, 2] == 50
    array[0, 0] = -1
    assert view[0, 0] == -1


def test_frombuffer_reads_it_where_it_lies():
    array = np.arange(6.0)
    tensor = convert(array, "tensor")
    flat = np.frombuffer(tensor)
    assert flat.ctypes.data == array.ctypes.data and flat.flags.writeable
    scalar = convert(np.array(2.5), "tensor")
    assert np.frombuffer(scalar).tolist() == [2.5]


@pytest.mark.parametrize("writable", [bytes(8), np.broadcast_to(np.float64(1), (3,))])
def test_read_only_stays_read_only(writable):
    tensor = convert(writable, "tensor")
    assert tensor.readonly and memoryview(tensor).readonly
    assert not np.asarray(tensor).flags.writeable
    with pytest.raises(TypeError, match="read-only"):
        memoryview(tensor)[0] = 1
    # What reads into a buffer asks for a writable one.
    with pytest.raises((BufferError, TypeError)):
        ctypes.c_char.from_buffer(tensor)


def test_a_refused_view_says_why():
    tensor = convert(bytes(8), "tensor")
    with pytest.raises(BufferError, match=r"read-only.*copy=True"):
        ctypes.pythonapi.PyObject_GetBuffer(
            ctypes.py_object(tensor), ctypes.byref((ctypes.c_char * 80)()), 1
        )


ASKED = {"simple": 0, "rows": 0x38, "columns": 0x58, "dense": 0x98, "strided": 0x18}


@pytest.mark.parametrize(
    ("layout", "given"),
    [
        (lambda a: a, {"simple", "rows", "dense", "strided"}),
        (lambda a: a.T, {"columns", "dense", "strided"}),
        (lambda a: a[:, ::2], {"strided"}),
        (lambda a: a[::-1], {"strided"}),
        (lambda a: a[:0], {"simple", "rows", "columns", "dense", "strided"}),
        (lambda a: a[:1, :1], {"simple", "rows", "columns", "dense", "strided"}),
    ],
    ids=["rows", "columns", "gaps", "reversed", "empty", "one"],
)
def test_views_of_a_certain_order(layout, given):
    tensor = convert(layout(np.arange(12.0).reshape(3, 4)), "tensor")
    get, let_go = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    for name, flags in ASKED.items():
        view = (ctypes.c_void_p * 10)()
        if name in given:
            assert get(ctypes.py_object(tensor), ctypes.byref(view), flags) == 0
            has_shape, has_strides = bool(view[6]), bool(view[7])
            assert (has_shape, has_strides) == ((name != "simple"),) * 2
            let_go(ctypes.byref(view))
        else:
            view[1] = 7
            with pytest.raises(BufferError, match="memoryview"):
                get(ctypes.py_object(tensor), ctypes.byref(view), flags)
            assert view[1] is None, "a view that was refused has no owner"


def test_the_memory_lives_as_long_as_a_view():
    class Array(np.ndarray):
        pass

    array = np.arange(3.0).view(Array)
    alive = weakref.ref(array)
    tensor = convert(array, "tensor")
    view = memoryview(tensor)
    part = view[1:]
    del array, tensor, view
    gc.collect()
    assert alive() is not None and part.tolist() == [1, 2]
    del part
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn"])
def test_element_types_without_a_format(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tensor = convert(np.ones(3, getattr(ml_dtypes, name)), "tensor")
    with pytest.raises(BufferError, match=f"{name} has no format.*dtype=.float32"):
        memoryview(tensor)
    # NumPy then asks for an array.
    assert np.asarray(tensor).dtype == name
    assert memoryview(convert(tensor, "tensor", dtype="float32")).tolist() == [1, 1, 1]


def test_memory_of_a_device(pyclesperanto):
    tensor = convert(np.ones((2, 2), "float32"), "pyclesperanto")
    tensor = convert(tensor, "tensor")
    if tensor.device == "cpu":
        pytest.skip("it came to the host")
    with pytest.raises(BufferError, match="memory of the host only"):
        memoryview(tensor)
    assert convert(tensor, "numpy").tolist() == [[1, 1], [1, 1]]


def indices():
    step = st.sampled_from([None, 1, 2, -1, -2])
    return st.lists(st.builds(slice, st.none(), st.none(), step), min_size=0, max_size=4)


@given(
    array=numpy_strategies.arrays(
        dtype=st.sampled_from([name for name in FORMATS if name != "bool"]),
        shape=numpy_strategies.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements=st.integers(0, 100),
    ),
    cuts=indices(),
    order=st.randoms(use_true_random=False),
)
def test_every_layout_goes_there_and_back(array, cuts, order):
    axes = list(range(array.ndim))
    order.shuffle(axes)
    array = array[(*cuts[: array.ndim], ...)].transpose(axes)
    tensor = convert(array, "tensor")
    view = memoryview(tensor)
    assert view.shape == array.shape and view.nbytes == array.nbytes
    read = np.asarray(view)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    if array.size and array.ndim:
        assert read.ctypes.data == array.ctypes.data
        # The strides of axes with no second element mean nothing.
        long = np.array(array.shape) > 1
        assert (np.array(view.strides)[long] == np.array(array.strides)[long]).all()
    assert bytes(tensor) == array.tobytes() == view.tobytes()
    # A view of complex numbers without axes has no bytes that memoryview would show.
    if array.ndim or array.dtype.kind != "c":
        back = convert(view, "numpy")
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)
