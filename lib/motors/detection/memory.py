"""The memory that a network needs, and tile sizes that fit into a budget."""

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
SPARE = 0.6  # usable share of a budget: convolutions need workspace, and freed tensors leave gaps
SIDE = 64  # voxels, of the tile measured; memory of 3D networks is proportional to voxels


class _Live(TorchDispatchMode):
    """Count the bytes of live tensors while a network runs, and their peak."""

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
    """Return the peak bytes of activations in a float32 forward pass, per voxel of a tile.

    A copy of the network runs on PyTorch's meta device: nothing is computed, and weights are not counted.
    """
    shape = (1, *experiment.patch) if experiment.is_2d else (1, 1, SIDE, SIDE, SIDE)
    shadow, live = copy.deepcopy(network).eval().to("meta"), _Live()
    tile = torch.empty(shape, device="meta")
    with live:
        shadow(tile)
    return (live.peak + tile.nbytes) / math.prod(shape)


def voxels_within(network: nn.Module, experiment: Experiment, budget: int) -> int:
    """Return the number of voxels of a tile whose activations fit into `budget` bytes."""
    return int(SPARE * budget / bytes_per_voxel(network, experiment))


def voxels_at_once(network: nn.Module, experiment: Experiment, memory: str | None, devices: list[str]) -> int | None:
    """Return how many voxels each process may compute at once within a budget, which CPU processes share.

    Without a budget it returns None, for the default, or, with a warning, fewer if too little memory is free. Free
    memory is first rounded down to a power of two, so that the next call most likely plans the same.
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
    """Return the bytes of a size such as "8GiB" or "500 MB"; raises ValueError if invalid or below 1 MiB."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    size = int(float(match[1]) * UNITS.get(match[2].upper(), 0)) if match else 0
    if size < 2**20:
        raise ValueError(f"the memory is {text!r}: write a number and a unit, such as 8GiB")
    return size
