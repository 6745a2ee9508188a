"""A baseline without learning, which a network has to beat."""

import numpy as np
from scipy import ndimage

from motors import geometry, heatmaps

BLOB = 200.0  # ångström, the standard deviation of a blob


def blobs(voxels: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the (at most) ten darkest blobs of a tomogram, without learning: motors are dense, and dense is dark.

    The volume is averaged in blocks of half a `BLOB`, smoothed, and subtracted from a version smoothed twice as far.
    Blobs nearer than `BLOB` to the border of the volume, or to constant padding, are left out, as they may be cut off.
    Blobs are at least `MATCH_RADIUS` apart.

    For `(z, y, x)` intensities it returns `(n, 3)` points zyx in voxels and `(n,)` float32 scores, darkest first; a
    score is this difference in standard deviations above its mean over the volume.
    """
    stride = max(1, int(BLOB / 2 / spacing))
    coarse = _block_means(voxels, stride)
    width = BLOB / (stride * spacing)  # standard deviation, in cells
    padding = ndimage.maximum_filter(coarse, 3) - ndimage.minimum_filter(coarse, 3) <= 1e-4 * np.ptp(coarse)
    seen = ~ndimage.binary_dilation(padding, np.ones((3, 3, 3)), iterations=2)  # also blocks that are half padding
    near, around = (
        ndimage.gaussian_filter(coarse * seen, std) / ndimage.gaussian_filter(seen.astype(np.float32), std).clip(1e-6)
        for std in (width, 2 * width)
    )
    inside = ndimage.binary_erosion(seen, iterations=max(1, round(width)))
    if not inside.any():  # too small, or constant
        inside = np.ones_like(seen)
    darkness = around - near
    darkness = (darkness - darkness[inside].mean()) / (darkness[inside].std() or 1.0)
    darkness[~inside] = -np.inf
    cells, scores = heatmaps.peaks(
        darkness, threshold=0.0, radius_cells=geometry.MATCH_RADIUS / (stride * spacing), most=10
    )
    return geometry.cell_to_voxel(cells, stride), scores


def _block_means(voxels: np.ndarray, size: int) -> np.ndarray:
    """Return the float32 means of cubes of `size` voxels; incomplete cubes at the far ends are ignored."""
    deep, high, wide = (min(size, side) for side in voxels.shape)
    z, y, x = np.floor_divide(voxels.shape, (deep, high, wide))
    blocks = (voxels[k * deep : (k + 1) * deep, : y * high, : x * wide] for k in range(z))
    layers = (block.sum(axis=0, dtype=np.float32) / deep for block in blocks)
    return np.stack([layer.reshape(y, high, x, wide).mean(axis=(1, 3)) for layer in layers])
