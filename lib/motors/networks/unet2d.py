"""The 2D networks: three slices in, a grid of logits for the middle one out."""

import math

import torch
from torch import Tensor, nn

from motors.networks.neck import ChannelNorm
from motors.networks.scaling import Scaling

PRIOR = 5e-5  # initial probability of every cell, as in the original solution


class Unet2d(nn.Module):
    """Maps three slices to a logit for every cell of 16 x 16 voxels of the middle one, or of 8 x 8.

    With MaxViT-tiny it has 34.7 million parameters, with CoaT-lite-medium 48.2. The 86.1 and 99.6 million of the
    original solution include a second head that was never trained. Parameters are as for `Unet3d`; `shape` is `(y, x)`
    of the slices, in voxels; the head has `decoder_channels`, too.
    """

    def __init__(
        self,
        encoder: nn.Module,
        neck: nn.Module,
        shape: tuple[int, int],
        *,
        decoder_channels: int,
        normalisation: str,
        prior: float | None = None,
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
        nn.init.constant_(self.head[-1].bias, -math.log(1 / (prior or PRIOR) - 1))

    def forward(self, slices: Tensor) -> Tensor:
        """Return logits `(b, 1, y / stride, x / stride)` for the middle one of three slices.

        `slices` are `(b, 3, y, x)` intensities 0..255 in ascending z; raises ValueError if y, x are not its `shape`.
        """
        if slices.ndim != 4 or slices.shape[1:] != (3, *self.shape):
            wanted = f"(batch, 3, {self.shape[0]}, {self.shape[1]}), not {tuple(slices.shape)}"
            raise ValueError(f"this 2D network takes {wanted}: cut or pad the slices to its patch")
        return self.head(self.decoder(*self.neck(self.encoder(self.scaling(slices)))))


class Decoder(nn.Module):
    """Upsamples the deepest level to the grid of the fused one, concatenates them and applies two convolutions.

    The two levels have `deepest` and `fused` channels; the upsampling factor is `finer`.
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
        nn.init.kaiming_normal_(self.grow[0].weight)
        with torch.no_grad():  # equal within a shuffled block: no chequerboard (Aitken et al. 2017)
            self.grow[0].weight.copy_(self.grow[0].weight[:: finer**2].repeat_interleave(finer**2, dim=0))

    def forward(self, deepest: Tensor, fused: Tensor) -> Tensor:
        """Return `(b, out_channels, y, x)` on the grid of `fused`."""
        return self.convolutions(torch.cat([self.grow(deepest), self.norm(fused)], dim=1))
