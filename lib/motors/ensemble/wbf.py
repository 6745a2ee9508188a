"""Weighted box fusion (WBF) of the candidates of several members, as points or by the package `ensemble-boxes`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from motors.tables import MEMBER, NO_MOTOR, POINT, need

ENSEMBLE = {"run": "ensemble", "symmetry": "all"}  # of fused candidates
Member = tuple[str, str]  # a run and a symmetry
Fused = tuple[np.ndarray, np.ndarray]  # `(n, 3)` points zyx in voxels and `(n,)` scores, best first


def fuse_points(
    points_zyx: np.ndarray,
    scores: np.ndarray,
    members: np.ndarray,
    weights: np.ndarray,
    *,
    radius: float,
    skip: float = 0.2,
    confidence: str = "mean",
    rescale: str | None = "linear",
    power: float = 1.0,
    most_votes: float = 3.0,
    overflow: bool = False,
) -> Fused:
    """Return the points of several members, fused: weighted box fusion with points instead of boxes.

    From the best down, each point joins the nearest cluster whose centre is nearer than `radius`, or starts one. The
    centre of a cluster is the mean of its points weighted by their scores, and moves as points join. Its score is
    then multiplied by its share of the votes, so that a point found by one of nine members counts one ninth.
    The method is that of the original solution, after Solovyev et al., Weighted boxes fusion, 2021. It returns
    `(m, 3)` float64 points and `(m,)` float64 scores, best first, regardless of the order of the input.

    Parameters
    ----------
    points_zyx : `(n, 3)` in voxels
    scores : `(n,)` in [0, 1]
    members : `(n,)` int, the index of each point's member in `weights`
    weights : `(members,)`, one per member, including those without points
    radius : in voxels
    skip : points with a lower score, before weighting, are left out
    confidence : `mean` or `max` of the weighted scores of a cluster
    rescale : how the number of points of a cluster becomes its votes, a share of all weights: `linear` keeps it,
        `poly` raises it to `power`, `clipping` limits it to `most_votes`; None does not rescale
    power : exponent of `poly`
    most_votes : limit of `clipping`
    overflow : True does not cap votes at the sum of weights: a score may then grow

    Raises ValueError if a setting is unknown, a weight is negative, or a member has no weight.
    """
    if rescale not in ("linear", "poly", "clipping", None):
        raise ValueError(f"rescale {rescale!r} is unknown: choose linear, poly, clipping or None")
    points, strength, weights = _prepare(points_zyx, scores, members, weights, radius, skip, confidence)
    owners, centres = _clusters(points, strength, radius)
    votes = np.bincount(owners, minlength=len(centres)).astype(np.float64)
    if confidence == "mean":
        level = np.bincount(owners, strength, minlength=len(centres)) / votes
    else:
        level = np.zeros(len(centres))
        np.maximum.at(level, owners, strength)
    return _ranked(centres, level * _share(votes, weights.sum(), rescale, power, most_votes, overflow))


def fuse_boxes(
    points_zyx: np.ndarray,
    scores: np.ndarray,
    members: np.ndarray,
    weights: np.ndarray,
    *,
    radius: float,
    skip: float = 0.2,
    confidence: str = "mean",
    overflow: bool = False,
) -> Fused:
    """Return the points as the package `ensemble-boxes` fuses them, each as a cube with edges of twice `radius`.

    Cubes `radius` apart along an axis have an IoU of 1/3, the threshold for a match. Parameters, result and errors
    are those of `fuse_points`.
    """
    from ensemble_boxes import weighted_boxes_fusion_3d  # which Kaggle's image lacks

    # That package exits the process on invalid input, so the input is validated here.
    points_zyx, members = np.reshape(points_zyx, (-1, 3)).astype(np.float64), np.asarray(members, dtype=np.int64)
    _, strength, weights = _prepare(points_zyx, scores, members, weights, radius, skip, confidence)
    if not strength.sum() > 0:
        return _ranked(np.zeros((0, 3)), np.zeros(0))
    low = points_zyx.min(axis=0) - radius
    extent = points_zyx.max(axis=0) + radius - low
    boxes = np.hstack([points_zyx - radius - low, points_zyx + radius - low]) / np.tile(extent, 2)
    of = [np.flatnonzero((members == member) & (weight > 0)) for member, weight in enumerate(weights)]
    settings = {"iou_thr": 1 / 3, "skip_box_thr": skip, "conf_type": {"mean": "avg"}.get(confidence, confidence)}
    fused, level, _ = weighted_boxes_fusion_3d(
        [boxes[each].clip(0, 1) for each in of],
        [np.asarray(scores, dtype=np.float64)[each] for each in of],
        [np.zeros(len(each)) for each in of],
        weights=weights,
        allows_overflow=overflow,
        **settings,
    )
    return _ranked((fused[:, :3] + fused[:, 3:]) / 2 * extent + low, level)


def fuse(
    candidates: pd.DataFrame,
    *,
    radius_voxels: float | Mapping[str, float],
    weights: Mapping[Member, float] | None = None,
    method: Callable[..., Fused] = fuse_points,
    **settings: Any,
) -> pd.DataFrame:
    """Return the candidates of several members, fused in each tomogram.

    Candidates have tomo_id, z, y, x in voxels of the original tomogram, score, run, symmetry. `radius_voxels` is the
    radius of `method`, one number or one per tomogram. By default every member (run and symmetry) in the table has
    weight one; a member without any candidate must be named in `weights`, because it lowers the share of votes of all
    others. `settings` are further parameters of `method`, `fuse_points` or `fuse_boxes`.

    The result has tomo_id, z, y, x, score, run ("ensemble"), symmetry ("all"); sorted by tomogram, best first.
    Raises ValueError if a column is missing, a member has no weight or a tomogram no radius, or as `method`.
    """
    need(candidates, ["tomo_id", *POINT, "score", *MEMBER], "the table of candidates")
    candidates = candidates[candidates[POINT].ne(NO_MOTOR).all(axis=1)]
    of = pd.MultiIndex.from_frame(candidates[MEMBER])
    weights = dict.fromkeys(sorted(of.unique()), 1.0) if weights is None else dict(weights)
    if strange := sorted(set(of) - set(weights)):
        raise ValueError(f"{' '.join(strange[0])} has no weight: name every run and symmetry in weights")
    values = np.array(list(weights.values()))
    places = {member: place for place, member in enumerate(weights)}
    points, scores = candidates[POINT].to_numpy(float), candidates["score"].to_numpy(float)
    members = np.array([places[member] for member in of], dtype=np.int64)
    groups = dict(sorted(candidates.groupby("tomo_id").indices.items()))
    radii = radius_voxels if isinstance(radius_voxels, Mapping) else dict.fromkeys(groups, radius_voxels)
    if strange := sorted(set(groups) - set(radii)):
        raise ValueError(f"the tomograms {strange} have no radius: say how large the voxels of every tomogram are")
    found: list[Fused] = []
    for name, rows in groups.items():
        found.append(method(points[rows], scores[rows], members[rows], values, radius=radii[name], **settings))
    names = np.repeat(np.array(list(groups), dtype=object), [len(level) for _, level in found])
    table = pd.DataFrame(np.concatenate([np.zeros((0, 3)), *(fused for fused, _ in found)]), columns=POINT)
    table.insert(0, "tomo_id", pd.Series(names, dtype=candidates["tomo_id"].dtype))
    return table.assign(score=np.concatenate([np.zeros(0), *(level for _, level in found)]), **ENSEMBLE)


def _prepare(points_zyx, scores, members, weights, radius: float, skip: float, confidence: str) -> tuple:
    """Return the points not skipped, best first, their weighted scores, and the weights, all float64."""
    points, scores = np.reshape(points_zyx, (-1, 3)).astype(np.float64), np.asarray(scores, dtype=np.float64)
    weights, members = np.asarray(weights, dtype=np.float64), np.asarray(members, dtype=np.int64)
    if confidence not in ("mean", "max"):
        raise ValueError(f"confidence {confidence!r} is unknown: choose mean or max")
    if not len(points) == len(scores) == len(members):
        raise ValueError(f"{len(points)} points, {len(scores)} scores, {len(members)} members: give equally many")
    if not (np.isfinite(points).all() and np.isfinite(scores).all()):
        raise ValueError("a point or a score is not a finite number")
    if len(members) and not 0 <= members.min() <= members.max() < len(weights):
        raise ValueError(f"members run to {members.max()} but there are {len(weights)} weights: give one per member")
    if not (weights >= 0).all() or not weights.sum() > 0 or not radius > 0:
        raise ValueError(f"weights {weights.tolist()} and radius {radius} must be positive")
    strength = scores * weights[members]
    order = np.lexsort((*points.T[::-1], -strength))
    order = order[scores[order] >= skip]
    return points[order], strength[order], weights


def _clusters(points: np.ndarray, strength: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the `(n,)` cluster of each point and the `(m, 3)` centres of the clusters."""
    owners, centres, masses = [], [], []
    for point, mass in zip(points.tolist(), strength.tolist(), strict=True):
        distances = [math.dist(point, centre) for centre in centres]
        nearest = min(distances, default=math.inf)
        if nearest < radius:
            cluster = distances.index(nearest)
            masses[cluster] += mass
            pull = mass / masses[cluster] if masses[cluster] > 0 else 0.0
            centres[cluster] = [c + pull * (p - c) for c, p in zip(centres[cluster], point, strict=True)]
        else:
            cluster = len(centres)
            centres.append(point)
            masses.append(mass)
        owners.append(cluster)
    return np.array(owners, dtype=np.int64), np.reshape(centres, (-1, 3)).astype(np.float64)


def _share(votes: np.ndarray, total: float, rescale: str | None, power: float, most_votes: float, overflow: bool):
    """Return the share of each cluster in all weights."""
    if rescale is None:
        return 1.0
    votes = {"poly": votes**power, "clipping": np.minimum(votes, most_votes)}.get(rescale, votes)
    return (votes if overflow else np.minimum(votes, total)) / total


def _ranked(points: np.ndarray, scores: np.ndarray) -> Fused:
    """Return points and scores, best first; equal scores by z, y, x."""
    order = np.lexsort((*points.T[::-1], -scores))
    return points[order], scores[order]
