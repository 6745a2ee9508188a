"""Stacks of images, one per slice: JPEG, as in the competition, PNG or TIFF."""

import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from motors.geometry import Shape
from motors.volumes.levels import spread, to_uint8
from motors.volumes.tomogram import THREADS, by_plane, check_memory, check_voxels, for_each
from motors.workspace.files import on_disk, renamed, visible

END_OF_JPEG = b"\xff\xd9"  # never occurs inside the compressed image
HEAD = 1 << 17  # bytes of a JPEG within which EXIF begins, at most after a colour profile
QUALITY = 95  # of JPEG
PNG = b"\x89PNG\r\n\x1a\n"
GREY = {"L": np.uint8, "I;16": np.uint16, "I;16B": np.uint16}  # Pillow's modes of greyscale images
COLOURS = ("RGB", "RGBA", "LA", "P")  # modes also used for grey levels
ORIENTATION = 0x0112  # the tag of EXIF and TIFF for the rotation of an image
HALVES = (".part", ".partial", ".filepart", ".crdownload", ".download")  # unfinished: Firefox, WinSCP, Chrome, Safari
PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".webp")


def slice_paths(folder: str | Path) -> list[Path]:
    """Return the paths of a tomogram's slices in order, `slice_0000.jpg` first; hidden files are ignored.

    Other names than the competition's may have any text around the slice number, from 0 or 1, padded or not: the last
    number that differs between files, with equal text before and after it. Raises FileNotFoundError if there are no
    slices, numbers are missing, or a file is still being copied.
    """
    folder = on_disk(Path(folder))
    files = visible(folder.glob("*"))
    if half := next((path for path in files if path.suffix in HALVES and not path.with_suffix("").exists()), None):
        raise FileNotFoundError(f"{half} was not copied to its end: copy it again, or remove it")
    paths = [path for path in files if path.suffix.lower() in PICTURES]
    if not paths:
        raise FileNotFoundError(f"{folder} holds no JPEG slices: give the folder that has slice_0000.jpg, or a file")
    forms = [rf"(.*?)(\d+)((?:\D+\d+){{{k}}}\D*?)((?:\.ome)?\.\w+)" for k in range(9)]  # k numbers follow it
    found = [{path: re.fullmatch(form, path.name) for path in sorted(paths)} for form in forms]
    differ = (each for each in found if all(each.values()) and len({part[2] for part in each.values()}) > 1)
    parts = next(differ, found[0])
    if stranger := next((path for path, part in parts.items() if not part), None):
        raise FileNotFoundError(f"{stranger} has no number, as slices have: rename it, or move it away")
    known: dict[int, Path] = {}
    first = min(parts, key=lambda path: int(parts[path][2]))
    before, digits, after, ending = parts[first].groups()
    for path, part in parts.items():
        same, alike = known.setdefault(int(part[2]), path), part.group(1, 3) == (before, after)
        if not alike or same != path:
            what = f"has the number of {same.name}" if alike else f"is called otherwise than {first.name}"
            raise FileNotFoundError(f"{path} {what}: only slices of one tomogram, and each once, belong in a folder")
    ours = (before, len(digits), after + ending.lower()) == ("slice_", 4, ".jpg")
    begin = 0 if ours else min(*known, 1)

    def name(k: int) -> str:
        return f"{before}{k:0{len(digits)}d}{after}{ending}"

    if lost := [k for k in range(begin, begin + len(known)) if k not in known]:
        kind = "JPEG" if ending == ".jpg" else "picture"
        what = f"{folder / name(lost[0])} is missing among {len(paths)} {kind} files"
        what += f", which are {name(begin)}, {name(begin + 1)}, ...: copy it again"
        raise FileNotFoundError(what + f", or number them from {begin} on if they are all" * (begin not in known))
    return [known[k] for k in sorted(known)]


def stack_shape(folder: str | Path) -> Shape:
    """Return the `(z, y, x)` shape of a folder of slices; only the first is opened. Raises as `read_slices`."""
    paths = slice_paths(folder)
    return (len(paths), *_read_slice(paths[0]).shape)


def read_slices(folder: str | Path) -> np.ndarray:
    """Return the `(z, y, x)` uint8 voxels of a folder of slices; PNG and TIFF are stretched like other files.

    Changed bytes inside a JPEG and the early end of a progressive one are not detected. Raises FileNotFoundError if
    slices are missing, as `slice_paths`; ValueError if a slice is cut short, in colour, in another format than its
    extension, to be rotated, or of another size or type than the first.
    """
    paths = slice_paths(folder)
    first = _read_slice(paths[0])
    check_memory(len(paths) * first.nbytes)

    def decode(k: int) -> np.ndarray:
        picture = _read_slice(paths[k])
        for what, its, other in (("size", picture.shape, first.shape), ("type", picture.dtype, first.dtype)):
            if its != other:
                raise ValueError(f"{paths[k]} is {its}, but {paths[0].name} is {other}: all need one {what}")
        return picture

    voxels = by_plane(decode, (len(paths), *first.shape), first.dtype, THREADS)
    drawn = first.dtype == np.uint8 and paths[0].suffix.lower() not in (".jpg", ".jpeg")
    return spread(voxels) if drawn else to_uint8(voxels)


def read_repaired(folder: str | Path, *, most: float = 0.05, gap: int = 3) -> tuple[np.ndarray, dict[int, str]]:
    """Return a stack with a few missing or damaged slices interpolated, and what is wrong with those, by z.

    The nearest intact slices are used. At most a share `most` of all and `gap` in a row may be missing or damaged.

    Raises FileNotFoundError if there are no slices, ValueError if none is intact, or more than that are not.
    """
    form = re.compile(r"slice_(\d{4,5})\.jpg")
    paths = {int(part[1]): path for path in Path(folder).glob("*.jpg") if (part := form.fullmatch(path.name))}
    if not paths:
        raise FileNotFoundError(f"{folder} holds no JPEG slices: give the folder that has slice_0000.jpg")
    pictures: list[np.ndarray | None] = [None] * (max(paths) + 1)
    wrong: dict[int, str] = {}

    def decode(k: int) -> None:
        try:
            pictures[k] = _read_slice(paths[k])
        except KeyError:
            wrong[k] = f"{Path(folder) / f'slice_{k:04d}.jpg'} is missing"
        except (ValueError, OSError) as error:
            wrong[k] = str(error)

    for_each(decode, len(pictures), THREADS)
    sizes = {k: picture.shape for k, picture in enumerate(pictures) if picture is not None}
    usual = Counter(sizes.values()).most_common(1)[0][0] if sizes else ()
    wrong |= {k: f"{paths[k]} is {size}, others {usual}" for k, size in sizes.items() if size != usual}
    whole = np.setdiff1d(np.arange(len(pictures)), list(wrong))
    longest = np.diff(whole, prepend=-1, append=len(pictures)).max() - 1
    if len(wrong) > most * len(pictures) or longest > gap:
        first = wrong[min(wrong)]
        raise ValueError(f"{len(wrong)} of {len(pictures)} slices are not whole, such as: {first}")
    return np.stack([_between(pictures, whole, k) for k in range(len(pictures))]), dict(sorted(wrong.items()))


def _between(pictures: Sequence[np.ndarray | None], whole: np.ndarray, k: int) -> np.ndarray:
    """Return slice `k`, interpolated between the nearest of the `whole` ones if it is not among them."""
    after = int(np.searchsorted(whole, k))
    above, below = whole[max(after - 1, 0)], whole[min(after, len(whole) - 1)]
    share = (k - above) / (below - above) if below > above else 0.0
    return pictures[k] if below == k else cv2.addWeighted(pictures[above], 1 - share, pictures[below], share, 0)


def write_slices(folder: str | Path, voxels: np.ndarray) -> Path:
    """Write `(z, y, x)` uint8 voxels as JPEG slices; return the folder. Raises FileExistsError if it is not empty."""
    check_voxels(voxels)
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: give a new folder for the slices")
    with renamed(folder) as partial:
        partial.mkdir()
        for_each(lambda k: write_slice(partial, k, voxels[k]), len(voxels))
    return folder


def write_slice(folder: Path, k: int, picture: np.ndarray) -> None:
    """Write one `(y, x)` uint8 picture as slice `k` of a folder."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    (folder / f"slice_{k:04d}.jpg").write_bytes(data)


def _read_slice(path: Path) -> np.ndarray:
    """Return one `(y, x)` slice, checked as OpenCV silently fills up a JPEG that is cut short."""
    if not path.is_file():
        raise ValueError(f"{path} is a folder, pipe or device, no picture, or a link to nothing: copy it again")
    if (kind := path.suffix.lower()) in (".tif", ".tiff"):
        from motors.volumes.tiff import read_page

        return read_page(path)
    data = path.read_bytes()
    if kind == ".png":
        return _read_png(path, data)
    if kind not in (".jpg", ".jpeg"):
        raise ValueError(f"{path} is a slice of the kind {kind}: save all of them as one TIFF stack, or as PNG")
    whole = data.rfind(END_OF_JPEG) >= 0  # searched from the end
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if whole else None
    if picture is None or not data.startswith(b"\xff\xd8"):
        what = "it is a PNG file: call it .png" if data.startswith(PNG) else "copy it again, or give it its true ending"
        deep = re.match(rb"\xff\xd8.*?\xff[\xc0-\xc3]..([\t-\x10])", data, re.DOTALL)
        kind = f"of {deep[1][0]} bits, which only PNG and TIFF may be" if deep else "no JPEG file"
        raise ValueError(f"{path} is cut short or {kind}: {what}")
    if picture.ndim != 2:
        with Image.open(io.BytesIO(data)) as file:
            picture = _greys(path, file)
    if np.ptp(picture[-1, (picture.shape[1] - 1) // 8 * 8 :]) == 0 and _ends_early(data):
        raise ValueError(f"{path} ends before its picture does: copy it again")
    if b"Exif\0\0" in data[:HEAD]:
        with Image.open(io.BytesIO(data)) as file:
            _check_upright(path, file)
    return picture


def _ends_early(data: bytes) -> bool:
    """Return whether a JPEG ends too early: OpenCV fills missing blocks with grey, Pillow raises."""
    with Image.open(io.BytesIO(data[: data.rindex(END_OF_JPEG)] + bytes(8))) as file:
        try:
            file.load()
        except OSError:
            return "progressive" not in file.info
    return False


def _check_upright(path: Path, file: Image.Image) -> None:
    """Raise ValueError if EXIF says that an image is to be rotated."""
    if (turn := file.getexif().get(ORIENTATION, 1)) != 1:
        raise ValueError(f"{path} says that it is to be turned (EXIF orientation {turn}): save it as it is")


def _read_png(path: Path, data: bytes) -> np.ndarray:
    """Return one `(y, x)` PNG slice of 8 or 16 bits."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            file.load()
            _check_upright(path, file)
            if file.format != "PNG" or file.n_frames > 1:  # animated
                what = f"{path} holds {getattr(file, 'n_frames', 1)} picture(s) of the kind {file.format}"
                raise ValueError(f"{what}: save each slice as PNG of one picture")
            if file.mode in GREY:
                return np.asarray(file).astype(GREY[file.mode])
            return _greys(path, file, data if data[24] > 8 else b"")
    except (OSError, SyntaxError) as error:  # Pillow's errors on damaged files
        raise ValueError(f"{path} is cut short or no PNG file: copy it again") from error


def _greys(path: Path, file: Image.Image, deep: bytes = b"") -> np.ndarray:
    """Return the grey levels of an image stored in colour, or raise ValueError; `deep` are its bytes if of 16 bits."""
    levels = np.asarray(file.convert("RGB")) if not deep else cv2.imdecode(np.frombuffer(deep, np.uint8), -1)
    if levels is None or file.mode not in COLOURS or (levels[..., :3] != levels[..., :1]).any():
        what = f"{path} is a {file.format} picture of mode {file.mode}, not in grey levels"
        raise ValueError(f"{what}: save the slices as grey pictures of 8 or 16 bits")
    return levels[..., 0]
