"""Ensemble inference within a time limit: the most useful passes first, a complete submission after each."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

TRIAL = 0.02  # share of the tomograms on which a network is timed, after as many for warm-up
RESERVE = 2.0  # multiple of the longest time to write a submission so far, reserved for the last


class Pass(NamedTuple):
    """Inference of one network on all tomograms, in one symmetry."""

    run: str
    symmetry: str


def worth(ensemble: Mapping[str, Any]) -> dict[str, float]:
    """Return how much F2 the ensemble loses without each of its runs, from the leave-one-out in `ensemble.json`.

    All values are offset by the same constant; runs that were not left out, such as a single one, are absent.
    """
    return {run: -part["without it"]["F2"] for run, part in ensemble.get("leave_one_out", {}).items()}


def order(members: pd.DataFrame, worth: Mapping[str, float]) -> list[Pass]:
    """Return the passes of an ensemble: one symmetry of each run, by descending `worth`, then the next ones.

    `members` has run and symmetry, as in `ensemble.json`; runs without a `worth` come last, in table order.
    """
    ranks = {run: rank for rank, run in enumerate(dict.fromkeys(members["run"]))}
    turn = members.groupby("run").cumcount()
    rows = zip(turn, members["run"], members["symmetry"], strict=True)
    ranked = sorted(rows, key=lambda row: (row[0], -worth.get(row[1], -math.inf), ranks[row[1]]))
    return [Pass(run, symmetry) for _, run, symmetry in ranked]


def against_the_clock(
    passes: Sequence[Pass],
    count: int,
    compute: Callable[[Pass, int, float | None], bool],
    conclude: Callable[[list[Pass]], Any],
    *,
    seconds: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> pd.DataFrame:
    """Run passes within a time limit and return the state of each; a complete submission exists at all times.

    A submission without passes is written first, then one after each pass. A pass starts only if, at the speed of its
    network on a few tomograms, it will finish in time; otherwise it is left out, and the next is tried. If none fits,
    the fastest predicts as much as it can. The table has run, symmetry, state ("used", "used in part", or
    "left out: ...") and seconds, in the order of `passes`.

    Parameters
    ----------
    passes : in order of execution, see `order`
    count : number of tomograms
    compute : takes a pass, a number and a time (or None): predicts the first so many tomograms, skipping those done,
        and starts none after that time of `clock`; returns whether all are done
    conclude : writes the submission of some passes
    seconds : time limit; 0 for none
    clock : in seconds
    """
    table = _Timetable(count, compute, conclude, clock() + seconds if seconds else None, clock)
    table.conclude([])
    states = {each: table.attempt(each) for each in passes}
    if passes and not table.done and table.paces:
        quickest = min(passes, key=lambda each: table.paces.get(each.run, math.inf))
        states[quickest] = table.attempt(quickest, whole=False)
    rows = [(*each, *state) for each, state in states.items()]
    return pd.DataFrame(rows, columns=["run", "symmetry", "state", "seconds"])


class _Timetable:
    """The passes done, their speed, and the time left."""

    def __init__(self, count: int, compute: Callable, conclude: Callable, until: float | None, clock: Callable) -> None:
        self.count, self._compute, self._conclude, self.until, self.clock = count, compute, conclude, until, clock
        self.done: list[Pass] = []
        self.paces: dict[str, float] = {}  # seconds per tomogram, by run
        self.reserve = 0.0

    def conclude(self, passes: list[Pass]) -> None:
        """Write the submission of some passes, and update the reserved time."""
        begin = self.clock()
        self._conclude(passes)
        self.reserve = max(self.reserve, RESERVE * (self.clock() - begin))

    def attempt(self, each: Pass, whole: bool = True) -> tuple[str, float]:
        """Run a pass and return its state and seconds; an incomplete one is used only if not `whole`."""
        begin = self.clock()
        end = None if self.until is None else self.until - self.reserve
        if end is not None and whole:
            needed, left = self._needed(each, end), end - self.clock()
            if needed > left:
                more = f"takes {needed:.0f} s more" if needed < math.inf else "has not begun"
                return f"left out: {more}, {max(left, 0):.0f} s are left", self.clock() - begin
        complete, seconds = self._compute(each, self.count, end), self.clock() - begin
        if whole and not complete:
            return "left out: the time was up before it was over", seconds
        self.paces.setdefault(each.run, seconds / max(self.count, 1))
        self.done.append(each)
        self.conclude(self.done)
        return "used" if complete else "used in part", seconds

    def _needed(self, each: Pass, end: float) -> float:
        """Return the estimated seconds for the rest of a pass; a network is timed only once."""
        trial = min(self.count, max(1, round(TRIAL * self.count)))
        if each.run in self.paces:
            return self.paces[each.run] * self.count
        if self.clock() >= end:
            return math.inf
        times = []
        for number in (trial, 2 * trial):  # the first round also loads the network
            begin = self.clock()
            self._compute(each, min(number, self.count), end)
            times.append(self.clock() - begin)
        self.paces[each.run] = times[1] / trial
        return self.paces[each.run] * max(self.count - 2 * trial, 0)
