"""External labels, made in other frames, converted to voxels of the stored tomograms."""

import json
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from motors.geometry import Shape, outside
from motors.labels.formats import ARRAY_SHAPE, read_competition
from motors.labels.table import Labels
from motors.labels.wide import NO_POINTS, points_of, read_wide
from motors.picks import formats
from motors.tables import MOTORS, POINT, SIZE, TOMOGRAMS, TableWarning, has_motor, need, numbers, read_table, refuse
from motors.workspace.files import normalized, on_disk, visible

FRAME = (128, 512, 512)  # slices sampled at equal distances, each resized to 512 by 512
NATIVE = ["native_z", "native_y", "native_x"]  # the original shape of a tomogram, before it was stored
TABULAR = (".csv", ".json", ".tsv", ".txt", ".xls", ".xlsx", ".ods")  # what annotators may send
STORED = 16.0  # ångström per voxel to which finer tomograms were resampled for storage


def read_external(path: str | Path, tomograms: pd.DataFrame, frame: Shape = FRAME) -> Labels:
    """Return labels made in a frame of fixed shape, in voxels of the stored tomograms.

    The frame's slices are the tomogram's at `trunc(linspace(0, native_z - 1, frame[0]))`, as in the original solution,
    so z is accurate to half the distance between them: `native_z / frame[0] / 2` slices.

    The file is CSV with one row per motor: tomo_id, and z, y, x in voxels of the `(z, y, x)` frame, z a slice number;
    a tomogram without motors has a row of -1. `tomograms`, the stored ones, has tomo_id, size_z, size_y, size_x,
    spacing, and native_z, the number of slices before resampling; other tomograms are left out, with a TableWarning.

    Raises FileNotFoundError if the file is missing, ValueError if it lacks columns, or has a motor twice, without a
    position, between slices, outside the frame, or beside a row of -1.
    """
    path, columns = Path(path), [*TOMOGRAMS, "native_z"]
    need(tomograms, columns, "the table of stored tomograms")
    every = read_table(path, MOTORS).drop(columns=columns[1:], errors="ignore")  # `tomograms` has these
    table = every[has_motor(every, path.name)]
    points = numbers(table, POINT)
    lost, broken = ~np.isfinite(points).all(axis=1), points[:, 0] != points[:, 0].round()
    refuse(table, lost, path.name, "has a motor without a position", "write three numbers, or remove the row")
    what, advice = f"has a motor outside the frame {frame}", "check the order z, y, x and the frame"
    refuse(table, outside(points, frame), path.name, what, advice)
    refuse(table, broken, path.name, "has a motor between two slices", "write the number of a slice as z")
    refuse(table, table.duplicated(MOTORS), path.name, "has the same motor twice", "keep one row")
    _say_left_out(path.name, every["tomo_id"], tomograms["tomo_id"])
    placed = table.merge(tomograms[columns], on="tomo_id", validate="many_to_one")
    placed[POINT] = _stored(placed, frame)
    known = tomograms.loc[tomograms["tomo_id"].isin(every["tomo_id"]), TOMOGRAMS].reset_index(drop=True)
    return Labels(known, placed.drop(columns=columns[1:])).validate(path.name)


def read_native(path: str | Path, tomograms: pd.DataFrame) -> Labels:
    """Return labels made in voxels of the original tomograms, such as those of the competition's second place.

    The file is JSON with a list of `[z, y, x]` for each tomogram, empty for one without motors; names may have the
    number of a dataset and two underscores as a prefix, as in `10139__run`; duplicate motors are kept once.
    `tomograms`, the stored ones, has tomo_id, size_z, size_y, size_x, spacing, native_z, native_y, native_x; other
    tomograms are left out, with a TableWarning.

    Raises FileNotFoundError if the file is missing, ValueError if invalid, with a tomogram twice, or a motor outside.
    """
    path, name, found = on_disk(Path(path)), "", []
    need(tomograms, [*TOMOGRAMS, *NATIVE], "the table of stored tomograms")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: check the folder")
    try:
        pairs, known = json.loads(path.read_bytes(), object_pairs_hook=list), set(tomograms["tomo_id"])
        for name, points in pairs:
            own = name if name in known else re.sub(r"^\d+__", "", name).strip()
            found.append((normalized(own), points_of(points)))
    except NO_POINTS as error:
        where = f", tomogram {name}" if name else ""
        raise ValueError(f"{path.name}{where}: no list of z, y, x for each tomogram ({error}): correct it") from error
    return _from_native(found, tomograms, path.name)


def read_points(folder: str | Path, tomograms: pd.DataFrame) -> Labels:
    """Return labels from point annotations of the CryoET Data Portal, such as of flagellar motors (GO:0120100).

    The folder has `<run>.ndjson` for each annotated tomogram, empty for one without motors: on each line a JSON record
    of type "point", "orientedPoint" or "instancePoint", with location x, y, z in voxels of the original tomogram.
    `tomograms` is as for `read_native`; others are left out, with a TableWarning.

    Raises FileNotFoundError if there are no files, ValueError if a line is not a record, or a motor is outside.
    """
    folder = on_disk(Path(folder))
    paths = _ending_in(folder, ".ndjson") if folder.is_dir() else []
    need(tomograms, [*TOMOGRAMS, *NATIVE], "the table of stored tomograms")
    if not paths:
        raise FileNotFoundError(f"{folder} holds no ndjson files: give the folder of point annotations")
    found = [(normalized(path.stem), numbers(formats.read(path, name=path.stem), POINT)) for path in paths]
    return _from_native(found, tomograms, folder.name)


def read_picked(paths: str | Path | Iterable[str | Path], tomograms: pd.DataFrame) -> Labels:
    """Return the picks in one or more files, in formats of `motors.picks.formats`, as labels: each is a motor.

    `tomograms` has tomo_id, size_z, size_y, size_x, spacing of every tomogram that was searched; one without picks is
    labelled as having no motor. Raises FileNotFoundError if a file is missing, ValueError if it is damaged, or a pick
    is duplicated, outside, or of an unlisted tomogram.
    """
    need(tomograms, TOMOGRAMS, "the table of tomograms")
    paths = [paths] if isinstance(paths, str | Path) else paths
    found = [formats.read(path, tomograms)[MOTORS] for path in paths]
    motors = pd.concat([pd.DataFrame(columns=MOTORS), *found], ignore_index=True).astype(dict.fromkeys(POINT, float))
    return Labels(tomograms[TOMOGRAMS].reset_index(drop=True), motors).validate("picks")


def gather(folder: str | Path) -> dict[str, Labels]:
    """Return the label tables in a folder by name of file, without extension; other files are left out.

    A TableWarning names one that may be a table.

    They are files of `read_wide`, `read_competition`, `read_external` and `read_native`. The last two have no shapes:
    they are read for the tomograms of the other tables that were stored at their original spacing, which excludes
    those at exactly 16 ångström.

    Raises FileNotFoundError without such a folder, ValueError if two tables have one name, or as the readers.
    """
    folder = on_disk(Path(folder))
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: name one with label tables")
    columns = {path: set(read_table(path).columns) for path in _ending_in(folder, ".csv")}
    wide = [path for path, names in columns.items() if "motor_zyx" in names]
    own = [path for path, names in columns.items() if names.issuperset(ARRAY_SHAPE) and path not in wide]
    placed = [path for path, names in columns.items() if names >= {*MOTORS} and "spacing" not in names]  # not in voxels
    frames = [path for path in placed if path not in (*wide, *own)]
    lists = _ending_in(folder, "coordinates.json")
    if others := [path.name for path in _ending_in(folder, TABULAR) if path not in (*wide, *own, *frames, *lists)]:
        what = f"no table of labels by columns: {', '.join(others):.200}"
        warnings.warn(f"{folder} has files that are left out, {what}", TableWarning, stacklevel=2)
    stems = [path.stem.casefold() for path in (*wide, *own, *frames, *lists)]
    if twice := [name for name in stems if stems.count(name) > 1]:
        raise ValueError(f"{folder} has two label tables called {twice[0]}: rename one of them")
    found = {path.stem: read_wide(path) for path in wide} | {path.stem: read_competition(path) for path in own}
    known = [labels.tomograms[TOMOGRAMS] for labels in found.values()] or [pd.DataFrame(columns=TOMOGRAMS)]
    came = pd.concat(known).drop_duplicates("tomo_id").query("spacing != @STORED")
    came = came.assign(**{native: came[size] for native, size in zip(NATIVE, SIZE, strict=True)})
    found |= {path.stem: read_external(path, came) for path in frames}
    return found | {path.stem: read_native(path, came) for path in lists}


def _from_native(pairs: list[tuple[str, np.ndarray]], tomograms: pd.DataFrame, name: str) -> Labels:
    """Return pairs of name and points, in voxels of the original tomograms, as labels of the stored ones."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError(f"{name} has {len(pairs) - len(found)} tomograms twice, perhaps spelt otherwise: keep one")
    _say_left_out(name, pd.Series(list(found)), tomograms["tomo_id"])
    known = tomograms[tomograms["tomo_id"].isin(list(found))].reset_index(drop=True)
    points = [found[tomo_id] for tomo_id in known["tomo_id"]]
    scales = numbers(known, SIZE) / numbers(known, NATIVE)
    moved = [(here + 0.5) * scale - 0.5 for here, scale in zip(points, scales, strict=True)]
    motors = pd.DataFrame(np.concatenate([np.empty((0, 3)), *moved]), columns=POINT)
    motors.insert(0, "tomo_id", known["tomo_id"].repeat(list(map(len, points))).to_numpy())
    return Labels(known[TOMOGRAMS], motors.drop_duplicates(ignore_index=True)).validate(name)


def _say_left_out(name: str, ids: pd.Series, known: pd.Series) -> None:
    """Warn about `ids` in file `name` that are not among the `known` ones."""
    others = ids[~ids.isin(known)]
    if len(others):
        what = f"{len(others)} of {len(ids)} entries are of tomograms that are not stored, such as {others.iloc[0]}"
        warnings.warn(f"{name}: {what}: left out", TableWarning, stacklevel=3)


def _stored(placed: pd.DataFrame, frame: Shape) -> np.ndarray:
    """Return points of the frame in voxels of the stored tomograms; integers are centres in both."""
    points, sizes, native = numbers(placed, POINT), numbers(placed, SIZE), placed["native_z"].to_numpy(int)
    picked = [int(np.linspace(0, n - 1, frame[0])[int(z)]) for z, n in zip(points[:, 0], native, strict=True)]
    before = np.column_stack([native, np.broadcast_to(frame[1:], (len(points), 2))])
    return (np.column_stack([picked, points[:, 1:]]) + 0.5) / before * sizes - 0.5


def _ending_in(folder: Path, ending: str | tuple[str, ...]) -> list[Path]:
    """Return the visible files in a folder whose names end in `ending`, ignoring case, sorted."""
    return sorted(path for path in visible(folder.iterdir()) if path.name.lower().endswith(ending))
