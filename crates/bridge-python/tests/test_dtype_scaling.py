from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numpy as np

from arraybridge import SCALING_FUNCTIONS, MemoryConversionError, dtype_scaling, rescale
from arraybridge.dtype_scaling import RULES, _computed, _scale_generic, numpy_dtype
from arraybridge.types import MemoryType

GOLDEN = {
    "uint8": [0, 127, 255],
    "uint16": [0, 32767, 65535],
    "int16": [-32768, 0, 32639],
    "uint32": [0, 2147483647, 4294967295],
    "int32": [-2147483648, 0, 2147483519],
    "int8": [0, 0, 1],
    "int64": [0, 0, 1],
    "uint64": [0, 0, 1],
}
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
#: Of ml_dtypes, with one of each kind: with infinities, without them, and without negative zero.
SHORT_FLOATS = ["bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e4m3b11fnuz"]


class TestMinMax:
    @pytest.mark.parametrize(("name", "values"), GOLDEN.items())
    def test_golden_values(self, name, values):
        array = np.array([0, 0.5, 1])
        made = SCALING_FUNCTIONS["numpy"](array, name)
        assert made.dtype == name
        assert made.tolist() == values

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("uint8", [0, 127, 255]),
            ("int32", [-2147483648, 0, 2147483520]),
            ("uint32", [0, 2147483648, 4294967295]),
        ],
    )
    def test_golden_values_of_float32(self, name, values, torch):
        tensor = torch.tensor([0, 0.5, 1])
        made = SCALING_FUNCTIONS["torch"](tensor, name)
        assert made.dtype == getattr(torch, name)
        assert made.tolist() == values
        assert SCALING_FUNCTIONS["numpy"](tensor.numpy(), name).tolist() == values

    def test_a_table_for_each_framework(self):
        assert set(SCALING_FUNCTIONS) == {member.value for member in MemoryType}
        assert _scale_generic(np.array([0.0, 1]), "uint8", MemoryType.NUMPY).tolist() == [0, 255]

    def test_any_range_is_stretched(self):
        assert rescale(np.array([0, 100, 200], np.float32), np.uint8, "minmax").tolist() == [
            0,
            127,
            255,
        ]
        huge = np.array([-3e38, 0, 3e38], np.float32)
        assert rescale(huge, "uint8", "minmax").tolist() == [0, 127, 255]
        assert rescale(np.array([-1e308, 1e308]), "uint8", "minmax").tolist() == [0, 255]

    def test_equal_values_are_cast(self):
        assert rescale(np.full(2, 0.7), "uint16", "minmax").tolist() == [0, 0]
        assert rescale(np.full(2, 300.0), "uint8", "minmax").tolist() == [44, 44]

    def test_integers_and_floats_are_cast(self):
        assert rescale(np.array([300]), "uint8", "minmax").tolist() == [44]
        assert rescale(np.array([2, 4]), "float32", "minmax").tolist() == [2, 4]
        assert rescale(np.array([0.5]), "float32", "minmax").tolist() == [0.5]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_cannot_be_stretched(self, value):
        with pytest.raises(ValueError, match=f"the value {value}, element 1 in row-major order"):
            rescale(np.array([0.0, value]), "uint8", "minmax")

    def test_small_floats(self):
        made = rescale(np.array([0, 0.5, 1], np.float16), "uint16", "minmax")
        assert made.tolist() == [0, 32767, 65535]


class TestSaturate:
    def test_ends(self):
        values = np.array([-1e30, -1.7, 0.9, 254.9, 255.5, 1e30, np.inf, -np.inf, np.nan])
        assert rescale(values, "uint8").tolist() == [0, 0, 0, 254, 255, 255, 255, 0, 0]
        assert rescale(values, "int8").tolist() == [-128, -1, 0, 127, 127, 127, 127, -128, 0]

    @pytest.mark.parametrize("name", INTEGERS)
    def test_of_every_integer(self, name):
        info = np.iinfo(name)
        made = rescale(np.array([-1e300, 1e300, np.nan]), name)
        assert made.dtype == name
        assert made.tolist() == [info.min, info.max, 0]

    def test_integers(self):
        assert rescale(np.array([-5, 5, 500]), "uint8").tolist() == [0, 5, 255]
        assert rescale(np.array([2**64 - 1], np.uint64), "int64").tolist() == [2**63 - 1]
        assert rescale(np.array([-1], np.int8), "uint64").tolist() == [0]

    def test_floats(self):
        made = rescale(np.array([1e300, -1e300, np.inf, 1.5]), "float32")
        largest = float(np.finfo(np.float32).max)
        assert made.tolist() == [largest, -largest, np.inf, 1.5]


class TestWrap:
    def test_low_bits(self):
        values = np.array([256.0, -1.0, 300.7, np.nan, np.inf, 2.0**70, 2.0**63])
        assert rescale(values, "uint8", "wrap").tolist() == [0, 255, 44, 0, 0, 0, 0]
        assert rescale(values, "uint64", "wrap").tolist() == [
            256,
            2**64 - 1,
            300,
            0,
            0,
            0,
            2**63,
        ]
        assert rescale(np.array([300, -1]), "uint8", "wrap").tolist() == [44, 255]

    @given(st.floats(-1e25, 1e25), st.sampled_from(INTEGERS))
    def test_as_whole_numbers_do(self, value, name):
        info = np.iinfo(name)
        expected = (int(value) - info.min) % 2**info.bits + info.min
        assert rescale(np.array([value]), name, "wrap").tolist() == [expected]


class TestRefuse:
    @pytest.mark.parametrize("value", [256.0, -1.0, np.nan, np.inf])
    def test_what_does_not_fit(self, value):
        with pytest.raises(ValueError, match="element 1 .* does not fit into uint8"):
            rescale(np.array([1.0, value]), "uint8", "refuse")

    def test_what_fits(self):
        assert rescale(np.array([0.0, 255.9]), "uint8", "refuse").tolist() == [0, 255]
        with pytest.raises(ValueError, match="does not fit into int64"):
            rescale(np.array([2.0**63]), "int64", "refuse")
        with pytest.raises(ValueError, match="does not fit into int8"):
            rescale(np.array([200]), "int8", "refuse")
        with pytest.raises(ValueError, match="does not fit into float32"):
            rescale(np.array([1e300]), "float32", "refuse")


class TestRange:
    def test_to_the_nearest(self):
        values = np.array([-1, 0, 0.5, 1, 2, 9, np.inf, -np.inf])
        made = rescale(values, "uint8", "range", low=0, high=2)
        assert made.tolist() == [0, 0, 64, 128, 255, 255, 255, 0]

    @pytest.mark.parametrize("name", INTEGERS)
    def test_the_whole_range(self, name):
        info = np.iinfo(name)
        made = rescale(np.array([0.0, 1.0]), name, "range", low=0, high=1)
        assert made.tolist() == [info.min, info.max]

    def test_of_integers_and_floats(self):
        assert rescale(np.array([0, 100]), "uint8", "range", low=0, high=100).tolist() == [0, 255]
        made = rescale(np.array([0.0, 5.0, np.nan]), "float32", "range", low=0, high=10)
        assert made.tolist()[:2] == [0, 0.5]
        assert np.isnan(made[2])

    def test_nan(self):
        with pytest.raises(ValueError, match="NaN, element 0"):
            rescale(np.array([np.nan]), "uint8", "range", low=0, high=1)

    @pytest.mark.parametrize(
        ("low", "high"), [(None, 1), (0, None), (1, 1), (2, 1), (0, np.inf), (np.nan, 1)]
    )
    def test_ends_that_are_none(self, low, high):
        with pytest.raises(ValueError, match="low"):
            rescale(np.array([1.0]), "uint8", "range", low=low, high=high)

    def test_ends_belong_to_it_alone(self):
        with pytest.raises(ValueError, match="belong to the rule 'range'"):
            rescale(np.array([1.0]), "uint8", low=0)


class TestAll:
    @pytest.mark.parametrize("rule", ["refuse", "saturate", "wrap", "minmax", "range"])
    def test_empty_stays_empty(self, rule):
        ends = {"low": 0.0, "high": 1.0} if rule == "range" else {}
        made = rescale(np.zeros((0, 3)), "uint8", rule, **ends)
        assert (made.shape, made.dtype) == ((0, 3), np.uint8)

    @pytest.mark.parametrize("rule", ["refuse", "saturate", "wrap", "minmax"])
    def test_the_same_type_is_the_same_array(self, rule):
        array = np.array([np.nan, 1])
        assert rescale(array, "float64", rule) is array

    def test_numbers_of_no_axis(self):
        assert rescale(np.array(300.0), "uint8").tolist() == 255
        assert rescale(np.array(300.0), "uint8", "minmax").tolist() == 44

    def test_the_source_is_left_alone(self):
        array = np.array([0.0, 1e9, np.nan])
        before = array.copy()
        array.flags.writeable = False
        rescale(array, "uint8")
        np.testing.assert_array_equal(array, before)
        assert not array.flags.writeable

    def test_booleans(self):
        assert rescale(np.array([True, False]), "uint8", "minmax").tolist() == [1, 0]
        assert rescale(np.array([0.0, 2.0]), "bool").tolist() == [False, True]

    @pytest.mark.parametrize(
        "array", [np.array(["a"]), np.array([object()]), np.array(["2026-01-01"], "M8[D]")]
    )
    def test_what_is_no_number(self, array):
        with pytest.raises(TypeError, match="no type of numbers"):
            rescale(array, "uint8")

    def test_complex_numbers(self):
        with pytest.raises(ValueError, match="complex numbers do not fit"):
            rescale(np.array([1j]), "float32")
        assert rescale(np.array([1j]), "complex64").dtype == np.complex64

    def test_what_is_no_rule_and_no_type(self):
        with pytest.raises(ValueError, match="'stretch' is no rule"):
            rescale(np.ones(1), "uint8", "stretch")
        with pytest.raises(TypeError, match="not the name of an element type"):
            rescale(np.ones(1), "uint7")
        with pytest.raises(ValueError, match="Unknown memory type"):
            rescale([1.0], "uint8")

    def test_big_endian(self):
        array = np.array([0, 0.5, 1], ">f8")
        assert rescale(array, "uint8", "minmax").tolist() == [0, 127, 255]

    def test_negative_strides(self):
        assert rescale(np.arange(3.0)[::-1], "uint8", "minmax").tolist() == [255, 127, 0]

    def test_other_frameworks(self, torch, jax):
        assert rescale(torch.tensor([300.0, -1]), torch.uint8).tolist() == [255, 0]
        made = rescale(jax.numpy.array([300.0, -1]), jax.numpy.uint8)
        assert isinstance(made, jax.Array)
        assert made.tolist() == [255, 0]

    def test_tensorflow(self, tensorflow):
        made = rescale(tensorflow.constant([300.0, -1]), tensorflow.uint8)
        assert made.dtype == tensorflow.uint8
        assert made.numpy().tolist() == [255, 0]

    def test_pyclesperanto(self, pyclesperanto):
        made = rescale(pyclesperanto.push(np.array([[0, 1]], np.float32)), "uint8", "minmax")
        assert pyclesperanto.pull(made).tolist() == [[0, 255]]

    @given(
        st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=5),
        st.sampled_from(INTEGERS),
    )
    def test_saturation_is_a_clamp(self, values, name):
        info = np.iinfo(name)

        def clamp(value):
            if np.isnan(value):
                return 0
            if np.isinf(value):
                return info.max if value > 0 else info.min
            return max(info.min, min(info.max, int(value)))

        assert rescale(np.array(values, float), name).tolist() == [clamp(v) for v in values]


class TestKernels:
    """What the kernels of the package give is what NumPy's operations give, of which CuPy has the same."""

    @staticmethod
    def both(values, name, rule, low=0.0, high=1.0):
        ends = {"low": low, "high": high} if rule == "range" else {}

        def told(function):
            try:
                return function()
            except ValueError as error:
                return str(error).split(":")[0]

        ours = told(lambda: rescale(values, name, rule, **ends))
        with np.errstate(all="ignore"):
            theirs = told(lambda: _computed(np, values, np.dtype(name), rule, low, high))
        return ours, theirs

    @given(
        st.lists(
            st.one_of(
                st.floats(allow_nan=True, allow_infinity=True),
                st.floats(-1e5, 1e5, width=32),
                st.floats(0, 1, width=16),
                st.integers(-300, 300).map(float),
            ),
            min_size=1,
            max_size=40,
        ),
        st.sampled_from(["float16", "float32", "float64"]),
        st.sampled_from(INTEGERS),
        st.sampled_from(["refuse", "saturate", "wrap", "minmax", "range"]),
    )
    @settings(max_examples=400, deadline=None)
    def test_of_floats(self, values, source, name, rule):
        with np.errstate(all="ignore"):
            array = np.array(values).astype(source)
        ours, theirs = self.both(array, name, rule, -2.5, 1000.0)
        np.testing.assert_array_equal(ours, theirs)

    @given(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20),
        st.sampled_from(INTEGERS),
        st.sampled_from([*INTEGERS, "float16", "float32", "float64"]),
        st.sampled_from(["refuse", "saturate", "wrap", "minmax", "range"]),
    )
    @settings(max_examples=300, deadline=None)
    def test_of_integers(self, values, source, name, rule):
        array = np.array(values).astype(source)
        ours, theirs = self.both(array, name, rule, -100.0, 2.0**40)
        np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize("rule", ["minmax", "range", "saturate"])
    @pytest.mark.parametrize("name", ["uint8", "int16", "uint32", "int64"])
    def test_of_many(self, rule, name):
        values = np.random.default_rng(1).normal(size=(1100, 1003)).astype("f4")
        for view in (values, values.T, values[::-2, 1:]):
            ours, theirs = self.both(view, name, rule, -1.0, 1.0)
            np.testing.assert_array_equal(ours, theirs)

    @staticmethod
    def values(dtype):
        """Every value of a short type, and of the others what lies at the ends of all types and of their steps."""
        if dtype.itemsize <= 2:
            return np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype)
        steps = [2.0**power for power in range(-160, 140)] + [65_504, 448, 240, 57_344, 30]
        near = [one * (1 + sign * 2.0**-bits) for one in steps for bits in (4, 9, 12, 24, 40) for sign in (1, -1)]
        ends = [end for name in INTEGERS for end in (np.iinfo(name).min, np.iinfo(name).max)]
        whole = [end + more for end in ends for more in (-1, 0, 1)]
        largest = [float(np.finfo(name).max) for name in FLOATS]
        all_of_them = [*steps, *near, *whole, *largest, 0.0, 0.5, 255.9, -0.9, 65_519.99, 65_520, 464, 465]
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            kept = {int(sign * one) for one in all_of_them for sign in (1, -1)}
            return np.array(sorted(one for one in kept if info.min <= one <= info.max), dtype)
        with np.errstate(over="ignore"):
            made = np.array(all_of_them, float).astype(dtype)
            made = np.concatenate([made, np.nextafter(made, dtype.type(np.inf)), np.nextafter(made, dtype.type(0))])
        return np.concatenate([made, -made, np.array([np.nan, np.inf, -np.inf], dtype)])

    @staticmethod
    def same(ours, theirs):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.dtype.kind in "iu":
            np.testing.assert_array_equal(ours, theirs)
            return
        bits = f"u{ours.dtype.itemsize}"
        # The bits of a NaN say nothing; else zeros have their signs.
        missing = np.isnan(ours.astype("f8"))
        np.testing.assert_array_equal(missing, np.isnan(theirs.astype("f8")))
        np.testing.assert_array_equal(ours.view(bits)[~missing], theirs.view(bits)[~missing])

    @pytest.mark.parametrize("rule", ["refuse", "saturate", "wrap", "minmax"])
    @pytest.mark.parametrize("source", [*FLOATS, *INTEGERS, *SHORT_FLOATS])
    def test_of_every_two_types(self, source, rule):
        if source in SHORT_FLOATS:
            pytest.importorskip("ml_dtypes")
        values = self.values(numpy_dtype(source))
        if rule == "minmax":
            with np.errstate(invalid="ignore"):
                values = values[np.isfinite(values.astype("f8"))]
        elif rule == "refuse":  # which is asked of each of them
            values = values[:: 1 + values.size // 1500]
        for name in [*FLOATS, *INTEGERS, *SHORT_FLOATS]:
            if name == source or (name in SHORT_FLOATS and not self.has_short_floats()):
                continue
            target = numpy_dtype(name)
            with np.errstate(all="ignore"):
                if rule != "refuse":
                    self.same(rescale(values, target, rule), _computed(np, values, target, rule, 0.0, 0.0))
                    continue
                fits = self.fits(values, target)
                held = values[fits]
                self.same(rescale(held, target, rule), _computed(np, held, target, rule, 0.0, 0.0))
            for one in values[~fits][:: max(1, (~fits).sum() // 10)]:
                # Among others, of which the second is no reason.
                self.refused_alike(np.array([*held[:3], one, *values[~fits][-1:]], values.dtype), target)

    @staticmethod
    def has_short_floats():
        try:
            import ml_dtypes  # noqa: F401
        except ImportError:
            return False
        return True

    @staticmethod
    def fits(values, target):
        """Which of them the rule "refuse" lets pass, one by one."""
        fits = []
        for place in range(values.size):
            try:
                _computed(np, values[place : place + 1], target, "refuse", 0.0, 0.0)
            except ValueError:
                fits.append(False)
            else:
                fits.append(True)
        return np.array(fits)

    @staticmethod
    def refused_alike(values, target):
        texts = []
        for work in (rescale, lambda *asked: _computed(np, *asked, 0.0, 0.0)):
            with pytest.raises(ValueError, match="does not fit into") as raised, np.errstate(all="ignore"):
                work(values, target, "refuse")
            texts.append(str(raised.value))
        assert texts[0] == texts[1]

    @pytest.mark.parametrize(
        ("value", "name", "printed"),
        [
            (np.float32(300.1), "uint8", "300.1000061035156"),
            (np.float16(-0.1) * 20, "uint8", "-2.0"),
            (np.float64(1e300), "float32", "1e+300"),
            (np.int64(-(2**63)), "uint64", "-9223372036854775808"),
            (np.float32(np.nan), "int8", "nan"),
        ],
    )
    def test_what_is_refused_is_printed_as_numpy_prints_it(self, value, name, printed):
        array = np.zeros((3, 4), value.dtype)
        array[2, 1] = value
        for view, place in [(array, 9), (array[::-1], 1), (array.T, 5), (array[2:, 1].reshape(()), 0)]:
            with pytest.raises(ValueError) as raised:
                rescale(view, name, "refuse")
            assert str(raised.value) == (
                f"the value {printed}, element {place} in row-major order, does not fit into {name}: choose a "
                "rule that says what becomes of it ('saturate', 'wrap', 'minmax', 'range')"
            )

    @pytest.mark.parametrize("rule", ["refuse", "saturate", "wrap", "minmax"])
    @pytest.mark.parametrize("name", ["uint8", "float32", "float16"])
    def test_no_array_of_numpy_is_computed_elsewhere(self, monkeypatch, rule, name):
        def elsewhere(*asked):
            raise AssertionError(asked)

        monkeypatch.setattr(dtype_scaling, "_computed", elsewhere)
        values = np.arange(12, dtype="f8").reshape(3, 4)
        for view in (values, values.T, values[::-2, 1:], values[1:2, 1].reshape(())):
            made = rescale(view, name, rule)
            assert (made.dtype, made.shape) == (name, view.shape)
            assert made.flags.c_contiguous and made.flags.writeable
            if rule != "minmax" or name != "uint8":
                np.testing.assert_array_equal(made, view)

    @pytest.mark.parametrize("rule", ["refuse", "saturate", "wrap", "minmax"])
    def test_the_other_order_of_bytes(self, rule):
        values = np.array([0.5, 1.0, 2.0], ">f8")
        assert rescale(values, "float32", rule).tolist() == [0.5, 1, 2]
        assert rescale(values.astype("f8"), ">f4", rule).dtype == np.dtype(">f4")
        with pytest.raises(ValueError, match="the value 300.5, element 0"):
            rescale(values + 300, "uint8", "refuse")

    def test_floats_that_ml_dtypes_rounds_twice_are_rounded_so(self):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        twice = np.array([1 + 2.0**-8 + 2.0**-40])
        for rule in ("refuse", "saturate", "wrap"):
            assert rescale(twice, "bfloat16", rule) == twice.astype(ml_dtypes.bfloat16)
        large = np.array([1e300, -1e300, np.inf])
        made = rescale(large, "float8_e5m2").astype(float).tolist()
        assert made == [57_344, -57_344, np.inf], "its dtype has the kind of NumPy's own"

    def test_infinities_that_a_short_float_has_not(self):
        pytest.importorskip("ml_dtypes")
        values = np.array([np.inf, 1, np.nan], np.float32)
        for rule in ("refuse", "saturate", "wrap", "minmax"):
            made = rescale(values, "float8_e4m3fn", rule).astype(float)
            np.testing.assert_array_equal(made, [np.nan, 1, np.nan])
        with pytest.raises(ValueError, match=r"the value 1000\.0, element 1 .* into float8_e4m3fn"):
            rescale(np.array([1, 1000], np.float32), "float8_e4m3fn", "refuse")

    def test_types_that_numpy_alone_has(self):
        values = np.array([0, 0.5, 1], np.longdouble)
        assert rescale(values, "uint8", "minmax").tolist() == [0, 127, 255]
        assert rescale(np.array([0.0, 300.0]), np.longdouble).dtype == np.longdouble

    def test_integers_that_a_short_float_does_not_hold(self):
        assert rescale(np.array([70_000, 5]), "float16").tolist() == [65_504, 5]
        with pytest.raises(ValueError, match="70000, element 0 .* does not fit into float16"):
            rescale(np.array([70_000]), "float16", "refuse")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["uint8", "float64", "bool"])
def test_masks_are_not_lost(rule, dtype):
    masked = np.ma.masked_array(np.ones((2, 2), np.float32), [[True, False], [False, False]])
    ends = {"low": 0, "high": 1} if rule == "range" else {}
    with pytest.raises(MemoryConversionError, match="a masked array.*filled") as caught:
        rescale(masked, dtype, rule, **ends)
    assert caught.value.method == "rescaling"
