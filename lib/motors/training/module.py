"""Loss, order of the samples, optimiser and learning rate."""

import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningModule
from timm.optim import muon
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler

from motors.experiments.config import Experiment

log = logging.getLogger(__name__)
SHARED = Path("/dev/shm")  # through which torch's workers pass on samples
ALARMS = 0.3  # weight of false positives in the Tversky index; the rest is of false negatives
MATRICES = 5.0  # learning rate of Muon for kernels, as matrices, relative to other weights


def loss(logits: Tensor, target: Tensor, *, positive_weight: float = 1.0, tversky: float = 0.0) -> Tensor:
    """Return the mean binary cross-entropy over all cells, in float32: the loss of the original solution.

    Logits and target, in [0, 1], have the same shape; a cell whose target is NaN (unsure) contributes 0.
    `positive_weight` multiplies the positive term; the original solution tried 1 to 32. `tversky` is the share of one
    minus the Tversky index (Salehi et al. 2017; false positives weigh 0.3, false negatives 0.7), which the original
    solution tried and dropped.
    """
    known, logits, target = target.isfinite().float(), logits.float(), target.float().nan_to_num()
    weight = None if positive_weight == 1 else torch.tensor(positive_weight, device=logits.device)
    entropy = binary_cross_entropy_with_logits(logits, target, weight=known, pos_weight=weight)
    if not tversky:
        return entropy
    probability = logits.sigmoid() * known
    hits, alarms = (probability * target).sum(), (probability * (1 - target)).sum()
    misses = ((known - probability) * target).sum()
    index = (hits + 1) / (hits + ALARMS * alarms + (1 - ALARMS) * misses + 1)  # 1 if both are all 0
    return (1 - tversky) * entropy + tversky * (1 - index)


def learning_rate(experiment: Experiment, step: int) -> float:
    """Return the learning rate of an optimiser step, counted from 0.

    It rises linearly from 0.01 to 1 times the experiment's rate over `warmup` steps, then follows half a cosine,
    counted from step 0, down to 0.005 times it at `steps`: the schedule of the original solution (timm's cosine).
    """
    highest, lowest = experiment.learning_rate, 0.005 * experiment.learning_rate
    if step < experiment.warmup:
        return highest * (0.01 + 0.99 * step / experiment.warmup)
    return lowest + 0.5 * (highest - lowest) * (1 + math.cos(math.pi * min(step / experiment.steps, 1.0)))


class Stream(Sampler[list[int]]):
    """The sample numbers of one device, a list per micro-batch.

    Micro-batch j consists of the samples `j * batch` to `(j + 1) * batch - 1`, dealt out to the devices in turn. A run
    is one pass over one stream, so that one number is enough to resume it, and neither interruptions nor the number of
    workers or devices change which samples it takes. `start` is the first micro-batch, after those already taken by the
    run that is resumed; `rank` is the number of this device, of `world` devices.

    Raises ValueError if the devices cannot share a micro-batch evenly.
    """

    def __init__(self, experiment: Experiment, *, start: int = 0, rank: int = 0, world: int = 1) -> None:
        if experiment.batch % world:
            patches = f"the {experiment.batch} patches of a micro-batch of {experiment.name}"
            raise ValueError(f"{world} devices cannot share {patches}: choose a number of devices that divides it")
        self.experiment, self.start, self.rank, self.world = experiment, start, rank, world

    def __len__(self) -> int:
        return self.experiment.optimiser_steps * self.experiment.accumulate  # of the whole run, also when resumed

    def __iter__(self) -> Iterator[list[int]]:
        batch = self.experiment.batch
        for first in range(self.start * batch, len(self) * batch, batch):
            yield list(range(first + self.rank, first + batch, self.world))


def _orthogonal(
    update: Tensor,
    steps: int,
    coefficients: Sequence[tuple[float, float, float]],
    eps: float = 1e-7,
    safety_factor: float = 1.0,
    **_: Any,
) -> Tensor:
    """Return Muon's Newton-Schulz iteration of an update `(..., rows, columns)`, by its Gram matrix, in float32.

    Every step multiplies the update by a polynomial of the Gram matrix, so these factors are multiplied first, on the
    shorter side: two large products instead of ten, and a third of the time of timm's own in bfloat16.
    """
    tall = update.size(-2) > update.size(-1)
    wide = update.float().mT if tall else update.float()
    gram = wide @ wide.mT
    norm = gram.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt().mul(safety_factor).clamp(min=eps)[..., None, None]
    gram, whole = gram / norm**2, torch.eye(gram.size(-1), device=gram.device) / norm
    for a, b, c in (list(coefficients) + [coefficients[-1]] * steps)[:steps]:
        step = b * gram + c * (gram @ gram)
        step.diagonal(dim1=-2, dim2=-1).add_(a)
        gram, whole = step @ gram @ step, step @ whole
    found = whole @ wide
    return found.mT if tall else found


def _optimiser(experiment: Experiment, network: nn.Module) -> Optimizer:
    """Return AdamW as in the original solution, or Muon (Jordan et al. 2024) with AdamW for all but matrices.

    The learning rate is AdamW's; matrices get `MATRICES` times that. AdamW is faster on a CPU if fused into one kernel.
    """
    weights, rate = network.parameters(), experiment.learning_rate
    if experiment.optimiser == "muon":
        faster = {"lr": MATRICES * rate, "fallback_lr_scale": 1 / MATRICES}
        muon.zeropower_via_newtonschulz = _orthogonal  # timm has no argument for it
        return muon.Muon(weights, **faster, adjust_lr_fn="original", nesterov=True)
    return AdamW(weights, lr=rate, betas=(0.9, 0.999), eps=1e-7, weight_decay=0.0, fused=True)


class Training(LightningModule):
    """Trains a network of `networks.build`; `workers` per device make samples, or for 0 the training process."""

    def __init__(self, network: nn.Module, experiment: Experiment, dataset: Dataset, workers: int) -> None:
        super().__init__()
        self.network, self.experiment, self.dataset, self.workers = network, experiment, dataset, workers

    def setup(self, stage: str) -> None:
        """Limit a forked process to one thread: it lacks its parent's others, and would wait for them for ever."""
        launcher = self.trainer.strategy.launcher
        if launcher is not None and launcher.is_interactive_compatible:
            torch.set_num_threads(1)
            cv2.setNumThreads(0)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Return the loss of a micro-batch; randomness in the network depends on its number, seed and rank."""
        noise = np.random.SeedSequence([self.experiment.seed, index, self.global_rank]).generate_state(1)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(noise[0]))
            logits, how = self.network(batch["image"].float()), self.experiment
            return loss(logits, batch["target"], positive_weight=how.positive_weight, tversky=how.tversky)

    def configure_optimizers(self) -> dict[str, Any]:
        optimiser, whole = _optimiser(self.experiment, self.network), self.experiment.learning_rate
        share = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate(self.experiment, step) / whole)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": share, "interval": "step"}}

    def _workers_that_fit(self) -> int:
        """Return how many workers fit into shared memory, each with two micro-batches made in advance."""
        how = self.experiment
        batch = how.batch * (math.prod(how.patch) + 4 * math.prod(how.grid))  # bytes, on all devices
        few = max(0, int(shutil.disk_usage(SHARED).free / batch - 1) // 2) if SHARED.is_dir() else self.workers
        if few < self.workers:
            log.warning("%s has room for %d workers: give the container more (--shm-size) to be faster", SHARED, few)
        return min(few, self.workers)

    def train_dataloader(self) -> DataLoader:
        """Return the micro-batches from the current step on."""
        start = self.trainer.global_step * self.experiment.accumulate
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(
            self.dataset,
            batch_sampler=Stream(self.experiment, start=start, rank=rank, world=world),
            num_workers=self._workers_that_fit(),
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator().manual_seed(self.experiment.seed),  # or it would draw from the global one
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["experiment"] = self.experiment.to_json()
