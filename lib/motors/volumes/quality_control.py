"""Quality control of intensities: damage detected by statistics with limits, and repaired where possible.

Limits lie in the middle of wide gaps. Those of histograms were set on the 648 training tomograms of the competition, 15
of them listed as damaged by the original solution; the others on simulated and a few real tomograms.
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

DARK = 25  # number of darkest levels
PLANES = 32  # per tomogram, enough for counting neighbours
RINGING = 6  # levels by which JPEG of quality 95 changes a voxel at most, but for one in hundreds
INSIDE = slice(1, 255)  # levels not filled by clipping
FOUND = ["tomo_id", "finding", "statistic", "limit", "repaired", "about"]
REPAIRED = ("wrapped", "filled slices")  # findings

LIMITS = {
    "wrapped": 0.005,  # healthy, simulated or real: 0.000; simulated and wrapped by 32 to 224: at least 0.008
    "dark-shifted": 0.33,  # the 15 known ones: at least 0.44; all others: at most 0.24
    "saturated": 0.1,  # tomo_f672c0: 0.37, tomo_d8c917: 0.21; all others: at most 0.06
    "bimodal": 0.9,  # tomo_f672c0: 1.0; all others: at most 0.82
    "constant slices": 0.0,
    "filled slices": 0.0,  # number of slices
    "inverted": 0.3,  # skewness; healthy ones at most 0.27, mostly below zero
}


@dataclass(frozen=True)
class Finding:
    """A defect found in the intensities of a tomogram."""

    name: str  # a key of `LIMITS`
    statistic: float  # the value measured, above the limit
    about: str  # description
    offset: int | None = None  # shift of wrapped levels; None for other findings

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
    """Return the findings from a `(256,)` histogram of intensities: dark-shifted, saturated, bimodal.

    Wrapped levels are not detected reliably: use `examine` for those and the other findings. The statistics are:

    - dark-shifted: ratio of voxels at the 25 darkest levels to all others, also used by the original solution
    - saturated: the share of voxels at level 0 or 255
    - bimodal: depth of the deepest valley relative to the lower peak beside it, 1 if the valley is empty; each side of
      it holds at least a tenth of the voxels that are not clipped

    Raises ValueError if these are not 256 counts.
    """
    counts = np.asarray(counts, np.float64)
    if counts.shape != (256,) or not counts.sum() > 0 or (counts < 0).any():
        raise ValueError(f"this is not a histogram of intensities: give 256 counts, not {counts.shape}")
    clipped, dark = counts[[0, 255]] / counts.sum(), counts[:DARK].sum() / max(counts[DARK:].sum(), 1)
    found = [
        Finding("dark-shifted", float(dark), "most levels are crowded near black"),
        Finding("saturated", float(clipped.sum()), f"{clipped[0]:.0%} of the voxels are black, {clipped[1]:.0%} white"),
        Finding("bimodal", _valley(counts[INSIDE]), "the levels fall into two heaps with next to nothing in between"),
    ]
    return [finding for finding in found if finding.margin > 0]


def examine(voxels: np.ndarray) -> list[Finding]:
    """Return the findings about the intensities of a tomogram, `(z, y, x)` uint8; none if it is healthy.

    In addition to those of `examine_histogram`, which is applied to the levels before they wrapped:

    - wrapped: levels above 255 continued at 0, so that neighbouring voxels often lie on either side of that seam. The
      statistic is the number of pairs of neighbours that cross the seam on the shorter way around, minus the lowest
      such number for any level, divided by the highest. Not tested if level 0 or 255 stands out, as after clipping,
      or if one end of the levels is much emptier than the other
    - constant slices: their number
    - inverted: the skewness of details of about two voxels, negative where dense is dark, as it should be. A hint to
      be checked by eye, which detects two of three; not tested if the histogram has findings
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
    if found == wrapped:  # skewness is meaningless for distorted levels
        skewness = _skewness(voxels, offset)
        others += [Finding("inverted", skewness, "bright details stand out, where dense should be dark")]
    return found + [finding for finding in others if finding.margin > 0]


def repair(
    voxels: np.ndarray, *, compressed: bool = False, shift_dark: bool = False
) -> tuple[np.ndarray, list[Finding]]:
    """Return a tomogram with repaired levels, and the findings; a healthy one is returned unchanged.

    Wrapped levels are moved back, exactly unless levels at both ends are unused, so that the seam may lie anywhere
    between them. Other findings are only reported. In `compressed` slices (JPEG), voxels that compression moved across
    the seam are recognised by their neighbours. `shift_dark` adds 127 to dark-shifted tomograms, as the original
    solution did for the networks it trained; levels above 128 then turn black.
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
    """Write the findings of tomogram `name` to a folder used by this function only; `findings` reads them."""
    path = Path(folder) / f"{name}.csv"
    rows = [[name, f.name, f.statistic, f.limit, f.name in REPAIRED, f.about] for f in found]
    if rows:
        write_table(path, pd.DataFrame(rows, columns=FOUND))
    else:
        path.unlink(missing_ok=True)  # of another tomogram of this name


def findings(folder: str | Path) -> pd.DataFrame:
    """Return what `note` wrote, one row per finding: tomo_id, finding, statistic, limit, repaired, about."""
    notes = [read_table(path, FOUND) for path in sorted(visible(Path(folder).glob("*.csv")))]
    return pd.concat(notes, ignore_index=True) if notes else pd.DataFrame(columns=FOUND)


def _histograms(voxels: np.ndarray) -> np.ndarray:
    """Return the histogram of each plane, `(z, 256)`."""
    check_voxels(voxels)
    counts = for_each(lambda k: cv2.calcHist([voxels[k]], [0], None, [256], [0, 256]).ravel(), len(voxels))
    return np.array(counts).astype(np.int64)  # exact up to 16 million per level


def _goes_on(counts: np.ndarray) -> bool:
    """Return whether levels may have wrapped: neither 0 nor 255 stands out, and both ends have similar counts."""
    dark, bright = counts[:5].sum(), counts[251:].sum()
    clipped = counts[0] > 2 * counts[1:5].max() or counts[255] > 2 * counts[251:255].max()
    return not clipped and min(dark, bright) > 0.25 * max(dark, bright)


def _wrapped(voxels: np.ndarray) -> list[Finding]:
    """Return a list of the finding that levels have wrapped, or an empty one."""
    crossings = _crossings(voxels)
    offset = _emptiest(crossings)
    seam = float((crossings[255] - crossings.min()) / max(crossings.max(), 1))
    found = Finding("wrapped", seam, f"all levels were moved up by {offset} and went on at 0 after 255", offset)
    return [found] if found.margin > 0 else []


def _valley(counts: np.ndarray) -> float:
    """Return 1 minus the lowest ratio of the smoothed histogram to the lower of the peaks on either side."""
    smooth = np.convolve(counts, np.ones(9) / 9, "same")
    peak = np.minimum(np.maximum.accumulate(smooth), np.maximum.accumulate(smooth[::-1])[::-1])
    share = np.cumsum(counts) / max(counts.sum(), 1)
    between = (share > 0.1) & (share < 0.9)
    return float(1 - np.min(smooth[between] / np.maximum(peak[between], 1e-12), initial=1))


def _sample(voxels: np.ndarray) -> np.ndarray:
    """Return the indices of up to `PLANES` planes, spread over the depth."""
    return np.unique(np.linspace(0, len(voxels) - 1, PLANES).astype(int))


def _crossings(voxels: np.ndarray) -> np.ndarray:
    """Return how many pairs of neighbours are separated by the step from each level to the next, `(256,)`.

    The way between two levels is the shorter one around the circle; entry 255 is the seam between 255 and 0.
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
    """Return the level after the step with the fewest crossings, the middle of the longest run of equal ones."""
    empty = crossings <= crossings.min()
    if empty.all():
        return 0
    first = int(np.argmin(empty))  # begin at another step, so that no run continues at the beginning
    runs, _ = ndimage.label(np.roll(empty, -first))
    widest = np.flatnonzero(runs == np.bincount(runs)[1:].argmax() + 1)
    return int(widest[(len(widest) - 1) // 2] + first + 1) % 256


def _skewness(voxels: np.ndarray, offset: int) -> float:
    """Return the skewness of the difference of a fine and a coarse blur of some planes, after subtracting `offset`."""
    details = []
    for k in _sample(voxels)[::2]:
        plane = (voxels[k] - np.uint8(offset)).astype(np.float32)
        details.append((cv2.GaussianBlur(plane, (0, 0), 2) - cv2.GaussianBlur(plane, (0, 0), 4)).ravel())
    details = np.concatenate(details)
    details -= details.mean()
    spread = float(np.sqrt(np.mean(details**2)))
    return float(np.mean(details**2 * details)) / spread**3 if spread > 1e-3 else 0.0  # details**3 is much slower


def _sorted_out(voxels: np.ndarray, offset: int) -> np.ndarray:
    """Return wrapped voxels moved back; those near either end of the levels go to the end of their neighbours."""
    after = (np.arange(256) - offset).astype(np.uint8)
    ends = np.minimum(after, 255 - after) < RINGING
    side = np.where(ends, 0, after - 127.5).astype(np.float32)  # doubtful voxels do not vote

    def sort(k: int) -> np.ndarray:
        around = np.clip([k - 1, k, k + 1], 0, len(voxels) - 1)
        votes = cv2.GaussianBlur(sum(side[voxels[j]] for j in around), (0, 0), 0.8)
        plane, doubtful = after[voxels[k]], ends[voxels[k]]
        plane = np.where(doubtful & (plane > 127) & (votes < 0), 0, plane)
        return np.where(doubtful & (plane < 128) & (votes > 0), 255, plane)

    return by_plane(sort, voxels.shape)
