"""Our own tensor, which every framework takes."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

from arraybridge import convert


@pytest.fixture
def tensor():
    return convert(np.arange(6.0).reshape(2, 3), "tensor")


def test_what_it_says_of_itself(tensor):
    assert (tensor.shape, tensor.strides, tensor.ndim) == ((2, 3), (3, 1), 2)
    assert (tensor.dtype, tensor.device, tensor.nbytes) == ("float64", "cpu", 48)
    assert not tensor.readonly and tensor.backend == "tensor"
    assert repr(tensor) == "<arraybridge.Tensor float64 [2, 3] on cpu>"


def test_it_is_taken_without_a_copy(tensor, torch):
    array = np.asarray(tensor)
    taken = torch.from_dlpack(tensor)
    assert taken.data_ptr() == array.ctypes.data == np.from_dlpack(tensor).ctypes.data
    array[0, 0] = 9
    assert taken[0, 0] == 9


def test_numpys_copy_and_dtype(tensor):
    copied = np.array(tensor, copy=True)
    copied[0, 0] = 9
    assert np.asarray(tensor)[0, 0] == 0
    assert np.asarray(tensor, dtype="float32").dtype == "float32"


def test_numpy_is_refused_in_its_own_words_where_only_a_copy_would_do(tensor):
    with pytest.raises(ValueError, match="copy"):
        tensor.__array__(dtype="float32", copy=False)


def test_it_is_a_source_again(tensor):
    assert convert(tensor, "numpy").tolist() == [[0, 1, 2], [3, 4, 5]]
    tensor.__dlpack__(copy=True)
    with pytest.raises(BufferError, match="does not move by itself"):
        tensor.__dlpack__(dl_device=(2, 0))


def test_a_read_only_one_has_no_capsule_without_a_version():
    array = np.arange(3.0)
    array.flags.writeable = False
    tensor = convert(array, "tensor")
    assert tensor.readonly and not np.asarray(tensor).flags.writeable
    with pytest.raises(BufferError, match="max_version"):
        tensor.__dlpack__(copy=False)


def test_a_read_only_one_is_copied_for_who_would_write(torch):
    tensor = convert(bytes(100), "tensor")
    torch.from_dlpack(tensor)[0] = 7
    assert np.asarray(tensor)[0] == 0 and tensor.readonly


def test_a_read_only_one_is_shared_with_who_would_not():
    source = bytes(100)
    array = convert(convert(source, "tensor"), "numpy")
    assert array.ctypes.data == np.frombuffer(source, "uint8").ctypes.data
    assert not array.flags.writeable


@pytest.mark.parametrize("backend", ["ndarray", "candle"])
def test_backends_that_are_written_in_rust(backend):
    result = convert(np.arange(6.0).reshape(2, 3), backend)
    assert result.backend == backend
    assert np.asarray(result).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.fixture
def backward():
    return convert(np.arange(6.0)[::-1], "tensor")


def test_memory_with_a_negative_stride_is_copied_for_dlpack(backward, torch, jax):
    assert torch.from_dlpack(backward).tolist() == [5, 4, 3, 2, 1, 0]
    assert jax.numpy.from_dlpack(backward).tolist() == [5, 4, 3, 2, 1, 0]
    assert np.from_dlpack(backward).strides == (8,)
    shared = np.from_dlpack(backward, copy=False)
    assert shared.strides == (-8,) and shared.ctypes.data == np.asarray(backward).ctypes.data


@pytest.mark.parametrize("dtype", ["float64", "int8", "bool", "complex64"])
@pytest.mark.parametrize("frozen", [False, True])
def test_it_is_pickled_and_copied(dtype, frozen):
    array = np.arange(6).astype(dtype).reshape(2, 3).T
    array.flags.writeable = not frozen
    tensor = convert(array, "tensor")
    for again in (
        pickle.loads(pickle.dumps(tensor)),
        copy.deepcopy(tensor),
        copy.copy(tensor),
    ):
        assert (again.dtype, again.shape, again.device) == (tensor.dtype, (3, 2), "cpu")
        np.testing.assert_array_equal(np.asarray(again), array)
    shares = [np.shares_memory(np.asarray(how(tensor)), array) for how in (copy.copy, copy.deepcopy)]
    assert shares == [True, False]


def test_it_is_referred_to_weakly():
    tensor = convert(np.ones(3), "tensor")
    reference = weakref.ref(tensor)
    assert reference() is tensor
    del tensor
    gc.collect()
    assert reference() is None
