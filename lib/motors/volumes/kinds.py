"""Kinds of files that tomograms come in, what reads each, and what in them is worth a look."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from motors.volumes.axes import Stored
from motors.volumes.levels import FEW

MRC = (".mrc", ".rec", ".map", ".st", ".mrcs", ".ali")
TIFF = (".tif", ".tiff", ".tf2", ".tf8", ".btf")  # the last three of BigTIFF
ENDINGS = (*(each + packed for each in MRC for packed in ("", ".gz", ".bz2")), ".npy", *TIFF, ".zarr")
GAP = 64  # levels that are not used beside black or white: real tomograms have 2 at most, padded ones over 100


def kind_of(path: Path) -> tuple[str, str]:
    """Return the ending of a file or a Zarr, "" if nothing reads it, and what to call the tomogram in it."""
    if path.is_dir():
        found, outside = ".zarr", (each for each in (path, *path.parents) if each.name.lower().endswith(".zarr"))
        path = next(outside, path)
    else:
        found = next((ending for ending in ENDINGS[:-1] if path.name.lower().endswith(ending)), "")
    return found, re.sub(rf"(\.ome)?{re.escape(found or path.suffix)}\Z", "", path.name, flags=re.IGNORECASE)


def reader(kind: str) -> Callable[[Path, int | None], Stored]:
    """Return what reads an ending of `ENDINGS`. Raises ValueError if nothing does."""
    if kind == ".npy":
        from motors.volumes.npy import read_npy as found
    elif kind == ".zarr":
        from motors.volumes.ome_zarr import read_zarr as found
    elif kind in TIFF:
        from motors.volumes.tiff import read_tiff as found
    elif kind:
        from motors.volumes.mrc import open_mrc as found
    else:
        what = "unpack an archive (an OME-Zarr is a folder), give the folder of slices"
        raise ValueError(f"it is of an unknown kind: {what}, or convert it to one of {' '.join(ENDINGS)}")
    return found


def odd(kind: str, voxels: np.ndarray) -> list[str]:
    """Return what the ending and `(z, y, x)` uint8 levels of a file say that is worth a look, a sentence each."""
    called = "it is called as stacks of pictures are: make sure that it is a volume, no tilt series"
    left = f"which has {255 - (lost := unused(voxels))} of 256 intensities left"
    said = f"what is black or white in it is far from the rest, {left}: fill padding with the mean"
    return [called] * kind.startswith((".st", ".ali", ".mrcs")) + [said] * (lost > GAP)


def unused(voxels: np.ndarray) -> int:
    """Return how many intensities between the black or white voxels of `(z, y, x)` uint8 and all others are not used.

    By over one voxel in 1000, that is: padding far from the rest leaves it few. It is 0 of counts and masks.
    """
    counts = sum(np.bincount(plane.ravel(), minlength=256) for plane in voxels[:: 1 + len(voxels) // 16])
    sides = [each for each in (counts, counts[::-1]) if each[0] > counts.sum() / 1000]
    gap = max((int(np.argmax(np.cumsum(each[1:]) > counts.sum() / 1000)) for each in sides), default=0)
    used = np.count_nonzero(counts)
    return gap if used >= FEW or (used > 2 and gap > 128) else 0
