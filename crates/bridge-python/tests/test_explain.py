"""explain: a plan as text, and the reasons where there is none."""

from __future__ import annotations

import numpy as np
import pytest

import arraybridge
from arraybridge import MemoryConversionError, convert, explain, plan


def test_it_says_what_a_plan_says(capsys):
    array = np.arange(6.0).reshape(2, 3)[:, ::-1]
    for options in ({}, {"dtype": "float32"}, {"copy": True}):
        told = explain(array, "tensor", **options)
        assert told == str(plan(array, "tensor", **options))
    assert capsys.readouterr().out == ""


def test_it_names_each_step_and_what_was_not_possible():
    told = explain(np.arange(6.0), "tensor", dtype="float16")
    assert told.splitlines()[0] == "numpy to tensor: cast float64 to float16, share (12 bytes copied)"
    assert "no share: " in told and "float16" in told.splitlines()[1]


def test_a_notebook_shows_a_plan_and_what_was_not_possible():
    shown = plan(np.arange(6.0)[::-1], "tensor", copy=True)._repr_html_()
    assert "<b>numpy → tensor</b> (48 bytes copied)" in shown
    assert "<li>copy" in shown
    why = plan(np.arange(6.0), "tensor", dtype="float16")._repr_html_()
    assert "<small>no share" in why


def test_a_conversion_that_is_refused_is_explained():
    array = np.array(["text"])
    with pytest.raises(MemoryConversionError):
        plan(array, "tensor")
    told = explain(array, "tensor")
    assert told.startswith("numpy to tensor: impossible\n  ")
    assert "encode it as numbers" in told


def test_a_copy_that_is_forbidden_is_explained():
    told = explain(np.arange(6.0), "tensor", dtype="float32", copy=False)
    assert told.startswith("numpy to tensor: impossible\n  ")
    assert "copies are forbidden" in told


@pytest.mark.parametrize(
    ("data", "target", "options", "said"),
    [
        ([1, 2], "tensor", {}, "list to tensor: impossible"),
        (np.ones(1), "nothing", {}, "invalid name"),
        (np.ones(1), "tensor", {"dtype": "floaty"}, "say 'float32'"),
        (np.ones(1), "tensor", {"device": "gpu zero"}, "say 'cpu', 'cuda:0'"),
        (np.ones(1), "tensor", {"overflow": "explode"}, "'saturate'"),
    ],
)
def test_whatever_is_asked_it_answers(data, target, options, said):
    assert said in explain(data, target, **options)


def test_an_interruption_is_not_an_answer():
    class Interrupted:
        def __dlpack__(self, **_):
            raise KeyboardInterrupt

        def __dlpack_device__(self):
            return (1, 0)

    with pytest.raises(KeyboardInterrupt):
        explain(Interrupted(), "tensor")


def test_nothing_moves_and_it_has_a_name():
    array = np.arange(3.0)
    explain(array, "tensor", copy=True)
    assert array.tolist() == [0, 1, 2] and "explain" in arraybridge.__all__
    assert convert(array, "tensor").readonly is False
