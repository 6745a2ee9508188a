"""Scores as functions of thresholds and quantiles."""

import numpy as np
import pandas as pd
from scipy import integrate

from motors.evaluation.metrics import best_of_each, counts, f2_of, is_far, judge, need_motor
from motors.geometry import MATCH_RADIUS

QUANTILES = np.linspace(0, 1, 201)
RECALL_FROM = 0.4  # start of the partial area of the original solution, its PAP


def curve(
    solution: pd.DataFrame,
    candidates: pd.DataFrame,
    *,
    radius: float = MATCH_RADIUS,
    mode: str = "kaggle",
    absent: float | None = None,
) -> pd.DataFrame:
    """Return precision, recall and F2 for each threshold on the scores of the best candidates.

    Columns are threshold, precision, recall, f2; one row per distinct score, ascending, last no answer: inf, 1, 0, 0.

    Parameters
    ----------
    solution : see `labels.table.solution`
    candidates : tomo_id, z, y, x, score from 0 up; any number per tomogram, of which the best counts
    radius : in ångström
    mode : "kaggle", a candidate far from the motor is a false negative; "detection", also a false positive
    absent : score of tomograms without a candidate, which are never answered by default. The original solution gave
        them 0 in its kaggle mode, so that at threshold 0 a motor without any candidate counted as found.

    Raises ValueError if `solution` has no motor (recall is 0/0), or `mode` is unknown.
    """
    if mode not in ("kaggle", "detection"):
        raise ValueError(f"mode is {mode!r}: choose kaggle or detection")
    table = judge(solution, best_of_each(solution, candidates))
    motor, far = table["has_motor"].to_numpy(), is_far(table, radius).to_numpy()
    score = np.where(table["answered"], table["score"], -np.inf if absent is None else absent)
    positive, scores = motor, np.where(far, -np.inf, score)
    if mode == "detection":  # a far candidate counts again, as one where there is no motor
        positive, scores = np.append(positive, np.zeros(far.sum(), bool)), np.append(scores, score[far])
    return precision_recall(positive, scores)


def precision_recall(positive: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Return the rows of `curve` from `(n,)` truths and `(n,)` scores, minus infinity if never answered."""
    need_motor(positive)
    order = np.argsort(scores)
    thresholds, first = np.unique(scores[order], return_index=True)
    hits = positive[order][::-1].cumsum()[::-1][first]  # from each threshold up
    finite = thresholds > -np.inf
    precision, recall = hits / (len(scores) - first), hits / np.sum(positive)
    precision, recall = np.append(precision[finite], 1.0), np.append(recall[finite], 0.0)
    score = 5 * precision * recall / np.maximum(4 * precision + recall, 1e-300)  # 0 where nothing is right
    thresholds = np.append(thresholds[finite], np.inf)
    return pd.DataFrame({"threshold": thresholds, "precision": precision, "recall": recall, "f2": score})


def average_precision(points: pd.DataFrame) -> float:
    """Return the average precision (AP) of a `curve`: the sum of recall steps times precision at their ends.

    It equals scikit-learn's `average_precision_score`, and is "AP" everywhere here. Unanswered motors lower it.
    """
    precision, recall = points["precision"].to_numpy(), points["recall"].to_numpy()
    return float(np.sum((recall[:-1] - recall[1:]) * precision[:-1]))


def pr_auc(points: pd.DataFrame) -> float:
    """Return the area under a curve by trapezoids (PR-AUC), which is what the original solution called AP."""
    return float(-integrate.trapezoid(points["precision"], points["recall"]))  # recall decreases


def partial_pr_auc(points: pd.DataFrame, *, recall: float = RECALL_FROM) -> float:
    """Return the mean precision of a curve from `recall` to 1, which is the original solution's PAP.

    As there, the area begins at the first point beyond `recall`, so that with few motors a perfect detector stays
    below 1; only if a single recall is beyond, it begins at `recall`, interpolated to the neighbouring point.
    """
    beyond = points[points["recall"] >= recall]
    if beyond["recall"].nunique() == 1:
        end, before = beyond.iloc[-1], points.iloc[len(beyond)]
        share = (end["recall"] - recall) / (end["recall"] - before["recall"])
        cut = end["precision"] + share * (before["precision"] - end["precision"])
        beyond = pd.DataFrame({"precision": [end["precision"], cut], "recall": [end["recall"], recall]})
    return pr_auc(beyond) / (1 - recall)


def f2_by_quantile(solution: pd.DataFrame, candidates: pd.DataFrame, quantiles: np.ndarray = QUANTILES) -> pd.DataFrame:
    """Return F2 for each of `quantiles`, the share of tomograms, of the lowest scores, that is left unanswered.

    Parameters are those of `curve`; tomograms without a candidate score 0. Columns are quantile, threshold (numpy's
    linear quantile of scores; equal ones are answered), answered (tomograms), f2. Raises ValueError without motors.
    """
    quantiles = np.sort(quantiles)
    table = judge(solution, best_of_each(solution, candidates))
    need_motor(table["has_motor"])
    score, thresholds = table["score"].to_numpy(), np.quantile(table["score"], quantiles)
    answered = table["answered"].to_numpy() & (score >= thresholds[:, None])  # (quantiles, tomograms)
    columns = {"quantile": quantiles, "threshold": thresholds, "answered": answered.sum(axis=1)}
    return pd.DataFrame(columns | {"f2": f2_of(*counts(table, answered))})
