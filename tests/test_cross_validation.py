"""Out-of-fold: nobody judges what it has learnt, and every candidate list is judged by one rule."""

import numpy as np
import pandas as pd
import pytest

from motors.evaluation import metrics
from motors.evaluation.cross_validation import held_out, judge, network_of, pool, sure, table
from motors.labels.table import Labels
from motors.matching import cut
from motors.tables import MOTORS, POINT, SOLUTION, TOMOGRAMS

FOLDS = pd.DataFrame({"tomo_id": list("abcdefgh") + ["x"], "fold": [0, 0, 0, 0, 1, 1, 1, 1, -1]})
RUNS = pd.DataFrame({"run": ["20_t/demo", "20_t/demo-fold1", "21_t/demo"], "fold": [0, 1, 0]})
ELSE = {"20_t/demo": set("efghx"), "20_t/demo-fold1": set("abcdx"), "21_t/demo": None}
HERE, NOWHERE = [11.0, 20.5, 33.0, 13.7, True], [-1, -1, -1, 15.2, False]
SOLVED = pd.DataFrame([[k, *(HERE if k in "abef" else NOWHERE)] for k in "abcdefgh"], columns=SOLUTION)


def candidates(run: str, **scores: float) -> pd.DataFrame:
    """Candidates of a run with these scores by tomogram, all where motors are."""
    place = dict(zip(POINT, (11.0, 20.5, 33.0), strict=True))
    return pd.DataFrame({"tomo_id": scores.keys(), "score": scores.values()}).assign(**place, run=run, symmetry="zyx")


def test_each_run_is_judged_by_the_fold_it_held_out():
    """And runs of all folds of a network go by one name; what never is held out judges nobody."""
    held = held_out(RUNS, FOLDS, ELSE)
    assert held.groupby("run")["tomo_id"].agg("".join).to_dict() == {
        "20_t/demo": "abcd",
        "20_t/demo-fold1": "efgh",
        "21_t/demo": "abcd",
    }
    assert held["network"].unique().tolist() == ["20_t/demo", "21_t/demo"] and not held["in_sample"].any()
    assert network_of("20_t/full-resnet50-fold-1-seed2-steps=200") == "20_t/full-resnet50-seed2-steps=200"


def test_a_candidate_where_nobody_is_sure_is_not_judged():
    """Within 1000 Å, 100 voxels of 10 Å, of such a point, unless it is as near to a motor; in that tomogram only."""
    tomograms = pd.DataFrame([[name, 400, 500, 600, 10.0] for name in "ab"], columns=TOMOGRAMS)
    motor, unsure = (
        pd.DataFrame([["a", 150, 20, 30]], columns=MOTORS),
        pd.DataFrame([["a", 10, 20, 30]], columns=MOTORS),
    )
    found = pd.DataFrame(
        [["a", z, 20.0, 30.0] for z in (49, 50, 110, 111, 251)] + [["b", 10.0, 20.0, 30.0]], columns=MOTORS
    )
    left = sure(found.set_index(pd.Index([7] * 6)), Labels(tomograms, motor, unsure))
    assert left[["tomo_id", "z"]].values.tolist() == [["a", 50], ["a", 110], ["a", 111], ["a", 251], ["b", 10]]
    assert len(sure(found, Labels(tomograms, motor))) == 6


def test_a_tomogram_that_was_trained_on_is_leakage():
    """Also across two tables of folds: the names decide, not the numbers."""
    with pytest.raises(ValueError, match="20_t/demo was trained on c of fold 0.*leakage"):
        held_out(RUNS, FOLDS, ELSE | {"20_t/demo": set("cfghx")})
    other = FOLDS.assign(fold=[0, 0, 0, 1, 0, 1, 1, 1, -1])
    with pytest.raises(ValueError, match="leakage"):
        held_out(RUNS, other, ELSE)


def test_a_run_that_held_nothing_out_is_marked_in_sample():
    """It is judged by the folds of the others."""
    runs = pd.concat([RUNS[:1], pd.DataFrame({"run": ["24_t/demo-fold-1"], "fold": [-1]})])
    held = held_out(runs, FOLDS, ELSE | {"24_t/demo-fold-1": None})
    assert held.groupby("network")["in_sample"].agg(["size", "all"]).to_numpy().tolist() == [[4, False], [4, True]]


@pytest.mark.parametrize(
    ("runs", "word"),
    [
        (RUNS.assign(labels=["one", "one", "other"]), "label tables"),
        (pd.concat([RUNS, RUNS[:1]]), "twice"),
        (RUNS.assign(fold=[0, 3, 0]), "no tomogram"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(runs, word):
    """In a sentence that names them."""
    with pytest.raises(ValueError, match=word):
        held_out(runs, FOLDS, ELSE)


def test_only_out_of_fold_candidates_are_pooled():
    """What a run found in tomograms that it may not judge is left out."""
    held = held_out(RUNS, FOLDS, ELSE)
    found = pd.concat([candidates("20_t/demo", a=0.9, e=0.8), candidates("20_t/demo-fold1", e=0.7, a=0.6)])
    assert pool(found, held)[["run", "tomo_id", "score", "fold"]].to_numpy().tolist() == [
        ["20_t/demo", "a", 0.9, 0],
        ["20_t/demo-fold1", "e", 0.7, 1],
    ]


def test_the_table_has_every_fold_their_spread_and_the_pooled_figure():
    """By hand: fold 0 is perfect; in fold 1 one of two motors is found, above a cut that all folds share."""
    held = held_out(RUNS[:2], FOLDS, ELSE)
    found = pd.concat([candidates("20_t/demo", a=0.9, b=0.8), candidates("20_t/demo-fold1", e=0.7)])
    row = table(SOLVED, pool(found, held), held).loc["20_t/demo"]
    one = 5 / (5 + 4)
    assert row[["fold 0", "fold 1", "mean"]].tolist() == pytest.approx([1, one, (1 + one) / 2])
    assert row["SD"] == pytest.approx((1 - one) / np.sqrt(2))
    assert row["F2"] == pytest.approx(15 / (15 + 4))
    assert (row["precision"], row["recall"]) == (1, 0.75)
    assert 0 <= row["threshold"] <= 0.7 and row["tomograms"] == 8 and not row["in_sample"]


def test_the_figure_of_a_list_is_that_of_its_answer_with_its_quantile_and_with_its_threshold():
    """Quantile and threshold are one cut; F2 is the competition's."""
    found = candidates("r", a=0.9, b=0.4, c=0.5, e=0.7, g=0.2)
    row = judge(SOLVED, found)
    assert row["F2"] == metrics.f2(SOLVED, cut(metrics.best_of_each(SOLVED, found), quantile=row["quantile"]))
    kept = (
        found[found["score"] >= row["threshold"]]
        .set_index("tomo_id")[POINT]
        .reindex(SOLVED["tomo_id"], fill_value=-1.0)
    )
    assert row["F2"] == metrics.f2(SOLVED, kept.reset_index())
    assert row["low"] <= row["F2"] <= row["high"]
    better = judge(SOLVED, candidates("r", a=0.9, b=0.8, e=0.7, f=0.6), row["answer"])
    assert 0 <= better["better_low"] <= better["better_high"] <= 1
