"""Weights that others published, under our names: the original solution's checkpoints, ImageNet's and Kinetics'."""

from __future__ import annotations

import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from motors.experiments import Experiment

from .scaling import Scaling

DECAY = 0.99  # of the averaged weights, under which they are stored
ENCODER = "encoder.encoder."
SCALING = ("mean", "std", "encoder.mean", "encoder.std")  # kept as tensors there, constants here
PREFIX = "model."  # of the network inside the original's training module
UNTRAINED = "reg_head."  # of the 2D networks: built but never trained
CLASSIFIER = "head."  # of X3D, for actions in videos
WRAPPERS = ("state_dict", "model_state", "model")  # under which the weights lie in some files

# What a network's loader raises on weights that are not its, and torch on a damaged file.
UNFIT = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
DAMAGED = (*UNFIT, pickle.UnpicklingError, SafetensorError, struct.error, EOFError, OverflowError)

# Names of the original solution and ours, as patterns and replacements; the first that fits is used.
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
# SlowFast's names and ours.
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


_scalar, (_dtype, _) = np.float64(0).__reduce__()


def _number(*state) -> np.generic:
    """A number of numpy: a checkpoint may hold some, besides tensors and plain values."""
    return _scalar(*state)


_number.__module__, _number.__name__, _number.__qualname__ = "numpy.core.multiarray", "scalar", "scalar"  # of numpy 1
NUMBERS = [_number, _scalar, np.dtype, type(_dtype)]


def read(path: Path) -> dict:
    """Return what a file of weights holds, without running anything that is in it.

    Parameters
    ----------
    path : a file of torch (.pth, .pt, .pyth, .ckpt) or of safetensors

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is neither, is cut short, or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}
        with torch.serialization.safe_globals(NUMBERS):
            held = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        foreign = re.search(r"GLOBAL ([A-Za-z_]\w*(?:\.\w+)*) (?:was|whose)", str(error))
        if foreign and not _ends_within(path, foreign[1]):
            raise ValueError(
                f"{path} asks for {foreign[1]}, which is neither a tensor nor a plain value: it is not opened, because"
                " such a file can run anything"
            ) from None
        raise ValueError(f"{path} is no file of weights, or is cut short: fetch it again") from None
    if not isinstance(held, dict):
        raise ValueError(f"{path} holds a {type(held).__name__}, but weights come by name: save a state_dict")
    return held


def pretrained(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file of torchvision, timm or SlowFast, under the names they have there.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read`; or if there are no weights in it, or something else lies among them.
    """
    held = read(path)
    for wrapper in WRAPPERS:
        held = held.get(wrapper, held) if isinstance(held, dict) else held
    return _tensors(held, path)


def differences(missing: list[str], unknown: list[str], reshaped: list[str]) -> str:
    """Return in one line how weights differ from those of a network: how many tensors, and two of their names.

    Parameters
    ----------
    missing, unknown, reshaped : names of the tensors that are not there, have no place, or are of another shape

    Returns
    -------
    an empty text if there are none
    """
    faults = (("missing", missing), ("unknown", unknown), ("of another shape", reshaped))
    found = [f"{len(keys)} are {what} ({', '.join(keys[:2])}, ...)" for what, keys in faults if keys]
    return f"of its tensors {'; '.join(found)}" if found else ""


def complaint(error: Exception) -> str:
    """Return in one line what torch or timm complains about: as `differences` says it where tensors are named."""
    text = str(error)
    lists = [re.findall(rf"{word} key\(s\) in state_dict: (.*)", text) for word in ("Missing", "Unexpected")]
    missing, unknown = (re.findall(r'"([^"]+)"', " ".join(lines)) for lines in lists)
    short = f"{type(error).__name__}: {' '.join(text.split()):.200}"
    return differences(missing, unknown, re.findall(r"size mismatch for (\S+):", text)) or short


def slowfast(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return SlowFast's weights of X3D under the names of our encoder, without those of the classifier.

    Raises
    ------
    ValueError
        If a name is none of X3D's.
    """
    return {_rename(key, NAMES_X3D): tensor for key, tensor in weights.items() if not key.startswith(CLASSIFIER)}


def original(path: Path, experiment: Experiment) -> dict[str, Tensor]:
    """Return the weights in a checkpoint of the original solution, averaged, under our names and in our layout.

    There, all 3D kernels but those of the X3D encoder are stored in the order y, x, z; ours are z, y, x.

    Parameters
    ----------
    path : a Lightning checkpoint as published, with the averaged weights beside the raw ones
    experiment : of the network it holds

    Raises
    ------
    FileNotFoundError, ValueError
        As `read`; or if the checkpoint has no averaged weights, or is of another kind of network.
    """
    averages = read(path).get("ema_state_dict")
    if not isinstance(averages, dict) or DECAY not in averages:
        raise ValueError(f"{path} holds no weights averaged with decay {DECAY}: it is none of the original solution's")
    weights = _tensors(averages[DECAY], path)
    if strange := [key for key in weights if not key.startswith(PREFIX)]:
        raise ValueError(f"{path} holds {strange[:3]} outside its network: it is none of the original solution's")
    try:
        return from_original({key.removeprefix(PREFIX): tensor for key, tensor in weights.items()}, experiment)
    except ValueError as error:
        raise ValueError(f"{path} is no checkpoint of {experiment.name}: {error}") from None


def from_original(weights: dict[str, Tensor], experiment: Experiment) -> dict[str, Tensor]:
    """Return weights of a network of the original solution under our names and in our layout.

    Raises
    ------
    ValueError
        If a name is not one of that network's, or it scales grey levels otherwise than the experiment says.
    """
    x3d = experiment.encoder.startswith("x3d/")
    converted = {}
    for key, tensor in weights.items():
        if key.startswith(UNTRAINED) and experiment.planar:
            continue
        if key in SCALING:
            _check_scaling(key, tensor, experiment)
        elif x3d and key.startswith(ENCODER):
            converted["encoder." + _rename(key.removeprefix(ENCODER), NAMES_X3D)] = tensor
        else:
            ours = _rename(key, NAMES_2D if experiment.planar else NAMES_3D)
            converted[ours] = tensor.permute(0, 1, 4, 2, 3).contiguous() if tensor.ndim == 5 else tensor
    return converted


def _ends_within(path: Path, name: str) -> bool:
    """Whether a file ends inside the line that holds the last part of `name`; torch drops the line's last byte."""
    last = name.rpartition(".")[2].encode()
    with path.open("rb") as file:
        file.seek(-min(len(last) + 1, path.stat().st_size), os.SEEK_END)
        tail = file.read()
    return tail[:-1] == last and tail[-1:] != b"\n"


def _tensors(held: object, path: Path) -> dict[str, Tensor]:
    """What was read from a file, if it is weights: tensors by name, at least one, and nothing else."""
    if not isinstance(held, dict):
        found = f"a {type(held).__name__}"
    elif strange := [key for key, tensor in held.items() if not (isinstance(key, str) and isinstance(tensor, Tensor))]:
        found = f"{strange[0]!r} ({type(held[strange[0]]).__name__}) among its weights"
    elif not held:
        found = "nothing"
    else:
        return dict(held)
    raise ValueError(f"{path} holds {found}, but weights are tensors by name: save the state_dict of a network")


def _rename(key: str, names: tuple[tuple[str, str], ...]) -> str:
    """The key under our names."""
    for theirs, ours in names:
        renamed, fits = re.subn(theirs, ours, key)
        if fits:
            return renamed
    raise ValueError(f"a tensor called {key!r} has no place in this network: these are the weights of another one")


def _check_scaling(key: str, theirs: Tensor, experiment: Experiment) -> None:
    """Refuse weights that were trained on grey levels scaled otherwise."""
    ours = getattr(Scaling(experiment.normalisation, axes=2 if experiment.planar else 3), key.rpartition(".")[2])
    if theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, rtol=1e-5):
        raise ValueError(
            f"these weights scale grey levels with {key} {theirs.flatten().tolist()}, but the experiment"
            f" {experiment.name} with {ours.flatten().tolist()} ({experiment.normalisation}): choose its own experiment"
        )
