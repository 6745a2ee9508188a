"""`train`: from an experiment and its samples to a folder of weights."""

import contextlib
import json
import logging
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset

from motors.experiments.config import Experiment
from motors.networks import checkpoints
from motors.networks.factory import build, channels_last
from motors.training.callbacks import Checkpoints, Journal, SharedNorms, WeightAverage, WholeFiles, newest
from motors.training.module import Stream, Training
from motors.training.watch import Watch
from motors.volumes.prepared import volume_digest
from motors.workspace import progress as workspace_progress
from motors.workspace.code_hash import code_of
from motors.workspace.files import write_json
from motors.workspace.progress import Progress
from motors.workspace.provenance import Inputs, differences, write_inputs

log = logging.getLogger(__name__)


def train(
    experiment: Experiment,
    dataset: Dataset,
    output: Path | str,
    *,
    network: nn.Module | None = None,
    workers: int = 2,
    devices: int = 1,
    accelerator: str = "auto",
    watch: Watch | None = None,
    progress: Callable[..., Progress] = workspace_progress.progress,
) -> Path:
    """Train a network and return the folder of its averaged weights, `output/weights`.

    Called again with the same inputs it resumes from the newest checkpoint, or returns at once if the training is
    finished; with others it raises, see below. However often it is interrupted, and with any number of workers, it
    takes the same samples in the same order; on a CPU with the same number of threads it ends with the same bytes.

    Into `output` go `weights/` (see `networks.save`; with `trained_on.json`, the names of the tomograms),
    `metrics.csv` (see `Journal`), `inputs.json` (settings, code, first weights, labels and volumes, see `provenance`)
    and `checkpoints/`, of which the last two are kept.

    Several devices share a micro-batch and average gradients: their number changes the speed but, up to rounding and
    dropout, not the result. For that, batch norms on GPUs use the patches of all (`SyncBatchNorm`); on CPUs each
    process normalises by its own patches, and the running statistics are those of the first: there only networks
    without batch norm, such as CoaT, or with frozen ones learn the same. A script is started again for each device; a
    notebook's kernel is forked, and must not have used a GPU before.

    Parameters
    ----------
    experiment : the settings; `batch` is what all devices take together
    dataset : `dataset[k]` is sample number k, however large k is: a mapping with `image`, a patch in intensities, and
        `target`, the grid to be predicted; it must depend on k alone (see `patches`). Labels and volumes are
        identified by its `label_digest`, `tomo_ids` and `folder`, if any
    output : the folder of the run
    network : trained in place; by default `networks.build(experiment)`
    workers : processes per device that make samples
    devices : GPUs, or CPU processes
    accelerator : "gpu" (in mixed precision, as the experiment says), "cpu" (in float32), or "auto", a GPU if any
    watch : evaluates the EMA of weights every so many steps, for metrics.csv; it affects nothing else
    progress : makes the progress line

    Raises ValueError if the content of `output` was made from other settings, code, first weights, labels or volumes
    (`motors --accept-code` accepts other code, once it is known that it computes the same); if `dataset` is of another
    experiment, the devices cannot share a micro-batch, all checkpoints are damaged, or the loss is not finite.
    """
    output, weights = Path(output), Path(output) / "weights"
    Stream(experiment, world=devices)  # raises early
    _refuse_another(experiment, getattr(dataset, "experiment", experiment), "the dataset", "make it anew")
    network = build(experiment) if network is None else network
    _admit(output, _inputs(experiment, dataset, network))
    if checkpoints.is_whole(weights):
        _refuse_another(experiment, Experiment.read(weights / checkpoints.SETTINGS), weights)
        log.info("%s was trained before: %s", experiment.name, weights)
        with progress(total=experiment.optimiser_steps, title=f"{experiment.name}, trained before") as line:
            line.advance(experiment.optimiser_steps)
        return weights
    if accelerator == "auto":  # counting does not initialise CUDA before the fork
        accelerator = "gpu" if torch.cuda.device_count() else "cpu"
    if accelerator == "cpu":
        channels_last(network)
    average = WeightAverage(network, experiment.average)
    checkpoint = newest(output / "checkpoints")
    if _steps(checkpoint, experiment) < experiment.optimiser_steps:
        module = Training(network.train(), experiment, dataset, workers)
        with _undisturbed():
            journal = Journal(experiment, output / "metrics.csv", progress, watch, average)
            callbacks = [average, journal, Checkpoints(experiment, output / "checkpoints")]
            trainer = _trainer(module, output, callbacks, devices, accelerator)
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
        if not trainer.is_global_zero:
            return weights
    _write_weights(average, experiment, newest(output / "checkpoints"), weights, getattr(dataset, "tomo_ids", ()))
    return weights


def _trainer(module: Training, output: Path, callbacks: list[Callback], devices: int, accelerator: str) -> Trainer:
    """Return Lightning's trainer, without what our callbacks do; the log says which patches batch norms use."""
    experiment, several = module.experiment, "ddp_notebook" if hasattr(sys, "ps1") else "ddp"
    shared = [SharedNorms()] if devices > 1 and accelerator != "cpu" else []
    if devices > 1 and any(isinstance(layer, _BatchNorm) for layer in module.modules()):
        seen = f"the patches of all {devices} GPUs" if shared else "only the patches of their own process"
        log.log(logging.INFO if shared else logging.WARNING, "the batch norms of %s see %s", experiment.name, seen)
    return Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=several if devices > 1 else "auto",
        precision="32-true" if accelerator == "cpu" else experiment.precision,
        benchmark=accelerator != "cpu",  # micro-batches have one shape: cuDNN may search for the fastest way
        max_steps=experiment.optimiser_steps,
        accumulate_grad_batches=experiment.accumulate,
        callbacks=callbacks,
        plugins=[WholeFiles(), LightningEnvironment(), *shared],  # ignores a cluster's variables
        use_distributed_sampler=False,
        default_root_dir=output,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _steps(checkpoint: Path | None, experiment: Experiment) -> int:
    """Return the optimiser steps done at a checkpoint, which must be of this experiment."""
    if checkpoint is None:
        return 0
    state = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    _refuse_another(experiment, Experiment.from_json(state["experiment"]), checkpoint)
    return state["global_step"]


def _refuse_another(
    experiment: Experiment, other: Experiment, what: Path | str, ask: str = "train into another folder"
) -> None:
    here, there = (json.loads(each.to_json()) for each in (experiment, other))
    changed = [f"{name} is {there[name]!r} there, {here[name]!r} here" for name in here if here[name] != there[name]]
    if changed:
        raise ValueError(f"{what} is of another experiment ({'; '.join(changed)}): {ask}")


def _inputs(experiment: Experiment, dataset: Dataset, network: nn.Module) -> Inputs:
    modules = ("motors.training.run", "motors.networks.factory", type(dataset).__module__)
    upstream = {"first weights": checkpoints.digest(network)}
    if labels := getattr(dataset, "label_digest", None):
        upstream["label table"] = labels
    for name in getattr(dataset, "tomo_ids", ()):
        upstream[f"volume {name}"] = volume_digest(dataset.folder, name)
    return Inputs(json.loads(experiment.to_json()), code_of(*modules), upstream)


def _admit(output: Path, inputs: Inputs) -> None:
    """Record the inputs of a new training, or raise ValueError if that in `output` had others."""
    if not checkpoints.is_whole(output / "weights") and newest(output / "checkpoints") is None:
        write_inputs(output, inputs)
    elif found := differences(output, inputs):
        few = "; ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
        raise ValueError(f"{output} was trained with other inputs ({few}): move it away, use SET, or --accept-code")


def _write_weights(
    average: WeightAverage, experiment: Experiment, checkpoint: Path, weights: Path, tomo_ids: Iterable[str]
) -> None:
    """Write the averaged weights of the last checkpoint and their training tomograms, atomically."""
    state = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    average.load_state_dict(state["callbacks"][average.state_key])
    part = weights.with_name(weights.name + ".part")
    checkpoints.save(average.average.module.cpu(), experiment, part)
    before = getattr(average.average.module, "seen", ())  # by its first weights; None if unknown
    if before is not None and (seen := {*tomo_ids, *before}):
        write_json(part / checkpoints.TRAINED_ON, sorted(seen))
    if weights.exists():  # incomplete, of an earlier attempt
        shutil.rmtree(weights)
    part.rename(weights)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Silence Lightning, keep interrupts working, and keep denormals from slowing a CPU down."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    flushed = not torch.tensor(1e-39)  # torch has no getter for the setting
    interrupt, benchmark = signal.getsignal(signal.SIGINT), torch.backends.cudnn.benchmark
    try:
        torch.set_flush_denormal(True)  # gradients behind GELU are full of numbers below 1e-38, which slow a CPU down
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)  # known advice on workers and resuming
            warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")  # a float16 overflow skips a step
            yield
    except SystemExit as stop:  # Lightning turns an interrupt into an exit, and ignores all later ones
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    finally:
        torch.set_flush_denormal(flushed)
        torch.backends.cudnn.benchmark = benchmark
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)
