"""Tables about a network: shapes at every level, and settings beside those of the full-size experiment."""

import copy

import pandas as pd
import torch
from torch import nn

from motors.experiments.config import Experiment
from motors.networks.factory import build


@torch.no_grad()
def shapes(network: nn.Module, experiment: Experiment) -> pd.DataFrame:
    """Return the shapes of all levels of a network for one patch: part, channels, sides as in "8 × 8"."""
    twin, rows = copy.deepcopy(network).eval().to("meta"), []

    def note(part: str, given: object) -> None:
        levels = list(given) if isinstance(given, list | tuple) else [given]
        for k, level in enumerate(levels, start=1):
            channels, *sides = level.shape[1:]
            rows.append([f"{part} {k}" if len(levels) > 1 else part, channels, " × ".join(map(str, sides))])

    for part in ("encoder", "decoder"):
        getattr(twin, part).register_forward_hook(lambda _, inputs, outputs, part=part: note(part, outputs))
    twin.neck.register_forward_hook(lambda _, inputs, outputs: note("neck", outputs[-1]))
    patch = experiment.patch if experiment.is_2d else (1, *experiment.patch)
    note("patch", torch.empty((1, *patch), device="meta"))
    note("prediction", twin(torch.empty((1, *patch), device="meta")))
    return pd.DataFrame(rows, columns=["part", "channels", "sides"])


def beside(network: nn.Module, experiment: Experiment, whole: Experiment, hours: float) -> pd.DataFrame:
    """Return settings and cost of a run beside those of the `whole` experiment, whose training takes `hours`."""

    def column(each: Experiment, of: nn.Module, time: str) -> dict[str, object]:
        return {
            "parameters, millions": f"{sum(p.numel() for p in of.parameters()) / 1e6:.1f}",
            "patch, voxels": " × ".join(map(str, each.patch)),
            "spacing, Å": " × ".join(f"{step:g}" for step in each.spacing),
            "patches per step": each.batch * each.accumulate,
            "steps": each.optimiser_steps,
            "optimiser, learning rate": f"{each.optimiser}, {each.learning_rate:g}",
            "hours on one GPU": time,
        }

    mine = column(experiment, network, "timed below")
    return pd.DataFrame({"this run": mine, "full size": column(whole, build(whole), f"about {hours:g}")})
