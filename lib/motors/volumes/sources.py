"""Tomograms that paths (files, folders of slices or of files, glob patterns) refer to, and their warnings."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from unicodedata import normalize

from motors.volumes.formats import is_zarr, name_of, parts, plain
from motors.volumes.kinds import ENDINGS
from motors.workspace.files import is_visible, normalized, on_disk, read_json, visible, write_json

CALL, DRAWN = "call.json", "pictures"  # written by `motors.detect`: its arguments, and images that are no slices
PATHS = str | bytes | os.PathLike
STACKED = (".jpg", ".jpeg", ".png")  # a folder with such files is a stack of slices


def collect(paths: str | Path | Iterable[str | Path], *, recursive: bool = False) -> tuple[dict[str, Path], list[str]]:
    """Return the tomograms that `paths` refer to, by name, and notes on folders and patterns with ignored entries.

    A file is a tomogram whatever its name. A folder is one if it is an OME-Zarr or holds images; otherwise it stands
    for the tomograms in it, with `recursive` also in its subfolders. A path that does not exist may be a pattern such
    as `*.mrc`. The name is that of the file without its extension; of equal names, those in one folder keep the
    extension, others get the names of parent folders as a prefix.

    Raises FileNotFoundError if a path does not exist, or a folder holds no tomogram; ValueError if no path is given,
    one is empty, or names are still equal.
    """
    paths = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, PATHS) else [paths]
    if not paths or not all(isinstance(each, PATHS) and os.fsdecode(each) for each in paths):
        raise ValueError("the path of a tomogram is empty, or none: give files, folders or patterns, not voxels")
    notes: list[str] = []
    found: dict[tuple[str, str], Path] = {}
    known: set[Path] = set()
    for path in (Path(os.path.abspath(path)) for each in paths for path in _meant(each, recursive, notes)):
        if path not in known and found.setdefault((os.path.realpath(path), name_of(path)), path) == path:
            known |= {*parts(path)} if path.is_file() else {path}  # so that no companion of an OME-TIFF is another
    named = {path: name for (_, name), path in found.items()}
    counts = Counter((path.parent, name.casefold()) for path, name in named.items())
    alike = {path for path, name in named.items() if counts[path.parent, name.casefold()] > 1}  # a.mrc and a.rec
    return _distinct(named | {path: plain(normalized(path.name)) for path in alike}), notes


def recall_warnings(said: list[str], sources: dict[str, Path], work: Path) -> list[str]:
    """Return the warnings of reading: `said` in this call, or in an earlier one whose candidates in `work` are reused.

    They are stored in `work`, by tomogram, for the next call.
    """
    path, call, known = work / "said.json", work.parent / CALL, {}
    before, begun = read_json(path), call.stat().st_mtime_ns if call.is_file() else 0
    begins = {name: (f"{source.name}: ", f"{name} ") for name, source in sources.items()}
    every = {begin for both in begins.values() for begin in both}
    whose = {each: max(filter(each.startswith, every), key=len, default="") for each in said}  # "cell", or "cell 2"?
    for name in sources:
        mine = [each for each in said if whose[each] in begins[name]]
        marks = [mark.stat().st_mtime_ns for mark in work.glob(f"*/{glob.escape(name)}.source")]
        known[name] = mine if mine or max(marks, default=begun) >= begun else before.get(name, [])
    write_json(path, known)
    return list(dict.fromkeys([*said, *(sentence for mine in known.values() for sentence in mine)]))


def _distinct(names: dict[Path, str]) -> dict[str, Path]:
    """Return paths by name, with as many parent folders before equal names as distinguish them."""
    given, depth = names, max((len(path.parents) for path in names), default=1)
    for above in range(depth):
        counts = Counter(map(str.casefold, names.values()))  # some file systems ignore case
        alike = [path for path, name in names.items() if counts[name.casefold()] > 1]
        if not alike:
            return {name: path for path, name in names.items()}
        folders = {path: path.parts[1:-1][-above - 1 :] for path in alike}
        names = names | {path: plain(normalized("_".join([*folders[path], given[path]]))) for path in alike}
    name = plain(normalized(f"{alike[0].parent.name}_{given[alike[0]]}"))
    raise ValueError(f"several tomograms would be called {name}, one is {alike[0]}: rename or take them alone")


def _meant(path: str | bytes | os.PathLike, recursive: bool, notes: list[str]) -> Iterator[Path]:
    place = on_disk(Path(path := os.fsdecode(path)))
    if place.is_file() or (place.is_dir() and _is_tomogram(place)):
        yield place
    elif place.is_dir():
        real = Path(os.path.realpath(place))
        found, others = _inside(place, {real, *real.parents} if recursive else None, notes)
        if not found:
            below = "" if recursive else ", or look below it with recursive (--recursive)"
            what = "give MRC, TIFF, npy, OME-Zarr or slices, or convert others to these"
            raise FileNotFoundError(f"{place} holds no tomogram: {what}{below}")
        if others:
            notes.append(f"{others} other file{(s := 's' * (others > 1))} or folder{s} in {place} left alone")
        yield from found
    elif place.exists():
        raise ValueError(f"{path} is a pipe, socket or device, no file: give a file, a folder or a pattern")
    else:
        above = next(each for each in place.parents if each.is_dir())  # its name may have brackets
        forms = {normalize(form, str(place.relative_to(above))) for form in ("NFC", "NFD")}
        inside = {Path(each) for form in forms for each in glob.glob(form, root_dir=above, recursive=True)}
        matches = sorted(above / each for each in inside if is_visible(each))
        if not matches or not glob.has_magic(path):
            raise FileNotFoundError(f"{path} does not exist: check the path, or the pattern, of the tomogram")
        matches = [match for match in matches if match.is_file() or match.is_dir()] or matches
        meant = [match for match in matches if match.is_dir() or _is_tomogram(match)] or matches
        if len(meant) < len(matches):
            notes.append(f"{len(matches) - len(meant)} other files of {path} left alone")
        for match in meant:
            yield from _meant(match, recursive, notes)


def _inside(folder: Path, seen: set[Path] | None, notes: list[str]) -> tuple[list[Path], int]:
    """Return the tomograms in a folder and the number of other entries, recursively if `seen` is a set."""
    found, others = [], 0
    for path in sorted(visible(folder.iterdir())):
        try:
            tomogram = _is_tomogram(path)
        except PermissionError:
            notes.append(f"{path} may not be opened, it is left alone")
            continue
        if tomogram:
            found.append(path)
        elif path.is_dir() and seen is not None:
            real = Path(os.path.realpath(path))
            more, left = _inside(path, seen, notes) if real not in seen and not seen.add(real) else ([], 0)
            found, others = found + more, others + (left or not more)
        else:
            others += not (path / CALL).is_file()  # not the output of `motors.detect`
    return found, others


def _is_sequence(folder: Path) -> bool:
    """Return whether the files in a folder are slices of one tomogram: TIFF files of one image each."""
    from motors.volumes.tiff import is_page

    files = sorted(each for each in visible(folder.iterdir()) if each.name.lower().endswith(ENDINGS))
    ends = [each for each in files[:1] + files[-1:] if each.suffix.lower() in (".tif", ".tiff") and is_page(each)]
    return len(files) > 1 and len(ends) == 2


def _is_tomogram(path: Path) -> bool:
    """Return whether a file has an extension of tomograms, or a folder is one."""
    if path.is_dir():
        if path.name == DRAWN and (path.parent / CALL).is_file():
            return False
        inside = [file.name.lower() for file in visible(path.iterdir())]
        stack = any(name.endswith(STACKED) for name in inside) and not any(name.endswith(ENDINGS) for name in inside)
        return stack or is_zarr(path) or _is_sequence(path)
    return path.name.lower().endswith(ENDINGS) and (path.is_file() or not path.exists())  # broken link: reported later
