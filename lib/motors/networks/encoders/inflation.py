"""Inflation: a 2D network made 3D, its weights included, so that a volume constant along z gives the 2D output."""

from copy import copy, deepcopy
from inspect import signature

import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, Conv2dSame, DropPath
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.layers.squeeze_excite import EffectiveSEModule, SEModule
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

# Layers that work with any number of axes: these, and all defined in these modules.
POINTWISE = (nn.Identity, nn.Dropout, DropPath)
ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")
SIDES = ("kernel_size", "stride", "padding", "dilation", "output_size")  # equal on all axes, or a padding mode


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
