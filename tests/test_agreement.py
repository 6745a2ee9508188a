"""Tables of several sources are read whatever their frame, and it is said what each has that others have not."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from motors.labels import consensus
from motors.labels.external import gather, read_native
from motors.labels.formats import write_competition
from motors.labels.table import Labels
from motors.labels.wide import to_wide
from motors.tables import MOTORS, TOMOGRAMS, TableWarning

SHAPE, SPACING = (48, 64, 96), 20.0


def some(*points: tuple, tomograms: str = "ab", spacing: float = SPACING) -> Labels:
    """Labels of a few tomograms: points are tomo_id, z, y, x."""
    table = pd.DataFrame([[name, *SHAPE, spacing] for name in tomograms], columns=TOMOGRAMS)
    return Labels(table, pd.DataFrame(points, columns=MOTORS).astype(dict.fromkeys("zyx", float)))


def stored(**changes) -> pd.DataFrame:
    """One stored tomogram: 96 slices of 64 by 192 voxels made into 48 of 64 by 96."""
    row = dict(zip(TOMOGRAMS, ["run-1", *SHAPE, 16.0], strict=True))
    return pd.DataFrame([row | {"native_z": 96, "native_y": 64, "native_x": 192} | changes])


def test_motors_of_two_sources_are_paired_nearest_first_and_the_others_are_said_to_be_alone():
    """By hand: 3 and 4 voxels of 20 Å are 100 Å; 60 voxels are too far; only tomograms that both have are compared."""
    one = some(("a", 10, 10, 10), ("a", 10, 20, 10), ("b", 10, 10, 10), ("c", 1, 1, 1), tomograms="abc")
    other = some(("a", 10, 13, 14), ("b", 10, 10, 70), tomograms="bad")
    found = consensus.compare(one, other).astype(object).where(lambda table: table.notna(), None)
    assert found.to_numpy().tolist() == [
        ["a", "both", 10.0, 10.0, 10.0, 100.0],
        ["a", "one", 10.0, 20.0, 10.0, None],
        ["b", "one", 10.0, 10.0, 10.0, None],
        ["b", "other", 10.0, 10.0, 70.0, None],
    ]
    swapped = consensus.compare(other, one)
    assert swapped["where"].value_counts().to_dict() == {"other": 2, "both": 1, "one": 1}
    assert len(consensus.compare(one, other, radius=99)) == 5


def test_every_two_sources_get_one_row_of_what_they_share():
    """Sources without a common tomogram get none; without a common motor there is no distance."""
    sources = {
        "first": some(("a", 10, 10, 10), ("b", 9, 9, 9)),
        "second": some(("a", 10, 13, 14)),
        "empty": some(tomograms="a"),
        "elsewhere": some(tomograms="z"),
    }
    found = consensus.agreement(sources).astype(object).where(lambda table: table.notna(), None)
    assert found.to_numpy().tolist() == [
        ["first", "second", 2, 1, 1, 0, 100.0, 100.0],
        ["first", "empty", 1, 0, 1, 0, None, None],
        ["second", "empty", 1, 0, 1, 0, None, None],
    ]
    assert consensus.agreement({"first": sources["first"]}).empty


def test_sources_in_different_frames_are_not_compared():
    """Points of one would be somewhere else in the other."""
    with pytest.raises(ValueError, match=r"tomogram a comes with different shapes or spacings.*to one frame"):
        consensus.compare(some(), some(spacing=10.0))


def test_a_table_is_described_by_its_numbers():
    """Two motors in one tomogram, none in the other."""
    found = consensus.describe(some(("a", 1, 2, 3), ("a", 9, 9, 9)))
    assert found[["tomograms", "motors", "with", "without", "most"]].tolist() == [2, 2, 1, 1, 2]
    assert found[["min size_z", "mean size_y", "max size_x"]].tolist() == [48, 64, 96]


def test_labels_in_native_voxels_are_moved_to_the_stored_tomogram(tmp_path):
    """Centre to centre; a dataset's number is no part of the name, a motor twice is one, strangers are left out."""
    content = {"10139__run-1": [[10, 20, 31], [10, 20, 31], [95.5, 0, 0]], "run-2": [[1, 2, 3]]}
    (tmp_path / "coordinates.json").write_text(json.dumps(content))
    found = read_native(tmp_path / "coordinates.json", stored())
    assert found.of("run-1").tolist() == [[4.75, 20.0, 15.25], [47.5, 0.0, -0.25]]
    assert found.counts().to_dict() == {"run-1": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"run-1": [[1, 2], [3, 4], [5, 6]]}',
            "json, tomogram run-1: no list of z, y, x for each tomogram",
        ),
        ('{"run-1": [["a", 2, 3]]}', "coordinates.json, tomogram run-1: no list of z, y, x"),
        ('{"run-1": 3', "coordinates.json: no list of z, y, x"),
        ("[1, 2, 3]", "coordinates.json: no list of z, y, x"),
        ('{"run-0": [], "run-1": [[1, 2, true]]}', "tomogram run-1: .*true is not a number.: correct it"),
        ('{"run-1": [[1, 2]]}', "tomogram run-1: .*not three numbers of each motor"),
        (f'{{"run-1": [[1, 2, 1{"0" * 400}]]}}', "tomogram run-1: .*int too large"),
        ("[" * 100_000, "coordinates.json: no list of z, y, x"),
        ('{"run-1": [], "1__run-1": []}', "coordinates.json has 1 tomograms twice, perhaps spelt otherwise: keep one"),
        ('{"run-1": [[96, 2, 3]]}', "coordinates.json: tomogram run-1 has a motor outside its shape"),
        ('{"run-1": [[NaN, 2, 3]]}', "coordinates.json: tomogram run-1 has a motor without a position"),
    ],
)
def test_native_labels_that_cannot_be_are_refused(tmp_path, text, message):
    """One sentence with the name of the file."""
    (tmp_path / "coordinates.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_native(tmp_path / "coordinates.json", stored())


def test_a_folder_gives_all_tables_that_are_of_a_known_form(tmp_path):
    """By name; labels in other frames are read for tomograms that were stored as they came, not for those at 16 Å."""
    with pytest.raises(FileNotFoundError, match="none is not a folder: name one"):
        gather(tmp_path / "none")
    assert gather(tmp_path) == {}
    table = Labels(
        pd.concat([some().tomograms, some(tomograms="c", spacing=16.0).tomograms]), some(("a", 1, 2, 3)).motors
    )
    to_wide(table).to_csv(tmp_path / "wide.csv")
    write_competition(tmp_path / "rows.csv", table)
    frame = "z,y,x,tomo_id\n" + "".join(f"127,511.5,-0.5,{name}\n" for name in "abc")
    for name, text in (("frame.csv", frame), ("other.csv", "tomo_id,z\na,3\n"), ("notes.txt", "")):
        (tmp_path / name).write_text(text)
    (tmp_path / "some_coordinates.json").write_text('{"a": [[1, 2, 3]], "c": [[1, 2, 3]]}')
    with pytest.warns(TableWarning, match="notes.txt, other.csv"):
        found = gather(tmp_path)
    assert sorted(found) == ["frame", "rows", "some_coordinates", "wide"]
    assert found["wide"].counts().to_dict() == found["rows"].counts().to_dict() == {"a": 1, "b": 0, "c": 0}
    assert found["frame"].of("a").tolist() == [[47, 63.5, -0.5]]
    assert found["frame"].counts().to_dict() == {"a": 1, "b": 1}
    assert found["some_coordinates"].of("a").tolist() == [[1, 2, 3]]
    assert "c" not in found["some_coordinates"].counts()


def test_what_may_be_the_work_of_somebody_is_not_left_out_in_silence(tmp_path):
    """A spreadsheet, points of napari; and places with a spacing are in voxels of it, not in the fixed frame."""
    write_competition(tmp_path / "a.csv", some(("a", 4, 5, 6)))
    (tmp_path / "README.md").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gather(tmp_path)
    (tmp_path / "b.xlsx").touch()
    (tmp_path / "c.csv").write_text("axis-0,axis-1,axis-2\n4,5,6\n")
    (tmp_path / "d.csv").write_text("tomo_id,z,y,x,spacing\na,4,5,6,20\n")
    with pytest.warns(TableWarning, match="are left out, no table of labels by columns: b.xlsx, c.csv, d.csv"):
        assert list(gather(tmp_path)) == ["a"]


def test_two_label_tables_of_one_name_are_refused(tmp_path):
    """Neither takes the place of the other; a file of something else may be called so, and columns decide once."""
    (tmp_path / "coordinates.json").write_text('{"a": [[1, 2, 3]]}')
    (tmp_path / "coordinates.csv").write_text("page,text\n3,see there\n")
    with pytest.warns(TableWarning, match="left out.*coordinates.csv"):
        assert list(gather(tmp_path)) == ["coordinates"]
    write_competition(tmp_path / "coordinates.csv", some(("a", 4, 5, 6)))
    with pytest.raises(ValueError, match="two label tables called coordinates: rename one of them"):
        gather(tmp_path)
    (tmp_path / "coordinates.json").unlink()
    assert gather(tmp_path)["coordinates"].of("a").tolist() == [[4, 5, 6]]
    table = pd.read_csv(tmp_path / "coordinates.csv").assign(z=9, y=9, x=9)
    table.to_csv(tmp_path / "coordinates.csv", index=False)
    with pytest.raises(ValueError, match="coordinates.csv has z beside the competition's columns"):
        gather(tmp_path)
    for name in ("a.csv", "A.CSV"):  # where some disks have one file only
        write_competition(tmp_path / "b" / name, some(("a", 4, 5, 6)))
    with pytest.raises(ValueError, match="two label tables called a: rename one of them"):
        gather(tmp_path / "b")


@pytest.fixture(scope="module")
def sources(real) -> dict[str, Labels]:
    """All label tables there are."""
    return gather(real / "labels")


def test_the_tables_hold_what_is_known_of_them(sources):
    """Sizes on average and at the ends, motors per tomogram, spacings: official labels, then external ones."""
    gt, external = (consensus.describe(sources[name]) for name in ("gt", "external_gt"))
    sizes = [f"{how} size_{axis}" for axis in "zyx" for how in ("min", "mean", "max")]
    assert gt[sizes].round(1).tolist() == [300, 415.4, 800, 924, 953.4, 1912, 924, 954.8, 1847]
    assert external[sizes].round(1).tolist() == [77, 362.7, 800, 59, 550.5, 1024, 97, 566.4, 1120]
    assert external[["tomograms", "motors", "without"]].tolist() == [1287, 1668, 0]
    counts = sources["gt"].counts().value_counts().sort_index().to_dict()
    assert counts == {0: 286, 1: 317, 2: 26, 3: 6, 4: 9, 6: 3, 10: 1}
    spacings = {name: table.tomograms["spacing"].round(3).value_counts().to_dict() for name, table in sources.items()}
    assert spacings["gt"] == {
        13.1: 263, 15.6: 171, 16.8: 85, 19.7: 49, 16.1: 40, 13.3: 18, 19.3: 10, 19.2: 7, 6.5: 3, 13.2: 2,
    }  # fmt: skip
    assert spacings["external_gt"] == {16.0: 1130, 16.145: 66, 19.733: 42, 19.315: 38, 19.24: 11}
    assert np.median(sources["external_gt"].tomograms[["size_z", "size_y", "size_x"]], axis=0).tolist() == [
        256,
        646,
        650,
    ]


def test_independent_sources_agree_about_nearly_all_motors(sources):
    """Both reviews, the external labels, and those of the competition's second place."""
    pairs = consensus.agreement(sources).set_index(["one", "other"])
    table = pairs[["tomograms", "both", "only_one", "only_other"]]
    assert table.loc["gt", "gt_v2"].tolist() == [648, 451, 0, 72]
    assert table.loc["gt_v2", "gt_v3"].tolist() == [648, 523, 0, 54]
    assert table.loc["all_gt_v3", "gt_v3"].tolist() == [648, 577, 0, 0]
    assert table.loc["all_gt_v3", "external_gt"].tolist() == [1287, 1668, 0, 0]
    assert (pairs.loc[[("gt", "gt_v2"), ("gt_v2", "gt_v3"), ("all_gt_v3", "gt_v3")], "farthest"] == 0).all()
    assert table.loc["gt", "second_place_coordinates"].tolist() == [648, 450, 1, 165]
    assert table.loc["gt_v3", "second_place_coordinates"].tolist() == [648, 521, 56, 94]
    assert table.loc["external_gt", "second_place_coordinates"].tolist() == [157, 303, 7, 29]
    assert table.loc["external_gt", "brendanartley_external_labels"].tolist() == [157, 299, 11, 0]
    assert pairs.loc[("external_gt", "brendanartley_external_labels"), "median"] < 110
    assert pairs.loc[("brendanartley_external_labels", "second_place_coordinates"), "median"] < 20
