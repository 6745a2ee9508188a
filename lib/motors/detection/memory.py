"""How much memory a network takes, and how large its tiles may be for it."""

import copy
import math
import re
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from motors.experiments.config import Experiment

UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}
SPARE = 0.6  # of a budget is planned with: convolutions need room to work in, and freed tensors leave gaps
SIDE = 64  # voxels of the tile that is counted; 3D networks take memory in proportion to voxels


class _Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive while a network runs, and their peak; no numbers are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in self.held:
                    self.held[id(storage)] = storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._freed, id(storage))
        self.peak = max(self.peak, self.now)
        return result

    def _freed(self, key: int) -> None:
        self.now -= self.held.pop(key, 0)


@torch.no_grad()
def bytes_per_voxel(network: nn.Module, experiment: Experiment) -> float:
    """Return the bytes of activations at the peak of a forward pass in float32, for each voxel of a tile.

    Shapes pass through a copy of the network on PyTorch's meta device: nothing is computed, weights are not counted.
    """
    shape = (1, *experiment.patch) if experiment.is_2d else (1, 1, SIDE, SIDE, SIDE)
    shadow, live = copy.deepcopy(network).eval().to("meta"), _Live()
    tile = torch.empty(shape, device="meta")
    with live:
        shadow(tile)
    return (live.peak + tile.nbytes) / math.prod(shape)


def voxels_within(network: nn.Module, experiment: Experiment, budget: int) -> int:
    """Return how many voxels a tile of a network may have for its activations to stay within `budget` bytes."""
    return int(SPARE * budget / bytes_per_voxel(network, experiment))


def parse(text: str) -> int:
    """Return the bytes of a size such as "8GiB", "500 MB" or "1073741824".

    Raises ValueError if it is no size, or less than a MiB: the unit is missing.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    size = int(float(match[1]) * UNITS.get(match[2].upper(), 0)) if match else 0
    if size < 2**20:
        raise ValueError(f"a memory of {text!r} came: write a number and a unit, such as 8GiB")
    return size
