"""Resampling of volumes."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from scipy import sparse

from motors.geometry import PerAxis, Shape, Spacing, per_axis, resampled_shape
from motors.volumes.tomogram import by_plane, check_spacing, check_voxels

HAIR = 5e-5  # intensities, added before truncation: float32 must not turn 255 into 254


def resample(voxels: np.ndarray, spacing: PerAxis, target: PerAxis, *, by: str = "linear") -> np.ndarray:
    """Return the volume resampled to another spacing, by linear interpolation along each axis, truncated.

    Voxel `i` of the result is sampled at `(i + 0.5) * target / spacing - 0.5`, as the original solution did for
    inference; `geometry.voxel_between` moves points alike. With `by` "mean", each voxel is the mean of those it covers,
    unless an axis is upsampled: at twice the spacing, interpolation keeps nearly twice the power of white noise.
    Spacings are ångström per voxel, one for each of z, y, x or for all. The result is `(z, y, x)` uint8 of shape
    `geometry.resampled_shape(voxels.shape, spacing, target)`, or `voxels` itself if the spacings are equal. Beside
    input and result, memory holds only a few planes.

    Raises ValueError if a spacing is not positive, less than a voxel would be left, or `by` is unknown.
    """
    if by not in ("linear", "mean"):
        raise ValueError(f"volumes are resampled by linear or mean, not by {by!r}: choose one of the two")
    check_voxels(voxels)
    spacing, target = per_axis(spacing), per_axis(target)
    check_spacing(spacing + target)
    if spacing == target:
        return voxels
    planes = averaged_planes if by == "mean" and min(np.divide(target, spacing)) >= 1 else resampled_planes
    shape, plane = planes(voxels.__getitem__, voxels.shape, spacing, target)
    return by_plane(plane, shape)


def resampled_planes(
    plane: Callable[[int], np.ndarray], shape: Shape, spacing: Spacing, target: Spacing
) -> tuple[Shape, Callable[[int], np.ndarray]]:
    """Return the shape of the resampled volume, and a function that returns its plane `k` as float32, not truncated.

    `plane(k)` is plane `k` of the volume, `(y, x)` uint8 or float32; spacings are as for `resample`.
    """
    scale, after = _size(shape, spacing, target)
    above, below, shares = _neighbours(after[0], shape[0], scale[0])

    def interpolate(k: int) -> np.ndarray:
        first, second, share = plane(above[k]), plane(below[k]), shares[k]
        blend = cv2.addWeighted(first, 1 - share, second, share, HAIR, dtype=cv2.CV_32F)
        return _resize(blend, after[1:], scale[1:])

    return after, interpolate


def averaged_planes(
    plane: Callable[[int], np.ndarray], shape: Shape, spacing: Spacing, target: Spacing
) -> tuple[Shape, Callable[[int], np.ndarray]]:
    """Return the same as `resampled_planes`, each voxel being the mean of those it covers; no `target` may be finer."""
    scale, after = _size(shape, spacing, target)
    rows, columns = (_covered(after[axis], shape[axis], scale[axis]) for axis in (1, 2))

    def average(k: int) -> np.ndarray:
        first, last = k / scale[0], (k + 1) / scale[0]
        total = np.full(shape[1:], HAIR, np.float32)
        for z in range(int(first), min(math.ceil(last), shape[0])):
            share = (min(z + 1, last) - max(z, first)) * scale[0]
            total = cv2.scaleAdd(plane(z).astype(np.float32), share, total)
        return np.ascontiguousarray((columns @ (rows @ total).T).T)

    return after, average


def _size(shape: Shape, spacing: Spacing, target: Spacing) -> tuple[np.ndarray, Shape]:
    """Return the scale factors along the axes and the resampled shape."""
    scale = np.divide(spacing, target)
    if min(shape * scale) < 1:
        raise ValueError(f"nothing is left of {shape} voxels of {spacing} Å at {target} Å: use a smaller target")
    return scale, resampled_shape(shape, spacing, target)


def _resize(plane: np.ndarray, shape: tuple[int, int], scale: np.ndarray) -> np.ndarray:
    """Return a `(y, x)` float32 plane resized by `scale`, of `shape`."""
    if any(scale != 1) and plane.shape == tuple(np.rint(plane.shape * scale)):  # OpenCV would only copy it
        for axis in (0, 1):
            before, after, shares = _neighbours(shape[axis], plane.shape[axis], scale[axis])
            shares = np.expand_dims(shares, 1 - axis).astype(np.float32)
            plane = plane.take(before, axis) * (1 - shares) + plane.take(after, axis) * shares
        return plane
    resized = cv2.resize(plane, None, fx=scale[1], fy=scale[0], interpolation=cv2.INTER_LINEAR)
    return resized[: shape[0], : shape[1]]  # OpenCV rounds the sides, here they are rounded down


def _covered(count: int, side: int, scale: float) -> sparse.csr_array:
    """Return `(count, side)` float32: the weight of each old voxel along an axis in the mean of each new one."""
    ends, voxels = np.arange(count + 1)[:, None] / scale, np.arange(side)
    inside = np.minimum(ends[1:], voxels + 1) - np.maximum(ends[:-1], voxels)
    return sparse.csr_array((np.maximum(inside, 0) * scale).astype(np.float32))


def _neighbours(count: int, side: int, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for `count` new voxels along an axis the old ones before and after each, and the weight of the latter."""
    at = np.clip((np.arange(count) + 0.5) / scale - 0.5, 0, side - 1)
    before = at.astype(int)
    return before, np.minimum(before + 1, side - 1), at - before
