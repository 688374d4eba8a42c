"""Signals are handled while a long copy goes on, so that Ctrl-C stops it."""

from __future__ import annotations

import gc
import signal
import threading

import numpy as np
import pytest

from arraybridge import convert, convert_reported, rescale, stack_slices

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers of POSIX")

#: Some pieces of 64 MiB, and a tail.
LENGTH = (200 << 20) // 8


class Alarm:
    """Runs `action` on the main thread when a signal comes, shortly after the beginning."""

    def __init__(self, action):
        self.action = action

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, lambda *_: self.action())
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


def ways():
    return pytest.mark.parametrize(
        "work",
        [
            lambda array: convert(array, "numpy", copy=True),
            lambda array: convert(array, "tensor", copy=True),
            lambda array: convert(array, "ndarray", copy=True),
            lambda array: convert_reported(array, "numpy", copy=True)[0],
            lambda array: convert(array, "numpy", dtype="int32"),
            lambda array: convert(array, "tensor").__array__(copy=True),
            lambda array: np.from_dlpack(convert(array, "tensor"), copy=True),
            lambda array: stack_slices(list(array.reshape(25, 1024, -1)), "numpy"),
            lambda array: stack_slices([array.reshape(1024, -1)], "numpy"),
            lambda array: rescale(array, "uint8", "saturate"),
            lambda array: rescale(array, "uint8", "minmax"),
            lambda array: rescale(array, "uint8", "range", low=0, high=255),
            lambda array: rescale(array, "uint8", "refuse"),
            lambda array: rescale(array, "uint8", "wrap"),
            lambda array: rescale(array, "float32", "refuse"),
            lambda array: rescale(array, "float32", "saturate"),
            lambda array: rescale(array, "float32", "wrap"),
            lambda array: rescale(array, "float32", "minmax"),
            lambda array: rescale(array, "float16", "range", low=0, high=255),
        ],
        ids=[
            *["numpy", "tensor", "backend", "reported", "cast", "__array__", "__dlpack__"],
            *["stack", "stack of one", "saturate", "minmax", "range", "refuse", "wrap"],
            *["refuse floats", "saturate floats", "wrap floats", "minmax floats", "range floats"],
        ],
    )


@ways()
def test_a_handler_runs_between_the_pieces(work):
    array = np.zeros(LENGTH)
    handled = []

    def action():
        handled.append(True)
        array[-1] = 7  # which is copied later than what comes first

    with Alarm(action):
        made = work(array)
    assert handled
    assert np.asarray(made).flat[-1] != 0, "the handler ran only when all was copied"


@ways()
def test_what_a_handler_raises_is_raised(work):
    class Stop(Exception):
        pass

    def action():
        raise Stop

    array = np.zeros(LENGTH)
    with pytest.raises(Stop) as caught, Alarm(action):
        work(array)
    assert caught.value.__cause__ is None
    assert not array.any() and np.asarray(work(array)).size == array.size


def test_what_a_handler_raises_while_a_name_is_asked_for_is_raised():
    class Stop(Exception):
        pass

    class Interrupted:
        @property
        def name(self):
            raise Stop

    with pytest.raises(Stop):
        convert(np.ones(3), "numpy", dtype=Interrupted())
    with pytest.raises(Stop):
        convert(np.ones(3), "torch", device=Interrupted())


def test_ctrl_c(run_python):
    printed = run_python(
        "import os, signal, threading, time\n"
        "import numpy as np\n"
        "from arraybridge import convert\n"
        # Programs that are started in the background may ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "array = np.zeros((400 << 20) // 8)\n"
        "threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    while True: convert(array, 'numpy', copy=True)\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    assert printed == "stopped\n"


def test_other_threads_are_not_interrupted():
    made = []
    array = np.ones(LENGTH)
    thread = threading.Thread(target=lambda: made.append(convert(array, "numpy", copy=True)))
    with Alarm(lambda: None):
        thread.start()
        thread.join()
    assert made[0].sum() == LENGTH
    gc.collect()
