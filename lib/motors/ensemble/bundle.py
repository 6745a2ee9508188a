"""Trained networks and the settings of their ensemble, found in a folder."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from motors.ensemble.combine import METHODS
from motors.experiments.config import Experiment
from motors.geometry import Symmetry
from motors.networks.checkpoints import SETTINGS, WEIGHTS
from motors.tables import MEMBER, members, read_ensemble
from motors.workspace import paths
from motors.workspace.files import on_disk

ENSEMBLE = "ensemble.json"
NOTEBOOK = "40_ensemble"
RUNS = f"{NOTEBOOK}/*/{ENSEMBLE}"
VARIABLE = "MOTORS_WEIGHTS"  # environment variable: default folder of `find`
UNCALIBRATED = 0.5  # the threshold if none was calibrated
RANKS = {"full": 0, "smoke": 2}  # of profiles: the lowest is preferred, any other is 1
HINT = "name a folder with ensemble.json as weights (--weights); `motors download published` or `make demo` make one"


@dataclass(frozen=True, eq=False)
class Bundle:
    """Trained networks, and how they are fused and decided."""

    folder: Path  # where they were found
    members: pd.DataFrame  # run, symmetry and weight of each member of the ensemble
    networks: dict[str, Path]  # the folder of each run's weights
    method: str = "distance"  # how they are fused, see `ensemble.combine`
    skip: float = 0.0  # candidates below it do not vote
    threshold: float | None = None  # the lowest score of a motor; None if not calibrated
    precision: float | None = None  # out-of-fold at that threshold; None if not measured
    recall: float | None = None  # likewise
    simulated: bool = False  # whether all training tomograms were simulated

    @property
    def votes(self) -> dict[tuple[str, str], float]:
        """The weight of each member, by run and symmetry."""
        return self.members.set_index(MEMBER)["weight"].to_dict()


def find(folder: str | Path | None = None) -> Bundle:
    """Return the networks in a folder, and the settings of their ensemble.

    The folder holds one network (weights.safetensors, experiment.json); or `ensemble.json`, with its networks below it
    or where the notebooks wrote them; or several such runs, as do `outputs` and the dataset `motors-weights`, of which
    the profile "full" is preferred to "demo". By default the folder is that of the environment variable MOTORS_WEIGHTS,
    or those of the workspace around the current folder.

    Raises FileNotFoundError if nothing is found, or a network is missing; ValueError if `ensemble.json` is damaged.
    """
    folder = folder or os.environ.get(VARIABLE)
    places = [on_disk(Path(folder))] if folder else list(_usual())
    if single := next((place for place in places if (place / SETTINGS).is_file()), None):
        return _single(single)
    if abouts := [path for place in places for path in (place / ENSEMBLE, *sorted(place.glob(RUNS))) if path.is_file()]:
        return _ensemble(min(abouts, key=lambda path: RANKS.get(path.parent.name.partition("-")[0], 1)))
    where = ", ".join(map(str, places)) or "no workspace is around the current folder"
    raise FileNotFoundError(f"there are no trained networks ({where}): {HINT}")


def _usual() -> Iterator[Path]:
    """Yield the folders of the workspace that hold networks."""
    try:
        home = paths.find()
    except FileNotFoundError:
        return
    yield from (each / paths.PACKAGED for each in home.inputs)
    yield home.outputs


def _single(folder: Path) -> Bundle:
    experiment = Experiment.read(folder / SETTINGS)
    member = [experiment.name, "yx" if experiment.is_2d else "zyx", 1.0]
    table = pd.DataFrame([member], columns=[*MEMBER, "weight"])
    simulated = experiment.name.endswith(("_demo", "_smoke"))
    return Bundle(folder, table, {experiment.name: folder}, simulated=simulated)


def _ensemble(path: Path) -> Bundle:
    try:
        about = read_ensemble(path)
        if not isinstance(rows := about.get("members", []), list) or not all(isinstance(row, dict) for row in rows):
            raise TypeError("members is not a list of objects")
        table = members(about)
        judged = about.get("methods", {}).get(about["method"], {}) | about  # the notebook keeps all methods tried
        settings = {name: judged.get(name) for name in ("threshold", "precision", "recall")}
        settings |= {"method": about["method"], "skip": about["skip"]}
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): copy it again, or run {NOTEBOOK} again") from error
    if wrong := next(_wrong(table, settings), None):
        raise ValueError(f"{path} cannot be ({wrong}): correct it, or run {NOTEBOOK} again")
    roots, networks = [path.parent, *path.parents[1:3]], {}
    for run in table["run"].unique():
        folders = [folder for root in roots for folder in (root / run / "weights", root / run)]
        found = next((folder for folder in folders if (folder / WEIGHTS).is_file()), None)
        if found is None:
            raise FileNotFoundError(f"the network {run} of {path} is missing, looked for {folders[0]}: copy it there")
        networks[run] = found
    return Bundle(path.parent, table, networks, simulated=about.get("profile") in ("demo", "smoke"), **settings)


def _wrong(table: pd.DataFrame, settings: dict[str, Any]) -> Iterator[str]:
    """Yield what is invalid in an ensemble, such as a threshold above 1, which no score reaches."""
    if (table["weight"] == 0).all() or table.duplicated(MEMBER).any():
        yield "it has no members, none that counts, or one of them twice"
    limits = {"threshold": math.inf} if settings["method"] == "max" else {}  # a weighted score may exceed 1
    numbers = [(name, value, limits.get(name, 1)) for name, value in settings.items() if name != "method"]
    weights = zip(table["run"], table["weight"].tolist(), strict=True)
    numbers += [(f"the weight of {run}", weight, math.inf) for run, weight in weights]
    for name, value, most in numbers:
        may_lack = value is None and name in ("threshold", "precision", "recall")
        if not may_lack and not (type(value) in (int, float) and 0 <= value <= most and value < math.inf):
            yield f"{name} is {value!r}"
    if settings["method"] not in METHODS:
        yield f"method is {settings['method']!r}, not {', '.join(METHODS)}"
    for name in table["symmetry"]:
        try:
            Symmetry.from_name(str(name))
        except ValueError as error:
            yield str(error)
    yield from (f"a run is {each!r}" for each in table["run"] if not isinstance(each, str))
