"""Live plot of a training run."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from motors.visualization import plots


def live() -> Callable[[Path], None]:
    """Return a function that plots a metrics file in the current cell, in place of its last plot; no-op elsewhere."""
    from IPython import get_ipython  # a notebook has it
    from IPython.display import display

    shown = display(plt.figure(), display_id=True) if get_ipython() else None
    plt.close()

    def draw(path: Path) -> None:
        if shown is not None:
            figure = plots.training(pd.read_csv(path))
            plt.close(figure)
            shown.update(figure)

    return draw
