"""Many threads at once. Where the interpreter has no lock they truly run at the same time; elsewhere they take turns, here as
often as the interpreter lets them."""

from __future__ import annotations

import contextvars
import gc
import importlib.util
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import arraybridge
from arraybridge import convert, convert_reported, memory_types, stack_slices, unstack_slices
from arraybridge._native import detect
from arraybridge.conversion import ConversionCounters
from arraybridge.memory import Budget, Monitor, NotNow, Pool, profile

THREADS = 6

is_free_threaded = not getattr(sys, "_is_gil_enabled", lambda: True)()
free_threaded = pytest.mark.skipif(not is_free_threaded, reason="this interpreter runs one thread at a time")


@pytest.fixture(autouse=True)
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What `work(number)` returns on each of so many threads, which begin together. What one raises is raised."""
    gate = threading.Barrier(threads)
    answers: list[Any] = [None] * threads
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            gate.wait(60)
            answers[number] = work(number)
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(120)
        assert not thread.is_alive(), "it hangs"
    if failures:
        raise failures[0]
    return answers


def installed(*names: str) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is not None]


TARGETS = ["numpy", *installed("torch", "jax"), "tensor", "ndarray", "candle"]


# The interpreter.


@free_threaded
def test_the_lock_stays_off_with_every_part_of_the_package(run_python):
    program = """
    import importlib, pkgutil, sys, warnings
    warnings.simplefilter("error", RuntimeWarning)
    import arraybridge, numpy
    for name in installed:
        arraybridge.convert(arraybridge.convert(numpy.ones(3, "float32"), name, copy=True), "numpy")
    for module in pkgutil.iter_modules(arraybridge.__path__, "arraybridge."):
        if not module.name.endswith(("__main__", "dask", "mixed_precision", "training_modules")):
            importlib.import_module(module.name)
    print(sys._is_gil_enabled())
    """
    lines = [f"installed = {installed('torch', 'jax')}", *(line[4:] for line in program.splitlines())]
    assert run_python("\n".join(lines)).split() == ["False"]


def test_the_first_use_of_everything_may_be_on_many_threads(run_python):
    program = """
    import sys, threading
    import numpy as np
    sys.setswitchinterval(1e-5)
    gate, failures = threading.Barrier(8), []
    def run(number):
        try:
            array = np.full((3, 4), number, "float32")
            gate.wait(60)
            import arraybridge
            assert arraybridge.detect_memory_type(array) == "numpy"
            for name in targets[number % 2:] + targets[: number % 2]:
                made = arraybridge.convert(array, name, copy=True)
                assert (np.asarray(arraybridge.convert(made, "numpy")) == number).all(), name
            assert arraybridge.convert_memory(array, "numpy", "numpy") is array
            assert arraybridge.MemoryType.NUMPY.to_numpy(array) is array
            arraybridge.stack_slices([array, array], "numpy", None)
        except BaseException as error:
            failures.append(repr(error))
    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(failures)
    """
    targets = [name for name in TARGETS if name != "jax"]
    lines = [f"targets = {targets}", *(line[4:] for line in program.splitlines())]
    assert run_python("\n".join(lines)).strip() == "[]"


# Conversions.


@pytest.mark.parametrize("shape", [(3, 5), (200, 100)], ids=["small", "copied without the interpreter"])
def test_each_thread_converts_its_own_arrays(shape):
    def work(number: int) -> None:
        array = np.full(shape, number, np.float32)
        for _ in range(10):
            for source in TARGETS[:3]:
                given = convert(array, source)
                for target in TARGETS:
                    made = convert(given, target)
                    narrow, report = convert_reported(made, "numpy", dtype="int16")
                    assert report.steps and (np.asarray(narrow) == number).all(), (source, target)

    at_once(work)


@pytest.mark.parametrize("source", TARGETS)
def test_all_threads_convert_one_array(source):
    shared = convert(np.arange(64.0, dtype=np.float32).reshape(8, 8), source)

    def work(number: int) -> None:
        for _ in range(30):
            for target in TARGETS:
                made = convert(shared, target, copy=True if number % 2 else None)
                assert np.asarray(convert(made, "numpy"))[7, 7] == 63.0

    at_once(work)


def test_what_one_thread_converts_another_lets_go_of():
    """No array is kept, and none let go of too early, however they are handed about."""
    made: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sources = []

    class Array(np.ndarray):
        """One that can be referred to weakly."""

    def work(number: int) -> list[weakref.ref[Any]]:
        kept = []
        for turn in range(40):
            array = np.full(100, number, np.float32).view(Array)
            kept.append(weakref.ref(array))
            for target in TARGETS[: 2 + turn % 2]:
                made.put((number, convert(convert(array, "tensor"), target)))
            owner, other = made.get(timeout=60)
            assert np.asarray(convert(other, "numpy"))[99] == owner
        return kept

    for kept in at_once(work):
        sources.extend(kept)
    while not made.empty():
        made.get()
    convert(np.ones(2), "tensor")  # what other threads could not let go of is let go of
    gc.collect()
    assert [source for source in sources if source() is not None] == []


def test_detection_while_objects_change_their_class():
    """What a class is found to be is said of that class, also where an object has another one a moment later."""

    def kinds() -> tuple[type, type]:
        array = type("Array", (), {"__module__": "jax"})
        return array, type("Other", (), {"__module__": "elsewhere"})

    made = [kinds() for _ in range(150)]
    things = [array() for array, _ in made]

    def work(number: int) -> None:
        for (array, other), thing in zip(made, things, strict=True):
            for _ in range(30):
                if number == 0:
                    thing.__class__ = other
                    thing.__class__ = array
                else:
                    assert detect(thing) in ("jax", None)
            assert detect(array()) == "jax"
            assert detect(other()) is None

    at_once(work, 3)


class Once:
    """An array whose capsules are made once, however often it is asked."""

    def __init__(self) -> None:
        self.array = np.arange(8.0)
        self.capsule = self.array.__dlpack__(max_version=(1, 0))

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class OnceArrow:
    """The same by Arrow's interface."""

    def __init__(self) -> None:
        self.pair = pytest.importorskip("pyarrow").array(np.arange(8.0)).__arrow_c_array__()

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self.pair


@pytest.mark.parametrize("kind", [Once, OnceArrow])
def test_a_capsule_is_taken_by_one_thread(kind):
    given = [kind() for _ in range(5000)]

    def work(_: int) -> list[bool]:
        return [is_taken(one) for one in given]

    def is_taken(one: Any) -> bool:
        try:
            return bool(convert(one, "numpy")[7] == 7.0)
        except arraybridge.MemoryConversionError as error:
            assert "taken by somebody else" in error.reason
            return False

    for answers in zip(*at_once(work, 4), strict=True):
        assert answers.count(True) == 1


def test_errors_of_threads_are_their_own():
    """The cause of an error is what happened on the thread that raises it."""

    class Broken:
        def __init__(self, number: int) -> None:
            self.number = number

        def __dlpack__(self, **_: Any) -> Any:
            raise RuntimeError(f"broken by {self.number}")

    def work(number: int) -> None:
        for _ in range(100):
            with pytest.raises(arraybridge.MemoryConversionError) as told:
                convert(Broken(number), "numpy")
            assert str(told.value.__cause__) == f"broken by {number}"

    at_once(work)


# Functions over several arrays.


def test_threads_call_one_decorated_function():
    frameworks = [name for name in TARGETS if name in ("numpy", "torch", "jax")]

    for target in frameworks:

        @memory_types(target, "numpy")
        def twice(array: Any) -> Any:
            return array * 2

        def work(number: int) -> None:
            for turn in range(30):
                given = np.full((2, 3), number, np.float32)
                argument = convert(given, frameworks[turn % len(frameworks)])
                assert (twice(argument) == 2 * number).all()

        at_once(work)


def test_threads_stack_and_take_apart():
    def work(number: int) -> None:
        slices = [np.full((4, 5), number * 10 + index, np.float32) for index in range(3)]
        for _ in range(20):
            for target in TARGETS:
                if target not in ("numpy", "torch", "jax"):
                    continue
                stack = stack_slices(slices, target, gpu_id=None)
                parts = unstack_slices(stack, "numpy", gpu_id=None)
                assert [float(part[0, 0]) for part in parts] == [number * 10 + index for index in range(3)]

    at_once(work)


# Memory.


def test_threads_share_a_budget_and_a_pool():
    """Neither is more given out than there is, nor is any memory given to two, nor is anything left."""
    budget, pool = Budget("all", 1 << 20), Pool(1 << 20)

    def work(number: int) -> int:
        had = 0
        for turn in range(60):
            array = np.full((100, 50 + turn), number, np.float32)
            try:
                with budget.reserve(array.nbytes, name=f"thread {number}"):
                    mine = pool.empty(array.shape, array.dtype)
                    mine[...] = number
                    with budget, pool:
                        made = convert(array, TARGETS[turn % 2], copy=True)
                    assert (mine == number).all() and (np.asarray(made) == number).all()
                    had += 1
            except NotNow as shortage:
                assert shortage.need > shortage.have
        return had

    assert all(at_once(work))
    assert budget.reserved == 0 and 0 < budget.peak <= budget.capacity
    gc.collect()
    assert pool.stats()["buffers_in_use"] == 0


def test_each_thread_is_in_its_own_blocks():
    outside = Budget("outside", 1 << 20)

    def work(number: int) -> None:
        own = Budget(f"own {number}", 1 << 20)
        array = np.ones((number + 1, 10), np.float32)
        for _ in range(100):
            with own:
                convert(array, "numpy", copy=True)
            convert(array, "numpy", copy=True)
        assert (own.peak, own.reserved) == (array.nbytes, 0)

    at_once(work)
    assert outside.peak == 0


def test_a_thread_is_in_the_block_that_it_is_started_in_where_threads_inherit_contexts():
    budget = Budget("outer", 1 << 20)
    array = np.ones((10, 10), np.float32)
    with budget:
        thread = threading.Thread(target=lambda: convert(array, "numpy", copy=True))
        thread.start()
        thread.join()
    inherits = getattr(sys.flags, "thread_inherit_context", 0)
    assert budget.peak == (array.nbytes if inherits else 0)


def test_a_reservation_that_was_released_is_released_for_every_thread():
    reservation = Budget("all", 1000).reserve(10)
    reservation.release()

    def work(number: int) -> None:
        for _ in range(5000):
            if number % 2:
                try:
                    reservation.grow(1)
                except ValueError as error:
                    assert "was released" in str(error)
                else:
                    raise AssertionError("it has grown")
            else:
                assert reservation.bytes == 0 and reservation.released

    at_once(work)


def test_a_monitor_is_started_once_and_stopped_once():
    def asked(ask: Callable[[], Any]) -> Callable[[int], str]:
        def work(_: int) -> str:
            try:
                ask()
            except RuntimeError as error:
                return str(error)
            return "done"

        return work

    for _ in range(2):
        monitor = Monitor(60.0)
        assert set(at_once(asked(monitor.stop))) == {"the monitor was not started"}
        started = at_once(asked(monitor.start))
        assert started.count("done") == 1
        assert set(started) - {"done"} == {"the monitor runs already: stop it first"}
        stopped = at_once(asked(monitor.stop))
        assert "done" in stopped and set(stopped) <= {"done", "another thread is stopping the monitor"}
        assert not monitor.running and monitor.recording.samples >= 2


def test_a_profile_may_be_read_by_all_while_garbage_is_collected():
    with profile("work") as taken:
        pass

    def work(number: int) -> None:
        for turn in range(50):
            assert taken.delta["name"] == "work" and str(taken)
            if number == 0 and turn % 5 == 0:
                gc.collect()

    at_once(work)


# What is counted.


def test_threads_count_together():
    counters = ConversionCounters()
    array = np.ones((2, 3), np.float32)
    target = "torch" if "torch" in TARGETS else "numpy"

    def work(number: int) -> None:
        with counters.installed():
            for turn in range(200):
                arraybridge.convert_memory(array, "numpy", target, None)
                if turn % 20 == number:
                    assert all(row["count"] >= 0 for row in counters.rows())

    at_once(lambda number: contextvars.Context().run(work, number))
    expected = THREADS * 200 if target == "torch" else 0
    assert sum(row["count"] for row in counters.rows()) == expected
    merged = ConversionCounters()
    at_once(lambda _: merged.merge(counters))
    assert sum(row["count"] for row in merged.rows()) == THREADS * expected
