"""One tomogram: read, put right, resampled, predicted, and its candidates in voxels of what it was."""

import os
import re
import warnings
from dataclasses import replace

import cv2
import mrcfile
import numpy as np
import pandas as pd
import pytest
import torch
from fake_networks import PLANAR, SOLID, Greedy, Silent, brightness, planar_brightness, with_ball
from torch.nn.functional import avg_pool3d

from motors.detection.detector import Detector, detect, out_of_memory, source_key
from motors.experiments import catalogue
from motors.networks.factory import build
from motors.volumes import slices
from motors.volumes.slices import write_slices
from motors.volumes.tomogram import Tomogram, TomogramWarning

pytestmark = pytest.mark.kernel  # networks are built and computed
POINT = ["z", "y", "x"]


@pytest.mark.parametrize(("network", "experiment"), [(brightness, SOLID), (planar_brightness, PLANAR)])
@pytest.mark.parametrize("symmetries", [["zyx"], ["zxy_x", "zyx_y"]])
def test_a_motor_is_found_within_a_cell_where_it_is_in_the_original_tomogram(network, experiment, symmetries):
    """At another spacing than that of the network, with three different sides."""
    centre = np.array([40.0, 150.0, 70.0])
    tomogram = Tomogram("ball", with_ball((100, 200, 160), centre, radius=14), spacing=10.0)
    found = detect(network, experiment, tomogram, symmetries=symmetries, threshold=0.01, repair=False)
    assert found[["run", "symmetry"]].to_numpy().tolist() == [[experiment.name, name] for name in symmetries]
    assert found.dtypes["score"] == np.float32
    assert np.abs(found[POINT] - centre).to_numpy().max() * 10 <= (128 if experiment.is_2d else 64)


def test_a_2d_network_speaks_of_its_middle_slice():
    """Two bright slices of 16 Å become slice 4 of 32 Å, in the second cell of four; slice 3 would be in the first."""
    voxels = np.zeros((32, 64, 96), np.uint8)
    voxels[8:10] = 255
    found = detect(planar_brightness, PLANAR, Tomogram("plate", voxels, 16.0), threshold=1e-9, most=1, repair=False)
    assert found["z"].tolist() == [11.5]  # 1.5 cells of 128 Å, in voxels


def test_volumes_are_resampled_the_way_of_the_experiment():
    """At three times the spacing, interpolation sees the middle voxel of three only, and the mean all of them."""
    voxels = np.full((96, 192, 96), 255, np.uint8)
    voxels[1::3, 1::3, 1::3] = 0
    tomogram = Tomogram("holes", voxels, 16 / 3)
    scores = {}
    for by in ("linear", "mean"):
        experiment = replace(SOLID, resampling=by)
        scores[by] = detect(brightness, experiment, tomogram, threshold=0, most=1, repair=False)["score"].iloc[0]
    assert scores["linear"] == pytest.approx(1 / (1 + np.exp(8)), rel=1e-3)
    assert scores["mean"] == pytest.approx(1 / (1 + np.exp(-(245 - 128) / 16)), rel=1e-3)  # 255 * 26 / 27, truncated


def test_orientations_can_share_one_list():
    """One mean heatmap gives one candidate, whose symmetry names them all."""
    tomogram = Tomogram("ball", with_ball((60, 80, 90), (30, 40, 50), radius=14), spacing=16.0)
    options = {"symmetries": ["zyx", "zxy"], "average": True, "threshold": 0.3, "run": "20_train/demo"}
    found = detect(brightness, SOLID, tomogram, repair=False, **options)
    assert found[["run", "symmetry"]].to_numpy().tolist() == [["20_train/demo", "zyx+zxy"]]


def test_candidates_lie_inside_their_tomogram():
    """A cell at the end may reach over it, a candidate must not."""
    voxels = np.zeros((20, 44, 60), np.uint8)
    voxels[:, 32:, 48:] = 255
    found = detect(brightness, SOLID, Tomogram("edge", voxels, 16.0), repair=False)
    assert found[["y", "x"]].to_numpy().tolist() == [[43, 59]]  # the cell is centred at 43.5, 59.5


def test_the_spacing_that_is_given_goes_before_the_tomogram_s_own_and_a_contradiction_is_said():
    """Kaggle's tomograms do not know their own, and headers often state 1.0."""
    tomogram = Tomogram("ball", with_ball((60, 80, 90), (30, 40, 50), radius=14), spacing=None)
    with pytest.raises(ValueError, match="ball does not know its spacing"):
        detect(brightness, SOLID, tomogram)
    ask = {"threshold": 0.01, "repair": False}
    right = detect(brightness, SOLID, replace(tomogram, spacing=13.1), **ask)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = detect(brightness, SOLID, tomogram, spacing=13.1, **ask)
        agreed = detect(brightness, SOLID, replace(tomogram, spacing=13.11), spacing=13.1, **ask)
    with pytest.warns(TomogramWarning, match=r"ball states 1.0 Å per voxel, but 13.1 Å was given and is used"):
        against = detect(brightness, SOLID, replace(tomogram, spacing=1.0), spacing=13.1, **ask)
    for found in (given, agreed, against):
        pd.testing.assert_frame_equal(found, right)


@pytest.mark.parametrize("stated", [0.0, 1.0, (13.1, 20.0, 13.1)])
def test_the_spacing_that_is_given_goes_before_what_a_file_states(tmp_path, stated):
    """Also where the file states none, or one for each axis; the contradiction is said."""
    noise = np.random.default_rng(0).integers(0, 999, (24, 40, 56)).astype(np.int16)
    mrcfile.write(tmp_path / "ball.mrc", noise, voxel_size=stated)
    detector = Detector(brightness, SOLID)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ready = detector.prepare(tmp_path / "ball.mrc", spacing=13.1)
    assert ready.spacing == 13.1 and ready.voxels.shape == (19, 32, 45)
    assert any("13.1" in str(each.message) for each in said if "state" in str(each.message)) == bool(stated)


def test_slices_that_are_filled_in_have_the_axes_that_were_asked_for_and_a_gap_among_png_is_named(tmp_path):
    """What is wrong with a stack is said of that stack."""
    voxels = with_ball((60, 80, 90), (30, 40, 50), radius=14)
    folder = write_slices(tmp_path / "a", voxels)
    (folder / "slice_0003.jpg").unlink()
    ready = Detector(brightness, SOLID, fill=True, reading={"axes": "yzx"}).prepare(folder, spacing=16.0)
    assert ready.shape == (80, 60, 90) and [finding.name for finding in ready.findings][0] == "filled slices"
    for k in (0, 2):
        (tmp_path / "b").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "b" / f"s{k}.png"), voxels[k])
    with pytest.raises(FileNotFoundError, match=r"s1\.png is missing among 2 picture files"):
        Detector(brightness, SOLID, fill=True).prepare(tmp_path / "b", spacing=16.0)


def test_one_tomogram_is_repaired_as_many_are_and_it_is_said():
    """Wrapped intensities are put right by default, with a warning; a constant one is only named."""
    flat = Tomogram("flat", np.full((32, 64, 96), 128, np.uint8), 16.0)
    with pytest.warns(TomogramWarning, match="flat is constant slices: all voxels of a slice are equal"):
        detect(brightness, SOLID, flat)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detect(brightness, SOLID, flat, repair=False)


def test_a_spacing_that_would_fill_the_memory_is_refused_with_advice():
    """It was meant in other units, or is a number of something else."""
    detector = Detector(brightness, SOLID)
    with pytest.raises(ValueError, match=r"cell: at a spacing of 1000 Å .*: give the true one as spacing="):
        detector.prepare(Tomogram("cell", np.zeros((30, 40, 60), np.uint8), 13.1), spacing=1000.0)


def test_out_of_memory_tiles_become_smaller_and_then_it_is_given_up():
    """The network looks no farther than a cell, so nothing else changes; another error is no lack of memory."""
    tomogram = Tomogram("ball", with_ball((48, 120, 160), (30, 40, 50), radius=14), spacing=16.0)
    expected = detect(Silent().eval(), SOLID, tomogram, batch=4, repair=False)
    with pytest.warns(UserWarning, match=r"ball was predicted in tiles of \(32, 32, 32\): memory had run out"):
        found = detect(Greedy(32**3).eval(), SOLID, tomogram, batch=4, repair=False)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        detect(Greedy(5).eval(), SOLID, tomogram, repair=False)
    with pytest.raises(ValueError, match="a cell per stride"):
        detect(lambda tiles: avg_pool3d(tiles, 8), SOLID, tomogram, repair=False)
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert out_of_memory(RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"))


# Stacks of slices that are not whole


@pytest.fixture
def stack(tmp_path):
    """A stack of 60 slices, each brighter than the one before."""
    levels = np.arange(60, dtype=np.uint8)[:, None, None] * 4
    return write_slices(tmp_path / "stack", np.broadcast_to(levels, (60, 24, 40)).copy())


def damage(path, kind: str) -> None:
    """Spoil a slice."""
    picture = np.full((24, 40), 99, np.uint8)
    spoilt = {
        "missing": None,
        "truncated": path.read_bytes()[:-40],
        "empty": b"",
        "foreign": b"<html>404 not found</html>" * 9,
        "odd-sized": cv2.imencode(".jpg", np.pad(picture, 3))[1].tobytes(),
        "coloured": cv2.imencode(".jpg", np.dstack([picture, picture // 2, picture]))[1].tobytes(),
        "16-bit PNG": cv2.imencode(".png", picture.astype(np.uint16) * 200)[1].tobytes(),
    }[kind]
    path.unlink() if spoilt is None else path.write_bytes(spoilt)


KINDS = ("missing", "truncated", "empty", "foreign", "odd-sized", "coloured", "16-bit PNG")


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_slices_that_are_not_whole_are_interpolated_if_that_is_asked_for(stack, kind):
    """From their nearest whole neighbours, at the ends copied; they are named; without being asked nothing is read."""
    whole = slices.read_slices(stack).astype(int)
    for k in (0, 20, 21):
        damage(stack / f"slice_{k:04d}.jpg", kind)
    with pytest.raises((ValueError, FileNotFoundError)):
        Detector(brightness, SOLID).prepare(stack, spacing=16.0)
    voxels, wrong = slices.read_repaired(stack)
    assert list(wrong) == [0, 20, 21]
    assert np.abs(voxels[1:].astype(int) - whole[1:]).max() <= 1 and (voxels[0] == voxels[1]).all()
    ready = Detector(brightness, SOLID, fill=True).prepare(stack, spacing=16.0)
    assert [(each.name, each.statistic) for each in ready.findings][:1] == [("filled slices", 3)]
    assert "z = 0, 20, 21 interpolated, because" in ready.findings[0].about and ready.shape == (60, 24, 40)


def test_a_picture_that_is_no_slice_costs_no_tomogram_and_names_of_another_kind_are_refused_for_what_they_are(stack):
    """If carrying on is wanted: a picture beside whole slices is named and left alone."""
    (stack / "cover.jpg").write_bytes((stack / "slice_0003.jpg").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"cover\.jpg has no number, as slices have"):
        Detector(brightness, SOLID).prepare(stack, spacing=16.0)
    ready = Detector(brightness, SOLID, fill=True).prepare(stack, spacing=16.0)
    assert ready.shape == (60, 24, 40) and (ready.findings[0].name, ready.findings[0].statistic) == ("filled slices", 0)
    assert re.match(r"z = none interpolated, because .*cover\.jpg has no number", ready.findings[0].about)
    (stack / "cover.jpg").unlink()
    for k in range(60):
        (stack / f"slice_{k:04d}.jpg").rename(stack / f"slice_{k}.jpg")
    (stack / "slice_30.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"slice_30\.jpg is missing among 59"):
        Detector(brightness, SOLID, fill=True).prepare(stack, spacing=16.0)


def test_more_than_a_few_slices_are_not_made_up(stack, tmp_path):
    """One in twenty at most, three in a row at most; of a folder with none, or none whole, nothing is made."""
    for name in ("cover.jpg", "slice_100000.jpg"):  # such as a date: no stack is that deep
        (stack / name).write_bytes(b"foreign")
    assert slices.read_repaired(stack)[1] == {}
    for k in (5, 6, 7, 8):
        (stack / f"slice_{k:04d}.jpg").unlink()
    with pytest.raises(ValueError, match=r"4 of 60 slices are not whole, such as: .*slice_0005.jpg is missing"):
        slices.read_repaired(stack)
    with pytest.raises(ValueError, match=r"4 of 60"):
        slices.read_repaired(stack, most=0.1)  # four in a row
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no JPEG slices"):
        slices.read_repaired(tmp_path / "none")
    (tmp_path / "none" / "slice_0000.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 1 slices are not whole"):
        slices.read_repaired(tmp_path / "none")


def test_the_key_of_a_tomogram_is_in_its_files(stack, tmp_path):
    """Another path, size or time is another tomogram; one in memory has no key."""
    first = source_key(stack)
    assert first == source_key(str(stack))
    (stack / ".DS_Store").touch()
    assert first == source_key(stack), "what nobody made is no part of it"
    (stack / "slice_0007.jpg").touch()
    second = source_key(stack)
    stack.rename(tmp_path / "moved")
    assert len({first, second, source_key(tmp_path / "moved")}) == 3
    assert source_key(Tomogram("memory", np.zeros((2, 3, 4), np.uint8))) is None


def test_a_tomogram_that_was_rewritten_is_another_whatever_its_size_and_time(tmp_path):
    """Far from the beginning of its file, or in one slice of many, and the time put back, as copying programs do."""
    write_slices(tmp_path / "a", np.zeros((40, 8, 16), np.uint8))
    (tmp_path / "a.npy").write_bytes(bytes(3 << 20))
    for source, changed in (("a", "a/slice_0017.jpg"), ("a.npy", "a.npy")):
        first, path = source_key(tmp_path / source), tmp_path / changed
        times, content = (path.stat().st_atime_ns, path.stat().st_mtime_ns), bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=times)
        assert source_key(tmp_path / source) != first


@pytest.mark.parametrize("name", ["x3d_m", "maxvit_tiny"])
def test_backends_find_the_same(name, monkeypatch, tmp_path):
    """The network itself and the one with less work, which is made once for all tiles; each is asked for by name."""
    monkeypatch.setenv("MOTORS_CACHE", str(tmp_path))
    monkeypatch.setattr("motors.detection.backends.available", lambda device: ["eager", "rewritten"])
    experiment = catalogue.of(name, "smoke")
    tomogram = Tomogram("ball", np.random.default_rng(0).integers(0, 256, (20, 41, 60), dtype=np.uint8), spacing=40.0)
    network, found = build(experiment).eval(), {}
    for backend in ("eager", "rewritten", "auto"):
        working = Detector(network, experiment, threshold=0.0, most=3, options={"backend": backend, "device": "cpu"})
        ready = working.prepare(tomogram)
        found[backend] = working.grids(ready)["zyx"].cells
        working.grids(ready)
        assert len(working.backends.made) == (backend != "eager")
    for backend in ("rewritten", "auto"):
        np.testing.assert_allclose(found[backend], found["eager"], atol=2e-6)
