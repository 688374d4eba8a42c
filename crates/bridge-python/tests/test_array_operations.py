"""The operations and roles that `ArrayLibrary` had in earlier releases."""

from __future__ import annotations

import numpy as np
import pytest

from arraybridge import HOST, AcceleratorDevice, ArrayLibrary, Device, convert
from arraybridge.libraries import (
    AcceleratorDevices,
    ArrayMath,
    CudaLibrary,
    DLPackImport,
    DLPackPayload,
    DLPackProtocolExport,
    HostDevices,
    InPlaceAssignment,
    MutableArrays,
    NumpyArrayApi,
    NumpyBufferSharing,
    NumpyLibrary,
)

HERE = ("numpy", "torch", "jax", "tensorflow", "pyclesperanto")
VALUES = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, 6.0]], np.float32)


@pytest.fixture(params=HERE)
def library(request):
    request.getfixturevalue(request.param)
    return ArrayLibrary.named(request.param)


@pytest.fixture
def made(library):
    return convert(VALUES, library.name, copy=True)


def values(library, array):
    assert library.accepts(array), f"it stays an array of {library.display_name}"
    return np.asarray(library.to_numpy(array))


@pytest.mark.parametrize("name", ["max", "min", "mean", "sum"])
@pytest.mark.parametrize("axis", [0, 1])
def test_reductions_along_an_axis(library, made, name, axis):
    reduced = values(library, getattr(library, name)(made, axis))
    np.testing.assert_allclose(np.squeeze(reduced), getattr(VALUES, name)(axis=axis))


@pytest.mark.parametrize("name", ["max", "min", "mean", "sum"])
def test_reductions_of_all(library, made, name):
    if library.name == "pyclesperanto":
        pytest.skip("pyclesperanto has no arrays without axes")
    for axis in (None, (0, 1)):  # of NumPy it is a number
        np.testing.assert_allclose(getattr(library, name)(made, axis), getattr(VALUES, name)())


def test_the_mean_of_integers_is_a_float(library):
    array = convert(np.array([[1, 2], [4, 8]], np.int32), library.name)
    if library.name == "pyclesperanto":
        pytest.skip("pyclesperanto has no float64")
    np.testing.assert_allclose(values(library, library.mean(array, 0)), [2.5, 5.0])


def test_shapes(library, made):
    np.testing.assert_array_equal(values(library, library.reshape(made, [3, 2])), VALUES.reshape(3, 2))
    assert tuple(library.prepend_axis(made).shape) == (1, 2, 3)
    row = library.reshape(made, (1, 6))
    wide = values(library, library.broadcast_to(row, (2, 6)))
    np.testing.assert_array_equal(wide, np.broadcast_to(VALUES.reshape(1, 6), (2, 6)))


def test_element_types(library, made):
    cast = library.astype(made, "uint8")
    np.testing.assert_array_equal(values(library, cast), VALUES.astype(np.uint8))
    assert library.dtype_name(cast) == "uint8"
    scaled = values(library, library.scale_dtype(made, "uint8"))
    assert (scaled.min(), scaled.max()) == (0, 255)
    ones = library.ones_like(made, dtype="float32")
    np.testing.assert_array_equal(values(library, ones), np.ones((2, 3)))
    ones = library.ones_like(made, shape=(1, 4), dtype=np.uint8)
    np.testing.assert_array_equal(values(library, ones), np.ones((1, 4)))
    assert library.dtype_name(ones) == "uint8"


def test_ones_are_booleans_unless_it_is_said(library, made):
    if library.name == "pyclesperanto":
        pytest.skip("pyclesperanto has no bool")
    assert library.dtype_name(library.ones_like(made)) == "bool"
    both = library.logical_and(library.ones_like(made), made)
    assert values(library, both).all() and library.dtype_name(both) == "bool"


def test_assignment(library, made):
    part = library.reshape(convert(np.zeros(3, np.float32).reshape(1, 3), library.name), (1, 3))
    after = library.assign(made, slice(0, 1), part)
    expected = VALUES.copy()
    expected[0:1] = 0
    np.testing.assert_array_equal(values(library, after), expected)
    in_place = isinstance(library, InPlaceAssignment)
    assert (after is made) == in_place == (library.name in ("numpy", "torch"))


def test_arrays_out_of_numbers(library):
    if not isinstance(library, ArrayMath):
        assert library.name == "pyclesperanto"
        return
    np.testing.assert_allclose(values(library, library.linspace(0, 1, 5, endpoint=True)), np.linspace(0, 1, 5))
    half_open = library.linspace(0, 1, 4, endpoint=False)
    np.testing.assert_allclose(values(library, half_open), np.linspace(0, 1, 4, endpoint=False))
    ones = library.ones((2, 2), "int16")
    assert (values(library, ones) == 1).all() and library.dtype_name(ones) == "int16"
    left, right = library.ones(2, "float32"), library.linspace(1, 3, 3, endpoint=True)
    outer = values(library, library.outer(left, library.astype(right, "float32")))
    np.testing.assert_allclose(outer, np.outer([1, 1], [1, 2, 3]))
    assert float(library.floor(-2.5)) == -3.0


def test_roles():
    def having(role):
        return {one.name for one in ArrayLibrary.all() if isinstance(one, role)}

    assert having(HostDevices) == {"numpy", "torch", "tensorflow", "jax"}
    assert having(AcceleratorDevices) == set(map(str, ("cupy", "torch", "tensorflow", "jax", "pyclesperanto")))
    assert having(CudaLibrary) == {"cupy", "torch"}
    assert having(NumpyArrayApi) == {"numpy", "cupy", "jax"}
    assert having(MutableArrays) == {"numpy", "cupy"}
    assert having(NumpyBufferSharing) == {"numpy", "torch", "tensorflow", "jax"}
    assert having(DLPackImport) == having(DLPackProtocolExport) == having(HostDevices) | {"cupy"}
    for library in ArrayLibrary.all():
        assert isinstance(library, HostDevices) == library.has_host
        assert isinstance(library, AcceleratorDevices) == library.has_accelerators
        assert isinstance(library, DLPackImport) == library.imports_dlpack
        assert library.shares_numpy_buffer_on(HOST) == isinstance(library, NumpyBufferSharing)
        assert not library.shares_numpy_buffer_on(AcceleratorDevice(0))
    assert NumpyLibrary.registered() is ArrayLibrary.named("numpy")


def test_exchange_by_payload(torch, jax):
    source, target = ArrayLibrary.named("torch"), ArrayLibrary.named("jax")
    tensor = torch.ones(64)
    assert source.exports_dlpack_from(HOST) and target.imports_dlpack_from(HOST)
    assert not ArrayLibrary.named("cupy").imports_dlpack_from(HOST)
    payload = source.export_dlpack(tensor)
    assert isinstance(payload, DLPackPayload) and payload.source is tensor
    np.testing.assert_array_equal(np.asarray(target.from_dlpack(payload)), np.ones(64))
    assert source.export_dlpack(3) is None
    assert source.host_address_of(tensor) == tensor.data_ptr()
    array = ArrayLibrary.named("numpy").unrecorded_from_numpy(VALUES, HOST)
    assert array is VALUES and source.unrecorded_to_numpy(tensor).shape == (64,)


def test_a_device_is_current_in_its_scope(library):
    for device in library.available_devices():
        with library.device_scope(device):
            assert isinstance(device, Device)
    with pytest.raises(Exception, match="has no accelerator:9 here"):
        with library.device_scope(AcceleratorDevice(9)):
            pass


def test_no_stream_without_a_gpu(torch, no_gpu):
    assert ArrayLibrary.named("torch").current_device() is None


def test_functions_with_recovery():
    library = ArrayLibrary.named("numpy")
    calls = []

    def work(one):
        """Fails once."""
        calls.append(one)
        if len(calls) == 1:
            raise MemoryError
        return one

    assert library.execution_wrapper(work, False) is work
    wrapped = library.execution_wrapper(work, True)
    assert wrapped.__doc__ == "Fails once." and wrapped(3) == 3 and calls == [3, 3]
    assert ArrayLibrary.cleanup_all_loaded() >= 0
