"""Mistakes of other bridges and frameworks, as far as they show from Python: docs/known-bugs.md has the list.

Each test names the bugs that it is about: repository and number.
"""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
import threading
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
from dlpack_by_hand import (
    BFLOAT,
    BOOL,
    COMPLEX,
    INT,
    READ_ONLY,
    ByHand,
    delete_without_the_interpreter,
    taken_out,
)
from frameworks import made, read, values

from arraybridge import MemoryConversionError, convert, convert_reported

ON_THE_HOST = ("numpy", "torch", "jax", "tensorflow")


@pytest.fixture(autouse=True)
def _installed(request):
    names = getattr(request.node, "callspec", None)
    for name in names.params.values() if names else ():
        if isinstance(name, str) and name in ON_THE_HOST:
            pytest.importorskip(name)


class Watched(np.ndarray):
    """An array that can be referred to weakly."""


def watched(count=64):
    array = np.arange(count, dtype="f4").view(Watched)
    return array, weakref.ref(array)


def let_go():
    """What a thread without the interpreter has let go of is dropped by the next conversion."""
    gc.collect()
    convert(np.zeros(1), "tensor")


class TestFreedTwiceTooEarlyOrNever:
    @pytest.mark.parametrize("version", [(1, 0), None], ids=["versioned", "legacy"])
    def test_a_capsule_whose_import_fails_is_freed_once(self, version):
        """pytorch#56789"""
        tensor = ByHand(np.zeros(4, "f4"), (-1,), (1,), version=version)
        capsule = tensor.__dlpack__()

        class Offers:
            __dlpack__ = staticmethod(lambda **_: capsule)

        for _ in range(2):
            with pytest.raises(MemoryConversionError):
                convert(Offers(), "numpy")
        del capsule
        assert tensor.deleted == 1

    @pytest.mark.parametrize("target", [*ON_THE_HOST, "tensor", "candle", "ndarray"])
    def test_what_was_consumed_is_freed_once_when_it_is_let_go_of(self, target):
        """pytorch#9260, cupy#1445, cudf#5212, mahout#888"""
        tensor = ByHand(np.arange(64, dtype="f4"), (64,), (1,))
        result = convert(tensor, target)
        again = convert(result, "numpy")
        assert again[3] == 3
        del again, result
        let_go()
        assert tensor.deleted == 1

    @pytest.mark.parametrize("version", [(1, 0), None], ids=["versioned", "legacy"])
    def test_what_nobody_consumes_is_freed(self, version):
        """pytorch#9297, quadrants#598, kaldi#93, dlpack#51, kornia-rs#782"""
        array, alive = watched()
        capsule = convert(array, "tensor").__dlpack__(max_version=version)
        del array
        gc.collect()
        assert alive() is not None
        del capsule
        let_go()
        assert alive() is None

    def test_a_thousand_imports_are_freed_a_thousand_times(self):
        """cudf#2400, iree#20849, dgl#312, tvm#6559"""
        tensor = ByHand(np.arange(4, dtype="f4"), (4,), (1,))
        for count in range(1000):
            assert convert(convert(tensor, "tensor"), "numpy")[3] == 3
            assert tensor.deleted == count + 1

    @pytest.mark.parametrize("target", ["numpy", "torch", "tensor"])
    def test_a_tensor_without_elements_is_freed(self, target):
        """pytorch#117273"""
        tensor = ByHand(0, (0, 3), (3, 1))
        assert convert(tensor, target).shape == (0, 3)
        let_go()
        assert tensor.deleted == 1

    def test_an_export_that_fails_keeps_nothing(self, jax):
        """pytorch#171820, pytorch#172611"""
        array, alive = watched()
        array.flags.writeable = False
        tensor = convert(array, "tensor")
        with pytest.raises(BufferError, match="max_version"):
            tensor.__dlpack__(copy=False)
        with pytest.raises(BufferError):
            tensor.__dlpack__(dl_device=(2, 0))
        with pytest.raises(MemoryConversionError):
            convert(array, "pyclesperanto", dtype="float64")
        with pytest.raises(MemoryConversionError):
            convert(array, "jax", dtype="float64")
        del array, tensor
        let_go()
        assert alive() is None

    def test_a_view_keeps_its_tensor_and_lets_go_of_it(self):
        """cuda-python#1043, cuda-python#1048"""
        tensor = ByHand(np.arange(8, dtype="f4"), (8,), (1,))
        part = convert(tensor, "numpy")[2:4]
        gc.collect()
        assert part.tolist() == [2, 3] and tensor.deleted == 0
        del part
        assert tensor.deleted == 1

    def test_two_exports_know_nothing_of_each_other(self, torch):
        """cudnn-frontend#547"""
        tensor = convert(np.arange(6.0).reshape(2, 3), "tensor")
        first, second = tensor.__dlpack__(max_version=(1, 0)), tensor.__dlpack__(max_version=(1, 0))
        assert taken_out(first)[0] != taken_out(second)[0]
        one, other = torch.from_dlpack(tensor), torch.from_dlpack(tensor)
        one.t_()
        del one
        assert other.shape == (2, 3) and other.tolist() == [[0, 1, 2], [3, 4, 5]]

    @pytest.mark.parametrize("target", ON_THE_HOST)
    def test_the_source_may_go_first(self, target):
        """mxnet#13658"""
        array, alive = watched(100_000)
        result = convert(array, target)
        del array
        gc.collect()
        junk = [np.full(100_000, 7, "f4") for _ in range(5)]
        np.testing.assert_array_equal(read(target, result), np.arange(100_000, dtype="f4"))
        del result, junk
        let_go()
        assert alive() is None

    def test_a_bool_of_other_bytes_does_not_become_one_of_rust(self):
        """dlpark#55"""
        tensor = ByHand(np.array([0, 1, 2], "u1"), (3,), (1,), dtype=(BOOL, 8, 1))
        targets = ["numpy", "tensor", *(["torch"] if importlib.util.find_spec("torch") else [])]
        for target in targets:
            with pytest.raises(MemoryConversionError, match="the byte 2, only 0 and 1 are booleans"):
                convert(tensor, target, copy=True)
        assert tensor.deleted == len(targets)


class TestThreadsAndTheEndOfTheProcess:
    @pytest.mark.parametrize("how", ["here", "on a thread"])
    def test_a_deleter_may_run_without_the_interpreter(self, how):
        """dlpack#103, dlpack#129, dlpack#140, numpy#22507, pytorch#88082, python_backend#198, CV-CUDA#298"""
        array, alive = watched()
        places = [taken_out(convert(array, "tensor").__dlpack__(max_version=(1, 0))) for _ in range(5)]
        del array
        assert alive() is not None
        for place in places:
            thread = threading.Thread(target=delete_without_the_interpreter, args=place)
            if how == "here":
                delete_without_the_interpreter(*place)
            else:
                thread.start()
                thread.join()
        let_go()
        assert alive() is None

    def test_a_deleter_may_run_after_the_interpreter_has_ended(self):
        """nanobind#377"""
        program = """
import ctypes
import numpy as np
from arraybridge import convert
from dlpack_by_hand import taken_out
address, deleter = taken_out(convert(np.arange(64.0), "tensor").__dlpack__(max_version=(1, 0)))
at_exit = ctypes.CDLL(None).__cxa_atexit
at_exit.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
assert at_exit(deleter, address, None) == 0
"""
        if not sys.platform.startswith("linux"):
            pytest.skip("the C library of this system is asked otherwise")
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


STRANGE = [(12345, 1), (0, 1), (-7, 1), (1, 1)]


class TestStridesOffsetsAndShapes:
    @pytest.mark.parametrize("version", [None, (1, 0), (1, 1)])
    @pytest.mark.parametrize("target", ON_THE_HOST)
    def test_missing_strides_are_row_major_ones(self, target, version):
        """cupy#2095, pytorch#18510, dlpack#178, cccl#7045, DALI#6013, arrow#51122"""
        tensor = ByHand(np.arange(6, dtype="f4"), (2, 3), None, version=version)
        found = read(target, convert(tensor, target))
        assert found.tolist() == [[0, 1, 2], [3, 4, 5]]

    def test_from_version_1_2_on_strides_may_not_be_missing(self):
        """dlpack#178, cccl#7045"""
        tensor = ByHand(np.arange(6, dtype="f4"), (2, 3), None, version=(1, 2))
        with pytest.raises(MemoryConversionError, match="strides"):
            convert(tensor, "numpy")
        assert tensor.deleted == 1

    @pytest.mark.parametrize("target", ON_THE_HOST)
    @pytest.mark.parametrize(
        "view",
        [lambda a: a.T, lambda a: a[1:, ::2], lambda a: a[:, 1], lambda a: np.asfortranarray(a)],
        ids=["transposed", "sliced", "a column", "columns"],
    )
    def test_strides_are_not_ignored(self, view, target):
        """jax#4196, jax#7657, jax#17784, Paddle#68322"""
        array = view(values("float32", (4, 6)))
        np.testing.assert_array_equal(read(target, convert(array, target)), array.copy())

    @pytest.mark.parametrize("target", ON_THE_HOST)
    def test_backward_strides_are_no_end_of_the_process(self, target):
        """pytorch#188023, scikit-learn#34307, tensorflow#51598"""
        array = values("float32", (4, 6))[::-1, ::-2]
        np.testing.assert_array_equal(read(target, convert(array, target)), array.copy())

    def test_a_backward_stride_goes_out_as_one(self):
        """cupy#10172"""
        array = np.arange(6.0)[::-1]
        tensor = convert(array, "tensor")
        assert tensor.strides == (-1,)
        back = np.from_dlpack(tensor, copy=False)
        assert back.ctypes.data == array.ctypes.data and back.strides == (-8,)

    @pytest.mark.parametrize("target", ["numpy", "torch", "tensor"])
    def test_a_byte_offset_is_honoured_and_not_lost(self, target):
        """cuda-python#2576"""
        memory = np.arange(8, dtype="f4")
        tensor = ByHand(memory, (3,), (2,), offset=8)
        result = convert(tensor, target)
        again = convert(result, "numpy")
        assert again.tolist() == [2, 4, 6]
        assert again.ctypes.data == memory.ctypes.data + 8

    def test_strides_that_are_no_multiple_of_the_elements_are_not_rounded(self):
        """nanobind#487, nanobind#489"""
        packed = np.zeros(4, np.dtype([("flag", "u1"), ("value", "f4")]))
        packed["value"] = range(4)
        with pytest.raises(MemoryConversionError, match="ascontiguousarray"):
            convert(packed["value"], "tensor")

    @pytest.mark.parametrize("target", ON_THE_HOST)
    @pytest.mark.parametrize("strides", [(0, 0, 0), (128, 128, 1), (1, 8, 8), (-5, 77, 3)])
    def test_without_elements_strides_and_addresses_mean_nothing(self, strides, target):
        """nanobind#1259, onnxruntime#27450, python_backend#444, cccl#11605, tensorflow#61184"""
        tensor = ByHand(0, (1, 0, 128), strides)
        found = read(target, convert(tensor, target))
        assert found.shape == (1, 0, 128)

    @pytest.mark.parametrize("strides", STRANGE)
    def test_strides_of_extents_of_one_mean_nothing(self, strides, torch):
        """pytorch#83158, pytorch#82610, drjit#122, tilelang#1968, tensorflow#61184"""
        memory = np.arange(3, dtype="f4")
        for target in ("numpy", "torch"):
            result, report = convert_reported(ByHand(memory, (1, 3), strides), target)
            assert report.zero_copy and result.tolist() == [[0, 1, 2]]
        assert convert(ByHand(memory, (1, 3), strides), "candle").shape == (1, 3)

    @pytest.mark.parametrize("strides", STRANGE)
    def test_strides_of_extents_of_one_are_not_rewritten(self, strides):
        """pytorch#99803, Paddle#77052"""
        tensor = convert(ByHand(np.arange(3, dtype="f4"), (1, 3), strides), "tensor")
        assert tensor.strides == strides

    @pytest.mark.parametrize("target", ON_THE_HOST)
    def test_copies_of_arrays_with_gaps_hold_all_elements(self, target):
        """Paddle#68559, Paddle#78565"""
        array = values("float32", (9, 8))[::4, ::3]
        np.testing.assert_array_equal(read(target, convert(array, target, copy=True)), array)

    @pytest.mark.parametrize("target", ON_THE_HOST)
    def test_more_than_two_axes(self, target):
        """Paddle#35817"""
        for rank in range(9):
            array = values("float32", (2,) * rank).T
            np.testing.assert_array_equal(read(target, convert(array, target)), array)

    def test_row_major_strides_that_overflow_are_an_error(self):
        """tenferro-rs#477, tenferro-rs#480, tenferro-rs#489"""
        tensor = ByHand(np.zeros(4, "f4"), (0, 2**40, 2**40), None)
        huge = ByHand(np.zeros(4, "f4"), (2, 2**40, 2**40), None)
        with pytest.raises(MemoryConversionError):
            convert(huge, "numpy")
        assert huge.deleted == 1
        try:
            convert(tensor, "tensor")  # it has no elements; both answers are right
        except MemoryConversionError:
            pass
        let_go()
        assert tensor.deleted == 1

    def test_a_capsule_is_taken_once(self):
        """tenferro-rs#335"""
        tensor = ByHand(np.arange(3, dtype="f4"), (3,), (1,))
        capsule = tensor.__dlpack__()

        class Offers:
            __dlpack__ = staticmethod(lambda **_: capsule)

        first = convert(Offers(), "numpy")
        with pytest.raises(MemoryConversionError, match="taken by somebody else"):
            convert(Offers(), "numpy")
        assert first.tolist() == [0, 1, 2] and tensor.deleted == 0
        del first
        assert tensor.deleted == 1


class TestSizesAndChecks:
    @pytest.mark.parametrize(
        ("bugs", "fields"),
        [
            ("tensorflow#116201", {"shape": (2**32, 2**32, 16), "dtype": (INT, 32, 1)}),
            ("tensorflow#116201", {"shape": (-1, 3)}),
            ("MatX#1204", {"data": 0, "shape": (2,)}),
            ("MatX#1204", {"shape": (2,), "offset": 2**64 - 4}),
            ("executorch#19055", {"shape": (2**62,), "dtype": (COMPLEX, 128, 1)}),
            ("executorch#19055", {"shape": (2**31, 2**31), "strides": (2**31, 1)}),
            ("mlx#3476, mohu#328", {"shape": None, "ndim": 2}),
            ("mohu#328", {"shape": (2,), "ndim": -1}),
            ("mohu#328", {"shape": (2, -(2**63))}),
            ("tenferro-rs#464", {"shape": (2, 2), "strides": (2**62, 2**62)}),
        ],
    )
    def test_forged_fields_are_refused(self, bugs, fields):
        fields = {"data": np.zeros(4, "f4"), **fields}
        tensor = ByHand(fields.pop("data"), **fields)
        for target in ("numpy", "tensor"):
            with pytest.raises(MemoryConversionError):
                convert(tensor, target)
        assert tensor.deleted == 2

    @pytest.mark.parametrize("target", ON_THE_HOST)
    def test_misaligned_elements_are_not_read_in_place(self, target):
        """jax#37303, arrow-rs#7136, arrow-rs#7137, arrow-rs#10060"""
        memory = np.zeros(17, "u1")
        memory[1:].view("u1")[:] = np.arange(4, dtype="f4").view("u1")
        tensor = ByHand(memory.ctypes.data + 1, (4,), (1,))
        result = convert(tensor, target)
        assert read(target, result).tolist() == [0, 1, 2, 3]
        if target != "numpy":
            assert tensor.deleted == 1  # it was copied

    @pytest.mark.parametrize("target", ON_THE_HOST)
    def test_wide_elements_at_narrow_addresses(self, target):
        """arrow-rs#10030"""
        array = np.zeros(9, "f4")[1:].view("c8")[:3]
        array[:] = [1, 2j, 3]
        np.testing.assert_array_equal(read(target, convert(array, target)), array)


class TestReadOnlyMemory:
    def test_what_may_be_written_comes_in_writable(self, torch):
        """numpy#28599, numpy#28632"""
        for source in (torch.zeros(3), bytearray(8), ByHand(np.zeros(3, "f4"), (3,), (1,))):
            assert convert(source, "numpy").flags.writeable

    def test_what_may_not_be_written_can_be_handed_over(self):
        """numpy#20337, nanobind#206"""
        array = values("float32", (64,))
        array.flags.writeable = False
        for target in ("numpy", "tensor", "ndarray"):
            seen = np.asarray(convert(array, target))
            assert not seen.flags.writeable or seen.ctypes.data != array.ctypes.data
        tensor, report = convert_reported(array, "tensor")
        assert report.zero_copy and tensor.readonly

    @pytest.mark.parametrize("source", ["numpy", "jax", "tensorflow"])
    def test_what_torch_writes_reaches_no_memory_that_is_read_only(self, source, torch):
        """pytorch#5442, array-api#191, jax#19123, jax#19183"""
        array = made(source, values("float32", (64,)))
        if source == "numpy":
            array.flags.writeable = False
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tensor = convert(array, "torch")
        tensor += 1
        np.testing.assert_array_equal(read(source, array), values("float32", (64,)))
        assert tensor[0] == 1

    @pytest.mark.parametrize("source", ["jax", "tensorflow"])
    def test_arrays_that_cannot_change_are_seen_so(self, source):
        """jax#37830"""
        seen, report = convert_reported(made(source, values("float32", (64,))), "numpy")
        assert report.zero_copy and not seen.flags.writeable

    def test_the_flag_is_looked_at(self, torch):
        """MatX#1157"""
        memory = np.arange(3, dtype="f4")
        tensor = ByHand(memory, (3,), (1,), flags=READ_ONLY)
        assert not convert(tensor, "numpy").flags.writeable
        copied = convert(tensor, "torch")
        copied += 1
        assert memory.tolist() == [0, 1, 2]
        with pytest.raises(MemoryConversionError, match="forbidden"):
            convert(tensor, "torch", copy=False)


class TestElementTypes:
    @pytest.mark.parametrize("target", ON_THE_HOST)
    @pytest.mark.parametrize("source", ON_THE_HOST)
    def test_a_bool_stays_one(self, source, target):
        """pytorch#67081, pytorch#94463, pytorch#114673, jax#19352, onnxruntime#9919"""
        expected = np.array([True, False, True])
        found = read(target, convert(made(source, expected), target))
        assert found.dtype == np.bool_ and found.tolist() == expected.tolist()
        bytes_ = read(target, convert(made(source, expected.view("u1")), target))
        assert bytes_.dtype == np.uint8

    def test_a_type_that_the_target_lacks_is_refused_with_what_to_do(self, torch, tensorflow):
        """cupy#8801"""
        tensor = torch.tensor([0.5, 2.0]).to(torch.float8_e5m2)
        with pytest.raises(MemoryConversionError, match=r"float8_e5m2(.|\n)*float") as caught:
            convert(tensor, "tensorflow")
        assert "cast" in str(caught.value)
        assert read("tensorflow", convert(tensor, "tensorflow", dtype="float32")).tolist() == [0.5, 2]
        packed = ByHand(np.array([0x3F80], "u2"), (1,), (1,), dtype=(BFLOAT, 16, 1))
        assert convert(packed, "torch").dtype == torch.bfloat16
        with pytest.raises(MemoryConversionError, match="bfloat16"):
            convert(packed, "pyclesperanto")

    @pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"])
    def test_floats_of_a_byte_keep_their_flavour(self, name, torch, jax):
        """dlpack#156, dlpark"""
        pytest.importorskip("ml_dtypes")
        tensor = torch.tensor([0.5, 1.0, 2.0]).to(getattr(torch, name))
        for target in ("numpy", "jax"):
            found = convert(tensor, target)
            assert found.dtype.name == name
            assert np.asarray(found).astype("f4").tolist() == [0.5, 1, 2]
            assert convert(found, "torch").dtype == tensor.dtype
        assert convert(tensor, "tensor").dtype == name
        if name == "float8_e4m3fn":
            assert convert(tensor, "candle").dtype == name

    def test_two_floats_in_a_byte_are_not_taken_for_one(self):
        """dlpack#158"""
        packed = ByHand(np.array([0x21, 0x43], "u1"), (2,), (1,), dtype=(17, 4, 2))
        assert "float4_e2m1fn" in convert(packed, "tensor").dtype
        with pytest.raises(MemoryConversionError, match="float4_e2m1fn"):
            convert(packed, "numpy")

    def test_jax_narrows_nothing(self, jax):
        """Common gotchas of JAX"""
        with pytest.raises(MemoryConversionError, match="jax_enable_x64"):
            convert(np.array([1e300]), "jax")
        with pytest.raises(MemoryConversionError):
            convert(np.array([1e300]), "jax", dtype="float32")
