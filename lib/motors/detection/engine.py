"""Inference of a network on one tomogram: tiles and their weighted average, symmetries, precision and device."""

import ctypes
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from motors import geometry
from motors.detection.tiling import cell_strides, plan
from motors.experiments.config import Experiment
from motors.geometry import Shape, Symmetry

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # huge pages; read at the first allocation
Network = Callable[[torch.Tensor], torch.Tensor]
TRIMMED_FROM, MAPPED_FROM = -1, -3  # parameters of glibc's `mallopt`
LARGE = 2**22  # voxels of a batch above which glibc allocates tensors by mmap
SIGMA = 1 / 4  # std of the Gaussian weights per side of a tile; nnU-Net's 1/8 (Isensee et al. 2021) needs 50 % overlap
PRECISIONS = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}  # on a GPU; float32 in all other cases


def heatmap(network: Network, experiment: Experiment, voxels: np.ndarray, **options: Any) -> np.ndarray:
    """Return the probability of a motor in each cell of a tomogram: the sigmoid of `logits`, with its parameters.

    It is `(z, y, x)` float32 in [0, 1]; cell k is centred at `geometry.cell_to_voxel(k, cell_strides(...))`.
    """
    return torch.from_numpy(logits(network, experiment, voxels, **options)).sigmoid().numpy()


@contextmanager
def kept_pages() -> Iterator[None]:
    """Let glibc reuse the memory of freed tensors, and release it at the end.

    By default it maps every tensor of more than 32 MiB anew, and page faults take half of a network's time. Above 256
    MiB they still are mapped, in huge pages, as they seldom fit into freed memory. Other allocators are left alone.
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(MAPPED_FROM, 2**28)
    libc.mallopt(TRIMMED_FROM, -1)  # never
    try:
        yield
    finally:  # the maxima of glibc's dynamic thresholds
        libc.mallopt(MAPPED_FROM, 2**25)
        libc.mallopt(TRIMMED_FROM, 2**26)
        libc.malloc_trim(0)


@torch.inference_mode()
def logits(
    network: Network,
    experiment: Experiment,
    voxels: np.ndarray,
    *,
    symmetries: Sequence[str] = ("zyx",),
    cell_stride: int = 8,
    original: bool = False,
    tile: Shape | None = None,
    overlap: float | None = None,
    voxels_at_once: int | None = None,
    batch: int | None = None,
    device: str | torch.device | None = None,
) -> np.ndarray:
    """Return the mean logits of a network over all tiles of a tomogram and several symmetries.

    They are `(z, y, x)` float32; axes have `round(side / cell)` cells, at least one.
    Tiles begin at multiples of the network's stride, so that outputs share one grid, on which they are averaged
    before it is interpolated to `cell_stride`. A 2D network takes three slices at a time, in ascending z, and its
    output goes to the cell that holds the middle one.

    Parameters
    ----------
    network : from intensities 0 to 255, `(b, 1, z, y, x)` or, for a 2D network, `(b, 3, y, x)`, to logits, one cell per
        stride, `(b, 1, z, y, x)` or `(b, 1, y, x)`
    experiment : settings of the network
    voxels : `(z, y, x)` uint8 tomogram in the spacing of the experiment
    symmetries : names, to average (TTA)
    cell_stride : size of the cells, in voxels of the finest axis: 8 voxels of 16 ångström make cells of 128 ångström
    original : True places tiles and predictions as the original solution did: tiles of the training patch, the last
        flush with the end, each prediction at the nearest cell, up to half a cell off
    tile, overlap, voxels_at_once, batch : see `motors.detection.tiling.plan`
    device : by default the GPU if there is one; a network that is a torch module is moved there

    Raises ValueError if the volume is not uint8, the network is in training mode, does not output one cell per stride,
    or outputs NaN, or if a symmetry or a size does not fit.
    """
    if voxels.ndim != 3 or voxels.dtype != np.uint8:
        raise ValueError(f"the volume has {voxels.ndim} axes and type {voxels.dtype}: give uint8 intensities (z, y, x)")
    turns = _symmetries(symmetries, experiment)
    settings = {"tile": tile, "overlap": overlap, "voxels": voxels_at_once, "batch": batch, "original": original}
    tiles = plan(voxels.shape, experiment, **settings)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if isinstance(network, torch.nn.Module):
        if network.training:
            raise ValueError("the network is still training: call network.eval() before it predicts")
        network.to(device)
    mean = Mean(voxels.shape, tiles.tile, experiment, cell_strides(experiment, cell_stride), not original, device)
    precision = PRECISIONS.get(experiment.precision) if device.type == "cuda" else None
    pages = kept_pages() if tiles.batch * math.prod(tiles.tile) >= LARGE else nullcontext()
    with pages, torch.autocast(device.type, precision, enabled=precision is not None):
        for first in range(0, len(tiles.starts), tiles.batch):
            starts = tiles.starts[first : first + tiles.batch].tolist()
            cut = np.stack([geometry.cut(voxels, start, tiles.tile) for start in starts])
            seen = torch.from_numpy(cut).to(device).float()
            seen = seen if experiment.is_2d else seen[:, None]
            for turn in turns:
                mean.add(turn.invert(network(turn.apply(seen)).float()), starts)
    return mean.finish()


def _symmetries(names: Sequence[str], experiment: Experiment) -> list[Symmetry]:
    """Return the symmetries called `names`; raises ValueError for z flips in 2D."""
    turns = [Symmetry.from_name(name) for name in ([names] if isinstance(names, str) else names)]
    if not turns:
        raise ValueError("no symmetry is given: give at least one, zyx for none")
    if experiment.is_2d and (wrong := [turn.name for turn in turns if not turn.in_plane]):
        raise ValueError(f"the 2D network {experiment.name} cannot be mirrored along z: leave out {', '.join(wrong)}")
    return turns


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
