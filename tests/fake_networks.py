"""Networks that have learnt nothing and say what a test wants, and the tomograms that they look at."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, avg_pool3d

from motors.experiments.original import MAXVIT_TINY, RESNEXT50

SOLID = replace(RESNEXT50, name="solid", patch=(32, 64, 96))
PLANAR = replace(MAXVIT_TINY, name="planar", patch=(3, 64, 96))


def brightness(tiles: torch.Tensor) -> torch.Tensor:
    """A 3D network that says how bright each cell is, wherever it lies and however it is turned."""
    return (avg_pool3d(tiles, 16) - 128) / 16


def planar_brightness(tiles: torch.Tensor) -> torch.Tensor:
    """The same for a 2D network, of the middle slice."""
    return (avg_pool2d(tiles[:, 1:2], 16) - 128) / 16


def with_ball(shape, centre, radius: float, level: float = 255) -> np.ndarray:
    """A dark tomogram with one bright ball."""
    axes = np.ogrid[tuple(map(slice, shape))]
    z, y, x = (np.exp(-0.5 * ((axis - c) / radius) ** 2) for axis, c in zip(axes, centre, strict=True))
    return (level * z * y * x).astype(np.uint8)


def with_balls(shape, points, seed: int) -> np.ndarray:
    """A tomogram of noise between 60 and 120, and at each point a bright ball of three voxels' deviation."""
    voxels = np.random.default_rng(seed).uniform(60, 120, shape)
    for point in points:
        voxels = np.maximum(voxels, with_ball(shape, point, 3, 250))
    return voxels.astype(np.uint8)


class Silent(nn.Module):
    """A network with one weight."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))
        self.calls = 0

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return brightness(tiles) + self.bias


class Trouble(Silent):
    """A network to which something happens when the brightest voxel of a tile has one of these levels."""

    KILLED, KILLED_ONCE, NAN, DEVICE, SLOW, BUG, LARGE = range(241, 248)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        level = int(tiles.max())
        mark = self.folder / f"level {level}"
        large = level == self.LARGE and tiles[0].numel() > 32**3  # as when the system runs out of memory
        if large or level == self.KILLED or (level == self.KILLED_ONCE and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if level == self.DEVICE and not mark.exists():
            mark.touch()
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if level == self.BUG:
            raise KeyError  # nobody has thought of this
        time.sleep(0.5 * (level == self.SLOW))
        return super().forward(tiles) * (float("nan") if level == self.NAN else 1)


class Greedy(Silent):
    """A network for which there is only so much memory, in voxels of a tile."""

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        if tiles.numel() > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return super().forward(tiles)
