"""Where things are: spacings, cells, tiles and symmetries."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from motors import geometry
from motors.geometry import SYMMETRIES, SYMMETRIES_2D, Symmetry

REFERENCE = Path(__file__).parent / "reference"
SHAPE = (48, 64, 96)
SIDES = st.tuples(*[st.integers(1, 300)] * 3)
PATCHES = st.tuples(*[st.integers(2, 8).map(lambda n: 16 * n)] * 3)
SYMMETRY = st.sampled_from(SYMMETRIES)


def sliding_cases() -> list[dict]:
    """The volumes and patches whose positions the original solution recorded."""
    return json.loads((REFERENCE / "sliding" / "positions.json").read_text())["cases"]


@pytest.mark.parametrize("case", sliding_cases(), ids=lambda case: case["key"])
def test_tiles_lie_where_those_of_the_original_solution_do(case):
    """Same patches in the same order, with borders and overlaps in voxels or as shares, in 3D and 2D."""
    with np.load(REFERENCE / "sliding" / "positions.npz") as positions:
        expected = positions[case["key"]][:, 2]
    found = geometry.tiles(
        case["img_size"], case["patch_size"], border=tuple(case["border"]), overlap=tuple(case["overlap"])
    )
    np.testing.assert_array_equal(found, expected)


def test_tiles_of_a_mean_tomogram():
    """The example worked by hand: 400 x 1400 x 1050 voxels of 13.1 at 16 ångström need twelve patches."""
    shape = geometry.resampled_shape((400, 1400, 1050), 13.1, 16.0)
    assert shape == (327, 1146, 859)
    starts = geometry.tiles(shape, (224, 448, 448))
    assert [sorted(set(axis)) for axis in starts.T.tolist()] == [[0, 103], [0, 448, 698], [0, 411]]
    assert len(starts) == 12


def test_a_side_shorter_than_the_patch_is_padded_in_front():
    """The one patch begins before the volume, unless starts are aligned: then what does not divide goes behind."""
    assert geometry.tiles((40, 64, 96), (64, 64, 96)).tolist() == [[-24, 0, 0]]
    assert geometry.tiles((40, 64, 96), (64, 64, 96), align=16).tolist() == [[-16, 0, 0]]


@given(SIDES, PATCHES, st.integers(0, 15), st.sampled_from([1, 8, 16]))
def test_tiles_cover_every_voxel(shape, patch, overlap, align):
    """Whatever the sizes, no voxel is left out, and aligned patches begin at multiples of the stride."""
    starts = geometry.tiles(shape, patch, overlap=overlap, align=align)
    assert not (starts % align).any()
    for axis in range(3):
        covered = np.zeros(shape[axis], dtype=bool)
        for start in set(starts[:, axis].tolist()):
            covered[max(start, 0) : start + patch[axis]] = True
        assert covered.all()
    assert len(np.unique(starts, axis=0)) == len(starts)


@given(SIDES, PATCHES, st.integers(1, 7))
def test_tiles_cover_every_voxel_within_their_border(shape, patch, border):
    """What the border hides in one patch, another shows."""
    starts = geometry.tiles(shape, patch, border=border, overlap=border)
    for axis in range(3):
        covered = np.zeros(shape[axis], dtype=bool)
        for start in set(starts[:, axis].tolist()):
            covered[max(start + border, 0) : start + patch[axis] - border] = True
        assert covered.all()


def test_tiles_begin_where_they_are_told():
    """`start` is the first voxel that has to be covered."""
    assert geometry.tiles((100, 48, 48), (48, 48, 48), start=(10, 0, 0))[:, 0].tolist() == [10, 52]


@pytest.mark.parametrize(
    ("settings", "sentence"), [({"border": 4}, "leave gaps"), ({"overlap": 40, "align": 16}, "cannot advance")]
)
def test_tiles_that_leave_gaps_or_stand_still_are_refused(settings, sentence):
    """Where the original solution only warned, or would run forever."""
    with pytest.raises(ValueError, match=sentence):
        geometry.tiles(SHAPE, (48, 48, 48), **settings)


def test_a_patch_is_zero_outside_the_volume():
    """In front, behind, and where it misses the volume altogether; arrays and tensors alike."""
    volume = np.arange(1, 25, dtype=np.uint8).reshape(2, 3, 4)
    patch = geometry.cut(volume, (-1, 1, 2), (4, 2, 4))
    assert patch.dtype == np.uint8
    assert patch[1].tolist() == [[7, 8, 0, 0], [11, 12, 0, 0]]
    assert not patch[0].any() and not patch[3].any()
    assert torch.equal(geometry.cut(torch.from_numpy(volume), (-1, 1, 2), (4, 2, 4)), torch.from_numpy(patch))
    assert not geometry.cut(volume, (5, 0, 0), (2, 3, 4)).any()


def test_a_patch_beside_the_volume_along_one_axis_is_zero():
    """Inside along the other two, it shows nothing: 8 voxels from the 10th of a side of 5."""
    voxels = np.ones((5, 12, 20), np.uint8)
    assert not geometry.cut(voxels, (10, 2, 3), (8, 4, 6)).any()
    assert not geometry.cut(voxels, (1, 2, -9), (3, 4, 8)).any()


def test_a_volume_thinner_than_a_voxel_keeps_one():
    """By hand: one slice of 13.1 Å is not a whole one of 32."""
    assert geometry.resampled_shape((1, 64, 96), 13.1, (32.0, 16.0, 24.0)) == (1, 52, 52)


def test_aligned_tiles_begin_at_the_multiple_before_the_first_voxel_to_cover():
    """Voxel 10 lies behind 0, not before 16."""
    assert geometry.tiles((64, 64, 96), (32, 64, 96), start=(10, 0, 0), align=16)[:, 0].tolist() == [0, 32]


def test_a_patch_is_a_copy():
    """Painting on a patch leaves the tomogram alone."""
    volume = np.ones(SHAPE, dtype=np.uint8)
    geometry.cut(volume, (0, 0, 0), SHAPE)[:] = 0
    assert volume.all()


def test_resampled_corners_stay_corners():
    """The low corner of the volume is half a voxel before voxel 0 in both spacings."""
    np.testing.assert_allclose(geometry.voxel_between([-0.5, -0.5, -0.5], 13.1, 16.0), [-0.5] * 3)
    np.testing.assert_allclose(geometry.voxel_between([[0.0, 7.5, 3.0]], 8.0, (16.0, 8.0, 4.0)), [[-0.25, 7.5, 6.5]])


@given(st.tuples(*[st.floats(-5, 2000)] * 3), st.floats(3, 30), st.floats(3, 30))
def test_points_return_from_another_spacing(point, spacing, target):
    """Going to another spacing and back changes nothing."""
    there = geometry.voxel_between([point], spacing, target)
    np.testing.assert_allclose(geometry.voxel_between(there, target, spacing), [point], atol=1e-9)


def test_cells_are_centred_among_their_voxels():
    """The first cell of sixteen voxels lies between voxels seven and eight."""
    np.testing.assert_array_equal(geometry.cell_to_voxel([[0, 1, 2]], (16, 8, 1)), [[7.5, 11.5, 2.0]])
    np.testing.assert_array_equal(geometry.voxel_to_cell([[7.5, 11.5, 2.0]], (16, 8, 1)), [[0, 1, 2]])


def test_an_axis_too_many_is_refused():
    """Two numbers do not say what the third axis does."""
    with pytest.raises(ValueError, match="one number for all axes, or three"):
        geometry.voxel_between([[0, 0, 0]], (13.1, 13.1), 16.0)


def test_there_are_sixteen_symmetries_and_eight_of_them_keep_z():
    """Every name once, and the planar ones are those without a flip of z."""
    assert len({symmetry.name for symmetry in SYMMETRIES}) == len(set(SYMMETRIES)) == 16
    assert len(SYMMETRIES_2D) == 8
    names = json.loads((REFERENCE / "tta" / "cases.json").read_text())
    assert {symmetry.name for symmetry in SYMMETRIES} == set(names["names_3d"])
    assert {Symmetry.from_name(name) for name in names["names_2d"]} == set(SYMMETRIES_2D)


@pytest.mark.parametrize("layout", ["zyx", "bczyx", "yx", "bcyx", "cyx"])
def test_symmetries_do_what_those_of_the_original_solution_did(layout):
    """Forth and back, except that the original also flipped the axes in front of the volume, which was a mistake."""
    kind, space = ("names_3d", 3) if "z" in layout else ("names_2d", 2)
    names = json.loads((REFERENCE / "tta" / "cases.json").read_text())[kind]
    with np.load(REFERENCE / "tta" / "cases.npz") as cases:
        array = cases[f"in_{layout}"]
        leading = tuple(range(array.ndim - space))
        for symmetry in map(Symmetry.from_name, names):
            name = symmetry.name if space == 3 else symmetry.name.replace("z", "", 1)
            moved = symmetry.apply(array)
            np.testing.assert_array_equal(np.flip(moved, leading), cases[f"{name}__fwd_{layout}"])
            assert torch.equal(symmetry.apply(torch.from_numpy(array)), torch.from_numpy(moved))
            if f"{name}__inv_{layout}" in cases:
                np.testing.assert_array_equal(np.flip(symmetry.invert(array), leading), cases[f"{name}__inv_{layout}"])


@given(SYMMETRY, SYMMETRY)
def test_symmetries_form_a_group(first, second):
    """One after the other is again one of the sixteen, and each has an inverse among them."""
    volume = np.arange(24).reshape(2, 3, 4)
    both = second.apply(first.apply(volume))
    assert first.inverse in SYMMETRIES and sum(np.array_equal(each.apply(volume), both) for each in SYMMETRIES) == 1
    np.testing.assert_array_equal(first.invert(first.apply(volume)), volume)
    np.testing.assert_array_equal(first.inverse.apply(first.apply(volume)), volume)


@given(SYMMETRY)
def test_points_move_with_their_volume(symmetry):
    """Every voxel of a small volume is found where its point went, and comes back."""
    volume = np.arange(24).reshape(2, 3, 4)
    moved, points = symmetry.apply(volume), np.argwhere(volume >= 0)
    there = symmetry.move_points(points, volume.shape)
    assert moved.shape == symmetry.moved_shape(volume.shape)
    np.testing.assert_array_equal(moved[tuple(there.astype(int).T)], volume.ravel())
    np.testing.assert_array_equal(symmetry.inverse.move_points(there, moved.shape), points)


@given(st.sampled_from(SYMMETRIES_2D))
def test_planar_symmetries_leave_all_but_the_last_two_axes_alone(symmetry):
    """A stack of slices moves as each of its slices does."""
    stack = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(symmetry.apply(stack), np.stack([symmetry.apply(plane) for plane in stack]))


def test_a_moved_array_can_become_a_tensor():
    """Torch takes no arrays with negative strides, so none come."""
    for symmetry in SYMMETRIES:
        torch.from_numpy(symmetry.apply(np.zeros((2, 3, 4))))


def test_an_unknown_symmetry_is_refused():
    """The message lists those there are."""
    with pytest.raises(ValueError, match="choose one of zyx, .*zxy_xyz"):
        Symmetry.from_name("xyz")
