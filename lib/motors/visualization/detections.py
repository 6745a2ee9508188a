"""One picture of all detections in a tomogram."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from motors.visualization import plots
from motors.volumes.tomogram import Tomogram

DOTS, OVERVIEW = 110, 170  # per inch, of planes and of the projection


@plt.style.context("default")  # whatever the user's own settings are, such as text by a TeX that is not installed
def picture(
    tomogram: Tomogram, points_zyx: np.ndarray, scores: Sequence[float], heatmap: np.ndarray | None = None
) -> np.ndarray:
    """Return a picture: all detections on the projection of the tomogram, and below, three planes through each.

    It is `(rows, columns, 3)` uint8. The points are `(n, 3)` zyx in voxels, the scores `(n,)`, best first; `heatmap` is
    `(z, y, x)` in [0, 1], a grid that covers the tomogram: contours at 1/4, 1/2 and 3/4 of its peak near the point.
    """
    points, count = np.asarray(points_zyx, float).reshape(-1, 3), len(scores)
    found = f"{count} motor{'s' * (count != 1)}" if count else "no motor"
    axes = projection(tomogram, candidates=points, scores=scores, title=f"{tomogram.name}: {found}")
    rows = [_drawn(axes.figure, OVERVIEW)]
    for k, (point, score) in enumerate(zip(points, scores, strict=True), start=1):
        cells = heatmap if heatmap is None else heatmap / _peak(heatmap, point, tomogram.voxels.shape)
        planes = plots.planes(tomogram, point, cells, candidates=point[None], title=f"{k}: {score:.2f}")
        for axes, axis, where in zip(planes.axes, "zyx", point, strict=True):  # to find it in another program
            axes.title.set_text(f"{axes.get_title()}, {axis} {where:.0f}")
        rows.append(_drawn(planes, DOTS))
    spare = [max(row.shape[1] for row in rows) - row.shape[1] for row in rows]
    sides = [((0, 0), (room // 2, room - room // 2), (0, 0)) for room in spare]
    return np.vstack([np.pad(row, side, constant_values=255) for row, side in zip(rows, sides, strict=True)])


def _peak(heatmap: np.ndarray, point_zyx: np.ndarray, shape: tuple[int, ...]) -> float:
    cell = ((point_zyx + 0.5) / shape * heatmap.shape).astype(int)
    return max(float(heatmap[tuple(slice(max(k - 1, 0), k + 2) for k in cell)].max()), 1e-6)


def _drawn(figure: Figure, dots: int) -> np.ndarray:
    figure.set_dpi(dots)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    plt.close(figure)
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def projection(
    tomogram: Tomogram, motors: np.ndarray = (), candidates: np.ndarray = (), scores: Sequence[float] = (), **how: Any
) -> Axes:
    """Draw the mean of a whole tomogram along z, with all motors and candidates, whatever their z.

    Both are `(n, 3)` zyx in voxels, scores those of the candidates; `how` are title and bar, see `plots.slice_image`.
    """
    axes = plots.panels(1, size=4.5)[1][0]
    marks = [np.asarray(points, float).reshape(-1, 3)[:, 1:] for points in (motors, candidates)]
    image = tomogram.voxels.mean(axis=0, dtype=np.float32)
    how |= {"motors_yx": marks[0], "candidates_yx": marks[1], "scores": scores, "levels": None}
    return plots.slice_image(axes, image, tomogram.spacing, **how)
