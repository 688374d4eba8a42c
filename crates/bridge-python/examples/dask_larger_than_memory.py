"""An array that is larger than all workers' memory limits together, on a cluster of processes.

    python examples/dask_larger_than_memory.py --gigabytes 8 --memory-limit "1.5 GiB" --framework torch

The array is made block by block, changed by a function of the framework, and kept by the workers:
what does not fit is spilled to disk. Then it is summed up, and the sums are compared with what they
must be. Workers that import PyTorch need some 700 MB for that alone.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.utils import format_bytes, parse_bytes
from distributed import Client, LocalCluster, Status, wait

from arraybridge.dask import map_blocks, prepare, status

COLUMNS = 1024


def rows_of(block_info: Any = None) -> Any:
    """Rows of numbers from 0 to 1023, which go on from one row to the next."""
    (first, last), (left, right) = block_info[None]["array-location"]
    row, column = np.ogrid[first:last, left:right]
    return ((row + column) % COLUMNS).astype("int32")


def changed(rows: Any) -> Any:
    """What the function does, in words that all frameworks know."""
    return rows * 3 + 1


def watched(cluster: Any, stop: threading.Event, paused: dict[str, float]) -> None:
    """Notes the longest time that a worker was paused at a stretch."""
    since: dict[str, float] = {}
    while not stop.wait(0.1):
        now = time.monotonic()
        for address, worker in list(cluster.scheduler.workers.items()):
            if worker.status == Status.paused:
                longest = now - since.setdefault(address, now)
                paused[address] = max(paused.get(address, 0.0), longest)
            else:
                since.pop(address, None)


def run(size: int, workers: int, limit: int, framework: str) -> dict[str, Any]:
    """Makes, changes, keeps and sums up an array of `size` bytes."""
    rows = size // (4 * COLUMNS)
    paused: dict[str, float] = {}
    stop = threading.Event()
    started = time.monotonic()
    with (
        # Half the memory for results and half for what workers need besides.
        dask.config.set({"distributed.worker.memory.target": 0.35}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=limit,
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        prepare(client)
        watch = threading.Thread(target=watched, args=(cluster, stop, paused))
        watch.start()
        try:
            array = da.map_blocks(
                rows_of, dtype="int32", chunks=da.core.normalize_chunks((2048, COLUMNS), (rows, COLUMNS))
            )
            made = map_blocks(changed, array, input_type=framework, dtype="int32").persist()
            wait(made)
            spilled = sum(
                client.run(lambda dask_worker: int(dask_worker.data.spilled_total.disk)).values()
            )
            total = int(made.sum(dtype="int64").compute())
            lowest, highest = (int(one) for one in dask.compute(made.min(), made.max()))
            reports = status(client)
        finally:
            stop.set()
            watch.join()
    # Each row has each of the numbers from 0 to 1023 once.
    wanted = rows * (3 * COLUMNS * (COLUMNS - 1) // 2 + COLUMNS)
    return {
        "array_bytes": int(array.nbytes),
        "limits_bytes": limit * workers,
        "spilled_bytes": spilled,
        "blocks": sum(report["blocks"] for report in reports.values()),
        "exact": (total, lowest, highest) == (wanted, 1, 3 * (COLUMNS - 1) + 1),
        "longest_pause": round(max(paused.values(), default=0.0), 1),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=4.0, help="the size of the array")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-limit", default="1.5 GiB", help="of each worker")
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--json", action="store_true", help="print the figures alone")
    given = parser.parse_args()
    size, limit = int(given.gigabytes * 1e9), parse_bytes(given.memory_limit)
    if size <= limit * given.workers:
        parser.error("the array fits into the memory of all workers: this shows one that does not")
    found = run(size, given.workers, limit, given.framework)
    if given.json:
        print(json.dumps(found))
        return
    print(f"array   {format_bytes(found['array_bytes'])} in {found['blocks']} blocks")
    print(f"limits  {format_bytes(found['limits_bytes'])} of {given.workers} workers together")
    print(f"spilled {format_bytes(found['spilled_bytes'])}")
    print(f"sums    {'exact' if found['exact'] else 'WRONG'}")
    print(f"paused  {found['longest_pause']} s at most; {found['seconds']} s in all")


if __name__ == "__main__":
    main()
