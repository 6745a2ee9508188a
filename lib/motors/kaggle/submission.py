"""The submission file: every tomogram exactly once, with a position inside it or none."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from motors.geometry import Shape
from motors.tables import MOTOR_AXES, NO_MOTOR, POINT, need, numbers, read_table, refuse
from motors.volumes.slices import stack_shape
from motors.workspace.files import write_table, write_text
from motors.workspace.paths import Run

COLUMNS = ["tomo_id", *MOTOR_AXES]


def frame(detections: pd.DataFrame, ids: Iterable[str]) -> pd.DataFrame:
    """Return the submission of these detections: one row per id, in the order of `ids`.

    Detections have tomo_id, z, y, x in voxels of the original tomogram, at most one row each; other columns are
    dropped. The submission has tomo_id, Motor axis 0, Motor axis 1, Motor axis 2; ids without a detection get -1 -1 -1.
    Raises ValueError as `validate`; also if a detection belongs to none of `ids`.
    """
    ids = list(ids)
    need(detections, ["tomo_id", *POINT], "the detections")
    detections = detections[["tomo_id", *POINT]].set_axis(COLUMNS, axis=1)
    _belong(detections, ids, "the detections")
    whole = detections.set_index("tomo_id").reindex(ids, fill_value=NO_MOTOR).rename_axis("tomo_id").reset_index()
    return validate(whole, ids, name="the detections").astype(dict.fromkeys(MOTOR_AXES, float))


def validate(
    table: pd.DataFrame, ids: Iterable[str], shapes: Mapping[str, Shape] | None = None, *, name: str = "the submission"
) -> pd.DataFrame:
    """Return `table` if the competition would accept it and its positions are possible.

    It has tomo_id, Motor axis 0, Motor axis 1, Motor axis 2: z, y, x in voxels, or -1 -1 -1; each of `ids` once.
    `shapes` are `(z, y, x)` of tomograms in voxels, by id, if known; `name` is the table's name in messages.

    Raises ValueError if the columns differ, an id is unknown, missing or duplicated, or a position is not a number,
    partly -1, negative or outside its tomogram; the message names the first such tomogram.
    """
    ids = pd.DataFrame({"tomo_id": list(ids)})
    if list(table.columns) != COLUMNS:
        raise ValueError(f"{name} has the columns {', '.join(map(str, table.columns))}: make them {', '.join(COLUMNS)}")
    _belong(table, ids["tomo_id"], name)
    refuse(ids, ids["tomo_id"].duplicated(), "the list of ids", "is listed twice", "list it once")
    refuse(ids, ~ids["tomo_id"].isin(table["tomo_id"]), name, "is missing", "add a row, -1 -1 -1 for no motor")
    points = numbers(table, MOTOR_AXES)
    advice = "write a position, or -1 -1 -1 for no motor"
    refuse(table, ~np.isfinite(points).all(axis=1), name, "has a coordinate that is not a finite number", advice)
    below = (points < 0).any(axis=1) & ~(points == NO_MOTOR).all(axis=1)
    refuse(table, below, name, "has a coordinate below 0", advice)
    sizes = np.array([(shapes or {}).get(each, (np.inf,) * 3) for each in table["tomo_id"]], float).reshape(-1, 3)
    outside = (points > sizes - 0.5).any(axis=1)
    refuse(table, outside, name, "has its motor outside its shape", "give voxels of the original tomogram, z y x")
    return table


def _belong(table: pd.DataFrame, ids: Iterable[str], name: str) -> None:
    """Refuse a table with a tomogram that is not among `ids` or is duplicated."""
    refuse(table, ~table["tomo_id"].isin(ids), name, "is not asked for", "remove the row, or add the id")
    refuse(table, table["tomo_id"].duplicated(), name, "is there twice", "keep one row")


def write(path: str | Path, table: pd.DataFrame, ids: Iterable[str], shapes: Mapping[str, Shape] | None = None) -> Path:
    """Validate a submission, write it atomically, with numbers without exponents, and return its path."""
    path = Path(path)
    validate(table, ids, shapes, name=path.name)
    text = table[[*MOTOR_AXES]].astype(float).map(np.format_float_positional, trim="-")
    return write_table(path, table.assign(**text))


def read_and_validate(path: str | Path, ids: Iterable[str], shapes: Mapping[str, Shape] | None = None) -> pd.DataFrame:
    """Return the submission in a file; raises FileNotFoundError or ValueError if it is missing, or as `validate`."""
    path = Path(path)
    return validate(read_table(path), ids, shapes, name=path.name)


def shapes(folders: Mapping[str, str | Path]) -> dict[str, Shape]:
    """Return the `(z, y, x)` shapes of slice stacks; incomplete ones are left out."""
    found = {}
    for name, folder in folders.items():
        with suppress(OSError, ValueError):  # the shape of an incomplete stack is unknown
            found[name] = stack_shape(folder)
    return found


def refuse_failures(faults: pd.DataFrame, ids: Collection[str], *, most: float = 0.2) -> None:
    """Raise RuntimeError if more than a fraction `most` of all tomograms is in `faults`; call it after writing."""
    if len(faults) > most * len(ids):
        usual = faults["reason"].mode()[0] if len(faults) else ""
        failed = f"{len(faults)} of {len(ids)} tomograms failed, more than {most:.0%}"
        raise RuntimeError(f"{failed}: see faults.csv, such as: {usual}")


def hand_in(run: Run, path: Path) -> Path:
    """Copy a submission to where Kaggle expects it and return that path; elsewhere, return `path`."""
    if run.workspace.outputs.name != "working":  # of Kaggle's machine
        return path
    return write_text(run.workspace.outputs / path.name, path.read_text(encoding="utf-8"))
