"""Mixed precision for the training of PyTorch modules: `torch.amp`, on the GPU where there is one.

On a GPU, autocasting is to float16 and losses are scaled, as with `torch.cuda.amp`. Without one, it is to
bfloat16, which has the range of float32; losses are scaled all the same, which changes no step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["GradScaler", "autocast", "train_with_mixed_precision"]

Batch = tuple[torch.Tensor, torch.Tensor]


def _device_type() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


class autocast(torch.amp.autocast):
    """Computes in lower precision where that is accurate enough, in a `with` block or as a decorator.

    `torch.amp.autocast`, whose device is the GPU, or the processor where there is none, unless
    `device_type` names it. `dtype` is float16 on a GPU and bfloat16 on the processor unless it is given.
    """

    def __init__(
        self,
        enabled: bool = True,
        dtype: torch.dtype | None = None,
        cache_enabled: bool = True,
        *,
        device_type: str | None = None,
    ) -> None:
        device_type = device_type or _device_type()
        if dtype is None:
            dtype = torch.float16 if device_type == "cuda" else torch.bfloat16
        super().__init__(device_type, dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


class GradScaler(torch.amp.GradScaler):
    """Scales losses, so that small gradients are not lost, and skips steps whose gradients are infinite.

    `torch.amp.GradScaler`, whose device is the GPU, or the processor where there is none, unless `device`
    names it.
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
        *,
        device: str | None = None,
    ) -> None:
        device = device or _device_type()
        super().__init__(
            device, init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


def train_with_mixed_precision(
    model: torch.nn.Module | None = None,
    get_batch: Callable[[], Batch] | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    criterion: Callable[[Any, Any], torch.Tensor] = torch.nn.functional.cross_entropy,
    epochs: int = 5,
    batches: int = 100,
    every: int = 20,
) -> list[float]:
    """Trains a model in mixed precision, and returns the mean loss of each epoch.

    `get_batch()` gives an input and a target, `batches` times an epoch; the loss of every
    `every`-th batch is printed. Left out, the model is one of three dense layers from 2048 to 10, the
    batches are 128 random rows with random classes, and the optimizer is AdamW with a rate of 0.001.
    The model is trained where it is.
    """
    if model is None:
        model = _three_layers().to(_device_type())
    parameter = next(model.parameters(), None)
    device = torch.device(_device_type()) if parameter is None else parameter.device
    if get_batch is None:
        get_batch = _random_batches(device)
    if optimizer is None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = GradScaler(device=device.type)
    means = []
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for batch in range(batches):
            x, y = (one.to(device) for one in get_batch())
            optimizer.zero_grad()
            with autocast(device_type=device.type):
                loss = criterion(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += loss.item()
            if batch % every == 0:
                print(f"Epoch {epoch}, Batch {batch}, Loss: {loss.item():.4f}")
        means.append(total / batches if batches else 0.0)
    return means


def _three_layers() -> torch.nn.Module:
    sizes = (2048, 1024, 512, 10)
    layers: list[torch.nn.Module] = []
    for entering, leaving in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(entering, leaving), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _random_batches(device: torch.device) -> Callable[[], Batch]:
    def get_batch() -> Batch:
        x = torch.randn(128, 2048, device=device)
        return x, torch.randint(0, 10, (128,), device=device)

    return get_batch


# They are known under the name that they are to be imported from.
for _one in (GradScaler, autocast, train_with_mixed_precision):
    _one.__module__ = "arraybridge.training"
