"""Volumes at another spacing."""

from __future__ import annotations

import cv2
import numpy as np

from motors.geometry import PerAxis, per_axis, resampled_shape
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
    scale = np.divide(spacing, target)
    if min(voxels.shape * scale) < 1:
        raise ValueError(f"nothing is left of {voxels.shape} voxels of {spacing} Å at {target} Å: use a smaller target")
    shape = resampled_shape(voxels.shape, spacing, target)
    depths = np.clip((np.arange(shape[0]) + 0.5) / scale[0] - 0.5, 0, len(voxels) - 1)  # in planes of the input
    result = np.empty(shape, np.uint8)

    def interpolate(k: int) -> None:
        upper, share = int(depths[k]), depths[k] % 1
        planes = [np.ascontiguousarray(voxels[z]) for z in (upper, min(upper + 1, len(voxels) - 1))]
        blend = cv2.addWeighted(planes[0], 1 - share, planes[1], share, HAIR, dtype=cv2.CV_32F)
        plane = cv2.resize(blend, None, fx=scale[2], fy=scale[1], interpolation=cv2.INTER_LINEAR)
        result[k] = plane[: shape[1], : shape[2]]  # OpenCV rounds the sides, here they are rounded down

    for_each(interpolate, len(result))
    return result
