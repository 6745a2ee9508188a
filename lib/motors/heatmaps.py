"""Heatmaps: targets that networks learn, drawn from points, and the peaks of predicted ones."""

from functools import reduce
from typing import Any

import numpy as np
from scipy import ndimage

from motors.former import names_of
from motors.geometry import PerAxis, Shape, per_axis

# A blob is drawn where 99.9 % of a normal distribution lie, as in the original solution: the square roots of
# that quantile of chi-squared with three and with two degrees of freedom.
_REACH = 4.0331422  # standard deviations, in three dimensions
_REACH_2D = 3.7169222  # in two

__getattr__ = names_of(__name__)  # names of version 0.1


def target_3d(
    points_zyx: np.ndarray,
    shape: Shape,
    spacing: PerAxis,
    *,
    stride: PerAxis = 16,
    sigma: float = 200.0,
    std_voxels: np.ndarray | None = None,
    normalise: bool = True,
) -> np.ndarray:
    """Return the target heatmap of a 3D network: one Gaussian per motor, the higher value where they overlap.

    It is `(z / stride, y / stride, x / stride)` float32 in [0, 1]. Each blob is cut to the box that holds 99.9 % of it
    and, as in the original solution, rescaled to run from exactly zero to exactly one inside, so the cell nearest
    to a motor is always one. Raises ValueError if `shape` does not divide by `stride`.

    Parameters
    ----------
    points_zyx : `(n, 3)` motor centres, in voxels; those outside the volume are left out
    shape : `(z, y, x)` of the volume, in voxels
    spacing : ångström per voxel, one number or one per axis
    stride : voxels per cell, one number or one per axis
    sigma : standard deviation of a blob, in ångström
    std_voxels : `(n,)` standard deviations in voxels instead of `sigma`, where augmentation has scaled the motors
    normalise : False keeps the plain values of the Gaussian
    """
    std = _std(std_voxels, len(points_zyx), sigma, per_axis(spacing))
    return _drawn(points_zyx, std, shape, per_axis(stride), reach=_REACH, normalise=normalise)


def target_2d(
    points_yx: np.ndarray,
    shape: tuple[int, int],
    spacing: float,
    *,
    distances: np.ndarray | None = None,
    stride: int = 16,
    sigma: float = 200.0,
    std_voxels: np.ndarray | None = None,
) -> np.ndarray:
    """Return the target heatmap of a 2D network for a slice: one Gaussian per motor, lower if it is farther.

    `points_yx` are `(n, 2)` motor centres in pixels, `distances` `(n,)` ångström between each and the slice, by default
    0. The peak is `exp(-distance**2 / (2 * sigma**2))`, the height of a three-dimensional Gaussian in that slice, not
    rescaled. All else is as in `target_3d`, without z.
    """
    std = _std(std_voxels, len(points_yx), sigma, (spacing, spacing))
    away = np.zeros(len(points_yx)) if distances is None else np.asarray(distances, dtype=np.float64)
    heights = np.exp(-0.5 * (away / sigma) ** 2)
    return _drawn(points_yx, std, shape, (stride, stride), heights, reach=_REACH_2D)


def inside(points: np.ndarray, covariances: np.ndarray, shape: tuple[int, ...], stride: PerAxis) -> np.ndarray:
    """Return which cells have their centre in one of several ellipsoids, bool, `shape` divided by `stride`.

    `points` are `(n, d)` centres in voxels, where integers are voxel centres; `covariances` are `(n, d, d)` in square
    voxels: half-axes are the roots of their eigenvalues; a cell has `stride` voxels, one number or one per axis.
    """
    steps = np.broadcast_to(stride, len(shape))
    cells = (np.moveaxis(np.indices(np.floor_divide(shape, steps)), 0, -1) + 0.5) * steps - 0.5
    apart = cells[..., None, :] - points
    return (np.einsum("...ni,nij,...nj->...n", apart, np.linalg.inv(covariances), apart) <= 1).any(axis=-1)


def smallest_std(covariances: np.ndarray) -> np.ndarray:
    """Return the standard deviation along the shortest half-axis, `(n,)` voxels, of `(n, d, d)` covariances."""
    covariances = np.asarray(covariances, dtype=np.float64)
    return np.sqrt(np.linalg.eigvalsh(covariances)[..., 0]) if len(covariances) else np.zeros(0)


def _std(std_voxels: np.ndarray | None, count: int, sigma: float, spacing: tuple) -> np.ndarray:
    """Return the `(count, axes)` standard deviations, in voxels."""
    std = np.divide(sigma, spacing) if std_voxels is None else np.reshape(std_voxels, (count, 1))
    return np.broadcast_to(std, (count, len(spacing)))


def _drawn(points, std, shape: tuple, stride: tuple, heights: np.ndarray | float = 1.0, **how: Any) -> np.ndarray:
    """Return the grid of a volume of `shape` with a Gaussian around each point, see `_stamp`."""
    if any(side % step for side, step in zip(shape, stride, strict=True)):
        raise ValueError(f"shape {tuple(shape)} does not divide by stride {stride}: pad the volume first")
    grid = np.zeros([side // step for side, step in zip(shape, stride, strict=True)], dtype=np.float32)
    heights = np.broadcast_to(heights, len(std))
    for point, width, height in zip(np.reshape(points, (-1, len(shape))), std, heights, strict=True):
        _stamp(grid, point, width, height, stride, **how)
    return grid


def _stamp(grid, point, std, height: float, stride, *, reach: float, normalise: bool = False) -> None:
    """Draw a Gaussian around `point` into `grid`, by maximum; `point` and `std` are voxels along each axis."""
    box, curves = [], []
    for cells, voxel, width, step in zip(grid.shape, point, std, stride, strict=True):
        centre, width = (float(voxel) + 0.5) / step, float(width) / step
        if not 0 <= centre <= cells:
            return
        low, high = max(round(centre - width * reach), 0), min(round(centre + width * reach), cells)
        if low >= high:  # a blob thinner than a cell keeps the cell that holds it
            low = min(int(centre), cells - 1)
            high = low + 1
        box.append(slice(low, high))
        curves.append(np.exp(-0.5 * ((np.arange(low, high) + 0.5 - centre) / width) ** 2))
    blob = reduce(np.multiply.outer, curves) * height
    if normalise:
        low, high = blob.min(), blob.max()
        blob = (blob - low) / (high - low) if high > low else np.ones_like(blob)
    grid[tuple(box)] = np.maximum(grid[tuple(box)], blob)


def peaks(
    heatmap: np.ndarray, *, threshold: float, radius_cells: float, most: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Return the peaks of a `(z, y, x)` grid of probabilities, highest first, at most `most`.

    A peak is no lower than its 26 neighbours, and not below `threshold`; of peaks nearer than `radius_cells` the
    highest is kept. They are `(n, 3)` int64 cells and `(n,)` float32 scores; equal scores in cell order.
    """
    heatmap = np.asarray(heatmap, dtype=np.float32)
    highest = ndimage.maximum_filter(heatmap, size=3, mode="nearest")
    cells = np.argwhere((heatmap == highest) & (heatmap >= threshold))
    scores = heatmap[tuple(cells.T)]
    kept = non_maximum_suppression(cells, scores, radius=radius_cells, most=most)
    return cells[kept], scores[kept]


def between_cells(heatmap: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the positions between cells, float64, of peaks at `(n, 3)` cells of a `(z, y, x)` grid of probabilities.

    Along each axis it is the top of the Gaussian through a cell and its two neighbours, at most half a cell away: the
    three-point estimator of particle image velocimetry (Raffel et al. 2018), exact for a Gaussian, as targets are.
    """
    found, last = cells.astype(np.float64), np.subtract(heatmap.shape, 1)
    for axis, step in enumerate(np.eye(3, dtype=int)):
        places = (cells - step, cells, cells + step)
        low, here, high = (np.log(heatmap[tuple(each.clip(0, last).T)].clip(1e-6)) for each in places)
        bend = 2 * here - low - high
        inside = (cells[:, axis] > 0) & (cells[:, axis] < last[axis]) & (bend > 0)
        found[inside, axis] += (0.5 * (high - low)[inside] / bend[inside]).clip(-0.5, 0.5)
    return found


def non_maximum_suppression(
    points: np.ndarray, scores: np.ndarray, *, radius: float, most: int | None = None
) -> np.ndarray:
    """Return the indices of points after non-maximum suppression, `(m,)` int64, best first, at most `most`.

    Of `(n, axes)` points with `(n,)` scores, one nearer than `radius` to a better is dropped, of equal ones the later.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked, free, kept = np.asarray(points)[order], np.ones(len(order), dtype=bool), []
    while free.any() and (most is None or len(kept) < most):
        kept.append(free.argmax())
        free &= ((ranked - ranked[kept[-1]]) ** 2).sum(axis=1) >= radius**2
        free[kept[-1]] = False
    return order[np.array(kept, dtype=np.int64)]
