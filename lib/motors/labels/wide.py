"""Labels in the original solution's format: one row per tomogram, its motors a list in one cell."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from motors.labels.table import Labels
from motors.tables import NO_MOTOR, POINT, TOMOGRAMS, numbers, read_table, refuse

WIDE = {"Z": "size_z", "Y": "size_y", "X": "size_x", "voxel_spacing": "spacing"}
NO_POINTS = (LookupError, TypeError, ValueError, OverflowError, RecursionError)  # errors on JSON of other content
FIRST = ["motor_z", "motor_y", "motor_x"]


def to_wide(labels: Labels) -> pd.DataFrame:
    """Return one row per tomogram, the form of the original solution's tables.

    The columns are tomo_id, Z, Y, X, voxel_spacing, num_motors; motor_z, motor_y, motor_x of the first motor or -1; and
    motor_zyx, all motors as text, a JSON list of [z, y, x].
    """
    wide = labels.validate().tomograms[TOMOGRAMS].set_axis(["tomo_id", *WIDE], axis=1)
    points = {tomo_id: [] for tomo_id in wide["tomo_id"]}
    for tomo_id, point in zip(labels.motors["tomo_id"], numbers(labels.motors, POINT).tolist(), strict=True):
        points[tomo_id].append(point)
    first = np.array([[*found, [NO_MOTOR] * 3][0] for found in points.values()]).reshape(-1, 3)
    columns = {"num_motors": list(map(len, points.values())), **dict(zip(FIRST, first.T, strict=True))}
    return wide.assign(**columns, motor_zyx=list(map(json.dumps, points.values())))


def read_wide(path: str | Path) -> Labels:
    """Return the labels of a file with one row per tomogram (see `to_wide`); further columns are ignored.

    Raises FileNotFoundError or ValueError if the file is missing, lacks columns, or a list is unreadable or miscounted.
    """
    path, table = Path(path), read_table(path, ["tomo_id", *WIDE, "num_motors", "motor_zyx"])
    points = [_points(text) for text in table["motor_zyx"]]
    unknown = [each is None for each in points]
    shown = table.loc[unknown, "motor_zyx"].iloc[:1].to_list()
    refuse(table, unknown, path.name, f"has motor_zyx {shown}", "write a list such as [[10.0, 20.0, 30.0]]")
    wrong = numbers(table, ["num_motors"])[:, 0] != [len(found) for found in points]
    refuse(table, wrong, path.name, "has another num_motors than motor_zyx has entries", "correct one of them")
    rows = table[["tomo_id"]].loc[table.index.repeat([len(found) for found in points])]  # keeps line numbers
    rows[POINT] = np.concatenate([np.empty((0, 3)), *points])
    labels = Labels(table.rename(columns=WIDE)[TOMOGRAMS], rows).validate(path.name)
    return Labels(labels.tomograms, rows.reset_index(drop=True))


def _points(text: str) -> np.ndarray | None:
    """Return the points_zyx written in one cell of a wide table; None if it holds something else."""
    try:
        return points_of(json.loads(text))
    except NO_POINTS:
        return None


def points_of(found: list[list[float]]) -> np.ndarray:
    """Return lists of z, y, x from JSON as `(n, 3)` float64; raises one of `NO_POINTS` for other content."""
    points = np.array(found, dtype=object)
    if points.size != 3 * len(found):
        raise ValueError("not three numbers of each motor")
    if strange := [each for each in points.ravel() if isinstance(each, bool)]:
        raise ValueError(f"{json.dumps(strange[0])} is not a number")
    return points.astype(float).reshape(-1, 3)
