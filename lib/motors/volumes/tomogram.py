"""What a tomogram is, and how its planes are worked on side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

THREADS = 8  # as the original solution read slices; numpy and OpenCV let other threads run while they work


@dataclass(frozen=True, eq=False)
class Tomogram:
    """One reconstructed volume with its spacing.

    Parameters
    ----------
    name : what tables call it
    voxels : `(z, y, x)` uint8; may be a read-only memory map
    spacing : ångström per voxel along every axis; None if nobody knows

    Raises
    ------
    ValueError
        If the voxels or the spacing are something else.
    """

    name: str
    voxels: np.ndarray
    spacing: float | None = None

    def __post_init__(self) -> None:
        check_voxels(self.voxels)
        if self.spacing is not None:
            check_spacing((self.spacing,))


def check_voxels(voxels: np.ndarray) -> None:
    """Raise ValueError unless these are `(z, y, x)` grey levels."""
    if voxels.ndim != 3 or 0 in voxels.shape or voxels.dtype != np.uint8:
        raise ValueError(f"voxels are {voxels.shape} {voxels.dtype}, not (z, y, x) uint8: convert them with to_uint8")


def check_spacing(spacing: tuple[float, ...]) -> None:
    """Raise ValueError unless all these numbers are lengths."""
    if not all(math.isfinite(length) and length > 0 for length in spacing):
        raise ValueError(f"spacing {spacing} is not above zero throughout: give ångström per voxel")


def for_each(work: Callable[[int], Any], count: int) -> None:
    """Call `work` with 0, 1, ..., `count` - 1 in threads; the first exception comes out again."""
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(work, range(count)):
            pass
