"""Labels: one table of tomograms, one of motors, and what such tables are checked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from motors.geometry import Shape

POINT = ["z", "y", "x"]
SIZE = ["size_z", "size_y", "size_x"]
TOMOGRAMS = ["tomo_id", *SIZE, "spacing"]
MOTORS = ["tomo_id", *POINT]
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

    def frames(self) -> dict[str, str]:
        """Return shape and spacing of every tomogram as text such as 48x64x96@13.1, by tomo_id."""
        spacings = self.tomograms["spacing"].tolist()
        texts = ("x".join(map(str, shape)) for shape in self.shapes().values())
        return {name: f"{text}@{at:g}" for name, text, at in zip(self.shapes(), texts, spacings, strict=True)}

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


def read_table(path: str | Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Return the table of a CSV file that has `columns`; ids stay text.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, is no table, has rows that are longer than its header, or lacks columns.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: check the folder, or make the file first")
    try:
        table = pd.read_csv(path, dtype={"tomo_id": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path.name} is no table ({reason}): mend it, or make the file again as CSV") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is too much for names of rows
        raise ValueError(f"{path.name} has more values in its rows than columns in its first line: mend it")
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
