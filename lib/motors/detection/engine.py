"""Inference of a network on one tomogram: tiles, symmetries, precision and device."""

import ctypes
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from motors import geometry
from motors.detection.averaging import Mean
from motors.detection.tiling import cell_strides, plan
from motors.experiments.config import Experiment
from motors.geometry import Shape, Symmetry

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # huge pages; read at the first allocation
Network = Callable[[torch.Tensor], torch.Tensor]
TRIMMED_FROM, MAPPED_FROM = -1, -3  # parameters of glibc's `mallopt`
LARGE = 2**22  # voxels of a batch above which glibc allocates tensors by mmap
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
