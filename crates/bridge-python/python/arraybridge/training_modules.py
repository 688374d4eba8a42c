"""The PyTorch modules of `arraybridge.training`, where they are to be imported from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch.utils.checkpoint import checkpoint

from ._native import memory as _native
from .training import place_layers

__all__ = [
    "CheckpointedSequential",
    "DistributedSketchedModel",
    "MemoryEfficientSketchedModel",
    "PlacedSequential",
]

# Makes a layer of its input's size, its output's size and a sketch size.
LayerMaker = Callable[[int, int, int], torch.nn.Module]


def _dense(in_features: int, out_features: int, sketch_size: int) -> torch.nn.Module:
    """A layer without a sketch."""
    return torch.nn.Linear(in_features, out_features)


class CheckpointedSequential(torch.nn.Module):
    """Layers one after the other, in segments, of which training keeps only the inputs.

    The backward pass computes a segment's activations again. Where layers are not a multiple of the
    segments, the last segment has those left.
    """

    def __init__(self, layers: Iterable[torch.nn.Module], checkpoint_segments: int = 4) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self.checkpoint_segments = checkpoint_segments
        # Not registered: the layers are, already.
        self._ranges = _native.checkpoint_ranges(len(self.layers), checkpoint_segments)

    @property
    def segments(self) -> list[torch.nn.Sequential]:
        """The segments, over the same layers."""
        return [torch.nn.Sequential(*self.layers[start:end]) for start, end in self._ranges]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All layers; with checkpoints in training."""
        for segment in self.segments:
            if self.training and torch.is_grad_enabled():
                x = checkpoint(segment, x, use_reentrant=False)
            else:
                x = segment(x)
        return x


class MemoryEfficientSketchedModel(CheckpointedSequential):
    """Layers of these sizes with ReLU between them, in checkpointed segments.

    `layer(in_features, out_features, sketch_size)` makes each, where `sketch_size` is the input's size
    times the ratio; `torch.nn.Linear` by default, which has no sketch.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        sketch_ratios: Sequence[float],
        checkpoint_segments: int = 4,
        layer: LayerMaker = _dense,
    ) -> None:
        pairs = list(zip(layer_sizes, layer_sizes[1:]))
        if len(sketch_ratios) < len(pairs):
            raise ValueError(
                f"there are {len(sketch_ratios)} sketch_ratios for {len(pairs)} layers: name one a layer"
            )
        layers: list[torch.nn.Module] = []
        for (in_size, out_size), ratio in zip(pairs, sketch_ratios):
            if layers:
                layers.append(torch.nn.ReLU())
            layers.append(layer(in_size, out_size, int(in_size * ratio)))
        super().__init__(layers, checkpoint_segments)


class PlacedSequential(torch.nn.Module):
    """Layers one after the other on several devices, as many on each, with an activation between them.

    The result is on the device of the input.
    """

    def __init__(
        self,
        layers: Iterable[torch.nn.Module],
        devices: Sequence[str | torch.device],
        activation: Callable[[torch.Tensor], torch.Tensor] | None = torch.relu,
    ) -> None:
        super().__init__()
        layers = list(layers)
        if not devices:
            raise ValueError("devices is empty: name the devices to place layers on")
        self.devices = list(devices)
        self.activation = activation
        self.layer_devices = [
            torch.device(devices[place]) for place in place_layers(len(layers), len(devices))
        ]
        self.layers = torch.nn.ModuleList(
            layer.to(device) for layer, device in zip(layers, self.layer_devices)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All layers, each on its device."""
        home = x.device
        for index, (layer, device) in enumerate(zip(self.layers, self.layer_devices)):
            x = layer(x.to(device))
            if self.activation is not None and index < len(self.layers) - 1:
                x = self.activation(x)
        return x.to(home)


class DistributedSketchedModel(PlacedSequential):
    """Layers of these configurations on several devices, with ReLU between them.

    A configuration has `in_features`, `out_features` and `sketch_size`; `layer` makes the layer of
    them, `torch.nn.Linear` by default, which has no sketch.
    """

    def __init__(
        self,
        layer_configs: Sequence[dict],
        devices: Sequence[str | torch.device],
        layer: LayerMaker = _dense,
    ) -> None:
        layers = [
            layer(config["in_features"], config["out_features"], config.get("sketch_size", 0))
            for config in layer_configs
        ]
        super().__init__(layers, devices)


# They are known under the name that they are to be imported from.
for _class in (
    CheckpointedSequential,
    DistributedSketchedModel,
    MemoryEfficientSketchedModel,
    PlacedSequential,
):
    _class.__module__ = "arraybridge.training"
