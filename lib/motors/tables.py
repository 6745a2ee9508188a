"""Columns of the tables that cross between rooms, and how tables from outside are read, checked and refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

POINT = ["z", "y", "x"]
SIZE = ["size_z", "size_y", "size_x"]
NO_MOTOR = -1.0  # in all three coordinates
TOMOGRAMS = ["tomo_id", *SIZE, "spacing"]
MOTORS = ["tomo_id", *POINT]
CANDIDATE = {"tomo_id": str} | dict.fromkeys(POINT, np.float64) | {"score": np.float32, "run": str, "symmetry": str}
MEMBER = ["run", "symmetry"]  # of an ensemble: a trained network, seen from one side
MOTOR_AXES = {"Motor axis 0": "z", "Motor axis 1": "y", "Motor axis 2": "x"}  # also the columns of a submission
SOLUTION = ["tomo_id", *POINT, "spacing", "has_motor"]


def read_table(path: str | Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Return the table of a CSV file that has `columns`; ids stay text, also NA.

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
        if "tomo_id" in table and table["tomo_id"].isna().any():  # a tomogram may be called NA
            table["tomo_id"] = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])["tomo_id"]
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


def join(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return tables of candidates as one."""
    filled = [table for table in tables if len(table)] or [pd.DataFrame(columns=list(CANDIDATE))]
    return pd.concat(filled, ignore_index=True)[list(CANDIDATE)].astype(CANDIDATE)


def members(about: Mapping[str, Any]) -> pd.DataFrame:
    """Return run, symmetry and weight of every member of an ensemble, from what `ensemble.json` says.

    Raises
    ------
    ValueError
        If it is one of version 0.1, which named sources.
    """
    if "members" not in about:
        raise ValueError(
            "ensemble.json names sources, not runs and symmetries: it is an old one, run 40_ensemble again"
        )
    return pd.DataFrame(about["members"], columns=[*MEMBER, "weight"])
