"""2D encoders from timm, and 2.5D ones: 2D encoders on every other slice with its neighbours, pooled along z."""

from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motors.networks.weights import UNFIT, complaint

STEP = 2  # voxels along z from one triplet of slices to the next
WALKED = 2  # number of coarsest levels with an LSTM


class Encoder2d(nn.Module):
    """A timm network that takes three slices: MaxViT, CoaT or any other that returns its intermediate levels.

    `name` is timm's, of network and weights; `shape` is `(y, x)` of the slices in voxels, as transformers are made for
    one size; `weights` are timm's, of the whole classifier (relative position tables are resized to `shape`); `options`
    go to the network's constructor.

    Raises ValueError if timm has no such network with levels of strides 16 and 32, or options or weights do not fit it.
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
        if name.startswith("coat_"):  # returns its levels only when built to do so
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
        """Return the features of `(b, 3, y, x)` intensities, one tensor for each of `strides`."""
        if hasattr(self.network, "return_interm_layers"):
            return list(self.network(slices).values())
        return self.network.forward_intermediates(slices, intermediates_only=True)


def refuse_unknown_tag(name: str) -> None:
    """Raise ValueError, listing the known names, if timm has no weights with the tag after the dot of a name."""
    kind, _, tag = name.partition(".")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        known = [kind, *timm.list_models(f"{kind}.*", pretrained=True)]
        raise ValueError(f"timm has no weights {tag!r} of {kind}: choose one of {', '.join(known)}") from None


def made(
    make: Callable[[dict[str, Tensor] | None], nn.Module], name: str, weights: dict[str, Tensor] | None, whose: str
) -> nn.Module:
    """Return the 2D network built by `make(weights)`, of timm or segmentation_models_pytorch; None: random weights.

    Raises ValueError if that fails; the message says whether the weights, which should be `whose`, or the settings of
    the network called `name` are at fault.
    """
    if weights is not None and not weights:  # timm would download others
        raise ValueError(f"{whose} are wanted, but none are given: give them, or None for random ones")
    try:
        return make(weights)
    except UNFIT as error:
        said = complaint(error)
        if weights is None:
            advice = "choose another, or correct encoder_options"
            raise ValueError(f"{name!r} cannot be built ({said}): {advice}") from error
        made(make, name, None, whose)  # raises if the weights are not at fault
        raise ValueError(f"these are not {whose}: {said}") from None


def _create(name: str, weights: dict[str, Tensor] | None, options: dict[str, Any]) -> nn.Module:
    """Return the timm network, with all of its weights from `weights` if given."""
    given = {} if weights is None else {"pretrained_cfg_overlay": {"state_dict": weights}}
    return timm.create_model(name, pretrained=weights is not None, **given, **options)


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
