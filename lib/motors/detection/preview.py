"""What a network says about a few patches: computed here, drawn by `visualization.plots`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from motors.detection import engine
from motors.detection.tiling import cell_strides
from motors.experiments.config import Experiment
from motors.labels import table
from motors.labels.table import Labels
from motors.tables import POINT
from motors.visualization.plots import heatmap, near, panels
from motors.volumes import resampling
from motors.volumes.prepared import open_prepared


def answers(
    network: Any,
    experiment: Experiment,
    known: Labels,
    folder: Path | str,
    *,
    spacing: Sequence[float] | None = None,
    count: int = 4,
) -> Figure:
    """Draw tomograms with a motor at its height, under the glow of what a network answers, its highest in the title.

    Parameters
    ----------
    network, experiment : as for `motors.inference.heatmap`
    known : labels of the tomograms, of which the first `count` with a motor are shown
    folder : their prepared volumes
    spacing : ångström per voxel of those along z, y, x, where it is not the experiment's
    """

    motors = table.prepared(known, experiment.spacing)[1].groupby("tomo_id", sort=False)
    figure, grid = panels(min(count, motors.ngroups), columns=4, size=2.8)
    for axes, (name, points) in zip(grid, motors, strict=False):
        stored, spacings = open_prepared(folder, name), (spacing or experiment.spacing, experiment.spacing)
        voxels = resampling.resample(stored, *map(tuple, spacings), by=experiment.resampling)
        glow = engine.heatmap(network, experiment, voxels, snug=not experiment.planar, batch=experiment.batch)
        z = float(np.clip(points.z.iloc[0], 0, len(voxels) - 1))
        cells = glow[min(int(z / cell_strides(experiment)[0]), len(glow) - 1)]
        marks = near(points[POINT].to_numpy(), z, experiment.spacing[0])
        title = f"{name}: {cells.max():.2f}"
        heatmap(axes, voxels[round(z)], cells, experiment.spacing[1], motors_yx=marks, title=title)
    return figure
