"""A notebook widget for decisions: one case after the other, in three planes, saved after every answer."""

import html
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from motors.geometry import outside
from motors.review.corrections import SAME
from motors.review.decisions import NEW, read_decisions
from motors.tables import POINT
from motors.visualization.events import listen
from motors.visualization.viewer import Viewer
from motors.volumes.tomogram import Tomogram
from motors.workspace.files import on_disk, write_table

KEYS = {"a": "accept", "r": "reject", "b": "back", "s": "skip", "u": "undo", "m": "mark"}


class Reviewer:
    """A widget that asks for a decision on each doubtful label and candidate of a sheet, for display in a notebook.

    The point in question is marked by white corners in a viewer of its tomogram. Keys do the same as the buttons,
    wherever the focus is inside the widget; **m**, or three numbers and Enter, add a motor that labels and networks
    lack. Every answer is written to the CSV file `path` at once; opened again, it starts at the first undecided one. If
    the file was changed meanwhile, as by another reviewer, answers are refused (ValueError) until it is opened again.

    `read` returns the tomogram of an id, with its spacing; `heatmap` the networks' prediction for a tomogram,
    `(z, y, x)` in [0, 1], a grid that covers it.
    """

    def __init__(
        self,
        sheet: pd.DataFrame,
        read: Callable[[str], Tomogram],
        path: str | Path,
        *,
        heatmap: Callable[[Tomogram], np.ndarray] | None = None,
    ) -> None:
        import ipywidgets

        self.read, self.heatmap, self.path = read, heatmap, on_disk(Path(path))
        empty = sheet.reset_index(drop=True).assign(decision="", why="")
        self._kept = self._content()
        self.decided = empty if self._kept is None else read_decisions(self.path, sheet)
        self.questions = list(self.decided.index[self.decided["asked"].eq(True)])
        self.position, self._history = 0, []
        self.viewer, self._shown = Viewer(), (None, None, None)
        self._text = ipywidgets.HTML()
        self._point = ipywidgets.Text(placeholder="z y x of a motor, Enter", continuous_update=False)
        self._point.observe(self._pointed, "value")
        self.buttons = {}
        for key, name in KEYS.items():
            self.buttons[name] = ipywidgets.Button(description=f"{name} ({key})", layout={"width": "auto"})
            self.buttons[name].on_click(lambda _, name=name: self._try(getattr(self, name)))
        controls = ipywidgets.HBox([*self.buttons.values(), self._point])
        children = [self._text, controls, self.viewer.panel]
        self.widget = listen(children, [*KEYS, *self.viewer.keys], self.handle)
        self._go_to_open(0)

    def handle(self, kind: str, *event: Any) -> None:
        """Handle a key, a click or a turn of the wheel; see `motors.visualization.events.listen`."""
        if kind == "key" and event[0] in KEYS:
            self._try(getattr(self, KEYS[event[0]]))
        elif self.question is not None:
            self.viewer.handle(kind, *event)

    @property
    def question(self) -> dict[str, Any] | None:
        """The row of the sheet to decide on; None after the last one."""
        if self.position >= len(self.questions):
            return None
        return self.decided.loc[self.questions[self.position]].to_dict()

    def skip(self) -> None:
        """Go on without a decision."""
        self.position = min(self.position + 1, len(self.questions))
        self._show()

    def back(self) -> None:
        """Return to the question before, whether it is answered or not."""
        self.position = max(self.position - 1, 0)
        self._show()

    def undo(self) -> None:
        """Undo the last decision or added motor, and return to its question."""
        if self._history:
            self.decided, self.position = self._history.pop()
            self._keep()

    def mark(self) -> None:
        """Add a motor where the planes meet; see `add`."""
        self.add(*self.viewer.point)

    def add(self, z: float, y: float, x: float) -> None:
        """Add a motor, in voxels of the tomogram shown; ValueError if none is shown, or it is outside or twice."""
        if self.question is None:
            raise ValueError("no tomogram is shown: go back to the one that has the motor")
        point = np.array([z, y, x], float)
        self._check(point)
        row = self.question | NEW | dict(zip(POINT, point.tolist(), strict=True))
        self._history.append((self.decided.copy(), self.position))
        self.decided = pd.concat([self.decided, pd.DataFrame([row])], ignore_index=True)
        self._keep()

    def _check(self, point: np.ndarray) -> None:
        """Refuse a point that is outside the tomogram shown, or too near to a motor that was added to it."""
        tomo_id, frame = self.question["tomo_id"], self.question["frame"]
        shape, spacing = frame.split("@")
        text = ", ".join(f"{value:g}" for value in point)
        if not np.isfinite(point).all():
            raise ValueError(f"{text} is not a position: write three numbers, z y x, in voxels")
        if outside(point, np.array(shape.split("x"), int)):
            raise ValueError(f"{text} is outside this tomogram of {shape} voxels: write z y x of a voxel in it")
        added = self.decided[(self.decided["entry"] == "new") & (self.decided["tomo_id"] == tomo_id)]
        away = np.linalg.norm(added[POINT].to_numpy(float) - point, axis=1) * float(spacing)
        if (away < SAME).any():
            raise ValueError(f"{text} is within {SAME:.0f} Å of a motor that was added before: write that of another")

    def _decide(self, decision: str) -> None:
        if self.question is not None:
            self._history.append((self.decided.copy(), self.position))
            self.decided.loc[self.questions[self.position], "decision"] = decision
            self._keep()
            self._go_to_open(self.position + 1)

    accept, reject = partialmethod(_decide, "accept"), partialmethod(_decide, "reject")

    def _content(self) -> bytes | None:
        return self.path.read_bytes() if self.path.is_file() else None

    def _keep(self) -> None:
        if self._content() not in (None, self._kept):
            raise ValueError(f"{self.path.name} was changed elsewhere, so this is not kept: open the reviewer again")
        write_table(self.path, self.decided)
        self._kept = self._content()
        self._show()

    def _go_to_open(self, start: int) -> None:
        """Show the first unanswered question from `start` on."""
        places = range(start, len(self.questions))
        is_open = (place for place in places if not self.decided.loc[self.questions[place], "decision"])
        self.position = next(is_open, len(self.questions))
        self._show()

    def _show(self) -> None:
        row, decided = self.question, self.decided.loc[self.questions, "decision"].ne("").sum()
        state = f"{decided} of {len(self.questions)} decided, kept in {html.escape(self.path.name)}"
        self.viewer.panel.layout.display = "none" if row is None else None
        if row is None:
            self._text.value = f"{state}. These were all; <b>back</b> returns to the last one."
            return
        about = f"{row['entry']} {row['number']}" + ("" if pd.isna(row["score"]) else f", score {row['score']:.2f}")
        place = ", ".join(f"{row[axis]:.0f}" for axis in POINT)
        new = (self.decided.loc[self.decided["entry"] == "new", "tomo_id"] == row["tomo_id"]).sum()
        answer = f"decided: <b>{row['decision']}</b>" if row["decision"] else "is it a motor?"
        extra = f", {new} added" if new else ""
        name = html.escape(str(row["tomo_id"]))
        self._text.value = f"{state}. {name}: <b>{about}</b> at z, y, x = {place}{extra}: {answer}"
        self._open(row)

    def _open(self, row: dict[str, Any]) -> None:
        """Show in the viewer a question's tomogram, its labels and candidates, and the question."""
        name = row["tomo_id"]
        if self._shown[0] != name:
            tomogram = self.read(name)
            self._shown = name, tomogram, None if self.heatmap is None else self.heatmap(tomogram)
        here = self.decided[self.decided["tomo_id"] == name]
        labels = here[here["entry"].isin(["label", "new"])]
        asked = np.array([row[axis] for axis in POINT], float)
        self.viewer.open(self._shown[1], labels[POINT], here[here["entry"] == "candidate"], self._shown[2], asked)

    def _try(self, action: Callable[[], None]) -> bool:
        """Do an action and return whether it succeeded; display an error."""
        try:
            action()
        except ValueError as error:
            self._text.value = html.escape(str(error), quote=False)
            return False
        return True

    def _pointed(self, change: dict[str, Any]) -> None:
        def add() -> None:
            try:
                z, y, x = map(float, change["new"].replace(",", " ").split())
            except ValueError:
                raise ValueError(
                    f"{change['new']!r} is not a position: write three numbers, z y x, in voxels"
                ) from None
            self.add(z, y, x)

        if change["new"] and self._try(add):
            self._point.value = ""

    def _repr_mimebundle_(self, **how: Any) -> dict[str, Any]:
        bundle = self.widget._repr_mimebundle_(**how)
        return bundle if self.question is None else {**bundle, "image/jpeg": self.viewer.still()}
