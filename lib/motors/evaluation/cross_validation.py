"""Out-of-fold: which run may judge which tomogram, and how good networks are over all folds together."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from motors.evaluation.curves import average_precision, curve, f2_by_quantile
from motors.evaluation.metrics import best_of_each, bootstrap, f2, verdicts
from motors.labels.table import Labels
from motors.matching import cut, within
from motors.tables import MOTORS, POINT, need, numbers

TOLERANCE = 0.05  # of F2, within which quantiles count as equally good: half the bootstrap's uncertainty of the demo
RUNS = ["run", "fold"]


def network_of(run: str) -> str:
    """Return the name of a run without its fold: the runs of one network over all folds have the same."""
    return re.sub(r"-fold-?\d+", "", run)


def held_out(runs: pd.DataFrame, folds: pd.DataFrame, trained: Mapping[str, set[str] | None]) -> pd.DataFrame:
    """Return which tomograms each run is judged by: those of the fold that it held out.

    A run that held out nothing, fold -1, is judged by the folds that are there, and all of that is in-sample.

    `runs` have run, fold, and labels, if given, a hash of the label table that the run was trained with; `folds`
    tomo_id and fold, -1 for tomograms that always train, as the runs are to be judged; `trained` are the names of the
    tomograms that each run was trained on, None if not known. The columns are run, network, fold (of the tomogram),
    tomo_id, in_sample; in the order of the runs.

    Raises ValueError if runs were trained with other label tables than each other, a network has two runs of one fold,
    a fold has no tomogram, or a run was trained on one that it held out, perhaps by other folds.
    """
    need(runs, RUNS, "the table of runs")
    if "labels" in runs and runs["labels"].nunique() > 1:
        one, other = runs.drop_duplicates("labels")["run"].head(2)
        raise ValueError(f"{one} and {other} were trained with other label tables: pool runs of one table only")
    runs = runs.assign(network=runs["run"].map(network_of))
    if runs.duplicated(["network", "fold"]).any():
        twice = runs.loc[runs.duplicated(["network", "fold"]), "run"].iloc[0]
        raise ValueError(f"{twice} is there twice: give one run for each network and fold")
    judged = sorted({fold for fold in runs["fold"] if fold >= 0}) or [0]
    parts = []
    for run, fold, network in runs[["run", "fold", "network"]].itertuples(index=False):
        names = folds[folds["fold"].isin([fold] if fold >= 0 else judged)]
        if names.empty:
            raise ValueError(f"{run} held out fold {fold}, which has no tomogram: make the folds it was trained with")
        seen = names["tomo_id"].isin(trained[run] or ()) | (fold < 0)
        if fold >= 0 and seen.any():
            one = names["tomo_id"][seen].iloc[0]
            what = f"{run} was trained on {one} of fold {fold}, which is to judge it"
            raise ValueError(f"{what}: leakage, train it with these folds")
        parts.append(names[["tomo_id", "fold"]].assign(run=run, network=network, in_sample=seen))
    return pd.concat(parts, ignore_index=True)[["run", "network", "fold", "tomo_id", "in_sample"]]


def pool(candidates: pd.DataFrame, held: pd.DataFrame) -> pd.DataFrame:
    """Return the candidates that runs have in the tomograms they are judged by, with `network`, `fold`, `in_sample`."""
    return candidates.merge(held, on=["run", "tomo_id"], validate="many_to_one")


def sure(candidates: pd.DataFrame, known: Labels) -> pd.DataFrame:
    """Return the candidates that can be judged: not those within 1000 Å of an unsure point, but not of a motor."""
    spacing, near = known.tomograms.set_index("tomo_id")["spacing"], []
    numbered = candidates.assign(row=range(len(candidates)))
    for points in (known.motors, known.unsure):
        pairs = numbered.merge(points[MOTORS], on="tomo_id", suffixes=("", "_true"))
        apart = np.linalg.norm(numbers(pairs, POINT) - numbers(pairs, [f"{axis}_true" for axis in POINT]), axis=1)
        near.append(np.isin(range(len(candidates)), pairs["row"][within(apart, pairs["tomo_id"].map(spacing))]))
    return candidates[near[0] | ~near[1]]


def choose_quantile(by_quantile: pd.DataFrame, *, tolerance: float = 0.0) -> float:
    """Return the quantile in the middle of the widest stretch of a `f2_by_quantile` on which F2 is best.

    With few tomograms F2 is a staircase: the middle of a wide stair is a safer choice than its first edge. Of equally
    wide ones that with more tomograms answered is taken. What is at most `tolerance` below the best counts as best.
    """
    quantiles = by_quantile["quantile"].to_numpy()
    good = by_quantile["f2"].to_numpy() >= by_quantile["f2"].max() - tolerance - 1e-12
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]])))
    first, last = quantiles[edges[::2]], quantiles[edges[1::2] - 1]
    widest = np.argmax(np.round(last - first, 9))  # the first of equals, in spite of rounding
    return float((first[widest] + last[widest]) / 2)


def judge(solution: pd.DataFrame, candidates: pd.DataFrame, other: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return how good candidates are if those below the quantile that suits them are answered with no motor.

    The one rule by which candidates get a figure, in every notebook: the quantile is in the middle of the widest
    stretch at most `TOLERANCE` below the best F2, see `choose_quantile`. The solution is of all tomograms that were
    predicted, and no others; candidates are tomo_id, z, y, x, score, several in a tomogram or none.

    What comes back is F2; low, high, where 95 % of its bootstrap lie; AP; quantile and threshold, which is the same cut
    as a score; precision and recall there; answer, the table; with `other`, an answer with the same tomograms, also
    better_low and better_high, where 95 % of the paired bootstrap lie by how much F2 is better than that one's.
    """
    quantile = choose_quantile(f2_by_quantile(solution, candidates), tolerance=TOLERANCE)
    first = best_of_each(solution, candidates)
    answer = cut(first, quantile=quantile)
    counts = verdicts(solution, answer.drop(columns="score"))["verdict"].value_counts()
    hits, alarms, misses = (int(counts.get(name, 0)) for name in ("TP", "FP", "FN"))
    low, high = bootstrap(solution, answer)
    found = {"F2": f2(solution, answer), "low": low, "high": high}
    found |= {"AP": average_precision(curve(solution, candidates)), "quantile": quantile}
    found |= {"threshold": float(np.quantile(first["score"], quantile))}
    found |= {"precision": hits / max(hits + alarms, 1), "recall": hits / max(hits + misses, 1)}
    if other is not None:
        found["better_low"], found["better_high"] = bootstrap(solution, answer, other)
    return found | {"answer": answer}


def table(solution: pd.DataFrame, pooled: pd.DataFrame, held: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network: F2 of each fold, their mean and SD, and what all folds say together.

    Every fold is cut at the quantile chosen on the pooled out-of-fold candidates of the network.

    The solution is of all tomograms that are held out; `pooled` are candidates of one list per network and tomogram,
    such as `pool` of one symmetry, or fused, with their network; `held` is as `held_out` returns it. The index is the
    network; columns are `fold 0` and so on, mean, SD (NaN with one fold), F2, low, high, AP, quantile, threshold,
    precision, recall (all of the pooled folds), tomograms, in_sample (whether any was seen in training).
    """
    rows = {}
    for network, mine in held.groupby("network", sort=False):
        here = solution[solution["tomo_id"].isin(mine["tomo_id"])]
        row = judge(here, pooled[pooled["network"] == network])
        answer, each = row.pop("answer"), {}
        for fold, names in mine.groupby("fold")["tomo_id"]:
            part = (frame[frame["tomo_id"].isin(names)] for frame in (here, answer))
            each[f"fold {fold}"] = f2(*part)
        values = pd.Series(each)
        about = {"tomograms": len(mine), "in_sample": bool(mine["in_sample"].any())}
        rows[network] = each | {"mean": values.mean(), "SD": values.std()} | row | about
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")
