"""Deciding in a notebook: one picture after the other, with buttons and keys, kept after every answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from motors.review.corrections import SAME
from motors.review.decisions import read_decisions, write_decisions
from motors.tables import POINT

KEYS = {"a": "accept", "r": "reject", "b": "back", "s": "skip"}


class Reviewer:
    """A widget that asks about every label and candidate that a sheet is about.

    `widget` is what a notebook shows. Letters typed into its field do what the buttons do; three numbers and Enter add
    a motor at z, y, x that neither labels nor networks have. Every answer is written to a file at once, and whoever
    opens the widget again goes on where nothing is decided.

    Parameters
    ----------
    sheet : see `sheet`
    folder : of its pictures
    path : CSV file of the decisions; continued if it is there
    """

    def __init__(self, sheet: pd.DataFrame, folder: str | Path, path: str | Path) -> None:
        import ipywidgets

        self.folder, self.path = Path(folder), Path(path)
        empty = sheet.reset_index(drop=True).assign(decision="", why="")
        self.decided = read_decisions(self.path, sheet) if self.path.is_file() else empty
        self.questions = list(self.decided.index[self.decided["asked"].eq(True)])
        self.position = 0
        self._picture = ipywidgets.Image(format="jpg", layout={"max_width": "100%"})
        self._text = ipywidgets.HTML()
        self._keys = ipywidgets.Text(placeholder="a, r, b, s", continuous_update=True, layout={"width": "8em"})
        self._point = ipywidgets.Text(placeholder="z y x of a motor, Enter", continuous_update=False)
        self._keys.observe(self._typed, "value")
        self._point.observe(self._pointed, "value")
        self.buttons = {name: ipywidgets.Button(description=f"{name} ({key})") for key, name in KEYS.items()}
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: getattr(self, name)())
        controls = ipywidgets.HBox([*self.buttons.values(), self._keys, self._point])
        self.widget = ipywidgets.VBox([self._text, controls, self._picture])
        self._go_to_open(0)

    @property
    def question(self) -> dict[str, Any] | None:
        """The row of the sheet that is asked about; None after the last one."""
        if self.position >= len(self.questions):
            return None
        return self.decided.loc[self.questions[self.position]].to_dict()

    def accept(self) -> None:
        """Decide that the label or candidate is a motor."""
        self._decide("accept")

    def reject(self) -> None:
        """Decide that it is none."""
        self._decide("reject")

    def skip(self) -> None:
        """Go on without a decision."""
        self.position = min(self.position + 1, len(self.questions))
        self._show()

    def back(self) -> None:
        """Return to the question before, whether it is answered or not."""
        self.position = max(self.position - 1, 0)
        self._show()

    def add(self, z: float, y: float, x: float) -> None:
        """Add a motor, in voxels of the tomogram that is shown.

        Raises
        ------
        ValueError
            If no tomogram is shown, the position is not finite or outside the tomogram, or the motor was added before.
        """
        if self.question is None:
            raise ValueError("no tomogram is shown: go back to the one that has the motor")
        point = np.array([z, y, x], float)
        self._check(point)
        row = self.question | dict(zip(POINT, point.tolist(), strict=True))
        row |= {"entry": "new", "number": 0, "partner": 0, "decision": "accept", "why": "seen by eye", "asked": False}
        row |= {"score": float("nan"), "distance": float("nan"), "verdict": ""}
        self.decided = pd.concat([self.decided, pd.DataFrame([row])], ignore_index=True)
        self._keep()

    def _check(self, point: np.ndarray) -> None:
        """Refuse a point that cannot be a motor of the tomogram that is shown, or is one that was added to it."""
        tomo_id, frame = self.question["tomo_id"], self.question["frame"]
        shape, spacing = frame.split("@")
        text = ", ".join(f"{value:g}" for value in point)
        if not np.isfinite(point).all():
            raise ValueError(f"{text} is no position: write three numbers, z y x, in voxels")
        if (point < -0.5).any() or (point > np.array(shape.split("x"), int) - 0.5).any():
            raise ValueError(f"{text} is outside this tomogram of {shape} voxels: write z y x of a voxel in it")
        added = self.decided[(self.decided["entry"] == "new") & (self.decided["tomo_id"] == tomo_id)]
        away = np.linalg.norm(added[POINT].to_numpy(float) - point, axis=1) * float(spacing)
        if (away < SAME).any():
            raise ValueError(f"{text} is within {SAME:.0f} Å of a motor that was added before: write that of another")

    def _decide(self, decision: str) -> None:
        if self.question is not None:
            self.decided.loc[self.questions[self.position], "decision"] = decision
            self._keep()
            self._go_to_open(self.position + 1)

    def _keep(self) -> None:
        write_decisions(self.path, self.decided)
        self._show()

    def _go_to_open(self, start: int) -> None:
        """Show the first question from `start` on that is not answered."""
        places = range(start, len(self.questions))
        is_open = (place for place in places if not self.decided.loc[self.questions[place], "decision"])
        self.position = next(is_open, len(self.questions))
        self._show()

    def _show(self) -> None:
        row, decided = self.question, self.decided.loc[self.questions, "decision"].ne("").sum()
        state = f"{decided} of {len(self.questions)} decided, kept in {self.path.name}"
        if row is None:
            self._text.value = f"{state}. These were all; <b>back</b> returns to the last one."
            self._picture.value = b""
            return
        about = f"{row['entry']} {row['number']}" + ("" if pd.isna(row["score"]) else f", score {row['score']:.2f}")
        place = ", ".join(f"{row[axis]:.0f}" for axis in POINT)
        new = (self.decided.loc[self.decided["entry"] == "new", "tomo_id"] == row["tomo_id"]).sum()
        answer = f"decided: <b>{row['decision']}</b>" if row["decision"] else "is it a motor?"
        extra = f", {new} added" if new else ""
        self._text.value = f"{state}. {row['tomo_id']}: <b>{about}</b> at z, y, x = {place}{extra}: {answer}"
        self._picture.value = (self.folder / row["image"]).read_bytes()

    def _typed(self, change: dict[str, Any]) -> None:
        letter = change["new"].strip().lower()[-1:]
        if letter:
            self._keys.value = ""
        if letter in KEYS:
            getattr(self, KEYS[letter])()

    def _pointed(self, change: dict[str, Any]) -> None:
        try:
            point = [float(number) for number in change["new"].replace(",", " ").split()]
        except ValueError:
            point = []
        if len(point) == 3:
            try:
                self.add(*point)
            except ValueError as error:
                self._text.value = str(error)
            else:
                self._point.value = ""
        elif change["new"]:
            self._text.value = f"{change['new']!r} is no position: write three numbers, z y x, in voxels"
