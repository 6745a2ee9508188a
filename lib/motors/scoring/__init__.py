"""How good an answer is: the competition's F2, a verdict per tomogram, and how the score depends on thresholds."""

from .curves import (
    average_precision,
    choose_quantile,
    curve,
    f2_by_quantile,
    mean_average_precision,
    partial_average_precision,
    precision_recall,
)
from .judging import SOLUTION, bootstrap, f2, solution, verdicts

__all__ = [
    "SOLUTION",
    "average_precision",
    "bootstrap",
    "choose_quantile",
    "curve",
    "f2",
    "f2_by_quantile",
    "mean_average_precision",
    "partial_average_precision",
    "precision_recall",
    "solution",
    "verdicts",
]
