"""Points as other programs keep them: every format says where the same voxel is, in its own numbers."""

import json
import os
import subprocess
import warnings
from contextlib import nullcontext
from xml.etree import ElementTree

import dynamotable
import imodmodel
import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile

from motors.labels.external import read_picked
from motors.labels.table import Labels
from motors.picks import formats
from motors.picks.conventions import PICKS, named
from motors.review.corrections import apply, corrections_of
from motors.tables import TOMOGRAMS, TableWarning, refuse

SIZES, SPACING = (41, 64, 97), 13.17  # three different sides, odd and even, a spacing that is not round
AT = {"z": 7.25, "y": 50.5, "x": 90.0}
TOMOGRAM = pd.DataFrame([["tomo_1", *SIZES, SPACING]], columns=TOMOGRAMS)
PICK = pd.DataFrame([{"tomo_id": "tomo_1", **AT, "score": 0.625}])
KEEPS_SCORE = ("csv", "json", "star", "tbl", "copick", "napari")


@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_point_comes_back_at_its_voxel(tmp_path, name):
    """Whatever a format's axes, unit and origin are."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, name)
    found = formats.read(path, TOMOGRAM)
    np.testing.assert_allclose(found[["z", "y", "x"]], [list(AT.values())], atol=2e-5)
    assert found.tomo_id.tolist() == ["tomo_1"]
    assert found.score.tolist() == pytest.approx([0.625 if name in KEEPS_SCORE else 1.0])


@pytest.mark.parametrize(
    "tomo_id", ["data_1", "_x", "loop_", "my  cell", "-x", "a=b", "a'b", 'a"b', "a#b", "NaN", "a\tb"]
)
@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_name_comes_back_or_is_refused_before_anything_is_written(tmp_path, name, tomo_id):
    """Words of STAR's own are names like others; quotes and remarks are what it cannot hold."""
    picks, tomogram = PICK.assign(tomo_id=tomo_id), TOMOGRAM.assign(tomo_id=tomo_id)
    if tomo_id in {"star": ("a'b", 'a"b', "a#b", "NaN", "a\tb"), "tbl": ('a"b', "a\tb")}.get(name, ()):
        with pytest.raises(ValueError, match=f"the format {name} cannot hold the name"):
            formats.write(tmp_path, picks, tomogram, ["csv", name])
        assert not [*tmp_path.iterdir()]
    else:
        (path,) = formats.write(tmp_path, picks, tomogram, name)
        own = tomo_id if formats.FORMATS[name].each else None
        assert formats.read(path, tomogram, name=own).tomo_id.tolist() == [tomo_id]


@pytest.mark.parametrize("name", formats.FORMATS)
def test_ids_that_are_numbers_are_written_too(tmp_path, name):
    """As pandas reads them; they come back as text."""
    tomogram = TOMOGRAM.assign(tomo_id=17)
    (path,) = formats.write(tmp_path, PICK.assign(tomo_id=17), tomogram, name)
    assert formats.read(path, tomogram.astype({"tomo_id": str})).tomo_id.tolist() == ["17"]


@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_tomogram_without_picks_is_written_and_read_too(tmp_path, name):
    """Nothing found is a result; whoever goes by the tomograms that have picks hears of it."""
    (path,) = formats.write(tmp_path, PICK[:0], TOMOGRAM, name)
    with pytest.warns(TableWarning, match=f"{path.name} holds no picks"):
        assert formats.read(path, TOMOGRAM).empty


def test_picks_in_another_order_than_their_file_do_not_claim_its_lines(tmp_path):
    """They come back best first: the second line's pick is the last."""
    (tmp_path / "a.csv").write_text("tomo_id,z,y,x,score\ntomo_1,1,2,3,0.5\ntomo_1,4,5,6,0.9\n")
    found = formats.read(tmp_path / "a.csv", TOMOGRAM)
    assert found["score"].tolist() == [0.9, 0.5]
    with pytest.raises(ValueError, match="^a.csv: tomogram tomo_1 is odd: mend it"):
        refuse(found, [True, False], "a.csv", "is odd", "mend it")


def test_relion_has_voxels_and_angstrom_from_half_the_size(tmp_path):
    """RELION 5 adds half of each size, in fractions, to what it reads: hand-computed."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "star")
    row = starfile.read(path).iloc[0]
    assert row.rlnTomoName == "tomo_1"
    assert [row.rlnCoordinateZ, row.rlnCoordinateY, row.rlnCoordinateX] == pytest.approx([7.25, 50.5, 90.0])
    assert row.rlnCenteredCoordinateZAngst == pytest.approx((7.25 - 20.5) * 13.17, abs=1e-4)
    assert row.rlnCenteredCoordinateYAngst == pytest.approx((50.5 - 32) * 13.17, abs=1e-4)
    assert row.rlnCenteredCoordinateXAngst == pytest.approx((90 - 48.5) * 13.17, abs=1e-4)


def test_imod_counts_x_and_y_from_the_edge_of_a_voxel(tmp_path):
    """Its first voxel is at 0.5 0.5 0."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "mod")
    row = imodmodel.read(path).iloc[0]
    assert [row.x, row.y, row.z] == pytest.approx([90.5, 51.0, 7.25])
    header = imodmodel.ImodModel.from_file(path).header
    assert [header.xmax, header.ymax, header.zmax] == [97, 64, 41]


def test_dynamo_knows_tomograms_by_numbers_and_a_map(tmp_path):
    """Two of them, one whose name is a number, one with a blank."""
    tomograms = pd.concat([TOMOGRAM.assign(tomo_id=name) for name in ("007", "my cell")])
    picks = pd.concat([PICK.assign(tomo_id="my cell"), PICK.assign(tomo_id="007", z=3.0)])
    (path,) = formats.write(tmp_path, picks, tomograms, "tbl")
    table = dynamotable.read(str(path), str(path.with_suffix(".doc")))
    assert dict(zip(table.tomo_file, table.z, strict=True)) == {"my cell": 7.25, "007": 3.0}
    assert formats.read(path, tomograms).tomo_id.tolist() == ["007", "my cell"]
    for size, right in ((1.0, True), (0.0, True), (6.6, False)):  # ångström; 0 and 1 where nobody said it
        dynamotable.write(table.assign(apix=size), str(tmp_path / "b.tbl"))
        (tmp_path / "b.doc").write_bytes(path.with_suffix(".doc").read_bytes())
        with nullcontext() if right else pytest.raises(ValueError, match="was picked at another spacing"):
            assert len(formats.read(tmp_path / "b.tbl", tomograms)) == 2
    path.with_suffix(".doc").unlink()
    with pytest.raises(ValueError, match="numbers"):
        formats.read(path, tomograms)


READ_BY_COPICK = """
import json, sys, copick
kind = {"name": "flagellar-motor", "is_particle": True, "label": 1, "color": [255, 176, 0, 255], "radius": 225}
about = {"config_type": "filesystem", "name": "a", "description": "a", "version": "1", "pickable_objects": [kind]}
json.dump(about | {"overlay_root": f"local://{sys.argv[1]}/copick/"}, open(f"{sys.argv[1]}/config.json", "w"))
(run,) = copick.from_file(f"{sys.argv[1]}/config.json").runs
(picks,) = run.picks
print(json.dumps([run.name, *([point.location.z, point.location.y, point.location.x] for point in picks.points)]))
"""


@pytest.mark.slow
def test_copick_itself_reads_our_picks(tmp_path):
    """In an environment of its own, which MOTORS_COPICK names: it needs another zarr than the library."""
    if not (python := os.environ.get("MOTORS_COPICK")):
        pytest.skip("no Python with copick is named in MOTORS_COPICK")
    formats.write(tmp_path, PICK, TOMOGRAM, "copick")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    how = {"env": environment, "capture_output": True, "text": True, "check": True}
    said = subprocess.run([python, "-c", READ_BY_COPICK, tmp_path], **how).stdout
    name, point = json.loads(said.splitlines()[-1])
    assert name == "tomo_1" and point == pytest.approx([SPACING * AT[axis] for axis in "zyx"])


def test_copick_picks_lie_in_angstrom_where_a_project_has_them(tmp_path):
    """The fields of its documentation; `test_copick_itself_reads_our_picks` asks copick."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "copick")
    assert path.relative_to(tmp_path / "copick" / "ExperimentRuns").parts[:2] == ("tomo_1", "Picks")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["unit"] == "angstrom"
    (point,) = content["points"]
    assert point["location"] == pytest.approx({"x": 90 * 13.17, "y": 50.5 * 13.17, "z": 7.25 * 13.17})
    assert point["transformation_"] == np.eye(4).tolist()
    moved = path.rename(tmp_path / "motors_0_flagellar-motor.json")  # outside a project
    assert formats.read(moved, TOMOGRAM, name="tomo_1").x.tolist() == [90.0]
    point["transformation_"] = [[0, -1, 0, 13.17], [1, 0, 0, 0], [0, 0, 1, -26.34], [0, 0, 0, 1]]
    moved.write_text(json.dumps(content), encoding="utf-8")  # turned, which no point is, and shifted by 1 and -2 voxels
    found = formats.read(moved, TOMOGRAM, name="tomo_1")[["z", "y", "x"]].to_numpy()
    np.testing.assert_allclose(found, [[5.25, 50.5, 91]], atol=1e-9)


def test_points_of_the_portal_chimerax_and_napari_are_as_these_programs_have_them(tmp_path):
    """Voxels by name, ångström by name, and the axes of the array."""
    portal, chimerax, napari = formats.write(tmp_path, PICK, TOMOGRAM, ["ndjson", "cmm", "napari"])
    assert json.loads(portal.read_text()) == {"type": "point", "location": {"x": 90.0, "y": 50.5, "z": 7.25}}
    marker = ElementTree.parse(chimerax).find("marker").attrib
    assert [float(marker[axis]) for axis in "xyz"] == pytest.approx([90 * 13.17, 50.5 * 13.17, 7.25 * 13.17])
    table = pd.read_csv(napari)
    assert table.columns.tolist() == ["index", "axis-0", "axis-1", "axis-2", "score"]
    assert table.loc[0, ["axis-0", "axis-1", "axis-2"]].tolist() == [7.25, 50.5, 90.0]


@pytest.mark.parametrize(
    ("header", "moved"),
    [
        ({"origin": (1000.0, -200.0, 30.0), "start": (7, 8, 9)}, (1000, -200, 30)),
        ({"origin": (0.0, 0.0, 0.0), "start": (-10, 20, 3)}, (-131.7, 263.4, 39.51)),
    ],
    ids=["origin", "start"],
)
def test_markers_lie_where_chimerax_puts_the_tomogram(tmp_path, header, moved):
    """It adds the origin in the header, or where that is 0, the start in voxels: x, y, z."""
    mrc = tmp_path / "tomo_1.mrc.gz"
    with mrcfile.new(mrc, compression="gzip") as file:
        file.set_data(np.zeros((4, 5, 6), np.float32))
        file.voxel_size, file.header.origin = 13.17, header["origin"]
        file.nstart = header["start"]
    known = TOMOGRAM.assign(path=str(mrc))
    (path,) = formats.write(tmp_path, PICK, known, "cmm")
    marker = ElementTree.parse(path).find("marker").attrib
    shifted = [place * 13.17 + shift for place, shift in zip((90, 50.5, 7.25), moved, strict=True)]
    assert [float(marker[axis]) for axis in "xyz"] == pytest.approx(shifted, abs=1e-3)
    np.testing.assert_allclose(formats.read(path, known)[["z", "y", "x"]], [[7.25, 50.5, 90]], atol=1e-4)


def test_oriented_points_of_the_portal_and_markers_that_were_linked_are_read(tmp_path):
    """What else such files hold is left alone."""
    lines = [{"type": "orientedPoint", "location": {"x": 1, "y": 2, "z": 3}, "xyz_rotation_matrix": np.eye(3).tolist()}]
    (tmp_path / "a.ndjson").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8-sig")
    assert formats.read(tmp_path / "a.ndjson")[["z", "y", "x"]].to_numpy().tolist() == [[3, 2, 1]]
    marker = '<marker id="{}" x="13.17" y="26.34" z="39.51" r="1" g="1" b="0" radius="5"/>'
    link = '<link id1="1" id2="2" radius="1"/>'
    (tmp_path / "tomo_1.cmm").write_text(f'<marker_set name="m">{marker.format(1)}{link}</marker_set>')
    found = formats.read(tmp_path / "tomo_1.cmm", TOMOGRAM)
    np.testing.assert_allclose(found[["z", "y", "x"]], [[3, 2, 1]])


def test_warp_and_paths_name_the_same_tomogram(tmp_path):
    """Programs know a tomogram by its file."""
    table = pd.DataFrame({"rlnCoordinateX": [5.0], "rlnCoordinateY": [6.0], "rlnCoordinateZ": [7.0]})
    names = ("tomo_1.tomostar", "rec/tomo_1.mrc", "D:\\rec\\tomo_1.ome.tif", "tomo_1.rec.gz", "tomo_1.st.tomostar")
    for name in names:
        starfile.write(table.assign(rlnMicrographName=name), tmp_path / "p.star", overwrite=True)
        assert formats.read(tmp_path / "p.star", TOMOGRAM).tomo_id.tolist() == ["tomo_1"]
    for tomo_id in ("tomo_1", "tomo_1.st"):  # as two files of one folder are called, tomo_1.mrc and tomo_1.st
        found = formats.read(tmp_path / "p.star", TOMOGRAM.assign(tomo_id=tomo_id))
        assert found.tomo_id.tolist() == [tomo_id]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rlnCoordinateX": 45.0}, "disagree"),  # binned by two
        ({"rlnTomoName": "tomo_2"}, "tomo_2"),
        ({"rlnCenteredCoordinateZAngst": "north"}, "position"),
    ],
)
def test_a_star_file_that_contradicts_itself_is_refused(tmp_path, change, word):
    """Rather than one of two places."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "star")
    starfile.write(starfile.read(path).assign(**change), path, overwrite=True)
    with pytest.raises(ValueError, match=word):
        formats.read(path, TOMOGRAM)


@pytest.mark.parametrize(
    ("file", "text", "word"),
    [
        ("a.csv", "tomo_id,z,y,x\ntomo_1,90,50,7\n", "outside"),  # x and z changed places
        ("a.csv", "tomo_id,z,y,x\ntomo_1,7,,90\n", "position"),
        ("a.csv", "tomo_id,z,y\ntomo_1,7,50\n", "column x"),
        ("tomo_1.csv", 'axis-0,axis-1,axis-2\n"7,25",50.5,90\n', r"tomo_1.csv: .* z \['7,25'\]: write 1234.5"),
        ("a.json", '[{"tomo": 1}]', "damaged"),
        ("a.json", '{"unit": "nanometre", "points": []}', "nanometre"),
        ("tomo_1.cmm", "<marker_set", "damaged"),
        ("tomo_1.cmm", "<html></html>", "holds <html>"),
        ("tomo_1.ndjson", '\n{"type": "point"}\n', "tomo_1.ndjson, line 2: no point with location"),
        ("tomo_1.ndjson", '{\n"type": "point"\n}\n', "tomo_1.ndjson, line 1: no point with location"),
        ("a.json", "\udcff\udcfe" * 999, "damaged .{,99}: export"),  # and not all of it again
        ("a.star", "data_\n\nloop_\n_rlnA #1\n1\n", "no block with rlnCoordinateZ"),
        ("a.star", "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 2\n", "no block with rlnCoordinateZ"),
        (
            "a.star",
            "".join(
                f"data_{n}\n\nloop_\n_rlnTomoName\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\ntomo_1 1 2 3\n\n"
                for n in "ab"
            ),
            "2 blocks",
        ),
        ("a.star", "no star at all", "a.star"),
        ("a.mod", "IMODV1.2 and no more", "damaged"),
        ("a.tbl", "1 2 x\n1 2 3\n\n1 2 3 4 5\n", "a.tbl, line 4: 5 values, line 1 has 3"),
        ("a.tbl", f"{'7 ' * 35}\n{'7 ' * 26}\n", "a.tbl, line 2: 26 values, line 1 has 35"),  # where a disk was full
        ("a.tbl", "1 2 3\n", "damaged"),
        ("a.txt", "", "known kind"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, file, text, word):
    """In a sentence with its name."""
    (tmp_path / file).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=word):
        formats.read(tmp_path / file, TOMOGRAM)


@pytest.mark.parametrize("tomo_id", ["ts1.rec", "my cell", "x.mrc", "007"])
@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_name_that_looks_like_that_of_a_file_stays_a_name(tmp_path, name, tomo_id):
    """Endings are taken off only where that makes a known tomogram."""
    (path,) = formats.write(tmp_path, PICK.assign(tomo_id=tomo_id), TOMOGRAM.assign(tomo_id=tomo_id), name)
    assert formats.read(path, TOMOGRAM.assign(tomo_id=tomo_id)).tomo_id.tolist() == [tomo_id]


@pytest.mark.parametrize("name", ["csv", "json", "mod"])
def test_picks_of_a_binned_tomogram_are_none_of_this_one(tmp_path, name):
    """Where a file states the spacing that it was made at, that has to be the tomogram's."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, name)
    with pytest.raises(ValueError, match="tomogram tomo_1 was picked at another spacing"):
        formats.read(path, TOMOGRAM.assign(spacing=SPACING / 2))


def test_a_model_that_was_saved_with_y_and_z_flipped_is_turned_back(tmp_path):
    """IMOD: "data is stored with y,z coords flipped"; its slices then are those along y."""
    (path,) = formats.write(tmp_path, PICK.assign(z=50.5, y=7.25), TOMOGRAM.assign(size_z=64, size_y=41), "mod")
    model = imodmodel.ImodModel.from_file(path)
    model.header.flags.model_last_viewed_onYZ_flipped_or_rotated = True
    model.to_file(path)
    np.testing.assert_allclose(formats.read(path, TOMOGRAM)[["z", "y", "x"]], [list(AT.values())], atol=2e-5)


def test_shifts_of_relion_are_subtracted_if_their_axes_are_those_of_the_tomogram(tmp_path):
    """rlnOriginXAngst says by how much the particle lies before its coordinate."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "star")
    shifted = starfile.read(path).assign(rlnOriginXAngst=26.34, rlnOriginYAngst=0.0, rlnOriginZAngst=-13.17)
    starfile.write(shifted, path, overwrite=True)
    np.testing.assert_allclose(formats.read(path, TOMOGRAM)[["z", "y", "x"]], [[8.25, 50.5, 88.0]], atol=1e-4)
    with pytest.raises(ValueError, match="shifts in ångström"):
        formats.read(path)
    starfile.write(shifted.drop(columns="rlnOriginZAngst"), path, overwrite=True)  # as of pictures
    np.testing.assert_allclose(formats.read(path, TOMOGRAM)[["z", "y", "x"]], [[7.25, 50.5, 88.0]], atol=1e-4)
    starfile.write(shifted, path, overwrite=True)
    older = starfile.read(path).rename(columns=lambda name: name.replace("Angst", "") if "Origin" in name else name)
    starfile.write(older, tmp_path / "older.star")
    np.testing.assert_allclose(
        formats.read(tmp_path / "older.star", TOMOGRAM)[["z", "y", "x"]], [[20.42, 50.5, 63.66]], atol=1e-4
    )
    starfile.write(shifted.assign(rlnTomoSubtomogramTilt=90.0), path, overwrite=True)
    with pytest.raises(ValueError, match="shifts along axes that rlnTomoSubtomogramRot turns: apply rlnOriginXAngst"):
        formats.read(path, TOMOGRAM)


def test_pixels_of_another_size_and_records_that_are_no_points_are_said(tmp_path):
    """Coordinates of RELION may count voxels before binning; whoever has centred ångström too needs no word."""
    table = pd.DataFrame([["tomo_1", 90.0, 50.5, 7.25]], columns=["rlnTomoName", *(f"rlnCoordinate{a}" for a in "XYZ")])
    for size, said in ((13.17, False), (6.585, True)):
        starfile.write(table.assign(rlnImagePixelSize=size), tmp_path / "a.star", overwrite=True)
        expected = pytest.warns(TableWarning, match="states pixels of 6.585 Å, the tomogram has 13.17")
        with expected if said else nullcontext():
            assert len(formats.read(tmp_path / "a.star", TOMOGRAM)) == 1
    (tmp_path / "tomo_1.ndjson").write_text(json.dumps({"type": "segmentationMask", "location": AT}))
    with pytest.raises(ValueError, match="a record of type 'segmentationMask'"):
        formats.read(tmp_path / "tomo_1.ndjson", TOMOGRAM)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        formats.read(tmp_path, TOMOGRAM)


OPTICS = pd.DataFrame({"rlnOpticsGroup": [2, 1], "rlnTomoTiltSeriesPixelSize": [6.585, SPACING]})


@pytest.mark.parametrize(
    ("columns", "optics", "word", "place"),
    [
        ({"rlnOpticsGroup": 1}, OPTICS, None, [7, 6, 5]),
        ({"rlnOpticsGroup": 2}, OPTICS, "6.585 Å.* brought to its voxels", [3.5, 3, 2.5]),
        ({"rlnOpticsGroup": 2}, OPTICS[:1], "6.585 Å.* brought to its voxels", [3.5, 3, 2.5]),
        ({"rlnOpticsGroup": 2, "rlnTomoTiltSeriesPixelSize": SPACING}, OPTICS, None, [7, 6, 5]),
        ({"rlnPixelSize": 6.585}, None, "6.585 Å.* check the binning", [7, 6, 5]),
        ({"rlnDetectorPixelSize": 13.17, "rlnMagnification": 10_000.0}, None, None, [7, 6, 5]),
        ({"rlnDetectorPixelSize": 13.17, "rlnMagnification": 20_000.0}, None, "6.585 Å", [7, 6, 5]),
        ({"rlnDetectorPixelSize": SPACING}, None, None, [7, 6, 5]),
        ({"rlnDetectorPixelSize": 6.585}, None, "6.585 Å.* check the binning", [7, 6, 5]),  # of PyTom
        ({}, OPTICS[:1], "6.585 Å.* brought to its voxels", [3.5, 3, 2.5]),
        ({}, OPTICS.assign(rlnTomoTiltSeriesPixelSize=6.585), "6.585 Å.* brought to its voxels", [3.5, 3, 2.5]),
        ({}, OPTICS, "several rlnTomoTiltSeriesPixelSize.* check the binning", [7, 6, 5]),
        (
            {"rlnOpticsGroupName": "b"},
            OPTICS.assign(rlnOpticsGroupName=["b", "a"]),
            "6.585 Å.* brought to its voxels",
            [3.5, 3, 2.5],
        ),
    ],
)
def test_relion_counts_pixels_of_the_size_that_it_states(tmp_path, columns, optics, word, place):
    """Those of the tilt series are smaller than those of a binned tomogram; other sizes may be of the images."""
    table = pd.DataFrame({"rlnTomoName": ["tomo_1"], "rlnCoordinateX": 5.0, "rlnCoordinateY": 6, "rlnCoordinateZ": 7})
    blocks = {"particles": table.assign(**columns)} | ({} if optics is None else {"optics": optics})
    starfile.write(blocks, tmp_path / "p.star")
    with pytest.warns(TableWarning, match=word) if word else nullcontext():
        found = formats.read(tmp_path / "p.star", TOMOGRAM)
    assert found[["z", "y", "x"]].to_numpy().tolist() == [pytest.approx(place)]


def test_a_table_of_picks_may_be_a_submission_and_say_that_there_is_none(tmp_path):
    """With its columns; rows of -1 are no picks, nor is a name spelt otherwise by the disk another file."""
    head = "tomo_id,Motor axis 0,Motor axis 1,Motor axis 2,has_motor\n"
    (tmp_path / "e\u0301.csv").write_text(f"{head}tomo_1,7,6,5,yes\ntomo_2,-1,-1,-1,No\n")
    assert formats.read(tmp_path / "\u00e9.csv", TOMOGRAM)[["z", "y", "x"]].to_numpy().tolist() == [[7, 6, 5]]
    (tmp_path / "a.csv").write_text(f"{head}tomo_1,7,6,5,no\n")
    with pytest.raises(ValueError, match="line 2.*against its position"):
        formats.read(tmp_path / "a.csv", TOMOGRAM)


def test_picks_of_another_object_are_no_motors_without_a_word(tmp_path):
    """A project of copick has picks of many."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "copick")
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"pickable_object_name": "ribosome"}))
    with pytest.warns(TableWarning, match="of the object ribosome: taken as motors"):
        formats.read(path, TOMOGRAM)


def test_a_star_file_that_was_damaged_is_read_anew_when_it_is_mended(tmp_path):
    """And a block of one particle needs no loop."""
    path, head = (
        tmp_path / "a.star",
        "data_\n\nloop_\n_rlnTomoName\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n",
    )
    path.write_text(f"{head}tomo_1 90.0 50.5\n")
    with pytest.raises(ValueError, match="a.star, line 8: 3 values for 4 columns"):
        formats.read(path)
    path.write_text(f"{head}tomo_1 90.0 50.5 7.25\n")
    assert formats.read(path)[["z", "y", "x"]].to_numpy().tolist() == [list(AT.values())]
    path.write_text("data_\n\n_rlnTomoName tomo_1\n_rlnCoordinateX 90.0\n_rlnCoordinateY 50.5\n_rlnCoordinateZ 7.25\n")
    assert formats.read(path)[["z", "y", "x"]].to_numpy().tolist() == [list(AT.values())]


STAR = "data_\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n_rlnCoordinateZ #4\n_rlnAngleRot #5\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("tomo_1 50.5 7.25 0\ntomo_1 90 50.5 7.25 0\n", "line 9: 4 values for 5 columns: correct it"),
        ("tomo_1 90 50.5 7.25 0\n\n# and\n'tomo_1' 90 50.5 0 # x\n", "line 12: 4 values for 5 columns"),
        ("tomo_1 90 50.5 7.25 0 1\n", "line 9: 6 values for 5 columns"),
        ("tomo_1 90 50.5 7.25 0\ntomo_1 90 50.5 725 0\n", "line 10: tomogram tomo_1 has a pick outside"),
        ("tomo_1 90 50,5 7.25 0\n", r"line 9: tomogram tomo_1 has rlnCoordinateY \['50,5'\]: write 1234.5"),
        ("tomo_1 90 north 7.25 0\n", "line 9: tomogram tomo_1 has a pick without a position"),
        ("# a\x0cb\u2028c\ntomo_1 900 50.5 7.25 0\n", "line 10: tomogram tomo_1 has a pick outside"),
        ("tomo_7 90 50.5 7.25 0\n", "line 9: tomogram tomo_7 is not among the tomograms here"),
        (f"tomo_1 90 50.5 7.25 0\n\n{STAR}tomo_1 9 5 7 0\n", "line 11: data_ is there twice"),
    ],
)
def test_a_row_of_a_star_file_never_moves_and_is_blamed_by_its_line(tmp_path, rows, message):
    """starfile fills short rows up, and of two blocks of one name it keeps the last."""
    (tmp_path / "p.star").write_text(STAR + rows)
    with pytest.raises(ValueError, match=f"p.star, {message}"):
        formats.read(tmp_path / "p.star", TOMOGRAM)


def test_a_star_file_that_names_no_tomogram_is_of_the_one_it_is_called_like(tmp_path):
    """As those that RELION 5 imports one by one."""
    text = STAR.replace("_rlnTomoName #1\n", "") + "90 50.5 7.25 0\n"
    for name in ("tomo_1.star", "p.star"):
        (tmp_path / name).write_text(text)
    assert formats.read(tmp_path / "tomo_1.star", TOMOGRAM)[["tomo_id", *AT]].to_numpy().tolist() == [
        ["tomo_1", *AT.values()]
    ]
    with pytest.raises(ValueError, match="p.star has no column rlnTomoName"):
        formats.read(tmp_path / "p.star", TOMOGRAM)


def test_particles_of_an_optics_group_that_is_not_there_are_not_without_a_position(tmp_path):
    """Their pixels are."""
    table = pd.DataFrame(
        [["tomo_1", 5.0, 6.0, 7.0, 3]], columns=["rlnTomoName", *(f"rlnCoordinate{a}" for a in "XYZ"), "rlnOpticsGroup"]
    )
    starfile.write({"particles": table, "optics": OPTICS}, tmp_path / "p.star")
    with pytest.raises(
        ValueError, match="p.star states no rlnTomoTiltSeriesPixelSize for some particles: give their rlnOpticsGroup"
    ):
        formats.read(tmp_path / "p.star", TOMOGRAM)


def test_shares_of_the_sides_are_no_voxels(tmp_path):
    """Warp's template matching writes them; all motors would lie in the first corner."""
    for file, text in {
        "p.star": STAR + "tomo_1 0.93 0.79 0.18 0\ntomo_1 0 1 0.5 0\n",
        "p.csv": "tomo_id,z,y,x\ntomo_1,0.18,0.79,0.93\n",
        "tomo_1.csv": "axis-0,axis-1,axis-2\n0.18,0.79,0.93\n",
        "tomo_1.ndjson": json.dumps({"type": "point", "location": {"x": 0.93, "y": 0.79, "z": 0.18}}),
    }.items():
        (tmp_path / file).write_text(text)
        with pytest.raises(ValueError, match=f"{file} has places from 0 to 1"):
            formats.read(tmp_path / file, TOMOGRAM)
    (tmp_path / "p.csv").write_text("tomo_id,z,y,x\ntomo_1,0.18,0.79,0.93\ntomo_1,0,0,1.5\n")
    assert len(formats.read(tmp_path / "p.csv", TOMOGRAM)) == 2


def test_the_map_that_dynamo_writes_itself_names_tomograms(tmp_path):
    """`indices_column20.doc` beside `crop.tbl`; one that is called like the table goes before it. Lines are blamed."""
    (made,) = formats.write(tmp_path, PICK, TOMOGRAM, "tbl")
    (tmp_path / "crop.tbl").write_text("\n" + made.read_text())
    (tmp_path / "indices_column20.doc").write_text("1 /data/tomograms/tomo_1.rec\n")
    np.testing.assert_allclose(formats.read(tmp_path / "crop.tbl", TOMOGRAM)[["z", "y", "x"]], [list(AT.values())])
    with pytest.raises(ValueError, match="crop.tbl, line 2: tomogram tomo_1 has a pick outside"):
        formats.read(tmp_path / "crop.tbl", TOMOGRAM.assign(size_x=50))
    (tmp_path / "crop.doc").write_text("1 tomo_7\n")
    with pytest.raises(ValueError, match="crop.tbl, line 2: tomogram tomo_7 is not among the tomograms here"):
        formats.read(tmp_path / "crop.tbl", TOMOGRAM)


def test_the_map_of_dynamo_stays_that_of_its_table_where_a_disk_is_full(tmp_path, monkeypatch):
    """Numbers of before with names of now would put every motor into another tomogram."""
    (made,) = formats.write(tmp_path, PICK, TOMOGRAM, "tbl")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(dynamotable, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        formats.write(tmp_path, PICK, pd.concat([TOMOGRAM.assign(tomo_id="tomo_0"), TOMOGRAM]), "tbl")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert formats.read(made, TOMOGRAM)["tomo_id"].tolist() == ["tomo_1"]


def test_what_a_model_of_imod_says_of_its_objects_and_its_volume_is_heard(tmp_path):
    """Points of a membrane are no motors without a word, nor those of a volume half as large."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "mod")
    model = imodmodel.ImodModel.from_file(path)
    for sides in ((97, 64, 41), (97, 41, 64), (0, 0, 0)):  # y and z may be flipped, or nobody said
        model.header.xmax, model.header.ymax, model.header.zmax = sides
        model.to_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", TableWarning)
            assert len(formats.read(path, TOMOGRAM)) == 1
    model.header.xmax, model.header.ymax, model.header.zmax = 194, 128, 82
    model.to_file(path)
    with pytest.warns(TableWarning, match=r"of a volume of \[82, 128, 194\] voxels, the tomogram has \[41, 64, 97\]"):
        assert len(formats.read(path, TOMOGRAM)) == 1
    points = pd.DataFrame({"object_id": [0, 1], "contour_id": 0, "x": [9.5, 8.5], "y": [5.5, 4.5], "z": [3.0, 2.0]})
    model = imodmodel.ImodModel.from_dataframe(points)
    model.objects[1].header.name = "membrane"
    model.to_file(path)
    with pytest.warns(TableWarning, match="tomo_1.mod has the objects nameless, membrane: all are taken as motors"):
        assert formats.read(path, TOMOGRAM)[["z", "y", "x"]].to_numpy().tolist() == [[2, 4, 8], [3, 5, 9]]


@pytest.mark.parametrize("column", ["axis-3", "shape-type"])
def test_times_and_outlines_of_napari_are_no_motors(tmp_path, column):
    """The first three of four axes are not z, y, x; corners of a polygon are not points."""
    (tmp_path / "a.csv").write_text(f"index,{column},axis-0,axis-1,axis-2\n0,3,7.25,50.5,40.0\n")
    with pytest.raises(ValueError, match=f"a.csv has the column {column}"):
        formats.read(tmp_path / "a.csv", TOMOGRAM)


def test_what_is_optional_in_a_file_may_be_null(tmp_path):
    """copick has a null for no points and for no score; a line of JSON ends where the line does."""
    about = {"run_name": "tomo_1", "voxel_spacing": SPACING, "unit": "angstrom"}
    (tmp_path / "a.json").write_text(json.dumps(about | {"points": None}))
    assert formats.read(tmp_path / "a.json", TOMOGRAM).empty
    point = {"location": {axis: AT[axis] * SPACING for axis in AT}, "score": None}
    (tmp_path / "a.json").write_text(json.dumps(about | {"points": [point]}))
    assert formats.read(tmp_path / "a.json", TOMOGRAM, name="tomo_1").score.tolist() == [1.0]
    line = {"type": "point", "location": AT, "note": "above\u2028below"}
    (tmp_path / "tomo_1.ndjson").write_text(json.dumps(line, ensure_ascii=False) + "\n")
    assert formats.read(tmp_path / "tomo_1.ndjson", TOMOGRAM)[["z", "y", "x"]].to_numpy().tolist() == [
        list(AT.values())
    ]


def test_angstrom_without_a_spacing_is_refused_and_an_unknown_format_named(tmp_path):
    """Nobody guesses."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "cmm")
    with pytest.raises(ValueError, match="spacings"):
        formats.read(path)
    with pytest.raises(ValueError, match="'xyz'"):
        formats.write(tmp_path, PICK, TOMOGRAM, ["csv", "xyz"])
    assert not (tmp_path / "detections.csv").exists()
    with pytest.raises(FileNotFoundError):
        formats.read(tmp_path / "none.star")


@pytest.mark.parametrize("name", ["star", "mod", "ndjson", "napari"])
def test_picks_become_labels(tmp_path, name):
    """A tomogram that was looked at and has no pick has no motor."""
    tomograms = pd.concat([TOMOGRAM, TOMOGRAM.assign(tomo_id="empty")], ignore_index=True)
    paths = formats.write(tmp_path, PICK, tomograms, name)
    labels = read_picked(paths, tomograms)
    np.testing.assert_allclose(labels.of("tomo_1"), [list(AT.values())], atol=1e-5)
    assert labels.counts().to_dict() == {"tomo_1": 1, "empty": 0}
    assert read_picked([], tomograms).counts().sum() == 0


@pytest.mark.parametrize("move", [False, True])
def test_picks_become_corrections_that_make_labels_as_picked(move):
    """Near a label it is that label; the others are added and removed; other tomograms are left alone."""
    wide = TOMOGRAM.assign(size_z=200, size_y=300, size_x=400)
    both = pd.concat([wide, wide.assign(tomo_id="other")], ignore_index=True)
    rows = [["tomo_1", 20.0, 30.0, 40.0], ["tomo_1", 150.0, 200.0, 250.0], ["other", 1.0, 2.0, 3.0]]
    labels = Labels(both, pd.DataFrame(rows, columns=["tomo_id", "z", "y", "x"]))
    points = [["tomo_1", 20.0, 280.0, 390.0], ["tomo_1", 25.0, 30.0, 40.0]]
    picked = Labels(wide, pd.DataFrame(points, columns=["tomo_id", "z", "y", "x"]))
    changes = corrections_of(labels, picked, run="IMOD", round="by hand", move=move)
    assert sorted(changes.action) == sorted(["remove", "add", "move" if move else "keep"])
    after = apply(labels, changes, move=move)
    expected = [[25.0 if move else 20.0, 30, 40], [20, 280, 390]]
    np.testing.assert_array_equal(sorted(after.of("tomo_1").tolist()), sorted(expected))
    assert after.of("other").tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match="other"):
        corrections_of(picked, labels, run="IMOD", round="by hand")


@pytest.mark.parametrize(
    ("text", "word"),
    [("1 a\n1 tomo_1\n", "each once"), ("one tomo_1\n", "each once"), ("tomo_1\n", "each once")],
)
def test_the_map_of_dynamo_names_each_number_once(tmp_path, text, word):
    """A mark and ends of lines of Windows mean nothing."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "tbl")
    (tmp_path / "detections.doc").write_text("\ufeff1 /data/tomo_1.mrc\r\n", encoding="utf-8", newline="")
    assert formats.read(path, TOMOGRAM)["tomo_id"].tolist() == ["tomo_1"]
    (tmp_path / "detections.doc").write_text(text)
    with pytest.raises(ValueError, match=f"detections.doc.*{word}"):
        formats.read(path, TOMOGRAM)


def test_picks_of_copick_say_whose_they_are(tmp_path):
    """Where neither their project nor the caller does; if these contradict them, that is said."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "copick")
    other = TOMOGRAM.assign(tomo_id="tomo_2")
    with pytest.warns(TableWarning, match="says that it is of tomo_1, taken as of tomo_2"):
        assert formats.read(path, other, name="tomo_2")["tomo_id"].tolist() == ["tomo_2"]
    alone = path.rename(tmp_path / "motors_0_flagellar-motor.json")
    assert formats.read(alone, TOMOGRAM)["tomo_id"].tolist() == ["tomo_1"]


def test_a_zarr_is_named_with_or_without_a_stroke():
    """As shells complete the names of folders."""
    assert named(pd.Series(["x/tomo_1.ome.zarr/", "x/tomo_1.zarr"])).tolist() == ["tomo_1", "tomo_1"]


def test_a_model_of_imod_that_is_cut_short_is_refused_wherever_it_ends(tmp_path):
    """imodmodel looks for the end of a model for ever."""
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "mod")
    whole = path.read_bytes()
    for length in range(0, len(whole), 4):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="tomo_1.mod is not a file of picks, or damaged"):
            formats.read(path, TOMOGRAM)
    path.write_bytes(whole + bytes(9))
    assert len(formats.read(path, TOMOGRAM)) == 1


def test_two_files_of_one_name_are_two_tomograms(tmp_path):
    """Their points would be in one picture."""
    for names, one in ((["A/tomo_1.mrc", "B/tomo_1.mrc"], False), (["A/tomo_1.mrc", "A/tomo_1.rec"], True)):
        with nullcontext() if one else pytest.raises(ValueError, match="B/tomo_1.mrc and one in another folder"):
            assert named(pd.Series(names), TOMOGRAM).tolist() == ["tomo_1", "tomo_1"]


def test_what_a_file_says_of_its_tomogram_and_unit_goes_before_its_name(tmp_path):
    """A column of napari's table, and ångström however it is spelt; nothing but blanks holds no picks."""
    (tmp_path / "points.csv").write_text("tomo_id,axis-0,axis-1,axis-2\ntomo_1,7.25,50.5,90\n")
    assert formats.read(tmp_path / "points.csv", TOMOGRAM)["tomo_id"].tolist() == ["tomo_1"]
    (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "copick")
    about = json.loads(path.read_text())
    for unit in ("Angstrom", "Å", None):
        path.write_text(json.dumps(about | {"unit": unit}))
        np.testing.assert_allclose(formats.read(path, TOMOGRAM)[["z", "y", "x"]], [list(AT.values())])
    path.write_text(json.dumps(about | {"unit": "nm"}))
    with pytest.raises(ValueError, match="counts nm: wanted ångström"):
        formats.read(path, TOMOGRAM)
    (tmp_path / "a.tbl").write_text("\n \n")
    with pytest.warns(TableWarning, match="a.tbl holds no picks"):
        assert formats.read(tmp_path / "a.tbl", TOMOGRAM).empty


def test_what_is_wrong_with_a_pick_is_blamed_on_its_file_and_line(tmp_path):
    """A spacing in words, True for a number, a tomogram that is none of these, none beside a pick."""
    path, head = tmp_path / "mine.csv", "tomo_id,z,y,x,spacing"
    for row, message in (
        ("tomo_1,4,5,6,fine", "line 3: tomogram tomo_1 has a spacing that is not a number"),
        ("tomo_1,4,5,6,True", "line 3: tomogram tomo_1 has a spacing that is not a number"),
        ("tomo_1,True,5,6,13.17", "line 3: tomogram tomo_1 has a pick without a position"),
        ("tomo_7,4,5,6,13.17", "line 3: tomogram tomo_7 is not among the tomograms here"),
        ("tomo_1,-1,-1,-1,", "line 3: tomogram tomo_1 has a row -1 -1 -1 among others"),
    ):
        path.write_text(f"{head}\ntomo_1,1,2,3,13.17\n{row}\n")
        with pytest.raises(ValueError, match=f"mine.csv, {message}"):
            formats.read(path, TOMOGRAM)
    path.write_text(f"{head}\ntomo_1,1,2,3,\n")  # nobody said
    assert formats.read(path, TOMOGRAM)[["z", "y", "x"]].to_numpy().tolist() == [[1, 2, 3]]
    for name in ("star", "tbl", "cmm", "copick", "ndjson"):
        (made,) = formats.write(tmp_path, PICK, TOMOGRAM, name)
        with pytest.raises(ValueError, match=f"{made.name}.*tomo_1 is not among the tomograms here: give"):
            formats.read(made, TOMOGRAM.assign(tomo_id="tomo_2"), name="tomo_1")


@pytest.mark.parametrize("word", ["true", '"x"', "null", "[]", f"1{'0' * 400}"])
def test_a_word_in_json_is_no_number(tmp_path, word):
    """Neither as a place nor as the spacing of the file."""
    path = tmp_path / "tomo_1.json"
    path.write_text(f'{{"points": [{{"location": {{"x": {word}, "y": 20, "z": 30}}}}]}}')
    with pytest.raises(ValueError, match="tomo_1.json: tomogram tomo_1 has a pick without a position"):
        formats.read(path, TOMOGRAM)
    path.write_text(f'{{"points": [{{"location": {{"x": 1, "y": 2, "z": 3}}}}], "voxel_spacing": {word}}}')
    with pytest.raises(ValueError, match=r"tomo_1.json (counts ångström: give the table|is not a file of picks)"):
        formats.read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="tomo_1.json is not a file of picks, or damaged"):
        formats.read(path, TOMOGRAM)


def test_what_detect_says_in_json_is_read_as_picks(tmp_path):
    """As its file of detections is."""
    row = {"tomo_id": "tomo_1", "has_motor": True, "spacing": SPACING, "fault": ""}
    said = {"threshold": 0.5, "notes": [], "tomograms": [row | {"detections": [AT | {"score": 0.625}]}]}
    (tmp_path / "found.json").write_text(json.dumps(said))
    assert formats.read(tmp_path / "found.json", TOMOGRAM).to_dict("records") == PICK.to_dict("records")
    (tmp_path / "found.json").write_text(json.dumps(said | {"tomograms": [row | {"detections": []}]}))
    with pytest.warns(TableWarning, match="found.json holds no picks"):
        assert formats.read(tmp_path / "found.json", TOMOGRAM).empty


def test_words_of_star_may_have_capitals_and_a_file_any_ends_of_lines(tmp_path):
    """starfile knows data_ and loop_ in small letters and UTF-8 alone; a name that begins so stays as it is."""
    path, known = tmp_path / "p.star", TOMOGRAM.assign(tomo_id="DATA_1")
    for old, new, code in (
        ("data_", "DATA_particles", "utf-8"),
        ("loop_", "  LOOP_ ", "utf-8"),
        ("\n", "\r", "utf-8"),
        ("\n", "\r\n", "utf-16"),
    ):
        path.write_bytes(f"{STAR}DATA_1 90 50.5 7.25 0\n".replace("data_1", "DATA_1").replace(old, new).encode(code))
        assert formats.read(path, known)[["tomo_id", *AT]].to_numpy().tolist() == [["DATA_1", *AT.values()]]
    path.write_text(STAR.replace("#5\n", "#5\n_rlnCoordinateX #6\n") + "tomo_1 90 50.5 7.25 0 80\n")
    with pytest.raises(ValueError, match="p.star: the column rlnCoordinateX is there twice: remove one"):
        formats.read(path, TOMOGRAM)
    path.write_text(STAR.replace("TomoName", "MicrographName") + "frames/tomo_1.mrc.mdoc 90 50.5 7.25 0\n")  # of Warp
    assert formats.read(path, TOMOGRAM)["tomo_id"].tolist() == ["tomo_1"]


def test_json_that_windows_wrote_is_read_and_a_score_need_not_be_there(tmp_path):
    """PowerShell redirects in UTF-16; a shift in words is blamed on its file."""
    text = json.dumps([{"tomo_id": "tomo_1", "detections": [AT]}])
    for code in ("utf-16", "utf-8-sig"):
        (tmp_path / "a.json").write_text(text, encoding=code)
        assert formats.read(tmp_path / "a.json", TOMOGRAM).to_dict("records") == [PICK.iloc[0].to_dict() | {"score": 1}]
        (tmp_path / "tomo_1.ndjson").write_text(json.dumps({"type": "point", "location": AT}), encoding=code)
        assert formats.read(tmp_path / "tomo_1.ndjson", TOMOGRAM)[[*AT]].to_numpy().tolist() == [[*AT.values()]]
    for shift in ("eye", [[1, 0], [0]]):
        (tmp_path / "a.json").write_text(json.dumps({"points": [{"location": AT, "transformation_": shift}]}))
        with pytest.raises(ValueError, match="a.json is not a file of picks, or damaged .*transformation_"):
            formats.read(tmp_path / "a.json", TOMOGRAM, name="tomo_1")


def test_a_name_twice_in_json_is_refused(tmp_path):
    """Python would keep the last value, and lose the first without a word."""
    (tmp_path / "p.json").write_text('[{"tomo_id": "a", "detections": [{"z": 1, "y": 2, "x": 3, "z": 30}]}]')
    with pytest.raises(ValueError, match="p.json is not a file of picks, or damaged .*z is there twice"):
        formats.read(tmp_path / "p.json")

    (tmp_path / "a.ndjson").write_text('{"location": {"x": 1, "y": 2, "z": 3}, "location": {"x": 7, "y": 8, "z": 9}}')
    with pytest.raises(ValueError, match="a.ndjson, line 1: no point .*location is there twice"):
        formats.read(tmp_path / "a.ndjson")


@pytest.mark.parametrize("about", ["", '"tomo_id": null, ', '"tomo_id": "", '])
def test_picks_of_a_tomogram_without_a_name_are_refused(tmp_path, about):
    """None of them is called None or nan."""
    (tmp_path / "p.json").write_text(f'[{{{about}"detections": [{{"z": 7, "y": 50, "x": 90}}]}}]')
    with pytest.raises(ValueError, match="p.json: tomogram +has no id: name the tomogram of every pick"):
        formats.read(tmp_path / "p.json")


def test_a_point_that_somebody_added_in_a_table_needs_no_score(tmp_path):
    """napari leaves what it does not know empty; a score that is a word stays none."""
    for file, head in (("tomo_1.csv", "index,axis-0,axis-1,axis-2,score"), ("p.csv", "tomo_id,z,y,x,score")):
        (tmp_path / file).write_text(f"{head}\ntomo_1,7.25,50.5,90,0.4\ntomo_1,1,2,3,\n")
        assert formats.read(tmp_path / file, TOMOGRAM).score.tolist() == [1.0, 0.4]
    (tmp_path / "p.csv").write_text(f"{head}\ntomo_1,1,2,3,\ntomo_1,7.25,50.5,90,high\n")
    with pytest.raises(ValueError, match="p.csv, line 3: tomogram tomo_1 has a pick without a position or a score"):
        formats.read(tmp_path / "p.csv", TOMOGRAM)


def test_markers_of_several_sets_are_said(tmp_path):
    """As objects of an IMOD model are; an empty set is none."""
    sets = "".join(
        f'<marker_set name="{n}"><marker id="1" x="{x}" y="9" z="9"/></marker_set>' for n, x in (("a", 13), ("b", 26))
    )
    (tmp_path / "tomo_1.cmm").write_text(f'<marker_sets>{sets}<marker_set name="c"/></marker_sets>')
    with pytest.warns(TableWarning, match="tomo_1.cmm has the markers a, b: all are taken as motors"):
        assert len(formats.read(tmp_path / "tomo_1.cmm", TOMOGRAM)) == 2


@pytest.mark.parametrize("name", [name for name, kind in formats.FORMATS.items() if kind.each])
@pytest.mark.parametrize("tomo_id", ["../tomo_1", "a/b", ".."])
def test_a_name_never_leads_out_of_the_folder(tmp_path, name, tomo_id):
    """A file for each tomogram is called like it."""
    with pytest.raises(ValueError, match=f"the format {name} cannot hold the name '{tomo_id}'"):
        formats.write(tmp_path / "out", PICK.assign(tomo_id=tomo_id), TOMOGRAM.assign(tomo_id=tomo_id), name)
    assert not any(tmp_path.iterdir())


def test_a_model_is_written_where_warnings_are_errors(tmp_path):
    """imodmodel calls what pydantic is about to give up."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (path,) = formats.write(tmp_path, PICK, TOMOGRAM, "mod")
        assert len(formats.read(path, TOMOGRAM)) == 1


@pytest.mark.parametrize("tomo_id", ["_x", "data_1", "loop_1"])
def test_words_of_star_are_names_in_the_first_column_too(tmp_path, tomo_id):
    """starfile takes the first for one more column, and loses its row."""
    tomogram = TOMOGRAM.assign(tomo_id=tomo_id)
    (tmp_path / "p.star").write_text(STAR + f"{tomo_id} 90 50.5 7.25 0\n  {tomo_id} 9 5 7 0\n")
    assert formats.read(tmp_path / "p.star", tomogram).x.tolist() == [9, 90]


@pytest.mark.parametrize("between", ["\n", "# remark\n", "\n# remark\n\n"])
def test_lines_that_say_nothing_may_stand_anywhere_in_a_star_file(tmp_path, between):
    """Nor does a block of nothing before others give them its name."""
    text = f"data_general\n{STAR.replace('data_', 'data_particles')}tomo_1 90 50.5 7.25 0\ndata_last\n"
    (tmp_path / "p.star").write_text(text.replace("\n", f"\n{between}"))
    assert formats.read(tmp_path / "p.star", TOMOGRAM)[["z", "y", "x"]].to_numpy().tolist() == [list(AT.values())]


def test_files_that_some_disks_take_for_one_are_not_written(tmp_path):
    """On macOS and Windows `A.cmm` is `a.cmm`; one file for all tomograms holds both."""
    tomograms = pd.DataFrame([[name, 5, 7, 9, 10.0] for name in "aAb"], columns=TOMOGRAMS)
    picks = pd.DataFrame([["a", 1, 2, 3, 0.5], ["A", 3, 2, 1, 0.25]], columns=PICKS)
    with pytest.raises(ValueError, match="the format cmm has files that some disks take for one, of 'a': rename one"):
        formats.write(tmp_path, picks, tomograms, ["csv", "cmm"])
    assert not any(tmp_path.iterdir())
    formats.write(tmp_path, picks, tomograms, ["csv"])
    assert formats.read(tmp_path / "detections.csv").tomo_id.tolist() == ["A", "a"]
