"""Validation during training: a fixed sample of held-out patches, scored every so many steps."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from motors.evaluation.curves import average_precision, precision_recall
from motors.experiments.config import Experiment
from motors.training.module import loss

COLUMNS = ("validation_loss", "validation_f2", "validation_ap")
TIMES = 8  # evaluations of a short training; a long one has one every `EVERY` steps
EVERY = 1000  # optimiser steps
PATCHES = 24  # at most
SHARE = 0.04  # of a training's time, for evaluations
FORWARD = 1 / 3  # of a training step's time is its forward pass
KEPT = 2**28  # bytes of patches that are kept in memory rather than made again


class Watch:
    """Evaluates loss, F2 and average precision of the EMA of weights on held-out patches, without random numbers.

    The score of a patch is the highest value of its prediction. F2 is that of the best threshold, both are those of
    `evaluation.curves`. The number of patches is limited by `SHARE` of the time: the curves show overfitting, the score
    of a network is that of `30_validate` on whole tomograms.

    The dataset holds samples that are not augmented, see `training.data`; `shown` is called with the file of metrics
    whenever it has new values, to plot them.
    """

    def __init__(self, dataset: Dataset, experiment: Experiment, shown: Callable[[Path], Any] | None = None) -> None:
        steps, patches = experiment.optimiser_steps, experiment.batch * experiment.accumulate
        self.every = max(2, min(EVERY, math.ceil(steps / TIMES)))
        affordable = SHARE * self.every * patches / FORWARD
        self.count = min(PATCHES, max(4, int(affordable)), len(dataset))
        self.dataset, self.experiment, self.shown = dataset, experiment, shown or (lambda path: None)
        self.kept: list[dict[str, Any]] = []

    def due(self, step: int) -> bool:
        """Return whether to evaluate after this step: every so many, and the last."""
        return step % self.every == 0 or step == self.experiment.optimiser_steps

    @torch.inference_mode()
    def judge(self, network: nn.Module) -> dict[str, float]:
        """Return loss, F2 and average precision of a network, which is left in its mode; NaN where undefined."""
        training, device = network.training, next(network.parameters()).device
        network.eval()
        losses, scores, truths, how = [], [], [], self.experiment
        for batch in self._batches():
            logits: Tensor = network(batch["image"].float().to(device))
            each = loss(logits, batch["target"].to(device), positive_weight=how.positive_weight, tversky=how.tversky)
            losses += [len(logits) * float(each)]
            scores += logits.flatten(1).amax(1).tolist()
            truths += (batch["motors"] > 0).tolist()
        network.train(training)
        return dict(zip(COLUMNS, (sum(losses) / self.count, *_curve(truths, scores)), strict=True))

    def _batches(self) -> list[dict[str, Any]]:
        """Return the patches in micro-batches, cached if small."""
        if self.kept:
            return self.kept
        size = self.experiment.batch
        numbers = [range(first, min(first + size, self.count)) for first in range(0, self.count, size)]
        made = (default_collate([self.dataset[k] for k in those]) for those in numbers)
        if math.prod(self.experiment.patch) * self.count > KEPT:
            return made
        self.kept = list(made)
        return self.kept


def _curve(truths: list[bool], scores: list[float]) -> tuple[float, float]:
    """Return best F2 and average precision; NaN unless there are patches with and without motors."""
    if len(set(truths)) < 2:
        return math.nan, math.nan
    points = precision_recall(np.array(truths), np.array(scores))
    return float(points["f2"].max()), average_precision(points)
