"""From an experiment, its fold and the prepared files to training and validation samples and trained weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from motors.experiments import catalogue
from motors.experiments.config import Experiment
from motors.labels import formats
from motors.labels.table import Labels
from motors.networks import checkpoints
from motors.networks.factory import build
from motors.networks.weights import fill, read
from motors.patches.blocks import Blocks
from motors.patches.slices import Slices
from motors.tables import read_table
from motors.training.run import train
from motors.training.watch import COLUMNS, Watch
from motors.workspace.files import sha256, write_json
from motors.workspace.paths import Run

PLAIN = {"augment": False, "mixup": 0.0, "background": 1.0, "repeats": 1}  # half of the validation is background
OF_THE_NETWORK = "encoder encoder_options neck neck_channels neck_hidden decoder_channels normalisation stride".split()


@dataclass(frozen=True, eq=False)
class Data:
    """What one network is trained on, and what is held out."""

    samples: Blocks | Slices  # of the training tomograms, whose names are `samples.tomo_ids`
    watched: Blocks | Slices | None  # of the held-out ones, not augmented; None if there are none, or none has a motor
    held_out: Labels  # of the held-out tomograms; if there are none, of fold 0, which is trained on
    volumes: Path  # folder of the prepared volumes
    spacing: tuple[float, float, float]  # of these, in ångström per voxel along z, y, x


def data(experiment: Experiment, labels: Path, volumes: Path, spacing: Sequence[float]) -> Data:
    """Return the data of an experiment: it trains on all folds but its own, without tomograms above `most_motors`.

    Fold -1 holds out nothing. `labels` is the output of `10_prepare_labels`: tomograms.csv, motors.csv, folds.csv;
    `volumes` that of `11_prepare_volumes`, of this spacing; 2D networks skip slices of them. Raises ValueError if there
    is no such fold, or as `Blocks` and `Slices`.
    """
    known, spacing = formats.read(labels), tuple(spacing)
    folds = read_table(labels / "folds.csv").set_index("tomo_id").fold
    if experiment.fold >= 0 and not (folds == experiment.fold).any():
        raise ValueError(f"there is no fold {experiment.fold}: folds.csv of {labels} has {sorted({*folds.tolist()})}")
    trained = folds.index[(folds != experiment.fold) | (experiment.fold < 0)]  # and -1: always trained on
    held_out = folds.index[folds == max(experiment.fold, 0)]
    if experiment.most_motors is not None:
        counts = known.motors.groupby("tomo_id").size().reindex(trained, fill_value=0)
        trained = trained[counts.to_numpy() <= experiment.most_motors]

    def samples(of: Experiment, those: Labels) -> Blocks | Slices:
        return Slices(of, those, volumes, spacing=spacing) if of.is_2d else Blocks(of, those, volumes)

    judged = known.select(held_out)
    seen = experiment.fold < 0 or not len(judged.motors)
    watched = None if seen else samples(replace(experiment, **PLAIN), judged)
    return Data(samples(experiment, known.select(trained)), watched, judged, Path(volumes), spacing)


def of_run(run: Run, experiment: Experiment) -> Data:
    """Return the `data` of a training notebook, of the labels and volumes of the same profile and seed."""
    spacing, settings = catalogue.volumes_of(experiment, run.profile)
    prepared = run.workspace.run("11_prepare_volumes", run.profile, run.seed, tag=settings)
    return data(experiment, run.input("10_prepare_labels"), run.input("11_prepare_volumes", prepared.name), spacing)


def first_network(experiment: Experiment, weights: Path | str = "") -> nn.Module:
    """Return the network of an experiment before training.

    It starts from random weights, from a file of published weights of its encoder, or, for fine-tuning, from all
    weights in a folder of a trained network. Then the attribute `seen` holds the names of the tomograms that these were
    trained on, or None if not recorded. Raises ValueError if the weights are those of another network,
    FileNotFoundError if there are none.
    """
    folder = Path(weights)
    if not weights or not folder.is_dir():
        return build(experiment, folder if weights else None)
    other = Experiment.read(folder / checkpoints.SETTINGS)
    name = next((name for name in OF_THE_NETWORK if getattr(experiment, name) != getattr(other, name)), None)
    if name is not None:
        raise ValueError(
            f"{weights} holds another network than {experiment.name}'s: its {name} is {getattr(other, name)!r}, not"
            f" {getattr(experiment, name)!r}"
        )
    network = build(experiment)
    fill(network, read(folder / checkpoints.WEIGHTS))
    network.seen = checkpoints.trained_on(folder)
    return network


def first_weights(run: Run, experiment: Experiment) -> Path | str:
    """Return the trained weights to start from, of this profile, fold and seed, or ""; or raise FileNotFoundError."""
    if not experiment.starts_from:
        return ""
    notebook = catalogue.training_notebook(catalogue.of(experiment.starts_from, run.profile))
    folder = run.workspace.run(notebook, run.profile, run.seed, experiment.starts_from, run.fold).folder / "weights"
    if not (folder / checkpoints.WEIGHTS).is_file():
        raise FileNotFoundError(f"{experiment.name} starts from {experiment.starts_from}: train that first ({folder})")
    return folder


def trained(
    run: Run,
    experiment: Experiment,
    material: Data,
    network: nn.Module,
    *,
    workers: int = 0,
    devices: int = 1,
    checkpoint: Path | str = "",
    shown: Callable[[Path], Any] | None = None,
) -> Path:
    """Train a network, validate it on held-out data and return the folder of its weights, as training notebooks end.

    The run gets weights/, metrics.csv and provenance.json; `network` is that of `first_network`, `workers` and
    `devices` as in `train`; a `checkpoint` of the original solution's author is converted instead of training; `shown`
    is called with the path of metrics.csv when it has new validation metrics.

    Raises ValueError as `train`, or if the first weights were, or may have been, trained on a held-out tomogram.
    """
    if checkpoint:
        own = catalogue.get(experiment.name)  # with the fold that its author held out, whatever is held out here
        weights = checkpoints.convert(Path(checkpoint), own, run.output / "weights")
    else:
        if experiment.fold >= 0:
            _refuse_leakage(getattr(network, "seen", set()), material.held_out)
        watch = None if material.watched is None else Watch(material.watched, experiment, shown)
        settings = {"network": network, "workers": workers, "devices": devices, "watch": watch}
        weights = train(experiment, material.samples, run.output, **settings)
        if shown is not None:
            shown(run.output / "metrics.csv")
    made = {"weights": sha256(weights / checkpoints.WEIGHTS), "checkpoint": Path(checkpoint).name}
    write_json(run.output / "provenance.json", run.stamp(**made))
    return weights


def _refuse_leakage(seen: set[str] | None, held_out: Labels) -> None:
    """Raise ValueError if first weights were trained on a held-out tomogram, or that is not recorded."""
    if seen is None:
        what = f"the first weights have no {checkpoints.TRAINED_ON}, so what they have seen is not known"
        raise ValueError(f"{what}: hold out nothing (FOLD -1), or take others")
    if both := seen.intersection(held_out.tomograms["tomo_id"]):
        raise ValueError(f"first weights have seen {min(both)}, which is held out: take some of this fold")


def outcome(run: Run) -> pd.Series:
    """Return the last row of a run's metrics, with its validation metrics; NaN for missing ones."""
    file = run.output / "metrics.csv"
    metrics = pd.read_csv(file).tail(1) if file.is_file() else pd.DataFrame(columns=["step", "loss", *COLUMNS])
    return (metrics if len(metrics) else metrics.reindex([0])).iloc[0].astype(float)
