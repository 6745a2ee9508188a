"""Reading of volumes in all formats: MRC, TIFF, NumPy arrays, OME-Zarr and stacks of images."""

import os
import re
import warnings
from pathlib import Path

import numpy as np

from motors.volumes.axes import Stored, as_zyx
from motors.volumes.levels import spread, to_uint8
from motors.volumes.slices import PICTURES, read_slices
from motors.volumes.tomogram import Tomogram, TomogramWarning, check_memory, check_spacing, doubts
from motors.workspace.files import normalized, on_disk, visible

ZARR = (".zgroup", ".zattrs", ".zarray", "zarr.json")  # files that mark a folder as Zarr


def read(
    path: str | Path,
    *,
    spacing: float | None = None,
    name: str | None = None,
    axes: str | None = None,
    channel: int | None = None,
    time: int | None = None,
    image: int | None = None,
    invert: bool = False,
) -> Tomogram:
    """Return the tomogram in a file or folder of slices, with intensities scaled as by `to_uint8`.

    Parameters
    ----------
    path : folder with `slice_0000.jpg`, ..., PNG or TIFF images; `.mrc`, `.rec`, `.map`, `.st`, `.ali` or `.mrcs`,
        also with `.gz` or `.bz2`; `.tif`, `.tiff`, `.tf2`, `.tf8` or `.btf`; `.npy`; or OME-Zarr, its finest level
    spacing : ångström per voxel; overrides that of the file; the tomogram's is None if neither is given
    name : of the tomogram; by default the name of the file without its extension
    axes : names of the axes as stored in the file, such as "yzx" if each slice is a z-x plane; overrides those of the
        file. Positions found in the tomogram are then in the order z, y, x, not that of the file
    channel, time, image : zero-based index, for several channels, times, or images and volumes in one file
    invert : True if dense is bright: 255 becomes 0

    Raises FileNotFoundError if the path or slices are missing; ValueError if the file is damaged, incomplete, modified
    meanwhile or not a volume, if a channel, time or image must be chosen, if `spacing` is not a positive number, or if
    it is None and the file's is zero or differs between axes by over 1 %. Warns (`TomogramWarning`) if both spacings
    differ, the spacing is implausible, or z is not the thin axis.
    """
    path = _there(os.fsdecode(path))
    if spacing is not None:
        check_spacing((spacing,))
        spacing = float(spacing)
    if isinstance(invert, str):
        raise ValueError(f"invert is {invert!r}, a word: say True where dense is bright, or False")
    kind, before = _kind(path)[0], _state(path)
    own = None if "v" in str(axes or "").lower() else image  # selects one of several images, not along an axis
    try:
        stored = _stored(kind, path, own)
        left = image if own is None or stored.images == 1 else None
        voxels = _levels(as_zyx(stored, axes, channel=channel, time=time, image=left), stored, kind)
        if _state(path) != before:
            raise ValueError("it changed while it was read: wait until it is written, then read it again")
        if stored.spacing is not None:
            from motors.volumes.units import agreed

            spacing = agreed(spacing, stored.spacing, path)
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a tomogram: {error}") from error
    for sentence in _odd(kind, path, voxels) + doubts(voxels.shape, spacing, chosen=axes is not None):
        warnings.warn(f"{path.name}: {sentence}", TomogramWarning, stacklevel=2)
    return Tomogram(normalized(str(name or name_of(path))), 255 - voxels if invert else voxels, spacing)


def name_of(path: Path) -> str:
    """Return the name of the tomogram in a file or folder: the file name without extension, Unicode normalised."""
    _, name = _kind(path)
    return plain(normalized(name if name.strip(" .") else path.name)).strip()  # a file named .mrc


def plain(path: str | Path) -> str:
    """Return a path as one line of valid UTF-8: file names may have undecodable bytes or line breaks."""
    words = str(path).encode(errors="backslashreplace").decode()
    return re.sub(r"[\0-\x1f\x7f-\x9f\u2028\u2029]", "\ufffd", words)


def parts(path: Path) -> list[Path]:
    """Return the files that a tomogram is read from: chunks, slices, or a file and its companions."""
    if is_zarr(path := on_disk(path)):
        found = [each for each in path.rglob("*") if each.is_file()]
        return sorted({*visible(found), *(each for each in found if each.name in ZARR)})
    if path.is_dir():
        return sorted(each for each in visible(path.glob("*")) if each.suffix.lower() in PICTURES and each.is_file())
    from motors.volumes.kinds import TIFF

    if path.suffix.lower() not in TIFF:
        return [path]
    from motors.volumes.tiff import companions

    return [path, *companions(path)]


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a Zarr or N5, judging by its extension or the files in it."""
    return path.is_dir() and (
        path.name.lower().endswith((".zarr", ".n5")) or any((path / mark).exists() for mark in ZARR)
    )


def _there(path: str) -> Path:
    """Return the absolute path of a file or folder, so that "." has a name."""
    if not path:
        raise ValueError("the path of a tomogram is empty: give a file or a folder")
    found = on_disk(Path(os.path.abspath(os.path.expanduser(path))))
    if not found.exists():
        raise FileNotFoundError(f"{found} does not exist: check the path of the tomogram")
    if not (found.is_file() or found.is_dir()):
        raise ValueError(f"{found} is a pipe, socket or device, no file: give a file or a folder")
    return found


def _kind(path: Path) -> tuple[str, str]:
    """Return the key of the reader of a path ("slices", an extension or "") and the tomogram's name."""
    if path.is_dir() and not is_zarr(path):
        return "slices", path.name
    from motors.volumes.kinds import kind_of

    return kind_of(path)


def _state(path: Path) -> list[tuple]:
    """Return path, size and time of each file of a tomogram, which show changes."""
    return [(each, each.stat().st_size, each.stat().st_mtime_ns) for each in parts(path)]


def _stored(kind: str, path: Path, image: int | None) -> Stored:
    """Return the array read; imports are late as the Kaggle wheel has only the slice reader."""
    if kind == "slices":
        return Stored(read_slices(path), "zyx")
    from motors.volumes.kinds import reader

    return reader(kind)(path, image)


def _odd(kind: str, path: Path, voxels: np.ndarray) -> list[str]:
    """Return warnings about anything but JPEG slices, one sentence each."""
    if kind == "slices" and parts(path)[0].suffix.lower() in (".jpg", ".jpeg"):
        return []
    from motors.volumes.kinds import odd

    return odd(kind, voxels)


def _levels(voxels: np.ndarray, stored: Stored, kind: str) -> np.ndarray:
    if voxels.dtype == np.uint8:
        return voxels if kind == "slices" else spread(voxels)
    check_memory(voxels.size)
    return voxels.astype(np.uint8) if stored.grey else to_uint8(voxels)
