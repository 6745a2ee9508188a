"""The competition's F2, a verdict per tomogram, and bootstrap intervals."""

from collections import Counter
from itertools import product

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS
from motors.matching import NAME, best_of, within
from motors.tables import MOTOR_AXES, NO_MOTOR, POINT, SOLUTION, has_motor, need, numbers, refuse

VERDICTS = ("TP", "FP", "FN", "TN")


def f2(solution: pd.DataFrame, answer: pd.DataFrame) -> float:
    """Return the score of the competition, F-beta with beta 2 over tomograms with and without a motor.

    A tomogram counts as answered unless one of its coordinates is -1. An answer over 1000 Å from the motor is a false
    negative only; false positives are answers in tomograms without a motor. If `solution` has several motors in a
    tomogram, as the competition never has, the nearest counts.

    `solution` has a row per motor: tomo_id; z, y, x in voxels, -1 in all three if there is none; spacing in ångström;
    has_motor. `answer` has each of its tomograms once: tomo_id, z, y, x (or the columns of a submission), -1 for none.
    Raises ValueError if a tomogram is missing, unknown, or answered twice; if a coordinate is NaN or infinite; if no
    tomogram has a motor and none is answered: F2 is 0/0.
    """
    score = float(f2_of(*counts(judge(solution, _whole(solution, answer)))))
    if np.isnan(score):
        raise ValueError("no tomogram has a motor and none is answered, so F2 is 0/0: score some that have a motor")
    return score


def verdicts(solution: pd.DataFrame, answer: pd.DataFrame) -> pd.DataFrame:
    """Return the verdict for each tomogram; parameters are those of `f2`; `answer` may be candidates as in `curve`.

    One row per tomogram, sorted by id: tomo_id; verdict, one of TP, FP, FN, TN; far, true if the motor was missed
    because the answer is too far; distance from answer to nearest motor in ångström, NaN if one of them is missing.
    """
    whole = best_of_each if "score" in answer.columns else _whole
    table = judge(solution, whole(solution, answer))
    motor, answered, far = table["has_motor"], table["answered"], is_far(table)
    names = np.select([motor & answered & ~far, motor, answered], ["TP", "FN", "FP"], "TN")
    distance = table["distance_voxels"] * table["spacing"]
    return table[["tomo_id"]].assign(verdict=names, far=far, distance=distance)


def bootstrap(
    solution: pd.DataFrame, answer: pd.DataFrame, other: pd.DataFrame | None = None, *, n: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % confidence interval of F2 over `n` bootstrap samples of the tomograms.

    F2 only depends on how many tomograms have each verdict, so these numbers are drawn. Samples without any motor or
    answer have no F2 and are left out. With an `other` answer, the interval is of how much `answer` is better, both
    scored on the same samples. Raises as `f2`.
    """
    answers = [each.drop(columns="score", errors="ignore") for each in (answer, other) if each is not None]
    for each in answers:
        f2(solution, each)  # refuses what cannot be scored
    kinds = list(product(VERDICTS, repeat=len(answers)))
    found = Counter(zip(*(verdicts(solution, each)["verdict"] for each in answers), strict=True))
    shares = np.array([found[kind] for kind in kinds]) / found.total()
    draws = np.random.default_rng(seed).multinomial(found.total(), shares, size=n)
    wanted = [[[kind[k] == name for kind in kinds] for name in VERDICTS[:3]] for k in range(len(answers))]
    scores = [f2_of(*(draws[:, columns].sum(axis=1) for columns in each)) for each in wanted]
    low, high = np.nanquantile(scores[0] if other is None else scores[0] - scores[1], [0.025, 0.975])
    return float(low), float(high)


def _whole(solution: pd.DataFrame, answer: pd.DataFrame) -> pd.DataFrame:
    """Return an answer with a score column after checking that it has every tomogram of `solution` once."""
    answer = _checked(solution, answer, "the answer")
    refuse(answer, answer["tomo_id"].duplicated(), "the answer", "is answered twice", "keep one row")
    missing = ~solution["tomo_id"].isin(answer["tomo_id"])
    refuse(solution.reset_index(), missing, "the answer", "is missing", "give it a row, -1 -1 -1 if there is no motor")
    return answer


def best_of_each(solution: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Return `matching.best_of` for the tomograms of `solution`; raises ValueError for a score below 0."""
    need(candidates, ["score"], NAME)
    candidates = _checked(solution, candidates, NAME)
    wrong = ~(candidates["score"].ge(0) & np.isfinite(candidates["score"]))
    refuse(candidates, wrong, NAME, "has a score below 0 or none", "give a number from 0 up")
    return best_of(candidates, pd.unique(solution["tomo_id"]))


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


def judge(solution: pd.DataFrame, answer: pd.DataFrame) -> pd.DataFrame:
    """Return has_motor, spacing, answered, score, distance_voxels to the nearest motor by tomogram, sorted by id."""
    name = "the solution"
    need(solution, SOLUTION, name)
    sizes = numbers(solution, [*POINT, "spacing"])
    finite = np.isfinite(sizes).all(axis=1) & (sizes[:, 3] > 0)
    refuse(solution, ~finite, name, "has a position or spacing that cannot be", "write numbers, -1 -1 -1 for no motor")
    solution = solution[SOLUTION].assign(has_motor=has_motor(solution, name))
    refuse(solution, solution.duplicated(["tomo_id", *POINT]), name, "has the same motor twice", "keep one row")
    table = solution.merge(answer, on="tomo_id", suffixes=("", "_answer"))
    answers = table[[f"{axis}_answer" for axis in POINT]].to_numpy(float)
    table["answered"] = (answers != NO_MOTOR).all(axis=1)
    distance = np.sqrt(((table[POINT].to_numpy(float) - answers) ** 2).sum(axis=1))
    table["distance_voxels"] = np.where(table["has_motor"] & table["answered"], distance, np.nan)
    return table.sort_values(["tomo_id", "distance_voxels"]).drop_duplicates("tomo_id").reset_index(drop=True)


def is_far(table: pd.DataFrame, radius: float = MATCH_RADIUS) -> pd.Series:
    """Return which tomograms have an answer beyond `radius` ångström from any motor."""
    return table["distance_voxels"].notna() & ~within(table["distance_voxels"], table["spacing"], radius)


def counts(table: pd.DataFrame, answered: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Return the numbers of TP, FP and FN; `answered` may be `(..., tomograms)` instead of the column of `table`."""
    motor, far = table["has_motor"].to_numpy(), is_far(table).to_numpy()
    answered = table["answered"].to_numpy() if answered is None else answered
    hits = (motor & answered & ~far).sum(axis=-1)
    return hits, (~motor & answered).sum(axis=-1), motor.sum() - hits


def f2_of(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """Return F2 of counts of one shape, NaN where it is 0/0."""
    total = 5 * tp + fp + 4 * fn
    return np.where(total > 0, 5 * tp / np.maximum(total, 1), np.nan)


def need_motor(has_motor: np.ndarray | pd.Series) -> None:
    """Raise ValueError if no tomogram has a motor."""
    if not has_motor.any():
        raise ValueError("no tomogram of the solution has a motor, so recall is 0/0: score some that have one")
