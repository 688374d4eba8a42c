"""What a conversion takes beside the libraries' own ways, in one process.

    python benches/python/convert.py [--released PYTHON]

Each job and its peer take turns; the time is the best of their turns, a call of an empty function
subtracted. Small arrays measure the way, large ones the copying. Needs NumPy, PyTorch and JAX; passing
arrays into a compiled function is measured beside apache-tvm-ffi where that is installed. With
`--released`, the released arraybridge that the other Python has is asked for the same as ours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import jax
import numpy as np
import torch

from arraybridge import (
    HostDevice,
    MemoryType,
    _native,
    convert,
    convert_memory,
    detect_memory_type,
    rescale,
    stack_slices,
)
from arraybridge import torch as torch_function

try:
    import tvm_ffi
except ImportError:
    tvm_ffi = None


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


def report(name, ours, peer_name, peer, calls):
    mine, theirs = best(ours, peer, calls)
    ratio = f"{mine / theirs:.2f}" if theirs > 20 else "–"
    print(f"| {name} | {mine:,.0f} ns | {peer_name} {theirs:,.0f} ns | {ratio} |", flush=True)


def small_jobs():
    array = np.arange(6.0).reshape(2, 3)
    tensor = torch.from_numpy(array)
    frozen = jax.numpy.arange(6.0)

    def plain(one):
        return one

    declared = torch_function(plain)
    from_numpy = ("torch.from_numpy", lambda: torch.from_numpy(array), 50_000)
    yield ("detect_memory_type", lambda: detect_memory_type(array), "isinstance",
           lambda: isinstance(array, np.ndarray), 100_000)
    yield ("convert_memory, NumPy to PyTorch",
           lambda: convert_memory(array, "numpy", "torch"), *from_numpy)
    for said, call in usual_calls(array, HostDevice, MemoryType):
        yield (f"the same, {said}", call, *from_numpy)
    yield ("convert_memory, PyTorch to NumPy", lambda: convert_memory(tensor, "torch", "numpy"),
           "Tensor.numpy", lambda: tensor.numpy(), 50_000)
    yield ("convert_memory, JAX to PyTorch", lambda: convert_memory(frozen, "jax", "torch"),
           "torch.from_dlpack", lambda: torch.from_dlpack(frozen), 10_000)
    yield ("a decorated function, one tensor", lambda: declared(tensor), "the bare function",
           lambda: plain(tensor), 50_000)


def usual_calls(array, host_device, types):
    host = host_device()
    yield ("`device=HostDevice()`",
           lambda: convert_memory(array, "numpy", "torch", device=host_device()))
    yield ("`device=` one made before",
           lambda: convert_memory(array, "numpy", "torch", device=host))
    yield ("`device=\"cpu\"`", lambda: convert_memory(array, "numpy", "torch", device="cpu"))
    yield ("`gpu_id=None`", lambda: convert_memory(array, "numpy", "torch", gpu_id=None))
    numpy, pytorch = types.NUMPY, types.TORCH
    yield ("members of `MemoryType`", lambda: convert_memory(array, numpy, pytorch, gpu_id=None))
    yield ("`MemoryType.NUMPY.to_torch`", lambda: numpy.to_torch(array))


def passing_jobs():
    """Arrays into a compiled function that does nothing with them: borrowed for the call, then its own, which is what
    apache-tvm-ffi hands over in both cases."""
    nothing, ours, owned = (
        tvm_ffi.get_global_func("testing.nop"), _native.look_at, _native.take_in)
    one, two, three = (torch.arange(6.0) for _ in range(3))
    array = np.arange(6.0)
    name = f"apache-tvm-ffi {tvm_ffi.__version__}"
    yield ("1 tensor into Rust", lambda: ours(one), name, lambda: nothing(one), 50_000)
    yield ("3 tensors into Rust", lambda: ours(one, two, three), name,
           lambda: nothing(one, two, three), 50_000)
    yield ("1 NumPy array into Rust", lambda: ours(array), name, lambda: nothing(array), 20_000)
    yield ("1 tensor into Rust, to keep", lambda: owned(one), name, lambda: nothing(one), 50_000)
    yield ("3 tensors into Rust, to keep", lambda: owned(one, two, three), name,
           lambda: nothing(one, two, three), 50_000)
    yield ("1 NumPy array into Rust, to keep", lambda: owned(array), name,
           lambda: nothing(array), 20_000)


def large_jobs():
    slices = [np.full((512, 512), index, np.float32) for index in range(50)]
    large = np.random.default_rng(0).random((2048, 2048))
    yield ("stack_slices, 50 of 512 × 512 float32", lambda: stack_slices(slices, "numpy", None),
           "numpy.stack", lambda: np.stack(slices), 5)
    yield ("float64 to float32, 2048 × 2048, to PyTorch",
           lambda: convert(large, "torch", dtype="float32", overflow="saturate"),
           "Tensor.to", lambda: torch.from_numpy(large).to(torch.float32), 5)
    yield ("a transposed copy, 2048 × 2048", lambda: convert(large.T, "torch", copy=True),
           "Tensor.contiguous", lambda: torch.from_numpy(large).T.contiguous(), 5)
    for dtype in ("float32", "float64"):
        values = large.astype(dtype)
        tensor = torch.from_numpy(values)

        def by_numpy(values=values):
            low, high = values.min(), values.max()
            return ((values - low) / (high - low) * 65_535).astype(np.uint16)

        def by_torch(tensor=tensor):
            low, high = torch.aminmax(tensor)
            return ((tensor - low) / (high - low) * 65_535).to(torch.uint16)

        def in_range(values=values):
            places = np.clip(values, 0.25, 0.75) - values.dtype.type(0.25)
            return np.rint(places * (255 / 0.5)).astype(np.uint8)

        def in_range_by_torch(tensor=tensor):
            return tensor.clamp(0.25, 0.75).sub_(0.25).mul_(255 / 0.5).round_().to(torch.uint8)

        def saturated(values=values):
            return np.clip(values, 0, 255).astype(np.uint8)

        def stretch(values=values):
            return rescale(values, "uint16", "minmax")

        def ranged(values=values):
            return rescale(values, "uint8", "range", low=0.25, high=0.75)

        shape = f"{dtype}, 2048 × 2048"
        yield (f"rescale, minmax to uint16, {shape}", stretch, "NumPy's operations", by_numpy, 5)
        yield (f"rescale, minmax to uint16, {shape}", stretch, "PyTorch's operations", by_torch, 5)
        yield (f"rescale, range to uint8, {shape}", ranged, "NumPy's operations", in_range, 5)
        yield (f"rescale, range to uint8, {shape}", ranged, "PyTorch's operations",
               in_range_by_torch, 5)
        yield (f"rescale, saturate to uint8, {shape}",
               lambda values=values: rescale(values, "uint8"), "NumPy's operations", saturated, 5)
        if dtype == "float32":
            held = np.clip(values, 0, 255)

            def refusing(values=held):
                whole = np.trunc(values)
                if (np.isnan(values) | (whole > 255) | (whole < 0)).any():
                    raise ValueError("one does not fit")
                return whole.astype(np.uint8)

            yield (f"rescale, refuse to uint8, {shape}",
                   lambda values=held: rescale(values, "uint8", "refuse"),
                   "NumPy's operations", refusing, 5)
        else:
            yield (f"rescale, saturate to float32, {shape}",
                   lambda values=values: rescale(values, "float32"),
                   "NumPy's astype", lambda values=values: values.astype(np.float32), 5)


#: Asked of the released package, which needs a device to be named.
RELEASED = """
import time
import numpy as np
from importlib.metadata import version
from arraybridge import HostDevice, convert_memory, detect_memory_type
array = np.arange(6.0).reshape(2, 3)
def best(function):
    times = []
    for _ in range(15):
        started = time.perf_counter()
        for _ in range(10_000):
            function()
        times.append((time.perf_counter() - started) / 10_000)
    return min(times) * 1e9
nothing = best(lambda: None)
print(version("arraybridge"))
print(best(lambda: convert_memory(array, "numpy", "torch", device=HostDevice())) - nothing)
print(best(lambda: detect_memory_type(array)) - nothing)
"""


def released(python):
    printed = subprocess.run([python, "-c", RELEASED], capture_output=True, text=True, check=True)
    version, conversion, detection = printed.stdout.split()
    array = np.arange(6.0).reshape(2, 3)
    calls = [("no device named", lambda: convert_memory(array, "numpy", "torch")),
             *usual_calls(array, HostDevice, MemoryType)]
    name = f"arraybridge {version}"
    for said, call in calls:
        mine, _ = best(call, call, 10_000)
        times = float(conversion) / mine
        print(f"| convert_memory, NumPy to PyTorch, {said} | {mine:,.0f} ns | {name} "
              f"{float(conversion):,.0f} ns | {times:.1f} times as fast |")
    mine, _ = best(*[lambda: detect_memory_type(array)] * 2, 100_000)
    print(f"| detect_memory_type | {mine:,.0f} ns | {name} {float(detection):,.0f} ns | "
          f"{float(detection) / mine:.1f} times as fast |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--released", metavar="PYTHON",
                        help="a Python that has the released arraybridge and PyTorch")
    asked = parser.parse_args()
    print("| job | ours | peer | ours / peer |\n| --- | ---: | ---: | ---: |")
    for job in small_jobs():
        report(*job)
    if tvm_ffi is None:
        print("| arrays into Rust | not measured | apache-tvm-ffi is not installed here | – |")
    else:
        for job in passing_jobs():
            report(*job)
    for job in large_jobs():
        report(*job)
    if asked.released:
        released(asked.released)


if __name__ == "__main__":
    sys.exit(main())
