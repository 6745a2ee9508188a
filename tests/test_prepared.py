"""Prepared volumes: what they were made from, and by what they are known."""

import functools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from toys import in_files

from motors.volumes import prepared
from motors.workspace.provenance import Inputs


@pytest.fixture
def stack(tmp_path):
    """A folder that stands for slices, and a function that prepares it again and says whether it had to."""
    source = tmp_path / "tomo_a"
    source.mkdir()
    for number, content in enumerate((b"zero", b"one!", b"two.")):
        (source / f"slice_{number:04d}.jpg").write_bytes(content)
    voxels = np.random.default_rng(1).integers(0, 256, (5, 40, 210), dtype=np.uint8)

    def prepare(spacing=13.1, source=source):
        inputs = prepared.volume_inputs(tmp_path / "out", "tomo_a", source, {"spacing": spacing, "by": "linear"})
        if prepared.is_current(tmp_path / "out", "tomo_a", inputs):
            return False
        prepared.write_prepared(tmp_path / "out", "tomo_a", voxels, inputs)
        return True

    assert prepare()
    return source, prepare


def test_a_prepared_volume_is_made_again_when_what_it_was_made_from_differs(stack, tmp_path, monkeypatch):
    """A bit of a slice, a spacing, the code, the volume; not the same slices elsewhere, nor what systems leave."""
    source, prepare = stack
    assert not prepare()
    for name in (".DS_Store", "._slice_0001.jpg", "Thumbs.db"):
        (source / name).touch()
    assert not prepare()
    file = source / "slice_0001.jpg"
    file.write_bytes(b"one?")
    assert prepare() and not prepare()
    written = file.stat().st_mtime_ns
    file.write_bytes(b"two?")
    os.utime(file, ns=(written, written))
    assert prepare(), "of the same size and time"
    os.utime(file, ns=(1, 1))
    assert not prepare()
    assert not prepare(source=Path(shutil.copytree(source, tmp_path / "elsewhere")))
    file.rename(source / "slice_0009.jpg")
    assert prepare()
    assert prepare(spacing=13.2) and not prepare(spacing=13.2)
    with (tmp_path / "out" / "tomo_a.npy").open("ab") as volume:
        volume.write(b"!")
    assert prepare(spacing=13.2)
    monkeypatch.setattr(prepared, "_code", lambda: {"volumes.resampling": "other"})
    assert prepare(spacing=13.2)


def test_a_volume_is_made_again_when_another_file_of_its_planes_differs(tmp_path):
    """OME-TIFF may keep each plane in a file of its own."""
    first, second, _ = in_files(tmp_path / "in", np.zeros((3, 8, 16), np.uint8))
    before = prepared.volume_inputs(tmp_path / "out", "cell", first, {})
    tifffile.imwrite(second, np.ones((8, 16), np.uint8))
    assert prepared.volume_inputs(tmp_path / "out", "cell", first, {}).upstream != before.upstream


def test_a_volume_is_known_by_its_voxels(tmp_path):
    """Read again only where the file is not the one that was noted; every voxel counts, and so does the shape."""
    voxels = np.random.default_rng(1).integers(0, 256, (5, 40, 210), dtype=np.uint8)
    digests = {prepared.voxel_digest(voxels), prepared.voxel_digest(voxels.reshape(5, 210, 40))}
    for place in ((0, 0, 0), (2, 20, 100), (4, 39, 209)):
        changed = voxels.copy()
        changed[place] ^= 1
        digests.add(prepared.voxel_digest(changed))
    assert len(digests) == 5
    write = functools.partial(prepared.write_prepared, tmp_path, "a", inputs=Inputs())
    write(voxels)
    assert prepared.volume_digest(tmp_path, "a") == prepared.voxel_digest(voxels)
    np.save(tmp_path / "a.npy", changed)
    assert prepared.volume_digest(tmp_path, "a") == prepared.voxel_digest(changed)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"settings": {', b'{"noted": {}}'])
def test_a_note_that_is_damaged_is_as_good_as_none(stack, tmp_path, content):
    """After a power cut a file may be there without its content; the volume is made again."""
    (tmp_path / "out" / "tomo_a.json").write_bytes(content)
    assert stack[1]() and not stack[1]()


@pytest.mark.parametrize("length", [0, 100, 1000])
def test_a_prepared_volume_that_is_cut_short_is_called_damaged(stack, tmp_path, length):
    """In its header or in its voxels; the sentence has its path, and what to do."""
    path = tmp_path / "out" / "tomo_a.npy"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"tomo_a\.npy is damaged .* prepare tomogram tomo_a again"):
        prepared.open_prepared(tmp_path / "out", "tomo_a")
    assert stack[1]()
