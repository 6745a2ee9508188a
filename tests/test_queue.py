"""Many tomograms: every one is answered or reported, on all devices, whatever happens to one of them."""

import errno
import os
import subprocess
import sys
import time
import unicodedata
from dataclasses import replace
from pathlib import Path

import fake_networks
import numpy as np
import pandas as pd
import pytest
import torch
import toys
from fake_networks import SOLID, Silent, Trouble, brightness, with_ball
from scipy import ndimage

from motors.detection import detector, heatmap, queue, workers
from motors.detection.detector import detect
from motors.detection.heatmap import read_candidates
from motors.detection.queue import Workers, detect_all
from motors.tables import read_table
from motors.volumes import formats, levels, quality_control, resampling
from motors.volumes.levels import to_uint8
from motors.volumes.slices import write_slices
from motors.volumes.tomogram import Tomogram, TomogramWarning

SHAPE = (32, 64, 96)
PLACES = ["z", "y", "x"]


@pytest.fixture
def tomograms(tmp_path) -> dict[str, Path]:
    """Three tomograms on disk, the middle one empty."""
    folder = tmp_path / "tomograms"
    folder.mkdir()
    for name, radius in (("001", 14), ("empty", 0.1), ("b", 20)):
        np.save(folder / f"{name}.npy", with_ball((48, 64, 96), (30, 40, 50), radius))
    return {name: folder / f"{name}.npy" for name in ("001", "empty", "b")}


def test_many_tomograms_give_one_table_and_their_files(tomograms, tmp_path):
    """Whether they come as files or as tomograms; an empty one has an empty file; names stay text."""
    network = Silent().eval()
    found = detect_all(network, SOLID, tomograms, tmp_path / "out", spacing=dict.fromkeys(tomograms, 16.0))
    assert found["tomo_id"].tolist() == ["001", "b"]
    (folder,) = (tmp_path / "out").glob("solid-*")
    endings = {f"{name}.{ending}" for name in tomograms for ending in ("csv", "source")}
    assert {path.name for path in folder.iterdir()} == {"settings.json"} | endings
    again = (formats.read(path, name=name, spacing=16.0) for name, path in tomograms.items())
    pd.testing.assert_frame_equal(detect_all(network, SOLID, again, tmp_path / "other"), found)


def test_files_without_names_have_those_of_the_tomograms_in_them(tomograms, tmp_path):
    """One or several, as text or paths; a name that is a number is text as well."""
    found = detect_all(Silent().eval(), SOLID, {1: tomograms["001"]}, tmp_path / "a", spacing=16.0)
    assert set(found["tomo_id"]) == {"1"}
    for given in (str(tomograms["b"]), tomograms["b"], [str(tomograms["b"])], [tomograms["b"]]):
        found = detect_all(Silent().eval(), SOLID, given, tmp_path / "out", spacing=16.0)
        assert set(found["tomo_id"]) == {"b"}
    alone = formats.read(tomograms["b"], spacing=16.0)
    assert set(detect_all(Silent().eval(), SOLID, alone, tmp_path / "out")["tomo_id"]) == {"b"}


def test_each_tomogram_has_its_own_spacing_and_the_given_one_wins(tmp_path):
    """The same voxels at 10, 20 and 13.1 Å; the candidates are those of each alone."""
    voxels = with_ball((60, 90, 120), (30, 40, 70), radius=14)
    spacings = {"ten": 10.0, "twenty": 20.0, "own": 13.1}
    given = [Tomogram(name, voxels, 13.1 if name == "own" else None) for name in spacings]
    settings = {"repair": False, "threshold": 0.01}
    single = {
        each.name: detect(Silent().eval(), SOLID, each, spacing=spacings[each.name], **settings) for each in given
    }
    assert len({tuple(table[PLACES].iloc[0]) for table in single.values()}) == 3
    found = detect_all(Silent().eval(), SOLID, given, tmp_path / "each", spacing=spacings, **settings)
    pd.testing.assert_frame_equal(found, pd.concat(single.values(), ignore_index=True))
    with pytest.warns(TomogramWarning, match="own states 13.1 Å per voxel, but 10.0 Å was given and is used"):
        found = detect_all(Silent().eval(), SOLID, given[2:], tmp_path / "against", spacing=10.0, **settings)
    assert found[PLACES].to_numpy().tolist() == single["ten"][PLACES].to_numpy().tolist()


def test_wrapped_intensities_are_repaired_before_networks_see_them_unless_told_otherwise(tmp_path):
    """The candidates are those of the healthy tomogram, alone and among many; slices do as well; it is noted."""
    density = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((48, 64, 96)), 0.8)
    density += 4 * density.std() * (with_ball((48, 64, 96), (30, 40, 50), 14) / 255)
    healthy = Tomogram("ball", to_uint8(density.astype(np.float32)), 16.0)
    wrapped = replace(healthy, voxels=levels.unwrap(healthy.voxels, 60))
    write_slices(tmp_path / "ball", wrapped.voxels)
    network, settings = Silent().eval(), {"spacing": 16.0}
    wanted = detect_all(network, SOLID, [healthy], tmp_path / "healthy", **settings)
    assert quality_control.findings(tmp_path / "healthy" / "findings").empty
    repaired = detect_all(network, SOLID, [wrapped], tmp_path / "repaired", **settings)
    with pytest.warns(TomogramWarning, match="ball is wrapped: all levels were moved up by 60"):
        alone = detect(network, SOLID, wrapped)
    pd.testing.assert_frame_equal(repaired, wanted)
    pd.testing.assert_frame_equal(alone, wanted)
    read = detect_all(network, SOLID, {"ball": tmp_path / "ball"}, tmp_path / "read", **settings)
    torn = detect_all(network, SOLID, [wrapped], tmp_path / "torn", repair=False, **settings)
    best = [found[PLACES].iloc[0].tolist() for found in (wanted, read, torn)]
    assert np.abs(np.subtract(best[0], best[1])).max() < 0.5 < 8 < np.abs(np.subtract(best[0], best[2])).max()
    for name in ("repaired", "read"):
        noted = quality_control.findings(tmp_path / name / "findings")
        assert noted[["tomo_id", "finding", "repaired"]].to_numpy().tolist() == [["ball", "wrapped", True]]
    assert not (tmp_path / "torn" / "findings").exists()


def test_two_tomograms_of_one_name_are_refused_and_na_is_a_name(tomograms, tmp_path):
    """The second would stand in both rows; a table does not take NA for nothing."""
    voxels = np.load(tomograms["b"])
    with pytest.raises(ValueError, match="two tomograms are called ts1: give each a name of its own"):
        detect_all(Silent().eval(), SOLID, [Tomogram("ts1", voxels, 16.0)] * 2, tmp_path / "two")
    names = ["NA", "null", "nan", "001"]
    given = dict.fromkeys(names, tomograms["b"])
    for _ in range(2):  # computed, then read
        found = detect_all(Silent().eval(), SOLID, given, tmp_path / "out", spacing=16.0)
        assert found["tomo_id"].unique().tolist() == names


@pytest.mark.parametrize("name", ["../cell", "/cell", "a/../../cell", "é" * 120])
def test_a_name_that_leads_out_of_the_folder_or_is_too_long_is_refused(tomograms, tmp_path, name):
    """Its candidates would lie where those of another network or threshold do, and be taken for them."""
    with pytest.raises(ValueError, match="give a name of at most 230 bytes, no path"):
        detect_all(Silent().eval(), SOLID, {name: tomograms["b"]}, tmp_path / "out", spacing=16.0)
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".csv", ".source")] == []


def test_sources_and_output_are_found_as_read_finds_them(tomograms, tmp_path, monkeypatch):
    """By a tilde, and typed in another Unicode form than the disk's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / unicodedata.normalize("NFD", "zé.npy")).write_bytes(tomograms["b"].read_bytes())
    given = {"typed": tmp_path / unicodedata.normalize("NFC", "zé.npy"), "home": Path("~/zé.npy")}
    found = detect_all(Silent().eval(), SOLID, given, "~/out", spacing=16.0)
    assert found["tomo_id"].unique().tolist() == ["typed", "home"] and (tmp_path / "out" / "faults.csv").is_file()


def test_a_drive_on_which_times_cannot_be_set_stops_nothing(tomograms, tmp_path, monkeypatch):
    """Such as one of Windows: the time says no more than which settings are the last."""
    refused = PermissionError(errno.EPERM, "Operation not permitted")
    monkeypatch.setattr(os, "utime", lambda *_, **__: (_ for _ in ()).throw(refused))
    found = detect_all(Silent().eval(), SOLID, {"b": tomograms["b"]}, tmp_path / "out", spacing=16.0)
    assert found["tomo_id"].unique().tolist() == ["b"]


# What is taken from before


def test_what_was_found_before_is_not_computed_again(tomograms, tmp_path):
    """After an interruption the rest is computed, and the table is the same as in one go."""

    class Interrupted(Silent):
        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().forward(tiles)

    settings = {"spacing": 16.0, "batch": 8}
    network = Interrupted().eval()
    with pytest.raises(KeyboardInterrupt):
        detect_all(network, SOLID, tomograms, tmp_path / "out", **settings)
    network = Silent().eval()
    found = detect_all(network, SOLID, tomograms, tmp_path / "out", **settings)
    assert network.calls == 1
    pd.testing.assert_frame_equal(detect_all(Silent().eval(), SOLID, tomograms, tmp_path, **settings), found)


def _darkness(tiles: torch.Tensor) -> torch.Tensor:
    return -brightness(tiles)


def test_other_weights_settings_or_files_are_computed_again(tomograms, tmp_path):
    """Candidates of an earlier network never pass for those of a later one, nor one file for another of its name."""

    def calls(network: Silent, **settings) -> int:
        detect_all(network, SOLID, tomograms, tmp_path / "out", spacing=16.0, **{"batch": 8} | settings)
        return network.calls

    assert calls(Silent().eval()) == 3
    assert calls(Silent().eval(), batch=4, policy="strict") == 0
    bright = [detect_all(each, SOLID, tomograms, tmp_path / "out", spacing=16.0) for each in (brightness, _darkness)]
    assert not bright[0].equals(bright[1])  # networks without weights, by their names; a lambda is computed every time
    again = [detect_all(lambda t: brightness(t), SOLID, tomograms, tmp_path / "l", spacing=16.0) for _ in range(2)]
    assert all(each.equals(bright[0]) for each in again) and len(list((tmp_path / "l").glob("solid-*"))) == 2
    assert calls(Silent(0.5).eval()) == 3
    assert calls(Silent().eval(), threshold=0.5) == 3
    os.utime(tomograms["b"], (1e9, 1e9))  # older than the candidates, and another file all the same
    assert calls(Silent().eval()) == 1
    other = tmp_path / "elsewhere" / "b.npy"
    other.parent.mkdir()
    tomograms["b"] = tomograms["b"].rename(other)  # same name, size and time
    assert calls(Silent().eval()) == 1


def test_only_what_is_certainly_the_same_is_taken_from_before(tomograms, tmp_path, monkeypatch):
    """Tomograms in memory may be others of the same name, slices may be rewritten in place, code may have changed."""
    voxels = np.load(tomograms["b"])
    folder = write_slices(tmp_path / "slices", voxels)

    def calls(given) -> int:
        network = Silent().eval()
        detect_all(network, SOLID, given, tmp_path / "out", spacing=16.0, repair=False, batch=8)
        return network.calls

    assert calls([Tomogram("memory", voxels, 16.0)]) == calls([Tomogram("memory", voxels, 16.0)]) == 1
    assert [calls({"slices": folder}), calls({"slices": folder})] == [1, 0]
    os.utime(folder / "slice_0003.jpg", (1e9, 1e9))
    assert calls({"slices": folder}) == 1
    (folder / "notes.txt").write_text("no slice")
    assert calls({"slices": folder}) == 0
    pages = toys.in_files(tmp_path / "set", voxels[:3])
    assert [calls({"set": pages[0]}), calls({"set": pages[0]})] == [1, 0]
    os.utime(pages[2], (1e9, 1e9))
    assert calls({"set": pages[0]}) == 1, "a plane in another file"
    assert [calls(tomograms), calls(tomograms)] == [3, 0]
    for path in tomograms.values():
        os.utime(path, (1e9, 1e9))
    assert [calls(tomograms), calls(tomograms)] == [3, 0]
    tomograms["b"].rename(tmp_path / "b")
    tomograms["001"].rename(tomograms["b"])
    (tmp_path / "b").rename(tomograms["001"])
    assert calls(tomograms) == 2, "of one size and one time, they have changed their names"
    monkeypatch.setattr(detector, "_code", lambda: "changed")
    assert calls(tomograms) == 3


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import numpy as np
from fake_networks import SOLID, Silent
from motors.detection import detector
from motors.detection.queue import detect_all

root, names = Path(sys.argv[1]), [f"t{k:02d}" for k in range(24)]

class Watched(Silent):
    def forward(self, tiles):
        with open(root / "computed", "a") as log:
            log.write(f"{int(tiles.max())}\\n")
        return super().forward(tiles)

def go(output):
    detect_all(Watched().eval(), SOLID, {n: root / f"{n}.npy" for n in names}, output, spacing=16.0, threshold=0.3)

def finished():
    return {int(path.stem[1:]) + 200 for path in (root / "killed").glob("*/*.source")}

rng = random.Random(0)
detector._code()  # once, not in every child
for kills in range(61):
    before = finished()
    (root / "computed").write_text("")
    child = os.fork()
    if child == 0:
        go(root / "killed")
        os._exit(0)
    if kills < 60:  # the last one may finish
        time.sleep(rng.uniform(0, 0.08))
        goal = len(before) + (kills % 3 == 0)
        while len(finished()) < min(goal, 22):
            time.sleep(rng.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    computed = set(map(int, (root / "computed").read_text().split()))
    assert not computed & before, (kills, computed & before)
go(root / "whole")
print(kills)
"""


@pytest.mark.kernel
def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_bytes_and_computes_nothing_twice(tmp_path):
    """Sixty times SIGKILL; what was finished, which its key says, is never computed again."""
    for k in range(24):
        np.save(tmp_path / f"t{k:02d}.npy", with_ball(SHAPE, (15, 20 + k, 50), 14, level=200 + k))
    paths = os.pathsep.join([str(Path(fake_networks.__file__).parent), *sys.path])
    line = [sys.executable, "-c", KILLS, str(tmp_path)]
    answer = subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths})
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) == 60
    (killed,), (whole,) = ((tmp_path / name).glob("solid-*") for name in ("killed", "whole"))
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (killed, whole)]
    assert len(contents[1]) == 24 * 2 + 1
    assert {name: data for name, data in contents[0].items() if not name.startswith(".")} == contents[1]


# What fails


def stack(folder: Path, level: int = 200) -> Path:
    """Write a tomogram of slices whose brightest voxel has this level or so."""
    return write_slices(folder, with_ball(SHAPE, (15, 20, 50), 14, level))


def damaged(folder: Path) -> dict[str, Path]:
    """Write tomograms that cannot be read, each in another way, and two that can."""
    given = {}
    spoil = {
        "truncated": lambda path: path.write_bytes(path.read_bytes()[:-50]),
        "empty": lambda path: path.write_bytes(b""),
        "foreign": lambda path: path.write_bytes(b"<html>404</html>"),
        "missing": Path.unlink,
    }
    for name, change in spoil.items():
        given[name] = stack(folder / name)
        for k in (3, 4, 5, 6, 11):
            change(given[name] / f"slice_{k:04d}.jpg")
    (folder / "none").mkdir()
    thin = write_slices(folder / "one slice", np.zeros((1, 64, 96), np.uint8))
    given |= {"none": folder / "none", "not there": folder / "not there", "one slice": thin}
    given["few"] = stack(folder / "few")
    (given["few"] / "slice_0003.jpg").unlink()
    return {"first": stack(folder / "first")} | given | {"last": stack(folder / "last")}


def test_a_tomogram_that_cannot_be_read_is_reported_and_the_rest_is_found(tmp_path):
    """Each in one sentence that says why; a few bad slices are filled in; at home the first one stops everything."""
    given = damaged(tmp_path / "damaged")
    settings = {"spacing": 16.0, "threshold": 0.3}
    found = detect_all(Silent().eval(), SOLID, given, tmp_path / "out", policy="carry on", **settings)
    assert found["tomo_id"].tolist() == ["first", "few", "last"]
    assert len(found) == 3 and np.ptp(found[PLACES].to_numpy(), axis=0).max() < 1  # voxels
    faults = pd.read_csv(tmp_path / "out" / "faults.csv", index_col="tomo_id")
    assert faults.index.tolist() == [name for name in given if name not in ("first", "few", "last")]
    assert set(faults["stage"]) == {"read"} and faults["reason"].str.len().between(20, 300).all()
    noted = quality_control.findings(tmp_path / "out" / "findings")
    assert noted[noted.finding == "filled slices"][["tomo_id", "statistic"]].to_numpy().tolist() == [["few", 1.0]]
    for name in ("truncated", "few"):
        with pytest.raises((ValueError, FileNotFoundError), match=r"slice_0003.jpg"):
            detect_all(Silent().eval(), SOLID, {name: given[name]}, tmp_path / "strict", **settings)
    with pytest.raises(ValueError, match="no policy 'lax': choose one of strict, carry on"):
        detect_all(Silent().eval(), SOLID, given, tmp_path / "strict", policy="lax")


def test_reading_that_hangs_costs_its_time_limit_and_no_more(tomograms, tmp_path, monkeypatch):
    """The others are found; the thread that hangs is left to itself."""

    def read(path, read=formats.read, **options):
        if "b" in path.name:
            time.sleep(60)
        return read(path, **options)

    monkeypatch.setattr(formats, "read", read)
    begin = time.monotonic()
    tomograms = {name: tomograms[name] for name in ("b", "001")}
    settings = {"spacing": 16.0, "policy": "carry on", "limit": 0.3}
    found = detect_all(Silent().eval(), SOLID, tomograms, tmp_path / "out", **settings)
    assert time.monotonic() - begin < 20
    assert found["tomo_id"].unique().tolist() == ["001"]
    assert "could not be read within 0.3 seconds" in (tmp_path / "out" / "faults.csv").read_text()


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tomograms, tmp_path, monkeypatch):
    """Carrying on, the candidates are there although they could not be kept."""
    write = workers.write_table

    def full(path, table):
        if path.stem == "b":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, table)

    monkeypatch.setattr(workers, "write_table", full)
    with pytest.raises(OSError, match="the disk is full at tomogram b: free some space and run again"):
        detect_all(Silent().eval(), SOLID, tomograms, tmp_path / "out", spacing=16.0)
    assert not [path for path in (tmp_path / "out").glob("solid-*/*") if path.name.startswith((".", "b"))]
    found = detect_all(Silent().eval(), SOLID, tomograms, tmp_path / "on", spacing=16.0, policy="carry on")
    assert found["tomo_id"].unique().tolist() == ["001", "b"]
    assert pd.read_csv(tmp_path / "on" / "faults.csv")["stage"].tolist() == ["write"]


def test_no_tomogram_is_begun_when_the_time_is_up(tomograms, tmp_path):
    """They are listed; with time again, only those are computed."""
    found = detect_all(
        Silent().eval(), SOLID, tomograms, tmp_path, spacing=16.0, until=time.monotonic(), policy="carry on"
    )
    assert found.empty
    assert pd.read_csv(tmp_path / "faults.csv")["stage"].tolist() == ["time"] * 3
    found = detect_all(Silent().eval(), SOLID, tomograms, tmp_path, spacing=16.0, policy="carry on")
    assert found["tomo_id"].unique().tolist() == ["001", "b"]
    assert pd.read_csv(tmp_path / "faults.csv").empty


# Several devices


def test_a_device_that_cannot_compute_is_refused_before_anything_is_computed(monkeypatch):
    """A P100 takes memory, then every kernel fails."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla P100-PCIE-16GB")
    with pytest.raises(ValueError, match=r"cuda:0 cannot compute \(it is a Tesla P100.* of capability 6.0\)"):
        Workers(["cpu", "cuda:0"])
    with pytest.raises(ValueError, match="moon cannot compute"):
        Workers(["moon"])
    with pytest.raises(ValueError, match="no device is named"):
        Workers([])


@pytest.fixture(scope="module")
def two():
    """Two processes on the CPU."""
    with Workers(["cpu", "cpu"]) as devices:
        yield devices


def alive(devices: Workers) -> list[int]:
    """The numbers of the processes."""
    return [device.process.result(timeout=60) for device in devices.devices if device.pool]


@pytest.mark.kernel
def test_two_workers_find_what_one_process_finds_and_keep_their_network(two, tmp_path):
    """In the order of the tomograms; warnings arrive; a second call finds the workers as they were."""
    given = [Tomogram(f"t{k}", with_ball(SHAPE, (15, 20 + k, 50), 14), 16.0) for k in range(7)]
    settings = {"symmetries": ["zyx", "zxy"], "spacing": 13.1, "threshold": 0.3}
    with pytest.warns(TomogramWarning, match="states 16.0 Å per voxel, but 13.1"):
        found = detect_all(Silent().eval(), SOLID, given, tmp_path / "two", devices=two, **settings)
        alone = detect_all(Silent().eval(), SOLID, given, tmp_path / "one", **settings)
    pd.testing.assert_frame_equal(found, alone)
    before, known = alive(two), [len(device.known) for device in two.devices]
    with pytest.warns(TomogramWarning, match="states 16.0"):
        detect_all(Silent().eval(), SOLID, given, tmp_path / "again", devices=two, **settings | {"threshold": 0.5})
    assert alive(two) == before and [len(device.known) for device in two.devices] == known
    (folder,) = (tmp_path / "two").glob("solid-*")
    pd.testing.assert_frame_equal(
        read_candidates(folder / "t3.csv"), found[found.tomo_id == "t3"].reset_index(drop=True)
    )


def test_a_small_tomogram_is_prepared_once_for_all_networks(tomograms, monkeypatch):
    """As long as its files stay as they are, and with these settings; what is too large is not kept."""
    asked = []

    def prepare(self, source, *, name, spacing):
        asked.append((name, spacing, self.experiment.spacing[0]))
        return detector.Ready(name, np.zeros((4, 5, 6), np.uint8), (4, 5, 6), spacing, [])

    monkeypatch.setattr(detector.Detector, "prepare", prepare)
    kept, coarse = {}, replace(SOLID, spacing=(32.0, 16.0, 16.0))

    def read(name: str, spacing: float = 16.0, experiment=SOLID, **how) -> list:
        asked.clear()
        task = workers.Task(name, tomograms[name], spacing, Path(), False, 60)
        predictor = workers.Predictor(detector.Detector(None, experiment, **how), kept)
        ready, _ = workers._reading(predictor.detector, task, predictor.kept).result(60)
        assert (ready.name, ready.spacing) == (name, spacing)
        return list(asked)

    assert read("001") == [("001", 16.0, 16.0)] and read("001") == []
    assert read("b") == [("b", 16.0, 16.0)] and read("001") == [] == read("b")
    assert read("b", spacing=13.1) and read("b", experiment=coarse) == [("b", 16.0, 32.0)]
    assert read("b", reading={"invert": True}) and read("b", repair=False) and not read("b", reading={"invert": True})
    np.save(tomograms["b"], np.zeros((3, 4, 5), np.uint8))
    assert read("b") and not read("001")
    monkeypatch.setattr(workers, "KEPT", 2 * 4 * 5 * 6)
    assert read("001", spacing=10.0) and len(kept) == 2 and not read("001", spacing=10.0)
    monkeypatch.setattr(workers, "KEPT", 4 * 5 * 6 - 1)
    assert read("empty") and not kept and read("empty")


def test_what_was_read_ahead_is_of_this_file_or_read_again(tomograms, tmp_path):
    """A call may end when the next tomogram has been read already, and another one have a file of the same name."""
    found = {}
    predictor = workers.Predictor(detector.Detector(Silent().eval(), SOLID))
    for path in (tomograms["001"], tomograms["empty"]):
        task = workers.Task("x", path, 16.0, tmp_path, False, 60)
        found[path.stem] = predictor.work(task, workers.Task("x", tomograms["b"], 16.0, tmp_path, False, 60))
    assert len(found["001"].candidates) == 1 and found["empty"].candidates.empty


@pytest.mark.kernel
def test_whatever_a_worker_meets_the_others_do_the_rest(two, tmp_path):
    """Killed once, in large tiles, every time, NaN, a bug: one row in the report each, where it must be."""
    levels = {"a": 200, "killed once": Trouble.KILLED_ONCE, "b": 210, "NaN": Trouble.NAN, "killed": Trouble.KILLED}
    levels |= {"c": 220, "bug": Trouble.BUG, "d": 230, "large": Trouble.LARGE}
    given = {name: tmp_path / f"{name}.npy" for name in levels}
    for name, level in levels.items():
        np.save(given[name], with_ball(SHAPE, (15, 20, 50), 14, level))
    settings = {"spacing": 16.0, "devices": two, "repair": False}
    with pytest.warns(UserWarning, match=r"large was predicted in tiles of \(32, 32, 32\): memory had run out"):
        found = detect_all(Trouble(tmp_path).eval(), SOLID, given, tmp_path / "out", policy="carry on", **settings)
    faults = read_table(tmp_path / "out" / "faults.csv").set_index("tomo_id")
    assert found["tomo_id"].unique().tolist() == ["a", "killed once", "b", "c", "d", "large"]
    assert faults["stage"].to_dict() == {"NaN": "predict", "bug": "predict", "killed": "worker"}
    assert "NaN or infinity" in faults.reason["NaN"] and "three times" in faults.reason["killed"]
    assert faults.reason["bug"] == "KeyError()"
    assert len(two.devices) == 2
    with pytest.raises(ValueError, match="NaN or infinity"):
        detect_all(Trouble(tmp_path).eval(), SOLID, {"NaN": given["NaN"]}, tmp_path / "strict", **settings)


@pytest.mark.kernel
def test_a_device_that_fails_leaves_its_work_to_the_others_and_without_any_the_rest_is_reported(tmp_path):
    """Several tomograms in a row that end a device are its end."""
    given = [
        Tomogram(f"t{k}", with_ball(SHAPE, (15, 20, 50), 14, 200 if k else Trouble.KILLED), 16.0) for k in range(3)
    ]
    network, settings = Trouble(tmp_path).eval(), {"policy": "carry on", "repair": False}
    with Workers(["cpu"]) as one:
        one.devices[0].victims |= {f"{number} before" for number in range(4)}
        with pytest.warns(UserWarning, match="cpu is given up, its work left to the others"):
            found = detect_all(network, SOLID, given, tmp_path / "out", devices=one, **settings)
    assert found.empty
    assert pd.read_csv(tmp_path / "out" / "faults.csv")["stage"].tolist() == ["worker"] * 3
    given[0] = Tomogram("t0", with_ball(SHAPE, (15, 20, 50), 14, Trouble.DEVICE), 16.0)
    with Workers(["cpu", "cpu"]) as both:
        for device in both.devices:
            device.victims |= {f"{number} before" for number in range(4)}
        with pytest.warns(UserWarning, match="cpu is given up, its work left to the others: CUDA error: an illegal"):
            found = detect_all(network, SOLID, given, tmp_path / "other", devices=both, **settings)
        assert len(both.devices) == 1
    assert found["tomo_id"].unique().tolist() == ["t0", "t1", "t2"]
    assert pd.read_csv(tmp_path / "other" / "faults.csv").empty


@pytest.mark.kernel
def test_a_worker_has_the_environment_of_its_start(two, monkeypatch):
    """Though the process it is forked from is older: devices and caches are chosen by variables."""
    two.devices[0]._pool()  # starts that process
    monkeypatch.setenv("MOTORS_CACHE", "elsewhere")
    with Workers(["cpu"]) as one:
        assert one.devices[0]._pool().submit(os.getenv, "MOTORS_CACHE").result() == "elsewhere"


@pytest.mark.kernel
def test_a_worker_that_is_still_at_it_after_the_time_is_ended(two, tmp_path, monkeypatch):
    """What it computes would come too late; the next call has a new worker."""
    monkeypatch.setattr(queue, "GRACE", 0.0)
    slow = [Tomogram(f"t{k}", with_ball(SHAPE, (15, 20, 50), 14, Trouble.SLOW), 16.0) for k in range(4)]
    settings = {"devices": two, "policy": "carry on", "repair": False}
    assert len(detect_all(Silent().eval(), SOLID, slow, tmp_path / "before", **settings)) == 4
    found = detect_all(Trouble(tmp_path).eval(), SOLID, slow, tmp_path, until=time.monotonic() + 0.25, **settings)
    assert found.empty and pd.read_csv(tmp_path / "faults.csv")["stage"].tolist() == ["time"] * 4
    assert alive(two) == []


ORPHANS = """
import sys, time
from motors.detection.queue import Workers
if __name__ == "__main__":
    with Workers(["cpu"]) as devices:
        devices.devices[0]._pool()
        print(devices.devices[0].process.result(), flush=True)
        time.sleep(600)
"""


@pytest.mark.kernel
def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Even if that is killed: otherwise they would write into the folder of the next run."""
    (tmp_path / "start.py").write_text(ORPHANS)
    with subprocess.Popen([sys.executable, tmp_path / "start.py"], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert toys.alive(worker)
        parent.kill()
    end = time.monotonic() + 20
    while toys.alive(worker) and time.monotonic() < end:
        time.sleep(0.1)
    assert not toys.alive(worker)


# Heatmaps


def test_heatmaps_are_kept_and_read_back(tomograms, tmp_path):
    """One of float16 per orientation, as `heatmap` gives it, with the size of a cell and what the tomogram was."""
    shown = {"symmetries": ["zyx", "zxy_x"], "spacing": 10.0, "save_heatmaps": True}
    detect_all(Silent().eval(), SOLID, tomograms, tmp_path, **shown)
    found = heatmap.load_heatmaps(tmp_path, "b")
    assert list(found) == [("solid", "zyx"), ("solid", "zxy_x")]
    grid = found["solid", "zxy_x"]
    voxels = resampling.resample(np.load(tomograms["b"]), 10.0, SOLID.spacing)
    expected = detector.heatmap(fake_networks.brightness, SOLID, voxels, symmetries=["zxy_x"])
    np.testing.assert_allclose(grid.cells, expected, rtol=1e-3, atol=1e-7)
    assert (grid.size, grid.shape, grid.spacing) == ((128, 128, 128), (48, 64, 96), 10)
    candidates = detect_all(Silent().eval(), SOLID, tomograms, tmp_path, **shown)
    again = grid.candidates("b", "solid", "zxy_x", threshold=0.05)
    rows = candidates[(candidates.tomo_id == "b") & (candidates.symmetry == "zxy_x")].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, rows, rtol=1e-3)
    with pytest.raises(FileNotFoundError, match="no heatmap of c in"):
        heatmap.load_heatmaps(tmp_path, "c")


def test_what_was_kept_and_is_damaged_or_of_another_file_is_computed_again(tomograms, tmp_path):
    """A table that lost its end, a heatmap with other bytes, one that is left from what the file was before."""

    def calls(keep: bool = True) -> int:
        network = Silent().eval()
        detect_all(network, SOLID, {"b": tomograms["b"]}, tmp_path, spacing=16.0, save_heatmaps=keep, batch=8)
        return network.calls

    assert [calls(), calls()] == [1, 0]
    for ending in ("csv", "npz"):
        (path,) = tmp_path.glob(f"solid-*/b.{ending}")
        path.write_bytes(path.read_bytes()[:-3])
        assert [calls(), calls()] == [1, 0], ending
    os.utime(tomograms["b"], (1e9, 1e9))
    assert [calls(keep=False), calls()] == [1, 1]


def test_the_heatmaps_of_the_last_time_are_read(tomograms, tmp_path):
    """What was kept with other weights is passed over; candidates without a heatmap are computed again."""

    def calls(bias: float, keep: bool = True) -> int:
        network = Silent(bias).eval()
        detect_all(network, SOLID, tomograms, tmp_path, spacing=16.0, save_heatmaps=keep, batch=8)
        return network.calls

    assert [calls(0.0, keep=False), calls(0.0), calls(0.0), calls(1.0)] == [3, 3, 0, 3]
    brighter = heatmap.load_heatmaps(tmp_path, "b")["solid", "zyx"].cells
    assert calls(0.0) == 0
    assert (heatmap.load_heatmaps(tmp_path, "b")["solid", "zyx"].cells < brighter).all()
    for settings in tmp_path.glob("*/settings.json"):
        os.utime(settings, (4e9, 4e9))  # a clock that has been put right since
    assert calls(1.0) == 0
    assert (heatmap.load_heatmaps(tmp_path, "b")["solid", "zyx"].cells == brighter).all()


def test_symmetries_may_be_predicted_one_after_the_other(tomograms, tmp_path):
    """Their heatmaps are together; after a training anew, only those of the new network."""
    settings = {"spacing": 16.0, "save_heatmaps": True}
    for bias, symmetry in ((0.0, "zyx"), (0.0, "zxy"), (1.0, "zxy")):
        detect_all(Silent(bias).eval(), SOLID, tomograms, tmp_path, symmetries=[symmetry], **settings)
        wanted = {0.0: {("solid", "zyx"), ("solid", symmetry)}, 1.0: {("solid", "zxy")}}[bias]
        assert set(heatmap.load_heatmaps(tmp_path, "b")) == wanted
