"""How well damaged grey levels are told from healthy ones, and how well wrapped ones are mended.

Run `python tests/benchmarks/damage.py`, or with the number of simulated tomograms behind it. If the variable
MOTORS_REAL names the folder with real data, histograms of the competition's tomograms are judged too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np

from motors.simulate import competition
from motors.simulate.recipe import RECIPES
from motors.volumes import levels, quality_control
from motors.volumes.quality_control import LIMITS, examine_histogram

COUNT = 12 if len(sys.argv) < 2 else int(sys.argv[1])
OFFSETS = range(32, 225, 32)
LISTED = "08bf73 24a095 37c426 3a0914 3b8291 5b359d 648adf 67ff4e 692081 6b1fd3 774aae 9f918e ac4f0d b18127 d8c917"
DARK = {f"tomo_{code}" for code in LISTED.split()}  # that the original solution found by eye


def through_jpeg(voxels: np.ndarray) -> np.ndarray:
    """Return what is left of a tomogram after it was kept as slices."""
    slices = [cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for plane in voxels]
    return np.stack([cv2.imdecode(plane, cv2.IMREAD_UNCHANGED) for plane in slices])


def seam(voxels: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the mended voxels, and the statistic by which they were found to be wrapped, 0 if they were not."""
    mended, found = quality_control.repair(voxels, compressed=True)
    return mended, max((finding.statistic for finding in found if finding.name == "wrapped"), default=0.0)


def histograms(path: Path) -> None:
    """Print how the histograms of the competition are judged, also by limits that were set on one half of them."""
    table = {name: np.array(row["hist"], float) for name, row in sorted(json.loads(path.read_text()).items())}
    ratio = {name: counts[:25].sum() / counts[25:].sum() for name, counts in table.items()}
    dark, others = ([ratio[name] for name in table if (name in DARK) == wanted] for wanted in (True, False))
    print(f"\n{len(table)} histograms of the competition: the 25 darkest levels over the others\n")
    print("| tomograms | lowest | highest | above the limit |\n|---|---|---|---|")
    for title, values in ((f"{len(dark)} listed", dark), (f"{len(others)} others", others)):
        print(
            f"| {title} | {min(values):.3f} | {max(values):.3f} | {sum(v > LIMITS['dark-shifted'] for v in values)} |"
        )
    for half in (0, 1):
        limit = np.sqrt(max(others[half::2]) * min(dark[half::2]))
        wrong = sum(v <= limit for v in dark[1 - half :: 2]) + sum(v > limit for v in others[1 - half :: 2])
        print(f"\nlimit from half {half}: {limit:.3f}, wrong in the other half: {wrong}")
    for name, counts in table.items():
        for finding in examine_histogram(counts):
            if finding.name != "dark-shifted":
                print(f"\n{name}: {finding.name}, {finding.statistic:.2f} (limit {finding.limit:g})")


def wraps() -> None:
    """Print how simulated tomograms are judged, healthy and wrapped, before and after JPEG."""
    recipe, rows = RECIPES["demo"], {name: [] for name in ("as made", "after JPEG")}
    healthy = {name: [] for name in rows}
    for k in range(COUNT):
        voxels = competition.tomogram(recipe, 0, k)[0].voxels
        for name, keep in zip(rows, (np.asarray, through_jpeg), strict=True):
            healthy[name].append(seam(keep(voxels))[1])
            for offset in OFFSETS:
                mended, statistic = seam(keep(levels.unwrap(voxels, offset)))
                off = np.abs(mended.astype(np.int16) - voxels)
                rows[name].append((statistic, (off > 0).mean(), (off > 16).mean()))
    print(f"\n{COUNT} simulated tomograms, healthy and wrapped by {', '.join(map(str, OFFSETS))}\n")
    print("| | found, of wrapped | of healthy | lowest statistic | voxels not as before | by more than 16, at most |")
    print("|---|---|---|---|---|---|")
    for name, found in rows.items():
        statistics, changed, far = np.array(found).T
        right, false = statistics > 0, sum(value > 0 for value in healthy[name])
        counts = f"{right.sum()} of {len(found)} | {false} of {COUNT}"
        print(f"| {name} | {counts} | {statistics.min():.3f} | {changed[right].mean():.1%} | {far[right].max():.3%} |")
    print(f"\nlimit {LIMITS['wrapped']}")


if __name__ == "__main__":
    wraps()
    if "MOTORS_REAL" in os.environ:
        histograms(Path(os.environ["MOTORS_REAL"]) / "labels" / "histogram.json")
