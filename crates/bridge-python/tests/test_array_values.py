"""Geometry, payloads and the protocol of arrays."""

from __future__ import annotations

import pytest

import numpy as np

from arraybridge import Array, ArrayGeometry, ArrayPayload


class Image(ArrayPayload):
    def __init__(self, data, name):
        self.data, self.name = data, name

    def array_payload_data(self):
        return self.data

    def with_data(self, data):
        return Image(data, self.name)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (np.ones((2, 3)), (2, 3)),
        (np.float32(1), ()),
        (3, ()),
        ([1, 2], (2,)),
        ([[1, 2, 3], [4, 5, 6]], (2, 3)),
        ([], (0,)),
        ([np.ones((4, 5))] * 3, (3, 4, 5)),
    ],
)
def test_shapes(value, shape):
    geometry = ArrayGeometry.from_value(value)
    assert geometry == ArrayGeometry(shape)
    assert geometry.ndim == len(shape)


@pytest.mark.parametrize("value", ["text", None, {}, [[1], [1, 2]], object(), np.ndarray])
def test_no_shape(value):
    assert ArrayGeometry.from_value(value) is None
    with pytest.raises(ValueError, match="^Thing of type"):
        ArrayGeometry.require_from_value(value, value_name="Thing")


def test_shapes_of_frameworks(torch, jax):
    assert ArrayGeometry.from_value(torch.ones(2, 3)) == ArrayGeometry((2, 3))
    assert ArrayGeometry.from_value(jax.numpy.ones((2, 3))) == ArrayGeometry((2, 3))


def test_a_payload_is_mapped():
    image = Image(np.ones(2), "left")
    doubled = image.map_array_payload(lambda data: data * 2)
    assert doubled.name == "left"
    assert doubled.data.tolist() == [2, 2]
    assert image.data.tolist() == [1, 1]


def test_a_payload_must_say_how():
    with pytest.raises(TypeError):
        ArrayPayload()


def test_the_protocol(torch):
    assert isinstance(np.ones(1), Array)
    assert isinstance(torch.ones(1), Array)
    assert not isinstance([1], Array)
