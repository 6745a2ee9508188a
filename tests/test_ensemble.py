"""One answer from many."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from torch.nn.functional import avg_pool2d, avg_pool3d

from motors import matching, tables
from motors.detection.heatmap import Grid
from motors.detection.queue import detect_all
from motors.ensemble import select, wbf
from motors.ensemble.combine import METHODS, combine, fuse_grids
from motors.ensemble.wbf import fuse_boxes, fuse_points
from motors.experiments.original import MAXVIT_TINY, RESNEXT50
from motors.volumes.tomogram import Tomogram

REFERENCE = Path(__file__).parent / "reference"
POINT = ["z", "y", "x"]


def read(area: str, name: str) -> dict:
    """What the original solution recorded."""
    return json.loads((REFERENCE / area / name).read_text())


def table(*rows: tuple) -> pd.DataFrame:
    """Candidates of one symmetry from rows of tomo_id, z, y, x, score, run."""
    found = pd.DataFrame(rows, columns=["tomo_id", *POINT, "score", "run"])
    return found.assign(symmetry=pd.Series("zyx", found.index, dtype=str))


def flat(case: dict) -> dict[float, list[tuple]]:
    """All points of a recorded case, with score and source, by label."""
    found: dict[float, list[tuple]] = {}
    for source, lists in enumerate(zip(case["boxes"], case["scores"], case["labels"], strict=True)):
        for point, score, label in zip(*lists, strict=True):
            found.setdefault(label, []).append((*point, score, source))
    return found


@pytest.mark.parametrize("case", read("wbf", "cases.json")["cases"], ids=lambda case: case["name"])
def test_fused_points_are_those_of_the_original_solution(case):
    """Thirty random cases and the edges: thresholds, ties, weights, moving centres, every method to rescale."""
    kwargs, count = case["kwargs"], len(case["boxes"])
    weights = kwargs.get("weights", [])
    weights = weights if len(weights) == count else np.ones(count)  # the original only warned of a wrong number
    fused = []
    for rows in flat(case).values():
        rows = np.array(rows)
        points, scores = fuse_points(
            rows[:, :3],
            rows[:, 3],
            rows[:, 4],
            weights,
            radius=kwargs["dist_thr"],
            skip=kwargs["skip_box_thr"],
            confidence={"max": "max"}.get(kwargs["conf_type"], "mean"),
            rescale=kwargs["rescale_mode"],
            power=kwargs.get("rescale_poly", 1),
            most_votes=kwargs.get("rescale_clipping", 3),
            overflow=kwargs["allows_overflow"],
        )
        fused.append(np.c_[points, scores])
    fused = np.concatenate([np.zeros((0, 4)), *fused])
    expected = np.c_[np.reshape(case["out"]["boxes"], (-1, 3)), case["out"]["scores"]]
    by_score = [a[np.lexsort((*a.T[:3], -a[:, 3].round(6)))] for a in (fused, expected)]
    np.testing.assert_allclose(*by_score, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["3d", "2d"])
def test_a_whole_submission_is_that_of_the_original_solution(name):
    """From the candidates of all its lists to the rows that it handed in."""
    recorded, rows = read("e2e", f"{name}.json"), []
    with np.load(REFERENCE / "e2e" / f"{name}.npz") as arrays:
        for key in (key for key in arrays if key.startswith("kpts")):
            _, source, tomogram = key.split("__")
            rows += [(tomogram, *row, source) for row in arrays[key].tolist()]
    spacings = {tomogram["id"]: tomogram["spacing"] for tomogram in recorded["tomograms"]}
    final = recorded["final"]["postprocess_py"]
    radii = {tomogram: 1000 / spacing for tomogram, spacing in spacings.items()}
    fused = wbf.fuse(table(*rows), radius_voxels=radii)
    best = select.detections(fused, spacings, quantile=0)
    np.testing.assert_allclose(best[[*POINT, "score"]], [row[1:] for row in final["rows"]], rtol=1e-4)
    answer = select.detections(fused, spacings, quantile=0.55)
    assert answer["tomo_id"].tolist() == [row[0] for row in final["submission"]]
    np.testing.assert_allclose(answer[POINT], [row[1:] for row in final["submission"]], rtol=1e-4)


def test_a_missing_vote_counts_as_zero():
    """By hand: of four sources two see a motor with 0.9 and 0.5, so it is worth a quarter of their sum."""
    points, scores = fuse_points([[0, 0, 0], [14, 0, 0]], [0.9, 0.5], [0, 3], np.ones(4), radius=20)
    np.testing.assert_allclose(points, [[5, 0, 0]])
    np.testing.assert_allclose(scores, [0.35])


ROWS = st.lists(
    st.tuples(*[st.integers(0, 40)] * 3, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]), st.integers(0, 2)), max_size=12
)


@given(ROWS, st.randoms(use_true_random=False), st.sampled_from(["linear", "poly", "clipping", None]))
def test_the_order_of_the_input_does_not_matter(rows, random, rescale):
    """Bit for bit, ties included."""
    shuffled = random.sample(rows, len(rows))
    results = []
    for each in (rows, shuffled):
        each = np.array(each, dtype=np.float64).reshape(-1, 5)
        settings = {"radius": 15, "skip": 0.1, "rescale": rescale}
        results.append(fuse_points(each[:, :3], each[:, 3], each[:, 4], np.array([1, 2, 0.5]), **settings))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@given(ROWS)
def test_one_source_alone_stays_as_it_is_if_its_points_are_apart(rows):
    """Without neighbours there is nothing to fuse, and all votes are in."""
    rows = np.unique(np.array(rows, dtype=np.float64).reshape(-1, 5)[:, :4] * [100, 100, 100, 1], axis=0)
    rows = rows[np.unique(rows[:, :3], axis=0, return_index=True)[1]]
    rows = rows[rows[:, 3] >= 0.2]
    points, scores = fuse_points(rows[:, :3], rows[:, 3], np.zeros(len(rows)), [2.0], radius=99)
    expected = rows[np.lexsort((*rows.T[2::-1], -rows[:, 3]))]
    np.testing.assert_allclose(np.c_[points, scores], expected)


def test_fused_boxes_agree_with_fused_points_where_both_see_one_motor():
    """The package for boxes finds the same two motors from three sources."""
    pytest.importorskip("ensemble_boxes")
    generator = np.random.default_rng(0)
    points = np.repeat([[50.0, 80, 120], [200, 300, 90]], 3, axis=0) + generator.normal(0, 3, (6, 3))
    arguments = points, generator.uniform(0.3, 1, 6), np.tile([0, 1, 2], 2), np.array([1.0, 0.5, 2.0])
    for boxes, expected in zip(fuse_boxes(*arguments, radius=60), fuse_points(*arguments, radius=60), strict=True):
        np.testing.assert_allclose(boxes, expected, rtol=1e-3)


def test_fused_boxes_of_nothing_are_nothing():
    """No point, none above the threshold, or none with weight: the package would leave or divide by zero."""
    pytest.importorskip("ensemble_boxes")
    for scores, weights in (([], [1.0, 1.0]), ([0.1], [1.0, 1.0]), ([0.9], [0.0, 1.0])):
        points = np.zeros((len(scores), 3))
        fused = fuse_boxes(points, scores, np.zeros(len(scores)), weights, radius=60)
        assert [len(part) for part in fused] == [0, 0]


@pytest.mark.parametrize("method", [fuse_points, fuse_boxes])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"confidence": "median"}, "choose mean or max"),
        ({"members": [0, 2]}, "one per member"),
        ({"scores": [0.5]}, "equally many"),
        ({"scores": [0.5, np.nan]}, "not a finite number"),
        ({"weights": [1, -1]}, "must be positive"),
        ({"radius": 0}, "must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(method, change, sentence):
    """In a sentence, where others warn, guess or leave."""
    given = {"points_zyx": np.zeros((2, 3)), "scores": [0.5, 0.5], "members": [0, 1], "weights": [1, 1], "radius": 5}
    with pytest.raises(ValueError, match=sentence):
        method(**given | change)


def test_an_unknown_way_to_rescale_is_refused():
    """The message lists the known ones."""
    with pytest.raises(ValueError, match="choose linear, poly, clipping or None"):
        fuse_points(np.zeros((1, 3)), [0.5], [0], [1], radius=5, rescale="cubic")


def test_tables_are_fused_tomogram_by_tomogram():
    """Each with its own radius; rows of -1 are no candidates, and a silent source still has its vote."""
    candidates = table(
        ("b", 10, 10, 10, 0.8, "one"),
        ("b", 30, 10, 10, 0.8, "two"),
        ("a", 10, 10, 10, 0.8, "one"),
        ("a", 30, 10, 10, 0.8, "two"),
        ("c", -1, -1, -1, 0.0, "one"),
    )
    weights = {("one", "zyx"): 1.0, ("two", "zyx"): 1.0, ("silent", "zyx"): 2.0}
    fused = wbf.fuse(candidates, radius_voxels={"a": 10, "b": 50}, weights=weights)
    expected = [("a", 10, 10, 10, 0.2), ("a", 30, 10, 10, 0.2), ("b", 20, 10, 10, 0.4)]
    assert fused.columns.tolist() == candidates.columns.tolist()
    assert fused[["run", "symmetry"]].drop_duplicates().to_numpy().tolist() == [["ensemble", "all"]]
    assert fused["tomo_id"].tolist() == [row[0] for row in expected]
    np.testing.assert_allclose(fused[[*POINT, "score"]], [row[1:] for row in expected])


def test_an_empty_table_fuses_to_an_empty_table():
    """With the same columns."""
    fused = wbf.fuse(table(), radius_voxels=5, weights={("one", "zyx"): 1.0})
    assert len(fused) == 0 and fused.columns.tolist() == table().columns.tolist()


def test_a_member_without_a_weight_is_refused():
    """A misspelt one would lose its vote."""
    with pytest.raises(ValueError, match="two zyx has no weight"):
        wbf.fuse(table(("a", 1, 1, 1, 0.5, "two")), radius_voxels=5, weights={("one", "zyx"): 1.0})


def test_the_least_confident_share_of_all_tomograms_is_answered_with_none():
    """By hand: of four scores 0, 0.2, 0.4, 0.8 the 55 % quantile is 0.33, so two are answered."""
    candidates = table(("a", 1, 2, 3, 0.8, "s"), ("b", 4, 5, 6, 0.4, "s"), ("c", 7, 8, 9, 0.2, "s"))
    answer = select.detections(candidates, ["d", "c", "b", "a"])
    assert answer["tomo_id"].tolist() == ["d", "c", "b", "a"]
    assert answer[POINT].to_numpy().tolist() == [[-1, -1, -1], [-1, -1, -1], [4, 5, 6], [1, 2, 3]]
    assert answer["score"].tolist() == [0, 0.2, 0.4, 0.8]
    answered = select.detections(candidates, list("abcd"), threshold=0.2)["z"].tolist()
    assert answered == [1, 4, 7, -1]


def test_answers_need_to_know_all_tomograms_and_where_to_cut():
    """A quantile of the wrong tomograms would be another quantile."""
    candidates = table(("a", 1, 2, 3, 0.8, "s"))
    with pytest.raises(ValueError, match="there are candidates of a, which"):
        select.detections(candidates, ["b"])
    with pytest.raises(ValueError, match="listed twice"):
        select.detections(candidates, ["a", "a"])
    with pytest.raises(ValueError, match="neither"):
        select.detections(candidates, ["a"], quantile=None)


def grid(cells, size=(128.0, 128.0, 128.0)) -> Grid:
    """A heatmap of a tomogram of 16 ångström per voxel."""
    cells = np.asarray(cells, dtype=np.float32)
    shape = tuple(round(n * side / 16) for n, side in zip(cells.shape, size, strict=True))
    return Grid(cells, size, shape, 16.0)


def test_heatmaps_are_fused_cell_by_cell_on_the_finest_grid():
    """By hand: of two cells and one twice as long, once averaged with weights 3 and 1, once the larger product."""
    grids = {"fine": grid([[[0.2, 0.6]]]), "coarse": grid([[[0.4]]], (128.0, 128.0, 256.0)), "third": grid([[[1, 1]]])}
    weights = {"coarse": 1.0, "fine": 3.0}
    mean, largest = (fuse_grids(grids, weights, how=how) for how in ("mean", "max"))
    np.testing.assert_allclose(mean.cells, [[[0.25, 0.55]]], rtol=1e-6)
    np.testing.assert_allclose(largest.cells, [[[0.6, 1.8]]], rtol=1e-6)
    assert mean.size == largest.size == (128, 128, 128)
    with pytest.raises(ValueError, match=r"\['silent'\] have no heatmap"):
        fuse_grids(grids, weights | {"silent": 1.0})


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """A ball that a 3D and a 2D network see, and an empty tomogram: their candidates and the folder of their heatmaps.

    The networks answer with brightness; the 2D one sees every other slice.
    """
    solid = replace(RESNEXT50, name="solid", patch=(32, 64, 96))
    planar = replace(MAXVIT_TINY, name="planar", patch=(3, 64, 96))
    axes = np.ogrid[:60, :80, :130]
    squares = sum((axis - c) ** 2 for axis, c in zip(axes, BALL, strict=True))
    ball = (255 * np.exp(-squares / (2 * 18**2))).astype(np.uint8)
    tomograms = [Tomogram("ball", ball, 10.0), Tomogram("empty", np.zeros_like(ball), 10.0)]
    output = tmp_path_factory.mktemp("kept")
    seen = [
        (lambda tiles: (avg_pool3d(tiles, 16) - 128) / 16, solid, ["zyx", "zxy"]),
        (lambda tiles: (avg_pool2d(tiles.mean(dim=1, keepdim=True), 16) - 128) / 16, planar, ["yx"]),
    ]
    found = [
        detect_all(*each, tomograms, output, symmetries=names, threshold=0.01, save_heatmaps=True)
        for *each, names in seen
    ]
    return pd.concat(found), output


BALL = (33, 41, 72)
MEMBERS = (("solid", "zyx"), ("solid", "zxy"), ("planar", "yx"))


@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_fusing_finds_the_ball_that_all_networks_see(ensemble, method):
    """Within a cell, once, with a score between the lowest and the highest of the sources, nothing in the empty one."""
    candidates, output = ensemble
    weights, spacings = dict.fromkeys(MEMBERS, 1.0), {"ball": 10.0, "empty": 10.0}
    fused = combine(method, candidates, weights=weights, spacings=spacings, output=output)
    found = matching.best(fused)
    assert found["tomo_id"].tolist() == ["ball"] and found["run"].tolist() == ["ensemble"]
    assert np.abs(found[POINT].to_numpy() - BALL).max() * 10 <= 128
    scores = matching.best(candidates.assign(tomo_id=candidates["run"] + candidates["symmetry"]))["score"]
    assert len(scores) == 3 and scores.min() - 1e-3 <= found["score"].item() <= scores.max() + 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_where_a_member_failed_the_others_decide(ensemble, method):
    """As if it had no weight there; where all failed, nothing is found. Elsewhere it counts."""
    candidates, output = ensemble
    weights, spacings = dict.fromkeys(MEMBERS, 1.0), {"ball": 10.0, "empty": 10.0}
    here = {"spacings": spacings, "output": output}
    rest = candidates[candidates["run"] == "solid"]  # of a member that failed there are no candidates
    found = combine(method, rest, weights=weights, lost={"ball": MEMBERS[2:]}, **here)
    scores = matching.best(rest.assign(tomo_id=rest["symmetry"]))["score"]
    assert scores.min() - 1e-3 <= matching.best(found)["score"].item() <= scores.max() + 1e-3
    assert combine(method, candidates[:0], weights=weights, lost={"ball": MEMBERS}, **here).empty
    whole = combine(method, candidates, weights=weights, **here)
    assert combine(method, candidates, weights=weights, lost={"empty": MEMBERS}, **here).equals(whole)


def test_votes_are_counted_tomogram_by_tomogram():
    """By hand: three lists agree at 0.6; where one failed, that is the mean of two, and not two votes of three."""
    rows = [[name, 10.0, 20.0, 30.0, 0.6, *member] for name in ("b", "a") for member in MEMBERS]
    table = pd.DataFrame(rows, columns=[*tables.CANDIDATE]).astype(tables.CANDIDATE)
    weights = dict(zip(MEMBERS, (1.0, 1.0, 4.0), strict=True))
    where = {"spacings": {"a": 10.0, "b": 10.0}, "output": ""}
    part = table[~((table["tomo_id"] == "b") & (table["run"] == "planar"))]
    found = combine("distance", part, weights=weights, lost={"b": MEMBERS[2:]}, **where)
    assert found["tomo_id"].tolist() == ["a", "b"] and found["score"].tolist() == pytest.approx([0.6, 0.6])
    silent = combine("distance", part, weights=weights, **where)  # it looked, and saw nothing
    assert silent["score"].tolist() == pytest.approx([0.6, 0.6 / 2 * 2 / 3])


def test_only_sources_with_a_weight_take_part(ensemble):
    """One alone gives its own candidates, whatever the method; an unknown method is refused."""
    candidates, output = ensemble
    settings = {"weights": {("planar", "yx"): 1.0}, "spacings": {"ball": 10.0}, "output": output}
    alone = candidates[candidates["run"] == "planar"]
    for method in METHODS:
        found = matching.best(combine(method, candidates, **settings))
        np.testing.assert_allclose(found[[*POINT, "score"]], matching.best(alone)[[*POINT, "score"]], rtol=2e-3)
    for weights in ({("planar", "yx"): 0.0}, {("planar", "yx"): 2.0, ("solid", "zyx"): -1.0}, {}):
        with pytest.raises(ValueError, match="at least one member more than 0, and none less"):
            combine("mean", candidates, **settings | {"weights": weights})
    with pytest.raises(ValueError, match="choose one of distance, boxes, mean, max"):
        combine("median", candidates, **settings)


@pytest.mark.parametrize("method", METHODS)
def test_a_vote_of_nothing_is_no_vote(method, ensemble):
    """A member with a weight of 0 changes nothing, not even through candidates it alone has."""
    candidates, output = ensemble
    settings = {"spacings": {"ball": 10.0, "empty": 10.0}, "output": output}
    weights = {("planar", "yx"): 1.0, ("solid", "zxy"): 3.0}
    loud = candidates[(candidates["run"] == "solid") & (candidates["symmetry"] == "zyx")].assign(
        score=1.0, x=lambda table: table["x"] + 30
    )
    without = combine(method, candidates, weights=weights, **settings)
    with_it = combine(method, pd.concat([candidates, loud]), weights=weights | {("solid", "zyx"): 0.0}, **settings)
    pd.testing.assert_frame_equal(with_it, without)


@pytest.mark.parametrize("method", ["distance", "boxes"])
@pytest.mark.parametrize("votes", [0.2, 1.0, 5.0])
def test_only_the_proportions_of_votes_count(method, votes):
    """Two sources, three candidates 200 Å apart: no more than two votes, so 0.6 stays 0.6, however large votes are."""
    places = {"z": [10.0, 10.0, 10.0], "y": [20.0, 20.0, 20.0], "x": [30.0, 32.0, 34.0]}
    candidates = pd.DataFrame({"tomo_id": "a", **places, "score": 0.6, "run": ["one", "two", "two"], "symmetry": "zyx"})
    weights = {("one", "zyx"): votes, ("two", "zyx"): votes}
    fused = combine(method, candidates, weights=weights, spacings={"a": 100.0}, output="")
    np.testing.assert_allclose(matching.best(fused)[[*POINT, "score"]], [[10, 20, 32, 0.6]], rtol=1e-6)


@pytest.mark.parametrize("method", ["distance", "boxes"])
def test_the_radius_is_that_of_each_tomograms_spacing(method):
    """Candidates 62 voxels apart: 620 Å at 10 Å, one motor; 1222 Å at 19.7 Å, two."""
    rows = [(name, 31.0, 40.5, x, 0.6, run) for name in "ab" for x, run in ((20.0, "one"), (82.0, "two"))]
    weights = dict.fromkeys((("one", "zyx"), ("two", "zyx")), 1.0)
    fused = combine(method, table(*rows), weights=weights, spacings={"a": 10.0, "b": 19.7}, output="")
    assert fused["tomo_id"].tolist() == ["a", "b", "b"]
    np.testing.assert_allclose(fused["score"], [0.6, 0.3, 0.3], rtol=1e-5)


def test_rows_of_minus_one_never_vote_and_what_reaches_the_limit_does():
    """However high their score, with one coordinate of -1 or three; a score of exactly `skip` is no lower than it."""
    rows = [("a", -1, -1, -1, 0.9, "one"), ("a", -1, 30, 40, 0.9, "two"), ("a", 21.5, 30, 40, 0.2, "one")]
    fused = wbf.fuse(table(*rows), radius_voxels=9, weights={("one", "zyx"): 1.0}, skip=0.2)
    assert fused[[*POINT, "score"]].to_numpy().tolist() == [[21.5, 30, 40, 0.2]]


def test_candidates_of_a_heatmap_keep_1000_angstrom_from_each_other():
    """Peaks 7 cells of 128 Å apart are one candidate, peaks 8 cells apart two."""
    cells = np.zeros((3, 5, 22))
    cells[1, 2, [3, 10, 18]] = 0.9, 0.8, 0.7
    found = grid(cells).candidates("a", "one", "zyx", threshold=0.1)
    np.testing.assert_allclose(found["score"], [0.9, 0.7], rtol=1e-6)


def test_a_mean_of_heatmaps_weighs_them_and_one_vote_of_two_halves_a_score():
    """By hand: 0.9 and 0.3 with the weights 3 and 1 are 0.75."""
    grids = {("one", "zyx"): grid(np.full((2, 3, 4), 0.9)), ("two", "zyx"): grid(np.full((2, 3, 4), 0.3))}
    mean = fuse_grids(grids, {("one", "zyx"): 3.0, ("two", "zyx"): 1.0})
    np.testing.assert_allclose(mean.cells, 0.75, rtol=1e-6)


def test_an_ensemble_of_before_is_read_by_the_names_of_today(tmp_path):
    """What is called a method was called a way."""
    text = '\ufeff{"way": "mean", "ways": {"mean": {"F2": 0.5}}, "skip": 0.05}'  # an editor's mark means nothing
    (tmp_path / "ensemble.json").write_text(text, encoding="utf-8")
    assert tables.read_ensemble(tmp_path / "ensemble.json") == {
        "method": "mean",
        "methods": {"mean": {"F2": 0.5}},
        "skip": 0.05,
    }


@pytest.mark.parametrize(
    ("cut", "voters", "expected"),
    [
        ({"cut": "threshold"}, [("a", "zyx"), ("b", "yx")], {"threshold": 0.31}),
        ({"cut": "threshold"}, [("a", "zyx")], {"quantile": 0.55}),  # b is missing: the threshold is of both
        ({"cut": "quantile"}, [("a", "zyx"), ("b", "yx")], {"quantile": 0.55}),
        ({}, [("a", "zyx"), ("b", "yx")], {"quantile": 0.55}),  # the author's settings, and those of before
    ],
)
def test_a_threshold_is_for_the_whole_ensemble_a_quantile_for_any_part(cut, voters, expected):
    """A member without a weight is not waited for."""
    rows = [("a", "zyx", 2.0), ("b", "yx", 0.5), ("c", "yx", 0)]
    members = [dict(zip(("run", "symmetry", "weight"), row, strict=True)) for row in rows]
    settings = {"members": members, "quantile": 0.55, "threshold": 0.31} | cut
    assert select.cut_of(settings, voters) == expected


def test_an_unknown_cut_is_refused():
    """By name."""
    with pytest.raises(ValueError, match="'median'.*threshold, quantile"):
        select.cut_of({"cut": "median", "members": []}, [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "0.3"])
def test_a_cut_that_is_no_number_is_refused(value):
    """No score reaches NaN, and every score does not reach it: everything or nothing would be a motor."""
    with pytest.raises(ValueError, match=f"the threshold of the ensemble is {value!r}: correct ensemble.json"):
        select.cut_of({"cut": "threshold", "threshold": value, "members": []}, [])
    with pytest.raises(ValueError, match="the quantile of the ensemble is None: correct ensemble.json"):
        select.cut_of({"members": []}, [])


def test_a_threshold_does_not_mind_how_many_tomograms_have_a_motor():
    """Scores of 0.9 are motors, of 0.2 none: at 0.5 all are right, at the median only if half are."""
    for motors in (1, 2, 3):
        scores = [0.9 + k / 100 for k in range(motors)] + [0.2 + k / 100 for k in range(4 - motors)]
        table = pd.DataFrame({"tomo_id": list("abcd"), "z": 1.0, "y": 2.0, "x": 3.0, "score": scores})
        answered = [
            (select.detections(table, "abcd", **cut).z >= 0).sum() for cut in ({"threshold": 0.5}, {"quantile": 0.5})
        ]
        assert answered == [motors, 2]
