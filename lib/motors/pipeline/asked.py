"""Requests other than a whole profile: one experiment, a cross-validation, or a sweep over settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Any

from motors.experiments import catalogue
from motors.workspace.paths import canonical_tag

SWEEP = ("experiment", "grid", "seeds")


@dataclass(frozen=True)
class TrainingJob:
    """One training: its notebook, and the parameters that name its run."""

    notebook: str
    seed: int
    experiment: str
    fold: int = 0
    settings: str = ""
    first: TrainingJob | None = None  # job that trains its initial weights
    volumes: str = ""  # SET of the notebook that prepares its volumes, if they are not the shared ones

    @property
    def parameters(self) -> dict[str, Any]:
        """SEED and the parameters that are not default; a default training is the profile's own step."""
        own = self.notebook.partition("_train_")[2] == self.experiment
        named = {"EXPERIMENT": "" if own else self.experiment, "FOLD": self.fold, "SET": self.settings}
        return {"SEED": self.seed, **{name: value for name, value in named.items() if value}}  # the rest: default


@dataclass(frozen=True)
class Request:
    """One experiment and fold, a cross-validation, or a sweep; see `motors reproduce --help`."""

    experiment: str = ""
    fold: int = 0
    settings: str = ""
    folds: int = 0
    networks: str = ""
    sweep: str = ""

    def __post_init__(self) -> None:
        if self.networks and not self.folds:
            raise ValueError("networks are chosen for a cross-validation: say how many folds, such as --folds 4")
        if (self.settings or self.fold) and not self.experiment:
            raise ValueError("fold and settings are those of one experiment: say which, such as --experiment EXP09")
        if sum(map(bool, (self.experiment, self.folds, self.sweep))) != 1:
            raise ValueError("ask for one thing: an experiment, folds, or a sweep")
        if self.folds and self.folds < 2:
            raise ValueError(f"{self.folds} fold is not a cross-validation: ask for at least 2")

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Request:
        """Return the request in Snakemake's configuration, whose values are texts."""
        return cls(**{name: int(value) if name.startswith("fold") else value for name, value in given.items()})

    @property
    def label(self) -> str:
        """The SET of the notebooks that evaluate these trainings; it distinguishes their runs from others."""
        words = {"sweep": _written(self.sweep), "folds": self.folds, "networks": ",".join(self.networks.split())}
        words |= {"experiment": self.experiment and catalogue.get(self.experiment).name, "fold": self.fold}
        return " ".join([*(f"{name}={value}" for name, value in words.items() if value), self.settings]).strip()

    def judges(self, plan: dict[str, Any]) -> list[str]:
        """Return the notebooks that evaluate the trainings, in order."""
        kind = "sweep" if self.sweep else "cv" if self.folds else "experiment"
        return plan.get("judges", {}).get(kind, [])

    def trainings(self, plan: dict[str, Any], profile: str, seed: int) -> list[TrainingJob]:
        """Return the trainings; raises ValueError if there is no such experiment, setting, network or sweep."""
        if self.sweep:
            return list(self._sweep(plan, profile))
        if self.folds:
            names = self.networks.split() or [n for n in plan["profiles"][profile] if "_train_" in n]
            chosen = [name.partition("_train_")[2] or name for name in names]
            return [_training(profile, name, seed, fold) for name in chosen for fold in range(self.folds)]
        return [_training(profile, self.experiment, seed, self.fold, self.settings)]

    def _sweep(self, plan: dict[str, Any], profile: str) -> Iterator[TrainingJob]:
        known = plan.get("sweeps", {})
        if self.sweep not in known:
            near = get_close_matches(self.sweep, known, 3, 0.4) or list(known)
            raise ValueError(f"there is no sweep {self.sweep!r}: choose {', '.join(near) or 'one of none'}")
        about = known[self.sweep]
        grid = about.get("grid") if isinstance(about, dict) else None
        if not isinstance(grid, dict) or not all(isinstance(values, list) for values in grid.values()):
            raise ValueError(f"sweep {self.sweep} has no grid: write grid: {{setting: [value, value]}}")
        if unknown := next((name for name in about if name not in SWEEP), None):
            raise ValueError(f"sweep {self.sweep} has {unknown!r}, which nothing reads: it may have {', '.join(SWEEP)}")
        if not isinstance(about.get("experiment", ""), str):
            raise ValueError(f"sweep {self.sweep} is of experiment {about['experiment']!r}: name one")
        seeds = about.get("seeds", [0])
        if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
            raise ValueError(f"sweep {self.sweep} has no list of seeds, but {seeds!r}: write [0] or more")
        pairs = (zip(grid, point, strict=True) for point in product(*grid.values()))
        points = [" ".join(f"{name}={_written(value)}" for name, value in each) for each in pairs]
        points = [each for k, each in enumerate(points) if canonical_tag(each) not in map(canonical_tag, points[:k])]
        if len(points) < 2:
            raise ValueError(f"sweep {self.sweep} has one value: give at least two, or it compares nothing")
        for seed, settings in product(dict.fromkeys(seeds), points):
            yield _training(profile, about.get("experiment", "resnext50"), seed, settings=settings)


def _written(value: Any) -> str:
    """Return a grid value as written in SET: text with blanks and quotes escaped, all else as JSON if possible."""
    if isinstance(value, str):
        return re.sub(r"([\s'\\])", r"\\\1", value)
    return json.dumps(value, separators=(",", ":"), default=str)


def _training(profile: str, name: str, seed: int, fold: int = 0, settings: str = "") -> TrainingJob:
    experiment = catalogue.of(name, profile)
    changed = catalogue.change(experiment, settings) if settings else experiment
    notebook, volumes = catalogue.training_notebook(experiment), catalogue.volumes_of(changed, profile)[1]
    first = _training(profile, experiment.starts_from, seed, fold) if experiment.starts_from else None
    return TrainingJob(notebook, seed, catalogue.get(name).name, fold, settings, first, volumes)
