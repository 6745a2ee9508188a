"""Columns of the tables that packages exchange, and reading of external tables."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pandas as pd

from motors.workspace.files import WIDTHLESS, on_disk, once, text_of

POINT = ["z", "y", "x"]
SIZE = ["size_z", "size_y", "size_x"]
NO_MOTOR = -1.0  # in all three coordinates
TOMOGRAMS = ["tomo_id", *SIZE, "spacing"]
MOTORS = ["tomo_id", *POINT]
CANDIDATE = {"tomo_id": str} | dict.fromkeys(POINT, np.float64) | {"score": np.float32, "run": str, "symmetry": str}
MEMBER = ["run", "symmetry"]  # of an ensemble: a trained network under one symmetry
MOTOR_AXES = {"Motor axis 0": "z", "Motor axis 1": "y", "Motor axis 2": "x"}  # also the columns of a submission
SOLUTION = ["tomo_id", *POINT, "spacing", "has_motor"]
WORDS = dict.fromkeys(("true", "1", "1.0", "yes"), True) | dict.fromkeys(("false", "0", "0.0", "no"), False)
TEXT = "tomo_id run round frame image name split object_name url decision entry action why source symmetry".split()
TEXT += ["stage", "reason"]
_NOTHING = ["", *"NA N/A n/a NaN nan NULL null None <NA> #N/A -nan -NaN".split()]
_NUMBER = re.compile(r"\s*[+-]?\d+([.,])\d+(e\S+)?\s*")
_MARKED = "[+-]?\\d+([.,'’_ \u00a0\u202f]\\d+)+"  # the mark may be decimal or of thousands, by locale
_PACKED = (b"\x1f\x8b", b"PK\3\4", b"\xd0\xcf\x11\xe0")  # gzip, zip and Excel, Excel before 2007


class TableWarning(UserWarning):
    """Something suspicious in a table that may be intended."""


def read_table(path: str | Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Return the table of a CSV file, which needs `columns`; those in `TEXT` stay text, even `NA`, `007` or `1e5`.

    Values are separated by commas; or by semicolons, tabs or bars, and numbers then may have a decimal comma. Blanks
    around values, a byte order mark, empty rows and comments (#) before the header are ignored. Text is normalised to
    Unicode NFC, as macOS uses another form. `refuse` names the line of the file that a row came from.

    Raises FileNotFoundError or ValueError if it is missing, not a table, has rows of another length, or lacks columns.
    """
    path = on_disk(Path(path))
    if not path.is_file():
        what = "not a file" if path.exists() else "not there"
        raise FileNotFoundError(f"{path} is {what}: check the folder, or make the file first")
    try:
        if path.read_bytes()[:4].startswith(_PACKED):
            raise csv.Error("packed, or a spreadsheet")
        text = re.sub(rf'\A(?i:"?sep=."?)(?=\n)|{WIDTHLESS}', "", normalize("NFC", text_of(path)))  # from Excel
        text = re.sub('(?<=[,;|\t\n"])[\u2212\u2013](?=[\\d.])', "-", text)  # from Numbers, Excel in Sweden, and Word
        text = re.sub(r"\A(#(?! ?tomo_id\b).*\n|\n)+", lambda remarks: "\n" * remarks[0].count("\n"), text)
        text = re.sub(r"\A(\n*)# ?", r"\1", text)  # of a header marked as a comment
        between, names, lines, decimal = _layout(text, path.name)
        missing = {name: _NOTHING for name in names if name not in TEXT}
        kinds = {name: str for name in names if name in TEXT}
        table = pd.read_csv(
            io.StringIO(text), sep=between, decimal=decimal, header=0, names=names, index_col=False,
            usecols=range(len(names)), dtype=kinds, keep_default_na=False, na_values=missing, skipinitialspace=True,
        )  # fmt: skip
    except (pd.errors.ParserError, UnicodeDecodeError, csv.Error) as error:
        why = str(error).strip().splitlines()[0]
        if isinstance(error, UnicodeDecodeError):
            why = f"line {error.object[: error.start].count(10) + 1}: {why}"
        raise ValueError(f"{path.name} is not a table ({why}): correct it, unpack it, or save UTF-8 CSV") from error
    for name in names:
        if pd.api.types.infer_dtype(table[name], skipna=True) == "string":
            words = table[name].str.strip().where(lambda values: values != "")
            whole = name not in TEXT and numeric(words).notna().eq(words.notna()).all()  # blanks of another kind
            table[name] = numeric(words) if whole else words
    filled = table.notna().any(axis=1)
    known = []
    if len(lines) == len(table) and "tomo_id" in names:
        known = list(zip(np.array(lines, int)[filled], table.loc[filled, "tomo_id"].fillna(""), strict=True))
    table = located(table[filled], path.name, known)
    need(table, columns, path.name)
    if "tomo_id" in names:
        refuse(table, table["tomo_id"].isna(), path.name, "has no id", "name the tomogram of every row")
    return table


def located(table: pd.DataFrame, name: str, rows: list[tuple[int, str]]) -> pd.DataFrame:
    """Return a table with its file, and line and id of each row, attached."""
    table = table.set_axis(np.arange(len(table)))  # a RangeIndex marks moved rows
    table.attrs["origin"] = _Origin(name, rows)
    return table


class _Origin:
    """The file and lines a table was read from; pandas copies it with every view."""

    def __init__(self, name: str, rows: list[tuple[int, str]]) -> None:
        self.name, self.rows = name, dict(enumerate(rows))

    def __deepcopy__(self, _: dict) -> _Origin:
        return self

    def line(self, table: pd.DataFrame, index: object) -> int | None:
        """Return the line of a row of `table`, None if rows may have moved since."""
        rows = {} if isinstance(table.index, pd.RangeIndex) else self.rows
        number, tomo_id = rows.get(index, (None, None))
        return number if table["tomo_id"].loc[[index]].fillna("").tolist() == [tomo_id] else None


def _layout(text: str, name: str) -> tuple[str, list[str], list[int], str]:
    """Return separator, columns, first lines of rows, and decimal mark of a CSV file."""
    between = max(",;\t|", key=text.lstrip("\r\n").partition("\n")[0].count)
    rows, lines, marks = _rows(text, between), [], {}
    header, first = next((each for each in rows if each[1]), (0, []))
    names = [" ".join(value.split()) for value in first]
    columns = len(names)
    while names and not names[-1]:  # as spreadsheets leave them after the last one
        names.pop()
    if "\0" in text:
        raise csv.Error("it has zero bytes, as UTF-16 has")
    if not names:
        raise csv.Error("its first line has no columns")
    if twice := [each for k, each in enumerate(names) if each in names[:k]]:
        raise ValueError(f"{name} has the column {twice[0]!r} twice: remove one, or name it")
    for begin, row in rows:
        if [" ".join(value.split()) for value in row][: len(names)] == names:
            raise ValueError(f"{name}, line {begin}: the header is there again, of files joined: remove the line")
        row = row if any(map(str.strip, row[:1])) or len(row) > 1 else []
        if row and (len(row) not in (columns, len(names)) or any(map(str.strip, row[len(names) :]))):
            what = f"{len(row)} values for {len(names)} columns: correct the line, or the header in line {header}"
            raise ValueError(f"{name}, line {begin}: {what}")
        if row:
            lines.append(begin)
        for column, value in zip(names, row, strict=False) if between != "," else ():
            if column not in TEXT and (found := _NUMBER.fullmatch(value)):
                marks.setdefault(found[1], begin)
    if len(marks) > 1:
        raise ValueError(f"{name}, line {max(marks.values())}: numbers have commas or points: write all alike")
    return between, names, lines, next(iter(marks), ".")


def _rows(text: str, between: str) -> Iterator[tuple[int, list[str]]]:
    """Yield first line and values of each row of a CSV file; csv.Error also names the line."""
    rows, begin = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True, skipinitialspace=True), 1
    try:
        for row in rows:
            yield begin, row
            begin = rows.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {begin}: {error}") from error


def numeric(values: pd.Series) -> pd.Series:
    """Return numbers, NaN for all else, also for True."""
    if values.dtype.kind in "bO":  # pandas takes True for 1
        values = values.map(lambda each: str(each) if isinstance(each, int) else each)
    return values if values.dtype.kind in "iuf" else pd.to_numeric(values, errors="coerce")


def numbers(table: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
    """Return columns of `table` as float64, NaN where they hold no number.

    Raises ValueError if a column is there twice, or, with the line in a file, if a number has ambiguous separators.
    """
    if twice := [name for name in columns if list(table.columns).count(name) > 1]:
        where = f"{table.attrs['origin'].name}: " if "origin" in table.attrs else ""
        raise ValueError(f"{where}the column {twice[0]} is there twice: remove one")
    values = {name: numeric(table[name]).to_numpy(np.float64) for name in columns}
    for name, found in values.items() if "origin" in table.attrs else ():
        if (missing := np.isnan(found)).any():
            lost = table[missing]
            marked = lost[name].astype(str).str.fullmatch(_MARKED)
            what, advice = f"has {name} {lost[name][marked].iloc[:1].to_list()}", "write 1234.5, without any other mark"
            refuse(lost, marked, table.attrs["origin"].name, what, advice)
    return np.array([*values.values()]).reshape(len(values), len(table)).T


def has_motor(table: pd.DataFrame, name: str | Path) -> np.ndarray:
    """Return for each row of `table` whether it has a motor: -1 -1 -1 means none.

    Raises ValueError if only some are -1, a column has_motor disagrees, or a tomogram without motor has another row.
    """
    placed = numbers(table, POINT) != NO_MOTOR
    there = placed.any(axis=1)
    advice = "write -1 in all three, or a position"
    refuse(table, there & ~placed.all(axis=1), name, "has -1 in some coordinates only", advice)
    if "has_motor" in table:
        told = table["has_motor"].astype(str).str.strip().str.lower().map(WORDS)
        refuse(table, told.isna(), name, "has another has_motor", "write True or False")
        refuse(table, told != there, name, "has has_motor against its position", "correct one of them")
    conflict = ~there & table["tomo_id"].duplicated(keep=False)
    refuse(table, conflict, name, "has a row -1 -1 -1 among others", "remove that row")
    return there


def need(table: pd.DataFrame, columns: Iterable[str], name: str | Path) -> None:
    """Raise a ValueError if `table`, which messages call `name`, lacks one of `columns`."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name} has no column {', '.join(missing)}, only {', '.join(map(str, table)):.200}: add it")


def refuse(table: pd.DataFrame, wrong: pd.Series | np.ndarray, name: str | Path, what: str, advice: str) -> None:
    """Raise a ValueError about the first of the `wrong` rows of `table`, if any: what is wrong, and what to do.

    File and line are named instead of `name`, if the table was read from a file and rows have not moved.
    """
    if np.any(wrong):
        found, count, origin = table.loc[np.asarray(wrong)], np.sum(wrong), table.attrs.get("origin")
        first = "" if pd.isna(tomo_id := found["tomo_id"].iloc[0]) else f" {tomo_id}"
        first += "" if isinstance(tomo_id, str) or not first else " (a number, no text)"
        line = origin.line(table, found.index[0]) if origin else None
        where = f"{origin.name}, line {line}" if line else name
        rows = f" ({count} such rows)" if count > 1 else ""
        raise ValueError(f"{where}: tomogram{first} {what}{rows}: {advice}")


def join(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return tables of candidates joined to one."""
    filled = [table for table in tables if len(table)] or [pd.DataFrame(columns=list(CANDIDATE))]
    return pd.concat(filled, ignore_index=True)[list(CANDIDATE)].astype(CANDIDATE)


def read_ensemble(path: Path) -> dict[str, Any]:
    """Return the content of an `ensemble.json`, by current names."""
    about = json.loads(path.read_bytes(), object_pairs_hook=once)
    return {{"way": "method", "ways": "methods"}.get(name, name): value for name, value in about.items()}


def members(about: Mapping[str, Any]) -> pd.DataFrame:
    """Return run, symmetry and weight of the members of `ensemble.json`; raises ValueError if it is of version 0.1."""
    if "members" not in about:
        raise ValueError("ensemble.json names sources, not runs and symmetries: it is old, run 40_ensemble again")
    return pd.DataFrame(about["members"], columns=[*MEMBER, "weight"])
