"""Reading of OME-Zarr images from disk or another store: the finest level, axes and spacing."""

import json
import math
import re
import struct
import warnings
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path
from typing import Any

import numpy as np

from motors.geometry import Spacing
from motors.volumes.axes import Stored, which
from motors.volumes.tomogram import TomogramWarning, check_memory
from motors.volumes.units import in_angstrom, number, parsing

FOLLOWED = ("scale", "translation", "identity", "sequence")  # transformations without rotation
ORDERED = rb'("dtype"\s*:\s*")[<>](?=[iu]1")'  # byte order of a one-byte type: meaningless


def open_zarr(store: Any, image: int | None = None) -> Stored:
    """Return the finest level of an OME-Zarr image without loading its voxels from `store`.

    The spacing is None if the metadata have no scale with units of length, as before version 0.4. `store` may hold
    several images in the layout of bioformats2raw; `image` is the zero-based index of one. Raises ValueError if the
    metadata do not describe an image, or none of several is chosen.
    """
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("OME-Zarr is read with the library zarr: pip install 'motors[portal]'") from error
    with parsing(json.JSONDecodeError, UnicodeDecodeError):
        try:
            group = zarr.open(_lenient(store), mode="r", use_consolidated=False)  # it may be outdated
        except zarr.errors.GroupNotFoundError as error:
            raise ValueError("it is not a Zarr (convert N5), or lacks metadata: copy hidden files, too") from error
    if isinstance(group, zarr.Array):
        return _unnamed(group, store)
    attributes, names = _attributes(group), ()
    if "bioformats2raw.layout" in attributes and "multiscales" not in attributes:
        names = sorted((name for name in group.group_keys() if name.isdigit()), key=int)
        names = _attributes(group["OME"]).get("series", names) if "OME" in group else names
        if not names or (name := _one_of(names, image)) not in group:
            raise ValueError(f"it lacks its image{f' {name!r}' if names else 's'}: copy it again, with all its files")
        group = group[name]
        attributes, image = _attributes(group), None
    for key, what in (("plate", "a plate of many images"), ("image-label", "labels of an image, not the image")):
        if key in attributes:
            raise ValueError(f"it holds {what}: give the folder of one image")
    if "multiscales" not in attributes:
        raise ValueError("it lacks the attribute multiscales of OME-Zarr: give the folder of an image or of one array")
    images = [found] if isinstance(found := attributes["multiscales"], dict) else found  # some omit the list
    try:
        axes, path, spacing = _described(_one_of(images, image), group)
        array = group[path]
        shown = [each.get("inverted") for each in (attributes.get("omero") or {}).get("channels") or []]
    except (ArithmeticError, AttributeError, LookupError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"its metadata describe no OME-Zarr image ({error!r}): copy it again, or take MRC") from error
    if not isinstance(array, zarr.Array):
        raise ValueError(f"its finest level {path!r} is not an array: copy it again, or take MRC")
    if any(shown):
        what = f"{getattr(store, 'name', store)}: its metadata say that it is shown inverted"
        warnings.warn(f"{what}: invert it (invert=True, --invert) if dense is bright", TomogramWarning, stacklevel=5)
    return Stored(array, axes, spacing, images=max(len(names), len(images)))


def _lenient(store: Any) -> Any:
    """Return a store that, on disk, accepts a byte order of bytes such as >u1, as JZarr and Zarr.jl write it."""
    from zarr.storage import LocalStore, WrapperStore

    class Lenient(WrapperStore):
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            if (found := await super().get(key, prototype, byte_range)) is None or not key.endswith(".zarray"):
                return found
            return prototype.buffer.from_bytes(re.sub(ORDERED, rb"\1|", found.to_bytes()))

    return Lenient(LocalStore(store, read_only=True)) if isinstance(store, Path) else store


def read_zarr(path: Path, image: int | None = None) -> Stored:
    """Load an OME-Zarr image from disk into memory; missing chunks have the array's fill value.

    Raises ValueError as `open_zarr`, or if the image exceeds memory, a chunk is cut short, all chunks are missing, or
    a missing one borders on other values (see `_is_lost`). Warns about other missing chunks: they may be lost or empty.
    """
    stored = open_zarr(path, image)
    array, folder = stored.voxels, path / stored.voxels.path
    fill, whole = array.metadata.fill_value, array.shards or array.chunks  # voxels per file
    with parsing():
        places = list(np.ndindex(*(-(-side // edge) for side, edge in zip(array.shape, whole, strict=True))))
        missing = [place for place in places if not (folder / array.metadata.encode_chunk_key(place)).is_file()]
    if len(missing) == len(places) and any(map(_is_chunk, folder.rglob("*"))):
        what = "set dimension_separator to / if they lie in folders, to . if they do not"
        raise ValueError(f"its chunks are not called as its metadata say: {what}")
    what = f"{len(missing)} of its {len(places)} chunks are"
    lost = f"{what} missing: copy it again, with all its files, or write empty chunks, too"
    if len(missing) == len(places):
        raise ValueError(lost)
    _check_chunks(folder, array)
    check_memory(array.nbytes)
    with parsing(ValueError, LZMAError, SystemError):  # the last is from Blosc
        voxels = array[...]
    if any(_is_lost(voxels, fill, whole, place) for place in missing):
        raise ValueError(lost)
    if missing:
        said = f"{what} not there, taken as {fill}: copy it again if they were not left empty"
        warnings.warn(f"{path.name}: {said}", TomogramWarning, stacklevel=4)
    return stored._replace(voxels=voxels)


def _is_lost(voxels: np.ndarray, fill: Any, edges: tuple[int, ...], place: tuple[int, ...]) -> bool:
    """Return whether over half of the voxels beside a face of a missing chunk differ from the fill value."""
    spans, sides = [slice(k * edge, (k + 1) * edge) for k, edge in zip(place, edges, strict=True)], voxels.shape
    beside = [(axis, k) for axis, span in enumerate(spans) for k in (span.start - 1, span.stop) if 0 <= k < sides[axis]]
    faces = [voxels[(*spans[:axis], k, *spans[axis + 1 :])] for axis, k in beside]
    return any(2 * np.count_nonzero(face != fill) > face.size for face in faces)


def _unnamed(array: Any, store: Any) -> Stored:
    """Return an array without image metadata: its last axes are z, y, x, unless it names them otherwise."""
    notes = [each / name for each in getattr(store, "parents", ()) for name in (".zattrs", "zarr.json")]
    if any("multiscales" in each.read_text(encoding="utf-8") for each in notes if each.is_file()):
        raise ValueError("it is one level of an OME-Zarr image, without spacing and axes: give the folder above it")
    letters = _letters(array)
    known = set("zyx") <= set(letters) or letters and set(letters) <= set("tczyx")  # such as a time series
    return Stored(array, letters if known else ("?" * array.ndim + "zyx")[-array.ndim :])


def _letters(array: Any) -> str:
    """Return the first letters of the names of an array's axes, "" without names."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return "".join(str(name)[:1].lower() for name in names or ())


def _check_chunks(folder: Path, array: Any) -> None:
    """Raise ValueError if a chunk is empty, or shorter than Blosc states: decoding would read past its end."""
    packed = any("blosc" in type(each).__name__.lower() for each in array.compressors) and not array.shards
    for path in folder.rglob("*"):
        if _is_chunk(path):
            if not path.is_file():
                what = "is a pipe or device, no file, or a link to nothing: copy it again"
                raise ValueError(f"its chunk {path.relative_to(folder)} {what}")
            with path.open("rb") as file:
                start = file.read(16)
            if not start or packed and (len(start) < 16 or struct.unpack("<I", start[12:])[0] != path.stat().st_size):
                raise ValueError(f"its chunk {path.relative_to(folder)} is cut short: copy it again")


def _is_chunk(path: Path) -> bool:
    return bool(re.fullmatch(r"(c\.)?\d+(\.\d+)*", path.name)) and not path.is_dir()


def _attributes(group: Any) -> dict[str, Any]:
    """Return the metadata of a group, of version 0.5 or earlier."""
    found = dict(group.attrs)
    return found | found.get("ome", {}) if isinstance(found.get("ome", {}), dict) else found | {"multiscales": None}


def _one_of(images: list[Any], image: int | None) -> Any:
    """Return the chosen image, or the only one: `image` is then an index along its axis."""
    count = len(images)
    return images[which(image, count, "image", f"holds {count} images") if count > 1 else 0]


def _steps(about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the transformations of a level or an image one by one."""
    for step in about.get("coordinateTransformations") or []:
        yield from _steps({"coordinateTransformations": step.get("transformations")})  # of a sequence
        yield step


def _described(image: dict[str, Any], group: Any) -> tuple[str, str, Spacing | None]:
    """Return axes, path and spacing of the finest level in the metadata of an OME-Zarr image."""
    systems = image.get("coordinateSystems")  # since version 0.6, which has no other axes
    levels, strange = {}, False
    for level in image["datasets"]:
        steps = list(_steps(level)) + ([] if systems else list(_steps(image)))
        path = str(level["path"]).removeprefix("./")
        levels[path] = [step.get("scale") for step in steps if step.get("type") == "scale"]
        strange = strange or any(step.get("type") not in FOLLOWED for step in steps)
    if not levels:
        raise ValueError("its metadata list no level (datasets): copy it again, or take MRC")
    there = {path: group[path] for path in levels if path in group}
    sides = max((getattr(each, "ndim", 0) for each in there.values()), default=0)
    old = str(image.get("version")) in ("0.1", "0.2") or ("axes" not in image and not systems and sides == 5)
    axes = systems[0]["axes"] if systems and not strange else image.get("axes", ["?"] * sides)
    axes = list("tczyx") if old else axes  # the only ones then
    axes = [{"name": axis} if isinstance(axis, str) else axis for axis in axes]
    letters = [{"time": "t", "channel": "c"}.get(axis.get("type"), str(axis["name"]).lower()[:1]) for axis in axes]
    places = [letters.index(letter) for letter in "zyx" if letter in letters]
    for path, scales in levels.items():  # scales in a separate array are not read
        sound = scales and all(isinstance(each, list) and len(each) == len(axes) for each in scales)
        levels[path] = (
            np.abs(np.prod([list(map(number, each)) for each in scales], axis=0)) if sound and not strange else None
        )
    sizes = {path: getattr(each, "size", 0) for path, each in there.items()}  # a group has none
    if all(scale is not None and np.isfinite(scale).all() for scale in levels.values()):
        path = min(levels, key=lambda each: (float(np.prod(levels[each][places])), -sizes.get(each, math.inf)))
    else:
        path = max(levels, key=lambda each: sizes.get(each, math.inf))  # a missing one may be the finest
    if path not in sizes:
        raise ValueError(f"its level {path!r} is missing, or of another Zarr version: copy it again, with hidden files")
    if max(sizes.values()) > sizes[path]:
        raise ValueError(f"its level {path!r} has the finest scale but not the most voxels: correct its metadata")
    scale = levels[path]
    spacing = None if scale is None else in_angstrom([(scale[place], axes[place].get("unit")) for place in places])
    contradicted = sorted(named := _letters(there[path])) == sorted(letters) and list(named) != letters
    return "?" * len(letters) if contradicted else "".join(letters), path, spacing
