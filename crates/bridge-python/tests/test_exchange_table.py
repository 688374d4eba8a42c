"""DLPack's C exchange interface of our own tensor, as a library in C uses it."""

from __future__ import annotations

import ctypes
import gc
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p

import numpy as np
import pytest

import arraybridge
from arraybridge import MemoryConversionError, convert


class Header(ctypes.Structure):
    """DLTensor."""

    _fields_ = [
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


class Managed(ctypes.Structure):
    """DLManagedTensorVersioned."""


DELETER = ctypes.CFUNCTYPE(None, POINTER(Managed))
Managed._fields_ = [
    ("major", c_uint32),
    ("minor", c_uint32),
    ("context", c_void_p),
    ("deleter", DELETER),
    ("flags", c_uint64),
    ("tensor", Header),
]

SET_ERROR = ctypes.CFUNCTYPE(None, c_void_p, c_char_p, c_char_p)
ALLOCATE = ctypes.CFUNCTYPE(c_int, POINTER(Header), POINTER(POINTER(Managed)), c_void_p, SET_ERROR)
# The interpreter is held, and exceptions are looked for.
EXPORT = ctypes.PYFUNCTYPE(c_int, ctypes.py_object, POINTER(POINTER(Managed)))
IMPORT = ctypes.PYFUNCTYPE(c_int, POINTER(Managed), POINTER(c_void_p))
STREAM = ctypes.PYFUNCTYPE(c_int, c_int32, c_int32, POINTER(c_void_p))


class Table(ctypes.Structure):
    """DLPackExchangeAPI."""

    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        ("previous", c_void_p),
        ("allocate", ALLOCATE),
        ("export", EXPORT),
        ("import_", IMPORT),
        ("view", c_void_p),
        ("stream", STREAM),
    ]


NAME = b"dlpack_exchange_api"
get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
get_pointer.restype = c_void_p
get_pointer.argtypes = [ctypes.py_object, c_char_p]
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [c_void_p, c_char_p, c_void_p]


@pytest.fixture
def table():
    capsule = arraybridge.Tensor.__dlpack_c_exchange_api__
    return Table.from_address(get_pointer(capsule, NAME))


def exported(table, tensor):
    out = POINTER(Managed)()
    assert table.export(tensor, ctypes.byref(out)) == 0
    return out


def imported(table, managed):
    out = c_void_p()
    assert table.import_(managed, ctypes.byref(out)) == 0
    object = ctypes.cast(out, ctypes.py_object).value
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(object))
    return object


def test_the_table(table):
    assert table.major == 1 and not table.previous
    assert table.allocate and table.export and table.import_ and table.stream


def test_a_tensor_is_exported_where_it_lies(table):
    array = np.arange(6.0).reshape(2, 3)[:, ::-1]
    out = exported(table, convert(array, "tensor"))
    header = out.contents.tensor
    assert (header.data or 0) + header.byte_offset == array.ctypes.data
    assert (header.shape[:2], header.strides[:2]) == ([2, 3], [3, -1])
    assert (header.code, header.bits, header.lanes) == (2, 64, 1)
    assert (header.device_type, header.device_id, out.contents.flags) == (1, 0, 0)
    out.contents.deleter(out)


def test_what_is_exported_keeps_the_memory(table):
    array = np.arange(3.0)
    out = exported(table, convert(array, "tensor"))
    address = array.ctypes.data
    del array
    gc.collect()
    assert (ctypes.c_double * 3).from_address(address)[:] == [0, 1, 2]
    out.contents.deleter(out)


def test_read_only_is_said(table):
    out = exported(table, convert(b"abc", "tensor"))
    assert out.contents.flags == 1
    again = imported(table, out)
    assert again.readonly and bytes(again) == b"abc"


def test_there_and_back_is_the_same_memory(table):
    array = np.arange(6.0).reshape(3, 2)
    tensor = imported(table, exported(table, convert(array, "tensor")))
    assert type(tensor) is arraybridge.Tensor
    assert np.asarray(tensor).ctypes.data == array.ctypes.data


def test_an_import_deletes_once():
    deleted = []
    shape, strides = (c_int64 * 1)(2), (c_int64 * 1)(1)
    memory = (ctypes.c_double * 2)(1, 2)
    deleter = DELETER(lambda pointer: deleted.append(pointer.contents.tensor.ndim))
    capsule = arraybridge.Tensor.__dlpack_c_exchange_api__
    table = Table.from_address(get_pointer(capsule, NAME))

    def made(**changes):
        header = Header(ctypes.addressof(memory), 1, 0, 1, 2, 64, 1, shape, strides, 0)
        for field, value in changes.items():
            setattr(header, field, value)
        return Managed(1, 3, None, deleter, 0, header)

    good = made()
    tensor = imported(table, ctypes.pointer(good))
    assert np.asarray(tensor).tolist() == [1, 2] and deleted == []
    del tensor
    gc.collect()
    assert deleted == [1]
    bad = made(bits=0)
    with pytest.raises(BufferError, match="zero bits"):
        table.import_(ctypes.pointer(bad), ctypes.byref(c_void_p()))
    assert deleted == [1, 1], "what is refused was handed over all the same"
    nowhere = made()
    with pytest.raises(BufferError, match="no place for the result"):
        table.import_(ctypes.pointer(nowhere), None)
    assert deleted == [1, 1, 1]
    with pytest.raises(BufferError):
        table.import_(None, ctypes.byref(c_void_p()))


@pytest.mark.parametrize("other", [np.arange(3.0), 7, None, arraybridge.Tensor])
def test_objects_of_other_classes(table, other):
    out = POINTER(Managed)()
    with pytest.raises(TypeError, match="Tensor"):
        table.export(other, ctypes.byref(out))
    assert not out


def test_an_export_without_a_place(table):
    with pytest.raises(BufferError, match="no place for the result"):
        table.export(convert(np.ones(1), "tensor"), None)
    with pytest.raises(BufferError, match="no place for the result"):
        table.stream(1, 0, None)


def test_there_is_no_stream_on_the_host(table):
    stream = c_void_p(7)
    assert table.stream(1, 0, ctypes.byref(stream)) == 0
    assert stream.value is None


def test_new_memory(table):
    said = []
    set_error = SET_ERROR(lambda context, kind, message: said.append((kind, message)))
    shape = (c_int64 * 2)(2, 3)
    prototype = Header(None, 1, 0, 2, 2, 32, 1, shape, None, 0)
    out = POINTER(Managed)()

    def allocate(place=ctypes.byref(out)):
        return table.allocate(ctypes.byref(prototype), place, None, set_error)

    assert allocate() == 0 and said == []
    tensor = imported(table, out)
    assert (tensor.dtype, tensor.shape) == ("float32", (2, 3)) and not any(bytes(tensor))
    for changes, kind, message in (
        ({"device_type": 2}, b"BufferError", b"cuda"),
        ({"device_type": 99}, b"BufferError", b"device type 99"),
        ({"bits": 0}, b"BufferError", b"zero bits"),
        ({"ndim": -1}, b"BufferError", b"axes"),
        ({"ndim": 65}, b"BufferError", b"axes"),
        ({"shape": None}, b"BufferError", b"shape is null"),
        ({"shape": (c_int64 * 2)(2, -3)}, b"BufferError", b"negative"),
        ({"shape": (c_int64 * 2)(2**40, 2**10)}, b"MemoryError", b"out of memory"),
        ({"shape": (c_int64 * 2)(2**62, 2**62)}, b"BufferError", b"address space"),
    ):
        before = {field: getattr(prototype, field) for field in changes}
        for field, value in changes.items():
            setattr(prototype, field, value)
        assert allocate() == -1
        (told,) = said
        assert told[0] == kind and message in told[1], told
        said.clear()
        for field, value in before.items():
            setattr(prototype, field, value)
    assert allocate(None) == -1 and said.pop()[0] == b"BufferError"
    assert table.allocate(None, ctypes.byref(out), None, SET_ERROR()) == -1


class Wrapped:
    """An array class of another library, whose functions are ours, on what it wraps."""

    def __init__(self, tensor):
        self.tensor = tensor


def test_our_table_through_our_own_consumer(table):
    calls = []

    def export(object, out):
        calls.append(object)
        return table.export(object.tensor, out)

    mine = Table.from_buffer_copy(table)
    mine.export = EXPORT(export)
    Wrapped.__dlpack_c_exchange_api__ = new_capsule(ctypes.addressof(mine), NAME, None)
    array = np.arange(6.0).reshape(2, 3)
    wrapped = Wrapped(convert(array, "tensor"))
    assert convert(wrapped, "numpy").ctypes.data == array.ctypes.data and calls == [wrapped]
    frozen = convert(Wrapped(convert(bytes(3), "tensor")), "numpy")
    assert not frozen.flags.writeable


def test_our_table_in_the_wrong_class():
    class Pretender:
        __dlpack_c_exchange_api__ = arraybridge.Tensor.__dlpack_c_exchange_api__

    with pytest.raises(MemoryConversionError, match="Tensor") as caught:
        convert(Pretender(), "numpy")
    assert isinstance(caught.value.__cause__, TypeError)
