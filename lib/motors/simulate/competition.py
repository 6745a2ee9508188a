"""A simulated competition on disk, in the format of the real one."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from motors.labels.formats import write_competition
from motors.labels.table import Labels, solution
from motors.simulate import density, imaging
from motors.simulate.recipe import Recipe, TomogramPlan, plans
from motors.simulate.scene import Scene, arrange
from motors.tables import MOTOR_AXES, MOTORS, TOMOGRAMS
from motors.volumes.slices import write_slices
from motors.volumes.tomogram import Tomogram
from motors.workspace.files import on_disk, read_json, write_json, write_table
from motors.workspace.progress import progress

FEW = 16  # up to so many tomograms one process is faster than starting more
VERSION = 3  # of the simulation: raised whenever the same recipe and seed make other tomograms
MANIFEST = "manifest.json"
BESIDE = ("README.md", "dataset-metadata.json")  # may be in the folder before
TABLES = ("train_labels.csv", "sample_submission.csv", "solution.csv")


def tomogram(recipe: Recipe, seed: int = 0, k: int = 0) -> tuple[Tomogram, np.ndarray]:
    """Return tomogram `k` of a simulated competition, with its spacing, and the motors in it, `(n, 3)` zyx in voxels.

    Training tomograms come first, the hidden ones after them. The same recipe, seed and `k` give the same voxels.
    """
    todo = plans(recipe, seed)
    if not 0 <= k < len(todo):
        raise ValueError(f"recipe {recipe.name} makes {len(todo)} tomograms, counted from 0: there is no {k}")
    plan = todo[k]
    scene = arrange(recipe, plan, seed)
    return Tomogram(plan.name, render(recipe, scene, seed, k), plan.spacing), scene.points_zyx


def render(recipe: Recipe, scene: Scene, seed: int, k: int) -> np.ndarray:
    """Return the `(z, y, x)` uint8 intensities of a scene; memory is little more than one complex spectrum."""
    rng, grid = np.random.default_rng([seed, k, 0]), scene.grid
    spectrum, volume = imaging.blank(grid.shape)
    density.density(scene, seed, k, volume)
    imaging.image(spectrum, grid.shape, grid.spacing, imaging.random_optics(rng, recipe.noise), (seed, k, 3))
    return imaging.develop(volume, grid, rng)


def simulate(folder: str | Path, recipe: Recipe, seed: int = 0) -> Path:
    """Write a simulated competition and return its folder; an existing one is reused, an incomplete one completed.

    The folder gets `train/<tomo_id>/slice_0000.jpg` and so on, `test/...`, `train_labels.csv` and
    `sample_submission.csv` as in the real competition; `solution.csv`, the motors of the hidden tomograms, for scoring
    only; and `manifest.json`, with the recipe and seed that made it.

    Raises FileExistsError if the folder holds something else, such as another simulation or the real data.
    """
    folder = on_disk(Path(folder))
    _claim(folder, recipe, seed)
    todo = plans(recipe, seed)
    missing = [plan for plan in todo if not (folder / plan.split / plan.name).is_dir()]
    for leftover in folder.glob("t*/.*-tomo_*"):  # of a process that was killed while it wrote a tomogram
        shutil.rmtree(leftover)
    if missing:
        together = Parallel(-1 if len(missing) > FEW else 1, return_as="generator")  # -1: one process for each core
        done = together(delayed(_write)(folder, recipe, seed, plan) for plan in missing)
        list(progress(done, total=len(missing), title=f"simulating {recipe.name}, seed {seed}"))
    if missing or not all((folder / table).is_file() for table in TABLES):
        _write_tables(folder, recipe, seed)
    return folder


def _write(folder: Path, recipe: Recipe, seed: int, plan: TomogramPlan) -> None:
    write_slices(folder / plan.split / plan.name, render(recipe, arrange(recipe, plan, seed), seed, plan.k))


def _claim(folder: Path, recipe: Recipe, seed: int) -> None:
    """Write the manifest into a new folder, or raise FileExistsError if it holds another simulation."""
    manifest = {"simulation": VERSION, "seed": seed, "digest": recipe.digest, "recipe": asdict(recipe)}
    path = folder / MANIFEST
    if path.is_file():
        found = read_json(path)
        if any(found.get(name) != manifest[name] for name in ("simulation", "seed", "digest")):
            raise FileExistsError(
                f"{folder} holds another simulation (version {found.get('simulation')}, recipe"
                f" {found.get('recipe', {}).get('name')}, seed {found.get('seed')}): remove it, or give a new folder"
            )
        return
    if folder.exists() and any(entry.name not in BESIDE for entry in folder.iterdir()):
        raise FileExistsError(f"{folder} holds files but no {MANIFEST}, so it is not a simulation: give a new folder")
    write_json(path, manifest)


def _write_tables(folder: Path, recipe: Recipe, seed: int) -> None:
    write_competition(folder / "train_labels.csv", _truth(recipe, seed, "train"))
    hidden = _truth(recipe, seed, "test")
    write_table(folder / "solution.csv", solution(hidden))
    sample = hidden.tomograms[["tomo_id"]].assign(**dict.fromkeys(MOTOR_AXES, -1))
    write_table(folder / "sample_submission.csv", sample)


def _truth(recipe: Recipe, seed: int, split: str) -> Labels:
    """Return the labels of one split, computed from the scenes alone."""
    tomograms, motors = [], []
    for plan in plans(recipe, seed):
        if plan.split == split:
            scene = arrange(recipe, plan, seed)
            tomograms.append([plan.name, *scene.grid.shape, plan.spacing])
            motors += [[plan.name, *point] for point in scene.points_zyx]
    motors = pd.DataFrame(motors, columns=MOTORS).astype(dict.fromkeys("zyx", float))
    return Labels(pd.DataFrame(tomograms, columns=TOMOGRAMS), motors)
