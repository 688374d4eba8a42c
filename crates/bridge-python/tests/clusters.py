"""A Dask cluster of processes for tests, and limits of time that end in stacks."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import dask
import distributed

#: The longest that a test, or a cluster's start or end, may take. They take seconds; on a busy machine, where
#: workers may have to compile what they import, it can be more than a minute.
SECONDS = 240

SETTINGS = {
    # A worker that dies takes its tasks with it, and a test kills some.
    "distributed.scheduler.allowed-failures": 20,
    # After so long without the worker a LocalCluster gives its place up, counted from the worker's first death.
    "distributed.deploy.lost-worker-timeout": "10 minutes",
    "distributed.comm.timeouts.connect": "60s",
}
#: With this, SIGABRT makes a worker write the stacks of its threads.
ENVIRONMENT = {"PYTHONFAULTHANDLER": "1"}

_started: list[Any] = []


@contextmanager
def local_cluster(
    settings: dict[str, Any] | None = None, environment: dict[str, str] | None = None, **terms: Any
) -> Iterator[Any]:
    """A cluster of two processes with nannies, whose environment has these additions.

    Workers number themselves in their folder of temporary files: each cluster has one of its own, as two run at once.
    """
    with (
        tempfile.TemporaryDirectory(prefix="cluster-") as folder,
        dask.config.set({**SETTINGS, **(settings or {})}),
        # Workers take it over, also those that start again.
        mock.patch.dict(os.environ, {**ENVIRONMENT, "TMPDIR": folder, **(environment or {})}),
    ):
        with limited(SECONDS, "the start of a cluster"):
            cluster = distributed.LocalCluster(
                n_workers=2, processes=True, dashboard_address=None, **terms
            )
        _started.append(cluster)
        try:
            yield cluster
        finally:
            with limited(SECONDS, "the end of a cluster"):
                cluster.close()
            _started.remove(cluster)


@contextmanager
def limited(seconds: int, what: str) -> Iterator[None]:
    """Raises a `TimeoutError` after so many seconds, when all processes have written their stacks.

    Where even that does not help, as in a call that never comes back to the interpreter, the process ends.
    """

    def late(_signal: int, _frame: Any) -> None:
        faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
        for cluster in _started:
            for nanny in list(cluster.workers.values()):
                if nanny.pid is not None:
                    os.kill(nanny.pid, signal.SIGCONT)
                    os.kill(nanny.pid, signal.SIGABRT)
        time.sleep(1)  # they write to the same file
        raise TimeoutError(f"{what} took more than {seconds} s: the stacks of all processes are above")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + 30, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


class Watch:
    """Looks at the workers again and again, and notes how long each was paused at a stretch."""

    def __init__(self, cluster: Any) -> None:
        self.longest = 0.0
        self.looks = 0
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        since: dict[str, float] = {}
        while not self._stop.wait(0.05):
            now = time.monotonic()
            self.looks += 1
            for address, worker in list(self._cluster.scheduler.workers.items()):
                if worker.status == distributed.Status.paused:
                    self.longest = max(self.longest, now - since.setdefault(address, now))
                else:
                    since.pop(address, None)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stop.set()
        self._thread.join()
