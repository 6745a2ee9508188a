"""Prepared tomograms: resampled once, opened by a memory map ever after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from motors import geometry
from motors.tables import SIZE
from motors.volumes.tomogram import check_voxels
from motors.workspace.files import renamed


def check_volumes(tomograms: pd.DataFrame, folder: Path, spacing: geometry.Spacing) -> None:
    """Refuse prepared volumes in `folder` that are missing or are not those of the tables that `prepared` returned.

    Raises
    ------
    FileNotFoundError, ValueError
        With the name of the first such tomogram.
    """
    for tomo_id, *shape in tomograms[["tomo_id", *SIZE]].itertuples(index=False):
        found = open_prepared(folder, tomo_id).shape
        if found != tuple(shape):
            raise ValueError(
                f"{tomo_id}.npy has shape {found}, its labels mean {tuple(shape)} at {spacing} Å: prepare it again"
            )


def write_prepared(folder: str | Path, name: str, voxels: np.ndarray) -> Path:
    """Write `(z, y, x)` uint8 voxels as `<folder>/<name>.npy` and return that path."""
    check_voxels(voxels)
    path = Path(folder) / f"{name}.npy"
    with renamed(path) as partial:
        np.save(partial, np.ascontiguousarray(voxels))
    return path


def open_prepared(folder: str | Path, name: str) -> np.memmap:
    """Return the `(z, y, x)` uint8 voxels that `write_prepared` wrote, read-only and still on disk.

    Raises
    ------
    FileNotFoundError
        If they have not been written.
    """
    path = Path(folder) / f"{name}.npy"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: prepare tomogram {name} first")
    return np.load(path, mmap_mode="r")
