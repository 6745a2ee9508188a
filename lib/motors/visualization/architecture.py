"""Drawing of networks as boxes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

COLOURS = {"patch": "0.85", "encoder": "#9ecae1", "neck": "#fdd0a2", "decoder": "#fdae6b", "prediction": "0.85"}


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
