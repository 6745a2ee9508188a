"""What lies around a tomogram in its file and takes the grey levels from it."""

import numpy as np

from motors.volumes.levels import FEW

GAP = 64  # levels that are not used beside black or white: real tomograms have 2 at most, padded ones over 100


def padding(voxels: np.ndarray) -> list[str]:
    """Return a sentence if padding is far from the rest of `(z, y, x)` uint8 voxels; otherwise none."""
    lost = unused(voxels)
    left = f"which has {255 - lost} of 256 grey levels left"
    said = f"what is black or white in it is far from the rest, {left}: fill padding with the mean"
    return [said] if lost > GAP else []


def unused(voxels: np.ndarray) -> int:
    """Return how many grey levels between the black or white voxels of `(z, y, x)` uint8 and all others are not used.

    By more than one voxel in 1000, that is: padding that is far from the rest leaves it few. Of counts and masks, which
    have few levels anyway, it is 0.
    """
    counts = sum(np.bincount(plane.ravel(), minlength=256) for plane in voxels[:: 1 + len(voxels) // 16])
    sides = [each for each in (counts, counts[::-1]) if each[0] > counts.sum() / 1000]
    gap = max((int(np.argmax(np.cumsum(each[1:]) > counts.sum() / 1000)) for each in sides), default=0)
    used = np.count_nonzero(counts)
    return gap if used >= FEW or (used > 2 and gap > 128) else 0
