"""One heatmap of a whole tomogram from a network that sees a tile at a time."""

from __future__ import annotations

import math

from motors.experiments.config import Experiment
from motors.geometry import Shape


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


def tile_shape(shape: Shape, experiment: Experiment, patch: Shape | None, snug: bool) -> Shape:
    """Return the size of a tile, if the network can see it."""
    patch = tuple(patch or experiment.patch)
    patch = snug_patch(shape, patch) if snug else patch
    wrong = patch[0] != experiment.patch[0] if experiment.is_2d else patch[0] % 32
    if wrong or patch[1] % 32 or patch[2] % 32 or min(patch) <= 0:
        first = experiment.patch[0] if experiment.is_2d else "a multiple of 32"
        raise ValueError(f"a tile of {patch} voxels does not fit {experiment.name}: z must be {first}, y and x of 32")
    return patch
