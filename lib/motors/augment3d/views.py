"""One patch of a tomogram as a `Draw` wants it: a map that carries voxels and motors together, then grey levels."""

from __future__ import annotations

import numpy as np

from motors import geometry
from motors.augment3d.chance import Draw
from motors.augment3d.quality import coarsen, drop_boxes, regrade
from motors.augment3d.warp import warp


def view(
    voxels: np.ndarray,
    start: geometry.Shape,
    patch: geometry.Shape,
    points_zyx: np.ndarray,
    covariances: np.ndarray,
    settings: Draw,
    *,
    spacing: geometry.PerAxis,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one patch of a tomogram as `settings` want it, with the motors in it.

    What a zoom or a turn brings in from outside the patch is the real neighbourhood; only what lies outside the
    tomogram is zero. Where the patch itself reaches past the tomogram it is zero too, whatever the settings.

    Parameters
    ----------
    voxels : `(z, y, x)` uint8, the tomogram; of a memory-mapped file only the part in view is read
    start : first voxel of the patch, may be negative
    patch : `(z, y, x)` of the patch, in voxels
    points_zyx : `(n, 3)` motors, in voxels of the tomogram
    covariances : `(n, 3, 3)` squared extent of each motor, in voxels squared
    settings : what to do
    spacing : ångström per voxel, for the size of dropped boxes
    threads : how many work on it; the result does not depend on it

    Returns
    -------
    `patch`-shaped uint8, and the `(m, 3)` points and `(m, 3, 3)` covariances of the motors in view, in its voxels
    """
    low, high = np.maximum(start, 0), np.minimum(np.add(start, patch), voxels.shape)
    shape = tuple((high - low).tolist())
    matrix, offset = source_map(settings, tuple(low.tolist()), shape)
    box = warp(voxels, matrix, offset, shape, threads=threads)
    points_zyx, covariances = move(points_zyx, covariances, matrix, offset)
    regrade(box, settings.steps)
    if settings.quality is not None:
        box = coarsen(box, *settings.quality)
    if settings.dropout is not None:
        drop_boxes(box, points_zyx, covariances, spacing, np.random.default_rng(settings.dropout))
    inside = np.all((points_zyx >= 0) & (points_zyx <= np.subtract(shape, 1)), axis=1)
    before = low - start
    voxels = box if shape == tuple(patch) else geometry.cut(box, tuple(-before), patch)
    return voxels, points_zyx[inside] + before, covariances[inside]


def source_map(settings: Draw, start: geometry.Shape, shape: geometry.Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return the map from voxels of the result to voxels of the tomogram.

    Parameters
    ----------
    settings : zoom, rotation, shear and scale, all about the centre of the box
    start, shape : the box of the tomogram that would be cut out without them, in voxels

    Returns
    -------
    `(3, 3)` matrix and `(3,)` offset: voxel p of the result shows voxel `matrix @ p + offset` of the tomogram. The
    matrix is that of the original solution: the inverse zoom, then rotations about x, y and z, shear, scale.
    """
    xy, xz, yx = settings.shear
    shear = np.array([[1, 0, 0], [0, 1, yx], [xz, xy, 1]])
    z, y, x = (_rotation(axis, angle) for axis, angle in enumerate(settings.rotation))
    matrix = np.diag(1 / np.array(settings.zoom)) @ x @ y @ z @ shear @ np.diag(settings.scale)
    centre = np.subtract(shape, 1) / 2
    return matrix, np.array(start) + centre - matrix @ centre


def _rotation(axis: int, angle: float) -> np.ndarray:
    """Return the matrix of a turn about one of the axes z, y, x."""
    i, j = (other for other in range(3) if other != axis)
    matrix = np.eye(3)
    matrix[[i, j, i, j], [i, j, j, i]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
    return matrix


def move(
    points_zyx: np.ndarray, covariances: np.ndarray, matrix: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return `(n, 3)` points and `(n, 3, 3)` covariances in voxels of the result of a `source_map`."""
    forward = np.linalg.inv(matrix)
    return (np.asarray(points_zyx, dtype=np.float64) - offset) @ forward.T, forward @ covariances @ forward.T
