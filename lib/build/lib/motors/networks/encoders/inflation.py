"""Inflation: a 2D network made 3D, its weights included, so that a volume constant along z gets the 2D answer."""

from __future__ import annotations

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
