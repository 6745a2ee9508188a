"""2D networks that walk through a volume: every other slice with its neighbours, brought together between stages."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motors.networks.encoders.planar import PlanarEncoder

STEP = 2  # voxels along z from one triplet of slices to the next


class SlicedEncoder(nn.Module):
    """A network of timm that looks at triplets of slices and hands on volumes: the original solution's 2.5D encoder.

    Every other slice becomes an image, whose colours are the slice and its two neighbours. The network sees them as a
    batch; behind every stage that makes the grid coarser in y and x, neighbours in z are averaged two by two.

    Parameters
    ----------
    name, shape, weights, options : see `PlanarEncoder`

    Attributes
    ----------
    channels, strides : of the levels that `forward` returns, finest first

    Raises
    ------
    ValueError
        As `PlanarEncoder`, or if the network's stages are not each a module.
    """

    def __init__(
        self, name: str, shape: tuple[int, int], weights: dict[str, Tensor] | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.flat = PlanarEncoder(name, shape, weights, **options)
        self.channels, self.strides = self.flat.channels, self.flat.strides
        network = self.flat.network
        named = [level["module"] for level in getattr(network, "feature_info", ()) if level["reduction"] > STEP]
        stages = [network.get_submodule(module) for module in named]
        if not stages or any(isinstance(stage, nn.ModuleList) for stage in stages):
            raise ValueError(f"{name} cannot walk through volumes: its stages are no modules that could be changed")
        for stage in stages:
            stage.register_forward_hook(_halve)

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return the features of `(b, 3, z, y, x)` grey levels, one tensor for each of `strides`."""
        count, _, depth = volume.shape[:3]
        padded = F.pad(volume, (0, 0, 0, 0, 1, 1), mode="replicate")
        triplets = torch.stack([padded[:, c, c : c + depth : STEP] for c in range(3)], dim=2)
        levels = self.flat(triplets.flatten(0, 1))
        deep = [level.unflatten(0, (count, depth // s)) for level, s in zip(levels, self.strides, strict=True)]
        return [level.movedim(2, 1) for level in deep]


def _halve(stage: nn.Module, inputs: Any, features: Tensor) -> Tensor:
    """The mean of every two slices, which follow each other in the batch."""
    return features.unflatten(0, (-1, 2)).mean(dim=1)
