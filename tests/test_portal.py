"""What the portal's own client says and a store of files sends becomes stacks of slices, whatever goes wrong."""

from __future__ import annotations

import errno
import gzip
import json
import shutil
import ssl
import subprocess
import sys

import mrcfile
import numpy as np
import pandas as pd
import pytest
import torch
from portal_stand_in import Portal, write_zarr

from motors.labels.external import read_points
from motors.portal import annotations, catalogue, collection, conversion, transfer
from motors.portal.transfer import Patience
from motors.volumes import formats, slices
from motors.volumes.mrc import write_mrc
from motors.workspace.files import sha256

SHAPE = (40, 48, 64)
PATIENT = Patience(attempts=3, wait=0.01, longest=0.02, timeout=5)
HASTY = Patience(attempts=3, wait=0.01, longest=0.02, timeout=0.3)
NUMBER = {"zarr": ".zarr/0/1/1/1", "mrc": ".mrc"}  # a file of each form


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests, because to make a client takes a second."""
    server = Portal(tmp_path_factory.mktemp("files"))
    yield server
    server.close()


@pytest.fixture
def site(server):
    """The stand-in, with nothing in it."""
    for content in (server.runs, server.tomograms, server.annotations, server.faults, server.asked):
        content.clear()
    shutil.rmtree(server.folder, ignore_errors=True)
    server.delay = 0.0
    return server


@pytest.fixture
def exact(monkeypatch):
    """Slices as they are before they become JPEG, by their number."""
    found = {}
    write = slices.write_slice
    monkeypatch.setattr(conversion, "write_slice", lambda *given: (found.update({given[1]: given[2]}), write(*given)))
    return found


def noise(shape=SHAPE, seed: int = 0) -> np.ndarray:
    """Return float32 voxels of no particular range."""
    return np.random.default_rng(seed).normal(1000, 3, shape).astype(np.float32)


def smooth_bytes(mean: float = 128, spread: float = 30) -> np.ndarray:
    """Return uint8 voxels of a smooth histogram."""
    return np.random.default_rng(0).normal(mean, spread, SHAPE).clip(0, 255).astype(np.uint8)


def collect(site, folder, *names: str, patience=PATIENT, **settings) -> pd.DataFrame:
    """Collect runs from the stand-in and return the report by name."""
    return collection.collect(names, folder, url=site.url, patience=patience, **settings).set_index("tomo_id")


def record(folder, name: str) -> dict:
    """Return the record beside the slices of a tomogram."""
    return json.loads((folder / name / "metadata.json").read_text())


@pytest.mark.parametrize("form", ["zarr", "mrc"])
@pytest.mark.parametrize("spacing", [10.0, 19.7])
def test_a_run_becomes_a_stack_at_16_angstrom_or_coarser(site, tmp_path, exact, form, spacing):
    """Percentiles as numpy sorts them, interpolation as PyTorch does it, and nothing finer than 16 ångström."""
    voxels = noise()
    site.add("run-1", voxels, spacing)
    assert collect(site, tmp_path, "run-1", form=form).loc["run-1", "status"] == "stored"
    low, high = np.percentile(voxels, (0.87910068792905, 99.06423106440042)).astype(np.float32)
    wanted = (voxels.clip(low, high) - low) / (high - low)
    scale = spacing / max(spacing, 16.0)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(wanted)[None, None], scale_factor=scale, mode="trilinear", recompute_scale_factor=False
    )[0, 0]
    stack = np.stack([exact[k] for k in range(len(exact))]).astype(int)
    assert stack.shape == tuple(int(side * scale) for side in SHAPE)
    assert np.abs(stack - np.floor(wanted.numpy() * 255)).max() <= 1
    read = formats.read(tmp_path / "run-1").voxels.astype(int)
    assert read.shape == stack.shape
    assert np.abs(read - stack).mean() < 2


@pytest.mark.parametrize("form", ["zarr", "mrc"])
def test_the_record_describes_what_came_and_what_is_stored(site, tmp_path, form):
    """In the original solution's words, with hashes, and with everything that the portal says."""
    voxels = noise()
    site.add("run-1", voxels, 10.0)
    collect(site, tmp_path, "run-1", form=form, stamp={"notebook": "13_external_data"})
    found = record(tmp_path, "run-1")
    counts, edges = np.histogram(voxels, 256, (voxels.min(), voxels.max()))
    assert (found["ori_shape"], found["ori_dtype"], found["ori_spacing"]) == (list(SHAPE), "float32", 10.0)
    assert found["ori_histogram"] == counts.tolist()
    assert np.allclose(found["ori_histogram_bins"], edges)
    measured = [found[f"ori_tomo_{name}"] for name in ("min", "max", "mean", "std")]
    wide = voxels.astype(float)
    assert np.allclose(measured, [wide.min(), wide.max(), wide.mean(), wide.std()])
    assert (found["target_spacing"], found["target_shape"]) == (16.0, [25, 30, 40])
    assert (found["detected_as_uint8_range"], found["mended"]) == (False, False)
    assert (found["PORTAL__reconstruction_software"], found["form"]) == ("made up", form)
    assert found["made"] == {"notebook": "13_external_data"}
    assert (found["slices"]["count"], len(found["slices"]["sha256"]), len(found["ori_sha256"])) == (25, 64, 64)
    stored = collection.table(tmp_path).iloc[0]
    assert stored[["tomo_id", "size_z", "size_y", "size_x", "spacing"]].tolist() == ["run-1", 25, 30, 40, 16.0]
    assert stored[["native_z", "native_y", "native_x", "native_spacing"]].tolist() == [*SHAPE, 10.0]


def test_a_file_whose_planes_do_not_lie_one_after_the_other_is_refused(tmp_path):
    """Planes are read by where they begin; a single volume of a stack is one, whatever its header calls it."""
    voxels = noise()
    np.save(tmp_path / "a.npy", np.asfortranarray(voxels))
    write_mrc(tmp_path / "b.mrc", voxels, 16.0)
    (tmp_path / "c.mrc").write_bytes(gzip.compress((tmp_path / "b.mrc").read_bytes()))
    for name in ("a.npy", "c.mrc"):
        with pytest.raises(ValueError, match=f"{name} is compressed, or its planes do not lie one after the other"):
            conversion.PlaneReader(tmp_path / name)
    with mrcfile.open(tmp_path / "b.mrc", "r+") as file:
        file.header.ispg = 401
    np.save(tmp_path / "d.npy", voxels[None])
    for name in ("b.mrc", "d.npy"):
        planes = conversion.PlaneReader(tmp_path / name)
        assert planes.shape == SHAPE and np.array_equal(planes[3], voxels[3])


def test_both_forms_of_a_tomogram_become_the_same_slices(site, tmp_path):
    """Whichever is downloaded."""
    site.add("run-1", noise(), 13.1)
    for form in ("zarr", "mrc"):
        collect(site, tmp_path / form, "run-1", form=form)
    zarr, mrc = (record(tmp_path / form, "run-1") for form in ("zarr", "mrc"))
    assert zarr["slices"] == mrc["slices"]


@pytest.mark.parametrize(
    ("name", "stored", "mended"),
    [
        ("mba2011-02-16-106", smooth_bytes(), True),  # the original mended it, and its histogram says the same
        ("mba2011-02-16-106", smooth_bytes(128, 10), True),
        ("mba2011-02-16-107", smooth_bytes(), True),  # the original did not know it
        ("elsewhere-106", smooth_bytes(60, 40), True),
    ],
)
def test_bytes_that_were_taken_for_signed_ones_are_mended(site, tmp_path, exact, name, stored, mended):
    """Voxels of -128 to 127 whose histogram is torn apart are read as 0 to 255 again."""
    site.add(name, stored.view(np.int8).astype(np.float32), 16.0)
    site.add("whole", stored.astype(np.float32) + 1000, 16.0)
    collect(site, tmp_path, name)
    torn = dict(exact)
    collect(site, tmp_path, "whole")
    assert record(tmp_path, name)["mended"] is mended
    assert all((torn[k] == exact[k]).all() for k in torn)


def test_healthy_signed_bytes_stay_as_they_are(site, tmp_path):
    """In the middle of their range, clipped at its ends, or few."""
    healthy = {"middle": smooth_bytes(), "clipped": smooth_bytes(128, 60), "narrow": smooth_bytes(128, 3)}
    for name, voxels in healthy.items():
        site.add(name, voxels.astype(np.float32) - 128, 16.0)
    collect(site, tmp_path, *healthy)
    for name in healthy:
        assert (record(tmp_path, name)["detected_as_uint8_range"], record(tmp_path, name)["mended"]) == (True, False)


def test_the_seam_tells_real_histograms_from_the_same_ones_wrapped(real):
    """None of 633 healthy tomograms is taken for a wrapped one; wrapped by half the range, all but two are found."""
    dark = (
        """08bf73 24a095 37c426 3a0914 3b8291 5b359d 648adf 67ff4e 692081 6b1fd3 774aae 9f918e ac4f0d b18127 d8c917"""
    )
    content = json.loads((real / "labels" / "histogram.json").read_text())
    healthy = [np.array(found["hist"]) for name, found in content.items() if name.removeprefix("tomo_") not in dark]
    assert len(healthy) == 633
    assert max(conversion.seam(counts) for counts in healthy) < conversion.WRAPPED
    assert sum(conversion.seam(np.roll(counts, 128)) > conversion.WRAPPED for counts in healthy) == 631


def test_the_first_tomogram_of_the_first_run_is_taken_and_that_is_said(site, tmp_path):
    """The first by their numbers, in whatever order the portal lists them."""
    later = site.add("run-1", noise(seed=1), 16.0)
    first = site.add("run-1", noise(seed=2), 16.0)  # its run has the smaller number
    second = site.add("run-1", noise(seed=3), 16.0, run=first["runId"], id=0)
    report = collect(site, tmp_path, "run-1")
    assert first["runId"] < later["runId"]
    assert record(tmp_path, "run-1")["PORTAL__id"] == second["id"]
    assert report.loc["run-1", "remarks"] == (
        f"first of 2 runs of this name, number {first['runId']}; first of 2 tomograms, number 0"
    )


def test_a_tomogram_without_an_image_is_taken_as_mrc(site, tmp_path):
    """And one that has neither fails with a sentence."""
    site.add("run-1", noise(), 16.0, forms="mrc")
    site.add("run-2", noise(), 16.0, forms="")
    report = collect(site, tmp_path, "run-1", "run-2")
    assert record(tmp_path, "run-1")["form"] == "mrc"
    assert report.loc["run-2", "remarks"].startswith("the tomogram of run run-2 has no file on the portal")


def test_a_spacing_that_cannot_be_trusted_is_flagged(site, tmp_path):
    """Two datasets are known; elsewhere the file may contradict the catalogue."""
    site.add("run-1", noise(), 16.0, dataset=10210)
    site.add("run-2", noise(), 16.0, voxelSpacing=20.0)
    site.add("run-3", noise(), 16.0, dataset=10211, voxelSpacing=20.0)
    report = (
        collect(site, tmp_path, "run-1", form="mrc")["remarks"].tolist()
        + collect(site, tmp_path, "run-2", "run-3")["remarks"].tolist()
    )
    contradiction = "the file states 16 x 16 x 16 Å per voxel along z, y, x, the catalogue 20"
    assert report == [
        "dataset 10210 states a wrong spacing",
        contradiction,
        f"dataset 10211 states a wrong spacing; {contradiction}",
    ]
    assert collection.table(tmp_path)["remarks"].tolist() == report


def test_a_survey_says_what_there_is_and_what_it_will_take(site):
    """Without downloading any of it."""
    site.add("run-1", noise(), 8.0, dataset=10210)
    site.add_run("run-2")
    found = catalogue.survey(["run-2", "run-1", "run-3", "run-1"], url=site.url, patience=PATIENT).set_index("tomo_id")
    assert found.loc["run-1"].tolist() == [
        10210, *SHAPE, 8.0, "zarr", 1, "dataset 10210 states a wrong spacing",
    ]  # fmt: skip
    assert found.loc["run-2", "remarks"] == "run run-2 has no tomogram on the portal: leave its labels out"
    assert found.loc["run-3", "remarks"].startswith("the portal has no run called run-3: check the name")
    cost = catalogue.estimate(found.reset_index())
    assert cost.to_numpy().tolist() == [["run-1", 16.0, 20, 24, 32, 4 * 40 * 48 * 64, round(0.71 * 20 * 24 * 32)]]
    assert set(site.asked) == {"/graphql"}


@pytest.mark.parametrize(
    ("form", "fault"), [("zarr", "500"), ("zarr", "hang"), ("mrc", "429"), ("mrc", "cut"), ("mrc", "no length")]
)
def test_a_server_that_fails_now_and_then_is_asked_again(site, tmp_path, form, fault):
    """Twice bad, then good."""
    site.add("run-1", noise(), 13.1)
    site.faults[NUMBER[form]] = [fault] * 2
    patience = HASTY if fault == "hang" else PATIENT
    report = collect(site, tmp_path, "run-1", form=form, patience=patience)
    assert report.loc["run-1", "status"] == "stored", report.loc["run-1", "remarks"]
    assert site.asked[f"/files/1{NUMBER[form]}"] >= 3
    assert collection.verify(tmp_path).empty


def test_a_chunk_that_is_something_else_is_asked_for_again(site, tmp_path):
    """Half a chunk that says it is whole, and a page of HTML with status 200; nor is such a page metadata."""
    site.add("run-1", noise(), 13.1)
    site.faults |= {NUMBER["zarr"]: ["short", "page"], "/.zattrs": ["page"], "0/.zarray": ["page"]}
    assert collect(site, tmp_path, "run-1").loc["run-1", "status"] == "stored"
    assert site.asked[f"/files/1{NUMBER['zarr']}"] == 3


def test_a_catalogue_that_fails_now_and_then_is_asked_again(site, tmp_path):
    """A page of HTML is no answer to a question."""
    site.add("run-1", noise(), 13.1)
    site.faults["graphql"] = ["500", "page"]
    assert collect(site, tmp_path, "run-1").loc["run-1", "status"] == "stored"


@pytest.mark.parametrize(
    ("where", "fault", "sentence"),
    [
        (".zarr/0/1/1/1", "500", r"\S+/1.zarr/0/1/1/1 answers 500 Internal Server Error: run this again, later"),
        (".zarr/0/1/1/1", "404", r"\S+/1.zarr/0/1/1/1 answers 404 Not Found: look the run up"),
        (".zarr/0/1/1/1", "cut", r"\S+/1.zarr/0/1/1/1 broke off: run this again"),
        (".zarr/0/1/1/1", "hang", r"\S+/1.zarr/0/1/1/1 was silent for 0.3 s: run this again"),
        (".zarr/0/1/1/1", "garbage", r"\S+/1.zarr/0/1/1/1 is damaged \(.+\): run this again"),
        (".zarr/0/1/1/1", "no length", r"\S+/1.zarr/0/1/1/1 does not state its length"),
        (".zarr/.zattrs", "page", r"\S+/1.zarr is not an OME-Zarr image \(.+\): look the run up"),
        (".mrc", "500", r"\S+/2.mrc answers 500 Internal Server Error: run this again"),
        (".mrc", "page", r"\S+/2.mrc has 33 bytes, its catalogue says \d+: report it"),
        (".mrc", "short", r"\S+/2.mrc has \d+ bytes, its catalogue says \d+: report it"),
        (".mrc", "garbage", r"\S+voxels.mrc is not a volume: it is not an MRC file, or damaged"),
        (".mrc", "cut", r"\S+/2.mrc broke off: run this again, what has come is kept"),
        ("graphql", "500", r"\S+/graphql gives no answer \(500 .+\): run this again, later"),
        ("graphql", "hang", r"\S+/graphql gives no answer \(.*timed out.*\): run this again, later"),
    ],
)
def test_what_fails_for_good_is_reported_in_one_sentence_and_the_rest_is_stored(site, tmp_path, where, fault, sentence):
    """Nothing of it appears among the tomograms, and the next call needs no help."""
    voxels = noise((33, 34, 36))  # two pieces along each axis
    site.add("run-1", voxels, 16.0, forms="zarr")
    site.add("run-2", voxels, 16.0, forms="mrc")
    site.faults[where] = [fault] * 3
    name = {"graphql": "run-1", ".mrc": "run-2"}.get(where, "run-1")
    patience = HASTY if fault == "hang" else PATIENT
    report = collect(site, tmp_path, "run-1", "run-2", patience=patience, workers=1)
    assert report.loc[name, "status"] == "failed"
    assert pd.Series([report.loc[name, "remarks"]]).str.fullmatch(sentence + ".*")[0], report.loc[name, "remarks"]
    assert "\n" not in report.loc[name, "remarks"]
    assert report.drop(name)["status"].tolist() == ["stored"]
    assert not (tmp_path / name).exists()
    site.faults.clear()
    report = collect(site, tmp_path, "run-1", "run-2")
    assert report["status"].value_counts().to_dict() == {"stored": 1, "already there": 1}
    assert collection.verify(tmp_path).empty
    assert list((tmp_path / ".raw").iterdir()) == []


@pytest.mark.parametrize("form", ["zarr", "mrc"])
def test_a_file_of_another_shape_than_the_catalogue_says_is_refused(site, tmp_path, form):
    """The header of every file is compared."""
    site.add("run-1", noise(), 13.1, sizeY=64, fileSizeMrc=None)
    report = collect(site, tmp_path, "run-1", form=form)
    assert "has the shape (40, 48, 64), its catalogue says (40, 64, 64)" in report.loc["run-1", "remarks"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_everything_comes_over_tls_from_a_server_that_is_trusted(tmp_path, monkeypatch):
    """Catalogue and files; one whose certificate nobody vouches for is refused, and the sentence says so."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    about = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *about]
    subprocess.run(line, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    site = Portal(tmp_path / "files", context)
    try:
        row = site.add("run-1", noise(), 16.0)
        assert row["httpsMrcFile"].startswith("https://")
        with pytest.raises(ConnectionError, match="1.mrc has a certificate that this machine does not trust"):
            transfer.fetch(row["httpsMrcFile"], tmp_path / "run-1.mrc")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
        for form in ("zarr", "mrc"):
            report = collect(site, tmp_path / form, "run-1", form=form)
            assert report.loc["run-1", "status"] == "stored", report.loc["run-1", "remarks"]
    finally:
        site.close()


def test_a_broken_download_goes_on_where_it_broke(site, tmp_path):
    """The second half of a file is asked for alone, and chunks that are here are not asked for again."""
    row = site.add("run-1", noise(), 13.1)
    site.faults[".mrc"] = ["cut"]
    path = tmp_path / "run-1.mrc"
    with pytest.raises(ConnectionError, match="broke off"):
        transfer.fetch(row["httpsMrcFile"], path)
    part = path.with_name(".run-1.mrc.part")
    assert not path.exists()
    assert 0 < part.stat().st_size < row["fileSizeMrc"]
    part.write_bytes(bytes(part.stat().st_size))  # only the rest comes
    transfer.fetch(row["httpsMrcFile"], path)
    assert path.stat().st_size == row["fileSizeMrc"]
    assert not any(path.read_bytes()[:1024])
    site.faults[".zarr/0/1/1/1"] = ["404"]
    collect(site, tmp_path, "run-1")
    assert collect(site, tmp_path, "run-1").loc["run-1", "status"] == "stored"
    assert {site.asked[f"/files/1.zarr/0/{z}/{y}/{x}"] for z in (0, 1) for y in (0, 1) for x in (0, 1)} == {1, 2}
    assert site.asked["/files/1.zarr/0/0/0/0"] == 1


def test_a_download_never_goes_on_with_another_file(site, tmp_path):
    """Of the same length, which was put in its place meanwhile; nor is what came of another address taken."""
    row = site.add("run-1", noise(), 13.1)
    site.faults[".mrc"] = ["cut"]
    with pytest.raises(ConnectionError, match="broke off"):
        transfer.fetch(row["httpsMrcFile"], tmp_path / "run-1.mrc")
    content = (site.folder / "1.mrc").read_bytes()
    later = content[:1024] + bytes(byte ^ 1 for byte in content[1024:])
    (site.folder / "1.mrc").write_bytes(later)
    with pytest.raises(ConnectionError, match="1.mrc has changed since a part of it was downloaded: run this again"):
        transfer.fetch(row["httpsMrcFile"], tmp_path / "run-1.mrc")
    assert transfer.fetch(row["httpsMrcFile"], tmp_path / "run-1.mrc").read_bytes() == later
    assert [path.name for path in tmp_path.glob("*.*")] == ["run-1.mrc"]
    other, folder = tmp_path / "run-1.mrc", tmp_path / "stored"  # of the same shape
    (folder / ".raw" / "run-1").mkdir(parents=True)
    other.rename(folder / ".raw" / "run-1" / "voxels.mrc")
    (folder / ".raw" / "run-1" / "url").write_text("https://example.org/0.mrc")
    (site.folder / "1.mrc").write_bytes(content)
    assert collect(site, folder, "run-1", form="mrc").loc["run-1", "status"] == "stored"
    assert json.loads((folder / "run-1" / "metadata.json").read_text())["ori_sha256"] == sha256(site.folder / "1.mrc")


def test_a_download_that_was_whole_but_not_renamed_is_not_repeated(site, tmp_path):
    """And one that is longer than the file begins anew."""
    row = site.add("run-1", noise(), 13.1)
    content = (site.folder / "1.mrc").read_bytes()
    (tmp_path / ".run-1.mrc.part").write_bytes(content)
    assert transfer.fetch(row["httpsMrcFile"], tmp_path / "run-1.mrc").read_bytes() == content
    (tmp_path / ".run-2.mrc.part").write_bytes(content + b"more")
    with pytest.raises(ConnectionError, match="is shorter than what has come of it: run this again"):
        transfer.fetch(row["httpsMrcFile"], tmp_path / "run-2.mrc")
    assert transfer.fetch(row["httpsMrcFile"], tmp_path / "run-2.mrc").read_bytes() == content


KILL = """
import os, pathlib, signal, sys
from motors.portal import collection, transfer
from motors.portal import catalogue, conversion
url, folder, count = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
patience = transfer.Patience(attempts=2, wait=0.01)
catalogue.PatientClient(url, patience)  # not in every child

def dying(work, fatal):
    calls = iter(range(1000))
    def step(*given):
        if next(calls) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*given)
    return step

for fatal in range(count):
    child = os.fork()
    if not child:
        if fatal < count - 1:
            pathlib.Path.replace = dying(pathlib.Path.replace, fatal)
        else:
            conversion.write_slice = dying(conversion.write_slice, 3)
        collection.collect(["run-1", "run-2"], folder / str(fatal), url=url, patience=patience, workers=1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.kernel
def test_killed_at_any_point_it_goes_on_and_nothing_half_written_is_taken_for_whole(site, tmp_path):
    """Ten runs are killed before each of ten renamings, one amid its slices; the next call completes each."""
    site.add("run-1", noise((20, 24, 28)), 13.1, forms="zarr")
    site.add("run-2", noise((20, 24, 28)), 13.1, forms="mrc")
    collect(site, tmp_path / "calm", "run-1", "run-2")
    line = [sys.executable, "-c", KILL, site.url, str(tmp_path), "11"]
    answer = subprocess.run(line, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["-9"] * 11
    calm = collection.table(tmp_path / "calm")
    for fatal in range(11):
        folder = tmp_path / str(fatal)
        visible = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        assert all(collection.stored(folder, name) for name in visible)
        assert collection.verify(folder).empty
        collect(site, folder, "run-1", "run-2")
        pd.testing.assert_frame_equal(collection.table(folder), calm)
        assert sorted(path.name for path in folder.iterdir()) == [".raw", "run-1", "run-2"]
        assert list((folder / ".raw").iterdir()) == []


def test_a_stored_tomogram_that_was_damaged_is_found(site, tmp_path):
    """A missing slice by counting, a changed one by its hash."""
    for name in ("run-1", "run-2", "run-3"):
        site.add(name, noise(), 16.0)
    collect(site, tmp_path, "run-1", "run-2", "run-3")
    assert collection.verify(tmp_path).empty
    (tmp_path / "run-1" / "slice_0039.jpg").unlink()
    path = tmp_path / "run-2" / "slice_0001.jpg"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (tmp_path / "run-3" / "slice_0001.jpg").unlink()
    assert collection.stored(tmp_path, "run-1") is None
    found = collection.verify(tmp_path).set_index("tomo_id")["problem"]
    assert found["run-1"].startswith("count, bytes, sha256 of its slices differ from its record: remove it")
    assert found["run-2"].startswith("sha256 of its slices differ")
    assert "slice_0001.jpg is missing" in found["run-3"]
    assert "run-1 is there already" in collect(site, tmp_path, "run-1").loc["run-1", "remarks"]


def test_a_mistake_of_ours_is_not_called_damage(site, tmp_path, monkeypatch):
    """Nobody could mend it by copying again; what was stored before stays."""
    for name in ("run-1", "run-2"):
        site.add(name, noise(), 16.0)
    collect(site, tmp_path, "run-1")
    monkeypatch.setattr(collection, "look_up", lambda *_: [][0])
    with pytest.raises(IndexError):
        collect(site, tmp_path, "run-1", "run-2")
    assert collection.stored(tmp_path, "run-1")


def test_a_catalogue_without_a_shape_does_not_stop_the_others(site, tmp_path):
    """Nobody could check the file against it."""
    site.add("run-1", noise(), 16.0, sizeZ=0)
    site.add("run-2", noise(), 16.0)
    report = collect(site, tmp_path, "run-1", "run-2")
    assert report["status"].to_dict() == {"run-1": "failed", "run-2": "stored"}
    assert "does not say which shape and spacing run run-1 has" in report.loc["run-1", "remarks"]


def test_an_image_without_levels_does_not_stop_the_others(site, tmp_path):
    """Its metadata list none: no copy of them is better."""
    for name in ("run-1", "run-2"):
        site.add(name, noise(), 16.0)
    (site.folder / "1.zarr" / ".zattrs").write_text('{"multiscales": []}')
    report = collect(site, tmp_path, "run-1", "run-2")
    assert report["status"].to_dict() == {"run-1": "failed", "run-2": "stored"}
    assert "1.zarr is not an OME-Zarr image (its metadata describe no" in report.loc["run-1", "remarks"]
    with pytest.raises(ValueError, match=r"1\.zarr is not an OME-Zarr image \(its metadata describe no"):
        transfer.image(site.folder / "1.zarr", tmp_path)


def test_a_full_disk_ends_everything(site, tmp_path, monkeypatch):
    """Every other tomogram would fail as well."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    site.add("run-1", noise(), 16.0)
    monkeypatch.setattr(conversion, "write_slice", full)
    with pytest.raises(OSError, match="No space left"):
        collect(site, tmp_path, "run-1")
    assert [path.name for path in tmp_path.iterdir()] == [".raw"]


def test_a_name_that_leads_out_of_the_folder_is_refused(site, tmp_path):
    """Names come from tables of others."""
    for name in ("../run-1", "a/b", ".hidden", ""):
        with pytest.raises(ValueError, match="is no run name"):
            collect(site, tmp_path, name)


def test_a_volume_with_voxels_that_are_no_numbers_or_all_the_same_is_refused(site, tmp_path):
    """One voxel is enough."""
    voxels = noise()
    voxels[7, 8, 9] = np.nan
    site.add("run-1", voxels, 16.0)
    site.add("run-2", np.ones(SHAPE, np.float32), 16.0)
    report = collect(site, tmp_path, "run-1", "run-2")
    assert "NaN or infinite" in report.loc["run-1", "remarks"]
    assert "no contrast" in report.loc["run-2", "remarks"]


def test_patience_waits_longer_each_time_and_only_for_what_may_pass(monkeypatch):
    """Doubled, varied by chance, and bounded."""
    waits, calls = [], []
    monkeypatch.setattr(transfer.tenacity.nap.time, "sleep", waits.append)

    def work(error: Exception) -> None:
        calls.append(error)
        raise error

    with pytest.raises(ConnectionError, match="busy"):
        Patience(attempts=5, wait=1, longest=6)(work, ConnectionError("busy"))
    assert len(calls) == 5
    assert all(low <= wait <= low + 1 for low, wait in zip((1, 2, 4, 6), waits, strict=True))
    with pytest.raises(ValueError, match="wrong"):
        Patience()(work, ValueError("wrong"))
    assert len(calls) == 6


def test_files_are_downloaded_side_by_side(site, tmp_path):
    """Chunks of one tomogram, and tomograms."""
    for k in range(3):
        site.add(f"run-{k}", noise(), 16.0)
    site.most, site.delay = 0, 0.02
    collect(site, tmp_path, "run-0", "run-1", "run-2")
    assert site.most > 1


def test_an_image_on_this_disk_goes_the_same_way(tmp_path):
    """Into one array, whatever the chunks; and a damaged chunk is named."""
    voxels = noise((33, 40, 70))
    write_zarr(tmp_path / "image.zarr", voxels, 8.0)
    array, spacing = transfer.image(tmp_path / "image.zarr", tmp_path)
    path = transfer.flatten(array, tmp_path / "voxels.npy")
    assert spacing == (8.0, 8.0, 8.0)
    assert (np.load(path) == voxels).all()
    (tmp_path / "image.zarr" / "0" / "1" / "0" / "2").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"0/1/0/2 of .+image.zarr is damaged"):
        transfer.flatten(array, tmp_path / "other.npy")
    assert not (tmp_path / "other.npy").exists()


# labels


def test_ground_truth_of_the_portal_becomes_labels(site, tmp_path):
    """Of motors alone, by annotator; x, y, z in voxels as they came become z, y, x of what is stored."""
    run = site.add("run-1", noise(), 8.0, tomogramVoxelSpacingId=5)["runId"]
    site.annotate(run, [(21.5, 11.5, 5.5), (41.5, 31.5, 25.5)], spacing=5, deposition=10332)
    site.annotate(run, [(21.5, 11.5, 5.5)], spacing=5, deposition=10332, shape="OrientedPoint")
    site.annotate(run, [(1.0, 2.0, 3.0)], spacing=5, deposition=7)
    site.annotate(run, [(9.0, 9.0, 9.0)], spacing=6, deposition=7)  # in a tomogram that is not taken
    for changes in ({"objectId": "GO:0005840"}, {"groundTruthStatus": False}, {"shape": "SegmentationMask"}):
        site.annotate(run, [(9.0, 9.0, 9.0)], spacing=5, deposition=7, **changes)
    other = site.add("run-2", noise(), 8.0, tomogramVoxelSpacingId=8)["runId"]
    site.annotate(other, [(9.0, 9.0, 9.0)], spacing=5, deposition=7)
    site.annotate(site.add_run("run-3"), [(9.0, 9.0, 9.0)], spacing=5, deposition=7)
    report = annotations.download(tmp_path / "labels", url=site.url, patience=PATIENT)
    assert report.status.tolist() == ["stored", "stored", "left out", "left out"]
    assert report.annotator.tolist() == ["10332", "7", "7", "7"]
    assert "another spacing" in report.remarks[2] and "no tomogram" in report.remarks[3]
    collect(site, tmp_path / "store", "run-1")
    stored = collection.table(tmp_path / "store")
    assert read_points(tmp_path / "labels" / "10332", stored).of("run-1").tolist() == [
        [2.5, 5.5, 10.5],
        [12.5, 15.5, 20.5],
    ]
    assert read_points(tmp_path / "labels" / "7", stored).of("run-1").tolist() == [[1.25, 0.75, 0.25]]


def test_labels_of_the_portal_are_asked_for_again_and_what_is_not_there_is_said(site, tmp_path):
    """A server that breaks off; no such object; a name that is not annotated."""
    run = site.add("run-1", noise(), 8.0, tomogramVoxelSpacingId=5)["runId"]
    site.annotate(run, [(1.0, 2.0, 3.0)], spacing=5)
    site.faults[".ndjson"] = ["cut", "500"]
    assert annotations.download(tmp_path, url=site.url, patience=PATIENT).status.tolist() == ["stored"]
    for wanted in ({"object_id": "GO:1"}, {"names": ["run-9"]}):
        with pytest.raises(FileNotFoundError, match="no ground truth of GO:"):
            annotations.download(tmp_path, url=site.url, patience=PATIENT, **wanted)
