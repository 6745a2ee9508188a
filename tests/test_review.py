"""Networks and labels are compared, somebody decides, and the labels are corrected once, in any order."""

from __future__ import annotations

import base64
import copy
import json
import unicodedata
import zipfile
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import toys
from examples import examples
from hypothesis import assume, given, strategies as st

from motors.geometry import MATCH_RADIUS
from motors.labels import formats
from motors.labels.folds import kind, parts
from motors.labels.table import Labels
from motors.labels.wide import read_wide
from motors.review import corrections, disagreements, sheets, simulated
from motors.review.corrections import CORRECTIONS, read_corrections
from motors.review.decisions import read_decisions, read_tags
from motors.review.sheets import write_images, write_sheet
from motors.review.widget import Reviewer
from motors.tables import MOTORS, POINT, TOMOGRAMS
from motors.volumes.tomogram import Tomogram
from motors.workspace.files import write_table

SHAPE = (48, 64, 96)
SPACING = 50.0  # ångström per voxel: 1000 ångström are 20 voxels
TAGS = "<annotations><version>1.1</version>{}</annotations>"


def some(*points: tuple, tomograms: str = "abc") -> Labels:
    """Labels of a few tomograms: points are tomo_id, z, y, x."""
    table = pd.DataFrame([[f"tomo_{name}", *SHAPE, SPACING] for name in tomograms], columns=TOMOGRAMS)
    rows = [[f"tomo_{name}", *map(float, point)] for name, *point in points]
    return Labels(table, pd.DataFrame(rows, columns=MOTORS).astype(dict.fromkeys(POINT, float)))


def candidates(*rows: tuple) -> pd.DataFrame:
    """A table of candidates: tomo_id, z, y, x, score."""
    return pd.DataFrame([[f"tomo_{name}", *row] for name, *row in rows], columns=["tomo_id", *POINT, "score"])


def corrected(*rows: tuple) -> pd.DataFrame:
    """A table of corrections: action, tomo_id, z, y, x, and of moves where to."""
    filled = [
        [f"tomo_{name}", action, *point, *([np.nan] * (6 - len(point))), "seen", "run 1", "cross-fitted", ""]
        for action, name, *point in rows
    ]
    return pd.DataFrame(filled, columns=CORRECTIONS)


def same(one: Labels, other: Labels) -> bool:
    """Whether two labels have the same motors, in whatever order, and remember the same corrections."""
    ordered = [each.motors.sort_values(MOTORS).reset_index(drop=True) for each in (one, other)]
    return ordered[0].equals(ordered[1]) and one.tomograms.equals(other.tomograms)


@pytest.fixture(scope="module")
def made() -> tuple[Labels, pd.DataFrame]:
    """What `case` is a copy of."""
    known = some(("a", 10, 10, 10), ("b", 24, 30, 30))
    found = candidates(("a", 40, 50, 80, 0.9), ("b", 25, 30, 33, 0.8), ("b", 24, 60, 90, 0.3), ("b", 4, 4, 4, 0.01))
    return known, sheets.sheet(known, disagreements.match(known, found))


@pytest.fixture
def case(made) -> tuple[Labels, pd.DataFrame]:
    """A sheet of two tomograms: in a, a label nobody finds and a candidate; in b, a motor that is found and another."""
    return copy.deepcopy(made)


def decide(sheet: pd.DataFrame, *answers: str) -> pd.DataFrame:
    """The sheet with one answer per row."""
    return sheet.assign(decision=answers, why="")


def test_labels_and_candidates_get_the_four_verdicts(case):
    """Hand-made: a label alone, a candidate alone, a pair, and a tomogram with neither."""
    known, _ = case
    rows = disagreements.match(
        known, candidates(("a", 40, 50, 80, 0.9), ("b", 25, 30, 33, 0.8), ("b", -1, -1, -1, 0.5))
    )
    got = rows[["tomo_id", "entry", "number", "partner", "verdict"]].to_numpy().tolist()
    assert got == [
        ["tomo_a", "label", 1, 0, "FN"],
        ["tomo_a", "candidate", 1, 0, "FP"],
        ["tomo_b", "label", 1, 1, "TP"],
        ["tomo_b", "candidate", 1, 1, "TP"],
        ["tomo_c", "nothing", 0, 0, "TN"],
    ]
    assert rows["distance"].dropna().tolist() == pytest.approx([50 * np.sqrt(10)] * 2)
    assert disagreements.verdicts(rows).to_dict() == {"tomo_a": "FN", "tomo_b": "TP", "tomo_c": "TN"}


def test_the_nearest_pairs_are_made_first_and_each_point_is_used_once():
    """Two labels and one candidate between them: the nearer label gets it, although the other comes first."""
    rows = disagreements.match(some(("a", 20, 20, 10), ("a", 20, 20, 40)), candidates(("a", 20, 20, 28, 0.5)))
    assert rows["verdict"].tolist() == ["FN", "TP", "TP", "TN", "TN"]
    assert rows["partner"].tolist() == [0, 1, 2, 0, 0]


def test_partners_are_at_most_1000_angstrom_apart():
    """20 voxels of 50 ångström are, a little more is not."""
    known = some(("a", 20, 20, 10))
    for x, verdict in ((30.0, "TP"), (30.01, "FP")):
        assert disagreements.match(known, candidates(("a", 20, 20, x, 0.5))).loc[1, "verdict"] == verdict


def test_weak_candidates_and_all_beyond_the_best_few_are_left_out():
    """The numbers count those that are left, the best first."""
    found = candidates(*(("a", 4, 4, 3 * k, 0.02 + 0.1 * k) for k in range(8)))
    rows = disagreements.match(some(), found, threshold=0.05, most=5).query("entry == 'candidate'")
    assert rows["number"].tolist() == [1, 2, 3, 4, 5]
    assert rows["score"].tolist() == pytest.approx([0.72, 0.62, 0.52, 0.42, 0.32])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("z", 1, 1, 1, 0.5)], "tomo_z is not among the labelled ones"),
        ([("a", 1, 1, 96, 0.5)], "tomo_a has a candidate outside its shape"),
        ([("a", 1, np.nan, 1, 0.5)], "tomo_a has a candidate without position or score"),
    ],
    ids=["another tomogram", "outside", "NaN"],
)
def test_candidates_that_cannot_be_are_refused(rows, message):
    """One sentence names the tomogram."""
    with pytest.raises(ValueError, match=message):
        disagreements.match(some(), candidates(*rows))
    with pytest.raises(ValueError, match="no column score"):
        disagreements.match(some(), candidates(*rows).drop(columns="score"))


def test_the_sheet_holds_disagreements_in_the_order_of_the_original(case):
    """Missed labels first; pictures are named after verdict, case, tomogram, shape, spacing, and their numbers."""
    _, sheet = case
    assert sheet["case"].tolist() == [0, 0, 1, 1, 1]
    assert list(dict.fromkeys(sheet["image"].str.replace("-[0-9a-f]{6}.jpg$", "", regex=True))) == [
        "FN-0000-tomo_a-48x64x96-spacing50",
        "FP-0001-tomo_b-48x64x96-spacing50",
    ]
    assert "tomo_c" not in set(sheet["tomo_id"])


def test_labels_that_networks_are_not_sure_of_are_asked_about_when_there_is_doubt(tmp_path):
    """After those that stand alone, and by the widget too; those that they are sure of stay off the sheet."""
    known = some(("a", 10, 10, 10), ("b", 10, 10, 10), ("c", 10, 10, 10), tomograms="abcd")
    found = candidates(("a", 10, 10, 12, 0.9), ("b", 10, 10, 12, 0.3), ("c", 10, 10, 12, 0.4), ("d", 9, 9, 9, 0.2))
    matches = disagreements.match(known, found)
    sheet = sheets.sheet(known, matches, doubt=0.5)
    assert sheet[["tomo_id", "entry"]][sheet["asked"]].to_numpy().tolist() == [
        ["tomo_d", "candidate"],
        ["tomo_c", "label"],
        ["tomo_b", "label"],
    ]
    assert sheet["image"].str[:7].drop_duplicates().tolist() == ["FP-0000", "TP-0001", "TP-0002"]
    assert sheets.sheet(known, matches)["tomo_id"].tolist() == ["tomo_d"]
    for image in set(sheet["image"]):
        (tmp_path / image).write_bytes(b"picture")
    assert len(Reviewer(sheet, read, tmp_path / "decisions.csv").questions) == 3


def test_where_all_agree_the_sheet_is_empty():
    """Nothing to decide, nothing to correct."""
    known = some(("a", 10, 10, 10))
    sheet = sheets.sheet(known, disagreements.match(known, candidates(("a", 10, 10, 12, 0.5))))
    assert len(sheet) == 0
    assert same(
        corrections.apply(known, corrections.corrections(decide(sheet), run="r", round="leaky")),
        corrections.apply(known, corrected()),
    )


def test_every_case_gets_its_picture(case, tmp_path):
    """One file per tomogram, in which labels and candidates have a row each."""
    _, sheet = case
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 256, SHAPE, np.uint8)
    with plt.rc_context({"text.usetex": True, "font.family": "none such"}):  # of a user who has no TeX here
        paths = write_images(
            sheet,
            lambda name: Tomogram(name, voxels, SPACING),
            tmp_path,
            heatmap=lambda tomogram: rng.random((6, 8, 12)).astype(np.float32),
        )
    assert [path.name for path in paths] == list(dict.fromkeys(sheet["image"]))
    assert all(path.read_bytes()[:3] == b"\xff\xd8\xff" for path in paths)
    figure = sheets.picture(sheet[sheet["tomo_id"] == "tomo_b"], Tomogram("tomo_b", voxels, SPACING))
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 9
    assert titles[::3] == [
        "label 1: candidate 1 is 158 Å off",
        "candidate 1: label 1 is 158 Å off",
        "candidate 2: 0.30, no label",
    ]
    assert titles[1:3] == ["z = 16", "z = 32"]


def test_decisions_become_corrections(case):
    """A rejected label goes, an accepted candidate comes; a candidate that confirms a label changes nothing."""
    known, sheet = case
    table = corrections.corrections(
        decide(sheet, "reject", "accept", "accept", "accept", "reject"), run="30", round="leaky"
    )
    assert table["action"].tolist() == ["remove", "add", "keep", "ignore", "ignore"]
    assert set(table["run"]) == {"30"} and set(table["round"]) == {"leaky"}
    assert table["why"].tolist()[:2] == ["label 1: nothing found", "candidate 1: 0.90, no label"]
    after = corrections.apply(known, table)
    assert after.of("tomo_a").tolist() == [[40, 50, 80]]
    assert after.of("tomo_b").tolist() == [[24, 30, 30]]
    assert after.motors["source"].tolist() == ["official", "added, 30, leaky"]


def test_an_official_label_moves_only_if_told_twice(case):
    """Confirmed labels stay; moves have to be asked for and let through."""
    known, sheet = case
    table = corrections.corrections(decide(sheet, "", "", "", "accept", ""), run="30", round="leaky", move=True)
    assert table[["action", *POINT]].to_numpy().tolist() == [["move", 24.0, 30.0, 30.0]]
    with pytest.raises(ValueError, match="tomo_b has a label that would move: apply them with move=True"):
        corrections.apply(known, table)
    assert corrections.apply(known, table, move=True).of("tomo_b").tolist() == [[25, 30, 33]]


def test_a_candidate_beside_a_rejected_label_replaces_it(case):
    """The label was elsewhere: it goes, the candidate comes."""
    known, sheet = case
    table = corrections.corrections(decide(sheet, "", "", "reject", "accept", ""), run="30", round="leaky")
    assert corrections.apply(known, table).of("tomo_b").tolist() == [[25, 30, 33]]


@st.composite
def rounds(draw) -> tuple[Labels, pd.DataFrame]:
    """Labels on a wide grid, and corrections of them: additions, removals and moves of different motors."""
    places = [(name, z, y, x) for name in "abc" for z in (4, 24, 44) for y in (8, 32, 56) for x in (8, 40, 72)]
    chosen = draw(st.lists(st.sampled_from(places), min_size=2, max_size=8, unique=True))
    jobs = draw(
        st.lists(st.sampled_from(["label", "remove", "move", "add"]), min_size=len(chosen), max_size=len(chosen))
    )
    known = some(*(place for place, job in zip(chosen, jobs, strict=True) if job != "add"))
    rows = [
        (job, *place, *(np.add(place[1:], 1.5) if job == "move" else ()))
        for place, job in zip(chosen, jobs, strict=True)
        if job != "label"
    ]
    assume(rows)
    return known, corrected(*draw(st.permutations(rows)))


@given(rounds(), st.randoms(use_true_random=False))
@examples(15)
def test_corrections_may_come_in_any_order_again_and_in_parts(given_round, random):
    """Shuffled, applied twice, or some now and the others later: the same labels, and the first ones untouched."""
    known, table = given_round
    before = known.motors.copy()
    once = corrections.apply(known, table, move=True)
    order = random.sample(range(len(table)), len(table))
    half = random.randrange(len(table) + 1)
    assert same(corrections.apply(known, table.iloc[order], move=True), once)
    assert same(corrections.apply(once, table, move=True), once)
    first = corrections.apply(known, table.iloc[order[:half]], move=True)
    assert same(corrections.apply(first, table.iloc[order[half:]], move=True), once)
    assert same(corrections.apply(first, table, move=True), once)
    pd.testing.assert_frame_equal(known.motors, before)


def test_a_motor_is_added_whoever_did_not_say_in_which_round(tmp_path):
    """What put it there is part of its source, as far as somebody knows."""
    about = pd.DataFrame([["b", 10, 20, 30, 13.1]], columns=["tomo_id", "size_z", "size_y", "size_x", "spacing"])
    head = "tomo_id,action,z,y,x,to_z,to_y,to_x,why,run,round,frame"
    (tmp_path / "c.csv").write_text(f"{head}\nb,add,1,2,3,,,,seen,,,\n")
    known = Labels(about, pd.DataFrame(columns=["tomo_id", "z", "y", "x"]))
    found = corrections.apply(known, corrections.read_corrections(tmp_path / "c.csv"))
    assert found.motors["source"].tolist() == ["added, , "]


def test_corrected_labels_remember_after_they_were_files(tmp_path):
    """Read again, they still know what was applied."""
    table = corrected(("add", "a", 10, 10, 10.123456789), ("remove", "b", 20, 20, 20))
    once = corrections.apply(some(("b", 20, 20, 20)), table)
    formats.write(tmp_path, once)
    table.to_csv(tmp_path / "corrections.csv", index=False)
    again = corrections.apply(formats.read(tmp_path), read_corrections(tmp_path / "corrections.csv"))
    assert same(again, once)


def test_rounds_that_changed_nothing_can_be_joined_and_kept(tmp_path):
    """The same label may be kept, and the same candidate ignored, as often as somebody looks."""
    known, table = some(("a", 10, 10, 10)), corrected(("keep", "a", 10, 10, 10), ("ignore", "b", 10, 10, 10))
    once = corrections.apply(known, pd.concat([table, table]))
    assert once.motors[MOTORS].equals(known.motors)
    formats.write(tmp_path, once)
    assert same(corrections.apply(formats.read(tmp_path), table), once)


def test_a_later_round_may_take_back_what_an_earlier_one_added():
    """In one table or after the other."""
    one, two = corrected(("add", "a", 10, 10, 10)), corrected(("remove", "a", 10, 10, 10))
    assert corrections.apply(some(), pd.concat([two, one])).of("tomo_a").tolist() == []
    assert corrections.apply(corrections.apply(some(), one), two).of("tomo_a").tolist() == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("add", "z", 1, 1, 1)], "tomo_z is not labelled"),
        ([("erase", "a", 1, 1, 1)], "tomo_a has another action: write one of add, remove, move, keep, ignore"),
        ([("add", "a", 1, np.nan, 1)], "tomo_a has a correction without a position"),
        ([("add", "a", 1, 1, 96)], "tomo_a has a correction outside its shape"),
        ([("move", "a", 10, 10, 10)], "tomo_a has a correction without a position"),
        ([("move", "a", 10, 10, 10, 48, 1, 1)], "tomo_a has a correction outside its shape"),
        ([("add", "a", 40, 1, 1)] * 2, r"tomo_a has the same correction twice \(2 such rows\)|tomo_a has the same"),
        ([("add", "a", 10, 10, 10)], "tomo_a gets two motors within 333 Å"),
        ([("add", "b", 10, 10, 10), ("add", "b", 10, 10, 16)], "tomo_b gets two motors within 333 Å"),
        ([("remove", "b", 10, 10, 10)], "tomo_b has no motor at z, y, x = 10, 10, 10"),
        (
            [("remove", "a", 10, 10, 10), ("move", "a", 10, 10, 10, 1, 1, 1)],
            "tomo_a has a motor that is moved or removed twice",
        ),
    ],
)
def test_corrections_that_do_not_fit_are_refused(rows, message):
    """One sentence each, which names the tomogram."""
    with pytest.raises(ValueError, match=message):
        corrections.apply(some(("a", 10, 10, 10)), corrected(*rows), move=True)


def test_corrections_made_in_another_frame_are_refused(case):
    """Of another shape or spacing, also if every position lies inside; a motor that was seen by eye knows its frame."""
    known, sheet = case
    new = sheet[:1].assign(entry="new", number=0, decision="accept", why="", partner=0, z=20.0)
    table = corrections.corrections(pd.concat([decide(sheet, "", "accept", "", "", ""), new]), run="r", round="leaky")
    assert table["frame"].tolist() == ["48x64x96@50"] * 2
    assert len(corrections.apply(known, table).motors) == 4
    for change in ({"spacing": 25.0}, {"size_x": 97}):
        other = Labels(known.tomograms.assign(**change), known.motors)
        with pytest.raises(ValueError, match=r"tomo_a was reviewed in another frame.*labels of that shape and spacing"):
            corrections.apply(other, table)


def test_labels_that_were_close_before_a_review_do_not_stop_it():
    """External tables have motors 200 Å apart; only what a review adds or moves has to keep away."""
    known = some(("a", 10, 10, 10), ("a", 10, 10, 14))
    known = Labels(known.tomograms, known.motors.assign(source="external"))
    after = corrections.apply(known, corrected(("add", "a", 40, 40, 40)))
    assert after.motors["source"].tolist() == ["external", "external", "added, run 1, cross-fitted"]


def test_capitals_of_an_action_mean_nothing_and_a_mistake_names_its_file(tmp_path):
    """`Keep` is keep; `Erase` is refused by the name of the file that says so."""
    path, rest = tmp_path / "mine.csv", "," * (len(CORRECTIONS) - 5)
    path.write_text(f"{','.join(CORRECTIONS)}\ntomo_a, Keep,10,20,30{rest}\n")
    found = read_corrections(path)
    assert found["action"].tolist() == ["keep"]
    path.write_text(path.read_text().replace("Keep", "Erase"))
    with pytest.raises(ValueError, match="mine.csv.*another action"):
        corrections.apply(some(("a", 10, 20, 30)), read_corrections(path))


def test_what_two_people_decided_alike_is_done_once(tmp_path):
    """Each in a file of their own; twice in one file is a mistake, and two goals of a label contradict each other."""
    labels, goal = some(("a", 10, 10, 10), ("b", 24, 30, 30)), (24, 30, 31)
    rows = [("add", "a", 40, 50, 80), ("remove", "a", 10, 10, 10), ("move", "b", 24, 30, 30, *goal)]
    mine = write_table(tmp_path / "mine.csv", corrected(*rows))
    theirs = write_table(tmp_path / "theirs.csv", corrected(*rows[::-1]).assign(why="I see it, too"))
    one, both = ([read_corrections(path) for path in paths] for paths in ([mine], [mine, theirs, mine]))
    once, joined = (corrections.apply(labels, pd.concat(each, ignore_index=True), move=True) for each in (one, both))
    assert same(once, joined) and once.motors["tomo_id"].tolist() == ["tomo_b", "tomo_a"]
    write_table(theirs, corrected(("add", "b", 1, 2, 3), *rows, rows[0]))
    with pytest.raises(ValueError, match="theirs.csv, line 6: tomogram tomo_a has the same correction twice"):
        corrections.apply(labels, read_corrections(theirs), move=True)
    write_table(theirs, corrected(("move", "b", 24, 30, 30, 24, 30, 35)))
    tables = [read_corrections(path) for path in (mine, theirs)]
    with pytest.raises(ValueError, match="tomo_b has a motor that is moved or removed twice"):
        corrections.apply(labels, pd.concat(tables, ignore_index=True), move=True)


def test_a_table_that_is_none_of_corrections_is_refused(tmp_path):
    """Wrong columns, or no file."""
    (tmp_path / "corrections.csv").write_text("tomo_id,z,y,x\ntomo_a,1,2,3\n")
    with pytest.raises(ValueError, match=r"corrections.csv has no column action, to_z, .*: add it"):
        read_corrections(tmp_path / "corrections.csv")
    with pytest.raises(FileNotFoundError, match="none.csv is not there"):
        read_corrections(tmp_path / "none.csv")


def test_decisions_are_read_from_the_sheet_filled_in(case, tmp_path):
    """With a motor that nobody had; what is left open is open."""
    _, sheet = case
    filled = decide(sheet, "reject", "", "", "", "accept")
    new = {"tomo_id": "tomo_a", "entry": "new", "z": 20.0, "y": 30.0, "x": 40.0, "decision": "accept"}
    pd.concat([filled, pd.DataFrame([new])]).to_csv(tmp_path / "decisions.csv", index=False)
    decided = read_decisions(tmp_path / "decisions.csv", sheet)
    assert decided["decision"].tolist() == ["reject", "", "", "", "accept", "accept"]
    table = corrections.corrections(decided, run="r", round="leaky")
    assert table["action"].tolist() == ["remove", "add", "add"]
    assert table.loc[2, ["tomo_id", *POINT, "why"]].tolist() == ["tomo_a", 20, 30, 40, "seen by eye"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="decision"), "decisions.csv has no column decision"),
        (lambda t: pd.concat([t, t[:1]]), "decisions.csv, line 7: tomogram tomo_a has the same entry twice"),
        (lambda t: t.assign(decision="yes"), "tomo_a has another decision"),
        (lambda t: t.assign(x=t["x"] + 1), "tomo_a has an entry that is not on the sheet"),
        (lambda t: t.assign(x=np.nan), "tomo_a has an entry that is not on the sheet"),
        (lambda t: t.replace("tomo_a", "tomo_q"), "tomo_q has an entry that is not on the sheet"),
        (lambda t: t.assign(entry="new", decision="accept", z=np.nan), "tomo_a has a new motor without a position"),
        (lambda t: t.assign(entry="new", decision="reject"), "tomo_a has a new motor that is not accepted"),
        (lambda t: t.assign(entry="new"), "line 2: tomogram tomo_a has a new motor that is not accepted"),
        (lambda t: t.assign(entry="new", decision="accept", y=6400), "line 2: tomogram tomo_a has a new motor outside"),
    ],
    ids=["column", "twice", "word", "moved", "NaN", "other", "nowhere", "rejected", "open", "outside"],
)
def test_decisions_about_something_else_are_refused(case, tmp_path, change, message):
    """One sentence each."""
    _, sheet = case
    change(decide(sheet, "reject", "", "", "", "accept")).to_csv(tmp_path / "decisions.csv", index=False)
    with pytest.raises(ValueError, match=message):
        read_decisions(tmp_path / "decisions.csv", sheet)


def tagged(sheet: pd.DataFrame, **tags: str) -> str:
    """What CVAT exports: the pictures of tomograms with their tags, separated by spaces."""
    images = dict(sheet[["tomo_id", "image"]].to_numpy())
    body = ""
    for k, (name, labels_of) in enumerate(tags.items()):
        marks = "".join(f'<tag label="{tag}" source="manual"></tag>' for tag in labels_of.split())
        body += f'<image id="{k}" name="motors/{images["tomo_" + name]}" width="9" height="9">{marks}</image>'
    return TAGS.format(body)


def test_tags_of_cvat_are_decisions(case, tmp_path):
    """0 keeps, k adds candidate k, -k removes label k, and a picture without tags is open."""
    _, sheet = case
    expected = {
        ("0", "0"): ["accept", "reject", "accept", "reject", "reject"],
        ("1 -1", "2"): ["reject", "accept", "accept", "reject", "accept"],
        ("0 1", ""): ["accept", "accept", "", "", ""],
    }
    for (a, b), decisions in expected.items():
        (tmp_path / "annotations.xml").write_text(tagged(sheet, a=a, b=b))
        assert read_tags(tmp_path / "annotations.xml", sheet)["decision"].tolist() == decisions
        elsewhere = tagged(sheet, a=a, b=b).replace('name="', 'name="C:\\sheet\\').replace('label="', 'label=" ')
        (tmp_path / "annotations.xml").write_text(elsewhere)
        assert read_tags(tmp_path / "annotations.xml", sheet)["decision"].tolist() == decisions


def test_ids_with_a_slash_have_pictures_in_one_folder_and_tags(tmp_path):
    """As databases and Windows have them; CVAT knows a picture by the last part of its path."""
    labels = some(("1/a", 10, 10, 10), ("1\\b", 20, 20, 20), tomograms=["1/a", "1\\b"])
    table = sheets.sheet(labels, disagreements.match(labels, candidates(("1/a", 40, 50, 80, 0.9))))
    pictures = write_images(table, read, tmp_path / "pictures")
    assert {path.parent for path in pictures} == {tmp_path / "pictures"}
    tags = "".join(f'<image name="{path.name}"><tag label="0"/></image>' for path in pictures)
    (tmp_path / "annotations.xml").write_text(TAGS.format(tags))
    assert read_tags(tmp_path / "annotations.xml", table)["decision"].tolist() == ["accept", "reject", "accept"]


def test_tags_of_a_sheet_of_other_candidates_are_refused(case, tmp_path, monkeypatch):
    """Networks that were trained anew find other motors: candidate 1 of before is not candidate 1 of now."""
    known, sheet = case
    (tmp_path / "annotations.xml").write_text(tagged(sheet, a="1", b="2"))
    moved = candidates(("a", 4, 50, 80, 0.9), ("b", 25, 30, 33, 0.7), ("b", 24, 60, 90, 0.2))
    others = sheets.sheet(known, disagreements.match(known, moved))
    assert others["case"].tolist() == sheet["case"].tolist()
    with pytest.raises(ValueError, match="picture 'FN-0000-tomo_a.*' is not on the sheet"):
        read_tags(tmp_path / "annotations.xml", others)
    same_places = others[others["tomo_id"] == "tomo_b"]["image"].unique().tolist()
    assert same_places == sheet[sheet["tomo_id"] == "tomo_b"]["image"].unique().tolist(), "scores say nothing of places"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_tags("~/annotations.xml", sheet)["decision"].tolist()[:2] == ["accept", "accept"]


def test_an_export_of_cvat_is_read_as_it_comes(case, tmp_path):
    """Zipped, with a picture in two jobs; wherever decisions are asked for."""
    _, sheet = case
    text = tagged(sheet, a="1", b="0")
    twice = text.replace("</annotations>", text.partition("</version>")[2])
    with zipfile.ZipFile(tmp_path / "task.ZIP", "w") as archive:
        archive.writestr("annotations.xml", twice)
    (tmp_path / "annotations.XML").write_text(text)
    for name in ("task.ZIP", "annotations.XML"):
        for read in (read_tags, read_decisions):
            assert read(tmp_path / name, sheet)["decision"].tolist() == ["accept"] * 3 + ["reject"] * 2
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as archive:  # as macOS packs what it had unpacked
        archive.writestr("__MACOSX/task/._annotations.xml", "?")
        archive.writestr("task/annotations.xml", text)
    spelt = sheet.assign(image=sheet["image"].str.replace("tomo", "tomö"))
    (tmp_path / "other.xml").write_text(unicodedata.normalize("NFD", tagged(spelt, a="1", b="0")), encoding="utf-8")
    for name, known in (("again.zip", sheet), ("other.xml", spelt)):
        assert read_tags(tmp_path / name, known)["decision"].tolist() == ["accept"] * 3 + ["reject"] * 2
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("instances.json", "{}")
    with pytest.raises(ValueError, match="other.zip is not XML .*annotations.xml.*: export it again, as CVAT for"):
        read_tags(tmp_path / "other.zip", sheet)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:  # of which one would be left out without a word
        for k, name in enumerate("ab"):
            archive.writestr(f"task_{k}/annotations.xml", tagged(sheet, **{name: "0"}))
    with pytest.raises(ValueError, match="it has task_0/annotations.xml and task_1/annotations.xml, of which one"):
        read_tags(tmp_path / "other.zip", sheet)
    (tmp_path / "annotations.xml").write_text(twice.replace('label="1"', 'label="-1"', 1))
    with pytest.raises(ValueError, match="tomo_a.* is there twice, with other tags: keep one"):
        read_tags(tmp_path / "annotations.xml", sheet)


@pytest.mark.kernel  # hundreds of damages
def test_an_export_that_was_damaged_is_a_sentence_wherever_it_is(case, tmp_path):
    """Half of an archive, or one whose bytes came otherwise."""
    _, sheet = case
    path = tmp_path / "task.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", tagged(sheet, a="1", b="0"))
    whole, right = path.read_bytes(), read_tags(path, sheet)
    damaged = [whole[:place] + bytes([byte ^ 0x5A]) + whole[place + 1 :] for place, byte in enumerate(whole)]
    for content in [*damaged, *(whole[:length] for length in range(0, len(whole), 7))]:
        path.write_bytes(content)
        try:
            assert read_tags(path, sheet).equals(right)  # what is changed says nothing
        except ValueError as error:
            assert str(error).startswith("task.zip ")


def test_a_new_motor_may_begin_with_a_capital_and_a_mistake_has_its_line(case, tmp_path):
    """Spreadsheets write New for new."""
    _, sheet = case
    path = tmp_path / "decisions.csv"
    new = {"tomo_id": "tomo_b", "entry": "New", "z": 1, "y": 2, "x": 3, "decision": "Accept"}
    table = pd.concat([pd.DataFrame([new]), sheet])
    write_table(path, table)
    assert read_decisions(path, sheet)["entry"].tolist()[-1] == "new"
    write_table(path, table.assign(z=table["z"].where(table["x"] != 80, 41)))
    with pytest.raises(ValueError, match="decisions.csv, line 4: tomogram tomo_a has an entry that is not on the"):
        read_decisions(path, sheet)


def test_a_correction_that_means_no_motor_has_its_line(tmp_path):
    """And one that is removed twice is not called moved."""
    path, known = tmp_path / "corrections.csv", some(("a", 10, 10, 10))
    write_table(path, corrected(("keep", "a", 10, 10, 10), ("remove", "a", 11, 10, 10)))
    with pytest.raises(ValueError, match="corrections.csv, line 3: tomogram tomo_a has no motor at z, y, x = 11, 10"):
        corrections.apply(known, read_corrections(path))
    write_table(path, corrected(("remove", "a", 10, 10, 10), ("remove", "a", 10.001, 10, 10)))
    with pytest.raises(ValueError, match="corrections.csv, line 3: .*a motor that is moved or removed twice"):
        corrections.apply(known, read_corrections(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><image", "annotations.xml is not XML"),
        ("<?xml version='1.0' encoding='klingon'?><annotations/>", "annotations.xml is not XML"),
        ("<project></project>", "annotations.xml holds <project>, not <annotations>"),
        (TAGS.format('<image name="cat.jpg"></image>'), "picture 'cat.jpg' is not on the sheet"),
        (tagged.__doc__, "annotations.xml is not XML"),
    ],
    ids=["cut short", "another alphabet", "another kind", "another project", "text"],
)
def test_annotations_of_another_project_are_refused(case, tmp_path, text, message):
    """One sentence each."""
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_tags(tmp_path / "annotations.xml", case[1])


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ('<track id="0" label="1"><box frame="0" xtl="1" ytl="1" xbr="2" ybr="2"/></track>', "tracks of a video"),
        ("", "no pictures"),
        ('<image id="0" name="{}"><box label="1" xtl="1" ytl="1" xbr="2" ybr="2"/></image>', "has a box, only tags"),
        ('<image id="0" name="{}"><tag label="0"/><points label="1" points="1,2"/></image>', "has a points, only tags"),
        ('<image id="0" name="{}"><polygon label="1" points="1,2;3,4;5,6"/></image>', "has a polygon, only tags"),
    ],
)
def test_an_export_of_another_kind_is_no_decision(case, tmp_path, inside, reason):
    """Hours of work would count as nothing decided."""
    _, sheet = case
    path = tmp_path / "annotations.xml"
    path.write_text(f"<annotations>{inside.format(sheet['image'].iloc[0])}</annotations>")
    with pytest.raises(ValueError, match=reason):
        read_tags(path, sheet)


def test_a_tag_that_means_nothing_in_its_picture_is_refused(case, tmp_path):
    """The third candidate of two; the sentence lists what there may be. And a picture twice is one too many."""
    sheet = case[1]
    (tmp_path / "annotations.xml").write_text(tagged(sheet, b="3"))
    with pytest.raises(ValueError, match=r"tomo_b-.*has the tag '3': it may have 0, 1, 2, -1"):
        read_tags(tmp_path / "annotations.xml", sheet)
    with pytest.raises(FileNotFoundError, match="export the task from CVAT"):
        read_tags(tmp_path / "none.xml", sheet)


def read(name: str) -> Tomogram:
    """A tomogram of the sheet."""
    voxels = np.random.default_rng(len(name)).integers(0, 256, SHAPE, np.uint8)
    return Tomogram(name, voxels, SPACING)


def press(reviewer: Reviewer, letters: str) -> None:
    """Press keys one after the other."""
    for letter in letters:
        reviewer.handle("key", letter)


def test_the_widget_asks_about_what_stands_alone_and_goes_on_where_it_was_left(case, tmp_path):
    """Three questions; buttons and keys decide; a second widget opens at the first open one."""
    _, sheet = case
    one = Reviewer(sheet, read, tmp_path / "decisions.csv")
    assert (one.question["entry"], one.question["tomo_id"]) == ("label", "tomo_a")
    assert one.viewer.point == [10, 10, 10] and one.viewer.planes.asked.tolist() == [10, 10, 10]
    one.buttons["reject"].click()
    assert one.viewer.point == [40, 50, 80]
    press(one, "a")
    two = Reviewer(sheet, read, tmp_path / "decisions.csv")
    assert (two.question["tomo_id"], two.question["number"]) == ("tomo_b", 2)
    press(two, "b")
    assert two.question["decision"] == "accept"
    press(two, "s")
    two._point.value = "20, 30.5 40"
    two._point.value = "<here>"
    assert "'&lt;here&gt;' is not a position" in two._text.value
    press(two, "r")
    assert two.question is None and two.viewer.panel.layout.display == "none"
    assert "3 of 3 decided" in two._text.value
    decided = read_decisions(tmp_path / "decisions.csv", sheet)
    assert decided["decision"].tolist() == ["reject", "accept", "", "", "reject", "accept"]
    assert decided.iloc[-1][["tomo_id", "entry", *POINT]].tolist() == ["tomo_b", "new", 20, 30.5, 40]


def test_the_work_of_another_reviewer_is_not_written_over(case, tmp_path):
    """Of two widgets of one file, the one that does not know the answers of the other says so and waits."""
    one, two = (Reviewer(case[1], read, tmp_path / "decisions.csv") for _ in range(2))
    press(one, "r")
    press(two, "sa")
    assert "decisions.csv was changed elsewhere, so this is not kept" in two._text.value
    press(one, "a")
    assert read_decisions(tmp_path / "decisions.csv", case[1])["decision"].tolist() == ["reject", "accept", "", "", ""]
    (tmp_path / "decisions.csv").unlink()
    press(one, "u")
    assert (tmp_path / "decisions.csv").is_file()


def test_what_was_decided_or_added_last_can_be_taken_back(case, tmp_path):
    """Step by step, in the file too; keys of the viewer move the planes, and m adds a motor where they meet."""
    _, sheet = case
    one = Reviewer(sheet, read, tmp_path / "decisions.csv")
    press(one, "r" + 10 * "." + "m" + "a")
    file = tmp_path / "decisions.csv"
    decided = read_decisions(file, sheet)
    assert decided["decision"].tolist() == ["reject", "accept", "", "", "", "accept"]
    assert decided.iloc[-1][["entry", *POINT]].tolist() == ["new", 47, 50, 80], "the planes stop at the border"
    for expected in (["reject", "", "", "", "", "accept"], ["reject", "", "", "", ""], [""] * 5, [""] * 5):
        press(one, "u")
        assert read_decisions(file, sheet)["decision"].tolist() == expected
    assert one.question["entry"] == "label" and one.viewer.point == [10, 10, 10]


def test_without_a_kernel_a_picture_of_the_question_is_shown(case, tmp_path):
    """A JPEG beside the widget; after the last question there is none."""
    one = Reviewer(case[1], read, tmp_path / "decisions.csv")
    bundle = one._repr_mimebundle_()
    assert base64.b64decode(bundle["image/jpeg"])[:3] == b"\xff\xd8\xff"
    assert "application/vnd.jupyter.widget-view+json" in bundle
    press(one, "aaa")
    assert "image/jpeg" not in one._repr_mimebundle_()


def test_a_motor_that_was_added_is_no_question(case, tmp_path):
    """Also after the widget was opened again: going back from the last question never comes to it."""
    _, sheet = case
    one = Reviewer(sheet, read, tmp_path / "decisions.csv")
    one.add(20, 30, 40)
    assert one.decided["asked"].tolist() == [*sheet["asked"], False]
    one.decided.assign(asked=True).to_csv(tmp_path / "decisions.csv", index=False)  # as files were once written
    two = Reviewer(sheet, read, tmp_path / "decisions.csv")
    assert two.questions == one.questions
    press(two, "sssbr")
    three = Reviewer(sheet, read, tmp_path / "decisions.csv")
    assert three.decided["decision"].tolist() == ["", "", "", "", "reject", "accept"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nan 1 1", "nan, 1, 1 is not a position: write three numbers"),
        ("1 inf 1", "1, inf, 1 is not a position: write three numbers"),
        ("1 1 95.6", "1, 1, 95.6 is outside this tomogram of 48x64x96 voxels"),
        ("-1 1 1", "-1, 1, 1 is outside this tomogram of 48x64x96 voxels"),
        ("20 30 40.0", "20, 30, 40 is within 333 Å of a motor that was added before"),
        ("20 30 46.6", "20, 30, 46.6 is within 333 Å of a motor that was added before"),
    ],
    ids=["NaN", "infinite", "beyond", "before", "twice", "beside"],
)
def test_the_widget_says_why_a_motor_cannot_be_added(case, tmp_path, text, sentence):
    """The text stays to be corrected, the file stays one that opens again and that can be applied."""
    known, sheet = case
    one = Reviewer(sheet, read, tmp_path / "decisions.csv")
    one._point.value = "20 30 40"
    one._point.value = text
    assert one._text.value.startswith(sentence)
    assert one._point.value == text
    two = Reviewer(sheet, read, tmp_path / "decisions.csv")
    after = corrections.apply(known, corrections.corrections(two.decided, run="r", round="leaky"))
    assert after.of("tomo_a").tolist() == [[10, 10, 10], [20, 30, 40]]


def test_the_same_place_in_another_tomogram_is_another_motor(case, tmp_path):
    """And after the last question none can be added, which is said too."""
    one = Reviewer(case[1], read, tmp_path / "decisions.csv")
    one._point.value = "20 30 40"
    one.skip()
    one.skip()
    one._point.value = "20 30 40"
    assert one.decided["tomo_id"].tolist()[-2:] == ["tomo_a", "tomo_b"]
    one.skip()
    one._point.value = "20 30 41"
    assert one._text.value == "no tomogram is shown: go back to the one that has the motor"


def decide_in_the_notebook(folder: Path, case: tuple, profile: str, decided: str = "") -> pd.DataFrame:
    """Run the cell of the review notebook that reads what was decided; return its table."""
    notebook = json.loads((toys.REPOSITORY / "notebooks" / "31_review_labels.ipynb").read_text())
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (source,) = (source for source in sources if "read_decisions(" in source)
    names = {"pd": pd, "Path": Path, "run": SimpleNamespace(output=folder), "read_decisions": read_decisions}
    names |= {"read_tags": read_tags, "simulated": simulated, "write_table": write_table}
    names |= {"known": case[0], "sheet": case[1], "PROFILE": profile, "DECIDED": decided}
    exec(source, names)
    return names["decided"]


@pytest.mark.parametrize("profile", ["demo", "full"])
def test_the_notebook_reads_what_a_reviewer_decided_and_never_writes_over_it(case, tmp_path, profile):
    """Whether nobody is asked, the simulation is, or another file is given; what it makes of it has another name."""
    known, sheet = case
    mine = tmp_path / "decisions.csv"
    nobody = decide_in_the_notebook(tmp_path, case, profile)
    expected = simulated.decide(sheet, known)["decision"] if profile == "demo" else [""] * len(sheet)
    assert nobody["decision"].tolist() == list(expected)
    assert not mine.exists()
    one = Reviewer(sheet, read, mine)
    one.reject()
    one.add(20, 30, 40)
    before = mine.read_bytes()
    assert decide_in_the_notebook(tmp_path, case, profile)["decision"].tolist() == ["reject", "", "", "", "", "accept"]
    (tmp_path / "annotations.xml").write_text(tagged(sheet, a="1"))
    given = decide_in_the_notebook(tmp_path, case, profile, decided=str(tmp_path / "annotations.xml"))
    assert given["decision"].tolist() == ["accept", "accept", "", "", ""]
    assert mine.read_bytes() == before
    other = (known, sheet.assign(x=sheet["x"] + 1))
    with pytest.raises(
        ValueError, match=r"decisions.csv, line 2: .* not on the sheet .*move the file away to begin anew"
    ):
        decide_in_the_notebook(tmp_path, other, profile)
    assert mine.read_bytes() == before


def test_a_sheet_that_somebody_filled_in_is_not_written_over(case, tmp_path):
    """A sheet as it was made is."""
    _, sheet = case
    path = tmp_path / "sheet.csv"
    for _ in range(2):
        assert write_sheet(path, sheet) == path
    assert pd.read_csv(path)["tomo_id"].tolist() == sheet["tomo_id"].tolist()
    filled = decide(sheet, "reject", "", "", "", "accept").to_csv(index=False)
    holds = r"sheet.csv holds decisions .* rename it to decisions.csv"
    for text, code, message in (
        (filled, "utf-8", holds),
        (filled.replace("decision", "Decision", 1), "utf-8", holds),
        (f"# by me\n\n{filled}", "utf-16", holds),
        (filled.replace("\n", "\xe9\n", 2), "latin-1", "sheet.csv is not a table"),
    ):
        path.write_text(text, encoding=code)
        before = path.read_bytes()
        with pytest.raises(ValueError, match=message):
            write_sheet(path, sheet)
        assert path.read_bytes() == before


def test_a_round_is_cross_fitted_only_if_nobody_saw_the_labels():
    """One candidate of a network that trained on its tomogram makes it leaky."""
    folds = pd.DataFrame({"tomo_id": ["tomo_a", "tomo_b", "tomo_c"], "fold": [0, 1, -1]})
    fitted = pd.DataFrame({"tomo_id": ["tomo_a", "tomo_b"], "fold": [0, 1]})
    assert kind(fitted, folds) == "cross-fitted"
    for row in (["tomo_a", 1], ["tomo_c", -1], ["tomo_a", -1]):
        assert kind(pd.concat([fitted, pd.DataFrame([row], columns=fitted.columns)]), folds) == "leaky"
    with pytest.raises(ValueError, match="tomo_q is in no fold"):
        kind(pd.DataFrame({"tomo_id": ["tomo_q"], "fold": [0]}), folds)


def test_for_review_every_tomogram_is_held_out_once():
    """Also those with several motors, spread evenly."""
    known = some(*(("abcdefgh"[k], 5 * k, 8, 8 + 9 * j) for k in range(8) for j in range(k // 2)), tomograms="abcdefgh")
    table = parts(known, splits=2, seed=1)
    assert sorted(table["tomo_id"]) == sorted(known.tomograms["tomo_id"])
    assert table["fold"].value_counts().to_dict() == {0: 4, 1: 4}
    by_motors = table.assign(motors=known.counts().to_numpy()).groupby("motors")["fold"].nunique()
    assert (by_motors == 2).all()


def test_spoiled_labels_come_back_through_a_reviewer_who_knows_the_truth():
    """With candidates at all true motors, every removed label returns, every false one goes, and none is lost."""
    points = [(name, z, y, x) for name in "abcdefgh" for z, y, x in [(24, 10, 10)] + [(24, 50, 80)] * (name < "e")]
    truth = some(*points, tomograms="abcdefghij")
    spoiled, removed, false = simulated.spoil(truth, remove=0.25, add=0.2, seed=3)
    assert (len(removed), len(false), len(spoiled.motors)) == (3, 2, 11)
    for row in false.itertuples():
        assert (np.linalg.norm(truth.of(row.tomo_id) - [row.z, row.y, row.x], axis=1) * SPACING > MATCH_RADIUS).all()
    found = truth.motors.assign(z=lambda table: table["z"] + 3, score=0.5)
    found = pd.concat([found, pd.DataFrame([["tomo_i", 3, 3, 3, 0.4]], columns=found.columns)])
    sheet = sheets.sheet(spoiled, disagreements.match(spoiled, found))
    decided = simulated.decide(sheet, truth)
    after = corrections.apply(spoiled, corrections.corrections(decided, run="r", round="cross-fitted"))
    assert after.counts().equals(truth.counts())
    for tomo_id in truth.counts().index:
        assert np.abs(np.sort(after.of(tomo_id), axis=0) - np.sort(truth.of(tomo_id), axis=0)).max(initial=0) <= 3


def test_the_reviewer_adds_what_is_in_a_picture_and_nothing_else():
    """At 50 Å per voxel the circle is 20 wide, and slices and half a motor reach 12 deep; what has a label is left."""
    beside, below, far, labelled = ("a", 20, 30, 45), ("a", 33, 30, 30), ("a", 20, 30, 51), ("a", 40, 60, 90)
    truth = some(beside, below, far, labelled)
    sheet = sheets.sheet(some(labelled), disagreements.match(some(labelled), candidates(("a", 20, 30, 30, 0.5))))
    decided = simulated.decide(sheet, truth)
    assert decided[["entry", "decision"]].to_numpy().tolist() == [
        ["label", "accept"],
        ["candidate", "reject"],
        ["new", "accept"],
    ]
    table = corrections.corrections(decided, run="r", round="leaky")
    assert table.loc[table["action"] == "add", MOTORS].to_numpy().tolist() == [["tomo_a", 20, 30, 45]]
    assert table["frame"].nunique() == 1
    assert len(corrections.apply(some(labelled), table).motors) == 2


def test_spoiling_is_the_same_again_with_the_same_seed_only():
    """And what cannot be done is refused."""
    truth = some(*((name, 24, 32, 48) for name in "abcde"), tomograms="abcdef")
    one, again, other = (simulated.spoil(truth, remove=0.4, add=0.2, seed=seed)[0] for seed in (1, 1, 2))
    assert one.motors.equals(again.motors)
    assert not one.motors.equals(other.motors)
    with pytest.raises(ValueError, match="too full for false motors"):
        simulated.spoil(Labels(truth.tomograms[:1].assign(spacing=10.0), truth.motors[:1]), add=1.0)  # 960 Å long


def test_the_rounds_of_the_original_solution_are_corrections(real):
    """Additions only, 72 in 59 tomograms and 54 in 46: replayed in any order they give its label tables."""
    gt, second, third = (read_wide(real / "labels" / f"{name}.csv") for name in ("gt", "gt_v2", "gt_v3"))
    tables = []
    for old, new, number, tomograms in ((gt, second, 72, 59), (second, third, 54, 46)):
        both = new.motors.merge(old.motors, on=MOTORS, how="left", indicator=True)
        added = both[both["_merge"] == "left_only"]
        assert (len(added), added["tomo_id"].nunique()) == (number, tomograms)
        table = pd.DataFrame(columns=CORRECTIONS).assign(**{name: added[name] for name in MOTORS})
        tables.append(table.assign(action="add", why="review", run="original", round="round"))
    after = corrections.apply(gt, pd.concat(tables).sample(frac=1, random_state=0))
    left, right = (each.motors[MOTORS].sort_values(MOTORS, ignore_index=True) for each in (after, third))
    pd.testing.assert_frame_equal(left, right, check_dtype=False)
    assert same(corrections.apply(corrections.apply(gt, tables[0]), tables[1]), after)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("erase", "b", 7, 20, 30), "tomogram tomo_b has another action"),
        (("keep", "z", 7, 20, 30), "tomogram tomo_z is not labelled"),
        (("add", "b", 700, 20, 30), "tomogram tomo_b has a correction outside its shape"),
        (("remove", "b", 7, 20, 30), "tomogram tomo_b has no motor at z, y, x = 7, 20, 30"),
        (("move", "b", 20, 20, 20), "tomogram tomo_b has a correction without a position"),
        (("add", "b", 20, 20, 21), "tomogram tomo_b gets two motors within"),
    ],
)
def test_corrections_of_several_files_keep_theirs(tmp_path, row, message):
    """As notebook 10 joins them: the second file and its line are to blame, not the table of all."""
    write_table(tmp_path / "one" / "corrections.csv", corrected(("add", "a", 10, 10, 10)))
    write_table(tmp_path / "two" / "corrections.csv", corrected(("keep", "b", 20, 20, 20), row))
    tables = [read_corrections(tmp_path / name / "corrections.csv") for name in ("one", "two")]
    for table in (pd.concat(tables), pd.concat(tables, ignore_index=True), pd.concat(tables[::-1], ignore_index=True)):
        with pytest.raises(ValueError, match=rf"^two/corrections.csv, line 3: {message}"):
            corrections.apply(some(("b", 20, 20, 20)), table, move=True)
    known = corrections.apply(some(("b", 20, 20, 20)), tables[0])
    assert list(known.motors) == ["tomo_id", "z", "y", "x", "source"]
