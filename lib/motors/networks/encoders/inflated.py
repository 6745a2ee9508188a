"""2D convolutional networks made 3D, weights included: the encoders of the 3D networks."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
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

from motors.networks.encoders.planar import made, refuse_unknown_tag

STRIDES = (2, 4, 8, 16, 32)  # of the levels an encoder hands on


# Layers that work on any number of axes: these, and all that are defined in these modules.
POINTWISE = (nn.Identity, nn.Dropout, DropPath)


ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")


# Encoders whose inflation is tested. Others are tried out when they are built, on a volume turned on its side.
ENCODERS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext50_32x4d",
    "se_resnet50",
    "densenet121",
    "densenet169",
    "dpn68",
    "vgg16_bn",
    "mobilenet_v2",
    "tu-resnet18",
    "tu-resnext50_32x4d",
    "tu-seresnext50_32x4d",
    "tu-regnetx_008",
    "tu-regnety_008",
    "tu-efficientnet_b0",
    "tu-efficientnet_lite0",
    "tu-tf_efficientnet_lite0",
    "tu-tf_efficientnetv2_b0",
)


class InflatedEncoder(nn.Module):
    """A 2D network of segmentation_models_pytorch or timm that looks at volumes.

    Parameters
    ----------
    name : the name segmentation_models_pytorch knows the encoder by; "tu-<name>" is the network <name> of timm
    weights : of the whole 2D classifier, under the names of torchvision (for "tu-", of timm), which are inflated;
        None draws 3D kernels afresh
    options : passed to the constructor of a "tu-" encoder: layers, channels, ...

    Attributes
    ----------
    channels, strides : of the levels that `forward` returns, finest first

    Raises
    ------
    ValueError
        If there is no such encoder, it holds something that has no 3D counterpart, or options or weights are not its.
    """

    def __init__(self, name: str, weights: dict[str, Tensor] | None = None, **options: Any) -> None:
        super().__init__()
        flat = _flat(name, weights, options)
        try:
            self.network = inflate(flat)
        except ValueError as error:
            raise ValueError(f"encoder {name!r} cannot be made 3D: {error}") from None
        self.channels = tuple(flat.out_channels[-len(STRIDES) :])
        self.strides = STRIDES
        if name not in ENCODERS:
            _try_on_its_side(self.network, name)
        if weights is None:
            redraw(self.network, flat)

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return the features of `(b, 3, z, y, x)` grey levels, one tensor for each of `strides`."""
        return self.network(volume)[-len(STRIDES) :]


def _flat(name: str, weights: dict[str, Tensor] | None, options: dict[str, Any]) -> nn.Module:
    """The 2D encoder, all of whose weights come from `weights` if they are given."""
    of_timm = name.startswith("tu-")
    if not (timm.is_model(name[3:]) if of_timm else name in smp.encoders.encoders):
        raise ValueError(
            f"no encoder is called {name!r}: choose one of {', '.join(ENCODERS)},"
            " or another one of segmentation_models_pytorch"
        )
    if options and not of_timm:
        raise ValueError(f"encoder {name!r} takes no options, but {sorted(options)} came: use its tu- counterpart")
    refuse_unknown_tag(name.removeprefix("tu-"))
    flat = made(lambda held: _get(name, held, options), name, weights, f"the weights of the 2D network {name!r}")
    if len(flat.out_channels) != len(STRIDES) + 1 or 0 in flat.out_channels:
        raise ValueError(f"encoder {name!r} has no features at each of the strides {STRIDES}: choose another")
    return flat


def _get(name: str, weights: dict[str, Tensor] | None, options: dict[str, Any]) -> nn.Module:
    """The encoder of segmentation_models_pytorch, with these weights if they are given."""
    source = {"weights": None}
    if name.startswith("tu-") and weights is not None:
        given = {"pretrained_cfg_overlay": {"state_dict": weights}}
        timm.create_model(name[3:], pretrained=True, **given, **options)  # stricter than what follows
        source = {"weights": "given"} | given
    flat = smp.encoders.get_encoder(name, depth=len(STRIDES), **source, **options)
    if not name.startswith("tu-") and weights is not None:
        flat.load_state_dict(dict(weights))
    return flat


def inflate(flat: nn.Module) -> nn.Module:
    """Return a copy of a 2D network that works on volumes: a new axis z comes before y and x.

    A kernel is repeated along z and divided by its length (Carreira & Zisserman 2017, the I3D network), so that a
    volume constant in z has, away from its ends, the features of its slices.

    Parameters
    ----------
    flat : a network of 2D convolutions, normalisations, poolings and pointwise functions; it is left as it is

    Raises
    ------
    ValueError
        If the network holds any other kind of layer.
    """
    if type(flat) in COUNTERPARTS:
        return COUNTERPARTS[type(flat)](flat).train(flat.training)
    if not flat._modules and (isinstance(flat, POINTWISE) or type(flat).__module__ in ACTIVATIONS):
        return deepcopy(flat)
    if not flat._modules or flat._parameters or flat._buffers:
        raise ValueError(f"it holds a {type(flat).__name__}, which has no known counterpart for volumes")
    solid = _shallow_copy(flat)
    for name, child in flat._modules.items():
        solid._modules[name] = None if child is None else inflate(child)
    return solid


def redraw(network: nn.Module, flat: nn.Module) -> None:
    """Draw the kernels of an inflated `network` anew, with the spread that keeps the variance of the `flat` one's.

    Half of that variance is common to all taps along z, as all of it is after inflation: noise differs from plane to
    plane, motors hardly, and features that average along z show them sooner.
    """
    kernels = dict(flat.named_parameters())
    with torch.no_grad():
        for name, kernel in network.named_parameters():
            if kernel.ndim == 5:
                spread = float(kernels[name].std(correction=0)) / kernel.shape[2] ** 0.5
                common = torch.empty_like(kernel[:, :, :1]).normal_(std=spread)
                kernel.normal_(std=spread).add_(common).div_(2**0.5)


def _shallow_copy(module: nn.Module) -> nn.Module:
    """A module of the same class and settings whose children can be replaced without touching the original's."""
    copy = module.__class__.__new__(module.__class__)
    copy.__dict__ = module.__dict__ | {"_modules": dict(module._modules)}
    return copy


def _cube(sides: int | tuple[int, int]) -> int:
    """The side of a square, which becomes a cube."""
    sides = (sides, sides) if isinstance(sides, int) else tuple(sides)
    if sides[0] != sides[1]:
        raise ValueError(f"it holds a kernel, stride or padding of {sides}, which is not square")
    return sides[0]


def _convolution(flat: nn.Conv2d, kind: type[nn.Conv3d] = nn.Conv3d) -> nn.Conv3d:
    """The 3D convolution whose kernel is the 2D one repeated along z and divided by its length."""
    side = _cube(flat.kernel_size)
    solid = kind(
        flat.in_channels,
        flat.out_channels,
        side,
        stride=_cube(flat.stride),
        padding=flat.padding if isinstance(flat.padding, str) else _cube(flat.padding),
        dilation=_cube(flat.dilation),
        groups=flat.groups,
        bias=flat.bias is not None,
        padding_mode=flat.padding_mode,
    )
    with torch.no_grad():
        solid.weight.copy_(flat.weight[:, :, None].expand_as(solid.weight) / side)
        if flat.bias is not None:
            solid.bias.copy_(flat.bias)
    return solid


def _normalisation(flat: nn.BatchNorm2d) -> nn.BatchNorm3d:
    """The 3D batch normalisation with the same scale, shift and statistics."""
    solid = nn.BatchNorm3d(flat.num_features, flat.eps, flat.momentum, flat.affine, flat.track_running_stats)
    solid.load_state_dict(flat.state_dict())
    return solid


def _maximum(flat: nn.MaxPool2d, kind: type[nn.MaxPool3d] = nn.MaxPool3d) -> nn.MaxPool3d:
    """The 3D maximum over a cube."""
    window, stride, padding = _cube(flat.kernel_size), _cube(flat.stride), _cube(flat.padding)
    return kind(window, stride, padding, _cube(flat.dilation), ceil_mode=flat.ceil_mode)


def _mean(flat: nn.AvgPool2d, kind: type[nn.AvgPool3d] = nn.AvgPool3d) -> nn.AvgPool3d:
    """The 3D mean over a cube."""
    window, stride, padding = _cube(flat.kernel_size), _cube(flat.stride), _cube(flat.padding)
    return kind(window, stride, padding, flat.ceil_mode, flat.count_include_pad)


def _global_mean(flat: nn.AdaptiveAvgPool2d) -> nn.AdaptiveAvgPool3d:
    """The 3D mean over everything."""
    return nn.AdaptiveAvgPool3d(_cube(flat.output_size))


class Unrolled(nn.Module):
    """A 2D layer that treats all places alike, applied to a volume whose slices lie one below the other."""

    def __init__(self, flat: nn.Module) -> None:
        super().__init__()
        self.flat = flat

    def forward(self, volume: Tensor) -> Tensor:
        """Return `(b, c, z, y, x)` from `(b, c, z, y, x)`."""
        return self.flat(volume.flatten(2, 3)).unflatten(2, volume.shape[2:4])


def _pad(volume: Tensor, kernel: int, stride: int, dilation: int = 1, value: float = 0.0) -> Tensor:
    """Padding as TensorFlow's "same": as many outputs as strides fit, the odd voxel at the high end."""
    missing = [max((-(-n // stride) - 1) * stride + (kernel - 1) * dilation + 1 - n, 0) for n in volume.shape[2:]]
    return F.pad(volume, [part for m in reversed(missing) for part in (m // 2, m - m // 2)], value=value)


class Conv3dSame(nn.Conv3d):
    """Convolution with TensorFlow's "same" padding."""

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(_pad(volume, self.kernel_size[0], self.stride[0], self.dilation[0]))


class MaxPool3dSame(nn.MaxPool3d):
    """Maximum with TensorFlow's "same" padding."""

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(_pad(volume, self.kernel_size, self.stride, self.dilation, value=float("-inf")))


class AvgPool3dSame(nn.AvgPool3d):
    """Mean with TensorFlow's "same" padding."""

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(_pad(volume, self.kernel_size, self.stride))


COUNTERPARTS: dict[type[nn.Module], Callable[[nn.Module], nn.Module]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _normalisation,
    nn.MaxPool2d: _maximum,
    nn.AvgPool2d: _mean,
    nn.AdaptiveAvgPool2d: _global_mean,
    Conv2dSame: lambda flat: _convolution(flat, Conv3dSame),
    MaxPool2dSame: lambda flat: _maximum(flat, MaxPool3dSame),
    AvgPool2dSame: lambda flat: _mean(flat, AvgPool3dSame),
    BatchNormAct2d: Unrolled,
    SEModule: Unrolled,
    EffectiveSEModule: Unrolled,
    SqueezeExcite: Unrolled,
}


@torch.no_grad()
def _try_on_its_side(network: nn.Module, name: str) -> None:
    """Refuse a network whose code treats the three axes differently, whatever its layers are."""
    volume = torch.rand(1, 3, 32, 64, 96, generator=torch.Generator().manual_seed(0))
    training = network.training
    try:
        upright = network.eval()(volume)
        _turn(network)
        turned = network(volume.permute(0, 1, 3, 4, 2))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise ValueError(f"encoder {name!r} cannot be made 3D: its code is written for images ({error})") from error
    for level, other in zip(upright[-len(STRIDES) :], turned[-len(STRIDES) :], strict=True):
        level = level.permute(0, 1, 3, 4, 2)
        if level.shape != other.shape or (level - other).abs().max() > 1e-3 * level.abs().max():
            raise ValueError(f"encoder {name!r} cannot be made 3D: its code treats depth, height and width differently")
    _turn(_turn(network)).train(training)


def _turn(network: nn.Module) -> nn.Module:
    """Turn all kernels from z, y, x to y, x, z; three times does nothing."""
    for kernel in network.parameters():
        if kernel.ndim == 5:
            kernel.data = kernel.data.permute(0, 1, 3, 4, 2).contiguous()
    return network
