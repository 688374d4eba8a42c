"""How conversions behave in a process: memory, threads, forks, and its end."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from frameworks import HERE, made, values

from arraybridge import convert, rescale, stack_slices


@pytest.mark.parametrize("target", HERE)
@pytest.mark.parametrize("source", HERE)
def test_conversions_leave_nothing_behind(source, target):
    pytest.importorskip(source)
    pytest.importorskip(target)
    pytest.importorskip("psutil")
    from leaks import grown

    cell = grown(source, target, 2000)
    assert cell.is_flat(), f"2000 results that are kept are as many blocks, or 31 MiB: {cell.looks}"


@pytest.mark.parametrize("target", ["numpy", "torch", "jax", "tensorflow"])
def test_references_are_given_back(target):
    pytest.importorskip(target)
    array = values("float32", (64,))
    before = sys.getrefcount(array)
    results = [convert(array, target, copy=False if target == "numpy" else None) for _ in range(10)]
    assert len(results) == 10
    del results
    gc.collect()
    convert(array, "tensor")  # drops what a thread without the interpreter has let go of
    assert sys.getrefcount(array) == before


def test_threads_convert_at_once(torch):
    array = values("float64", (300, 300))
    wrong = []

    def work():
        for _ in range(200):
            tensor = convert(array, "torch", dtype="float32")
            if tensor.shape != (300, 300) or float(tensor[2, 99]) != array[2, 99]:
                wrong.append(tensor)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "work",
    [
        lambda array: convert(array, "numpy", copy=True),
        lambda array: convert(array, "numpy", dtype="float64"),
        lambda array: convert(array, "tensor").__array__(copy=True),
        lambda array: np.from_dlpack(convert(array, "tensor"), copy=True),
        lambda array: stack_slices([array, array], "numpy"),
        lambda array: rescale(array, "uint8", "minmax"),
    ],
    ids=["copy", "cast", "__array__", "__dlpack__", "stack", "rescale"],
)
def test_others_run_while_much_is_copied(work):
    """The interpreter takes its lock from nobody here: they run because it is given up."""
    array = values("float32", (2048, 4096))
    counted, done = [], threading.Event()

    def count():
        while not done.is_set():
            counted.append(None)
            time.sleep(0.0002)

    before = sys.getswitchinterval()
    thread = threading.Thread(target=count)
    thread.start()
    try:
        sys.setswitchinterval(1000)
        start = len(counted)
        made = work(array)
        meanwhile = len(counted) - start
    finally:
        sys.setswitchinterval(before)
        done.set()
        thread.join()
    assert made.size >= array.size and meanwhile > 0


def test_a_result_may_be_dropped_on_another_thread(torch):
    array = values("float32", (64,))
    before = sys.getrefcount(array)
    held = [convert(array, "torch"), convert(convert(array, "torch"), "numpy")]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert sys.getrefcount(array) == before


def run(code):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize("target", ["torch", "jax", "tensor", "candle"])
def test_a_program_may_end_with_arrays_alive(target):
    if target in ("torch", "jax"):
        pytest.importorskip(target)
    done = run(
        "import numpy as np\n"
        "from arraybridge import convert\n"
        "a = np.ones(64, np.float32)\n"
        f"b = convert(a, {target!r}); c = convert(b, 'numpy'); d = convert(a[::-1], 'tensor')\n"
        "class Late:\n"
        "    def __del__(self): print(float(convert(c, 'numpy')[0]))\n"
        "late = Late()\n"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1.0"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_that_was_forked_converts(torch):
    done = run(
        "import os, numpy as np, torch\n"
        "from arraybridge import convert\n"
        "a = np.arange(4.0); t = convert(a, 'torch')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    b = convert(t, 'numpy'); b[0] = 7\n"
        "    os._exit(0 if t[0] == 7 and convert(a[::-1], 'torch')[3] == 7 else 1)\n"
        "_, status = os.waitpid(child, 0)\n"
        "print(os.waitstatus_to_exitcode(status), a[0])\n"
    )
    assert done.stdout.split() == ["0", "0.0"], done.stderr


def test_the_package_is_quick_to_import_and_imports_no_framework():
    done = run(
        "import sys, time\n"
        "before = set(sys.modules); started = time.perf_counter()\n"
        "import arraybridge, arraybridge.converters\n"
        "names = {'numpy', 'torch', 'jax', 'tensorflow', 'cupy', 'pyclesperanto'}\n"
        "print(sorted(names & (set(sys.modules) - before)))\n"
    )
    assert done.stdout.strip() == "[]", done.stderr
