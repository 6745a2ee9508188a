"""What happens to grey levels: contrast, lost resolution, and boxes of noise."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate

from motors import geometry
from motors.augment3d.chance import Step

BOX_SIDES = (500.0, 2000.0)  # ångström: the smallest and the largest side of a dropped box
MOTOR_REACH = 2.5003  # standard deviations: the ball that holds 90 % of a 3D Gaussian, sqrt(chi2.ppf(0.9, 3))


def grey_table(steps: tuple[Step, ...], counts: np.ndarray) -> np.ndarray:
    """Return what each of the 256 grey levels becomes.

    The steps, with v the value and mean, deviation, min and max those of the patch at that point:
    `add` v + a; `add_deviations` v + a * deviation; `contrast` (v - mean) * (1 + a) + mean; `multiply` v * (1 + a);
    `gamma` ((v - min) / (max - min)) ** a * (max - min) + min; `histogram` a piecewise linear map from [min, max] to
    itself with equidistant knots. Nothing is clipped in between.

    A level stands for the values that were truncated to it, so its middle is what the steps see. Against steps on
    unrounded values this errs by up to half a level times the slope of the map.

    Parameters
    ----------
    steps : names and amounts, in order
    counts : `(256,)` how often each level occurs

    Returns
    -------
    `(256,)` uint8, clipped and truncated
    """
    values, weights = np.arange(256) + 0.5, counts / counts.sum()
    for name, amount in steps:
        mean, low, high = weights @ values, values[counts > 0].min(), values[counts > 0].max()
        if name == "add":
            values = values + amount
        elif name == "add_deviations":
            values = values + amount * np.sqrt(weights @ (values - mean) ** 2)
        elif name == "contrast":
            values = (values - mean) * (1 + amount) + mean
        elif name == "multiply":
            values = values * (1 + amount)
        elif name == "gamma":
            values = (np.clip(values - low, 0, high - low) / (high - low + 1e-7)) ** amount * (high - low) + low
        elif name == "histogram":
            knots = np.linspace(0, 1, len(amount)) * (high - low) + low
            values = np.interp(values, knots, np.array(amount) * (high - low) + low)
        else:
            raise ValueError(f"no step on grey levels is called {name!r}: see `grey_table`")
    return np.clip(values, 0, 255).astype(np.uint8)


def regrade(voxels: np.ndarray, steps: tuple[Step, ...]) -> None:
    """Change the grey levels of `(z, y, x)` uint8 voxels in place."""
    if steps:
        flat = voxels.reshape(len(voxels), -1)
        counts = cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel()  # its shape depends on the version of cv2
        cv2.LUT(flat, grey_table(steps, counts), dst=flat)


def coarsen(voxels: np.ndarray, factor: float, down: str, up: str) -> np.ndarray:
    """Return `(z, y, x)` uint8 voxels made smaller by `factor` and large again, by interpolations that torch names.

    The nearest voxel is the exact one: torch's plain "nearest", which the original solution had, moves everything by
    up to a voxel, and the motors would stay behind.
    """
    low = [max(1, round(side * factor)) for side in voxels.shape]
    small = interpolate(torch.from_numpy(voxels)[None, None].float(), size=low, mode=down)
    return interpolate(small, size=voxels.shape, mode=up)[0, 0].to(torch.uint8).numpy()


def drop_boxes(
    voxels: np.ndarray,
    points_zyx: np.ndarray,
    covariances: np.ndarray,
    spacing: geometry.PerAxis,
    rng: np.random.Generator,
) -> None:
    """Fill three to eight random boxes of `(z, y, x)` uint8 voxels with noise, in place, but none that touches a motor.

    A motor reaches as far as 90 % of its Gaussian. After ten boxes in a row that would touch one, no more are tried.
    """
    reach = MOTOR_REACH * np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    smallest, largest = (np.array([length // s for s in geometry.per_axis(spacing)], int) for length in BOX_SIDES)
    wanted, refused = rng.integers(3, 8, endpoint=True), 0
    while wanted and refused < 10:
        sides = np.minimum(rng.integers(smallest, largest, endpoint=True), voxels.shape)
        start = rng.integers(0, voxels.shape - sides, endpoint=True)
        if np.any(np.all((points_zyx + reach > start) & (points_zyx - reach < start + sides - 1), axis=1)):
            refused += 1
            continue
        box = tuple(slice(a, a + n) for a, n in zip(start, sides, strict=True))
        voxels[box] = rng.integers(0, 255, sides, dtype=np.uint8)
        wanted, refused = wanted - 1, 0
