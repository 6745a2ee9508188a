"""Parts of a volume for display: slabs, cubes around a point, and layers of a grid over it."""

from collections.abc import Sequence

import numpy as np

SLAB = 2  # slices on each side of the one shown: the mean of all has less than half its noise


def slab(voxels: np.ndarray, index: float, *, axis: int = 0, reach: int = SLAB) -> np.ndarray:
    """Return the float32 mean of slices of `(z, y, x)` within `reach` of `index` along `axis`, fewer at the border."""
    middle = int(np.clip(round(index), 0, voxels.shape[axis] - 1))
    near = [slice(None)] * axis + [slice(max(middle - reach, 0), middle + reach + 1)]
    return voxels[tuple(near)].mean(axis=axis, dtype=np.float32)


def layer(grid: np.ndarray, index: float, side: int, *, axis: int = 0) -> np.ndarray:
    """Return the layer of a `(z, y, x)` grid of cells that contains voxel `index` of the `side` voxels along `axis`."""
    cells = grid.shape[axis]
    return np.take(grid, int(np.clip((index + 0.5) / side * cells, 0, cells - 1)), axis=axis)


def around(voxels: np.ndarray, point_zyx: Sequence[float], reach_voxels: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the cube within `reach_voxels` of a point, and the point's position in it.

    All cubes of one reach have equal sides, so that images of them have the same scale; voxels outside the tomogram
    are filled with the mean of those inside.
    """
    point, side = np.asarray(point_zyx, dtype=float), 2 * int(np.ceil(reach_voxels)) + 1
    low = np.round(point).astype(int) - side // 2
    inside = [slice(max(a, 0), max(min(a + side, b), 0)) for a, b in zip(low, voxels.shape, strict=True)]
    block = np.asarray(voxels[tuple(inside)])
    margins = [(cut.start - a, a + side - max(cut.stop, cut.start)) for cut, a in zip(inside, low, strict=True)]
    grey = np.full((side,) * 3, block.mean() if block.size else 0, voxels.dtype)
    grey[tuple(slice(a, side - b) for a, b in margins)] = block
    return grey, point - low
