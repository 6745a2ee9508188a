"""Answers and ground truth for `motors score`; the truth is a table, or a benchmark with a Croissant manifest.

The layout of a benchmark is copick's (`copick.impl.mlcroissant`, 1.31): `metadata.json` with `runs.csv` and `picks.csv`
beside it, in a folder of the project. MotorBench, of biohub/popsicle on Hugging Face, is said to have it, unseen by us.
"""

import json
import warnings
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd

from motors.labels.formats import ARRAY_SHAPE, read_competition
from motors.labels.table import solution as of_labels
from motors.labels.wide import NO_POINTS
from motors.matching import best
from motors.picks import formats
from motors.tables import MOTOR_AXES, MOTORS, NO_MOTOR, POINT, SOLUTION, has_motor, need, numbers, read_table, refuse
from motors.workspace.files import on_disk, once, sha256


def truth(manifest: str | Path, *, split: str = "", object_name: str = "") -> pd.DataFrame:
    """Return the ground truth of a benchmark, in ångström, so that its spacing is 1: see `labels.table.solution`.

    The manifest is `metadata.json` in the folder `Croissant` of a local project; a split is such as test, by default
    all runs; the object's name, which picks of motors have, may be omitted if there is only one.
    Raises FileNotFoundError or ValueError if a file is missing or damaged, or there is no such split or object.
    """
    folder = Path(manifest).resolve(strict=True).parent
    runs = read_table(folder / "runs.csv", ["name"]).fillna({"name": ""})
    picks = read_table(folder / "picks.csv", ["run", "object_name", "url"]).fillna({"run": "", "url": ""})
    if wrong := [name for name in runs["name"] if not name or (runs["name"] == name).sum() > 1]:
        raise ValueError(f"runs.csv has the run {wrong[0]!r} twice, or without a name: download it again")
    if strange := sorted({*picks["run"]} - {*runs["name"]}):
        raise ValueError(f"picks.csv has picks in the run {strange[0]}, which runs.csv lacks: download both again")
    if split:
        need(runs, ["split"], "runs.csv")
        runs = runs[_chosen(runs["split"], split, "split")]
    names = picks["object_name"].unique()
    object_name = object_name or (names[0] if len(names) == 1 else "")
    picks = picks[_chosen(picks["object_name"], object_name, "object") & picks["run"].isin(runs["name"])]
    whose = picks.reindex(columns=["user_id", "session_id"]).drop_duplicates()
    if len(whose) > 1:
        names = ", ".join(f"{user}/{session}" for user, session in whose.to_numpy())
        warnings.warn(f"picks.csv has {object_name} of {names}: all of them are the truth", stacklevel=2)
    rows = [[row["run"], *point] for row in picks.to_dict("records") for point in _points(folder.parent, row)]
    motors = pd.DataFrame(rows, columns=MOTORS).drop_duplicates()
    table = runs[["name"]].rename(columns={"name": "tomo_id"}).merge(motors, on="tomo_id", how="left")
    return table.assign(has_motor=table["z"].notna(), spacing=1.0).fillna(dict.fromkeys(POINT, NO_MOTOR))[SOLUTION]


def solution(path: str | Path) -> pd.DataFrame:
    """Return the ground truth in a CSV file, as of `labels.table.solution` or as labels of the competition.

    Raises FileNotFoundError or ValueError if the file is missing, or holds no ground truth.
    """
    table, name = read_table(path), Path(path).name
    if ARRAY_SHAPE.keys() <= {*table}:
        return of_labels(read_competition(path))
    need(table, SOLUTION, name)
    if table.empty:
        raise ValueError(f"{name} has no tomogram: give the truth of some")
    varies = table.groupby("tomo_id")["spacing"].transform("nunique").gt(1)
    refuse(table, varies, name, "has several spacings", "correct the wrong ones")
    return table


def answer(path: str | Path) -> pd.DataFrame:
    """Return the answer in a CSV file: a submission, or z, y, x; a column has_motor must agree with the positions.

    Raises FileNotFoundError or ValueError if the file is missing or contradicts itself.
    """
    table, name = read_table(path).rename(columns=MOTOR_AXES), Path(path).name
    need(table, MOTORS, name)
    lost = ~np.isfinite(numbers(table, POINT)).all(axis=1)
    refuse(table, lost, name, "has a coordinate that is not a number", "write a position, or -1 -1 -1 for none")
    refuse(table, table["tomo_id"].duplicated(), name, "is answered twice", "keep one row")
    if "has_motor" in table:
        has_motor(table, name)
    return table


def found(folder: str | Path, *, angstrom: bool = False) -> pd.DataFrame:
    """Return the output of `motors detect --out` as an answer: the best detection of each tomogram, or -1 -1 -1.

    Positions are in voxels, or in ångström if `angstrom`. A tomogram that failed counts as one without a motor.
    """
    tomograms = read_table(Path(folder) / "tomograms.csv", ["tomo_id"])
    table = read_table(Path(folder) / "detections.csv", [*MOTORS, "score", "spacing"])
    lost = ~table["tomo_id"].isin(tomograms["tomo_id"])
    refuse(table, lost, "detections.csv", "is not in tomograms.csv", "take both from one run of motors detect")
    places = numbers(table, POINT) * (numbers(table, ["spacing"]) if angstrom else 1.0)
    first = best(table.assign(**dict(zip(POINT, places.T, strict=True))))[MOTORS]
    return tomograms[["tomo_id"]].merge(first, on="tomo_id", how="left").fillna(NO_MOTOR)


def _chosen(values: pd.Series, wanted: str, what: str) -> pd.Series:
    """Return which values are `wanted`; raises ValueError if none is."""
    if not (values == wanted).any():
        there = ", ".join(sorted(set(values.dropna().astype(str)))) or "none"
        raise ValueError(f"the benchmark has no {what} {wanted!r}: choose of {there}")
    return values == wanted


def _points(project: Path, row: dict) -> list[list[float]]:
    """Return the z, y, x in a file of picks, in ångström: copick's JSON, or the portal's ndjson in voxels."""
    place = str(row["url"]).removeprefix("file://")
    paths = [on_disk(project / each) for each in (place, unquote(place))]
    path = next((each for each in paths if each.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{row['url']} of picks.csv is not on this disk: download the whole project first")
    if isinstance(row.get("sha256"), str) and row["sha256"].lower() != sha256(path):
        raise ValueError(f"{path.name} has another SHA-256 than picks.csv says: download both again")
    try:
        if path.suffix == ".ndjson":
            picks, scale = formats.read_ndjson(path, None, row["run"]), float(row["voxel_size"])
        else:
            content = json.loads(path.read_bytes(), object_pairs_hook=once)
            picks, scale = formats.angstrom(content, path, row["run"]), 1.0
        places = numbers(picks, POINT) * scale
        if not np.isfinite(places).all():
            raise ValueError("a place that is not a number")
        return places.tolist()
    except (*NO_POINTS, AttributeError) as error:
        what = f"{path.name} holds no picks, or picks.csv no voxel_size"
        raise ValueError(f"{what} ({error!r}): download it again") from error
