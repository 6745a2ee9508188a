"""Folders of datasets, outputs and runs, locally and on Kaggle, and the names of runs."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from motors.workspace.files import read_json, write_json
from motors.workspace.provenance import commit, outdated, versions

COMPETITION = "byu-locating-bacterial-flagellar-motors-2025"
PROFILES = ("smoke", "demo", "full")
PACKAGED = "motors-weights"  # dataset of notebook outputs, as <notebook>/<run>
KAGGLE_ROOT = "MOTORS_KAGGLE_ROOT"  # environment variable: replaces /kaggle, for rehearsals
STRICT = "MOTORS_RUN"  # environment variable of the strict runner's kernels: <notebook>/<run>
IDENTITY = "run.json"  # in the folder of a run: which run it is
MARK = "finished"  # beside it: the last execution succeeded
LONGEST = 64  # characters of a tag


@dataclass(frozen=True)
class Workspace:
    """The folders of the project on this machine, as returned by `find`.

    Local folders correspond to folders on Kaggle: `kaggle_datasets/<slug>` is `/kaggle/input/<slug>`
    (or below `datasets/<owner>` or `competitions` there), and `outputs` is `/kaggle/working`.
    """

    root: Path
    outputs: Path
    inputs: tuple[Path, ...]  # folders of datasets, searched in this order; new datasets go to the first

    def dataset(self, slug: str, *, hint: str = "put it there") -> Path:
        """Return a dataset's folder; raises FileNotFoundError with the advice `hint`, or ValueError for two owners."""
        if found := self.holding(slug):
            return found[0]
        places = ", ".join(str(folder / slug) for folder in self.inputs)
        raise FileNotFoundError(f"dataset {slug} is missing, looked for {places}: {hint}")

    def holding(self, place: str) -> list[Path]:
        """Return all paths of a dataset, or a folder in one; raises ValueError if two Kaggle owners have it."""
        found = [folder for folder in self.inputs if (folder / place).is_dir()]
        if [folder.parent.name for folder in found[:2]] == ["datasets"] * 2:
            raise ValueError(f"{place} is in datasets of {found[0].name} and {found[1].name}: attach only one of them")
        return [folder / place for folder in found]

    def new_dataset(self, slug: str) -> Path:
        """Return the folder to write the dataset `slug` to; made if missing."""
        folder = self.inputs[0] / slug
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(
        self, notebook: str, profile: str, seed: int = 0, experiment: str = "", fold: int | None = None, tag: str = ""
    ) -> Run:
        """Return a run of a notebook, named without .ipynb; makes no folder.

        The profile is smoke, demo or full; the seed that of everything random. The experiment of a training notebook
        is by default its own; in the demo, "resnet50_demo" means "resnet50". The fold is held out; None means 0. The
        tag holds other differences: settings such as "learning_rate=1e-4 steps=200", in any order, or one word.

        Raises ValueError if profile, seed or fold is invalid, or the experiment cannot be part of a folder's name.
        """
        if profile not in PROFILES:
            raise ValueError(f"{notebook}: there is no profile {profile!r}: choose one of {', '.join(PROFILES)}")
        for what, value, least in (("seed", seed, 0), ("fold", fold or 0, -1)):
            if not re.fullmatch(r"-?\d+", str(value)) or int(value) < least:
                raise ValueError(f"{notebook}: the {what} is {value}: give a whole number from {least} up")
        experiment = experiment.removesuffix(f"_{profile}") or _own_experiment(notebook)
        if not re.fullmatch(r"(?!(fold|seed)-?\d+$)[\w.+]*", experiment, re.ASCII):
            raise ValueError(f"{notebook}: {experiment!r} cannot name an experiment: write letters, digits, _ . and +")
        return Run(self, notebook, profile, int(seed), experiment, int(fold or 0), canonical_tag(tag))

    def run_of(self, notebook: str, parameters: Mapping[str, Any]) -> Run:
        """Return the run named by a notebook's parameters PROFILE, SEED, SET and, in training, EXPERIMENT and FOLD."""
        names = {"seed": "SEED", "tag": "SET"}
        names |= {"experiment": "EXPERIMENT", "fold": "FOLD"} if "EXPERIMENT" in parameters else {}
        given = {name: parameters[parameter] for name, parameter in names.items() if parameter in parameters}
        return self.run(notebook, parameters["PROFILE"], **given)

    def runs(self, notebook: str, profile: str | None = None, seed: int | None = None) -> list[Run]:
        """Return the runs of a notebook that have a folder, sorted by name; `profile` and `seed` select some."""
        found = []
        for folder in sorted((self.outputs / notebook).glob("*")):
            files = [folder / name for name in (IDENTITY, "record.json", "provenance.json")]  # last two: before 0.2
            if file := next((file for file in files if file.is_file()), None):
                about = read_json(file)
                given = {name: about[name] for name in ("experiment", "fold", "tag") if name in about}
                try:
                    run = self.run(notebook, about["profile"], about["seed"], **given)
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise ValueError(f"{file} is of no run ({error!r}): copy it again, or remove its folder") from error
                if profile in (None, run.profile) and seed in (None, run.seed) and run.folder == folder:
                    found.append(run)
        return found


@dataclass(frozen=True)
class Run:
    """One execution of a notebook: its name, its input and its output folders; made by `Workspace.run`."""

    workspace: Workspace
    notebook: str
    profile: str
    seed: int = 0
    experiment: str = ""  # of a training notebook, without its profile
    fold: int = 0
    tag: str = ""  # what else differs
    opened: bool = field(default=False, compare=False, repr=False)  # by a notebook, to write to it

    @property
    def name(self) -> str:
        """The profile and all that is not default: "demo", "demo-seed1", "full-resnet50-fold2-seed1-steps=200"."""
        parts = [self.experiment if self.experiment != _own_experiment(self.notebook) else ""]
        parts += [f"fold{self.fold}" if self.fold else "", f"seed{self.seed}" if self.seed else "", self.tag]
        return "-".join([self.profile, *filter(None, parts)])

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies the run: notebook, profile, seed, experiment, fold, tag."""
        return {name: getattr(self, name) for name in ("notebook", "profile", "seed", "experiment", "fold", "tag")}

    @property
    def folder(self) -> Path:
        """Folder of this run, whether it exists or not."""
        return self.workspace.outputs / self.notebook / self.name

    @property
    def output(self) -> Path:
        """Folder to write to, made if missing; its record becomes stale, unless the strict runner executes this run.

        Raises ValueError if it is another run's folder, as may happen on a disk that ignores case.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        about = read_json(self.folder / IDENTITY)
        if not about:
            write_json(self.folder / IDENTITY, self.identity)
        elif any(about.get(name, value) != value for name, value in self.identity.items()):
            raise ValueError(f"{self.folder} is of another run, by its {IDENTITY}: move it away, or choose another SET")
        if self.opened and os.environ.get(STRICT) != f"{self.notebook}/{self.name}":
            self._outdate()
        return self.folder

    def _outdate(self) -> None:
        """Mark an earlier record as stale, because this execution writes no record."""
        (self.folder / MARK).unlink(missing_ok=True)
        record = read_json(self.folder / "record.json")
        if (before := record.get("status", "stale")) != "stale":
            record |= {"status": "stale", "error": f"written to without the strict runner; before that, {before}"}
            write_json(self.folder / "record.json", record)

    def input(self, notebook: str, name: str | None = None) -> Path:
        """Return the output folder of another notebook's run called `name`, by default that of this profile and seed.

        Where that notebook has not been run, as on Kaggle, use its folder in the dataset `motors-weights`. Raises
        FileNotFoundError if there is neither, ValueError if it is `provenance.outdated`.
        """
        name = name or self.workspace.run(notebook, self.profile, self.seed).name
        folder = self.workspace.outputs / notebook / name
        if not (found := [folder] if folder.is_dir() else self.workspace.holding(f"{PACKAGED}/{notebook}/{name}")):
            raise FileNotFoundError(f"run {notebook} first: {self.notebook} reads {folder}, which is missing")
        if why := outdated(folder, self.workspace.outputs):
            raise ValueError(f"{why}: run {why.partition(' ')[0]} again")
        return found[0]

    @property
    def competition_slug(self) -> str:
        """Slug of the competition's dataset: the real one in the profile "full", a simulated one otherwise."""
        if self.profile == "full":
            return COMPETITION
        return f"motors-simulated-{replace(self, experiment='', fold=0, tag='').name}"

    @property
    def competition(self) -> Path:
        """Folder of the competition's data; raises FileNotFoundError, with advice, if it is missing."""
        hint = f"download the competition {COMPETITION}" if self.profile == "full" else "run 00_start_here first"
        return self.workspace.dataset(self.competition_slug, hint=hint)

    def stamp(self, **extra: Any) -> dict[str, Any]:
        """Return the provenance of a file: run, commit, versions, time, and the entries of `extra`."""
        about = {"run": self.name, **commit(self.workspace.root), "versions": versions()}
        return self.identity | about | {"time": datetime.now(UTC).isoformat(timespec="seconds")} | extra


def find(start: Path | str | None = None) -> Workspace:
    """Return the workspace around the folder `start`, by default the current one.

    Locally it is the nearest folder upwards that holds `notebooks` and `kaggle_datasets`; on Kaggle, where
    `/kaggle/input` exists, it is optional. Raises FileNotFoundError if there is neither, or one of these leads nowhere.
    """
    start = Path(start or ".").resolve()
    kaggle = Path(os.environ.get(KAGGLE_ROOT, "/kaggle"))
    top = kaggle / "input"
    owners = sorted(folder for folder in (top / "datasets").glob("*") if folder.is_dir())
    inputs = (top, *owners, top / "competitions") if top.is_dir() else ()
    for folder in (start, *start.parents):
        places = [folder / "notebooks", folder / "kaggle_datasets"]
        if all(map(os.path.lexists, places)):
            if lost := [place for place in places if not place.is_dir()]:
                raise FileNotFoundError(f"{lost[0]} is a file, or leads nowhere: move it away, or mount its disk")
            return Workspace(folder, folder / "outputs", (folder / "kaggle_datasets", *inputs))
    if inputs:
        return Workspace(kaggle, kaggle / "working", (kaggle / "working", *inputs))
    what = "no folder above it holds `notebooks` and `kaggle_datasets`"
    raise FileNotFoundError(f"{start} is not inside the workspace: {what}; start from a clone of the repository")


def open_run(
    notebook: str, profile: str, seed: int = 0, experiment: str = "", fold: int | None = None, tag: str = ""
) -> Run:
    """Return the run of the calling notebook; every notebook begins with this call.

    Its parameters EXPERIMENT, FOLD and SET have to be passed on, see `Workspace.run`. Raises ValueError as
    `Workspace.run`, or if the strict runner has another name for this run because a parameter was not passed on.
    """
    run = replace(find().run(notebook, profile, seed, experiment, fold, tag), opened=True)
    strict = os.environ.get(STRICT, "")
    if strict.startswith(f"{notebook}/") and strict != f"{notebook}/{run.name}":
        raise ValueError(f"this is {strict}, not {run.name}: hand PROFILE, SEED, EXPERIMENT, FOLD, SET on to open_run")
    return run


def _own_experiment(notebook: str) -> str:
    """Return a training notebook's own experiment, such as resnext50 for 20_train_resnext50."""
    return notebook.partition("_train_")[2]


def dataset(slug: str) -> Path:
    """Return the folder of the dataset `slug`, locally or on Kaggle; raises as `Workspace.dataset`."""
    return find().dataset(slug)


def new_dataset(slug: str) -> Path:
    """Return the folder to write the dataset `slug` to: `kaggle_datasets/<slug>`, or on Kaggle, in its outputs."""
    return find().new_dataset(slug)


def words_of(text: str) -> list[str]:
    """Return the words of a SET; blanks within brackets, as in [32, 64, 64], do not split.

    Raises ValueError if quotes are not closed.
    """
    return shlex.split(re.sub(r"(?<=[\[({,:])\s+|\s+(?=[\])}])", "", text))


def canonical_tag(text: str) -> str:
    """Return settings in a canonical form for folder names: sorted, `name=value`, joined by "_".

    Equal numbers are written alike; a single word becomes "tag=word"; a tag that is too long, or has characters that
    not every file system allows, is shortened and ends in a hash. A canonical tag stays as it is.
    Raises ValueError if quotes are not closed, or a name is given twice.
    """
    try:
        words = words_of(text)
    except ValueError:
        raise ValueError(f"SET {text!r} has quotes that are not closed: close them") from None
    words = [word if re.match(r"[A-Za-z_]\w*=", word) else f"tag={word}" for word in words]
    settings = dict(word.split("=", 1) for word in words)
    if len(settings) < len(words):
        raise ValueError(f"{text!r} sets a name twice: give each one value")
    tag = "_".join(f"{name}={_canonical(value)}" for name, value in sorted(settings.items()))
    safe = re.sub(r"[^A-Za-z0-9_.,=+-]+", ".", tag)
    if len(safe) > LONGEST or safe != tag:
        safe = f"{safe[: LONGEST - 11]}.{hashlib.sha256(tag.encode()).hexdigest()[:10]}"
    return safe


def _canonical(value: str) -> str:
    """Return a canonical value: 1e-4 for 0.0001 and 1.0e-04, 300 for 300.0, 96,128,128 for (96, 128, 128)."""
    try:
        known = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    if isinstance(known, tuple | list):
        return ",".join(_canonical(repr(each)) for each in known)
    if isinstance(known, float):
        exact = Decimal(repr(known))
        return str(int(known)) if known.is_integer() else format(exact, "e" if abs(known) < 1e-3 else "f")
    return {"True": "true", "False": "false", "None": "null"}.get(value, str(known))  # as in JSON
