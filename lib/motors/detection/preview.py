"""Predictions for a few tomograms with a motor, to be drawn by `visualization.plots`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motors.detection import engine
from motors.detection.tiling import cell_strides
from motors.experiments.config import Experiment
from motors.geometry import Spacing
from motors.labels import table
from motors.labels.table import Labels
from motors.tables import POINT
from motors.volumes import resampling
from motors.volumes.cuts import slab
from motors.volumes.prepared import open_prepared


@dataclass(frozen=True, eq=False)
class Preview:
    """One XY slice of a tomogram, through its first motor, with the prediction there."""

    tomo_id: str
    image: np.ndarray  # `(y, x)` float32, the mean of five slices
    cells: np.ndarray  # `(y, x)` probabilities of cells in that slice
    z: float  # of the slice, in voxels
    points_zyx: np.ndarray  # `(n, 3)` motors of the tomogram, in voxels
    spacing: Spacing  # ångström per voxel, along z, y, x


def previews(
    network: Any, experiment: Experiment, known: Labels, folder: Path, *, spacing: Spacing | None = None, count: int = 4
) -> list[Preview]:
    """Return predictions at the first motor of each of the first `count` tomograms that have one.

    `network` and `experiment` are as for `motors.detection.engine.heatmap`; `known` are labels; prepared volumes lie
    in `folder`, with `spacing` in ångström per voxel along z, y, x, by default the experiment's.
    """
    motors = table.prepared(known, experiment.spacing)[1].groupby("tomo_id", sort=False)
    found = []
    for _, (name, points) in zip(range(count), motors, strict=False):
        stored, spacings = open_prepared(folder, name), (spacing or experiment.spacing, experiment.spacing)
        voxels = resampling.resample(stored, *map(tuple, spacings), by=experiment.resampling)
        probabilities = engine.heatmap(network, experiment, voxels)
        z = float(np.clip(points.z.iloc[0], 0, len(voxels) - 1))
        cells = probabilities[min(int(z / cell_strides(experiment)[0]), len(probabilities) - 1)]
        found.append(Preview(name, slab(voxels, z), cells, z, points[POINT].to_numpy(), experiment.spacing))
    return found
