"""How good an answer is: the competition's F2, a verdict per tomogram, and how the score depends on thresholds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS
from motors.labels import MOTOR_AXES, NO_MOTOR, POINT, Labels, need, numbers, refuse

SOLUTION = ["tomo_id", *POINT, "spacing", "has_motor"]
RATIOS = tuple(np.arange(1, 11) / 10)  # of the radius: the mean precisions of the original solution
QUANTILES = np.linspace(0, 1, 201)
RECALL_FROM = 0.4  # the partial average precision of the original solution begins here


def solution(labels: Labels) -> pd.DataFrame:
    """Return what answers are compared with: one row per motor, one of -1 for a tomogram without.

    Returns
    -------
    tomo_id, z, y, x (voxels), spacing (ångström per voxel), has_motor
    """
    return labels.rows()[SOLUTION]


def f2(solution: pd.DataFrame, answer: pd.DataFrame, *, radius: float = MATCH_RADIUS) -> float:
    """Return the score of the competition, the F-beta of beta two over tomograms with and without a motor.

    A tomogram counts as answered unless one of its coordinates is -1. An answer farther than `radius` from the motor
    is a motor missed, not a false alarm as well; false alarms are answers to tomograms without a motor. Where
    `solution` has several motors in a tomogram, which the competition never has, the nearest counts.

    Parameters
    ----------
    solution : see `solution`
    answer : each tomogram of `solution` once: tomo_id, z, y, x (or the columns of a submission) in voxels, -1 for none
    radius : in ångström

    Raises
    ------
    ValueError
        If a tomogram is missing, unknown, or answered twice; if a coordinate is NaN or infinite (the public copy of the
        competition's metric takes NaN for a hit); if no tomogram has a motor and none is answered: F2 is 0/0.
    """
    score = float(_f2(*_counts(_judge(solution, _whole(solution, answer)), radius)))
    if np.isnan(score):
        raise ValueError("no tomogram has a motor and none is answered, so F2 is 0/0: score some that have a motor")
    return score


def verdicts(solution: pd.DataFrame, answer: pd.DataFrame, *, radius: float = MATCH_RADIUS) -> pd.DataFrame:
    """Return what happened in each tomogram.

    Parameters
    ----------
    solution, answer : as in `f2`; or candidates as in `curve`, recognised by their column `score`
    radius : in ångström

    Returns
    -------
    One row per tomogram, sorted by id: tomo_id; verdict, one of TP, FP, FN, TN; far, true where the motor was missed
    because the answer lies elsewhere; distance from answer to nearest motor in ångström, NaN if one of them is missing
    """
    whole = _best_of_each if "score" in answer.columns else _whole
    table = _judge(solution, whole(solution, answer))
    motor, answered, far = table["has_motor"], table["answered"], _far(table, radius)
    names = np.select([motor & answered & ~far, motor, answered], ["TP", "FN", "FP"], "TN")
    distance = table["distance_voxels"] * table["spacing"]
    return table[["tomo_id"]].assign(verdict=names, far=far, distance=distance)


def bootstrap(
    solution: pd.DataFrame, answer: pd.DataFrame, *, n: int = 1000, seed: int | np.random.Generator = 0
) -> tuple[float, float]:
    """Return where the middle 95 % of F2 lie when the tomograms are drawn again, with replacement, `n` times.

    F2 only depends on how many tomograms have each verdict, so these numbers are what is drawn. Draws without any
    motor or answer have no F2 and are left out. Raises as `f2`.
    """
    f2(solution, answer)  # refuses what cannot be scored
    tp, fp, fn = _counts(_judge(solution, _whole(solution, answer)), MATCH_RADIUS)
    total = solution["tomo_id"].nunique()
    shares = np.array([tp, fp, fn, total - tp - fp - fn]) / total
    draws = np.random.default_rng(seed).multinomial(total, shares, size=n)
    low, high = np.nanquantile(_f2(*draws[:, :3].T), [0.025, 0.975])
    return float(low), float(high)


def curve(
    solution: pd.DataFrame,
    candidates: pd.DataFrame,
    *,
    radius: float = MATCH_RADIUS,
    mode: str = "kaggle",
    absent: float | None = None,
) -> pd.DataFrame:
    """Return precision, recall and F2 for each threshold on the scores of the best candidates.

    Parameters
    ----------
    solution : see `solution`
    candidates : tomo_id, z, y, x, score from 0 up; a tomogram may have none, its best counts if it has several
    radius : in ångström
    mode : "kaggle", a candidate far from the motor is a motor missed; "detection", it is a false alarm too
    absent : score of tomograms without a candidate, which are never answered by default. The original solution gave
        them 0 in its kaggle mode, so that at threshold 0 a motor that nothing was found for counted as found.

    Returns
    -------
    threshold, precision, recall, f2; one row per distinct score, ascending, then answering nothing: inf, 1, 0, 0

    Raises
    ------
    ValueError
        If `solution` has no motor (recall is 0/0), or `mode` is another.
    """
    return _curve(_judge(solution, _best_of_each(solution, candidates)), radius, mode, absent)


def _curve(table: pd.DataFrame, radius: float, mode: str = "kaggle", absent: float | None = None) -> pd.DataFrame:
    """Return the curve of judged candidates."""
    if mode not in ("kaggle", "detection"):
        raise ValueError(f"mode is {mode!r}: choose kaggle or detection")
    motor, far = table["has_motor"].to_numpy(), _far(table, radius).to_numpy()
    score = np.where(table["answered"], table["score"], -np.inf if absent is None else absent)
    positive, scores = motor, np.where(far, -np.inf, score)
    if mode == "detection":  # a far candidate is tried a second time, where there is no motor
        positive, scores = np.append(positive, np.zeros(far.sum(), bool)), np.append(scores, score[far])
    return precision_recall(positive, scores)


def precision_recall(positive: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Return the rows of `curve` from `(n,)` truths and `(n,)` scores; minus infinity is never answered."""
    _need_motor(positive)
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
    """Return the area under a `curve`, by trapezoids, as the original solution measured it."""
    precision, recall = points["precision"].to_numpy(), points["recall"].to_numpy()
    return float(np.sum((recall[:-1] - recall[1:]) * (precision[:-1] + precision[1:]) / 2))


def partial_average_precision(points: pd.DataFrame, *, recall: float = RECALL_FROM) -> float:
    """Return the mean precision of a `curve` from `recall` to 1, as the original solution measured it.

    As there, the area begins at the first point beyond `recall`, so that with few motors a perfect detector stays
    below 1; only where a single recall lies beyond, it begins at `recall`, on the line to the neighbouring point.
    """
    beyond = points[points["recall"] >= recall]
    if beyond["recall"].nunique() == 1:
        end, before = beyond.iloc[-1], points.iloc[len(beyond)]
        share = (end["recall"] - recall) / (end["recall"] - before["recall"])
        cut = end["precision"] + share * (before["precision"] - end["precision"])
        beyond = pd.DataFrame({"precision": [end["precision"], cut], "recall": [end["recall"], recall]})
    return average_precision(beyond) / (1 - recall)


def mean_average_precision(
    solution: pd.DataFrame, candidates: pd.DataFrame, *, partial: bool = False, radius: float = MATCH_RADIUS, **options
) -> float:
    """Return the mean of the (partial) average precisions at a tenth, two tenths, ... and all of `radius`.

    `options` are those of `curve`: mode, absent.
    """
    area = partial_average_precision if partial else average_precision
    table = _judge(solution, _best_of_each(solution, candidates))
    return float(np.mean([area(_curve(table, ratio * radius, **options)) for ratio in RATIOS]))


def f2_by_quantile(
    solution: pd.DataFrame, candidates: pd.DataFrame, quantiles: np.ndarray = QUANTILES, *, radius: float = MATCH_RADIUS
) -> pd.DataFrame:
    """Return F2 if the tomograms with the lowest scores are left unanswered, for each share of them.

    Parameters
    ----------
    solution, candidates : as in `curve`; tomograms without a candidate have the score 0
    quantiles : shares from 0 to 1, by default in steps of 0.005
    radius : in ångström

    Returns
    -------
    quantile, threshold (numpy's linear quantile of all scores; what reaches it is answered), answered (tomograms), f2

    Raises
    ------
    ValueError
        If `solution` has no motor.
    """
    quantiles = np.sort(quantiles)
    table = _judge(solution, _best_of_each(solution, candidates))
    _need_motor(table["has_motor"])
    score, thresholds = table["score"].to_numpy(), np.quantile(table["score"], quantiles)
    answered = table["answered"].to_numpy() & (score >= thresholds[:, None])  # (quantiles, tomograms)
    columns = {"quantile": quantiles, "threshold": thresholds, "answered": answered.sum(axis=1)}
    return pd.DataFrame(columns | {"f2": _f2(*_counts(table, radius, answered))})


def choose_quantile(by_quantile: pd.DataFrame, *, tolerance: float = 0.0) -> float:
    """Return the quantile in the middle of the widest stretch of a `f2_by_quantile` on which F2 is best.

    With few tomograms F2 is a staircase: the middle of a wide stair is a safer choice than its first edge.
    Of equally wide stretches the one that answers more tomograms is taken. What is at most `tolerance` below the
    best F2 counts as best.
    """
    quantiles = by_quantile["quantile"].to_numpy()
    good = by_quantile["f2"].to_numpy() >= by_quantile["f2"].max() - tolerance - 1e-12
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]])))
    first, last = quantiles[edges[::2]], quantiles[edges[1::2] - 1]
    widest = np.argmax(np.round(last - first, 9))  # the first of equals, in spite of rounding
    return float((first[widest] + last[widest]) / 2)


def _whole(solution: pd.DataFrame, answer: pd.DataFrame) -> pd.DataFrame:
    """Return an answer with a score column after checking that it has every tomogram of `solution` once."""
    answer = _checked(solution, answer, "the answer")
    refuse(answer, answer["tomo_id"].duplicated(), "the answer", "is answered twice", "keep one row")
    missing = ~solution["tomo_id"].isin(answer["tomo_id"])
    refuse(solution, missing, "the answer", "is missing", "give it a row, -1 -1 -1 if there is no motor")
    return answer


def _best_of_each(solution: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the candidate with the highest score of each tomogram, or -1 with the score 0."""
    name = "the table of candidates"
    need(candidates, ["score"], name)
    candidates = _checked(solution, candidates, name)
    wrong = ~(candidates["score"].ge(0) & np.isfinite(candidates["score"]))
    refuse(candidates, wrong, name, "has a score below 0 or none", "give a number from 0 up")
    present = candidates[candidates[POINT].ne(NO_MOTOR).all(axis=1)]
    best = present.sort_values("score", ascending=False, kind="stable").drop_duplicates("tomo_id")
    best = best.set_index("tomo_id").reindex(pd.unique(solution["tomo_id"]))
    return best.fillna({"score": 0.0} | dict.fromkeys(POINT, NO_MOTOR)).rename_axis("tomo_id").reset_index()


def _checked(solution: pd.DataFrame, table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return tomo_id, z, y, x, score of a table that has no NaN, no infinity, and no tomogram unknown to `solution`."""
    table = table.rename(columns=MOTOR_AXES)
    need(table, ["tomo_id", *POINT], name)
    unknown = ~table["tomo_id"].isin(solution["tomo_id"])
    refuse(table, unknown, name, "is not in the solution", "compare with the solution of the same tomograms")
    finite = np.isfinite(numbers(table, POINT)).all(axis=1)
    refuse(table, ~finite, name, "has a coordinate that is NaN or infinite", "write a position, or -1 -1 -1 for none")
    table = table.assign(score=table.get("score", 0.0))
    return table[["tomo_id"]].assign(**dict(zip([*POINT, "score"], numbers(table, [*POINT, "score"]).T, strict=True)))


def _judge(solution: pd.DataFrame, answer: pd.DataFrame) -> pd.DataFrame:
    """Return has_motor, spacing, answered, score, distance_voxels to the nearest motor by tomogram, sorted by id."""
    name = "the solution"
    need(solution, SOLUTION, name)
    solution = solution[SOLUTION].astype({"has_motor": bool})
    finite = np.isfinite(numbers(solution, [*POINT, "spacing"])).all(axis=1) & solution["spacing"].gt(0)
    refuse(solution, ~finite, name, "has a position or spacing that cannot be", "make it with scoring.solution")
    empty = ~solution["has_motor"] & solution["tomo_id"].duplicated(keep=False)
    refuse(solution, empty, name, "has a row without a motor among others", "remove that row")
    refuse(solution, solution.duplicated(["tomo_id", *POINT]), name, "has the same motor twice", "keep one row")
    table = solution.merge(answer, on="tomo_id", suffixes=("", "_answer"))
    answers = table[[f"{axis}_answer" for axis in POINT]].to_numpy(float)
    table["answered"] = (answers != NO_MOTOR).all(axis=1)
    distance = np.sqrt(((table[POINT].to_numpy(float) - answers) ** 2).sum(axis=1))
    table["distance_voxels"] = np.where(table["has_motor"] & table["answered"], distance, np.nan)
    return table.sort_values(["tomo_id", "distance_voxels"]).drop_duplicates("tomo_id").reset_index(drop=True)


def _far(table: pd.DataFrame, radius: float) -> pd.Series:
    """Return which tomograms are answered beyond `radius` ångström from a motor; compared in voxels, as Kaggle does."""
    return table["distance_voxels"] > radius / table["spacing"]


def _counts(table: pd.DataFrame, radius: float, answered: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Return the numbers of TP, FP and FN; `answered` may be `(..., tomograms)` instead of the column of `table`."""
    motor, far = table["has_motor"].to_numpy(), _far(table, radius).to_numpy()
    answered = table["answered"].to_numpy() if answered is None else answered
    hits = (motor & answered & ~far).sum(axis=-1)
    return hits, (~motor & answered).sum(axis=-1), motor.sum() - hits


def _f2(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """Return F2, NaN where it is 0/0."""
    total = 5 * tp + fp + 4 * fn
    return np.where(total > 0, 5 * tp / np.maximum(total, 1), np.nan)


def _need_motor(has_motor: np.ndarray | pd.Series) -> None:
    """Refuse a solution without a motor."""
    if not has_motor.any():
        raise ValueError("no tomogram of the solution has a motor, so recall is 0/0: score some that have one")
