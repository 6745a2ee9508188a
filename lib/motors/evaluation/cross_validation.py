"""Out-of-fold evaluation: the tomograms that each run held out, and scores of networks over all folds."""

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

TOLERANCE = 0.05  # of F2, within which quantiles count as equally good: half the bootstrap uncertainty in the demo


def network_of(run: str) -> str:
    """Return the name of a run without its fold, which all runs of one network share."""
    return re.sub(r"-fold-?\d+", "", run)


def held_out(runs: pd.DataFrame, folds: pd.DataFrame, trained: Mapping[str, set[str] | None]) -> pd.DataFrame:
    """Return the tomograms on which each run is evaluated: those of the fold that it held out.

    A run that held out nothing, fold -1, is evaluated on the folds of the other runs, or fold 0, all in-sample.

    `runs` has run, fold, and optionally labels, a hash of the label table used in training; `folds` has tomo_id and
    fold, -1 for tomograms always used in training; `trained` has the names of the tomograms that each run was trained
    on, None if unknown. The columns are run, network, fold (of the tomogram), tomo_id, in_sample; in the order of the
    runs.

    Raises ValueError if runs were trained with different label tables, a network has two runs of one fold, a fold has
    no tomogram, or a run was trained on a tomogram of its held-out fold, perhaps with other folds.
    """
    need(runs, ["run", "fold"], "the table of runs")
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
    """Return the candidates of runs in their `held_out` tomograms, with `network`, `fold`, `in_sample`."""
    return candidates.merge(held, on=["run", "tomo_id"], validate="many_to_one")


def sure(candidates: pd.DataFrame, known: Labels) -> pd.DataFrame:
    """Return the candidates that can be judged: those within 1000 Å of a motor, or of no unsure point."""
    spacing, near = known.tomograms.set_index("tomo_id")["spacing"], []
    numbered = candidates.assign(row=range(len(candidates)))
    for points in (known.motors, known.unsure):
        pairs = numbered.merge(points[MOTORS], on="tomo_id", suffixes=("", "_true"))
        apart = np.linalg.norm(numbers(pairs, POINT) - numbers(pairs, [f"{axis}_true" for axis in POINT]), axis=1)
        near.append(np.isin(range(len(candidates)), pairs["row"][within(apart, pairs["tomo_id"].map(spacing))]))
    return candidates[near[0] | ~near[1]]


def choose_quantile(by_quantile: pd.DataFrame, *, tolerance: float = 0.0) -> float:
    """Return the middle of the widest range of quantiles in a `f2_by_quantile` where F2 is best.

    With few tomograms F2 is a step function: the middle of a wide step is a safer choice than its first edge. Of
    equally wide ones that with more tomograms answered is taken. F2 at most `tolerance` below the best counts as best.
    """
    quantiles = by_quantile["quantile"].to_numpy()
    good = by_quantile["f2"].to_numpy() >= by_quantile["f2"].max() - tolerance - 1e-12
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]])))
    first, last = quantiles[edges[::2]], quantiles[edges[1::2] - 1]
    widest = np.argmax(np.round(last - first, 9))  # the first of equals, despite rounding
    return float((first[widest] + last[widest]) / 2)


def judge(solution: pd.DataFrame, candidates: pd.DataFrame, other: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return the scores of candidates at the quantile chosen for them, below which tomograms get no motor.

    All notebooks use this rule: the quantile is the middle of the widest range with F2 at most `TOLERANCE` below the
    best, see `choose_quantile`. The solution is of all tomograms that were predicted, and no others; candidates have
    tomo_id, z, y, x, score, any number per tomogram.

    The result has F2; low, high, its 95 % bootstrap interval; AP; quantile and threshold, which is the corresponding
    score; precision and recall there; answer, the table; with `other`, an answer for the same tomograms, also
    better_low and better_high, the 95 % interval of the paired bootstrap of the gain in F2 over `other`.
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
    """Return one row per network: F2 of each fold, their mean and SD, and scores of all folds pooled.

    All folds use the quantile chosen on the pooled out-of-fold candidates of the network.

    The solution is of all held-out tomograms; `pooled` has one list of candidates per network and tomogram, such as
    `pool` of one symmetry, or fused, with their network; `held` is as `held_out` returns it. The index is the
    network; columns are `fold 0` and so on, mean, SD (NaN with one fold), F2, low, high, AP, quantile, threshold,
    precision, recall (of the pooled folds), tomograms, in_sample (whether any was seen in training).
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
