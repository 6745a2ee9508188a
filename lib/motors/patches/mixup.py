"""Mixup of two patches and of their targets (Zhang et al. 2018)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from motors.experiments.config import Experiment

APART = 3  # last number of the seed, other than those of patches (none) and their order (1), see `epochs`


def mixed(sample: Callable[[int], dict[str, Any]], k: int, length: int, experiment: Experiment) -> dict[str, Any]:
    """Return sample `k`, mixed at the rate of the experiment with a random one of the `length` in an epoch.

    Intensities and targets are averaged, with a weight from a beta distribution, as a function of `k` alone. `sample`
    returns a sample by its number: image (uint8), target and the number of motors.
    """
    one = sample(k)
    rng = np.random.default_rng([experiment.seed, k, APART])
    if rng.random() >= experiment.mixup:
        return one
    other, weight = sample(int(rng.integers(length))), float(rng.beta(experiment.mixup_alpha, experiment.mixup_alpha))
    motors = one["motors"] + other["motors"]
    if experiment.mixup_motors is not None and motors > experiment.mixup_motors:
        return one
    image = weight * one["image"].float() + (1 - weight) * other["image"].float()
    target = weight * one["target"] + (1 - weight) * other["target"]
    return one | {"image": image.to(one["image"].dtype), "target": target, "motors": motors}
