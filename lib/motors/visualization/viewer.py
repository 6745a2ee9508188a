"""A tomogram viewer for notebooks: three linked planes of core ipywidgets, or a still image without a kernel."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pandas as pd

from motors.tables import POINT
from motors.visualization.events import listen
from motors.visualization.planes import AXES, Look, Planes
from motors.volumes.tomogram import Tomogram

MOVES = {"ArrowUp": (1, -1), "ArrowDown": (1, 1), "ArrowLeft": (2, -1), "ArrowRight": (2, 1)}
MOVES |= {"PageUp": (0, -1), "PageDown": (0, 1), ",": (0, -1), ".": (0, 1)}
HELP = (
    "<b>&nbsp;, .</b> or wheel: z · <b>arrows</b> or click: y and x · <b>n p</b>: next, previous find · <b>l c h x</b>:"
    " labels, candidates, heatmap, cross-hair · <b>+ -</b>: thickness"
)


def browse(tomogram: Tomogram, motors: Any = (), candidates: Any = (), heatmap: np.ndarray | None = None) -> Viewer:
    """Return a viewer of a tomogram for a notebook: a widget, or a picture where no kernel runs.

    It opens at the first point: motors come first, then candidates, the most confident first. Both are `(n, 3)` zyx
    in voxels, or tables with z, y, x, and optionally score; `heatmap` is `(z, y, x)` in [0, 1], a grid that covers the
    tomogram. The tomogram has its spacing; its voxels may be a memory map.
    """
    return Viewer().open(tomogram, motors, candidates, heatmap)


def _points(given: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the points, `(n, 3)`, and their scores, the most confident first; no scores where the table has none."""
    if isinstance(given, pd.DataFrame):
        if "score" in given:
            given = given.sort_values("score", ascending=False, kind="stable")
            return given[POINT].to_numpy(float), given["score"].to_numpy(float)
        given = given[POINT]
    return np.asarray(given, float).reshape(-1, 3), np.empty(0)


class Viewer:
    """Three orthogonal planes that meet in one point, with sliders, keys, wheel and clicks.

    Only JPEGs of the planes are sent to the browser, never the volume. `panel` is the viewer to be put into another
    widget, which passes its events to `handle`; a notebook shows the viewer itself.
    """

    def __init__(self) -> None:
        import ipywidgets

        self.planes: Planes | None = None
        self.images = [ipywidgets.Image(format="jpeg").add_class(f"motors-plane-{k}") for k in range(3)]
        wide, narrow = {"width": "300px"}, {"width": "auto"}
        self.places = [ipywidgets.IntSlider(description=axis, max=1, layout=wide) for axis in POINT]
        self.slab = ipywidgets.IntSlider(2, 0, 10, description="± slices", layout=wide)
        self.levels = ipywidgets.IntRangeSlider(value=(0, 255), max=255, description="contrast", layout=wide)
        self.opacity = ipywidgets.FloatSlider(0.4, min=0, max=1, step=0.05, description="heatmap", layout=wide)
        shown = {"l": "labels", "c": "candidates", "x": "cross-hair"}
        self.toggles = {
            key: ipywidgets.ToggleButton(True, description=f"{name} ({key})", layout=narrow)
            for key, name in shown.items()
        }
        ways = {"p": "◀ find (p)", "n": "find (n) ▶"}
        self.jumps = {key: ipywidgets.Button(description=way, layout=narrow) for key, way in ways.items()}
        for key, button in self.jumps.items():
            button.on_click(lambda _, key=key: self.handle("key", key))
        self.about = ipywidgets.HTML()
        for control in (*self.places, self.slab, self.levels, self.opacity, *self.toggles.values()):
            control.observe(self._changed, "value")
        left, row = ipywidgets.VBox([self.images[0], self.images[1]]), ipywidgets.HBox
        controls = ipywidgets.VBox([*self.places, self.slab, self.levels, self.opacity])
        buttons = row([*self.jumps.values(), *self.toggles.values()])
        below = row([left, ipywidgets.VBox([self.images[2], controls])])
        self.panel = ipywidgets.VBox([buttons, self.about, below])
        self.keys = [*MOVES, *"npclhx+-"]
        self.widget = listen([self.panel], self.keys, self.handle)
        self._quiet = False

    def open(
        self,
        tomogram: Tomogram,
        motors: Any = (),
        candidates: Any = (),
        heatmap: np.ndarray | None = None,
        asked: np.ndarray | None = None,
    ) -> Viewer:
        """Show a tomogram, see `browse`, and return the viewer; `asked` is a point to highlight and to go to."""
        found, scores = _points(candidates)
        self.planes = Planes(tomogram, _points(motors)[0], found, scores, heatmap, asked)
        self.finds = [("label", point, "") for point in self.planes.motors]
        texts = [f", score {score:.2f}" for score in scores] or [""] * len(found)
        self.finds += [("candidate", point, text) for point, text in zip(found, texts, strict=True)]
        self.at = 0
        sample = tomogram.voxels[len(tomogram.voxels) // 2, ::4, ::4]
        low, high = np.percentile(sample, [1, 99])
        self._quiet = True
        for slider, side in zip(self.places, tomogram.voxels.shape, strict=True):
            slider.max, slider.value = side - 1, side // 2
        self.levels.value = int(low), max(int(np.ceil(high)), int(low) + 1)
        for image, axes in zip(self.images, AXES, strict=True):
            image.width, image.height = (str(round(tomogram.voxels.shape[k] * self.planes.zoom)) for k in axes[::-1])
        self._quiet = False
        self.go(asked if asked is not None else self.finds[0][1] if self.finds else self.point)
        return self

    @property
    def point(self) -> list[int]:
        """Where the planes meet, zyx in voxels."""
        return [slider.value for slider in self.places]

    @property
    def look(self) -> Look:
        toggles = (self.toggles[key].value for key in "lcx")
        return Look(self.slab.value, self.levels.value, self.opacity.value, *toggles)

    def go(self, point_zyx: Any) -> None:
        """Move the planes to another point, which is clipped to the tomogram."""
        self._quiet = True
        for slider, place in zip(self.places, point_zyx, strict=True):
            slider.value = int(np.clip(round(place), 0, slider.max))
        self._quiet = False
        self._draw()

    def handle(self, kind: str, *event: Any) -> None:
        """Handle a key, a click or a turn of the wheel; see `motors.visualization.events.listen`."""
        point = self.point
        if kind == "wheel":
            point[event[0]] += event[1]
            self.go(point)
        elif kind == "click":
            for axis, share in zip(AXES[event[0]], event[1:], strict=True):
                point[axis] = int(share * (self.places[axis].max + 1))
            self.go(point)
        elif event[0] in MOVES:
            axis, step = MOVES[event[0]]
            point[axis] += step
            self.go(point)
        elif event[0] in "np" and self.finds:
            places = [tuple(round(place) for place in find[1]) for find in self.finds]
            step = 1 if event[0] == "n" else -1
            self.at = (self.at + step) % len(places) if tuple(point) == places[self.at] else self.at
            self.go(self.finds[self.at][1])
        elif event[0] in self.toggles:
            self.toggles[event[0]].value ^= True
        elif event[0] == "h":
            self.opacity.value = 0.0 if self.opacity.value else 0.4
        elif event[0] in "+-":
            self.slab.value += 1 if event[0] == "+" else -1

    def _changed(self, change: dict[str, Any]) -> None:
        if not self._quiet and self.planes is not None:
            self._draw()

    def _draw(self) -> None:
        point, look = self.point, self.look
        for plane, image in enumerate(self.images):
            image.value = self.planes.jpeg(plane, point, look)
        name, spacing = self.planes.tomogram.name, self.planes.tomogram.spacing
        here = [find for find in self.finds if all(round(a) == b for a, b in zip(find[1], point, strict=True))]
        place = ", ".join(f"{axis} {value}" for axis, value in zip(POINT, point, strict=True))
        what = f" · <b>{here[0][0]}{here[0][2]}</b>" if here else ""
        thick = f"{len(self.finds)} finds · slabs of {(2 * look.slab + 1) * spacing / 10:.0f} nm"
        self.about.value = f"{name} · {place}{what} · {thick}<br><small>{HELP}</small>"

    def still(self) -> str:
        """Return what is shown as one JPEG, in base64."""
        return base64.b64encode(self.planes.still(self.point, self.look)).decode("ascii")

    def _repr_mimebundle_(self, **how: Any) -> dict[str, Any]:
        return {**self.widget._repr_mimebundle_(**how), "image/jpeg": self.still()}
