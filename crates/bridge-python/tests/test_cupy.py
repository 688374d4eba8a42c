"""CuPy, on a double of it: a module whose arrays say that they lie on a GPU (`cupy_double.py`).

Each program has a process of its own, which sees no real GPU. Those of `TestOnADriver` run on the
simulated CUDA driver, where `cargo build -p simulated-cuda` has built it; there the memory of arrays is
nothing that the host could read, and work runs late.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import simulated_driver

HERE = Path(__file__).parent
START = """
import sys
import numpy as np
import cupy_double as double
import arraybridge
from arraybridge import MemoryConversionError, convert, convert_memory, plan
def raises(kind, words, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        assert words in str(error), str(error)
        return error
    raise AssertionError(f"no {kind}")
"""


def run(program: str, **environment: str) -> str:
    """What a program prints, which has a double of CuPy at hand."""
    done = subprocess.run(
        [sys.executable, "-c", START + program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(HERE), **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


class TestWhatIsThere:
    def test_arrays_are_told_by_their_type(self):
        run("""
cupy = double.install()
array = cupy.array([1.0, 2.0])
assert arraybridge.detect_memory_type(array) == "cupy"
assert arraybridge.ArrayLibrary.of(array).device_of(array).label == "accelerator:0"
class Mine(cupy.ndarray): pass
assert arraybridge.detect_memory_type(Mine(array._seen, 0, None)) == "cupy"
raises(ValueError, "Unknown memory type", arraybridge.detect_memory_type, cupy.cuda.Stream())
""")

    def test_a_type_is_enough_and_nothing_is_imported(self):
        run("""
stranger = type("ndarray", (), {"__module__": "cupy"})()
assert arraybridge.detect_memory_type(stranger) == "cupy"
assert "cupy" not in sys.modules
""")

    @pytest.mark.parametrize(
        ("devices", "words"),
        [
            ("0", "CUDA finds no GPU"),
            ("double.CUDARuntimeError(35, 'driver too old')", "CUDARuntimeError: driver too old"),
        ],
        ids=["none", "no driver"],
    )
    def test_why_it_cannot_run(self, devices, words):
        run(f"""
cupy = double.install({devices})
[row] = [row for row in arraybridge.backends() if row["name"] == "cupy"]
assert row["devices"] == [] and {words!r} in row["reason"], row
assert "NVIDIA GPU" in row["remedy"]
raises(MemoryConversionError, {words!r}, convert, np.ones(3), "cupy")
assert arraybridge.ArrayLibrary.named("cupy").accelerator_devices() == ()
""")

    def test_its_devices(self):
        run("""
cupy = double.install(2)
[row] = [row for row in arraybridge.backends() if row["name"] == "cupy"]
assert (row["devices"], row["reason"]) == (["cuda:0", "cuda:1"], None), row
with cupy.cuda.Device(1):
    array = cupy.array([1, 2])
assert arraybridge.ArrayLibrary.of(array).device_of(array).label == "accelerator:1"
assert convert(array, "tensor").device == "cuda:1"
raises(MemoryConversionError, "no CUDA device cuda:2", convert, array, "cupy", device="cuda:2")
raises(MemoryConversionError, "cpu", convert, array, "cupy", device="cpu")
""")


class TestRescaling:
    def test_what_cupy_computes_reserves_its_result_on_its_device(self):
        run("""
from arraybridge import dtype_scaling, rescale
from arraybridge.memory import Budget, Never
cupy = double.install(2)
with cupy.cuda.Device(1):
    array = cupy.array([1.0, 300.0])
computed = []
dtype_scaling._computed = lambda xp, values, *asked: computed.append(budget.reserved) or values
budget, host = Budget("gpu", 8, device="cuda:1"), Budget("host", 1, device="cpu")
assert rescale(array, "float32", budget=budget) is array
assert (computed, budget.peak, budget.reserved) == ([8], 8, 0)
assert rescale(array, "float32", budget=host) is array and host.peak == 0
budget.capacity = 7
raises(Never, "gpu", rescale, array, "float32", budget=budget)
with budget:
    raises(Never, "gpu", rescale, array, "float32")
assert len(computed) == 2, computed
""")


class TestExchange:
    def test_a_tensor_of_an_array_and_back(self):
        run("""
cupy = double.install()
array = cupy.array(np.arange(6.0).reshape(2, 3))
assert convert(array, "cupy") is array
tensor = convert(array.T, "tensor")
assert (tensor.device, tensor.dtype, tensor.shape, tensor.strides) == ("cuda:0", "float64", (3, 2), (1, 3))
assert double.exports == [{"stream": None, "max_version": (1, 3)}]
back = cupy.from_dlpack(tensor)
assert back.data.ptr == array.data.ptr and back.strides == array.T.strides
again = convert(tensor, "cupy")
assert again.data.ptr == array.data.ptr and again.get().tolist() == array.T.get().tolist()
report = plan(array[::-1], "cupy")
assert report.zero_copy
""")

    def test_a_cupy_that_knows_no_versions(self):
        run("""
cupy = double.install()
double.knows_versions = False
array = cupy.array([1.0, 2.0])
tensor = convert(array, "tensor")
assert double.exports == [{"stream": None}]
assert convert(tensor, "cupy").get().tolist() == [1, 2]
""")

    def test_an_array_lives_as_long_as_its_tensors_and_no_longer(self):
        run("""
cupy = double.install()
pool = cupy.get_default_memory_pool()
tensor = convert(cupy.array(np.ones(64)), "tensor")
back = convert(tensor, "cupy")
assert pool.used_bytes() == 512
del tensor
assert pool.used_bytes() == 512
del back
assert pool.used_bytes() == 0
unread = convert(cupy.array(np.ones(64)), "tensor").__dlpack__(max_version=(1, 0))
assert pool.used_bytes() == 512
del unread
assert pool.used_bytes() == 0
""")

    def test_memory_of_the_host_never_gets_to_from_dlpack(self):
        run("""
cupy = double.install()
array = np.arange(3.0)
raises(TypeError, "cannot be directly imported", cupy.from_dlpack, array)
for call in (lambda: convert(array, "cupy"), lambda: convert_memory(array, "numpy", "cupy", gpu_id=0)):
    error = raises(MemoryConversionError, "no NVIDIA driver", call)
    assert "install" in error.reason, error.reason
raises(MemoryConversionError, "cpu", convert, array, "cupy", device="cpu")
raises(MemoryConversionError, "forbidden", convert, array, "cupy", copy=False)
assert double.imports == []
""")

    def test_a_failed_conversion_leaves_the_array_and_nothing_else(self):
        run("""
cupy = double.install()
pool = cupy.get_default_memory_pool()
array = cupy.array([1.0, 2.0])
for _ in range(10):
    raises(MemoryConversionError, "no NVIDIA driver", convert, array, "numpy")
assert array.get().tolist() == [1, 2]
assert sys.getrefcount(array._seen) == 2 and pool.used_bytes() == 16
""")

    def test_elements_that_it_lacks(self):
        pytest.importorskip("ml_dtypes")
        run("""
import ml_dtypes
cupy = double.install()
array = np.ones(3, ml_dtypes.bfloat16)
raises(MemoryConversionError, "float32", convert, array, "cupy")
""")

    def test_streams_are_those_of_the_protocol(self):
        run("""
cupy = double.install()
array = cupy.array([1.0, 2.0])
stream = cupy.cuda.Stream(non_blocking=True).use()
tensor = convert(array, "tensor")
# Nobody named a stream: CuPy makes the legacy default stream, whose number is 1, wait for its own.
assert double.waits == [(1, stream.ptr)], double.waits
# So the tensor is ready there, and in any stream where the consumer orders for itself.
for number in (None, 1, -1):
    tensor.__dlpack__(stream=number, max_version=(1, 0))
raises(BufferError, "0 could mean either default stream", tensor.__dlpack__, stream=0, max_version=(1, 0))
# For another stream the driver is needed, and here is none: nothing is handed over unordered.
raises(BufferError, "driver", cupy.from_dlpack, tensor)
raises(MemoryConversionError, "driver", convert, tensor, "cupy")
assert {asked["stream"] for asked in double.imports} == {stream.ptr}
cupy.cuda.Stream(null=True).use()
assert convert(tensor, "cupy").get().tolist() == [1, 2]
""")

    def test_managed_memory_is_waited_for_before_the_host_reads_it(self):
        run("""
cupy = double.install()
double.managed = True
tensor = convert(cupy.array([1.0, 2.0]), "tensor")
assert tensor.device.startswith("cuda_managed:0"), tensor.device
raises(MemoryConversionError, "ready on Stream(1) only", convert, tensor, "numpy")
""")


class TestMemory:
    def test_pools_of_all_devices_are_emptied_and_counted(self):
        run("""
cupy = double.install(2)
pool = cupy.get_default_memory_pool()
def fill():
    for index, size in ((0, 1000), (1, 5000)):
        with cupy.cuda.Device(index):
            cupy.empty(size, "u1")
def held():
    found = []
    for index in range(2):
        with cupy.cuda.Device(index):
            found.append(pool.total_bytes())
    return found
kept = cupy.empty(10, "u1")
fill()
assert held() == [1010, 5000]
released = arraybridge.cleanup_all_gpu_frameworks()
assert released.by_framework["cupy"] == 6000, released.by_framework
assert held() == [10, 0] and cupy.get_default_pinned_memory_pool().frees == 1
fill()
assert arraybridge.gpu_cleanup.cleanup_cupy_gpu(1).by_framework["cupy"] == 5000
assert held() == [1010, 0] and cupy.cuda.runtime.getDevice() == 0
""")

    def test_a_lack_of_memory_is_told_by_its_type_and_recovered_from(self):
        run("""
cupy = double.install()
from arraybridge.oom_recovery import _is_oom_error, is_out_of_memory
from arraybridge import split_on_oom, with_oom_recovery
pool = cupy.get_default_memory_pool()
assert is_out_of_memory(cupy.cuda.memory.OutOfMemoryError("x"))
assert _is_oom_error(cupy.cuda.runtime.CUDARuntimeError(2, "x"), "cupy")
assert not _is_oom_error(cupy.cuda.runtime.CUDARuntimeError(700, "out of memory"), "cupy")
pool.set_limit(1000)
cupy.empty(600, "u1")   # freed, and kept by the pool
raises(MemoryError, "Out of memory allocating 700 bytes", cupy.empty, 700, "u1")
for recover in (
    lambda call: with_oom_recovery(call),
    lambda call: with_oom_recovery(call, "cupy"),
    lambda call: arraybridge.decorators.cupy(lambda _: call())(cupy.empty(10, "u1")),
):
    pool.free_all_blocks()
    cupy.empty(600, "u1")
    made = recover(lambda: cupy.empty(700, "u1"))
    assert made.nbytes == 700
    del made
pool.free_all_blocks()
calls = []
def function():
    calls.append(1)
    return cupy.empty(2000, "u1")
raises(MemoryError, "2,000 bytes", with_oom_recovery, function, "cupy", 3)
assert len(calls) == 4
sizes = split_on_oom(lambda batch: cupy.empty(len(batch) * 300, "u1").nbytes, list(range(8)))
assert sizes == [600] * 4, sizes
""")


class TestOnADriver:
    """The whole way, on memory that only the driver reaches."""

    @staticmethod
    def run(program: str, folder: Path, configuration: str = "devices=2 seed=5") -> None:
        environment = simulated_driver.environment(folder, configuration)
        start = f"cupy = double.install(2, driver={str(folder / 'libcuda.so')!r})\n"
        run(start + program + simulated_driver.VIOLATIONS, **environment)

    def test_numpy_to_cupy_and_back(self, tmp_path):
        self.run(
            """
from arraybridge import convert_reported
from frameworks import WIDE
for dtype in WIDE:
    values = (np.arange(12) % 5).astype(dtype).reshape(3, 4)
    for view in (values, values.T, values[::-1], values[:, 1::2], values[:0], values[1, 1]):
        view = np.asarray(view)
        array, report = convert_reported(view, "cupy")
        assert type(array) is cupy.ndarray and array.dtype == dtype and array.shape == view.shape
        assert "upload" in str(report.steps) or not view.size, report.steps
        np.testing.assert_array_equal(array.get(), view)
        back = convert(array, "numpy")
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, view)
for index in (0, 1):
    array = convert_memory(np.arange(3.0), "numpy", "cupy", gpu_id=index)
    assert array.device.id == index and convert_memory(array, "cupy", "numpy").tolist() == [0, 1, 2]
    assert convert_memory(array, "cupy", "cupy", gpu_id=1 - index).device.id == 1 - index
assert convert_memory(np.arange(3.0), "numpy", "cupy").device.id == 0
""",
            tmp_path,
        )

    def test_a_stream_of_cupys_own_waits_and_is_waited_for(self, tmp_path):
        self.run(
            """
for size in (10, 300_000):
    for _ in range(3):
        values = np.arange(size, dtype="f4")
        cupy.cuda.Stream(non_blocking=True).use()
        array = convert(values, "cupy")
        np.testing.assert_array_equal(array.get(), values)
        cupy.cuda.Stream(non_blocking=True).use()
        written = cupy.array(values + 1)   # late, in that stream
        np.testing.assert_array_equal(convert(written, "numpy"), values + 1)
        del array, written
""",
            tmp_path,
        )

    def test_the_backend_of_rust_has_arrays_there_too(self, tmp_path):
        self.run(
            """
tensor = convert(np.arange(4.0), "cuda")
assert (tensor.backend, tensor.device) == ("cuda", "cuda:0")
array = convert(tensor, "cupy")
assert array.get().tolist() == [0, 1, 2, 3]
assert convert(array, "cuda").device == "cuda:0"
assert convert(array, "ndarray").device == "cpu"
""",
            tmp_path,
        )

    def test_a_device_without_room_is_a_lack_of_memory(self, tmp_path):
        self.run(
            """
error = raises(MemoryError, "cuda:0", convert, np.zeros(1 << 22), "cupy")
assert convert(np.zeros(8), "cupy").nbytes == 64
""",
            tmp_path,
            "devices=2 memory=1048576",
        )

    def test_memory_of_our_own_is_kept_until_a_librarys_work_on_it_is_done(self, tmp_path):
        self.run(
            """
values = np.arange(50_000, dtype="f4")
for take in (
    lambda tensor: cupy.from_dlpack(tensor),
    lambda tensor: convert(tensor, "cupy"),
    lambda tensor: convert(np.zeros_like(values), "cupy"),
):
    for _ in range(5):
        tensor = convert(np.zeros_like(values), "cuda")
        stream = cupy.cuda.Stream(non_blocking=True).use()
        array = take(tensor)
        double._blocks.write(0, array.data.ptr, values, stream.ptr)   # nobody waits for it
        del tensor, array
        other = convert(np.zeros_like(values), "cuda")   # where the other was
        assert not convert(other, "numpy").any()
        del other
""",
            tmp_path,
        )

    def test_nobody_waits_for_memory_of_a_library(self, tmp_path):
        self.run(
            """
import ctypes
cuda = ctypes.CDLL("libcuda.so")
cuda.sim_report.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
def synchronized():
    text = ctypes.create_string_buffer(10000)
    cuda.sim_report(b"counters", text, 10000)
    counters = dict(one.split("=") for one in text.value.decode().split())
    return int(counters["synchronizations"])
array = cupy.array(np.arange(100.0))
tensor = convert(array, "tensor")
before = synchronized()
for _ in range(5):
    cupy.from_dlpack(tensor)
assert synchronized() == before, (before, synchronized())
own = convert(np.arange(100.0), "cuda")
before = synchronized()
for _ in range(5):
    cupy.from_dlpack(own)
assert synchronized() > before
""",
            tmp_path,
        )
