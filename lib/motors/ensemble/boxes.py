"""Weighted box fusion by the package `ensemble-boxes`, to compare with that of points."""

import numpy as np

from motors.ensemble.wbf import Fused, prepare, ranked


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
    from ensemble_boxes import weighted_boxes_fusion_3d

    # That package exits the process on invalid input, so the input is validated here.
    points_zyx, members = np.reshape(points_zyx, (-1, 3)).astype(np.float64), np.asarray(members, dtype=np.int64)
    _, strength, weights = prepare(points_zyx, scores, members, weights, radius, skip, confidence)
    if not strength.sum() > 0:
        return ranked(np.zeros((0, 3)), np.zeros(0))
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
    return ranked((fused[:, :3] + fused[:, 3:]) / 2 * extent + low, level)
