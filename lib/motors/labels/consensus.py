"""Label tables of several annotators: how far they agree, and the motors that enough of them marked."""

import warnings
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS
from motors.labels.joining import join
from motors.labels.table import Labels
from motors.matching import nearest_pairs
from motors.tables import MOTORS, POINT, SIZE, TableWarning


def consensus(annotators: Mapping[str, Labels], *, least: int = 2, radius: float = MATCH_RADIUS) -> Labels:
    """Return the labels that at least `least` annotators agree on; points of fewer annotators are unsure.

    Points of different annotators within `radius`, in ångström, are merged, nearest pairs first, at their mean
    position. Annotators of a tomogram are those whose tables list it, with or without a motor. Motors and unsure
    points have the columns votes (number that marked the point) and annotators (number for the tomogram).

    Warns if two have the same motors, as a copied file would vote twice.

    Raises ValueError if `least` is not from 1 to the number of annotators, or tomograms are in different frames.
    """
    if not 1 <= least <= len(annotators):
        raise ValueError(f"{least} of {len(annotators)} annotators cannot agree: ask for 1 to {len(annotators)}")
    tomograms = join(*annotators.values()).tomograms
    for (one, mine), (other, theirs) in combinations(annotators.items(), 2):
        if len(mine.motors) and mine.motors[MOTORS].equals(theirs.motors[MOTORS]):
            what = f"{one} and {other} have the same motors to the last digit: count them once if one is a copy"
            warnings.warn(what, TableWarning, stacklevel=2)
    rows = []
    for tomo_id, spacing in tomograms[["tomo_id", "spacing"]].itertuples(index=False):
        asked = [each for each in annotators.values() if (each.tomograms["tomo_id"] == tomo_id).any()]
        seen = [each.of(tomo_id) for each in asked]
        rows += [[tomo_id, *np.mean(group, axis=0), len(group), len(asked)] for group in _groups(seen, spacing, radius)]
    found = pd.DataFrame(rows, columns=[*MOTORS, "votes", "annotators"])
    agreed = found["votes"] >= least
    return Labels(tomograms, *(found[those].reset_index(drop=True) for those in (agreed, ~agreed))).validate()


def _groups(seen: list[np.ndarray], spacing: float, radius: float) -> list[list[np.ndarray]]:
    """Return the points of one tomogram grouped by motor, at most one per annotator."""
    groups: list[list[np.ndarray]] = []
    for points in seen:
        centres = np.array([np.mean(group, axis=0) for group in groups]).reshape(-1, 3)
        pairs = nearest_pairs(centres * spacing, points * spacing, radius)
        for group, point, _ in pairs:
            groups[group].append(points[point])
        groups += [[point] for point in np.delete(points, [pair[1] for pair in pairs], axis=0)]
    return groups


def describe(labels: Labels) -> pd.Series:
    """Return the numbers of tomograms, motors, tomograms with and without motors, and most motors in a tomogram.

    Min, mean and max of size_z, size_y, size_x, in voxels, follow.
    """
    counts = labels.counts()
    found = {"tomograms": len(counts), "motors": counts.sum(), "with": (counts > 0).sum()}
    found |= {"without": (counts == 0).sum(), "most": counts.max()}
    sizes = {f"{how} {size}": labels.tomograms[size].agg(how) for size in SIZE for how in ("min", "mean", "max")}
    return pd.Series(found | sizes)


def compare(one: Labels, other: Labels, *, radius: float = MATCH_RADIUS) -> pd.DataFrame:
    """Return the motors of two sources in their common tomograms, one row per matched pair or unmatched motor.

    The nearest motors within `radius`, in ångström, are matched. The columns are tomo_id; where: "both", "one" or
    "other"; z, y, x, those of `one` if it has the motor; distance in ångström, NaN if unmatched. Raises ValueError if
    a tomogram has different shapes or spacings: its points would be in different frames.
    """
    join(one, other)  # raises for other frames
    both, rows = one.tomograms[["tomo_id", "spacing"]].merge(other.tomograms["tomo_id"]), []
    for tomo_id, spacing in both.itertuples(index=False):
        ours, theirs = one.of(tomo_id), other.of(tomo_id)
        pairs = nearest_pairs(ours, theirs, radius, spacing=spacing)
        rows += [(tomo_id, "both", *ours[k], away) for k, _, away in pairs]
        for where, points, side in (("one", ours, 0), ("other", theirs, 1)):
            alone = np.delete(points, [pair[side] for pair in pairs], axis=0)
            rows += [(tomo_id, where, *point, np.nan) for point in alone]
    return pd.DataFrame(rows, columns=["tomo_id", "where", *POINT, "distance"])


def agreement(sources: Mapping[str, Labels], *, radius: float = MATCH_RADIUS) -> pd.DataFrame:
    """Return how far every two sources agree on their common tomograms; pairs of sources without any are left out.

    The columns are one and other, names; tomograms, their number in common; both, only_one, only_other, numbers of
    motors; median and farthest distance in ångström between matched motors, NaN if there are none.
    """
    rows = []
    for one, other in combinations(sources, 2):
        shared = set(sources[one].tomograms["tomo_id"]) & set(sources[other].tomograms["tomo_id"])
        if shared:
            found = compare(sources[one], sources[other], radius=radius)
            counts = found["where"].value_counts().reindex(["both", "one", "other"], fill_value=0)
            rows.append([one, other, len(shared), *counts, found["distance"].median(), found["distance"].max()])
    names = "one other tomograms both only_one only_other median farthest"
    return pd.DataFrame(rows, columns=names.split())
