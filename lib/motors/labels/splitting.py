"""Folds: which tomograms are held out together."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from motors.labels.table import Labels


def folds(labels: Labels, *, splits: int = 4, seed: int = 42, reviewed: Labels | None = None) -> pd.DataFrame:
    """Return in which fold each tomogram is held out; those with several motors always train.

    The folds of the original solution: scikit-learn's StratifiedKFold by number of motors, tomograms sorted by id.

    Parameters
    ----------
    labels : decide the folds
    splits : number of folds
    seed : of the shuffling
    reviewed : later labels of the same tomograms; where they have several motors, the tomogram always trains too

    Returns
    -------
    tomo_id, fold; sorted by tomo_id; fold is 0 to `splits` - 1, or -1 for tomograms that are never held out

    Raises
    ------
    ValueError
        If there are fewer tomograms of every number of motors than `splits`.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = labels.validate().counts().sort_index()
    most = int(counts.value_counts().max()) if len(counts) else 0
    if most < splits:
        raise ValueError(
            f"{splits} folds need {splits} tomograms with equally many motors, here are {most}: split less"
        )
    fold = pd.Series(-1, counts.index, name="fold")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few tomograms have ten motors, and those always train
        parts = StratifiedKFold(splits, shuffle=True, random_state=seed).split(counts, counts)
        for number, (_, held_out) in enumerate(parts):
            fold.iloc[held_out] = number
    several = counts if reviewed is None else np.maximum(counts, reviewed.counts().reindex(counts.index, fill_value=0))
    return fold.where(several <= 1, -1).reset_index()
