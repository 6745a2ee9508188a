"""What is handed in is complete, finite, inside the tomograms, and written whole or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given, strategies as st

from motors import matching
from motors.detection.queue import detect_all
from motors.ensemble import select
from motors.experiments import catalogue
from motors.kaggle import submission
from motors.networks.factory import build
from motors.volumes import formats
from motors.volumes.mrc import write_mrc
from motors.volumes.slices import write_slices
from motors.workspace.paths import Workspace

IDS = ["tomo_a", "tomo_b", "tomo_c"]
SHAPES = {"tomo_a": (48, 64, 96), "tomo_b": (64, 96, 48)}
COLUMNS = ["tomo_id", "Motor axis 0", "Motor axis 1", "Motor axis 2"]
NONE = [-1.0, -1.0, -1.0]


def answers(rows: list[list]) -> pd.DataFrame:
    """Return answers as candidates are: one row per found motor, with a score."""
    return pd.DataFrame([[*row, 0.5] for row in rows], columns=["tomo_id", "z", "y", "x", "score"])


@pytest.fixture
def good() -> pd.DataFrame:
    """One motor, in the tomogram whose shape is (64, 96, 48)."""
    return submission.frame(answers([["tomo_b", 10.0, 20.5, 30.25]]), IDS)


def test_a_tomogram_without_an_answer_gets_minus_ones_and_the_order_is_that_of_the_ids(good):
    """The columns are those of the competition's sample."""
    assert list(good) == COLUMNS
    assert good.to_numpy().tolist() == [["tomo_a", *NONE], ["tomo_b", 10.0, 20.5, 30.25], ["tomo_c", *NONE]]


def test_no_answer_at_all_is_a_submission_too():
    """Every tomogram then has no motor."""
    for none in (answers([]), answers([["tomo_a", *NONE]])):
        assert submission.frame(none, IDS)[COLUMNS[1:]].to_numpy().tolist() == [NONE] * 3


def test_an_answer_to_an_unknown_tomogram_and_a_second_answer_are_refused():
    """Candidates of other tomograms are a mistake, and of two answers one is wrong."""
    with pytest.raises(ValueError, match="the detections: tomogram tomo_z is not asked for"):
        submission.frame(answers([["tomo_z", 1, 2, 3]]), IDS)
    with pytest.raises(ValueError, match="the detections: tomogram tomo_a is there twice: keep one row"):
        submission.frame(answers([["tomo_a", 1, 2, 3], ["tomo_a", *NONE]]), IDS)


def test_the_file_is_plain(good, tmp_path):
    """No index, no exponents, no padding zeros."""
    table = good.assign(**{"Motor axis 2": [-1.0, 1e-7, -1.0], "Motor axis 0": [-1.0, 10.0, -1.0]})
    path = submission.write(tmp_path / "submission.csv", table, IDS)
    assert path.read_text() == (
        "tomo_id,Motor axis 0,Motor axis 1,Motor axis 2\ntomo_a,-1,-1,-1\ntomo_b,10,20.5,0.0000001\ntomo_c,-1,-1,-1\n"
    )


@examples(25)
@given(point=st.tuples(st.floats(0, 63.5), st.floats(0, 95.5), st.floats(0, 47.5)), order=st.permutations(IDS))
def test_what_is_written_is_read_back(point, order, tmp_path_factory):
    """Whatever the order of the ids."""
    path = tmp_path_factory.mktemp("round") / "submission.csv"
    table = submission.frame(answers([["tomo_b", *point]]), order)
    submission.write(path, table, IDS, SHAPES)
    found = submission.read_and_validate(path, reversed(IDS), SHAPES)
    pd.testing.assert_frame_equal(found, table, check_dtype=False, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "has a coordinate that is not a finite number: write a position, or -1 -1 -1"),
        (np.inf, "has a coordinate that is not a finite number"),
        ("here", "has a coordinate that is not a finite number"),
        (-0.25, "has a coordinate below 0: write a position, or -1 -1 -1"),
        (-1.0, "has a coordinate below 0"),
        (63.75, "has its motor outside its shape: give voxels of the original tomogram"),
    ],
)
def test_a_position_that_cannot_be_is_refused_and_nothing_is_written(good, tmp_path, value, message):
    """The old file stays as it was; the sentence names the new one and the tomogram."""
    path = tmp_path / "submission.csv"
    path.write_text("old")
    table = good.astype({"Motor axis 0": object})
    table.loc[1, "Motor axis 0"] = value
    with pytest.raises(ValueError, match=f"submission.csv.*: tomogram tomo_b {message}"):
        submission.write(path, table, IDS, SHAPES)
    assert [file.name for file in tmp_path.iterdir()] == ["submission.csv"]
    assert path.read_text() == "old"
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match=f"submission.csv.*: tomogram tomo_b {message}"):
        submission.read_and_validate(path, IDS, SHAPES)


def test_a_shape_that_is_not_known_is_not_checked(good):
    """The shapes of some tomograms, or of none, will do."""
    table = good.replace(10.0, 63.75)
    assert submission.validate(table, IDS) is table
    assert submission.validate(table, IDS, {"tomo_a": (48, 64, 96)}) is table


def test_the_first_id_that_is_missing_unknown_or_repeated_is_named(good):
    """Each tomogram of the test set is to be there exactly once."""
    with pytest.raises(ValueError, match="tomogram tomo_b is missing: add a row, -1 -1 -1 for no motor"):
        submission.validate(good.drop(index=1), IDS)
    with pytest.raises(ValueError, match="tomogram tomo_c is not asked for: remove the row, or add the id"):
        submission.validate(good, IDS[:2])
    with pytest.raises(ValueError, match="tomogram tomo_a is there twice: keep one row"):
        submission.validate(pd.concat([good, good[:1]]), IDS)
    with pytest.raises(ValueError, match="the list of ids: tomogram tomo_a is listed twice"):
        submission.validate(good, [*IDS, "tomo_a"])


def test_columns_are_those_of_the_competition_and_in_its_order(good):
    """A further column, a missing one, or another order is refused."""
    for wrong in (good.assign(score=0.5), good[COLUMNS[:3]], good[COLUMNS[::-1]]):
        with pytest.raises(ValueError, match=r"the submission has the columns .*: make them tomo_id, Motor axis 0"):
            submission.validate(wrong, IDS)


def test_a_missing_file_is_named(tmp_path):
    """Nothing is made up in its place."""
    with pytest.raises(FileNotFoundError, match="submission.csv is not there"):
        submission.read_and_validate(tmp_path / "submission.csv", IDS)


def test_shapes_are_those_of_whole_stacks(tmp_path):
    """Of one that lacks a slice, or is not there, nobody knows how far it reaches."""
    folders = {name: tmp_path / name for name in ("whole", "gap", "nowhere")}
    for name in ("whole", "gap"):
        write_slices(folders[name], np.zeros((4, 24, 40), np.uint8))
    (folders["gap"] / "slice_0001.jpg").unlink()
    assert submission.shapes(folders) == {"whole": (4, 24, 40)}


def test_more_failures_than_may_be_are_a_loud_error():
    """A fifth of five is one; the sentence has the commonest reason."""
    faults = pd.DataFrame([["a", "read", "no slices"], ["b", "read", "no slices"], ["c", "predict", "NaN"]])
    faults.columns = ["tomo_id", "stage", "reason"]
    names = list("abcde")
    submission.refuse_failures(faults[:1], names)
    submission.refuse_failures(faults[:0], [], most=0)
    with pytest.raises(
        RuntimeError, match="3 of 5 tomograms failed, more than 20%: see faults.csv, such as: no slices"
    ):
        submission.refuse_failures(faults, names)


def test_on_kaggle_it_is_put_where_it_is_looked_for_and_at_home_it_stays(good, tmp_path):
    """There that is the working folder itself, with the same bytes; here nothing more is written."""
    for name, handed in (("working", "submission.csv"), ("outputs", "90_submit/full/submission.csv")):
        outputs = tmp_path / name
        run = Workspace(tmp_path, outputs, ()).run("90_submit", "full")
        written = submission.write(run.output / "submission.csv", good, IDS)
        assert submission.hand_in(run, written) == outputs / handed
        assert (outputs / handed).read_bytes() == written.read_bytes()
    assert not (tmp_path / "outputs" / "submission.csv").exists()


def test_the_sample_of_the_competition_is_accepted_and_written_as_it_came(real, tmp_path):
    """Three tomograms, each answered with 100, 100, 100."""
    sample, ids = real / "labels" / "sample_submission.csv", ["tomo_003acc", "tomo_00e047", "tomo_01a877"]
    table = submission.read_and_validate(sample, ids)
    written = submission.write(tmp_path / "submission.csv", table, ids)
    assert written.read_text().split() == sample.read_text().split()


def test_real_tomograms_become_a_submission_whatever_they_are_stored_as(real, tmp_path):
    """Seven real volumes as slices and one more as MRC, which knows its 10.52 Å; the others are given 13.1 Å.

    The network has never learnt anything: that each gets an answer, inside it, is all that is asked.
    """
    files = sorted((real / "volumes").iterdir())
    stacks = {
        path.stem: np.load(path)["volume"] if path.suffix == ".npz" else formats.read(path, spacing=10.52).voxels
        for path in files
    }
    paths = {name: write_slices(tmp_path / name, stack) for name, stack in stacks.items()}
    paths["as_mrc"] = write_mrc(tmp_path / "as_mrc.mrc", stacks["13pf_MT"], 10.52)
    assert formats.read(paths["as_mrc"]).spacing == pytest.approx(10.52, abs=1e-3)
    shapes = {name: stacks.get(name, stacks["13pf_MT"]).shape for name in paths}
    experiment = catalogue.of("resnext50", "demo")
    network, nominal = build(experiment).eval(), dict.fromkeys(stacks, 13.1)
    found = detect_all(network, experiment, paths, tmp_path, spacing=nominal, threshold=0.0, batch=8)
    table = submission.frame(select.detections(matching.best(found), list(paths), quantile=0.0), list(paths))
    path = submission.write(tmp_path / "submission.csv", table, list(paths), shapes)
    handed = submission.read_and_validate(path, list(paths), shapes)
    assert len(handed) == 8
    assert (handed[COLUMNS[1:]] >= 0).all(axis=None)
