"""AP and PAP as in the original solution, from a `curves.curve`, to compare with its own figures."""

import pandas as pd
from scipy import integrate

RECALL_FROM = 0.4  # start of the partial area of the original solution, its PAP


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
