"""The original author's five checkpoints from Kaggle, as runs and as the ensemble of his final submission."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motors.experiments import catalogue
from motors.experiments.config import Experiment
from motors.kaggle.client import KaggleError, ask
from motors.kaggle.packages import ENSEMBLE
from motors.kaggle.publishing import listing
from motors.networks import checkpoints
from motors.workspace.files import read_json, sha256, write_json
from motors.workspace.paths import Run, Workspace

DATASET = "dangnh0611/byu-final-dataset"
TAG = "published"  # of the runs with converted weights, which keeps them apart from runs trained here
SPARE = 1.25  # disk space relative to the checkpoints, with converted weights
Show = Callable[[str], None]


@dataclass(frozen=True)
class Member:
    """A network of the final submission: number of its experiment, our name of it, and its symmetries."""

    number: int
    name: str
    symmetries: tuple[str, ...]

    @property
    def experiment(self) -> Experiment:
        """Its settings, at full size."""
        return catalogue.get(self.name)

    def run(self, home: Workspace) -> Run:
        """Return the run that holds its weights."""
        return home.run(catalogue.training_notebook(self.experiment), "full", tag=TAG)


# Nine lists of detections, each with one vote. The symmetries of the 3D networks in the final submission are not
# published: these are from the author's scripts and from a version of his notebook in a public index.
MEMBERS = (
    Member(31, "resnext50", ("zyx_z", "zxy_z")),
    Member(28, "densenet121", ("zyx", "zxy")),
    Member(16, "x3d_m", ("zyx_x", "zyx_y")),
    Member(27, "maxvit_tiny", ("yx", "xy")),
    Member(19, "coat_medium", ("yx",)),
)
FUSION = {"method": "distance", "skip": 0.2, "quantile": 0.55}


def fetch(home: Workspace, *, ref: str = DATASET, show: Show = lambda line: None) -> Path:
    """Return the file of the author's ensemble, after fetching and converting networks that are missing.

    The checkpoints go to the folder of their dataset `ref`, <owner>/<slug>, the networks to runs of the training
    notebooks, the file to where `90_submit` and `motors.detect` expect it; `show` gets a line on each network.

    Raises KaggleError if Kaggle wants credentials or its rules accepted, or has no such dataset; ValueError if it has
    no file for one of the experiments, or one that is not a checkpoint of it; FileExistsError if another ensemble, or
    other weights, are in their place; OSError if the disk is too small.
    """
    settings = home.run(ENSEMBLE, "full").folder / "ensemble.json"
    if settings.is_file() and read_json(settings).get("published") != ref:
        raise FileExistsError(f"{settings} is of another ensemble: move {settings.parent} elsewhere first")
    files = listing(ref)
    if files is None:
        raise KaggleError(f"Kaggle shows no dataset {ref}: look for it on its page, and accept its rules if it has any")
    chosen = {member: choose(member, files) for member in MEMBERS}
    folder = home.new_dataset(ref.partition("/")[2])
    _need_room(folder, sum(files[name] for name in chosen.values()))
    for member, name in chosen.items():
        _convert(member, _download(ref, name, files[name], folder), home, show)
    members = []
    for member in MEMBERS:
        named = f"{member.run(home).notebook}/{member.run(home).name}"
        members += [{"run": named, "symmetry": symmetry, "weight": 1.0} for symmetry in member.symmetries]
    run = home.run(ENSEMBLE, "full")
    return write_json(run.output / settings.name, run.stamp(**FUSION, members=members, published=ref))


def choose(member: Member, files: dict[str, int]) -> str:
    """Return a member's checkpoint nearest to its last step; raises ValueError, listing files, if there is none."""
    named = re.compile(rf"EXP0*{member.number}(?!\d)", re.IGNORECASE)
    mine = [name for name in files if named.search(name) and name.lower().endswith((".ckpt", ".pt", ".pth"))]
    if not mine:
        there = ", ".join(sorted(files)[:12]) or "nothing"
        raise ValueError(f"no checkpoint is named after EXP{member.number} ({member.name}); the dataset has {there}")

    def away(name: str) -> tuple[int, str]:
        step = re.search(r"step=?(\d+)", name, re.IGNORECASE)
        return (abs(int(step[1]) - member.experiment.optimiser_steps) if step else 10**9, name)

    return min(mine, key=away)


def _need_room(folder: Path, size: int) -> None:
    """Refuse a disk without room for the missing checkpoints and the converted weights."""
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    wanted, free = int(max(size - there, 0) + size * (SPARE - 1)), shutil.disk_usage(folder).free
    if wanted > free:
        raise OSError(f"{folder} has {free / 1e9:.1f} GB free, but {wanted / 1e9:.1f} are needed: make room first")


def _download(ref: str, name: str, size: int, folder: Path) -> Path:
    """Return a complete file of a dataset, downloaded if it is missing."""
    path = folder / name
    if not path.is_file() or path.stat().st_size != size:
        where = {"path": str(folder), "force": path.is_file(), "unzip": True}
        ask("datasets download", lambda api: api.dataset_download_file(ref, name, **where))
    if not path.is_file() or path.stat().st_size != size:
        raise KaggleError(f"{name} of {ref} arrived in part or under another name: run this again")
    return path


def _convert(member: Member, checkpoint: Path, home: Workspace, show: Show) -> None:
    run = member.run(home)
    made, digest = run.folder / "provenance.json", sha256(checkpoint)
    if read_json(made).get("checkpoint_sha256") == digest and checkpoints.is_whole(run.folder / "weights"):
        show(f"EXP{member.number} {member.name}: there already")
        return
    weights = checkpoints.convert(checkpoint, member.experiment, run.output / "weights")
    about = {"weights": sha256(weights / checkpoints.WEIGHTS), "checkpoint": checkpoint.name}
    write_json(made, run.stamp(**about, checkpoint_sha256=digest))
    show(f"EXP{member.number} {member.name}: {checkpoint.name} is in {run.folder.relative_to(home.root)}")
