"""The encoders of the 3D networks: 2D encoders of segmentation_models_pytorch or timm, inflated."""

from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from motors.networks.encoders.encoder2d import made, refuse_unknown_tag
from motors.networks.encoders.inflation import inflate, redraw
from motors.networks.weights import UNFIT

STRIDES = (2, 4, 8, 16, 32)  # of the levels an encoder returns

# Encoders whose inflation is tested. Others are checked when they are built, on a volume with permuted axes.
ENCODERS = tuple(
    "resnet18 resnet34 resnet50 resnext50_32x4d se_resnet50 densenet121 densenet169 dpn68 vgg16_bn mobilenet_v2"
    " tu-resnet18 tu-resnext50_32x4d tu-seresnext50_32x4d tu-regnetx_008 tu-regnety_008 tu-efficientnet_b0"
    " tu-efficientnet_lite0 tu-tf_efficientnet_lite0 tu-tf_efficientnetv2_b0".split()
)


class InflatedEncoder(nn.Module):
    """A 2D network of segmentation_models_pytorch, or of timm if its name begins with "tu-", inflated to 3D.

    `weights` are those of the whole 2D classifier, with the keys of torchvision or timm, and are inflated; None draws
    random 3D kernels. `options`, such as layers and channels, go to the constructor of a "tu-" encoder. Raises
    ValueError if there is no such encoder, a layer has no 3D counterpart, or options or weights do not fit.
    """

    def __init__(self, name: str, weights: dict[str, Tensor] | None = None, **options: Any) -> None:
        super().__init__()
        network_2d = _network_2d(name, weights, options)
        try:
            self.network = inflate(network_2d)
        except ValueError as error:
            raise ValueError(f"encoder {name!r} cannot be made 3D: {error}") from None
        self.channels = tuple(network_2d.out_channels[-len(STRIDES) :])
        self.strides = STRIDES
        if name not in ENCODERS:
            _try_on_its_side(self.network, name)
        if weights is None:
            redraw(self.network, network_2d)

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return the features of `(b, 3, z, y, x)` intensities, one tensor for each of `strides`."""
        return self.network(volume)[-len(STRIDES) :]


def _network_2d(name: str, weights: dict[str, Tensor] | None, options: dict[str, Any]) -> nn.Module:
    """Return the 2D encoder, with all of its weights from `weights` if given."""
    of_timm = name.startswith("tu-")
    if not (timm.is_model(name[3:]) if of_timm else name in smp.encoders.encoders):
        known = f"{', '.join(ENCODERS)}, or another one of segmentation_models_pytorch"
        raise ValueError(f"no encoder is called {name!r}: choose one of {known}")
    if options and not of_timm:
        raise ValueError(f"encoder {name!r} takes no options {sorted(options)}: use its tu- counterpart")
    refuse_unknown_tag(name.removeprefix("tu-"))
    network_2d = made(lambda held: _get(name, held, options), name, weights, f"the weights of the 2D network {name!r}")
    if len(network_2d.out_channels) != len(STRIDES) + 1 or 0 in network_2d.out_channels:
        raise ValueError(f"encoder {name!r} has no features at each of the strides {STRIDES}: choose another")
    return network_2d


def _get(name: str, weights: dict[str, Tensor] | None, options: dict[str, Any]) -> nn.Module:
    """Return the encoder of segmentation_models_pytorch, with these weights if given."""
    source = {"weights": None}
    if name.startswith("tu-") and weights is not None:
        given = {"pretrained_cfg_overlay": {"state_dict": weights}}
        timm.create_model(name[3:], pretrained=True, **given, **options)  # checks them more strictly
        source = {"weights": "given"} | given
    network_2d = smp.encoders.get_encoder(name, depth=len(STRIDES), **source, **options)
    if not name.startswith("tu-") and weights is not None:
        network_2d.load_state_dict(dict(weights))
    return network_2d


@torch.no_grad()
def _try_on_its_side(network: nn.Module, name: str) -> None:
    """Raise ValueError if the code of a network, not only its layers, treats the axes differently."""
    volume = torch.rand(1, 3, 32, 64, 96, generator=torch.Generator().manual_seed(0))
    training = network.training
    try:
        upright = network.eval()(volume)
        _turn(network)
        turned = network(volume.permute(0, 1, 3, 4, 2))
    except UNFIT as error:
        raise ValueError(f"encoder {name!r} cannot be made 3D: its code is written for images ({error})") from error
    for level, other in zip(upright[-len(STRIDES) :], turned[-len(STRIDES) :], strict=True):
        level = level.permute(0, 1, 3, 4, 2)
        if level.shape != other.shape or (level - other).abs().max() > 1e-3 * level.abs().max():
            raise ValueError(f"encoder {name!r} cannot be made 3D: its code treats depth, height and width differently")
    _turn(_turn(network)).train(training)


def _turn(network: nn.Module) -> nn.Module:
    """Permute all kernels from z, y, x to y, x, z; three times is the identity."""
    for kernel in network.parameters():
        if kernel.ndim == 5:
            kernel.data = kernel.data.permute(0, 1, 3, 4, 2).contiguous()
    return network
