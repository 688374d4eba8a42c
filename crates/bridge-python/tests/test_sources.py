"""Anything that offers its memory is a source, and nothing that lies about it is believed."""

from __future__ import annotations

import array as standard_array
import ctypes

import numpy as np
import pytest

from arraybridge import MemoryConversionError, convert


class Offers:
    """Hands out what it is told to."""

    def __init__(self, capsule, device=(1, 0)):
        self.capsule, self.device = capsule, device

    def __dlpack__(self, **_):
        return self.capsule() if callable(self.capsule) else self.capsule

    def __dlpack_device__(self):
        return self.device


def test_dlpack_of_anybody():
    source = np.arange(4.0)
    result = convert(Offers(source.__dlpack__), "numpy")
    assert result.ctypes.data == source.ctypes.data


def test_an_object_that_knows_no_versions():
    source = np.arange(4.0)

    class Old:
        def __dlpack__(self, stream=None):
            return source.__dlpack__()

        def __dlpack_device__(self):
            return (1, 0)

    assert convert(Old(), "numpy").tolist() == source.tolist()


@pytest.mark.parametrize(
    ("made", "dtype"),
    [
        (lambda: bytearray(b"abc"), "uint8"),
        (lambda: b"abc", "uint8"),
        (lambda: memoryview(np.arange(6.0).reshape(2, 3)), "float64"),
        (lambda: standard_array.array("i", [1, 2]), "int32"),
        (lambda: (ctypes.c_float * 3)(1, 2, 3), "float32"),
    ],
    ids=["bytearray", "bytes", "memoryview", "array", "ctypes"],
)
def test_the_buffer_protocol(made, dtype):
    source = made()
    result = convert(source, "numpy")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.asarray(memoryview(source)))
    assert result.flags.writeable == (not memoryview(source).readonly)


def test_a_buffer_is_held_as_long_as_its_array():
    source = bytearray(b"abcdef")
    result = convert(source, "numpy")
    with pytest.raises(BufferError):
        source.extend(b"g")
    del result
    source.extend(b"g")


def test_the_array_interface():
    inner = np.arange(6, dtype="f4").reshape(2, 3)

    class HasInterface:
        __array_interface__ = inner.__array_interface__
        keep = inner

    result = convert(HasInterface(), "numpy")
    np.testing.assert_array_equal(result, inner)


def test_a_capsule_that_was_taken_already():
    capsule = np.arange(4.0).__dlpack__()
    assert convert(Offers(capsule), "numpy").tolist() == [0, 1, 2, 3]
    with pytest.raises(MemoryConversionError, match="taken by somebody else"):
        convert(Offers(capsule), "numpy")


@pytest.mark.parametrize("lie", [None, 7, "capsule", object()])
def test_what_is_no_capsule(lie):
    with pytest.raises(MemoryConversionError, match="did not return a DLPack capsule"):
        convert(Offers(lambda: lie), "numpy")


def test_an_exception_in_dlpack_is_the_cause():
    class Broken:
        def __dlpack__(self, **_):
            raise RuntimeError("no memory to show")

        def __dlpack_device__(self):
            return (1, 0)

    with pytest.raises(MemoryConversionError, match="no memory to show") as caught:
        convert(Broken(), "numpy")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_interruption_is_not_swallowed():
    class Interrupted:
        def __dlpack__(self, **_):
            raise KeyboardInterrupt

        def __dlpack_device__(self):
            return (1, 0)

    with pytest.raises(KeyboardInterrupt):
        convert(Interrupted(), "numpy")


@pytest.mark.parametrize("value", [[1, 2], (1,), 3, None, "text", {}, object(), np.float64, int])
def test_what_has_no_memory_to_offer(value):
    with pytest.raises(MemoryConversionError, match=r"numpy\.asarray"):
        convert(value, "numpy")


def test_a_class_that_only_claims_to_be_an_array(torch):
    for module, name in (("numpy", "ndarray"), ("torch", "Tensor")):
        pretender = type(name, (), {"__module__": module})()
        with pytest.raises(MemoryConversionError, match="only claims"):
            convert(pretender, "tensor")


def test_targets_and_devices_that_are_not_there(torch):
    source = np.arange(3.0)
    with pytest.raises(MemoryConversionError, match="one of ndarray, candle, numpy"):
        convert(source, "invalid")
    if not torch.cuda.is_available():
        with pytest.raises(MemoryConversionError, match="no CUDA device cuda:0 here") as caught:
            convert(source, "torch", device="cuda:0")
        assert "not available" in str(caught.value) and "device='cpu'" in str(caught.value)
    with pytest.raises(ValueError, match="say 'cpu', 'cuda:0'"):
        convert(source, "torch", device="gpu zero")
    with pytest.raises(ValueError, match="say 'float32'"):
        convert(source, "torch", dtype="floaty")


def test_a_producer_without_memory_is_a_memory_error():
    def raises():
        raise MemoryError("no room for the export")

    with pytest.raises(MemoryError, match="no room for the export") as raised:
        convert(Offers(raises), "numpy")
    assert type(raised.value.__cause__) is MemoryError


def test_small_integers_of_ml_dtypes_are_refused_with_what_to_do(torch):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with pytest.raises(MemoryConversionError, match=r"int4.*astype\('int8'\)"):
        convert(np.zeros(2, ml_dtypes.int4), "torch")
    with pytest.raises(MemoryConversionError, match=r"array\['field'\]"):
        convert(np.zeros(2, [("a", "i4")]), "torch")
    with pytest.raises(MemoryConversionError, match=r"view\('uint8'\)"):
        convert(np.zeros(2, "V4"), "torch")


def test_a_variable_of_keras_is_one_of_tensorflow(tensorflow):
    variable = tensorflow.keras.Variable([[1.0, 2.0]])
    array = convert(variable, "numpy")
    assert array.tolist() == [[1, 2]] and array.dtype == "float32"
    variable.assign([[3.0, 4.0]])
    assert array.tolist() == [[1, 2]], "what was read stays"


def test_what_claims_to_be_a_variable_and_holds_itself_is_refused(tensorflow):
    class Variable:
        dtype = "float32"

        @property
        def value(self):
            return self

    Variable.__module__ = "tensorflow"
    with pytest.raises(MemoryConversionError, match="look at a tensor"):
        convert(Variable(), "numpy")


def test_a_target_is_a_name_or_a_memory_type(torch):
    from arraybridge import MemoryType, convert_reported, explain, plan

    array = np.ones(2)
    assert convert(array, MemoryType.TORCH).data_ptr() == array.ctypes.data
    assert convert_reported(array, MemoryType.TORCH)[1].target == "torch"
    assert plan(array, MemoryType.TORCH).target == "torch"
    assert explain(array, MemoryType.TORCH).startswith("numpy to torch")
    for wrong in (None, 3, MemoryType, b"torch"):
        with pytest.raises(TypeError, match="target is .*'numpy'.*MemoryType"):
            convert(array, wrong)


def test_a_value_that_does_not_fit_is_refused_in_the_words_of_python():
    with pytest.raises(MemoryConversionError, match="overflow='saturate' or 'wrap'"):
        convert(np.array([300.0]), "numpy", dtype="uint8")


def test_every_name_of_an_accelerator_is_understood(torch, no_gpu):
    from arraybridge import AcceleratorDevice

    for device in ("gpu", "gpu:0", "cuda:0", AcceleratorDevice(0)):
        with pytest.raises(MemoryConversionError, match="no CUDA device cuda:0 here"):
            convert(np.ones(2), "torch", device=device)


def test_a_backend_that_this_build_lacks_is_named_with_how_to_build_it():
    import arraybridge

    if any(one["name"] == "opencl" for one in arraybridge._native.backends()):
        pytest.skip("it has it")
    with pytest.raises(MemoryConversionError, match="--features opencl"):
        convert(np.ones(2), "opencl")
