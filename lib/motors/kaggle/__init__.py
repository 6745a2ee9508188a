"""The competition's data from Kaggle, and datasets, notebook and submission to Kaggle, all by its own client.

Only `hand_in` is used where a submission is made; the rest is for home.
"""

from motors.kaggle.client import KaggleError
from motors.kaggle.download import check as check_competition
from motors.kaggle.download import download
from motors.kaggle.packages import RECIPES, Package, check, package, packed
from motors.kaggle.publishing import absent, hand_in, kernel, listing, plan, publish, push, submit

__all__ = [
    "RECIPES",
    "KaggleError",
    "Package",
    "absent",
    "check",
    "check_competition",
    "download",
    "hand_in",
    "kernel",
    "listing",
    "package",
    "packed",
    "plan",
    "publish",
    "push",
    "submit",
]
