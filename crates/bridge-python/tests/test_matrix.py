from __future__ import annotations

from html.parser import HTMLParser

import pytest
from frameworks import HERE

import arraybridge
from arraybridge import ConversionMatrix, MemoryType, conversion_matrix
from arraybridge.conversion import ConversionCounters, ConversionRecord


class Read(HTMLParser):
    """The cells of a table as a reader of HTML sees them, and its tags."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.rows = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append(["", dict(attributes).get("title")])

    def handle_data(self, data):
        self.rows[-1][-1][0] += data


def shown(rows):
    return [[text for text, _ in row] for row in rows]


def test_each_conversion_is_planned_and_those_that_cannot_be_say_why(torch, jax):
    matrix = conversion_matrix(["numpy", MemoryType.TORCH, "jax", "torch"])
    assert matrix.frameworks == ("numpy", "torch", "jax")
    assert matrix["numpy", "numpy"].zero_copy and matrix["numpy", "torch"].zero_copy
    assert matrix[MemoryType.JAX, "torch"].steps == ["copy", "share"], "JAX's arrays are read-only"
    wide = conversion_matrix(["numpy", "torch", "jax"], dtype="float64")
    if not jax.config.jax_enable_x64:
        assert "jax_enable_x64" in wide["torch", "jax"]
        assert "jax_enable_x64" in wide["jax", "torch"], "there is no such array to begin with"
    assert wide["numpy", "torch"].zero_copy
    with pytest.raises(ValueError, match="nothing"):
        conversion_matrix(["nothing"])


def test_a_framework_that_is_missing(monkeypatch):
    import importlib.util

    if importlib.util.find_spec("cupy") is not None:
        pytest.skip("CuPy is installed")
    matrix = conversion_matrix(["numpy", "cupy"])
    assert "pip install cupy-cuda12x" in matrix["numpy", "cupy"]
    assert str(matrix).splitlines() == [
        "from \\ to  numpy    cupy",
        "numpy      share    refused",
        "cupy       refused  refused",
    ]


@pytest.mark.parametrize("name", HERE)
def test_what_is_planned_is_done(name):
    pytest.importorskip(name)
    matrix = conversion_matrix(["numpy", name])
    import numpy as np

    back = matrix[name, "numpy"]
    array = arraybridge.convert(np.ones((2, 3), np.float32), name)
    _, report = arraybridge.convert_reported(array, "numpy")
    assert report.steps == back.steps


def test_a_notebook_shows_the_matrix():
    matrix = conversion_matrix(["numpy"])
    read = Read(matrix._repr_html_())
    assert shown(read.rows) == [["from \\ to", "numpy"], ["numpy", "share"]]
    assert read.rows[1][1][1] == str(matrix["numpy", "numpy"]), "the explanation is at hand"
    assert read.tags == {"table", "tr", "th", "td"}


BAD = """<script>alert("1 & 2")</script>'"""


def test_what_a_cell_says_is_no_html():
    matrix = ConversionMatrix((BAD,), {(BAD, BAD): f"no, {BAD}"})
    read = Read(matrix._repr_html_())
    assert shown(read.rows) == [["from \\ to", BAD], [BAD, "refused"]]
    assert read.rows[1][1][1] == f"no, {BAD}"
    assert read.tags == {"table", "tr", "th", "td"}


def test_a_notebook_shows_what_was_counted_and_none_of_it_is_html():
    counters = ConversionCounters()
    counters.record(ConversionRecord("numpy", "host", "torch", BAD, "host copy", 8_000_000, 0.5, ("a", BAD)))
    read = Read(counters._repr_html_())
    head, row = shown(read.rows)
    assert head == ["from", "to", "how", "times", "MB", "seconds", "declined"]
    assert row == ["numpy host", f"torch {BAD}", "host copy", "1", "8.0", "0.500", f"a, {BAD}"]
    assert read.tags == {"table", "tr", "th", "td"}


def test_one_name_is_taken_as_one():
    wanted = conversion_matrix(["numpy"]).frameworks
    assert conversion_matrix("numpy").frameworks == wanted
    assert conversion_matrix(MemoryType.NUMPY).frameworks == wanted
    with pytest.raises(ValueError, match="Invalid memory_type 'nothing'"):
        conversion_matrix("nothing")
