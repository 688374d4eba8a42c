"""On a GPU: CuPy, PyTorch and JAX, each with its own memory, streams and pools.

Where there is none, each test is skipped with the reason. `cargo xtask gpu-bundle` packs this file; it needs
no pytest.
"""

from __future__ import annotations

import gc
import unittest
from typing import Any

import numpy as np
from on_gpu import NARROW, address, is_on, on_gpu, raises, read, uploaded

import arraybridge
from arraybridge import (
    MemoryConversionError,
    convert,
    convert_memory,
    convert_reported,
    detect_memory_type,
    split_on_oom,
    with_oom_recovery,
)

WIDE = (*NARROW, "int8", "int64", "uint64", "float64", "complex128")
SHAPE = (3, 4)


def values(dtype: str, shape: tuple[int, ...] = SHAPE) -> Any:
    return (np.arange(int(np.prod(shape))) % 50).astype(dtype).reshape(shape)


def check_host_and_back(name: str, dtypes: tuple[str, ...]) -> None:
    for dtype in dtypes:
        whole = values(dtype)
        for view in (whole, whole.T, whole[::-1], whole[:, 1::2], whole[:0], np.asarray(whole[1, 1])):
            array = convert(view, name, device="cuda:0")
            assert detect_memory_type(array) == name and is_on(name, array)
            assert tuple(array.shape) == view.shape
            np.testing.assert_array_equal(read(name, array), view)
            back = convert(array, "numpy")
            assert back.dtype == view.dtype
            np.testing.assert_array_equal(back, view)


def check_shared(first: str, second: str, dtypes: tuple[str, ...] = NARROW) -> None:
    """Both ways: the same memory, and the same values, where nothing is copied; values in any case."""
    for source, target in ((first, second), (second, first)):
        for dtype in dtypes:
            array = uploaded(values(dtype), source)
            result, report = convert_reported(array, target)
            assert detect_memory_type(result) == target and is_on(target, result)
            assert report.zero_copy == (address(target, result) == address(source, array)), report
            if dtype != "bool":
                assert report.zero_copy, f"{source} to {target}, {dtype}: {report}"
            np.testing.assert_array_equal(read(target, result), values(dtype))


# The host and a GPU.


@on_gpu("cupy")
def test_numpy_to_cupy_and_back(cupy: Any) -> None:
    check_host_and_back("cupy", WIDE)


@on_gpu("torch")
def test_numpy_to_torch_and_back(torch: Any) -> None:
    check_host_and_back("torch", WIDE)


@on_gpu("jax")
def test_numpy_to_jax_and_back(jax: Any) -> None:
    check_host_and_back("jax", NARROW)


@on_gpu("torch")
def test_large_arrays_arrive_whole(torch: Any) -> None:
    """More than the pinned buffers take at once, from memory that is pinned and that is not."""
    whole = np.arange(40_000_000, dtype="float32")
    for array in (whole, torch.from_numpy(whole).pin_memory()):
        there = convert(array, "torch", device="cuda:0")
        assert bool((there == torch.arange(40_000_000, device="cuda:0", dtype=torch.float32)).all())
        np.testing.assert_array_equal(convert(there, "numpy"), whole)
    turned = whole.reshape(5000, 8000).T
    np.testing.assert_array_equal(read("torch", convert(turned, "torch", device="cuda:0")), turned)


@on_gpu("torch", "jax")
def test_small_floats(torch: Any, jax: Any) -> None:
    import ml_dtypes

    array = np.array([0.5, 1.0, -2.0]).astype(ml_dtypes.bfloat16)
    tensor = uploaded(array, "torch")
    assert tensor.dtype == torch.bfloat16
    there = convert(tensor, "jax")
    assert is_on("jax", there) and there.dtype == array.dtype
    assert convert(there, "numpy").tobytes() == array.tobytes()


@on_gpu("torch")
def test_gpu_id_names_the_gpu_and_none_the_host(torch: Any) -> None:
    there = convert_memory(values("float32"), "numpy", "torch", gpu_id=0)
    assert is_on("torch", there)
    assert str(convert_memory(there, "torch", "torch", gpu_id=None).device) == "cpu"
    # Left out, the accelerator where there is one.
    assert is_on("torch", convert_memory(values("float32"), "numpy", "torch"))
    for name in ("torch", "cuda"):
        raises(MemoryConversionError, "99", convert, values("float32"), name, device="cuda:99")


@on_gpu("cupy")
def test_cupy_has_no_host(cupy: Any) -> None:
    raises(MemoryConversionError, "cpu", convert, values("float32"), "cupy", device="cpu")
    raises(MemoryConversionError, "forbidden", convert, values("float32"), "cupy", copy=False)


# Each to each.


@on_gpu("cupy", "torch")
def test_cupy_and_torch_share_memory(cupy: Any, torch: Any) -> None:
    check_shared("cupy", "torch", (*NARROW, "float64", "int64"))
    array = cupy.zeros(1000, "f4")
    tensor = convert(array, "torch")
    tensor += 1
    torch.cuda.synchronize()
    assert array.get().tolist() == [1] * 1000, "what one writes the other reads"
    turned = convert(array.reshape(10, 100).T, "torch")
    assert turned.stride() == (1, 100) and turned.data_ptr() == array.data.ptr


@on_gpu("cupy", "jax")
def test_cupy_and_jax_share_memory(cupy: Any, jax: Any) -> None:
    check_shared("cupy", "jax")


@on_gpu("torch", "jax")
def test_torch_and_jax_share_memory(torch: Any, jax: Any) -> None:
    check_shared("torch", "jax")


@on_gpu("cupy", "torch", "jax")
def test_the_backend_of_rust_shares_with_all(cupy: Any, torch: Any, jax: Any) -> None:
    for name in ("cupy", "torch", "jax"):
        array = uploaded(values("float32", (64, 4)), name)
        tensor, report = convert_reported(array, "cuda")
        assert (tensor.backend, tensor.device) == ("cuda", "cuda:0") and report.zero_copy, report
        back, report = convert_reported(tensor, name)
        assert address(name, back) == address(name, array) and report.zero_copy, report
        own = convert(values("float32", (64, 4)), "cuda")
        np.testing.assert_array_equal(read(name, convert(own, name)), values("float32", (64, 4)))
        doubled = convert(convert(array, "cuda"), name, dtype="float16")
        np.testing.assert_array_equal(read(name, doubled), values("float16", (64, 4)))


@on_gpu("cupy", "torch", "jax")
def test_libraries_take_our_tensors_by_the_protocol(cupy: Any, torch: Any, jax: Any) -> None:
    tensor = convert(values("float32"), "cuda")
    for name, taken in (
        ("cupy", cupy.from_dlpack),
        ("torch", torch.from_dlpack),
        ("jax", jax.dlpack.from_dlpack),
    ):
        np.testing.assert_array_equal(read(name, taken(tensor)), values("float32"))


# Order of work.


@on_gpu("torch")
def test_work_in_a_stream_of_torch_is_waited_for(torch: Any) -> None:
    stream = torch.cuda.Stream()
    for size in (10, 3_000_000):
        array = torch.zeros(size, device="cuda:0")
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(100_000_000)  # some 0.05 s
            array.add_(7)
            found = convert(array, "numpy")
        assert found.min() == found.max() == 7


@on_gpu("cupy")
def test_work_in_a_stream_of_cupy_is_waited_for(cupy: Any) -> None:
    with cupy.cuda.Stream(non_blocking=True):
        array = cupy.zeros((2048, 2048), "f4")
        for _ in range(200):
            array = array + 1
        found = convert(array, "numpy")
    assert found.min() == found.max() == 200


@on_gpu("cupy", "torch")
def test_one_librarys_stream_waits_for_the_others(cupy: Any, torch: Any) -> None:
    side = torch.cuda.Stream()
    for _ in range(5):
        tensor = torch.zeros(1_000_000, device="cuda:0")
        torch.cuda.synchronize()
        with torch.cuda.stream(side), cupy.cuda.Stream(non_blocking=True):
            torch.cuda._sleep(50_000_000)
            tensor.add_(3)
            array = convert(tensor, "cupy") * 2
            found = array.get()
        assert found.min() == found.max() == 6
        with torch.cuda.stream(side), cupy.cuda.Stream(non_blocking=True):
            for _ in range(200):
                array = array + 1
            doubled = convert(array, "torch") * 2
            side.synchronize()
        assert doubled.min().item() == doubled.max().item() == 412


# Lifetimes and memory.


@on_gpu("cupy", "torch")
def test_an_array_lives_as_long_as_its_views_and_no_longer(cupy: Any, torch: Any) -> None:
    gc.collect()
    pool = cupy.get_default_memory_pool()
    before = pool.used_bytes()
    tensor = convert(cupy.ones(1 << 20, "f4"), "torch")
    back = convert(tensor, "cupy")
    assert pool.used_bytes() == before + (4 << 20)
    del tensor
    assert back.get().sum() == 1 << 20
    del back
    gc.collect()
    assert pool.used_bytes() == before


@on_gpu("cupy", "torch", "jax")
def test_nothing_is_left_behind(cupy: Any, torch: Any, jax: Any) -> None:
    arrays = {name: uploaded(values("float32"), name) for name in ("cupy", "torch", "jax")}

    def some(count: int) -> int:
        for _ in range(count):
            for array in arrays.values():
                for target in (*arrays, "numpy", "cuda"):
                    convert(array, target)
        torch.cuda.synchronize()
        gc.collect()
        free, _ = cupy.cuda.runtime.memGetInfo()
        return int(free)

    first = some(50)
    assert some(1000) >= first - (8 << 20), "the GPU has as much free memory as before"


@on_gpu("cupy")
def test_a_lack_of_memory_in_cupy_is_recovered_from(cupy: Any) -> None:
    pool = cupy.get_default_memory_pool()
    gc.collect()
    pool.free_all_blocks()
    limit = pool.get_limit()
    pool.set_limit(pool.used_bytes() + (64 << 20))
    try:
        cupy.empty(40 << 20, "u1")  # freed, and kept by the pool
        made = with_oom_recovery(lambda: cupy.empty(50 << 20, "u1"), "cupy")
        assert made.nbytes == 50 << 20
        del made
        sizes = split_on_oom(
            lambda batch: cupy.empty(len(batch) * (20 << 20), "u1").nbytes, list(range(8))
        )
        assert sizes == [40 << 20] * 4, sizes
    finally:
        pool.set_limit(limit)
        pool.free_all_blocks()


@on_gpu("torch")
def test_a_lack_of_memory_in_torch_is_recovered_from(torch: Any) -> None:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    limit = torch.cuda.memory_reserved() + (256 << 20)
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        sizes = split_on_oom(
            lambda batch: torch.empty(len(batch) * (80 << 20), dtype=torch.uint8, device="cuda").nbytes,
            list(range(8)),
        )
        assert sizes == [160 << 20] * 4, sizes

        @arraybridge.torch(oom_recovery=True)
        def large(tensor: Any) -> Any:
            return torch.empty(600 << 20, dtype=torch.uint8, device="cuda")

        raises(torch.cuda.OutOfMemoryError, "out of memory", large, torch.ones(3))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@on_gpu("cupy", "torch")
def test_cleanup_gives_memory_back(cupy: Any, torch: Any) -> None:
    cupy.empty(64 << 20, "u1")
    torch.empty(64 << 20, dtype=torch.uint8, device="cuda")
    released = arraybridge.cleanup_all_gpu_frameworks()
    assert released.by_framework["cupy"] >= 64 << 20, released.by_framework
    assert released.by_framework["torch"] >= 64 << 20, released.by_framework


# The tools above conversion.


@on_gpu("cupy", "torch")
def test_declared_functions_take_arrays_of_any_framework(cupy: Any, torch: Any) -> None:
    @arraybridge.torch
    def twice(tensor: Any) -> Any:
        assert tensor.is_cuda, tensor.device
        return tensor * 2

    array = uploaded(values("float32"), "cupy")
    np.testing.assert_array_equal(convert(twice(array), "numpy"), values("float32") * 2)


@on_gpu("cupy", "torch", "jax")
def test_slices_are_stacked_on_the_gpu(cupy: Any, torch: Any, jax: Any) -> None:
    slices = [values("float32") + index for index in range(5)]
    for name in ("cupy", "torch", "jax"):
        stacked = arraybridge.stack_slices(slices, name, 0)
        assert is_on(name, stacked) and tuple(stacked.shape) == (5, *SHAPE)
        for index, one in enumerate(arraybridge.unstack_slices(stacked, name, 0)):
            np.testing.assert_array_equal(read(name, one), slices[index])


@on_gpu("cupy", "torch", "jax")
def test_dask_sends_arrays_of_a_gpu(cupy: Any, torch: Any, jax: Any) -> None:
    try:
        from distributed.protocol import deserialize, serialize

        import arraybridge.dask  # noqa: F401
    except ImportError as error:
        raise unittest.SkipTest(f"{error}; pip install 'arraybridge[dask]'") from error
    for name in ("cupy", "torch", "jax"):
        array = uploaded(values("float32"), name)
        header, frames = serialize(array, serializers=["dask", "error"])
        assert header["sub-header"]["device"] == "accelerator:0", header
        there = deserialize(header, [bytes(frame) for frame in frames])
        assert detect_memory_type(there) == name and is_on(name, there)
        np.testing.assert_array_equal(read(name, there), values("float32"))


@on_gpu("cupy", "torch", "jax")
def test_results_of_dask_leave_the_gpu(cupy: Any, torch: Any, jax: Any) -> None:
    try:
        import dask.array as da

        from arraybridge.dask import map_blocks
    except ImportError as error:
        raise unittest.SkipTest(f"{error}; pip install 'arraybridge[dask]'") from error
    whole = values("float32", (40, 5))
    for name in ("cupy", "torch", "jax"):

        def changed(array: Any, name: str = name) -> Any:
            assert is_on(name, array)
            return array * 2 + 1

        lazy = map_blocks(
            changed, da.from_array(whole, chunks=(10, 5)), input_type=name, device="cuda:0", dtype="float32"
        )
        found = lazy.compute(scheduler="threads")
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, whole * 2 + 1)
