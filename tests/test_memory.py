"""How large tiles may be for a budget of memory."""

import pytest
from torch import nn

from motors.detection import memory
from motors.experiments import catalogue
from motors.experiments.original import RESNEXT50

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
