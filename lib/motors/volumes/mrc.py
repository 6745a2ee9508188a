"""Reading and writing of MRC files."""

import bz2
import gzip
import math
import warnings
import zlib
from pathlib import Path

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from motors.volumes.axes import Stored
from motors.volumes.tomogram import TomogramWarning, check_memory, check_spacing
from motors.workspace.files import renamed

HEADER = 1024  # bytes
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
OTHERS = {3: "complex numbers", 4: "complex numbers", 16: "colours", 101: "two voxels a byte", 1000: "packed numbers"}
IMOD_STAMP = 1_146_047_817  # "IMOD" in the header: the next number holds flags about bytes
SIGNED, PACKED = 1, 16  # flags: bytes are signed; each byte holds two voxels
STACKS = range(401, 631)  # space groups that mean a stack of volumes
LABEL = b"motors: grey levels 0 to 255"  # marks uint8 that we stored as 16 bits
ALIKE = 1.1  # least ratio by which neighbours differ more under the wrong sign: where bytes wrap, they jump by 255


def write_mrc(path: str | Path, voxels: np.ndarray, spacing: float) -> Path:
    """Write `(z, y, x)` voxels and their spacing in ångström per voxel as an MRC file and return its path.

    The format has no unsigned bytes: uint8 is stored as 16 bits with a label, from which `read` restores uint8.
    """
    check_spacing((spacing,))
    path = Path(path)
    with renamed(path) as partial, mrcfile.new(partial) as file:
        file.set_data(voxels)
        file.voxel_size = spacing
        if voxels.dtype == np.uint8:
            file.add_label(LABEL.decode())
    return path


def open_mrc(path: Path, image: int | None = None) -> Stored:
    """Return the content of an MRC file, on disk unless compressed; `image` is ignored, as there is always one.

    Raises ValueError if it is not an MRC file, its size contradicts its header, or its voxel type or axes are unknown.
    """
    with path.open("rb") as file:
        start = file.read(HEADER)
    pack = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}.get(start[:2])
    data = _unpacked(path, pack) if pack else b""
    header, order = _header((data or start)[:HEADER])
    dtype, offset, shape = _layout(header, order, len(data) or path.stat().st_size)
    stored = np.frombuffer(data, dtype, offset=offset) if data else np.memmap(path, dtype, "r", offset)
    voxels = stored.reshape(shape)
    if dtype.kind in "iu":
        voxels = voxels.view(dtype.str.replace(dtype.kind, "u" if _unsigned(path, voxels, header) else "i"))
    if int(header["ispg"]) in (0, *STACKS) and int(header["mz"]) == 1 and len(voxels) > 1:
        _say(path, "its header calls it a stack of pictures, such as a tilt series, no volume")
    angles = header["cellb"].tolist()
    if any(angles) and max(abs(angle - 90) for angle in angles) > 1:
        _say(path, f"its axes meet at {', '.join(f'{angle:g}' for angle in angles)} degrees, taken as right angles")
    last = next((text for text in reversed(header["label"].tolist()) if text.strip()), b"")  # others add theirs
    ours = dtype.kind == "u" and last.startswith(LABEL)
    cell, steps = header["cella"], [int(header[name]) for name in ("mz", "my", "mx")]
    spacing = [float(cell[axis]) / step if step > 0 else 0.0 for axis, step in zip("zyx", steps, strict=True)]
    axes = ("v" if len(shape) == 4 else "") + _axes(header)
    return Stored(voxels, axes, tuple(spacing), ours and voxels.max() <= 255)


def _header(start: bytes) -> tuple[np.void, str]:
    """Return the header of a file and its byte order: in the wrong one, small numbers are huge."""
    found = []
    for order in "<>":
        if len(start) == HEADER:
            header = np.frombuffer(start, HEADER_DTYPE.newbyteorder(order))[0]
            sides, mode = [int(header[name]) for name in ("nx", "ny", "nz")], int(header["mode"])
            if all(0 < side < 1 << 20 for side in sides) and 0 <= mode < 1 << 16 and header["nsymbt"] >= 0:
                found.append((header, order))
    if not found:
        raise ValueError("it is not an MRC file, or damaged: copy it again, or give it the ending that it should have")
    return min(found, key=lambda each: int(each[0]["nx"]))


def _layout(header: np.void, order: str, size: int) -> tuple[np.dtype, int, tuple[int, ...]]:
    """Return dtype, offset and shape of the voxels in a file of `size` bytes."""
    mode, depth, each = int(header["mode"]), int(header["nz"]), int(header["mz"])
    mode = 101 if mode == 0 and (_flags(header) or 0) & PACKED else mode
    if mode not in MODES:
        what = f"{int(header['mode'])} holds {OTHERS.get(min(mode, 1000), 'something unknown')}"  # from 1000: MRCZ
        raise ValueError(f"its mode {what}, not real numbers: convert it to mode 2, or to 1")
    dtype, offset = np.dtype(order + MODES[mode]), HEADER + int(header["nsymbt"])
    shape = (depth, int(header["ny"]), int(header["nx"]))
    expected = offset + math.prod(shape) * dtype.itemsize
    if size != expected:
        where = "cut short, or its header is wrong" if size < expected else "its slices or extended header are more"
        raise ValueError(f"it has {size} bytes, its header says {expected}: {where}; write it again")
    if int(header["ispg"]) in STACKS and each != 1:  # volumes of one section are images
        if each <= 0 or depth % each:
            raise ValueError(f"its header speaks of volumes of {each} sections, it has {depth}: write it again")
        shape = (depth // each, each, *shape[1:])
    return dtype, offset, shape


def _axes(header: np.void) -> str:
    """Return the axes of sections, rows and columns from the header, such as "zyx"."""
    order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if not any(order):  # older files lack these numbers
        return "zyx"
    if sorted(order) != [1, 2, 3]:
        raise ValueError(f"the axis order maps, mapr, mapc in its header is {order}: write it with 3, 2, 1")
    return "".join(" xyz"[number] for number in order)


def _flags(header: np.void) -> int | None:
    stamp, flags = np.frombuffer(header["extra2"].tobytes(), header["nx"].dtype)[10:12]
    return int(flags) if stamp == IMOD_STAMP else None


def _unsigned(path: Path, voxels: np.ndarray, header: np.void) -> bool:
    """Return whether integers are unsigned, by IMOD's flags, the range in the header, the mode or neighbours."""
    low, high, by_mode = float(header["dmin"]), float(header["dmax"]), voxels.dtype.kind == "u"
    planes = voxels.reshape(-1, *voxels.shape[-2:])
    planes, largest = planes[:: max(1, len(planes) // 16)], 2 ** (8 * voxels.itemsize - 1) - 1
    kinds = [voxels.dtype.str.replace("u", "i"), voxels.dtype.str.replace("i", "u")]
    own, slack = planes.view(kinds[low >= 0]), (high - low) / 8 + 1  # some programs take it from a few voxels
    told = -largest - 2 < low < high < 2 * largest + 2  # a possible range, and one that fits these voxels
    told = told and low - slack <= own.min() and own.max() <= high + slack
    if voxels.dtype == np.int8 and (flags := _flags(header)) is not None:
        unsigned = not flags & SIGNED
        if told and (low < 0 if unsigned else high > largest):
            _say(path, f"its stamp of IMOD and its range {low:g} to {high:g} contradict each other about signs")
        return unsigned
    signed, without = (np.abs(np.diff(planes.view(kind).astype(np.int32), axis=-1)).mean() for kind in kinds)
    unsigned, doubtful = bool(without < signed), max(signed, without) <= ALIKE * min(signed, without)
    if told and (low < 0 or high > largest):
        if doubtful or unsigned == (low >= 0):
            return low >= 0
        _say(path, f"its range {low:g} to {high:g} and its voxels contradict each other about signs")
        return by_mode if voxels.itemsize > 1 else low >= 0
    if by_mode or told and voxels.itemsize > 1 or voxels.min() >= 0:
        return by_mode
    if voxels.itemsize > 1 and (doubtful or not unsigned):  # as their mode states
        return False
    if doubtful:
        raise ValueError("its header does not say whether its numbers have a sign: write it as 16 bits, mode 1 or 6")
    _say(path, f"its header does not say whether its numbers have a sign: taken as {'un' * unsigned}signed")
    return unsigned


def _say(path: Path, sentence: str) -> None:
    warnings.warn(f"{path.name}: {sentence}: check it by eye", TomogramWarning, stacklevel=6)


def _unpacked(path: Path, opened) -> bytes:
    """Return the content of a compressed file, after checking by its header that memory suffices."""
    try:
        with opened(path) as file:
            start = file.read(HEADER)
            header, order = _header(start)
            sides = [int(header[name]) for name in ("nx", "ny", "nz")]
            check_memory(math.prod(sides) * np.dtype(MODES.get(int(header["mode"]), "i1")).itemsize)
            return start + file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"it is damaged ({error}): copy it again") from error
