"""NLSQ's memory manager: its numbers, its words, and the faults that are not repeated."""

import inspect
import logging
import subprocess
import sys
import threading
from collections import OrderedDict
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arraybridge import nlsq_memory
from arraybridge.nlsq_large_dataset import (
    CHUNK_BUCKETS,
    ChunkBuffer,
    ChunkBufferPool,
    DataChunker,
    GPUMemoryEstimator,
    LDMemoryConfig,
    MemoryBudget,
    MemoryBudgetSelector,
    MemoryEstimator,
    ProgressReporter,
    cleanup_memory,
    estimate_memory_requirements,
    get_bucket_size,
)
from arraybridge.nlsq_memory import (
    MemoryManager,
    clear_memory_pool,
    get_memory_manager,
    get_memory_stats,
)

GIB = 2**30


@pytest.fixture
def mm():
    return MemoryManager()


def host(available=8 * 10**9, percent=25.0):
    """A host with so much memory, as psutil tells it."""
    return patch(
        "psutil.virtual_memory",
        return_value=SimpleNamespace(available=available, percent=percent),
    )


def resident(*sizes):
    """A process that has these sizes, one after the other, and then the last."""
    left = list(sizes)

    def rss():
        return left.pop(0) if len(left) > 1 else left[0]

    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=rss()))
    return patch("psutil.Process", return_value=process)


# Signatures and attributes.


def test_the_signatures_are_those_of_nlsq():
    def parameters(function):
        return [
            (one.name, one.default)
            for one in inspect.signature(function).parameters.values()
            if one.name != "self"
        ]

    empty = inspect.Parameter.empty
    assert parameters(MemoryManager) == [
        ("gc_threshold", 0.8),
        ("safety_factor", 1.2),
        ("enable_adaptive_safety", False),
        ("disable_padding", False),
        ("memory_cache_ttl", 1.0),
        ("adaptive_ttl", True),
    ]
    assert parameters(MemoryManager.predict_memory_requirement) == [
        ("n_points", empty),
        ("n_params", empty),
        ("algorithm", "trf"),
        ("dtype", np.float64),
    ]
    assert parameters(MemoryManager.allocate_array) == [
        ("shape", empty),
        ("dtype", np.float64),
        ("zero", True),
    ]
    assert parameters(MemoryManager.temporary_allocation) == [
        ("shape", empty),
        ("dtype", np.float64),
    ]
    assert parameters(MemoryManager.estimate_chunking_strategy) == [
        ("n_points", empty),
        ("n_params", empty),
        ("algorithm", "trf"),
        ("memory_limit_gb", None),
    ]
    assert parameters(MemoryManager.optimize_memory_pool) == [("max_arrays", 100)]
    assert parameters(MemoryManager.free_array) == [("arr", empty)]
    assert parameters(MemoryManager.memory_guard) == [("bytes_needed", empty)]


def test_a_new_manager_has_the_attributes_of_nlsqs(mm):
    assert (mm.gc_threshold, mm.safety_factor) == (0.8, 1.2)
    assert (mm.disable_padding, mm.enable_adaptive_safety) == (False, False)
    assert isinstance(mm.memory_pool, OrderedDict) and not mm.memory_pool
    assert (len(mm.allocation_history), mm.allocation_history.maxlen) == (0, 1000)


def test_without_padding_predictions_are_bare():
    mm = MemoryManager(safety_factor=3.0, enable_adaptive_safety=True, disable_padding=True)
    assert (mm.safety_factor, mm.enable_adaptive_safety) == (1.0, False)
    assert mm.predict_memory_requirement(10_000, 20) == 2_004_160


# Predictions: the numbers of NLSQ 0.7.6.


@pytest.mark.parametrize(
    ("points", "params", "algorithm", "bytes_needed"),
    [
        (10_000, 20, "trf", 2_404_992),
        (10_000, 20, "lm", 2_308_608),
        (10_000, 20, "dogbox", 2_501_184),
        (10_000, 20, "another", 4_032_192),
        (1_000_000, 10, "trf", 144_001_536),
        (1_000_000, 10, "lm", 134_401_344),
        (1_000_000, 10, "dogbox", 153_601_632),
        (1_000_000, 10, "another", 211_200_096),
        (0, 5, "trf", 288),
        (10, 0, "trf", 480),
        (10, 5, "TRF", 1200),
    ],
)
def test_predictions_are_nlsqs(mm, points, params, algorithm, bytes_needed):
    assert mm.predict_memory_requirement(points, params, algorithm) == bytes_needed


def test_only_float32_has_four_bytes(mm):
    def predict(dtype):
        return mm.predict_memory_requirement(10_000, 20, "trf", dtype)

    assert predict(np.float32) == predict(np.dtype("float32")) == 1_202_496
    assert predict(np.float16) == predict(np.int32) == predict(None) == 2_404_992


def test_whole_floats_are_whole_numbers(mm):
    assert mm.predict_memory_requirement(1e4, 20) == 2_404_992


@given(st.integers(0, 10**9), st.integers(0, 3000), st.sampled_from(["trf", "lm", "dogbox", "x"]))
def test_predictions_follow_the_formulas(points, params, algorithm):
    n, p, least = points, params, min(points, params)
    formulas = {
        "trf": n * (p + 5) + 6 * p + least**2,
        "lm": n * (p + 4) + 4 * p + p**2,
        "dogbox": n * (p + 6) + 7 * p + least**2,
        "x": 2 * n * (p + 1) + p,
    }
    predicted = SHARED.predict_memory_requirement(n, p, algorithm)
    assert predicted == int(8 * formulas[algorithm] * 1.2)


SHARED = MemoryManager()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 5), "n_points is -1"),
        ((10, -5), "n_params is -5"),
        ((1.5, 5), "n_points is 1.5: it must be a whole number"),
        (("many", 5), "n_points is 'many'"),
        ((10**30, 5), "n_points=1"),
    ],
)
def test_nonsense_to_predict_is_a_value_error(mm, arguments, words):
    with pytest.raises(ValueError, match=words):
        mm.predict_memory_requirement(*arguments)


# Chunks.


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        (
            (100_000_000, 5, "trf", 4.0),
            {
                "needs_chunking": True,
                "chunk_size": 1_000_000,
                "n_chunks": 100,
                "memory_per_chunk_gb": 0.096000528,
                "total_points": 100_000_000,
            },
        ),
        (
            (1_000_000, 100, "trf", 0.01),
            {
                "needs_chunking": True,
                "chunk_size": 1475,
                "n_chunks": 678,
                "memory_per_chunk_gb": 0.00158856,
                "total_points": 1_000_000,
            },
        ),
        (
            (1_000_000, 100, "lm", 0.01),
            {
                "needs_chunking": True,
                "chunk_size": 99,
                "n_chunks": 10102,
                "memory_per_chunk_gb": 0.000198681,
                "total_points": 1_000_000,
            },
        ),
        (
            (100, 5, "trf", 4.0),
            {
                "needs_chunking": False,
                "chunk_size": 100,
                "n_chunks": 1,
                "memory_per_chunk_gb": 1.0128e-05,
            },
        ),
    ],
)
def test_plans_are_nlsqs(mm, arguments, plan):
    found = mm.estimate_chunking_strategy(*arguments)
    assert found == plan
    assert list(found) == list(plan)


def test_without_a_limit_a_plan_has_four_fifths_of_what_is_available():
    with host(available=10_000_000_000 // 8 * 10):
        mm = MemoryManager()
        of_available = mm.estimate_chunking_strategy(100_000_000, 50)
    assert of_available == mm.estimate_chunking_strategy(100_000_000, 50, memory_limit_gb=10.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1000, 5, "trf", 1e-8), "one item alone takes"),
        ((1000, 5, "trf", 0), "memory_limit_gb is 0"),
        ((1000, 5, "trf", -1.0), "memory_limit_gb is -1"),
        ((1000, 5, "trf", float("nan")), "memory_limit_gb is nan"),
        ((0, 5), "n_points is 0: it must be 1 or more"),
        ((-5, 5), "n_points is -5"),
    ],
)
def test_what_nlsq_divides_by_zero_for_is_a_value_error(mm, arguments, words):
    with pytest.raises(ValueError, match=words):
        mm.estimate_chunking_strategy(*arguments)


# Probes, which a test can replace.


def test_psutil_is_asked():
    with host(available=123, percent=50.0), resident(77):
        mm = MemoryManager()
        assert mm.get_available_memory() == 123
        assert mm.get_memory_usage_fraction() == 0.5
        assert mm.get_memory_usage_bytes() == 77


def test_where_psutil_fails_there_is_a_fallback_and_a_warning(caplog):
    broken = RuntimeError("no /proc")
    with (
        caplog.at_level(logging.WARNING, logger="arraybridge.nlsq_memory"),
        patch("psutil.virtual_memory", side_effect=broken),
        patch("psutil.Process", side_effect=broken),
    ):
        mm = MemoryManager()
        assert mm.get_available_memory() == 16 * GIB
        assert mm.get_memory_usage_fraction() == 0.5
        mm.free_array(np.zeros(1000))
        assert mm.get_memory_usage_bytes() == 8000 + sys.getsizeof(mm.memory_pool)
    assert "16 GiB are assumed: no /proc" in caplog.text
    assert "only the pool's is counted: no /proc" in caplog.text


def test_without_psutil_the_own_probes_answer():
    code = """
import sys, warnings
sys.modules["psutil"] = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from arraybridge import nlsq_memory
assert any("psutil is not installed" in str(one.message) for one in caught), caught
assert not nlsq_memory.HAS_PSUTIL
mm = nlsq_memory.MemoryManager()
assert 2**20 < mm.get_memory_usage_bytes() < mm.get_available_memory()
assert 0 < mm.get_memory_usage_fraction() < 1
with mm.temporary_allocation((1000, 10)) as array:
    assert array.sum() == 0
print(mm.get_memory_stats()["pool_arrays"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("1", 0), done.stderr


def test_measurements_are_kept_for_a_second():
    times = iter([0.0, 0.0, 0.4, 0.9, 1.5])
    with host(available=1) as asked, patch("time.monotonic", side_effect=lambda: next(times)):
        mm = MemoryManager()
        for count in (1, 1, 1, 2):
            mm.get_available_memory()
            assert asked.call_count == count


@pytest.mark.parametrize(
    ("calls", "seconds"),
    [([], 1.0), ([0], 1.0), ([0, 1], 1.0), ([0, 0.1], 10.0), ([0, 0.001], 15.0), ([0, 0], 15.0)],
)
def test_measurements_live_longer_where_calls_come_fast(mm, calls, seconds):
    mm._call_frequency_tracker.extend(calls)
    assert mm._get_effective_ttl() == seconds


def test_they_live_as_long_as_was_said_where_that_is_not_to_change():
    mm = MemoryManager(memory_cache_ttl=7.0, adaptive_ttl=False)
    for _ in range(50):
        mm.get_available_memory()
    assert (mm._get_effective_ttl(), len(mm._call_frequency_tracker)) == (7.0, 0)


# Guards.


def test_the_sentences_are_nlsqs():
    with host(available=23_600_000_000):
        mm = MemoryManager()
        assert mm.check_memory_availability(1000) == (
            True,
            "Memory available: 23.60GB >= 0.00GB needed",
        )
        assert mm.check_memory_availability(10**15) == (
            False,
            "Insufficient memory: need 1000000.00GB, have 23.60GB available",
        )
        with pytest.raises(MemoryError, match=r"^Insufficient memory: need 1000000.00GB"):
            with mm.memory_guard(10**15):
                pytest.fail("the guard let it in")
    assert not mm.allocation_history


def test_what_garbage_held_is_measured_again(mm):
    answers = iter([100, 10**12])
    with patch.object(mm, "get_available_memory", side_effect=lambda: next(answers)):
        assert mm.check_memory_availability(1000) == (
            True,
            "Memory available after garbage collection",
        )


def test_a_refused_guard_has_emptied_the_pool(mm):
    mm.free_array(np.zeros(1000))
    with host(available=5), pytest.raises(MemoryError), mm.memory_guard(10**15):
        pass
    assert not mm.memory_pool


def test_a_guard_records_also_when_the_block_raises():
    with resident(100, 1000, 4000, 4000, 3000):
        mm = MemoryManager()
        with pytest.raises(KeyError), mm.memory_guard(10):
            raise KeyError
        with mm.memory_guard(20):
            pass
        stats = mm.get_memory_stats()
    assert list(mm.allocation_history) == [
        {"bytes_requested": 10, "bytes_used": 3000, "peak_memory": 4000},
        {"bytes_requested": 20, "bytes_used": -1000, "peak_memory": 4000},
    ]
    assert stats["allocations"] == 2
    assert stats["peak_usage_gb"] == 4e-6
    assert stats["total_requested_gb"] == pytest.approx(30e-9)
    assert stats["total_used_gb"] == pytest.approx(2e-6)
    assert stats["rss_delta_mean_gb"] == pytest.approx(1e-6)
    assert stats["rss_delta_max_gb"] == pytest.approx(3e-6)


def test_garbage_is_collected_above_the_threshold():
    for percent, count in ((90.0, 1), (70.0, 0)):
        with host(percent=percent), patch("gc.collect") as collect:
            with MemoryManager(gc_threshold=0.8).memory_guard(10):
                pass
            assert collect.call_count == count


# The pool. Fault 17: an array in use was in it, and was handed out again.


def test_two_arrays_in_use_are_different_memory(mm):
    a = mm.allocate_array((100, 10))
    a[:] = 7
    b = mm.allocate_array((100, 10))
    assert a is not b and not np.shares_memory(a, b)
    assert (a == 7).all() and (b == 0).all()
    assert not mm.memory_pool


@pytest.mark.parametrize("dtype", [np.float64, "float64", np.dtype("float64"), "<f8"])
def test_a_freed_array_is_stored_once_and_used_again(mm, dtype):
    a = mm.allocate_array((30, 4), dtype=dtype)
    a[:] = 5
    mm.free_array(a)
    mm.free_array(a)
    assert mm.get_memory_stats()["pool_arrays"] == 1
    assert mm.get_memory_stats()["pool_memory_gb"] == 960 / 1e9
    b = mm.allocate_array((30, 4), dtype=np.float64)
    assert b is a and (b == 0).all()
    assert not mm.memory_pool
    mm.free_array(b)
    assert (mm.allocate_array((30, 4), zero=False) == 0).all()


def test_shapes_are_numbers_lists_or_tuples(mm):
    assert mm.allocate_array(5).shape == (5,)
    assert mm.allocate_array([3, 4]).shape == (3, 4)
    assert mm.allocate_array((0,)).shape == (0,)
    assert mm.allocate_array((), dtype="i4").dtype == np.int32
    with pytest.raises(ValueError, match="negative"):
        mm.allocate_array((-1,))


def test_nothing_of_anothers_memory_is_kept(mm):
    whole = np.zeros((10, 10))
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    for array in (whole[:5], whole[:, ::2], whole.T, frozen, np.zeros(3, object)):
        mm.free_array(array)
    assert not mm.memory_pool


def test_a_temporary_array_comes_back_also_when_the_block_raises(mm):
    with mm.temporary_allocation((3, 4)) as first:
        first[:] = 1
        assert not mm.memory_pool
    with pytest.raises(KeyError), mm.temporary_allocation((3, 4)) as again:
        assert again is first and again.sum() == 0
        raise KeyError
    assert list(mm.memory_pool) == [((3, 4), np.dtype("float64"))]


# Fault 15: nothing kept the pool small.


def test_the_pool_keeps_its_limits_by_itself(mm):
    for length in range(1, 251):
        mm.free_array(np.zeros(length))
    assert len(mm.memory_pool) == 100
    assert next(iter(mm.memory_pool)) == ((151,), np.dtype("float64"))

    mm.pool_max_bytes = 8 * 501
    mm.free_array(np.zeros(251))
    assert [shape for shape, _ in mm.memory_pool] == [(250,), (251,)]
    mm.free_array(np.zeros(502))
    assert [shape for shape, _ in mm.memory_pool] == [(250,), (251,)]


def test_what_was_used_last_stays(mm):
    for length in (1, 2, 3):
        mm.free_array(np.zeros(length))
    mm.free_array(mm.allocate_array((1,)))
    mm.optimize_memory_pool(max_arrays=2)
    assert [shape for shape, _ in mm.memory_pool] == [(3,), (1,)]
    mm.optimize_memory_pool(max_arrays=0)
    assert not mm.memory_pool
    with pytest.raises(ValueError, match="max_arrays is -1"):
        mm.optimize_memory_pool(-1)


# Fault 18: what `efficiency` is.


def test_efficiency_is_how_often_the_pool_helped(mm):
    for _ in range(10):
        mm.free_array(mm.allocate_array((100, 10)))
    stats = mm.get_memory_stats()
    assert (stats["efficiency"], stats["allocations"]) == (0.9, 1)
    assert {"rss_delta_mean_gb", "rss_delta_max_gb"} <= set(stats)


def test_the_statistics_have_nlsqs_names(mm):
    first = [
        "current_usage_gb",
        "available_gb",
        "peak_usage_gb",
        "usage_fraction",
        "pool_memory_gb",
        "pool_arrays",
        "allocations",
    ]
    assert list(mm.get_memory_stats()) == [*first, "disable_padding"]
    with mm.memory_guard(10):
        pass
    names = set(mm.get_memory_stats())
    assert {*first, "total_requested_gb", "total_used_gb", "efficiency"} <= names
    adaptive = MemoryManager(enable_adaptive_safety=True).get_memory_stats()
    assert adaptive["safety_telemetry"]["telemetry_entries"] == 0


# The safety factor: the numbers of NLSQ 0.7.6.


def test_the_safety_factor_falls_to_what_was_needed():
    mm = MemoryManager(enable_adaptive_safety=True)
    for i in range(15):
        mm._record_safety_telemetry(1200, 1010.0 if i % 3 else 900)
    falling = [1.2] * 10 + [1.15, 1.0999999999999999, 1.05, 1.05, 1.05]
    assert mm.get_safety_telemetry() == {
        "current_safety_factor": 1.05,
        "initial_safety_factor": 1.2,
        "min_safety_factor": 1.05,
        "telemetry_entries": 15,
        "adaptive_enabled": True,
        "p95_safety_needed": 1.01,
        "mean_safety_needed": 0.9405833333333332,
        "max_safety_needed": 1.01,
        "safety_factor_history": falling,
    }
    for _ in range(5):
        mm._record_safety_telemetry(1200, 3000)
    assert mm.safety_factor == 1.05
    assert mm.get_safety_telemetry()["p95_safety_needed"] == 2.625


def test_guards_record_what_they_needed():
    with resident(100, *[1000, 1000 + 110] * 10):
        mm = MemoryManager(enable_adaptive_safety=True)
        for _ in range(10):
            with mm.memory_guard(120):
                pass
    telemetry = mm.get_safety_telemetry()
    assert telemetry["max_safety_needed"] == pytest.approx(1.1)
    assert telemetry["current_safety_factor"] == 1.15


def test_nothing_is_recorded_where_it_does_not_adapt(mm):
    with mm.memory_guard(10):
        pass
    assert set(mm.get_safety_telemetry()) == {
        "current_safety_factor",
        "initial_safety_factor",
        "min_safety_factor",
        "telemetry_entries",
        "adaptive_enabled",
    }


# The program's manager, threads, and NLSQ's own name.


def test_the_program_has_one_manager():
    managers = []
    threads = [
        threading.Thread(target=lambda: managers.append(get_memory_manager())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(manager) for manager in managers}) == 1
    managers[0].free_array(np.zeros(10))
    assert get_memory_stats()["pool_arrays"] >= 1
    assert clear_memory_pool() is None
    assert get_memory_stats()["pool_arrays"] == 0


def test_threads_never_get_the_same_array(mm):
    wrong = []

    def work(number):
        for i in range(300):
            array = mm.allocate_array((50 + i % 3, 10))
            if array.any():
                wrong.append("not zero")
            array.fill(number)
            if (array != number).any():
                wrong.append("another's")
            mm.free_array(array)
            if i % 50 == 0:
                mm.optimize_memory_pool(1)
                mm.get_memory_stats()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert mm._hits + mm._misses == 1200


NAMED = """
from arraybridge.nlsq_memory import MemoryManager, install_as_nlsq
{before}
assert install_as_nlsq() is {installed}
assert install_as_nlsq() is {installed}
{after}
"""


def run(before, installed, after):
    code = NAMED.format(before=before, installed=installed, after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    nlsq_memory.importlib.util.find_spec("nlsq") is not None, reason="NLSQ is installed"
)
def test_it_can_stand_in_for_nlsq():
    run(
        "",
        True,
        """
import nlsq.caching.memory_manager as module
from nlsq.caching.memory_manager import MemoryManager as named
from nlsq.memory_manager import get_memory_manager
from nlsq.streaming.large_dataset import MemoryEstimator
import nlsq
assert named is MemoryManager and nlsq.caching.memory_manager is module
try:
    from nlsq import curve_fit_large
except ImportError:
    pass
else:
    raise AssertionError("there is no such function")
""",
    )


def test_nlsq_itself_is_left_alone():
    run(
        "import sys, types; sys.modules['nlsq'] = types.ModuleType('nlsq')",
        False,
        "assert 'nlsq.caching' not in sys.modules",
    )


# What NLSQ has for large data sets.


def test_buckets_are_powers_of_two():
    assert CHUNK_BUCKETS == (1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
    sizes = {-1: 1024, 0: 1024, 1: 1024, 1024: 1024, 1025: 2048, 131072: 131072, 131073: 131073}
    assert {size: get_bucket_size(size) for size in sizes} == sizes


def test_a_chunk_is_padded():
    chunk = ChunkBuffer.from_array(np.arange(1500.0), -1.0)
    assert (chunk.data.shape, chunk.valid_length, chunk.bucket_size) == ((2048,), 1500, 2048)
    assert (chunk.data[1500:] == -1).all() and chunk.mask.sum() == 1500
    assert np.shares_memory(chunk.get_valid_data(), chunk.data)
    assert (chunk.get_valid_data() == np.arange(1500.0)).all()
    wide = ChunkBuffer.from_array(np.ones((1500, 3), "f4"))
    assert (wide.data.shape, wide.data.dtype) == ((2048, 3), np.float32)


def test_buffers_are_the_same_each_time_unless_too_small():
    pool = ChunkBufferPool(10, np.float32, (2,))
    assert (pool.chunk_size, pool.dtype, pool.x_feature_shape) == (10, np.float32, (2,))
    (x, y), (again, _) = pool.get_buffers(5), pool.get_buffers(5)
    assert (x.shape, y.shape, x.dtype) == ((5, 2), (5,), np.float32)
    assert np.shares_memory(x, again)
    larger, _ = pool.get_buffers(20)
    assert larger.shape == (20, 2) and not np.shares_memory(larger, x)
    with pytest.raises(ValueError, match="size is -1"):
        pool.get_buffers(-1)


def test_chunks_have_every_point_once():
    x, y = np.arange(10.0), np.arange(10.0) * 2
    chunks = list(DataChunker.create_chunks(x, y, 4))
    assert [(index, valid, len(xs)) for xs, _, index, valid in chunks] == [
        (0, 4, 1024),
        (1, 4, 1024),
        (2, 2, 1024),
    ]
    assert (np.concatenate([xs[:valid] for xs, _, _, valid in chunks]) == x).all()
    assert (chunks[2][1][2:] == 0).all()

    shuffled = list(DataChunker.create_chunks(x, y, 4, shuffle=True, random_seed=42))
    order = np.concatenate([xs[:valid] for xs, _, _, valid in shuffled])
    assert order.tolist() == [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]
    assert all((ys == 2 * xs).all() for xs, ys, _, _ in shuffled)

    pool = ChunkBufferPool(1024)
    pooled = [xs for xs, *_ in DataChunker.create_chunks(x, y, 4, buffer_pool=pool)]
    assert np.shares_memory(pooled[0], pooled[1])
    columns, *_ = next(DataChunker.create_chunks(np.stack([x, x + 1]), y, 4))
    assert columns.shape == (1024, 2) and columns[1].tolist() == [1, 2]


def test_what_is_wrong_with_chunks_is_said():
    x = np.arange(10.0)
    with pytest.raises(ValueError, match="10 points and ydata 5"):
        next(DataChunker.create_chunks(x, x[:5], 4))
    with pytest.raises(ValueError, match="chunk_size is 0"):
        next(DataChunker.create_chunks(x, x, 0))
    assert list(DataChunker.create_chunks(x[:0], x[:0], 4)) == []


def test_estimates_are_nlsqs():
    assert MemoryEstimator.estimate_memory_per_point(5) == 194
    assert MemoryEstimator.estimate_memory_per_point(5, False) == 154
    assert MemoryEstimator.estimate_maximum_memory_usage_gb(10**6, 5) == 0.2168118953704834
    with host(available=24 * GIB):
        assert MemoryEstimator.get_available_memory_gb() == 24.0
        assert MemoryEstimator.get_total_available_memory_gb() == 24.0
        for points, params, limit, chunk, count in [
            (1000, 5, 8.0, 1000, 1),
            (10**9, 5, 8.0, 10**6, 1000),
            (10**8, 50, 0.1, 67424, 1484),
            (10**8, 50, 1e-9, 1000, 100_000),
            (10**6, 5, 0.05, 221_390, 5),
        ]:
            config = LDMemoryConfig(memory_limit_gb=limit)
            found, stats = MemoryEstimator.calculate_optimal_chunk_size(points, params, config)
            assert (found, stats.recommended_chunk_size, stats.n_chunks) == (chunk, chunk, count)
        assert (
            estimate_memory_requirements(10**6, 5).total_memory_estimate_gb == 0.18067657947540283
        )
    with patch("psutil.virtual_memory", side_effect=OSError):
        assert MemoryEstimator.get_available_memory_gb() == 16.0
    with pytest.raises(ValueError, match="n_points is 0"):
        estimate_memory_requirements(0, 5)
    with pytest.raises(ValueError, match="gc_chunk_interval is 0"):
        LDMemoryConfig(gc_chunk_interval=0)


def test_gpus_are_added_up():
    def device(platform, **stats):
        return SimpleNamespace(platform=platform, memory_stats=lambda: stats)

    gpus = [
        device("cpu"),
        device("gpu", bytes_limit=8 * GIB, bytes_in_use=GIB),
        device("gpu", bytes_limit=4 * GIB, bytes_in_use=0),
    ]
    estimator = GPUMemoryEstimator()
    with patch.dict(sys.modules, jax=SimpleNamespace(devices=lambda: gpus)):
        assert estimator.get_available_gpu_memory_gb() == 11.0
        assert estimator.get_total_gpu_memory_gb() == 12.0
        assert estimator.has_gpu()
    with patch.dict(sys.modules, jax=SimpleNamespace(devices=lambda: 1 / 0)):
        assert (estimator.get_available_gpu_memory_gb(), estimator.has_gpu()) == (0.0, False)


def test_budgets_choose_as_nlsqs():
    budget = MemoryBudget.compute(10**8, 5, memory_limit_gb=4.0)
    assert (budget.available_gb, budget.threshold_gb) == (4.0, 3.0)
    assert (budget.data_gb, budget.jacobian_gb) == (1.4901161193847656, 3.725290298461914)
    assert budget.peak_gb == 6.4329935073852536
    assert (budget.chunked_threshold_gb, budget.fits_in_memory, budget.data_fits) == (
        pytest.approx(2.7),
        False,
        True,
    )
    selector = MemoryBudgetSelector()
    assert selector.select(1000, 5, memory_limit_gb=4.0) == ("standard", None)
    strategy, config = selector.select(10**8, 5, memory_limit_gb=4.0)
    assert (strategy, config.memory_limit_gb, config.safety_factor) == ("chunked", 3.0, 1.0)
    assert config.streaming_batch_size == 1_000_000
    assert selector.select(10**9, 5, memory_limit_gb=4.0)[0] == "streaming"
    assert selector.select(1, 1, budget=budget)[0] == "chunked"
    for arguments in (
        {"n_points": 0},
        {"n_params": 0},
        {"safety_factor": 0},
        {"safety_factor": 1.5},
        {"memory_limit_gb": -1.0},
    ):
        with pytest.raises(ValueError):
            MemoryBudget.compute(**{"n_points": 10, "n_params": 2, **arguments})


def test_progress_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        reporter = ProgressReporter(4, logging.getLogger("fit"))
        reporter.update(0, {"success": True})
        reporter.update(1)
    assert reporter.completed_chunks == 2
    assert "chunk 2 of 4 (50.0 %)" in caplog.text
    assert cleanup_memory() is None
