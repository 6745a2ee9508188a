"""The competition's data from Kaggle, and datasets, notebook and submission to Kaggle, all by its own client.

Stays at home: on Kaggle's machine nothing of it is needed.
"""

from motors.kaggle.client import KaggleError
from motors.kaggle.download import check as check_competition
from motors.kaggle.download import download
from motors.kaggle.packages import RECIPES, Package, check, package, packed
from motors.kaggle.publishing import absent, kernel, listing, plan, publish, push, submit

__all__ = [
    "RECIPES",
    "KaggleError",
    "Package",
    "absent",
    "check",
    "check_competition",
    "download",
    "kernel",
    "listing",
    "package",
    "packed",
    "plan",
    "publish",
    "push",
    "submit",
]
