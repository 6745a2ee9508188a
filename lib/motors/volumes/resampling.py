"""Volumes at another spacing."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from motors.geometry import PerAxis, Shape, Spacing, per_axis, resampled_shape
from motors.volumes.tomogram import check_spacing, check_voxels, for_each

HAIR = 5e-5  # grey levels, added before truncation: single precision must not turn 255 into 254


def resample(voxels: np.ndarray, spacing: PerAxis, target: PerAxis) -> np.ndarray:
    """Return the volume at another spacing, interpolated linearly along each axis and truncated.

    Voxel `i` of the result is taken at `(i + 0.5) * target / spacing - 0.5`, as the original solution did when it
    predicted; `geometry.voxel_between` moves points alike. Only a few planes are held beside input and result.

    Parameters
    ----------
    voxels : `(z, y, x)` uint8
    spacing, target : ångström per voxel before and after, one number or one for each of z, y, x

    Returns
    -------
    uint8 of `geometry.resampled_shape(voxels.shape, spacing, target)`; `voxels` itself if the spacings are equal

    Raises
    ------
    ValueError
        If a spacing is not above zero, or less than a voxel would be left along some axis.
    """
    check_voxels(voxels)
    spacing, target = per_axis(spacing), per_axis(target)
    check_spacing(spacing + target)
    if spacing == target:
        return voxels
    shape, plane = resampled_planes(voxels.__getitem__, voxels.shape, spacing, target)
    result = np.empty(shape, np.uint8)

    def interpolate(k: int) -> None:
        result[k] = plane(k)

    for_each(interpolate, len(result))
    return result


def resampled_planes(
    plane: Callable[[int], np.ndarray], shape: Shape, spacing: Spacing, target: Spacing
) -> tuple[Shape, Callable[[int], np.ndarray]]:
    """Return the shape of a volume at another spacing, and what gives each of its planes as float32, to be truncated.

    Parameters
    ----------
    plane : gives plane `k` of the volume, `(y, x)` uint8 or float32
    shape, spacing, target : as for `resample`
    """
    scale = np.divide(spacing, target)
    if min(shape * scale) < 1:
        raise ValueError(f"nothing is left of {shape} voxels of {spacing} Å at {target} Å: use a smaller target")
    after = resampled_shape(shape, spacing, target)
    above, below, shares = _neighbours(after[0], shape[0], scale[0])

    def interpolate(k: int) -> np.ndarray:
        first, second, share = plane(above[k]), plane(below[k]), shares[k]
        blend = cv2.addWeighted(first, 1 - share, second, share, HAIR, dtype=cv2.CV_32F)
        return _resize(blend, after[1:], scale[1:])

    return after, interpolate


def _resize(plane: np.ndarray, shape: tuple[int, int], scale: np.ndarray) -> np.ndarray:
    """Return a `(y, x)` float32 plane at `scale` times as many pixels."""
    if any(scale != 1) and plane.shape == tuple(np.rint(plane.shape * scale)):  # OpenCV would only copy it
        for axis in (0, 1):
            before, after, shares = _neighbours(shape[axis], plane.shape[axis], scale[axis])
            shares = np.expand_dims(shares, 1 - axis).astype(np.float32)
            plane = plane.take(before, axis) * (1 - shares) + plane.take(after, axis) * shares
        return plane
    resized = cv2.resize(plane, None, fx=scale[1], fy=scale[0], interpolation=cv2.INTER_LINEAR)
    return resized[: shape[0], : shape[1]]  # OpenCV rounds the sides, here they are rounded down


def _neighbours(count: int, side: int, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for `count` new voxels along an axis the old ones before and after each, and the share of the latter."""
    at = np.clip((np.arange(count) + 0.5) / scale - 0.5, 0, side - 1)
    before = at.astype(int)
    return before, np.minimum(before + 1, side - 1), at - before
