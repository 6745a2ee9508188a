"""One heatmap of a whole tomogram from a network that sees a tile at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from motors import geometry, networks
from motors.experiments import Experiment
from motors.geometry import Shape, Symmetry

Network = Callable[[torch.Tensor], torch.Tensor]

PRECISIONS = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}  # on a GPU; all else computes in float32


def heatmap(network: Network, experiment: Experiment, voxels: np.ndarray, **options: Any) -> np.ndarray:
    """Return how likely a motor is at each place of a tomogram: the sigmoid of `logits`, whose parameters it takes.

    Returns
    -------
    `(z, y, x)` float32 in [0, 1]; cell k of the grid is centred at `geometry.cell_to_voxel(k, cells)`, with the cells
    of `cell_strides`
    """
    return torch.from_numpy(logits(network, experiment, voxels, **options)).sigmoid().numpy()


@torch.inference_mode()
def logits(
    network: Network,
    experiment: Experiment,
    voxels: np.ndarray,
    *,
    symmetries: Sequence[str] = ("zyx",),
    cell_stride: int = 8,
    align: bool = True,
    patch: Shape | None = None,
    snug: bool = False,
    overlap: float | None = None,
    batch: int = 1,
    device: str | torch.device | None = None,
) -> np.ndarray:
    """Return the mean answer of a network to all tiles of a tomogram, seen in several orientations.

    Tiles begin at multiples of the network's stride, so that every answer has one place. They are averaged on the
    network's own grid, which is then interpolated to `cell_stride`. A 2D network sees three slices at a time, in
    ascending z, and its answer goes to the cell that holds the middle one.

    Parameters
    ----------
    network : from grey levels 0 to 255, `(b, 1, z, y, x)` or, for a 2D network, `(b, 3, y, x)`, to logits of a cell per
        stride, `(b, 1, z, y, x)` or `(b, 1, y, x)`
    experiment : its settings
    voxels : `(z, y, x)` uint8 tomogram in the spacing of the experiment
    symmetries : names of the orientations to average
    cell_stride : size of the cells, in voxels of the finest axis: 8 voxels of 16 ångström make cells of 128 ångström
    align : False puts tiles and answers where the original solution did: the last tile flush with the end, and every
        answer at the nearest cell, up to half a cell off
    patch : `(z, y, x)` voxels of a tile, if not those of the experiment: multiples of 32
    snug : shrink the tiles as far as their number allows, see `snug_patch`: less padding, less work
    overlap : what neighbouring tiles share, in voxels or as a share of the tile; not along z for 2D networks; by
        default what the experiment says
    batch : tiles at once
    device : where to compute; by default on the GPU if there is one. A network that is a torch module is moved there

    Returns
    -------
    `(z, y, x)` float32 logits; axes have `round(side / cell)` cells, at least one

    Raises
    ------
    ValueError
        If the volume is not uint8, the network still trains, does not answer a cell per stride, or answers NaN, or if a
        symmetry or a size does not fit.
    """
    if voxels.ndim != 3 or voxels.dtype != np.uint8:
        raise ValueError(f"a volume of {voxels.ndim} axes of {voxels.dtype} came: wanted grey levels uint8 z y x")
    turns = _symmetries(symmetries, experiment)
    patch, overlap = _patch(voxels.shape, experiment, patch, snug), experiment.overlap if overlap is None else overlap
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if isinstance(network, torch.nn.Module):
        if network.training:
            raise ValueError("the network is still training: call network.eval() before it predicts")
        network.to(device)
        if device.type == "cpu":
            networks.channels_last(network)
    flat, stride = int(experiment.planar), experiment.stride
    shared, step = ((v * (1 - flat), v, v) for v in (overlap, stride))
    step = tuple(max(1, side) if align else 1 for side in step)
    starts = geometry.tiles(voxels.shape, patch, overlap=shared, align=step).tolist()
    mean = _Mean(voxels.shape, patch, experiment, cell_strides(experiment, cell_stride), align, device)
    precision = PRECISIONS.get(experiment.precision) if device.type == "cuda" else None
    with torch.autocast(device.type, precision, enabled=precision is not None):
        for group in (starts[first : first + batch] for first in range(0, len(starts), batch)):
            tiles = np.stack([geometry.cut(voxels, start, patch) for start in group])
            seen = torch.from_numpy(tiles).to(device).float()
            seen = seen if experiment.planar else seen[:, None]
            for turn in turns:
                mean.add(turn.invert(network(turn.apply(seen)).float()), group)
    return mean.finish()


def cell_strides(experiment: Experiment, cell_stride: int = 8) -> Shape:
    """Return the voxels per cell of a heatmap along z, y, x, such that cells are cubes, see `logits`."""
    finest = min(experiment.spacing)
    return tuple(max(1, round(cell_stride * finest / spacing)) for spacing in experiment.spacing)


def tiles_at_once(experiment: Experiment) -> int:
    """Return how many tiles a network takes at once without trouble: 8, of large ones as many as hold 32 Mi voxels."""
    return min(8, max(1, 2**25 // math.prod(experiment.patch)))


def snug_patch(shape: Shape, patch: Shape) -> Shape:
    """Return the smallest tiles of which a volume needs no more than of tiles of size `patch`.

    Parameters
    ----------
    shape : `(z, y, x)` of the volume, in voxels
    patch : `(z, y, x)` of the largest tile, in voxels

    Returns
    -------
    `(z, y, x)` multiples of 32 voxels, none larger than `patch`; an axis of fewer than 32 voxels keeps its size
    """
    counts = [math.ceil(side / tile) for side, tile in zip(shape, patch, strict=True)]
    needs = [32 * math.ceil(side / count / 32) for side, count in zip(shape, counts, strict=True)]
    return tuple(min(need, tile) for need, tile in zip(needs, patch, strict=True))


def _symmetries(names: Sequence[str], experiment: Experiment) -> list[Symmetry]:
    """Return the symmetries called `names`, if the network can see them."""
    turns = [Symmetry.from_name(name) for name in ([names] if isinstance(names, str) else names)]
    if not turns:
        raise ValueError("no symmetry came: give at least one, zyx for none")
    if experiment.planar and (wrong := [turn.name for turn in turns if not turn.planar]):
        raise ValueError(f"the 2D network {experiment.name} cannot be mirrored along z: leave out {', '.join(wrong)}")
    return turns


def _patch(shape: Shape, experiment: Experiment, patch: Shape | None, snug: bool) -> Shape:
    """Return the size of a tile, if the network can see it."""
    patch = tuple(patch or experiment.patch)
    patch = snug_patch(shape, patch) if snug else patch
    wrong = patch[0] != experiment.patch[0] if experiment.planar else patch[0] % 32
    if wrong or patch[1] % 32 or patch[2] % 32 or min(patch) <= 0:
        first = experiment.patch[0] if experiment.planar else "a multiple of 32"
        raise ValueError(f"a tile of {patch} voxels does not fit {experiment.name}: z must be {first}, y and x of 32")
    return patch


class _Mean:
    """The mean of what overlapping tiles say, on a grid over the whole volume."""

    def __init__(self, shape: Shape, patch: Shape, experiment: Experiment, cells: Shape, align: bool, device) -> None:
        self.shape, self.patch, self.cells, self.planar, self.align = shape, patch, cells, experiment.planar, align
        self.goal = tuple(max(1, round(side / cell)) for side, cell in zip(shape, cells, strict=True))
        stride = experiment.stride
        self.answer = (1 if self.planar else patch[0] // stride, patch[1] // stride, patch[2] // stride)
        self.steps = (cells[0] if self.planar else stride, stride, stride)  # voxels per cell before interpolation
        if align and any(step % cell for step, cell in zip(self.steps, cells, strict=True)):
            raise ValueError(f"cells of {cells} voxels do not divide the stride {stride}: choose 1, 2, 4, 8 or 16")
        grid = [math.ceil(side / step) for side, step in zip(shape, self.steps, strict=True)]
        grid = [self.goal[0], *grid[1:]] if self.planar else grid
        self.sums = torch.zeros(grid if align else self.goal, device=device)
        self.counts = torch.zeros_like(self.sums)

    def add(self, answers: torch.Tensor, starts: Sequence[Shape]) -> None:
        """Add the logits of tiles, `(b, 1, z, y, x)` or `(b, 1, y, x)`, that begin at `starts`."""
        answers = answers[:, :, None] if self.planar else answers
        if answers.shape[1:] != (1, *self.answer):
            raise ValueError(
                f"the network answers {tuple(answers.shape[1:])} to a tile of {self.patch} voxels, wanted"
                f" {(1, *self.answer)}: one channel, a cell per stride of its experiment"
            )
        if not self.align:
            size = [max(1, round(p * n / s)) for p, n, s in zip(self.patch, self.goal, self.shape, strict=True)]
            answers = functional.interpolate(answers, size, mode="trilinear", align_corners=False)
        place = self._exact if self.align else self._nearest
        for answer, start in zip(answers[:, 0], starts, strict=True):
            into, part = zip(*map(place, range(3), start, answer.shape), strict=True)
            self.sums[into] += answer[part]
            self.counts[into] += 1

    def _exact(self, axis: int, start: int, size: int) -> tuple[slice, slice]:
        """Return where an aligned tile goes along an axis, and which part of it."""
        cells = self.sums.shape[axis]
        if self.planar and axis == 0:  # the cell that holds the middle of the three slices
            low = min(max(int((start + self.patch[0] / 2) / self.steps[0]), 0), cells - 1)
        else:
            low = start // self.steps[axis]
        high = min(low + size, cells)
        return slice(max(low, 0), high), slice(max(-low, 0), high - low)

    def _nearest(self, axis: int, start: int, size: int) -> tuple[slice, slice]:
        """Return the same as the original solution, whose cells do not fit its tiles."""
        scale = self.goal[axis] / self.shape[axis]
        first, last = max(start, 0), min(start + self.patch[axis], self.shape[axis])
        part = scaled_range(first - start, last - start, scale, size)
        return scaled_range(first, last, scale, self.goal[axis]), part

    def finish(self) -> np.ndarray:
        """Return the mean on the grid that is wanted."""
        if not (self.counts > 0).all():
            raise ValueError(f"{int((self.counts == 0).sum())} cells are covered by no tile: choose larger cells")
        mean = self.sums / self.counts
        if not torch.isfinite(mean).all():
            raise ValueError("the network answers NaN or infinity: check its weights, or its precision if on a GPU")
        if self.align:
            size = [n * s // c for n, s, c in zip(mean.shape, self.steps, self.cells, strict=True)]
            mean = functional.interpolate(mean[None, None], size, mode="trilinear", align_corners=False)[0, 0]
            mean = mean[tuple(map(slice, self.goal))]
        return mean.cpu().numpy()


def scaled_range(start: int, end: int, scale: float, cells: int) -> slice:
    """Return the cells that the original solution gave to the voxels from `start` to before `end`.

    Parameters
    ----------
    start, end : in voxels
    scale : cells per voxel
    cells : on the whole axis

    Returns
    -------
    At least one cell: both ends rounded, half to even, or, where that changes the number of cells, the place that is
    off the least
    """
    size = max(1, round((end - start) * scale))
    low = round(start * scale)
    if round(end * scale) - low != size:
        places = [place for place in (low, int(start * scale)) if 0 <= place <= cells - size]
        low = min(places, key=lambda place: abs(place - start * scale) + abs(place + size - end * scale))
    return slice(low, low + size)
