"""Every framework to every framework: values, element type, place, and what is shared."""

from __future__ import annotations

import importlib

import hypothesis.extra.numpy as numpy_strategies
import numpy as np
import pytest
from frameworks import DTYPES, HERE, address, lies_on_the_host, made, read, values
from hypothesis import given
from hypothesis import strategies as st

from arraybridge import MemoryConversionError, convert, convert_reported, detect_memory_type, plan

CELLS = [(source, target) for source in HERE for target in HERE]


@pytest.fixture(autouse=True)
def _installed(request):
    names = getattr(request.node, "callspec", None)
    for name in names.params.values() if names else ():
        if isinstance(name, str) and name in HERE:
            pytest.importorskip(name)


@pytest.mark.parametrize(("source", "target"), CELLS)
def test_values_and_element_types_arrive(source, target):
    for dtype in DTYPES[source]:
        if dtype not in DTYPES[target]:
            continue
        expected = values(dtype, (3, 4))
        array = made(source, expected)
        result, report = convert_reported(array, target)
        assert detect_memory_type(result) == target
        # pyclesperanto has no arrays on the host.
        assert lies_on_the_host(target, result) == (target != "pyclesperanto")
        found = read(target, result)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(read(source, array), expected)
        assert (report.source, report.target) == (source, target)
        assert report.bytes_copied % expected.nbytes == 0
        assert report.zero_copy == (report.bytes_copied == 0)


@pytest.mark.parametrize(("source", "target"), CELLS)
def test_what_is_called_zero_copy_is_the_same_memory(source, target):
    array = made(source, values("float32", (64, 4)))
    result, report = convert_reported(array, target)
    first, second = address(source, array), address(target, result)
    if first is not None and second is not None:
        assert (first == second) == report.zero_copy
    assert plan(array, target).zero_copy == report.zero_copy


@pytest.mark.parametrize(("source", "target"), CELLS)
def test_shapes_from_no_axis_to_three(source, target):
    shapes = [(5,), (1,), (2, 3), (1, 7), (2, 3, 4)]
    if "pyclesperanto" not in (source, target):
        shapes += [(), (0,), (0, 3), (2, 0, 1), (2, 1, 2, 1, 2)]
    for shape in shapes:
        expected = values("float32", shape)
        found = read(target, convert(made(source, expected), target))
        assert found.shape == shape
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("between", HERE)
@given(drawn=st.data())
def test_whatever_goes_there_comes_back(between, drawn):
    """Any numbers, NaN and infinities too, of any shape, cut and turned in any way, and not a bit is changed."""
    dtype = drawn.draw(st.sampled_from(DTYPES[between]))
    least, most = (1, 3) if between == "pyclesperanto" else (0, 4)
    shape = drawn.draw(
        numpy_strategies.array_shapes(min_dims=least, max_dims=most, min_side=1, max_side=5)
    )
    array = drawn.draw(numpy_strategies.arrays(dtype, shape))
    array = array.transpose(drawn.draw(st.permutations(range(array.ndim))))
    array = array[tuple(slice(None, None, drawn.draw(st.sampled_from((1, -1, 2)))) for _ in array.shape)]
    back = convert(convert(array, between), "numpy")
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("target", HERE)
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-2],
        lambda a: a.T,
        lambda a: a[1:, 1:],
        lambda a: a[::3, ::2],
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.asfortranarray(a),
    ],
    ids=["reversed", "reversed by two", "transposed", "part", "steps", "broadcast", "columns"],
)
def test_every_layout_of_numpy(view, target):
    array = view(values("float32", (6, 8)))
    expected = array.copy()
    np.testing.assert_array_equal(read(target, convert(array, target)), expected)


@pytest.mark.parametrize("target", HERE)
def test_read_only_memory_is_never_made_writable(target):
    array = values("float32", (64,))
    array.flags.writeable = False
    result = convert(array, target)
    if target == "torch":
        result += 1
    elif target == "numpy":
        assert not result.flags.writeable
    np.testing.assert_array_equal(array, values("float32", (64,)))


@pytest.mark.parametrize("source", ["jax", "tensorflow"])
def test_arrays_that_cannot_be_written_stay_so(source):
    array = made(source, values("float32", (64,)))
    seen = convert(array, "numpy")
    assert not seen.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 1
    tensor = convert(array, "torch")
    tensor += 1
    np.testing.assert_array_equal(read(source, array), values("float32", (64,)))


def test_memory_is_shared_both_ways(torch):
    array = values("float64", (2, 3))
    tensor = convert(array, "torch")
    tensor[0, 0] = 41
    assert array[0, 0] == 41
    back = convert(tensor, "numpy")
    back[0, 0] = 42
    assert array[0, 0] == 42 and tensor[0, 0] == 42


def test_a_result_outlives_its_source(torch):
    tensor = convert(values("float32", (1000,)), "torch")
    array = convert(torch.arange(1000.0), "numpy")
    importlib.import_module("gc").collect()
    junk = [np.full(1000, 7, "float32") for _ in range(50)]
    np.testing.assert_array_equal(tensor.numpy(), values("float32", (1000,)))
    np.testing.assert_array_equal(array, np.arange(1000.0))
    assert len(junk) == 50


@pytest.mark.parametrize("target", ["numpy", "torch", "tensorflow", "jax"])
def test_copies_are_a_policy(target):
    pytest.importorskip(target)
    array = values("float32", (64,))
    copied, report = convert_reported(array, target, copy=True)
    assert not report.zero_copy
    array[0] = 99
    assert read(target, copied)[0] == 0
    pytest.importorskip("torch")
    with pytest.raises(MemoryConversionError, match="copies are forbidden"):
        convert(array[::-1], "torch" if target == "numpy" else target, copy=False)


@pytest.mark.parametrize(
    ("dtype", "of"),
    [
        ("float16", np.float64),
        (np.float32, np.int32),
        (np.dtype("int16"), np.float32),
        ("torch.float64", np.float32),
    ],
)
def test_casts_are_asked_for_by_any_name(dtype, of, torch):
    array = values("float64", (4,)).astype(of)
    tensor = convert(array, "torch", dtype=dtype)
    assert str(tensor.dtype).removeprefix("torch.") == str(dtype).split(".")[-1].strip("'<> ")
    np.testing.assert_array_equal(tensor.numpy().astype(of), array)


def test_pythons_own_classes_mean_what_they_mean_to_numpy():
    array = np.array([1.5, 0.0])
    assert convert(array, "numpy", dtype=float).dtype == np.float64
    assert convert(array, "numpy", dtype=complex).dtype == np.complex128
    assert convert(np.array([1, 2]), "numpy", dtype=int).dtype == np.int64
    assert convert(array, "numpy", dtype="f4").dtype == np.float32
    for unclear in ("float", "int", np.dtype(">f4")):
        with pytest.raises(ValueError, match="dtype"):
            convert(array, "numpy", dtype=unclear)


def test_a_cast_that_loses_values_is_refused(torch):
    array = np.array([1.0, 300.0])
    with pytest.raises(MemoryConversionError, match="element 1 is 300"):
        convert(array, "torch", dtype="uint8")
    saturated = convert(array, "torch", dtype="uint8", overflow="saturate")
    assert saturated.tolist() == [1, 255]
    assert convert(array, "torch", dtype="uint8", overflow="wrap").tolist() == [1, 44]
    with pytest.raises(ValueError, match="'refuse', 'saturate', 'wrap'"):
        convert(array, "torch", dtype="uint8", overflow="round")


def test_what_jax_would_narrow_is_refused(jax):
    for dtype in ("int64", "uint64", "float64", "complex128"):
        with pytest.raises(MemoryConversionError, match="jax_enable_x64"):
            convert(values(dtype, (3,)), "jax")
    assert convert(values("float64", (3,)), "jax", dtype="float32").dtype == "float32"


def test_small_floats_go_through_ml_dtypes(torch, jax):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        array = np.array([0.5, 1.0, -2.0]).astype(getattr(ml_dtypes, name))
        tensor = convert(array, "torch")
        assert str(tensor.dtype) == f"torch.{name}"
        back = convert(tensor, "numpy")
        assert back.dtype == array.dtype and back.tobytes() == array.tobytes()
        assert convert(array, "jax").dtype == array.dtype


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array(["text"]), "text cannot be handed over"),
        (np.array([object()]), "Python objects"),
        (np.array(["2026-01-01"], "M8[D]"), "int64"),
        (np.array([1.0], ">f4"), "other order"),
        (np.zeros(2, [("x", "f4")]), "field"),
        (np.zeros(2, np.longdouble), "float64"),
        (np.ma.masked_array([1.0], [True]), "masked"),
        (np.ma.masked, "masked"),
    ],
    ids=[
        "text",
        "objects",
        "dates",
        "big-endian",
        "structured",
        "long double",
        "masked",
        "the masked constant",
    ],
)
def test_what_no_other_framework_has_is_refused_with_what_to_do(array, words, torch):
    with pytest.raises(MemoryConversionError, match=words):
        convert(array, "torch")


def test_strides_that_are_no_multiple_of_the_elements(torch):
    packed = np.zeros(4, np.dtype([("flag", "u1"), ("value", "f4")]))
    with pytest.raises(MemoryConversionError, match="ascontiguousarray"):
        convert(packed["value"], "torch")
    assert convert(np.ascontiguousarray(packed["value"]), "torch").tolist() == [0.0] * 4


def test_misaligned_elements_are_copied(torch):
    raw = np.zeros(33, "u1")[1:]
    array = raw.view("f4")
    array[:] = range(8)
    tensor, report = convert_reported(array, "torch")
    assert tensor.tolist() == list(range(8))
    assert report.bytes_copied == 32


def test_tensors_that_are_not_what_lies_in_memory(torch):
    with pytest.raises(MemoryConversionError, match=r"detach\(\)"):
        convert(torch.ones(3, requires_grad=True), "numpy")
    with pytest.raises(MemoryConversionError, match=r"resolve_conj\(\)"):
        convert(torch.ones(3, dtype=torch.complex64).conj(), "numpy")
    with pytest.raises(MemoryConversionError, match=r"resolve_neg\(\)"):
        convert(torch.ones(3, dtype=torch.complex64).conj().imag, "numpy")
    with pytest.raises(MemoryConversionError, match=r"to_dense\(\)"):
        convert(torch.ones(2, 2).to_sparse(), "numpy")
    with pytest.raises(MemoryConversionError, match="meta"):
        convert(torch.ones(2, device="meta"), "numpy")


def test_text_of_tensorflow_is_refused_before_it_is_exported(tensorflow):
    for tensor in (tensorflow.constant("text"), tensorflow.Variable(["a", "b"])):
        with pytest.raises(MemoryConversionError, match="a tensor of string"):
            convert(tensor, "numpy")


def test_keys_of_jax_are_named(jax):
    with pytest.raises(MemoryConversionError, match=r"key_data\(key\)"):
        convert(jax.random.key(0), "numpy")


def test_traced_arrays_and_graphs_have_no_values(jax, tensorflow):
    def traced(array):
        return convert(array, "numpy")

    with pytest.raises(MemoryConversionError, match="tracing"):
        jax.jit(traced)(jax.numpy.ones(3))
    with pytest.raises(MemoryConversionError, match=r"tf\.function"):
        tensorflow.function(traced, autograph=False)(tensorflow.ones(3))


def test_pyclesperanto_has_neither_wide_elements_nor_four_axes(pyclesperanto):
    with pytest.raises(MemoryConversionError, match="float32"):
        convert(values("float64", (2, 2)), "pyclesperanto")
    with pytest.raises(MemoryConversionError, match="rank"):
        convert(values("float32", (1, 2, 2, 2)), "pyclesperanto")
    with pytest.raises(MemoryConversionError):
        convert(values("float32", (0, 2)), "pyclesperanto")
