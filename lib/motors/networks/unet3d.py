"""The 3D network: an encoder, the neck, one decoder block and a head."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motors.networks.encoders.x3d import SqueezeExcitation
from motors.networks.scaling import Scaling

PRIOR = 5e-5 / 0.95  # initial probability of every cell, as in the original solution
REDUCTION = 16  # factor by which `ScSE` squeezes channels


class Unet3d(nn.Module):
    """Maps a volume to a logit for every cell of 16 x 16 x 16 voxels, or of 8 x 8 x 8.

    The encoder maps `(b, 3, z, y, x)` to one tensor for each of its `strides`, which end in 16 and 32; the neck turns
    these into the deepest and the fused level, see `Neck`; the decoder has two convolutions; for `normalisation` see
    `Scaling`. Before training every cell has about the probability `prior`, by default `PRIOR`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        neck: nn.Module,
        *,
        decoder_channels: int,
        normalisation: str,
        prior: float | None = None,
    ) -> None:
        super().__init__()
        self.scaling = Scaling(normalisation, axes=3)
        self.encoder = encoder
        self.neck = neck
        self.decoder = Decoder(encoder.channels[-1] + neck.out_channels, decoder_channels)
        self.head = nn.Conv3d(decoder_channels, 1, 3, padding=1)
        _initialise(self.decoder, self.head, prior or PRIOR)

    def forward(self, volume: Tensor) -> Tensor:
        """Return logits `(b, 1, z / stride, y / stride, x / stride)` of `(b, 1, z, y, x)` intensities 0..255.

        Raises ValueError for another shape, or sides that are not multiples of 32.
        """
        if volume.ndim != 5 or volume.shape[1] != 1 or any(side % 32 for side in volume.shape[2:]):
            wanted = "(batch, 1, z, y, x) with sides that divide by 32"
            raise ValueError(f"a 3D network takes {wanted}, not {tuple(volume.shape)}: pad the volume first")
        return self.head(self.decoder(*self.neck(self.encoder(self.scaling(volume)))))


class Decoder(nn.Module):
    """Upsamples the deepest level to the fused one's grid and convolves both, `channels` in all, twice."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.attention1 = ScSE(channels)
        self.conv1 = _convolution(channels, out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.attention2 = ScSE(out_channels)

    def forward(self, deepest: Tensor, fused: Tensor) -> Tensor:
        """Return `(b, out_channels, z, y, x)` on the grid of `fused`."""
        together = torch.cat([F.interpolate(deepest, size=fused.shape[2:], mode="nearest"), fused], dim=1)
        return self.attention2(self.conv2(self.conv1(self.attention1(together))))


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al. 2018): both weightings, added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = SqueezeExcitation(channels, channels // REDUCTION)
        self.place = nn.Sequential(nn.Conv3d(channels, 1, 1), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        """Return `(b, c, z, y, x)` from `(b, c, z, y, x)`."""
        return self.channel(features) + features * self.place(features)


def _convolution(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm3d(out_channels), nn.ReLU()
    )


def _initialise(decoder: nn.Module, head: nn.Conv3d, prior: float) -> None:
    """Initialise the weights as the original solution; the network then predicts about `prior` everywhere."""
    for module in decoder.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(head.weight)
    nn.init.constant_(head.bias, -math.log(1 / prior - 1))
