"""Plots: slices with motors, heatmaps as contours over slices, planes through a point, curves, galleries, networks.

They draw on matplotlib axes and return the figure or the axes; none shows (but `live`), saves or predicts anything.
Motors are amber corners, candidates blue cross-hairs, verdicts blue, grey and two oranges; slices have a scale bar.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from motors.geometry import MATCH_RADIUS, MOTOR_WIDTH
from motors.visualization.marks import CORNERS, CROSS, bar_length, contours, scale_bar, strokes, text
from motors.volumes.cuts import around, layer, slab
from motors.volumes.tomogram import Tomogram

MOTOR = "#ffb000"
CANDIDATE = "#35a2ff"
SCORE = "#b5dcff"
VERDICTS = {"TP": "#0072b2", "TN": "#7a8594", "FP": "#e69f00", "FN": "#b34700"}
DOT = ("o", VERDICTS["TP"])
LINES = (("#0072b2", "-"), ("#e69f00", "--"), ("#333333", ":"), ("#56b4e9", "-."), ("#b34700", (0, (5, 1))))
COLOURS = {"patch": "0.85", "encoder": "#9ecae1", "neck": "#fdd0a2", "decoder": "#fdae6b", "prediction": "0.85"}
RADIUS = MATCH_RADIUS  # ångström, within which a detection is true


def slice_image(
    axes: Axes,
    image: np.ndarray,
    spacing: float,
    *,
    motors_yx: Iterable[Sequence[float]] = (),
    candidates_yx: Iterable[Sequence[float]] = (),
    scores: Iterable[float] = (),
    title: str = "",
    bar: float | None = None,
    levels: tuple[float, float] | None = (0, 255),
) -> Axes:
    """Draw a slice with motors, candidates and a scale bar; raises ValueError if the bar is wider than the image.

    Parameters
    ----------
    image : `(y, x)` intensities, or `(y, x, 3)` colours
    spacing : ångström per pixel
    motors_yx, candidates_yx : centres in pixels; motors get corners twice as wide as a motor, candidates a cross-hair
    scores : of the candidates, written beside them
    bar : length of the scale bar, in ångström; None: the longest of 1, 2, 5, 10, ... up to a third; 0: none
    levels : intensities shown as black and white; None takes the image's 0.5 % and 99.5 % quantiles
    """
    low, high = levels or np.percentile(image, [0.5, 99.5])
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1))
    finds(axes, motors_yx, candidates_yx, scores, MOTOR_WIDTH / spacing)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    if bar != 0:
        scale_bar(axes, image.shape, spacing, bar)
    axes.set_title(title, fontsize=9)
    return axes


def finds(axes: Axes, motors_yx: Iterable, candidates_yx: Iterable, scores: Iterable[float], reach: float) -> None:
    """Draw corners around motors, cross-hairs around candidates, and their scores beside them; `reach` is in pixels."""
    given = list(scores)
    for y, x in motors_yx:
        strokes(axes, x, y, CORNERS * reach, MOTOR)
    for k, (y, x) in enumerate(candidates_yx):
        strokes(axes, x, y, CROSS * reach, CANDIDATE)
        if k < len(given):
            text(axes, x + 0.9 * reach, y - 0.3 * reach, f"{given[k]:.2f}", SCORE)


def inline() -> None:
    """Make a notebook show figures with an image as JPEG and others as PNG, sharp on high-density screens."""
    from IPython import get_ipython
    from IPython.core.pylabtools import print_figure

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return
    shell.run_line_magic("matplotlib", "inline")  # first, as it sets formats, too
    for kind, dots, is_photograph in (("jpeg", 100, True), ("png", 110, False)):

        def show(figure: Figure, kind: str = kind, dots: int = dots, wanted: bool = is_photograph) -> bytes | None:
            has_images = any(axes.images for axes in figure.axes)
            return print_figure(figure, fmt=kind, dpi=dots) if has_images is wanted else None

        shell.display_formatter.formatters[f"image/{kind}"].for_type(Figure, show)


def panels(count: int, *, columns: int = 4, size: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Return a figure and `count` empty axes in rows of `columns`, `size` inches each."""
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    size = (columns * size, rows * size)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axes in grid.ravel()[count:]:
        axes.set_visible(False)
    return figure, list(grid.ravel()[:count])


def near(
    points_zyx: np.ndarray, place: float, spacing: float, reach: float = MOTOR_WIDTH / 2, *, axis: int = 0
) -> np.ndarray:
    """Return the `(n, 2)` in-plane coordinates of points within `reach` ångström of the plane at `place` on `axis`."""
    points_zyx = np.asarray(points_zyx, dtype=float).reshape(-1, 3)
    return np.delete(points_zyx[np.abs(points_zyx[:, axis] - place) * spacing <= reach], axis, axis=1)


def planes(
    tomogram: Tomogram,
    point_zyx: Sequence[float],
    heatmap: np.ndarray | None = None,
    *,
    motors: np.ndarray = (),
    candidates: np.ndarray = (),
    reach: float = 1100.0,
    title: str = "",
    size: float = 2.9,
) -> Figure:
    """Draw the XY, XZ and YZ plane through a point zyx in voxels, `reach` ångström to each side, all at the same scale.

    Each is the mean of five slices. Beyond the border of the tomogram it has the mean intensity of the part shown. Of
    motors and candidates, `(n, 3)` zyx in voxels, those within half a motor's width of a plane are drawn; `heatmap`,
    `(z, y, x)` in [0, 1], is a grid that covers the tomogram, drawn as contours.
    """
    spacing = tomogram.spacing
    figure, grid = panels(3, columns=3, size=size)
    block, centre = around(tomogram.voxels, point_zyx, reach / spacing)
    low = np.asarray(point_zyx, float) - centre
    for axes, (k, name) in zip(grid, enumerate(("XY", "XZ", "YZ")), strict=True):
        rest = [axis for axis in range(3) if axis != k]
        marks = [near(points, point_zyx[k], spacing, axis=k) - low[rest] for points in (motors, candidates)]
        how = {"motors_yx": marks[0], "candidates_yx": marks[1], "title": f"{title} {name}".strip(), "levels": None}
        slice_image(axes, slab(block, centre[k], axis=k), spacing, **how)
        if heatmap is not None:
            sides = np.array(tomogram.voxels.shape)
            cells = layer(heatmap, point_zyx[k], sides[k], axis=k)
            contours(axes, cells, sides[rest], low[rest], CANDIDATE)
        axes.set(xlabel=f"{name[0].lower()} ({block.shape[2] * spacing / 10:.0f} nm)", ylabel=name[1].lower())
    return figure


def heatmap(
    axes: Axes, image: np.ndarray, cells: np.ndarray, spacing: float, *, title: str = "", top: float = 1.0, **marks: Any
) -> Axes:
    """Draw cells `(y, x)` as contours, at a quarter, half and three quarters of `top`, over the slice they cover."""
    slice_image(axes, image, spacing, title=title, **marks)
    contours(axes, cells, image.shape, (0, 0), CANDIDATE, top)
    return axes


def gallery(
    entries: Sequence[Any], draw: Callable[[Axes, Any], object], *, columns: int = 6, size: float = 1.9, title: str = ""
) -> Figure:
    """Call `draw(axes, entry)` for every entry, each in axes of its own, row by row."""
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


def curve(
    axes: Axes, x: Sequence[float], y: Sequence[float], *, xlabel: str, ylabel: str, label: str = "", **style: Any
) -> Axes:
    """Draw one line with labels on a light grid; by default, lines differ in colour and style."""
    if not {"color", "linestyle"} & set(style):
        style["color"], style["linestyle"] = LINES[len(axes.lines) % len(LINES)]
    axes.plot(x, y, label=label or None, **style)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if label:
        axes.legend(frameon=False, fontsize=8)
    return axes


def intervals(
    table: pd.DataFrame, *, value: str, low: str, high: str, xlabel: str, marks: Sequence[tuple[str, str]] = ()
) -> Axes:
    """Draw each row of a table as a mark at its value on an interval from `low` to `high`, the first on top.

    The table's index names the rows; `value`, `low` and `high` are columns, and where they are NaN nothing is drawn;
    `marks` are shape and colour of each row, by default blue dots.
    """
    height = 0.8 + 0.3 * len(table)
    axes = plt.subplots(figsize=(6.5, height), layout="constrained")[1]
    for k, (row, mark) in enumerate(zip(table.to_dict("records"), marks or [DOT] * len(table), strict=True)):
        axes.plot([row[low], row[high]], [k, k], color=mark[1])
        axes.plot(row[value], k, mark[0], color=mark[1])
    axes.set(yticks=range(len(table)), yticklabels=table.index, ylim=(len(table) - 0.5, -0.5), xlabel=xlabel)
    return axes


def training(metrics: pd.DataFrame) -> Figure:
    """Draw a training's `metrics.csv`: loss, and beside it F2 and average precision, or else the learning rate."""
    judged = metrics.dropna(subset="validation_loss") if "validation_loss" in metrics else metrics[:0]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
    smooth = metrics.loss.rolling(max(1, len(metrics) // 25), min_periods=1).mean()
    named = {"xlabel": "optimiser step", "ylabel": "binary cross-entropy"}
    curve(left, metrics.step, metrics.loss, **named, label="each step", color="0.75", linewidth=0.8)
    curve(left, metrics.step, smooth, **named, label="running mean", color=LINES[0][0])
    left.set_yscale("log")
    if len(judged):
        curve(left, judged.step, judged.validation_loss, **named, label="validation", color=LINES[1][0], marker="s")
        for name, label, marker in (("validation_f2", "F2", "s"), ("validation_ap", "average precision", "o")):
            shown = {"ylabel": "held-out patches", "label": label, "marker": marker}
            curve(right, judged.step, judged[name], xlabel="optimiser step", **shown)
        right.set_ylim(0, 1.02)
    else:
        curve(right, metrics.step, metrics.learning_rate, xlabel="optimiser step", ylabel="learning rate")
    return figure


def live() -> Callable[[Path], None]:
    """Return a function that plots a metrics file in the current cell, in place of its last plot; no-op elsewhere."""
    from IPython import get_ipython  # a notebook has it
    from IPython.display import display

    shown = display(plt.figure(), display_id=True) if get_ipython() else None
    plt.close()

    def draw(path: Path) -> None:
        if shown is not None:
            figure = training(pd.read_csv(path))
            plt.close(figure)
            shown.update(figure)

    return draw


def architecture(shapes: pd.DataFrame) -> Figure:
    """Draw a network's `summary.shapes` as boxes, whose height grows with resolution, and width with channels."""
    figure, axes = plt.subplots(figsize=(1.15 * len(shapes), 2.9), layout="constrained")
    finest = max(int(sides.split(" × ")[-1]) for sides in shapes.sides)
    for place, (part, channels, sides) in enumerate(shapes.itertuples(index=False)):
        tall = 0.25 + np.log2(int(sides.split(" × ")[-1])) / np.log2(finest)
        wide = 0.12 + 0.04 * np.log2(channels + 1)
        colour = COLOURS[part.split()[0]]
        axes.add_patch(Rectangle((place - wide / 2, -tall / 2), wide, tall, facecolor=colour, edgecolor="0.3"))
        axes.text(place, 0.72, part, ha="center", va="bottom", fontsize=9)
        axes.text(place, -0.72, f"{channels} channel{'s' * (channels > 1)}\n{sides}", ha="center", va="top", fontsize=8)
        if place:
            axes.annotate("", (place - 0.32, 0), (place - 0.68, 0), arrowprops={"arrowstyle": "->", "color": "0.4"})
    axes.set(xlim=(-0.6, len(shapes) - 0.4), ylim=(-1.15, 0.95))
    axes.set_axis_off()
    return figure


def predictions(previews: Sequence[Any], top: float = 1.0) -> Figure:
    """Draw `preview.previews`: slabs at one scale, with contours of a network's heatmap; titles give its peak."""
    figure, grid = panels(len(previews), columns=4, size=2.8)
    side = max((max(each.image.shape) * each.spacing[1] for each in previews), default=0.0)  # ångström
    for axes, each in zip(grid, previews, strict=False):
        motors, bar = near(each.points_zyx, each.z, each.spacing[0]), bar_length(side)
        how = {"motors_yx": motors, "levels": None, "bar": bar, "top": top}
        heatmap(axes, each.image, each.cells, each.spacing[1], title=f"{each.tomo_id}: {each.cells.max():.2f}", **how)
        last = side / each.spacing[1] - 0.5
        axes.set(xlim=(-0.5, last), ylim=(last, -0.5))
    return figure
