"""What the pages on advanced topics and on the conversion system show with CuPy: the same calls, names and arguments as in
`test_seed_000.py` and `test_seed_001.py`, which run them on a GPU, on the double of CuPy. The page on the memory manager has
none of it.

Where PyTorch takes part, it is made to claim the GPUs that the double claims; it looks at no element then.
"""

from __future__ import annotations

from pathlib import Path

import test_cupy

#: A PyTorch that has two GPUs, as far as arraybridge asks it.
TORCH = """
import types
import torch
ordered = []
torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 2
torch.cuda.ExternalStream = lambda pointer, device: (pointer, device)
torch.cuda.current_stream = lambda device: types.SimpleNamespace(wait_stream=ordered.append)
torch.cuda.synchronize = lambda: ordered.append("all")
"""


def run(program: str) -> str:
    return test_cupy.run("double.install()\n" + program)


def on_a_driver(program: str, folder: Path) -> None:
    test_cupy.TestOnADriver.run(program, folder)


class TestAdvancedTopics:
    def test_zero_copy(self, torch):
        run(
            TORCH
            + """
import ctypes
import cupy as cp
from arraybridge import convert_memory

# Zero-copy via DLPack (fast!)
cupy_data = cp.random.rand(1000, 1000)
torch_data = convert_memory(cupy_data, 'cupy', 'torch', gpu_id=0)

# Verify zero-copy
cupy_data[0, 0] = 999

assert type(torch_data) is torch.Tensor and str(torch_data.device) == "cuda:0"
assert torch_data.shape == (1000, 1000) and torch_data.dtype == torch.float64
assert torch_data.data_ptr() == cupy_data.data.ptr   # so that it prints 999 there
assert cupy_data.get()[0, 0] == 999
assert ordered == [(1, 0)], ordered   # PyTorch's stream waits for CuPy's
cupy_data[0, 0] = 7
address = torch_data.data_ptr()
del cupy_data
assert cp.get_default_memory_pool().used_bytes() == 8_000_000   # the tensor keeps it
assert ctypes.c_double.from_address(address).value == 7
"""
        )

    def test_timing(self, torch, tmp_path):
        on_a_driver(
            TORCH
            + """
import time
from arraybridge import convert_memory

def time_conversion(data, source, target, gpu_id=0):
    start = time.time()
    result = convert_memory(data, source, target, gpu_id=gpu_id)

    # Synchronize GPU if needed
    if target in ['torch', 'cupy']:
        if target == 'torch':
            import torch
            torch.cuda.synchronize()
        else:
            import cupy as cp
            cp.cuda.Stream.null.synchronize()

    elapsed = time.time() - start
    print(f"{source} → {target}: {elapsed*1000:.2f} ms")
    return result

for target in ('cupy', 'torch'):
    result = time_conversion(np.arange(6.0), 'numpy', target)
    again = time_conversion(cupy.array(np.arange(6.0)), 'cupy', target)
    for one in (result, again):
        assert arraybridge.detect_memory_type(one) == target and tuple(one.shape) == (6,)
        assert arraybridge.ArrayLibrary.of(one).device_of(one).label == 'accelerator:0'
        if target == 'cupy':   # PyTorch would ask the driver for its stream
            assert convert_memory(one, 'cupy', 'numpy', gpu_id=None).tolist() == [0, 1, 2, 3, 4, 5]
""",
            tmp_path,
        )

    def test_memory_profiling(self):
        printed = run("""
import cupy as cp

def profile_cupy_memory(func):
    mempool = cp.get_default_memory_pool()
    mempool.free_all_blocks()

    result = func()

    used = mempool.used_bytes() / 1e9
    total = mempool.total_bytes() / 1e9
    print(f"CuPy memory: {used:.2f} GB used, {total:.2f} GB total")

    return result

def func():
    kept = convert(cp.empty(20_000_000, 'u1'), 'tensor')
    convert(cp.empty(30_000_000, 'u1'), 'tensor')
    return kept

assert profile_cupy_memory(func).shape == (20_000_000,)
""")
        assert printed == "CuPy memory: 0.02 GB used, 0.05 GB total\n"

    def test_framework_fallback_chain(self, tmp_path):
        on_a_driver(
            """
from arraybridge import convert_memory, detect_memory_type

def try_frameworks(data, operation, frameworks=['cupy', 'torch', 'numpy']):
    errors = []

    for framework in frameworks:
        try:
            source_type = detect_memory_type(data)
            converted = convert_memory(
                data, source_type, framework, gpu_id=0
            )

            result = operation(converted)

            return convert_memory(result, framework, source_type)

        except Exception as e:
            errors.append((framework, str(e)))
            continue

    raise RuntimeError(f"All frameworks failed: {errors}")

data = np.arange(6.0).reshape(2, 3)
tried = []
result = try_frameworks(data, lambda x: tried.append(detect_memory_type(x)) or x @ x.T)
assert type(result) is np.ndarray and result.tolist() == (data @ data.T).tolist()
assert tried == ['cupy'], tried
""",
            tmp_path,
        )


class TestConversionSystem:
    def test_detect_memory_type(self):
        run("""
from arraybridge import detect_memory_type
array = sys.modules['cupy'].array([1.0])
mem_type = detect_memory_type(array)
assert mem_type == 'cupy'
""")

    def test_dlpack(self, torch):
        run(
            TORCH
            + """
import cupy as cp
from arraybridge import convert_memory

# Create CuPy array on GPU
cupy_data = cp.random.rand(1000, 1000)

# Zero-copy conversion to PyTorch
torch_data = convert_memory(cupy_data, 'cupy', 'torch', gpu_id=0)

# Same memory location - zero copy!
assert torch_data.data_ptr() == cupy_data.data.ptr

# Fast: DLPack zero-copy
cupy_data = cp.random.rand(1000, 1000)
torch_data = convert_memory(cupy_data, 'cupy', 'torch')
assert torch_data.data_ptr() == cupy_data.data.ptr
"""
        )

    def test_device_selection(self, tmp_path):
        on_a_driver(
            """
data = np.arange(6.0)
# Move to GPU 0
gpu0_data = convert_memory(data, 'numpy', 'cupy', gpu_id=0)

# Move to GPU 1
gpu1_data = convert_memory(data, 'numpy', 'cupy', gpu_id=1)

assert (gpu0_data.device.id, gpu1_data.device.id) == (0, 1)
for one in (gpu0_data, gpu1_data):
    assert one.get().tolist() == data.tolist()
    # GPU to CPU
    cpu_data = convert_memory(one, 'cupy', 'numpy', gpu_id=None)
    assert cpu_data.tolist() == data.tolist()
# GPU 0 to GPU 1
assert convert_memory(gpu0_data, 'cupy', 'cupy', gpu_id=1).device.id == 1
""",
            tmp_path,
        )

    def test_exact_dtype_mapping(self, tmp_path):
        on_a_driver(
            """
for name in ('float32', 'float64', 'int32', 'int64', 'uint8', 'bool', 'complex64'):
    data = np.array([1, 2, 3], dtype=name)
    assert convert_memory(data, 'numpy', 'cupy').dtype == data.dtype
""",
            tmp_path,
        )

    def test_gpu_not_available(self):
        program = """
from arraybridge import convert_memory, detect_memory_type, MemoryConversionError
data = np.arange(3.0)
try:
    result = convert_memory(data, 'numpy', 'cupy', gpu_id=0)
except MemoryConversionError as e:
    if "CUDA" in str(e):
        print("GPU not available, fallback to CPU")
        result = convert_memory(data, 'numpy', 'numpy')
assert result is data
"""
        assert "fallback to CPU" in test_cupy.run("double.install(0)\n" + program)

    def test_safe_convert(self, tmp_path):
        program = """
from arraybridge import convert_memory, detect_memory_type, MemoryConversionError

def safe_convert(data, target_type, gpu_id=0):
    source_type = detect_memory_type(data)

    try:
        # Try GPU conversion
        return convert_memory(data, source_type, target_type, gpu_id=gpu_id)
    except MemoryConversionError:
        # Fallback to CPU
        print("GPU conversion failed, using CPU")
        return convert_memory(data, source_type, target_type, gpu_id=None)

data = np.arange(3.0)
"""
        on_a_driver(program + "assert safe_convert(data, 'cupy').device.id == 0\n", tmp_path)
        # CuPy has no arrays on the host, so that here the fallback of the page has nothing to fall back to.
        run(program + "raises(MemoryConversionError, 'cpu', safe_convert, data, 'cupy')\n")
