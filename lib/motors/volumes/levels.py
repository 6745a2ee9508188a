"""Grey levels: scaling of voxels of any type to 0..255, and repair of intensities that wrapped around."""

import math

import numpy as np

from motors.volumes.tomogram import by_plane, check_voxels, for_each

DARKEST, BRIGHTEST = 0.87910068792905, 99.06423106440042  # percentiles: shares of 0 and 255 in training tomograms
WRAPPED = 127  # what the original solution added to tomograms with wrapped intensities
MOST = 1 << 26  # voxels sorted at once for percentiles, 256 MiB
FEW = 32  # intensities between both percentiles: uint8 data with fewer are counts, not grey levels


def to_uint8(voxels: np.ndarray) -> np.ndarray:
    """Return voxels of any real type as uint8 intensities, stretched between two percentiles and truncated.

    The percentiles `DARKEST` and `BRIGHTEST` of all `(z, y, x)` voxels, those of the original solution, become 0 and
    255. Voxels on disk are read a few planes at a time. uint8 voxels are intensities already, returned unchanged. All
    other integers are stretched, small ones too.

    Raises ValueError if this is not a volume, a voxel is not finite, or both percentiles are equal.
    """
    if voxels.ndim != 3 or 0 in voxels.shape or voxels.dtype.kind not in "iuf":
        raise ValueError(f"{voxels.shape} {voxels.dtype} is not a volume: give (z, y, x) voxels that are real numbers")
    if voxels.dtype == np.uint8:
        return voxels
    dark, bright = percentiles(voxels, (DARKEST, BRIGHTEST))
    if dark == bright:
        raise ValueError(f"nearly all voxels are {dark:g}, so there is no contrast: check where the volume comes from")
    return by_plane(lambda k: stretch(_plane(voxels, k), dark, bright), voxels.shape)


def spread(voxels: np.ndarray) -> np.ndarray:
    """Return `(z, y, x)` uint8 voxels, stretched like other integers if they span fewer than `FEW` intensities."""
    check_voxels(voxels)
    dark, bright = percentiles(voxels, (DARKEST, BRIGHTEST))
    return to_uint8(voxels.astype(np.int16)) if dark < bright < dark + FEW else voxels


def stretch(plane: np.ndarray, dark: np.float32, bright: np.float32) -> np.ndarray:
    """Return a float32 plane clipped to `dark` and `bright`, which become 0 and 255."""
    return (np.clip(plane, dark, bright) - dark) / (bright - dark) * np.float32(255)


def unwrap(voxels: np.ndarray, offset: int = WRAPPED) -> np.ndarray:
    """Return `(z, y, x)` uint8 voxels with `offset` added modulo 256, which repairs wrapped intensities."""
    check_voxels(voxels)
    return voxels + np.uint8(offset % 256)


def percentiles(voxels: np.ndarray, percents: tuple[float, ...], *, most: int = MOST) -> np.ndarray:
    """Return percentiles of all voxels, read plane by plane, float32 or, where that would lose digits, float64.

    Of more than `most` voxels every n-th is used, n being coprime to the sides of a plane, so that all rows and columns
    are sampled. With 67 million samples, percentiles 1 and 99 are accurate to 0.004 percentage points.
    Raises ValueError if any voxel, sampled or not, is not finite.
    """
    depth, area = len(voxels), math.prod(voxels.shape[1:])
    step = -(-depth * area // most)
    while math.gcd(step, area) > 1:
        step += 1
    begins = [-k * area % step for k in range(depth)]
    counts = [len(range(begin, area, step)) for begin in begins]
    ends = np.cumsum(counts)
    taken = np.empty(ends[-1], np.result_type(voxels.dtype, np.float32))

    def take(k: int) -> None:
        plane = _plane(voxels, k).ravel()
        if not np.isfinite(plane).all():
            raise ValueError("some voxels are NaN or infinite: correct the volume where it was made")
        taken[ends[k] - counts[k] : ends[k]] = plane[begins[k] :: step]

    for_each(take, depth)
    return np.percentile(taken, percents, overwrite_input=True).astype(taken.dtype)


def _plane(voxels: np.ndarray, k: int) -> np.ndarray:
    """Return one plane as `(y, x)` float32, or float64 where float32 would lose digits."""
    return np.ascontiguousarray(voxels[k], np.result_type(voxels.dtype, np.float32))
