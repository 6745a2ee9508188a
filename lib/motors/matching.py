"""The one match within 1000 Å, and the one "best of a tomogram"."""

from __future__ import annotations

import numpy as np
import pandas as pd

from motors.tables import NO_MOTOR, POINT


def best(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the candidate with the highest score of each tomogram, sorted by tomogram.

    Of equal scores the one with the lowest z, then y, then x is taken; rows of -1 count as no candidate.
    """
    present = candidates[candidates[POINT].ne(NO_MOTOR).all(axis=1)]
    ranked = present.sort_values(["tomo_id", "score", *POINT], ascending=[True, False, True, True, True])
    return ranked.drop_duplicates("tomo_id").reset_index(drop=True)


def nearest_pairs(ones: np.ndarray, others: np.ndarray, radius: float) -> list[tuple[int, int, float]]:
    """Return which points of `(n, d)` and `(m, d)` belong together, each at most once: nearest pairs first.

    A pair is two indices and a distance, which is at most `radius`.
    """
    distances = np.linalg.norm(ones[:, None] - others[None], axis=-1)
    pairs = []
    for flat in np.argsort(distances, axis=None, kind="stable"):
        one, other = np.unravel_index(flat, distances.shape)
        if distances[one, other] > radius:
            break
        if all(one != taken and other != also for taken, also, _ in pairs):
            pairs.append((int(one), int(other), float(distances[one, other])))
    return pairs
