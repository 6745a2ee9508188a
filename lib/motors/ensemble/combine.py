"""The four methods of putting an ensemble together, called alike."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from motors.detection import heatmap
from motors.detection.heatmap import Grid
from motors.ensemble.wbf import ENSEMBLE, Member, fuse, fuse_boxes, fuse_points
from motors.geometry import MATCH_RADIUS
from motors.tables import MEMBER, join

POINTWISE = {"distance": fuse_points, "boxes": fuse_boxes}
METHODS = (*POINTWISE, "mean", "max")
LOWEST = 0.01  # score of a candidate in a fused heatmap


def combine(
    method: str,
    candidates: pd.DataFrame,
    *,
    weights: Mapping[Member, float],
    spacings: Mapping[str, float],
    output: str | Path,
    skip: float = 0.2,
    lost: Mapping[str, Collection[Member]] | None = None,
) -> pd.DataFrame:
    """Return what several members say together, as candidates of the run "ensemble".

    Parameters
    ----------
    method : "distance" fuses candidates by `fuse_points` and "boxes" by `fuse_boxes`; "mean" and "max" make one heatmap
        of those that were saved, see `fuse_grids`, and take its peaks
    candidates : of all members, each a run and a symmetry; those without a weight, or with one of 0, are left out
    weights : how much each member counts, to each other: they are brought to a mean of 1 first, because a cluster with
        more points than there are votes in all is not to exceed its own score
    spacings : ångström per voxel of every tomogram, by name
    output : where `detect_all` saved the heatmaps; "distance" and "boxes" do without
    skip : candidates with a lower score do not vote; heatmaps have no such limit
    lost : members that could not predict a tomogram, by its name: the heatmaps of the others count there

    Raises ValueError if there is no such method, a weight is negative, all are 0, or a heatmap of a member was not
    saved; FileNotFoundError if no heatmap of a tomogram was saved.
    """
    if method not in METHODS:
        raise ValueError(f"no way of fusing is called {method!r}: choose one of {', '.join(METHODS)}")
    voters = {member: weight for member, weight in weights.items() if weight != 0}
    if not voters or not min(voters.values()) > 0:
        raise ValueError(f"the weights are {dict(weights)}: give at least one member more than 0, and none less")
    mean = sum(voters.values()) / len(voters)
    weights = {member: weight / mean for member, weight in voters.items()}
    if method in POINTWISE:
        radii = {name: MATCH_RADIUS / spacing for name, spacing in spacings.items()}
        mine = candidates[pd.MultiIndex.from_frame(candidates[MEMBER]).isin(list(weights))]
        return fuse(mine, radius_voxels=radii, weights=weights, method=POINTWISE[method], skip=skip)
    grids, lost = {}, lost or {}
    for name in sorted(spacings):
        mine = {member: weight for member, weight in weights.items() if member not in lost.get(name, ())}
        if mine:
            grids[name] = fuse_grids(heatmap.load_heatmaps(output, name), mine, how=method)
    return join(grid.candidates(name, **ENSEMBLE, threshold=LOWEST) for name, grid in grids.items())


def fuse_grids(grids: Mapping[Member, Grid], weights: Mapping[Member, float], *, how: str = "mean") -> Grid:
    """Return one heatmap of several, on the finest of their grids; the others are interpolated at its cells.

    `grids` are of one tomogram, by run and symmetry. `how` is the "mean" of what they say, each as often as its weight,
    or "max", the largest product with a weight. Raises ValueError if a member that counts has no heatmap.
    """
    if missing := sorted(set(weights) - set(grids)):
        raise ValueError(f"{missing} have no heatmap: detect with save_heatmaps=True, or give them no weight")
    finest = min((grids[member] for member in weights), key=lambda grid: math.prod(grid.size))
    each = np.stack([weight * grids[member].onto(finest) for member, weight in weights.items()])
    return replace(finest, cells=each.max(axis=0) if how == "max" else each.sum(axis=0) / sum(weights.values()))
