"""Arrays that make trouble: nothing is narrowed, written to or made up in silence."""

from __future__ import annotations

import threading
import warnings

import pytest

import numpy as np

import arraybridge
from arraybridge import MemoryConversionError, convert_memory, detect_memory_type


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array(["2026-01-01"], "M8[D]"),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]),
    ],
    ids=["object", "text", "datetime", "record"],
)
def test_elements_that_no_other_framework_has(array, torch):
    with pytest.raises(MemoryConversionError):
        convert_memory(array, "numpy", "torch", gpu_id=None)
    assert convert_memory(array, "numpy", "numpy") is array


@pytest.mark.parametrize("name", ["bool", "uint8", "int16", "float16", "complex64", "complex128"])
def test_elements_of_many_types(name, torch):
    array = np.array([0, 1, 1]).astype(name)
    tensor = convert_memory(array, "numpy", "torch", gpu_id=None)
    assert str(tensor.dtype) == f"torch.{name}"
    np.testing.assert_array_equal(convert_memory(tensor, "torch", "numpy"), array)


@pytest.mark.parametrize("name", ["int64", "float64", "complex128"])
def test_jax_narrows_nothing_in_silence(name, jax):
    array = np.array([2**40 + 1]).astype(name)
    if jax.config.jax_enable_x64:
        assert convert_memory(array, "numpy", "jax", gpu_id=None).dtype == name
        return
    with pytest.raises(MemoryConversionError):
        convert_memory(array, "numpy", "jax", gpu_id=None)


@pytest.mark.parametrize("name", ["int64", "float64"])
def test_pyclesperanto_narrows_nothing_in_silence(name, pyclesperanto):
    with pytest.raises(MemoryConversionError):
        convert_memory(np.ones((2, 2), name), "numpy", "pyclesperanto")


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[::2, 1:],
        lambda a: a.T,
        lambda a: np.broadcast_to(a[0], (5, 4)),
        lambda a: a[:0],
        lambda a: np.asfortranarray(a),
    ],
    ids=["reversed", "mirrored", "stepped", "transposed", "broadcast", "empty", "fortran"],
)
def test_layouts(view, torch, jax):
    array = view(np.arange(12, dtype=np.float32).reshape(3, 4))
    before = array.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for target in ("torch", "jax"):
            if target == "jax" and array.size == 0:
                continue  # below
            made = convert_memory(array, "numpy", target, gpu_id=None)
            back = convert_memory(made, target, "numpy")
            np.testing.assert_array_equal(back, before)


def test_many_empty_arrays_there_and_back(jax, run_python):
    # In a program of its own: an owner that is let go too early ends the process.
    printed = run_python(
        "import numpy as np\n"
        "from arraybridge import convert_memory\n"
        "for _ in range(3000):\n"
        "    array = np.ones((3, 4), np.float32)[:0]\n"
        "    there = convert_memory(array, 'numpy', 'jax', gpu_id=None)\n"
        "    back = convert_memory(there, 'jax', 'numpy')\n"
        "print(back.shape)\n"
    )
    assert printed.strip() == "(0, 4)"


def test_read_only_arrays_are_never_made_writable(torch, jax):
    array = np.ones(3)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convert_memory(array, "numpy", "torch", gpu_id=None).add_(1)
    assert array.tolist() == [1, 1, 1]
    assert not array.flags.writeable
    frozen = jax.numpy.ones(3)
    out = convert_memory(frozen, "jax", "numpy")
    if out.flags.writeable:
        out += 1
    assert frozen.tolist() == [1, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convert_memory(frozen, "jax", "torch", gpu_id=None).add_(1)
    assert frozen.tolist() == [1, 1, 1]


def test_an_object_that_claims_to_be_an_array(torch):
    pretender = type("Pretender", (), {"__module__": "torch"})()
    assert detect_memory_type(pretender) == "torch"
    with pytest.raises(MemoryConversionError):
        convert_memory(pretender, "torch", "numpy")


def test_an_exception_in_a_decorated_function_is_the_users(torch):
    class Mine(Exception):
        pass

    @arraybridge.torch
    def f(x):
        raise Mine("from within")

    for value in (np.ones(1), torch.ones(1), torch.ones(1)):
        with pytest.raises(Mine, match="from within") as caught:
            f(value)
        assert caught.value.__cause__ is None


def test_many_threads(torch):
    f = arraybridge.torch(output_type="numpy")(lambda x: x + 1)
    failures = []

    def work(number):
        for _ in range(50):
            array = np.full(8, number, np.float32)
            result = f(array)
            if type(result) is not np.ndarray or (result != number + 1).any():
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_input_is_alive_after_an_error(torch):
    array = np.array([object()])
    for _ in range(3):
        with pytest.raises(MemoryConversionError):
            convert_memory(array, "numpy", "torch", gpu_id=None)
    assert array.shape == (1,)
