"""A whole tomogram in three dimensions, as one picture: surfaces of what is dense, with motors and candidates in it."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from matplotlib.axes import Axes
from scipy import ndimage

from motors.geometry import MOTOR_WIDTH
from motors.visualization import plots
from motors.volumes.tomogram import Tomogram

GRID = 24.0  # ångström per voxel of what is drawn
MOST = 220  # voxels of the longest side of what is drawn; larger tomograms get a coarser grid
BLUR = 40.0  # ångström, standard deviation: noise goes, membranes stay
DENSE = 0.08  # share of the volume
LARGE = 1e7  # cubic ångström: smaller pieces are noise, ribosomes or gold


def scene(
    tomogram: Tomogram,
    motors: np.ndarray = (),
    candidates: np.ndarray = (),
    scores: Sequence[float] = (),
    *,
    turn: float = 25.0,
    tilt: float = 40.0,
    title: str = "",
) -> Axes:
    """Draw the surfaces of what is densest in a tomogram, mostly membranes, with its finds, as seen from above.

    Motors and candidates are `(n, 3)` zyx in voxels, never hidden; `turn` and `tilt` are of the line of sight, in
    degrees: about z, and away from z.
    """
    grid = max(GRID, max(tomogram.voxels.shape) * tomogram.spacing / MOST)
    solid = _surfaces(tomogram, grid)
    step, middle, side = grid / tomogram.spacing, np.array(solid.shape) / 2, int(np.linalg.norm(solid.shape)) + 1
    frame = _frame(turn, tilt)  # its rows are the line of sight, down and right
    corner = middle - 0.5 - frame.T @ np.full(3, side / 2 - 0.5)
    seen = ndimage.affine_transform(solid, frame.T, corner, (side,) * 3, order=1)

    def places(points: np.ndarray) -> np.ndarray:
        cells = (np.asarray(points, float).reshape(-1, 3) + 0.5) / step
        return ((cells - middle) @ frame.T + side / 2 - 0.5)[:, 1:]

    axes = plots.panels(1, size=5)[1][0]
    axes.imshow(_shaded(seen), cmap="gray", vmin=0, vmax=1, interpolation="bilinear", origin="upper")
    for corners in combinations(product((0, 1), repeat=3), 2):
        if np.abs(np.subtract(*corners)).sum() == 1:  # the ends of an edge of the volume
            edge = places(np.array(corners) * tomogram.voxels.shape - 0.5)
            axes.plot(*edge[:, ::-1].T, color="0.6", linewidth=0.7)
    plots.finds(axes, places(motors), places(candidates), scores, MOTOR_WIDTH / grid)
    axes.set(xticks=[], yticks=[], facecolor="0")
    axes.set_title(title, fontsize=9)
    return axes


def _surfaces(tomogram: Tomogram, grid: float) -> np.ndarray:
    """Return `(z, y, x)` on the coarser grid, above one half where there is something dense and large."""
    every = max(1, int(grid / tomogram.spacing))  # noise is blurred away afterwards
    small = tomogram.voxels[::every, ::every, ::every].astype(np.float32)
    small = ndimage.zoom(small, every * tomogram.spacing / grid, order=1, mode="nearest")
    density = -ndimage.gaussian_filter(small, BLUR / grid)
    density -= ndimage.gaussian_filter(density, 6 * BLUR / grid)  # ice is thicker here and thinner there
    rough = ndimage.gaussian_filter(np.abs(small - ndimage.uniform_filter(small, 3)), 2 * BLUR / grid)
    recorded = rough > 0.7 * np.median(rough)  # beyond the border of the projections there is less noise
    recorded = ndimage.binary_erosion(recorded, iterations=3, border_value=1)
    solid = recorded & (density > np.quantile(density[recorded], 1 - DENSE))
    pieces, _ = ndimage.label(solid)
    return ndimage.gaussian_filter((solid & (np.bincount(pieces.ravel()) > LARGE / grid**3)[pieces]).astype(float), 0.8)


def _frame(turn: float, tilt: float) -> np.ndarray:
    """Return the rotation from z, y, x to depth, down and right of the picture."""
    (c, s), (d, t) = ((np.cos(angle), np.sin(angle)) for angle in np.radians([turn, tilt]))
    return np.array([[d, t, 0], [-t, d, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _shaded(seen: np.ndarray) -> np.ndarray:
    """Return how bright the first surface along the first axis is, lit from above left; what is far is darker."""
    hit = seen > 0.5
    depth = hit.argmax(axis=0)
    normal = np.stack([np.take_along_axis(slope, depth[None], 0)[0] for slope in np.gradient(seen)])
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
    light = np.array([0.75, 0.5, 0.43])
    bright = np.clip(np.einsum("k,kyx->yx", light, normal), 0, 1)
    return np.where(hit.any(axis=0), (0.25 + 0.75 * bright) * (1 - 0.5 * depth / len(seen)), 0)
