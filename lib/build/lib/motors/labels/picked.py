"""Labels made of what somebody picked in another program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from motors.labels.table import Labels
from motors.picks import formats
from motors.tables import MOTORS, TOMOGRAMS, need


def read_picked(paths: str | Path | Iterable[str | Path], tomograms: pd.DataFrame) -> Labels:
    """Return the picks in files as labels: each pick is a motor.

    Parameters
    ----------
    paths : a file, or several, of the formats of `motors.picks.formats`
    tomograms : tomo_id, size_z, size_y, size_x, spacing of every tomogram that was looked at; one that has no pick is
        labelled as one without a motor

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing or damaged, or a pick is twice, outside its tomogram, or in another one.
    """
    need(tomograms, TOMOGRAMS, "the table of tomograms")
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    found = [formats.read(path, tomograms)[MOTORS] for path in paths]
    motors = (
        pd.concat([pd.DataFrame(columns=MOTORS), *found], ignore_index=True) if paths else pd.DataFrame(columns=MOTORS)
    )
    return Labels(tomograms[TOMOGRAMS].reset_index(drop=True), motors.astype(dict.fromkeys("zyx", float))).validate(
        "picks"
    )
