"""Arrays as arguments of functions in Rust: what is refused, and that nothing of them is kept."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from arraybridge import MemoryConversionError, convert
from arraybridge._native import look_at, take_in

torch = pytest.importorskip("torch")


def pending_negation():
    return torch.ones(3, dtype=torch.complex64).conj().imag


REFUSED = {
    "requires grad": (lambda: torch.ones(3, requires_grad=True), r"detach\(\)"),
    "a result that requires grad": (lambda: torch.ones(3, requires_grad=True) * 2, r"detach\(\)"),
    "a parameter": (lambda: torch.nn.Parameter(torch.ones(3)), r"detach\(\)"),
    "conjugated": (lambda: torch.ones(3, dtype=torch.complex64).conj(), r"resolve_conj\(\)"),
    "negated": (pending_negation, r"resolve_neg\(\)"),
    "negated, and compact": (lambda: torch._neg_view(torch.ones(3)), r"resolve_neg\(\)"),
    "negated integers": (
        lambda: torch._neg_view(torch.ones(3, dtype=torch.int32)),
        r"resolve_neg\(\)",
    ),
    "sparse": (lambda: torch.ones(2, 2).to_sparse(), r"to_dense\(\)"),
    "compressed rows": (lambda: torch.ones(2, 2).to_sparse_csr(), r"to_dense\(\)"),
    "meta": (lambda: torch.ones(2, device="meta"), "meta"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.quint8),
        r"dequantize\(\)",
    ),
    "text": (lambda: np.array(["a"]), "encode it as numbers"),
    "no array": (lambda: "text", "no array"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("handed", [look_at, take_in])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_tensor_is_refused_wherever_it_stands(handed, name):
    make, words = REFUSED[name]
    good, bad = torch.ones(3), make()
    for arrays in ([bad], [good, bad], [good, good, bad], [bad, good, good]):
        with pytest.raises(MemoryConversionError, match=words):
            handed(*arrays)
    handed(good, good, good)


@pytest.mark.parametrize("handed", [look_at, take_in])
@pytest.mark.parametrize(
    "shape", [(), (0,), (0, 3), (1,), (2, 3), (2, 3, 4, 5), (1, 2, 1, 2, 1), (1,) * 64]
)
def test_every_shape_is_taken_and_arrives(handed, shape):
    tensor = torch.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    handed(tensor, tensor.numpy())
    assert convert(tensor, "tensor").shape == shape
    strided = torch.ones(6, 4)[::2, 1:].T
    handed(strided)
    assert convert(strided, "tensor").strides == strided.stride()


def test_more_axes_than_there_can_be_are_refused():
    with pytest.raises(MemoryConversionError, match="rank"):
        look_at(torch.ones((1,) * 65))


@pytest.mark.parametrize("handed", [look_at, take_in])
def test_a_subclass_is_a_tensor(handed):
    class Mine(torch.Tensor):
        pass

    handed(torch.ones(3).as_subclass(Mine))
    with pytest.raises(MemoryConversionError, match=r"detach\(\)"):
        handed(torch.ones(3, requires_grad=True).as_subclass(Mine))


def test_an_error_of_a_subclass_is_told():
    class Raises(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, arguments=(), named=None):
            raise RuntimeError("asked what it may not be asked")

    with pytest.raises(MemoryConversionError, match="asked what it may not be asked"):
        look_at(torch.ones(3).as_subclass(Raises))


class Seen(torch.overrides.TorchFunctionMode):
    """What of PyTorch's Python is called."""

    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_function__(self, function, types, arguments=(), named=None):
        self.functions.append(function)
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("handed", [look_at, take_in])
def test_a_plain_tensor_is_asked_nothing_by_way_of_python(handed):
    tensors = torch.ones(3), torch.ones(2, 2, dtype=torch.complex64), torch.ones(2, dtype=torch.int8)
    handed(*tensors)
    with Seen() as seen:
        handed(*tensors)
    assert seen.functions == []
    with Seen() as seen, pytest.raises(MemoryConversionError, match=r"resolve_neg\(\)"):
        handed(pending_negation())
    assert seen.functions, "the reason is PyTorch's own answer"


FIRST_USE = """
import torch
import torch._subclasses
from arraybridge import MemoryConversionError
from arraybridge._native import look_at

tensor = torch.ones(3)
bad = [torch.ones(3, requires_grad=True), torch._neg_view(tensor), torch.ones(3, dtype=torch.complex64).conj()]
torch.set_default_device("meta")
torch.set_default_dtype(torch.float64)
with {mode}:
    look_at(tensor)
    for one in bad:
        try:
            look_at(one)
        except MemoryConversionError:
            continue
        raise SystemExit("it was taken")
    assert torch.is_inference_mode_enabled() == {inference} and torch.ones(1).is_inference() == {inference}
look_at(tensor)
assert not torch.is_inference_mode_enabled()
"""


@pytest.mark.parametrize(
    ("mode", "inference"),
    [
        ("torch.inference_mode()", True),
        ("torch._subclasses.FakeTensorMode()", False),
    ],
)
def test_the_first_tensor_may_be_seen_in_any_mode_of_pytorch(run_python, mode, inference):
    run_python(FIRST_USE.format(mode=mode, inference=inference))


@pytest.mark.parametrize("handed", [look_at, take_in])
@pytest.mark.parametrize("make", [lambda: torch.ones(3), lambda: np.ones(3)])
def test_no_reference_is_kept(handed, make):
    array = make()
    before = sys.getrefcount(array)
    for _ in range(1000):
        handed(array, array, array)
    bad = torch.ones(3, requires_grad=True)
    for _ in range(10):
        with pytest.raises(MemoryConversionError):
            handed(array, array, bad)
    assert sys.getrefcount(array) == before


def test_an_array_whose_last_reference_is_the_call_is_taken():
    for _ in range(100):
        look_at(torch.ones(1000), np.ones(1000), torch.ones(1000))
    holder = [torch.arange(3.0)]
    look_at(holder.pop())
    assert convert(torch.arange(3.0), "numpy").tolist() == [0.0, 1.0, 2.0]


def test_several_threads_pass_the_same_tensors():
    tensors = [torch.arange(6.0) for _ in range(3)]
    before = [sys.getrefcount(tensor) for tensor in tensors]
    failures = []

    def work():
        try:
            for _ in range(2000):
                look_at(*tensors)
                take_in(*tensors)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [sys.getrefcount(tensor) for tensor in tensors] == before
