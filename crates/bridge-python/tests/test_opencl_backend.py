"""OpenCL's devices by way of the backend of Rust, where the package is built with its feature `opencl`."""

import subprocess
import sys

import pytest

# In a process of its own: OpenCL's drivers are loaded there, and TensorFlow is not.
PROGRAM = """
import numpy as np
from arraybridge import backends, convert, convert_reported, plan

told = {backend["name"]: backend for backend in backends()}
if "opencl" not in told:
    print("left out")
    raise SystemExit
if not told["opencl"]["devices"]:
    print("no device:", told["opencl"]["reason"])
    raise SystemExit

source = np.arange(12, dtype="float32").reshape(3, 4)
for array in (source, source.T, source[::2, ::-1]):
    there, report = convert_reported(array, "opencl", copy=True)
    assert there.device.startswith("opencl"), there.device
    assert (there.shape, str(there.dtype)) == (array.shape, "float32"), there
    back = convert(there, "numpy")
    assert np.array_equal(back, array), back
    narrow = convert(convert(array, "opencl", dtype="int16"), "numpy")
    assert narrow.dtype == np.int16 and np.array_equal(narrow, array), narrow
assert plan(source, "opencl", copy=True).peaks, "it takes memory"
print("went there and back")
"""


def test_arrays_go_to_opencl_and_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = done.stdout.strip()
    if told == "left out":
        pytest.skip("the package was built without its feature opencl: see docs/python.md")
    if told.startswith("no device"):
        pytest.skip(told)
    assert told == "went there and back"
