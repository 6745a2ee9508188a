"""Checkpoints laid out as the original solution's author published them, made up."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from motors.experiments.config import Experiment
from motors.experiments.original import X3D_M
from motors.networks import key_mapping
from motors.networks.factory import build

REFERENCE = Path(__file__).parent / "reference" / "models"
TINY = {"depths": [1, 2, 1, 1], "channels": [8, 8, 16, 16]}
X3D = replace(X3D_M, encoder_options=TINY, decoder_channels=16)


def theirs(experiment: Experiment = X3D) -> dict[str, torch.Tensor]:
    """Weights of a small X3D network under the original's names, its kernels in the original's order of axes."""
    names = {ours: old for old, ours in _renamed().items()}
    weights = {}
    for key, tensor in build(replace(experiment, seed=3)).state_dict().items():
        turned = tensor.ndim == 5 and not key.startswith("encoder.")
        weights[names[key]] = tensor.permute(0, 1, 3, 4, 2) if turned else tensor
    return weights


def _renamed() -> dict[str, str]:
    """The original's names of X3D-M and ours."""
    listed = json.loads((REFERENCE / "x3dm.manifest.json").read_text())["state_dict"]
    return {key: next(iter(key_mapping.from_original({key: torch.zeros(1)}, X3D_M))) for key, *_ in listed}


def checkpoint(path: Path, weights: dict[str, torch.Tensor], **changes) -> Path:
    """A file laid out as Lightning wrote the original's: raw and averaged weights, and what training needs besides."""
    raw = OrderedDict((f"model.{key}", torch.zeros_like(tensor)) for key, tensor in weights.items())
    averaged = OrderedDict((f"model.{key}", tensor) for key, tensor in weights.items())
    score = {
        "best_model_score": torch.tensor(0.95),
        "current_score": np.float64(0.95),
        "best_k_models": {"a": torch.ones(())},
    }
    content = {
        "epoch": 1,
        "global_step": 30000,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": raw,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 2}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": score},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"betas": (0.9, 0.999)}]}],
        "lr_schedulers": [{"base_values": [5e-4], "t_initial": 30000}],
        "MixedPrecision": {"scale": 65536.0, "_growth_tracker": 3},
        "ema_state_dict": {0.99: averaged},
    }
    torch.save({key: value for key, value in (content | changes).items() if value is not None}, path)
    return path
