"""Conversion of a downloaded volume to JPEG slices, plane by plane: repair, scaling, resampling and a record."""

import glob
import hashlib
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from motors.volumes.levels import BRIGHTEST, DARKEST, percentiles, stretch
from motors.volumes.mrc import open_mrc
from motors.volumes.npy import read_npy
from motors.volumes.resampling import resampled_planes
from motors.volumes.slices import slice_paths, write_slice
from motors.volumes.tomogram import for_each
from motors.workspace import files
from motors.workspace.files import renamed, write_json

SPACING = 16.0  # ångström per stored voxel, as in the original solution; coarser tomograms keep theirs
METADATA = "metadata.json"  # beside the slices of a tomogram
RIM = 12  # levels averaged on each side of a seam
WRAPPED = 0.15  # `seam` above which unsigned bytes were taken as signed: at most 0.11 in 633 healthy training tomograms

# The tomograms mba2011-02-16-<number> that the original solution mended, found by their histograms and by eye.
MENDED = """
1 106 108 11 116 12 123 129 133 139 141 145 153 155 157 160 162 17 176 19 26 27 28 29 32 33 34 40 42 46 48 53 55 60 64
65 67 71 75 79 88 90 95
""".split()


class PlaneReader:
    """A volume in a plain `.npy` or `.mrc` file, read plane by plane, as a memory map would keep planes in memory.

    Raises ValueError if its size contradicts its header, or it is compressed or not a volume.
    """

    def __init__(self, path: Path) -> None:
        try:
            stored = open_mrc(path) if path.suffix == ".mrc" else read_npy(path)
        except ValueError as error:
            raise ValueError(f"{path} is not a volume: {error}") from error
        voxels, self.stated = stored.voxels, stored.spacing
        if stored.axes[-3:] != "zyx" or voxels.size != math.prod(voxels.shape[-3:]):
            raise ValueError(f"{path} has the axes {stored.axes}, it is no (z, y, x) volume: get it again")
        if not isinstance(voxels, np.memmap) or not voxels.flags.c_contiguous:
            raise ValueError(f"{path} is compressed, or its planes do not lie one after the other: write it again")
        self.path, self.offset, self.dtype, self.shape = path, voxels.offset, voxels.dtype, voxels.shape[-3:]
        self.wrapped = False  # whether unsigned bytes were taken as signed, to be undone

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, k: int) -> np.ndarray:
        _, height, width = self.shape
        begin = self.offset + int(k) * height * width * self.dtype.itemsize
        plane = np.fromfile(self.path, self.dtype, height * width, offset=begin).reshape(height, width)
        return plane.astype(np.int16).astype(np.uint8) if self.wrapped else plane

    def floats(self, k: int) -> np.ndarray:
        return self[k].astype(np.float32, copy=False)


def target_spacing(spacing: float) -> float:
    """Return the spacing at which a tomogram is stored, never finer than its own."""
    return max(float(spacing), SPACING)


def convert(
    source: Path, folder: Path, *, name: str, spacing: float, about: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Store a volume as `<folder>/<name>/slice_0000.jpg` and so on, with a record beside them, and return that record.

    `source` is a `.npy` or `.mrc` file of `(z, y, x)` numbers, `spacing` its ångström per voxel, `about` further
    entries of the record. The folder appears only when complete. Memory holds a few planes, never the volume. Raises
    ValueError if the volume has no contrast or non-finite voxels; FileExistsError if the tomogram exists.
    """
    if (folder / name).exists():
        raise FileExistsError(f"{folder / name} is there already: remove it, or give another folder")
    planes, target = PlaneReader(source), target_spacing(spacing)
    record = {"tomo_id": name, "mended": False, "ori_spacing": float(spacing), **_statistics(planes)}
    if record["detected_as_uint8_range"]:
        record |= _mend(planes, name)
    dark, bright = percentiles(planes, (DARKEST, BRIGHTEST))
    if dark == bright:
        raise ValueError(f"{source.name} has {dark:g} in nearly all voxels, so there is no contrast: leave {name} out")
    shape, interpolated = resampled_planes(
        lambda k: stretch(planes.floats(k), dark, bright), planes.shape, (spacing,) * 3, (target,) * 3
    )
    levels = {"dark": float(dark), "bright": float(bright), "percentiles": [DARKEST, BRIGHTEST]}
    record |= {"target_spacing": target, "target_shape": list(shape), "grey_levels": levels, **(about or {})}
    for leftover in folder.glob(f".*-{glob.escape(name)}"):  # of a killed process
        shutil.rmtree(leftover)
    with renamed(folder / name) as partial:
        partial.mkdir()
        for_each(lambda k: write_slice(partial, k, interpolated(k).astype(np.uint8)), shape[0])
        record |= {"ori_sha256": files.sha256(source), "slices": fingerprint(partial)}
        write_json(partial / METADATA, record)
    return record


def fingerprint(folder: Path, *, deep: bool = True) -> dict[str, Any]:
    """Return the number of slices in a folder, their bytes and, if `deep`, a SHA-256 over those of the slices."""
    paths = slice_paths(folder)
    found = {"count": len(paths), "bytes": sum(path.stat().st_size for path in paths)}
    if deep:
        found["sha256"] = hashlib.sha256("".join(map(files.sha256, paths)).encode()).hexdigest()
    return found


def seam(counts: np.ndarray) -> float:
    """Return the height of a histogram's ends relative to its peak, which reveals unsigned bytes taken as signed.

    `counts` are the voxels at each of 256 signed levels, -128 to 127. The result is the lower of both ends, divided by
    the peak, after smoothing: near 0 for a healthy volume. Unsigned bytes taken as signed have most voxels at both
    ends and a valley in the middle; without that valley it is 0.
    """
    smooth = np.convolve(counts, np.full(RIM, 1 / RIM), "valid")
    ends, valley = min(smooth[1], smooth[-2]), min(smooth[128 - RIM], smooth[128])  # the very ends may be clipped
    return float(ends / smooth.max()) if ends > 2 * valley else 0.0


def _statistics(planes: PlaneReader) -> dict[str, Any]:
    """Return shape, dtype, extremes, mean, spread and histogram of a volume, with the original solution's keys."""

    def measure(k: int) -> tuple[float, float, float, float, bool]:
        plane = planes.floats(k)
        sums = plane.sum(dtype=np.float64), np.square(plane, dtype=np.float64).sum()
        return plane.min(), plane.max(), *sums, (plane == np.rint(plane)).all()

    low, high, total, squares, whole = zip(*for_each(measure, len(planes)), strict=True)
    lowest, highest = float(np.min(low)), float(np.max(high))
    if not np.isfinite([lowest, highest]).all():
        raise ValueError(f"{planes.path.name} has voxels that are NaN or infinite: report it to the portal")
    counts, edges = np.zeros(256, np.int64), np.linspace(lowest, highest, 257)
    if highest > lowest:
        limits = (lowest, highest)
        counts = sum(for_each(lambda k: np.histogram(planes.floats(k), 256, limits)[0], len(planes)))
    mean, square = (sum(each) / math.prod(planes.shape) for each in (total, squares))
    return {
        "ori_shape": list(planes.shape),
        "ori_dtype": str(planes.dtype),
        "ori_histogram": counts.tolist(),
        "ori_histogram_bins": edges.tolist(),
        "ori_tomo_min": lowest,
        "ori_tomo_max": highest,
        "ori_tomo_mean": float(mean),
        "ori_tomo_std": float(np.sqrt(max(0.0, square - mean**2))),
        "detected_as_uint8_range": all(whole) and -128 <= lowest and highest <= 128,
    }


def _mend(planes: PlaneReader, name: str) -> dict[str, Any]:
    """Set `planes.wrapped` if unsigned bytes were taken as signed, and return the reasons."""

    def count(k: int) -> np.ndarray:
        return np.bincount(planes[k].astype(np.int16).clip(-128, 127).ravel() + 128, minlength=256)

    listed = name.rpartition("-")[0] == "mba2011-02-16" and name.rpartition("-")[2] in MENDED
    found = seam(sum(for_each(count, len(planes))))
    planes.wrapped = listed or found > WRAPPED
    return {"mended": planes.wrapped, "mended_by_the_original": listed, "seam": found}
