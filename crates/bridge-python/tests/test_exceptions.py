from __future__ import annotations

import pickle

from arraybridge.exceptions import InvalidMemoryTypeError, MemoryConversionError


def test_four_fields_and_a_sentence():
    error = MemoryConversionError("numpy", "torch", "dlpack", "it is read-only")
    assert str(error) == "Cannot convert from numpy to torch using dlpack. Reason: it is read-only"
    assert error.source_type == "numpy"
    assert error.target_type == "torch"
    assert error.method == "dlpack"
    assert error.reason == "it is read-only"


def test_fields_by_name():
    error = MemoryConversionError(
        source_type="a", target_type="b", method="copy", reason="no"
    )
    assert error.reason == "no"


def test_it_travels_between_processes():
    for kind in (MemoryConversionError, InvalidMemoryTypeError):
        error = kind("numpy", "torch", "copy", "no")
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is kind
        assert str(back) == str(error)
        assert back.method == "copy"


def test_a_wrong_name_is_an_error_of_value_too():
    assert issubclass(InvalidMemoryTypeError, ValueError)
    assert issubclass(InvalidMemoryTypeError, MemoryConversionError)
    assert not issubclass(MemoryConversionError, ValueError)
