"""`arraybridge.dask` on a real cluster: processes with nannies, of which some are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

distributed = pytest.importorskip("distributed", reason="distributed is not installed")
da = pytest.importorskip("dask.array", reason="dask.array is not installed")
import cloudpickle  # noqa: E402
import dask  # noqa: E402

from clusters import SECONDS, Watch, limited, local_cluster  # noqa: E402

import arraybridge  # noqa: E402
from arraybridge import MemoryConversionError  # noqa: E402
from arraybridge.dask import NoRoom, map_blocks, map_overlap, prepare, status  # noqa: E402
from arraybridge.dask.blocks import Block  # noqa: E402

# Workers cannot import this file: what is defined here travels with the tasks.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

LIMIT = 1_500_000_000
#: Of the results of a worker, so many bytes stay in memory; the others are spilled.
KEPT = 12e6


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    settings = {"distributed.worker.memory.target": KEPT / LIMIT}
    with local_cluster(settings, threads_per_worker=2, memory_limit=LIMIT) as made:
        yield made


@pytest.fixture(autouse=True)
def _limit(request: pytest.FixtureRequest) -> Iterator[None]:
    with limited(SECONDS, request.node.name):
        yield


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster) as made:
        made.wait_for_workers(2, timeout=SECONDS)
        prepare(made)
        yield made


@arraybridge.torch
def doubled(tensor: Any) -> Any:
    assert type(tensor).__name__ == "Tensor", type(tensor)
    return tensor.relu() * 2


def numbers(count: int, block: int, dtype: str = "float32") -> tuple[Any, Any]:
    whole = np.arange(-count // 2, count - count // 2).astype(dtype)
    return whole, da.from_array(whole, chunks=block)


# On the cluster.


def test_a_declared_function_gives_arrays_of_numpy(client: Any, torch: Any) -> None:
    whole, lazy = numbers(40_000, 10_000)
    result = map_blocks(doubled, lazy)
    assert result.dtype == np.float32
    assert result.name == map_blocks(doubled, lazy).name, "the same work has the same name"
    kinds = client.gather(client.submit(lambda block: type(block).__module__, part) for part in
                          distributed.futures_of(result.persist()))
    assert set(kinds) == {"numpy"}
    np.testing.assert_array_equal(result.compute(), np.maximum(whole, 0) * 2)


def test_input_type_declares_a_function(client: Any, torch: Any) -> None:
    whole, lazy = numbers(1_000, 300)

    def position(tensor: Any, scale: int, block_id: Any = None) -> Any:
        return tensor * scale + block_id[0]

    result = map_blocks(position, lazy, input_type="torch", dtype="float32", scale=3)
    np.testing.assert_array_equal(result.compute(), whole * 3 + np.arange(1_000) // 300)


def test_results_stay_with_the_framework_when_asked_and_are_spilled(
    cluster: Any, client: Any, torch: Any
) -> None:
    count = 16_000_000
    lazy = da.arange(-count // 2, count // 2, dtype="float32", chunks=500_000)
    whole = np.arange(-count // 2, count // 2, dtype="float32")
    with Watch(cluster) as watch:
        kept = map_blocks(doubled, lazy, output_type="torch").persist()
        distributed.wait(kept)
        names = client.gather(
            client.submit(lambda block: type(block).__name__, distributed.futures_of(kept)[0])
        )
        spilled = client.run(lambda dask_worker: dask_worker.data.spilled_total.disk)
        ends = map_blocks(lambda tensor: tensor + 1, kept, input_type="torch", dtype="float32")
        result = ends.compute()
    assert names == "Tensor"
    assert sum(spilled.values()) >= whole.nbytes - 2 * (KEPT + 8e6), spilled
    np.testing.assert_array_equal(result, np.maximum(whole, 0) * 2 + 1)
    assert watch.looks and watch.longest < 60


def test_calls_share_the_budget_of_their_worker(client: Any) -> None:
    whole, lazy = numbers(40_000, 1_000)
    prepare(client, budget=10_000)

    def slow(array: Any) -> Any:
        time.sleep(0.005)
        return array + 1

    result = map_blocks(slow, lazy, dtype="float32")  # 8000 bytes a call: one at a time
    np.testing.assert_array_equal(result.compute(), whole + 1)
    reports = status(client).values()
    assert sum(report["blocks"] for report in reports) == 40
    assert {report["peak"] for report in reports} <= {0, 8_000}
    assert {report["reserved"] for report in reports} == {0}

    with pytest.raises(NoRoom, match="needs 20000 bytes.*has 10000 in all: rechunk"):
        map_blocks(slow, lazy, dtype="float32", need=20_000).compute()


def test_a_lack_of_memory_is_recovered_from(client: Any) -> None:
    whole, lazy = numbers(8_000, 1_000)

    def short_at_first(array: Any) -> Any:
        worker = distributed.get_worker()
        seen = worker.__dict__.setdefault("seen", set())
        if array[0] not in seen:
            seen.add(array[0])
            raise MemoryError("not this time")
        return array + 1

    result = map_blocks(short_at_first, lazy, dtype="float32")
    np.testing.assert_array_equal(result.compute(), whole + 1)
    assert sum(report["recovered"] for report in status(client).values()) == 8
    with pytest.raises(MemoryError, match="not this time"):
        map_blocks(short_at_first, lazy + 10_000, dtype="float32", max_retries=0).compute()


def test_the_last_try_has_the_worker_to_itself(client: Any) -> None:
    whole, lazy = numbers(8_000, 1_000)

    def jealous(array: Any) -> Any:
        worker = distributed.get_worker()
        running = worker.__dict__.setdefault("running_here", [])
        running.append(1)
        try:
            time.sleep(0.05)
            if len(running) > 1:
                raise MemoryError("two are too many")
            return array + 1
        finally:
            running.pop()

    result = map_blocks(jealous, lazy, dtype="float32")
    np.testing.assert_array_equal(result.compute(), whole + 1)


def test_a_block_that_does_not_fit_is_halved(client: Any, torch: Any) -> None:
    whole = np.arange(40_000, dtype="float64").reshape(100, 400)
    lazy = da.from_array(whole, chunks=(100, 100))

    def narrow(tensor: Any, other: Any) -> Any:
        if tensor.shape[1] > 30:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return tensor + other

    result = map_blocks(narrow, lazy, lazy, input_type="torch", dtype="float64", split_axis=1)
    np.testing.assert_array_equal(result.compute(), whole * 2)
    with pytest.raises(RuntimeError, match="out of memory"):
        map_blocks(narrow, lazy, lazy, input_type="torch", dtype="float64").compute()


def test_each_worker_of_a_machine_has_a_device_of_its_own(client: Any, torch: Any) -> None:
    def device() -> str:
        from arraybridge.dask.workers import here
        from arraybridge.libraries import ArrayLibrary, TorchLibrary

        count = TorchLibrary.accelerator_count
        TorchLibrary.accelerator_count = lambda _self: 2  # there is no GPU here
        try:
            return here().device(ArrayLibrary.named("torch")).label
        finally:
            TorchLibrary.accelerator_count = count

    assert set(client.run(device).values()) == {"accelerator:0", "accelerator:1"}
    slots = [report["slot"] for report in status(client).values()]
    assert sorted(slots) == [0, 1], slots
    prepare(client, devices={0: "cuda:1", 1: None})
    named = {
        report["name"]: client.run(device, workers=[address])[address]
        for address, report in status(client).items()
    }
    assert named == {"0": "accelerator:1", "1": "host"}


def test_a_device_that_a_worker_lacks_is_named(client: Any, torch: Any, no_gpu: None) -> None:
    _, lazy = numbers(10, 10)
    prepare(client, devices=["cuda:3"])
    with pytest.raises(MemoryConversionError, match="PyTorch has no accelerator:3 here"):
        map_blocks(doubled, lazy).compute()


def test_an_array_of_a_device_that_the_reader_lacks_is_an_error(
    client: Any, torch: Any, no_gpu: None
) -> None:
    def made() -> Any:
        import torch

        from arraybridge.devices import AcceleratorDevice
        from arraybridge.libraries import TorchLibrary

        TorchLibrary.own_device_of = TorchLibrary.device_of
        TorchLibrary.device_of = lambda _self, _data: AcceleratorDevice(1)  # as if it lay there
        return torch.ones(2_000)

    first, second = client.scheduler_info()["workers"]
    there = client.submit(made, workers=[first], pure=False)
    distributed.wait(there)
    moved = client.submit(lambda tensor: float(tensor.sum()), there, workers=[second])
    with pytest.raises(Exception, match="the array lay on accelerator:1") as caught:
        moved.result(timeout=30)
    assert "set_device_fallback(True)" in str(caught.value)
    prepare(client, device_fallback=True)
    # What lies on the second worker by now finds its place when it is used.
    block = Block(lambda tensor: float(tensor.sum()) + 1, input_type="torch")
    again = client.submit(block, there, workers=[second])
    assert again.result(timeout=30) == 2_001

    def restore() -> None:
        from arraybridge.libraries import TorchLibrary

        TorchLibrary.device_of = TorchLibrary.own_device_of

    client.run(restore, workers=[first])
    prepare(client, device_fallback=False)


def test_map_overlap_is_that_of_dask(client: Any, torch: Any) -> None:
    whole, lazy = numbers(1_000, 250)

    def smooth(tensor: Any) -> Any:
        return tensor.roll(1, 0) + tensor + tensor.roll(-1, 0)

    def smooth_numpy(array: Any) -> Any:
        return np.roll(array, 1) + array + np.roll(array, -1)

    result = map_overlap(smooth, lazy, depth=1, boundary="reflect", input_type="torch")
    wanted = da.map_overlap(smooth_numpy, lazy, depth=1, boundary="reflect")
    np.testing.assert_array_equal(result.compute(), wanted.compute())


def test_workers_killed_in_the_middle_change_nothing(cluster: Any, client: Any) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    kills = sorted(chance.sample(range(20, 200), 3))
    prepare(client, budget="100 MB")

    @arraybridge.numpy
    def slow(array: Any) -> Any:
        time.sleep(0.02)
        return array * array + 1

    whole, lazy = numbers(240_000, 1_000, "int64")
    with Watch(cluster) as watch:
        result = map_blocks(slow, lazy).persist()
        parts = distributed.futures_of(result)
        killed = set()
        for done in kills:
            deadline = time.monotonic() + 60
            while sum(part.status == "finished" for part in parts) < done:
                assert time.monotonic() < deadline, f"seed {seed}"
                time.sleep(0.01)
            nanny = chance.choice(list(cluster.workers.values()))
            pid = nanny.pid
            if pid is not None and pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        unfinished = sum(part.status != "finished" for part in parts)
        np.testing.assert_array_equal(result.compute(), whole * whole + 1)
    assert killed and unfinished, f"seed {seed}"
    assert watch.looks and watch.longest < 60
    client.wait_for_workers(2, timeout=SECONDS)
    reports = status(client).values()
    assert not {report["pid"] for report in reports} & killed
    assert {report["budget"] for report in reports} == {100_000_000}, "new workers are told again"


def test_a_worker_that_does_not_answer_is_no_hang(cluster: Any, client: Any) -> None:
    pid = cluster.workers[0].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError, match="not all have answered within 1 s"):
            prepare(client, budget="7 MB", reply_timeout=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    reports = prepare(client, budget="8 MB").values()
    assert {report["budget"] for report in reports} == {8_000_000}


def test_the_example_is_larger_than_all_limits_together() -> None:
    example = Path(__file__).parents[1] / "examples" / "dask_larger_than_memory.py"
    terms = ["--gigabytes", "0.32", "--memory-limit", "280 MB", "--framework", "numpy", "--json"]
    terms += ["--workers", "1"]
    done = subprocess.run(
        [sys.executable, str(example), *terms],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["exact"]
    assert found["array_bytes"] > found["limits_bytes"] == 280_000_000
    assert found["spilled_bytes"] > 100_000_000
    assert found["longest_pause"] < 60
