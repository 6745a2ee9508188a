"""Affine maps of volumes by one trilinear interpolation, as fast as the map allows."""

from itertools import product

import cv2
import numpy as np

from motors import geometry
from motors.volumes.tomogram import for_each

TALLEST = 32_000  # rows: cv2.remap counts the rows and columns of its source in 16 bits


def warp(
    voxels: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: geometry.Shape, *, threads: int = 1
) -> np.ndarray:
    """Return a volume under an affine map, interpolated trilinearly once and truncated, zero outside the tomogram.

    It is `(z, y, x)` uint8, also memory-mapped; so is the result, of this `shape` and in C order. The map is that of a
    `source_map`. One that keeps z apart is applied by slices, others by blocks: six times slower, equal within a level.
    """
    if np.array_equal(matrix, np.eye(3)) and not (offset % 1).any():
        return geometry.cut(voxels, tuple(offset.astype(int).tolist()), shape)
    apart = not matrix[0, 1:].any() and not matrix[1:, 0].any()
    return (_warp_slices if apart else warp_blocks)(voxels, matrix, offset, shape, threads=threads)


def _warp_slices(
    voxels: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: geometry.Shape, *, threads: int
) -> np.ndarray:
    """Return the result of `warp` for maps that keep z apart: blend two slices, then warp in the plane."""
    result = np.zeros(shape, np.uint8)
    low, high = _reach(matrix, offset, shape)
    low, high = np.maximum(low, 0), np.minimum(high, voxels.shape)
    if np.any(low >= high):
        return result
    source = voxels[:, low[1] : high[1], low[2] : high[2]]
    in_plane = np.column_stack([matrix[:0:-1, :0:-1], (offset - low)[:0:-1]])  # cv2 wants x before y
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def render(z: int) -> None:
        below, weight = divmod(matrix[0, 0] * z + offset[0], 1)
        pair = [(int(below) + i, w) for i, w in ((0, 1 - weight), (1, weight)) if w and 0 <= below + i < len(source)]
        if not pair:
            return
        (first, w), (second, v) = pair[0], pair[1] if len(pair) == 2 else (pair[0][0], 0.0)
        plane = cv2.addWeighted(source[first], w, source[second], v, 0, dtype=cv2.CV_32F)
        result[z] = cv2.warpAffine(plane, in_plane, shape[:0:-1], flags=flags)

    for_each(render, shape[0], threads)
    return result


def warp_blocks(
    voxels: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: geometry.Shape, *, threads: int = 1
) -> np.ndarray:
    """Return the result of `warp` for any map.

    The part of the tomogram that a small block of the result needs is laid out as one tall image, its slices one below
    the other. `cv2.remap` then interpolates in the two slices next to each voxel, which are blended.
    """
    result = np.zeros(shape, np.uint8)
    sides = np.minimum((16, 64, 64), shape)
    while np.prod(np.abs(matrix[:2]) @ sides + 2) > TALLEST:
        sides[np.argmax(sides)] //= 2

    starts = list(product(*(range(0, n, side) for n, side in zip(shape, sides, strict=True))))

    def render(k: int) -> None:
        start = starts[k]
        size = np.minimum(sides, np.subtract(shape, start))
        first = matrix @ start + offset
        low, high = _reach(matrix, first, size)
        if np.any(high <= 0) or np.any(low >= voxels.shape):
            return
        tall = geometry.cut(voxels, tuple(low), tuple(high - low)).astype(np.float32)
        z, y, x = (a.astype(np.float32) for a in np.ogrid[: size[0], : size[1], : size[2]])
        rows = np.column_stack([matrix, first - low]).astype(np.float32)
        z, y, x = (a * z + (b * y + (c * x + d)) for a, b, c, d in rows)
        below = np.floor(z)
        weight, y = z - below, y + below * tall.shape[1]
        x, y, weight = (np.reshape(a, (-1, size[2])) for a in (x, y, weight))
        image = tall.reshape(-1, tall.shape[2])
        one, two = (cv2.remap(image, x, y + step, cv2.INTER_LINEAR) for step in (0, np.float32(tall.shape[1])))
        block = one + weight * (two - one)
        result[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = block.reshape(size)

    for_each(render, len(starts), threads)
    return result


def _reach(matrix: np.ndarray, offset: np.ndarray, shape: geometry.Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return the first voxel needed for interpolation, and the one after the last; they may lie outside."""
    corners = np.array(list(product(*((0, n - 1) for n in shape)))) @ matrix.T + offset
    return np.floor(corners.min(axis=0)).astype(int), np.floor(corners.max(axis=0)).astype(int) + 2
