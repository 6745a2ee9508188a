"""Labels: a table of tomograms and one of motors, with their validation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from motors import geometry
from motors.geometry import Shape
from motors.tables import MOTORS, NO_MOTOR, POINT, SIZE, SOLUTION, TOMOGRAMS, need, numbers, refuse


@dataclass(frozen=True, eq=False)
class Labels:
    """Tomograms and the motors in them, as made by the readers of this package.

    Points are in voxels of the volume that the sizes describe: a resampled tomogram has other sizes and points.
    Further columns, such as the source of a motor, stay with their row.
    """

    tomograms: pd.DataFrame  # one row each: tomo_id, size_z, size_y, size_x (voxels), spacing (ångström per voxel)
    motors: pd.DataFrame  # one row each: tomo_id, z, y, x (voxels; integers are centres); a tomogram may have none
    # with the same columns, points that may be motors or not: losses ignore voxels within 1000 Å of them
    unsure: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=MOTORS))

    def validate(self, name: str | Path = "labels") -> Labels:
        """Return these labels if they are valid; `name` denotes them in messages, such as the file's name.

        Raises ValueError with one sentence about the first problem, naming the tomogram.
        """
        table = self.tomograms
        need(table, TOMOGRAMS, f"{name} (tomograms)")
        sizes = numbers(table, [*SIZE, "spacing"])
        wrong = ~(np.isfinite(sizes) & (sizes > 0)).all(axis=1) | (sizes[:, :3] != np.floor(sizes[:, :3])).any(axis=1)
        refuse(table, table["tomo_id"].isna(), name, "has no id", "name every tomogram")
        refuse(table, table["tomo_id"].duplicated(), name, "is listed twice", "keep one row")
        refuse(table, wrong, name, "has no true shape or spacing", "give voxels and ångström per voxel above 0")
        for motors, what in ((self.motors, "motor"), (self.unsure, "point that is not sure")):
            need(motors, MOTORS, f"{name} ({what}s)")
            if motors.empty:
                continue
            points, sizes = numbers(motors, POINT), numbers(motors[MOTORS].merge(table, "left", "tomo_id"), SIZE)
            unknown, lost = np.isnan(sizes[:, 0]), ~np.isfinite(points).all(axis=1)
            outside = geometry.outside(points, sizes)
            refuse(motors, unknown, name, f"has a {what} but no shape and spacing", f"add them, or remove the {what}")
            refuse(motors, lost, name, f"has a {what} without a position", f"write three numbers, or remove the {what}")
            refuse(motors, outside, name, f"has a {what} outside its shape", "check the order z, y, x and the shape")
            refuse(motors, motors.duplicated(MOTORS), name, f"has the same {what} twice", "keep one row")
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
        """Return one row per motor, or one of -1 without motors: tomo_id, sizes, spacing, z, y, x, has_motor."""
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
        framed = zip(self.shapes().items(), self.tomograms["spacing"], strict=True)
        return {name: f"{'x'.join(map(str, shape))}@{spacing:g}" for (name, shape), spacing in framed}

    def select(self, ids: Iterable[str]) -> Labels:
        """Return the labels of the tomograms `ids` only, in their present order; raises ValueError for unknown ids."""
        ids = self._known(ids)
        tables = (self.tomograms, self.motors, self.unsure)
        return Labels(*(table[table["tomo_id"].isin(ids)].reset_index(drop=True) for table in tables))

    def _known(self, ids: Iterable[str]) -> list[str]:
        ids = list(ids)
        unknown = sorted(set(ids) - set(self.tomograms["tomo_id"]))
        if unknown:
            raise ValueError(f"tomogram {unknown[0]} is not among the labelled ones: check it, or join its labels")
        return ids


def prepared(labels: Labels, spacing: geometry.Spacing) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of the prepared volumes: the sizes and the motors of `labels` at another spacing.

    Labels are in original voxels; the spacing is ångström per voxel of the prepared volumes along z, y, x. The tables
    are tomograms (tomo_id, size_z, size_y, size_x) and motors (tomo_id, z, y, x), in voxels of the prepared volumes.
    """
    labels.validate()
    tomograms, motors = labels.tomograms[["tomo_id", *SIZE]].copy(), labels.motors[["tomo_id", *POINT]].copy()
    before = labels.tomograms.set_index("tomo_id")["spacing"]
    shapes = zip(labels.shapes().values(), before, strict=True)
    tomograms[SIZE] = [geometry.resampled_shape(shape, each, spacing) for shape, each in shapes]
    points = zip(motors[POINT].to_numpy(float), motors["tomo_id"].map(before), strict=True)
    motors[POINT] = np.reshape([geometry.voxel_between(point, each, spacing) for point, each in points], (-1, 3))
    return tomograms, motors


def solution(labels: Labels) -> pd.DataFrame:
    """Return one row per motor, or one of -1 without motors: tomo_id, z, y, x (voxels), spacing (Å), has_motor."""
    return labels.rows()[SOLUTION]
