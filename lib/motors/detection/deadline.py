"""The ensemble against the clock: its passes in the order of what they are worth, a whole submission after each."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

TRIAL = 0.02  # share of the tomograms by which the pace of a network is measured, after as many to warm up
RESERVE = 2.0  # times the longest that a submission took so far are kept back for the last one


class Pass(NamedTuple):
    """One network over all tomograms, in one symmetry."""

    run: str
    symmetry: str


def worth(ensemble: Mapping[str, Any]) -> dict[str, float]:
    """Return how much F2 the ensemble loses without each of its runs, from the leave-one-out in `ensemble.json`.

    Up to the same constant for all; a run that was not left out, as where there is one only, is missing.
    """
    return {run: -part["without it"]["F2"] for run, part in ensemble.get("leave_one_out", {}).items()}


def order(members: pd.DataFrame, worth: Mapping[str, float]) -> list[Pass]:
    """Return the passes of an ensemble: each run once, those first that are worth most, then their other symmetries.

    Its `members` are run, symmetry, as in `ensemble.json`; runs without a `worth` come last, in their own order.
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
    """Return what became of each pass; whenever it is stopped, the newest submission is whole.

    A submission of no pass comes first, then one after each pass. A pass begins if, by the pace that its network shows
    on a few tomograms, it will be over in time; otherwise it is left out, and the next may be quicker. If none will be,
    the quickest does what it can. The table has run, symmetry, state ("used", "used as far as it came", or "left out:
    ...") and seconds, in the order of `passes`.

    Parameters
    ----------
    passes : in their order, see `order`
    count : number of tomograms
    compute : predicts the first so many tomograms by a pass, those done before at no cost, and begins none after a time
        by `clock`; returns whether all are done
    conclude : writes the submission of these passes
    seconds : time there is; 0 if there is no end to it
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
    """What has been done, how long it took, and what time is left."""

    def __init__(self, count: int, compute: Callable, conclude: Callable, until: float | None, clock: Callable) -> None:
        self.count, self._compute, self._conclude, self.until, self.clock = count, compute, conclude, until, clock
        self.done: list[Pass] = []
        self.paces: dict[str, float] = {}  # seconds for a tomogram, by run
        self.reserve = 0.0

    def conclude(self, passes: list[Pass]) -> None:
        """Write the submission of some passes, and remember how long that takes."""
        begin = self.clock()
        self._conclude(passes)
        self.reserve = max(self.reserve, RESERVE * (self.clock() - begin))

    def attempt(self, each: Pass, whole: bool = True) -> tuple[str, float]:
        """Return what became of a pass, and how long it took; unless `whole`, all it comes to is used."""
        begin = self.clock()
        end = None if self.until is None else self.until - self.reserve
        if end is not None and whole:
            needed, left = self._needed(each, end), end - self.clock()
            if needed > left:
                return f"left out: takes {needed:.0f} s more, {max(left, 0):.0f} s are left", self.clock() - begin
        complete, seconds = self._compute(each, self.count, end), self.clock() - begin
        if whole and not complete:
            return "left out: the time was up before it was over", seconds
        self.paces.setdefault(each.run, seconds / max(self.count, 1))
        self.done.append(each)
        self.conclude(self.done)
        return "used" if complete else "used as far as it came", seconds

    def _needed(self, each: Pass, end: float) -> float:
        """Return the seconds that the rest of a pass will take; the pace of a network is measured once."""
        trial = min(self.count, max(1, round(TRIAL * self.count)))
        if each.run in self.paces:
            return self.paces[each.run] * self.count
        if self.clock() >= end:
            return math.inf
        times = []
        for number in (trial, 2 * trial):  # the first ones also load the network
            begin = self.clock()
            self._compute(each, min(number, self.count), end)
            times.append(self.clock() - begin)
        self.paces[each.run] = times[1] / trial
        return self.paces[each.run] * max(self.count - 2 * trial, 0)
