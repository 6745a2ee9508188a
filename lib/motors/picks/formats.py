"""File formats of picks, their writers and readers. `README.md` in this folder describes their conventions."""

import json
import os
import re
import struct
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import mrcfile
import numpy as np
import pandas as pd

from motors.picks import libraries
from motors.picks.conventions import PICKS, checked, of_each
from motors.tables import MOTOR_AXES, POINT, TOMOGRAMS, TableWarning, has_motor, located, need, numbers, read_table
from motors.workspace.files import LONGEST, on_disk, once, text_of, write_json, write_table, write_text

AXES = {"axis-0": "z", "axis-1": "y", "axis-2": "x"}  # of napari
RADIUS = 225.0  # ångström, of a marker: half the width of a motor
OBJECT = "flagellar-motor"
POINTS = ("point", "orientedPoint", "instancePoint")  # record types in the portal's annotations
# Errors of the readers on invalid files.
DAMAGE = (LookupError, TypeError, AttributeError, EOFError, ElementTree.ParseError, UnicodeDecodeError, struct.error)
DAMAGE += (json.JSONDecodeError, pd.errors.ParserError, RecursionError, OverflowError)


class Format(NamedTuple):
    """A file format: its extension, whether there is one file per tomogram, its writer and reader."""

    ending: str
    each: bool
    write: Callable[[Path, pd.DataFrame, pd.DataFrame], object]
    read: Callable[[Path, pd.DataFrame | None, str], pd.DataFrame]  # the str is the tomogram, if the file is for one


def check(formats: str | Iterable[str], names: Iterable[str] = ()) -> list[str]:
    """Return formats as a list, if all are known and can be written with these `names` of tomograms.

    Raises ValueError if a format is unknown or cannot store a name, ModuleNotFoundError if its library is missing.
    """
    formats, names = [formats] if isinstance(formats, str) else list(formats), [*map(str, names)]
    folded = [each.casefold() for each in set(names)]
    if long := next((each for each in names if len(os.fsencode(each)) > LONGEST), ""):
        what = f"the name {long[:20]}... has more than {LONGEST} bytes, and files add to it"
        raise ValueError(f"{what}: rename the tomogram")
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"no format is called {name!r}: choose of {', '.join(FORMATS)}")
        if name in libraries.NEEDED:
            libraries.library(libraries.NEEDED[name])
        if FORMATS[name].each and len(set(folded)) < len(folded):
            twice = max(folded, key=folded.count)
            raise ValueError(f"the format {name} has files that some disks take for one, of {twice!r}: rename one")
        unfit = f"{libraries.LOST.get(name, '$.')}{r'|/|^[.]{0,2}$' * FORMATS[name].each}"
        if lost := next((each for each in names if re.search(unfit, each)), None):
            raise ValueError(f"the format {name} cannot hold the name {lost!r}: rename the tomogram, or leave it out")
    return formats


def write(
    folder: str | Path, picks: pd.DataFrame, tomograms: pd.DataFrame, formats: Iterable[str] = ("csv",)
) -> list[Path]:
    """Write picks in files of several formats and return their paths.

    `folder` gets `detections.<extension>`, or `<tomo_id>.<extension>` if a format has one file per tomogram, even
    without picks; copick's go to `copick/ExperimentRuns`, a project's overlay. `picks` has tomo_id; z, y, x in voxels;
    score. `tomograms`, all that were searched, has tomo_id, size_z, size_y, size_x, spacing; and path if ChimeraX's
    markers are to respect the non-zero origin of an MRC file. `formats` are keys of `FORMATS`.

    Raises ValueError or ModuleNotFoundError as `check`, ValueError if a column is missing or a pick lies outside.
    """
    need(picks, PICKS, "the table of picks")
    need(tomograms, TOMOGRAMS, "the table of tomograms")
    formats = check(formats, tomograms["tomo_id"])
    picks, paths = checked(picks, tomograms, "picks"), []
    for name in formats:
        kind = FORMATS[name]
        for about in (tomograms.iloc[[row]] for row in range(len(tomograms))) if kind.each else [tomograms]:
            tomo_id = about["tomo_id"].iloc[0] if kind.each else ""
            mine = picks[picks["tomo_id"].isin(about["tomo_id"])]
            kind.write(path := Path(folder) / place(name, tomo_id), mine, about)
            paths.append(path)
    return paths


def place(name: str, tomo_id: str) -> str:
    """Return the path, within its folder, of the picks that `write` writes in this format."""
    if name == "copick":
        return f"copick/ExperimentRuns/{tomo_id}/Picks/motors_0_{OBJECT}.json"
    return f"{tomo_id if FORMATS[name].each else 'detections'}{FORMATS[name].ending}"


def read(path: str | Path, tomograms: pd.DataFrame | None = None, *, name: str | None = None) -> pd.DataFrame:
    """Return the picks in a file: tomo_id; z, y, x in voxels; score, 1 if the file has none.

    The format, one of `FORMATS`, is known by the extension; our CSV and napari's, our JSON and copick's are
    distinguished by their content. `tomograms` has tomo_id, size_z, size_y, size_x, spacing; it is needed for formats
    in ångström, and to check positions. `name` is the tomogram's, for formats with one file per tomogram; by default
    the file's, or the run's in a copick project.

    Raises FileNotFoundError if the file is missing, ValueError if of an unknown format, damaged, or with picks outside.
    """
    path = on_disk(Path(path))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is {'not a file' if path.exists() else 'not there'}: check its path")
    endings = {kind.ending: kind for kind in FORMATS.values()} | {".csv": FORMATS["csv"], ".json": FORMATS["json"]}
    ending = max((end for end in endings if path.name.lower().endswith(end)), key=len, default=None)
    if ending is None:
        raise ValueError(f"{path.name} is of no known kind: give one of {' '.join(sorted(endings))}")
    run = path.parents[1].name if path.parent.name == "Picks" else path.name[: -len(ending)]  # in a copick project
    try:
        picks = endings[ending].read(path, tomograms, name or run)
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]  # repr may hold the whole file
        raise ValueError(f"{path.name} is not a file of picks, or damaged ({reason}): export it again") from error
    if picks.empty and tomograms is not None:  # notebook 31 reviews only tomograms with picks
        warnings.warn(f"{path.name} holds no picks", TableWarning, stacklevel=2)
    return checked(picks, tomograms, path.name)


def _write_csv(path: Path, picks: pd.DataFrame, tomograms: pd.DataFrame) -> None:
    write_table(path, picks.merge(tomograms[["tomo_id", "spacing"]], on="tomo_id"))


def _read_csv(path: Path, _: pd.DataFrame | None, name: str) -> pd.DataFrame:
    table = read_table(path)
    if "score" in table:  # points added in napari have none
        table["score"] = table["score"].astype(object).fillna(1.0)
    if {*AXES} <= {*table}:
        if strange := [each for each in ("axis-3", "shape-type") if each in table]:
            raise ValueError(f"{path.name} has the column {strange[0]}: save points of one volume, with three axes")
        return table.rename(columns=AXES).assign(tomo_id=table.get("tomo_id", name))
    table = table.rename(columns=MOTOR_AXES)  # in a submission
    need(table, PICKS[:-1], path.name)  # a score is optional
    return table[has_motor(table, path.name)]


def _write_napari(path: Path, picks: pd.DataFrame, _: pd.DataFrame) -> None:
    table = picks[[*POINT, "score"]].set_axis([*AXES, "score"], axis=1).reset_index(drop=True)
    write_table(path, table.rename_axis("index").reset_index())


def _write_json(path: Path, picks: pd.DataFrame, tomograms: pd.DataFrame) -> None:
    found = {name: rows[[*POINT, "score"]].to_dict("records") for name, rows in picks.groupby("tomo_id")}
    about = tomograms[TOMOGRAMS].to_dict("records")
    write_json(path, [each | {"detections": found.get(each["tomo_id"], [])} for each in about])


def _read_json(path: Path, tomograms: pd.DataFrame | None, name: str) -> pd.DataFrame:
    content = json.loads(path.read_bytes(), object_pairs_hook=once)
    if isinstance(content, dict) and "tomograms" in content:  # of `motors detect --json`
        content = content["tomograms"]
    if isinstance(content, dict):
        run = content.get("run_name") or name
        if run != name and path.name.startswith(f"{name}."):  # the name is just that of the file
            name = run
        elif run != name:
            warnings.warn(f"{path.name} says that it is of {run}, taken as of {name}", TableWarning, stacklevel=4)
        if not re.search("motor|flagell", thing := str(content.get("pickable_object_name") or OBJECT), re.IGNORECASE):
            warnings.warn(f"{path.name} is of the object {thing}: taken as motors", TableWarning, stacklevel=4)
        return _voxels(angstrom(content, path, name), tomograms, path, content.get("voxel_spacing"))
    rows = [each | point for each in content for point in each["detections"]]
    return pd.DataFrame(rows, columns=[*PICKS, "spacing"]).fillna({"score": 1.0})


def angstrom(content: dict, path: Path, name: str) -> pd.DataFrame:
    """Return the picks of one tomogram in a copick file, in ångström, with shifts applied."""
    if str(content.get("unit") or "å").lower() not in ("angstrom", "angstroms", "ångström", "å"):
        raise ValueError(f"{path.name} counts {content['unit']}: wanted ångström")
    points = content["points"] or []
    try:
        shifts = [np.array(point.get("transformation_") or np.eye(4), float)[2::-1, 3] for point in points]
    except ValueError as error:
        raise TypeError(f"transformation_: {error}") from error  # `read` reports it as damage
    picks = _frame(points, name)
    picks[POINT] = numbers(picks, POINT) + np.reshape(shifts, (-1, 3))
    return picks


def _write_copick(path: Path, picks: pd.DataFrame, tomograms: pd.DataFrame) -> None:
    spacing, name = float(tomograms["spacing"].iloc[0]), tomograms["tomo_id"].iloc[0]
    points = [
        {"location": place, "transformation_": np.eye(4).tolist(), "instance_id": 0, "score": float(score)}
        for place, score in zip(_by_name(picks, spacing), picks["score"], strict=True)
    ]
    about = {"pickable_object_name": OBJECT, "user_id": "motors", "session_id": "0", "run_name": name}
    write_json(path, about | {"voxel_spacing": spacing, "unit": "angstrom", "points": points})


def _write_ndjson(path: Path, picks: pd.DataFrame, _: pd.DataFrame) -> None:
    lines = [json.dumps({"type": "point", "location": place}) for place in _by_name(picks)]
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_ndjson(path: Path, _: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """Return the points of one annotation of the portal, in voxels."""
    rows, lines = [], []
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        try:
            if line.strip():
                record = json.loads(line, object_pairs_hook=once)
                if (kind := record.get("type", POINTS[0])) not in POINTS:
                    raise TypeError(f"a record of type {kind!r}")
                rows.append([name, *(record["location"][axis] for axis in POINT), 1.0])
                lines.append((number, name))
        except DAMAGE as error:
            raise ValueError(f"{path.name}, line {number}: no point with location ({error!r}): correct it") from error
    return located(pd.DataFrame(rows, columns=PICKS), path.name, lines)


def _write_cmm(path: Path, picks: pd.DataFrame, tomograms: pd.DataFrame) -> None:
    root = ElementTree.Element("marker_set", name=f"motors in {tomograms['tomo_id'].iloc[0]}")
    look = {"r": "1", "g": "0.69", "b": "0", "radius": f"{RADIUS:g}"}
    places = _by_name(picks, float(tomograms["spacing"].iloc[0]), _origin(tomograms))
    for k, (place, score) in enumerate(zip(places, picks["score"], strict=True), start=1):
        texts = {axis: repr(value) for axis, value in place.items()}
        ElementTree.SubElement(root, "marker", id=str(k), **texts, **look, note=f"{score:.4f}")
    ElementTree.indent(root)
    write_text(path, ElementTree.tostring(root, encoding="unicode") + "\n")


def _read_cmm(path: Path, tomograms: pd.DataFrame | None, name: str) -> pd.DataFrame:
    root = ElementTree.parse(path).getroot()
    if root.tag not in ("marker_set", "marker_sets"):
        raise ValueError(f"{path.name} holds <{root.tag}>, not <marker_set>: export it again")
    sets = [each.get("name", "nameless") for each in root.iter("marker_set") if each.find("marker") is not None]
    if len(sets) > 1:
        warnings.warn(f"{path.name} has the markers {', '.join(sets)}: all are taken as motors", TableWarning, 4)
    picks = _frame([{"location": marker.attrib} for marker in root.iter("marker")], name)
    if tomograms is not None:
        picks[POINT] = numbers(picks, POINT) - _origin(tomograms[tomograms["tomo_id"] == name])
    return _voxels(picks, tomograms, path)


def _origin(tomograms: pd.DataFrame) -> np.ndarray:
    """Return the first voxel's position in ChimeraX, zyx in ångström: the MRC header's origin, else its start; or 0."""
    path = next((Path(str(each)) for each in tomograms.get("path", ())), Path())
    if not (path.is_file() and re.search(r"(?i)\.(mrcs?|rec|map|st|ali)(\.gz|\.bz2)?$", path.name)):
        return np.zeros(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about invalid headers
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            origin, start, size = file.header.origin.copy(), file.nstart, file.voxel_size
    found = np.array([origin[axis] for axis in POINT], float)
    return found if found.any() else np.array([start[axis] * size[axis] for axis in POINT], float)


def _by_name(picks: pd.DataFrame, scale: float = 1.0, origin: np.ndarray | float = 0.0) -> list[dict[str, float]]:
    """Return the positions as x, y, z by name, times `scale`, plus `origin`."""
    points = picks[POINT].to_numpy(float) * scale + origin
    return [dict(zip("xyz", map(float, point[::-1]), strict=True)) for point in points]


def _frame(points: list[dict], name: str) -> pd.DataFrame:
    """Return a table of one tomogram's points with a location x, y, z and perhaps a score."""
    rows = [[name, *(point["location"][axis] for axis in POINT), point.get("score")] for point in points]
    return pd.DataFrame(rows, columns=PICKS).fillna({"score": 1.0})


def _voxels(picks: pd.DataFrame, tomograms: pd.DataFrame | None, path: Path, stated: object = None) -> pd.DataFrame:
    """Return picks in ångström as voxels; the spacing `stated` in a file is used only if `tomograms` is None."""
    if tomograms is None and not (type(stated) in (int, float) and stated > 0):
        raise ValueError(f"{path.name} counts ångström: give the table of tomograms, for their spacings")
    spacing = stated if tomograms is None else of_each(picks, tomograms, ["spacing"], path.name)
    return picks.assign(**dict(zip(POINT, (numbers(picks, POINT) / spacing).T, strict=True)))


FORMATS = {
    "csv": Format(".csv", False, _write_csv, _read_csv),
    "json": Format(".json", False, _write_json, _read_json),
    "star": Format(".star", False, libraries.write_star, libraries.read_star),
    "mod": Format(".mod", True, libraries.write_mod, libraries.read_mod),
    "tbl": Format(".tbl", False, libraries.write_tbl, libraries.read_tbl),
    "copick": Format(".copick.json", True, _write_copick, _read_json),
    "ndjson": Format(".ndjson", True, _write_ndjson, read_ndjson),
    "cmm": Format(".cmm", True, _write_cmm, _read_cmm),
    "napari": Format(".napari.csv", True, _write_napari, _read_csv),
}
