"""The neck: fuses the levels of an encoder on the grid of the prediction."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from motors.experiments.config import Experiment


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels at each position of `(b, c, ...)`."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


class Neck(nn.Module):
    """Narrows every level but one with two convolutions, resizes it to that one's grid and concatenates them all.

    `channels` and `strides` are those of the levels, finest first; that one has the experiment's stride, 16 in the
    original solution. `neck_hidden` is 2 in its 3D neck (a gated activation was planned for it), 1 in the 2D one.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], experiment: Experiment) -> None:
        super().__init__()
        width, hidden, axes = experiment.neck_channels, experiment.neck_hidden, 2 if experiment.is_2d else 3
        self.target = list(strides).index(experiment.stride)
        others = [n for i, n in enumerate(channels) if i != self.target]
        self.branches = nn.ModuleList(Branch(n, width or n, hidden, axes) for n in others)
        self.out_channels = channels[self.target] + sum(width or n for n in others)  # of what `forward` returns

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the deepest level unchanged, and `(b, out_channels, ...)` on that one's grid.

        The latter is that level unchanged, then the others in order.
        """
        target = features[self.target]
        others = [level for i, level in enumerate(features) if i != self.target]
        narrowed = [branch(level, target.shape[2:]) for branch, level in zip(self.branches, others, strict=True)]
        return features[-1], torch.cat([target, *narrowed], dim=1)


class Branch(nn.Sequential):
    """Two convolutions, to `hidden * width` and to `width` channels, then linear interpolation along 2 or 3 `axes`."""

    def __init__(self, channels: int, width: int, hidden: int, axes: int) -> None:
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
        super().__init__(
            convolution(channels, hidden * width, 3, padding=1),
            nn.GELU(),
            ChannelNorm(hidden * width),
            convolution(hidden * width, width, 3, padding=1),
        )
        self.axes, self.mode = tuple(range(2, 2 + axes)), {2: "bilinear", 3: "trilinear"}[axes]

    def forward(self, level: Tensor, grid: Sequence[int]) -> Tensor:
        """Return `(b, width, ...)` on a `grid`, its number of cells along each axis."""
        factors = {side / cells for side, cells in zip(level.shape[2:], grid, strict=True)}
        if factors in ({2}, {4}, {8}):
            return self._coarser(level, int(factors.pop()))
        return functional.interpolate(super().forward(level), size=tuple(grid), mode=self.mode)

    def _coarser(self, level: Tensor, factor: int) -> Tensor:
        """Return the result of `forward` on a grid `factor` times coarser than the level, with a fraction of the work.

        Interpolation is then the mean of the two middle values along each axis. As the last convolution is linear, that
        mean is a strided convolution with a kernel of four. At factor eight its windows of four do not overlap, and the
        layers before it are computed only on the six voxels along each axis that a window depends on.
        """
        first, *between, last = self
        convolve = {2: functional.conv2d, 3: functional.conv3d}[len(self.axes)]
        kernel = last.weight
        for axis in self.axes:
            shape = [1 if i == axis else side for i, side in enumerate(kernel.shape)]
            nothing = kernel.new_zeros(shape)
            kernel = (torch.cat([kernel, nothing], axis) + torch.cat([nothing, kernel], axis)) / 2
        if factor < 8:
            seen = first(level)
            for layer in between:
                seen = layer(seen)
            return convolve(seen, kernel, last.bias, stride=factor, padding={2: 1, 4: 0}[factor])
        windows = level
        for axis in self.axes:
            windows = windows.narrow(axis, 1, windows.shape[axis] - 2).unfold(axis, 6, 8)
        grid = windows.shape[2 : 2 + len(self.axes)]
        windows = windows.movedim(1, self.axes[-1]).flatten(0, self.axes[-1] - 1)  # (cells, channels, 6, ...)
        seen = convolve(windows, first.weight, first.bias)
        for layer in between:
            seen = layer(seen)
        seen = convolve(seen, kernel, last.bias).flatten(1)
        return seen.unflatten(0, (len(level), *grid)).movedim(-1, 1)


class PathNeck(nn.Module):
    """Adds to every level the features of the deeper ones, then those of the finer ones (PANet, Liu et al. 2018).

    Levels, finest first, each at half the resolution of the one before, keep their numbers of channels: with an X3D-M
    the whole network has 6.9 million parameters, as in the original solution. The deepest and that of the experiment's
    stride, which has `out_channels`, are returned.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], experiment: Experiment) -> None:
        super().__init__()
        axes, self.target = 2 if experiment.is_2d else 3, list(strides).index(experiment.stride)
        self.out_channels = channels[self.target]
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        self.finer = nn.ModuleList(_Fusion(fine, coarse, 1, axes) for fine, coarse in pairs)
        self.deeper = nn.ModuleList(_Fusion(coarse, fine, 2, axes) for fine, coarse in pairs)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the deepest level and the one of that stride."""
        levels = list(features)
        for i in reversed(range(len(self.finer))):
            levels[i] = self.finer[i](levels[i], levels[i + 1])
        for i, fusion in enumerate(self.deeper, start=1):
            levels[i] = fusion(levels[i], levels[i - 1])
        return levels[-1], levels[self.target]


class _Fusion(nn.Module):
    """Adds the level `other` to `level`, on the grid of the latter; `stride` is 2 if `other` is finer, 1 if coarser."""

    def __init__(self, channels: int, other: int, stride: int, axes: int) -> None:
        super().__init__()
        convolution, pad = {2: nn.Conv2d, 3: nn.Conv3d}[axes], stride - 1
        self.resize = convolution(other, channels, 2 * stride - 1, stride=stride, padding=pad)
        self.together = nn.Sequential(convolution(channels, channels, 3, padding=1), nn.ReLU(), ChannelNorm(channels))

    def forward(self, level: Tensor, other: Tensor) -> Tensor:
        return self.together(level + functional.interpolate(self.resize(other), size=level.shape[2:], mode="nearest"))
