"""Weighted averaging of the logits of overlapping tiles."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from motors.experiments.config import Experiment
from motors.geometry import Shape

SIGMA = 1 / 4  # std of the Gaussian weights per side of a tile; nnU-Net's 1/8 (Isensee et al. 2021) needs 50 % overlap


class Mean:
    """Running weighted mean of the logits of overlapping tiles, on a grid over the whole volume.

    At the edge of a tile the network lacks half of the context, so outputs are weighted by a Gaussian of the distance
    from the centre of the tile. If `align` is False, all weights are equal, as in the original solution.
    """

    def __init__(self, shape: Shape, patch: Shape, experiment: Experiment, cells: Shape, align: bool, device) -> None:
        self.shape, self.patch, self.cells, self.is_2d, self.align = shape, patch, cells, experiment.is_2d, align
        self.goal = tuple(max(1, round(side / cell)) for side, cell in zip(shape, cells, strict=True))
        stride = experiment.stride
        self.output = (1 if self.is_2d else patch[0] // stride, patch[1] // stride, patch[2] // stride)
        self.steps = (cells[0] if self.is_2d else stride, stride, stride)  # voxels per cell before interpolation
        if align and any(step % cell for step, cell in zip(self.steps, cells, strict=True)):
            raise ValueError(f"cells of {cells} voxels do not divide the stride {stride}: choose 1, 2, 4, 8 or 16")
        grid = [math.ceil(side / step) for side, step in zip(shape, self.steps, strict=True)]
        grid = [self.goal[0], *grid[1:]] if self.is_2d else grid
        self.sums = torch.zeros(grid if align else self.goal, device=device)
        self.weights = torch.zeros_like(self.sums)

    def add(self, outputs: torch.Tensor, starts: Sequence[Shape]) -> None:
        """Add logits, `(b, 1, z, y, x)` or `(b, 1, y, x)`, of tiles at `starts`; raises ValueError for other shapes."""
        outputs = outputs[:, :, None] if self.is_2d else outputs
        if outputs.shape[1:] != (1, *self.output):
            what = f"{tuple(outputs.shape[1:])} to a tile of {self.patch} voxels, wanted {(1, *self.output)}"
            raise ValueError(f"the network gives {what}: one channel, a cell per stride of its experiment")
        if not self.align:
            size = [max(1, round(p * n / s)) for p, n, s in zip(self.patch, self.goal, self.shape, strict=True)]
            outputs = functional.interpolate(outputs, size, mode="trilinear", align_corners=False)
        place = self._exact if self.align else self._nearest
        weight = importance(outputs.shape[2:], outputs.device) if self.align else torch.ones_like(outputs[0, 0])
        for output, start in zip(outputs[:, 0], starts, strict=True):
            into, part = zip(*map(place, range(3), start, output.shape), strict=True)
            self.sums[into] += output[part] * weight[part]
            self.weights[into] += weight[part]

    def _exact(self, axis: int, start: int, size: int) -> tuple[slice, slice]:
        """Return matching slices of the grid and of an aligned tile along an axis."""
        cells = self.sums.shape[axis]
        if self.is_2d and axis == 0:  # the cell that holds the middle of the three slices
            low = min(max(int((start + self.patch[0] / 2) / self.steps[0]), 0), cells - 1)
        else:
            low = start // self.steps[axis]
        high = min(low + size, cells)
        return slice(max(low, 0), high), slice(max(-low, 0), high - low)

    def _nearest(self, axis: int, start: int, size: int) -> tuple[slice, slice]:
        """Return these slices as in the original solution, where tiles do not align with cells."""
        scale = self.goal[axis] / self.shape[axis]
        first, last = max(start, 0), min(start + self.patch[axis], self.shape[axis])
        part = scaled_range(first - start, last - start, scale, size)
        return scaled_range(first, last, scale, self.goal[axis]), part

    def finish(self) -> np.ndarray:
        """Return the mean on the output grid; raises ValueError for NaN or infinity, or cells that no tile covers."""
        if not (self.weights > 0).all():
            raise ValueError(f"{int((self.weights == 0).sum())} cells are covered by no tile: choose larger cells")
        mean = self.sums / self.weights
        if not torch.isfinite(mean).all():
            raise ValueError("the network gives NaN or infinity: check its weights, or its precision if on a GPU")
        if self.align:
            size = [n * s // c for n, s, c in zip(mean.shape, self.steps, self.cells, strict=True)]
            mean = functional.interpolate(mean[None, None], size, mode="trilinear", align_corners=False)[0, 0]
            mean = mean[tuple(map(slice, self.goal))]
        return mean.cpu().numpy()


def importance(shape: Shape, device: torch.device | None = None) -> torch.Tensor:
    """Return the weight of each cell of a tile's output, float32 of `shape`: a Gaussian around its centre."""
    weight = torch.ones(shape, device=device)
    for axis, cells in enumerate(shape):
        away = (torch.arange(cells, device=device) + 0.5) / cells - 0.5
        weight *= torch.exp(-0.5 * (away / SIGMA) ** 2).reshape([-1 if each == axis else 1 for each in range(3)])
    return weight


def scaled_range(start: int, end: int, scale: float, cells: int) -> slice:
    """Return the cells, at least one, that the original solution assigned to voxels `start` to `end` (exclusive).

    The axis has `cells` cells, `scale` per voxel. Both ends are rounded, half to even; where that changes the number
    of cells, the range with the smallest error is taken.
    """
    size = max(1, round((end - start) * scale))
    low = round(start * scale)
    if round(end * scale) - low != size:
        places = [place for place in (low, int(start * scale)) if 0 <= place <= cells - size]
        low = min(places, key=lambda place: abs(place - start * scale) + abs(place + size - end * scale))
    return slice(low, low + size)
