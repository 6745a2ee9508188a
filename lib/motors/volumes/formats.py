"""Volumes as other programs store them: MRC, TIFF, numpy arrays and OME-Zarr, with the spacing they state."""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mrcfile
import numpy as np
import tifffile

from motors.geometry import Spacing
from motors.volumes.levels import to_uint8
from motors.volumes.slices import read_slices
from motors.volumes.tomogram import Tomogram, check_spacing
from motors.workspace.files import renamed

ANGSTROM = {"angstrom": 1, "ångström": 1, "å": 1, "a": 1, "\\u00c5": 1, "nm": 10, "nanometer": 10, "nanometre": 10}
ANGSTROM |= dict.fromkeys(("μm", "um", "\\u00b5m", "micron", "micrometer", "micrometre"), 10_000)
IMOD_STAMP = 1_146_047_817  # "IMOD" in the header: the number after it says whether bytes have a sign

# What the readers below raise, beside ValueError and OSError, where bytes of a file have changed.
DAMAGE = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError)
DAMAGE += (struct.error, zlib.error, tokenize.TokenError, ElementTree.ParseError)


def read(path: str | Path, *, spacing: float | None = None, name: str | None = None) -> Tomogram:
    """Return the tomogram in a file or in a folder of slices.

    Parameters
    ----------
    path : folder with `slice_0000.jpg`, `slice_0001.jpg`, ...; `.mrc`, `.rec` or `.map`, also with `.gz` or `.bz2`;
        `.tif` or `.tiff`; `.npy`; or an OME-Zarr folder `.zarr`, of which the finest level is taken
    spacing : ångström per voxel; goes before what the file states, with a warning where the two differ by over 1 %
    name : what to call the tomogram; by default the name of the file without its ending

    Returns
    -------
    Its voxels as `to_uint8` gives them, its spacing, or None as spacing where neither file nor caller states it

    Raises
    ------
    FileNotFoundError
        If nothing is there, or slices are missing.
    ValueError
        If the file is damaged or no volume, or the only spacing known is zero or differs between axes by over 1 %.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: check the path of the tomogram")
    ending = next((ending for ending in _READERS if path.name.lower().endswith(ending)), "")
    if path.is_dir() and ending != ".zarr":
        return Tomogram(name or path.name, read_slices(path), spacing)
    if not ending:
        raise ValueError(f"{path} is of an unknown kind: give a folder of JPEG slices or one of {' '.join(_READERS)}")
    try:
        voxels, stated = _READERS[ending](path)
        if spacing is None and stated is not None:
            spacing = _common(stated)
        elif stated is not None and min(stated) > 0 and not np.allclose(stated, spacing, rtol=0.01):
            warnings.warn(
                f"{path} states {stated} Å along z, y, x, but {spacing} Å was given and is used", stacklevel=2
            )
        return Tomogram(name or path.name[: -len(ending)], to_uint8(voxels), spacing)
    except DAMAGE as error:
        raise ValueError(f"{path} cannot be read as a tomogram, it is damaged ({error!r}): copy it again") from error
    except (ValueError, OSError, tifffile.TiffFileError) as error:
        raise ValueError(f"{path} cannot be read as a tomogram: {error}") from error


def write_mrc(path: str | Path, voxels: np.ndarray, spacing: float) -> Path:
    """Write `(z, y, x)` voxels and their spacing in ångström as an MRC file and return its path.

    The format has no unsigned bytes: uint8 takes 16 bits in the file, and `read` gives uint8 back.
    """
    check_spacing((spacing,))
    path = Path(path)
    with renamed(path) as partial:
        mrcfile.write(partial, voxels, voxel_size=spacing)
    return path


def _common(spacing: Spacing) -> float:
    """Return the one spacing that a file states, to the digits that single precision holds."""
    if not all(math.isfinite(length) and length > 0 for length in spacing):
        raise ValueError(f"it states a spacing of {spacing} Å along z, y, x: give the true one as spacing=")
    if max(spacing) > 1.01 * min(spacing):
        raise ValueError(f"it states spacings of {spacing} Å along z, y, x, which differ: give one as spacing=")
    return round(sum(spacing) / 3, 4)


def _in_angstrom(sizes: list[tuple[Any, str | None]]) -> Spacing | None:
    """Return sizes along z, y, x, each with its unit, as a spacing; None unless all are known."""
    if len(sizes) != 3 or any(size is None or (unit or "").casefold() not in ANGSTROM for size, unit in sizes):
        return None
    return tuple(float(size) * ANGSTROM[unit.casefold()] for size, unit in sizes)


def open_mrc(path: Path) -> tuple[np.ndarray, Spacing]:
    """Return the voxels, on disk unless compressed, and the spacing of the header."""
    with path.open("rb") as file:
        start = file.read(1024)
    packed = start[:2] in (b"\x1f\x8b", b"BZ")
    extension = min(int.from_bytes(start[92:96], order) for order in ("little", "big"))  # bytes after the header
    if not packed and extension > path.stat().st_size:  # mrcfile would set that memory aside
        raise ValueError("it is no MRC file, or damaged: copy it again")
    with (mrcfile.open if packed else mrcfile.mmap)(path, permissive=True) as file:
        voxels, header = file.data, file.header
        if voxels is None:
            raise ValueError("it is shorter than its header says, or no MRC file: copy it again")
        stamp, flags = np.frombuffer(header.extra2.tobytes(), header.nx.dtype)[10:12]
        unsigned = voxels.dtype == np.int8 and stamp == IMOD_STAMP and not flags & 1
        return voxels.view(np.uint8) if unsigned else voxels, tuple(float(file.voxel_size[axis]) for axis in "zyx")


def _read_tiff(path: Path) -> tuple[np.ndarray, Spacing | None]:
    """Return the voxels, on disk unless compressed, and the spacing that ImageJ or OME metadata state."""
    with tifffile.TiffFile(path) as file:
        voxels = file.series[0].asarray() if file.series[0].dataoffset is None else tifffile.memmap(path, mode="r")
        if file.ome_metadata:
            pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
            names = [] if pixels is None else [f"PhysicalSize{axis}" for axis in "ZYX"]
            return voxels, _in_angstrom([(pixels.get(name), pixels.get(f"{name}Unit", "µm")) for name in names])
        imagej, tags = file.imagej_metadata or {}, file.pages[0].tags
        per_unit = [tags[axis].value for axis in ("YResolution", "XResolution") if axis in tags]  # fractions
        sizes = [imagej.get("spacing"), *(below / above if above else None for above, below in per_unit)]
        return voxels, _in_angstrom([(size, imagej.get("unit")) for size in sizes])


def _read_npy(path: Path) -> tuple[np.ndarray, None]:
    """Return the voxels, on disk; the format states no spacing."""
    return np.lib.format.open_memmap(path, "r"), None


def open_zarr(store: Any) -> tuple[Any, Spacing | None]:
    """Return the finest level of an OME-Zarr image, still on disk or wherever `store` has it, and its spacing.

    The spacing is None where the metadata have no scale with units of length, as before version 0.4.

    Raises
    ------
    ValueError
        If the metadata do not describe an image.
    """
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("OME-Zarr is read with the library zarr: pip install 'motors[portal]'") from error
    try:
        group = zarr.open_group(store, mode="r")
        attributes = group.attrs.get("ome", group.attrs)  # version 0.5, or one before
        if "multiscales" not in attributes:
            raise ValueError("it lacks the attribute multiscales of OME-Zarr: give the folder of the image")
        path, spacing = _finest(attributes["multiscales"][0])
        array = group[path]
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"its metadata describe no OME-Zarr image ({error!r}): copy it again, or take MRC") from error
    if not isinstance(array, zarr.Array):
        raise ValueError(f"its finest level {path!r} is no array: copy it again, or take MRC")
    return array, spacing


def _finest(image: dict[str, Any]) -> tuple[str, Spacing | None]:
    """Return path and spacing of the finest level that the metadata of an OME-Zarr image list."""
    level = image["datasets"][0]
    steps = [step for about in (level, image) for step in about.get("coordinateTransformations", [])]
    scales = [step["scale"] for step in steps if step["type"] == "scale"]
    if not scales:
        return level["path"], None
    units = [None if isinstance(axis, str) else axis.get("unit") for axis in image["axes"]]  # version 0.3 has names
    return level["path"], _in_angstrom(list(zip(np.prod(scales, axis=0), units, strict=True))[-3:])


def _read_zarr(path: Path) -> tuple[np.ndarray, Spacing | None]:
    """Return the finest level of an OME-Zarr image, in memory, and its spacing."""
    array, spacing = open_zarr(path)
    voxels = array[...]
    while voxels.ndim > 3 and len(voxels) == 1:  # the only time, the only channel
        voxels = voxels[0]
    return voxels, spacing


_READERS = {ending + packed: open_mrc for ending in (".mrc", ".rec", ".map") for packed in ("", ".gz", ".bz2")}
_READERS |= {".tif": _read_tiff, ".tiff": _read_tiff, ".npy": _read_npy, ".zarr": _read_zarr}
