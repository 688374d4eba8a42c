"""The page on the conversion system: its calls, names and arguments.

What the page leaves undefined is given. Calls for a GPU go to the host where there is none: that is
what the fixture `gpu_id` says.
"""

from __future__ import annotations

import pytest

import numpy as np

from arraybridge import MemoryConversionError, convert_memory, detect_memory_type


@pytest.fixture
def np_data():
    return np.arange(12, dtype=np.float32).reshape(3, 4)


class TestCoreFunctions:
    def test_detect_memory_type(self, np_data, torch):
        assert detect_memory_type(np_data) == "numpy"
        assert detect_memory_type(torch.ones(2)) == "torch"

    def test_detect_memory_type_jax(self, jax):
        assert detect_memory_type(jax.numpy.ones(2)) == "jax"

    def test_detect_memory_type_tensorflow(self, tensorflow):
        assert detect_memory_type(tensorflow.constant([1.0])) == "tensorflow"

    def test_detect_memory_type_pyclesperanto(self, np_data, pyclesperanto):
        assert detect_memory_type(pyclesperanto.push(np_data)) == "pyclesperanto"

    def test_what_is_no_array_is_a_value_error(self):
        with pytest.raises(ValueError, match="list"):
            detect_memory_type([1, 2])

    def test_convert_memory_by_keyword(self, np_data, torch, gpu_id):
        data = np_data
        result = convert_memory(data, source_type="numpy", target_type="torch", gpu_id=gpu_id)
        assert isinstance(result, torch.Tensor)
        np.testing.assert_array_equal(result.cpu().numpy(), data)


class TestStrategies:
    def test_dlpack_between_cupy_and_torch(self, cupy, torch):
        cp = cupy
        cupy_data = cp.random.rand(1000, 1000)
        torch_data = convert_memory(cupy_data, "cupy", "torch", gpu_id=0)
        assert torch_data.data_ptr() == cupy_data.data.ptr

    def test_torch_to_tensorflow(self, torch, tensorflow, gpu_id):
        torch_data = torch.rand(100, 100)
        if gpu_id is not None:
            torch_data = torch_data.cuda()
        tf_data = convert_memory(torch_data, "torch", "tensorflow", gpu_id=gpu_id)
        np.testing.assert_array_equal(tf_data.numpy(), torch_data.cpu().numpy())

    def test_numpy_to_tensorflow(self, np_data, tensorflow):
        tf_data = convert_memory(np_data, "numpy", "tensorflow")
        assert isinstance(tf_data, tensorflow.Tensor)
        np.testing.assert_array_equal(tf_data.numpy(), np_data)

    def test_numpy_to_pyclesperanto(self, np_data, pyclesperanto):
        # Its arrays are always on a device of OpenCL, so the number is of one of these.
        cle_data = convert_memory(np_data, "numpy", "pyclesperanto", gpu_id=0)
        np.testing.assert_array_equal(pyclesperanto.pull(cle_data), np_data)

    def test_numpy_to_jax(self, np_data, jax, gpu_id):
        jax_data = convert_memory(np_data, "numpy", "jax", gpu_id=gpu_id)
        assert isinstance(jax_data, jax.Array)
        np.testing.assert_array_equal(np.asarray(jax_data), np_data)


class TestDevices:
    def test_gpu_selection(self, np_data, cupy):
        data = np_data
        gpu0_data = convert_memory(data, "numpy", "cupy", gpu_id=0)
        assert gpu0_data.device.id == 0
        if cupy.cuda.runtime.getDeviceCount() > 1:
            gpu1_data = convert_memory(data, "numpy", "cupy", gpu_id=1)
            assert gpu1_data.device.id == 1

    def test_cpu_only(self, np_data, torch):
        torch_cpu = convert_memory(np_data, "numpy", "torch", gpu_id=None)
        assert str(torch_cpu.device) == "cpu"

    def test_from_device_to_device(self, np_data, torch, gpu_id):
        data = np_data
        gpu0_data = convert_memory(data, "numpy", "torch", gpu_id=gpu_id)
        other = 1 if torch.cuda.device_count() > 1 else gpu_id
        gpu1_data = convert_memory(gpu0_data, "torch", "torch", gpu_id=other)
        assert isinstance(gpu1_data, torch.Tensor)
        cpu_data = convert_memory(gpu0_data, "torch", "numpy", gpu_id=None)
        np.testing.assert_array_equal(cpu_data, data)


class TestDtypes:
    def test_float32_is_kept(self, torch):
        f32_data = np.array([1, 2, 3], dtype=np.float32)
        torch_data = convert_memory(f32_data, "numpy", "torch")
        assert torch_data.dtype == torch.float32

    def test_int64_is_kept(self, torch):
        i64_data = np.array([1, 2, 3], dtype=np.int64)
        torch_data = convert_memory(i64_data, "numpy", "torch")
        assert torch_data.dtype == torch.int64

    @pytest.mark.parametrize("name", ["float32", "float64", "int32", "int64"])
    def test_the_table_of_torch(self, name, torch):
        data = np.array([1, 2, 3], dtype=name)
        assert convert_memory(data, "numpy", "torch").dtype == getattr(torch, name)

    @pytest.mark.parametrize("name", ["float32", "float64", "int32", "int64"])
    def test_the_table_of_tensorflow(self, name, tensorflow):
        data = np.array([1, 2, 3], dtype=name)
        assert convert_memory(data, "numpy", "tensorflow").dtype == getattr(tensorflow, name)


class TestTips:
    def test_convert_once(self, np_data, torch):
        def process(tensor):
            return tensor.sum()

        for i in range(100):
            torch_data = convert_memory(np_data, "numpy", "torch")
            result = process(torch_data)
        torch_data = convert_memory(np_data, "numpy", "torch")
        for i in range(100):
            result = process(torch_data)
        assert float(result) == float(np_data.sum())

    def test_batch(self, torch, gpu_id):
        arr1, arr2, arr3 = (np.full((2, 2), value, np.float32) for value in (1, 2, 3))
        batch = np.stack([arr1, arr2, arr3])
        gpu_batch = convert_memory(batch, "numpy", "torch", gpu_id=gpu_id)
        assert tuple(gpu_batch.shape) == (3, 2, 2)

    def test_pinned_memory(self, np_data, torch, gpu_id):
        if gpu_id is None:
            pytest.skip("memory is pinned for a GPU")
        pinned_data = torch.from_numpy(np_data).pin_memory()
        gpu_data = pinned_data.cuda()
        assert gpu_data.is_cuda


class TestErrors:
    def test_a_framework_that_is_missing(self, np_data, monkeypatch):
        import importlib.util

        if importlib.util.find_spec("cupy") is not None:
            pytest.skip("CuPy is installed")
        data = np_data
        with pytest.raises(MemoryConversionError) as caught:
            convert_memory(data, "numpy", "cupy")
        assert "not available" in str(caught.value)

    def test_a_wrong_name(self, np_data):
        data = np_data
        try:
            convert_memory(data, "invalid", "numpy")
        except MemoryConversionError as e:
            assert "invalid" in f"Invalid memory type: {e}"
            assert isinstance(e, ValueError)
        else:
            pytest.fail("there is no framework of that name")

    def test_a_gpu_that_is_missing(self, np_data, no_gpu):
        data = np_data
        fell_back = False
        try:
            convert_memory(data, "numpy", "cupy", gpu_id=0)
        except MemoryConversionError as e:
            if "CUDA" in str(e):
                fell_back = True
                result = convert_memory(data, "numpy", "numpy")
        assert fell_back
        assert result is data

    def test_safe_convert(self, np_data, torch, capsys):
        def safe_convert(data, target_type, gpu_id=0):
            source_type = detect_memory_type(data)
            try:
                return convert_memory(data, source_type, target_type, gpu_id=gpu_id)
            except MemoryConversionError:
                print("GPU conversion failed, using CPU")
                return convert_memory(data, source_type, target_type, gpu_id=None)

        result = safe_convert(np_data, "torch")
        assert isinstance(result, torch.Tensor)
        if not torch.cuda.is_available():
            assert "using CPU" in capsys.readouterr().out
