"""Our networks against the original solution's: same weights, same volume, same features at every level."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import deterministic_weights
import numpy as np
import pytest
import torch
from torch import nn
from undrawn import undrawn

from motors.experiments.config import Experiment
from motors.experiments.original import COAT_MEDIUM, DENSENET121, MAXVIT_TINY, RESNEXT50, X3D_M
from motors.networks import key_mapping
from motors.networks.factory import build
from motors.networks.weights import fill

pytestmark = pytest.mark.kernel  # networks are built and computed
REFERENCE = Path(__file__).parent / "reference" / "models"
EXPERIMENTS = {
    "resnext50": RESNEXT50,
    "densenet121": DENSENET121,
    "x3dm": X3D_M,
    "maxvit_tiny": MAXVIT_TINY,
    "coat_lite_medium": COAT_MEDIUM,
}
PARAMETERS = {
    "resnext50": {"encoder": 25_865_664, "neck": 5_198_720, "decoder": 18_876_502, "head": 5_185, "": 49_946_071},
    "densenet121": {"encoder": 11_286_528, "neck": 3_429_248, "decoder": 12_877_846, "head": 5_185, "": 27_598_807},
    "x3dm": {"encoder": 2_006_178, "neck": 4_356_576, "decoder": 4_029_746, "head": 5_185, "": 10_397_685},
    "maxvit_tiny": {"": 34_689_545},
    "coat_lite_medium": {"": 48_163_521},
}
CASES = [
    *(("x3dm", case) for case in "ab"),
    *(pytest.param(name, case, marks=pytest.mark.kernel) for name in ("resnext50", "densenet121") for case in "ab"),
    *(pytest.param(name, "small", marks=pytest.mark.kernel) for name in ("maxvit_tiny", "coat_lite_medium")),
    *(pytest.param(name, "full", marks=pytest.mark.slow) for name in ("maxvit_tiny", "coat_lite_medium")),
]


@cache
def manifest(name: str) -> dict:
    """Names and shapes of the reference network's tensors."""
    return json.loads((REFERENCE / f"{name}.manifest.json").read_text())


def fitted(name: str, experiment: Experiment) -> nn.Module:
    """Our network with the reference network's deterministic weights."""
    listed = manifest(name)
    tensors = [row for row in listed["state_dict"] if not row[0].startswith(key_mapping.UNTRAINED)]
    if experiment.is_2d:  # tables of relative positions are as large as the patch: one window has 1/32 of it
        table = [side // 32 * 2 - 1 for side in experiment.patch[1:]]
        tensors = [[k, [s[0], *table] if k.endswith("position_bias_table") else s, *rest] for k, s, *rest in tensors]
    weights = deterministic_weights.weights(listed | {"state_dict": tensors})
    with undrawn():
        network = build(experiment)
    fill(network, key_mapping.from_original(weights, experiment))
    return network.eval()


def answers(network: nn.Module, voxels: np.ndarray) -> dict[str, torch.Tensor]:
    """What the parts of a network make of grey levels, by part and level."""
    seen = {}

    def keep(part: str):
        def hook(module, inputs, output):
            seen[part] = output

        return hook

    hooks = [network.get_submodule(p).register_forward_hook(keep(p)) for p in ("scaling", "encoder", "neck", "decoder")]
    with torch.inference_mode():
        logits = network(torch.from_numpy(voxels).float())
    for hook in hooks:
        hook.remove()
    levels = dict(zip(network.encoder.strides, seen.pop("encoder"), strict=True))
    return seen | {"logits": logits, "levels": levels}


@pytest.fixture(scope="module")
def fitted_3d():
    """The last 3D network that was asked for: two cases share one."""
    held = {}

    def get(name: str, experiment: Experiment) -> nn.Module:
        if name not in held:
            held.clear()
            held[name] = fitted(name, experiment)
        return held[name]

    return get


@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_level_is_the_originals(name, case, fitted_3d):
    """Grey levels, features, neck, decoder and logits agree with those recorded from the original code."""
    recorded = json.loads((REFERENCE / f"{name}.{case}.json").read_text())
    logits = np.load(REFERENCE / f"{name}.{case}.npz")
    experiment = EXPERIMENTS[name]
    shape = recorded["input"]["shape"]
    if experiment.is_2d:
        network = fitted(name, replace(experiment, patch=(3, *shape[2:])))
    else:
        network = fitted_3d(name, experiment)
    ours = answers(network, deterministic_weights.voxels(recorded["input"]["seed"], shape))

    theirs = recorded["intermediates"]
    first = 0 if experiment.is_2d else 1  # the 3D encoders of the original hand on the volume itself, too
    parts = {"input_normalised" if experiment.is_2d else "encoder.0": ours["scaling"], "decoder.0": ours["decoder"]}
    parts[f"neck.{network.neck.target + first}"] = ours["neck"][1]
    for k, stride in enumerate(network.encoder.strides):
        parts[f"encoder.{k + first}"] = ours["levels"][stride]
        assert ours["levels"][stride].shape[1] == network.encoder.channels[k]
        assert ours["levels"][stride].shape[-1] == shape[-1] // stride
    for part, tensor in parts.items():
        _same(part, tensor if experiment.is_2d else tensor.permute(0, 1, 3, 4, 2), theirs[part])
    expected = logits["heatmap_logits" if experiment.is_2d else "logits"]
    np.testing.assert_allclose(ours["logits"], expected, rtol=0, atol=2e-5)


def _same(part: str, tensor: torch.Tensor, recorded: dict) -> None:
    """A tensor agrees with its recorded shape, moments and sampled values."""
    assert list(tensor.shape) == recorded["shape"], part
    values = tensor.double().flatten()
    assert float(values.mean()) == pytest.approx(recorded["mean"], rel=1e-4), part
    assert float(values.std(correction=0)) == pytest.approx(recorded["std"], rel=1e-4), part
    sampled = values[recorded["sample_index"]].numpy()
    np.testing.assert_allclose(sampled, recorded["sample_value"], rtol=0, atol=1e-4 * recorded["absmax"], err_msg=part)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_networks_are_as_large_as_the_originals_and_begin_with_its_bias(name):
    """Parameters are counted once each, part by part; the head starts from one motor in about twenty thousand cells."""
    with undrawn():
        network = build(EXPERIMENTS[name])
    for part, expected in PARAMETERS[name].items():
        assert sum(p.numel() for p in network.get_submodule(part).parameters()) == expected, part
    recorded = manifest(name)
    assert PARAMETERS[name][""] == (recorded["n_params_inference_heads_removed"] or recorded["n_params"])
    last = network.head[-1] if EXPERIMENTS[name].is_2d else network.head
    assert last.bias.tolist() == pytest.approx(recorded["init_head_bias"], abs=1e-6)


def test_the_recorded_weights_are_drawn_again_bit_by_bit():
    """The recipe for weights is the one the recordings were made with."""
    recorded = json.loads((REFERENCE / "x3dm.a.json").read_text())
    weights = deterministic_weights.weights(manifest("x3dm"))
    assert deterministic_weights.fingerprint(weights) == recorded["weights_fingerprint"]
