"""Where the motors are: one table of tomograms, one of motors, and the files they come from and go to."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from motors import workspace
from motors.geometry import Shape

POINT = ["z", "y", "x"]
SIZE = ["size_z", "size_y", "size_x"]
TOMOGRAMS = ["tomo_id", *SIZE, "spacing"]
MOTORS = ["tomo_id", *POINT]
MOTOR_AXES = {"Motor axis 0": "z", "Motor axis 1": "y", "Motor axis 2": "x"}  # also the columns of a submission
ARRAY_SHAPE = {f"Array shape (axis {axis})": size for axis, size in enumerate(SIZE)}
COMPETITION = MOTOR_AXES | ARRAY_SHAPE | {"Voxel spacing": "spacing"}
WIDE = {"Z": "size_z", "Y": "size_y", "X": "size_x", "voxel_spacing": "spacing"}
FIRST = ["motor_z", "motor_y", "motor_x"]
NO_MOTOR = -1.0  # in all three coordinates


@dataclass(frozen=True, eq=False)
class Labels:
    """Tomograms and the motors in them, as made by the readers of this module.

    Parameters
    ----------
    tomograms : one row each: tomo_id, size_z, size_y, size_x (voxels), spacing (ångström per voxel)
    motors : one row each: tomo_id, z, y, x (voxels; integers are voxel centres); a tomogram may have none

    Points are in the frame that the sizes describe: the same tomogram resampled has other sizes, and other points.
    Further columns, such as where a motor comes from, stay with their row.
    """

    tomograms: pd.DataFrame
    motors: pd.DataFrame

    def validate(self, name: str | Path = "labels") -> Labels:
        """Return these labels if they make sense; `name` is what messages call them, such as the file's name.

        Raises
        ------
        ValueError
            One sentence about the first thing that does not make sense, naming the tomogram.
        """
        table, motors = self.tomograms, self.motors
        need(table, TOMOGRAMS, f"{name} (tomograms)")
        need(motors, MOTORS, f"{name} (motors)")
        sizes = numbers(table, [*SIZE, "spacing"])
        wrong = ~(np.isfinite(sizes) & (sizes > 0)).all(axis=1) | (sizes[:, :3] % 1 != 0).any(axis=1)
        refuse(table, table["tomo_id"].isna(), name, "has no id", "name every tomogram")
        refuse(table, table["tomo_id"].duplicated(), name, "is listed twice", "keep one row")
        refuse(table, wrong, name, "has no true shape or spacing", "give voxels and ångström per voxel above 0")
        placed = motors[MOTORS].merge(table[TOMOGRAMS], on="tomo_id", how="left")
        points, sizes = numbers(placed, POINT), numbers(placed, SIZE)
        unknown, lost = placed["spacing"].isna(), ~np.isfinite(points).all(axis=1)
        outside = ((points < -0.5) | (points > sizes - 0.5)).any(axis=1)
        refuse(placed, unknown, name, "has a motor but no shape and spacing", "add them, or remove the motor")
        refuse(placed, lost, name, "has a motor without a position", "write three numbers, or remove the motor")
        refuse(placed, outside, name, "has a motor outside its shape", "check the order z, y, x and the shape")
        refuse(placed, placed.duplicated(MOTORS), name, "has the same motor twice", "keep one row")
        return self

    def of(self, tomo_id: str) -> np.ndarray:
        """Return the motors of one tomogram as points_zyx, `(n, 3)` float64 in voxels; `(0, 3)` without motors."""
        self._known([tomo_id])
        return self.motors.loc[self.motors["tomo_id"] == tomo_id, POINT].to_numpy(np.float64)

    def counts(self) -> pd.Series:
        """Return the number of motors per tomogram, zeros included, by tomo_id in the order of the tomograms."""
        found = self.motors["tomo_id"].value_counts()
        return found.reindex(self.tomograms["tomo_id"], fill_value=0).rename("motors")

    def rows(self) -> pd.DataFrame:
        """Return one row per motor, one of -1 for a tomogram without: tomo_id, sizes, spacing, z, y, x, has_motor."""
        table = self.validate().tomograms[TOMOGRAMS].merge(self.motors[MOTORS], on="tomo_id", how="left")
        table["has_motor"] = table["z"].notna()
        table[POINT] = np.nan_to_num(numbers(table, POINT), nan=NO_MOTOR)
        return table

    def shapes(self) -> dict[str, Shape]:
        """Return the shape `(z, y, x)` of every tomogram, in voxels, by tomo_id."""
        sizes = map(tuple, self.tomograms[SIZE].to_numpy().astype(int).tolist())
        return dict(zip(self.tomograms["tomo_id"], sizes, strict=True))

    def select(self, ids: Iterable[str]) -> Labels:
        """Return the labels of these tomograms alone, in the order they have here; unknown ones raise a ValueError."""
        ids = self._known(ids)
        return Labels(*(t[t["tomo_id"].isin(ids)].reset_index(drop=True) for t in (self.tomograms, self.motors)))

    def _known(self, ids: Iterable[str]) -> list[str]:
        """Return `ids` as a list after checking that each is here."""
        ids = list(ids)
        unknown = sorted(set(ids) - set(self.tomograms["tomo_id"]))
        if unknown:
            raise ValueError(f"tomogram {unknown[0]} is not among the labelled ones: check it, or join its labels")
        return ids


def read_competition(path: str | Path) -> Labels:
    """Return the labels of a competition file such as train_labels.csv, one row per motor, -1 -1 -1 for none.

    Rows are counted, the column "Number of motors" is not believed (see `wrong_counts`). Columns that the
    competition does not have stay with the motors.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, lacks columns, contradicts itself, or is no valid table of labels.
    """
    path, table = Path(path), read_table(path, ["tomo_id", *COMPETITION]).rename(columns=COMPETITION)
    varies = table.groupby("tomo_id")[TOMOGRAMS[1:]].transform("nunique").gt(1).any(axis=1)
    refuse(table, varies, path.name, "has rows that disagree on its shape or spacing", "correct the wrong ones")
    missing = table[POINT].eq(NO_MOTOR)
    empty, partial = missing.all(axis=1), missing.any(axis=1) & ~missing.all(axis=1)
    conflict = empty & table["tomo_id"].duplicated(keep=False)
    refuse(table, partial, path.name, "has -1 in some coordinates only", "write -1 in all three, or a position")
    refuse(table, conflict, path.name, "has a row -1 -1 -1 among others", "remove that row")
    extra = table.columns.difference([*TOMOGRAMS, *POINT, "row_id", "Number of motors"], sort=False)
    tomograms = table.drop_duplicates("tomo_id")[TOMOGRAMS].reset_index(drop=True)
    return Labels(tomograms, table.loc[~empty, [*MOTORS, *extra]].reset_index(drop=True)).validate(path.name)


def wrong_counts(path: str | Path) -> pd.DataFrame:
    """Return the tomograms of a competition file whose "Number of motors" is not their number of motors.

    Returns
    -------
    One row each: tomo_id, said (the column), counted (the rows)
    """
    rows = read_table(path, ["tomo_id", "Number of motors"]).groupby("tomo_id", sort=False)
    both = pd.DataFrame({"said": rows["Number of motors"].max(), "counted": read_competition(path).counts()})
    return both[both["said"] != both["counted"]].reset_index()


def write_competition(path: str | Path, labels: Labels) -> None:
    """Write labels as the competition does: one row per motor, one of -1 for a tomogram without."""
    table = labels.rows()[["tomo_id", *COMPETITION.values()]].rename_axis("row_id").reset_index()
    table["count"] = table["tomo_id"].map(labels.counts())
    workspace.write_table(path, table.set_axis(["row_id", "tomo_id", *COMPETITION, "Number of motors"], axis=1))


def to_wide(labels: Labels) -> pd.DataFrame:
    """Return one row per tomogram, the form of the original solution's tables.

    Returns
    -------
    tomo_id, Z, Y, X, voxel_spacing, num_motors; motor_z, motor_y, motor_x of the first motor or -1; and motor_zyx, all
    motors as text, a JSON list of [z, y, x]
    """
    wide = labels.validate().tomograms[TOMOGRAMS].set_axis(["tomo_id", *WIDE], axis=1)
    points = {tomo_id: [] for tomo_id in wide["tomo_id"]}
    for tomo_id, point in zip(labels.motors["tomo_id"], numbers(labels.motors, POINT).tolist(), strict=True):
        points[tomo_id].append(point)
    first = np.array([[*found, [NO_MOTOR] * 3][0] for found in points.values()]).reshape(-1, 3)
    columns = {"num_motors": list(map(len, points.values())), **dict(zip(FIRST, first.T, strict=True))}
    return wide.assign(**columns, motor_zyx=list(map(json.dumps, points.values())))


def read_wide(path: str | Path) -> Labels:
    """Return the labels of a file with one row per tomogram (see `to_wide`); its further columns are not read.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, lacks columns, a list of motors is unreadable or not as long as num_motors says.
    """
    path, table = Path(path), read_table(path, ["tomo_id", *WIDE, "num_motors", "motor_zyx"])
    points = [_points(text, tomo_id, path) for tomo_id, text in zip(table["tomo_id"], table["motor_zyx"], strict=True)]
    wrong = table["num_motors"] != [len(found) for found in points]
    refuse(table, wrong, path.name, "has another num_motors than motor_zyx has entries", "correct one of them")
    motors = pd.DataFrame(np.concatenate([np.empty((0, 3)), *points]), columns=POINT)
    motors.insert(0, "tomo_id", table["tomo_id"].repeat([len(found) for found in points]).to_numpy())
    return Labels(table.rename(columns=WIDE)[TOMOGRAMS], motors).validate(path.name)


def write(folder: str | Path, labels: Labels) -> None:
    """Write labels as `tomograms.csv` and `motors.csv` in a folder."""
    labels.validate()
    workspace.write_table(Path(folder) / "tomograms.csv", labels.tomograms)
    workspace.write_table(Path(folder) / "motors.csv", labels.motors)


def read(folder: str | Path) -> Labels:
    """Return the labels of a folder with `tomograms.csv` and `motors.csv`.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing or lacks columns, or together they are no valid labels.
    """
    folder = Path(folder)
    tables = read_table(folder / "tomograms.csv", TOMOGRAMS), read_table(folder / "motors.csv", MOTORS)
    return Labels(*tables).validate(folder.name)


def join(*labels: Labels) -> Labels:
    """Return all tomograms and motors of several labels; what occurs in more than one of them is kept once.

    Raises
    ------
    ValueError
        If a tomogram has different shapes or spacings: its points would be in different frames.
    """
    tomograms = pd.concat([each.tomograms for each in labels], ignore_index=True).drop_duplicates(TOMOGRAMS)
    twice, what = tomograms["tomo_id"].duplicated(), "comes with different shapes or spacings"
    refuse(tomograms, twice, "the joined labels", what, "move its motors to one frame first")
    motors = [each.validate().motors.astype(dict.fromkeys(POINT, float)) for each in labels]
    motors = pd.concat(motors, ignore_index=True).drop_duplicates(MOTORS)
    return Labels(tomograms.reset_index(drop=True), motors.reset_index(drop=True)).validate("the joined labels")


def folds(labels: Labels, *, splits: int = 4, seed: int = 42, reviewed: Labels | None = None) -> pd.DataFrame:
    """Return in which fold each tomogram is held out; those with several motors always train.

    The folds of the original solution: scikit-learn's StratifiedKFold by number of motors, tomograms sorted by id.

    Parameters
    ----------
    labels : decide the folds
    splits : number of folds
    seed : of the shuffling
    reviewed : later labels of the same tomograms; where they have several motors, the tomogram always trains too

    Returns
    -------
    tomo_id, fold; sorted by tomo_id; fold is 0 to `splits` - 1, or -1 for tomograms that are never held out

    Raises
    ------
    ValueError
        If there are fewer tomograms of every number of motors than `splits`.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = labels.validate().counts().sort_index()
    most = int(counts.value_counts().max()) if len(counts) else 0
    if most < splits:
        raise ValueError(
            f"{splits} folds need {splits} tomograms with equally many motors, here are {most}: split less"
        )
    fold = pd.Series(-1, counts.index, name="fold")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few tomograms have ten motors, and those always train
        parts = StratifiedKFold(splits, shuffle=True, random_state=seed).split(counts, counts)
        for number, (_, held_out) in enumerate(parts):
            fold.iloc[held_out] = number
    several = counts if reviewed is None else np.maximum(counts, reviewed.counts().reindex(counts.index, fill_value=0))
    return fold.where(several <= 1, -1).reset_index()


def read_table(path: str | Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Return the table of a CSV file that has `columns`; ids stay text."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: check the folder, or make the file first")
    table = pd.read_csv(path, dtype={"tomo_id": str})
    need(table, columns, path.name)
    return table


def numbers(table: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
    """Return columns of `table` as float64, NaN where they hold no number."""
    return table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)


def need(table: pd.DataFrame, columns: Iterable[str], name: str | Path) -> None:
    """Raise a ValueError if `table`, which messages call `name`, lacks one of `columns`."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(
            f"{name} has no column {', '.join(missing)}, only {', '.join(map(str, table.columns))}: add it"
        )


def refuse(table: pd.DataFrame, wrong: pd.Series | np.ndarray, name: str | Path, what: str, advice: str) -> None:
    """Raise a ValueError about the first of the `wrong` rows of `table`, if any: what is wrong, and what to do."""
    if np.any(wrong):
        first, count = table.loc[np.asarray(wrong), "tomo_id"].iloc[0], np.sum(wrong)
        rows = f" ({count} such rows)" if count > 1 else ""
        raise ValueError(f"{name}: tomogram {first} {what}{rows}: {advice}")


def _points(text: str, tomo_id: str, path: Path) -> np.ndarray:
    """Return the points_zyx written in one cell of a wide table."""
    try:
        return np.array(json.loads(text), dtype=float).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path.name}: motor_zyx of tomogram {tomo_id} is {text!r}: write a list such as [[10.0, 20.0, 30.0]]"
        ) from error
