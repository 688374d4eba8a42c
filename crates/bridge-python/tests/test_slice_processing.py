from __future__ import annotations

import pytest

import numpy as np

from arraybridge import HOST, MemoryConversionError, process_slices

IMAGE = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def test_a_function_on_each_slice():
    made = process_slices(IMAGE, lambda x, a, b=0: x * a + b, (2,), {"b": 1})
    np.testing.assert_array_equal(made, IMAGE * 2 + 1)
    np.testing.assert_array_equal(process_slices(IMAGE, np.negative), -IMAGE)


def test_other_values_come_in_lists():
    made, sums, texts = process_slices(IMAGE, lambda x: (x, x.sum(), "t"), (), {})
    np.testing.assert_array_equal(made, IMAGE)
    assert [float(one) for one in sums] == [6, 22, 38]
    assert texts == ["t"] * 3
    (only,) = process_slices(IMAGE, lambda x: (x,), (), {})
    np.testing.assert_array_equal(only, IMAGE)


def test_shapes_and_types_may_change():
    made = process_slices(IMAGE, lambda x: (x[:1] > 2), (), {})
    assert (made.shape, made.dtype) == ((3, 1, 2), bool)


@pytest.mark.parametrize("place", [{}, {"gpu_id": None}, {"device": HOST}, {"device": None}])
def test_it_stays_where_it_is(place, torch):
    made = process_slices(torch.ones(3, 2, 2), lambda x: x + 1, (), {}, **place)
    assert isinstance(made, torch.Tensor)
    assert made.device.type == "cpu"


def test_other_frameworks(torch, jax):
    made = process_slices(jax.numpy.ones((2, 3, 3)), lambda x: x * 2, (), {})
    assert isinstance(made, jax.Array)
    # What the function makes of another framework becomes the image's.
    made = process_slices(torch.ones(2, 3, 3), lambda x: x.numpy(), (), {})
    assert isinstance(made, torch.Tensor)


def test_pyclesperanto(pyclesperanto):
    made = process_slices(pyclesperanto.push(IMAGE), lambda x: x, (), {})
    np.testing.assert_array_equal(pyclesperanto.pull(made), IMAGE)


def changing(*results):
    left = iter(results)
    return lambda x: next(left)


A = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("results", "error", "text"),
    [
        ([A, (A, 1), A], TypeError, "slice 1 gave a tuple and the first none"),
        ([(A, 1), A, A], TypeError, "slice 1 gave no tuple and the first a tuple"),
        ([(A, 1), (A, 1, 2), A], ValueError, "slice 1 gave 3 values and the first 2"),
        ([(), (), ()], ValueError, "slice 0 gave an empty tuple"),
        ([A, A, [A]], ValueError, "slice 2 gave no array"),
        ([A, None, A], ValueError, "slice 1 gave no array"),
        ([A, A[0], A], ValueError, "slice 1 gave an array of the shape"),
        ([A, A[:1], A], ValueError, "same shape"),
        ([A, A.astype(float), A], ValueError, "elements of type float64"),
    ],
)
def test_what_cannot_be_stacked(results, error, text):
    with pytest.raises(error, match=text):
        process_slices(IMAGE, changing(*results), (), {})


def test_images_that_are_none():
    with pytest.raises(ValueError, match="has no slices"):
        process_slices(IMAGE[:0], lambda x: x, (), {})
    with pytest.raises(ValueError, match="must be 3D"):
        process_slices(IMAGE[0], lambda x: x, (), {})
    with pytest.raises(ValueError, match="Unknown memory type"):
        process_slices([1], lambda x: x, (), {})
    with pytest.raises(ValueError, match="not both"):
        process_slices(IMAGE, lambda x: x, (), {}, gpu_id=0, device=HOST)


def test_errors_of_the_function_come_through():
    with pytest.raises(ZeroDivisionError):
        process_slices(IMAGE, lambda x: 1 // 0, (), {})


def test_masks_are_not_lost():
    masked = np.ma.masked_array(IMAGE, IMAGE > 3)
    with pytest.raises(MemoryConversionError, match="a masked array.*filled"):
        process_slices(masked, lambda x: x)
    with pytest.raises(MemoryConversionError, match="slice 0: a masked array.*filled"):
        process_slices(IMAGE, lambda x: np.ma.masked_array(x, x > 3))
