"""STAR files, IMOD models and Dynamo tables, by their own libraries; see `conventions`."""

import re
import tempfile
import warnings
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from motors.picks.conventions import named, of_each
from motors.tables import MOTORS, POINT, SIZE, TableWarning, located, need, numbers
from motors.workspace.files import renamed, text_of

COORDINATES = ["rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX"]
CENTRED = ["rlnCenteredCoordinateZAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateXAngst"]
SHIFTS = ["rlnOriginZAngst", "rlnOriginYAngst", "rlnOriginXAngst"]  # to be subtracted
VOXELS = ["rlnOriginZ", "rlnOriginY", "rlnOriginX"]  # the same in voxels, before RELION 3.1
TURNED = ["rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"]  # rotation of the axes of shifts
TILT = "rlnTomoTiltSeriesPixelSize"  # ångström: RELION's unit, regardless of the tomogram's binning
CAMERA = ["rlnDetectorPixelSize", "rlnMagnification"]  # before RELION 3.1: micrometres, and a factor
PIXELS = ("rlnPixelSize", "rlnImagePixelSize", CAMERA[0])  # of extracted images; the last alone: PyTom's voxel, in Å
GROUP = "rlnOpticsGroup"
MERIT = "rlnAutopickFigureOfMerit"
NAMES = ("rlnTomoName", "rlnMicrographName")
NEEDED = {"star": "starfile", "mod": "imodmodel", "tbl": "dynamotable"}  # by format
# Patterns in names that a format does not preserve.
LOST = {"star": r"['\"#]|[^\S ]|^(NaN|<NA>)$", "tbl": r'"|[^\S ]', "cmm": r"[\0-\x08\x0b\x0c\x0e-\x1f]"}
EDGE = np.array([0.0, 0.5, 0.5])  # z, y, x of the centre of IMOD's first voxel
SAME = 1.0  # voxels: tolerance between both kinds of coordinates of a STAR file


def library(name: str) -> Any:
    """Import and return a library of the extra `picks`."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        sentence = f"this format needs the library {name}: pip install 'motors[picks]'"
        raise ModuleNotFoundError(sentence, name=name) from error


def write_star(path: Path, picks: pd.DataFrame, tomograms: pd.DataFrame) -> None:
    """Write picks as particles of a STAR file, in voxels and in ångström from the centre."""
    starfile = library("starfile")
    about = of_each(picks, tomograms, [*SIZE, "spacing"])
    table = picks[[*POINT[::-1], "tomo_id"]].set_axis([*COORDINATES[::-1], NAMES[0]], axis=1)  # a name may begin with _
    centred = (picks[POINT].to_numpy(float) - about[:, :3] / 2) * about[:, 3:]
    table = table.assign(**dict(zip(CENTRED[::-1], centred.T[::-1], strict=True)), **{MERIT: picks["score"]})
    with renamed(path) as partial:
        starfile.write({"particles": table}, partial)


def read_star(path: Path, tomograms: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """Return the particles of a STAR file, with shifts applied; if it names no tomogram, it belongs to `name`."""
    starfile = library("starfile")
    text = re.sub(r"(?im)^[ \t]*(data_|loop_)(?=\S*[ \t]*$)", lambda word: word[0].lower(), text_of(path))
    lines, kept = _lines(text, path.name)
    with tempfile.TemporaryDirectory() as folder:  # a copy in the encoding and case that starfile needs
        (copy := Path(folder) / "a.star").write_text(kept, encoding="utf-8")
        try:
            blocks = starfile.read(copy, always_dict=True, parse_as_string=list(NAMES))
        except ValueError as error:
            raise ValueError(f"{path.name} is not a STAR file, or damaged ({error}): export it again") from error
    block, table = _particles(blocks, path.name)
    if not {*NAMES} & {*table} and tomograms is not None and name in {*tomograms["tomo_id"]}:
        table = table.assign(**{NAMES[0]: name})
    column = next((each for each in NAMES if each in table), NAMES[0])
    need(table, [column], path.name)
    table = table.assign(tomo_id=named(table[column], tomograms), score=table.get(MERIT, 1.0))
    table = located(table, path.name, list(zip(lines[block], table["tomo_id"], strict=False)))
    picks = table[["tomo_id", "score"]]
    about = None if tomograms is None else of_each(picks, tomograms, [*SIZE, "spacing"], path.name)
    places = _coordinates(table, blocks.get("optics"), about, path.name) - _shifts(table, about, path.name)
    return picks.assign(**dict(zip(POINT, places.T, strict=True)))


def _lines(text: str, name: str) -> tuple[dict[str, list[int]], str]:
    """Return the line numbers of the rows of each block of a STAR file, and its text in a form that starfile reads.

    Comment lines and empty blocks are dropped, names like STAR keywords quoted. Rows must be as long as their header.
    """
    found, kept, block, columns = {}, "", "", -1  # no loop
    for number, line in enumerate(text.split("\n"), start=1):
        words = re.sub(r"""(?<!\S)(["']).*?\1(?!\S)""", "quoted", line).partition("#")[0].split()
        first = words[0] if words else ""
        if first.startswith("data_") and (len(words) == 1 or columns < 0):
            if (block := first[5:]) in found:
                raise ValueError(f"{name}, line {number}: {first} is there twice: put it in a file of its own")
            found[block], columns = [], -1
        elif first == "loop_":
            columns = 0
        elif columns >= 0 and first.startswith("_") and len(words) < 3 and not found[block]:
            columns += 1
        elif columns >= 0 and words:
            if len(words) != columns:
                raise ValueError(f"{name}, line {number}: {len(words)} values for {columns} columns: correct it")
            found[block].append(number)
            line = re.sub(r"^\s*((_|data_|loop_)\S*)", r'"\1"', line)
        kept += f"{line}\n" if words else ""
    return found, re.sub(r"(?m)^\s*data_\S*\n(?=\s*data_|\Z)", "", kept)


def _particles(blocks: dict[str, pd.DataFrame | dict], name: str) -> tuple[str, pd.DataFrame]:
    """Return name and table of the only block of a STAR file with coordinates."""
    found = [each for each in blocks.items() if {*COORDINATES} <= {*each[1]} or {*CENTRED} <= {*each[1]}]
    if len(found) != 1:
        what = f"{len(found) or 'no'} block{'s' * (len(found) > 1)} with {COORDINATES[0]} or {CENTRED[0]}"
        raise ValueError(f"{name} has {what}, wanted one: export particles")
    block, table = found[0]
    return block, pd.DataFrame([table] if isinstance(table, dict) else table)  # one particle, without a loop


def _coordinates(table: pd.DataFrame, optics: Any, about: np.ndarray | None, name: str) -> np.ndarray:
    """Return coordinates before shifts, `(n, 3)` zyx in voxels; if both kinds are present, those from the centre.

    `about` has size_z, size_y, size_x and spacing of each particle's tomogram, if known.
    """
    places = numbers(table, COORDINATES) if {*COORDINATES} <= {*table} else None
    if places is None and about is None:
        raise ValueError(f"{name} counts ångström from the centre: give the table of tomograms, for sizes")
    if about is None:
        return places
    if places is not None:
        places = places * _binning(table, optics, about[:, 3], name)
    if not {*CENTRED} <= {*table}:
        return places
    centred = numbers(table, CENTRED) / about[:, 3:] + about[:, :3] / 2
    if places is not None and not np.nanmax(np.abs(places - centred), initial=0) <= SAME:
        raise ValueError(f"{name}: {COORDINATES[-1]} and {CENTRED[-1]} disagree, perhaps binned: keep one")
    return centred


def _shifts(table: pd.DataFrame, about: np.ndarray | None, name: str) -> np.ndarray | float:
    """Return the shifts to subtract from coordinates, in voxels: `(n, 3)` zyx, or 0."""
    names = next((names for names in (SHIFTS, VOXELS) if {*names} & {*table}), [])
    shifts = numbers(table.reindex(columns=names, fill_value=0), names)  # of 2D images, without z
    if not np.any(shifts):
        return 0.0
    unit, advice = names == SHIFTS, f"apply {names[-1]} before, or leave it out"
    if np.any(numbers(table, [each for each in TURNED if each in table])):
        raise ValueError(f"{name} has shifts along axes that {TURNED[0]} turns: {advice}")
    if unit and about is None:
        raise ValueError(f"{name} has shifts in ångström: give the table of tomograms, or {advice}")
    return shifts / about[:, 3:] if unit else shifts


def _binning(table: pd.DataFrame, optics: pd.DataFrame | dict | None, sizes: np.ndarray, name: str) -> np.ndarray:
    """Return the factors from coordinates of particles to voxels of these sizes, in Å, by the pixel sizes in the file.

    RELION counts pixels of the tilt series. Any other pixel size may be that of the images: it only causes a warning.
    """
    if optics is not None:
        optics = pd.DataFrame([optics] if isinstance(optics, dict) else optics)
        own = [each for each in optics if each not in table]
        alike = optics[[each for each in (TILT, *PIXELS, CAMERA[1]) if each in own]].drop_duplicates()
        if group := next((each for each in (GROUP, f"{GROUP}Name") if each in optics and each in table), None):
            table = table.merge(optics.drop_duplicates(group)[[group, *own]], "left", group)
        elif alike.shape[1] and len(alike) == 1:
            table = table.merge(alike, "cross")
        elif TILT in own:
            what = f"{name} has several {TILT}, no {GROUP} of particles"
            warnings.warn(f"{what}: taken as its voxels, check the binning", TableWarning, stacklevel=6)
    if {*CAMERA} <= {*table} and PIXELS[0] not in table:
        size, times = numbers(table, CAMERA).T
        table = table.assign(**{PIXELS[0]: size * 1e4 / times})
    column = next((column for column in (TILT, *PIXELS) if column in table), None)
    stated = numbers(table, [column])[:, 0] if column else sizes
    if np.isnan(stated).any():
        raise ValueError(f"{name} states no {column} for some particles: give their {GROUP} one, or leave them out")
    other = np.flatnonzero(~np.isclose(stated, sizes, rtol=0.01))
    if len(other) and (column == TILT or not {*CENTRED} <= {*table}):
        what = f"states pixels of {stated[other[0]]:g} Å, the tomogram has {sizes[other[0]]:g}"
        done = "brought to its voxels" if column == TILT else "taken as its voxels, check the binning"
        warnings.warn(f"{name} {what}: {done}", TableWarning, stacklevel=6)
    return (stated / sizes)[:, None] if len(other) and column == TILT else np.ones((1, 1))


def write_mod(path: Path, picks: pd.DataFrame, tomograms: pd.DataFrame) -> None:
    """Write the picks of one tomogram as scattered points of an IMOD model."""
    imodmodel, about = library("imodmodel"), tomograms.iloc[0]
    points = pd.DataFrame(picks[POINT].to_numpy(float) + EDGE, columns=POINT).assign(object_id=0, contour_id=0)
    model = imodmodel.ImodModel.from_dataframe(points)
    model.header.zmax, model.header.ymax, model.header.xmax = (int(about[size]) for size in SIZE)
    model.header.pixelsize, model.header.units = float(about["spacing"]) / 10, -9  # nanometres
    with renamed(path) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # inside imodmodel
        model.to_file(partial)


class _Whole(BytesIO):
    """A file that raises if it ends too early, where imodmodel would read on for ever."""

    def read(self, size: int | None = -1) -> bytes:
        if len(content := super().read(size)) < (size or 0):
            raise EOFError("the model ends too early")
        return content


def read_mod(path: Path, tomograms: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """Return all contours' points of an IMOD model, flipped y and z restored, and its spacing if it has a unit."""
    library("imodmodel")
    model = import_module("imodmodel.parsers").parse_model(_Whole(path.read_bytes()))
    found = [contour.points for each in model.objects for contour in each.contours]
    points, header = np.concatenate([np.empty((0, 3)), *found])[:, ::-1] - EDGE, model.header
    points = points[:, [1, 0, 2]] if header.flags.model_last_viewed_onYZ_flipped_or_rotated else points
    if len(names := [each.header.name or "nameless" for each in model.objects]) > 1:
        warnings.warn(f"{path.name} has the objects {', '.join(names)}: all are taken as motors", TableWarning, 4)
    mine = [] if tomograms is None else tomograms.loc[tomograms["tomo_id"] == name, SIZE].to_numpy(int).tolist()
    sides = [header.zmax, header.ymax, header.xmax]
    if mine and all(sides) and sorted(sides) != sorted(mine[0]):  # sides may be flipped
        what = f"{path.name} is of a volume of {sides} voxels, the tomogram has {mine[0]}"
        warnings.warn(f"{what}: taken as its voxels, check the binning", TableWarning, stacklevel=4)
    spacing = header.pixelsize * 10.0 ** (10 + header.units) if -13 < header.units < 0 else np.nan
    return pd.DataFrame(points, columns=POINT).assign(tomo_id=name, spacing=spacing)


def write_tbl(path: Path, picks: pd.DataFrame, tomograms: pd.DataFrame) -> None:
    """Write picks as a Dynamo table, and beside it the map of its tomogram numbers as `.doc`."""
    dynamotable = library("dynamotable")
    number = {name: place for place, name in enumerate(tomograms["tomo_id"], start=1)}
    table = picks[POINT].assign(tomo=picks["tomo_id"].map(number), cc=picks["score"])
    table["apix"] = of_each(picks, tomograms, ["spacing"])[:, 0]
    with renamed(path.with_suffix(".doc")) as names, renamed(path) as partial:  # both or neither
        pd.Series(number.keys(), number.values()).to_csv(names, sep=" ", header=False)
        dynamotable.write(table, str(partial))


def read_tbl(path: Path, tomograms: pd.DataFrame | None, _: str) -> pd.DataFrame:
    """Return the particles of a Dynamo table, with shifts applied; a `.doc` beside it names its tomograms."""
    dynamotable, own = library("dynamotable"), path.with_suffix(".doc")
    doc = own if own.is_file() else path.with_name("indices_column20.doc")  # Dynamo's own name
    rows = enumerate(path.read_bytes().splitlines(), start=1)
    if not (widths := {number: len(line.split()) for number, line in rows if line.strip()}):
        return pd.DataFrame(columns=MOTORS)  # pandas raises for empty files
    lines, first = [*widths], next(iter(widths.values()))
    if odd := next((number for number in lines if widths[number] != first), None):  # pandas pads short rows
        raise ValueError(f"{path.name}, line {odd}: {widths[odd]} values, line {lines[0]} has {first}: correct it")
    table = dynamotable.read(str(path))
    if doc.is_file():
        rows = [line.split(None, 1) for line in text_of(doc).splitlines() if line.strip()]
        if len({int(row[0]) for row in rows if len(row) == 2 and row[0].isdecimal()}) < len(rows):
            raise ValueError(
                f"{doc.name} is not a list of numbers, each once, and names: write a line '1 name' for each"
            )
        known = named(pd.Series([row[-1].strip().strip('"') for row in rows], dtype=object), tomograms)
        names = dict(zip((int(row[0]) for row in rows), known, strict=True))
    elif tomograms is not None and len(tomograms) == 1 and table["tomo"].nunique() <= 1:
        names = dict.fromkeys(table["tomo"], tomograms["tomo_id"].iloc[0])
    else:
        raise ValueError(f"{path.name} has numbers for tomograms: put {own.name} beside it, a line '1 name' for each")
    if strange := sorted({*table["tomo"]} - {*names}):
        raise ValueError(f"{doc.name} does not name tomogram {strange[0]} of {path.name}: add a line")
    points = numbers(table, POINT) + numbers(table, ["dz", "dy", "dx"])
    sizes = table.get("apix", pd.Series(np.nan, table.index))
    about = {"score": table["cc"], "spacing": sizes.where(~sizes.isin([0, 1]))}  # 0 and 1 mean unknown
    picks = pd.DataFrame(points, columns=POINT).assign(tomo_id=table["tomo"].map(names), **about)
    return located(picks, path.name, list(zip(lines, picks["tomo_id"], strict=False)))
