"""Scores are the competition's, and tell what they are asked: where, how far, and how sure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given, strategies as st

from motors import cli
from motors.evaluation import benchmark, curves as evaluation_curves, metrics
from motors.evaluation.cross_validation import choose_quantile
from motors.evaluation.curves import (
    average_precision,
    f2_by_quantile,
    partial_pr_auc,
    pr_auc,
    precision_recall,
)
from motors.labels import table as labels_table
from motors.labels.table import Labels
from motors.tables import MOTORS, SOLUTION, TOMOGRAMS
from motors.workspace.files import sha256

RECORDED = json.loads((Path(__file__).parent / "reference" / "metric" / "cases.json").read_text())["cases"]
CASES = {case["name"]: case for case in RECORDED}
DEGENERATE = ["no_positives_no_predictions", "no_positives_one_fp", "id_mismatch"]
NORMAL = [name for name in CASES if name not in DEGENERATE]
CHANGED = ("minus_one_in_any_column", "kaggle")  # its own test says how
CURVES = [(name, mode) for name in NORMAL for mode in ("kaggle", "detection") if (name, mode) != CHANGED]
NAMES = {"motor_z": "z", "motor_y": "y", "motor_x": "x", "voxel_spacing": "spacing", "conf": "score"}
EXACT = 1e-9


def recorded(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return solution and answer of a recorded case in the names of this library."""
    solution, answer = (pd.DataFrame(CASES[name][table]).rename(columns=NAMES) for table in ("solution", "submission"))
    return solution.assign(has_motor=solution["num_motors"] > 0), answer


def truth(rows: list[tuple]) -> pd.DataFrame:
    """Return a solution from (tomo_id, point or None); one voxel is ten ångström."""
    points = [[tomo_id, *(point or (-1, -1, -1)), 10.0, point is not None] for tomo_id, point in rows]
    return pd.DataFrame(points, columns=SOLUTION)


def answers(rows: dict) -> pd.DataFrame:
    """Return an answer from a point or None by tomo_id."""
    return pd.DataFrame([[key, *(point or (-1, -1, -1))] for key, point in rows.items()], columns=["tomo_id", *"zyx"])


def candidates(rows: list[tuple]) -> pd.DataFrame:
    """Return candidates from (tomo_id, point, score)."""
    return pd.DataFrame([[key, *point, score] for key, point, score in rows], columns=["tomo_id", *"zyx", "score"])


HERE, NEAR, FAR = (20, 30, 40), (20, 90, 120), (20, 90, 121)  # 1000 ångström from here to near, a little more to far
FOUR = truth([("a", HERE), ("b", HERE), ("c", None), ("d", None)])
SOME = candidates([("a", HERE, 0.9), ("b", FAR, 0.8), ("c", HERE, 0.7)])


@st.composite
def scored(draw) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a solution with at least one motor, and candidates for some of its tomograms."""
    motors = draw(st.lists(st.booleans(), min_size=2, max_size=8).filter(any))
    solution = truth([(f"t{k}", HERE if motor else None) for k, motor in enumerate(motors)])
    point = st.sampled_from([HERE, NEAR, FAR, (21, 33, 38)])
    rows = [(f"t{k}", draw(point), draw(st.integers(0, 8)) / 8) for k in range(len(motors)) if draw(st.booleans())]
    return solution, candidates(rows)


def answered(solution: pd.DataFrame, table: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the answer that candidates of at least this score make."""
    kept = table[table["score"] >= threshold].set_index("tomo_id")[list("zyx")]
    return kept.reindex(pd.unique(solution["tomo_id"]), fill_value=-1.0).rename_axis("tomo_id").reset_index()


# --- the score of the competition


@pytest.mark.parametrize("name", NORMAL)
def test_the_score_and_its_counts_are_the_recorded_ones(name):
    """F2, and how many tomograms are right and wrong in each way."""
    solution, answer = recorded(name)
    expected = CASES[name]["kaggle_score"]
    assert metrics.f2(solution, answer) == pytest.approx(expected["fbeta"], abs=EXACT)
    counts = metrics.verdicts(solution, answer.drop(columns="score"))["verdict"].value_counts()
    assert [counts.get(verdict, 0) for verdict in ("TN", "FP", "FN", "TP")] == expected["tn_fp_fn_tp"]


def as_recorded(solution: pd.DataFrame, table: pd.DataFrame, mode: str) -> dict[str, float]:
    """Return every number that the original solution computed, under its names."""
    options = {"mode": mode, "absent": 0.0 if mode == "kaggle" else None}
    curve = evaluation_curves.curve(solution, table, **options)
    best = curve.loc[curve["f2"].idxmax()]
    judged, radii = metrics.judge(solution, metrics.best_of_each(solution, table)), np.arange(100.0, 1001.0, 100.0)
    with mock.patch.multiple(evaluation_curves, best_of_each=lambda *_: None, judge=lambda *_: judged):  # once for all
        circles = [evaluation_curves.curve(solution, table, radius=radius, **options) for radius in radii]
    kept = table.assign(**{axis: table[axis].where(table["score"] >= best["threshold"], -1.0) for axis in "zyx"})
    return {
        "Fbeta": best["f2"],
        "Precision": best["precision"],
        "Recall": best["recall"],
        "thres": best["threshold"],
        "AP": pr_auc(curve),
        "PAP": partial_pr_auc(curve),
        "bestR": curve["recall"].max(),
        "mAP": np.mean([pr_auc(each) for each in circles]),
        "mPAP": np.mean([partial_pr_auc(each) for each in circles]),
        "kaggleFbeta": metrics.f2(solution, kept),
    }


@pytest.mark.parametrize(("name", "mode"), CURVES)
def test_the_curve_and_its_areas_are_the_recorded_ones(name, mode):
    """All ten numbers of the original solution, in both of its modes."""
    expected = CASES[name][f"compute_metrics_{mode}"]
    assert as_recorded(*recorded(name), mode) == pytest.approx(expected, abs=EXACT)


def test_the_score_of_an_answer_of_which_one_coordinate_is_minus_one_counts_for_nothing():
    """Such a row answers that there is no motor; the original took its score for that of a hit."""
    solution, answer = recorded("minus_one_in_any_column")
    expected = CASES["minus_one_in_any_column"]["compute_metrics_kaggle"]
    theirs = precision_recall(solution["has_motor"].to_numpy(), answer["score"].to_numpy())
    assert pr_auc(theirs) == pytest.approx(expected["AP"], abs=EXACT)
    ours = evaluation_curves.curve(solution, answer)
    assert ours["threshold"].tolist() == [0.8, np.inf]  # the one row with a position
    assert pr_auc(ours) == pytest.approx(1 / 3)


def test_a_tomogram_nothing_was_found_in_is_no_hit_at_threshold_zero():
    """The original counted it as one; its numbers are had by saying so."""
    solution, answer = recorded("no_detection_at_conf_zero")
    expected = CASES["no_detection_at_conf_zero"]["compute_metrics_kaggle"]
    assert evaluation_curves.curve(solution, answer, absent=0.0)["f2"].max() == pytest.approx(
        expected["Fbeta"], abs=EXACT
    )
    assert evaluation_curves.curve(solution, answer)["f2"].max() == pytest.approx(
        expected["kaggleFbeta"] + 1 / 21, abs=EXACT
    )
    assert evaluation_curves.curve(solution, answer)["recall"].max() == pytest.approx(2 / 3)


def test_a_solution_without_a_motor_has_a_score_only_if_something_was_answered():
    """Like the original, no motor and no answer is refused; false alarms alone are worth nothing."""
    with pytest.raises(ValueError, match="F2 is 0/0: score some that have a motor"):
        metrics.f2(*recorded("no_positives_no_predictions"))
    solution, answer = recorded("no_positives_one_fp")
    assert metrics.f2(solution, answer) == CASES["no_positives_one_fp"]["kaggle_score"]["fbeta"] == 0
    for measure in (evaluation_curves.curve, f2_by_quantile):
        with pytest.raises(ValueError, match="no tomogram of the solution has a motor, so recall is 0/0"):
            measure(solution, answer)


def test_a_solution_of_motors_alone_can_be_answered_perfectly():
    """The original raises an error when there is one class only."""
    assert metrics.f2(truth([("a", HERE)]), answers({"a": HERE})) == 1


def test_a_far_answer_is_one_miss_and_a_false_alarm_only_counts_where_there_is_no_motor():
    """One hit, one answer a little beyond 1000 ångström, one false alarm: 5 / (5 + 4 + 1)."""
    assert metrics.f2(FOUR, answers({"a": NEAR, "b": FAR, "c": HERE, "d": None})) == pytest.approx(0.5)
    assert metrics.f2(FOUR, answers({"a": NEAR, "b": None, "c": HERE, "d": None})) == pytest.approx(0.5)


def test_an_answer_may_come_in_the_columns_of_a_submission():
    """What is handed in can be scored as it is."""
    answer = answers({"a": HERE, "b": None, "c": None, "d": None})
    submitted = answer.set_axis(["tomo_id", "Motor axis 0", "Motor axis 1", "Motor axis 2"], axis=1)
    assert metrics.f2(FOUR, submitted) == metrics.f2(FOUR, answer) == pytest.approx(5 / 9)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None, "far"])
def test_a_coordinate_that_is_no_number_is_refused(value):
    """The original takes NaN for a hit: its distance is not greater than the radius."""
    answer = answers({"a": HERE, "b": HERE, "c": None, "d": None}).astype(object)
    answer.loc[1, "y"] = value
    with pytest.raises(ValueError, match="the answer: tomogram b has a coordinate that is NaN or infinite: write"):
        metrics.f2(FOUR, answer)


def test_every_tomogram_is_to_be_answered_exactly_once():
    """Missing, repeated and unknown tomograms are named."""
    answer = answers({"a": HERE, "b": HERE, "c": None, "d": None})
    with pytest.raises(ValueError, match="the answer: tomogram d is missing: give it a row, -1 -1 -1"):
        metrics.f2(FOUR, answer[:3])
    with pytest.raises(ValueError, match="the answer: tomogram a is answered twice: keep one row"):
        metrics.f2(FOUR, pd.concat([answer, answer[:1]]))
    with pytest.raises(ValueError, match="the answer: tomogram zz is not in the solution"):
        metrics.f2(*recorded("id_mismatch"))


def test_a_solution_that_contradicts_itself_is_refused():
    """A tomogram has motors or none; its spacing is above zero."""
    answer = answers({"a": HERE, "b": HERE, "c": None, "d": None})
    both = pd.concat([FOUR, truth([("a", None)])])
    with pytest.raises(ValueError, match="the solution: tomogram a has a row -1 -1 -1 among others"):
        metrics.f2(both, answer)
    with pytest.raises(ValueError, match=r"the solution: tomogram a has the same motor twice"):
        metrics.f2(pd.concat([FOUR, FOUR[:1]]), answer)
    with pytest.raises(ValueError, match=r"the solution: tomogram a has a position or spacing that cannot be"):
        metrics.f2(FOUR.assign(spacing=0.0), answer)
    with pytest.raises(ValueError, match="the solution: tomogram a has has_motor against its position"):
        metrics.f2(FOUR.assign(has_motor=False), answer)


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), ("True ", "FALSE"), ("1", "0.0"), (1, 0), (1.0, 0.0)])
def test_whether_there_is_a_motor_is_understood_or_asked(yes, no):
    """A text that says no is true to Python."""
    answer, told = answers({"a": HERE, "b": HERE, "c": None, "d": None}), FOUR["has_motor"]
    words = FOUR.assign(has_motor=told.astype(object).map({True: yes, False: no}))
    assert metrics.f2(words, answer) == metrics.f2(FOUR, answer)
    with pytest.raises(ValueError, match="the solution: tomogram a has another has_motor"):
        metrics.f2(words.assign(has_motor="perhaps"), answer)


@examples(25)
@given(case=scored(), seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(case, seed):
    """Neither in the solution nor in the answer."""
    solution, table = case
    answer = answered(solution, table, 0)
    shuffled = (frame.sample(frac=1, random_state=seed + k) for k, frame in enumerate((solution, answer)))
    assert metrics.f2(*shuffled) == metrics.f2(solution, answer)


# --- what happened in each tomogram


def test_verdicts_say_what_happened_and_how_far_away():
    """Three voxels of ten ångström each and four more make fifty ångström."""
    solution = truth([("a", HERE), ("b", HERE), ("c", None), ("d", None), ("e", HERE)])
    table = metrics.verdicts(solution, answers({"e": None, "a": (20, 33, 44), "b": FAR, "c": HERE, "d": None}))
    assert table["tomo_id"].tolist() == list("abcde")
    assert table["verdict"].tolist() == ["TP", "FN", "FP", "TN", "FN"]
    assert table["far"].tolist() == [False, True, False, False, False]
    assert table["distance"].tolist() == pytest.approx([50, 10 * np.hypot(60, 81), np.nan, np.nan, np.nan], nan_ok=True)


def test_of_several_motors_the_nearest_counts():
    """The competition has one motor at most, reviewed labels have more."""
    solution = truth([("a", (20, 500, 500)), ("a", HERE), ("a", FAR)])
    table = metrics.verdicts(solution, answers({"a": (20, 30, 43)}))
    assert table.to_numpy().tolist() == [["a", "TP", False, 30.0]]
    assert metrics.f2(solution, answers({"a": (20, 30, 43)})) == 1


def test_of_several_candidates_the_best_counts_and_a_tomogram_may_have_none():
    """A table of candidates, told by its scores, need not mention every tomogram."""
    table = pd.concat([SOME, candidates([("b", HERE, 0.85), ("a", FAR, 0.1), ("d", (-1, -1, -1), 0.0)])])
    assert metrics.verdicts(FOUR, table)["verdict"].tolist() == ["TP", "TP", "FP", "TN"]
    assert metrics.verdicts(FOUR, table[:0])["verdict"].tolist() == ["FN", "FN", "TN", "TN"]


def test_labels_make_a_solution_with_one_row_per_motor():
    """A tomogram without a motor has one row, of -1."""
    tomograms = pd.DataFrame([["a", 48, 64, 96, 13.1], ["b", 64, 48, 96, 15.6]], columns=TOMOGRAMS)
    motors = pd.DataFrame([["b", 1.0, 2.0, 3.0], ["b", 4.0, 5.0, 6.0]], columns=MOTORS)
    assert labels_table.solution(Labels(tomograms, motors)).to_numpy().tolist() == [
        ["a", -1.0, -1.0, -1.0, 13.1, False],
        ["b", 1.0, 2.0, 3.0, 15.6, True],
        ["b", 4.0, 5.0, 6.0, 15.6, True],
    ]


# --- how the score depends on a threshold


def test_the_curve_of_three_candidates_is_as_counted_by_hand():
    """A hit at 0.9, a miss at 0.8 that is a false alarm for a detector, a false alarm at 0.7; two motors."""
    kaggle = evaluation_curves.curve(FOUR, SOME)
    assert kaggle.to_numpy().tolist() == [
        [0.7, 1 / 2, 1 / 2, pytest.approx(5 / 10)],
        [0.9, 1, 1 / 2, pytest.approx(5 / 9)],
        [np.inf, 1, 0, 0],
    ]
    detection = evaluation_curves.curve(FOUR, SOME, mode="detection")
    assert detection[["threshold", "precision", "recall"]].to_numpy().tolist() == [
        [0.7, pytest.approx(1 / 3), 1 / 2],
        [0.8, 1 / 2, 1 / 2],
        [0.9, 1, 1 / 2],
        [np.inf, 1, 0],
    ]
    with pytest.raises(ValueError, match="mode is 'coco': choose kaggle or detection"):
        evaluation_curves.curve(FOUR, SOME, mode="coco")


@examples(12)
@given(case=scored())
def test_the_curve_at_each_threshold_is_the_score_of_the_answer_made_with_it(case):
    """Up to far answers, which the curve leaves out of the precision and the competition does not count either."""
    solution, table = case
    for row in evaluation_curves.curve(solution, table).itertuples():
        answer = answered(solution, table, row.threshold)
        count = metrics.verdicts(solution, answer)["verdict"].value_counts()
        hits, misses = count.get("TP", 0), count.get("FN", 0)
        assert row.recall == pytest.approx(hits / (hits + misses))
        assert row.f2 == pytest.approx(metrics.f2(solution, answer))


@examples(25)
@given(case=scored(), mode=st.sampled_from(["kaggle", "detection"]))
def test_only_the_order_of_scores_matters_for_a_curve(case, mode):
    """Squaring the scores moves the thresholds and nothing else."""
    solution, table = case
    columns = ["precision", "recall", "f2"]
    curves = [evaluation_curves.curve(solution, t, mode=mode) for t in (table, table.assign(score=table["score"] ** 2))]
    pd.testing.assert_frame_equal(curves[0][columns], curves[1][columns])


@pytest.mark.kernel  # to import scikit-learn takes seconds
@examples(25)
@given(case=scored())
def test_average_precision_is_that_of_scikit_learn(case):
    """A motor that is missed gets a place after all others; theirs then ends where ours does."""
    from sklearn.metrics import average_precision_score  # for this test alone

    solution, table = case
    judged = metrics.judge(solution, metrics.best_of_each(solution, table))
    missed = judged["has_motor"] & (~judged["answered"] | metrics.is_far(judged, 1000))
    score = judged["score"].where(~missed & judged["answered"], -1.0)
    theirs = average_precision_score(judged["has_motor"], score)
    last = judged["has_motor"].mean() * missed.sum() / judged["has_motor"].sum()  # of the step to those never answered
    assert average_precision(evaluation_curves.curve(solution, table)) == pytest.approx(theirs - last)


def test_average_precision_and_the_area_under_the_curve_are_as_counted_by_hand():
    """Hits at 0.9 and 0.5, a false alarm at 0.7: steps of recall 1/2 at precision 1 and 2/3, or trapezoids."""
    solution = truth([("a", HERE), ("b", HERE), ("c", None)])
    curve = evaluation_curves.curve(solution, candidates([("a", HERE, 0.9), ("c", HERE, 0.7), ("b", HERE, 0.5)]))
    assert average_precision(curve) == pytest.approx((1 + 2 / 3) / 2)
    assert pr_auc(curve) == pytest.approx(1 / 2 + (1 / 2 + 2 / 3) / 4)


def test_a_score_below_zero_or_none_is_refused():
    """A tomogram without a candidate has the score 0, nothing may be worse."""
    for score in (-0.1, np.nan):
        with pytest.raises(ValueError, match="tomogram a has a score below 0 or none: give a number from 0 up"):
            evaluation_curves.curve(FOUR, candidates([("a", HERE, score)]))


# --- how many tomograms to answer


def test_f2_by_quantile_answers_what_reaches_the_quantile_of_all_scores():
    """Scores 0, 0.7, 0.8, 0.9: a third of the way up lies 0.7; the tomogram without a candidate is never answered."""
    table = f2_by_quantile(FOUR, SOME, [0, 1 / 3, 0.5, 1])
    assert table["quantile"].tolist() == [0, 1 / 3, 0.5, 1]
    assert table["threshold"].tolist() == pytest.approx([0, 0.7, 0.75, 0.9])
    assert table["answered"].tolist() == [3, 3, 2, 1]
    assert table["f2"].tolist() == pytest.approx([5 / 10, 5 / 10, 5 / 9, 5 / 9])


@examples(12)
@given(case=scored())
def test_f2_at_each_quantile_is_the_score_of_the_answer_made_with_its_threshold(case):
    """The table and the score of the competition agree everywhere."""
    solution, table = case
    found = f2_by_quantile(solution, table, np.linspace(0, 1, 5))
    for row in found.itertuples():
        answer = answered(solution, table, row.threshold)
        assert row.f2 == pytest.approx(metrics.f2(solution, answer))
        assert row.answered == (answer["z"] != -1).sum()


@pytest.mark.parametrize(
    ("f2", "quantile"),
    [
        ([0.5, 0.9, 0.5, 0.9, 0.9, 0.9, 0.5], 4),  # the wide stretch, not the first
        ([0.5, 0.9, 0.9, 0.5, 0.9, 0.9, 0.5], 1.5),  # of equals the one that answers more
        ([0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5], 1),  # at the left end
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.8, 0.9], 6),  # a single best, at the right end
        ([0.7] * 7, 3),
    ],
)
def test_the_chosen_quantile_is_the_middle_of_the_widest_best_stretch(f2, quantile):
    """An edge of a stretch is one tomogram from the next stair."""
    table = pd.DataFrame({"quantile": np.arange(7) / 10, "f2": f2})
    assert choose_quantile(table) == pytest.approx(quantile / 10)


def test_a_tolerance_joins_stretches_that_are_almost_as_good():
    """A lone spike of little height gives way to a wide shoulder."""
    table = pd.DataFrame({"quantile": np.arange(7) / 10, "f2": [0.91, 0.5, 0.9, 0.9, 0.9, 0.5, 0.5]})
    assert choose_quantile(table) == 0
    assert choose_quantile(table, tolerance=0.02) == pytest.approx(0.3)


# --- how sure the score is


def test_the_interval_is_that_of_tomograms_drawn_again_one_by_one():
    """Drawing the numbers of verdicts is the same as drawing tomograms, up to chance."""
    solution, answer = recorded("rand00")
    verdicts = metrics.verdicts(solution, answer.drop(columns="score"))["verdict"].to_numpy()
    rng = np.random.default_rng(3)
    drawn = rng.choice(verdicts, size=(4000, len(verdicts)))
    tp, fp, fn = ((drawn == name).sum(axis=1) for name in ("TP", "FP", "FN"))
    expected = np.quantile(5 * tp / (5 * tp + fp + 4 * fn), [0.025, 0.975])
    found = metrics.bootstrap(solution, answer, n=4000)
    assert found == pytest.approx(expected, abs=0.02)
    assert found[0] < metrics.f2(solution, answer) < found[1]


def test_an_interval_is_repeated_by_its_seed_and_shrinks_to_a_perfect_score():
    """Nothing depends on a global state; a perfect answer stays perfect, whatever is drawn."""
    solution, answer = recorded("rand01")
    assert metrics.bootstrap(solution, answer, seed=1) == metrics.bootstrap(solution, answer, seed=1)
    assert metrics.bootstrap(solution, answer, seed=1) != metrics.bootstrap(solution, answer, seed=2)
    assert metrics.bootstrap(*recorded("perfect")) == (1, 1)


def test_two_answers_are_compared_on_the_same_draws():
    """By hand: of two motors one answer finds both and the other the first; 0, 1 or 2 draws of the second decide."""
    solution = truth([("a", HERE), ("b", HERE)])
    both, one = answers({"a": HERE, "b": HERE}), answers({"a": HERE, "b": None})
    assert metrics.bootstrap(solution, both, one, n=400) == (0, 1)
    assert metrics.bootstrap(solution, one, both, n=400) == (-1, 0)
    assert metrics.bootstrap(*recorded("rand01"), recorded("rand01")[1]) == (0, 0)
    many = [f"c{k}" for k in range(100)]  # one miss in a hundred is drawn up to three times in 97.5 % of the draws
    solution, hits = truth([(name, HERE) for name in many]), dict.fromkeys(many, HERE)
    found = metrics.bootstrap(solution, answers(hits), answers(hits | {"c7": None}), n=4000)
    assert found == pytest.approx((0, 1 - 5 * 97 / (5 * 97 + 4 * 3)))


def test_draws_without_a_score_are_left_out():
    """Of one hit and one empty tomogram a quarter of the draws have neither motor nor answer."""
    solution = truth([("a", HERE), ("b", None)])
    assert metrics.bootstrap(solution, answers({"a": HERE, "b": None})) == (1, 1)
    with pytest.raises(ValueError, match="F2 is 0/0"):
        metrics.bootstrap(solution[1:], answers({"b": None}))


# benchmarks of others


@pytest.fixture
def project(tmp_path):
    """A benchmark as copick exports it: a run with two motors in ångström, one with one in voxels, one without."""
    for name, text in {
        "Croissant/metadata.json": "{}",
        "Croissant/runs.csv": "name,portal_run_id,split\n007,1,test\nb,2,test\nc,3,test\nd,4,train\n",
        "Croissant/picks.csv": "run,user_id,session_id,object_name,voxel_size,url,sha256\n"
        "007,curator,0,motor,,ExperimentRuns/007/Picks/curator_0_motor.json,\n"
        "b,curator,0,motor,20.0,ExperimentRuns/b/points.ndjson,\n"
        "d,curator,0,motor,,https://example.org/d.json,\n",
        "ExperimentRuns/007/Picks/curator_0_motor.json": json.dumps(
            {"points": [{"location": {"x": 1300.0, "y": 2600.0, "z": 650.0}}, {"location": {"x": 0, "y": 0, "z": 0}}]}
        ),
        "ExperimentRuns/b/points.ndjson": '{"type": "point", "location": {"x": 100, "y": 50, "z": 30}}\n',
        "found/tomograms.csv": "tomo_id,fault\n007,\nb,\nc,\nelse,\n",
        "found/detections.csv": "tomo_id,z,y,x,score,spacing\n007,50,200,100,0.5,13\n007,1,1,1,0.4,13\n"
        "b,60,100,49,0.9,10\nelse,1,1,1,0.9,10\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_was_found_is_scored_on_the_split_of_a_benchmark(project, capsys):
    """A hit at 0 Å; one 1510 Å off in x, twice as fine as it was annotated; and none where there is none: F2 is 5/9."""
    manifest = project / "Croissant" / "metadata.json"
    solution = benchmark.truth(manifest, split="test", object_name="motor")
    assert solution.query("tomo_id == '007'")[["z", "y", "x"]].to_numpy().tolist() == [[650, 2600, 1300], [0, 0, 0]]
    assert solution.set_index("tomo_id").loc["b", ["z", "y", "x"]].tolist() == [600, 1000, 2000]
    answer = benchmark.found(project / "found", angstrom=True)
    assert answer.set_index("tomo_id").loc["007", ["z", "y", "x"]].tolist() == [650, 2600, 1300]
    assert cli.main(["score", str(project / "found"), str(manifest), "--split", "test"]) == 0
    assert capsys.readouterr().out.startswith("F2 0.556")
    assert cli.main(["score", str(project / "found" / "detections.csv"), str(manifest), "--split", "test"]) == 2
    assert "motors detect --out" in capsys.readouterr().err
    assert cli.main(["score", str(project / "found"), str(manifest.with_name("other.json")), "--split", "test"]) == 2
    assert "other.json cannot be used (No such file or directory)" in capsys.readouterr().err
    manifest.rename(manifest.with_name("METADATA.JSON"))
    assert cli.main(["score", str(project / "found"), str(manifest.with_name("METADATA.JSON")), "--split", "test"]) == 0


def test_addresses_and_sums_of_a_benchmark_are_written_in_several_ways(project):
    """A blank as %20, hexadecimal digits as capitals; a list of picks twice is one too many."""
    picks = project / "ExperimentRuns/007/Picks/curator_0_motor.json"
    picks.rename(picks.with_name("curator 0 motor.json"))
    table, digest = project / "Croissant" / "picks.csv", sha256(picks.with_name("curator 0 motor.json")).upper()
    table.write_text(table.read_text().replace("curator_0_motor.json,", f"curator%200%20motor.json,{digest}"))
    assert len(benchmark.truth(project / "Croissant" / "metadata.json", split="test")) == 4
    table.write_text(table.read_text().replace(digest, ""))
    picks.with_name("curator 0 motor.json").write_text('{"points": [{"location": {}}], "points": []}')
    with pytest.raises(ValueError, match="curator 0 motor.json holds no picks.*points is there twice"):
        benchmark.truth(project / "Croissant" / "metadata.json", split="test")


def test_a_benchmark_from_a_mac_names_runs_as_they_are_found_here(project):
    """There an accent is a letter of its own, in tables and in folders; or only in one of both."""
    (project / "ExperimentRuns/b").rename(project / "ExperimentRuns/be\u0301")
    for table in ("runs.csv", "picks.csv"):
        path = project / "Croissant" / table
        path.write_text(re.sub(r"\bb\b", "be\u0301", path.read_text()))
    solution = benchmark.truth(project / "Croissant" / "metadata.json", split="test").set_index("tomo_id")
    assert solution.loc["b\u00e9", ["z", "y", "x"]].tolist() == [600, 1000, 2000]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"split": "val"}, "no split 'val': choose of test, train"),
        ({"split": "test", "object_name": "ribosome"}, "no object 'ribosome': choose of motor"),
        ({"split": "train"}, "https://example.org/d.json of picks.csv is not on this disk"),
    ],
)
def test_a_benchmark_that_lacks_something_is_refused(project, given, sentence):
    """With what there is."""
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(sentence)):
        benchmark.truth(project / "Croissant" / "metadata.json", **given)


def test_splits_and_objects_of_a_benchmark_may_be_called_like_numbers_or_nothing(project):
    """Folds are 0 and 1, an object 007 or NA: names stay text. A run listed twice would count twice."""
    folder = project / "Croissant"
    runs, picks = ((folder / name).read_text() for name in ("runs.csv", "picks.csv"))
    (folder / "runs.csv").write_text(runs.replace("test", "01").replace("train", "NA"))
    (folder / "picks.csv").write_text(picks.replace("motor,", "1e2,"))
    assert len(benchmark.truth(folder / "metadata.json", split="01", object_name="1e2")) == 4
    with pytest.raises(ValueError, match="no split '1': choose of 01, NA"):
        benchmark.truth(folder / "metadata.json", split="1")
    for more in ("b,9,01\n", ",9,01\n"):
        (folder / "runs.csv").write_text(runs + more)
        with pytest.raises(ValueError, match="runs.csv has the run '.?' twice, or without a name"):
            benchmark.truth(folder / "metadata.json")


@pytest.mark.parametrize("word", ["NaN", "true", '"x"', "null"])
def test_a_place_of_a_benchmark_that_is_no_number_is_refused(project, word):
    """It would count as a tomogram without a motor, or as 1."""
    path = project / "ExperimentRuns/007/Picks/curator_0_motor.json"
    path.write_text(path.read_text().replace("2600.0", word))
    with pytest.raises(ValueError, match="curator_0_motor.json holds no picks"):
        benchmark.truth(project / "Croissant" / "metadata.json", split="test")


def test_picks_of_a_benchmark_are_read_as_copick_means_them(project):
    """Shifted, in ångström, none where there are none; a run that nobody lists is not one without a motor."""
    path, manifest = project / "ExperimentRuns/007/Picks/curator_0_motor.json", project / "Croissant" / "metadata.json"
    shift = [[1, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]]
    point = {"location": {"x": 30, "y": 20, "z": 10}, "transformation_": shift}
    path.write_text("\ufeff" + json.dumps({"unit": "angstrom", "points": [point]}), encoding="utf-8")
    truth = benchmark.truth(manifest, split="test").set_index("tomo_id")
    assert truth.loc["007", ["z", "y", "x"]].tolist() == [17, 26, 35]
    path.write_text(json.dumps({"points": None}))
    assert not benchmark.truth(manifest, split="test").set_index("tomo_id").loc["007", "has_motor"]
    path.write_text(json.dumps({"unit": "nm", "points": [point]}))
    with pytest.raises(ValueError, match="curator_0_motor.json counts nm: wanted ångström"):
        benchmark.truth(manifest, split="test")
    (project / "Croissant/runs.csv").write_text("name,split\n7,test\nb,test\nd,test\n")
    with pytest.raises(ValueError, match="picks.csv has picks in the run 007, which runs.csv lacks"):
        benchmark.truth(manifest, split="test")


def test_a_benchmark_of_several_people_is_said_to_be_and_a_changed_file_is_refused(project, capsys):
    """Predictions may lie beside what somebody picked; and copick writes the SHA-256 of each file."""
    manifest, table = project / "Croissant" / "metadata.json", project / "Croissant/picks.csv"
    path = project / "ExperimentRuns/007/Picks/curator_0_motor.json"
    table.write_text(table.read_text().replace("motor.json,\n", f"motor.json,{sha256(path)}\n"))
    assert benchmark.truth(manifest, split="test")["has_motor"].sum() == 3
    path.write_text(path.read_text().replace("2600.0", "2601.0"))
    with pytest.raises(ValueError, match="curator_0_motor.json has another SHA-256 than picks.csv says"):
        benchmark.truth(manifest, split="test")
    table.write_text(table.read_text().replace("b,curator,0,", "b,me,7,"))
    path.write_text(path.read_text().replace("2601.0", "2600.0"))
    assert cli.main(["score", str(project / "found"), str(manifest), "--split", "test"]) == 0
    assert "picks.csv has motor of curator/0, me/7: all of them are the truth" in capsys.readouterr().err


def test_what_is_wrong_with_a_table_to_score_is_blamed_on_its_file_and_line(project):
    """Not on the solution, which somebody else may have made."""
    path, head = project / "truth.csv", "tomo_id,z,y,x,spacing,has_motor\na,1,2,3,10,1\n"
    for row, message in (
        ("b,,,,10,0", "has a position or spacing that cannot be: write numbers, -1 -1 -1 for no motor"),
        ("b,-1,-1,-1,fine,0", "has a position or spacing that cannot be"),
        ("b,-1,-1,-1,-10,0", "has a position or spacing that cannot be"),
        ("b,-1,-1,-1,10,1", "has has_motor against its position"),
        ("b,-1,-1,-1,10,", "has another has_motor"),
    ):
        path.write_text(f"{head}{row}\n")
        with pytest.raises(ValueError, match=f"truth.csv, line 3: tomogram b {message}"):
            metrics.f2(benchmark.solution(path), answers({"a": HERE, "b": None}))
    path.write_text(f"{head}a,1,2,3,10,1\n")
    with pytest.raises(ValueError, match="truth.csv, line 3: tomogram a has the same motor twice"):
        metrics.f2(benchmark.solution(path), answers({"a": HERE}))
    (project / "mine.csv").write_text("tomo_id,z,y,x\na,1,2,3\nc,1,2,3\n")
    path.write_text(f"{head}c,-1,-1,-1,10,0\nb,-1,-1,-1,10,0\n")
    with pytest.raises(ValueError, match="^the answer: tomogram b is missing"):  # the truth is not to blame
        metrics.f2(benchmark.solution(path), benchmark.answer(project / "mine.csv"))
    path.write_text(head)
    with pytest.raises(ValueError, match="mine.csv, line 3: tomogram c is not in the solution"):
        metrics.f2(benchmark.solution(path), benchmark.answer(project / "mine.csv"))
    (project / "found/tomograms.csv").write_text("tomo_id\n7\nb\nelse\n")
    with pytest.raises(ValueError, match="detections.csv, line 2: tomogram 007 is not in tomograms.csv"):
        benchmark.found(project / "found")
    (project / "found/detections.csv").write_text("tomo_id,z,y,x,score,spacing\n7,1,2,3,0.5,13\n7,1,two,3,0.4,13\n")
    with pytest.raises(ValueError, match="detections.csv, line 3: tomogram 7 has a score or a coordinate that is NaN"):
        benchmark.found(project / "found", angstrom=True)


def test_what_was_found_is_scored_in_voxels_beside_a_solution(project, capsys):
    """A folder instead of a submission; other tomograms in it do not matter."""
    text = "tomo_id,z,y,x,spacing,has_motor\n007,50,200,100,13,1\nc,-1,-1,-1,13,0\n"
    (project / "solution.csv").write_text(text)
    assert cli.main(["score", str(project / "found"), str(project / "solution.csv")]) == 0
    assert capsys.readouterr().out.startswith("F2 1.000")
