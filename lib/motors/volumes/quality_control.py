"""Damaged intensities: found by what they look like, named with the number that gave them away, repaired if possible.

Limits stand in the middle of wide gaps. The 648 training tomograms of the competition gave those of histograms, with
the 15 that the original solution listed as damaged; the others were set on simulated and a few real tomograms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage

from motors.tables import read_table
from motors.volumes.levels import WRAPPED, unwrap
from motors.volumes.tomogram import by_plane, check_voxels, for_each
from motors.workspace.files import visible, write_table

DARK = 25  # the darkest levels
PLANES = 32  # of a tomogram, enough to count neighbours in
RINGING = 6  # levels that JPEG of quality 95 moves a voxel at most, but for one in hundreds
INSIDE = slice(1, 255)  # levels that clipping does not fill
FOUND = ["tomo_id", "finding", "statistic", "limit", "repaired", "about"]
REPAIRED = ("wrapped", "filled slices")  # findings

LIMITS = {
    "wrapped": 0.005,  # healthy ones, simulated or real: 0.000; simulated ones wrapped by 32 to 224: 0.008 and more
    "dark-shifted": 0.33,  # the 15 known ones: 0.44 and more; all others: 0.24 and less
    "saturated": 0.1,  # tomo_f672c0: 0.37, tomo_d8c917: 0.21; all others: 0.06 and less
    "bimodal": 0.9,  # tomo_f672c0: 1.0; all others: 0.82 and less
    "constant slices": 0.0,
    "filled slices": 0.0,  # their number
    "inverted": 0.3,  # skewness; healthy ones at most 0.27, mostly below zero
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the intensities of a tomogram."""

    name: str  # a key of `LIMITS`
    statistic: float  # the number that gave it away, above the limit
    about: str  # what it means, in words
    offset: int | None = None  # what wrapped levels had been moved by; None of other findings

    @property
    def limit(self) -> float:
        """The largest statistic of a healthy tomogram."""
        return LIMITS[self.name]

    @property
    def margin(self) -> float:
        """How far the statistic is above the limit."""
        return self.statistic - self.limit


def histogram(voxels: np.ndarray) -> np.ndarray:
    """Return how many voxels have each intensity, `(256,)` int64."""
    return _histograms(voxels).sum(axis=0)


def examine_histogram(counts: np.ndarray) -> list[Finding]:
    """Return what a histogram `(256,)` of intensities shows: dark-shifted, saturated, bimodal.

    Wrapped levels do not show reliably: for those, and for the other findings, there is `examine`. The statistics:

    - dark-shifted: voxels with the 25 darkest levels over all others, by which the original solution judged too
    - saturated: the share of voxels at level 0 or 255
    - bimodal: how deep the deepest valley is, 1 down to nothing, relative to the lower of the peaks beside it; of what
      is not clipped, each side of the valley holds at least a tenth

    Raises ValueError if these are not 256 counts.
    """
    counts = np.asarray(counts, np.float64)
    if counts.shape != (256,) or not counts.sum() > 0 or (counts < 0).any():
        raise ValueError(f"this is no histogram of intensities: give 256 counts, not {counts.shape}")
    clipped, dark = counts[[0, 255]] / counts.sum(), counts[:DARK].sum() / max(counts[DARK:].sum(), 1)
    found = [
        Finding("dark-shifted", float(dark), "most levels are crowded near black"),
        Finding("saturated", float(clipped.sum()), f"{clipped[0]:.0%} of the voxels are black, {clipped[1]:.0%} white"),
        Finding("bimodal", _valley(counts[INSIDE]), "the levels fall into two heaps with next to nothing in between"),
    ]
    return [finding for finding in found if finding.margin > 0]


def examine(voxels: np.ndarray) -> list[Finding]:
    """Return what is wrong with the intensities of a tomogram, `(z, y, x)` uint8; nothing, if it is healthy.

    Beyond what `examine_histogram` finds, which looks at wrapped levels as they were before:

    - wrapped: levels beyond 255 went on at 0. Neighbouring voxels then often lie on either side of that seam. The
      statistic counts pairs of neighbours with the seam between them, the shorter way around, less those at the level
      where there are fewest, relative to the level where there are most. Where 0 or 255 stands out, because levels were
      clipped there, or one end of the levels is much emptier than the other, nothing has wrapped
    - constant slices: their number
    - inverted: the skewness of details of about two voxels, below zero where dense is dark, as it should be. A hint for
      the eye, which finds two of three; not looked for where the histogram is damaged
    """
    planes = _histograms(voxels)
    counts = planes.sum(axis=0)
    wrapped = _wrapped(voxels) if _goes_on(counts) else []
    offset = wrapped[0].offset if wrapped else 0
    counts = np.roll(counts, -offset)
    found = wrapped + examine_histogram(counts)
    flat = np.flatnonzero((planes > 0).sum(axis=1) == 1)
    few = ", ".join(map(str, flat[:5])) + (", ..." if len(flat) > 5 else "")
    others = [Finding("constant slices", float(len(flat)), f"all voxels of a slice are equal: z = {few}")]
    if found == wrapped:  # skewness says nothing about levels that are distorted
        skewness = _skewness(voxels, offset)
        others += [Finding("inverted", skewness, "bright details stand out, where dense should be dark")]
    return found + [finding for finding in others if finding.margin > 0]


def repair(
    voxels: np.ndarray, *, compressed: bool = False, shift_dark: bool = False
) -> tuple[np.ndarray, list[Finding]]:
    """Return a tomogram with its levels put right, and what was found; a healthy one is returned as it is.

    Wrapped levels are moved back, exactly unless levels at both ends are unused, so that the seam may lie anywhere
    between them. Everything else is reported only. Of `compressed` slices (JPEG), voxels that compression pushed over
    the seam are recognised by their neighbours. `shift_dark` adds 127 to dark-shifted tomograms, as the original
    solution did, for networks that it trained; what was brighter than 128 turns black.
    """
    found = examine(voxels)
    names = {finding.name: finding for finding in found}
    if "wrapped" in names:
        offset = names["wrapped"].offset
        voxels = _sorted_out(voxels, offset) if compressed else unwrap(voxels, -offset)
    if shift_dark and "dark-shifted" in names:
        voxels = unwrap(voxels, WRAPPED)
    return voxels, found


def note(folder: str | Path, name: str, found: Sequence[Finding]) -> None:
    """Keep in a folder, of this function alone, what was found in the tomogram called `name`: see `findings`."""
    path = Path(folder) / f"{name}.csv"
    rows = [[name, f.name, f.statistic, f.limit, f.name in REPAIRED, f.about] for f in found]
    if rows:
        write_table(path, pd.DataFrame(rows, columns=FOUND))
    else:
        path.unlink(missing_ok=True)  # from when it was another tomogram


def findings(folder: str | Path) -> pd.DataFrame:
    """Return what `note` kept, one row per finding: tomo_id, finding, statistic, limit, repaired, about."""
    notes = [read_table(path, FOUND) for path in sorted(visible(Path(folder).glob("*.csv")))]
    return pd.concat(notes, ignore_index=True) if notes else pd.DataFrame(columns=FOUND)


def _histograms(voxels: np.ndarray) -> np.ndarray:
    """Return how many voxels of each plane have each level, `(z, 256)`."""
    check_voxels(voxels)
    counts = for_each(lambda k: cv2.calcHist([voxels[k]], [0], None, [256], [0, 256]).ravel(), len(voxels))
    return np.array(counts).astype(np.int64)  # exact up to 16 million a level


def _goes_on(counts: np.ndarray) -> bool:
    """Return whether level 0 could follow 255: neither stands out, and there are about as many voxels at both ends."""
    dark, bright = counts[:5].sum(), counts[251:].sum()
    clipped = counts[0] > 2 * counts[1:5].max() or counts[255] > 2 * counts[251:255].max()
    return not clipped and min(dark, bright) > 0.25 * max(dark, bright)


def _wrapped(voxels: np.ndarray) -> list[Finding]:
    """Return the finding that levels have wrapped, if they have."""
    crossings = _crossings(voxels)
    offset = _emptiest(crossings)
    seam = float((crossings[255] - crossings.min()) / max(crossings.max(), 1))
    found = Finding("wrapped", seam, f"all levels were moved up by {offset} and went on at 0 after 255", offset)
    return [found] if found.margin > 0 else []


def _valley(counts: np.ndarray) -> float:
    """Return 1 less the depth of the deepest valley of a histogram relative to the lower peak beside it."""
    smooth = np.convolve(counts, np.ones(9) / 9, "same")
    peak = np.minimum(np.maximum.accumulate(smooth), np.maximum.accumulate(smooth[::-1])[::-1])
    share = np.cumsum(counts) / max(counts.sum(), 1)
    between = (share > 0.1) & (share < 0.9)
    return float(1 - np.min(smooth[between] / np.maximum(peak[between], 1e-12), initial=1))


def _sample(voxels: np.ndarray) -> np.ndarray:
    """Return the numbers of some planes, spread over the depth."""
    return np.unique(np.linspace(0, len(voxels) - 1, PLANES).astype(int))


def _crossings(voxels: np.ndarray) -> np.ndarray:
    """Return how many pairs of neighbours lie on either side of each level and the next, the shorter way around.

    `(256,)`; number 255 is the seam between 255 and 0.
    """
    planes = _sample(voxels)

    def count(k: int) -> np.ndarray:
        plane = np.asarray(voxels[planes[k]], np.uint16)
        along = [(plane[:-1], plane[1:]), (plane[:, :-1], plane[:, 1:])]
        return sum(np.bincount((one << 8 | other).ravel(), minlength=1 << 16) for one, other in along)

    pairs = sum(for_each(count, len(planes)))
    one, other = np.divmod(np.arange(1 << 16), 256)
    up = (other - one) % 256
    pairs[up == 128] = 0  # both ways are equally short
    begin, end = np.where(up < 128, one, other), np.where(up < 128, other, one)
    change = np.bincount(begin, pairs, 256) - np.bincount(end, pairs, 256)
    return pairs[begin > end].sum() + np.cumsum(change)


def _emptiest(crossings: np.ndarray) -> int:
    """Return the level that follows the emptiest place of the circle, the middle of several that are as empty."""
    empty = crossings <= crossings.min()
    if empty.all():
        return 0
    first = int(np.argmin(empty))  # begin where it is not empty, so that no run goes on at the beginning
    runs, _ = ndimage.label(np.roll(empty, -first))
    widest = np.flatnonzero(runs == np.bincount(runs)[1:].argmax() + 1)
    return int(widest[(len(widest) - 1) // 2] + first + 1) % 256


def _skewness(voxels: np.ndarray, offset: int) -> float:
    """Return the skewness of what lies between a fine and a coarse blur, over some planes of wrapped levels or not."""
    details = []
    for k in _sample(voxels)[::2]:
        plane = (voxels[k] - np.uint8(offset)).astype(np.float32)
        details.append((cv2.GaussianBlur(plane, (0, 0), 2) - cv2.GaussianBlur(plane, (0, 0), 4)).ravel())
    details = np.concatenate(details)
    details -= details.mean()
    spread = float(np.sqrt(np.mean(details**2)))
    return float(np.mean(details**2 * details)) / spread**3 if spread > 1e-3 else 0.0  # a power of 3 is much slower


def _sorted_out(voxels: np.ndarray, offset: int) -> np.ndarray:
    """Return wrapped voxels moved back, those near both ends of the levels to the end where their neighbours are."""
    after = (np.arange(256) - offset).astype(np.uint8)
    ends = np.minimum(after, 255 - after) < RINGING
    side = np.where(ends, 0, after - 127.5).astype(np.float32)  # whose end is in doubt does not vote

    def sort(k: int) -> np.ndarray:
        around = np.clip([k - 1, k, k + 1], 0, len(voxels) - 1)
        votes = cv2.GaussianBlur(sum(side[voxels[j]] for j in around), (0, 0), 0.8)
        plane, doubtful = after[voxels[k]], ends[voxels[k]]
        plane = np.where(doubtful & (plane > 127) & (votes < 0), 0, plane)
        return np.where(doubtful & (plane < 128) & (votes > 0), 255, plane)

    return by_plane(sort, voxels.shape)
