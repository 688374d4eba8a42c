"""The page on advanced topics: its calls, names and arguments.

What the page leaves undefined is given, small. Calls for a GPU go to the host where there is none:
that is what the fixture `gpu_id` says.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from functools import lru_cache

import pytest

import numpy as np

from arraybridge import convert_memory, detect_memory_type


@pytest.fixture
def large_array():
    return np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)


np_data = np.arange(12, dtype=np.float32).reshape(3, 4)


class TestRecovery:
    def test_automatic(self, large_array, gpu_id, torch):
        framework = torch
        from arraybridge import torch

        @torch(gpu_id=gpu_id, oom_recovery=True, clear_cuda_cache=True)
        def memory_intensive_operation(data):
            """Automatically handles OOM errors."""
            return data @ data.T @ data

        result = memory_intensive_operation(large_array)
        assert isinstance(result, framework.Tensor)
        expected = large_array @ large_array.T @ large_array
        np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=1e-5)

    def test_it_tries_again(self, large_array, gpu_id, torch):
        framework = torch
        from arraybridge import torch

        calls = []

        @torch(gpu_id=gpu_id, oom_recovery=True, clear_cuda_cache=True)
        def operation(data):
            calls.append(1)
            if len(calls) == 1:
                raise framework.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
            return data

        assert operation(large_array).shape == (4, 4)
        assert len(calls) == 2

    def test_how_it_works(self, torch):
        OutOfMemoryError = torch.cuda.OutOfMemoryError

        def with_oom_recovery(func):
            try:
                return func()
            except OutOfMemoryError:
                gc.collect()
                torch.cuda.empty_cache()
                return func()

        calls = []

        def func():
            calls.append(1)
            if len(calls) == 1:
                raise OutOfMemoryError("out of memory")
            return "done"

        assert with_oom_recovery(func) == "done"

    def test_the_library_has_it_by_that_name(self, torch):
        from arraybridge import with_oom_recovery

        calls = []

        def func():
            calls.append(1)
            if len(calls) == 1:
                raise torch.cuda.OutOfMemoryError("out of memory")
            return "done"

        assert with_oom_recovery(func) == "done"

    def test_manual(self, torch):
        def process_on_gpu(data):
            if len(data) > 4:
                raise RuntimeError("CUDA out of memory")
            return data * 2

        def process_with_fallback(data):
            try:
                return process_on_gpu(data)
            except RuntimeError as e:
                if "out of memory" in str(e):
                    gc.collect()
                    torch.cuda.empty_cache()
                    half_size = len(data) // 2
                    result1 = process_on_gpu(data[:half_size])
                    result2 = process_on_gpu(data[half_size:])
                    return torch.cat([result1, result2])
                raise

        assert process_with_fallback(torch.arange(8)).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]

    def test_smaller_batches(self, torch):
        def process_batch(batch):
            if len(batch) > 4:
                raise RuntimeError("CUDA out of memory")
            return batch.sum()

        def adaptive_batch_process(data, initial_batch_size=32):
            batch_size = initial_batch_size
            results = []
            for i in range(0, len(data), batch_size):
                batch = data[i : i + batch_size]
                while True:
                    try:
                        result = process_batch(batch)
                        results.append(result)
                        break
                    except RuntimeError as e:
                        if "out of memory" in str(e):
                            batch_size = max(1, batch_size // 2)
                            torch.cuda.empty_cache()
                            batch = batch[:batch_size]
                        else:
                            raise
            return results

        # The page's loop drops what it cuts off; it runs, and the library's own keeps everything.
        assert len(adaptive_batch_process(torch.arange(16), 16)) == 1
        from arraybridge import split_on_oom

        assert sum(split_on_oom(process_batch, torch.arange(16), 16)) == 120


class TestStrategies:
    def test_checkpointing(self, torch):
        import torch.utils.checkpoint as checkpoint

        expensive_layer = torch.nn.Linear(3, 2)

        def memory_efficient_forward(x):
            return checkpoint.checkpoint(expensive_layer, x, use_reentrant=False)

        assert memory_efficient_forward(torch.ones(1, 3)).shape == (1, 2)

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
    def test_mixed_precision(self, gpu_id, torch):
        from torch.cuda.amp import autocast

        from arraybridge import torch

        @torch(gpu_id=gpu_id)
        def mixed_precision_op(x):
            """Use FP16 for memory savings."""
            with autocast():
                return x @ x.T

        assert mixed_precision_op(np.ones((2, 3), np.float32)).tolist() == [[3, 3], [3, 3]]

    def test_offloading(self, torch, gpu_id):
        def process_gpu_stage1(data):
            return data + 1

        process_gpu_stage2 = process_gpu_stage3 = process_gpu_stage1

        def cpu_offload_process(data):
            stage1 = process_gpu_stage1(data).cpu()
            stage2 = process_gpu_stage2(stage1.cuda() if gpu_id is not None else stage1)
            stage3 = process_gpu_stage3(stage2)
            return stage3

        assert cpu_offload_process(torch.zeros(2)).tolist() == [3, 3]


class TestConversion:
    def test_zero_copy(self, cupy, torch):
        cp = cupy
        cupy_data = cp.random.rand(1000, 1000)
        torch_data = convert_memory(cupy_data, "cupy", "torch", gpu_id=0)
        cupy_data[0, 0] = 999
        assert float(torch_data[0, 0]) == 999

    def test_batches(self, torch, gpu_id):
        items = [np.full(3, value, np.float32) for value in range(4)]
        seen = []

        def process(item):
            seen.append(float(item.sum()))

        for item in items:
            gpu_item = convert_memory(item, "numpy", "torch", gpu_id=gpu_id)
            process(gpu_item)
        batch = np.stack(items)
        gpu_batch = convert_memory(batch, "numpy", "torch", gpu_id=gpu_id)
        for i in range(len(gpu_batch)):
            process(gpu_batch[i])
        assert seen == [0, 3, 6, 9] * 2

    def test_contiguous(self, torch, gpu_id):
        data = np.arange(16.0).reshape(4, 4)
        non_contiguous = data[::2, ::2]
        contiguous = np.ascontiguousarray(non_contiguous)
        gpu_data = convert_memory(contiguous, "numpy", "torch", gpu_id=gpu_id)
        assert gpu_data.tolist() == non_contiguous.tolist()

    def test_smaller_types(self, torch, gpu_id):
        data = [1.0, 2.0]
        data_f32 = np.array(data, dtype=np.float32)
        gpu_data = convert_memory(data_f32, "numpy", "torch", gpu_id=gpu_id)
        assert gpu_data.dtype == torch.float32

    def test_cache(self, torch, gpu_id):
        assert lru_cache

        class GPUCache:
            def __init__(self):
                self.cache = {}

            def get_or_convert(self, data_id, data, target_type, gpu_id=gpu_id):
                key = (data_id, target_type, gpu_id)
                if key not in self.cache:
                    self.cache[key] = convert_memory(data, "numpy", target_type, gpu_id=gpu_id)
                return self.cache[key]

            def clear(self):
                self.cache.clear()

        cache = GPUCache()
        first = cache.get_or_convert("a", np_data, "torch")
        assert cache.get_or_convert("a", np_data, "torch") is first
        cache.clear()
        assert cache.cache == {}


class TestProfiling:
    def test_timing(self, torch, gpu_id, capsys):
        def time_conversion(data, source, target, gpu_id=gpu_id):
            start = time.time()
            result = convert_memory(data, source, target, gpu_id=gpu_id)
            if target in ["torch", "cupy"] and gpu_id is not None:
                if target == "torch":
                    import torch

                    torch.cuda.synchronize()
                else:
                    import cupy as cp

                    cp.cuda.Stream.null.synchronize()
            elapsed = time.time() - start
            print(f"{source} to {target}: {elapsed * 1000:.2f} ms")
            return result

        assert time_conversion(np_data, "numpy", "torch").shape == (3, 4)
        assert "numpy to torch" in capsys.readouterr().out

    def test_memory_of_torch(self, torch, gpu_id):
        if gpu_id is None:
            pytest.skip("this measures a GPU")

        def profile_memory(func):
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.empty_cache()
            result = func()
            assert torch.cuda.max_memory_allocated() >= 0
            return result

        assert profile_memory(lambda: 1) == 1

    def test_memory_of_cupy(self, cupy):
        cp = cupy

        def profile_cupy_memory(func):
            mempool = cp.get_default_memory_pool()
            mempool.free_all_blocks()
            result = func()
            assert mempool.used_bytes() <= mempool.total_bytes()
            return result

        assert profile_cupy_memory(lambda: 1) == 1

    def test_debugging(self, torch, gpu_id, caplog):
        def debug_convert(data, target_type, gpu_id=gpu_id):
            source_type = detect_memory_type(data)
            logging.debug(f"Source type: {source_type}")
            logging.debug(f"Source shape: {data.shape}")
            logging.debug(f"Source dtype: {data.dtype}")
            result = convert_memory(data, source_type, target_type, gpu_id=gpu_id)
            logging.debug(f"Target type: {target_type}")
            logging.debug(f"Target shape: {result.shape}")
            logging.debug(f"Target dtype: {result.dtype}")
            return result

        with caplog.at_level(logging.DEBUG):
            debug_convert(np_data, "torch")
        assert "Source type: numpy" in caplog.text
        assert "Target dtype: torch.float32" in caplog.text


class TestPatterns:
    def test_lazy(self, torch, gpu_id):
        class LazyArray:
            def __init__(self, data):
                self.data = data
                self.cached_conversions = {}

            def as_type(self, target_type, gpu_id=gpu_id):
                key = (target_type, gpu_id)
                if key not in self.cached_conversions:
                    source_type = detect_memory_type(self.data)
                    self.cached_conversions[key] = convert_memory(
                        self.data, source_type, target_type, gpu_id=gpu_id
                    )
                return self.cached_conversions[key]

        lazy = LazyArray(np_data)
        torch_data = lazy.as_type("torch", gpu_id=gpu_id)
        torch_data2 = lazy.as_type("torch", gpu_id=gpu_id)
        assert torch_data is torch_data2

    def test_pipeline(self, torch, gpu_id):
        class ConversionPipeline:
            def __init__(self, data):
                self.data = data
                self.operations = []

            def convert_to(self, target_type, gpu_id=gpu_id):
                def op(data):
                    source_type = detect_memory_type(data)
                    return convert_memory(data, source_type, target_type, gpu_id)

                self.operations.append(op)
                return self

            def apply(self, func):
                self.operations.append(func)
                return self

            def execute(self):
                result = self.data
                for op in self.operations:
                    result = op(result)
                return result

        result = (
            ConversionPipeline(np_data)
            .convert_to("torch", gpu_id=gpu_id)
            .apply(lambda x: x * 2)
            .apply(lambda x: x + 1)
            .convert_to("numpy")
            .execute()
        )
        np.testing.assert_array_equal(result, np_data * 2 + 1)

    def test_fallback_chain(self, torch):
        def try_frameworks(data, operation, frameworks=["cupy", "torch", "numpy"]):  # noqa: B006
            errors = []
            for framework in frameworks:
                try:
                    source_type = detect_memory_type(data)
                    converted = convert_memory(data, source_type, framework, gpu_id=0)
                    result = operation(converted)
                    return convert_memory(result, framework, source_type)
                except Exception as e:
                    errors.append((framework, str(e)))
                    continue
            raise RuntimeError(f"All frameworks failed: {errors}")

        data = np_data
        result = try_frameworks(data, lambda x: x @ x.T)
        np.testing.assert_allclose(result, data @ data.T)
        assert type(result) is np.ndarray

    def test_many_backends(self, torch, gpu_id):
        class MultiBackendArray:
            def __init__(self, data, preferred_backend="torch"):
                self.data = data
                self.backend = preferred_backend
                self._cached = None

            def _ensure_backend(self):
                if self._cached is None:
                    source_type = detect_memory_type(self.data)
                    self._cached = convert_memory(
                        self.data, source_type, self.backend, gpu_id=gpu_id
                    )
                return self._cached

            def __matmul__(self, other):
                self_backend = self._ensure_backend()
                other_backend = other._ensure_backend()
                result = self_backend @ other_backend
                return MultiBackendArray(result, self.backend)

            def to_numpy(self):
                backend_data = self._ensure_backend()
                return convert_memory(backend_data, self.backend, "numpy")

        left, right = MultiBackendArray(np_data), MultiBackendArray(np_data.T.copy())
        np.testing.assert_allclose((left @ right).to_numpy(), np_data @ np_data.T)


class TestThreadsAndProcesses:
    def test_a_device_for_each_thread(self, torch, gpu_id):
        class ThreadLocalGPU:
            def __init__(self):
                self.local = threading.local()

            def get_gpu_id(self):
                if not hasattr(self.local, "gpu_id"):
                    devices = torch.cuda.device_count()
                    self.local.gpu_id = threading.get_ident() % devices if devices else gpu_id
                return self.local.gpu_id

            def convert(self, data, target_type):
                gpu_id = self.get_gpu_id()
                source_type = detect_memory_type(data)
                return convert_memory(data, source_type, target_type, gpu_id=gpu_id)

        gpu_manager = ThreadLocalGPU()
        results = []

        def process(gpu_data):
            return float(gpu_data.sum())

        def worker(data):
            gpu_data = gpu_manager.convert(data, "torch")
            results.append(process(gpu_data))

        threads = [threading.Thread(target=worker, args=(np_data,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [float(np_data.sum())] * 4

    def test_processes(self, run_python, torch):
        # In a program of its own: processes are started anew, not copied with threads inside.
        printed = run_python(PROCESSES, WORKER_GPU="0" if torch.cuda.is_available() else "")
        assert printed.split() == ["2.0", "4.0"]


PROCESSES = """
import os
from multiprocessing import get_context
import numpy as np
from arraybridge import convert_memory

def init_worker(gpu_id):
    global worker_gpu_id
    worker_gpu_id = gpu_id

def process(gpu_data):
    return gpu_data * 2

def process_with_gpu(data):
    global worker_gpu_id
    gpu_data = convert_memory(data, 'numpy', 'torch', gpu_id=worker_gpu_id)
    result = process(gpu_data)
    return convert_memory(result, 'torch', 'numpy')

if __name__ == '__main__':
    batches = [np.ones(1), np.full(1, 2.0)]
    gpu = os.environ['WORKER_GPU']
    context = get_context('fork')
    with context.Pool(2, initializer=init_worker, initargs=(int(gpu) if gpu else None,)) as pool:
        results = pool.map(process_with_gpu, batches)
    print(*(float(result[0]) for result in results))
"""


class TestOtherLibraries:
    def test_a_type_of_ones_own(self, torch):
        class CustomArrayWrapper:
            def __init__(self, custom_array):
                self.custom_array = custom_array

            def to_numpy(self):
                return np.array(self.custom_array.data)

            def convert_to(self, target_type):
                np_data = self.to_numpy()
                return convert_memory(np_data, "numpy", target_type)

        class Custom:
            data = [1.0, 2.0]

        assert CustomArrayWrapper(Custom()).convert_to("torch").tolist() == [1, 2]

    def test_pca(self, torch, gpu_id):
        decomposition = pytest.importorskip("sklearn.decomposition")

        def gpu_accelerated_pca(data, n_components=10):
            gpu_data = convert_memory(data, "numpy", "torch", gpu_id=gpu_id)
            centered = gpu_data - gpu_data.mean(dim=0)
            cov = (centered.T @ centered) / len(gpu_data)
            np_cov = convert_memory(cov, "torch", "numpy")
            assert np_cov.shape == (data.shape[1], data.shape[1])
            pca = decomposition.PCA(n_components=n_components)
            pca.fit_transform(data)
            return pca

        data = np.random.default_rng(0).normal(size=(20, 5))
        assert gpu_accelerated_pca(data, 2).n_components == 2

    def test_covariance_for_pca(self, torch, gpu_id):
        data = np.random.default_rng(0).normal(size=(20, 5))
        gpu_data = convert_memory(data, "numpy", "torch", gpu_id=gpu_id)
        centered = gpu_data - gpu_data.mean(dim=0)
        cov = (centered.T @ centered) / len(gpu_data)
        np_cov = convert_memory(cov, "torch", "numpy")
        np.testing.assert_allclose(np_cov, np.cov(data.T, bias=True), rtol=1e-9)

    def test_dask(self, torch, gpu_id):
        da = pytest.importorskip("dask.array")

        def gpu_process(chunk):
            return chunk + 1

        def dask_gpu_process(dask_array):
            def process_chunk(chunk):
                gpu_chunk = convert_memory(chunk, "numpy", "torch", gpu_id=gpu_id)
                result = gpu_process(gpu_chunk)
                return convert_memory(result, "torch", "numpy")

            return dask_array.map_blocks(process_chunk, dtype=dask_array.dtype)

        array = da.ones((4, 4), chunks=2)
        np.testing.assert_array_equal(dask_gpu_process(array).compute(), np.full((4, 4), 2.0))

    def test_leaks(self):
        from arraybridge import cleanup_all_gpu_frameworks

        assert cleanup_all_gpu_frameworks() >= 0
