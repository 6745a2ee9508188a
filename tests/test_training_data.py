"""From an experiment and its fold to samples and first weights; watching; and each numbered experiment in training."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from timm.optim import muon
from torch import nn
from undrawn import undrawn

from motors.experiments import catalogue
from motors.experiments.numbered import NUMBERED
from motors.labels import formats
from motors.labels.table import Labels
from motors.networks import checkpoints, summary
from motors.networks.factory import build
from motors.patches.blocks import Blocks
from motors.patches.slices import Slices
from motors.tables import MOTORS, TOMOGRAMS
from motors.training import data as training_data, module
from motors.training.run import train
from motors.training.watch import Watch
from motors.visualization.plots import architecture
from motors.volumes.prepared import write_prepared
from motors.workspace import paths
from motors.workspace.files import write_json

pytestmark = pytest.mark.kernel  # networks are built and computed
NEWTON_SCHULZ = muon.zeropower_via_newtonschulz  # timm's own, which a training replaces

STORED = (40.0, 40.0, 40.0)
SHAPES = {"a": (32, 64, 96), "b": (40, 70, 64), "c": (33, 64, 70), "d": (36, 80, 64)}
POINTS = {"a": [[9.0, 20.0, 41.0]], "b": [[20.0, 30.0, 33.0], [25.0, 44.0, 12.0]], "d": [[11.0, 51.0, 22.0]]}
FOLDS = {"a": 0, "b": 1, "c": 2, "d": 2}  # c has no motor
BLOCK = replace(catalogue.get("x3d_m_smoke"), patch=(32, 32, 32), spacing=STORED)
SLICE = replace(catalogue.get("maxvit_tiny_smoke"), patch=(3, 64, 64), spacing=(80.0, 40.0, 40.0))


class Silent:
    """A progress line that says nothing."""

    def __init__(self, total=None, title=""):
        self.numbers = {}

    def advance(self, n=1, **numbers):
        self.numbers = numbers

    def close(self):
        self.numbers = {}


class Noise(torch.utils.data.Dataset):
    """Noise with random targets, a function of the number."""

    def __init__(self, experiment):
        self.experiment = experiment

    def __len__(self):
        return 10

    def __getitem__(self, k):
        rng, patch = np.random.default_rng(k), self.experiment.patch
        image = rng.integers(0, 256, patch if self.experiment.is_2d else (1, *patch), dtype=np.uint8)
        grid = self.experiment.grid[1:] if self.experiment.is_2d else self.experiment.grid
        target = torch.from_numpy(rng.uniform(0, 1, (1, *grid)).astype(np.float32))
        return {"image": torch.from_numpy(image), "target": target, "motors": k % 2}


@pytest.fixture(autouse=True)
def one_thread():
    """The bytes are promised for a number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """What notebooks 10 and 11 would have left of four tomograms."""
    folder = tmp_path_factory.mktemp("prepared")
    tomograms = pd.DataFrame([[name, *shape, STORED[0]] for name, shape in SHAPES.items()], columns=TOMOGRAMS)
    motors = pd.DataFrame([[name, *p] for name, found in POINTS.items() for p in found], columns=MOTORS)
    formats.write(folder, Labels(tomograms, motors))
    pd.Series(FOLDS, name="fold").rename_axis("tomo_id").to_csv(folder / "folds.csv")
    for name, shape in SHAPES.items():
        write_prepared(folder, name, np.random.default_rng(len(name)).integers(0, 256, shape, dtype=np.uint8))
    return folder


# ---- samples


@pytest.mark.parametrize(("experiment", "kind"), [(BLOCK, Blocks), (SLICE, Slices)])
def test_a_network_is_trained_on_all_folds_but_its_own_and_watched_on_that(prepared, experiment, kind):
    """Whatever the fold; held-out samples are not augmented."""
    for fold, trained, held_out in ((0, "bcd", "a"), (2, "ab", "cd")):
        found = training_data.data(replace(experiment, fold=fold), prepared, prepared, STORED)
        assert type(found.samples) is type(found.watched) is kind
        assert set(found.samples.motors) == set(trained) & set(POINTS)
        assert set(found.held_out.tomograms["tomo_id"]) == set(held_out)
        assert set(found.watched.motors) == set(held_out) & set(POINTS) and not found.watched.experiment.augment


def test_without_a_fold_all_are_trained_on_and_nothing_is_watched(prepared):
    """Fold 0 is handed on to be looked at."""
    found = training_data.data(replace(BLOCK, fold=-1), prepared, prepared, STORED)
    assert set(found.samples.motors) == set(POINTS) and found.watched is None
    assert set(found.held_out.tomograms["tomo_id"]) == {"a"}
    with pytest.raises(ValueError, match="there is no fold 7"):
        training_data.data(replace(BLOCK, fold=7), prepared, prepared, STORED)


def test_tomograms_of_no_fold_always_train(prepared, tmp_path):
    """Those with several motors, and external ones: also where nothing is held out."""
    shutil.copytree(prepared, tmp_path / "labels")
    pd.Series(FOLDS | {"b": -1}, name="fold").rename_axis("tomo_id").to_csv(tmp_path / "labels" / "folds.csv")
    for fold, trained in ((0, "bd"), (2, "ab"), (-1, "abd")):
        found = training_data.data(replace(BLOCK, fold=fold), tmp_path / "labels", prepared, STORED)
        assert set(found.samples.motors) == set(trained)


def test_tomograms_with_too_many_motors_are_not_trained_on(prepared):
    """The cool-down wants at most one; those without stay."""
    found = training_data.data(replace(BLOCK, fold=0, most_motors=1), prepared, prepared, STORED)
    assert set(found.samples.motors) == {"d"}
    assert set(found.samples.epoch.windows["tomo_id"]) == {"c", "d"}


# ---- first weights


def test_fine_tuning_begins_with_all_the_weights_of_another_run(tmp_path):
    """Training goes on from them; weights of another network are refused by name, missing ones too."""
    network = build(replace(BLOCK, seed=3))
    checkpoints.save(network, BLOCK, tmp_path / "weights")
    cool = replace(BLOCK, name="cool", learning_rate=1e-4, augment=False, checkpointing=True)
    again = training_data.first_network(cool, tmp_path / "weights")
    assert again.training
    expected = network.state_dict()
    assert all(torch.equal(expected[name.replace("inner.", "")], value) for name, value in again.state_dict().items())
    with pytest.raises(ValueError, match="holds another network than wide's: its decoder_channels is 48, not 64"):
        training_data.first_network(replace(BLOCK, name="wide", decoder_channels=64), tmp_path / "weights")
    with pytest.raises(FileNotFoundError, match=r"experiment\.json"):
        (tmp_path / "empty").mkdir()
        training_data.first_network(BLOCK, tmp_path / "empty")


def test_fine_tuning_does_not_begin_with_weights_that_have_seen_what_is_held_out(prepared, tmp_path):
    """They would be judged by it; what they have seen is seen by those that began with them."""
    for name in ("notebooks", "kaggle_datasets"):
        (tmp_path / name).mkdir()
    run = paths.find(tmp_path).run("22_train_x3d_m", "smoke", tag="steps=1")
    experiment = replace(BLOCK, fold=0, steps=1, batch=2, accumulate=1)
    material = training_data.data(experiment, prepared, prepared, STORED)
    first = checkpoints.save(build(BLOCK), BLOCK, tmp_path / "first")
    write_json(first / checkpoints.TRAINED_ON, ["a", "b", "x"])
    with pytest.raises(ValueError, match="first weights have seen a, which is held out: take some of this fold"):
        training_data.trained(run, experiment, material, training_data.first_network(experiment, first))
    assert not (run.folder / "weights").exists()
    write_json(first / checkpoints.TRAINED_ON, ["b", "x"])
    weights = training_data.trained(run, experiment, material, training_data.first_network(experiment, first))
    assert checkpoints.trained_on(weights) == {"b", "c", "d", "x"}


def test_weights_that_may_have_seen_anything_are_fine_tuned_on_everything_only(prepared, tmp_path):
    """As those of the original solution's author: what came of them may have seen anything, too."""
    for name in ("notebooks", "kaggle_datasets"):
        (tmp_path / name).mkdir()
    run = paths.find(tmp_path).run("22_train_x3d_m", "smoke")
    first = checkpoints.save(build(BLOCK), BLOCK, tmp_path / "first")
    for fold in (0, -1):
        experiment = replace(BLOCK, fold=fold, steps=1, batch=2, accumulate=1)
        material = training_data.data(experiment, prepared, prepared, STORED)
        network = training_data.first_network(experiment, first)
        if fold == 0:
            with pytest.raises(ValueError, match="what they have seen is not known: hold out nothing"):
                training_data.trained(run, experiment, material, network)
    assert checkpoints.trained_on(training_data.trained(run, experiment, material, network)) is None


def test_an_experiment_that_starts_from_another_finds_its_weights_or_asks_for_it(tmp_path):
    """EXP03 goes on from EXP01, of the same profile, fold and seed."""
    for name in ("notebooks", "kaggle_datasets"):
        (tmp_path / name).mkdir()
    experiment = catalogue.get("EXP03_smoke")
    run = paths.find(tmp_path).run("22_train_x3d_m", "smoke", 4, experiment="EXP03", fold=1)
    with pytest.raises(FileNotFoundError, match="EXP03_smoke starts from EXP01: train that first"):
        training_data.first_weights(run, experiment)
    folder = tmp_path / "outputs" / "22_train_x3d_m" / "smoke-EXP01-fold1-seed4" / "weights"
    folder.mkdir(parents=True)
    (folder / checkpoints.WEIGHTS).touch()
    assert training_data.first_weights(run, experiment) == folder
    assert training_data.first_weights(run, catalogue.get("EXP01_smoke")) == ""


# ---- watching


def test_watching_changes_no_byte_of_the_weights_and_leaves_its_columns(tmp_path):
    """The training stream, the weights and the global random numbers are as without."""
    experiment, state = replace(BLOCK, steps=5, save_every=3), torch.get_rng_state()
    shown, held_out = [], Noise(replace(BLOCK, seed=8))
    watch = Watch(held_out, experiment, shown.append)
    options = {"workers": 0, "accelerator": "cpu", "progress": Silent}
    train(experiment, Noise(experiment), tmp_path / "a", **options)
    weights = train(experiment, Noise(experiment), tmp_path / "b", watch=watch, **options)
    first, second = (tmp_path / name / "weights" / "weights.safetensors" for name in "ab")
    assert first.read_bytes() == second.read_bytes() and torch.equal(state, torch.get_rng_state())
    table = pd.read_csv(tmp_path / "b" / "metrics.csv")
    assert table["validation_loss"].notna().tolist() == [False, True, False, True, True]
    assert shown == [tmp_path / "b" / "metrics.csv"] * 3
    judged = watch.judge(checkpoints.load(weights)[0])  # the EMA of weights, as it was saved
    assert judged["validation_loss"] == pytest.approx(table["validation_loss"].iloc[-1], rel=1e-5)
    assert judged["validation_ap"] == pytest.approx(table["validation_ap"].iloc[-1], rel=1e-5)
    heavier = Watch(held_out, replace(experiment, positive_weight=8.0)).judge(checkpoints.load(weights)[0])
    assert heavier["validation_loss"] > judged["validation_loss"]  # the loss that is trained with


def test_f2_and_average_precision_of_patches_by_hand():
    """Scores 4, 3, 2, 1 for motor, none, motor, none: AP (1 + 2/3) / 2; the best F2 takes three, of which two hit."""

    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, image):
            return image[:, :, :1, :1, :1] + self.weight

    class Four(Noise):
        def __len__(self):
            return 4

        def __getitem__(self, k):
            image = torch.full((1, *BLOCK.patch), 4 - k, dtype=torch.uint8)
            return {"image": image, "target": torch.zeros(1, 1, 1, 1), "motors": 2 * (k in (0, 2))}

    network = Same().eval()
    judged = Watch(Four(BLOCK), BLOCK).judge(network)
    assert judged["validation_ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert judged["validation_f2"] == pytest.approx(5 * (2 / 3) / (4 * (2 / 3) + 1))
    assert not network.training


@pytest.mark.parametrize("name", ["resnext50", "maxvit_tiny", "efficientnet_lite0", "EXP09"])
def test_watching_takes_under_a_twentieth_of_the_demo(name):
    """A patch that is looked at costs a third of one that is learnt from."""
    experiment = catalogue.of(name, "demo")
    watch = Watch(range(100), experiment)
    times = sum(watch.due(step) for step in range(1, experiment.steps + 1))
    learnt = experiment.steps * experiment.batch * experiment.accumulate
    assert 6 <= times <= 9 and 20 <= watch.count and times * watch.count / 3 / learnt < 0.05


# ---- every numbered experiment, and the types of Muon


def _different() -> dict:
    """The numbered experiments whose smallest versions are trained differently, by name."""
    small = {name: catalogue.of(name, "smoke") for name in NUMBERED}
    return {replace(each, name="", starts_from="").to_json(): each for each in reversed(small.values())}


# The quick ones, among them every kind of network and neck; the others take seconds to build.
QUICK = [f"EXP{number:02d}_smoke" for number in (1, 9, 19, 20, 30, 31)]
EACH = [
    pytest.param(experiment, id=experiment.name, marks=() if experiment.name in QUICK else pytest.mark.kernel)
    for experiment in _different().values()
]


@pytest.mark.parametrize("experiment", EACH)
def test_every_numbered_experiment_takes_two_steps(experiment, tmp_path):
    """On the smallest setting; the loss is a number, every part learns, and what was saved can be loaded."""
    side = 64 if experiment.is_2d else 32
    tiny = replace(experiment, patch=(*experiment.patch[:1], side, side), batch=2, steps=2, save_every=2)
    options = {"workers": 0, "accelerator": "cpu", "progress": Silent}
    network = build(tiny)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = train(tiny, Noise(tiny), tmp_path, network=network, **options)
    assert pd.read_csv(tmp_path / "metrics.csv")["loss"].notna().tolist() == [True, True]
    with undrawn():  # all weights are those that were saved
        after, _ = checkpoints.load(weights)
    still = [name for name, value in after.named_parameters() if torch.equal(value, before[name])]
    assert len(still) < 0.2 * len(before)


@pytest.mark.parametrize("shape", [(24, 130), (130, 24), (3, 5, 7)], ids=str)
def test_muon_iterates_as_timm_does(shape):
    """timm's own iteration in float32, which multiplies the whole update every time; an update of nothing stays so."""
    update, steps = torch.randn(shape, generator=torch.Generator().manual_seed(0)), (5, [(3.4445, -4.7750, 2.0315)])
    expected = NEWTON_SCHULZ(update, *steps, dtype=torch.float32)
    torch.testing.assert_close(module._orthogonal(update, *steps), expected, atol=2e-5, rtol=1e-4)
    assert not module._orthogonal(torch.zeros(shape), *steps).any()


# ---- what is shown of a network


@pytest.mark.parametrize("experiment", [BLOCK, SLICE, catalogue.get("EXP09_smoke")], ids=lambda each: each.name)
def test_the_shapes_at_every_level_are_those_of_a_patch(experiment):
    """From the patch to the grid of the prediction; nothing is computed, and the network stays as it was."""
    network = build(experiment)
    table = summary.shapes(network, experiment)
    grid = experiment.grid[1:] if experiment.is_2d else experiment.grid
    assert table.part.iloc[0] == "patch" and table.part.iloc[-1] == "prediction"
    assert table.sides.iloc[-1] == table.sides.iloc[-2] == table.sides.iloc[-3] == " × ".join(map(str, grid))
    encoder = table[table.part.str.startswith("encoder")]
    assert tuple(encoder.channels) == network.encoder.channels
    assert network.training and next(network.parameters()).device.type == "cpu"
    figure = architecture(table)
    assert len(figure.axes[0].patches) == len(table)


def test_a_run_stands_beside_its_full_size():
    """Parameters in millions and settings of both."""
    small, whole = catalogue.get("x3d_m_smoke"), catalogue.get("x3d_m")
    table = summary.beside(build(small), small, whole, hours=18)
    assert table.loc["parameters, millions"].tolist() == ["0.9", "10.4"]
    assert table.loc["steps"].tolist() == [4, 30_000]


def test_a_run_without_metrics_has_no_outcome(tmp_path):
    """The author's weights in place of a training leave none; otherwise it is the last row."""
    for name in ("notebooks", "kaggle_datasets"):
        (tmp_path / name).mkdir()
    run = paths.find(tmp_path).run("22_train_x3d_m", "smoke")
    assert training_data.outcome(run).isna().all()
    header = "step,loss,learning_rate,seconds,validation_loss,validation_f2,validation_ap"
    (run.output / "metrics.csv").write_text(f"{header}\n1,2,3,4,,,\n2,0.5,1,9,0.25,0.75,\n")
    last = training_data.outcome(run)
    assert (last.step, last.validation_f2) == (2, 0.75) and np.isnan(last.validation_ap)


def test_the_authors_weights_keep_the_fold_that_he_held_out(tmp_path, monkeypatch):
    """Whatever is held out here: he trained the X3D-M on everything, and a score of it on fold 2 is in-sample."""
    for name in ("notebooks", "kaggle_datasets"):
        (tmp_path / name).mkdir()
    run, taken = paths.find(tmp_path).run("22_train_x3d_m", "full", fold=2), []

    def convert(checkpoint, experiment, folder):
        taken.append((checkpoint, experiment))
        folder.mkdir(parents=True)
        (folder / checkpoints.WEIGHTS).touch()
        return folder

    monkeypatch.setattr(checkpoints, "convert", convert)
    experiment = catalogue.chosen("22_train_x3d_m", "full", "x3d_m", seed=4, fold=2)
    training_data.trained(run, experiment, None, None, checkpoint="EXP16.ckpt")
    assert taken == [(Path("EXP16.ckpt"), catalogue.get("x3d_m"))]
    assert taken[0][1].fold == -1 and experiment.fold == 2
