from __future__ import annotations

import errno
import weakref

import pytest

import numpy as np

from arraybridge import MemoryConversionError, split_on_oom, with_oom_recovery
from arraybridge.oom_recovery import (
    _clear_cache_for_memory_type,
    _execute_with_oom_recovery,
    _is_oom_error,
    is_out_of_memory,
)
from arraybridge.types import MemoryType


def named(name, *bases):
    return type(name, bases or (RuntimeError,), {})


class TestRecognising:
    @pytest.mark.parametrize(
        ("error", "memory_type"),
        [
            (MemoryError(), "numpy"),
            (MemoryError("Unable to allocate 8. EiB"), "torch"),
            (OSError(errno.ENOMEM, "Cannot allocate memory"), "numpy"),
            (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "torch"),
            (RuntimeError("CUDA error: out of memory"), "torch"),
            (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "torch"),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "torch"),
            (RuntimeError("cudaErrorMemoryAllocation: out of memory"), "cupy"),
            (named("XlaRuntimeError")("RESOURCE_EXHAUSTED: Out of memory allocating 9"), "jax"),
            (RuntimeError("OOM when allocating tensor"), "tensorflow"),
            (RuntimeError("CL_MEM_OBJECT_ALLOCATION_FAILURE"), "pyclesperanto"),
            (RuntimeError("error CL_OUT_OF_RESOURCES"), "pyclesperanto"),
        ],
    )
    def test_a_lack_of_memory(self, error, memory_type):
        assert _is_oom_error(error, memory_type)
        assert _is_oom_error(error, MemoryType(memory_type))
        assert is_out_of_memory(error)

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("out of memory"),
            KeyError("out of memory"),
            OSError(errno.ENOENT, "out of memory"),
            RuntimeError("CUDA error: an illegal memory access was encountered"),
            RuntimeError("access out of memory bounds"),
            RuntimeError("address out of memory range"),
            RuntimeError("the out of memory-mapped file"),
            RuntimeError("device-side assert triggered"),
            named("InvalidArgumentError", Exception)("out of memory"),
            KeyboardInterrupt("out of memory"),
            SystemExit("out of memory"),
        ],
    )
    @pytest.mark.parametrize("memory_type", [member.value for member in MemoryType])
    def test_near_misses(self, error, memory_type):
        assert not _is_oom_error(error, memory_type)

    def test_codes_of_cuda(self):
        kind = named("CUDARuntimeError")
        memory, access = kind("cudaErrorMemoryAllocation: out of memory"), kind("out of memory")
        memory.status, access.status = 2, 700
        assert _is_oom_error(memory, "cupy")
        assert not _is_oom_error(access, "cupy")

    def test_the_cause_of_a_conversion(self):
        error = MemoryConversionError("numpy", "torch", "copy", "it failed")
        assert not _is_oom_error(error, "torch")
        error.__cause__ = MemoryError()
        assert _is_oom_error(error, "torch")
        said = MemoryConversionError("numpy", "torch", "copy", "CUDA out of memory")
        assert _is_oom_error(said, "torch")

    def test_the_types_of_frameworks(self, torch):
        assert _is_oom_error(torch.cuda.OutOfMemoryError("x"), "torch")
        assert _is_oom_error(torch.OutOfMemoryError("x"), "torch")
        with pytest.raises(RuntimeError) as caught:
            torch.empty(1 << 60)
        assert _is_oom_error(caught.value, "torch")

    def test_the_types_of_tensorflow(self, tensorflow):
        exhausted = tensorflow.errors.ResourceExhaustedError(None, None, "x")
        assert _is_oom_error(exhausted, "tensorflow")
        invalid = tensorflow.errors.InvalidArgumentError(None, None, "out of memory")
        assert not _is_oom_error(invalid, "tensorflow")

    def test_a_real_one_of_numpy(self):
        with pytest.raises(MemoryError) as caught:
            np.ones(1 << 56)
        assert _is_oom_error(caught.value, "numpy")

    @pytest.mark.parametrize("wrong", ["bad", None, 3])
    def test_a_name_that_is_none(self, wrong):
        with pytest.raises(ValueError, match="Invalid memory_type"):
            _is_oom_error(MemoryError(), wrong)


class Failing:
    def __init__(self, times, error=MemoryError):
        self.times, self.error, self.calls = times, error, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error(self.calls)
        return "done"


class TestTryingAgain:
    @pytest.mark.parametrize(
        "run", [lambda f, **k: _execute_with_oom_recovery(f, "numpy", **k), with_oom_recovery]
    )
    def test_so_often(self, run):
        assert run(Failing(0)) == "done"
        assert run(Failing(2)) == "done"
        failing = Failing(3)
        with pytest.raises(MemoryError) as caught:
            run(failing)
        assert failing.calls == 3
        assert caught.value.args == (1,)
        assert run(Failing(5), max_retries=5) == "done"
        once = Failing(1)
        with pytest.raises(MemoryError):
            run(once, max_retries=0)
        assert once.calls == 1

    @pytest.mark.parametrize(
        "run", [lambda f, **k: _execute_with_oom_recovery(f, "numpy", **k), with_oom_recovery]
    )
    def test_only_for_a_lack_of_memory(self, run):
        failing = Failing(1, ValueError)
        with pytest.raises(ValueError):
            run(failing)
        assert failing.calls == 1
        for wrong in (-1, 1.5, True, "2"):
            with pytest.raises(ValueError, match="max_retries"):
                run(failing, max_retries=wrong)

    def test_another_error_in_between(self):
        errors = iter([MemoryError(), KeyError("other")])

        def f():
            raise next(errors)

        with pytest.raises(KeyError):
            _execute_with_oom_recovery(f, "numpy")

    def test_what_the_failed_call_held_is_free_before_the_next(self):
        alive = []

        def f():
            assert all(one() is None for one in alive)
            big = np.ones(10).view(Big)
            alive.append(weakref.ref(big))
            if len(alive) < 3:
                raise MemoryError
            return "done"

        assert _execute_with_oom_recovery(f, "numpy") == "done"
        alive.clear()
        assert with_oom_recovery(f) == "done"

    def test_caches_are_cleared(self, monkeypatch):
        from arraybridge import ArrayLibrary

        cleared = []
        library = type(ArrayLibrary.named("torch"))
        monkeypatch.setattr(library, "trim_loaded", lambda self, device=None: cleared.append(device))
        _execute_with_oom_recovery(Failing(1), "torch", device_id=1)
        assert cleared == [1]
        _execute_with_oom_recovery(Failing(1), "torch", clear_cache=False)
        assert cleared == [1]
        _clear_cache_for_memory_type("torch", 0)
        assert cleared == [1, 0]
        with_oom_recovery(Failing(1))
        assert cleared == [1, 0, None]


class Big(np.ndarray):
    """One that can be referred to weakly."""


class TestSmallerBatches:
    @staticmethod
    def fitting(most, seen=None):
        def f(batch):
            if len(batch) > most:
                raise RuntimeError("CUDA out of memory")
            if seen is not None:
                seen.append(len(batch))
            return sum(batch)

        return f

    @pytest.mark.parametrize("total", [0, 1, 5, 16, 17])
    @pytest.mark.parametrize("most", [1, 3, 100])
    @pytest.mark.parametrize("size", [None, 1, 4, 32])
    def test_every_item_once(self, total, most, size):
        seen = []
        results = split_on_oom(self.fitting(most, seen), list(range(total)), size)
        assert sum(results) == sum(range(total))
        assert sum(seen) == total
        assert split_on_oom(self.fitting(most), range(total), size, combine=sum) == sum(range(total))

    def test_sizes_stay_small(self):
        seen = []
        split_on_oom(self.fitting(3, seen), list(range(16)))
        assert seen == [2] * 8

    def test_too_small(self):
        with pytest.raises(RuntimeError, match="out of memory"):
            split_on_oom(self.fitting(0), [1, 2])
        with pytest.raises(RuntimeError, match="out of memory"):
            split_on_oom(self.fitting(3), list(range(16)), min_batch_size=4)
        assert split_on_oom(self.fitting(4), list(range(16)), min_batch_size=4) == [6, 22, 38, 54]

    def test_other_errors(self):
        with pytest.raises(ZeroDivisionError):
            split_on_oom(lambda batch: 1 // 0, [1, 2])
        with pytest.raises(RuntimeError):
            split_on_oom(self.fitting(1), [1, 2], memory_type="numpy")

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
    def test_sizes_that_are_none(self, wrong):
        with pytest.raises(ValueError, match="batch_size"):
            split_on_oom(len, [1], wrong)
        with pytest.raises(ValueError, match="min_batch_size"):
            split_on_oom(len, [1], min_batch_size=wrong)
