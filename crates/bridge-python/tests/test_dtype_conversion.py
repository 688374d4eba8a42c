from __future__ import annotations

import inspect

import pytest

import numpy as np

from arraybridge import DtypeConversion, SliceBySliceRuntimeParameter
from arraybridge.decorators import (
    DtypeConversionConfig,
    DtypeConversionRequest,
    DtypeConversionRunner,
    FixedDtypeConversionRunner,
    KeywordOnlySignatureExtension,
    PreserveInputDtypeConfig,
)
from arraybridge.dtype_conversion import as_dtype_conversion


def test_eight_modes():
    assert {member.name: member.value for member in DtypeConversion} == {
        "PRESERVE_INPUT": "preserve",
        "NATIVE_OUTPUT": "native",
        "UINT8": "uint8",
        "UINT16": "uint16",
        "INT16": "int16",
        "INT32": "int32",
        "FLOAT32": "float32",
        "FLOAT64": "float64",
    }
    assert DtypeConversion.PRESERVE_INPUT.numpy_dtype is None
    assert DtypeConversion.NATIVE_OUTPUT.numpy_dtype is None
    assert DtypeConversion.UINT16.numpy_dtype is np.uint16


@pytest.mark.parametrize("mode", list(DtypeConversion))
def test_each_is_carried_out(mode):
    runner = DtypeConversionRunner.for_dtype_conversion(mode)
    assert runner.registry_enum_member() is mode
    assert isinstance(runner, FixedDtypeConversionRunner) == (mode.dtype_name is not None)
    asked = []

    def scale(array, dtype):
        asked.append(dtype)
        return array

    runner.apply(DtypeConversionRequest("array", "int8", "complex64", scale))
    runner.apply(DtypeConversionRequest("array", "int8", "bool", scale))
    expected = {"preserve": ["int8"], "native": []}.get(mode.value, [mode.value] * 2)
    assert asked == expected


def test_what_stands_for_a_mode():
    assert as_dtype_conversion("preserve") is DtypeConversion.PRESERVE_INPUT
    assert as_dtype_conversion("UINT8") is DtypeConversion.UINT8
    config = PreserveInputDtypeConfig(DtypeConversion.INT16)
    assert as_dtype_conversion(config) is DtypeConversion.INT16
    for wrong in ("float16", None, 3):
        with pytest.raises(ValueError, match="'preserve', 'native', 'uint8'"):
            as_dtype_conversion(wrong)


def test_parameters():
    added = DtypeConversionConfig.parameter()
    assert (added.name, added.default) == ("dtype_config", PreserveInputDtypeConfig())
    assert added.annotation is DtypeConversionConfig
    sliced = SliceBySliceRuntimeParameter.parameter(default_value=True)
    assert (sliced.name, sliced.default, sliced.annotation) == ("slice_by_slice", True, bool)
    assert SliceBySliceRuntimeParameter.default_value() is False


def test_signatures():
    def f(a, *, b=1, **kwargs):
        pass

    added = SliceBySliceRuntimeParameter.parameter()
    signature = KeywordOnlySignatureExtension(inspect.signature(f)).with_parameter(added)
    assert list(signature.parameters) == ["a", "b", "slice_by_slice", "kwargs"]
    again = KeywordOnlySignatureExtension(signature).with_parameter(added)
    assert again == signature
