"""The 2D and the 3D network: intensities scaled for an encoder, the neck that fuses its levels, a decoder, a head."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motors.experiments.config import Experiment
from motors.networks.encoders.x3d import SqueezeExcitation
from motors.networks.neck import ChannelNorm

SCALES = {  # mean and standard deviation of the three channels that weights were trained with, for intensities 0..1
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision's
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # TensorFlow's, of MaxViT
    "kinetics": ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),  # SlowFast's, of X3D
}
PRIOR_2D = 5e-5  # initial probability of every cell, as in the original solution
PRIOR_3D = 5e-5 / 0.95
REDUCTION = 16  # factor by which `ScSE` squeezes channels


class Scaling(nn.Module):
    """Scales intensities 0..255, of one channel or three, to the three channels an encoder expects.

    `axes` are 2 for images, 3 for volumes. Raises KeyError if `name` is not in `SCALES`.
    """

    def __init__(self, name: str, axes: int) -> None:
        super().__init__()
        for key, values in zip(("mean", "std"), SCALES[name], strict=True):
            self.register_buffer(key, torch.tensor(values).view(1, 3, *[1] * axes) * 255, persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        """Return `(b, 3, ...)` floats from `(b, 1, ...)` or `(b, 3, ...)` intensities."""
        return (grey - self.mean) / self.std


class Unet3d(nn.Module):
    """Maps a volume to a logit for every cell of 16 x 16 x 16 voxels, or of 8 x 8 x 8.

    The encoder maps `(b, 3, z, y, x)` to one tensor for each of its `strides`, which end in 16 and 32; the neck turns
    these into the deepest and the fused level, see `Neck`; the decoder has two convolutions. Before training every cell
    has about the probability `experiment.prior`, by default `PRIOR_3D`.
    """

    def __init__(self, encoder: nn.Module, neck: nn.Module, experiment: Experiment) -> None:
        super().__init__()
        self.scaling = Scaling(experiment.normalisation, axes=3)
        self.encoder = encoder
        self.neck = neck
        self.decoder = Decoder3d(encoder.channels[-1] + neck.out_channels, experiment.decoder_channels)
        self.head = nn.Conv3d(experiment.decoder_channels, 1, 3, padding=1)
        for module in self.decoder.modules():  # as the original solution
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.constant_(self.head.bias, -math.log(1 / (experiment.prior or PRIOR_3D) - 1))

    def forward(self, volume: Tensor) -> Tensor:
        """Return logits `(b, 1, z / stride, y / stride, x / stride)` of `(b, 1, z, y, x)` intensities 0..255.

        Raises ValueError for another shape, or sides that are not multiples of 32.
        """
        if volume.ndim != 5 or volume.shape[1] != 1 or any(side % 32 for side in volume.shape[2:]):
            wanted = "(batch, 1, z, y, x) with sides that divide by 32"
            raise ValueError(f"a 3D network takes {wanted}, not {tuple(volume.shape)}: pad the volume first")
        return self.head(self.decoder(*self.neck(self.encoder(self.scaling(volume)))))


class Decoder3d(nn.Module):
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


class Unet2d(nn.Module):
    """Maps three slices to a logit for every cell of 16 x 16 voxels of the middle one, or of 8 x 8.

    With MaxViT-tiny it has 34.7 million parameters, with CoaT-lite-medium 48.2. The 86.1 and 99.6 million of the
    original solution include a second head that was never trained. Parameters are as for `Unet3d`, with `PRIOR_2D`;
    `shape` is `(y, x)` of the slices, in voxels.
    """

    def __init__(self, encoder: nn.Module, neck: nn.Module, experiment: Experiment) -> None:
        super().__init__()
        channels, self.shape = experiment.decoder_channels, tuple(experiment.patch[1:])
        self.scaling = Scaling(experiment.normalisation, axes=2)
        self.encoder = encoder
        self.neck = neck
        finer = encoder.strides[-1] // experiment.stride
        self.decoder = Decoder2d(encoder.channels[-1], neck.out_channels, channels, finer)
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            ChannelNorm(channels, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(channels, 1, 1),
        )
        nn.init.constant_(self.head[-1].bias, -math.log(1 / (experiment.prior or PRIOR_2D) - 1))

    def forward(self, slices: Tensor) -> Tensor:
        """Return logits `(b, 1, y / stride, x / stride)` for the middle one of three slices.

        `slices` are `(b, 3, y, x)` intensities 0..255 in ascending z; raises ValueError if y, x are not its `shape`.
        """
        if slices.ndim != 4 or slices.shape[1:] != (3, *self.shape):
            wanted = f"(batch, 3, {self.shape[0]}, {self.shape[1]}), not {tuple(slices.shape)}"
            raise ValueError(f"this 2D network takes {wanted}: cut or pad the slices to its patch")
        return self.head(self.decoder(*self.neck(self.encoder(self.scaling(slices)))))


class Decoder2d(nn.Module):
    """Upsamples the deepest level to the grid of the fused one, concatenates them and applies two convolutions.

    The two levels have `deepest` and `fused` channels; the upsampling factor is `finer`.
    """

    def __init__(self, deepest: int, fused: int, out_channels: int, finer: int) -> None:
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
