"""Networks are built from experiments, saved beside them and loaded from there."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from undrawn import undrawn

from motors.experiments import catalogue
from motors.experiments.config import Experiment
from motors.networks import checkpoints
from motors.networks.activation_checkpointing import checkpointed
from motors.networks.factory import build
from motors.networks.neck import Branch
from motors.networks.weights import read

pytestmark = pytest.mark.kernel  # networks are built and computed
SHAPE = (32, 64, 96)  # z, y, x
RESNEXT = replace(
    catalogue.get("resnext50_smoke"),
    stride=16,
    encoder_options={
        "layers": [1, 1, 1, 1],
        "stem_type": "deep",
        "stem_width": 8,
        "channels": [4, 4, 8, 8],
        "cardinality": 2,
        "base_width": 16,
    },
    neck_channels=4,
    decoder_channels=16,
    patch=SHAPE,
)
X3D = replace(
    RESNEXT,
    name="x3d_tiny",
    encoder="x3d/m",
    encoder_options={"depths": [1, 2, 2, 1], "channels": [8, 8, 8, 16]},
    neck_channels=0,
    normalisation="kinetics",
)
DENSENET = replace(
    RESNEXT,
    name="densenet_tiny",
    encoder="smp/tu-densenet121",
    encoder_options={"growth_rate": 8, "block_config": [2, 2, 2, 2]},
)
COAT = Experiment(
    name="coat_tiny",
    family="coat",
    encoder="timm/coat_lite_tiny",
    encoder_options={"serial_depths": [2, 1, 1, 1], "embed_dims": [16, 32, 48, 64]},
    patch=(3, 64, 96),
    neck_channels=8,
    neck_hidden=1,
    decoder_channels=16,
)
MAXVIT = replace(
    COAT,
    name="maxvit_tiny",
    encoder="timm/maxvit_pico_rw_256",
    encoder_options={"depths": [1, 1, 2, 1], "embed_dim": [8, 16, 32, 64], "stem_width": 8, "transformer_dim_head": 8},
    normalisation="half",
)
NARROW = {"depths": [1, 1, 2, 1], "dims": [16, 32, 64, 96]}
CONVNEXT = replace(COAT, name="convnext_atto", encoder="timm/convnext_atto", encoder_options=NARROW)
SLICES = replace(RESNEXT, name="slices", encoder="slices/convnext_atto", encoder_options=NARROW)
PAN = replace(X3D, name="x3d_pan", neck="pan")
PLANAR_PAN = replace(CONVNEXT, name="convnext_pan", neck="pan")
PLANAR = {"patch": COAT.patch, "encoder_options": {}}  # makes a 2D network of a 3D one, with an encoder of timm
SMALL = [RESNEXT, X3D, DENSENET, COAT, MAXVIT, CONVNEXT, SLICES, PAN, PLANAR_PAN]
named = pytest.mark.parametrize("experiment", SMALL, ids=lambda experiment: experiment.name)


def grey(experiment: Experiment, seed: int = 0, batch: int = 2) -> torch.Tensor:
    """Random grey levels of the shape the network takes."""
    shape = experiment.patch if experiment.is_2d else (1, *experiment.patch)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, *shape), generator=generator).float()


MADE: dict[str, torch.nn.Module] = {}


def made(experiment: Experiment) -> torch.nn.Module:
    """A network of its own for each test, drawn once for all of them."""
    key = experiment.to_json()
    if key not in MADE:
        MADE[key] = build(experiment)
    return copy.deepcopy(MADE[key])


def test_small_densenets_come_from_options_too():
    """The small networks of these tests are small."""
    for experiment in (RESNEXT, X3D, DENSENET):
        assert sum(p.numel() for p in made(experiment).parameters()) < 1_000_000, experiment.name


@named
def test_grey_levels_go_in_and_one_logit_per_cell_comes_out(experiment):
    """The grid has a cell for every 16 voxels along each axis that the network sees as a whole."""
    network = made(experiment).eval()
    with torch.inference_mode():
        logits = network(grey(experiment))
    assert logits.shape == (2, 1, *(experiment.grid[1:] if experiment.is_2d else experiment.grid))
    assert torch.isfinite(logits).all()


@named
def test_a_network_comes_back_as_it_was_saved(experiment, tmp_path):
    """Loading gives the same answers and the same experiment, in evaluation mode."""
    network = made(experiment)
    network(grey(experiment, batch=1))  # moves the statistics of normalisations
    assert checkpoints.save(network, experiment, tmp_path / "run") == tmp_path / "run"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["experiment.json", "weights.safetensors"]
    with undrawn():  # whatever is not loaded stays zero
        loaded, settings = checkpoints.load(tmp_path / "run")
    assert settings == experiment and not loaded.training
    assert loaded.state_dict().keys() == network.state_dict().keys()
    with torch.inference_mode():
        image = grey(experiment, batch=1)
        torch.testing.assert_close(loaded(image), network.eval()(image), rtol=0, atol=0)


@named
def test_recomputing_changes_neither_gradients_nor_statistics(experiment):
    """Activation checkpointing gives what training without it gives, step after step."""
    after = {}
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = checkpointed(made(experiment)) if checkpointing else made(experiment)
        for step in range(2):
            network(grey(experiment, seed=step, batch=1)).square().mean().backward()
        gradients = {key: p.grad for key, p in network.named_parameters() if p.grad is not None}
        after[checkpointing] = gradients, dict(network.state_dict())
    for plain, recomputed in zip(*after.values(), strict=True):
        assert plain.keys() == recomputed.keys()
        for key, tensor in plain.items():
            torch.testing.assert_close(recomputed[key], tensor, msg=lambda text, key=key: f"{key}: {text}")


def test_recomputing_remembers_less():
    """Fewer tensors are kept for the gradients, in the encoder as in the neck."""

    def kept(checkpointing: bool) -> int:
        stored = []
        network = build(replace(RESNEXT, checkpointing=checkpointing)).train()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t.numel()) or t, lambda t: t):
            network(grey(RESNEXT))
        return sum(stored)

    assert kept(checkpointing=True) < 0.68 * kept(checkpointing=False)


def test_a_copy_of_a_recomputing_network_trains_on_its_own():
    """Averaging of weights copies networks: the copy must not run the original's layers."""
    network = build(replace(RESNEXT, checkpointing=True)).train()
    copied = copy.deepcopy(network)
    copied(grey(RESNEXT)).mean().backward()
    assert all(p.grad is None for p in network.parameters())
    assert all(p.grad is not None for p in copied.parameters())


def test_the_seed_of_the_experiment_decides_the_first_weights():
    """Two builds are equal, another seed is another network, and the global generator is not touched."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build(RESNEXT).state_dict()
    torch.testing.assert_close(torch.rand(3), expected)
    second = build(RESNEXT).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = build(replace(RESNEXT, seed=RESNEXT.seed + 1)).state_dict()
    for part in ("encoder.network.model.layer1.0.conv2.weight", "neck.branches.0.0.weight", "head.weight"):
        assert not torch.equal(first[part], other[part])


@pytest.mark.parametrize("experiment", [RESNEXT, COAT], ids=lambda each: each.family)
@pytest.mark.parametrize(("prior", "expected"), [(None, 5e-5), (0.02, 0.02), (0.3, 0.3)])
def test_an_untrained_network_gives_every_cell_its_prior(experiment, prior, expected):
    """The original's is one in twenty thousand; its mean probability is that, within a factor of three."""
    asked = replace(experiment, prior=prior)
    with torch.no_grad():
        probability = float(build(asked).train()(grey(asked)).sigmoid().mean())
    assert expected / 3 < probability < 3 * expected


@pytest.mark.parametrize("prior", [0, 1, -0.1, float("nan")])
def test_a_prior_that_is_no_probability_is_refused(prior):
    with pytest.raises(ValueError, match="prior is"):
        replace(RESNEXT, prior=prior)


def test_new_weights_make_no_chequerboard_and_hand_features_on():
    """Four neighbouring outputs begin equal in 2D; in X3D, every block begins as its shortcut."""
    grow = made(COAT).decoder.grow[0].weight.unflatten(0, (-1, 4))
    assert torch.equal(grow[:, 0], grow[:, 3]) and not torch.equal(grow[0, 0], grow[1, 0])
    block = made(X3D).eval().encoder.stages[1][1]
    features = torch.rand(1, 8, 4, 6, 8)
    torch.testing.assert_close(block(features), features)


def test_the_target_level_passes_through_the_neck_unchanged():
    """The fused tensor begins with the level of stride 16, as it left the encoder; the deepest one stays, too."""
    network = made(RESNEXT).eval()
    with torch.inference_mode():
        levels = network.encoder(network.scaling(grey(RESNEXT)))
        deepest, fused = network.neck(levels)
    assert torch.equal(deepest, levels[-1])
    assert fused.shape[1] == levels[3].shape[1] + 4 * RESNEXT.neck_channels == network.neck.out_channels
    assert torch.equal(fused[:, : levels[3].shape[1]], levels[3])


@pytest.mark.parametrize("axes", [2, 3])
def test_the_neck_computes_a_fine_level_only_where_it_is_asked(axes):
    """With stride 2 under 16 the answer and all gradients are those of the whole level, interpolated afterwards."""
    torch.manual_seed(0)
    branch, grid = Branch(5, 4, 2, axes).double(), (2, 3, 4)[:axes]
    level = torch.randn(2, 5, *(8 * cells for cells in grid), dtype=torch.float64, requires_grad=True)
    mode = "trilinear" if axes == 3 else "bilinear"
    results = []
    for answer in (
        branch(level, grid),
        torch.nn.functional.interpolate(torch.nn.Sequential.forward(branch, level), size=grid, mode=mode),
    ):
        weights = torch.linspace(-1, 1, answer.numel(), dtype=torch.float64).reshape(answer.shape)
        results.append([answer, *torch.autograd.grad((answer * weights).sum(), [level, *branch.parameters()])])
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("experiment", [RESNEXT, X3D, MAXVIT, COAT], ids=lambda experiment: experiment.family)
def test_cells_can_be_half_as_wide(experiment):
    """At stride 8 there are two cells along each axis for one at 16, and the level of stride 8 passes unchanged."""
    network = build(replace(experiment, stride=8)).eval()
    place = network.encoder.strides.index(8)
    with torch.inference_mode():
        levels = network.encoder(network.scaling(grey(experiment)))
        assert torch.equal(network.neck(levels)[1][:, : levels[place].shape[1]], levels[place])
        assert network(grey(experiment)).shape[2:] == tuple(side // 8 for side in grey(experiment).shape[2:])


def test_grey_levels_are_scaled_inside():
    """Mean grey of ImageNet becomes zero, and one channel becomes three."""
    scaled = made(RESNEXT).scaling(torch.full((1, 1, 1, 1, 2), 0.485 * 255))
    assert scaled.shape == (1, 3, 1, 1, 2)
    expected = torch.tensor([0.0, (0.485 - 0.456) / 0.224, (0.485 - 0.406) / 0.225])
    torch.testing.assert_close(scaled[0, :, 0, 0, 0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made(MAXVIT).scaling(torch.full((1, 3, 1, 1), 255.0)), torch.ones(1, 3, 1, 1))


@pytest.mark.parametrize(
    ("experiment", "shape"),
    [(RESNEXT, (1, 1, 32, 64, 90)), (RESNEXT, (1, 3, 32, 64, 96)), (RESNEXT, (32, 64, 96)), (COAT, (1, 3, 96, 64))],
)
def test_a_shape_the_network_cannot_take_is_refused(experiment, shape):
    """The message says what came and what is wanted."""
    with pytest.raises(ValueError, match="takes .batch, .*, not .*") as error:
        made(experiment)(torch.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "smp/resnext51", "encoder_options": {}}, "no encoder is called 'resnext51'"),
        ({"encoder": "torch/resnext50"}, "it must be smp/<name>, x3d/<size>, slices/<name> or timm/<name>"),
        ({"encoder": "resnext50_32x4d"}, "it must be smp/<name>, x3d/<size>, slices/<name> or timm/<name>"),
        ({"encoder": "x3d/xxl", "encoder_options": {}}, "no X3D is called 'xxl'"),
        (PLANAR | {"encoder": "timm/maxvit_huge"}, "timm has no network called 'maxvit_huge'"),
        (PLANAR | {"encoder": "timm/vit_tiny_patch16_224"}, "must end in 16 and 32"),
        (
            PLANAR | {"encoder": "timm/maxvit_tiny_tf_512.in1k_x"},
            "no weights 'in1k_x' .* one of .*maxvit_tiny_tf_512.in1k",
        ),
        (
            {"encoder": "slices/resnet18.foo", "encoder_options": {}},
            "no weights 'foo' of resnet18: choose one of resnet18, resnet18",
        ),
        (
            {"encoder": "smp/tu-resnet18.foo", "encoder_options": {}},
            "no weights 'foo' of resnet18: choose one of resnet18, resnet18",
        ),
        (
            {"encoder": "smp/tu-tnt_s_patch16_224", "encoder_options": {}},
            "'tu-tnt_s_patch16_224' cannot be built .*choose",
        ),
        ({"stride": 4}, "asks for stride 4: its network can have 8 or 16"),
        ({"normalisation": "zscore"}, "normalisation is 'zscore', but should be 'imagenet', 'half' or 'kinetics'"),
        ({"neck": "bifpn"}, "neck is 'bifpn', but should be 'fpn' or 'pan'"),
    ],
)
def test_an_unknown_name_is_refused_with_what_there_is(changes, message):
    """A misspelt setting stops the build, and the message says which."""
    with undrawn(), pytest.raises(ValueError, match=message):
        build(replace(RESNEXT, **changes))


@pytest.mark.parametrize(
    ("encoder", "changes"),
    [("timm/inception_v3", PLANAR), ("timm/efficientformer_l1", PLANAR), ("slices/inception_v3", {})],
)
def test_an_encoder_that_cannot_look_at_the_patches_is_refused_before_it_does(encoder, changes):
    """It is built without complaint, and could compute nothing: the sentence says which, and for which patch."""
    experiment = replace(RESNEXT, **{"encoder_options": {}} | changes | {"encoder": encoder})
    said = f"{encoder} cannot look at patches of .*64, 96.*choose another"
    with undrawn(), pytest.raises(ValueError, match=said) as error:
        build(experiment)
    assert "\n" not in str(error.value)


def test_trying_an_encoder_out_changes_nothing():
    """Shapes pass through a copy: weights, statistics and the state of training are those of the first layers drawn."""
    for experiment in (COAT, MAXVIT, SLICES):
        network = build(experiment)
        assert all(module.training for module in network.modules())
        assert all(tensor.device.type == "cpu" and tensor.isfinite().all() for tensor in network.state_dict().values())


@pytest.mark.parametrize("encoder", ["smp/tu-resnet18", "x3d/m", "slices/resnet18", "timm/resnet18"])
def test_an_unknown_option_of_an_encoder_is_refused_by_name(encoder):
    """Somebody's edit of `experiment.json` gives a sentence, whether there are weights or not."""
    changes = PLANAR if encoder.startswith("timm") else {}
    experiment = replace(RESNEXT, **changes | {"encoder": encoder, "encoder_options": {"layer": [1]}})
    with undrawn(), pytest.raises(ValueError, match="cannot be built .*'layer'.*correct encoder_options"):
        build(experiment)


def test_a_network_whose_name_begins_like_coats_is_none():
    """CoAtNet hands on its levels as all others do."""
    with undrawn():
        network = build(replace(COAT, encoder="timm/coatnet_pico_rw_224", encoder_options={}))
    assert network.encoder.strides[-2:] == (16, 32)


def _cut(folder):
    content = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(content[: len(content) // 2])


def _foreign(folder):
    torch.save({"weight": torch.zeros(3)}, folder / "weights.safetensors")


def _of_another_network(folder):
    checkpoints.save(made(X3D), X3D, folder / "other")
    os.replace(folder / "other" / "weights.safetensors", folder / "weights.safetensors")


def _changed(change):
    def spoil(folder):
        tensors = load_file(folder / "weights.safetensors")
        change(tensors)
        save_file(tensors, folder / "weights.safetensors")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut, "weights.safetensors is not a file of weights, or is cut short"),
        (_foreign, "weights.safetensors is not a file of weights, or is cut short"),
        (_of_another_network, r"does not fit experiment.json beside it .*are missing.*are unknown"),
        (_changed(lambda tensors: tensors.pop("head.bias")), r"1 are missing \(head.bias"),
        (_changed(lambda tensors: tensors.update(extra=torch.zeros(1))), r"1 are unknown \(extra"),
        (_changed(lambda t: t.update({"head.bias": torch.zeros(2)})), r"1 are of another shape \(head.bias"),
    ],
)
def test_weights_that_are_not_the_networks_are_refused(spoil, message, tmp_path):
    """A file cut short, of another kind or of another network never becomes a network."""
    checkpoints.save(made(RESNEXT), RESNEXT, tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        checkpoints.load(tmp_path)


def test_a_folder_without_a_network_is_named(tmp_path):
    """What is missing is said with its folder."""
    with pytest.raises(FileNotFoundError, match="there is no experiment.json in"):
        checkpoints.load(tmp_path)
    (tmp_path / "experiment.json").write_text(RESNEXT.to_json())
    with pytest.raises(FileNotFoundError, match="there are no weights at .*weights.safetensors"):
        checkpoints.load(tmp_path)


def test_weights_that_may_not_be_read_are_not_called_missing(tmp_path, monkeypatch):
    """Which safetensors does: they are somebody else's."""
    checkpoints.save(made(RESNEXT), RESNEXT, tmp_path)

    def deny(path: Path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(PermissionError, match="weights.safetensors"):
        read(tmp_path / "weights.safetensors")


def test_saving_that_fails_leaves_the_old_network(tmp_path, monkeypatch):
    """Files are renamed when they are whole: a full disk spoils nothing and leaves nothing behind."""
    checkpoints.save(made(RESNEXT), RESNEXT, tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()

    def fail(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(build(replace(RESNEXT, seed=9)), RESNEXT, tmp_path)
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_tensors_that_share_memory_are_written_once(tmp_path):
    """CoaT's position encodings serve several blocks, and still do after loading."""
    network = made(COAT)
    checkpoints.save(network, COAT, tmp_path)
    assert len(load_file(tmp_path / "weights.safetensors")) < len(network.state_dict())
    loaded, _ = checkpoints.load(tmp_path)
    blocks = loaded.encoder.network.serial_blocks1
    assert blocks[0].cpe.proj.weight.data_ptr() == blocks[1].cpe.proj.weight.data_ptr()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_mixed_precision_on_a_gpu_answers_nearly_the_same():
    """Half-precision logits are within a few hundredths of those of a CPU."""
    network = build(RESNEXT).eval()
    with torch.inference_mode():
        expected = network(grey(RESNEXT))
        with torch.autocast("cuda", torch.float16):
            halved = network.cuda()(grey(RESNEXT).cuda()).float().cpu()
    assert (halved - expected).abs().max() < 0.05
