"""Smooth fields over a whole volume, kept on a coarse grid and interpolated plane by plane."""

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy import ndimage

from motors import geometry
from motors.geometry import Shape

COARSE = 52.0  # ångström between the points of a grid: distances to membranes and thick objects vary slowly


@dataclass(frozen=True)
class CoarseGrid:
    """Points a few voxels apart in a volume of `(z, y, x)` `shape`, in voxels of `spacing` ångström."""

    shape: Shape
    spacing: float

    @cached_property
    def stride(self) -> int:
        """Voxels from one point to the next."""
        return max(1, int(COARSE / self.spacing))

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates z, y and x of the points in ångström from the centre of the first voxel, to be broadcast."""
        sides = [math.ceil(side / self.stride) for side in self.shape]
        places = (geometry.cell_to_voxel(np.arange(side)[:, None], self.stride)[:, 0] * self.spacing for side in sides)
        return np.ix_(*(place.astype(np.float32) for place in places))

    @cached_property
    def voxels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates of the voxels, like `axes`."""
        return np.ix_(*(np.arange(side, dtype=np.float32) * np.float32(self.spacing) for side in self.shape))

    @cached_property
    def size(self) -> np.ndarray:
        """Sides of the volume zyx, in ångström."""
        return np.array(self.shape) * self.spacing

    def smooth(self, rng: np.random.Generator, scale: float) -> np.ndarray:
        """Return random values, one per point, of standard deviation one, smooth over `scale` ångström."""
        sides = tuple(axis.size for axis in self.axes)
        width = scale / (self.stride * self.spacing)
        step = max(1, int(width / 2))  # wide hills are drawn on an even coarser grid
        small = rng.standard_normal([side // step + 3 for side in sides], dtype=np.float32)
        small = ndimage.gaussian_filter(small, width / step, mode="wrap")
        small = (small - small.mean()) / small.std()
        return np.stack([_stretched(small, k / step, sides[1:], step) for k in range(sides[0])])


class Field:
    """One smooth field: float32 values at the points of a grid."""

    def __init__(self, grid: CoarseGrid, values: np.ndarray) -> None:
        whole = np.broadcast_to(values, [axis.size for axis in grid.axes])
        self.grid, self.values = grid, np.ascontiguousarray(whole, dtype=np.float32)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the values at `(n, 3)` points zyx, in ångström; outside the volume those of its border."""
        cells = geometry.voxel_to_cell(np.asarray(points) / self.grid.spacing, self.grid.stride)
        return ndimage.map_coordinates(self.values, cells.T, order=1, mode="nearest")

    def gradient(self, point: np.ndarray) -> np.ndarray:
        """Return the direction of steepest ascent at one point zyx, `(3,)` of length one, or zeros."""
        reach = np.eye(3) * COARSE
        slope = self.at(point + reach) - self.at(point - reach)
        return slope / (np.linalg.norm(slope) or 1.0)

    def plane(self, z: int) -> np.ndarray:
        """Return the `(y, x)` float32 values of one plane of the volume, at full resolution."""
        cell = geometry.voxel_to_cell(float(z), self.grid.stride)[0]
        return _stretched(self.values, cell, self.grid.shape[1:], self.grid.stride)


def _stretched(values: np.ndarray, z: float, shape: tuple[int, int], stride: int) -> np.ndarray:
    """Return the plane at `z` between the planes of `values`, upsampled by `stride` and cropped to `shape`."""
    z = min(max(float(z), 0.0), len(values) - 1.0)
    low = min(int(z), max(len(values) - 2, 0))
    high = min(low + 1, len(values) - 1)
    plane = cv2.addWeighted(values[low], low + 1 - z, values[high], z - low, 0.0)
    wide = cv2.resize(plane, (plane.shape[1] * stride, plane.shape[0] * stride), interpolation=cv2.INTER_LINEAR)
    return wide[: shape[0], : shape[1]]


def box(axes: tuple, centre: np.ndarray, reach: float) -> tuple[tuple[slice, ...], tuple[np.ndarray, ...], np.ndarray]:
    """Return the part of `axes` within `reach` of `centre`, and the offsets and distances of its points."""
    cut, offsets = [], []
    for axis, place in zip(axes, centre, strict=True):
        low, high = np.searchsorted(axis.ravel(), [place - reach, place + reach])
        cut.append(slice(low, high))
        offsets.append(axis.ravel()[low:high] - np.float32(place))
    z, y, x = np.ix_(*offsets)
    return tuple(cut), (z, y, x), np.sqrt(z**2 + y**2 + x**2)
