from __future__ import annotations

import warnings

import pytest

import numpy as np

import arraybridge
from arraybridge import (
    HOST,
    AcceleratorDevice,
    ConversionCounters,
    MemoryConversionError,
    MemoryType,
    convert_memory,
    detect_memory_type,
    set_device_fallback,
    stack_slices,
)

SEVEN = np.arange(6, dtype=np.float32).reshape(2, 3)


class TestDetecting:
    def test_unknown_types_are_named(self):
        for value in ([1], None, 3, "torch", {}, object(), np.float64(1), np.dtype("f4"), np):
            with pytest.raises(ValueError, match="Unknown memory type for") as caught:
                detect_memory_type(value)
            assert type(value).__name__ in str(caught.value)
            assert type(value).__module__ in str(caught.value)

    def test_subclasses(self, torch):
        class Mine(np.ndarray):
            pass

        assert detect_memory_type(np.ones(2).view(Mine)) == "numpy"
        assert detect_memory_type(np.ma.masked_array([1.0])) == "numpy"
        assert detect_memory_type(torch.nn.Parameter(torch.ones(1))) == "torch"

    def test_a_class_that_claims_to_be_of_a_framework(self):
        for module, name in (
            ("torch", "torch"),
            ("cupy._core.core", "cupy"),
            ("jaxlib.xla_extension", "jax"),
            ("pyclesperanto_prototype._tier0._pycl", "pyclesperanto"),
        ):
            kind = type("Pretender", (), {"__module__": module})
            assert detect_memory_type(kind()) == name

    def test_what_is_of_a_framework_and_no_array(self, torch):
        for value in (torch.device("cpu"), torch.float32, torch.Size([1]), torch.Tensor):
            with pytest.raises(ValueError, match="Unknown memory type"):
                detect_memory_type(value)


class TestConverting:
    @pytest.mark.parametrize("source", ["numpy", MemoryType.NUMPY])
    @pytest.mark.parametrize("target", ["torch", MemoryType.TORCH])
    def test_names_and_members_at_both_ends(self, source, target, torch):
        result = convert_memory(SEVEN, source, target, gpu_id=None)
        assert isinstance(result, torch.Tensor)
        np.testing.assert_array_equal(result.numpy(), SEVEN)

    def test_there_and_back(self, torch):
        tensor = convert_memory(SEVEN, "numpy", "torch", None)
        np.testing.assert_array_equal(convert_memory(tensor, "torch", "numpy", None), SEVEN)

    def test_the_same_framework_is_the_same_object(self, torch):
        tensor = torch.ones(2)
        assert convert_memory(SEVEN, "numpy", "numpy") is SEVEN
        assert convert_memory(tensor, "torch", "torch") is tensor
        assert convert_memory(tensor, "torch", "torch", None) is tensor

    def test_numpy_takes_every_number(self):
        assert convert_memory(SEVEN, "numpy", "numpy", gpu_id=0) is SEVEN
        assert convert_memory(SEVEN, "numpy", "numpy", device="cuda:3") is SEVEN

    @pytest.mark.parametrize("device", [HOST, None, "cpu", "host"])
    def test_devices_as_values(self, device, torch):
        assert convert_memory(SEVEN, "numpy", "torch", device=device).device.type == "cpu"
        assert convert_memory(SEVEN, "numpy", "torch", device).device.type == "cpu"

    def test_read_only_stays_read_only(self, torch):
        frozen = SEVEN.copy()
        frozen.flags.writeable = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tensor = convert_memory(frozen, "numpy", "torch", gpu_id=None)
        tensor += 1
        np.testing.assert_array_equal(frozen, SEVEN)
        assert not frozen.flags.writeable

    def test_jax(self, jax):
        result = convert_memory(SEVEN, "numpy", "jax", gpu_id=None)
        back = convert_memory(result, "jax", "numpy")
        np.testing.assert_array_equal(back, SEVEN)

    def test_pyclesperanto_stays_on_its_device(self, pyclesperanto):
        for keywords in ({}, {"gpu_id": None}, {"device": HOST}):
            result = convert_memory(SEVEN, "numpy", "pyclesperanto", **keywords)
            assert detect_memory_type(result) == "pyclesperanto"
            np.testing.assert_array_equal(
                convert_memory(result, "pyclesperanto", "numpy"), SEVEN
            )


class TestRefusing:
    @pytest.mark.parametrize("wrong", ["invalid", "Numpy", "", None, 3, []])
    def test_names_that_are_none(self, wrong):
        for ends in ((wrong, "numpy"), ("numpy", wrong)):
            with pytest.raises(MemoryConversionError, match="not the name of a framework"):
                convert_memory(SEVEN, *ends)
            with pytest.raises(ValueError, match="numpy, pyclesperanto, tensorflow, torch"):
                convert_memory(SEVEN, *ends)

    def test_an_array_of_another_framework(self, torch):
        with pytest.raises(MemoryConversionError, match="an array of numpy"):
            convert_memory(SEVEN, "torch", "numpy")
        with pytest.raises(ValueError, match="an array of torch"):
            convert_memory(torch.ones(1), "numpy", "numpy")

    @pytest.mark.parametrize("wrong", [[1.0], None, 3, "x", object()])
    def test_what_is_no_array(self, wrong):
        with pytest.raises(MemoryConversionError):
            convert_memory(wrong, "numpy", "torch")

    @pytest.mark.parametrize("wrong", [-1, True, 1.5, "", object()])
    def test_what_is_no_device(self, wrong, torch):
        with pytest.raises(MemoryConversionError) as caught:
            convert_memory(SEVEN, "numpy", "torch", gpu_id=wrong)
        assert caught.value.method == "device_selection"
        assert isinstance(caught.value, ValueError)

    def test_two_devices(self, torch):
        with pytest.raises(ValueError, match="different devices"):
            convert_memory(SEVEN, "numpy", "torch", gpu_id=0, device=HOST)
        assert convert_memory(SEVEN, "numpy", "torch", gpu_id=None, device="cpu").is_cpu

    def test_a_device_that_is_absent(self, torch, no_gpu):
        for keywords in ({"gpu_id": 0}, {"device": AcceleratorDevice(0)}, {"device": "cuda:0"}):
            with pytest.raises(MemoryConversionError) as caught:
                convert_memory(SEVEN, "numpy", "torch", **keywords)
            text = str(caught.value)
            assert "torch" in text.lower()
            assert "CUDA" in text

    def test_a_device_that_is_absent_of_jax(self, jax, no_gpu):
        with pytest.raises(MemoryConversionError):
            convert_memory(SEVEN, "numpy", "jax", gpu_id=0)


class TestFallingBack:
    @pytest.fixture(autouse=True)
    def as_before(self):
        yield
        set_device_fallback(None)

    def test_the_host_instead(self, torch, no_gpu):
        set_device_fallback(True)
        with pytest.warns(RuntimeWarning, match="goes to the host instead") as caught:
            result = convert_memory(SEVEN, "numpy", "torch", gpu_id=0)
        assert result.is_cpu
        assert caught[0].filename == __file__

    def test_the_warning_is_about_the_callers_line(self, torch, no_gpu):
        """However deep in the package it arises: of a method, of a decorator, while somebody observes."""
        set_device_fallback(True)

        @arraybridge.torch(gpu_id=0)
        def doubled(array):
            return array * 2

        calls = [
            lambda: MemoryType.NUMPY.converter.to_torch(SEVEN, gpu_id=0),
            lambda: stack_slices([SEVEN, SEVEN], "torch", gpu_id=0),
            lambda: doubled(SEVEN),
        ]
        for call in calls:
            for observed in (False, True):
                with pytest.warns(RuntimeWarning, match="goes to the host instead") as caught:
                    if observed:
                        with ConversionCounters().installed():
                            call()
                    else:
                        call()
                assert [warning.filename for warning in caught] == [__file__]

    def test_by_the_environment(self, torch, no_gpu, monkeypatch):
        monkeypatch.setenv("ARRAYBRIDGE_DEVICE_FALLBACK", "host")
        with pytest.warns(RuntimeWarning):
            assert convert_memory(SEVEN, "numpy", "torch", gpu_id=0).is_cpu
        set_device_fallback(False)
        with pytest.raises(MemoryConversionError):
            convert_memory(SEVEN, "numpy", "torch", gpu_id=0)

    def test_never_for_another_fault(self, torch):
        set_device_fallback(True)
        with pytest.raises(MemoryConversionError):
            convert_memory(np.array(["a"]), "numpy", "torch", gpu_id=None)


def test_the_package_has_the_same_functions():
    assert arraybridge.convert_memory is convert_memory
    assert arraybridge.detect_memory_type is detect_memory_type


@pytest.mark.parametrize("wrong", ["x", "host", 1, 0.0])
def test_a_fallback_is_a_bool_or_nothing(wrong):
    with pytest.raises(TypeError, match=f"enabled is True, False or None.*not {wrong!r}"):
        set_device_fallback(wrong)
