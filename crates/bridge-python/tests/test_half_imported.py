"""A framework whose import has not come to its end: in another thread, or because it has come to a conversion itself."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

#: A framework that waits within its import, where the test has made it: a JAX as far as it is asked here.
FRAMEWORK = """
import sys, types
import numpy
import half
half.at_the_beginning()
class Array(numpy.ndarray): pass
Array.__module__ = "jaxlib"
def devices(platform=None): return []
config = types.SimpleNamespace(jax_enable_x64=True)
dlpack = types.ModuleType("jax.dlpack")
dlpack.from_dlpack = lambda array: numpy.from_dlpack(array).view(Array)
sys.modules["jax.dlpack"] = dlpack
"""

#: What a test and the framework tell each other.
HALF = """
import threading
inside, go_on = threading.Event(), threading.Event()
def at_the_beginning():
    inside.set()
    assert go_on.wait(30)
"""

START = """
import threading, sys
import numpy as np
import arraybridge, half
from arraybridge import MemoryConversionError, convert, convert_memory, detect_memory_type, plan
answers = []
def answer(call):
    try:
        answers.append(call())
    except Exception as error:
        answers.append(error)
def begun(target, *arguments):
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
def ended(thread):
    thread.join(30)
    assert not thread.is_alive(), "it hangs"
def imports():
    import jax
array = np.arange(4.0)
"""


@pytest.fixture
def run(tmp_path):
    """Runs a program beside such a framework, which it can change."""

    def run(program: str, half: str = HALF, framework: str = FRAMEWORK) -> None:
        (tmp_path / "jax").mkdir()
        (tmp_path / "jax" / "__init__.py").write_text(framework)
        (tmp_path / "half.py").write_text(half)
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-X", "faulthandler", "-c", START + textwrap.dedent(program)]
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, done.stderr

    return run


def test_what_needs_it_not_is_answered_while_another_thread_imports_it(run):
    run("""
        importing = begun(imports)
        assert half.inside.wait(30)
        assert detect_memory_type(array) == "numpy"
        assert convert(array[::-1], "tensor").shape == (4,)
        try:
            detect_memory_type([])
        except ValueError:
            pass
        [row] = [row for row in arraybridge.backends() if row["name"] == "jax"]
        assert row["devices"] == ["cpu"], row   # as of one that is installed and that nobody has imported
        assert arraybridge.ArrayLibrary.named("jax").loaded_module() is None
        arraybridge.cleanup_all_gpu_frameworks()
        assert not hasattr(sys.modules["jax"], "devices"), "the import has not come to its end meanwhile"
        half.go_on.set()
        ended(importing)
    """)


def test_a_conversion_waits_for_the_import_of_another_thread(run):
    run("""
        importing = begun(imports)
        assert half.inside.wait(30)
        threads = [
            begun(answer, lambda: convert(array, "jax")),
            begun(answer, lambda: convert_memory(array, "numpy", "jax", gpu_id=None)),
            begun(answer, lambda: plan(array, "jax")),
        ]
        threads[0].join(0.3)
        assert answers == [] and all(thread.is_alive() for thread in threads)
        half.go_on.set()
        for thread in [importing, *threads]:
            ended(thread)
        kinds = sorted(type(one).__name__ for one in answers)
        assert kinds == ["Array", "Array", "Report"], answers
        assert all(one.tolist() == [0, 1, 2, 3] for one in answers if type(one).__name__ == "Array")
    """)


def test_an_import_that_fails_in_another_thread_is_an_error_and_is_tried_again(run):
    half = HALF.replace("def at_the", "broken = [True]\ndef at_the").replace(
        "    assert go_on.wait(30)\n",
        "    assert go_on.wait(30)\n    if broken:\n        raise ImportError('no libjax.so')\n",
    )
    run(
        """
        importing = begun(answer, imports)
        assert half.inside.wait(30)
        converting = begun(answer, lambda: convert(array, "jax"))
        converting.join(0.3)
        half.go_on.set()
        ended(importing)
        ended(converting)
        errors = sorted(type(one).__name__ for one in answers)
        assert errors == ["ImportError", "MemoryConversionError"], answers
        [error] = [one for one in answers if isinstance(one, MemoryConversionError)]
        assert "importing JAX failed: ImportError: no libjax.so" in error.reason, error.reason
        half.broken.clear()
        assert type(convert(array, "jax")).__name__ == "Array"
        """,
        half,
    )


CONVERTS = """
import numpy, threading, arraybridge
inside, go_on = threading.Event(), threading.Event()
raised = []
def at_the_beginning():
    inside.set()
    assert go_on.wait(30)
    try:
        arraybridge.convert(numpy.arange(4.0), "jax")
    except arraybridge.MemoryConversionError as error:
        raised.append(error.reason)
"""


@pytest.mark.parametrize("first", ["imports", "lambda: convert(array, 'jax')"], ids=["import", "convert"])
def test_a_conversion_within_the_import_itself_is_refused_and_later_ones_are_not(run, first):
    run(
        f"""
        half.go_on.set()
        ended(begun(answer, {first}))
        assert answers and not isinstance(answers[0], Exception), answers
        [reason] = half.raised
        assert "JAX is still being imported" in reason and "when `import jax` has ended" in reason, reason
        assert type(convert(array, "jax")).__name__ == "Array"
        """,
        CONVERTS,
    )


def test_a_conversion_within_the_import_and_one_that_waits_for_it_do_not_wait_for_each_other(run):
    run(
        """
        importing = begun(imports)
        assert half.inside.wait(30)
        converting = begun(answer, lambda: convert(array, "jax"))
        converting.join(0.3)
        half.go_on.set()
        ended(importing)
        ended(converting)
        assert [type(one).__name__ for one in answers] == ["Array"], answers
        assert len(half.raised) == 1
        """,
        CONVERTS,
    )
