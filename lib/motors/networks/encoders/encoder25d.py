"""2.5D encoders: 2D networks on every other slice with its neighbours, pooled along z between stages."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motors.networks.encoders.encoder2d import Encoder2d

STEP = 2  # voxels along z from one triplet of slices to the next
WALKED = 2  # number of coarsest levels with an LSTM


class Encoder25d(nn.Module):
    """The original solution's 2.5D encoder: a timm network that takes triplets of slices and returns volumes.

    Every other slice becomes an image whose channels are the slice and its two neighbours. The network, as for
    `Encoder2d`, sees them as a batch; after every stage that downsamples y and x, neighbours in z are averaged two by
    two. With `lstm`, slices also get context from far above and below: on the levels of strides 16 and 32 a
    bidirectional LSTM (Graves & Schmidhuber 2005) runs along z at every position, and its output is added.

    Raises ValueError as `Encoder2d`, or if the network's stages are not each a module.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int],
        weights: dict[str, Tensor] | None = None,
        *,
        lstm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.flat = Encoder2d(name, shape, weights, **options)  # its name in saved weights
        self.channels, self.strides = self.flat.channels, self.flat.strides
        network = self.flat.network
        named = [level["module"] for level in getattr(network, "feature_info", ()) if level["reduction"] > STEP]
        stages = [network.get_submodule(module) for module in named]
        if not stages or any(isinstance(stage, nn.ModuleList) for stage in stages):
            raise ValueError(f"{name} cannot walk through volumes: its stages are no modules that could be changed")
        for stage in stages:
            stage.register_forward_hook(_halve)
        walked = zip(self.channels[-WALKED:], self.strides[-WALKED:], strict=True) if lstm else ()
        self.walks = nn.ModuleDict({str(stride): LSTMAlongZ(channels) for channels, stride in walked})

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return the features of `(b, 3, z, y, x)` intensities, one tensor for each of `strides`."""
        count, _, depth = volume.shape[:3]
        padded = F.pad(volume, (0, 0, 0, 0, 1, 1), mode="replicate")
        triplets = torch.stack([padded[:, c, c : c + depth : STEP] for c in range(3)], dim=2)
        levels = self.flat(triplets.flatten(0, 1))
        found = []
        for level, stride in zip(levels, self.strides, strict=True):
            whole = level.unflatten(0, (count, depth // stride)).movedim(2, 1)
            found.append(self.walks[str(stride)](whole) if str(stride) in self.walks else whole)
        return found


class LSTMAlongZ(nn.Module):
    """A bidirectional LSTM along z, the same at every position in y and x; its output is added to its input.

    The number of `channels`, in and out, is even: half of them come from each direction.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels // 2, batch_first=True, bidirectional=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return `(b, c, z, y, x)` from `(b, c, z, y, x)`."""
        columns = features.permute(0, 3, 4, 2, 1)  # b, y, x, z, c
        said, _ = self.lstm(columns.flatten(0, 2))
        return features + said.unflatten(0, columns.shape[:3]).permute(0, 4, 3, 1, 2)


def _halve(stage: nn.Module, inputs: Any, features: Tensor) -> Tensor:
    """Return the mean of every two consecutive slices of the batch."""
    return features.unflatten(0, (-1, 2)).mean(dim=1)
