"""CuPy's double on a real cluster of processes, on two devices of the simulated CUDA driver.

Each worker has a device of its own; the memory of its arrays is nothing that the host could read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simulated_driver

distributed = pytest.importorskip("distributed", reason="distributed is not installed")
da = pytest.importorskip("dask.array", reason="dask.array is not installed")
import cloudpickle  # noqa: E402
from clusters import SECONDS, limited, local_cluster  # noqa: E402
from distributed.protocol import serialize  # noqa: E402

from arraybridge.dask import map_blocks, prepare, status  # noqa: E402
from arraybridge.dask.blocks import Block  # noqa: E402

# Workers cannot import this file: what is defined here travels with the tasks.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

LIMIT = 1_000_000_000
#: Of the results of a worker, so many bytes stay in memory; the others are spilled.
KEPT = 2e6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("cupy")
    environment = simulated_driver.environment(folder)
    preload = folder / "preload.py"
    preload.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import cupy_double\ncupy_double.install(2, driver={str(folder / 'libcuda.so')!r})\n"
    )
    settings = {
        "distributed.worker.preload": [str(preload)],
        "distributed.worker.memory.target": KEPT / LIMIT,
    }
    with local_cluster(settings, environment, threads_per_worker=1, memory_limit=LIMIT) as made:
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
        violations = made.run(_violations)
    assert set(violations.values()) == {""}, "as the driver saw it"


def _violations() -> str:
    import ctypes
    import gc

    gc.collect()
    text = ctypes.create_string_buffer(10000)
    report = ctypes.CDLL("libcuda.so").sim_report
    report.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    report(b"violations", text, 10000)
    return text.value.decode()


def _used() -> int:
    """The bytes that arrays of this process take on all devices."""
    import gc

    import cupy

    gc.collect()
    used = 0
    for index in range(cupy.cuda.runtime.getDeviceCount()):
        with cupy.cuda.Device(index):
            used += cupy.get_default_memory_pool().used_bytes()
    return used


def doubled(array: Any) -> Any:
    import cupy

    assert type(array) is cupy.ndarray, type(array)
    assert cupy.cuda.runtime.getDevice() == array.device.id, "CuPy computes on the current device"
    return cupy.array(array.get() * 2)  # the double has no arithmetic


def seen(array: Any) -> tuple[str, int, list[float]]:
    return (type(array).__module__, array.device.id, array.get().tolist())


@pytest.mark.framework_cupy
def test_each_worker_computes_on_a_device_of_its_own_and_results_leave_it(client: Any) -> None:
    whole = np.arange(4_000, dtype="float32")
    addresses = list(client.scheduler_info()["workers"])
    block = Block(doubled, input_type="cupy")
    for address in addresses:
        result = client.submit(block, whole, workers=[address], pure=False).result()
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, whole * 2)
    devices = {report["devices"]["cupy"] for report in status(client).values()}
    assert devices == {"accelerator:0", "accelerator:1"}
    lazy = map_blocks(doubled, da.from_array(whole, chunks=250), input_type="cupy", dtype="float32")
    np.testing.assert_array_equal(lazy.compute(), whole * 2)
    assert set(client.run(_used).values()) == {0}, "nothing stays on a device"


@pytest.mark.framework_cupy
def test_arrays_on_a_device_are_sent_by_the_registry_to_the_readers_device(client: Any) -> None:
    first, second = client.scheduler_info()["workers"]
    values = np.arange(500.0)
    block = Block(doubled, input_type="cupy", output_type="cupy")
    there = client.submit(block, values, workers=[first], pure=False)

    def header_of(array: Any) -> Any:
        header, _ = serialize(array, serializers=["dask", "error"])
        return header["sub-header"]

    header = client.submit(header_of, there, workers=[first]).result()
    module, device, elements = client.submit(seen, there, workers=[first], pure=False).result()
    assert (header["framework"], header["device"]) == ("cupy", f"accelerator:{device}")
    assert (module, elements) == ("cupy", (values * 2).tolist())
    moved = client.submit(seen, there, workers=[second], pure=False).result()
    assert moved == ("cupy", 1 - device, (values * 2).tolist())


@pytest.mark.framework_cupy
def test_arrays_on_a_device_are_spilled_and_come_back(client: Any) -> None:
    whole = np.arange(4_000_000, dtype="float32")
    lazy = da.arange(4_000_000, dtype="float32", chunks=100_000)
    kept = map_blocks(doubled, lazy, input_type="cupy", output_type="cupy", dtype="float32").persist()
    distributed.wait(kept)
    spilled = sum(client.run(lambda dask_worker: dask_worker.data.spilled_total.disk).values())
    assert spilled >= whole.nbytes - 2 * (KEPT + 1e6), spilled
    assert sum(client.run(_used).values()) <= 2 * (KEPT + 1e6), "what is spilled leaves the device"
    back = map_blocks(doubled, kept, input_type="cupy", dtype="float32")
    np.testing.assert_array_equal(back.compute(), whole * 4)


@pytest.mark.framework_cupy
def test_each_worker_recovers_from_a_lack_of_memory_of_its_device(client: Any) -> None:
    first, second = client.scheduler_info()["workers"]

    def short_at_first(array: Any) -> Any:
        import cupy

        worker, pool = distributed.get_worker(), cupy.get_default_memory_pool()
        if not worker.__dict__.setdefault("tries", 0):
            pool.set_limit(pool.used_bytes() + 1_000_000)
            cupy.empty(600_000, "u1")  # freed, and kept by the pool
        worker.tries += 1
        large = cupy.empty(700_000, "u1")
        pool.set_limit(1 << 40)
        return cupy.array(array.get() + large.nbytes)

    block = Block(short_at_first, input_type="cupy")
    result = client.submit(block, np.arange(3.0), workers=[first], pure=False).result()
    assert result.tolist() == [700_000.0, 700_001.0, 700_002.0]
    reports = status(client)
    assert (reports[first]["recovered"], reports[second]["recovered"]) == (1, 0)
