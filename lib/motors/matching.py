"""Matching of candidates to motors within 1000 Å, and the best candidate of a tomogram."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS
from motors.tables import NO_MOTOR, POINT, need, numbers, refuse

NAME = "the table of candidates"


def ranked(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the candidates of each tomogram, best first, sorted by tomogram.

    Of equal scores the one with the lowest z comes first, then y, then x, regardless of the order of rows. A row with a
    coordinate of -1 means no motor, as in a submission, and is left out. Raises ValueError if a
    coordinate or a score is NaN, infinite or no number.
    """
    need(candidates, ["tomo_id", *POINT, "score"], NAME)
    finite = np.isfinite(numbers(candidates, [*POINT, "score"])).all(axis=1)
    refuse(candidates, ~finite, NAME, "has a score or a coordinate that is NaN or infinite", "write numbers")
    present = candidates[candidates[POINT].ne(NO_MOTOR).all(axis=1)]
    order = ["tomo_id", "score", *POINT]
    return present.sort_values(order, ascending=[True, False, True, True, True], kind="stable", ignore_index=True)


def best(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the best candidate of each tomogram, see `ranked`; tomograms without any are not in the table."""
    return ranked(candidates).drop_duplicates("tomo_id", ignore_index=True)


def best_of(candidates: pd.DataFrame, ids: Iterable[str]) -> pd.DataFrame:
    """Return one row for each of the tomograms `ids`, in their order: its best candidate, or -1 -1 -1 with score 0."""
    table = best(candidates).set_index("tomo_id").reindex(ids)
    return table.fillna({"score": 0.0} | dict.fromkeys(POINT, NO_MOTOR)).rename_axis("tomo_id").reset_index()


def cut(best: pd.DataFrame, *, quantile: float | None = None, threshold: float | None = None) -> pd.DataFrame:
    """Return one row per tomogram with -1 -1 -1 if the score is below the threshold; equal ones stay.

    With `quantile`, the threshold is numpy's linear one of all scores: about that share of tomograms gets no motor.
    """
    if threshold is None:
        threshold = float(np.quantile(best["score"], quantile)) if len(best) else 0.0
    below = best["score"] < threshold
    return best.assign(**{axis: best[axis].mask(below, NO_MOTOR) for axis in POINT})


def within(distance_voxels: np.ndarray, spacing: np.ndarray | float, radius: float = MATCH_RADIUS) -> np.ndarray:
    """Return whether distances are a match: at most `radius` ångström, compared in voxels as the competition does."""
    return np.asarray(distance_voxels) <= radius / np.asarray(spacing)


def nearest_pairs(
    ones: np.ndarray, others: np.ndarray, radius: float = MATCH_RADIUS, *, spacing: float = 1.0
) -> list[tuple[int, int, float]]:
    """Return pairs of points of two lists that match, each point at most once: the nearest pairs are matched first.

    `ones` and `others` are `(n, 3)` and `(m, 3)` points in voxels of `spacing` ångström, 1 for points in ångström;
    those of a pair are at most `radius` ångström apart. A pair is an index among `ones`, one among `others` and their
    distance in ångström; of equal distances the lower indices come first.
    """
    distances = np.linalg.norm(ones[:, None] - others[None], axis=-1)
    pairs, free_ones, free_others = [], set(range(len(ones))), set(range(len(others)))
    for flat in np.argsort(distances, axis=None, kind="stable"):
        one, other = map(int, np.unravel_index(flat, distances.shape))
        if not within(distances[one, other], spacing, radius):
            break
        if one in free_ones and other in free_others:
            free_ones.remove(one)
            free_others.remove(other)
            pairs.append((one, other, float(distances[one, other] * spacing)))
    return pairs
