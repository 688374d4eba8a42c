"""Conversions within a budget, and with memory of a pool: by keyword, and in `with` blocks."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading

import numpy as np
import pytest

from arraybridge import (
    MemoryType,
    convert,
    convert_memory,
    convert_reported,
    explain,
    memory_types,
    plan,
    process_slices,
    rescale,
    stack_slices,
    unstack_slices,
)
from arraybridge import numpy as numpy_function
from arraybridge import torch as torch_function
from arraybridge.conversion import ConversionCounters
from arraybridge.memory import Budget, Never, NotNow, Pool, Shortage

#: A copy of it takes its bytes and no more: casts have buffers beside their results.
ARRAY = np.arange(1000, dtype=np.float32).reshape(10, 100)
BYTES = ARRAY.nbytes


@pytest.fixture
def budget():
    return Budget("images", 1 << 20)


@pytest.fixture
def full():
    """A budget that has no room for `BYTES`, and who has it."""
    budget = Budget("images", 5000)
    with budget.reserve(3000, name="loader"), budget.reserve(1000, name="model"):
        yield budget


# By keyword.


@pytest.mark.parametrize("target", ["numpy", "torch", "jax", "tensorflow", "tensor", "ndarray", "candle"])
def test_a_conversion_reserves_while_it_runs(budget, target):
    if target in ("torch", "jax", "tensorflow"):
        pytest.importorskip(target)
    made = convert(ARRAY, target, copy=True, budget=budget)
    assert (budget.reserved, budget.peak) == (0, BYTES)
    np.testing.assert_array_equal(np.asarray(convert(made, "numpy")), ARRAY)


def test_what_is_shared_reserves_nothing(full, torch):
    tensor = convert(ARRAY, "torch", budget=full)
    assert tensor.data_ptr() == ARRAY.ctypes.data
    assert convert_memory(tensor, "torch", "numpy", budget=full).ctypes.data == ARRAY.ctypes.data
    assert full.peak == 4000


@pytest.mark.parametrize("call", ["convert", "convert_reported", "convert_memory", "plan", "stack", "unstack"])
def test_what_does_not_fit_is_refused_by_name_and_the_array_stays(full, torch, call):
    array = ARRAY.copy()
    frozen = ARRAY.copy()
    frozen.flags.writeable = False
    wide = {"copy": True, "budget": full}
    calls = {
        "convert": lambda: convert(array, "torch", **wide),
        "convert_reported": lambda: convert_reported(array, "torch", **wide),
        "plan": lambda: plan(array, "torch", **wide),
        # PyTorch would write to it: it is copied.
        "convert_memory": lambda: convert_memory(frozen, "numpy", "torch", budget=full),
        "stack": lambda: stack_slices([array[:5], array[5:]], "numpy", budget=full),
        "unstack": lambda: unstack_slices(frozen.reshape(2, 5, 100), "torch", budget=full),
    }
    with pytest.raises(Shortage) as raised:
        calls[call]()
    error = raised.value
    assert isinstance(error, MemoryError)
    assert isinstance(error, NotNow)
    assert (error.budget, error.need, error.have) == ("images", BYTES, 1000)
    assert error.holders == [("loader", 3000), ("model", 1000)]
    assert "from numpy to" in error.__notes__[0]
    np.testing.assert_array_equal(array, ARRAY)
    assert full.reserved == 4000


def test_what_was_refused_is_converted_when_there_is_room(budget):
    with budget.reserve(budget.capacity - 100, name="loader"):
        with pytest.raises(NotNow):
            convert(ARRAY, "numpy", copy=True, budget=budget)
    assert convert(ARRAY, "numpy", copy=True, budget=budget).size == 1000


def test_a_plan_says_how_much_and_an_explanation_whether(budget, full):
    planned = plan(ARRAY, "numpy", copy=True)
    assert planned.peaks == {"cpu": BYTES}
    assert plan(ARRAY, "numpy").peaks == {}
    assert convert_reported(ARRAY, "numpy", copy=True)[1].peaks is None
    text = explain(ARRAY, "numpy", copy=True, budget=full)
    assert "impossible" in text and "held by loader" in text and "model" in text
    assert "impossible" not in explain(ARRAY, "numpy", copy=True, budget=budget)
    assert budget.reserved == 0


@pytest.mark.parametrize("target", ["numpy", "ndarray", "tensor"])
def test_a_plan_counts_what_the_kernels_work_in(target):
    # Whose axes change: the host's kernels take buffers for that.
    array = np.arange(3_000_000.0).reshape(100, 300, 100).transpose(2, 0, 1)
    planned = plan(array, target, copy=True).peaks["cpu"]
    enough = Budget("enough", planned)
    assert np.asarray(convert(array, target, copy=True, budget=enough)).shape == array.shape
    with pytest.raises(Never):
        convert(array, target, copy=True, budget=Budget("a byte less", planned - 1))
    assert planned > array.nbytes


def test_a_consumer_reserves_under_its_name(budget):
    loader = budget.consumer("loader")
    held = []

    def relieve(missing):
        held.append((missing, budget.holders))
        return 0

    budget.capacity = BYTES + 10
    with budget.on_pressure("cache", relieve), loader.reserve(20):
        with pytest.raises(NotNow, match="held by loader 20 B"):
            convert(ARRAY, "numpy", copy=True, budget=loader)
    assert held == [(10, [("loader", 20)])]
    convert(ARRAY, "numpy", copy=True, budget=loader)
    assert loader.reserved == 0


def test_a_budget_of_another_device_counts_nothing():
    other = Budget("gpu", 1, device="cuda:0")
    assert convert(ARRAY, "numpy", copy=True, budget=other).size == 1000
    assert other.peak == 0


@pytest.mark.parametrize("target", ["numpy", "torch", "jax", "tensorflow"])
def test_a_pool_gives_the_memory_and_has_it_back(target):
    if target != "numpy":
        pytest.importorskip(target)
    pool = Pool(1 << 20)
    made = convert(ARRAY, target, copy=True, pool=pool)
    assert pool.stats()["buffers_in_use"] == 1
    first = np.asarray(convert(made, "numpy")).ctypes.data
    again = convert(ARRAY, target, copy=True, pool=pool)
    assert np.asarray(convert(again, "numpy")).ctypes.data != first, "two that live share no memory"
    del made, again
    gc.collect()
    assert pool.stats()["buffers_in_use"] == 0
    made = convert(ARRAY, target, copy=True, pool=pool)
    np.testing.assert_array_equal(np.asarray(convert(made, "numpy")), ARRAY)
    assert pool.stats()["hits"] == 1


def test_a_pool_with_a_budget_counts_as_long_as_it_has_the_memory(budget):
    pool = Pool(1 << 20, within=budget, name="pool", exact=True)
    made = convert(ARRAY, "numpy", copy=True, pool=pool, budget=budget)
    assert (budget.holders, budget.peak) == ([("pool", BYTES)], BYTES), "counted once"
    del made
    assert pool.clear() == BYTES and budget.reserved == 0


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ({"budget": 1 << 20}, "budget is an object of int: give a Budget"),
        ({"budget": Pool()}, "budget is an object of Pool"),
        ({"pool": "mine"}, "pool is an object of str: give a Pool of arraybridge.memory"),
    ],
)
def test_what_is_none_is_said_before_anything_is_converted(named, text, torch):
    for call in (
        lambda: convert(ARRAY, "torch", **named),
        lambda: convert_memory(ARRAY, "numpy", "torch", **named),
        lambda: stack_slices([ARRAY], "numpy", **named),
        lambda: rescale(ARRAY, "uint8", **named),
        lambda: rescale(ARRAY, "float32", **named),
        lambda: torch_function(**named)(len),
        lambda: memory_types("numpy", "torch", **named),
    ):
        with pytest.raises(TypeError, match=text):
            call()


# In blocks.


def test_conversions_in_a_block_reserve_and_take_from_the_pool(budget, torch):
    pool = Pool(1 << 20)
    with budget as entered, pool as pooled:
        assert entered is budget and pooled is pool
        made = convert(ARRAY, "torch", copy=True)
        assert pool.stats()["buffers_in_use"] == 1
        copied = convert_memory(ARRAY[::-1], "numpy", "torch")
    assert budget.peak == ARRAY.nbytes
    assert pool.stats()["buffers_in_use"] == 2
    assert made.sum() == copied.sum()
    convert(ARRAY, "numpy", copy=True)
    assert pool.stats()["allocations"] == 2, "the block has ended"
    assert budget.reserved == 0


def test_also_those_of_the_compatible_api(full, torch):
    with full:
        for call in (
            lambda: MemoryType.NUMPY.to_torch(ARRAY[::-1]),
            lambda: MemoryType.NUMPY.converter.to_torch(ARRAY[::-1]),
            lambda: convert_memory(ARRAY[::-1], "numpy", "torch", gpu_id=None),
            lambda: stack_slices([ARRAY, ARRAY], "numpy"),
            lambda: stack_slices([torch.ones(50, 50)] * 2, "torch"),
            lambda: process_slices(ARRAY.reshape(2, 5, 100), lambda one: one),
            lambda: torch_function(len)(ARRAY[::-1]),
            lambda: convert(ARRAY, "tensor").__dlpack__(copy=True),
            lambda: convert(ARRAY, "tensor").__array__(copy=True),
        ):
            with pytest.raises(Shortage):
                call()
    assert full.reserved == 4000


def test_also_while_an_observer_looks_on(full, torch):
    counters = ConversionCounters()
    with counters.installed():
        with full, pytest.raises(Shortage):
            convert_memory(ARRAY[::-1], "numpy", "torch", gpu_id=None)
        with pytest.raises(Shortage):
            convert_memory(ARRAY[::-1], "numpy", "torch", gpu_id=None, budget=full)


def test_the_innermost_block_holds_and_a_keyword_before_it(budget):
    inner, named = Budget("inner", 1 << 20), Budget("named", 1 << 20)

    def work(**given):
        convert(ARRAY, "numpy", copy=True, **given)

    with budget, inner:
        work()
        with budget:
            work(budget=named)
    assert (budget.peak, inner.peak, named.peak) == (0, BYTES, BYTES)
    with budget:
        with inner:
            pass
        work()
    assert budget.peak == BYTES


def test_blocks_may_end_in_any_order_and_after_errors(budget):
    pool = Pool(1 << 20)
    budget.__enter__()
    pool.__enter__()
    budget.__exit__(None, None, None)
    convert(ARRAY, "numpy", copy=True)
    assert (budget.peak, pool.stats()["allocations"]) == (0, 1)
    pool.__exit__(None, None, None)
    with pytest.raises(KeyError), budget:
        raise KeyError
    convert(ARRAY, "numpy", copy=True)
    assert (budget.peak, pool.stats()["allocations"]) == (0, 1)
    with pytest.raises(RuntimeError, match="in no block of <Budget"):
        budget.__exit__(None, None, None)


def test_a_block_is_of_its_context_not_of_threads(budget):
    def work():
        convert(ARRAY, "numpy", copy=True)

    with budget:
        context = contextvars.copy_context()
        thread = threading.Thread(target=contextvars.Context().run, args=(work,))
        thread.start()
        thread.join()
        assert budget.peak == 0
        thread = threading.Thread(target=context.run, args=(work,))
        thread.start()
        thread.join()
        assert budget.peak == BYTES


def test_a_task_is_in_the_block_as_long_as_it_lasts(budget):
    async def work(go):
        await go.wait()
        convert(ARRAY, "numpy", copy=True)

    async def main():
        first, second = asyncio.Event(), asyncio.Event()
        with budget:
            tasks = [asyncio.create_task(work(first)), asyncio.create_task(work(second))]
            first.set()
            await tasks[0]
            assert budget.peak == BYTES
            budget.capacity = 1
        # In another block, so that blocks are asked for at all.
        with Pool(1 << 20):
            second.set()
            await tasks[1]

    asyncio.run(main())
    assert budget.peak == BYTES


def test_generators_and_threads_keep_their_blocks_apart():
    budgets = [Budget(f"budget {index}", 1 << 20) for index in range(8)]

    def work(budget, size):
        for _ in range(50):
            with budget:
                convert(ARRAY[:size], "numpy", copy=True)

    threads = [
        threading.Thread(target=work, args=(budget, index + 1)) for index, budget in enumerate(budgets)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [budget.peak for budget in budgets] == [(index + 1) * 400 for index in range(8)]


# Functions that make several conversions.


def test_a_decorator_reserves_for_arguments_and_results_alone(torch):
    budget, pool = Budget("images", 1 << 20), Pool(1 << 20)
    peaks = []

    @torch_function(output_type="numpy", budget=budget, pool=pool)
    def work(tensor):
        peaks.append(budget.peak)
        convert(tensor, "numpy", copy=True)
        peaks.append(budget.peak)
        return tensor[::2]

    result = work(ARRAY[::-1])
    assert peaks == [ARRAY.nbytes, ARRAY.nbytes]
    assert isinstance(result, np.ndarray) and pool.stats()["allocations"] == 1
    budget.capacity = 1
    with pytest.raises(Never):
        work(ARRAY[::-1])
    assert len(peaks) == 2, "the function was not called"


def test_memory_types_too(torch):
    budget = Budget("images", 10)
    work = memory_types("numpy", "torch", budget=budget)(lambda array: array[::-1])
    with pytest.raises(Never):
        work(ARRAY)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "tensorflow"])
def test_a_stack_is_counted_whoever_makes_it(name):
    pytest.importorskip(name)
    slices, whole = [convert(ARRAY, name, copy=True)] * 3, 3 * BYTES
    budget, pool = Budget("stacks", whole), Pool(1 << 20)
    stack = stack_slices(slices, name, None, budget=budget, pool=pool)
    assert tuple(stack.shape) == (3, 10, 100)
    assert (budget.peak, budget.reserved) == (whole, 0)
    assert pool.stats()["allocations"] == (1 if name == "numpy" else 0)
    budget.capacity = whole - 1
    with pytest.raises(Never):
        stack_slices(slices, name, None, budget=budget)


def test_a_stack_that_is_derived_from_is_counted_too(torch):
    budget = Budget("stacks", 1 << 20)
    parts = [torch.ones(2, 3, requires_grad=True) for _ in range(2)]
    with budget:
        made = stack_slices(parts, "torch")
    assert made.requires_grad and budget.peak == 48


def test_the_function_of_process_slices_is_in_no_block(torch):
    budget = Budget("images", 1 << 20)
    seen = []

    def work(one):
        seen.append(budget.peak)
        convert(one, "torch", copy=True)
        seen.append(budget.peak)
        return one

    image = np.ones((2, 4, 5))
    process_slices(image, work, budget=budget)
    assert seen == [0, 0, 0, 0] and budget.peak == image.nbytes


# Rescaling.

#: A rule, what it is told besides, and the element types of the array and of the result.
RESCALED = [
    ("saturate", {}, "float64", "float32"),
    ("refuse", {}, "float64", "float32"),
    ("refuse", {}, "float32", "uint8"),
    ("wrap", {}, "int64", "float16"),
    ("saturate", {}, "int32", "uint8"),
    ("minmax", {}, "float64", "uint16"),
    ("minmax", {}, "float64", "float32"),
    ("range", {"low": 0, "high": 255}, "float64", "uint8"),
    ("range", {"low": 0, "high": 255}, "float32", "float64"),
]


def rescalings():
    return pytest.mark.parametrize(
        ("rule", "ends", "source", "target"),
        RESCALED,
        ids=[f"{rule} {source} {target}" for rule, _, source, target in RESCALED],
    )


@rescalings()
def test_what_is_rescaled_is_reserved_and_a_byte_less_is_refused(rule, ends, source, target):
    array = (np.arange(1000) % 256).astype(source).reshape(10, 100)
    before, needed = array.copy(), 1000 * np.dtype(target).itemsize
    budget, expected = Budget("images", needed), rescale(array, target, rule, **ends)
    np.testing.assert_array_equal(rescale(array, target, rule, **ends, budget=budget), expected)
    assert (budget.peak, budget.reserved) == (needed, 0)
    budget.capacity = needed - 1
    with pytest.raises(Never) as raised:
        rescale(array, target, rule, **ends, budget=budget)
    assert (raised.value.budget, raised.value.need) == ("images", needed)
    assert raised.value.__notes__ == [
        f"the array was to be rescaled from {source} to {target}, and is as it was"
    ]
    with budget, pytest.raises(Never):
        rescale(array, target, rule, **ends)
    assert budget.reserved == 0
    np.testing.assert_array_equal(array, before)


def test_what_a_kernel_takes_besides_is_reserved_too(budget):
    bytes_, floats = (np.arange(1000) % 256).astype("uint8"), np.arange(1000, dtype="f4")
    rescale(bytes_, "float32", "range", low=0, high=255, budget=budget)
    assert budget.peak == 8000 + 8000 + 4000, "as doubles, their places and the result"
    other = Budget("others", 1 << 20)
    rescale(floats.astype("f2"), "uint8", "minmax", budget=other)
    assert other.peak == 4000 + 1000, "as singles, and the result"


@rescalings()
def test_what_is_rescaled_lies_in_memory_of_the_pool(rule, ends, source, target):
    array = (np.arange(1000) % 256).astype(source)
    expected, pool = rescale(array, target, rule, **ends), Pool(1 << 20)
    made = rescale(array, target, rule, **ends, pool=pool)
    np.testing.assert_array_equal(made, expected)
    assert made.flags.writeable and pool.stats()["buffers_in_use"] == 1
    address = made.ctypes.data
    del made
    assert pool.stats()["buffers_in_use"] == 0
    with pool:
        again = rescale(array[::-1], target, rule, **ends)
    assert again.ctypes.data == address and pool.stats()["hits"] == 1
    np.testing.assert_array_equal(again, expected[::-1])


def test_what_cannot_be_rescaled_gives_its_memory_back(budget):
    pool = Pool(1 << 20, within=budget, name="pool", exact=True)
    for rule, name, value in [("refuse", "uint8", -1), ("refuse", "float32", 1e300), ("minmax", "uint8", np.nan)]:
        with pytest.raises(ValueError, match="element 1"):
            rescale(np.array([1.0, value]), name, rule, budget=budget, pool=pool)
        assert pool.stats()["buffers_in_use"] == 0
    pool.clear()
    assert budget.reserved == 0


def test_a_pool_with_a_budget_counts_what_is_rescaled_once(budget):
    pool = Pool(1 << 20, within=budget, name="pool", exact=True)
    made = rescale(ARRAY, "float64", pool=pool, budget=budget)
    assert (budget.holders, budget.peak) == ([("pool", made.nbytes)], made.nbytes)


@pytest.mark.parametrize(
    ("array", "name"),
    [
        (np.ones(100, bool), "float32"),
        (np.ones(100), "bool"),
        (np.ones(100, np.longdouble), "float32"),
        (np.ones(100), ">f4"),
        (np.ones(100, "c16"), "complex64"),
        (np.ones(100).view(np.recarray), "float32"),
    ],
)
def test_what_numpy_itself_computes_reserves_its_result(array, name):
    needed = 100 * np.dtype(name).itemsize
    budget = Budget("images", needed)
    assert rescale(array, name, budget=budget).dtype == name
    assert (budget.peak, budget.reserved) == (needed, 0)
    budget.capacity = needed - 1
    with pytest.raises(Never):
        rescale(array, name, budget=budget)


@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_arrays_of_other_frameworks_are_rescaled_in_the_budget(name):
    pytest.importorskip(name)
    array = convert(ARRAY, name, copy=True)
    budget, pool = Budget("images", 1 << 20), Pool(1 << 20)
    made = rescale(array, "uint8", budget=budget, pool=pool)
    np.testing.assert_array_equal(convert(made, "numpy"), ARRAY.clip(0, 255).astype("uint8"))
    assert (budget.peak, budget.reserved) == (1000, 0)
    assert pool.stats()["buffers_in_use"] == 1
    budget.capacity = 999
    with pytest.raises(Never):
        rescale(array, "uint8", budget=budget)


def test_copies_on_the_way_reserve_as_conversions_do(pyclesperanto):
    array = pyclesperanto.push(ARRAY)
    budget = Budget("images", 1 << 20)
    rescale(array, "uint8", budget=budget)
    assert budget.peak >= BYTES and budget.reserved == 0
    budget.capacity = 999
    with pytest.raises(Never):
        rescale(array, "uint8", budget=budget)


def test_the_element_type_of_results_is_in_the_decorator_s_budget_and_pool(torch):
    budget, pool = Budget("images", 1 << 20), Pool(1 << 20)

    @torch_function(dtype_conversion="uint8", rescale="saturate", budget=budget, pool=pool)
    def work(tensor):
        return tensor * 2

    made = work(torch.from_numpy(ARRAY))
    assert made.dtype == torch.uint8
    assert (budget.peak, budget.reserved) == (1000, 0)
    assert pool.stats()["buffers_in_use"] == 1
    budget.capacity = 999
    with pytest.raises(Never):
        work(torch.from_numpy(ARRAY))


def test_the_element_type_of_results_is_in_the_block_of_a_call():
    work = numpy_function(dtype_conversion="uint8", rescale="saturate")(lambda array: array * 2)
    budget = Budget("images", 1000)
    with budget:
        assert work(ARRAY).dtype == np.uint8
    assert budget.peak == 1000
    budget.capacity = 999
    with budget, pytest.raises(Never):
        work(ARRAY)


def test_what_python_gives_back_under_pressure_makes_room():
    """The budget asks a function of Python while a small array is converted."""
    budget = Budget("images", BYTES + 100)
    cache = [budget.reserve(200, name="cache")]

    def relieve(missing):
        cache.pop().release()
        return 200

    with budget.on_pressure("cache", relieve):
        assert convert(ARRAY, "numpy", copy=True, budget=budget).size == 1000
    assert not cache
