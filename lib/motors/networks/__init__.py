"""The networks: built from an experiment, saved beside it, loaded from there."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from motors.experiments import Experiment
from motors.workspace.records import write_text

from . import published
from .checkpointing import recompute
from .inflate import InflatedEncoder
from .neck import TARGET, Neck, PathNeck
from .sliced import SlicedEncoder
from .unet2d import PlanarEncoder, Unet2d
from .unet3d import Unet3d
from .x3d import X3D

WEIGHTS = "weights.safetensors"
SETTINGS = "experiment.json"


def build(experiment: Experiment, weights: Path | None = None) -> nn.Module:
    """Return the network of an experiment, in training mode; it takes grey levels 0..255 and answers logits.

    A 3D network maps `(b, 1, z, y, x)` to `(b, 1, z / s, y / s, x / s)` for stride s, a 2D one `(b, 3, y, x)` to
    `(b, 1, y / s, x / s)`. First weights follow from the experiment's seed; the global generator is left as it was.

    Parameters
    ----------
    experiment : says which encoder, neck and decoder
    weights : a local file of weights the encoder starts from: ImageNet's from torchvision or timm (a 3D network
        inflates them), for X3D Kinetics' from SlowFast; None draws everything

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is no such encoder, the weights or the options are not its, it cannot look at such patches, or the
        experiment asks for cells of another size.
    """
    if experiment.stride not in (8, TARGET):
        raise ValueError(
            f"experiment {experiment.name} asks for stride {experiment.stride}: its network can have 8 or {TARGET}"
        )
    held = None if weights is None else published.pretrained(weights)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(experiment.seed)
        try:
            encoder = _encoder(experiment, held)
        except ValueError as error:
            if weights is None:
                raise
            raise ValueError(f"{experiment.encoder} cannot begin with the weights of {weights}: {error}") from None
        parts = (encoder, _neck(experiment, encoder))
        settings = {"decoder_channels": experiment.decoder_channels, "normalisation": experiment.normalisation}
        planar = experiment.planar
        network = Unet2d(*parts, experiment.patch[1:], **settings) if planar else Unet3d(*parts, **settings)
    if experiment.encoder.startswith(("timm/", "slices/")):
        _try_out(network, experiment)
    return recompute(network) if experiment.recompute else network


def channels_last(network: nn.Module) -> nn.Module:
    """Return the same network with its solid kernels stored channels last, in place.

    CPUs convolve volumes 1.4 times as fast that way (a training step of the demo's network on two cores); the answers
    stay the same up to rounding.
    """
    for weights in network.parameters():
        if weights.ndim == 5:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last_3d)
    return network


def _encoder(experiment: Experiment, weights: dict[str, Tensor] | None) -> nn.Module:
    """The encoder an experiment names."""
    kind, _, name = experiment.encoder.partition("/")
    if kind == "smp":
        return InflatedEncoder(name, weights, **experiment.encoder_options)
    if kind in ("timm", "slices"):
        planar = PlanarEncoder if kind == "timm" else SlicedEncoder
        return planar(name, experiment.patch[1:], weights, **experiment.encoder_options)
    if kind == "x3d":
        try:
            encoder = X3D(name, **experiment.encoder_options)
        except (TypeError, LookupError) as error:
            raise ValueError(f"X3D cannot be built ({published.complaint(error)}): correct encoder_options") from error
        if weights is not None:
            fill(encoder, published.slowfast(weights))
        return encoder
    raise ValueError(
        f"experiment {experiment.name} asks for the encoder {experiment.encoder!r}:"
        " it must be smp/<name>, x3d/<size>, slices/<name> or timm/<name>"
    )


@torch.no_grad()
def _try_out(network: nn.Module, experiment: Experiment) -> None:
    """Refuse an encoder that cannot look at the experiment's patches: their shapes pass through it, no numbers."""
    shape = (1, *experiment.patch) if experiment.planar else (1, 1, *experiment.patch)
    try:
        copy.deepcopy(network).eval().to("meta")(torch.empty(shape, device="meta"))
    except published.UNFIT as error:
        raise ValueError(
            f"experiment {experiment.name}: {experiment.encoder} cannot look at patches of {experiment.patch}: choose"
            f" another encoder or patch ({published.complaint(error)})"
        ) from error


def _neck(experiment: Experiment, encoder: nn.Module) -> nn.Module:
    """The neck an experiment names."""
    levels = (encoder.channels, encoder.strides)
    place = {"axes": 2 if experiment.planar else 3, "stride": experiment.stride}
    if experiment.neck == "pan":
        return PathNeck(*levels, **place)
    if experiment.neck == "fpn":
        return Neck(*levels, width=experiment.neck_channels, hidden=experiment.neck_hidden, **place)
    raise ValueError(f"experiment {experiment.name} asks for the neck {experiment.neck!r}: it must be fpn or pan")


def save(network: nn.Module, experiment: Experiment, folder: Path) -> Path:
    """Write a network's weights and its experiment into `folder`, and return `folder`.

    Both files are written under other names first, so that a reader finds either the old or the new one.

    Parameters
    ----------
    network : one that `build(experiment)` made, on any device
    experiment : its settings
    folder : made if it is not there; gets weights.safetensors and experiment.json
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in _distinct(network).items()}
    temporary = folder / f".{WEIGHTS}.{os.getpid()}"
    try:
        safetensors.torch.save_file(tensors, temporary, metadata={"experiment": experiment.name})
        temporary.replace(folder / WEIGHTS)
    finally:
        temporary.unlink(missing_ok=True)
    write_text(folder / SETTINGS, experiment.to_json())
    return folder


def load(folder: Path) -> tuple[nn.Module, Experiment]:
    """Return the network saved in `folder`, in evaluation mode and on the CPU, and its experiment.

    Raises
    ------
    FileNotFoundError
        If one of the two files is not there.
    ValueError
        If the weights are cut short, are no safetensors, or belong to another network than the experiment's.
    """
    folder = Path(folder)
    if not (folder / SETTINGS).is_file():
        raise FileNotFoundError(f"there is no {SETTINGS} in {folder}: a trained network has it beside {WEIGHTS}")
    experiment = Experiment.read(folder / SETTINGS)
    weights = published.read(folder / WEIGHTS)
    network = build(experiment)
    try:
        fill(network, weights)
    except ValueError as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {SETTINGS} beside it ({experiment.name}): {error}") from None
    return network.eval(), experiment


def convert(checkpoint: Path, experiment: Experiment, folder: Path) -> Path:
    """Write a checkpoint of the original solution as `save` writes a network of ours, and return `folder`.

    Parameters
    ----------
    checkpoint : a .ckpt file as published; its averaged weights are taken
    experiment : of the network it holds: one of `RESNEXT50`, `DENSENET121`, `X3D_M`, `MAXVIT_TINY`, `COAT_MEDIUM`
    folder : for weights.safetensors and experiment.json

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    FileExistsError
        If other weights are in `folder`.
    ValueError
        If it is of another network, or anything in it is unknown.
    """
    weights = published.original(checkpoint, experiment)
    network = build(experiment)
    try:
        fill(network, weights)
    except ValueError as error:
        raise ValueError(f"{checkpoint} is no checkpoint of {experiment.name}: {error}") from None
    if (Path(folder) / WEIGHTS).exists():
        there, ours = published.read(Path(folder) / WEIGHTS), _distinct(network)
        if there.keys() != ours.keys() or not all(torch.equal(there[key], tensor) for key, tensor in ours.items()):
            raise FileExistsError(f"{folder} holds other weights, perhaps of a training: move them elsewhere first")
    return save(network, experiment, folder)


def fill(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy `weights` into a network: all of its tensors, and nothing else.

    Parameters
    ----------
    network : changed in place
    weights : by name; a tensor that several names share may come under any of them

    Raises
    ------
    ValueError
        If a tensor is missing, unknown or of another shape; nothing is copied then.
    """
    ours = network.state_dict()
    places = {tensor.data_ptr() for key, tensor in ours.items() if key in weights}
    missing = [key for key, tensor in ours.items() if tensor.data_ptr() not in places]
    unknown = [key for key in weights if key not in ours]
    reshaped = [key for key, tensor in weights.items() if key in ours and tensor.shape != ours[key].shape]
    if found := published.differences(missing, unknown, reshaped):
        raise ValueError(f"these are the weights of another network: {found}")
    for key, tensor in weights.items():
        ours[key].copy_(tensor)


def _distinct(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network, each under the first of its names."""
    distinct = {tensor.data_ptr(): (key, tensor) for key, tensor in reversed(network.state_dict().items())}
    return dict(reversed(distinct.values()))
