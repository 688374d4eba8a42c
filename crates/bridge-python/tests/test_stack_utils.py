from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import numpy as np

from arraybridge import HOST, MemoryConversionError, MemoryType, stack_slices, unstack_slices
from arraybridge.stack_utils import (
    _allocate_stack_array,
    _enforce_gpu_device_requirements,
    _is_2d,
    _is_3d,
)

SLICES = [np.full((2, 3), value, np.float32) for value in range(4)]


class TestStacking:
    @pytest.mark.parametrize("place", [{}, {"gpu_id": None}, {"gpu_id": 0}, {"device": HOST}])
    def test_numpy(self, place):
        made = stack_slices(SLICES, "numpy", **place)
        np.testing.assert_array_equal(made, np.stack(SLICES))
        assert made.dtype == np.float32

    def test_into_another_framework(self, torch, jax):
        made = stack_slices(SLICES, MemoryType.TORCH, None)
        assert isinstance(made, torch.Tensor)
        np.testing.assert_array_equal(made.numpy(), np.stack(SLICES))
        made = stack_slices([torch.ones(2, 3)] * 2, "jax", None)
        assert isinstance(made, jax.Array)
        assert made.shape == (2, 2, 3)

    def test_of_several_frameworks(self, torch, jax):
        slices = [SLICES[0], torch.ones(2, 3), jax.numpy.ones((2, 3))]
        made = stack_slices(slices, "numpy", None)
        assert made.sum(axis=(1, 2)).tolist() == [0, 6, 6]

    def test_tensorflow(self, tensorflow):
        made = stack_slices(SLICES, "tensorflow", None)
        np.testing.assert_array_equal(made.numpy(), np.stack(SLICES))

    def test_pyclesperanto(self, pyclesperanto):
        made = stack_slices(SLICES, "pyclesperanto", 0)
        np.testing.assert_array_equal(pyclesperanto.pull(made), np.stack(SLICES))

    def test_any_iterable(self):
        assert stack_slices((one for one in SLICES), "numpy").shape == (4, 2, 3)
        assert stack_slices(np.stack(SLICES), "numpy").shape == (4, 2, 3)

    def test_none(self):
        with pytest.raises(ValueError, match="Cannot stack empty list of slices.*numpy.empty"):
            stack_slices([], "numpy", 0)

    @pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
    def test_subclasses_are_stacked_as_the_arrays_that_they_are(self, torch):
        for one in (np.matrix([[1.0, 2.0]]), np.ones((1, 2)).view(np.recarray)):
            made = stack_slices([one, one], "numpy", None)
            assert type(made) is np.ndarray
            np.testing.assert_array_equal(made, np.stack([np.asarray(one)] * 2))
            assert tuple(stack_slices([one, one], "torch", None).shape) == (2, 1, 2)
            mixed = stack_slices([one, torch.ones(1, 2, dtype=torch.float64)], "numpy", None)
            assert (type(mixed), mixed.shape) == (np.ndarray, (2, 1, 2))

    @pytest.mark.parametrize("target", ["numpy", "torch"])
    @pytest.mark.parametrize("mask", [np.ma.nomask, [[True, False]]])
    def test_masks_are_not_lost(self, target, mask, torch):
        masked = np.ma.masked_array([[1.0, 2.0]], mask)
        for slices in ([masked, masked], [np.ones((1, 2)), masked], [torch.ones(1, 2).double(), masked]):
            with pytest.raises(MemoryConversionError, match="a masked array.*filled") as caught:
                stack_slices(slices, target, None)
            assert f"slice {0 if slices[0] is masked else 1}: " in caught.value.reason
            assert (caught.value.source_type, caught.value.target_type) == ("numpy", target)

    @pytest.mark.parametrize("wrong", [np.ones(3), np.ones((1, 2, 3)), 3, None, [[1, 2]]])
    def test_what_has_not_two_axes(self, wrong):
        with pytest.raises(ValueError, match="Slice at index 1 is not a 2D array"):
            stack_slices([SLICES[0], wrong], "numpy", 0)

    @pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3, 2), (1, 1)])
    def test_nothing_is_broadcast(self, shape):
        with pytest.raises(ValueError, match="all input arrays must have the same shape"):
            stack_slices([SLICES[0], np.ones(shape, np.float32)], "numpy", 0)

    def test_nothing_wraps(self, torch):
        mixed = [np.ones((2, 3), np.uint8), np.full((2, 3), 300.5)]
        with pytest.raises(ValueError, match="index 1 has elements of type float64 .* uint8"):
            stack_slices(mixed, "numpy", 0)
        with pytest.raises(ValueError, match="type float64"):
            stack_slices([SLICES[0], torch.ones(2, 3, dtype=torch.float64)], "numpy", 0)

    def test_numbers_that_are_none(self):
        with pytest.raises(ValueError, match="Invalid GPU device ID: -1"):
            stack_slices(SLICES, "torch", -1)
        with pytest.raises(ValueError, match="Invalid memory_type 'bad'"):
            stack_slices(SLICES, "bad", 0)

    def test_a_device_that_is_absent(self, torch, no_gpu):
        with pytest.raises(MemoryConversionError, match="CUDA"):
            stack_slices(SLICES, "torch", 0)

    @given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 4))
    def test_there_and_back(self, count, height, width):
        slices = [np.random.default_rng(i).random((height, width)) for i in range(count)]
        stack = stack_slices(slices, "numpy")
        back = unstack_slices(stack, "numpy")
        for one, other in zip(slices, back, strict=True):
            np.testing.assert_array_equal(one, other)


class TestUnstacking:
    def test_views(self):
        stack = np.stack(SLICES)
        made = unstack_slices(stack, "numpy", 0)
        assert len(made) == 4
        assert all(np.shares_memory(one, stack) for one in made)

    def test_into_another_framework(self, torch):
        made = unstack_slices(np.stack(SLICES), "torch", None, validate_slices=False)
        assert [float(one[0, 0]) for one in made] == [0, 1, 2, 3]
        assert all(isinstance(one, torch.Tensor) for one in made)

    def test_pyclesperanto(self, pyclesperanto):
        made = unstack_slices(np.stack(SLICES), "pyclesperanto", 0)
        assert len(made) == 4
        np.testing.assert_array_equal(pyclesperanto.pull(made[2]), SLICES[2])

    def test_no_slices(self):
        assert unstack_slices(np.ones((0, 2, 3)), "numpy") == []

    @pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2, 3, 4)])
    def test_what_has_not_three_axes(self, shape):
        with pytest.raises(ValueError, match="Array must be 3D, got shape"):
            unstack_slices(np.ones(shape), "numpy", 0)

    def test_what_is_no_array(self):
        with pytest.raises(ValueError, match="Unknown memory type"):
            unstack_slices([[[1]]], "numpy", 0)


class TestHelpers:
    def test_axes(self):
        assert _is_2d(SLICES[0])
        assert not _is_2d(3)
        assert _is_3d(np.ones((1, 1, 1)))
        assert not _is_3d([[[1]]])

    def test_devices(self):
        _enforce_gpu_device_requirements("torch", 0)
        _enforce_gpu_device_requirements("numpy", -1)
        with pytest.raises(ValueError, match="Invalid GPU device ID"):
            _enforce_gpu_device_requirements("torch", -1)

    def test_allocating(self, torch):
        made = _allocate_stack_array("numpy", (4, 2, 3), SLICES[0], 0)
        assert (made.shape, made.dtype) == ((4, 2, 3), np.float32)
        made = _allocate_stack_array("torch", (4, 2, 3), SLICES[0], None)
        assert (tuple(made.shape), made.dtype) == ((4, 2, 3), torch.float32)
        assert _allocate_stack_array("jax", (4, 2, 3), SLICES[0], None) is None
