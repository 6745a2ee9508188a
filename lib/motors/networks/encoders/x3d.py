"""X3D, a small video network (Feichtenhofer 2020), with depth in place of time, downsampled like height and width."""

from collections.abc import Sequence

from timm.layers import make_divisible
from torch import Tensor, nn

DEPTHS = {"m": (3, 5, 11, 7), "l": (5, 10, 25, 15)}  # blocks of the four stages
CHANNELS = (24, 48, 96, 192)  # of the four stages; the stem has those of the first
WIDENING = 2.25  # channels inside a block, as a multiple of its outputs
SQUEEZE = 16  # squeeze factor of those, rounded to a multiple of 8, at least 0.9 times it


class X3D(nn.Module):
    """The encoder X3D-M or X3D-L.

    The original has no stride in time; here the stem and the first block of every stage halve depth, as they halve
    height and width. This changes the shape of no weight: those trained on Kinetics fit. By default `depths` and
    `channels` of the four stages are the published ones of its size, "m" or "l"; raises ValueError for another size.
    """

    def __init__(self, size: str, *, depths: Sequence[int] | None = None, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        if size not in DEPTHS:
            raise ValueError(f"no X3D is called {size!r}: choose one of {', '.join(DEPTHS)}")
        first = channels[0]
        self.channels = (first, *channels)
        self.strides = (2, 4, 8, 16, 32)
        self.stem = nn.Sequential(
            nn.Conv3d(3, first, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False),
            nn.Conv3d(first, first, (5, 1, 1), stride=(2, 1, 1), padding=(2, 0, 0), groups=first, bias=False),
            nn.BatchNorm3d(first),
            nn.ReLU(),
        )
        sizes = zip(depths or DEPTHS[size], self.channels, channels, strict=False)
        self.stages = nn.ModuleList(_stage(depth, before, after) for depth, before, after in sizes)
        _initialise(self)

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return the features of `(b, 3, z, y, x)` intensities, one tensor for each of `strides`."""
        levels = [self.stem(volume)]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        return levels


def _stage(depth: int, channels: int, out_channels: int) -> nn.Sequential:
    """Return blocks of which the first halves the grid; every other one has squeeze-and-excitation."""
    first = Block(channels, out_channels, stride=2, squeeze=True)
    return nn.Sequential(first, *(Block(out_channels, out_channels, squeeze=i % 2 == 0) for i in range(1, depth)))


class Block(nn.Module):
    """A residual block: expansion, depthwise convolution, projection."""

    def __init__(self, channels: int, out_channels: int, *, stride: int = 1, squeeze: bool) -> None:
        super().__init__()
        inner = int(WIDENING * out_channels)
        self.shortcut = nn.Identity()
        if stride > 1 or channels != out_channels:
            self.shortcut = nn.Sequential(_pointwise(channels, out_channels, stride), nn.BatchNorm3d(out_channels))
        self.widen = nn.Sequential(_pointwise(channels, inner), nn.BatchNorm3d(inner), nn.ReLU())
        self.filter = nn.Sequential(
            nn.Conv3d(inner, inner, 3, stride=stride, padding=1, groups=inner, bias=False), nn.BatchNorm3d(inner)
        )
        self.squeeze = SqueezeExcitation(inner, make_divisible(inner / SQUEEZE)) if squeeze else nn.Identity()
        self.narrow = nn.Sequential(nn.SiLU(), _pointwise(inner, out_channels), nn.BatchNorm3d(out_channels))
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Return `(b, out_channels, z / stride, y / stride, x / stride)`."""
        filtered = self.squeeze(self.filter(self.widen(features)))
        return self.activation(self.shortcut(features) + self.narrow(filtered))


class SqueezeExcitation(nn.Sequential):
    """Weights every channel by the means over the whole volume, through `squeezed` channels."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv3d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return `(b, c, z, y, x)` from `(b, c, z, y, x)`."""
        return features * super().forward(features)


def _pointwise(channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels, out_channels, 1, stride=stride, bias=False)


def _initialise(network: nn.Module) -> None:
    """Initialise the weights as the original: at first every block is its shortcut."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, Block):
            nn.init.zeros_(module.narrow[-1].weight)
