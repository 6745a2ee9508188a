"""`motors.detect` and the command of that name: tomograms in, a decision for each out."""

import json
import math
import os
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fake_networks import SOLID, Silent, with_ball

import motors
from motors import api, cli
from motors.detection import detector, memory, queue
from motors.detection.backends import Backends
from motors.detection.tiling import planned
from motors.ensemble import bundle
from motors.geometry import SYMMETRIES, SYMMETRIES_2D
from motors.picks import formats as picks
from motors.tables import read_table
from motors.visualization import detections
from motors.volumes import formats
from motors.volumes.mrc import write_mrc
from motors.volumes.slices import write_slices
from motors.volumes.sources import collect

SHAPE, SPACING = (61, 117, 170), 13.7  # three different sides, neither they nor the spacing those of a tile
BALL, OTHER = (27.0, 35.0, 130.0), (33.0, 85.0, 40.0)
MEMBERS = [("20_train_a/demo", "zyx", 1.0), ("20_train_a/demo", "zxy", 1.0), ("21_train_b/demo", "zyx", 2.0)]
ENSEMBLE = {"profile": "full", "way": "distance", "skip": 0.05, "threshold": 0.5, "precision": 0.875, "recall": 0.75}


def packed(folder: Path, **about) -> Path:
    """Write an ensemble of networks that the fixture stands in for, as notebooks leave it."""
    for run in {run for run, _, _ in MEMBERS}:
        (folder / run / "weights").mkdir(parents=True)
        (folder / run / "weights" / "weights.safetensors").touch()
        (folder / run / "weights" / "experiment.json").write_text(SOLID.to_json(), encoding="utf-8")
    members = [dict(zip(("run", "symmetry", "weight"), member, strict=True)) for member in MEMBERS]
    path = folder / "40_ensemble" / "full" / "ensemble.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(ENSEMBLE | {"members": members} | about), encoding="utf-8")
    return folder


@pytest.fixture
def networks(monkeypatch, tmp_path) -> dict[str, Silent]:
    """Networks that say how bright it is, by notebook; whatever is loaded is one of them."""
    made = {name: Silent().eval() for name in ("20_train_a", "21_train_b", "alone")}

    def load(folder):
        return next(network for name, network in made.items() if name in Path(folder).parts), SOLID

    monkeypatch.setattr(api.checkpoints, "load", load)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def weights(tmp_path) -> Path:
    """A folder of networks and how they are put together."""
    return packed(tmp_path / "weights")


@pytest.fixture
def tomograms(tmp_path) -> Path:
    """A folder with one motor, none, and two in a tomogram; and a file that is none."""
    folder = tmp_path / "my cells"
    one, two = with_ball(SHAPE, BALL, 22), with_ball(SHAPE, OTHER, 22, level=230)
    for name, voxels in (("one", one), ("none", with_ball(SHAPE, BALL, 0.1)), ("two", np.maximum(one, two))):
        write_mrc(folder / f"{name}.mrc", voxels, SPACING)
    (folder / "notes.txt").write_text("measured on Monday")
    return folder


@pytest.fixture
def drawn(monkeypatch) -> None:
    """Pictures are one slice, for tests that ask whether there is one, or another than before."""
    monkeypatch.setattr(detections, "picture", lambda tomogram, *_: np.stack([tomogram.voxels[round(BALL[0])]] * 3, -1))


def near(row: pd.Series, point: tuple[float, float, float]) -> bool:
    """Whether a detection lies within a cell of the network's grid of a point."""
    return bool(np.abs(np.array(row[["z", "y", "x"]], float) - point).max() * SPACING <= 8 * 16)


def test_a_folder_is_decided_tomogram_by_tomogram(networks, weights, tomograms):
    """Yes or no, where, in voxels of the file, several in one; and what that is worth."""
    found = motors.detect(tomograms, weights=weights)
    assert found.tomograms.set_index("tomo_id").motor.to_dict() == {"none": False, "one": True, "two": True}
    assert found.tomograms.detections.tolist() == [0, 1, 2]
    assert found.tomograms[["size_z", "size_y", "size_x", "spacing"]].to_numpy().tolist() == [[*SHAPE, SPACING]] * 3
    table = found.table.set_index("tomo_id")
    assert near(table.loc["one"], BALL)
    (_, best), (_, second) = table.loc["two"].iterrows()
    assert near(best, BALL) and near(second, OTHER)
    assert best.score > second.score >= found.threshold == 0.5
    assert (found.precision, found.recall) == (0.875, 0.75)
    assert "88%" in found.summary and "75%" in found.summary
    assert repr(found).splitlines()[0].split() == ["tomo_id", "motor", "detections", "score"]
    assert repr(found).endswith(found.summary) and len(repr(found).splitlines()) == 2 + len(found.tomograms)
    assert bool(found) and any("1 other file" in note for note in found.notes)


def test_where_little_memory_is_left_less_is_computed_at_once_and_that_is_said(
    networks, weights, tomograms, monkeypatch
):
    """Of 3 MiB two are planned with, for a network that takes little more than the four bytes of a voxel."""
    plans = []
    monkeypatch.setattr(memory, "memory_left", lambda: 3 * 2**20)
    monkeypatch.setattr(detector, "planned", lambda *about: plans.append(planned(*about)) or plans[-1])
    found = motors.detect(tomograms, weights=weights, device="cpu")
    assert found.tomograms["motor"].tolist() == [False, True, True]
    assert plans and all(each.batch * math.prod(each.tile) <= 0.6 * 2**21 / 4 for each in plans)
    assert sum("memory are left for solid: fewer voxels at once than usual" in each for each in found.notes) == 1


def test_all_members_vote(networks, weights, tomograms):
    """A network with half of the votes that sees nothing halves the score; its silence says no."""
    both = motors.detect(tomograms / "one.mrc", weights=weights)
    networks["21_train_b"].bias.data.fill_(-1000.0)
    half = motors.detect(tomograms / "one.mrc", weights=weights)
    assert half.candidates.score.max() == pytest.approx(both.candidates.score.max() / 2, rel=0.02)
    assert bool(both) and not half
    assert not half.tomograms.motor.item()


def test_a_parameter_that_is_none_blames_no_tomogram(networks, weights, tomograms):
    """It is Python's error, before anything is read."""
    with pytest.raises(TypeError, match="no parameter 'thresold'"):
        motors.detect(tomograms, weights=weights, thresold=0.25)


@pytest.mark.parametrize("asked", [{"plot": True}, {"force": True}, {"formats": "csv"}, {"formats": ["csv", "json"]}])
def test_files_that_have_no_folder_are_refused(weights, tomograms, asked):
    """In Python as on the command line: nothing would have been written, without a word."""
    with pytest.raises(ValueError, match="--out found"):
        motors.detect(tomograms, weights=weights, **asked)


def test_one_format_may_be_a_word(networks, weights, tomograms, tmp_path):
    """Not a list of letters."""
    motors.detect(tomograms / "one.mrc", weights=weights, out=tmp_path / "found", formats="json")
    assert (tmp_path / "found" / "detections.json").is_file()


def test_a_threshold_of_nothing_is_the_lowest_score_that_there_is(networks, tmp_path, tomograms):
    """What is said agrees with what is decided: a tomogram without any candidate has no motor."""
    networks["20_train_a"].bias.data.fill_(-1000.0)
    networks["21_train_b"].bias.data.fill_(-1000.0)
    found = motors.detect(tomograms / "one.mrc", weights=packed(tmp_path / "zero", threshold=0.0))
    assert (bool(found), found.threshold, found.precision) == (False, api.LOWEST, 0.875)
    assert "scores 0.01 or more" in found.summary


def test_a_threshold_that_was_given_wins_but_nobody_knows_its_precision(networks, weights, tomograms):
    """At most so many of those that reach it are taken, the best."""
    low = motors.detect(tomograms / "two.mrc", weights=weights, threshold=0.125, max_detections=1)
    assert (low.threshold, low.precision) == (0.125, None)
    assert "calibrated" in low.summary
    assert len(low.table) == 1 < len(low.candidates)
    assert low.table.score.item() == low.candidates.score.max()
    assert motors.detect(tomograms / "two.mrc", weights=weights, threshold=low.table.score.item()), "it is reached"
    high = motors.detect(tomograms / "two.mrc", weights=weights, threshold=0.9999999)
    assert not high and high.tomograms.score.item() > 0.5


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"threshold": 1.5}, "1.5"),
        ({"threshold": float("nan")}, "nan"),
        ({"max_detections": 0}, "1 or more"),
        ({"max_detections": 1.5}, "whole number"),
        ({"threshold": "a"}, "from 0 to 1"),
        ({"spacing": 0.0}, "above zero"),
        ({"out": "x", "formats": ["doc"]}, "doc"),
        ({"device": "gpu"}, "gpu"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(networks, weights, tomograms, given, word):
    """In a sentence, and no folder is made."""
    with pytest.raises((ValueError, RuntimeError), match=word):
        motors.detect(tomograms, weights=weights, **given)
    assert not Path("x").exists()
    assert not networks["20_train_a"].calls


def test_nothing_is_written_unless_there_is_a_place_for_it(networks, weights, tomograms, tmp_path):
    """Neither beside the tomograms nor in the current folder."""
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    motors.detect(tomograms, weights=weights)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_same_call_goes_on_where_it_stopped(networks, weights, tomograms, tmp_path):
    """What was predicted is not predicted again; a tomogram that is new is; other settings are refused, or forced."""
    out = tmp_path / "out"
    first = motors.detect(tomograms, weights=weights, out=out, formats=["csv", "json"])
    calls = networks["20_train_a"].calls
    pd.testing.assert_frame_equal(motors.detect(tomograms, weights=weights, out=out).table, first.table)
    assert networks["20_train_a"].calls == calls > 0
    pd.testing.assert_frame_equal(
        picks.read(out / "detections.csv"), first.table.reset_index(drop=True), check_dtype=False
    )
    assert pd.read_csv(out / "tomograms.csv").motor.tolist() == [False, True, True]
    write_mrc(tomograms / "three.mrc", with_ball(SHAPE, OTHER, 22), SPACING)
    assert len(motors.detect(tomograms, weights=weights, out=out).tomograms) == 4
    with pytest.raises(FileExistsError, match="threshold"):
        motors.detect(tomograms, weights=weights, out=out, threshold=0.25)
    calls = networks["20_train_a"].calls
    assert motors.detect(tomograms, weights=weights, out=out, threshold=0.25, force=True).threshold == 0.25
    assert networks["20_train_a"].calls == calls


def test_a_folder_of_somebody_is_left_alone(networks, weights, tomograms):
    """Detections do not go among tomograms."""
    before = sorted(tomograms.iterdir())
    with pytest.raises(FileExistsError, match="other files"):
        motors.detect(tomograms, weights=weights, out=tomograms)
    with pytest.raises(FileExistsError, match="is a file"):
        motors.detect(tomograms, weights=weights, out=tomograms / "one.mrc")
    assert sorted(tomograms.iterdir()) == before


def test_a_damaged_tomogram_is_reported_and_the_others_decided(networks, weights, tomograms):
    """Alone it is an error."""
    whole = (tomograms / "one.mrc").read_bytes()
    (tomograms / "one.mrc").write_bytes(whole[: len(whole) // 2])
    found = motors.detect(tomograms, weights=weights)
    rows = found.tomograms.set_index("tomo_id")
    assert rows.motor.to_dict() == {"none": False, "one": None, "two": True}
    assert "one" in rows.fault["one"] and not rows.fault["two"]
    for given in ({"paths": tomograms / "one.mrc"}, {"paths": tomograms, "policy": "strict"}):
        with pytest.raises(ValueError, match="one"):
            motors.detect(weights=weights, **given)


def test_a_spacing_that_nobody_states_is_asked_for_and_the_given_one_is_used(networks, weights, tmp_path):
    """A third more ångström per voxel is a third less of them between two motors."""
    np.save(tmp_path / "a.npy", with_ball(SHAPE, BALL, 22))
    with pytest.raises(ValueError, match="spacing"):
        motors.detect(tmp_path / "a.npy", weights=weights)
    found = motors.detect(tmp_path / "a.npy", weights=weights, spacing=SPACING)
    assert found.tomograms.spacing.item() == SPACING
    assert near(found.table.iloc[0], BALL)
    for wrong, why in ((0.1, "a motor alone is 45"), (1000, "no ice is that thick")):
        with pytest.raises(ValueError, match=f"{why}: give the true one"):
            motors.detect(tmp_path / "a.npy", weights=weights, spacing=wrong)


@pytest.mark.parametrize(
    "given",
    [
        {"spacing": np.array(SPACING, np.float32)},
        {"spacing": np.float32(SPACING), "max_detections": np.int64(2)},
        {"channel": np.int64(0), "invert": np.False_},
        {"axes": ["z", "y", "x"]},
        {"axes": ("Z", "Y", "X")},
    ],
)
def test_numbers_of_numpy_and_lists_of_axes_serve_and_the_same_call_goes_on(networks, weights, tomograms, given):
    """What is written about a call is in JSON, which knows neither."""
    found = motors.detect(tomograms / "two.mrc", weights=weights, out="found", **given)
    assert len(found.table) == 2
    calls = networks["20_train_a"].calls
    again = motors.detect(tomograms / "two.mrc", weights=weights, out="found", **given)
    assert again.table.equals(found.table) and networks["20_train_a"].calls == calls


def test_what_a_stack_of_slices_does_not_have_is_not_chosen_in_silence(networks, weights, tmp_path):
    """Slices are filled in where a few are missing: not where somebody asks for a channel."""
    write_slices(tmp_path / "cell", with_ball(SHAPE, BALL, 22))
    assert motors.detect(tmp_path / "cell", weights=weights, spacing=SPACING)
    with pytest.raises(ValueError, match="channel=1 is not there"):
        motors.detect(tmp_path / "cell", weights=weights, spacing=SPACING, channel=1)


def test_what_a_threshold_is_worth_is_read_where_the_notebook_keeps_it(tmp_path):
    """With the fusion method that was chosen."""
    ways = {"distance": {"precision": 0.6, "recall": 0.9}, "mean": {"precision": 0.1, "recall": 0.2}}
    folder = packed(tmp_path / "kept", ways=ways)
    path = folder / "40_ensemble" / "full" / "ensemble.json"
    about = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("precision", "recall")}
    path.write_text(json.dumps(about))
    assert (bundle.find(folder).precision, bundle.find(folder).recall) == (0.6, 0.9)


def test_networks_that_know_simulations_only_say_so(networks, tomograms, tmp_path):
    """Those of the demo."""
    demo = packed(tmp_path / "demo", profile="demo")
    assert any("simulated" in note for note in motors.detect(tomograms / "one.mrc", weights=demo).notes)


def test_one_of_several_channels_is_chosen_and_axes_are_named(networks, weights, tmp_path):
    """The first channel too, whose number is nothing; without a choice it is refused."""
    import tifffile

    one, two = with_ball(SHAPE, BALL, 22), with_ball(SHAPE, OTHER, 22)
    tifffile.imwrite(
        tmp_path / "both.ome.tif", np.stack([one, two], 1), metadata={"axes": "ZCYX"}, photometric="minisblack"
    )
    with pytest.raises(ValueError, match="channel"):
        motors.detect(tmp_path / "both.ome.tif", weights=weights, spacing=SPACING)
    for channel, place in enumerate((BALL, OTHER)):
        found = motors.detect(tmp_path / "both.ome.tif", weights=weights, spacing=SPACING, channel=channel)
        assert near(found.table.iloc[0], place)
    write_mrc(tmp_path / "turned.mrc", np.ascontiguousarray(one.transpose(1, 0, 2)), SPACING)
    turned = motors.detect(tmp_path / "turned.mrc", weights=weights, axes="yzx")
    assert near(turned.table.iloc[0], BALL)
    assert any("yzx" in note for note in turned.notes)


def test_inverted_contrast_is_said_and_mended_on_request(networks, weights, tmp_path, monkeypatch):
    """Bright for dark and back gives the same places."""
    voxels = with_ball(SHAPE, BALL, 22)
    for name, each in (("right", voxels), ("wrong", 255 - voxels)):
        write_mrc(tmp_path / f"{name}.mrc", each, SPACING)
    right = motors.detect(tmp_path / "right.mrc", weights=weights)
    mended = motors.detect(tmp_path / "wrong.mrc", weights=weights, invert=True)
    pd.testing.assert_frame_equal(right.table.iloc[:, 1:], mended.table.iloc[:, 1:])
    found = pd.DataFrame([["wrong", "inverted", 1.0, 0.3, False, "bright details stand out"]])
    found.columns = ["tomo_id", "finding", "statistic", "limit", "repaired", "about"]
    monkeypatch.setattr(api.quality_control, "findings", lambda folder: found)
    said = motors.detect(tmp_path / "wrong.mrc", weights=weights).notes
    assert any("inverted" in note and "--invert" in note for note in said)


def test_pictures_do_not_depend_on_settings_of_the_user(networks, weights, tomograms, tmp_path):
    """Such as text by a TeX that is not installed."""
    one = {"weights": weights, "plot": True}
    api.detect(tomograms / "one.mrc", out=tmp_path / "a", **one)
    with plt.rc_context({"text.usetex": True, "axes.facecolor": "red"}):
        api.detect(tomograms / "one.mrc", out=tmp_path / "b", **one)
    first, second = (tmp_path / name / "pictures" / "one.png" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_picture_shows_every_detection(networks, weights, tomograms, tmp_path):
    """The projection, and a row of three planes below it for each."""
    import cv2

    seen = []
    for style in ({"image.origin": "lower", "savefig.dpi": 7}, {}):  # of the user
        with plt.rc_context(style):
            motors.detect(tomograms, weights=weights, out=tmp_path / "out", plot=True)
        seen.append(cv2.imread(str(tmp_path / "out" / "pictures" / "two.png")))
    assert (seen[0] == seen[1]).all()
    heights = {path.stem: cv2.imread(str(path)).shape[0] for path in (tmp_path / "out" / "pictures").iterdir()}
    assert set(heights) == {"none", "one", "two"}
    assert heights["two"] - heights["one"] == heights["one"] - heights["none"] > 200


def test_networks_are_found_where_they_lie(networks, tmp_path, monkeypatch):
    """A folder that is named, the variable, the workspace's; the full profile before the demo; one network alone."""
    home = tmp_path / "home"
    for name in ("notebooks", "outputs", "kaggle_datasets/motors-weights"):
        (home / name).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no trained networks"):
        bundle.find()
    monkeypatch.chdir(home / "notebooks")
    with pytest.raises(FileNotFoundError, match="motors download published"):
        bundle.find()
    packed(home / "outputs")
    (home / "outputs/40_ensemble/full").rename(home / "outputs/40_ensemble/demo-seed1")
    assert bundle.find().folder.name == "demo-seed1"
    demo = packed(home / "kaggle_datasets" / "motors-weights") / "40_ensemble"
    (demo / "full").rename(demo / "demo")
    (home / "outputs/40_ensemble/demo-seed1").rename(home / "outputs/40_ensemble/full")
    assert bundle.find().folder == home / "outputs/40_ensemble/full"
    (home / "outputs/40_ensemble/full").rename(home / "outputs/40_ensemble/demo-seed1")
    (demo / "demo").rename(demo / "full")
    assert bundle.find().folder == home / "kaggle_datasets/motors-weights/40_ensemble/full"
    assert set(bundle.find().networks) == {"20_train_a/demo", "21_train_b/demo"}
    monkeypatch.setenv(bundle.VARIABLE, str(home / "outputs"))
    assert bundle.find().folder.name == "demo-seed1"
    alone = bundle.find(home / "outputs/20_train_a/demo/weights")
    assert alone.votes == {("solid", "zyx"): 1.0}
    assert (alone.threshold, alone.precision) == (None, None)
    (home / "outputs/21_train_b/demo/weights/weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="21_train_b/demo"):
        bundle.find()
    (home / "outputs/40_ensemble/demo-seed1/ensemble.json").write_text("{}")
    with pytest.raises(ValueError, match=r"ensemble\.json"):
        bundle.find()


def test_paths_mean_the_tomograms_that_somebody_made(tmp_path, monkeypatch):
    """Files, folders, patterns and stacks of slices; nothing hidden; names are distinct and come from the files."""
    for name in ("a/cell.mrc", "a/b.rec.gz", "a/._cell.mrc", "a/notes.txt", "a/deep/cell.mrc", "c.zarr/x/0", "odd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    write_slices(tmp_path / "stack", np.zeros(SHAPE, np.uint8))
    names = {name: path.relative_to(tmp_path).as_posix() for name, path in collect(tmp_path / "a")[0].items()}
    assert names == {"b": "a/b.rec.gz", "cell": "a/cell.mrc"}
    assert set(collect(tmp_path / "a", recursive=True)[0]) == {"b", "a_cell", "deep_cell"}
    assert set(collect([tmp_path / "stack", tmp_path / "c.zarr", tmp_path / "odd"])[0]) == {"stack", "c", "odd"}
    assert set(collect(str(tmp_path / "a" / "*.mrc"))[0]) == {"cell"}
    found, notes = collect(str(tmp_path / "a" / "[!d]*"))
    assert (set(found), len(notes)) == ({"cell", "b"}, 1)
    (tmp_path / "a").rename(tmp_path / "a[1]")
    assert set(collect(str(tmp_path / "a[1]" / "*.mrc"))[0]) == {"cell"}
    (tmp_path / "a[1]").rename(tmp_path / "a")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert set(collect("~/a/cell.mrc")[0]) == {"cell"}
    (tmp_path / "a" / os.fsdecode(b"\xfc.mrc")).touch()
    assert set(collect(tmp_path / "a" / os.fsdecode(b"\xfc.mrc"))[0]) == {r"\udcfc"}, "which UTF-8 can say"
    (tmp_path / "a" / os.fsdecode(b"\xfc.mrc")).unlink()
    assert len(collect([tmp_path / "a", tmp_path / "a" / "cell.mrc"])[0]) == 2
    for name in ("shown/cell.ome.tif", "shown/cell.png", "shown/no ending/.zattrs"):  # a picture beside a tomogram
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "shown" / "up").symlink_to(tmp_path / "shown")
    for recursive in (True, False):
        assert set(collect(tmp_path / "shown", recursive=recursive)[0]) == {"cell", "no ending"}
    for one in ([each for each in os.scandir(tmp_path / "a") if each.name == "b.rec.gz"], os.fsencode(tmp_path / "a")):
        assert "b" in collect(one)[0], "whatever says a path"
    (tmp_path / unicodedata.normalize("NFD", " é.mrc")).touch()
    assert set(collect(tmp_path / unicodedata.normalize("NFD", " é.mrc"))[0]) == {"é"}
    for nothing in ([], "", np.zeros((3, 4, 5)), motors.Tomogram("t", np.zeros((3, 4, 5), np.uint8), 13.1)):
        with pytest.raises(ValueError, match="path of a tomogram is empty"):
            collect(nothing)
    for wrong, word in (("a/nothing.mrc", "does not exist"), ("a/*.tif", "or the pattern"), ("empty", "no tomogram")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(FileNotFoundError, match=word):
            collect(tmp_path / wrong)


def test_what_is_left_alone_in_a_folder_is_counted(tmp_path):
    """Files that are no tomograms, folders that are not looked into or hold nothing, but not what detect left there."""
    for name in ("a.mrc", "notes.txt", "below/b.mrc", "below/c.txt", "found/call.json", "found/tomograms.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    found, notes = collect(tmp_path)
    assert set(found) == {"a"} and notes[0].startswith("3 other files or folders in")
    found, notes = collect(tmp_path, recursive=True)
    assert set(found) == {"a", "b"} and notes[0].startswith("5 other files or folders in")


@pytest.mark.parametrize(
    ("files", "links", "meant", "names"),
    [
        (["x/a.mrc", "y/b.mrc"], {"x/l": "y", "y/l": "x"}, "", {"a", "b"}),
        (["x/a.mrc"], {"z": "x"}, "", {"a"}),
        (["a.mrc"], {}, "../{0}/a.mrc;a.mrc;{1}/a.mrc", {"a"}),
        (["a.mrc"], {"b.mrc": "a.mrc"}, "", {"a", "b"}),
        (["run[1]/p/a.mrc", "run[1]/q/b.mrc"], {}, "run[1]/*/*.mrc", {"a", "b"}),
        (["p/a.mrc", "__MACOSX/p/a.mrc", ".trash/a.mrc", "$RECYCLE.BIN/a.mrc"], {}, "**/*.mrc", {"a"}),
        (
            ["a.mrc", "System Volume Information/b.mrc", "~snapshot/c.mrc", "@Recycle/d.mrc", "RECYCLER/e.mrc"],
            {},
            "",
            {"a"},
        ),
        (["a.mrc", "found/call.json", "found/pictures/a.png", "found/work/a.csv"], {}, "", {"a"}),
        ([".mrc"], {}, ".mrc", {".mrc"}),
        (
            ["#1.mrc", "$b.mrc", "@earth.mrc", "@tmpl.mrc", "c#/c.mrc", "@eaDir/d.mrc", "#recycle/e.mrc", "@tmp/f.mrc"],
            {},
            "",
            {"#1", "$b", "@earth", "@tmpl", "c"},
        ),
    ],
    ids="round,twice,given twice,alias,brackets,hidden below,of systems,our own,no name,of users".split(","),
)
def test_folders_are_searched_once_and_what_is_no_tomogram_is_left_alone(
    tmp_path, monkeypatch, files, links, meant, names
):
    """Whatever links, leftovers and results of before lie there."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, goal in links.items():
        (tmp_path / name).symlink_to(tmp_path / goal)
    monkeypatch.chdir(tmp_path)
    paths = meant.format(tmp_path.name, tmp_path).split(";") if meant else tmp_path
    assert set(collect(paths, recursive=True)[0]) == names


def test_a_folder_that_may_not_be_opened_hides_no_other(tmp_path, monkeypatch):
    """It is said; the tomograms beside it are found."""
    for name in ("a.mrc", "locked/b.mrc", "z.mrc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listed = Path.iterdir

    def iterdir(folder: Path):
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    for recursive in (True, False):
        found, notes = collect(tmp_path, recursive=recursive)
        assert (set(found), notes) == ({"a", "z"}, [f"{tmp_path / 'locked'} may not be opened, it is left alone"])


def test_a_call_that_another_has_overtaken_writes_nothing_over_its_result(
    networks, weights, tomograms, tmp_path, monkeypatch
):
    """Two jobs with one output: the later one is refused, as if it had begun later."""
    call, predicted = {"weights": weights, "out": tmp_path / "found"}, api._predicted
    (tmp_path / "link").symlink_to(weights)

    def overtaken(*given, **options):
        monkeypatch.setattr(api, "_predicted", predicted)
        api.detect(tomograms / "one.mrc", **call)
        return predicted(*given, **options)

    monkeypatch.setattr(api, "_predicted", overtaken)
    with pytest.raises(FileExistsError, match="the result for one, which this call leaves out"):
        api.detect(tomograms / "two.mrc", **call)
    assert api.detect(tomograms / "one.mrc", **call | {"weights": tmp_path / "link"})  # the same networks


def test_results_of_before_are_neither_lost_nor_left_as_they_were(networks, weights, tomograms, drawn, tmp_path):
    """Another set of tomograms needs a place of its own; of the same ones, all formats say the same."""
    out, call = tmp_path / "found", {"weights": weights, "out": tmp_path / "found"}
    api.detect(tomograms, formats=("csv", "ndjson", "json"), plot=True, **call)
    with pytest.raises(FileExistsError, match="the result for none, which this call leaves out"):
        api.detect(tomograms / "one.mrc", **call)
    picture = (out / "pictures" / "one.png").read_bytes()
    write_mrc(tomograms / "one.mrc", with_ball(SHAPE, BALL, 0.1), SPACING)
    for path in (out / "work").glob("*/two.csv"):  # candidates, and what was found to be wrong
        path.write_bytes(b"")  # as after a power failure
    found = api.detect(tomograms, **call)
    assert found.tomograms.set_index("tomo_id")["detections"].to_dict() == {"none": 0, "one": 0, "two": 2}
    assert len(picks.read(out / "detections.json")) == len(picks.read(out / "detections.csv")) == 2
    assert ((out / "one.ndjson").read_text(), len((out / "two.ndjson").read_text().splitlines())) == ("", 2)
    assert (out / "pictures" / "one.png").read_bytes() != picture
    (out / "call.json").write_text("{")
    with pytest.raises(ValueError, match=r"call\.json is damaged"):
        api.detect(tomograms, **call)
    (tmp_path / "away").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="leads nowhere"):
        api.detect(tomograms, weights=weights, out=tmp_path / "away")


def test_the_same_call_goes_on_also_where_an_option_is_no_json(networks, weights, tomograms, tmp_path):
    """A tuple and numpy's numbers, which come back from the disk as a list and as floats."""
    call = {"weights": weights, "out": tmp_path / "found", "tile": (32, 64, 64), "overlap": np.float64(0.25)}
    first = api.detect(tomograms, **call).table
    assert first.equals(api.detect(tomograms, **call).table)
    with pytest.raises(FileExistsError, match="the result of a call with another tile"):
        api.detect(tomograms, **call | {"tile": (32, 64, 96)})


def test_what_was_said_while_reading_is_said_again_by_the_same_call(networks, weights, tomograms, tmp_path):
    """A second call reads nothing and has the same doubts; of a file written anew only those it has now."""
    given = {"weights": weights, "spacing": 1.2 * SPACING, "out": tmp_path / "out"}
    first = motors.detect(tomograms, **given)
    doubts = [note for note in first.notes if "states" in note or "stated" in note]
    assert len(doubts) == 3
    calls = networks["20_train_a"].calls
    assert sorted(motors.detect(tomograms, **given).notes) == sorted(first.notes)
    assert networks["20_train_a"].calls == calls
    write_mrc(tomograms / "one.mrc", with_ball(SHAPE, OTHER, 22), 1.2 * SPACING)
    again = motors.detect(tomograms, **given).notes
    assert [note for note in doubts if note not in again] == [note for note in doubts if note.startswith("one.mrc")]


def test_what_was_said_of_a_tomogram_is_not_taken_for_that_of_one_whose_name_it_begins_with(
    networks, weights, tomograms, tmp_path
):
    """The doubts about "one" stay when "one 2" is written anew, of which only new ones are said."""
    (tomograms / "two.mrc").rename(tomograms / "one 2.mrc")
    given = {"weights": weights, "spacing": 1.2 * SPACING, "out": tmp_path / "out"}
    first = motors.detect(tomograms, **given).notes
    write_mrc(tomograms / "one 2.mrc", with_ball(SHAPE, OTHER, 22), 1.2 * SPACING)
    again = motors.detect(tomograms, **given).notes
    assert [note for note in first if "one.mrc: " in note and note not in again] == []
    assert any("one 2.mrc: " in note for note in first) and not any("one 2.mrc: " in note for note in again)


def test_what_is_left_of_a_tomogram_that_is_gone_goes_and_what_is_damaged_is_made_again(
    networks, weights, tomograms, drawn, tmp_path
):
    """Its picks, picture and heatmaps, of this call's formats or another's; a heatmap cut short is computed anew."""
    out, call = tmp_path / "found", {"weights": weights, "out": tmp_path / "found"}
    (tomograms / "none.mrc").unlink()
    api.detect(tomograms, formats=("csv", "copick", "ndjson"), plot=True, **call)
    heatmaps = next((out / "work").glob("*/one.npz"))
    heatmaps.write_bytes(heatmaps.read_bytes()[:700])
    assert api.detect(tomograms, **call).tomograms.set_index("tomo_id")["detections"]["one"] == 1
    (out / "tomograms.csv").rename(tmp_path / "tomograms.csv")
    (out / "tomograms.csv").write_text("tomo_id\none,two\n")
    with pytest.raises(ValueError, match=r"tomograms\.csv, line 2: 2 values for 1 columns"):
        api.detect(tomograms, **call)
    (tmp_path / "tomograms.csv").rename(out / "tomograms.csv")
    (tomograms / "two.mrc").rename(tomograms / "three.mrc")
    api.detect(tomograms, force=True, **call)
    there = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    assert len([name for name in there if "three" in name]) == 2 + 1 + 2 * 3 + 1, "picks, a picture, networks, levels"
    assert not [name for name in there if "two" in name]


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_said_and_never_waited_for(tmp_path, kind):
    """Given itself it is refused, in a folder it is left alone with a word; a slice of that kind is damaged."""
    (tmp_path / "a.mrc").touch()
    (tmp_path / "slices").mkdir()
    for path in (tmp_path / "b.mrc", tmp_path / "slices" / "slice_0000.jpg"):
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as opened:
                opened.bind(os.path.relpath(path))
        else:
            path.symlink_to("/dev/zero")
    for refused in (collect, formats.read):
        with pytest.raises(ValueError, match=r"b\.mrc is a pipe, socket or device"):
            refused(tmp_path / "b.mrc")
    with pytest.raises(ValueError, match="is a folder, pipe or device, no picture"):
        formats.read(tmp_path / "slices")
    for meant in (tmp_path, tmp_path / "*.mrc"):
        found, notes = collect(meant)
        assert "a" in found and "b" not in found and len(notes) <= 1
    assert "1 other file or folder in" in collect(tmp_path)[1][0]


@pytest.mark.parametrize(("typed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_letter_with_an_accent_is_the_same_however_a_disk_spells_it(tmp_path, typed, stored):
    """In folders, files and patterns, as they are copied from a Mac."""
    typed, stored = unicodedata.normalize(typed, "é/ü.npy"), tmp_path / unicodedata.normalize(stored, "é/ü.npy")
    stored.parent.mkdir()
    np.save(stored, with_ball(SHAPE, BALL, 22))
    assert formats.read(tmp_path / typed).name == "ü"
    for meant in (typed, Path(typed).parent, typed.replace(".npy", "*"), typed.replace(".npy", ".[m-p]py")):
        assert collect(tmp_path / meant)[0] == {"ü": stored}


def test_what_computes_is_asked_for_by_name(networks, weights, tomograms, capsys, monkeypatch, tmp_path):
    """The word reaches every network; another one is refused before anything is read."""
    one, asked, get = [str(tomograms / "one.mrc"), "--weights", str(weights)], [], Backends.get
    monkeypatch.setattr(Backends, "get", lambda self, name, *given: asked.append(name) or get(self, name, *given))
    for words, name in ((["--backend", "eager"], "eager"), ([], "rewritten")):
        asked.clear()
        assert cli.main(["detect", *one, *words]) == 0
        assert {*asked} == {name}
    asked.clear()
    assert cli.main(["detect", *one, "--backend", "tensorrt"]) == 2
    assert "no backend 'tensorrt' here: choose one of auto, eager, rewritten" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no backend 'tensorrt'"):
        motors.detect(one[0], weights=weights, backend="tensorrt", out=tmp_path / "found")
    assert not asked and not (tmp_path / "found").exists()


def test_a_name_of_two_lines_stays_one_line_of_the_summary(networks, weights, tmp_path, capsys):
    """Whatever a file is called, its letters cannot move the cursor."""
    write_mrc(tmp_path / "a\nb\x1b[2J.mrc", with_ball(SHAPE, BALL, 22), SPACING)
    cli.main(["detect", str(tmp_path), "--weights", str(weights)])
    header, line = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == ["a\ufffdb\ufffd[2J", "yes"] and header.index("motor") == line.index("yes")
    write_mrc(tmp_path / "of\rtwo" / "c\rd.mrc", with_ball(SHAPE, BALL, 22), SPACING)
    found = api.detect(tmp_path / "of\rtwo", weights=weights, out=tmp_path / "found", formats=["csv", "star", "tbl"])
    assert found.tomograms["tomo_id"].tolist() == ["c\ufffdd"]
    assert picks.read(tmp_path / "found" / "detections.star", found.tomograms)["tomo_id"].tolist() == ["c\ufffdd"]
    (tmp_path / "of\rtwo" / "c'd.mrc").touch()
    calls = networks["20_train_a"].calls
    with pytest.raises(ValueError, match="star cannot hold the name"):
        api.detect(tmp_path / "of\rtwo", weights=weights, out=tmp_path / "star", formats=["star"])
    assert networks["20_train_a"].calls == calls


def test_names_that_some_disks_take_for_the_same_are_kept_apart(networks, tmp_path):
    """By their folders, or not at all."""
    for name in ("a/Cell.mrc", "b/cell.mrc", "c/cell.mrc", "c/CELL.MRC", "d/cell.st", "d/CELL.rec", "e/cell.rec"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert set(collect([tmp_path / "a", tmp_path / "b"])[0]) == {"a_Cell", "b_cell"}
    with pytest.raises(ValueError, match="several tomograms would be called c_"):
        collect(tmp_path / "c")
    assert set(collect(tmp_path / "d")[0]) == {"cell.st", "CELL.rec"}
    assert set(collect([tmp_path / "d", tmp_path / "e"])[0]) == {"cell.st", "CELL.rec", "cell"}
    paths = [tmp_path / name for name in ("x/1/vol/rec.mrc", "x/2/vol/rec.mrc", "y/2/vol/rec.mrc", "y/other/rec.mrc")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    expected = ["1_vol_rec", "x_2_vol_rec", "y_2_vol_rec", "other_rec"]
    found, _ = collect([tmp_path / "x", tmp_path / "y"], recursive=True)
    assert found == dict(zip(expected, paths, strict=True))
    sources = {"Cell": tmp_path / "a" / "Cell.mrc", "cell": tmp_path / "b" / "cell.mrc"}
    with pytest.raises(ValueError, match="two tomograms are called cell"):
        queue.detect_all(networks["alone"], SOLID, sources, tmp_path / "out", policy="carry on")


def test_a_name_with_what_no_table_keeps_is_known_wherever_it_is_asked_for(networks, weights, tmp_path):
    """Marks of right-to-left letters have no width, and a minus of print becomes that of numbers."""
    names = {"\u200fzelle": "zelle", "\u20135.1": "-5.1"}
    for file in names:
        write_mrc(tmp_path / "in" / f"{file}.mrc", with_ball(SHAPE, BALL, 22), SPACING)
        (tmp_path / "in" / f"{file}2.mrc").write_bytes(b"no tomogram")
    for _ in range(2):  # the second goes on with what the first left
        found = api.detect(tmp_path / "in", weights=weights, out=tmp_path / "found").tomograms.set_index("tomo_id")
    assert {*found.index} == {f"{name}{end}" for name in names.values() for end in ("", "2")}
    assert found["detections"].to_dict() == {name: 0 if name.endswith("2") else 1 for name in found.index}
    assert read_table(tmp_path / "found" / "tomograms.csv")["tomo_id"].tolist() == found.index.tolist()


def test_a_file_whose_name_is_no_unicode_is_decided_like_any_other(networks, weights, tomograms, tmp_path):
    """UTF-8 says its bytes in another way."""
    (tomograms / "one.mrc").rename(tomograms / os.fsdecode(b"\xfc.mrc"))
    found = api.detect(tomograms / os.fsdecode(b"\xfc.mrc"), weights=weights, out=tmp_path / "found", plot=True)
    assert found.tomograms["detections"].tolist() == [1]
    assert pd.read_csv(tmp_path / "found" / "tomograms.csv")["tomo_id"].tolist() == [r"\udcfc"]


def test_the_command_says_yes_or_no_and_where(networks, weights, tomograms, capsys):
    """A line for each tomogram and each further motor; what is for the eye alone is beside it."""
    assert cli.main(["detect", str(tomograms), "--weights", str(weights)]) == 0
    out, err = capsys.readouterr()
    words = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in words[:4]] == [["tomogram", "motor"], ["none", "no"], ["one", "yes"], ["two", "yes"]]
    assert len(words) == 5 and len(words[4]) == 4
    assert "0.5 or more" in err


def test_the_command_speaks_to_machines(networks, weights, tomograms, capsys, tmp_path):
    """JSON alone on standard output; files in the formats that were asked for."""
    out = tmp_path / "new"
    words = [
        "--weights",
        str(weights),
        "--json",
        "--out",
        str(out),
        "--format",
        "csv, star",
        "--format",
        "cmm",
        "--spacing",
        "13.7",
    ]
    assert cli.main(["detect", str(tomograms / "*.mrc"), *words]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["motor"] for each in said["tomograms"]] == [False, True, True]
    assert near(pd.Series(said["tomograms"][1]["detections"][0]), BALL)
    assert {"detections.csv", "detections.star", "two.cmm", "none.cmm", "tomograms.csv"} <= {
        p.name for p in out.iterdir()
    }


def test_a_full_disk_is_said_and_leaves_nothing_that_looks_finished(networks, weights, tomograms, capsys, monkeypatch):
    """What was predicted is kept."""

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("HOME", os.getcwd())
    words = ["detect", str(tomograms), "--weights", f"~/{weights.name}", "--out=~/out"]  # which no shell expands
    with monkeypatch.context() as patched:
        patched.setattr(api.picks, "write", full)
        assert cli.main(words) == 1
    assert "No space left on device: free some space and run the same again" in capsys.readouterr().err
    assert not Path("out/tomograms.csv").exists()
    calls = networks["20_train_a"].calls
    assert cli.main(words) == 0
    assert networks["20_train_a"].calls == calls


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["gone.mrc"], 2, "gone.mrc does not exist"),
        (["my cells", "--spacing", "ten"], 2, "'ten', not a number"),
        (["my cells", "--spacing", "0"], 2, "above zero"),
        (["my cells", "--weights", "gone"], 2, "no trained networks"),
        (["my cells", "--plot"], 2, "--out"),
        (["my cells/notes.txt"], 2, "unknown kind"),
        (["my cells", "my cells/notes.txt"], 1, "a motor scores"),
        (["my cells", "--out", "my cells"], 2, "other files"),
    ],
)
def test_the_exit_code_says_what_happened(networks, weights, tomograms, capsys, words, code, said):
    """And one sentence why."""
    given = [] if "--weights" in words else ["--weights", str(weights)]
    assert cli.main(["detect", *words, *given]) == code
    assert said in capsys.readouterr().err


@pytest.mark.kernel
def test_names_are_whole_where_the_locale_knows_ascii_only(tmp_path):
    """As on clusters: the command begins anew in UTF-8."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "motors", "score", tmp_path / "answer.csv", tmp_path / "zé {x}.csv"]
    found = subprocess.run(command, env=os.environ | plain, capture_output=True, check=False)
    assert (found.returncode, "zé {x}.csv is not there" in found.stderr.decode("utf-8")) == (2, True)


@pytest.mark.parametrize(
    ("name", "fits"), [("t" * 230, True), ("t" * 251, False), ("\N{GREEK SMALL LETTER MU}" * 116, False)]
)
def test_a_name_that_is_too_long_for_what_is_written_is_refused_first(networks, weights, tmp_path, capsys, name, fits):
    """Files are called like the tomogram, and their names have an ending too; letters may have two bytes."""
    write_mrc(tmp_path / "cell.mrc", with_ball(SHAPE, BALL, 22), SPACING)
    (tmp_path / "cell.mrc").rename(tmp_path / f"{name}.mrc")
    words = ["detect", f"{name}.mrc", "--weights", str(weights), "--out", "found"]
    code = cli.main([*words, "--format", ", ".join(map(str.upper, picks.FORMATS)), "--plot"])
    assert (code, (tmp_path / "found").exists()) == ((0, True) if fits else (2, False))
    assert fits or f"the name {name[:20]}... has more than 230 bytes" in capsys.readouterr().err


def test_every_symmetry_of_a_3d_and_of_a_2d_network_may_be_in_an_ensemble(tmp_path):
    """Sixteen, and the eight that leave z alone by their short names, too."""
    names = [each.name for each in SYMMETRIES] + [each.name[1:] for each in SYMMETRIES_2D]
    members = [{"run": MEMBERS[0][0], "symmetry": name, "weight": 1} for name in names]
    assert len(names) == 24 and {"xy", "yx", "xy_x"} <= set(names)
    assert list(bundle.find(packed(tmp_path, members=members)).members["symmetry"]) == names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": 5}, "threshold is 5"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"threshold": "0.5"}, "threshold is '0.5'"),
        ({"skip": None}, "skip is None"),
        ({"precision": True}, "precision is True"),
        ({"way": "foo"}, "method is 'foo', not distance, boxes"),
        ({"members": []}, "no members, none that counts, or one of them twice"),
        ({"members": [{"run": MEMBERS[0][0], "symmetry": "zyx", "weight": 0}]}, "none that counts"),
        ({"members": [{"run": MEMBERS[0][0], "symmetry": "zyx", "weight": 1}] * 2}, "or one of them twice"),
        ({"members": [{"run": MEMBERS[0][0], "symmetry": "zyx"}]}, "the weight of 20_train_a/demo is nan"),
        ({"members": [{"run": MEMBERS[0][0], "symmetry": "abc", "weight": 1}]}, "no symmetry is called 'abc'"),
        ({"members": [{"run": None, "symmetry": "zyx", "weight": 1}]}, "a run is None"),
    ],
    ids=str,
)
def test_an_ensemble_that_cannot_be_is_refused_before_anything_is_predicted(tmp_path, change, words):
    """A threshold that is not a number lets all candidates through, one above 1 none, and nobody hears of it."""
    folder = packed(tmp_path / "weights", **change)
    with pytest.raises(ValueError, match=rf"ensemble.json cannot be .*{words}.*: correct it, or run 40_ensemble again"):
        bundle.find(folder)
    for k, members in enumerate(("x", ["a"], [["a"]], [{}, "abc"])):
        with pytest.raises(ValueError, match="ensemble.json is damaged .*members is not a list of objects"):
            bundle.find(packed(tmp_path / f"text{k}", members=members))
    path = next(folder.rglob("ensemble.json"))
    path.write_text(path.read_text().replace("{", '{"skip": 0.5, ', 1))
    with pytest.raises(ValueError, match="ensemble.json is damaged .*skip is there twice"):
        bundle.find(folder)
    assert bundle.find(packed(tmp_path / "others", threshold=None, precision=None)).threshold is None
    assert bundle.find(packed(tmp_path / "max", way="max", threshold=1.7)).threshold == 1.7  # times a weight of 2, say
