"""Looking through a tomogram in a notebook."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from motors.visualization.plots import near, panels, slice_image


def viewer(voxels: np.ndarray, spacing: float, points_zyx: np.ndarray = (), candidates_zyx: np.ndarray = ()) -> Any:
    """Return a widget with a slider through the slices of a tomogram `(z, y, x)`; marks appear near their slice."""
    import ipywidgets

    def show(z: int) -> None:
        figure, (axes,) = panels(1, size=5.5)
        slice_image(
            axes,
            voxels[z],
            spacing,
            motors_yx=near(points_zyx, z, spacing),
            candidates_yx=near(candidates_zyx, z, spacing),
            title=f"slice {z} of {len(voxels)}",
        )
        plt.show(figure)

    slider = ipywidgets.IntSlider(len(voxels) // 2, 0, len(voxels) - 1, description="slice", continuous_update=False)
    return ipywidgets.VBox([slider, ipywidgets.interactive_output(show, {"z": slider})])
