"""What a conversion takes beside the libraries' own ways, in one process.

    python benches/python/convert.py [--markdown]

Each job and its peer take turns; the time is the best of their turns, a call of an empty function
subtracted. Arrays are small: what is measured is the way, not the copying.
"""

from __future__ import annotations

import sys
import time

import jax
import numpy as np
import torch

from arraybridge import convert, convert_memory, detect_memory_type, stack_slices
from arraybridge import torch as torch_function


def seconds(function, calls):
    started = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - started) / calls


def best(ours, peer, calls, turns=15):
    """The best time of each, in nanoseconds, without the call itself."""
    nothing = min(seconds(lambda: None, calls) for _ in range(5))
    for function in (ours, peer):
        seconds(function, calls)
    times = [(seconds(ours, calls), seconds(peer, calls)) for _ in range(turns)]
    return tuple((min(column) - nothing) * 1e9 for column in zip(*times))


def main():
    array = np.arange(6.0).reshape(2, 3)
    tensor = torch.from_numpy(array)
    frozen = jax.numpy.arange(6.0)
    slices = [np.full((512, 512), index, np.float32) for index in range(50)]
    large = np.random.default_rng(0).random((2048, 2048))

    def plain(one):
        return one

    declared = torch_function(plain)
    jobs = [
        ("detect_memory_type", lambda: detect_memory_type(array), "isinstance",
         lambda: isinstance(array, np.ndarray), 100_000),
        ("convert_memory, NumPy to PyTorch", lambda: convert_memory(array, "numpy", "torch"),
         "torch.from_numpy", lambda: torch.from_numpy(array), 50_000),
        ("convert_memory, PyTorch to NumPy", lambda: convert_memory(tensor, "torch", "numpy"),
         "Tensor.numpy", lambda: tensor.numpy(), 50_000),
        ("convert_memory, JAX to PyTorch", lambda: convert_memory(frozen, "jax", "torch"),
         "torch.from_dlpack", lambda: torch.from_dlpack(frozen), 10_000),
        ("a decorated function, one tensor", lambda: declared(tensor), "the bare function",
         lambda: plain(tensor), 50_000),
        ("stack_slices, 50 of 512 × 512 float32", lambda: stack_slices(slices, "numpy", None),
         "numpy.stack", lambda: np.stack(slices), 5),
        ("float64 to float32, 2048 × 2048, to PyTorch",
         lambda: convert(large, "torch", dtype="float32", overflow="saturate"),
         "Tensor.to", lambda: torch.from_numpy(large).to(torch.float32), 5),
        ("a transposed copy, 2048 × 2048", lambda: convert(large.T, "torch", copy=True),
         "Tensor.contiguous", lambda: torch.from_numpy(large).T.contiguous(), 5),
    ]
    print("| job | ours | peer | ours / peer |\n| --- | ---: | ---: | ---: |")
    for name, ours, peer_name, peer, calls in jobs:
        mine, theirs = best(ours, peer, calls)
        ratio = f"{mine / theirs:.2f}" if theirs > 20 else "–"
        print(f"| {name} | {mine:,.0f} ns | {peer_name} {theirs:,.0f} ns | {ratio} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
