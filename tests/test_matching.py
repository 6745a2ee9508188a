"""One match within 1000 Å and one best candidate, wherever either is asked for."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given, strategies as st

from motors import matching
from motors.ensemble import select
from motors.evaluation import metrics
from motors.labels import consensus
from motors.labels.table import Labels, solution
from motors.review import disagreements
from motors.tables import POINT


def candidates(*rows: tuple) -> pd.DataFrame:
    """Candidates from rows of tomo_id, z, y, x, score."""
    return pd.DataFrame(rows, columns=["tomo_id", *POINT, "score"])


def labels(*motors: tuple, spacing: float = 13.7) -> Labels:
    """Labels of the tomograms a and b, with motors."""
    tomograms = pd.DataFrame({"tomo_id": ["a", "b"], "size_z": 140, "size_y": 170, "size_x": 230, "spacing": spacing})
    return Labels(tomograms, pd.DataFrame(motors, columns=["tomo_id", *POINT]))


def test_of_equal_scores_the_lowest_place_is_best_whoever_asks():
    """A motor at z 1, candidates with one score at z 90 and z 1, in both orders: a hit for every room."""
    known = labels(("a", 1.0, 60.0, 80.0), spacing=15.0)
    rows = [("a", 90, 60, 80, 0.5), ("a", 1, 60, 80, 0.5)]
    for order in permutations(rows):
        table = candidates(*order)
        assert matching.best(table)["z"].tolist() == [1]
        assert metrics.verdicts(solution(known), table)["verdict"].tolist() == ["TP", "TN"]
        answer = select.detections(table, ["a", "b"], threshold=0.5)
        assert metrics.verdicts(solution(known), answer.drop(columns="score"))["verdict"].tolist() == ["TP", "TN"]
        matches = disagreements.match(known, table, most=1)
        assert disagreements.verdicts(matches).to_dict() == {"a": "TP", "b": "TN"}


def test_candidates_are_ranked_by_score_then_place_and_rows_of_minus_one_are_none():
    """Tomogram by tomogram; one coordinate of -1 is enough, as in a submission."""
    table = candidates(
        ("b", 9, 1, 7, 0.5), ("a", 1, 1, 1, 0.2), ("b", 9, 1, 2, 0.5), ("b", 3, 1, 1, 0.9), ("b", -1, 5, 5, 0.99)
    )
    ranked = matching.ranked(table)
    assert ranked[["tomo_id", "z", "x"]].to_numpy().tolist() == [["a", 1, 1], ["b", 3, 1], ["b", 9, 2], ["b", 9, 7]]
    assert matching.best(table)[["tomo_id", "z"]].to_numpy().tolist() == [["a", 1], ["b", 3]]


def test_what_reaches_the_threshold_is_answered():
    """Scores 0.2, 0.4, 0.6, 0.8: their quantile 2/3 is 0.6 itself, which stays; nothing else changes."""
    table = candidates(*((name, 1.5, 2, 3, score) for name, score in zip("abcd", (0.2, 0.4, 0.6, 0.8), strict=True)))
    for where in ({"quantile": 2 / 3}, {"threshold": 0.6}):
        assert matching.cut(table, **where)["z"].tolist() == [-1, -1, 1.5, 1.5]
        assert matching.cut(table, **where)["score"].tolist() == table["score"].tolist()


@pytest.mark.parametrize("column", ["z", "x", "score"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_candidates_without_a_number_are_refused_not_taken_for_the_worst(column, value):
    """A score of NaN was answered with the score 0."""
    table = candidates(("a", 1, 2, 3, 0.5), ("b", 4, 5, 6, 0.5)).astype(dict.fromkeys(POINT, float))
    table.loc[1, column] = value
    for ask in (matching.best, lambda rows: select.detections(rows, ["a", "b"])):
        with pytest.raises(ValueError, match="tomogram b has a score or a coordinate that is NaN"):
            ask(table)


def test_the_radius_is_in_angstrom_and_reaches_as_far_in_every_room():
    """At 13.7 Å a distance of 72.99 voxels is a match and one of 73 is none: 1000 Å are 72.9927 voxels."""
    for distance, same in ((72.99, True), (73.0, False)):
        point = ("a", 20.0, 30.0, 40.0)
        near = ("a", 20.0, 30.0, 40.0 + distance)
        known, table = labels(point), candidates((*near, 0.7))
        assert metrics.verdicts(solution(known), table)["verdict"][0] == ("TP" if same else "FN")
        assert (disagreements.match(known, table)["verdict"] == "TP").sum() == 2 * same
        assert ("both" in set(consensus.compare(known, labels(near))["where"])) == same
        assert bool(matching.within(distance, 13.7)) == same


def test_the_nearest_pairs_find_each_other_first():
    """By hand, at 10 Å: 30 voxels before 40; what is left over pairs up only within the radius."""
    ones, others = np.array([[0.0, 0, 0], [0, 0, 70]]), np.array([[0.0, 0, 40], [0, 0, 171]])
    assert matching.nearest_pairs(ones, others, spacing=10.0) == [(1, 0, 300.0)]
    assert matching.nearest_pairs(ones, others, 2000.0, spacing=10.0) == [(1, 0, 300.0), (0, 1, 1710.0)]
    assert matching.nearest_pairs(ones[:0], others) == []


POINTS = st.lists(st.tuples(*[st.integers(0, 60)] * 3), max_size=6).map(
    lambda rows: np.reshape(rows, (-1, 3)).astype(float)
)


@examples(30)
@given(POINTS, POINTS, st.sampled_from([7.3, 13.1, 19.7]))
def test_a_pair_is_within_the_radius_and_nobody_is_left_who_could_pair_up(ones, others, spacing):
    """Each point once; two that remain are farther apart than the radius."""
    pairs = matching.nearest_pairs(ones, others, 400.0, spacing=spacing)
    here, there = [k for k, _, _ in pairs], [k for _, k, _ in pairs]
    assert len(set(here)) == len(set(there)) == len(pairs)
    assert all(away <= 400 for *_, away in pairs) and [away for *_, away in pairs] == sorted(away for *_, away in pairs)
    left, right = np.delete(ones, here, axis=0), np.delete(others, there, axis=0)
    assert (np.linalg.norm(left[:, None] - right[None], axis=-1) * spacing > 400).all()
