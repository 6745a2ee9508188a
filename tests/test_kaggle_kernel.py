"""The pushed notebook on a machine like Kaggle's: mounted datasets, no internet, a hidden test it has not seen."""

import json
import shutil
from importlib import metadata

import kaggle_machine
import kaggle_stand_in
import numpy as np
import pandas as pd
import pytest
import torch
import toys

from motors import experiments, kaggle, networks, submission, volumes, workspace

COMPETITION = "byu-locating-bacterial-flagellar-motors-2025"
SHAPE = (24, 40, 56)
OWNED = "datasets/alice"  # below input, where Kaggle has mounted datasets of late


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A workspace with a made-up full run: an untrained network, packed with the library and wheels."""
    root = toys.workspace(tmp_path_factory.mktemp("home") / "clone")
    toys.outputs(root, "full")
    shutil.copytree(toys.REPOSITORY / "lib", root / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    home = workspace.find(root)
    torch.manual_seed(0)
    experiment = experiments.RESNEXT50_SMOKE
    network = networks.build(experiment)
    list(network.parameters())[-1].data.zero_()  # the bias of the last layer: doubtful everywhere, not sure of nothing
    networks.save(network, experiment, home.run("20_train_resnext50", "full").folder / "weights")
    source = f"{experiment.name} zyx"
    ensemble = {"way": "distance", "quantile": 0.5, "skip": 0.0, "held_out": {}, "weights": {source: 1.0}}
    ensemble |= {"networks": {"20_train_resnext50": [source]}}
    workspace.write_json(home.run("40_ensemble", "full").folder / "ensemble.json", ensemble)
    return home


@pytest.fixture(scope="module")
def packed(home):
    """The folders of the datasets, by slug, and the folder of the notebook."""
    run = home.run("50_package_for_kaggle", "full")
    built = run.output / "wheels"
    built.mkdir()
    names = ["segmentation-models-pytorch", "mrcfile"]
    lock = [(name, kaggle_machine.repack(name, built)) for name in names]  # of what is installed here: no network
    lines = [f"{n}=={metadata.version(n)} --hash=sha256:{workspace.sha256(path)}\n" for n, path in lock]
    (home.root / "kaggle_datasets" / "motors-wheels" / "requirements.txt").write_text("".join(lines))
    slugs = ["motors-lib", "motors-wheels", "motors-weights"]
    packages = [kaggle.package(slug, run, ["20_train_resnext50"]) for slug in slugs]
    kaggle.check(packages, "alice")
    return {each.slug: each.folder for each in packages}, kaggle.kernel(run, "alice", {}) / "90_submit.ipynb"


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """Python with what Kaggle's image ships, and no internet."""
    return kaggle_machine.python(tmp_path_factory.mktemp("machine"))


def competition(folder, names):
    """Write the test half of a competition: noise, and the sample submission."""
    rng = np.random.default_rng(0)
    for name in names:
        volumes.write_slices(folder / "test" / name, rng.integers(0, 255, SHAPE, dtype=np.uint8))
    columns = dict.fromkeys(["Motor axis 0", "Motor axis 1", "Motor axis 2"], -1)
    pd.DataFrame({"tomo_id": names}).assign(**columns).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def rehearse(interpreter, datasets, notebook, tmp_path, *, where, names, **environment):
    """Run the notebook on a competition with these tomograms and return its submission."""
    kaggle_machine.mount(tmp_path, datasets, where)
    place = "competitions" if where == OWNED else ""
    competition(tmp_path / "input" / place / COMPETITION, names)
    before = kaggle_machine.snapshot(tmp_path / "input")
    answer = kaggle_machine.run(interpreter, tmp_path, notebook, **environment)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert kaggle_machine.snapshot(tmp_path / "input") == before
    table = submission.read_and_validate(tmp_path / "working" / "submission.csv", names, dict.fromkeys(names, SHAPE))
    assert (table["Motor axis 0"] >= 0).any(), "the network has found nothing at all"
    return table


HIDDEN = [f"tomo_{k:06x}" for k in range(5)]


def test_the_hidden_test_is_answered_offline(interpreter, packed, tmp_path):
    """Datasets mounted below their owner, more tomograms than anybody has seen, and a valid submission.csv."""
    table = rehearse(interpreter, *packed, tmp_path, where=OWNED, names=HIDDEN, KAGGLE_IS_COMPETITION_RERUN="1")
    assert len(table) == len(HIDDEN)
    executed = json.loads((tmp_path / "working" / "__notebook__.ipynb").read_text())
    assert "5 rows" in json.dumps(executed)


@pytest.mark.slow
def test_the_three_visible_tomograms_are_answered_too(interpreter, packed, tmp_path):
    """With datasets mounted as Kaggle used to, right below input."""
    assert len(rehearse(interpreter, *packed, tmp_path, where="", names=HIDDEN[:3])) == 3


@pytest.mark.slow
def test_what_arrived_on_the_server_runs_in_the_versions_of_the_image(home, packed, tmp_path, monkeypatch):
    """Sent by the real client, real wheels with hashes, and the recorded versions of all but PyTorch; needs PyPI."""
    kept = toys.REPOSITORY / "kaggle_datasets" / "motors-wheels" / "requirements.txt"
    shutil.copy(kept, home.root / "kaggle_datasets" / "motors-wheels" / "requirements.txt")
    run = home.run("50_package_for_kaggle", "full")
    sent = [kaggle.package(slug, run, ["20_train_resnext50"]) for slug in packed[0]]
    with kaggle_stand_in.serving() as server:
        for name, value in server.environment(tmp_path / "user").items():
            monkeypatch.setenv(name, value)
        assert {kaggle.publish(each, "alice", "note", home, patience=0.1) for each in sent} == {"created"}
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
