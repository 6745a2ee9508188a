"""Decisions on a disagreement sheet, read from a CSV file or from tags in CVAT."""

import zlib
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import pandas as pd

from motors.geometry import outside
from motors.tables import MOTORS, POINT, numbers, read_table, refuse
from motors.workspace.files import normalized, on_disk

KEY = ["tomo_id", "entry", "number"]
DECISIONS = [*KEY, *POINT, "decision", "why"]
ANSWERS = ("accept", "reject")
NEW = {"entry": "new", "number": 0, "partner": 0, "asked": False, "score": np.nan, "distance": np.nan, "verdict": ""}
NEW |= {"decision": "accept", "why": "seen by eye"}  # a motor that neither labels nor networks have
NEAR = 0.01  # voxels: coordinates nearer than this are the same
OF_ANOTHER = "give the sheet that was decided on, or move the file away to begin anew"


def read_decisions(path: str | Path, sheet: pd.DataFrame) -> pd.DataFrame:
    """Return the sheet with decisions from a CSV file: the sheet itself, with its column `decision` filled in.

    The file has tomo_id, entry, number, z, y, x, decision: accept, reject, or empty if undecided; why is optional. A
    motor that both labels and networks lack is a row whose entry is `new` and whose decision is accept. An export of
    CVAT is read by `read_tags`. Returned are the columns of `sheet`, then decision and why, empty if undecided; new
    motors are at the end. Raises FileNotFoundError or ValueError if the file is missing, lacks columns, has a
    duplicate entry or an unknown decision, or belongs to another sheet.
    """
    path = Path(path)
    if path.suffix.lower() in (".xml", ".zip"):
        return read_tags(path, sheet)
    table = read_table(path, [column for column in DECISIONS if column != "why"])
    for name in ("decision", "why"):
        table[name] = table.get(name, pd.Series("", table.index)).astype(object).fillna("")
    table = table.assign(**{name: table[name].str.lower() for name in ("decision", "entry")})
    new = table["entry"] == "new"
    refuse(table, ~table["decision"].isin([*ANSWERS, ""]), path.name, "has another decision", "write accept or reject")
    gone = new & (table["decision"] != "accept")
    refuse(table, gone, path.name, "has a new motor that is not accepted", "write accept, or remove the row")
    new_ones, points = table[new], numbers(table[new], POINT)
    lost = ~np.isfinite(points).all(axis=1)
    refuse(new_ones, lost, path.name, "has a new motor without a position", "write z, y and x")
    refuse(new_ones, new_ones.duplicated(MOTORS), path.name, "has the same new motor twice", "keep one row")
    refuse(new_ones, ~new_ones["tomo_id"].isin(sheet["tomo_id"]), path.name, "is not on the sheet", OF_ANOTHER)
    frames = new_ones["tomo_id"].map(sheet.drop_duplicates("tomo_id").set_index("tomo_id")["frame"])
    sizes = np.array([frame.split("@")[0].split("x") for frame in frames], float).reshape(-1, 3)
    away = outside(points, sizes)
    refuse(new_ones, away, path.name, "has a new motor outside its shape", "check the order z, y, x")
    return _joined(sheet, table[~new], new_ones, path.name)


def read_tags(path: str | Path, sheet: pd.DataFrame) -> pd.DataFrame:
    """Return the sheet with decisions from an export of CVAT: `annotations.xml` of "CVAT for images", or a zip of it.

    The pictures of the sheet are tagged as in the original solution: `0` changes nothing, a number k adds candidate k,
    and -k, an addition to the original, removes label k. Tags may be combined. In a tagged picture, other labels are
    accepted and other candidates rejected; a picture without tags is undecided. Raises FileNotFoundError or ValueError
    if the file is missing, no such export, or has a picture that is not on the sheet or a tag without a meaning there.
    """
    path = on_disk(Path(path))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: export the task from CVAT")
    content = BytesIO(path.read_bytes())
    try:
        root = ElementTree.fromstring(_packed(ZipFile(content)) if is_zipfile(content) else content.getvalue())
    except (ElementTree.ParseError, BadZipFile, zlib.error, EOFError, LookupError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path.name} is not XML ({error!r}): export it again, as CVAT for images") from error
    if root.tag != "annotations":
        raise ValueError(f"{path.name} holds <{root.tag}>, not <annotations>: export it again, as CVAT for images")
    if root.find("image") is None or root.find("track") is not None:
        raise ValueError(f"{path.name} holds no pictures, or tracks of a video: export it as CVAT for images 1.1")
    known, found = dict(sheet[["image", "tomo_id"]].to_numpy()), {}
    for image in root.iter("image"):
        name = normalized(image.get("name", "")).replace("\\", "/").rpartition("/")[2]  # macOS uploads NFD
        tags = {tag.get("label", "").strip() for tag in image.iter("tag")}
        shapes = [each.tag for each in image if each.tag != "tag"]
        if shapes:
            raise ValueError(f"{path.name}: picture {name} has a {shapes[0]}, only tags are decisions: tag it instead")
        if name not in known:
            raise ValueError(f"{path.name}: picture {name!r} is not on the sheet: give the annotations of this sheet")
        if tags and found.setdefault(name, tags) != tags:  # of several jobs
            raise ValueError(f"{path.name}: picture {name} is there twice, with other tags: keep one")
    decided = []
    for name, tags in found.items():
        decided += _tagged(sheet[sheet["image"] == name], tags, f"{path.name}: picture {name}")
    return _joined(sheet, pd.DataFrame(decided, columns=DECISIONS), sheet[:0], path.name)


def _packed(archive: ZipFile) -> bytes:
    """Return the annotations in an archive, also if in a folder, as after unpacking and packing it again."""
    names = [name for name in archive.namelist() if Path(name).name == "annotations.xml"] or ["annotations.xml"]
    if len(names) > 1:
        raise ValueError(f"it has {' and '.join(names[:2])}, of which one is read")
    return archive.read(names[0])


def _tagged(rows: pd.DataFrame, tags: set[str], name: str) -> list[list]:
    changes = {str(number): ("candidate", number) for number in rows.loc[rows["entry"] == "candidate", "number"]}
    changes |= {f"-{number}": ("label", number) for number in rows.loc[rows["entry"] == "label", "number"]}
    if unknown := sorted(tags - set(changes) - {"0"}):
        raise ValueError(f"{name} has the tag {unknown[0]!r}: it may have {', '.join(['0', *changes])}")
    changed, decided = {changes[tag] for tag in tags - {"0"}}, []
    for row in rows[[*KEY, *POINT]].itertuples(index=False):
        is_changed, is_label = (row.entry, row.number) in changed, row.entry == "label"
        decided.append([*row, "accept" if is_changed != is_label else "reject", "tagged in CVAT"])
    return decided


def _joined(sheet: pd.DataFrame, decided: pd.DataFrame, new: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the sheet with decisions on its entries, and new motors after them."""
    decided = decided.assign(number=numbers(decided, ["number"])[:, 0])
    refuse(decided, decided.duplicated(KEY), name, "has the same entry twice", "keep one row")
    both = decided.merge(sheet[KEY + POINT], on=KEY, how="left", suffixes=("", "_sheet"))
    there = numbers(both, [f"{axis}_sheet" for axis in POINT])
    elsewhere = ~(np.abs(numbers(both, POINT) - there) <= NEAR).all(axis=1)  # or missing
    refuse(decided, elsewhere, name, "has an entry that is not on the sheet", OF_ANOTHER)
    whole = sheet.merge(decided[[*KEY, "decision", "why"]], on=KEY, how="left")
    if len(new):
        whole = pd.concat([whole, new.reindex(columns=whole.columns).assign(partner=0, asked=False)])
    whole["frame"] = whole.groupby("tomo_id")["frame"].transform("first")  # new motors too
    return whole.fillna({"decision": "", "why": ""}).reset_index(drop=True)
