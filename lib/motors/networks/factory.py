"""Build the network of an experiment."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from motors.experiments.config import Experiment
from motors.networks import key_mapping
from motors.networks.activation_checkpointing import checkpointed
from motors.networks.encoders.encoder2d import Encoder2d, Encoder25d
from motors.networks.encoders.inflation import InflatedEncoder
from motors.networks.encoders.x3d import X3D
from motors.networks.neck import Neck, PathNeck
from motors.networks.unet import Unet2d, Unet3d
from motors.networks.weights import UNFIT, complaint, fill, pretrained


def build(experiment: Experiment, weights: Path | None = None) -> nn.Module:
    """Return the network of an experiment, in training mode; it maps intensities 0..255 to logits.

    A 3D network maps `(b, 1, z, y, x)` to `(b, 1, z / s, y / s, x / s)` for stride s, a 2D one `(b, 3, y, x)` to
    `(b, 1, y / s, x / s)`. Its encoder starts from a local file of `weights`: ImageNet's of torchvision or timm, which
    a 3D network inflates, for X3D Kinetics' of SlowFast; None draws all at random, by the experiment's seed alone.

    Raises FileNotFoundError if there is no such file; ValueError if there is no such encoder, the weights or options do
    not fit it, it cannot process such patches, or the stride is neither 8 nor 16.
    """
    if experiment.stride not in (8, 16):
        wanted = f"stride {experiment.stride}: its network can have 8 or 16"
        raise ValueError(f"experiment {experiment.name} asks for {wanted}")
    held = None if weights is None else pretrained(weights)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(experiment.seed)
        try:
            encoder = _encoder(experiment, held)
        except ValueError as error:
            if weights is None:
                raise
            raise ValueError(f"{experiment.encoder} cannot begin with the weights of {weights}: {error}") from None
        neck = (PathNeck if experiment.neck == "pan" else Neck)(encoder.channels, encoder.strides, experiment)
        network = (Unet2d if experiment.is_2d else Unet3d)(encoder, neck, experiment)
    if experiment.encoder.startswith(("timm/", "slices/")):
        _try_out(network, experiment)
    return checkpointed(network) if experiment.checkpointing else network


def channels_last(network: nn.Module) -> nn.Module:
    """Make the kernels channels-last in place, return the network: equal up to rounding, 0.7 to 1.0 of the CPU time."""
    for weights in network.parameters():
        if layout := {4: torch.channels_last, 5: torch.channels_last_3d}.get(weights.ndim):
            weights.data = weights.data.contiguous(memory_format=layout)
    return network


def _encoder(experiment: Experiment, weights: dict[str, Tensor] | None) -> nn.Module:
    kind, _, name = experiment.encoder.partition("/")
    if kind == "smp":
        return InflatedEncoder(name, weights, **experiment.encoder_options)
    if kind in ("timm", "slices"):
        encoder = Encoder2d if kind == "timm" else Encoder25d
        return encoder(name, experiment.patch[1:], weights, **experiment.encoder_options)
    if kind == "x3d":
        try:
            encoder = X3D(name, **experiment.encoder_options)
        except (TypeError, LookupError) as error:
            raise ValueError(f"X3D cannot be built ({complaint(error)}): correct encoder_options") from error
        if weights is not None:
            fill(encoder, key_mapping.slowfast(weights))
        return encoder
    wanted = "it must be smp/<name>, x3d/<size>, slices/<name> or timm/<name>"
    raise ValueError(f"experiment {experiment.name} asks for the encoder {experiment.encoder!r}: {wanted}")


@torch.no_grad()
def _try_out(network: nn.Module, experiment: Experiment) -> None:
    """Raise ValueError if the network cannot process the experiment's patches, tried by shapes alone."""
    shape = (1, *experiment.patch) if experiment.is_2d else (1, 1, *experiment.patch)
    try:
        copy.deepcopy(network).eval().to("meta")(torch.empty(shape, device="meta"))
    except UNFIT as error:
        raise ValueError(
            f"experiment {experiment.name}: {experiment.encoder} cannot look at patches of {experiment.patch}: choose"
            f" another encoder or patch ({complaint(error)})"
        ) from error
