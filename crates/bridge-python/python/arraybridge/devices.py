"""Devices as values: the host, an accelerator by its number, a device by its name."""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from .types import LEFT_OUT

__all__ = ["HOST", "AcceleratorDevice", "Device", "HostDevice", "NamedDevice", "as_device"]


class Device(ABC):
    """Where an array lies."""

    __slots__ = ()  # else each would have a dictionary, which takes longer to make than the device

    @property
    @abstractmethod
    def label(self) -> str:
        """The device in words: "host", "accelerator:0", "device:NAME"."""

    @abstractmethod
    def native_name(self, library: str) -> str | None:
        """The device as conversions into `library` name it; `None` for wherever `library` is."""

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, init=False, slots=True)
class HostDevice(Device):
    """The memory of the host."""

    @property
    def label(self) -> str:
        return "host"

    def native_name(self, library: str) -> str | None:
        # pyclesperanto has no arrays on the host: its arrays stay on its own device.
        return None if library == "pyclesperanto" else "cpu"


@dataclass(frozen=True)
class AcceleratorDevice(Device):
    """An accelerator, by its number."""

    index: int

    def __post_init__(self) -> None:
        if isinstance(self.index, bool):
            raise TypeError(f"the number of an accelerator is an integer, not {self.index!r}")
        try:
            index = operator.index(self.index)
        except TypeError:
            raise TypeError(
                f"the number of an accelerator is an integer, not {self.index!r}"
            ) from None
        if index < 0:
            raise ValueError(
                f"Invalid GPU device ID: {index}. Accelerators are numbered from 0; None is the host"
            )
        object.__setattr__(self, "index", index)

    @property
    def label(self) -> str:
        return f"accelerator:{self.index}"

    def native_name(self, library: str) -> str | None:
        if library == "numpy":
            return None  # its arrays lie in host memory, whatever is asked
        # pyclesperanto numbers its devices by a list of its own.
        return f"{'extension' if library == 'pyclesperanto' else 'cuda'}:{self.index}"


@dataclass(frozen=True)
class NamedDevice(Device):
    """A device by the name that the native module or the framework has for it."""

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"the name of a device is a text that is not empty, not {self.name!r}")

    @property
    def label(self) -> str:
        return f"device:{self.name}"

    def native_name(self, library: str) -> str | None:
        return None if library == "numpy" else self.name


HOST = HostDevice()

_NUMBERED = re.compile(r"(?:accelerator|cuda|gpu|opencl|extension|rocm):(\d+)", re.IGNORECASE)


def as_device(value: Any) -> Device | None:
    """The device that `value` stands for, or `None` where it was left out.

    It may be a `Device`, `None` (the host), a number, a text as "cpu", "host", "cuda:1", or an
    object of a framework whose text is one of these, as `torch.device` is.
    """
    if value is LEFT_OUT:
        return None
    if value is None:
        return HOST
    if isinstance(value, Device):
        return value
    if isinstance(value, str):
        return _from_text(value)
    if hasattr(value, "__index__"):
        return AcceleratorDevice(value)
    if type(value).__module__.split(".")[0] in ("torch", "jaxlib", "jax", "cupy", "tensorflow"):
        index = getattr(value, "id", None)
        if getattr(value, "platform", None) == "cpu":
            return HOST
        return AcceleratorDevice(index) if isinstance(index, int) else _from_text(str(value))
    raise TypeError(
        f"a device is None (the host), a number, a text as 'cuda:0', or a Device, not {value!r}"
    )


def _from_text(text: str) -> Device:
    word = text.strip()
    if word.lower() in ("cpu", "cpu:0", "host"):
        return HOST
    if word.lower() in ("cuda", "gpu", "accelerator"):
        return AcceleratorDevice(0)
    numbered = _NUMBERED.fullmatch(word)
    if numbered:
        return AcceleratorDevice(int(numbered[1]))
    if word.lower().startswith("device:"):
        word = word[len("device:") :]
    return NamedDevice(word)
