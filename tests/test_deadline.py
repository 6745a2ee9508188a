"""Against the clock: whenever it ends, the submission that lies there is whole and valid."""

import time

import numpy as np
import pandas as pd
import pytest
from fake_networks import SOLID, Silent, with_ball

from motors.detection.deadline import Pass, against_the_clock, order, worth
from motors.detection.queue import detect_all
from motors.ensemble import select
from motors.kaggle import submission

MEMBERS = pd.DataFrame(
    [("a", "zyx"), ("a", "zxy"), ("b", "zyx"), ("b", "zxy"), ("c", "yx"), ("new", "zyx")], columns=["run", "symmetry"]
)
LEAVE_ONE_OUT = {"a": 0.90, "b": 0.80, "c": 0.85}  # F2 without it
IDS = [f"t{k}" for k in range(50)]
COST = {"a": 4.0, "b": 2.0, "c": 10.0, "new": 1.0}  # seconds for a tomogram
CONCLUDE = 3.0


def test_passes_come_in_the_order_of_what_the_ensemble_loses_without_them():
    """Every network once before any is seen from another side; one that was not judged is last."""
    ensemble = {
        "leave_one_out": {run: {"alone": {"F2": 0.5}, "without it": {"F2": f2}} for run, f2 in LEAVE_ONE_OUT.items()}
    }
    assert [" ".join(each) for each in order(MEMBERS, worth(ensemble))] == [
        "b zyx", "c yx", "a zyx", "new zyx", "b zxy", "a zxy",
    ]  # fmt: skip
    assert order(MEMBERS[:2], {}) == [("a", "zyx"), ("a", "zxy")]


class Rehearsal:
    """A clock, and networks that take their time."""

    def __init__(self, path, slow_start: float = 5.0) -> None:
        self.now, self.slow_start, self.path = 100.0, slow_start, path
        self.finished: dict[Pass, int] = {}

    def clock(self) -> float:
        return self.now

    def compute(self, each: Pass, number: int, until: float | None) -> bool:
        self.now += self.slow_start * (each not in self.finished)
        done = self.finished.setdefault(each, 0)
        while done < number and (until is None or self.now < until):
            self.now += COST[each.run]
            done += 1
        self.finished[each] = max(done, self.finished[each])
        return done >= number

    def conclude(self, passes: list[Pass]) -> None:
        self.now += CONCLUDE
        known = {name for each in passes for name in IDS[: self.finished[each]]}
        rows = pd.DataFrame(
            [[name, 1.0, 2.0, 3.0 + len(passes)] for name in sorted(known)], columns=["tomo_id", "z", "y", "x"]
        )
        submission.write(self.path, submission.frame(rows, IDS), IDS)


@pytest.mark.parametrize("seconds", [1, 9, 20, 60, 109, 150, 230, 300, 420, 700, 900, 1300, 5000, 0])
def test_a_valid_submission_is_there_at_every_cut_off(tmp_path, seconds):
    """With a fake clock: on time up to one tomogram and one submission; more time never means fewer passes."""
    rehearsal = Rehearsal(tmp_path / "submission.csv")
    passes = order(MEMBERS, {run: -f2 for run, f2 in LEAVE_ONE_OUT.items()})
    report = against_the_clock(
        passes, len(IDS), rehearsal.compute, rehearsal.conclude, seconds=seconds, clock=rehearsal.clock
    )
    table = submission.read_and_validate(rehearsal.path, IDS)
    used = report[report.state.str.startswith("used")]
    assert not report.state.str.contains("inf").any()
    assert list(zip(report.run, report.symmetry, strict=True)) == passes
    if seconds:
        assert rehearsal.now - 100 <= seconds + max(COST.values()) + rehearsal.slow_start + 2 * CONCLUDE
    if seconds in (0, 5000):
        assert len(used) == 6
    if seconds >= 300 or not seconds:
        assert (table["Motor axis 0"] == 1).all() and (table["Motor axis 2"] == 3 + len(used)).all()
    if seconds == 300:  # b in 105 s; c, 500 s, and a, 200 s, are left out after a trial each; b once more, or new, fits
        assert used.run.tolist()[0] == "b" and set(used.run) <= {"b", "new"} and len(used) >= 2
        assert report.set_index("run").state["c"].startswith("left out: takes 480 s more")


def test_if_no_pass_will_be_over_in_time_the_quickest_does_what_it_can(tmp_path):
    """All others have no motor; the file is whole."""
    rehearsal = Rehearsal(tmp_path / "submission.csv")
    settings = {"seconds": 75, "clock": rehearsal.clock}
    report = against_the_clock(order(MEMBERS, {}), len(IDS), rehearsal.compute, rehearsal.conclude, **settings)
    table = submission.read_and_validate(rehearsal.path, IDS)
    assert report.state.str.startswith("used in part").sum() == 1
    assert 1 < (table["Motor axis 0"] == 1).sum() < len(IDS)


@pytest.mark.parametrize("moment", range(12))
def test_whenever_it_is_killed_the_newest_submission_is_whole(tmp_path, moment):
    """An interruption in the midst of any step."""
    rehearsal, steps = Rehearsal(tmp_path / "submission.csv"), []

    def step(work):
        def interrupted(*arguments):
            steps.append(work.__name__)
            if len(steps) > moment + 1:
                raise KeyboardInterrupt
            return work(*arguments)

        return interrupted

    with pytest.raises(KeyboardInterrupt):
        against_the_clock(
            order(MEMBERS, {}), len(IDS), step(rehearsal.compute), step(rehearsal.conclude), seconds=5000,
            clock=rehearsal.clock,
        )  # fmt: skip
    submission.read_and_validate(rehearsal.path, IDS)


@pytest.mark.parametrize(("seconds", "each"), [(0.05, 1.0), (0.6, 1.0), (60, 0.0)])
def test_a_real_clock_and_a_real_queue_end_in_time_with_a_valid_submission(tmp_path, seconds, each):
    """Ten tomograms that take a second or nothing each, seen by two networks: all would take 20 s."""
    names = [f"t{k}" for k in range(10)]
    for k, name in enumerate(names):
        np.save(tmp_path / f"{name}.npy", with_ball((32, 64, 96), (15, 20 + k, 50), 14))
    found: dict[Pass, pd.DataFrame] = {}

    class Slow(Silent):
        def forward(self, tiles):
            time.sleep(each)
            return super().forward(tiles)

    def compute(member: Pass, number: int, until: float | None) -> bool:
        given = {name: tmp_path / f"{name}.npy" for name in names[:number]}
        settings = {"run": member.run, "spacing": 16.0, "repair": False, "policy": "carry on", "until": until}
        found[member] = detect_all(Slow().eval(), SOLID, given, tmp_path / member.run, **settings)
        return pd.read_csv(tmp_path / member.run / "faults.csv").empty

    def conclude(passes: list[Pass]) -> None:
        tables = [found[each].assign(score=found[each].score / len(passes)) for each in passes]
        rows = pd.concat(tables) if tables else pd.DataFrame(columns=["tomo_id", "z", "y", "x", "score"])
        table = submission.frame(select.detections(rows, names, quantile=0.0), names)
        submission.write(tmp_path / "submission.csv", table, names, dict.fromkeys(names, (32, 64, 96)))

    begin = time.monotonic()
    passes = [Pass("one", "zyx"), Pass("two", "zyx")]
    report = against_the_clock(passes, len(names), compute, conclude, seconds=seconds)
    table = submission.read_and_validate(tmp_path / "submission.csv", names)
    if seconds == 60:
        assert (table["Motor axis 0"] >= 0).all() and report.state.tolist() == ["used", "used"]
    else:
        assert time.monotonic() - begin < seconds + 15
        assert not report.state.eq("used").all()
