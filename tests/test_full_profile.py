"""The notebooks of the full profile on tomograms of real size, those that train up to their first step.

Slow: a quarter of an hour to prepare, then minutes to half an hour for each network; 16 GiB of memory, 5 GB of disk.
"""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import toys

from motors.experiments import catalogue
from motors.experiments.config import Experiment
from motors.labels.formats import write_competition
from motors.labels.table import Labels
from motors.pipeline.graph import steps
from motors.simulate import competition
from motors.simulate.recipe import RECIPES
from motors.tables import MOTORS, TOMOGRAMS
from motors.volumes.slices import write_slices
from motors.workspace import paths

pytestmark = pytest.mark.slow

FULL = list(steps(paths.find(toys.REPOSITORY), "full"))
PREPARE = ["10_prepare_labels", "11_prepare_volumes"]
WHOLE = [name for name in FULL if name < "20" and name not in PREPARE]
TRAIN = [name for name in FULL if "_train_" in name]
COPIES = 4  # of each tomogram under other names: as many as there are folds

ONE_STEP = """
from dataclasses import replace as _replace
_settings = {"checkpointing": True, "batch": 1, "accumulate": 1, "steps": 1, "stop_at": None}
_settings |= {"warmup": 0, "save_every": 1}
_original = experiments.of
experiments.of = lambda family, profile: _replace(_original(family, profile), **_settings)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A workspace whose competition is two simulated tomograms of real size, one with a motor, each several times."""
    root = toys.workspace(tmp_path_factory.mktemp("full") / "clone")
    shutil.copytree(toys.REPOSITORY / "notebooks", root / "notebooks", dirs_exist_ok=True)
    folder = root / "kaggle_datasets" / paths.find(root).run(FULL[0], "full").competition_slug
    recipe = replace(RECIPES["real"], train=2, test=0, motors=((0, 1), (1, 1)))
    (folder / "train").mkdir(parents=True)
    tomograms, motors = [], []
    for k in range(2):
        tomogram, points_zyx = competition.tomogram(recipe, k=k)
        simulated = write_slices(root / "simulated" / tomogram.name, tomogram.voxels)
        for copy in range(COPIES):
            name = f"{tomogram.name[:-2]}{copy}{k}"
            os.symlink(simulated, folder / "train" / name)
            tomograms.append([name, *tomogram.voxels.shape, tomogram.spacing])
            motors += [[name, *point] for point in points_zyx]
    known = Labels(pd.DataFrame(tomograms, columns=TOMOGRAMS), pd.DataFrame(motors, columns=MOTORS))
    write_competition(folder / "train_labels.csv", known)
    for notebook in PREPARE:
        run(root, notebook)
    return root


def run(root: Path, notebook: str, *parameters: str) -> None:
    """Run a notebook of the workspace strictly."""
    answer = toys.command(root, "run", f"notebooks/{notebook}.ipynb", "-p", "PROFILE", "full", *parameters)
    assert answer.returncode == 0, answer.stderr[-3000:]


def shorten(path: Path) -> str:
    """Let a training notebook take one step on one patch and end there; return its parameters."""
    notebook = json.loads(path.read_text())
    texts = ["".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in notebook["cells"]]
    first = next(k for k, text in enumerate(texts) if "experiments.of(" in text)
    last = next(k for k, text in enumerate(texts) if "training.train(" in text)
    added = {"cell_type": "code", "id": "one-step", "metadata": {}, "outputs": [], "execution_count": None}
    cells = notebook["cells"]
    notebook["cells"] = [*cells[:first], added | {"source": ONE_STEP}, *cells[first : last + 1]]
    path.write_text(json.dumps(notebook))
    return next(text for text in texts if "PROFILE:" in text)


@pytest.mark.parametrize("notebook", WHOLE)
def test_what_comes_before_training_runs(notebook, root):
    """From the first cell to the last."""
    run(root, notebook)


@pytest.mark.parametrize("notebook", TRAIN)
def test_a_training_notebook_gets_to_its_first_step(notebook, root):
    """With the network, the patch and the samples of the full size; one patch a step, activations recomputed."""
    parameters = shorten(root / "notebooks" / f"{notebook}.ipynb")
    run(
        root,
        notebook,
        "-p",
        "WORKERS",
        "0",
        *(["-p", "CHECKPOINTING", "True"] if "CHECKPOINTING:" in parameters else []),
    )
    output = paths.find(root).run(notebook, "full").folder
    (row,) = pd.read_csv(output / "metrics.csv").itertuples()
    trained = Experiment.read(output / "weights" / "experiment.json")
    original = catalogue.get(trained.family)
    assert row.step == 1 and math.isfinite(row.loss)
    assert (trained.patch, trained.encoder, trained.spacing) == (original.patch, original.encoder, original.spacing)
    assert trained.encoder_options == original.encoder_options == {}
