"""What a tomogram is, and how its planes are worked on side by side."""

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
THREADS = 8  # at most, as the original solution read slices; numpy and OpenCV let others run while they work
THICKEST = 10_000.0  # ångström: through thicker ice hardly an electron comes
WIDEST = 100_000.0  # ångström: wider than any detector at the magnification of tomograms
FLAT = 1.5  # times longer than another axis that z may be: ice is thin along z


class TomogramWarning(UserWarning):
    """Something about a tomogram that may be meant, but is worth a look."""


@dataclass(frozen=True, eq=False)
class Tomogram:
    """One reconstructed volume: its name, its `(z, y, x)` uint8 voxels, and ångström per voxel along every axis.

    The voxels may be a read-only memory map; the spacing is None if nobody knows. Raises ValueError unless voxels are
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
    """Raise ValueError unless these are `(z, y, x)` intensities."""
    if voxels.ndim != 3 or 0 in voxels.shape or voxels.dtype != np.uint8:
        raise ValueError(f"voxels are {voxels.shape} {voxels.dtype}, not (z, y, x) uint8: convert them with to_uint8")


def check_spacing(spacing: tuple[float, ...]) -> None:
    """Raise ValueError unless all these are numbers, and lengths."""
    shown = spacing[0] if len(spacing) == 1 else spacing
    plain = [length.item() if getattr(length, "ndim", 1) == 0 else length for length in spacing]  # of headers, too
    if not all(isinstance(length, Real) and not isinstance(length, bool) for length in plain):
        raise ValueError(f"spacing is {shown!r}, not a number: give ångström per voxel, such as 13.1")
    if not all(math.isfinite(length) and length > 0 for length in spacing):
        raise ValueError(f"spacing {shown} is not above zero throughout: give ångström per voxel")


def check_memory(size: int) -> None:
    """Raise ValueError if `size` bytes are more than this machine or container has left, where Linux says how much."""
    if size > (left := memory_left()):
        raise ValueError(f"it takes {size / 2**30:.1f} GiB of memory, {left / 2**30:.1f} are left: bin it first")


def doubts(shape: Shape, spacing: float | None, *, chosen: bool = False) -> list[str]:
    """Return what is odd about a tomogram of this `(z, y, x)` shape and spacing in ångström, a sentence each.

    The shape if z is not the thinnest axis, unless somebody has `chosen` which axis is z; the spacing if a motor has no
    room, or ice could not be so thick.
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
    """Return what `work` returns for 0, 1, ..., `count` - 1, by default from a thread for each core.

    More than cores only help where a disk is waited for. The first exception comes out again.
    """
    np.empty(KEPT, np.uint8)  # freed at once: glibc then keeps what planes free, as new pages cost much of decoding
    if (threads := min(threads or cores(), THREADS)) == 1:
        return list(map(work, range(count)))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(count)))


def by_plane(
    plane: Callable[[int], np.ndarray], shape: Shape, dtype: type = np.uint8, threads: int | None = None
) -> np.ndarray:
    """Return an array of `shape` whose plane `k` is `plane(k)`, made in threads as by `for_each`."""
    made = np.empty(shape, dtype)

    def make(k: int) -> None:
        made[k] = plane(k)

    for_each(make, len(made), threads)
    return made
