"""Which tomograms have a motor: one row for each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from motors.labels import NO_MOTOR, POINT


def best(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the candidate with the highest score of each tomogram, sorted by tomogram.

    Of equal scores the one with the lowest z, then y, then x is taken; rows of -1 count as no candidate.
    """
    present = candidates[candidates[POINT].ne(NO_MOTOR).all(axis=1)]
    ranked = present.sort_values(["tomo_id", "score", *POINT], ascending=[True, False, True, True, True])
    return ranked.drop_duplicates("tomo_id").reset_index(drop=True)


def answer(
    candidates: pd.DataFrame, ids: Iterable[str], *, quantile: float | None = 0.55, threshold: float | None = None
) -> pd.DataFrame:
    """Return one row per tomogram: its best candidate, or -1 -1 -1 where that is not confident enough.

    Parameters
    ----------
    candidates : tomo_id, z, y, x, score
    ids : all tomograms to be answered; those without a candidate have the score 0
    quantile : the share of all tomograms, those with the lowest scores, that is answered with none; the original
        solution chose 0.55. What reaches numpy's linear quantile of all scores is answered
    threshold : the lowest score to be answered, instead of a quantile

    Returns
    -------
    tomo_id, z, y, x, score; in the order of `ids`

    Raises
    ------
    ValueError
        If an id is there twice, a candidate belongs to none, or neither quantile nor threshold says where to cut.
    """
    ids = list(ids)
    if len(set(ids)) < len(ids):
        raise ValueError("an id is listed twice: list every tomogram once")
    if strange := sorted(set(candidates["tomo_id"]) - set(ids)):
        raise ValueError(f"candidates of {strange[0]} came, but it is not among the ids: list every tomogram")
    if quantile is None and threshold is None:
        raise ValueError("neither a quantile nor a threshold came: give one, to say where to cut")
    table = best(candidates).set_index("tomo_id")[[*POINT, "score"]].reindex(ids)
    table = table.fillna({"score": 0.0} | dict.fromkeys(POINT, NO_MOTOR)).rename_axis("tomo_id").reset_index()
    if threshold is None and len(table):
        threshold = float(np.quantile(table["score"], quantile))
    table.loc[table["score"] < threshold, POINT] = NO_MOTOR
    return table
