"""The native half: detection, conversion, plans."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

from .memory import Budget, Consumer, Pool
from .types import MemoryType

__all__ = [
    "Report",
    "Tensor",
    "__version__",
    "backends",
    "convert",
    "convert_memory",
    "convert_reported",
    "detect",
    "detect_memory_type",
    "explain",
    "look_at",
    "memory",
    "plan",
    "rescaled",
    "run_program",
    "set_observed",
    "stacked",
    "take_in",
]

__version__: str
memory: Any

def detect(data: object, /) -> str | None: ...
def detect_memory_type(data: object) -> str: ...
def convert(
    data: object,
    target: str | MemoryType,
    /,
    *,
    device: object = None,
    dtype: object = None,
    copy: bool | None = None,
    overflow: str = "refuse",
    budget: Budget | Consumer | None = None,
    pool: Pool | None = None,
) -> Any: ...
def convert_reported(
    data: object,
    target: str | MemoryType,
    /,
    *,
    device: object = None,
    dtype: object = None,
    copy: bool | None = None,
    overflow: str = "refuse",
    budget: Budget | Consumer | None = None,
    pool: Pool | None = None,
) -> tuple[Any, Report]: ...
def plan(
    data: object,
    target: str | MemoryType,
    /,
    *,
    device: object = None,
    dtype: object = None,
    copy: bool | None = None,
    overflow: str = "refuse",
    budget: Budget | Consumer | None = None,
    pool: Pool | None = None,
) -> Report: ...
def explain(
    data: object,
    target: str | MemoryType,
    /,
    *,
    device: object = None,
    dtype: object = None,
    copy: bool | None = None,
    overflow: str = "refuse",
    budget: Budget | Consumer | None = None,
    pool: Pool | None = None,
) -> str: ...
def convert_memory(
    data: object,
    source_type: object,
    target_type: object,
    gpu_id: object = ...,
    device: object = ...,
    *,
    budget: Budget | Consumer | None = None,
    pool: Pool | None = None,
) -> Any: ...
def rescaled(
    data: object, dtype: object, rule: str, low: float, high: float, /
) -> Any | None: ...
def set_observed(observed: bool) -> None: ...
def stacked(arrays: list[Any], /) -> Any | None: ...
def look_at(
    first: object, second: object | None = None, third: object | None = None, /
) -> None: ...
def take_in(*arrays: object) -> None: ...
def backends(*, load: bool = False) -> list[dict[str, Any]]: ...
def run_program(arguments: Sequence[str]) -> int: ...
@final
class Report:
    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def steps(self) -> list[str]: ...
    @property
    def details(self) -> list[str]: ...
    @property
    def bytes_copied(self) -> int: ...
    @property
    def zero_copy(self) -> bool: ...
    @property
    def declined(self) -> list[str]: ...
    @property
    def peaks(self) -> dict[str, int] | None: ...
    def _repr_html_(self) -> str: ...

@final
class Tensor:
    __dlpack_c_exchange_api__: ClassVar[object]
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def ndim(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def backend(self) -> str: ...
    @property
    def readonly(self) -> bool: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __copy__(self) -> Tensor: ...
    def __deepcopy__(self, _memo: object, /) -> Tensor: ...
