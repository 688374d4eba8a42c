"""DLPack tensors that are made field by field, also as no library makes them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

INT, UINT, FLOAT, BFLOAT, COMPLEX, BOOL = 0, 1, 2, 4, 5, 6
READ_ONLY = 1

_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Legacy(ctypes.Structure):
    _fields_ = [
        ("tensor", _DLTensor),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
    ]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    ]


_NAMES = {_Legacy: b"dltensor", _Versioned: b"dltensor_versioned"}
_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]


# A tensor outlives the object that offered it: the structs stay, and what their deleters call.
_OFFERED: list[ByHand] = []


class ByHand:
    """A tensor on the host, offered as often as it is asked for; `deleted` counts what was given back.

    `data` is memory, or an address; `shape` and `strides` are as given, in elements, `None` for a null
    pointer. `version` is `None` for the struct that has none.
    """

    def __init__(
        self,
        data: np.ndarray | int,
        shape: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        *,
        dtype: tuple[int, int, int] = (FLOAT, 32, 1),
        offset: int = 0,
        ndim: int | None = None,
        flags: int = 0,
        version: tuple[int, int] | None = (1, 0),
    ) -> None:
        self.deleted = 0
        address = data if isinstance(data, int) else data.ctypes.data
        self._kept: list[Any] = [data]
        made = _Legacy() if version is None else _Versioned()
        if version is not None:
            made.major, made.minor, made.flags = *version, flags
        count = len(shape or ()) if ndim is None else ndim
        made.tensor = _DLTensor(
            address, 1, 0, count, *dtype, self._numbers(shape), self._numbers(strides), offset
        )
        made.deleter = _Deleter(self._delete)
        self._made = made

    def _numbers(self, numbers: Sequence[int] | None) -> int | None:
        if numbers is None:
            return None
        array = (ctypes.c_int64 * max(len(numbers), 1))(*numbers)
        self._kept.append(array)
        return ctypes.addressof(array)

    def _delete(self, address: int) -> None:
        assert address == ctypes.addressof(self._made)
        self.deleted += 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **_: Any) -> Any:
        _OFFERED.append(self)
        return _new(ctypes.addressof(self._made), _NAMES[type(self._made)], None)


def taken_out(capsule: Any) -> tuple[int, int]:
    """Takes the tensor out of a versioned capsule: its address, and that of the deleter to call."""
    address = _pointer(capsule, b"dltensor_versioned")
    _rename(capsule, b"used_dltensor_versioned")
    deleter = ctypes.c_void_p.from_address(address + _Versioned.deleter.offset).value
    return address, deleter or 0


def delete_without_the_interpreter(address: int, deleter: int) -> None:
    """Calls a deleter while Python's lock is released, as ctypes calls C functions."""
    _Deleter(deleter)(address)
