"""Inflation: a 2D network made 3D, its weights included, so that a volume constant along z gives the 2D output."""

from collections.abc import Callable
from copy import deepcopy

import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, Conv2dSame, DropPath
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.layers.squeeze_excite import EffectiveSEModule, SEModule
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

# Layers that work on any number of axes: these, and all that are defined in these modules.
POINTWISE = (nn.Identity, nn.Dropout, DropPath)
ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")


def inflate(network_2d: nn.Module) -> nn.Module:
    """Return a copy of a 2D network that works on volumes: a new axis z comes before y and x.

    A kernel is repeated along z and divided by its length (Carreira & Zisserman 2017, the I3D network), so that a
    volume constant in z has, away from its ends, the features of its slices.

    Parameters
    ----------
    network_2d : a network of 2D convolutions, normalisations, poolings and pointwise functions; it is left as it is

    Raises ValueError if the network holds any other kind of layer.
    """
    if type(network_2d) in COUNTERPARTS:
        return COUNTERPARTS[type(network_2d)](network_2d).train(network_2d.training)
    if not network_2d._modules and (isinstance(network_2d, POINTWISE) or type(network_2d).__module__ in ACTIVATIONS):
        return deepcopy(network_2d)
    if not network_2d._modules or network_2d._parameters or network_2d._buffers:
        raise ValueError(f"it holds a {type(network_2d).__name__}, which has no known counterpart for volumes")
    network_3d = _shallow_copy(network_2d)
    for name, child in network_2d._modules.items():
        network_3d._modules[name] = None if child is None else inflate(child)
    return network_3d


def redraw(network: nn.Module, network_2d: nn.Module) -> None:
    """Draw the kernels of an inflated `network` anew, with the spread that keeps the variance of `network_2d`.

    Half of that variance is common to all taps along z, as all of it is after inflation: noise differs from plane to
    plane, motors hardly, and features that average along z show them sooner.
    """
    kernels = dict(network_2d.named_parameters())
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


def _convolution(network_2d: nn.Conv2d, kind: type[nn.Conv3d] = nn.Conv3d) -> nn.Conv3d:
    """The 3D convolution whose kernel is the 2D one repeated along z and divided by its length."""
    side = _cube(network_2d.kernel_size)
    network_3d = kind(
        network_2d.in_channels,
        network_2d.out_channels,
        side,
        stride=_cube(network_2d.stride),
        padding=network_2d.padding if isinstance(network_2d.padding, str) else _cube(network_2d.padding),
        dilation=_cube(network_2d.dilation),
        groups=network_2d.groups,
        bias=network_2d.bias is not None,
        padding_mode=network_2d.padding_mode,
    )
    with torch.no_grad():
        network_3d.weight.copy_(network_2d.weight[:, :, None].expand_as(network_3d.weight) / side)
        if network_2d.bias is not None:
            network_3d.bias.copy_(network_2d.bias)
    return network_3d


def _normalisation(network_2d: nn.BatchNorm2d) -> nn.BatchNorm3d:
    network_3d = nn.BatchNorm3d(
        network_2d.num_features, network_2d.eps, network_2d.momentum, network_2d.affine, network_2d.track_running_stats
    )
    network_3d.load_state_dict(network_2d.state_dict())
    return network_3d


def _maximum(network_2d: nn.MaxPool2d, kind: type[nn.MaxPool3d] = nn.MaxPool3d) -> nn.MaxPool3d:
    window, stride, padding = _cube(network_2d.kernel_size), _cube(network_2d.stride), _cube(network_2d.padding)
    return kind(window, stride, padding, _cube(network_2d.dilation), ceil_mode=network_2d.ceil_mode)


def _mean(network_2d: nn.AvgPool2d, kind: type[nn.AvgPool3d] = nn.AvgPool3d) -> nn.AvgPool3d:
    window, stride, padding = _cube(network_2d.kernel_size), _cube(network_2d.stride), _cube(network_2d.padding)
    return kind(window, stride, padding, network_2d.ceil_mode, network_2d.count_include_pad)


class Unrolled(nn.Module):
    """A 2D layer that treats all places alike, applied to a volume whose slices lie one below the other."""

    def __init__(self, network_2d: nn.Module) -> None:
        super().__init__()
        self.flat = network_2d

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
    nn.AdaptiveAvgPool2d: lambda network_2d: nn.AdaptiveAvgPool3d(_cube(network_2d.output_size)),
    Conv2dSame: lambda network_2d: _convolution(network_2d, Conv3dSame),
    MaxPool2dSame: lambda network_2d: _maximum(network_2d, MaxPool3dSame),
    AvgPool2dSame: lambda network_2d: _mean(network_2d, AvgPool3dSame),
    **dict.fromkeys((BatchNormAct2d, SEModule, EffectiveSEModule, SqueezeExcite), Unrolled),
}
