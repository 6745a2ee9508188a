"""The plan of a tomogram covers it with little waste, within a budget."""

import math
from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import example, given, strategies as st

from motors.detection.tiling import Plan, cell_strides, plan, planned
from motors.experiments import catalogue
from motors.experiments.original import MAXVIT_TINY, RESNEXT50


def work(tiles: Plan) -> int:
    """Voxels that are computed."""
    return len(tiles.starts) * math.prod(tiles.tile)


def test_a_volume_of_the_hidden_test_needs_at_most_a_quarter_more_voxels_than_it_has():
    """By hand: 352 x 1152 x 864 voxels are the fewest, in nine tiles no larger than a training patch."""
    tight, original = plan((327, 1146, 859), RESNEXT50), plan((327, 1146, 859), RESNEXT50, original=True)
    assert (tight.tile, len(tight.starts)) == ((352, 384, 288), 9)
    assert work(tight) == 352 * 1152 * 864 < 1.09 * 327 * 1146 * 859
    assert (original.tile, len(original.starts)) == ((224, 448, 448), 12)
    assert work(original) > 1.67 * 327 * 1146 * 859


def test_the_overlap_of_neighbours_counts_in_the_choice_of_tiles():
    """Sides of 120, a patch of 96 and a third of overlap: two along each axis, which share 33 voxels or more."""
    tight = plan((120, 120, 120), replace(RESNEXT50, patch=(96, 96, 96), overlap=0.34))
    assert (tight.tile, len(tight.starts)) == ((96, 96, 96), 8)


def test_small_tiles_are_as_long_as_training_patches_and_share_as_many_voxels():
    """At 24 Å a patch of (32, 64, 64) is 1536 Å wide: a tile of half of that would be hardly wider than a motor."""
    experiment = replace(RESNEXT50, patch=(32, 64, 64), spacing=(24.0,) * 3, overlap=0.34, stride=8)
    tight = plan((60, 150, 140), experiment)
    assert tight.tile == (32, 64, 64) and len(tight.starts) == 3 * 4 * 3
    twice = plan((60, 300, 140), experiment, tile=(64, 128, 128))  # shares 22 voxels along y, not 44
    assert np.unique(twice.starts[:, 1]).tolist() == [0, 104, 176]
    more = plan((60, 300, 140), experiment, overlap=0.75)  # as was asked: 48 of 64
    assert np.unique(more.starts[:, 1]).tolist() == [*range(0, 225, 16), 240]
    whole = plan((60, 300, 140), experiment, overlap=0.75, original=True)
    assert np.unique(whole.starts[:, 1]).tolist() == [*range(0, 225, 16), 236]
    half = plan((60, 150, 140), experiment, tile=(32, 32, 32))  # shares half of it, not 22
    assert np.unique(half.starts[:, 2]).tolist() == [0, 16, 32, 48, 64, 80, 96, 112]


LARGER = {"resnext50": True, "densenet121": True, "x3d_m": False, "EXP14": False}


@pytest.mark.parametrize(("name", "larger"), LARGER.items())
def test_a_network_that_pools_over_its_tile_sees_no_larger_one_than_it_was_trained_with(name, larger):
    experiment = catalogue.get(name)
    found = plan((400, 1400, 1050), experiment, voxels=10 * math.prod(experiment.patch))
    assert (math.prod(found.tile) > math.prod(experiment.patch)) is larger


@given(st.tuples(*[st.integers(1, 700)] * 3), st.sampled_from([0, 0.34, 16, 40]), st.integers(15, 24))
@examples(60)
def test_tiles_cover_every_voxel_within_the_budget(shape, overlap, budget):
    """Begun at multiples of the stride, neighbours sharing what was asked for, none outside of the volume."""
    experiment = replace(RESNEXT50, patch=(32, 64, 96), overlap=overlap if overlap < 1 else 0)
    try:
        found = plan(shape, experiment, overlap=overlap, voxels=2**budget)
    except ValueError as error:
        assert "allow more memory" in str(error)
        return
    assert (
        found.batch * np.prod(found.tile) <= 2**budget
        and not (found.starts % 16).any()
        and not np.mod(found.tile, 32).any()
    )
    for axis, side in enumerate(shape):
        first = np.unique(found.starts[:, axis])
        wanted = min(round(overlap * experiment.patch[axis]), found.tile[axis] // 2)
        shared = wanted if overlap < 1 else overlap
        assert first[0] <= 0 and first[-1] + found.tile[axis] >= side and (first < side).all()
        assert (np.diff(first) <= found.tile[axis] - shared).all()


def test_large_tiles_go_one_by_one():
    """A full-size volume fills a GPU alone; triplets of slices and the demo's small patches go eight at a time."""
    shapes = {"resnext50": (327, 1146, 859), "maxvit_tiny": (163, 1146, 859), "resnext50_demo": (70, 180, 170)}
    assert [plan(shape, catalogue.get(name)).batch for name, shape in shapes.items()] == [1, 8, 8]


def test_a_budget_holds_for_all_that_is_computed_at_once():
    """Two tiles of 160 x 288 x 288 are 27 million voxels; of triplets of slices, one is the least."""
    small = plan((327, 1146, 859), RESNEXT50, voxels=14_000_000)
    assert math.prod(small.tile) > 2**25 / 3 and small.batch == 1
    batches = [plan((163, 1146, 859), MAXVIT_TINY, voxels=k * 3 * 896**2).batch for k in (0.5, 2.9, 100)]
    assert batches == [1, 2, 8]


def test_cells_of_thick_slices_are_as_near_to_cubes_as_whole_voxels_allow():
    """8 voxels of 16 Å are 128 Å: 5.8 slices of 22 Å, so 6; of slices thicker than a cell each is one."""
    thick = replace(catalogue.get("maxvit_tiny"), spacing=(22.0, 16.0, 16.0))
    assert cell_strides(thick) == (6, 8, 8)
    assert cell_strides(replace(thick, spacing=(48.0, 16.0, 16.0)), 1) == (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "tile"),
    [
        *[("resnext50", tile) for tile in ((40, 64, 96), (32, 72, 96), (32, 64, 100), (0, 64, 96), (-32, 64, 96))],
        *[("maxvit_tiny", tile) for tile in ((5, 64, 96), (3, 72, 96), (3, 64, 100), (3, 0, 96))],
    ],
)
def test_a_tile_that_a_network_cannot_see_is_refused(name, tile):
    with pytest.raises(ValueError, match=rf"a tile of \({', '.join(map(str, tile))}\) voxels does not fit {name}"):
        plan((50, 100, 150), catalogue.get(name), tile=tile)


def test_a_tomogram_smaller_than_a_patch_is_one_tile_as_small():
    assert plan((20, 90, 130), RESNEXT50).tile == (32, 96, 160)


def test_hardly_more_work_buys_a_larger_tile():
    """Three of 64 x 96 x 224 would be 1.6 % fewer voxels than two of 64 x 256 x 128; 5 % is the most."""
    experiment = replace(RESNEXT50, patch=(64, 64, 64), overlap=0.25)
    few, dear = (plan(shape, experiment, voxels=2**21) for shape in ((60, 247, 196), (60, 264, 213)))
    assert (few.tile, len(few.starts)) == ((64, 256, 128), 2)
    cheapest = plan((60, 264, 213), experiment, tile=(64, 128, 160))
    assert work(dear) <= 1.05 * work(cheapest)


def test_an_overlap_of_one_is_a_voxel_and_none_is_none():
    experiment = replace(RESNEXT50, patch=(32, 64, 64), overlap=0.34)
    first = [plan((32, 300, 64), experiment, tile=(32, 64, 64), overlap=share).starts[:, 1] for share in (0, 1, 0.34)]
    assert [np.unique(each).tolist() for each in first] == [
        [0, 64, 128, 192, 240],
        [0, 48, 96, 144, 192, 240],
        [0, 32, 64, 96, 128, 160, 192, 224, 240],
    ]


def test_sides_that_could_not_advance_by_a_stride_are_passed_over():
    """Sides of 64 that share 56 would advance by 8, less than the stride of 16; sides of 128 advance by 64."""
    experiment = replace(RESNEXT50, patch=(64, 64, 64))
    found = plan((200, 250, 300), experiment, overlap=56, voxels=128**3)
    assert min(found.tile) > 64


def test_triplets_of_slices_share_nothing_along_z_and_all_of_their_overlap_along_y_and_x():
    found = plan((10, 150, 64), replace(MAXVIT_TINY, patch=(3, 64, 64), overlap=0.5))
    assert [np.unique(found.starts[:, axis]).tolist() for axis in (0, 1)] == [[0, 3, 6, 7], [0, 32, 64, 96]]


def test_a_smaller_budget_counts_where_an_encoder_pools_too():
    experiment = catalogue.get("x3d_m")
    assert math.prod(plan((400, 1400, 1050), experiment, voxels=2**23).tile) <= 2**23 < math.prod(experiment.patch)


def test_as_many_tiles_at_once_as_hold_32_mi_voxels_and_no_more_than_there_are():
    sides = ((64, 128, 128), (64, 256, 256), (128, 256, 512), (256, 512, 512))
    assert [plan((999, 999, 999), RESNEXT50, tile=tile).batch for tile in sides] == [8, 8, 2, 1]
    assert plan((64, 128, 200), RESNEXT50, tile=(64, 128, 128), overlap=0, batch=8).batch == 2


def test_of_the_options_of_a_heatmap_those_of_its_tiles_are_taken():
    options = {"voxels_at_once": 2**23, "overlap": 0.25, "batch": 3, "symmetries": ["zyx"], "device": "cpu"}
    expected = plan((100, 400, 500), RESNEXT50, voxels=2**23, overlap=0.25, batch=3)
    found = planned((100, 400, 500), RESNEXT50, options)
    assert (found.tile, found.batch, found.starts.tolist()) == (expected.tile, 3, expected.starts.tolist())
    original = planned((100, 500, 700), RESNEXT50, {"original": True, "tile": (96, 448, 448)})
    assert original.starts[-1].tolist() == [4, 52, 252]  # flush with the end


@given(st.tuples(*[st.integers(40, 400)] * 3), st.tuples(*[st.sampled_from([64, 96, 128, 160])] * 3))
@example((98, 391, 162), (128, 160, 192))  # counted without regard to the stride, three of 64 x 416 x 96 seem to do
@examples(40)
def test_no_tile_of_the_same_budget_covers_a_volume_with_less_work(shape, tile):
    """But for the twentieth that is allowed, and tiles narrower than a network needs."""
    experiment = replace(RESNEXT50, patch=(64, 64, 64), overlap=0.4)
    assert 100 * work(plan(shape, experiment, voxels=160**3)) <= 105 * work(plan(shape, experiment, tile=tile))
