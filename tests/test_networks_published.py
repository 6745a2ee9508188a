"""Weights that others published: read without running anything, renamed, turned to our axes, and nothing left over."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import deterministic_weights
import numpy as np
import pytest
import timm
import torch
import toys
import yaml
from published_checkpoint import REFERENCE, X3D, checkpoint, theirs
from safetensors.torch import save_file
from undrawn import undrawn

from motors.experiments.original import COAT_MEDIUM, RESNEXT50, X3D_M
from motors.networks import checkpoints, key_mapping
from motors.networks.encoders.encoder2d import Encoder2d
from motors.networks.factory import build
from motors.networks.weights import pretrained, read

fetching = importlib.import_module("motors.networks.pretrained")


pytestmark = pytest.mark.kernel  # networks are built and computed


def test_a_published_checkpoint_becomes_a_network_of_ours(tmp_path):
    """The averaged weights are taken, and after loading they are where they belong."""
    network = build(replace(X3D, seed=3))
    path = checkpoint(tmp_path / "x3d.ckpt", theirs())
    checkpoints.convert(path, X3D, tmp_path / "ours")
    loaded, experiment = checkpoints.load(tmp_path / "ours")
    assert experiment == X3D
    for key, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key


def test_a_conversion_overwrites_no_other_weights(tmp_path):
    """Once more is nothing new; a trained network is not lost to a checkpoint."""
    path = checkpoint(tmp_path / "x3d.ckpt", theirs())
    for _ in range(2):
        checkpoints.convert(path, X3D, tmp_path / "ours")
    trained = checkpoints.save(build(replace(X3D, seed=4)), X3D, tmp_path / "trained")
    before = (trained / "weights.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="trained holds other weights"):
        checkpoints.convert(path, X3D, trained)
    assert (trained / "weights.safetensors").read_bytes() == before


def test_a_checkpoint_of_full_size_keeps_all_its_tensors(tmp_path):
    """The original's own list of tensors of X3D-M, in a file of its own layout, becomes our X3D-M."""
    manifest = json.loads((REFERENCE / "x3dm.manifest.json").read_text())
    weights = deterministic_weights.weights(manifest)
    with undrawn():
        checkpoints.convert(checkpoint(tmp_path / "x3d.ckpt", weights), X3D_M, tmp_path)
        loaded, _ = checkpoints.load(tmp_path)
    state = loaded.state_dict()
    assert len(state) == len(weights) == 609
    kernel = weights["decoder.blocks.0.conv2.0.weight"]  # y, x, z
    assert torch.equal(state["decoder.conv2.0.weight"][..., 2, 0, 1], kernel[..., 0, 1, 2])
    kernel = weights["encoder.encoder.s3.pathway0_res0.branch2.b.weight"]  # z, y, x
    assert torch.equal(state["encoder.stages.1.0.filter.0.weight"], kernel)


def test_kernels_are_turned_to_z_y_x_but_those_of_x3d():
    """The original's 2D encoders were inflated along the last axis; ours, along the first."""
    kernel = torch.arange(2.0 * 3 * 5).reshape(1, 1, 2, 3, 5)  # y, x, z
    turned = kernel.permute(0, 1, 4, 2, 3)
    three = {"encoder.encoder.conv1.weight": kernel, "neck.convs.0.0.weight": kernel, "ms_seg_heads.0.0.weight": kernel}
    ours = key_mapping.from_original(three, RESNEXT50)
    assert all(torch.equal(tensor, turned) for tensor in ours.values()) and len(ours) == 3
    x3d = {"encoder.encoder.s1.pathway0_stem.conv_xy.weight": kernel, "neck.convs.0.0.weight": kernel}
    ours = key_mapping.from_original(x3d, X3D_M)
    assert torch.equal(ours["encoder.stem.0.weight"], kernel)
    assert torch.equal(ours["neck.branches.0.0.weight"], turned)


def test_the_heads_that_were_never_trained_are_left_out_of_2d_networks_only():
    """A regression head is ignored by its name; in a 3D checkpoint it has no place."""
    head = {"reg_head.norm.weight": torch.ones(3), "seg_head.3.bias": torch.ones(1)}
    assert list(key_mapping.from_original(head, COAT_MEDIUM)) == ["head.3.bias"]
    with pytest.raises(ValueError, match="'reg_head.norm.weight' has no place"):
        key_mapping.from_original(head, RESNEXT50)


def test_weights_for_grey_levels_scaled_otherwise_are_refused():
    """The constants in a checkpoint must be those of the experiment."""
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    assert key_mapping.from_original({"mean": mean}, COAT_MEDIUM) == {}
    with pytest.raises(ValueError, match=r"scale intensities with mean .*127.5.*\(imagenet\)"):
        key_mapping.from_original({"mean": torch.full((1, 3, 1, 1), 127.5)}, COAT_MEDIUM)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ema_state_dict": None}, "holds no weights averaged with decay 0.99"),
        ({"ema_state_dict": {0.999: {}}}, "holds no weights averaged with decay 0.99"),
        ({"ema_state_dict": "none"}, "holds no weights averaged with decay 0.99"),
        ({"ema_state_dict": {0.99: None}}, "holds a NoneType, but weights are tensors by name"),
        ({"ema_state_dict": {0.99: {}}}, "holds nothing, but weights are tensors by name"),
        ({"ema_state_dict": {0.99: {7: torch.zeros(1)}}}, r"holds 7 \(Tensor\) among its weights"),
        ({"ema_state_dict": {0.99: {"model.mean": 127.5}}}, r"holds 'model.mean' \(float\) among its weights"),
        ({"ema_state_dict": {0.99: {"head.weight": torch.zeros(1)}}}, r"\['head.weight'\] outside its network"),
        ({"ema_state_dict": {0.99: {"model.classifier.weight": torch.zeros(1)}}}, "'classifier.weight' has no place"),
        ({"ema_state_dict": {0.99: {"model.ms_seg_heads.0.0.bias": torch.zeros(1)}}}, "are missing"),
    ],
)
def test_a_checkpoint_with_anything_else_in_it_is_refused(changes, message, tmp_path):
    """Nothing is guessed: what is missing or unknown stops the conversion, and nothing is written."""
    path = checkpoint(tmp_path / "some.ckpt", {}, **changes)
    with pytest.raises(ValueError, match=f"some.ckpt.*{message}"):
        checkpoints.convert(path, X3D, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    """X3D's checkpoint does not become a ResNeXt, and says so."""
    path = checkpoint(tmp_path / "x3d.ckpt", theirs())
    with undrawn(), pytest.raises(ValueError, match="x3d.ckpt is not a checkpoint of resnext50"):
        checkpoints.convert(path, replace(RESNEXT50, encoder="smp/resnet18"), tmp_path / "ours")


def test_numbers_are_read_under_the_names_of_both_numpys(tmp_path):
    """The original was trained with numpy 1, which kept its numbers in another module."""
    number = np.float64(0.95)
    torch.save({"score": number}, tmp_path / "two.ckpt")
    with zipfile.ZipFile(tmp_path / "two.ckpt") as new, zipfile.ZipFile(tmp_path / "one.ckpt", "w") as old:
        for name in new.namelist():
            content = new.read(name).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            old.writestr(name, content)
    assert b"numpy.core.multiarray" in (tmp_path / "one.ckpt").read_bytes()
    for file in ("one.ckpt", "two.ckpt"):
        assert read(tmp_path / file)["score"] == number


class Malicious:
    """Would write a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "it ran")


def test_a_checkpoint_that_wants_to_run_something_is_not_opened(tmp_path):
    """Only tensors and plain values are read; the message names what was asked for."""
    path = checkpoint(tmp_path / "evil.ckpt", {}, callbacks={"x": Malicious(tmp_path / "trace")})
    with pytest.raises(ValueError, match="evil.ckpt asks for .*, which is neither a tensor nor a plain value"):
        checkpoints.convert(path, X3D, tmp_path / "ours")
    assert not (tmp_path / "trace").exists()


def test_a_file_cut_short_or_of_another_kind_is_named(tmp_path):
    """What is not a file of weights is refused in one sentence, with its name."""
    torch.save({"state_dict": {"w": torch.zeros(1000)}}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:2000])
    (tmp_path / "text.pth").write_text("<html>404</html>")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "table.pth").write_text("tomo_id,x,y,z\n")
    (tmp_path / "answer.pth").write_text('{"error": "not found"}')
    for name in ("cut.pth", "text.pth", "empty.ckpt", "table.pth", "answer.pth"):
        with pytest.raises(ValueError, match=rf"{re.escape(name)} is not a file of weights, or is cut short") as error:
            read(tmp_path / name)
        assert "weights_only" not in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="there are no weights at .*none.pth"):
        read(tmp_path / "none.pth")


def test_an_old_file_cut_anywhere_is_cut_short_and_asks_for_nothing(tmp_path):
    """Files of torch before 1.6 begin with the pickle: its last name, cut in two, is not one that is asked for."""
    path, weights = tmp_path / "old.pth", OrderedDict(kernel=torch.zeros(2, 3), bias=torch.zeros(3))
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    assert pretrained(path).keys() == weights.keys()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"old.pth is not a file of weights, or is cut short"):
            read(path)


@pytest.mark.parametrize("old", [False, True])
def test_a_foreign_object_is_named_in_both_layouts(old, tmp_path):
    """What a file asks for is said also where torch writes it in its old way."""
    torch.save({"x": Malicious(tmp_path / "trace")}, tmp_path / "evil.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(ValueError, match=r"evil.pth asks for (pathlib|builtins|getattr)\S*, which is neither"):
        read(tmp_path / "evil.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_of_random_bytes_is_named(tmp_path):
    """Whatever an unpickler stumbles over, the answer is the same sentence."""
    generator = np.random.default_rng(0)
    for _ in range(300):
        (tmp_path / "noise.pth").write_bytes(generator.bytes(generator.integers(1, 100)))
        with pytest.raises(ValueError, match="noise.pth (is not a file of weights|holds a|asks for)"):
            read(tmp_path / "noise.pth")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({}, "holds nothing"),
        ({"state_dict": None}, "holds a NoneType"),
        ({"state_dict": {}}, "holds nothing"),
        ({"model": torch.zeros(1)}, "holds a Tensor"),
        ({0: torch.zeros(1)}, r"holds 0 \(Tensor\) among its weights"),
        ({"conv1.weight": torch.zeros(1), "epoch": 3}, r"holds 'epoch' \(int\) among its weights"),
    ],
)
@pytest.mark.parametrize("encoder", ["smp/resnet18", "smp/tu-resnet10t", "x3d/m", "timm/maxvit_tiny_tf_512.in1k"])
def test_a_file_without_weights_by_name_starts_no_encoder(held, message, encoder, tmp_path):
    """An empty one neither: timm would fetch others."""
    torch.save(held, tmp_path / "some.pth")
    with pytest.raises(ValueError, match=f"some.pth {message}, but weights are tensors by name"):
        build(replace(COAT_MEDIUM if encoder.startswith("timm") else X3D_M, encoder=encoder), tmp_path / "some.pth")


@pytest.mark.parametrize(
    "encoder", ["smp/resnet18", "smp/tu-resnet18", "x3d/m", "timm/coat_lite_tiny", "slices/resnet18"]
)
def test_weights_of_another_network_are_refused_with_their_file(encoder, tmp_path):
    """One line, in which tensors are counted and the path can be read."""
    with undrawn():
        torch.save(timm.create_model("convnext_atto").state_dict(), tmp_path / "atto.pth")
    experiment = replace(COAT_MEDIUM if encoder.startswith("timm") else X3D_M, encoder=encoder)
    said = f"{encoder} cannot begin with the weights of .*atto.pth: "
    with undrawn(), pytest.raises(ValueError, match=said) as error:
        build(experiment, tmp_path / "atto.pth")
    said = str(error.value)
    assert "\n" not in said and len(said.replace(str(tmp_path), "")) < 300
    assert re.search(r"\d+ are missing \(\S+, \S+, ...\); \d+ are unknown", said) or "has no place" in said


def test_kinetics_weights_fill_the_encoder_of_x3d(tmp_path):
    """SlowFast's file: the classifier is left out by name, everything else has its place in our encoder."""
    encoder = {
        key.removeprefix(key_mapping.ENCODER): t for key, t in theirs().items() if key.startswith(key_mapping.ENCODER)
    }
    classifier = {"head.conv_5.weight": torch.zeros(4, 2, 1, 1, 1), "head.projection.bias": torch.zeros(400)}
    torch.save({"epoch": 1, "model_state": encoder | classifier, "cfg": "TRAIN:"}, tmp_path / "x3d_m.pyth")
    network = build(X3D, tmp_path / "x3d_m.pyth")
    expected = build(replace(X3D, seed=3)).encoder.state_dict()
    for key, tensor in network.encoder.state_dict().items():
        assert torch.equal(tensor, expected[key]), key
    torch.save({"model_state": encoder | {"s6.conv.weight": torch.zeros(1)}}, tmp_path / "other.pyth")
    with pytest.raises(ValueError, match="'s6.conv.weight' has no place"):
        build(X3D, tmp_path / "other.pyth")


def test_published_weights_are_fetched_once_and_checked(tmp_path, capsys):
    """A file that is there stays; a damaged one, and one that cannot be had, leave nothing behind."""
    sent, folder = tmp_path / "sent", tmp_path / "here"
    sent.mkdir()
    torch.save({"weight": torch.arange(200.0)}, sent / "net")
    content = (sent / "net").read_bytes()
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (sent / name).write_bytes(content)
    (sent / "half").write_bytes(content[:600])
    assert fetching.fetch(folder, {name: (sent / name).as_uri()}) == [folder / name]
    assert (folder / name).read_bytes() == content
    assert fetching.fetch(folder, {name: "http://localhost:1/not-asked"}) == [folder / name]
    damaged = "net-00000000.pth"
    for url in ((sent / name).as_uri(), (sent / "missing").as_uri()):
        with pytest.raises(OSError, match=f"cannot be had .*: fetch it otherwise and put it at .*{damaged}"):
            fetching.fetch(folder, {damaged: url})
    with pytest.raises(OSError, match=r"cut short.*: fetch it otherwise and put it at .*x3d\.pyth"):
        fetching.fetch(folder, {"x3d.pyth": (sent / "half").as_uri()})
    assert [path.name for path in folder.iterdir()] == [name]


def test_the_weights_that_the_full_profile_begins_with_are_those_that_are_fetched():
    """The names in `experiments.yaml`, each with an address that says what it is."""
    known = fetching.addresses()
    assert all(url.startswith("https://") for url in known.values())
    profiles = yaml.safe_load((toys.REPOSITORY / "notebooks" / "experiments.yaml").read_text())["profiles"]
    named = [Path(values["WEIGHTS"]) for values in profiles["full"].values() if values and "WEIGHTS" in values]
    assert {path.name for path in named} == set(known) and len(named) == 5
    assert {path.parent.as_posix() for path in named} == {f"../kaggle_datasets/{fetching.DATASET}"}


def test_slowfast_names_cover_the_whole_encoder():
    """Every tensor of the original's X3D-M has a name of ours, and no two the same."""
    listed = json.loads((REFERENCE / "x3dm.manifest.json").read_text())["state_dict"]
    names = [key.removeprefix(key_mapping.ENCODER) for key, *_ in listed if key.startswith(key_mapping.ENCODER)]
    renamed = key_mapping.slowfast(dict.fromkeys(names, torch.zeros(1)))
    assert len(renamed) == len(names) and set(renamed) == set(build(X3D_M).encoder.state_dict())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_weights_start_a_3d_network_from_a_local_file(suffix, tmp_path):
    """torchvision's and timm's files are read as they are, offline."""
    weights = timm.create_model("resnet18").state_dict()
    path = tmp_path / f"resnet18{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    with undrawn():
        network = build(replace(RESNEXT50, encoder="smp/resnet18", decoder_channels=16), path)
    kernel = network.encoder.network.layer2[0].conv1.weight
    for k in range(3):
        torch.testing.assert_close(kernel[:, :, k], weights["layer2.0.conv1.weight"] / 3)


def test_imagenet_weights_start_a_2d_network_and_their_tables_are_resized():
    """Everything comes from the file; relative positions of another window are interpolated."""
    torch.manual_seed(1)
    for name, tables in (("coat_lite_tiny", 0), ("maxvit_pico_rw_256", 22)):
        weights = timm.create_model(name).state_dict()
        encoder = Encoder2d(name, (96, 64), dict(weights))
        held = encoder.network.state_dict()
        resized = [key for key, t in held.items() if t.shape != weights[key].shape]
        assert len([key for key in resized if key.endswith("relative_position_bias_table")]) == tables
        same = [key for key in held if key not in resized and "relative" not in key]
        assert all(torch.equal(held[key], weights[key]) for key in same)


def test_2d_weights_that_do_not_fit_are_refused():
    """A tensor too few is one too many."""
    weights = timm.create_model("coat_lite_tiny").state_dict()
    del weights["patch_embed2.proj.weight"]
    with pytest.raises(
        ValueError, match=r"not timm's weights of coat_lite_tiny: .* 1 are missing \(patch_embed2"
    ) as error:
        Encoder2d("coat_lite_tiny", (96, 64), weights)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="timm's weights of coat_lite_tiny are wanted, but none are given"):
        Encoder2d("coat_lite_tiny", (96, 64), {})
