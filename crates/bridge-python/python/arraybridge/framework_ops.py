"""The operations of each framework under the name that earlier releases had for them."""

from __future__ import annotations

from .framework_config import _FRAMEWORK_CONFIG

__all__ = ["_FRAMEWORK_OPS"]

_FRAMEWORK_OPS = _FRAMEWORK_CONFIG
