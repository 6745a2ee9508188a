"""How large tiles may be for a budget of memory."""

import math

import pytest
from torch import nn

from motors.detection import memory
from motors.experiments import catalogue
from motors.experiments.original import RESNEXT50
from motors.volumes.tomogram import check_memory
from motors.workspace import files

GIB = 2**30


def test_activations_are_counted_at_their_peak():
    """By hand, float32: 4 bytes of grey levels, 8 of two channels, and 2 of the four after a stride of two."""
    network = nn.Sequential(nn.Conv3d(1, 2, 1, bias=False), nn.Conv3d(2, 4, 2, stride=2, bias=False))
    assert memory.bytes_per_voxel(network, RESNEXT50) == 4 + 8 + 2
    deeper = nn.Sequential(*network, nn.Conv3d(4, 1, 1, bias=False))
    assert memory.bytes_per_voxel(deeper, RESNEXT50) == 4 + 8 + 2


def test_a_budget_becomes_voxels():
    """Of 14 bytes each, with two fifths to spare."""
    network = nn.Sequential(nn.Conv3d(1, 2, 1, bias=False), nn.Conv3d(2, 4, 2, stride=2, bias=False))
    assert memory.voxels_within(network, RESNEXT50, 14_000) == 600


def test_a_budget_is_shared_and_what_is_left_is_one_where_that_is_too_little(monkeypatch):
    """14 bytes a voxel: of a GiB, two fifths to spare, two processes may have 0.3 GiB each; a GPU keeps its own."""
    network = nn.Sequential(nn.Conv3d(1, 2, 1, bias=False), nn.Conv3d(2, 4, 2, stride=2, bias=False))
    for devices, share in ((["cpu"], 0.6), (["cpu", "cpu"], 0.3), (["cuda:0", "cuda:1"], 0.6)):
        assert memory.voxels_at_once(network, RESNEXT50, "1GiB", devices) == int(share * GIB / 14)
    usual = 224 * 448 * 448 * 14 / 0.6  # bytes, just below a GiB
    assert GIB / 2 < usual < GIB
    monkeypatch.setattr(memory, "memory_left", lambda: 2.9 * GIB)
    assert memory.voxels_at_once(network, RESNEXT50, None, ["cpu", "cpu"]) is None
    assert memory.voxels_at_once(network, RESNEXT50, None, ["cuda:0"]) is None
    with pytest.warns(UserWarning, match="1.0 GiB of memory are left for resnext50: fewer voxels"):
        assert memory.voxels_at_once(network, RESNEXT50, None, ["cpu"] * 3) == int(0.6 * GIB / 2 / 14)
    monkeypatch.setattr(memory, "memory_left", lambda: math.inf)
    assert memory.voxels_at_once(network, RESNEXT50, None, ["cpu"]) is None


def test_what_is_left_is_the_machine_s_or_the_container_s(monkeypatch, tmp_path):
    """Pages of files that nobody uses count as left; without a limit the machine's count."""
    for name in ("MACHINE", "CGROUPS", "OUR_CGROUP"):
        monkeypatch.setattr(files, name, tmp_path / name)
    assert files.memory_left() == math.inf
    said = {"MACHINE": "MemTotal: 9 kB\nMemAvailable:    5000 kB\n", "OUR_CGROUP": "0::/job/step\n"}
    said |= {"CGROUPS/memory.max": "4194304\n", "CGROUPS/memory.current": "3145728\n"}
    said |= {"CGROUPS/memory.stat": "anon 7\ninactive_file 1024\n", "CGROUPS/job/step/memory.max": "max\n"}
    for name, text in said.items():
        files.write_text(tmp_path / name, text)
    assert files.memory_left() == 2**20 + 1024
    with pytest.raises(ValueError, match="GiB of memory"):  # a tomogram is read within the container, too
        check_memory(2**21)
    files.write_text(tmp_path / "CGROUPS/memory.max", "max\n")
    assert files.memory_left() == 5000 * 1024
    first = {"limit_in_bytes": "3145728\n", "usage_in_bytes": "2097152\n"}  # of the first version of control groups
    first |= {"stat": "inactive_file 3\ntotal_inactive_file 2048\n"}
    for name, text in first.items():
        files.write_text(tmp_path / f"CGROUPS/memory/job/memory.{name}", text)
    assert files.memory_left() == 2**20 + 2048


def test_a_2d_network_is_counted_for_its_three_slices():
    """The mean of three channels: three times four bytes come in."""
    experiment = catalogue.of("maxvit_tiny", "smoke")
    network = nn.Conv2d(3, 6, 1, bias=False)
    assert memory.bytes_per_voxel(network, experiment) == 4 + 6 * 4 / 3


@pytest.mark.parametrize(
    ("text", "size"), [("8GiB", 8 * GIB), ("1.5 GiB", 1.5 * GIB), ("500 MB", 5e8), ("4194304", 2**22)]
)
def test_sizes_are_read_with_their_units(text, size):
    """Binary units and decimal ones."""
    assert memory.parse(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "0", "8 Gi", "8", "4096"])
def test_what_is_no_size_is_refused(text):
    """In one sentence."""
    with pytest.raises(ValueError, match="write a number and a unit, such as 8GiB"):
        memory.parse(text)
