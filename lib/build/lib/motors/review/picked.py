"""Corrections made of what somebody picked in another program."""

from __future__ import annotations

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS
from motors.labels.table import Labels
from motors.matching import nearest_pairs
from motors.review.corrections import CORRECTIONS


def corrections_of(labels: Labels, picked: Labels, *, run: str, round: str, move: bool = False) -> pd.DataFrame:
    """Return what has to change for labels to be as picked: one row per motor, those that change nothing included.

    In the tomograms that were picked in, a label without a pick within 1000 Å is removed, a pick without a label added.

    Parameters
    ----------
    labels : as they are now
    picked : of the tomograms that somebody went through, see `motors.labels.picked`; other tomograms stay as they are
    run, round : where the picks come from, for the record, see `motors.review.corrections.corrections`
    move : True moves a label to its pick; otherwise it stays where it is

    Returns
    -------
    See `motors.review.corrections.corrections`

    Raises
    ------
    ValueError
        If a tomogram that was picked in is not labelled.
    """
    frames, rows, nowhere = picked.frames(), [], [np.nan] * 3
    spacings = picked.tomograms.set_index("tomo_id")["spacing"]
    for tomo_id in picked.tomograms["tomo_id"]:
        before, after = labels.of(tomo_id), picked.of(tomo_id)
        pairs = {one: other for one, other, _ in nearest_pairs(before, after, MATCH_RADIUS / spacings[tomo_id])}
        found = [("remove", point, nowhere) for k, point in enumerate(before) if k not in pairs]
        found += [("add", point, nowhere) for k, point in enumerate(after) if k not in pairs.values()]
        for one, other in pairs.items():
            moved = move and not np.array_equal(before[one], after[other])
            found.append(("move" if moved else "keep", before[one], after[other] if moved else nowhere))
        about = ["picked by hand", run, round, frames[tomo_id]]
        rows += [[tomo_id, action, *point, *goal, *about] for action, point, goal in found]
    return pd.DataFrame(rows, columns=CORRECTIONS)
