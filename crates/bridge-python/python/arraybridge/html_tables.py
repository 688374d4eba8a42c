"""Tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["Cell", "table"]

#: A text, or a text and what is shown when it is pointed at.
Cell = str | tuple[str, str]


def table(head: Iterable[Cell], rows: Iterable[Iterable[Cell]]) -> str:
    """A table of texts, none of which is read as HTML. The first cell of each row is a heading."""
    lines = [_row(head, headings=99)]
    lines.extend(_row(row, headings=1) for row in rows)
    return f"<table>{''.join(lines)}</table>"


def _row(cells: Iterable[Cell], headings: int) -> str:
    made = []
    for index, cell in enumerate(cells):
        text, title = cell if isinstance(cell, tuple) else (cell, "")
        tag = "th" if index < headings else "td"
        shown = f' title="{escape(title)}"' if title else ""
        made.append(f"<{tag}{shown}>{escape(text)}</{tag}>")
    return f"<tr>{''.join(made)}</tr>"
