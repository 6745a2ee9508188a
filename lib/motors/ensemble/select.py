"""Which tomograms have a motor: one row for each."""

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
    """Return one row per tomogram: its best candidate, or -1 -1 -1 where that is not confident enough.

    `ids` are all tomograms to be answered; those without a candidate have the score 0. The `quantile` is the share of
    them, those with the lowest scores, that is answered with none; the original solution chose 0.55. What reaches
    numpy's linear quantile of all scores is answered; or what reaches a `threshold`, if that is given instead. The
    columns are tomo_id, z, y, x, score, the rows in the order of `ids`. Raises ValueError if an id is there twice, a
    candidate belongs to none or has no finite score and place, or neither quantile nor threshold says where to cut.
    """
    ids = list(ids)
    if len(set(ids)) < len(ids):
        raise ValueError("an id is listed twice: list every tomogram once")
    if strange := sorted(set(candidates["tomo_id"]) - set(ids)):
        raise ValueError(f"candidates of {strange[0]} came, but it is not among the ids: list every tomogram")
    if quantile is None and threshold is None:
        raise ValueError("neither a quantile nor a threshold came: give one, to say where to cut")
    return cut(best_of(candidates, ids)[["tomo_id", *POINT, "score"]], quantile=quantile, threshold=threshold)


def cut_of(settings: Mapping[str, Any], voters: Collection[tuple[str, str]]) -> dict[str, float]:
    """Return where `detections` cuts what an ensemble says: its threshold or its quantile, by name.

    A threshold does not mind how many tomograms have a motor, but is one of scores of the whole ensemble. While voters
    are missing it is the quantile. In `settings`, what `tables.read_ensemble` returns, "cut" names one of `CUTS`, by
    default the quantile; `voters` are run and symmetry of each member that voted.

    Raises ValueError if `settings` name another cut, or it is no finite number.
    """
    if (wanted := settings.get("cut", "quantile")) not in CUTS:
        raise ValueError(f"the ensemble is to be cut at its {wanted!r}: choose one of {', '.join(CUTS)}")
    members = {tuple(each[name] for name in MEMBER) for each in settings["members"] if each["weight"]}
    name = wanted if members <= set(voters) else "quantile"
    if not isinstance(value := settings[name], int | float) or not math.isfinite(value):
        raise ValueError(f"the {name} of the ensemble is {value!r}: correct ensemble.json, or run 40_ensemble again")
    return {name: value}
