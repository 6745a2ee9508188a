"""Pictures: slices with motors, heatmaps over slices, curves, galleries, and a viewer to scroll through a tomogram.

Every function draws on matplotlib axes and returns the figure or the axes; none of them shows or saves anything.
Motors are amber circles, candidates are blue squares, and every slice carries a scale bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

MOTOR = "#ffb000"
CANDIDATE = "#35c2ff"
VERDICTS = {"TP": "#35b779", "TN": "#8d99ae", "FP": "#ff7f51", "FN": "#e63946"}
MOTOR_WIDTH = 450.0  # ångström, the width of the C ring with its surroundings
RADIUS = 1000.0  # ångström, within which an answer counts


def slice_image(
    axes: Axes,
    image: np.ndarray,
    spacing: float,
    *,
    motors_yx: Iterable[Sequence[float]] = (),
    candidates_yx: Iterable[Sequence[float]] = (),
    title: str = "",
    bar: float = 1000.0,
    levels: tuple[float, float] = (0, 255),
) -> Axes:
    """Draw one slice with its motors, candidates and a scale bar.

    Parameters
    ----------
    image : `(y, x)` grey levels, or `(y, x, 3)` colours
    spacing : ångström per pixel
    motors_yx, candidates_yx : centres in pixels; motors get a circle twice as wide as a motor, candidates a square
    bar : length of the scale bar, in ångström; 0 leaves it out
    levels : grey levels shown as black and white
    """
    axes.imshow(image, cmap="gray", vmin=levels[0], vmax=levels[1], interpolation="nearest")
    radius = MOTOR_WIDTH / spacing
    for y, x in motors_yx:
        axes.add_patch(plt.Circle((x, y), radius, fill=False, color=MOTOR, linewidth=1.6))
    for y, x in candidates_yx:
        corner = (x - 0.8 * radius, y - 0.8 * radius)
        axes.add_patch(plt.Rectangle(corner, 1.6 * radius, 1.6 * radius, fill=False, color=CANDIDATE, linewidth=1.6))
    if bar:
        height, width = image.shape[:2]
        left, below = 0.04 * width, 0.95 * height
        style = {"color": "white", "path_effects": [withStroke(linewidth=4, foreground="black")]}
        axes.plot([left, left + bar / spacing], [below, below], linewidth=2.5, solid_capstyle="butt", **style)
        style["path_effects"] = [withStroke(linewidth=1.5, foreground="black")]
        axes.text(left, below - 0.03 * height, f"{bar:g} Å", fontsize=8, va="bottom", **style)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    axes.set_title(title, fontsize=9)
    return axes


def panels(count: int, *, columns: int = 4, size: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Return a figure and `count` empty axes in rows of `columns`, `size` inches each."""
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    figure, grid = plt.subplots(
        rows, columns, figsize=(columns * size, rows * size), squeeze=False, layout="constrained"
    )
    for axes in grid.ravel()[count:]:
        axes.set_visible(False)
    return figure, list(grid.ravel()[:count])


def near(points_zyx: np.ndarray, z: float, spacing: float, reach: float = MOTOR_WIDTH / 2) -> np.ndarray:
    """Return the `(n, 2)` y and x of the points whose z lies within `reach` ångström of the slice `z`."""
    points_zyx = np.asarray(points_zyx, dtype=float).reshape(-1, 3)
    return points_zyx[np.abs(points_zyx[:, 0] - z) * spacing <= reach, 1:]


def slices(
    voxels: np.ndarray,
    spacing: float,
    points_zyx: np.ndarray = (),
    *,
    count: int = 4,
    title: str = "",
    size: float = 2.6,
) -> Figure:
    """Draw `count` slices spread over the depth of a tomogram `(z, y, x)`, with the motors that lie near each."""
    figure, grid = panels(count, columns=count, size=size)
    for axes, z in zip(grid, np.linspace(0, len(voxels) - 1, count + 2)[1:-1].round().astype(int), strict=True):
        slice_image(axes, voxels[z], spacing, motors_yx=near(points_zyx, z, spacing), title=f"z = {z}")
    figure.suptitle(title, fontsize=10)
    return figure


def cuts(
    voxels: np.ndarray,
    spacing: float,
    point_zyx: Sequence[float],
    *,
    reach: float = 1100.0,
    title: str = "",
    size: float = 2.6,
) -> Figure:
    """Draw the three slices through one point, `reach` ångström to each side: seen along z, along y and along x."""
    figure, grid = panels(3, columns=3, size=size)
    block, centre = around(voxels, point_zyx, reach / spacing)
    z, y, x = centre.round().astype(int)
    views = [
        ("along z", block[z], centre[[1, 2]]),
        ("along y", block[:, y], centre[[0, 2]]),
        ("along x", block[:, :, x], centre[[0, 1]]),
    ]
    for axes, (name, image, mark) in zip(grid, views, strict=True):
        slice_image(axes, image, spacing, motors_yx=[mark], title=f"{title} {name}".strip())
    return figure


def around(voxels: np.ndarray, point_zyx: Sequence[float], reach_voxels: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the block within `reach_voxels` of a point, clipped at the border, and the point inside the block."""
    point = np.asarray(point_zyx, dtype=float)
    low = np.clip(np.floor(point - reach_voxels), 0, np.array(voxels.shape) - 1).astype(int)
    high = np.clip(np.ceil(point + reach_voxels) + 1, 1, voxels.shape).astype(int)
    return np.asarray(voxels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]), np.clip(
        point - low, 0, high - low - 1
    )


def heatmap(
    axes: Axes,
    image: np.ndarray,
    cells: np.ndarray,
    spacing: float,
    *,
    title: str = "",
    top: float = 1.0,
    colours: str = "inferno",
    **marks: Any,
) -> Axes:
    """Draw a grid of cells `(y, x)` in [0, top] as a glow over the slice `(y, x)` that it covers."""
    slice_image(axes, image, spacing, title=title, **marks)
    height, width = image.shape
    strength = np.clip(np.asarray(cells, dtype=float) / top, 0, 1)
    axes.imshow(
        cells,
        cmap=colours,
        vmin=0,
        vmax=top,
        alpha=0.75 * strength,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="bilinear",
    )
    return axes


def gallery(
    entries: Sequence[Any], draw: Callable[[Axes, Any], object], *, columns: int = 6, size: float = 1.9, title: str = ""
) -> Figure:
    """Draw `draw(axes, entry)` for every entry, in rows: motors found, motors missed, false alarms."""
    if not len(entries):
        figure, (axes,) = panels(1, size=2.0)
        axes.text(0.5, 0.5, "none", ha="center", va="center")
        axes.set_axis_off()
    else:
        figure, grid = panels(len(entries), columns=columns, size=size)
        for axes, entry in zip(grid, entries, strict=True):
            draw(axes, entry)
    figure.suptitle(title, fontsize=10)
    return figure


def before_after(
    before: Any,
    after: Mapping[str, Any],
    draw: Callable[[Axes, Any, str], object],
    *,
    columns: int = 6,
    size: float = 2.2,
    title: str = "",
) -> Figure:
    """Draw `draw(axes, sample, name)` for everything a sample became, each row behind the sample as it was before."""
    entries = list(after.items())
    rows = [entries[k : k + columns - 1] for k in range(0, len(entries), columns - 1)]
    shown = [entry for row in rows for entry in (("before", before), *row)]
    return gallery(shown, lambda axes, entry: draw(axes, *entry[::-1]), columns=columns, size=size, title=title)


def curve(
    axes: Axes, x: Sequence[float], y: Sequence[float], *, xlabel: str, ylabel: str, label: str = "", **style: Any
) -> Axes:
    """Draw one line with its labels on a light grid."""
    axes.plot(x, y, label=label or None, **style)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if label:
        axes.legend(frameon=False, fontsize=8)
    return axes


def training(metrics: pd.DataFrame) -> Figure:
    """Draw loss and learning rate over the steps of a training.

    Parameters
    ----------
    metrics : step, loss and learning_rate, as `motors.training.train` writes them to metrics.csv
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
    smooth = metrics.loss.rolling(max(1, len(metrics) // 25), min_periods=1).mean()
    curve(left, metrics.step, metrics.loss, xlabel="optimiser step", ylabel="loss", color="0.8", linewidth=0.8)
    curve(left, metrics.step, smooth, xlabel="optimiser step", ylabel="loss", color=MOTOR)
    left.set_yscale("log")
    curve(right, metrics.step, metrics.learning_rate, xlabel="optimiser step", ylabel="learning rate", color=CANDIDATE)
    return figure


def predictions(previews: Sequence[Any]) -> Figure:
    """Draw slices through motors under what a network says there, its highest value in the title.

    Parameters
    ----------
    previews : of `motors.detection.preview.previews`
    """
    figure, grid = panels(len(previews), columns=4, size=2.8)
    for axes, each in zip(grid, previews, strict=False):
        marks = near(each.points_zyx, each.z, each.spacing[0])
        title = f"{each.tomo_id}: {each.cells.max():.2f}"
        heatmap(axes, each.image, each.cells, each.spacing[1], motors_yx=marks, title=title)
    return figure
