"""The parts of `arraybridge.dask` that need no cluster."""

from __future__ import annotations

import pickle
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed", reason="distributed is not installed")
da = pytest.importorskip("dask.array", reason="dask.array is not installed")
from dask.sizeof import sizeof  # noqa: E402
from distributed.protocol import deserialize, serialize  # noqa: E402

import arraybridge  # noqa: E402
from arraybridge import MemoryConversionError, set_device_fallback  # noqa: E402
from arraybridge.dask import map_blocks, map_overlap, prepare, status, workers  # noqa: E402
from arraybridge.dask.blocks import Block  # noqa: E402
from arraybridge.dask.budget import NoRoom, Room  # noqa: E402


def sent(value: Any) -> Any:
    """What a process reads that the value was sent to; the registry alone is asked."""
    header, frames = serialize(value, serializers=["dask", "error"])
    assert header["serializer"] == "dask", header
    return deserialize(header, [bytes(frame) for frame in frames])


# Serializers.

TORCH_TYPES = (
    "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128 "
    "float8_e4m3fn float8_e5m2"
).split()


@pytest.mark.parametrize("dtype", TORCH_TYPES)
def test_tensors_arrive_as_they_were(torch: Any, dtype: str) -> None:
    whole = torch.arange(12).reshape(3, 4).to(getattr(torch, dtype))
    for tensor in (whole, whole.T, whole[1:, ::2], whole[1, 1], whole[:0]):
        read = sent(tensor)
        assert type(read) is torch.Tensor
        assert (read.dtype, read.shape, read.device) == (tensor.dtype, tensor.shape, tensor.device)
        assert np.array_equal(_bits(torch, read), _bits(torch, tensor))


def _bits(torch: Any, tensor: Any) -> Any:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def test_gradients_and_parameters_arrive(torch: Any) -> None:
    leaf = torch.ones(3, requires_grad=True)
    (leaf * 2).sum().backward()
    read = sent(leaf)
    assert read.requires_grad and read.is_leaf
    assert read.grad.tolist() == [2, 2, 2]
    assert sent(leaf * 2).requires_grad
    parameter = sent(torch.nn.Parameter(torch.zeros(2), requires_grad=False))
    assert type(parameter) is torch.nn.Parameter and not parameter.requires_grad
    conjugate = torch.tensor([1 + 2j]).conj()
    assert sent(conjugate).tolist() == [1 - 2j]


def test_other_tensors_and_modules_are_left_to_dask(torch: Any) -> None:
    sparse = torch.eye(3).to_sparse()
    header, frames = serialize(sparse)
    assert header["serializer"] == "pickle"
    assert deserialize(header, frames).to_dense().equal(torch.eye(3))
    header, frames = serialize(torch.nn.Linear(2, 2))
    assert deserialize(header, frames).weight.shape == (2, 2)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float16", "bfloat16", "float32", "complex64"])
def test_arrays_of_jax_arrive_as_they_were(jax: Any, dtype: str) -> None:
    whole = jax.numpy.arange(12).reshape(3, 4).astype(dtype)
    for array in (whole, whole[:, 1], whole[0, 0], whole[:0]):
        read = sent(array)
        assert type(read) is type(array)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert bool((read == array).all())


@pytest.mark.parametrize("dtype", ["bool", "int32", "float16", "bfloat16", "float32", "complex64"])
def test_tensors_of_tensorflow_arrive_as_they_were(tensorflow: Any, dtype: str) -> None:
    whole = tensorflow.cast(tensorflow.reshape(tensorflow.range(12), (3, 4)), dtype)
    for tensor in (whole, whole[:, 1], whole[0, 0], whole[:0]):
        read = sent(tensor)
        assert type(read) is type(tensor)
        assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape)
        assert np.array_equal(read.numpy(), tensor.numpy())
    header, frames = serialize(tensorflow.constant(["a text"]))
    assert header["serializer"] == "pickle"
    assert deserialize(header, frames).numpy().tolist() == [b"a text"]


def test_the_header_names_framework_device_and_machine(torch: Any) -> None:
    header, frames = serialize(torch.zeros((2, 3)))
    inner = header["sub-header"]
    assert {key: inner[key] for key in ("framework", "device", "dtype", "shape")} == {
        "framework": "torch",
        "device": "host",
        "dtype": "float32",
        "shape": (2, 3),
    }
    assert inner["machine"]
    assert len(frames) == 1


def test_a_device_that_is_absent_is_an_error_or_the_host(torch: Any, no_gpu: None) -> None:
    header, frames = serialize(torch.ones(2))
    header["sub-header"]["device"] = "accelerator:0"
    header["sub-header"]["machine"] = "far-away"
    stranded = deserialize(header, frames)
    uses = (lambda: stranded.sum(), lambda: stranded + 1, lambda: np.asarray(stranded))
    for use in (*uses, lambda: Block(lambda array: array)(stranded)):
        with pytest.raises(MemoryConversionError, match="lay on accelerator:0 of far-away") as caught:
            use()
    header, frames = serialize(stranded)  # as the scheduler or the client would send it on
    assert sizeof(stranded) >= 8
    assert type(pickle.loads(pickle.dumps(stranded))) is type(stranded)
    assert "no accelerator for PyTorch" in str(caught.value)
    assert "set_device_fallback(True)" in str(caught.value)
    set_device_fallback(True)
    try:
        with pytest.warns(RuntimeWarning, match="the array goes to the host instead"):
            assert deserialize(header, frames).tolist() == [1, 1]
            assert Block(lambda array: array + 1)(stranded).tolist() == [2, 2]
    finally:
        set_device_fallback(None)


def test_dask_knows_how_large_arrays_are(torch: Any, jax: Any) -> None:
    assert sizeof(torch.zeros(1_000)) >= 4_000
    assert sizeof(jax.numpy.zeros(1_000)) >= 4_000


def test_a_process_that_has_seen_tensors_before_is_registered(
    torch: Any, run_python: Callable[[str], str]
) -> None:
    program = """
import torch
from dask.sizeof import sizeof
from distributed.protocol import deserialize, serialize
sizeof(torch.zeros(2)), serialize(torch.zeros(2)), serialize(torch.nn.Parameter(torch.zeros(2)))
import arraybridge.dask
header, frames = serialize(torch.ones(2, dtype=torch.bfloat16))
print(header["serializer"], deserialize(header, frames).tolist(), sizeof(torch.zeros(1000)) >= 4000)
"""
    assert run_python(program) == "dask [1.0, 1.0] True\n"


def test_no_framework_is_imported(run_python: Callable[[str], str]) -> None:
    program = """
import sys, arraybridge.dask
print([name for name in ("torch", "jax", "tensorflow", "cupy") if name in sys.modules])
"""
    assert run_python(program) == "[]\n"


def test_without_dask_the_remedy_is_named(run_python: Callable[[str], str]) -> None:
    program = """
import sys
sys.modules["distributed"] = None
try:
    import arraybridge.dask
except ImportError as error:
    print(error)
"""
    said = run_python(program)
    assert "needs dask.array and distributed" in said
    assert "pip install 'arraybridge[dask]'" in said


# Budgets.


def test_a_room_lends_in_turn() -> None:
    room = Room("room", 100)
    order: list[int] = []

    def take(count: int) -> None:
        with room.lent(count, 30):
            order.append(count)

    with room.lent(60, 0):
        large = threading.Thread(target=take, args=(90,))
        large.start()
        time.sleep(0.1)
        small = threading.Thread(target=take, args=(20,))
        small.start()
        time.sleep(0.1)
        assert order == [], "the small one does not pass the large one"
    large.join()
    small.join()
    assert order == [90, 20]
    assert room.reserved == 0
    assert room.peak == 90


def test_a_room_that_is_full_says_so() -> None:
    room = Room("room", 100)
    with room.lent(60, 0):
        with pytest.raises(NoRoom, match="needs 50 bytes.*after 0.05 s 60 of them are in use"):
            with room.lent(50, 0.05):
                raise AssertionError
    with pytest.raises(NoRoom, match="needs 101 bytes.*has 100 in all: rechunk"):
        with room.lent(101, 0):
            raise AssertionError
    with room.lent(100, 0):
        pass


# What is asked.


def test_without_a_cluster_it_is_map_blocks() -> None:
    lazy = da.arange(10, chunks=3)
    result = map_blocks(lambda array: array + 1, lazy)
    assert result.dtype == lazy.dtype
    assert result.compute(scheduler="threads").tolist() == list(range(1, 11))


def test_a_function_that_writes_gets_copies() -> None:
    whole = np.zeros(10)

    def write(array: Any) -> Any:
        array += 1
        return array

    lazy = da.from_array(whole, chunks=5)
    result = map_blocks(write, lazy, writes=True, dtype=float)
    assert result.compute(scheduler="threads").tolist() == [1] * 10
    assert whole.tolist() == [0] * 10


def test_chunks_axes_and_blocks_are_those_of_dask() -> None:
    lazy = da.ones((6, 4), chunks=(3, 4))
    sums = map_blocks(lambda array: array.sum(axis=1), lazy, drop_axis=1)
    assert sums.shape == (6,)
    assert sums.compute(scheduler="threads").tolist() == [4] * 6


def test_blocks_of_another_type_than_declared_are_refused(torch: Any) -> None:
    lazy = da.arange(10, chunks=5, dtype="uint8")
    halved = map_blocks(lambda array: array / 2, lazy, dtype="float32")
    assert halved.dtype == "float32"
    with pytest.raises(TypeError, match="dtype says float32, and.*gave a block of float64.*astype"):
        halved.compute(scheduler="threads")
    decorated = map_blocks(arraybridge.numpy(lambda array: array / 2), lazy, dtype="float32")
    with pytest.raises(TypeError, match="float32.*uint8.*NATIVE_OUTPUT.*dtype='uint8'"):
        decorated.compute(scheduler="threads")
    kept = map_blocks(
        lambda tensor: tensor / 2, lazy, input_type="torch", output_type="torch", dtype="float64"
    )
    with pytest.raises(TypeError, match="float64.*float32"):
        kept.compute(scheduler="threads")
    wide = map_overlap(lambda array: array / 2, lazy, depth=1, dtype="float32")
    with pytest.raises(TypeError, match="float32.*float64"):
        wide.compute(scheduler="threads")
    right = map_blocks(lambda array: (array / 2).astype("float32"), lazy, dtype="float32")
    assert right.compute(scheduler="threads").dtype == "float32"


def test_a_block_of_another_type_than_was_found_out_is_refused() -> None:
    def fickle(array: Any) -> Any:
        return array if array.size == 1 else array / 2

    lazy = da.arange(10, chunks=5, dtype="uint8")
    with pytest.raises(TypeError, match="arrays of one element gave uint8.*dtype='float64'"):
        map_blocks(fickle, lazy).compute(scheduler="threads")


@pytest.mark.parametrize(
    ("terms", "kind", "said"),
    [
        ({"input_type": "tensorfluss"}, ValueError, "Invalid input_type 'tensorfluss'"),
        ({"output_type": "x"}, ValueError, "Invalid output_type 'x'"),
        ({"max_retries": -1}, ValueError, "max_retries is a whole number from 0 on"),
        ({"need": -5}, ValueError, "need is a number of bytes from 0 on"),
        ({"split_axis": -1}, ValueError, "split_axis is an axis from 0 on"),
        ({"split_axis": 9}, ValueError, "split_axis is 9, and an array here has 1 axes.*from 0 to 0"),
        ({"device": "bogus"}, ValueError, "device is 'bogus'.*kind and an ordinal"),
        ({"split_axis": 0, "output_type": "torch"}, ValueError, "leave one of them out"),
    ],
)
def test_what_makes_no_sense_is_refused(terms: Any, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said):
        map_blocks(lambda array: array, da.ones(3), **terms)


def test_a_function_that_cannot_be_tried_needs_a_dtype() -> None:
    with pytest.raises(ValueError, match="KeyError: 'missing'.*Say it: dtype='float32'"):
        map_blocks(lambda array: {}["missing"], da.ones(3))
    with pytest.raises(ValueError, match="CuPy has no arrays on the host.*Say it"):
        map_blocks(lambda array: array, da.ones(3), input_type="cupy")
    with pytest.raises(TypeError, match="cannot be called"):
        map_blocks(3, da.ones(3))  # type: ignore[arg-type]


def test_a_declared_function_keeps_its_word() -> None:
    declared = arraybridge.torch(lambda tensor: tensor)
    with pytest.raises(ValueError, match="declared for arrays of torch.*leave input_type out"):
        map_blocks(declared, da.ones(3), input_type="jax")


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"devices": []}, "devices is empty"),
        ({"devices": "cuda:0"}, "a list or a dict of devices"),
        ({"devices": ["bogus"]}, "devices has 'bogus'.*kind and an ordinal"),
        ({"devices": {"first": "bogus"}}, "devices has 'bogus'.*kind and an ordinal"),
        ({"device_fallback": "x"}, "device_fallback is True, False or None.*not 'x'"),
        ({"budget": 0}, "a number of bytes from 1 on"),
        ({"budget": "much"}, "much"),
        ({"timeout": -1}, "timeout is a number of seconds from 0 on"),
        ({"reply_timeout": -1}, "reply_timeout is a number of seconds from 0 on"),
    ],
)
def test_prepare_refuses_what_makes_no_sense(terms: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        prepare(SilentCluster(), **terms)


@pytest.mark.parametrize("wrong", ["x", "tcp://127.0.0.1:8786", None, 3])
def test_what_is_no_client_is_refused(wrong: Any) -> None:
    for ask in (prepare, status):
        with pytest.raises(TypeError, match=r"a client of Dask, as distributed.Client\(address\)"):
            ask(wrong)


class FakeWorker:
    def __init__(self, name: str) -> None:
        self.name = name


def test_a_worker_keeps_its_number_when_it_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pair = [FakeWorker("first"), FakeWorker("second")]

    def told() -> list[Any]:
        for worker in pair:
            workers.WorkerSetup(workers._Terms()).setup(worker)
        return [workers._workers[worker] for worker in pair]

    calls_that_run = told()
    assert [one.slot.number for one in calls_that_run] == [0, 1]
    again = told()
    assert [one.slot.number for one in reversed(again)] == [1, 0]
    assert [one.report()["slot"] for one in again] == [0, 1]


class SilentCluster:
    """A client of workers of which one does not answer."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def register_plugin(self, plugin: Any, name: str) -> None:
        self.told.wait(30)

    def scheduler_info(self) -> Any:
        ages = {"tcp://there:1": 90, "tcp://here:2": 0}
        return {"workers": {at: {"last_seen": time.time() - age} for at, age in ages.items()}}

    def run(self, function: Any) -> dict[str, Any]:
        return {"tcp://here:2": {}}


def test_workers_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SilentCluster()
    with pytest.raises(TimeoutError, match="within 0.05 s: tcp://there:1 was last heard of 90 s ago.") as caught:
        prepare(client, reply_timeout=0.05)
    assert "tcp://here:2" not in str(caught.value)
    monkeypatch.setattr(workers, "_LATELY", 0.05)
    with monkeypatch.context() as stopped, pytest.raises(TimeoutError, match="nor does the scheduler"):
        stopped.setattr(client, "scheduler_info", client.told.wait)
        prepare(client, reply_timeout=0.05)
    client.told.set()
    assert prepare(client) == {"tcp://here:2": {}}


def test_what_fails_on_a_worker_is_raised_as_it_is() -> None:
    client = SilentCluster()

    def register_plugin(plugin: Any, name: str) -> None:
        raise OSError("the worker has gone")

    client.register_plugin = register_plugin  # type: ignore[method-assign]
    with pytest.raises(OSError, match="the worker has gone"):
        prepare(client)
