"""The four methods to fuse an ensemble, behind one function."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
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
LOWEST = 0.01  # lowest score of a candidate, of one network or in a fused heatmap: anything below is no motor


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
    """Return the candidates of several members, fused, as those of the run "ensemble".

    Parameters
    ----------
    method : "distance" fuses candidates by `fuse_points` and "boxes" by `fuse_boxes`; "mean" and "max" fuse
        the saved heatmaps, see `fuse_grids`, and take the peaks
    candidates : of all members, each a run and a symmetry; members without a weight, or with weight 0, are ignored
    weights : relative weights of the members; scaled to a mean of 1 first, because the votes of a cluster are capped
        at their sum, so that it does not exceed its own score
    spacings : ångström per voxel of every tomogram, by name
    output : folder where `detect_all` saved heatmaps; not needed by "distance" and "boxes"
    skip : candidates with a lower score are ignored; not used for heatmaps
    lost : members that could not predict a tomogram, by its name: the others are fused

    Raises ValueError if the method is unknown, a weight is negative, all are 0, or a heatmap of a member was not
    saved; FileNotFoundError if no heatmap of a tomogram was saved.
    """
    if method not in METHODS:
        raise ValueError(f"there is no fusion method {method!r}: choose one of {', '.join(METHODS)}")
    voters = {member: weight for member, weight in weights.items() if weight != 0}
    if not voters or not min(voters.values()) > 0:
        raise ValueError(f"the weights are {dict(weights)}: give at least one member more than 0, and none less")
    mine, tables = candidates[pd.MultiIndex.from_frame(candidates[MEMBER]).isin(list(voters))], []
    if method in POINTWISE:
        radii = {name: MATCH_RADIUS / spacing for name, spacing in spacings.items()}
        how = {"radius_voxels": radii, "method": POINTWISE[method], "skip": skip}
        for names, present in _groups(voters, {*spacings, *mine["tomo_id"]}, lost or {}):
            tables.append(fuse(mine[mine["tomo_id"].isin(names)], weights=present, **how))
        tables = [table for table in tables if len(table)] or [fuse(mine[:0], weights=voters, **how)]
        return pd.concat(tables).sort_values("tomo_id", kind="stable", ignore_index=True)
    for names, present in _groups(voters, spacings, lost or {}):
        for name in names:
            grid = fuse_grids(heatmap.load_heatmaps(output, name), present, how=method)
            tables.append(grid.candidates(name, **ENSEMBLE, threshold=LOWEST))
    return join(tables).sort_values("tomo_id", kind="stable", ignore_index=True)


def _groups(
    weights: Mapping[Member, float], names: Iterable[str], lost: Mapping[str, Collection[Member]]
) -> Iterator[tuple[list[str], dict[Member, float]]]:
    """Yield tomograms that the same members could predict, and weights of these members, scaled to a mean of 1."""
    groups: dict[frozenset[Member], list[str]] = {}
    for name in sorted(names):
        groups.setdefault(frozenset(weights).difference(lost.get(name, ())), []).append(name)
    for members, those in groups.items():
        present = {member: weight for member, weight in weights.items() if member in members}
        if present:
            mean = sum(present.values()) / len(present)
            yield those, {member: weight / mean for member, weight in present.items()}


def fuse_grids(grids: Mapping[Member, Grid], weights: Mapping[Member, float], *, how: str = "mean") -> Grid:
    """Return several heatmaps fused to one, on the finest of their grids, to which the others are interpolated.

    `grids` are of one tomogram, by run and symmetry. `how` is "mean", the weighted mean of the probabilities, or "max",
    the maximum of probability times weight. Raises ValueError if a member in `weights` has no heatmap.
    """
    if missing := sorted(set(weights) - set(grids)):
        raise ValueError(f"{missing} have no heatmap: detect with save_heatmaps=True, or give them no weight")
    finest = min((grids[member] for member in weights), key=lambda grid: math.prod(grid.size))
    each = np.stack([weight * grids[member].onto(finest) for member, weight in weights.items()])
    return replace(finest, cells=each.max(axis=0) if how == "max" else each.sum(axis=0) / sum(weights.values()))
