"""Reading of volumes in TIFF files, with the axes, grey levels and spacing that the file states."""

import math
import struct
import warnings
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from PIL import Image

from motors.volumes.axes import Stored, which
from motors.volumes.slices import END_OF_JPEG, ORIENTATION
from motors.volumes.tomogram import TomogramWarning, check_memory
from motors.volumes.units import in_angstrom, parsing

PHOTOMETRIC = 262  # the tag of the photometric interpretation; without it, viewers take zero as black
WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE = 0, 1, 3  # of grey levels
COLOURS = (2, 6)  # RGB, YCbCr
LINE, NO_FUNCTION = 0, 20  # ImageJ's functions for calibrating values
OME_TYPES = {"float": "f4", "double": "f8"} | {kind: kind for kind in "int8 uint8 int16 uint16 int32 uint32".split()}
FORMATS, JPEG = tifffile.TIFF.DATA_FORMATS, 7  # struct codes of tag values; a compression
ALPHA = (1, 2)  # extra samples that are transparency
FORMS = {42: "HI", 43: "QQ"}  # TIFF and BigTIFF: struct codes of entry counts and offsets


def read_tiff(path: Path, image: int | None = None) -> Stored:
    """Return the volume of a TIFF file: a plain stack, or one with metadata of ImageJ, OME or tifffile.

    The voxels stay on disk if uncompressed and contiguous. `image` is the zero-based index of one of several. Raises
    ValueError if pages or parts of them are missing, none of several images is chosen, or they are in colour.
    """
    _check_chain(path)
    with parsing(tifffile.TiffFileError):
        file = tifffile.TiffFile(path)
        shapes = {(each.kind, each.shape, math.prod(each.shape[:-2])) for each in file.series}
        if len(file.series) > 1 and shapes == {("shaped", file.series[0].shape, 1)}:  # one volume, page by page
            file.close()
            file = tifffile.TiffFile(path, is_shaped=False)
    with file, parsing(tifffile.TiffFileError):  # pages are read lazily
        series = [each for each in file.series if not each.keyframe.is_reduced] or list(file.series)
        ome, imagej = file.ome_metadata, file.imagej_metadata or {}
        if not ome and "<OME " in (file.pages.first.description or ""):
            raise ValueError("its OME metadata are cut short: copy it again, or write it without them")
        plain = [each for each in series if each.kind == "generic"]
        pages = sorted((page.index, k) for k, each in enumerate(plain) for page in each.pages)
        begins = [number for (number, k), (_, before) in zip(pages[1:], pages, strict=False) if k != before]
        if len(begins) >= max(len(plain), 1):  # interleaved pages of several stacks
            raise ValueError(f"its page {begins[0]} is of another size or kind than the rest: save all in one way")
        shapes = ", ".join(str(each.shape) for each in series[:4])
        image = image if len(series) > 1 else None  # of a single image, it is an index along an axis
        chosen = series[number := which(image, len(series), "image", f"holds {len(series)} images ({shapes})")]
        own = {p.index for each in file.series for level in each.levels for p in level.pages if p and p.parent is file}
        if len(own) < len(file.pages):
            raise ValueError(f"its metadata fit {len(own)} of its {len(file.pages)} pages: write it again")
        _check_parts(chosen, imagej)
        pixels = _pixels(ome, number, len(series)) if ome else {}
        falls = _falls(path, imagej)
        voxels, axes = _grey(_typed(_voxels(path, chosen), pixels.get("Type")), chosen.keyframe, chosen.axes, falls)
        sizes = [(pixels.get(f"PhysicalSize{x}"), pixels.get(f"PhysicalSize{x}Unit", "µm")) for x in "ZYX"]
        spacing = in_angstrom(sizes if ome else _sizes(file, imagej))
        return Stored(voxels, axes.lower(), spacing, images=len(series))


def read_page(path: Path) -> np.ndarray:
    """Return the only `(y, x)` image in a TIFF file. Raises ValueError if there are more, or as `read_tiff`."""
    try:
        stored = read_tiff(path)
        if stored.axes != "yx":
            raise ValueError(f"its axes are {stored.axes}, shape {stored.voxels.shape}: read it alone")
        return np.asarray(stored.voxels, stored.voxels.dtype.newbyteorder("="))
    except ValueError as error:
        raise ValueError(f"{path} is not a slice: {error}") from error


def is_page(path: Path) -> bool:
    """Return whether a TIFF file holds a single 2D image."""
    try:
        with parsing(tifffile.TiffFileError), tifffile.TiffFile(path) as file:
            own = "BinaryOnly" not in (file.ome_metadata or "")  # else another file describes it
            return own and [each.axes.replace("S", "") for each in file.series] == ["YX"]
    except (ValueError, OSError):  # reported when it is read
        return False


def companions(path: Path) -> list[Path]:
    """Return the other, existing files that the OME metadata of a TIFF file name for some of its planes."""
    try:
        with parsing(tifffile.TiffFileError), tifffile.TiffFile(path) as file:
            planes = ElementTree.fromstring(file.ome_metadata or "<OME/>").findall(".//{*}UUID")
    except (ValueError, OSError):  # reported when it is read
        return []
    found = {path.parent / name for each in planes if (name := each.get("FileName"))}
    return sorted(each for each in found if each != path and each.is_file())


def _check_chain(path: Path) -> None:
    """Raise ValueError if a file is not a TIFF, or pages or tag values lie beyond its end, which tifffile ignores."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(start[:2])
        version = struct.unpack(f"{order}H", start[2:4])[0] if order and len(start) == 16 else 0
        if version not in FORMS:
            raise ValueError("it is not a TIFF file: copy it again, or give it the ending that it should have")
        count, link = FORMS[version]
        entry = order + "HH" + 2 * link
        position, pages = struct.unpack_from(order + link, start, 4 if version == 42 else 8)[0], set()
        while position:
            file.seek(position)
            head = file.read(struct.calcsize(count))
            many = struct.unpack(order + count, head)[0] if len(head) == struct.calcsize(count) else size
            follows = position + len(head) + many * struct.calcsize(entry)
            if position in pages or follows + struct.calcsize(link) > size:
                raise ValueError(f"it breaks off after {len(pages)} pages, it is cut short: copy it again")
            entries = struct.iter_unpack(entry, file.read(follows - file.tell()))
            sizes = [(n * struct.calcsize(f"<{FORMATS.get(kind, '')}"), place) for _, kind, n, place in entries]
            if any(place + length > size for length, place in sizes if length > struct.calcsize(link)):
                raise ValueError(f"what its page {len(pages)} says lies behind its end, it is cut short: copy it again")
            pages.add(position)
            position = struct.unpack(order + link, file.read(struct.calcsize(link)))[0]


def _check_parts(series: tifffile.TiffPageSeries, imagej: dict[str, Any]) -> None:
    """Raise ValueError if planes of a series differ, or planes or pieces are missing, which would be read as zeros."""
    planes = list(series.pages)
    lost = sum(page is None for page in planes)
    if lost:
        raise ValueError(f"{lost} of its {len(planes)} planes are missing: copy all files that belong to it")
    said = str(imagej.get("axes", "X,Y")).split(",")  # by SCIFIO
    if len(series.axes.rstrip("YXS")) > 1 and said != sorted(said, key=lambda axis: "XYCZT".find(axis.strip()[:1])):
        raise ValueError(f"its planes are in the order {','.join(said)}, not channels, z, times: save it as OME-TIFF")
    first, left = series.keyframe, 0
    here = len(planes) if len(planes) > 1 else series.size // first.size  # behind ImageJ's one page
    if imagej and series.dataoffset is not None and len(first.parent.pages) == 1:  # other planes follow it
        left = first.parent.filehandle.size - series.dataoffset - series.nbytes
    if imagej.get("images", here) != here:
        there = here + max(left, 0) // first.nbytes
        raise ValueError(f"it says that it has {imagej['images']} planes, {there} are there: copy it again")
    handles = [each for each in {page.parent.filehandle for page in planes} if each.closed]  # of its other files
    for handle in handles:
        handle.open()
    pages = [page.aspage() for page in planes]
    for handle in handles:
        handle.close()
    if turn := next((each for page in pages if (each := page.tags.valueof(ORIENTATION, 1)) != 1), None):
        raise ValueError(f"it says that it is to be turned (orientation {turn}): save it as it is")
    if strange := next((page.index for page in pages if page.hash != first.hash), None):
        raise ValueError(f"its page {strange} is of another kind than the first: save all in one way")
    if first.photometric == PALETTE and any(not np.array_equal(page.colormap, first.colormap) for page in pages):
        raise ValueError("its pages have palettes of their own: save it in grey levels")
    if series.dataoffset is not None:
        ends, sizes = [series.dataoffset + series.nbytes], [1]
    else:
        ends = chain.from_iterable(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)) for page in planes)
        sizes = chain.from_iterable((*page.databytecounts, *page.dataoffsets) for page in planes)
    if left > 0 and left % first.nbytes == 0:
        raise ValueError(f"it says that it has {here} planes, {left // first.nbytes} more are there: write it again")
    if max(ends) > planes[0].parent.filehandle.size and not series.is_multifile:
        raise ValueError("it is shorter than its pages need: copy it again")
    loose = first.compression != 1 or first.is_tiled or sum(first.databytecounts) < first.nbytes
    most = math.prod(first.chunked) if loose else 1  # all of a page may lie in one strip
    if min(sizes) == 0 or any(len(page.dataoffsets) < most for page in planes):
        raise ValueError("pieces of its pages are missing: copy it again, or write it without leaving any out")


def _voxels(path: Path, series: tifffile.TiffPageSeries) -> np.ndarray:
    """Return the voxels of a series, as a memory map if possible."""
    if series.dataoffset is not None and not series.is_multifile:
        order = series.keyframe.parent.byteorder
        return np.memmap(path, series.dtype.newbyteorder(order), "r", series.dataoffset, series.shape)
    check_memory(series.nbytes)
    for page in series.pages if series.keyframe.compression == JPEG and not series.is_multifile else ():
        for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
            page.parent.filehandle.seek(start + size - 4)
            if END_OF_JPEG not in page.parent.filehandle.read(4):  # decoders fill the rest with grey
                raise ValueError("it lacks the end of a picture: copy it again")
    try:
        return series.asarray()
    except ValueError as error:
        if "COMPRESSION" in str(error) and "imagecodecs" not in str(error):
            raise ValueError(f"its compression cannot be read ({error}): write it without one, or as LZW") from error
        if "imagecodecs" not in str(error):
            raise ValueError(f"it is damaged, or a file that belongs to it ({error}): copy it again") from error
        return _by_pillow(path, series, str(error))


def _by_pillow(path: Path, series: tifffile.TiffPageSeries, reason: str) -> np.ndarray:
    """Return a compressed series, decoded by Pillow, which torchvision requires; `reason` is why tifffile failed.

    Pillow inverts white-is-zero itself, and loses signs and the byte order of floats: those raise ValueError.
    """
    page, planes = series.keyframe, []
    floats = (series.dtype, page.parent.byteorder, page.predictor) == ("f4", "<", 1)
    if page.photometric == WHITE_IS_ZERO or not (floats or series.dtype in ("u1", "u2")):
        raise ValueError(f"{reason}: pip install imagecodecs")
    with Image.open(path) as file:
        for number in [page.index for page in series.pages]:
            file.seek(number)
            planes.append(np.asarray(file))
    voxels = np.asarray(planes)
    if voxels.size != math.prod(series.shape) or voxels.dtype != series.dtype:
        raise ValueError(f"{reason}: pip install imagecodecs")
    return voxels.reshape(series.shape)


def _falls(path: Path, imagej: dict[str, Any]) -> bool:
    """Return whether ImageJ calibrates values by a line of negative slope: higher ones mean less."""
    if any(np.all(np.asarray(table)[:, 0] > np.asarray(table)[:, -1]) for table in imagej.get("LUTs", [])):
        what = "its metadata show a channel inverted: invert it (invert=True, --invert) if dense is bright"
        warnings.warn(f"{path.name}: {what}", TomogramWarning, stacklevel=5)
    if (function := imagej.get("cf", NO_FUNCTION)) not in (LINE, NO_FUNCTION):
        raise ValueError(f"ImageJ calibrates its numbers by a curve (cf={function}): save it as 32 bits, calibrated")
    return function == LINE and imagej.get("c1", 1) < 0


def _grey(voxels: np.ndarray, page: tifffile.TiffPage, axes: str, falls: bool = False) -> tuple[np.ndarray, str]:
    """Return the values of a file as grey levels, brighter ones higher, and the remaining axes."""
    kind = int(page.tags.valueof(PHOTOMETRIC, BLACK_IS_ZERO))
    if kind in COLOURS and "S" in axes:
        levels = voxels.take(range(3), axes.index("S"))
        if (levels == levels.take([0], axes.index("S"))).all():  # grey levels saved in colour
            return levels.take(0, axes.index("S")), axes.replace("S", "")
    if kind in (WHITE_IS_ZERO, BLACK_IS_ZERO) and "S" in axes and page.extrasamples:
        if len(page.extrasamples) == page.samplesperpixel - 1 and set(map(int, page.extrasamples)) <= set(ALPHA):
            voxels, axes = voxels.take(0, axes.index("S")), axes.replace("S", "")
    if PHOTOMETRIC not in page.tags:
        what = "does not say whether zero is black, which is taken for granted"
        warnings.warn(f"{page.parent.filename}: it {what}: check it by eye", TomogramWarning, stacklevel=4)
    if kind == WHITE_IS_ZERO or (falls and kind == BLACK_IS_ZERO):  # both say that low numbers are bright
        voxels = -voxels if voxels.dtype.kind == "f" else np.invert(voxels)
    elif kind == PALETTE:
        levels = np.asarray(page.colormap)
        if not (levels == levels[0]).all():
            raise ValueError("it has a palette of colours: save it in grey levels")
        voxels = (levels[0] >> (8 if levels.max() > 255 else 0)).astype(np.uint8)[voxels]  # some have 8 bits
    elif kind != BLACK_IS_ZERO:
        raise ValueError(f"it is a colour picture ({page.photometric.name}): save it in grey levels")
    return voxels, axes


def _typed(voxels: np.ndarray, stated: str | None) -> np.ndarray:
    """Return integers viewed as the type stated by OME metadata, which may differ from the tags in its sign only."""
    wanted = np.dtype(OME_TYPES.get(stated, voxels.dtype.newbyteorder("=")))
    if wanted == voxels.dtype.newbyteorder("="):
        return voxels
    if wanted.kind not in "iu" or voxels.dtype.kind not in "iu" or wanted.itemsize != voxels.dtype.itemsize:
        raise ValueError(f"its OME metadata say {stated}, its pages hold {voxels.dtype}: write it again")
    return voxels.view(wanted.newbyteorder(voxels.dtype.byteorder))


def _pixels(metadata: str, number: int, images: int) -> dict[str, str]:
    with parsing():
        root = ElementTree.fromstring(metadata)
    found = root.findall(".//{*}Pixels")
    if (elsewhere := root.find(".//{*}BinaryOnly")) is not None:
        place = elsewhere.get("MetadataFile")
        raise ValueError(f"what it is stands in {place}, which is not read: save all of it as one TIFF file")
    if len(found) != images:
        raise ValueError(f"its OME metadata describe {len(found)} images, {images} are in it: give the file with all")
    return dict(found[number].attrib)


def _sizes(file: tifffile.TiffFile, imagej: dict[str, Any]) -> list[tuple[Any, str | None]]:
    """Return the sizes of a voxel along z, y, x with their unit, as ImageJ states them."""
    fractions = [tag.value for axis in "YX" if (tag := file.pages[0].tags.get(f"{axis}Resolution"))]
    sizes = [imagej.get("spacing"), *(below / above if above else None for above, below in fractions)]
    units = [imagej.get(name, imagej.get("unit")) for name in ("zunit", "yunit", "unit")]
    return [(size or None, unit) for size, unit in zip(sizes, units, strict=False)]
