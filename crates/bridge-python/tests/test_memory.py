"""`arraybridge.memory`: budgets, pools, profiles, monitors."""

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arraybridge import memory
from arraybridge.memory import (
    Budget,
    Monitor,
    Never,
    NotNow,
    Pool,
    Shortage,
    doctor,
    host_memory,
    process_memory,
    profile,
)

MIB = 1 << 20


@pytest.fixture
def budget():
    return Budget("images", 100 * MIB)


# Budgets.


def test_a_reservation_is_given_back_at_the_end_of_with(budget):
    with budget.reserve(60 * MIB, name="loader") as room:
        assert (room.bytes, room.consumer, room.released) == (60 * MIB, "loader", False)
        assert (budget.reserved, budget.available) == (60 * MIB, 40 * MIB)
        assert budget.holders == [("loader", 60 * MIB)]
    assert (budget.reserved, room.bytes, room.released) == (0, 0, True)
    assert budget.peak == 60 * MIB


def test_also_where_the_block_raises(budget):
    with pytest.raises(KeyError), budget.reserve(MIB):
        raise KeyError
    assert budget.reserved == 0


def test_or_where_nothing_refers_to_it_any_more(budget):
    room = budget.reserve(MIB)
    assert budget.reserved == MIB
    del room
    gc.collect()
    assert budget.reserved == 0


def test_what_is_left_no_more_is_not_now(budget):
    with budget.reserve(60 * MIB, name="loader"), budget.reserve(10 * MIB, name="model"):
        with pytest.raises(NotNow) as raised:
            budget.reserve(50 * MIB)
    error = raised.value
    assert isinstance(error, Shortage) and isinstance(error, MemoryError)
    assert (error.budget, error.device) == ("images", None)
    assert (error.need, error.have) == (50 * MIB, 30 * MIB)
    assert error.holders == [("loader", 60 * MIB), ("model", 10 * MIB)]
    assert error.waited is None
    assert "held by loader 60.0 MiB, model 10.0 MiB" in str(error)
    assert pickle.loads(pickle.dumps(error)).holders == error.holders


def test_more_than_there_is_in_all_is_never(budget):
    with pytest.raises(Never, match="can never be had") as raised:
        budget.reserve(101 * MIB)
    assert (raised.value.need, raised.value.capacity) == (101 * MIB, 100 * MIB)
    assert not isinstance(raised.value, NotNow)


def test_a_reservation_grows_shrinks_and_splits(budget):
    room = budget.reserve(10 * MIB, name="model")
    room.grow(5 * MIB)
    room.shrink(3 * MIB)
    assert (room.bytes, budget.reserved) == (12 * MIB, 12 * MIB)
    room.resize(20 * MIB)
    part = room.split(8 * MIB)
    assert (room.bytes, part.bytes, part.consumer) == (12 * MIB, 8 * MIB, "model")
    with room:
        kept = room.take()
        assert room.bytes == 0
    assert (kept.bytes, budget.reserved) == (12 * MIB, 20 * MIB)
    with pytest.raises(NotNow):
        kept.grow(90 * MIB)
    with pytest.raises(ValueError, match="13"):
        kept.shrink(13 * MIB)
    assert kept.bytes == 12 * MIB
    kept.release()
    kept.release()
    with pytest.raises(ValueError, match="was released"):
        kept.grow(1)
    assert budget.reserved == 8 * MIB
    assert "8388608 bytes" in repr(part) and "released" in repr(kept)


@pytest.mark.parametrize(
    ("size", "error"),
    [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), ("1", TypeError), (None, TypeError)],
)
def test_what_is_no_size_is_refused(budget, size, error):
    with pytest.raises(error):
        budget.reserve(size)
    with pytest.raises(error):
        Budget("b", size)


def test_numpys_numbers_are_sizes(budget):
    assert budget.reserve(np.int64(5)).bytes == 5


def test_what_is_wrong_with_a_budget_is_said():
    with pytest.raises(ValueError, match="must be at least 1"):
        Budget("none", 0)
    with pytest.raises(ValueError, match="tpu"):
        Budget.of("tpu:0")
    with pytest.raises(ValueError, match="leave out fair"):
        Budget("both", 1, fair=True, device="cpu")
    with pytest.raises(RuntimeError, match="cuda"):
        Budget.of("cuda:7")
    with pytest.raises(ValueError, match="-1"):
        Budget("b", 10).reserve(11, timeout=-1)


def test_a_floor_is_kept(budget):
    model = budget.consumer("model", floor=40 * MIB)
    assert (model.name, model.floor, model.reserved) == ("model", 40 * MIB, 0)
    with pytest.raises(NotNow) as raised:
        budget.reserve(70 * MIB, name="loader")
    assert raised.value.have == 60 * MIB
    with budget.reserve(60 * MIB, name="loader"), model.reserve(40 * MIB):
        assert model.reserved == 40 * MIB


def test_fair_shares_are_equal():
    fair = Budget("fair", 100, fair=True)
    with fair.reserve(50, name="a"):
        with fair.reserve(40, name="b"), pytest.raises(NotNow):
            fair.reserve(10, name="a")


def test_a_part_counts_in_the_whole(budget):
    part = budget.part("thumbnails", 10 * MIB)
    with part.reserve(8 * MIB):
        assert budget.holders == [("thumbnails", 8 * MIB)]
    with budget.reserve(95 * MIB), pytest.raises(NotNow) as raised:
        part.reserve(8 * MIB)
    assert raised.value.budget == "images"


def test_the_programs_budgets_are_the_same_each_time():
    assert Budget.of("cpu") == Budget.of("CPU") and Budget.of("cpu").device == "cpu"
    assert hash(Budget.of("cpu")) == hash(Budget.of("cpu"))
    assert Budget.process() == Budget.process() != Budget.of("cpu")
    with Budget.of("cpu").reserve(1000, name="a test"):
        assert ("cpu", 1000) in Budget.process().holders
    assert Budget.measured("half", 0.5).capacity < host_memory()["total"] * 0.6


def test_the_capacity_can_be_set(budget):
    with budget.reserve(60 * MIB):
        budget.capacity = 50 * MIB
        assert (budget.capacity, budget.available) == (50 * MIB, 0)
        with pytest.raises(NotNow):
            budget.reserve(1)
    status = budget.status()
    assert (status["name"], status["capacity"], status["holders"]) == ("images", 50 * MIB, [])
    assert "images" in repr(budget)


def test_waiting_lets_others_work(budget):
    held = budget.reserve(90 * MIB)
    counted = []

    def release():
        # It runs while the other waits: that has not the interpreter's lock.
        for i in range(1000):
            counted.append(i)
        time.sleep(0.1)
        held.release()

    thread = threading.Thread(target=release)
    thread.start()
    with budget.reserve(50 * MIB, timeout=30) as room:
        assert room.bytes == 50 * MIB and len(counted) == 1000
    thread.join()


def test_waiting_ends(budget):
    with budget.reserve(90 * MIB, name="holder"):
        start = time.monotonic()
        with pytest.raises(NotNow, match="waited") as raised:
            budget.reserve(50 * MIB, timeout=0.2)
    assert 0.15 < raised.value.waited <= time.monotonic() - start < 5
    assert raised.value.holders == [("holder", 90 * MIB)]


@pytest.fixture
def interrupts():
    """Ctrl-C raises, also where the program was started with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.usefixtures("interrupts")
def test_ctrl_c_ends_waiting(budget):
    with budget.reserve(90 * MIB):
        timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            budget.reserve(50 * MIB, timeout=5)
        assert time.monotonic() - start < 3
        timer.join()


def test_a_cache_gives_back_before_anybody_is_refused(budget):
    cache = budget.reserve(90 * MIB, name="cache")
    asked = []

    def relieve(missing):
        asked.append(missing)
        given = cache.bytes
        cache.release()
        return given

    with budget.on_pressure("cache", relieve):
        with budget.reserve(30 * MIB):
            assert asked == [20 * MIB]
        cache = budget.reserve(90 * MIB, name="cache")
    with pytest.raises(NotNow):
        budget.reserve(30 * MIB)
    assert len(asked) == 1


def test_a_cache_that_raises_is_reported_and_gives_nothing(budget):
    caught = []
    before, sys.unraisablehook = sys.unraisablehook, caught.append
    try:
        with budget.reserve(90 * MIB), budget.on_pressure("broken", lambda missing: 1 / 0):
            with pytest.raises(NotNow):
                budget.reserve(30 * MIB)
    finally:
        sys.unraisablehook = before
    assert caught and caught[0].exc_type is ZeroDivisionError


def test_many_threads_never_have_more_than_there_is():
    budget = Budget("shared", 100)
    most, wrong = [0], []

    def work():
        for i in range(200):
            try:
                with budget.reserve(30 + i % 20, timeout=5):
                    most[0] = max(most[0], budget.reserved)
            except MemoryError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and budget.reserved == 0 and 30 <= budget.peak <= 100


# Pools.


def test_an_array_goes_back_when_nothing_refers_to_it():
    pool = Pool()
    array = pool.zeros((1000, 10))
    array[:] = 7
    address = array.ctypes.data
    del array
    gc.collect()
    assert pool.stats()["buffers_in_use"] == 0
    again = pool.zeros((1000, 10))
    assert again.ctypes.data == address and not again.any()
    assert pool.stats()["hits"] == 1


def test_not_while_a_view_does():
    pool = Pool()
    array = pool.zeros((1000, 10))
    views = [array[5:, ::2], array.T, memoryview(array), array.view("u1").reshape(-1)[8:]]
    address = array.ctypes.data
    del array
    while views:
        gc.collect()
        other = pool.zeros((1000, 10))
        assert other.ctypes.data != address
        other[:] = 1
        assert not np.asarray(views[-1]).any()
        del other
        views.pop()
    gc.collect()
    held = [pool.empty((1000, 10)) for _ in range(2)]
    assert address in [one.ctypes.data for one in held]


def test_a_pools_arrays_are_any_others(tmp_path):
    pool = Pool()
    for shape, dtype in [
        ((), "f8"),
        (5, np.float32),
        ((0, 3), int),
        ((2, 3), "complex64"),
        ((4,), "datetime64[s]"),
        ((2,), [("a", "i4"), ("b", "f8")]),
        ((3,), "U5"),
        ((3,), ">i2"),
    ]:
        array = pool.zeros(shape, dtype)
        like = np.zeros(shape, dtype)
        assert (array.shape, array.dtype, array.tolist()) == (like.shape, like.dtype, like.tolist())
        assert array.flags.writeable and array.flags.c_contiguous and array.flags.aligned
    array = pool.empty((100, 100))
    array[:] = 3
    assert pickle.loads(pickle.dumps(array)).sum() == 30_000
    np.save(tmp_path / "array.npy", array)
    assert (np.load(tmp_path / "array.npy") == 3).all()
    assert array.ctypes.data % 64 == 0


def test_what_is_no_array_of_a_pool_is_said():
    pool = Pool()
    with pytest.raises(ValueError, match="Python objects"):
        pool.zeros(3, object)
    with pytest.raises(ValueError, match="no length can be negative"):
        pool.zeros((3, -1))
    with pytest.raises((MemoryError, ValueError)):
        pool.zeros((2**40, 2**40))
    with pytest.raises(MemoryError):
        pool.empty(2**50)
    with pytest.raises(TypeError):
        pool.zeros(1.5)


def test_a_temporary_array_goes_back():
    pool = Pool()

    def work():
        with pool.temporary((100, 100), np.float32) as array:
            array += 1
            assert pool.stats()["buffers_in_use"] == 1
            return float(array.sum())

    assert work() == work() == 10_000
    gc.collect()
    stats = pool.stats()
    assert (stats["hits"], stats["misses"], stats["buffers_in_use"]) == (1, 1, 0)

    with pytest.raises(KeyError), pool.temporary(10):
        raise KeyError
    with pool.temporary(10) as kept:
        kept[:] = 4
    # The name still refers to it: nobody else gets it.
    assert pool.zeros(10).ctypes.data != kept.ctypes.data and kept.sum() == 40


def test_a_pool_keeps_its_limits():
    pool = Pool(max_bytes=1 << 20, max_buffers=3)
    arrays = [pool.empty(1000) for _ in range(6)]
    del arrays
    gc.collect()
    assert pool.stats()["pool_arrays"] == 3
    assert pool.keep(1) > 0 and pool.stats()["pool_arrays"] == 1
    assert pool.clear() > 0 and pool.trim() == 0
    assert pool.stats()["bytes_cached"] == 0
    assert "0 kept in 0 buffers" in repr(pool)
    pool.empty(1 << 20)
    assert pool.stats()["pool_arrays"] == 0
    with pytest.raises(ValueError):
        Pool(max_bytes=-1)


def test_a_pool_counts_in_its_budget():
    budget = Budget("images", 10 * MIB)
    pool = Pool(within=budget, name="thumbnails", exact=True)
    array = pool.empty(6 * MIB, "u1")
    assert budget.holders == [("thumbnails", 6 * MIB)]
    with pytest.raises(NotNow):
        budget.reserve(5 * MIB)
    with pytest.raises(NotNow):
        pool.empty(5 * MIB, "u1")
    del array
    gc.collect()
    assert budget.reserved == 6 * MIB
    # What is in no use is freed before anybody is refused.
    with budget.reserve(5 * MIB):
        assert budget.holders == [("unnamed", 5 * MIB)]


def test_a_pool_may_go_before_its_arrays():
    pool = Pool()
    array = pool.zeros(1000)
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    array[:] = 1
    assert array.sum() == 1000


def test_arrays_may_be_dropped_on_any_thread():
    pool = Pool()
    wrong = []

    def work(number):
        for i in range(300):
            array = pool.empty(100 + i % 7)
            array[:] = number
            time.sleep(0)
            if (array != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not wrong and pool.stats()["buffers_in_use"] == 0


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5000), st.booleans()), max_size=30))
def test_no_two_arrays_in_use_share_memory(steps):
    pool, held = Pool(), []
    for number, (length, drop) in enumerate(steps):
        array = pool.empty(length, "i4")
        array[:] = number
        held.append((number, array))
        if drop:
            held.pop(len(held) // 2)
        for value, one in held:
            assert (one == value).all()


# Profiles and monitors.


def test_a_profile_says_what_a_block_took():
    with profile("ones") as taken:
        # More than earlier tests may have left to glibc, which would hand it out again: 64 MiB.
        array = np.ones(200 * MIB, "u1")
    assert 190 * MIB < taken.resident < 260 * MIB
    assert (taken.name, taken.delta["name"], taken.delta["devices"]) == ("ones", "ones", [])
    assert str(taken).startswith("ones") and "process +" in str(taken)
    del array
    with pytest.raises(KeyError), profile() as failed:
        raise KeyError
    assert failed.resident is not None
    with pytest.raises(RuntimeError, match="after the end"):
        _ = profile("later").resident


def test_a_monitor_records(tmp_path, budget):
    with Monitor(0.01, watch=[budget], mark_recovery=True) as monitor:
        assert monitor.running and "running" in repr(monitor)
        with budget.reserve(60 * MIB):
            monitor.sample()
        monitor.mark("loaded")
        time.sleep(0.05)
        assert monitor.recording.samples >= 2
    recording = monitor.recording
    assert not monitor.running and recording.samples >= 3 and recording.missing == 0
    assert recording.series["reserved in images"]["max"] == 60 * MIB
    assert recording.series["capacity of images"]["last"] == 100 * MIB
    assert recording.series["process"]["max"] >= recording.series["process"]["min"] > MIB
    assert [what for _, what in recording.marks] == ["loaded"]
    assert recording.points[0]["samples"] >= 1

    rows = monitor.csv().splitlines()
    assert rows[0] == "seconds,process,reserved in images,capacity of images,event"
    assert any("loaded" in row for row in rows[1:])
    assert json.loads(monitor.json())["samples"] == recording.samples
    assert monitor.svg("Loading").startswith("<svg") and "Loading" in monitor.svg("Loading")
    assert recording._repr_svg_().startswith("<svg")
    assert monitor.png()[:4] == b"\x89PNG"
    assert "process" in repr(recording)


def test_a_monitor_can_be_started_and_stopped():
    monitor = Monitor(0.01)
    for call in (monitor.stop, monitor.sample, lambda: monitor.recording):
        with pytest.raises(RuntimeError):
            call()
    monitor.start()
    with pytest.raises(RuntimeError, match="runs already"):
        monitor.start()
    assert monitor.stop().samples == monitor.stop().samples >= 2
    with pytest.raises(RuntimeError):
        monitor.mark("too late")
    with monitor:
        pass
    with pytest.raises(KeyError), Monitor(60) as slow:
        raise KeyError
    assert not slow.running


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf")])
def test_an_interval_is_above_zero(interval):
    with pytest.raises(ValueError, match="interval"):
        Monitor(interval)


def test_fewer_than_two_points_are_none():
    with pytest.raises(ValueError, match="keep is 1"):
        Monitor(1, keep=1)


def test_the_doctor_knows_who_holds_what():
    with Budget.process().reserve(1000, name="a test"):
        found = doctor()
    assert 0 < found["host"]["available"] <= found["host"]["total"]
    assert found["process"]["resident"] == pytest.approx(process_memory()["resident"], rel=0.5)
    assert found["usage"]["resident"] > MIB
    assert {"name": "a test", "bytes": 1000} in found["budget"]["holders"]


def test_all_names_are_there():
    assert set(memory.__all__) <= set(dir(memory))
    for name in memory.__all__:
        assert getattr(memory, name).__doc__, name


@pytest.mark.parametrize(
    "started", ["memory.Monitor(0.001).start", "training.MemoryMonitor(0.001).start_monitoring"]
)
def test_a_monitor_that_runs_at_exit_does_not_ask_an_interpreter_that_is_gone(started):
    program = f"""
import threading, time
import arraybridge.memory, arraybridge.training
start = arraybridge.{started}
start()
def work():
    while True:
        sum(range(100))
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
"""
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_monitor_that_is_dropped_while_it_runs_stops():
    before = threading.active_count(), len(os.listdir("/proc/self/task"))
    for _ in range(20):
        monitor = Monitor(0.0005)
        monitor.start()
        del monitor
    gc.collect()
    assert (threading.active_count(), len(os.listdir("/proc/self/task"))) == before


def test_a_monitor_that_runs_at_exit_does_not_hold_the_program():
    code = "from arraybridge.memory import *; m = Monitor(60); m.start(); b = Budget('b', 9).reserve(1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
