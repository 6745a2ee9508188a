"""Labels that others made in a frame of their own, brought to the tomograms as they are stored here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from motors.geometry import Shape
from motors.labels.table import MOTORS, POINT, SIZE, TOMOGRAMS, Labels, need, numbers, read_table, refuse

FRAME = (128, 512, 512)  # slices picked at equal distances, each resized to 512 by 512


def read_external(path: str | Path, tomograms: pd.DataFrame, frame: Shape = FRAME) -> Labels:
    """Return labels made in a frame of fixed shape, in the voxels of the stored tomograms.

    The frame's slices are the tomogram's at `trunc(linspace(0, native_z - 1, frame[0]))`, as the original solution has
    it, so z is known to half the distance of two of them: `native_z / frame[0] / 2` slices.

    Parameters
    ----------
    path : CSV file with one row per motor: tomo_id, and z, y, x in voxels of the frame, z a slice number
    tomograms : those stored, one row each: tomo_id, size_z, size_y, size_x, spacing, and native_z, the number of
        slices before the tomogram was resampled; rows of `path` about others are left out
    frame : `(z, y, x)` of the frame

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, lacks columns, or holds a motor twice, without a position or outside the frame.
    """
    path, table = Path(path), read_table(path, MOTORS)
    need(tomograms, [*TOMOGRAMS, "native_z"], "the table of stored tomograms")
    points = numbers(table, POINT)
    lost, broken = ~np.isfinite(points).all(axis=1), points[:, 0] % 1 != 0
    outside = ((points < -0.5) | (points > np.subtract(frame, 0.5))).any(axis=1)
    refuse(table, table["tomo_id"].isna(), path.name, "has no id", "name the tomogram of every motor")
    refuse(table, lost, path.name, "has a motor without a position", "write three numbers, or remove the row")
    refuse(table, outside, path.name, f"has a motor outside the frame {frame}", "check the order z, y, x and the frame")
    refuse(table, broken, path.name, "has a motor between two slices", "write the number of a slice as z")
    refuse(table, table.duplicated(MOTORS), path.name, "has the same motor twice", "keep one row")
    columns = [*TOMOGRAMS, "native_z"]
    placed = table.merge(tomograms[columns], on="tomo_id", validate="many_to_one")
    placed[POINT] = _stored(placed, frame)
    known = tomograms.loc[tomograms["tomo_id"].isin(placed["tomo_id"]), TOMOGRAMS].reset_index(drop=True)
    return Labels(known, placed.drop(columns=columns[1:])).validate(path.name)


def _stored(placed: pd.DataFrame, frame: Shape) -> np.ndarray:
    """Return points of the frame in voxels of the stored tomograms: centre to centre along each axis."""
    points, sizes, native = numbers(placed, POINT), numbers(placed, SIZE), placed["native_z"].to_numpy(int)
    picked = [int(np.linspace(0, n - 1, frame[0])[int(z)]) for z, n in zip(points[:, 0], native, strict=True)]
    before = np.column_stack([native, np.broadcast_to(frame[1:], (len(points), 2))])
    return (np.column_stack([picked, points[:, 1:]]) + 0.5) / before * sizes - 0.5
