"""File formats of tomograms, the reader of each, and warnings about their content."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from motors.volumes.axes import Stored
from motors.volumes.levels import FEW

MRC = (".mrc", ".rec", ".map", ".st", ".mrcs", ".ali")
TIFF = (".tif", ".tiff", ".tf2", ".tf8", ".btf")  # the last three are BigTIFF
ENDINGS = (*(each + packed for each in MRC for packed in ("", ".gz", ".bz2")), ".npy", *TIFF, ".zarr")
GAP = 64  # unused levels next to black or white: real tomograms have at most 2, padded ones over 100


def kind_of(path: Path) -> tuple[str, str]:
    """Return the extension of a file or Zarr, "" if it has no reader, and the name of the tomogram."""
    if path.is_dir():
        found, outside = ".zarr", (each for each in (path, *path.parents) if each.name.lower().endswith(".zarr"))
        path = next(outside, path)
    else:
        found = next((ending for ending in ENDINGS[:-1] if path.name.lower().endswith(ending)), "")
    return found, re.sub(rf"(\.ome)?{re.escape(found or path.suffix)}\Z", "", path.name, flags=re.IGNORECASE)


def reader(kind: str) -> Callable[[Path, int | None], Stored]:
    """Return the reader of an extension in `ENDINGS`. Raises ValueError if there is none."""
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
    """Return warnings about the extension and `(z, y, x)` uint8 levels of a file, one sentence each."""
    called = "it is called as stacks of pictures are: make sure that it is a volume, no tilt series"
    left = f"which has {255 - (lost := unused(voxels))} of 256 intensities left"
    said = f"what is black or white in it is far from the rest, {left}: fill padding with the mean"
    return [called] * kind.startswith((".st", ".ali", ".mrcs")) + [said] * (lost > GAP)


def unused(voxels: np.ndarray) -> int:
    """Return the number of unused intensities between black or white and all other voxels of `(z, y, x)` uint8.

    At most 1 voxel in 1000 lies in this gap. A wide one means padding and few levels for the rest; 0 for counts, masks.
    """
    counts = sum(np.bincount(plane.ravel(), minlength=256) for plane in voxels[:: 1 + len(voxels) // 16])
    sides = [each for each in (counts, counts[::-1]) if each[0] > counts.sum() / 1000]
    gap = max((int(np.argmax(np.cumsum(each[1:]) > counts.sum() / 1000)) for each in sides), default=0)
    used = np.count_nonzero(counts)
    return gap if used >= FEW or (used > 2 and gap > 128) else 0
