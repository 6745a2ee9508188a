"""Spacings, cells, tiles of a volume, and the sixteen symmetries of a tomogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

Shape = tuple[int, int, int]  # z, y, x
Spacing = tuple[float, float, float]  # ångström per voxel along z, y, x
PerAxis = float | tuple[float, float, float]  # one number for all axes, or one for each of z, y, x
MOTOR_WIDTH = 450.0  # ångström, of the C ring with its surroundings: no tomogram is smaller
MATCH_RADIUS = 1000.0  # ångström: a candidate this close to a motor has found it (rule of the competition)


def per_axis(value: PerAxis) -> tuple:
    """Return `value` as three numbers for z, y, x. Raises ValueError if it is neither one number nor three."""
    values = tuple(np.asarray(value).tolist()) if np.ndim(value) else (value,) * 3
    if len(values) != 3:
        raise ValueError(f"{value!r} has {len(values)} entries: give one number for all axes, or three for z, y, x")
    return values


def resampled_shape(shape: Shape, spacing: PerAxis, target: PerAxis) -> Shape:
    """Return the `(z, y, x)` shape that a volume of `shape` voxels has after resampling from `spacing` to `target`.

    `floor(side * spacing / target)` along each axis, as in the original solution, at least 1; ångström per voxel.
    """
    ratios = (s / t for s, t in zip(per_axis(spacing), per_axis(target), strict=True))
    return tuple(max(1, math.floor(side * ratio)) for side, ratio in zip(shape, ratios, strict=True))


def voxel_between(points_zyx: np.ndarray, spacing: PerAxis, target: PerAxis) -> np.ndarray:
    """Return `(..., 3)` points in voxels of `spacing` as float64 in voxels of `target`, both ångström per voxel.

    Integers are voxel centres. Both volumes begin at the same corner: half a voxel is added, then subtracted.
    """
    ratio = np.divide(per_axis(spacing), per_axis(target))
    return (np.asarray(points_zyx, dtype=np.float64) + 0.5) * ratio - 0.5


def outside(points_zyx: np.ndarray, shape: np.ndarray | Shape) -> np.ndarray:
    """Return which `(..., 3)` points lie outside `shape`, one or per point: voxel `i` spans `i - 0.5` to `i + 0.5`."""
    return ((points_zyx < -0.5) | (points_zyx > np.subtract(shape, 0.5))).any(axis=-1)


def cell_to_voxel(cells: np.ndarray, stride: PerAxis) -> np.ndarray:
    """Return `(..., 3)` positions in cells of `stride` voxels as voxels, float64; integers are centres of both."""
    return (np.asarray(cells, dtype=np.float64) + 0.5) * np.array(per_axis(stride)) - 0.5


def voxel_to_cell(points_zyx: np.ndarray, stride: PerAxis) -> np.ndarray:
    """Return points in voxels as positions in cells of `stride` voxels: the inverse of `cell_to_voxel`."""
    return (np.asarray(points_zyx, dtype=np.float64) + 0.5) / np.array(per_axis(stride)) - 0.5


def tiles(
    shape: Shape, patch: Shape, *, border: PerAxis = 0, overlap: PerAxis = 0, start: PerAxis = 0, align: PerAxis = 1
) -> np.ndarray:
    """Return the positions of patches that together cover a volume.

    They are `(n, 3)` int64 first voxels of patches, which may lie outside the volume, ordered by z, then y, then x.
    Patches follow each other from `start`; the last one is flush with the end. With `align=1` the positions are
    those of the original solution: a side shorter than the patch gets one patch that begins before the volume.

    Parameters
    ----------
    shape : `(z, y, x)` of the volume, in voxels
    patch : `(z, y, x)` of a patch, in voxels
    border : rim of a patch that does not count as covered, in voxels; a fraction below one is a share of the patch
    overlap : voxels that neighbours share, at least the border; a fraction below one is a share of the patch
    start : first voxel to cover
    align : every patch begins at a multiple of this many voxels, so that the last may reach past the end

    Raises ValueError if the border exceeds the overlap (gaps), or patches cannot advance.
    """
    axes = zip(shape, patch, *map(per_axis, (border, overlap, start, align)), strict=True)
    return np.array(list(product(*(_starts(*axis) for axis in axes))), dtype=np.int64)


def _starts(side: int, patch: int, border: float, overlap: float, start: int, align: int) -> list[int]:
    """Return the first voxels of the patches along one axis."""
    border, overlap = (round(v * patch) if 0 < v < 1 else int(v) for v in (border, overlap))
    if border > overlap:
        raise ValueError(f"border {border} exceeds overlap {overlap}: patches would leave gaps, so overlap them more")
    step = (patch - border - overlap) // align * align
    if step <= 0:
        what = f"border {border}, overlap {overlap} and alignment {align}"
        raise ValueError(f"patches of {patch} voxels with {what} cannot advance: make them larger")
    first = math.floor((start - border) / align) * align
    last = math.ceil((side - patch + border) / align) * align
    return [*range(first, last, step), last]


def cut(voxels: Any, start: Shape, patch: Shape) -> Any:
    """Return a copy of `patch` voxels of a `(z, y, x)` array or tensor from `start` on, zero outside of it."""
    new = np.zeros if isinstance(voxels, np.ndarray) else voxels.new_zeros
    result = new(tuple(patch), dtype=voxels.dtype)
    inside = [(max(s, 0), min(s + p, n)) for s, p, n in zip(start, patch, voxels.shape, strict=True)]
    if all(low < high for low, high in inside):
        into = tuple(slice(low - s, high - s) for (low, high), s in zip(inside, start, strict=True))
        result[into] = voxels[tuple(slice(low, high) for low, high in inside)]
    return result


@dataclass(frozen=True, order=True)
class Symmetry:
    """One symmetry of a volume: optionally a `quarter_turn` of y towards x, as by `rot90`, then `flips` of z, y, x.

    A symmetry that does not flip z changes only the last two axes: these eight are those of 2D networks.
    """

    quarter_turn: bool = False
    flips: tuple[bool, bool, bool] = (False, False, False)

    @property
    def name(self) -> str:
        """Name in the original solution: `zyx`, `zxy` after a quarter turn, then the flipped axes, as in `zxy_xz`."""
        letters = "".join(axis for axis, flip in zip("xyz", reversed(self.flips), strict=True) if flip)
        return ("zxy" if self.quarter_turn else "zyx") + (letters and f"_{letters}")

    @property
    def in_plane(self) -> bool:
        """True if z is not flipped."""
        return not self.flips[0]

    @classmethod
    def from_name(cls, name: str) -> Symmetry:
        """Return the symmetry called `name`, in 2D without z, such as `xy_x`; raises ValueError if unknown."""
        found = _BY_NAME.get(name) or _BY_NAME.get(f"z{name}")
        if found is None:
            raise ValueError(f"no symmetry is called {name!r}: choose one of {', '.join(_BY_NAME)}")
        return found

    def apply(self, array: Any) -> Any:
        """Return `array`, numpy or torch with axes `(..., z, y, x)` or `(..., y, x)`, turned and mirrored."""
        axes = tuple(axis for axis, flip in zip((-3, -2, -1), self.flips, strict=True) if flip)
        if isinstance(array, np.ndarray):
            turned = np.rot90(array, 1, (-2, -1)) if self.quarter_turn else array
            return np.ascontiguousarray(np.flip(turned, axes))
        turned = array.rot90(1, (-2, -1)) if self.quarter_turn else array
        return turned.flip(axes) if axes else turned

    def invert(self, array: Any) -> Any:
        """Return `array` with `apply` undone."""
        return self.inverse.apply(array)

    @property
    def inverse(self) -> Symmetry:
        """The symmetry that undoes this one."""
        z, y, x = self.flips
        return Symmetry(True, (z, not x, not y)) if self.quarter_turn else self

    def moved_shape(self, shape: Shape) -> Shape:
        """Return the shape that a volume of `shape` has after `apply`."""
        z, y, x = shape
        return (z, x, y) if self.quarter_turn else (z, y, x)

    def move_points(self, points_zyx: np.ndarray, shape: Shape) -> np.ndarray:
        """Return `(..., 3)` points of a volume of `shape` after `apply`, float64; integers are voxel centres."""
        z, y, x = np.moveaxis(np.asarray(points_zyx, dtype=np.float64), -1, 0)
        if self.quarter_turn:
            y, x = shape[2] - 1 - x, y
        sides = self.moved_shape(shape)
        moved = (n - 1 - p if flip else p for p, n, flip in zip((z, y, x), sides, self.flips, strict=True))
        return np.stack(list(moved), axis=-1)


SYMMETRIES = tuple(Symmetry(turn, flips[::-1]) for turn in (False, True) for flips in product((False, True), repeat=3))
SYMMETRIES_2D = tuple(symmetry for symmetry in SYMMETRIES if symmetry.in_plane)
_BY_NAME = {symmetry.name: symmetry for symmetry in SYMMETRIES}
