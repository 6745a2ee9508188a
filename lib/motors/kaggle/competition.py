"""Download of the competition's data by Kaggle's own client, unpacking, and a search for missing slices."""

import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from motors.geometry import Shape
from motors.kaggle.client import KaggleError, ask
from motors.labels.formats import read_competition
from motors.tables import read_table
from motors.volumes import slices
from motors.volumes.tomogram import THREADS, for_each
from motors.workspace.files import renamed
from motors.workspace.paths import COMPETITION, Workspace
from motors.workspace.progress import progress

FEW = 1000  # files that are fetched one by one rather than all 70 GB again


def download(home: Workspace, slug: str = COMPETITION, *, show: Callable[[str], None] | None = None) -> Path:
    """Return the folder of a competition's complete data, after downloading what is missing.

    An interrupted call is resumed, both in downloading and in unpacking. Until it is done, it needs twice the size
    of the data. If only a few slices are missing or truncated, only these are fetched.

    Raises FileNotFoundError or ValueError if the archive is damaged, or slices are missing in the end, see `check`;
    KaggleError if Kaggle wants credentials or its rules accepted, or cannot be reached; OSError if the disk is full.
    """
    folder = home.new_dataset(slug)
    archive = folder / f"{slug}.zip"
    gone = None if archive.exists() else lacking(folder)
    if gone is None or len(gone) > FEW:
        _fetch(slug, lambda api: api.competition_download_files(slug, str(folder), quiet=show is None), show)
        _unpack(archive, folder)
    else:
        for name in gone:
            (folder / name).unlink(missing_ok=True)
            where = {"file_name": name, "path": str(folder), "force": True, "quiet": True, "unzip": True}
            _fetch(slug, lambda api, where=where: api.competition_download_file(slug, **where), show)
    check(folder)
    archive.unlink(missing_ok=True)
    return folder


def lacking(folder: Path) -> list[str] | None:
    """Return the paths of missing or truncated slices in `folder`; None if a table or a hidden tomogram is missing.

    Missing last slices of a hidden tomogram cannot be detected: no table has its shape.
    """
    try:
        shapes = _shapes(folder)
    except (FileNotFoundError, ValueError):
        return None
    found = []
    for part, known in shapes.items():
        for name in incomplete(folder / part, known)["tomo_id"]:
            place = folder / part / name
            stems = [path.stem.removeprefix("slice_") for path in place.glob("slice_[0-9]*.jpg")]
            numbers = [int(stem) for stem in stems if stem.isdecimal()]  # not of "slice_0000 (1)", a second download
            count = known[name][0] if known[name] else max(numbers, default=-1) + 1
            paths = [place / f"slice_{k:04d}.jpg" for k in range(count)]
            if not paths:
                return None
            found += [path.relative_to(folder).as_posix() for path in paths if not _is_whole(path)]
    return found


def _fetch(slug: str, question: Callable[[Any], None], show: Callable[[str], None] | None) -> None:
    try:
        ask("competitions download", question, show=show)
    except KaggleError as error:
        if error.status == 403:
            page = f"https://www.kaggle.com/competitions/{slug}/rules"
            raise KaggleError(f"Kaggle does not hand out {slug} yet: accept its rules on {page}", 403) from None
        raise


def check(folder: Path) -> int:
    """Return the number of tomograms of a competition if all of them are complete, see `incomplete`.

    This takes half a minute for 648 tomograms of 500 slices on a local disk: one slice of each is decoded. Raises
    FileNotFoundError if a table is missing; ValueError if a table is invalid, a slice is missing or truncated, or a
    training tomogram has another shape than its label.
    """
    shapes = _shapes(folder)
    problems = [each for part, known in shapes.items() for each in incomplete(folder / part, known)["problem"]]
    count = sum(map(len, shapes.values()))
    if problems:
        raise ValueError(f"{len(problems)} of {count} tomograms are not whole ({problems[0]}): download them again")
    return count


def incomplete(folder: str | Path, shapes: Mapping[str, Shape | None]) -> pd.DataFrame:
    """Return the incomplete tomograms in a folder of slice stacks: tomo_id and problem, a sentence.

    Every slice must exist and have the end of a JPEG file; only the first is decoded, to check its size. The folder is
    one such as the competition's `train`; `shapes` are `(z, y, x)` of each expected tomogram, None if unknown.
    """
    folder, names = Path(folder), sorted(shapes)

    def problem(k: int) -> str:
        place, expected = folder / names[k], shapes[names[k]]
        try:
            shape = slices.stack_shape(place)
            cut = next((path for path in slices.slice_paths(place) if not _is_whole(path)), None)
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        if expected is not None and shape != tuple(expected):
            return f"{place} is {shape}, its label says {tuple(expected)}: get the missing slices"
        return f"{cut} is cut short: get it again" if cut else ""

    table = pd.DataFrame({"tomo_id": names, "problem": for_each(problem, len(names), THREADS)})
    return table[table["problem"] != ""].reset_index(drop=True)


def _shapes(folder: Path) -> dict[str, dict[str, Shape | None]]:
    """Return the tomograms of train and test, with shapes if a table has them."""
    for table in ("train_labels.csv", "sample_submission.csv"):
        if not (folder / table).is_file():
            raise FileNotFoundError(f"{folder / table} is missing: download the competition")
    hidden = read_table(folder / "sample_submission.csv", ["tomo_id"])["tomo_id"]
    return {"train": read_competition(folder / "train_labels.csv").shapes(), "test": dict.fromkeys(hidden)}


def _unpack(archive: Path, folder: Path) -> None:
    """Extract the files of the archive that are missing or of another size, each by an atomic write."""
    try:
        packed = zipfile.ZipFile(archive)
    except zipfile.BadZipFile:
        raise ValueError(f"{archive} is not a zip file: remove it and download again") from None
    with packed:
        files = [(folder / item.filename, item) for item in packed.infolist() if not item.is_dir()]
        todo = [(path, item) for path, item in files if not path.is_file() or path.stat().st_size != item.file_size]
        for target, item in progress(todo, title="unpacking") if todo else ():
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{archive} holds {item.filename}, which would lie outside of {folder}")
            try:
                with renamed(target) as partial, packed.open(item) as source, partial.open("wb") as file:
                    shutil.copyfileobj(source, file, 2**20)  # the checksum is checked at the end
            except (zipfile.BadZipFile, zlib.error, EOFError):
                raise ValueError(f"{archive} is damaged at {item.filename}: remove it and download again") from None


def _is_whole(path: Path) -> bool:
    """Return whether an image exists and is complete; all of it is read only if its last bytes lack the end."""
    end = b"IEND" if path.suffix.lower() == ".png" else slices.END_OF_JPEG
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return end in file.read() or end in path.read_bytes()
