"""Marks that do not cover what they mark, and differ in shape and colour; scale bars and contours."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

GAP = [np.nan, np.nan]
# x, y of polylines, in units of the reach
CORNERS = np.vstack([[[0.55 * x, y], [x, y], [x, 0.55 * y], GAP] for x in (-1, 1) for y in (-1, 1)])
CROSS = np.vstack([[[0.5 * x, 0.5 * y], [0.95 * x, 0.95 * y], GAP] for x, y in ((0, 1), (0, -1), (1, 0), (-1, 0))])


def strokes(axes: Axes, x: float, y: float, lines: np.ndarray, colour: str) -> None:
    """Draw a mark around a point; `lines` are `CORNERS` or `CROSS`, scaled."""
    halo = [withStroke(linewidth=3.2, foreground="black", alpha=0.6)]
    axes.plot(*(lines + (x, y)).T, color=colour, linewidth=1.6, solid_capstyle="round", path_effects=halo)


def text(axes: Axes, x: float, y: float, words: str, colour: str = "white") -> None:
    """Write text that is legible on any grey."""
    halo = [withStroke(linewidth=1.8, foreground="black")]
    look = {"fontsize": 8, "va": "bottom", "color": colour, "path_effects": halo}
    axes.annotate(words, (x, y), (0, 3), textcoords="offset points", **look)


def bar_length(width: float) -> float:
    """Return the longest of 1, 2, 5, 10, ... ångström that spans at most a third of `width` ångström."""
    steps = [factor * 10.0**power for power in range(-1, 7) for factor in (1, 2, 5)]
    return max((step for step in steps if step <= width / 3), default=steps[0])


def scale_bar(axes: Axes, shape: Sequence[int], spacing: float, bar: float | None = None) -> None:
    """Draw a scale bar of `bar` ångström, or of the `bar_length` that fits, into the corner of an image of this shape.

    `spacing` is ångström per pixel. Raises ValueError if the bar is wider than the image, and would be cut off.
    """
    height, width = shape[:2]
    bar = bar_length(width * spacing) if bar is None else bar
    if bar > 0.92 * width * spacing:
        raise ValueError(f"a scale bar of {bar:g} Å does not fit an image of {width * spacing:.0f} Å: leave bar out")
    left, below = 0.04 * width - 0.5, 0.95 * height - 0.5
    halo = [withStroke(linewidth=4, foreground="black")]
    ends = [left, left + bar / spacing]
    axes.plot(ends, [below, below], linewidth=2.5, solid_capstyle="butt", color="white", path_effects=halo)
    text(axes, left, below, f"{bar:g} Å")


def contours(
    axes: Axes, cells: np.ndarray, shape: Sequence[int], low: Sequence[float], colour: str, top: float = 1.0
) -> None:
    """Draw contours of a grid that covers `shape` pixels, on axes that start at pixel `low`."""
    cells = np.asarray(cells, dtype=float)
    steps = np.array([0.25, 0.5, 0.75]) * top
    if min(cells.shape) < 2 or cells.max() <= steps[0] or cells.min() >= steps[-1]:
        return
    y, x = ((np.arange(n) + 0.5) * side / n - 0.5 - a for n, side, a in zip(cells.shape, shape, low, strict=True))
    limits = axes.get_xlim(), axes.get_ylim()
    axes.contour(x, y, cells, levels=steps, colors=colour, linewidths=[0.8, 1.2, 1.8])
    axes.set(xlim=limits[0], ylim=limits[1])
