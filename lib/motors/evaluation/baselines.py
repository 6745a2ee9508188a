"""What finds motors without learning anything: what a network has to beat."""

import numpy as np
from scipy import ndimage

from motors import geometry, heatmaps

BLOB = 200.0  # ångström, the standard deviation of what `blobs` looks for


def blobs(voxels: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ten darkest blobs of a tomogram, a baseline that learns nothing: motors are dense, and dense is dark.

    The volume is averaged in blocks of half a blob, smoothed, and its surroundings are subtracted. What is nearer than
    `BLOB` to the border of the volume, or to padding of one intensity, is no blob: it would be half of one. Blobs are
    at least `MATCH_RADIUS` apart.

    Of `(z, y, x)` intensities these are `(n, 3)` points zyx in voxels and `(n,)` float32 scores, darkest first; a score
    is how many standard deviations a blob is darker than its surroundings usually are.
    """
    stride = max(1, int(BLOB / 2 / spacing))
    coarse = _block_means(voxels, stride)
    width = BLOB / (stride * spacing)  # standard deviation, in cells
    padding = ndimage.maximum_filter(coarse, 3) - ndimage.minimum_filter(coarse, 3) <= 1e-4 * np.ptp(coarse)
    seen = ~ndimage.binary_dilation(padding, np.ones((3, 3, 3)), iterations=2)  # nor the blocks that are half padding
    near, around = (
        ndimage.gaussian_filter(coarse * seen, std) / ndimage.gaussian_filter(seen.astype(np.float32), std).clip(1e-6)
        for std in (width, 2 * width)
    )
    inside = ndimage.binary_erosion(seen, iterations=max(1, round(width)))
    if not inside.any():  # too small, or all of one intensity
        inside = np.ones_like(seen)
    darkness = around - near
    darkness = (darkness - darkness[inside].mean()) / (darkness[inside].std() or 1.0)
    darkness[~inside] = -np.inf
    cells, scores = heatmaps.peaks(
        darkness, threshold=0.0, radius_cells=geometry.MATCH_RADIUS / (stride * spacing), most=10
    )
    return geometry.cell_to_voxel(cells, stride), scores


def _block_means(voxels: np.ndarray, size: int) -> np.ndarray:
    """Return the float32 means of cubes of `size` voxels; what is left over at the far ends is not seen."""
    deep, high, wide = (min(size, side) for side in voxels.shape)
    z, y, x = np.floor_divide(voxels.shape, (deep, high, wide))
    blocks = (voxels[k * deep : (k + 1) * deep, : y * high, : x * wide] for k in range(z))
    layers = (block.sum(axis=0, dtype=np.float32) / deep for block in blocks)
    return np.stack([layer.reshape(y, high, x, wide).mean(axis=(1, 3)) for layer in layers])
