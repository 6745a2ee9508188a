"""Callbacks and plugins of a training: the EMA of weights, the journal, the checkpoints, batch norms across GPUs."""

import logging
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.plugins.layer_sync import LayerSync
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from motors.experiments.config import Experiment
from motors.training.module import learning_rate
from motors.training.watch import COLUMNS, Watch
from motors.workspace.files import write_text
from motors.workspace.progress import Progress

log = logging.getLogger(__name__)


class WeightAverage(Callback):
    """The EMA of weights: the exponential average of weights and buffers, starting from the initial ones.

    It is updated after every micro-batch, as in the original solution, so that per optimiser step it decays by
    `decay ** accumulate`: 0.98 for the 3D networks, 0.96 for MaxViT, 0.92 for CoaT. Integer buffers (how many batches a
    batch norm has seen) are copied, not averaged. Lightning's `EMAWeightAveraging` updates once a step:
    `test_training_is_the_plain_loop_with_an_average_after_every_micro_batch` fails with it.

    `network` is as before training; `decay` is the weight of the old average in each update.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        @torch.no_grad()
        def move(averages: list[Tensor], currents: list[Tensor], _: Tensor) -> None:
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, currents, 1 - decay)
            else:
                torch._foreach_copy_(averages, currents)

        self.average = AveragedModel(network, multi_avg_fn=move, use_buffers=True)
        self.average.update_parameters(network)  # the first call copies

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Move the average to the network's device."""
        self.average.to(module.device)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Update the average with the current weights."""
        self.average.update_parameters(module.network)

    def state_dict(self) -> dict[str, Any]:
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.load_state_dict(state)


@dataclass(eq=False)
class Journal(Callback):
    """Writes a row per optimiser step to metrics.csv, and shows the progress line.

    Lightning's `CSVLogger` deletes the rows written before an interruption, which
    `test_a_run_killed_again_and_again_ends_with_the_same_bytes` compares.

    A row has step (from 1), loss (mean over the step's micro-batches and devices), learning_rate (of the step; Muon
    takes five times that for matrices), seconds (of training so far, without interruptions and lost work) and, every so
    many steps, the metrics of `watch`.
    """

    experiment: Experiment
    path: Path  # of the CSV file
    progress: Callable[..., Progress]  # makes the progress line, see `workspace.progress`
    watch: Watch | None  # evaluates the EMA of weights
    average: WeightAverage  # holds that EMA
    losses: list[Tensor] = field(default_factory=list)  # since the last step; Lightning has divided by `accumulate`
    line: Progress | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Keep the rows up to the checkpoint; later ones will be written again."""
        self.began, done = time.monotonic(), trainer.global_step
        if not trainer.is_global_zero:
            return
        rows = self.path.read_text().splitlines(keepends=True)[1:] if self.path.exists() else []
        rows = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= done]
        if rows:
            self.began -= float(rows[-1].split(",")[3])
        write_text(self.path, "".join([f"step,loss,learning_rate,seconds,{','.join(COLUMNS)}\n", *rows]))
        title = f"{self.experiment.name}, from step {done}" if done else self.experiment.name
        self.line = self.progress(total=self.experiment.optimiser_steps - done, title=title)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: dict[str, Tensor], batch: Any, index: int
    ) -> None:
        """Record the mean loss of a whole step; raise ValueError if not finite."""
        self.losses.append(outputs["loss"])
        if len(self.losses) < self.experiment.accumulate:
            return
        mean = float(trainer.strategy.reduce(torch.stack(self.losses).sum(), reduce_op="mean"))
        self.losses, step = [], trainer.global_step
        if not math.isfinite(mean):
            raise ValueError(
                f"the loss of {self.experiment.name} is {mean} at step {step}:"
                " look at the samples of that step, or train with a lower learning rate"
            )
        if self.line is not None:
            rate, seconds = learning_rate(self.experiment, step - 1), time.monotonic() - self.began
            due = self.watch is not None and self.watch.due(step)
            found = self.watch.judge(self.average.average.module) if due else dict.fromkeys(COLUMNS, math.nan)
            judged = ",".join("" if math.isnan(value) else f"{value:.9g}" for value in found.values())
            with self.path.open("a") as file:
                file.write(f"{step},{mean:.9g},{rate:.9g},{seconds:.1f},{judged}\n")
            self.line.advance(loss=mean)
            if due:
                self.watch.shown(self.path)

    def on_train_end(self, *_: Any) -> None:
        """Show the last line."""
        if self.line is not None:
            self.line.close()

    on_exception = on_train_end


class Checkpoints(Checkpoint):
    """Writes a checkpoint every `save_every` optimiser steps and at the end; the last two are kept.

    Lightning's `ModelCheckpoint` omits the end unless it is a multiple:
    `test_the_last_two_checkpoints_and_a_row_per_step_are_kept` fails with it.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self.experiment, self.folder = experiment, folder

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: dict[str, Tensor], batch: Any, index: int
    ) -> None:
        """Save after an optimiser step, when no gradients are pending; Lightning calls checkpoints last."""
        step, waiting = trainer.global_step, (index + 1) % self.experiment.accumulate
        if waiting or (step % self.experiment.save_every and step != self.experiment.optimiser_steps):
            return
        trainer.save_checkpoint(self.folder / f"step_{step:07d}.ckpt", weights_only=False)
        if trainer.is_global_zero:
            for old in _listed(self.folder)[:-2]:
                old.unlink()


class SharedNorms(LayerSync):
    """Batch norms that take their statistics from the patches of all GPUs.

    Lightning's own way, `torch.nn.SyncBatchNorm.convert_sync_batchnorm`, silently drops the activations that timm's
    norms hold; timm's keeps them (`test_shared_batch_norms_keep_what_a_network_answers`).
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Return the model with shared batch norms; its output in evaluation does not change."""
        return convert_sync_batchnorm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Return the model unchanged: a shared norm evaluates on one device like any other."""
        return model


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint atomically, renaming it within its folder: Lightning's own way may copy."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save(checkpoint, part)
        part.replace(path)


def newest(folder: Path) -> Path | None:
    """Return the newest undamaged checkpoint in `folder`, None without any; raises ValueError if all are damaged."""
    paths = _listed(folder)
    for path in reversed(paths):
        if _is_whole(path):
            return path
        log.warning("%s is damaged and left aside", path)
    if paths:
        raise ValueError(f"all checkpoints in {folder} are damaged: move them away to train from the beginning")
    return None


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*.ckpt"))


def _is_whole(path: Path) -> bool:
    """Return whether an archive is complete and all of its checksums are right."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None
