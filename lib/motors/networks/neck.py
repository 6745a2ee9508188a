"""The neck: what every level of an encoder sees, brought together on the grid that is predicted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TARGET = 16  # stride of the level on which the original solution brings the others together


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels at each place of `(b, c, ...)`."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


class Neck(nn.Module):
    """Narrows every level but one with two convolutions, resizes it to that one's grid and stacks them all there.

    Parameters
    ----------
    channels, strides : of the levels, finest first
    width : channels that a narrowed level keeps; 0 keeps as many as it came with
    hidden : channels between the two convolutions, as a multiple of those kept. The original solution's 3D neck has 2
        (a gated activation was planned for it), the 2D one 1.
    axes : 2 for images, 3 for volumes
    stride : of the level on whose grid the others are brought together, one of `strides`

    Attributes
    ----------
    out_channels : of the tensor that `forward` returns
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        width: int,
        hidden: int,
        axes: int,
        stride: int = TARGET,
    ) -> None:
        super().__init__()
        self.target = list(strides).index(stride)
        self.mode = {2: "bilinear", 3: "trilinear"}[axes]
        others = [n for i, n in enumerate(channels) if i != self.target]
        self.branches = nn.ModuleList(_branch(n, width or n, hidden, axes) for n in others)
        self.out_channels = channels[self.target] + sum(width or n for n in others)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return `(b, out_channels, ...)` on the grid of `stride`: that level as it came, then the others in order."""
        target = features[self.target]
        others = [level for i, level in enumerate(features) if i != self.target]
        narrowed = (branch(level) for branch, level in zip(self.branches, others, strict=True))
        resized = [F.interpolate(level, size=target.shape[2:], mode=self.mode) for level in narrowed]
        return torch.cat([target, *resized], dim=1)


def _branch(channels: int, width: int, hidden: int, axes: int) -> nn.Sequential:
    """Two convolutions with a normalisation between them."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    return nn.Sequential(
        convolution(channels, hidden * width, 3, padding=1),
        nn.GELU(),
        ChannelNorm(hidden * width),
        convolution(hidden * width, width, 3, padding=1),
    )
