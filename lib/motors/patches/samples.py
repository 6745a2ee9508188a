"""Base of the training samples of 2D and 3D networks: tables, volumes, and tensors by number."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from motors.experiments.config import Experiment
from motors.geometry import Spacing
from motors.labels.table import Labels
from motors.patches import epochs
from motors.volumes.prepared import check_volumes

MIXUP = 3  # last number of the seed, other than those of patches (none) and their order (1), see `epochs`


class Samples(Dataset, ABC):
    """Endless training samples: sample `k` depends on the experiment and `k` alone; see `Blocks` and `Slices`."""

    def __init__(self, experiment: Experiment, labels: Labels, folder: Path | str, spacing: Spacing) -> None:
        self.experiment, self.folder, self.spacing = experiment, Path(folder), spacing
        tomograms, motors, unsure = epochs.tables(labels, spacing)
        check_volumes(tomograms, self.folder, spacing)
        self.label_digest = epochs.label_digest(labels, spacing)  # for `training.train`
        self.tables, self.tomo_ids = (tomograms, motors), tuple(tomograms["tomo_id"])
        self.motors, self.unsure = epochs.points(motors), epochs.points(unsure)

    def __len__(self) -> int:
        """Return the number of samples in an epoch; larger numbers belong to later epochs."""
        return len(self.epoch)

    def __getitem__(self, k: int) -> dict[str, Any]:
        """Return sample `k` as tensors: image `(c, *patch)` uint8 and target `(1, *grid)` float32.

        It also has tomo_id and motors, their number in view; some samples are `mixed`.
        """
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # a forked worker has lost its parent's threads; with 1 it would wait for them
        return mixed(self._tensors, int(k), len(self), self.experiment)

    def _tensors(self, k: int) -> dict[str, Any]:
        """Return sample `k` before mixup."""
        tomo_id, image, points, heatmap = self._parts(k)
        tensors = {"image": torch.from_numpy(image), "target": torch.from_numpy(heatmap)[None]}
        return tensors | {"tomo_id": tomo_id, "motors": len(points)}

    @abstractmethod
    def _parts(self, k: int) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
        """Return tomogram, image, points and heatmap of sample `k`."""


def mixed(sample: Callable[[int], dict[str, Any]], k: int, length: int, experiment: Experiment) -> dict[str, Any]:
    """Return sample `k`, mixed at the rate of the experiment with a random one of the `length` in an epoch.

    Mixup (Zhang et al. 2018): intensities and targets are averaged, with a weight from a beta distribution, as a
    function of `k` alone. `sample` returns a sample by its number: image (uint8), target and the number of motors.
    """
    one = sample(k)
    rng = np.random.default_rng([experiment.seed, k, MIXUP])
    if rng.random() >= experiment.mixup:
        return one
    other, weight = sample(int(rng.integers(length))), float(rng.beta(experiment.mixup_alpha, experiment.mixup_alpha))
    motors = one["motors"] + other["motors"]
    if experiment.mixup_motors is not None and motors > experiment.mixup_motors:
        return one
    image = weight * one["image"].float() + (1 - weight) * other["image"].float()
    target = weight * one["target"] + (1 - weight) * other["target"]
    return one | {"image": image.to(one["image"].dtype), "target": target, "motors": motors}
