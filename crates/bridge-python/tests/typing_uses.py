"""Uses of the package as type checkers see them: nothing here is run. `cargo xtask test-matrix` checks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import arraybridge
from arraybridge import (
    HOST,
    AcceleratorDevice,
    ArrayLibrary,
    Device,
    MemoryConversionError,
    MemoryType,
    Report,
    Tensor,
    convert,
    convert_memory,
    convert_reported,
    detect_memory_type,
    plan,
    process_slices,
    split_on_oom,
    stack_slices,
    unstack_slices,
    with_oom_recovery,
)
from arraybridge.gpu_cleanup import Released, cleanup_all_gpu_frameworks
from arraybridge.memory import Budget, Monitor, NotNow, Pool, Reservation
from arraybridge.nlsq_memory import get_memory_manager
from arraybridge.training import GradScaler, MemoryMonitor, autocast, place_layers


def conversions(array: NDArray[np.float32]) -> None:
    tensor = convert(array, "torch", device="cpu", dtype="float16", copy=True, overflow="saturate")
    assert_type(tensor, Any)
    made, report = convert_reported(array, "jax", dtype=np.float32)
    assert_type(report, Report)
    assert_type(report.zero_copy, bool)
    assert_type(report.steps, list[str])
    assert_type(plan(made, "numpy").bytes_copied, int)
    assert_type(detect_memory_type(made), str)
    assert_type(convert_memory(array, "numpy", "torch", gpu_id=None), Any)
    convert_memory(array, MemoryType.NUMPY, MemoryType.TORCH, device=AcceleratorDevice(0))
    assert_type([one["name"] for one in arraybridge.backends(load=True)], list[Any])


def tensors(tensor: Tensor) -> None:
    assert_type(tensor.shape, tuple[int, ...])
    assert_type(tensor.__dlpack_device__(), tuple[int, int])
    assert_type(tensor.readonly, bool)
    tensor.__dlpack__(stream=1, max_version=(1, 0))
    np.asarray(tensor)


def errors(array: Any) -> str:
    try:
        convert(array, "torch")
    except MemoryConversionError as error:
        return f"{error.source_type} {error.target_type} {error.method} {error.reason}"
    return ""


def devices() -> None:
    place: Device = HOST
    assert_type(place.label, str)
    assert_type(ArrayLibrary.named("torch").available_devices(), tuple[Device, ...])


@arraybridge.torch
def bare(image: Any) -> Any:
    return image


@arraybridge.numpy(output_type="torch", gpu_id=None, oom_recovery=False)
def with_arguments(image: Any) -> Any:
    return image


@arraybridge.memory_types(input_type="numpy", output_type="jax")
def between(image: Any) -> Any:
    return image


def slices(images: list[Any]) -> None:
    stacked = stack_slices(images, "numpy", gpu_id=None)
    for one in unstack_slices(stacked, "numpy", gpu_id=None):
        bare(one)
    process_slices(stacked, with_arguments, (), {})


def memory() -> None:
    budget = Budget("work", 1 << 20, fair=True)
    try:
        with budget.reserve(1000, name="loader", timeout=1.5) as reserved:
            assert_type(reserved, Reservation)
            assert_type(reserved.bytes, int)
    except NotNow as shortage:
        assert_type(shortage.holders, list[tuple[str, int]])
    assert_type(Pool(1 << 20, within=budget).zeros((3, 4), np.float32), NDArray[Any])
    with budget.consumer("loader"), budget as same, Pool() as pool:
        assert_type(same, Budget)
        assert_type(plan(np.ones(3), "torch", budget=budget, pool=pool).peaks, dict[str, int] | None)
        convert_memory(np.ones(3), "numpy", "torch", budget=budget.consumer("loader"))
        stack_slices([np.ones((2, 2))], "numpy", budget=budget, pool=pool)
    Monitor(0.5).start()
    assert_type(cleanup_all_gpu_frameworks(), Released)
    get_memory_manager().get_available_memory()


def recovery(read: Callable[[], float]) -> None:
    assert_type(with_oom_recovery(read, "torch", max_retries=3), float)
    split_on_oom(len, [1, 2, 3], batch_size=2, combine=sum)


def training() -> None:
    with MemoryMonitor(0.1) as monitor:
        assert_type(monitor.memory_log, list[float])
    assert_type(place_layers(4, 2), list[int])
    scaler = GradScaler(init_scale=1024.0)
    with autocast():
        scaler.update()
