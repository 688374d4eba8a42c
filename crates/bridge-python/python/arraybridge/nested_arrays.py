"""The arrays in a value: itself, or those one level into a list, a tuple, a dict or an `ArrayPayload`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _native
from .array_payload import ArrayPayload
from .libraries import ArrayLibrary

__all__ = ["dtype_name", "first_array", "framework_of", "gather", "map_arrays"]

_detect = _native.detect
#: How many types are remembered before they are forgotten again.
_MOST_TYPES = 1024


class _Arrays:
    """Which values are arrays, and of which framework, remembered by their type."""

    def __init__(self) -> None:
        self._names: dict[type, str | None] = {}

    def name(self, value: Any) -> str | None:
        """The framework that the value is an array of, or `None`."""
        kind = type(value)
        try:
            return self._names[kind]
        except KeyError:
            pass
        name = _detect(value)
        if len(self._names) >= _MOST_TYPES:
            self._names.clear()
        self._names[kind] = name
        return name


#: The framework that a value is an array of, or `None`.
framework_of = _Arrays().name


def map_arrays(value: Any, change: Callable[[Any, str], Any]) -> Any:
    """The value with `change` applied to it, or to the arrays one level within.

    The same object comes back where nothing has changed.
    """
    name = framework_of(value)
    if name is not None:
        return change(value, name)
    kind = type(value)
    if isinstance(value, (list, tuple)):
        made = [_map_array(item, change) for item in value]
        if all(new is old for new, old in zip(made, value, strict=True)):
            return value
        if kind is list or kind is tuple:
            return kind(made)
        if hasattr(kind, "_make"):
            return kind._make(made)
        return kind(made)
    if isinstance(value, dict):
        changed = {}
        for key, item in value.items():
            new = _map_array(item, change)
            if new is not item:
                changed[key] = new
        if not changed:
            return value
        copied = value.copy()
        copied.update(changed)
        return copied
    if isinstance(value, ArrayPayload):
        inner = value.array_payload_data()
        made_inner = _map_array(inner, change)
        return value if made_inner is inner else value.with_data(made_inner)
    return value


def _map_array(item: Any, change: Callable[[Any, str], Any]) -> Any:
    name = framework_of(item)
    return item if name is None else change(item, name)


def gather(value: Any, found: list[tuple[Any, str]]) -> None:
    """Adds the arrays in a value, one level deep."""

    def note(array: Any, name: str) -> Any:
        found.append((array, name))
        return array

    map_arrays(value, note)


def dtype_name(array: Any) -> str | None:
    name = framework_of(array)
    return None if name is None else ArrayLibrary.named(name).dtype_name(array)


def first_array(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The first array of a call, as it was handed in."""
    for value in (*args, *kwargs.values()):
        if framework_of(value) is not None:
            return value
    found: list[tuple[Any, str]] = []
    for value in (*args, *kwargs.values()):
        gather(value, found)
        if found:
            return found[0][0]
    return None
