"""The author's checkpoints, from a stand-in of his dataset to the ensemble that a submission is made with."""

import io
import json
import shutil
from collections import OrderedDict, namedtuple
from dataclasses import replace

import deterministic_weights
import kaggle_stand_in
import numpy as np
import pandas as pd
import pytest
import torch
import toys

from motors import tables
from motors.cli import main
from motors.experiments import catalogue
from motors.geometry import SYMMETRIES, Symmetry
from motors.kaggle import published
from motors.kaggle.client import KaggleError
from motors.kaggle.published import DATASET, MEMBERS, choose, fetch
from motors.networks import checkpoints, key_mapping
from motors.networks.factory import build
from motors.volumes.mrc import write_mrc
from motors.volumes.slices import write_slices
from motors.workspace import paths

NAMES = {  # inconsistent, as his are
    31: "EXP31_resnext50/ep=1_step=32000.ckpt",
    28: "EXP28-densenet121-ep1_step32000.ckpt",
    16: "exp16/ep2_step30000.ckpt",
    27: "EXP27_ep=4_step=20000.ckpt",
    19: "EXP19/ep1_step10000.ckpt",
}
TINY = {"depths": [1, 2, 1, 1], "channels": [8, 8, 16, 16]}
SMALL = replace(catalogue.get("x3d_m"), encoder_options=TINY, decoder_channels=16)


def checkpoint() -> bytes:
    """A small made-up X3D in the layout of his checkpoints: raw and averaged weights under his names."""
    listed = json.loads((toys.REPOSITORY / "tests/reference/models/x3dm.manifest.json").read_text())["state_dict"]
    theirs = {next(iter(key_mapping.from_original({key: torch.zeros(1)}, SMALL))): key for key, *_ in listed}
    weights = OrderedDict()
    for key, tensor in build(replace(SMALL, seed=3)).state_dict().items():
        turned = tensor.ndim == 5 and not key.startswith("encoder.")
        weights[f"model.{theirs[key]}"] = tensor.permute(0, 1, 3, 4, 2) if turned else tensor
    raw = OrderedDict((key, torch.zeros_like(tensor)) for key, tensor in weights.items())
    content = {"epoch": 1, "global_step": 30000, "state_dict": raw, "ema_state_dict": {0.99: weights}}
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty workspace as the current folder; all five networks are the small one, for there is little time."""
    monkeypatch.setenv("MOTORS_KAGGLE_ROOT", str(tmp_path / "no_kaggle"))
    root = toys.workspace(tmp_path / "clone")
    monkeypatch.chdir(root)
    monkeypatch.setattr(published.Member, "experiment", property(lambda self: replace(SMALL, name=self.name)))
    notebooks = {each.name: catalogue.training_notebook(catalogue.get(each.name)) for each in MEMBERS}
    monkeypatch.setattr(catalogue, "training_notebook", lambda experiment: notebooks[experiment.name])
    return paths.find()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A stand-in of Kaggle that has his dataset."""
    with kaggle_stand_in.serving() as stand_in:
        kaggle_stand_in.connect(stand_in, tmp_path / "user", monkeypatch)
        content = checkpoint()
        stand_in.datasets[DATASET] = [dict.fromkeys(NAMES.values(), content) | {"notes.txt": b"his"}]
        yield stand_in


def test_one_command_makes_his_ensemble(home, server, capsys):
    """Five runs with the averaged weights, nine lists of one vote each, filter 0.2, quantile 0.55; once is enough."""
    assert main(["download", "published"]) == 0
    about = json.loads((home.run("90_submit", "full").input("40_ensemble") / "ensemble.json").read_text())
    members = tables.members(about)
    assert (about["method"], about["skip"], about["quantile"]) == ("distance", 0.2, 0.55)
    assert (len(members), members.run.nunique(), set(members.weight)) == (9, 5, {1.0})
    assert dict(members.groupby("run").size()) == {
        "20_train_resnext50/full-tag=published": 2,
        "21_train_densenet121/full-tag=published": 2,
        "22_train_x3d_m/full-tag=published": 2,
        "23_train_maxvit_tiny/full-tag=published": 2,
        "24_train_coat_medium/full-tag=published": 1,
    }
    run = home.run("90_submit", "full")
    network, experiment = checkpoints.load(run.input(*members.run[4].split("/")) / "weights")
    assert experiment.name == "x3d_m"
    for key, tensor in build(replace(SMALL, seed=3)).state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key
    asked = server.calls["DownloadDataset"]
    assert asked == 5
    assert main(["download", "published"]) == 0
    assert server.calls["DownloadDataset"] == asked
    assert capsys.readouterr().err.count("there already") == 5
    weights = run.input(*members.run[4].split("/")) / "weights" / "weights.safetensors"
    weights.unlink()  # as where somebody made room
    assert main(["download", "published"]) == 0
    assert weights.is_file() and capsys.readouterr().err.count("there already") == 4


def full_size(name: str) -> bytes:
    """A checkpoint in his layout with all tensors of one of his networks, made up: the raw weights are all zero."""
    manifest = json.loads((toys.REPOSITORY / f"tests/reference/models/{name}.manifest.json").read_text())
    weights = OrderedDict((f"model.{key}", each) for key, each in deterministic_weights.weights(manifest).items())
    raw = OrderedDict((key, torch.zeros((), dtype=each.dtype).expand(each.shape)) for key, each in weights.items())
    file = io.BytesIO()
    torch.save({"epoch": 1, "global_step": 1, "state_dict": raw, "ema_state_dict": {0.99: weights}}, file)
    return file.getvalue()


@pytest.mark.slow  # half an hour on a free core: five networks of full size, nine passes over three small tomograms
def test_his_networks_detect_and_submit_without_any_training(tmp_path, monkeypatch, capsys):
    """From his dataset to a decision about a file, and to a submission of all nine lists, in an empty workspace."""
    monkeypatch.setenv("MOTORS_KAGGLE_ROOT", str(tmp_path / "no_kaggle"))
    monkeypatch.delenv("MOTORS_WEIGHTS", raising=False)
    root = toys.workspace(tmp_path / "clone")
    shutil.copytree(toys.REPOSITORY / "notebooks", root / "notebooks", dirs_exist_ok=True)
    monkeypatch.chdir(root)
    models = dict(
        zip((31, 28, 16, 27, 19), "resnext50 densenet121 x3dm maxvit_tiny coat_lite_medium".split(), strict=True)
    )
    with kaggle_stand_in.serving() as server:
        kaggle_stand_in.connect(server, tmp_path / "user", monkeypatch)
        server.datasets[DATASET] = [{NAMES[number]: full_size(name) for number, name in models.items()}]
        assert main(["download", "published"]) == 0
    shape = (40, 60, 90)
    voxels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    write_mrc(tmp_path / "cell.mrc", voxels, 13.1)
    capsys.readouterr()  # Kaggle's package has complained about missing credentials where nobody had imported it before
    assert main(["detect", str(tmp_path / "cell.mrc"), "--json", "--out", "found"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["tomograms"][0]["fault"], said["threshold"]) == ("", 0.5)
    assert not any("simulated" in note for note in said["notes"])
    run = paths.find(root).run("90_submit", "full")
    competition = root / "kaggle_datasets" / run.competition_slug
    for name in ("tomo_a", "tomo_b"):
        write_slices(competition / "test" / name, voxels)
    rows = "tomo_a,0,0,0\ntomo_b,0,0,0\n"
    (competition / "sample_submission.csv").write_text(f"tomo_id,Motor axis 0,Motor axis 1,Motor axis 2\n{rows}")
    answer = toys.command(root, "run", "notebooks/90_submit.ipynb", "-p", "PROFILE", "full")
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert pd.read_csv(run.folder / "submission.csv").tomo_id.tolist() == ["tomo_a", "tomo_b"]
    passes = pd.read_csv(run.folder / "passes.csv")
    assert len(passes) == 9 and passes.run.nunique() == 5 and passes.state.str.startswith("used").all()
    executed = (run.folder / "90_submit.ipynb").read_text(encoding="utf-8")
    assert "fused by distance; no detection below the quantile 0.55" in executed


def test_the_settings_are_those_of_the_original():
    """Full size, his numbers, symmetries that our networks know."""
    assert {each.number: each.name for each in MEMBERS} == {
        31: "resnext50", 28: "densenet121", 16: "x3d_m", 27: "maxvit_tiny", 19: "coat_medium",
    }  # fmt: skip
    for each in MEMBERS:
        assert each.experiment == catalogue.get(each.name)
        assert all(Symmetry.from_name(name) in SYMMETRIES for name in each.symmetries)
        assert each.experiment.is_2d == all("z" not in name for name in each.symmetries)


def test_of_several_checkpoints_the_one_he_used_is_taken():
    """By the step; EXP1 is not EXP19, and a file that is not a checkpoint does not count."""
    coat = next(each for each in MEMBERS if each.number == 19)
    files = dict.fromkeys(["EXP19_step2000.ckpt", "EXP19_ep=1_step=10000.ckpt", "EXP19_step16100.ckpt", "EXP19.txt"], 1)
    assert choose(coat, files) == "EXP19_ep=1_step=10000.ckpt"
    with pytest.raises(
        ValueError, match=r"named after EXP19 \(coat_medium\); the dataset has EXP190.ckpt, EXP1_9.ckpt"
    ):
        choose(coat, dict.fromkeys(["EXP1_9.ckpt", "EXP190.ckpt"], 1))


def test_what_is_missing_stops_it_before_anything_is_fetched(home, server):
    """A network that the dataset lacks; no such dataset; no room; nobody logged in: one sentence each."""
    outputs = home.outputs

    def refused(error, sentence):
        with pytest.raises(error, match=sentence):
            fetch(home)
        assert server.calls["DownloadDataset"] == 0
        assert not any(outputs.iterdir())

    files = server.datasets[DATASET][-1]
    server.datasets[DATASET] = [{name: content for name, content in files.items() if "27" not in name}]
    refused(ValueError, "EXP27 .maxvit_tiny.; the dataset has EXP19")
    server.datasets = {}
    refused(KaggleError, "Kaggle shows no dataset dangnh0611/byu-final-dataset")
    server.datasets[DATASET] = [files]
    usage = namedtuple("usage", "total used free")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: usage(10, 9, 1))
        refused(OSError, "GB are needed|make room first")
    server.fail("ListDatasetFiles", "401")
    refused(KaggleError, "no credentials")


def test_nothing_of_ones_own_is_overwritten(home, server):
    """Another ensemble of the full profile stays; so does a checkpoint that is none."""
    own = home.run("40_ensemble", "full").output / "ensemble.json"
    own.write_text('{"members": []}')
    with pytest.raises(
        FileExistsError, match="ensemble.json is of another ensemble: move .*40_ensemble/full elsewhere"
    ):
        fetch(home)
    assert own.read_text() == '{"members": []}'
    own.unlink()
    server.datasets[DATASET][-1][NAMES[28]] = b"no checkpoint"
    with pytest.raises(ValueError, match="EXP28"):
        fetch(home)
    assert not own.exists()


def test_the_networks_of_the_demo_are_here_or_in_a_dataset(home, server, capsys):
    """Where `make demo` left them; otherwise those that somebody published, or a sentence."""
    assert main(["download", "demo-weights"]) == 2
    assert "run make demo, or give --owner" in capsys.readouterr().err
    server.datasets["bob/motors-weights"] = [{"40_ensemble/demo/ensemble.json": b"{}", "20/demo/a": b"1"}]
    assert main(["download", "demo-weights", "--owner", "bob"]) == 0
    assert (home.root / "kaggle_datasets/motors-weights/40_ensemble/demo/ensemble.json").read_bytes() == b"{}"
    (home.run("40_ensemble", "demo").output / "ensemble.json").write_text("{}")
    assert main(["download", "demo-weights"]) == 0
    assert "outputs/40_ensemble/demo/ensemble.json" in capsys.readouterr().err
