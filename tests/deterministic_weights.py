"""Weights and volumes that follow from names and seeds alone, as those of the reference outputs in `reference/models`.

Two networks with the same names and shapes get the same weights without a file. The recipe is the reference's.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

UNTOUCHED = re.compile(r"^(mean|std)$|lookup|relative_position_index|relative_coords")


def tensor(key: str, shape: Iterable[int]) -> Tensor:
    """Return the float32 tensor that belongs to a name of the reference network."""
    shape = tuple(shape)
    last = key.rpartition(".")[2]
    random = np.random.Generator(np.random.PCG64(zlib.crc32(shared(key).encode())))
    if last == "running_var":
        values = 1 + 0.1 * random.random(shape)
    else:
        values = random.standard_normal(shape)
        offset, scale = _moments(last, shape)
        values = offset + scale * values
    return torch.from_numpy(np.asarray(values)).to(torch.float32)


def _moments(last: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation, by the last part of the name."""
    if "relative_position_bias_table" in last:
        return 0.0, 0.02
    if last == "running_mean":
        return 0.0, 0.1
    if "gamma" in last or "layer_scale" in last:
        return 0.1, 0.01
    if len(shape) >= 2:
        return 0.0, 1 / math.sqrt(math.prod(shape[1:]))
    return (1.0, 0.1) if last == "weight" else (0.0, 0.1)


def shared(key: str) -> str:
    """Return the name under which CoaT's shared position encodings are drawn."""
    key = re.sub(r"serial_blocks(\d+)\.\d+\.cpe\.", r"cpe\1.", key)
    return re.sub(r"serial_blocks(\d+)\.\d+\.factoratt_crpe\.crpe\.", r"crpe\1.", key)


def weights(manifest: dict) -> dict[str, Tensor]:
    """Return all tensors of a reference network, under its names and in its layout.

    Parameters
    ----------
    manifest : with `state_dict`, a list of [name, shape, dtype, kind], and `constants`, what scales the grey levels
    """
    drawn = {}
    for key, shape, dtype, _ in manifest["state_dict"]:
        if key in manifest["constants"]:
            drawn[key] = torch.tensor(manifest["constants"][key]).view(shape)
        elif not dtype.startswith("float"):
            drawn[key] = torch.zeros(shape, dtype=getattr(torch, dtype))
        else:
            assert not UNTOUCHED.search(key.rpartition(".")[2]), key
            drawn[key] = tensor(key, shape)
    return drawn


def fingerprint(state: dict[str, Tensor]) -> str:
    """Return a short hash of names, shapes, types and values."""
    digest = hashlib.sha256()
    for key in sorted(state):
        for part in (key, str(tuple(state[key].shape)), str(state[key].dtype)):
            digest.update(part.encode())
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def voxels(seed: int, shape: Iterable[int], block: int = 8) -> np.ndarray:
    """Return a blocky, noisy uint8 volume `(b, c, z, y, x)` or images `(b, c, y, x)`."""
    shape = tuple(shape)
    axes = range(2, len(shape))
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, shape[:2] + tuple(-(-side // block) for side in shape[2:]), dtype=np.uint8)
    for axis in axes:
        coarse = np.repeat(coarse, block, axis=axis).take(np.arange(shape[axis]), axis=axis)
    fine = random.integers(0, 256, shape, dtype=np.uint8)
    return coarse // 2 + fine // 2
