"""Where datasets and outputs live, at home and on Kaggle."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from motors.workspace.provenance import commit, versions

COMPETITION = "byu-locating-bacterial-flagellar-motors-2025"
PROFILES = ("smoke", "demo", "full")
PACKAGED = "motors-weights"  # dataset with what other notebooks made, in their folders
KAGGLE_ROOT = "MOTORS_KAGGLE_ROOT"  # environment variable: another folder than /kaggle, for rehearsals


@dataclass(frozen=True)
class Workspace:
    """The folders of the project on this machine; `find` makes it.

    The folder name at home is the folder name on Kaggle: `kaggle_datasets/<slug>` is `/kaggle/input/<slug>`
    (or below `datasets/<owner>` or `competitions` there), and `outputs` is `/kaggle/working`.
    """

    root: Path
    outputs: Path
    inputs: tuple[Path, ...]  # folders that hold datasets by slug: the first one wins, and new ones are made there

    def dataset(self, slug: str, *, hint: str = "put it there") -> Path:
        """Return the folder of the dataset called `slug`.

        Raises
        ------
        FileNotFoundError
            If there is none; the sentence says where it was looked for and gives `hint`, what to do about it.
        """
        for folder in self.inputs:
            if (folder / slug).is_dir():
                return folder / slug
        places = ", ".join(str(folder / slug) for folder in self.inputs)
        raise FileNotFoundError(f"dataset {slug} is missing, looked for {places}: {hint}")

    def new_dataset(self, slug: str) -> Path:
        """Return the folder to write the dataset called `slug` to; made if it is not there."""
        folder = self.inputs[0] / slug
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(self, notebook: str, profile: str, seed: int = 0) -> Run:
        """Return the named run of a notebook; makes no folder.

        Raises
        ------
        ValueError
            If there is no such profile.
        """
        if profile not in PROFILES:
            raise ValueError(f"{notebook}: there is no profile {profile!r}: choose one of {', '.join(PROFILES)}")
        return Run(workspace=self, notebook=notebook, profile=profile, seed=int(seed))


@dataclass(frozen=True)
class Run:
    """One execution of one notebook: what it is called, where it reads and where it writes."""

    workspace: Workspace
    notebook: str
    profile: str
    seed: int = 0

    @property
    def name(self) -> str:
        """The profile, with the seed unless that is 0: "demo", "demo-seed1"."""
        return self.profile if self.seed == 0 else f"{self.profile}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Folder of this run, whether it exists or not."""
        return self.workspace.outputs / self.notebook / self.name

    @property
    def output(self) -> Path:
        """Folder that this run writes to; made if it is not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def input(self, notebook: str) -> Path:
        """Return the output folder of another notebook in the run of the same name.

        Where that notebook has not been run, as on Kaggle, that is its part of the dataset `motors-weights`.

        Raises
        ------
        FileNotFoundError
            If there is neither.
        """
        folder = self.workspace.run(notebook, self.profile, self.seed).folder
        packaged = [inputs / PACKAGED / notebook / self.name for inputs in self.workspace.inputs]
        found = next((path for path in (folder, *packaged) if path.is_dir()), None)
        if found is None:
            raise FileNotFoundError(f"run {notebook} first: {self.notebook} reads {folder}, which is missing")
        return found

    @property
    def competition_slug(self) -> str:
        """The dataset that is the competition: the real one in the profile "full", a simulated one otherwise."""
        return COMPETITION if self.profile == "full" else f"motors-simulated-{self.name}"

    @property
    def competition(self) -> Path:
        """Folder of the competition's data.

        Raises
        ------
        FileNotFoundError
            If it is missing. The notebook that simulates a competition asks
            `new_dataset(run.competition_slug)` for its folder instead.
        """
        hint = f"download the competition {COMPETITION}" if self.profile == "full" else "run 00_start_here first"
        return self.workspace.dataset(self.competition_slug, hint=hint)

    def stamp(self, **extra: Any) -> dict[str, Any]:
        """Return what made a file: notebook, profile, seed, commit, versions and time, and what is given in `extra`."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        names = {"notebook": self.notebook, "profile": self.profile, "seed": self.seed}
        return {**names, **commit(self.workspace.root), "versions": versions(), "time": time, **extra}


def find(start: Path | str | None = None) -> Workspace:
    """Return the workspace around the folder `start`, by default the current one.

    At home that is the nearest folder upwards that holds `notebooks` and `kaggle_datasets`; on Kaggle, which has
    `/kaggle/input`, there need not be one.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    start = Path(start or ".").resolve()
    kaggle = Path(os.environ.get(KAGGLE_ROOT, "/kaggle"))
    inputs = _kaggle_inputs(kaggle)
    for folder in (start, *start.parents):
        if (folder / "notebooks").is_dir() and (folder / "kaggle_datasets").is_dir():
            return Workspace(folder, folder / "outputs", (folder / "kaggle_datasets", *inputs))
    if inputs:
        return Workspace(kaggle, kaggle / "working", (kaggle / "working", *inputs))
    raise FileNotFoundError(
        f"{start} is not inside the workspace: no folder above it holds `notebooks` and `kaggle_datasets`;"
        " start from the folder that the repository was cloned to"
    )


def open_run(notebook: str, profile: str, seed: int = 0) -> Run:
    """Return the run that the notebook in the current folder is; called at the top of every notebook."""
    return find().run(notebook, profile, seed)


def dataset(slug: str) -> Path:
    """Return the folder of the dataset called `slug`, at home or on Kaggle.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    return find().dataset(slug)


def new_dataset(slug: str) -> Path:
    """Return the folder to write the dataset called `slug` to: `kaggle_datasets/<slug>`, on Kaggle in its outputs."""
    return find().new_dataset(slug)


def _kaggle_inputs(kaggle: Path) -> tuple[Path, ...]:
    """The folders of a Kaggle machine that hold datasets by slug; none elsewhere."""
    top = kaggle / "input"
    if not top.is_dir():
        return ()
    owners = sorted(folder for folder in (top / "datasets").glob("*") if folder.is_dir())
    return (top, *owners, top / "competitions")
