"""Published weights under our keys: the original solution's checkpoints, and SlowFast's X3D (Kinetics)."""

import re
from pathlib import Path

import torch
from torch import Tensor

from motors.experiments.config import Experiment
from motors.networks.unet import Scaling
from motors.networks.weights import read, tensors

DECAY = 0.99  # of the averaged weights, and their key
ENCODER = "encoder.encoder."
SCALING = ("mean", "std", "encoder.mean", "encoder.std")  # kept as tensors there, constants here
PREFIX = "model."  # of the network inside the original's training module
UNTRAINED = "reg_head."  # of the 2D networks: built but never trained
CLASSIFIER = "head."  # of X3D, for actions in videos

# Keys of the original solution and ours, as patterns and replacements; the first match is used.
NAMES_3D = (
    (r"^encoder\.encoder\.", "encoder.network."),
    (r"^neck\.convs\.", "neck.branches."),
    (r"^decoder\.blocks\.0\.(conv\d)\.", r"decoder.\1."),
    (r"^decoder\.blocks\.0\.(attention\d)\.attention\.cSE\.", r"decoder.\1.channel."),
    (r"^decoder\.blocks\.0\.(attention\d)\.attention\.sSE\.", r"decoder.\1.place."),
    (r"^ms_seg_heads\.0\.0\.", "head."),
)

NAMES_2D = (
    (r"^encoder\.", "encoder.network."),
    (r"^neck\.convs\.", "neck.branches."),
    (r"^dec_blocks\.0\.shuf\.", "decoder.grow."),
    (r"^dec_blocks\.0\.bn\.", "decoder.norm."),
    (r"^dec_blocks\.0\.conv1\.0\.", "decoder.convolutions.1."),
    (r"^dec_blocks\.0\.conv2\.0\.", "decoder.convolutions.3."),
    (r"^seg_head\.", "head."),
)

# SlowFast's keys and ours.
NAMES_X3D = (
    (r"^s1\.pathway0_stem\.conv_xy\.", "stem.0."),
    (r"^s1\.pathway0_stem\.conv\.", "stem.1."),
    (r"^s1\.pathway0_stem\.bn\.", "stem.2."),
    *(
        (rf"^s{stage + 2}\.pathway0_res(\d+)\.{theirs}\.", rf"stages.{stage}.\1.{ours}.")
        for stage in range(4)
        for theirs, ours in (
            ("branch1", "shortcut.0"),
            ("branch1_bn", "shortcut.1"),
            (r"branch2\.a", "widen.0"),
            (r"branch2\.a_bn", "widen.1"),
            (r"branch2\.b", "filter.0"),
            (r"branch2\.b_bn", "filter.1"),
            (r"branch2\.se\.fc1", "squeeze.1"),
            (r"branch2\.se\.fc2", "squeeze.3"),
            (r"branch2\.c", "narrow.1"),
            (r"branch2\.c_bn", "narrow.2"),
        )
    ),
)


def slowfast(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return SlowFast's X3D weights under our keys, without the classifier's; raises ValueError for an unknown key."""
    return {_rename(key, NAMES_X3D): tensor for key, tensor in weights.items() if not key.startswith(CLASSIFIER)}


def original(path: Path) -> dict[str, Tensor]:
    """Return the averaged weights of a Lightning checkpoint of the original solution, which also holds raw ones.

    Raises FileNotFoundError or ValueError as `read`; ValueError if there are none, or some are outside the network.
    """
    averages = read(path).get("ema_state_dict")
    if not isinstance(averages, dict) or DECAY not in averages:
        raise ValueError(f"{path} holds no weights averaged with decay {DECAY}: it is none of the original solution's")
    weights = tensors(averages[DECAY], path)
    if strange := [key for key in weights if not key.startswith(PREFIX)]:
        raise ValueError(f"{path} holds {strange[:3]} outside its network: it is none of the original solution's")
    return {key.removeprefix(PREFIX): tensor for key, tensor in weights.items()}


def from_original(weights: dict[str, Tensor], experiment: Experiment) -> dict[str, Tensor]:
    """Return weights of a network of the original solution under our keys and in our layout.

    The original stores all 3D kernels but those of the X3D encoder in the order y, x, z; ours are z, y, x. Raises
    ValueError if a key is not one of that network, or its scaling of intensities differs from the experiment's.
    """
    x3d = experiment.encoder.startswith("x3d/")
    converted = {}
    for key, tensor in weights.items():
        if key.startswith(UNTRAINED) and experiment.is_2d:
            continue
        if key in SCALING:
            _check_scaling(key, tensor, experiment)
        elif x3d and key.startswith(ENCODER):
            converted["encoder." + _rename(key.removeprefix(ENCODER), NAMES_X3D)] = tensor
        else:
            ours = _rename(key, NAMES_2D if experiment.is_2d else NAMES_3D)
            converted[ours] = tensor.permute(0, 1, 4, 2, 3).contiguous() if tensor.ndim == 5 else tensor
    return converted


def _rename(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for theirs, ours in names:
        renamed, fits = re.subn(theirs, ours, key)
        if fits:
            return renamed
    raise ValueError(f"a tensor called {key!r} has no place in this network: these are the weights of another one")


def _check_scaling(key: str, theirs: Tensor, experiment: Experiment) -> None:
    """Raise ValueError if weights were trained with another scaling."""
    ours = getattr(Scaling(experiment.normalisation, axes=2 if experiment.is_2d else 3), key.rpartition(".")[2])
    if theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, rtol=1e-5):
        raise ValueError(
            f"these weights scale intensities with {key} {theirs.flatten().tolist()}, but the experiment"
            f" {experiment.name} with {ours.flatten().tolist()} ({experiment.normalisation}): choose its own experiment"
        )
