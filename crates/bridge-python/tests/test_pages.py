"""The programs in the pages that are no examples of the interpreter, which pytest runs by itself: as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGES = Path(__file__).resolve().parents[3] / "docs"


def programs(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (PAGES / page).read_text(), re.DOTALL | re.MULTILINE)


def test_no_page_has_a_program_that_is_not_run_here():
    found = {page.name: len(programs(page.name)) for page in PAGES.glob("*.md")}
    assert {name: count for name, count in found.items() if count} == {"python-clusters.md": 1}


def test_a_cluster(torch: Any, monkeypatch: Any, capsys: Any) -> None:
    """On a cluster in this process, in place of the one at that address, and with images of a thirty-second of the side."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    da = pytest.importorskip("dask.array", reason="dask.array is not installed")
    [program] = programs("python-clusters.md")
    addresses: list[str] = []
    made = da.random.random

    def small(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Any:
        count, *sides = shape
        assert chunks == (8, *sides)
        return made((count // 25, *(side // 32 for side in sides)), chunks=(8, *(side // 32 for side in sides)))

    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        with distributed.Client(cluster) as client:

            class ClientAt(distributed.Client):
                def __new__(cls, address: str) -> Any:
                    addresses.append(address)
                    return client

            monkeypatch.setattr(distributed, "Client", ClientAt)
            monkeypatch.setattr(da.random, "random", small)
            names: dict[str, Any] = {}
            exec(compile(program, "docs/python-clusters.md", "exec"), names)
            images, sharpened = names["images"], names["sharpened"]
            mean, status = capsys.readouterr().out.splitlines()
    assert addresses == ["tcp://scheduler:8786"]
    assert images.shape == (40, 64, 64) and images.dtype == np.float32
    assert 0.3 < float(mean) < 0.7, "of numbers from 0 to 1"
    assert "'blocks': 5" in status, status
    assert type(sharpened(np.ones((1, 2, 2), np.float32))) is torch.Tensor
