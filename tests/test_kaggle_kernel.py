"""The pushed notebook on a machine like Kaggle's: mounted datasets, no internet, a hidden test it has not seen."""

import json
import shutil

import kaggle_machine
import kaggle_stand_in
import numpy as np
import pandas as pd
import pytest
import torch
import toys

from motors.experiments import catalogue
from motors.kaggle import publishing, submission
from motors.kaggle.packages import check, package
from motors.kaggle.publishing import BASE
from motors.networks import checkpoints
from motors.networks.factory import build
from motors.simulate import competition as simulate_competition
from motors.simulate.recipe import RECIPES
from motors.volumes.slices import stack_shape, write_slices
from motors.workspace import paths
from motors.workspace.files import write_json

pytestmark = pytest.mark.kernel
COMPETITION = "byu-locating-bacterial-flagellar-motors-2025"
SHAPE = (24, 40, 56)
NETWORK, PACKING = "20_train_resnext50", "50_package_for_kaggle"
OWNED = "datasets/alice"  # below input, where Kaggle has mounted datasets of late


def made(root, profile):
    """A workspace with the library and a made-up run: an untrained network, and how it is to be used."""
    toys.outputs(toys.workspace(root), profile)
    toys.library(root)
    home = paths.find(root)
    torch.manual_seed(0)
    experiment = catalogue.get("resnext50_smoke")
    network = build(experiment)
    list(network.parameters())[-1].data.zero_()  # the bias of the last layer: doubtful everywhere, not sure of nothing
    checkpoints.save(network, experiment, home.run(NETWORK, profile).folder / "weights")
    member = {"run": f"{NETWORK}/{profile}", "symmetry": "zyx", "weight": 1.0}
    ensemble = {"method": "distance", "quantile": 0.5, "skip": 0.0, "members": [member]}
    write_json(home.run("40_ensemble", profile).folder / "ensemble.json", ensemble)
    kaggle_machine.wheels_without_network(home.run(PACKING, profile))
    return home


def pack(home, profile, *more):
    """Pack what the notebook of a run mounts; return the folders by slug, and the notebook that is pushed."""
    run = home.run(PACKING, profile)
    packages = [package(slug, run, [NETWORK]) for slug in (*BASE, *more)]
    check(packages, "alice")
    return {each.slug: each.folder for each in packages}, publishing.kernel(run, "alice", {}) / "90_submit.ipynb"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A workspace with a made-up run of the real competition."""
    return made(tmp_path_factory.mktemp("home") / "clone", "full")


@pytest.fixture(scope="module")
def packed(home):
    """The folders of the datasets, by slug, and the notebook."""
    return pack(home, "full")


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """Python with what Kaggle's image ships, and no internet."""
    return kaggle_machine.python(tmp_path_factory.mktemp("machine"))


def competition(folder, names):
    """Write the test half of a competition: noise, and the sample submission."""
    rng = np.random.default_rng(0)
    for name in names:
        write_slices(folder / "test" / name, rng.integers(0, 255, SHAPE, dtype=np.uint8))
    columns = dict.fromkeys(["Motor axis 0", "Motor axis 1", "Motor axis 2"], -1)
    pd.DataFrame({"tomo_id": names}).assign(**columns).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def rehearse(interpreter, datasets, notebook, machine, *, where, names=(), **environment):
    """Run the notebook on a competition with these tomograms, or on the mounted one; return its submission."""
    kaggle_machine.mount(machine, datasets, where)
    if names:
        competition(machine / "input" / ("competitions" if where == OWNED else "") / COMPETITION, names)
    before = kaggle_machine.snapshot(machine / "input")
    answer = kaggle_machine.run(interpreter, machine, notebook, **environment)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert kaggle_machine.snapshot(machine / "input") == before
    (sample,) = (machine / "input").rglob("sample_submission.csv")
    shapes = {name: stack_shape(sample.parent / "test" / name) for name in pd.read_csv(sample)["tomo_id"]}
    table = submission.read_and_validate(machine / "working" / "submission.csv", shapes, shapes)
    assert (table["Motor axis 0"] >= 0).any(), "the network has found nothing at all"
    return table


HIDDEN = [f"tomo_{k:06x}" for k in range(5)]


def test_the_hidden_test_is_answered_offline(interpreter, packed, tmp_path):
    """Datasets mounted below their owner, more tomograms than anybody has seen, and a valid submission.csv."""
    table = rehearse(interpreter, *packed, tmp_path, where=OWNED, names=HIDDEN, KAGGLE_IS_COMPETITION_RERUN="1")
    assert len(table) == len(HIDDEN)
    executed = json.loads((tmp_path / "working" / "__notebook__.ipynb").read_text())
    assert "5 rows" in json.dumps(executed)


def test_anybody_can_try_the_notebook_on_the_simulated_competition(interpreter, tmp_path):
    """A dataset like the others, without the real competition; here the smallest one, mounted right below input."""
    home = made(tmp_path / "home", "smoke")
    run = home.run(PACKING, "smoke")
    folder = simulate_competition.simulate(home.new_dataset(run.competition_slug), RECIPES["smoke"])
    about = (home.dataset("motors-simulated-demo") / "dataset-metadata.json").read_text()
    (folder / "dataset-metadata.json").write_text(about.replace("motors-simulated-demo", run.competition_slug))
    rehearse(interpreter, *pack(home, "smoke", run.competition_slug), tmp_path / "kaggle", where="")
    score = json.loads((tmp_path / "kaggle" / "working" / "90_submit" / "smoke" / "score.json").read_text())
    assert 0 <= score["low"] <= score["f2"] <= score["high"] <= 1


@pytest.mark.slow
def test_the_three_visible_tomograms_are_answered_too(interpreter, packed, tmp_path):
    """With datasets mounted as Kaggle used to, right below input."""
    assert len(rehearse(interpreter, *packed, tmp_path, where="", names=HIDDEN[:3])) == 3


@pytest.mark.slow
def test_what_arrived_on_the_server_runs_in_the_versions_of_the_image(home, packed, tmp_path, monkeypatch):
    """Sent by the real client, real wheels with hashes, and the recorded versions of all but PyTorch; needs PyPI."""
    kept = toys.REPOSITORY / "kaggle_datasets" / "motors-wheels" / "requirements.txt"
    shutil.copy(kept, home.root / "kaggle_datasets" / "motors-wheels" / "requirements.txt")
    sent = [package(slug, home.run(PACKING, "full"), [NETWORK]) for slug in packed[0]]
    with kaggle_stand_in.serving() as server:
        kaggle_stand_in.connect(server, tmp_path / "user", monkeypatch)
        assert {publishing.publish(each, "alice", home, patience=0.1) for each in sent} == {"created"}
    arrived = {ref.partition("/")[2]: versions[-1] for ref, versions in server.datasets.items()}
    for slug, files in arrived.items():
        for path, content in files.items():
            target = tmp_path / "arrived" / slug / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    image = tmp_path / "image"
    listed = kaggle_machine.wheels.versions(kaggle_machine.IMAGE)
    wanted = [
        f"{n}<={v}"
        for n, v in listed.items()  # the very version, where there is one for this Python
        if n not in kaggle_machine.wheels.NEVER
    ]
    kaggle_machine.install([*wanted, "jedi", "anyio"], image)
    kaggle_machine.link_torch(image)
    interpreter = kaggle_machine.python(tmp_path / "machine", image)
    datasets = {slug: tmp_path / "arrived" / slug for slug in arrived}
    table = rehearse(interpreter, datasets, packed[1], tmp_path / "kaggle", where=OWNED, names=HIDDEN)
    assert len(table) == len(HIDDEN)
