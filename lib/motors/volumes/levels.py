"""Grey levels: what other programs store brought to 0..255, and levels that wrapped around put right."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock

import numpy as np

from motors.volumes.tomogram import check_voxels, for_each

DARKEST, BRIGHTEST = 0.87910068792905, 99.06423106440042  # percentiles: the shares of 0 and 255 in training tomograms
WRAPPED = 127  # what the original solution added to tomograms whose grey levels had wrapped around
HALF = 1 << 16  # values of half a 32-bit number
SIGN = 1 << 31  # the sign of a 32-bit number


def to_uint8(voxels: np.ndarray, low: float = DARKEST, high: float = BRIGHTEST) -> np.ndarray:
    """Return voxels of any real type as grey levels, stretched between two percentiles and truncated.

    Voxels on disk are read a few planes at a time. Integers from 0 to 255 are grey levels already and stay.

    Parameters
    ----------
    voxels : `(z, y, x)` numbers
    low, high : percentiles of all voxels that become 0 and 255; by default those of the original solution

    Returns
    -------
    `(z, y, x)` uint8; `voxels` itself if that is what it was

    Raises
    ------
    ValueError
        If this is no volume, some voxels are not finite, or those at both percentiles are equal.
    """
    if voxels.ndim != 3 or 0 in voxels.shape or voxels.dtype.kind not in "iuf":
        raise ValueError(f"{voxels.shape} {voxels.dtype} is no volume: give (z, y, x) voxels that are real numbers")
    if voxels.dtype == np.uint8:
        return voxels
    if voxels.dtype.kind in "iu" and voxels.min() >= 0 and voxels.max() <= 255:
        return voxels.astype(np.uint8)
    dark, bright = percentiles(voxels, (low, high))
    if dark == bright:
        raise ValueError(f"nearly all voxels are {dark:g}, so there is no contrast: check where the volume comes from")
    levels = np.empty(voxels.shape, np.uint8)

    def convert(k: int) -> None:
        levels[k] = stretch(_plane(voxels, k), dark, bright)

    for_each(convert, len(voxels))
    return levels


def stretch(plane: np.ndarray, dark: np.float32, bright: np.float32) -> np.ndarray:
    """Return a float32 plane with `dark` brought to 0 and `bright` to 255, and what lies beyond them cut off."""
    return (np.clip(plane, dark, bright) - dark) / (bright - dark) * np.float32(255)


def unwrap(voxels: np.ndarray, offset: int = WRAPPED) -> np.ndarray:
    """Return `(z, y, x)` uint8 voxels with `offset` added modulo 256, which mends levels that had wrapped around."""
    check_voxels(voxels)
    return voxels + np.uint8(offset % 256)


def _plane(voxels: np.ndarray, k: int) -> np.ndarray:
    """Return one plane as `(y, x)` float32."""
    return np.ascontiguousarray(voxels[k], np.float32)


def percentiles(voxels: np.ndarray, percents: tuple[float, ...]) -> np.ndarray:
    """Return the float32 that sorting all voxels would give, by counting them twice instead, plane by plane.

    As unsigned numbers that sort like the voxels, they fall into 65,536 bins by their upper halves. The few bins that
    hold the wanted ranks are then told apart by the lower halves.
    """
    positions = [percent / 100 * (math.prod(voxels.shape) - 1) for percent in percents]
    ranks = sorted({end for position in positions for end in (math.floor(position), math.ceil(position))})
    upper = _count(voxels, lambda numbers: numbers >> 16, HALF)
    if upper[:0x80].any() or upper[0xFF80:].any():  # there sort infinities and NaN
        raise ValueError("some voxels are NaN or infinite: mend the volume where it was made")
    before = np.cumsum(upper) - upper
    bins, slots = np.unique(np.searchsorted(before, ranks, side="right") - 1, return_inverse=True)
    wanted = np.isin(np.arange(HALF), bins)

    def lower_half(numbers: np.ndarray) -> np.ndarray:
        inside = numbers[wanted[numbers >> 16]]
        return np.searchsorted(bins, inside >> 16) * HALF + inside % HALF

    ends = np.cumsum(_count(voxels, lower_half, len(bins) * HALF).reshape(-1, HALF), axis=1)
    inside = ranks - before[bins[slots]]
    lower = [np.searchsorted(ends[slot], rank, side="right") for slot, rank in zip(slots, inside, strict=True)]
    values = _as_floats((bins[slots] * HALF + lower).astype(np.uint32))
    return np.interp(positions, ranks, values).astype(np.float32)


def _count(voxels: np.ndarray, bin_of: Callable[[np.ndarray], np.ndarray], bins: int) -> np.ndarray:
    """Return how many voxels are in each bin, where `bin_of` takes the sortable numbers of one plane."""
    counts, lock = np.zeros(bins, np.int64), Lock()

    def add(k: int) -> None:
        found = np.bincount(bin_of(_as_sortable(_plane(voxels, k)).ravel()), minlength=bins)
        with lock:
            counts[:] += found

    for_each(add, len(voxels))
    return counts


def _as_sortable(floats: np.ndarray) -> np.ndarray:
    """Return uint32 that sort like these float32: below zero, bits count down."""
    bits = floats.view(np.int32)
    return (bits ^ (bits >> 31 & SIGN - 1)).view(np.uint32) ^ np.uint32(SIGN)


def _as_floats(sortable: np.ndarray) -> np.ndarray:
    """Undo `_as_sortable`."""
    bits = (sortable ^ np.uint32(SIGN)).view(np.int32)
    return (bits ^ (bits >> 31 & SIGN - 1)).view(np.float32)
