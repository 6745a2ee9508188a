"""How much memory a network takes, and how large its tiles may be for it."""

import copy
import math
import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from motors.detection.tiling import MANY
from motors.experiments.config import Experiment
from motors.workspace.files import memory_left

UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}
SPARE = 0.6  # of a budget is planned with: convolutions need room to work in, and freed tensors leave gaps
SIDE = 64  # voxels of the tile that is counted; 3D networks take memory in proportion to voxels


class _Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive while a network runs, and their peak; no numbers are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
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


def voxels_at_once(network: nn.Module, experiment: Experiment, memory: str | None, devices: list[str]) -> int | None:
    """Return how many voxels each process may compute at once for a budget; those on the CPU share it.

    Without a budget None, as many as usual; fewer where too little memory is left for them, and a warning says so. That
    is rounded down to a power of two: most likely the next call plans the same.
    """
    if memory:
        return voxels_within(network, experiment, parse(memory) // max(1, devices.count("cpu")))
    share = memory_left() / devices.count("cpu") if "cpu" in devices else math.inf
    few = voxels_within(network, experiment, 2 ** int(math.log2(min(share, 2**50))))
    if few >= max(MANY, math.prod(experiment.patch)):
        return None
    sentence = f"{share / 2**30:.1f} GiB of memory are left for {experiment.name}: fewer voxels at once than usual"
    warnings.warn(sentence, stacklevel=2)
    return few


def parse(text: str) -> int:
    """Return the bytes of a size such as "8GiB" or "500 MB"; raises ValueError if it is none, or less than a MiB."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    size = int(float(match[1]) * UNITS.get(match[2].upper(), 0)) if match else 0
    if size < 2**20:
        raise ValueError(f"a memory of {text!r} came: write a number and a unit, such as 8GiB")
    return size
