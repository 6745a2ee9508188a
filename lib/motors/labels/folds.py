"""Folds: which tomograms are held out together."""

import warnings

import numpy as np
import pandas as pd

from motors.labels.table import Labels
from motors.matching import NAME
from motors.tables import need, refuse


def folds(labels: Labels, *, splits: int = 4, seed: int = 42, reviewed: Labels | None = None) -> pd.DataFrame:
    """Return the fold in which each tomogram is held out; those with several motors never are.

    The folds of the original solution: scikit-learn's StratifiedKFold by number of motors, tomograms sorted by id.
    Tomograms with several motors in `reviewed`, later labels of the same tomograms, are not held out either. The
    columns are tomo_id, sorted, and fold: 0 to `splits` - 1, or -1 for tomograms that are always in training.

    Raises ValueError if no number of motors occurs in at least `splits` tomograms.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = labels.validate().counts().sort_index()
    most = int(counts.value_counts().max()) if len(counts) else 0
    if most < splits:
        what = f"{splits} folds need {splits} tomograms with equally many motors, here are {most}"
        raise ValueError(f"{what}: split less")
    fold = pd.Series(-1, counts.index, name="fold")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few tomograms have ten motors; they are never held out
        parts = StratifiedKFold(splits, shuffle=True, random_state=seed).split(counts, counts)
        for number, (_, held_out) in enumerate(parts):
            fold.iloc[held_out] = number
    several = counts if reviewed is None else np.maximum(counts, reviewed.counts().reindex(counts.index, fill_value=0))
    return fold.where(several <= 1, -1).reset_index()


def kind(candidates: pd.DataFrame, folds: pd.DataFrame) -> str:
    """Return the kind of review round for candidates: "cross-fitted" or "leaky".

    In a cross-fitted round all candidates are out-of-fold: from networks not trained on the tomogram's labels. In a
    leaky one, such as the second of the original solution, networks may repeat wrong labels that they were trained on.

    A candidate's fold is the one its network held out, -1 for none; a tomogram's is its own, -1 if always in training.
    """
    need(candidates, ["tomo_id", "fold"], NAME)
    part = candidates["tomo_id"].map(folds.set_index("tomo_id")["fold"])
    refuse(candidates, part.isna(), NAME, "is in no fold", "give the folds that the networks held out")
    return "cross-fitted" if ((part == candidates["fold"]) & (part >= 0)).all() else "leaky"


def parts(labels: Labels, *, splits: int, seed: int = 0) -> pd.DataFrame:
    """Return which of `splits` parts each tomogram is held out in, for a cross-fitted round.

    Unlike in `folds`, which are for scoring, tomograms with several motors are held out too. Parts are stratified by
    number of motors; the columns are tomo_id and fold.
    """
    counts = labels.counts()
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(counts.to_numpy()[order], kind="stable")]
    fold = np.empty(len(counts), int)
    fold[order] = np.arange(len(counts)) % splits
    return pd.DataFrame({"tomo_id": counts.index, "fold": fold})
