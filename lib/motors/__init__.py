"""Find flagellar motors in cryo-electron tomograms of bacteria.

Examples
--------
>>> import motors
>>> found = motors.detect("cell.mrc")  # all networks, fused, thresholded  # doctest: +SKIP
>>> found.table[["tomo_id", "z", "y", "x", "score"]]  # doctest: +SKIP
>>> tomogram = motors.read("cell.mrc")  # (z, y, x) uint8 voxels and their spacing in ångström  # doctest: +SKIP
>>> network, experiment = motors.load("outputs/20_train_resnext50/demo/weights")  # doctest: +SKIP
>>> motors.score(solution, submission)  # F2, as in the competition  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motors.api import detect
    from motors.evaluation.metrics import f2 as score
    from motors.experiments.config import Experiment
    from motors.networks.checkpoints import load
    from motors.results import Detections
    from motors.volumes.formats import read
    from motors.volumes.tomogram import Tomogram

__all__ = ["Detections", "Experiment", "Tomogram", "detect", "load", "read", "score"]

HOMES = {  # loaded on first use: `import motors` alone loads nothing else
    "Detections": "results Detections",
    "Experiment": "experiments.config Experiment",
    "Tomogram": "volumes.tomogram Tomogram",
    "detect": "api detect",
    "load": "networks.checkpoints load",
    "read": "volumes.formats read",
    "score": "evaluation.metrics f2",
}
FORMER = ("augment2d", "augment3d", "fusion", "inference", "scoring", "submission")  # packages of 0.1


def __getattr__(name: str) -> Any:
    """Return a public name, or a package by its former name."""
    if name in HOMES:
        module, _, inside = HOMES[name].partition(" ")
        return getattr(import_module(f"motors.{module}"), inside)
    if name == "__version__":
        return import_module("importlib.metadata").version("motors")
    if name in FORMER:
        return import_module("motors.former").package(name)
    raise AttributeError(f"module 'motors' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, also before they are loaded."""
    return sorted([*__all__, "__version__"])
