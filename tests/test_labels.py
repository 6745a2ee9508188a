"""Labels survive every form they are written in, and tables that contradict themselves are refused."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given, strategies as st

from motors.labels import formats, joining
from motors.labels.consensus import consensus
from motors.labels.external import gather, read_external, read_native, read_points
from motors.labels.folds import folds
from motors.labels.formats import read_competition, write_competition, wrong_counts
from motors.labels.table import Labels
from motors.labels.wide import read_wide, to_wide
from motors.tables import MOTORS, TOMOGRAMS, TableWarning, numbers, read_table, refuse

HEADER = (
    "row_id,tomo_id,Motor axis 0,Motor axis 1,Motor axis 2,Array shape (axis 0),Array shape (axis 1),"
    "Array shape (axis 2),Voxel spacing,Number of motors"
)
EMPTY = "0,tomo_a,-1.0,-1.0,-1.0,48,64,96,15.6,0"
ONE = "1,tomo_b,10.0,20.5,30.0,48,64,96,13.1,1"
TWO = "2,tomo_c,1.0,2.0,3.0,64,96,48,13.1,2\n3,tomo_c,4.0,5.0,6.0,64,96,48,13.1,2"


def table(*rows: str) -> str:
    """Return the text of a competition file."""
    return "\n".join([HEADER, *rows]) + "\n"


@pytest.fixture
def three(tmp_path) -> Labels:
    """Three tomograms with no, one and two motors."""
    (tmp_path / "three.csv").write_text(table(EMPTY, ONE, TWO))
    return read_competition(tmp_path / "three.csv")


@st.composite
def some_labels(draw) -> Labels:
    """Return a few tomograms of three different sides with a few motors each."""
    ids = draw(st.lists(st.text("abcdef0123456789", min_size=1, max_size=6), min_size=1, max_size=5, unique=True))
    tomograms, motors = [], []
    for tomo_id in ids:
        sides = draw(st.lists(st.integers(8, 900), min_size=3, max_size=3, unique=True))
        tomograms.append([f"tomo_{tomo_id}", *sides, draw(st.sampled_from([6.5, 13.1, 15.6, 19.7]))])
        inside = st.tuples(*(st.floats(-0.5, side - 0.5) for side in sides))
        motors += [[f"tomo_{tomo_id}", *point] for point in draw(st.lists(inside, max_size=4, unique=True))]
    motors = pd.DataFrame(motors, columns=MOTORS).astype(dict.fromkeys("zyx", float))
    return Labels(pd.DataFrame(tomograms, columns=TOMOGRAMS), motors)


def assert_same(one: Labels, other: Labels) -> None:
    """Compare both tables of two labels."""
    for name in ("tomograms", "motors"):
        left, right = getattr(one, name), getattr(other, name)
        pd.testing.assert_frame_equal(left, right, check_dtype=False, rtol=1e-12, atol=1e-12)


def test_a_row_of_minus_ones_is_a_tomogram_without_a_motor(three):
    """The competition marks the absence of motors by a point that is none."""
    assert three.of("tomo_a").shape == (0, 3)
    assert three.of("tomo_b").tolist() == [[10.0, 20.5, 30.0]]
    assert three.counts().to_dict() == {"tomo_a": 0, "tomo_b": 1, "tomo_c": 2}
    assert three.shapes() == {"tomo_a": (48, 64, 96), "tomo_b": (48, 64, 96), "tomo_c": (64, 96, 48)}


def test_rows_are_counted_and_the_stated_number_is_reported_where_it_is_wrong(tmp_path):
    """A tomogram that claims two motors and has one row has one motor."""
    (tmp_path / "labels.csv").write_text(table(EMPTY, ONE.replace(",13.1,1", ",13.1,2"), TWO))
    wrong = wrong_counts(tmp_path / "labels.csv")
    assert wrong.to_numpy().tolist() == [["tomo_b", 2, 1]]
    assert read_competition(tmp_path / "labels.csv").counts()["tomo_b"] == 1


def test_a_competition_without_any_motor_is_a_competition(tmp_path):
    """Empty tables keep their form, even if a tomogram is called z."""
    tomograms = pd.DataFrame([["z", 48, 64, 96, 15.6], ["y", 64, 48, 96, 15.6]], columns=TOMOGRAMS)
    empty = Labels(tomograms, pd.DataFrame(columns=MOTORS))
    assert empty.rows()["has_motor"].tolist() == [False, False]
    assert to_wide(empty)["motor_zyx"].tolist() == ["[]", "[]"]
    write_competition(tmp_path / "labels.csv", empty)
    formats.write(tmp_path / "folder", empty)
    for read in (read_competition(tmp_path / "labels.csv"), formats.read(tmp_path / "folder")):
        assert joining.join(read, empty).counts().to_dict() == {"z": 0, "y": 0}
        assert read.of("z").shape == (0, 3)


def test_what_the_competition_does_not_know_stays_with_its_motor(tmp_path):
    """Later tables say where a motor comes from."""
    rows = [HEADER + ",source", EMPTY + ",origin", ONE + ",round1"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    found = read_competition(tmp_path / "labels.csv")
    assert found.motors.columns.tolist() == ["tomo_id", "z", "y", "x", "source"]
    formats.write(tmp_path / "folder", found)
    assert formats.read(tmp_path / "folder").motors["source"].tolist() == ["round1"]


@examples(20)
@given(made=some_labels())
def test_labels_survive_the_competitions_form(made, tmp_path_factory):
    """Writing one row per motor and reading it gives the same labels."""
    path = tmp_path_factory.mktemp("round") / "labels.csv"
    write_competition(path, made)
    assert_same(read_competition(path), made)
    assert wrong_counts(path).empty


@examples(20)
@given(made=some_labels())
def test_labels_survive_one_row_per_tomogram_and_a_folder(made, tmp_path_factory):
    """Neither the list of motors in one cell nor two files lose anything."""
    folder = tmp_path_factory.mktemp("round")
    wide = to_wide(made)
    wide.to_csv(folder / "wide.csv", index=False)
    assert_same(read_wide(folder / "wide.csv"), made)
    formats.write(folder, made)
    assert_same(formats.read(folder), made)


def test_the_wide_table_repeats_the_first_motor_and_lists_all(three):
    """One row per tomogram, in the columns of the original solution."""
    wide = to_wide(three)
    first = ["motor_z", "motor_y", "motor_x"]
    assert list(wide) == ["tomo_id", "Z", "Y", "X", "voxel_spacing", "num_motors", *first, "motor_zyx"]
    assert wide[first].to_numpy().tolist() == [[-1, -1, -1], [10.0, 20.5, 30.0], [1, 2, 3]]
    assert wide["motor_zyx"].tolist() == ["[]", "[[10.0, 20.5, 30.0]]", "[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]"]


@pytest.mark.parametrize(
    "text", ["[[float(k) for k in (1, 2, 3)]]", "[[1.0, 2.0]]", "[[1, 2], [3, 4], [5, 6]]", "nan", '[["a", "b", "c"]]']
)
def test_a_list_of_motors_is_read_never_run(three, tmp_path, text):
    """The original evaluated this cell as code."""
    to_wide(three).assign(motor_zyx=text).to_csv(tmp_path / "wide.csv", index=False)
    with pytest.raises(ValueError, match=r"wide.csv, line 2: tomogram tomo_a has motor_zyx"):
        read_wide(tmp_path / "wide.csv")


def test_a_wide_row_whose_number_of_motors_is_not_that_of_its_list_is_refused(three, tmp_path):
    """Here there are two numbers, and no telling which is right."""
    to_wide(three).assign(num_motors=1).to_csv(tmp_path / "wide.csv", index=False)
    with pytest.raises(ValueError, match=r"wide.csv.*: tomogram tomo_a has another num_motors"):
        read_wide(tmp_path / "wide.csv")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([EMPTY, ONE.replace("10.0", "")], "tomogram tomo_b has a motor without a position: write three numbers"),
        ([EMPTY, ONE.replace("10.0", "inf")], "tomogram tomo_b has a motor without a position"),
        (
            [EMPTY, ONE.replace("10.0", "48.0")],
            "tomogram tomo_b has a motor outside its shape: check the order z, y, x",
        ),
        ([EMPTY, ONE.replace("10.0", "-0.6")], "tomogram tomo_b has a motor outside its shape"),
        (
            [EMPTY, ONE.replace("10.0", "-1.0")],
            "tomogram tomo_b has -1 in some coordinates only: write -1 in all three",
        ),
        ([EMPTY, ONE.replace("13.1", "0.0")], "tomogram tomo_b has no true shape or spacing: give voxels and ångström"),
        ([EMPTY, ONE.replace("13.1", "")], "tomogram tomo_b has no true shape or spacing"),
        ([EMPTY, ONE.replace("13.1", "fine")], "tomogram tomo_b has no true shape or spacing"),
        ([EMPTY, ONE.replace("10.0", "1o.0")], "tomogram tomo_b has a motor without a position"),
        (
            [TWO.replace("48,13.1,2", "48,13.10,2", 1), ONE.replace("13.1", "13.1A")],
            "tomogram tomo_b has no true shape",
        ),
        ([EMPTY, ONE, EMPTY.replace("tomo_a", "tomo_b")], "tomogram tomo_b has rows that disagree on its shape"),
        ([EMPTY, EMPTY, ONE], r"tomogram tomo_a has a row -1 -1 -1 among others \(2 such rows\): remove that row"),
        ([ONE, ONE.replace("10.0,20.5,30.0", "-1,-1,-1")], "tomogram tomo_b has a row -1 -1 -1 among others"),
        ([EMPTY, ONE, ONE], "tomogram tomo_b has the same motor twice: keep one row"),
        ([ONE, ONE.replace("10.0", "11.0").replace("13.1", "")], "tomogram tomo_b has rows that disagree on its shape"),
        ([EMPTY.replace("tomo_a", "")], "tomogram has no id: name the tomogram of every row"),
    ],
)
def test_a_competition_file_that_cannot_be_true_is_refused_by_name(tmp_path, rows, message):
    """The sentence names the file, the tomogram, and what to do."""
    (tmp_path / "labels.csv").write_text(table(*rows))
    with pytest.raises(ValueError, match=f"labels.csv.*: {message}"):
        read_competition(tmp_path / "labels.csv")


def test_a_file_without_a_column_or_no_file_is_refused_by_name(tmp_path):
    """Missing columns are listed together with those that are there."""
    (tmp_path / "labels.csv").write_text(table(EMPTY).replace("Voxel spacing", "spacing"))
    with pytest.raises(ValueError, match=r"labels.csv has no column Voxel spacing, only row_id.*add it"):
        read_competition(tmp_path / "labels.csv")
    with pytest.raises(FileNotFoundError, match="nowhere.csv is not there"):
        read_wide(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is not a table \(its first line has no columns\): correct it"),
        (b"tomo_id,z\na,1\nb,2,3,4\n", "line 3: 4 values for 2 columns: correct the line"),
        (b"tomo_id,z\na,1,\nb,2,\n", "line 2: 3 values for 2 columns: correct the line"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe,1\n", r"is not a table \(line 1: 'utf-8.*codec can't decode.*\): correct it"),
    ],
    ids=["empty", "one row too long", "all rows too long", "a picture"],
)
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path, content, message):
    """In one line, whatever pandas calls it."""
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"^labels.csv,? {message}") as error:
        read_table(tmp_path / "labels.csv", ["tomo_id"])
    assert "\n" not in str(error.value)


def test_a_folder_with_a_motor_of_an_unknown_tomogram_or_a_repeated_id_is_refused(three, tmp_path):
    """Both tables of a folder have to agree."""
    formats.write(tmp_path / "lost", three)
    three.tomograms[1:].to_csv(tmp_path / "lost" / "tomograms.csv", index=False)
    three.motors.assign(tomo_id="tomo_z").to_csv(tmp_path / "lost" / "motors.csv", index=False)
    with pytest.raises(
        ValueError, match=r"motors.csv, line 2: tomogram tomo_z has a motor but no shape and spacing .*add them"
    ):
        formats.read(tmp_path / "lost")
    twice = Labels(pd.concat([three.tomograms, three.tomograms[:1]]), three.motors)
    with pytest.raises(ValueError, match="labels: tomogram tomo_a is listed twice: keep one row"):
        formats.write(tmp_path / "twice", twice)
    assert not (tmp_path / "twice").exists()


def test_selecting_keeps_the_motors_of_the_selected_and_refuses_strangers(three):
    """Any iterable of ids will do."""
    assert three.select(["tomo_c", "tomo_a"]).counts().to_dict() == {"tomo_a": 0, "tomo_c": 2}
    with pytest.raises(ValueError, match="tomogram tomo_z is not among the labelled ones"):
        three.select(["tomo_a", "tomo_z"])
    with pytest.raises(ValueError, match="tomogram tomo_z"):
        three.of("tomo_z")


def test_joining_parts_gives_the_whole_and_joining_twice_changes_nothing(three):
    """Tomograms and motors that occur twice are kept once; new motors are added."""
    parts = [three.select([tomo_id]) for tomo_id in three.tomograms["tomo_id"]]
    assert_same(joining.join(*parts), three)
    assert_same(joining.join(three, three), three)
    more = Labels(three.tomograms[:1], pd.DataFrame([["tomo_a", 5.0, 6.0, 7.0]], columns=MOTORS))
    assert joining.join(three, more).counts().to_dict() == {"tomo_a": 1, "tomo_b": 1, "tomo_c": 2}


@pytest.mark.parametrize(("column", "value"), [("size_z", 49), ("spacing", 16.0)])
def test_labels_in_different_frames_do_not_join(three, column, value):
    """Points of a resampled tomogram must not mix with points of the original."""
    other = Labels(three.tomograms.assign(**{column: value}), three.motors)
    with pytest.raises(ValueError, match=r"tomogram tomo_a comes with different shapes or spacings.*one frame"):
        joining.join(three, other)


def many(counts: list[int]) -> Labels:
    """Return tomograms with these numbers of motors."""
    ids = [f"tomo_{k:03d}" for k in range(len(counts))]
    tomograms = pd.DataFrame({"tomo_id": ids, "size_z": 48, "size_y": 64, "size_x": 96, "spacing": 13.1})
    rows = [[tomo_id, float(k), 1.0, 2.0] for tomo_id, n in zip(ids, counts, strict=True) for k in range(n)]
    return Labels(tomograms, pd.DataFrame(rows, columns=MOTORS))


def test_every_fold_has_the_same_share_of_motors_and_several_motors_always_train():
    """Eight tomograms without, eight with a motor: two of each in each of four folds; the ninth kind is in none."""
    counts = [0, 1] * 8 + [2, 3]
    table = folds(many(counts)).assign(motors=counts)
    assert table.loc[table["motors"] > 1, "fold"].tolist() == [-1, -1]
    assert table[table["motors"] <= 1].groupby(["fold", "motors"]).size().tolist() == [2] * 8


@examples(20)
@given(order=st.permutations(range(16)), seed=st.integers(0, 1000))
def test_folds_do_not_depend_on_the_order_of_the_rows(order, seed):
    """Tomograms are sorted by id first."""
    made = many([0, 1, 0, 1] * 4)
    shuffled = Labels(made.tomograms.iloc[order], made.motors)
    pd.testing.assert_frame_equal(folds(shuffled, seed=seed), folds(made, seed=seed))


def test_a_tomogram_in_which_a_review_found_a_second_motor_leaves_its_fold_and_no_other_moves():
    """Later labels do not reshuffle the folds."""
    before = folds(many([0, 1] * 8))
    after = folds(many([0, 1] * 8), reviewed=many([0, 1] * 7 + [1, 2]))
    assert after["fold"].iloc[-1] == -1
    pd.testing.assert_frame_equal(after[:-1], before[:-1])


def test_more_folds_than_tomograms_are_refused():
    """Three tomograms cannot be held out in four folds."""
    with pytest.raises(ValueError, match="4 folds need 4 tomograms with equally many motors, here are 3"):
        folds(many([0, 0, 0, 1]))


def test_the_competitions_file_becomes_the_original_solutions_table(real):
    """648 tomograms, 451 motors, column by column; four counts of the file are wrong."""
    path = real / "labels" / "train_labels.csv"
    found = read_competition(path)
    assert (len(found.tomograms), len(found.motors)) == (648, 451)
    wide = to_wide(found)
    expected = pd.read_csv(real / "labels" / "gt.csv")[list(wide)]
    pd.testing.assert_frame_equal(wide, expected, check_exact=True)
    assert wrong_counts(path)["tomo_id"].tolist() == ["tomo_2b3cdf", "tomo_62eea8", "tomo_c84b8e", "tomo_e6f7f7"]


def test_the_competitions_file_is_written_as_it_came_except_for_its_wrong_counts(real, tmp_path):
    """All other lines are equal to the letter."""
    path = real / "labels" / "train_labels.csv"
    write_competition(tmp_path / "labels.csv", read_competition(path))
    pairs = zip((tmp_path / "labels.csv").read_text().splitlines(), path.read_text().splitlines(), strict=True)
    differing = [old.split(",")[1] for new, old in pairs if new != old]
    assert differing == ["tomo_2b3cdf", "tomo_62eea8", "tomo_c84b8e", "tomo_e6f7f7"]


@pytest.mark.parametrize(
    ("name", "tomograms", "motors", "positive"),
    [
        ("gt", 648, 451, 362),
        ("gt_v2", 648, 523, 417),
        ("gt_v3", 648, 577, 426),
        ("external_gt", 1287, 1668, 1287),
        ("all_gt", 1935, 2191, 1704),
        ("all_gt_v3", 1935, 2245, 1713),
    ],
)
def test_the_tables_of_the_original_solution_are_read(real, name, tomograms, motors, positive):
    """Each has the known numbers of tomograms, motors, and tomograms with a motor, and is written as it came."""
    found = read_wide(real / "labels" / f"{name}.csv")
    assert (len(found.tomograms), len(found.motors), np.sum(found.counts() > 0)) == (tomograms, motors, positive)
    wide = to_wide(found)
    expected = pd.read_csv(real / "labels" / f"{name}.csv")[list(wide)]
    pd.testing.assert_frame_equal(wide, expected, rtol=1e-12)


def test_the_joined_table_of_the_original_solution_is_the_join_of_its_parts(real):
    """Reviewed official labels and external labels have no tomogram in common."""
    parts = [read_wide(real / "labels" / f"{name}.csv") for name in ("gt_v3", "external_gt")]
    assert_same(joining.join(*parts), read_wide(real / "labels" / "all_gt_v3.csv"))


@pytest.mark.parametrize("splits", [4, 5])
@pytest.mark.parametrize(("version", "name"), [("v1", "gt"), ("v2", "gt_v2")])
def test_the_folds_are_those_of_the_original_solution_id_by_id(real, version, name, splits):
    """The same tomograms are held out together, and the same always train."""
    found = folds(read_wide(real / "labels" / f"{name}.csv"), splits=splits)
    recorded = json.loads((real / "labels" / "cv" / version / f"skf{splits}_rd42.json").read_text())["folds"]
    for number, fold in enumerate(recorded):
        held_out = found["fold"] == number
        assert set(found.loc[held_out, "tomo_id"]) == set(fold["val"])
        assert set(found.loc[~held_out, "tomo_id"]) == set(fold["train"])


def test_the_final_folds_of_the_original_solution_have_the_known_sizes(real):
    """Folds of the second table without what the third table knows to have several motors."""
    second, third = (read_wide(real / "labels" / f"gt_{version}.csv") for version in ("v2", "v3"))
    table = folds(second, reviewed=third)
    positive = table["tomo_id"].map(third.counts()) == 1
    sizes = [(np.sum(positive & (table["fold"] == k)), np.sum(~positive & (table["fold"] == k))) for k in range(4)]
    assert sizes == [(85, 56), (86, 56), (89, 56), (87, 54)]


def stored(**changes) -> pd.DataFrame:
    """Return one stored tomogram: 300 slices of 200 by 100 made into 150 of 100 by 50."""
    row = {"tomo_id": "run-1", "size_z": 150, "size_y": 100, "size_x": 50, "spacing": 16.0, "native_z": 300}
    return pd.DataFrame([row | changes])


def external(path, *rows: str) -> Labels:
    """Write labels of the fixed frame and read them for that tomogram."""
    path.write_text("\n".join(["z,y,x,tomo_id,dataset_id", *rows]))
    return read_external(path, stored())


def test_labels_of_a_fixed_frame_are_moved_to_the_stored_tomogram(tmp_path):
    """By hand: slice 127 of 128 is the last one, slice 64 is trunc(64 * 299 / 127) = 150; y and x scale to centres."""
    found = external(
        tmp_path / "labels.csv", "127,-0.5,511.5,run-1,10139", "64,255.5,0,run-1,10139", "9,9,9,run-2,10139"
    )
    assert found.tomograms["tomo_id"].tolist() == ["run-1"]
    expected = [[299.5 / 2 - 0.5, -0.5, 49.5], [150.5 / 2 - 0.5, 49.5, 0.5 / 512 * 50 - 0.5]]
    assert np.allclose(found.of("run-1"), expected)
    assert found.motors["dataset_id"].tolist() == [10139, 10139]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("64,nan,1,run-1,1", "labels.csv.*: tomogram run-1 has a motor without a position: write three numbers"),
        ("128,1,1,run-1,1", r"labels.csv.*: tomogram run-1 has a motor outside the frame \(128, 512, 512\): check"),
        ("64,1,512,run-1,1", "labels.csv.*: tomogram run-1 has a motor outside the frame"),
        ("64.5,1,1,run-1,1", "labels.csv.*: tomogram run-1 has a motor between two slices: write the number"),
        ("3,2,1,run-1,1", "labels.csv.*: tomogram run-1 has the same motor twice: keep one row"),
        ("64,1,1,,1", "has no id: name the tomogram"),
    ],
)
def test_labels_that_are_not_of_the_fixed_frame_are_refused(tmp_path, row, message):
    """The sentence names the file, the tomogram and what to do."""
    with pytest.raises(ValueError, match=message):
        external(tmp_path / "labels.csv", "3,2,1,run-1,1", row)


def test_capitals_in_a_header_are_another_column(tmp_path):
    """Z, Y, X are the sides of a tomogram in the original solution's tables, z, y, x the place of a motor."""
    (tmp_path / "a.csv").write_text("tomo_id,Z,Y,X\ntomo_A,3,2,1\n")
    with pytest.raises(ValueError, match="a.csv has no column z, y, x, only tomo_id, Z, Y, X: add it"):
        read_table(tmp_path / "a.csv", MOTORS)


def test_labels_in_another_frame_than_the_stored_tomogram_do_not_join(tmp_path):
    """Labels of the native volume would be off by the factor of the spacings."""
    there = external(tmp_path / "labels.csv", "64,255.5,0,run-1,10139")
    native = Labels(stored(size_z=300, size_y=200, size_x=100, spacing=8.0)[TOMOGRAMS], there.motors)
    with pytest.raises(ValueError, match=r"tomogram run-1 comes with different shapes or spacings.*one frame"):
        joining.join(there, native)


def test_additions_are_what_is_new_and_nothing_may_be_lost_or_moved(three):
    """A review adds motors; it does not touch those that are there."""
    more = pd.concat([three.motors, pd.DataFrame([["tomo_a", 5.0, 6.0, 7.0]], columns=MOTORS)])
    assert joining.additions(three, Labels(three.tomograms, more)).to_numpy().tolist() == [["tomo_a", 5.0, 6.0, 7.0]]
    assert joining.additions(three, three).empty
    with pytest.raises(ValueError, match=r"later labels: tomogram tomo_b has lost a motor, or it was moved"):
        joining.additions(three, Labels(three.tomograms, three.motors.assign(z=three.motors["z"] + 0.5)))
    with pytest.raises(ValueError, match=r"later labels: tomogram tomo_c is not as in the earlier ones"):
        joining.additions(three, three.select(["tomo_a", "tomo_b"]))


@pytest.mark.parametrize(
    ("before", "after", "motors", "tomograms"), [("gt", "gt_v2", 72, 59), ("gt_v2", "gt_v3", 54, 46)]
)
def test_the_original_solutions_reviews_only_added(real, before, after, motors, tomograms):
    """Nothing was removed or moved in either round."""
    tables = [read_wide(real / "labels" / f"{name}.csv") for name in (before, after)]
    new = joining.additions(*tables)
    assert (len(new), new["tomo_id"].nunique()) == (motors, tomograms)


def test_the_final_folds_hold_569_tomograms_out_and_external_ones_always_train(real):
    """What the third table knows to have several motors leaves the second table's folds; nothing else moves."""
    second, third = (read_wide(real / "labels" / f"gt_{version}.csv") for version in ("v2", "v3"))
    before, after = folds(second), folds(second, reviewed=third)
    assert after["fold"].value_counts().reindex(range(4)).tolist() == [141, 142, 145, 141]
    assert (after["fold"] >= 0).sum() == 569
    moved = before[before["fold"] != after["fold"]]["tomo_id"]
    assert (third.counts()[moved] > 1).all()
    assert set(after["tomo_id"]).isdisjoint(read_wide(real / "labels" / "external_gt.csv").tomograms["tomo_id"])


def test_converted_labels_are_those_that_the_original_solution_kept(real):
    """Of its external motors off the lattice of predictions, over 239 are labels converted as here, to half precision.

    Only tomograms that were stored at their native spacing tell their native number of slices, for z.
    """
    kept = read_wide(real / "labels" / "external_gt.csv")
    sizes = kept.tomograms.assign(native_z=kept.tomograms["size_z"])
    ours = read_external(real / "labels" / "brendanartley_external_labels.csv", sizes)
    assert (len(ours.tomograms), len(ours.motors)) == (1287, 1616)
    off = kept.motors[((kept.motors[["z", "y", "x"]] + 0.5) % 4 != 2).any(axis=1)]
    pairs = off.merge(ours.motors, on="tomo_id", suffixes=("", "_ours")).merge(sizes, on="tomo_id")
    pairs = pairs[((pairs["y"] - pairs["y_ours"]).abs() < 0.3) & ((pairs["x"] - pairs["x_ours"]).abs() < 0.3)]
    native = pairs[pairs["spacing"] > 16]
    assert len(pairs) >= 239
    assert len(native) >= 90
    assert ((native["z"] - native["z_ours"]).abs() < 0.3).sum() >= 0.98 * len(native)


# labels of others


STORED = pd.DataFrame(
    [["run1", 150, 300, 320, 16.0, 300, 600, 640], ["007", 150, 300, 320, 16.0, 300, 600, 640]],
    columns=[*TOMOGRAMS, "native_z", "native_y", "native_x"],
)


def test_points_of_the_portal_become_labels_of_the_stored_tomograms(tmp_path):
    """x, y, z by name, in voxels as they came: of twice as many here. An empty file is a tomogram without a motor."""
    record = {"type": "orientedPoint", "location": {"x": 300.5, "y": 200.5, "z": 100.5}, "xyz_rotation_matrix": []}
    (tmp_path / "run1.ndjson").write_text(json.dumps(record) + "\n")
    (tmp_path / "007.ndjson").write_text("")
    (tmp_path / "._run1.ndjson").write_bytes(b"\0\5\x16\7")
    found = read_points(tmp_path, STORED)
    assert found.motors.to_numpy().tolist() == [["run1", 50.0, 100.0, 150.0]]
    assert sorted(found.tomograms["tomo_id"]) == ["007", "run1"]
    (tmp_path / "run1.ndjson").write_text(json.dumps(record) + '\n{"type": "point", "location": {"x": 1}}\n')
    with pytest.raises(ValueError, match="run1.ndjson, line 2: no point"):
        read_points(tmp_path, STORED)


def annotator(tomograms: dict[str, list]) -> Labels:
    """Return what one person saw, at 13.1 ångström per voxel."""
    table = pd.DataFrame([[name, 300, 600, 640, 13.1] for name in tomograms], columns=TOMOGRAMS)
    motors = [[name, *point] for name, points in tomograms.items() for point in points]
    return Labels(table, pd.DataFrame(motors, columns=MOTORS).astype(dict.fromkeys("zyx", float)))


def test_two_files_of_points_of_one_tomogram_are_refused(tmp_path):
    """An accent may be spelt in two ways, and a mark without width be in a name: the last would have counted."""
    for twin in ("e\u0301", "\u200f\u00e9"):
        for name in ("\u00e9", twin):
            (tmp_path / twin / f"{name}.ndjson").parent.mkdir(exist_ok=True)
            (tmp_path / twin / f"{name}.ndjson").touch()
        with pytest.raises(ValueError, match="has 1 tomograms twice, perhaps spelt otherwise: keep one"):
            read_points(tmp_path / twin, STORED[:1].assign(tomo_id="\u00e9"))


def test_what_enough_annotators_saw_is_a_motor_and_the_rest_is_open():
    """76 voxels of 13.1 ångström are one motor, 77 are two; who has not seen a tomogram has no say in it."""
    people = {
        "one": annotator({"a": [[10, 20, 30], [200, 300, 400]], "b": [[5, 5, 5]]}),
        "two": annotator({"a": [[10, 20, 106]], "b": []}),
        "three": annotator({"a": [[200, 300, 477]]}),
    }
    labels = consensus(people, least=2)
    assert labels.motors.to_numpy().tolist() == [["a", 10.0, 20.0, 68.0, 2, 3]]
    assert labels.unsure.to_numpy().tolist() == [
        ["a", 200.0, 300.0, 400.0, 1, 3],
        ["a", 200.0, 300.0, 477.0, 1, 3],
        ["b", 5.0, 5.0, 5.0, 1, 2],
    ]
    everything = consensus(people, least=1)
    assert len(everything.motors) == 4 and everything.unsure.empty and sorted(labels.tomograms["tomo_id"]) == ["a", "b"]
    with pytest.raises(ValueError, match="4 of 3 annotators cannot agree"):
        consensus(people, least=4)


def test_a_consensus_takes_the_place_of_the_labels_of_its_tomograms():
    """The others stay; what is not labelled here is left out; another frame is refused."""
    known = annotator({"a": [[1, 2, 3]], "c": [[7, 8, 9]]})
    agreed = consensus({"one": annotator({"a": [[10, 20, 30]], "b": [[5, 5, 5]]}), "two": annotator({"a": []})})
    found = joining.updated(known, agreed)
    assert found.motors[MOTORS].to_numpy().tolist() == [["c", 7, 8, 9]]
    assert found.unsure[MOTORS].to_numpy().tolist() == [["a", 10, 20, 30]]
    assert sorted(found.tomograms["tomo_id"]) == ["a", "c"]
    with pytest.raises(ValueError, match="tomogram a comes with different shapes"):
        joining.updated(Labels(known.tomograms.assign(spacing=16.0), known.motors), agreed)


def test_what_is_unsure_stays_with_its_tomogram_wherever_labels_go(tmp_path):
    """Written, read, selected, joined; labels without such points leave no file of them behind."""
    labels = consensus({"one": annotator({"a": [[10, 20, 30]], "b": [[5, 5, 5]]}), "two": annotator({"a": []})})
    formats.write(tmp_path, labels)
    found = formats.read(tmp_path)
    assert found.unsure[MOTORS].to_numpy().tolist() == [["a", 10, 20, 30], ["b", 5, 5, 5]]
    assert found.select(["b"]).unsure["tomo_id"].tolist() == ["b"]
    assert len(joining.join(found.select(["a"]), found).unsure) == 2
    with pytest.raises(ValueError, match="point that is not sure outside its shape"):
        Labels(found.tomograms, found.motors, found.unsure.assign(z=300.0)).validate()
    formats.write(tmp_path, annotator({"a": [[10, 20, 30]]}))
    assert formats.read(tmp_path).unsure.empty


# tables


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("\ufefftomo_id,z,y,x\nrun1,64,5,7\n", ["run1", 64, 5, 7]),
        ("tomo_id,z,y,x\r\nrun1,64,5,7\r\n", ["run1", 64, 5, 7]),
        ("tomo_id,z,y,x\rrun1,64,5,7\r", ["run1", 64, 5, 7]),
        ("tomo_id;z;y;x\nrun1;64;5,5;7\n", ["run1", 64, 5.5, 7]),
        ("tomo_id\tz\ty\tx\nrun1\t64\t5.5\t7\n", ["run1", 64, 5.5, 7]),
        ("tomo_id, z, y, x\n run1 , 64, 5, 7\n", ["run1", 64, 5, 7]),
        ("tomo_id,z,y,x\n,,,\n\nNA,64,5,7\n,,,\n", ["NA", 64, 5, 7]),
        ("tomo_id,z,y,x\n007,64,5,7\n", ["007", 64, 5, 7]),
        ("tomo_id,z,y,x\n1e5,64,5,7\n", ["1e5", 64, 5, 7]),
        ("tomo_id,z,y,x\nnan,64,5,7\n", ["nan", 64, 5, 7]),
        ("tomo_id,z,y,x\nmy cell,64,5,7\n", ["my cell", 64, 5, 7]),
        ("tomo_id,z,y,x\nze\u0301,64,5,7\n", ["z\u00e9", 64, 5, 7]),
        ("tomo_id,z,y,x,,\nrun1,64,5,7,, \n   \n", ["run1", 64, 5, 7]),
        ("sep=;\r\ntomo_id;z;y;x\r\nrun1;64;5,5;7\r\n", ["run1", 64, 5.5, 7]),
        ('"tomo_id";"z";"y";"x"\n"001";"64";"5,5";"7,0"\n', ["001", 64, 5.5, 7]),
    ],
    ids="mark,Windows,Mac,semicolons,tabs,blanks,NA,007,1e5,nan,two words,macOS,empty columns,Excel,quoted".split(","),
)
def test_a_table_of_any_program_is_read_as_it_is_meant(tmp_path, text, row):
    """Ids are text whatever they look like."""
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    assert read_table(tmp_path / "a.csv", MOTORS).to_numpy().tolist() == [row]


@pytest.mark.parametrize(("typed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_table_is_found_however_a_disk_spells_an_accent(tmp_path, typed, stored):
    """Typed on one computer, copied from another."""
    path = tmp_path / unicodedata.normalize(stored, "Zellkörper/é.csv")
    path.parent.mkdir()
    path.write_text("tomo_id,z,y,x\nrun1,64,5,7\n")
    assert len(read_table(tmp_path / unicodedata.normalize(typed, "Zellkörper/é.csv"), MOTORS)) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tomo_id,z,y,x\n0,64,100,120,7\n1,65,101,121,8\n", "line 2: 5 values for 4 columns"),
        ("tomo_id,z,y,x\na,64,100,120\nb,65,101,121,\n", "line 3: 5 values"),
        ("tomo_id,z,y,x\na,64,100\n", "line 2: 3 values"),
        ("tomo_id,z,y,x,\na,64,100,120,\n0,b,65,101,121\n", "line 3: 5 values"),
        ("tomo_id,z,y,x\na,1,2,3\n,1,2,4\n", "line 3: tomogram has no id"),
        ('tomo_id,z,y,x\n"",1,2,3\n', "line 2: tomogram has no id"),
        ("tomo_id,z,y,x\na,64,100,5,7\n", "line 2: 5 values"),
        ("tomo_id,z,y,x,z\na,1,2,3,4\n", "the column 'z' twice"),
        ('tomo_id,z,y,x\nb,1,2,3\n"a,1,2,3\nb,1,2,3\n', r"is not a table \(line 3: unexpected end of data"),
        ('tomo_id,z,y,x,why\nb,1,2,3,"a\nb"\na,1,2,3,"\\"not\\" a"\n', r"is not a table \(line 4: ',' expected after"),
        ('tomo_id,z,y,x,why\na,1,2,3,"two\nlines"\nb,1,2,900,\n', "line 4: tomogram b has a motor outside"),
        ("tomo_id,z,y,x\na,1,2,3\n\nb,1,inf,3\n", "line 4: tomogram b has a motor without a position"),
        ("tomo_id,z,y,x\na,1,2,3\ntomo_id,z,y,x\nb,1,2,3\n", "line 3: the header is there again, of files joined"),
        ('tomo_id;z;y;x\n"tomo_id"; z ;y;x\na;1;2;3\n', "line 2: the header is there again, of files joined"),
    ],
)
def test_no_row_shifts_and_the_line_that_is_wrong_is_named(tmp_path, text, reason):
    """As an editor counts lines."""
    (tmp_path / "a.csv").write_text(text)
    stored = STORED.assign(tomo_id=["a", "b"])
    with pytest.raises(ValueError, match=f"a.csv.*{reason}"):
        read_external(tmp_path / "a.csv", stored)


@pytest.mark.parametrize(
    ("name", "known"), [("10139__my__run1", "my__run1"), ("1__007", "007"), ("10139__x", "10139__x"), ("a__b", "a__b")]
)
def test_only_the_number_of_a_dataset_is_taken_from_a_name(tmp_path, name, known):
    """The rest may have two underscores itself."""
    (tmp_path / "c.json").write_text(json.dumps({name: [[1, 2, 3]]}))
    found = read_native(tmp_path / "c.json", STORED.assign(tomo_id=[known, "other"]))
    assert found.motors["tomo_id"].tolist() == [known]


def test_a_tomogram_without_a_motor_is_known_from_an_external_table_too(tmp_path):
    """-1 -1 -1 is no motor outside the frame, and has_motor is believed or the row refused."""
    stored = STORED.assign(tomo_id=["a", "b"])
    (tmp_path / "a.csv").write_text("tomo_id,z,y,x,has_motor\na,1,2,3,Yes\nb,-1,-1,-1,0\n")
    found = read_external(tmp_path / "a.csv", stored)
    assert (found.tomograms["tomo_id"].tolist(), found.motors["tomo_id"].tolist()) == (["a", "b"], ["a"])
    (tmp_path / "a.csv").write_text("tomo_id,z,y,x,has_motor\na,1,2,3,Yes\nb,4,5,6,no\n")
    with pytest.raises(ValueError, match="line 3: tomogram b has has_motor against its position"):
        read_external(tmp_path / "a.csv", stored)


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_a_minus_of_print_is_a_minus(tmp_path, between):
    """Numbers on macOS, and Excel where numbers are Swedish, write U+2212, Word U+2013; a name stays what it is."""
    text = 'tomo_id,z,y,x\na,1,2,3\nb,\u22121,\u20131.0,"\u22121"\nrun\u22121,4,5,6\n'.replace(",", between)
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    found = read_external(tmp_path / "a.csv", STORED.iloc[[0] * 3].assign(tomo_id=["a", "b", "run\u22121"]))
    assert found.counts().to_dict() == {"a": 1, "b": 0, "run\u22121": 1}


def test_an_external_table_neither_contradicts_itself_nor_the_stored_tomograms(tmp_path):
    """A row of -1 beside a motor is a mistake; what it says of shapes is of the frame, and left alone."""
    stored = STORED.assign(tomo_id=["a", "b"])
    (tmp_path / "a.csv").write_text("tomo_id,z,y,x\nb,7,8,9\na,-1,-1,-1\na,1,2,3\n")
    with pytest.raises(ValueError, match="a.csv, line 3: tomogram a has a row -1 -1 -1 among others: remove that row"):
        read_external(tmp_path / "a.csv", stored)
    text = "tomo_id,z,y,x\na,1,2,3\nb,-1,-1,-1\n"
    (tmp_path / "a.csv").write_text(text)
    found = read_external(tmp_path / "a.csv", stored)
    (tmp_path / "b.csv").write_text("spacing,native_z,size_x,tomo_id,z,y,x\n9,8,7,a,1,2,3\n9,8,7,b,-1,-1,-1\n")
    again = read_external(tmp_path / "b.csv", stored)
    assert again.motors.equals(found.motors)
    assert again.tomograms.equals(found.tomograms)


def test_labels_of_tomograms_that_are_not_stored_are_counted(tmp_path):
    """None is left out without a word."""
    (tmp_path / "a.csv").write_text("tomo_id,z,y,x\nrun1,1,2,3\nRUN1,1,2,3\n")
    with pytest.warns(TableWarning, match="1 of 2 entries are of tomograms that are not stored, such as RUN1"):
        assert len(read_external(tmp_path / "a.csv", STORED).motors) == 1


def test_blank_lines_before_the_columns_are_passed_over(tmp_path):
    """As remarks are, and counted: the line that is blamed is that of the file."""
    path = tmp_path / "labels.csv"
    path.write_text("\n\ntomo_id,z\na,18.5\n", encoding="utf-8")
    assert read_table(path, ["tomo_id", "z"]).to_dict("list") == {"tomo_id": ["a"], "z": [18.5]}
    path.write_text("# by hand, in May\n#\ntomo_id,z\na,18.5\nb\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 5: 1 values for 2 columns: correct the line, or the header in line 3"):
        read_table(path)
    path.write_text("# by hand\n\n# tomo_id,z\n#7,18.5\n", encoding="utf-8")  # and ids may begin so
    assert read_table(path, ["tomo_id", "z"]).to_dict("list") == {"tomo_id": ["#7"], "z": [18.5]}
    path.write_bytes("tomo_id,z\na,18.5\nzé,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"labels.csv is not a table \(line 3: 'utf-8' codec can't decode"):
        read_table(path)
    path.write_bytes("tomo_id,z\na,18.5\n".encode("utf-16-le"))
    with pytest.raises(ValueError, match="it has zero bytes, as UTF-16 has"):
        read_table(path)


@pytest.mark.parametrize(
    "text",
    [
        "tomo_id\tz\ty\tx\na\t1,5\t-2,5\t3,5e0\nb\t4\t5\t6\n",
        "tomo_id;z;y;x\na;+1,5;-2,5;3,5\nb;4;5;6\n",
        'tomo_id, why, z, y, x\na, "near, but", 1.5, -2.5, 3.5\nb, , 4, 5, 6\n',
    ],
)
def test_decimal_commas_and_blanks_before_quotes_are_understood(tmp_path, text):
    """Whatever the separator is, as spreadsheets in other languages save them."""
    (tmp_path / "a.csv").write_text(text)
    assert read_table(tmp_path / "a.csv")[["z", "y", "x"]].to_numpy().tolist() == [[1.5, -2.5, 3.5], [4, 5, 6]]


def test_a_table_in_utf16_is_read_where_its_mark_says_so(tmp_path):
    """Excel calls it Unicode text."""
    for code in ("utf-16", "utf-16-be"):
        mark = "\ufeff" if code == "utf-16-be" else ""
        (tmp_path / "a.csv").write_text(f"{mark}tomo_id\tz\ty\tx\nz\u00e9\t1,5\t2\t3\n", encoding=code)
        assert read_table(tmp_path / "a.csv").to_numpy().tolist() == [["z\u00e9", 1.5, 2, 3]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("tomo_id;z;y;x\na;64;100,5;5\nb;65;101;1.200\n", 3),
        ("tomo_id;z;y;x\na;64;100;1.200\nb;65;101,5;5\n", 3),
        ("tomo_id\tz\ty\tx\na\t64.5\t100\t1,200\n", 2),
    ],
)
def test_a_point_between_thousands_is_no_decimal_point(tmp_path, text, line):
    """1.200 beside 100,5 would be read as a little more than one."""
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=f"a.csv, line {line}: numbers have commas or points: write"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("tomo_id;z;why\n1.5;2,5;3.5\n")  # what is text decides nothing
    assert read_table(tmp_path / "a.csv").to_numpy().tolist() == [["1.5", 2.5, "3.5"]]


def test_a_column_under_two_names_is_refused(tmp_path):
    """Which of them is meant nobody knows."""
    with pytest.raises(ValueError, match="the column z is there twice: remove one"):
        numbers(pd.DataFrame([[1, 2, 3]], columns=["z", "y", "z"]), ["y", "z"])
    (tmp_path / "a.csv").write_text("tomo_id,z,y,x,has_motor\na,1,-1,3,yes\n")
    with pytest.raises(ValueError, match="a.csv, line 2: tomogram a has -1 in some coordinates only"):
        read_external(tmp_path / "a.csv", STORED.assign(tomo_id=["a", "b"]))


def test_a_word_among_counts_is_blamed_alone(tmp_path):
    """Numbers in the same column stay numbers."""
    (tmp_path / "labels.csv").write_text(table(EMPTY, TWO, ONE.removesuffix("1") + "one"))
    assert wrong_counts(tmp_path / "labels.csv")["tomo_id"].tolist() == ["tomo_b"]
    rows = 'good,48,64,96,13.1,0,[]\nbad,48,64,96,13.1,one,"[[1, 2, 3]]"\n'
    (tmp_path / "wide.csv").write_text(f"tomo_id,Z,Y,X,voxel_spacing,num_motors,motor_zyx\n{rows}")
    with pytest.raises(ValueError, match="line 3: tomogram bad has another num_motors"):
        read_wide(tmp_path / "wide.csv")


def test_files_that_end_in_capitals_are_no_others(three, tmp_path):
    """Labels in them would be lost without a word."""
    write_competition(tmp_path / "A.CSV", three)
    (tmp_path / "C_COORDINATES.JSON").write_text("{}")
    (tmp_path / "._b.csv").touch()
    assert set(gather(tmp_path)) == {"A", "C_COORDINATES", "three"}
    (tmp_path / "RUN.NDJSON").write_text('{"type": "point", "location": {"z": 1, "y": 2, "x": 3}}')
    assert len(read_points(tmp_path, STORED[:1].assign(tomo_id="RUN")).motors) == 1


@pytest.mark.parametrize(("begin", "mark"), [('"sep=;"\r\n', ";"), ("SEP=\t\n", "\t"), ("", "|")])
def test_what_separates_values_may_be_told_before_them_and_may_be_a_bar(tmp_path, begin, mark):
    """Programs write the line in capitals or in quotes; SQLite separates by bars."""
    (tmp_path / "labels.csv").write_text(begin + table(ONE).replace(",", mark))
    assert read_competition(tmp_path / "labels.csv").of("tomo_b").tolist() == [[10.0, 20.5, 30.0]]


def test_a_page_in_place_of_a_table_is_not_told_in_full(tmp_path):
    """A line of a web page may have thousands of commas."""
    (tmp_path / "labels.csv").write_text(",".join(f"<{k}>" for k in range(3000)))
    with pytest.raises(ValueError, match="has no column tomo_id") as caught:
        read_table(tmp_path / "labels.csv", ["tomo_id"])
    assert len(str(caught.value)) < 300


def test_a_number_that_is_an_id_is_told_from_the_text(tmp_path):
    """pandas reads 8 where the other table has "8", and both look alike."""
    with pytest.raises(ValueError, match=r"tomogram 8 \(a number, no text\) is not among"):
        refuse(pd.DataFrame({"tomo_id": [7, 8]}), np.array([False, True]), "labels", "is not among them", "look")


def test_a_blank_of_another_kind_makes_no_number_text(tmp_path):
    """Sorted as text, 9e-05 would be the best score; ids stay text."""
    (tmp_path / "a.csv").write_text("tomo_id,score\n7,9e-05\u00a0\n08,0.5\n\u00a0,\u2009\n")
    found = read_table(tmp_path / "a.csv")
    assert found["score"].tolist() == [9e-05, 0.5] and found["tomo_id"].tolist() == ["7", "08"]


def test_a_reason_stays_text_if_it_is_a_number(tmp_path):
    """Python's KeyError says no more than the key."""
    (tmp_path / "faults.csv").write_text("tomo_id,stage,reason\na,read,05\nb,1,7\n")
    assert read_table(tmp_path / "faults.csv").to_numpy().tolist() == [["a", "read", "05"], ["b", "1", "7"]]


def test_who_is_there_twice_is_named_before_being_counted_twice():
    """A browser saves a second copy of a file under another name; people who saw no motor are alike without harm."""
    people = {"a": annotator({"t": [[10, 20, 30]], "u": []}), "b": annotator({"t": [[10, 20, 31]], "u": []})}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        consensus(people | {"c": annotator({"u": []}), "d": annotator({"u": []})})
    with pytest.warns(TableWarning, match=r"a and a \(1\) have the same motors to the last digit"):
        consensus(people | {"a (1)": people["a"]})


def test_what_has_no_width_is_no_part_of_a_name(tmp_path):
    """Web pages put it before digits so that spreadsheets keep zeros; files put one after another have it in them."""
    path = tmp_path / "a.csv"
    path.write_text("tomo_id,z\ufeff,y,x\n\u202a\u200b007,5,6,7\n\ufeffr\u00adun\u20601\u200b,\u20668\u2069,9,10\n\x1a")
    found = read_external(path, STORED)
    assert sorted(found.tomograms["tomo_id"]) == ["007", "run1"] and len(found.motors) == 2


def test_a_motor_that_cannot_be_is_blamed_by_its_line_in_every_table(three, tmp_path):
    """Also below rows without a motor, a remark of two lines, or several motors in one cell."""
    path, far = tmp_path / "a.csv", ONE.replace("20.5", "2000")
    path.write_text(table(EMPTY, TWO, far).replace("Motor axis 0", "Motor\u00a0 axis 0"))  # as pages have blanks
    with pytest.raises(ValueError, match="a.csv, line 5: tomogram tomo_b has a motor outside its shape"):
        read_competition(path)
    path.write_text(table(f'{EMPTY},"one\ntwo"', f"{far},").replace("motors\n", "motors,note\n", 1))
    with pytest.raises(ValueError, match="a.csv, line 4: tomogram tomo_b has a motor outside its shape"):
        read_competition(path)
    rows = 'a,48,64,96,13.1,2,"[[1, 2, 3], [4, 5, 6]]"\nb,48,64,96,13.1,1,"[[1, 2, 300]]"\n'
    path.write_text(f"tomo_id,Z,Y,X,voxel_spacing,num_motors,motor_zyx\n{rows}")
    with pytest.raises(ValueError, match="a.csv, line 3: tomogram b has a motor outside its shape"):
        read_wide(path)
    formats.write(tmp_path, three)
    motors = tmp_path / "motors.csv"
    motors.write_text(motors.read_text() + motors.read_text().splitlines()[1] + "\n")
    with pytest.raises(ValueError, match=f"motors.csv, line {len(three.motors) + 2}: .* the same motor twice"):
        formats.read(tmp_path)


@pytest.mark.parametrize("word", ["True", "false", "TRUE", f"1{'0' * 400}"])
def test_a_coordinate_that_is_true_is_no_one(tmp_path, word):
    """Nor is False the first slice; in CSV and JSON, in a column of its own or among numbers."""
    assert np.isnan(numbers(pd.DataFrame({"z": [True, 1.5]}), ["z"])[:, 0]).tolist() == [True, False]
    path, lost = tmp_path / "a.csv", "line 3: tomogram b has a motor without a position"
    for text in (f"tomo_id,z,y,x\na,1,2,3\nb,1,{word},3\n", f"tomo_id,z,y,x\na,{word},2,3\nb,{word},2,3\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=lost if "a,1," in text else "line 2: tomogram a has a motor without"):
            read_external(path, STORED.assign(tomo_id=["a", "b"]))
    path.write_text(table(EMPTY, ONE.replace("20.5", word)))
    with pytest.raises(ValueError, match="tomogram tomo_b has a motor (without a position|outside its shape)"):
        read_competition(path)
    cell = word.lower()
    path.write_text(f'tomo_id,Z,Y,X,voxel_spacing,num_motors,motor_zyx\na,48,64,96,13.1,1,"[[1, {cell}, 3]]"\n')
    with pytest.raises(ValueError, match="a.csv, line 2: tomogram a has motor_zyx"):
        read_wide(path)
    (tmp_path / "a.ndjson").write_text(f'{{"type": "point", "location": {{"x": {cell}, "y": 2, "z": 3}}}}\n')
    with pytest.raises(ValueError, match="a.ndjson, line 1: tomogram a has a pick without a position"):
        read_points(tmp_path, STORED[:1].assign(tomo_id="a"))


@pytest.mark.parametrize("value", ["1,5", "1,234", "1,234.5", "1.234,5", "1 234", "1\u202f234", "1'234", "1_000"])
def test_a_number_that_countries_write_otherwise_is_named(tmp_path, value):
    """Quoted, commas may be decimal or between thousands: nobody guesses, and the position is not said to be lost."""
    path, cell, message = tmp_path / "a.csv", f'"{value}"', "line 3: tomogram {} has {} \\[{}\\]: write 1234.5"
    path.write_text(f"tomo_id,note,z,y,x\na,{cell},1,2,3\nb,,1,{cell},3\n")
    with pytest.raises(ValueError, match=f"a.csv, {message.format('b', 'y', re.escape(repr(value)))}"):
        read_external(path, STORED.assign(tomo_id=["a", "b"]))
    path.write_text(table(EMPTY, ONE.replace("20.5", cell)))
    with pytest.raises(ValueError, match=f"a.csv, {message.format('tomo_b', 'Motor axis 1', re.escape(repr(value)))}"):
        read_competition(path)


def test_a_table_that_is_packed_is_said_to_be(tmp_path):
    """Kaggle's client leaves archives under the names of tables."""
    with zipfile.ZipFile(tmp_path / "a.csv", "w") as archive:
        archive.writestr("a.csv", "tomo_id,z,y,x\n")
    (tmp_path / "b.csv").write_bytes(gzip.compress(b"tomo_id,z,y,x\n"))
    for name in ("a.csv", "b.csv"):
        with pytest.raises(
            ValueError, match=rf"{name} is not a table \(packed, or a spreadsheet\): correct it, unpack"
        ):
            read_table(tmp_path / name)
