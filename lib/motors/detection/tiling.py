"""Plan the tiles that together cover a tomogram, with little redundant computation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from motors import geometry
from motors.experiments.config import Experiment
from motors.geometry import Shape

MULTIPLE = 32  # voxels: sides of a tile are multiples of the largest downsampling of all encoders
CONTEXT = 1500.0  # ångström, least side of a tile, unless the training patch is shorter: motors at edges are cut off
MANY = 2**25  # voxels in a batch of small tiles
NEARLY = 1.05  # times the least work is accepted for larger tiles, which give more context


@dataclass(frozen=True, eq=False)
class Plan:
    """Tiles of one shape that cover a volume."""

    tile: Shape  # `(z, y, x)` of a tile, in voxels
    starts: np.ndarray  # `(n, 3)` int64 first voxels of the tiles, which may lie outside the volume
    batch: int  # tiles per batch


def cell_strides(experiment: Experiment, cell_stride: int = 8) -> Shape:
    """Return the voxels per cell of a heatmap along z, y, x, such that cells are cubes, see `engine.logits`."""
    finest = min(experiment.spacing)
    return tuple(max(1, round(cell_stride * finest / spacing)) for spacing in experiment.spacing)


def plan(
    shape: Shape,
    experiment: Experiment,
    *,
    tile: Shape | None = None,
    overlap: float | None = None,
    voxels: int | None = None,
    batch: int | None = None,
    original: bool = False,
) -> Plan:
    """Return the tiles of a volume; those of a 3D network minimise computation within a memory budget.

    Parameters
    ----------
    shape : `(z, y, x)` of the volume, in voxels
    experiment : of the network; for a 2D network tiles are the training patch, as its output depends on their size
    tile : `(z, y, x)` of a tile in voxels, multiples of 32, instead of the one that wastes least
    overlap : of neighbours: in voxels, or as a fraction of the training patch, limited for smaller tiles to half of
        the tile, or that fraction of it if larger; by default the experiment's. Always 0 along z in 2D
    voxels : maximum in a batch; by default a tile has at most those of the training patch, whose training fitted into
        memory, and never more if an encoder pools over its whole tile
    batch : tiles per batch; by default 8, or fewer large ones that hold at most 32 Mi voxels, or `voxels`
    original : True gives the tiles of the original solution: the training patch, the last one flush with the end

    Raises ValueError if a tile does not fit the network or `voxels`, or tiles overlap too much to advance.
    """
    is_2d = experiment.is_2d
    overlap = experiment.overlap if overlap is None else overlap
    if tile is None and not (is_2d or original):
        usual = math.prod(experiment.patch)
        most = min(voxels or usual, usual) if experiment.encoder_pools else voxels or usual
        tile = _least_waste(shape, experiment, overlap, most)
    tile = tuple(tile or experiment.patch)
    wrong = tile[0] != experiment.patch[0] if is_2d else tile[0] % MULTIPLE
    if wrong or tile[1] % MULTIPLE or tile[2] % MULTIPLE or min(tile) <= 0:
        first = experiment.patch[0] if is_2d else f"a multiple of {MULTIPLE}"
        raise ValueError(f"a tile of {tile} voxels does not fit {experiment.name}: z must be {first}, y and x of 32")
    step = (1 if is_2d else experiment.stride, experiment.stride, experiment.stride)
    shared = [_shared(overlap, *sides) for sides in zip(experiment.patch, tile, strict=True)]
    shared = [0, *shared[1:]] if is_2d else shared
    starts = geometry.tiles(shape, tile, overlap=shared, align=(1, 1, 1) if original else step)
    batch = batch or min(8, max(1, min(voxels or MANY, MANY) // math.prod(tile)))
    return Plan(tile, starts, min(len(starts), batch))


def planned(shape: Shape, experiment: Experiment, options: Mapping[str, Any]) -> Plan:
    """Return the `plan` for options of `motors.detection.engine.heatmap`; those not about tiles are ignored."""
    names = {"tile": "tile", "overlap": "overlap", "voxels_at_once": "voxels", "original": "original", "batch": "batch"}
    return plan(shape, experiment, **{names[name]: value for name, value in options.items() if name in names})


def _least_waste(shape: Shape, experiment: Experiment, overlap: float, voxels: int) -> Shape:
    """Return the largest tile of at most `voxels` voxels among those with at most `NEARLY` times the least work.

    Unless the volume is shorter, sides are at least half the training patch, and `CONTEXT` or the patch if shorter: a
    network needs context. Along each axis only the smallest side for each number of tiles can be optimal.
    """
    axes = [
        _sides(length, patch, max(patch / 2, min(patch, CONTEXT / spacing)), overlap, experiment.stride, voxels)
        for length, patch, spacing in zip(shape, experiment.patch, experiment.spacing, strict=True)
    ]
    fitting = [sides for sides in product(*axes) if math.prod(side for _, side in sides) <= voxels]
    if not fitting:
        raise ValueError(f"{voxels} voxels are too few for a tile with an overlap of {overlap}: allow more memory")
    work = [math.prod(count * side for count, side in sides) for sides in fitting]
    cheap = [sides for sides, cost in zip(fitting, work, strict=True) if cost <= NEARLY * min(work)]
    return max((tuple(side for _, side in sides) for sides in cheap), key=math.prod)


def _shared(overlap: float, patch: int, side: int) -> int:
    """Return the overlap of neighbours along an axis, in voxels, see `plan`."""
    return int(overlap) if overlap >= 1 else min(round(overlap * patch), max(side // 2, round(overlap * side)))


def _sides(length: int, patch: int, least: float, overlap: float, stride: int, most: int) -> list[tuple[int, int]]:
    """Return `(number of tiles, side)` along an axis, with the smallest side for each number of tiles."""
    found: dict[int, int] = {}
    whole = MULTIPLE * math.ceil(length / MULTIPLE)
    for side in range(min(whole, MULTIPLE * math.ceil(least / MULTIPLE)), whole + 1, MULTIPLE):
        shared = _shared(overlap, patch, side)
        if side <= most and (side - shared) // stride > 0:
            tiles = geometry.tiles((length, 1, 1), (side, 1, 1), overlap=(shared, 0, 0), align=(stride, 1, 1))
            found.setdefault(len(tiles), side)
    return list(found.items())
