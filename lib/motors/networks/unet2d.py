"""The 2D networks: three slices in, a grid of logits for the middle one out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from . import published
from .neck import ChannelNorm
from .scaling import Scaling

PRIOR = 5e-5  # the probability an untrained network gives every cell, of the original solution


class PlanarEncoder(nn.Module):
    """A network of timm that looks at three slices: MaxViT, CoaT or another one that hands on its intermediate levels.

    Parameters
    ----------
    name : timm's name of the network and its weights
    shape : `(y, x)` of the slices, in voxels; transformers are made for one size
    weights : timm's weights of the whole classifier; tables of relative positions are resized to `shape`
    options : passed to the network's constructor

    Attributes
    ----------
    channels, strides : of the levels that `forward` returns, finest first

    Raises
    ------
    ValueError
        If timm has no such network, it has no levels of strides 16 and 32, or the options or the weights are not its.
    """

    def __init__(
        self, name: str, shape: tuple[int, int], weights: dict[str, Tensor] | None = None, **options: Any
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ValueError(f"timm has no network called {name!r}: timm.list_models() names those it has")
        refuse_unknown_tag(name)
        if timm.get_pretrained_cfg(name).fixed_input_size:
            options = {"img_size": tuple(shape)} | options
        if name.startswith("coat_"):  # hands on its levels only when built to do so
            options |= {"return_interm_layers": True, "out_features": [f"x{i}_nocls" for i in (1, 2, 3, 4)]}
        self.network = made(lambda held: _create(name, held, options), name, weights, f"timm's weights of {name}")
        if name.startswith("coat_"):
            self.channels, self.strides = tuple(self.network.embed_dims), (4, 8, 16, 32)
        else:
            self.channels = tuple(level["num_chs"] for level in self.network.feature_info)
            self.strides = tuple(level["reduction"] for level in self.network.feature_info)
            self.network.prune_intermediate_layers(len(self.channels), prune_norm=True, prune_head=True)
        if self.strides[-2:] != (16, 32):
            raise ValueError(f"{name} hands on levels of strides {self.strides}, but they must end in 16 and 32")

    def forward(self, slices: Tensor) -> list[Tensor]:
        """Return the features of `(b, 3, y, x)` grey levels, one tensor for each of `strides`."""
        if hasattr(self.network, "return_interm_layers"):
            return list(self.network(slices).values())
        return self.network.forward_intermediates(slices, intermediates_only=True)


def refuse_unknown_tag(name: str) -> None:
    """Refuse a network of timm whose weights, behind the dot of its name, are none that timm knows.

    Raises
    ------
    ValueError
        If they are not; the message lists those there are.
    """
    kind, _, tag = name.partition(".")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        known = [kind, *timm.list_models(f"{kind}.*", pretrained=True)]
        raise ValueError(f"timm has no weights {tag!r} of {kind}: choose one of {', '.join(known)}") from None


def made(
    make: Callable[[dict[str, Tensor] | None], nn.Module], name: str, weights: dict[str, Tensor] | None, whose: str
) -> nn.Module:
    """Return the 2D network that `make(weights)` makes.

    Parameters
    ----------
    make : of timm or segmentation_models_pytorch
    name : of the network
    weights : by name, or None to draw them
    whose : what they should be, in words

    Raises
    ------
    ValueError
        If it makes none; the message names the network, and says whether the weights or the rest is at fault.
    """
    if weights is not None and not weights:  # timm would fetch others
        raise ValueError(f"{whose} are wanted, but nothing came: give them, or None to draw some")
    try:
        return make(weights)
    except published.UNFIT as error:
        said = published.complaint(error)
        if weights is None:
            raise ValueError(
                f"{name!r} cannot be built ({said}): choose another, or correct encoder_options"
            ) from error
        made(make, name, None, whose)  # what is wrong without the weights is no fault of theirs
        raise ValueError(f"these are not {whose}: {said}") from None


def _create(name: str, weights: dict[str, Tensor] | None, options: dict[str, Any]) -> nn.Module:
    """The network of timm, all of whose weights come from `weights` if they are given."""
    given = {} if weights is None else {"pretrained_cfg_overlay": {"state_dict": weights}}
    return timm.create_model(name, pretrained=weights is not None, **given, **options)


class Unet2d(nn.Module):
    """From three slices to a logit for every cell of 16 x 16 voxels of the middle one, or of 8 x 8.

    With MaxViT-tiny it has 34.7 million parameters, with CoaT-lite-medium 48.2. The 86.1 and 99.6 million of the
    original solution count a second head that was never trained.

    Parameters
    ----------
    encoder : maps `(b, 3, y, x)` to one tensor for each of its `strides`, which end in 16 and 32
    neck : makes of those the deepest and the fused one, see `Neck`
    shape : `(y, x)` of the slices, in voxels
    decoder_channels : of the decoder's and the head's convolutions
    normalisation : name of a `Scaling`
    """

    def __init__(
        self,
        encoder: nn.Module,
        neck: nn.Module,
        shape: tuple[int, int],
        *,
        decoder_channels: int,
        normalisation: str,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.scaling = Scaling(normalisation, axes=2)
        self.encoder = encoder
        self.neck = neck
        finer = encoder.strides[-1] // neck.stride
        self.decoder = Decoder(encoder.channels[-1], neck.out_channels, decoder_channels, finer=finer)
        self.head = nn.Sequential(
            nn.Conv2d(decoder_channels, decoder_channels, 3, padding=1),
            ChannelNorm(decoder_channels, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(decoder_channels, 1, 1),
        )
        nn.init.constant_(self.head[-1].bias, -math.log(1 / PRIOR - 1))

    def forward(self, slices: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        slices : `(b, 3, y, x)` grey levels 0..255 of three slices in ascending z, of the shape the network is made for

        Returns
        -------
        `(b, 1, y / stride, x / stride)`, for the middle slice

        Raises
        ------
        ValueError
            If the shape is another.
        """
        if slices.ndim != 4 or slices.shape[1:] != (3, *self.shape):
            raise ValueError(
                f"this 2D network takes (batch, 3, {self.shape[0]}, {self.shape[1]}), but {tuple(slices.shape)} came:"
                " cut or pad the slices to its patch"
            )
        return self.head(self.decoder(*self.neck(self.encoder(self.scaling(slices)))))


class Decoder(nn.Module):
    """The deepest level brought to the grid of the fused one and read together with it: two convolutions.

    Parameters
    ----------
    deepest, fused : channels of the two levels
    out_channels : of what comes out
    finer : how many cells of the fused level a side of a deepest one has
    """

    def __init__(self, deepest: int, fused: int, out_channels: int, *, finer: int = 2) -> None:
        super().__init__()
        many = deepest // 2 * finer**2
        self.grow = nn.Sequential(
            nn.Conv2d(deepest, many, 1), ChannelNorm(many, eps=1e-6), nn.GELU(), nn.PixelShuffle(finer)
        )
        self.norm = ChannelNorm(fused, eps=1e-6)
        self.convolutions = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(deepest // 2 + fused, out_channels, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.GELU(),
        )
        _equal_neighbours(self.grow[0], finer**2)

    def forward(self, deepest: Tensor, fused: Tensor) -> Tensor:
        """Return `(b, out_channels, y, x)` on the grid of `fused`."""
        return self.convolutions(torch.cat([self.grow(deepest), self.norm(fused)], dim=1))


def _equal_neighbours(convolution: nn.Conv2d, count: int) -> None:
    """Let the `count` outputs that are shuffled side by side begin equal: no chequerboard (Aitken et al. 2017)."""
    nn.init.kaiming_normal_(convolution.weight)
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight[::count].repeat_interleave(count, dim=0))
