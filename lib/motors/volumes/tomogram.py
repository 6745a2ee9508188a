"""The class `Tomogram`, its checks, and threads over planes."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from motors.geometry import MOTOR_WIDTH, Shape
from motors.workspace.files import cores, memory_left

KEPT = 1 << 23  # bytes, more than most planes of float32 have
THREADS = 8  # at most, as the original solution read slices; NumPy and OpenCV release the GIL
THICKEST = 10_000.0  # ångström: hardly any electrons pass thicker ice
WIDEST = 100_000.0  # ångström: wider than any detector at the magnification of tomograms
FLAT = 1.5  # from this many times another axis, z is doubted: ice is thin along z


class TomogramWarning(UserWarning):
    """A property of a tomogram that may be intended, but should be checked."""


@dataclass(frozen=True, eq=False)
class Tomogram:
    """One reconstructed volume: its name, its `(z, y, x)` uint8 voxels, and ångström per voxel along every axis.

    The voxels may be a read-only memory map; the spacing is None if unknown. Raises ValueError unless voxels are
    3D uint8 and the spacing is positive.
    """

    name: str
    voxels: np.ndarray
    spacing: float | None = None

    def __post_init__(self) -> None:
        check_voxels(self.voxels)
        if self.spacing is not None:
            check_spacing((self.spacing,))

    def __repr__(self) -> str:
        return f"Tomogram({self.name!r}, voxels {self.voxels.shape}, spacing={self.spacing})"


def check_voxels(voxels: np.ndarray) -> None:
    """Raise ValueError unless these are `(z, y, x)` uint8 intensities."""
    if voxels.ndim != 3 or 0 in voxels.shape or voxels.dtype != np.uint8:
        raise ValueError(f"voxels are {voxels.shape} {voxels.dtype}, not (z, y, x) uint8: convert them with to_uint8")


def check_spacing(spacing: tuple[float, ...]) -> None:
    """Raise ValueError unless all these are finite numbers above zero."""
    shown = spacing[0] if len(spacing) == 1 else spacing
    plain = [length.item() if getattr(length, "ndim", 1) == 0 else length for length in spacing]  # NumPy's, too
    if not all(isinstance(length, Real) and not isinstance(length, bool) for length in plain):
        raise ValueError(f"spacing is {shown!r}, not a number: give ångström per voxel, such as 13.1")
    if not all(math.isfinite(length) and length > 0 for length in spacing):
        raise ValueError(f"spacing {shown} is not above zero throughout: give ångström per voxel")


def check_memory(size: int) -> None:
    """Raise ValueError if `size` bytes exceed the memory left to this machine or container, as known on Linux."""
    if size > (left := memory_left()):
        raise ValueError(f"it takes {size / 2**30:.1f} GiB of memory, {left / 2**30:.1f} are left: bin it first")


def doubts(shape: Shape, spacing: float | None, *, chosen: bool = False) -> list[str]:
    """Return warnings about the `(z, y, x)` shape and the spacing in ångström of a tomogram, one sentence each.

    The shape is doubted if z is not the thinnest axis, unless the axes were `chosen`; the spacing if the tomogram would
    be too small for a motor, or too large.
    """
    found, (z, y, x) = [], shape
    if z >= FLAT * min(y, x) and not chosen:
        thin = "y" if y <= x else "x"
        order = "yzx" if thin == "y" else "yxz"
        found.append(f"its thin axis is {thin}, not z, in {shape}: say axes='{order}' if {thin} is the depth")
    if spacing is not None and (
        min(shape) * spacing < MOTOR_WIDTH or z * spacing > THICKEST or max(y, x) * spacing > WIDEST
    ):
        sides = " x ".join(f"{side * spacing / 10:.4g}" for side in shape)
        why = "a motor alone is 45" if min(shape) * spacing < MOTOR_WIDTH else "no ice is that thick"
        found.append(f"at a spacing of {spacing:g} Å it measures {sides} nm, {why}: give the true one as spacing=")
    return found


def for_each(work: Callable[[int], Any], count: int, threads: int | None = None) -> list[Any]:
    """Return what `work` returns for 0, 1, ..., `count` - 1, by default with one thread per core.

    More threads than cores help only with disk access. The first exception is raised again.
    """
    np.empty(KEPT, np.uint8)  # freed at once: glibc then keeps freed planes for reuse, as new pages slow decoding
    if (threads := min(threads or cores(), THREADS)) == 1:
        return list(map(work, range(count)))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(count)))


def by_plane(
    plane: Callable[[int], np.ndarray], shape: Shape, dtype: type = np.uint8, threads: int | None = None
) -> np.ndarray:
    """Return an array of `shape` whose plane `k` is `plane(k)`, computed in threads by `for_each`."""
    made = np.empty(shape, dtype)

    def make(k: int) -> None:
        made[k] = plane(k)

    for_each(make, len(made), threads)
    return made
