"""Arrays of Apache Arrow in capsules, made by hand, so that they can lie."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_void_p


class Schema(ctypes.Structure):
    pass


class Array(ctypes.Structure):
    pass


SCHEMA_RELEASE = ctypes.CFUNCTYPE(None, POINTER(Schema))
ARRAY_RELEASE = ctypes.CFUNCTYPE(None, POINTER(Array))

Schema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_char_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(Schema))),
    ("dictionary", POINTER(Schema)),
    ("release", SCHEMA_RELEASE),
    ("private_data", c_void_p),
]
Array._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(Array))),
    ("dictionary", POINTER(Array)),
    ("release", ARRAY_RELEASE),
    ("private_data", c_void_p),
]


class DeviceArray(ctypes.Structure):
    _fields_ = [
        ("array", Array),
        ("device_id", c_int64),
        ("device_type", c_int32),
        ("sync_event", c_void_p),
        ("reserved", c_int64 * 3),
    ]


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [c_void_p, c_char_p, c_void_p]

#: Memory is the producer's until it is released, so none of them goes before.
KEPT = []

NAMES = {"schema": b"arrow_schema", "array": b"arrow_array", "device": b"arrow_device_array"}


class Producer:
    """An array of Arrow over `data`, a buffer of numbers; counts what is released.

    `lists` are the extents of the lists that the numbers are in, from the outermost on. `validity` is a buffer of
    bits, of the outermost level. What `changes` names is other than it should be.
    """

    def __init__(self, data, format, length, *, offset=0, nulls=0, validity=None, lists=(), **changes):
        self.released = 0
        self.schemas_released = 0
        self.keep = [data]
        KEPT.append(self)
        formats = [b"+w:%d" % extent for extent in lists] + [format]
        lengths = [length]
        for extent in lists:
            lengths.append((lengths[-1] + (offset if len(lengths) == 1 else 0)) * extent)
        address = ctypes.addressof(data) if data is not None else None
        schema = array = None
        for level in reversed(range(len(formats))):
            is_leaf = level == len(formats) - 1
            bits = ctypes.addressof(validity) if validity is not None and level == 0 else None
            buffers = (c_void_p * 2)(bits, address) if is_leaf else (c_void_p * 1)(bits)
            schema = self._schema(formats[level], schema)
            array = self._array(
                lengths[level],
                nulls if level == 0 else 0,
                offset if level == 0 else 0,
                buffers,
                array,
            )
        self.keep += [validity]
        self.schema, self.array = schema, array
        self.device = DeviceArray(array, -1, 1, None)
        for name, value in changes.items():
            place, _, field = name.partition("_")
            target = {"schema": schema, "array": self.array, "device": self.device}[place]
            if place == "array":
                setattr(self.device.array, field, value)
            setattr(target, field, value)

    def _schema(self, format, child):
        def release(pointer):
            self.schemas_released += 1
            pointer.contents.release = SCHEMA_RELEASE()

        made = Schema(format=format, release=SCHEMA_RELEASE(release))
        if child is not None:
            children = (POINTER(Schema) * 1)(ctypes.pointer(child))
            made.n_children, made.children = 1, children
            self.keep += [child, children]
        self.keep += [made, made.release]
        return made

    def _array(self, length, nulls, offset, buffers, child):
        def release(pointer):
            self.released += 1
            pointer.contents.release = ARRAY_RELEASE()

        made = Array(
            length=length,
            null_count=nulls,
            offset=offset,
            n_buffers=len(buffers),
            buffers=buffers,
            release=ARRAY_RELEASE(release),
        )
        if child is not None:
            children = (POINTER(Array) * 1)(ctypes.pointer(child))
            made.n_children, made.children = 1, children
            self.keep += [child, children]
        self.keep += [made, made.release, buffers]
        return made

    def capsule(self, which):
        """A capsule without a destructor: what nobody takes is not released."""
        return new_capsule(ctypes.addressof(getattr(self, which)), NAMES[which], None)

    def __arrow_c_array__(self, requested_schema=None):
        return self.capsule("schema"), self.capsule("array")


class OnDevice(Producer):
    """The same by the device interface."""

    def __arrow_c_device_array__(self, requested_schema=None, **_):
        return self.capsule("schema"), self.capsule("device")

    def __arrow_c_array__(self, requested_schema=None):
        raise AssertionError("the device interface goes before")
