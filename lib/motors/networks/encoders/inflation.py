"""The encoders of 3D networks: 2D networks inflated, so that a volume constant along z gives the 2D output."""

from copy import copy, deepcopy
from inspect import signature
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, Conv2dSame, DropPath
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.layers.squeeze_excite import EffectiveSEModule, SEModule
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

from motors.networks.encoders.encoder2d import made, refuse_unknown_tag
from motors.networks.weights import UNFIT

STRIDES = (2, 4, 8, 16, 32)  # of the levels an encoder returns

# Encoders whose inflation is tested. Others are checked when they are built, on a volume with permuted axes.
ENCODERS = tuple(
    "resnet18 resnet34 resnet50 resnext50_32x4d se_resnet50 densenet121 densenet169 dpn68 vgg16_bn mobilenet_v2"
    " tu-resnet18 tu-resnext50_32x4d tu-seresnext50_32x4d tu-regnetx_008 tu-regnety_008 tu-efficientnet_b0"
    " tu-efficientnet_lite0 tu-tf_efficientnet_lite0 tu-tf_efficientnetv2_b0".split()
)

# Layers that work with any number of axes: these, and all defined in these modules.
POINTWISE = (nn.Identity, nn.Dropout, DropPath)
ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")
SIDES = ("kernel_size", "stride", "padding", "dilation", "output_size")  # equal on all axes, or a padding mode


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


def inflate(network_2d: nn.Module) -> nn.Module:
    """Return a copy of a 2D network that works on volumes: a new axis z comes before y and x.

    A kernel is repeated along z and divided by its length (Carreira & Zisserman 2017, the I3D network), so that a
    volume constant in z has, away from its ends, the features of its slices. Raises ValueError if the network holds
    anything but 2D convolutions, normalisations, poolings and pointwise functions.
    """
    if kind := COUNTERPARTS.get(type(network_2d)):
        network_3d = kind(network_2d) if kind is Unrolled else _in_3d(network_2d, kind)
        return network_3d.train(network_2d.training)
    if not network_2d._modules and (isinstance(network_2d, POINTWISE) or type(network_2d).__module__ in ACTIVATIONS):
        return deepcopy(network_2d)
    if not network_2d._modules or network_2d._parameters or network_2d._buffers:
        raise ValueError(f"it holds a {type(network_2d).__name__}, which has no known counterpart for volumes")
    network_3d = copy(network_2d)
    network_3d._modules = {
        name: child if child is None else inflate(child) for name, child in network_2d._modules.items()
    }
    return network_3d


def redraw(network: nn.Module, network_2d: nn.Module) -> None:
    """Reinitialise the kernels of an inflated `network` at random, with the output variance of `network_2d`.

    Half of the kernels' variance is shared by all taps along z, as all is after inflation: noise differs from plane to
    plane, motors hardly, and features that average along z detect them sooner.
    """
    kernels = dict(network_2d.named_parameters())
    with torch.no_grad():
        for name, kernel in network.named_parameters():
            if kernel.ndim == 5:
                spread = float(kernels[name].std(correction=0)) / kernel.shape[2] ** 0.5
                common = torch.empty_like(kernel[:, :, :1]).normal_(std=spread)
                kernel.normal_(std=spread).add_(common).div_(2**0.5)


def _in_3d(network_2d: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """Return a 2D layer as a 3D layer of this `kind`, its kernels repeated along z and divided by their length."""
    given = {name: getattr(network_2d, name) for name in signature(kind).parameters if hasattr(network_2d, name)}
    given |= {name: _cube(given[name]) for name in SIDES if not isinstance(given.get(name, ""), str)}
    given |= {"bias": given["bias"] is not None} if "bias" in given else {}
    network_3d = kind(**given)
    ours = network_3d.state_dict()
    for name, theirs in network_2d.state_dict().items():
        ours[name].copy_(theirs[:, :, None] / ours[name].shape[2] if theirs.ndim == 4 else theirs)
    return network_3d


def _cube(sides: int | tuple[int, int]) -> int:
    sides = (sides, sides) if isinstance(sides, int) else tuple(sides)
    if sides[0] != sides[1]:
        raise ValueError(f"it holds a kernel, stride or padding of {sides}, which is not square")
    return sides[0]


class Unrolled(nn.Module):
    """A 2D layer that treats all positions alike, applied to the slices of a volume stacked along y."""

    def __init__(self, network_2d: nn.Module) -> None:
        super().__init__()
        self.flat = network_2d

    def forward(self, volume: Tensor) -> Tensor:
        """Return `(b, c, z, y, x)` from `(b, c, z, y, x)`."""
        return self.flat(volume.flatten(2, 3)).unflatten(2, volume.shape[2:4])


def _pad(volume: Tensor, kernel: int, stride: int, dilation: int = 1, value: float = 0.0) -> Tensor:
    """Pad as TensorFlow's "same": ceil(side / stride) outputs, an odd voxel at the high end."""
    missing = [max((-(-n // stride) - 1) * stride + (kernel - 1) * dilation + 1 - n, 0) for n in volume.shape[2:]]
    return F.pad(volume, [part for m in reversed(missing) for part in (m // 2, m - m // 2)], value=value)


class Conv3dSame(nn.Conv3d):
    """Convolution with TensorFlow's "same" padding."""

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(_pad(volume, self.kernel_size[0], self.stride[0], self.dilation[0]))


class MaxPool3dSame(nn.MaxPool3d):
    """Max pooling with TensorFlow's "same" padding."""

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(_pad(volume, self.kernel_size, self.stride, self.dilation, value=float("-inf")))


class AvgPool3dSame(nn.AvgPool3d):
    """Average pooling with TensorFlow's "same" padding."""

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(_pad(volume, self.kernel_size, self.stride))


COUNTERPARTS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: nn.Conv3d,
    nn.BatchNorm2d: nn.BatchNorm3d,
    nn.MaxPool2d: nn.MaxPool3d,
    nn.AvgPool2d: nn.AvgPool3d,
    nn.AdaptiveAvgPool2d: nn.AdaptiveAvgPool3d,
    Conv2dSame: Conv3dSame,
    MaxPool2dSame: MaxPool3dSame,
    AvgPool2dSame: AvgPool3dSame,
    **dict.fromkeys((BatchNormAct2d, SEModule, EffectiveSEModule, SqueezeExcite), Unrolled),
}
