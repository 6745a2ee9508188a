"""Networks on disk: their weights beside the experiment they belong to."""

import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from motors.experiments.config import Experiment
from motors.networks import key_mapping
from motors.networks.factory import build
from motors.networks.weights import distinct, fill, read
from motors.workspace.files import on_disk, renamed, write_text

WEIGHTS = "weights.safetensors"
SETTINGS = "experiment.json"
TRAINED_ON = "trained_on.json"  # names of the tomograms the network was trained on


def save(network: nn.Module, experiment: Experiment, folder: Path) -> Path:
    """Write weights.safetensors and experiment.json of a network made by `build(experiment)`, and return `folder`.

    The network may be on any device; the folder is created if needed. Each file is written atomically, so that a reader
    finds either the old or the new one.
    """
    folder = Path(folder)
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in distinct(network).items()}
    with renamed(folder / WEIGHTS) as partial:
        safetensors.torch.save_file(tensors, partial, metadata={"experiment": experiment.name})
    write_text(folder / SETTINGS, experiment.to_json())
    return folder


def load(folder: str | Path) -> tuple[nn.Module, Experiment]:
    """Return the network saved in `folder`, in evaluation mode and on the CPU, and its experiment.

    Raises FileNotFoundError if one of the two files is missing, ValueError if the weights are truncated, are not
    safetensors, or belong to another network than the experiment's.
    """
    folder = on_disk(Path(folder))
    if not (folder / SETTINGS).is_file():
        raise FileNotFoundError(f"there is no {SETTINGS} in {folder}: a trained network has it beside {WEIGHTS}")
    experiment = Experiment.read(folder / SETTINGS)
    weights = read(folder / WEIGHTS)
    network = build(experiment)
    try:
        fill(network, weights)
    except ValueError as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {SETTINGS} beside it ({experiment.name}): {error}") from None
    return network.eval(), experiment


def convert(checkpoint: Path, experiment: Experiment, folder: Path) -> Path:
    """Convert a checkpoint of the original solution into the format of `save`, and return `folder`.

    Of the published .ckpt file the averaged weights are taken; `experiment` is that of the network in it: one of
    `RESNEXT50`, `DENSENET121`, `X3D_M`, `MAXVIT_TINY`, `COAT_MEDIUM`. Raises FileNotFoundError if there is no file,
    ValueError if it is of another network or holds unknown keys, FileExistsError if `folder` has other weights.
    """
    weights, network = key_mapping.original(checkpoint), build(experiment)
    try:
        fill(network, key_mapping.from_original(weights, experiment))
    except ValueError as error:
        raise ValueError(f"{checkpoint} is not a checkpoint of {experiment.name}: {error}") from None
    if (Path(folder) / WEIGHTS).exists():
        there, ours = read(Path(folder) / WEIGHTS), distinct(network)
        if there.keys() != ours.keys() or not all(torch.equal(there[key], tensor) for key, tensor in ours.items()):
            raise FileExistsError(f"{folder} holds other weights, perhaps of a training: move them elsewhere first")
    return save(network, experiment, folder)


def is_whole(folder: Path) -> bool:
    """Return whether a folder holds a trained network: weights and experiment."""
    return all((Path(folder) / name).is_file() for name in (WEIGHTS, SETTINGS))


def trained_on(folder: Path) -> set[str] | None:
    """Return the names of the tomograms that the network in a folder was trained on; None if not recorded."""
    file = Path(folder) / TRAINED_ON
    return set(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def digest(network: nn.Module) -> str:
    """Return a hash of a network's weights and buffers."""
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()
