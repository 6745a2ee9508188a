"""Decisions about which tomograms have a motor."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from motors.matching import best_of, cut
from motors.tables import MEMBER, POINT

CUTS = ("threshold", "quantile")


def detections(
    candidates: pd.DataFrame, ids: Iterable[str], *, quantile: float | None = 0.55, threshold: float | None = None
) -> pd.DataFrame:
    """Return one row per tomogram: its best candidate, or -1 -1 -1 if its score is below the threshold.

    `ids` are all tomograms; those without a candidate have the score 0. `quantile` is the share of tomograms, those
    with the lowest scores, that get no motor; the original solution chose 0.55. The threshold is numpy's linear
    quantile of all scores, or `threshold`, if that is given; scores equal to it are kept. Columns are tomo_id, z, y,
    x, score, the rows in the order of `ids`. Raises ValueError if an id is repeated, a candidate has another id, or a
    score or coordinate that is not finite, or quantile and threshold are both None.
    """
    ids = list(ids)
    if len(set(ids)) < len(ids):
        raise ValueError("an id is listed twice: list every tomogram once")
    if strange := sorted(set(candidates["tomo_id"]) - set(ids)):
        raise ValueError(f"there are candidates of {strange[0]}, which is not among the ids: list every tomogram")
    if quantile is None and threshold is None:
        raise ValueError("neither a quantile nor a threshold is given: give one of them")
    return cut(best_of(candidates, ids)[["tomo_id", *POINT, "score"]], quantile=quantile, threshold=threshold)


def cut_of(settings: Mapping[str, Any], voters: Collection[tuple[str, str]]) -> dict[str, float]:
    """Return the threshold or the quantile of an ensemble, by name, for `detections`.

    A threshold does not depend on how many tomograms have a motor, but holds only for scores of the whole ensemble:
    if members are missing, the quantile is used. `settings` are from `tables.read_ensemble`; their "cut" is one of
    `CUTS`, by default the quantile. `voters` are run and symmetry of each member that voted.

    Raises ValueError if "cut" is unknown, or its value is not a finite number.
    """
    if (wanted := settings.get("cut", "quantile")) not in CUTS:
        raise ValueError(f"the cut of the ensemble is {wanted!r}: choose one of {', '.join(CUTS)}")
    members = {tuple(each[name] for name in MEMBER) for each in settings["members"] if each["weight"]}
    name = wanted if members <= set(voters) else "quantile"
    if not isinstance(value := settings.get(name), int | float) or not math.isfinite(value):
        raise ValueError(f"the {name} of the ensemble is {value!r}: correct ensemble.json, or run 40_ensemble again")
    return {name: value}
