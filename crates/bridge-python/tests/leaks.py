"""What the process has grown by after many conversions from each framework to each: nothing, if none leaves anything.

    python crates/bridge-python/tests/leaks.py [--count 100000] [--only numpy torch]

Prints a table. A cell converts a small array again and again, and drops the result; the memory of the process is
looked at ten times on the way, after a tenth that is not counted, in which caches fill. A cell has failed where the
process has grown by more than `ALLOWED`, or has more blocks of Python's or bytes of the C library's in use than
`ALLOWED_BLOCKS` and `ALLOWED_BYTES`. Needs psutil.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import psutil
from frameworks import HERE, made, values

from arraybridge import convert

#: 16 KiB.
SHAPE = (4096,)
#: The bytes that the process may grow by, whose allocator takes more than it needs.
ALLOWED = 2 << 20
#: What may be in use beside what was in use before: frameworks have work of their own.
ALLOWED_BLOCKS, ALLOWED_BYTES = 300, 64 << 10


@dataclass
class Grown:
    """What one cell took."""

    count: int
    seconds: float
    looks: list[Look]

    @property
    def resident(self) -> int:
        return self.looks[-1].resident - self.looks[0].resident

    @property
    def blocks(self) -> int:
        return self.looks[-1].blocks - self.looks[0].blocks

    @property
    def in_use(self) -> int:
        return self.looks[-1].in_use - self.looks[0].in_use

    def is_flat(self) -> bool:
        few = self.blocks <= ALLOWED_BLOCKS + self.count // 1000
        return few and self.in_use <= ALLOWED_BYTES + self.count // 10 and self.resident <= ALLOWED


@dataclass
class Look:
    """What the process has at one time."""

    #: Bytes of memory, as the system counts them.
    resident: int
    #: Blocks that Python's objects have.
    blocks: int
    #: Bytes that the C library has given out; 0 where it cannot tell.
    in_use: int

    @staticmethod
    def now() -> Look:
        gc.collect()
        return Look(psutil.Process().memory_info().rss, sys.getallocatedblocks(), _given_out())


def _given_out() -> int:
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return 0
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def grown(source: str, target: str, count: int) -> Grown:
    """Converts `count` times, after a tenth more."""
    array = made(source, values("float32", SHAPE))
    _convert(array, target, max(count // 10, 300))
    gc.collect()
    gc.freeze()  # what frameworks have imported takes long to look through
    looks = [Look.now()]
    seconds = 0.0
    for _ in range(10):
        seconds += _convert(array, target, count // 10)
        looks.append(Look.now())
    return Grown(count // 10 * 10, seconds, looks)


def _convert(array: Any, target: str, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        convert(array, target)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=HERE, choices=HERE)
    asked = parser.parse_args()
    failed = 0
    print("| from | to | conversions | µs each | resident, MiB | grown, KiB | blocks more | bytes more |")
    print("| --- | --- | --: | --: | --: | --: | --: | --: |")
    for source in asked.only:
        for target in asked.only:
            cell = grown(source, target, asked.count)
            failed += not cell.is_flat()
            each, mib = cell.seconds / cell.count * 1e6, cell.looks[0].resident / (1 << 20)
            grew = f"{cell.resident / 1024:.0f} | {cell.blocks} | {cell.in_use}"
            print(f"| {source} | {target} | {cell.count:,} | {each:.1f} | {mib:.1f} | {grew} |", flush=True)
    print(f"\n{failed} of {len(asked.only) ** 2} left something behind")
    return 1 if failed else 0


if __name__ == "__main__":
    if "pyclesperanto" in sys.argv or "--only" not in sys.argv:
        import pyclesperanto  # noqa: F401  before TensorFlow
    sys.exit(main())
