"""Consensus of several annotators: motors that enough of them marked; other points are unsure."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS
from motors.labels.joining import join
from motors.labels.table import Labels
from motors.matching import nearest_pairs
from motors.tables import MOTORS


def consensus(annotators: Mapping[str, Labels], *, least: int = 2, radius: float = MATCH_RADIUS) -> Labels:
    """Return the labels that at least `least` annotators agree on; points of fewer annotators are unsure.

    Points of different annotators within `radius`, in ångström, are merged, nearest pairs first, at their mean
    position. Annotators of a tomogram are those whose tables list it, with or without a motor. Motors and unsure
    points have the columns votes (number that marked the point) and annotators (number for the tomogram).

    Raises ValueError if `least` is not from 1 to the number of annotators, or tomograms are in different frames.
    """
    if not 1 <= least <= len(annotators):
        raise ValueError(f"{least} of {len(annotators)} annotators cannot agree: ask for 1 to {len(annotators)}")
    tomograms = join(*annotators.values()).tomograms
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
