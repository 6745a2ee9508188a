"""Rewrites a network for faster inference: the same output up to rounding."""

from copy import deepcopy
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from motors.networks.unet import Scaling

SIDE = 32  # voxels per side of the example that layers are traced with


@torch.inference_mode(False)  # whose tensors have no `_version`, which `_followers` needs
@torch.no_grad()
def rewritten(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode that computes the same with less work.

    Batch norms after a convolution are folded into it. Average poolings after a pointwise convolution are moved before
    it: an eighth of its work. The first convolution of a 3D network, whose input is three scaled copies of one grey
    channel, becomes one of that channel: a third of its work. The network, made by `factory.build`, is not changed.
    """
    copy = deepcopy(network).eval()
    example = torch.zeros(1, 3, *copy.shape) if hasattr(copy, "shape") else torch.zeros(1, 1, SIDE, SIDE, SIDE)
    for first, second in _followers(copy, example.to(next(copy.parameters()).device)):
        if isinstance(second, nn.AvgPool3d) and (first.kernel_size, second.padding) == ((1, 1, 1), 0):
            between = nn.Identity()
            for old, new in ((first, between), (second, first), (between, second)):
                _put(copy, old, new)
        if isinstance(second, _BatchNorm):
            rest = nn.Sequential(second.drop, second.act) if hasattr(second, "act") else nn.Identity()
            _put(copy, first, fuse_conv_bn_eval(first, second))
            _put(copy, second, rest)
    for first, second in _followers(copy, example.to(next(copy.parameters()).device)):
        if first is copy.scaling and type(second) is nn.Conv3d and second.in_channels == 3:
            _put(copy, second, GreyStem(second, copy.scaling))
            copy.scaling = nn.Identity()
    return copy


def _put(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    name = next(name for name, module in network.named_modules() if module is old)
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, new)


def _followers(network: nn.Module, example: Tensor) -> list[tuple[nn.Module, nn.Module]]:
    """Return pairs of a convolution, or the scaling, and the layer that takes its output unmodified."""
    made: dict[int, tuple[nn.Module, Tensor, int]] = {}  # kept alive, so that no id is reused
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def look(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        before = made.get(id(given[0]))
        if before is not None and given[0]._version == before[2]:  # not modified in place
            pairs.append((before[0], module))
        if not isinstance(module, _BatchNorm | nn.AvgPool3d):
            made[id(output)] = (module, output, output._version)

    kinds = _ConvNd | _BatchNorm | nn.AvgPool3d
    watched = [each for each in network.modules() if isinstance(each, kinds)] + [network.scaling]
    hooks = [module.register_forward_hook(look) for module in watched]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    takers = [before for before, _ in pairs]
    return [pair for pair in pairs if takers.count(pair[0]) == 1]


class GreyStem(nn.Module):
    """Scaling and a convolution of three equal channels as one convolution of intensities 0..255.

    If the channels are scaled differently, no intensity corresponds to the zero padding of the scaled volume: near the
    border, where kernels overlap it, a correction is added.
    """

    def __init__(self, convolution: nn.Conv3d, scaling: Scaling) -> None:
        super().__init__()
        mean, std = scaling.mean[0], scaling.std[0]  # (3, 1, 1, 1)
        self.grey = float(mean.mean())
        sizes = (convolution.kernel_size, convolution.stride, convolution.padding)
        self.convolution = nn.Conv3d(1, convolution.out_channels, *sizes).to(convolution.weight.device)
        self.convolution.weight.copy_((convolution.weight / std).sum(1, keepdim=True))
        kernel = ((self.grey - mean) / std * convolution.weight).sum(1, keepdim=True)  # response to all `grey`
        inside = kernel.sum(dim=(1, 2, 3, 4))
        self.convolution.bias.copy_(inside if convolution.bias is None else inside + convolution.bias)
        kernels, strides, padding = sizes
        self.low = [ceil(pad / step) for pad, step in zip(padding, strides, strict=True)]
        reach = [(SIDE - 1) // step * step + size - pad - SIDE for size, step, pad in zip(*sizes, strict=True)]
        self.high = [max(0, ceil(over / step)) for over, step in zip(reach, strides, strict=True)]
        ones = kernel.new_ones(1, 1, SIDE, SIDE, SIDE)
        rim = nn.functional.conv3d(ones, kernel, stride=strides, padding=padding) - inside.view(1, -1, 1, 1, 1)
        self.register_buffer("rim", rim if rim.abs().max() > 1e-6 else None)

    def forward(self, grey: Tensor) -> Tensor:
        """Return `(b, c, z, y, x)` features of `(b, 1, z, y, x)` intensities, whose sides divide by 32."""
        features = self.convolution(grey - self.grey)
        if self.rim is None:
            return features
        everywhere = [slice(0, size) for size in features.shape[2:]]
        for axis, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            end = features.shape[2 + axis] - high
            for part in (slice(0, low), slice(end, end + high)):
                where = [*everywhere[:axis], part, *everywhere[axis + 1 :]]
                features[(..., *where)] += self._rim(features.shape[2:], where)
            everywhere[axis] = slice(low, end)  # corners only once
        return features

    def _rim(self, shape: torch.Size, where: list[slice]) -> Tensor:
        """Return the part `where` of the correction for features of this `shape`, from the small one stored."""
        rim = self.rim
        for axis, (size, part) in enumerate(zip(shape, where, strict=True), start=2):
            low, high, small = self.low[axis - 2], self.high[axis - 2], self.rim.shape[axis]
            index = torch.arange(size, device=rim.device)[part]
            index = torch.where(index >= size - high, index - size + small, index.clamp(max=low))
            rim = rim.index_select(axis, index)
        return rim
