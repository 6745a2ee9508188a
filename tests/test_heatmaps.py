"""Drawing points on coarse grids, and finding them again."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from motors import geometry, heatmaps
from motors.evaluation import baselines
from motors.geometry import SYMMETRIES

REFERENCE = Path(__file__).parent / "reference"
SHAPE = (48, 64, 96)
TOLERANCE = {"float32": 1e-5, "float16": 2e-3}
INSIDE = st.tuples(*[st.floats(0, side - 1) for side in SHAPE])


def cases(area: str, key: str | None = None) -> list[dict]:
    """What the original solution recorded about an area."""
    content = json.loads((REFERENCE / area / "cases.json").read_text())
    return (content[key] if key else content)["cases"]


def rounded(points: np.ndarray, stride: float, dtype: str) -> np.ndarray:
    """Points at the precision of the original solution, which rounded their positions on the grid to half precision."""
    return (points / stride).astype(dtype).astype(np.float64) * stride


def recorded(area: str, name: str) -> dict[str, np.ndarray]:
    """All arrays of one file."""
    with np.load(REFERENCE / area / name) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("case", cases("heatmap", "gaussian3d"), ids=lambda case: case["key"])
def test_blobs_are_those_of_the_original_solution(case):
    """The 3D target: where the blob ends, its stretch to one, and the highest where blobs meet."""
    arrays = recorded("heatmap", "gaussian3d.npz")
    motors, expected = arrays[case["kpts"]].astype(np.float64), arrays[case["key"]][0].astype(np.float64)
    covariances = motors[:, [3, 6, 7, 6, 4, 8, 7, 8, 5]].reshape(-1, 3, 3)
    found = heatmaps.target_3d(
        rounded(motors[:, :3] + 0.5, case["stride"][0], case["dtype"]) - 0.5,
        tuple(case["image_shape"]),
        16.0,
        stride=case["stride"][0],
        std_voxels=heatmaps.smallest_std(covariances),
    )
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[case["dtype"]])


@pytest.mark.parametrize("case", cases("heatmap", "gaussian2d"), ids=lambda case: case["key"])
def test_planar_blobs_are_those_of_the_original_solution(case):
    """The 2D target: fainter away from the motor, and not stretched."""
    arrays = recorded("heatmap", "gaussian2d.npz")
    motors, expected = arrays[case["kpts"]].astype(np.float64), arrays[case["key"]][0].astype(np.float64)
    found = heatmaps.target_2d(
        rounded(motors[:, :2], 16, case["dtype"]) - 0.5,
        tuple(case["image_shape"]),
        16.0,
        distances=200.0 * np.sqrt(-2 * np.log(motors[:, 5])),
        std_voxels=np.sqrt(motors[:, 2]),
    )
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[case["dtype"]])


def test_the_cell_of_a_motor_is_one_and_far_cells_are_zero():
    """By hand: a motor in the middle of cell 1, 2, 3."""
    grid = heatmaps.target_3d(np.array([[23.5, 39.5, 55.5]]), (96, 112, 128), 16.0)
    assert grid.shape == (6, 7, 8) and grid.dtype == np.float32
    assert grid[1, 2, 3] == grid.max() == 1
    assert grid[5].max() == grid.min() == 0


def test_plain_values_are_those_of_the_gaussian():
    """By hand: sixteen voxels of 16 ångström are 1.28 standard deviations of 200."""
    grid = heatmaps.target_3d(np.array([[23.5, 39.5, 55.5]]), (96, 112, 128), 16.0, normalise=False)
    assert grid[1, 2, 4] == pytest.approx(np.exp(-0.5 * 1.28**2))
    assert grid[2, 3, 4] == pytest.approx(np.exp(-1.5 * 1.28**2))


@given(INSIDE, st.floats(1, 30))
def test_a_drawn_motor_is_found_within_half_a_cell(point, std):
    """Decoding undoes drawing, up to the grid it was drawn on, for blobs of any width."""
    grid = heatmaps.target_3d(np.array([point]), SHAPE, 16.0, std_voxels=np.array([std]))
    assert np.isfinite(grid).all() and grid.max() == 1
    cells, scores = heatmaps.peaks(grid, threshold=0.5, radius_cells=8)
    assert scores.tolist() == [1.0]
    assert np.abs(geometry.cell_to_voxel(cells, 16) - point).max() <= 8 + 1e-6


@given(INSIDE, st.sampled_from(SYMMETRIES))
def test_drawing_commutes_with_symmetries(point, symmetry):
    """Moving the grid is the same as drawing the moved motor."""
    point = np.round(np.array(point), 1) + 0.013  # no blob that ends exactly between two cells
    moved = heatmaps.target_3d([symmetry.move_points(point, SHAPE)], symmetry.moved_shape(SHAPE), 16.0, normalise=False)
    still = symmetry.apply(heatmaps.target_3d([point], SHAPE, 16.0, normalise=False))
    inside = (moved > 0) & (still > 0)  # blobs end where half is rounded to even, which knows no symmetry
    np.testing.assert_allclose(moved[inside], still[inside], atol=1e-5)
    assert max(moved[~inside].max(initial=0), still[~inside].max(initial=0)) < 0.01


def test_the_thinnest_blob_in_a_corner_is_one_cell_of_one():
    """Stretching a single cell divides nothing by nothing in the original solution, which trained on NaN."""
    grid = heatmaps.target_3d(np.array([[47.0, 0.0, 95.0]]), SHAPE, 16.0, std_voxels=np.array([0.1]))
    assert grid[2, 0, 5] == 1 and grid.sum() == 1


def test_motors_outside_the_volume_are_not_drawn():
    """Nothing is painted on the rim for a motor beyond it, and no motor makes an empty grid."""
    outside = np.array([[-1.0, 5.0, 5.0], [20.0, 64.0, 5.0], [20.0, 5.0, 300.0]])
    assert not heatmaps.target_3d(outside, SHAPE, 16.0).any()
    assert not heatmaps.target_3d(np.zeros((0, 3)), SHAPE, 16.0).any()
    assert not heatmaps.target_2d(np.zeros((0, 2)), SHAPE[1:], 16.0).any()


def test_a_planar_blob_fades_with_the_distance_of_its_slice():
    """By hand: one standard deviation above the motor, the peak is exp(-1/2)."""
    near = heatmaps.target_2d(np.array([[39.5, 55.5]]), (112, 128), 16.0)
    far = heatmaps.target_2d(np.array([[39.5, 55.5]]), (112, 128), 16.0, distances=np.array([-200.0]))
    assert near[2, 3] == 1
    np.testing.assert_allclose(far, near * np.exp(-0.5), rtol=1e-6)


def test_the_std_of_a_stretched_blob_is_its_shortest():
    """Scaled by 2, 3 and 4, a blob is drawn as the ball inside."""
    covariances = np.array([np.diag([9.0, 16.0, 4.0])])
    np.testing.assert_allclose(heatmaps.smallest_std(covariances), [2.0])
    assert heatmaps.smallest_std(np.zeros((0, 3, 3))).shape == (0,)


def test_a_shape_that_does_not_divide_is_refused():
    """The message says what to do."""
    with pytest.raises(ValueError, match="does not divide by stride .* pad the volume first"):
        heatmaps.target_3d(np.zeros((0, 3)), (48, 64, 90), 16.0)


@pytest.mark.parametrize("case", [c for c in cases("decode") if "runs" in c], ids=lambda case: case["name"])
def test_peaks_are_those_of_the_original_solution(case):
    """The same cells in the same order, wherever equal scores leave no choice."""
    arrays = recorded("decode", "cases.npz")
    for run in case["runs"]:
        heatmap, expected = arrays[case["name"]].astype(run["dtype"]), arrays[run["key"]]
        cells, scores = heatmaps.peaks(heatmap, threshold=run["conf_thres"], radius_cells=run["nms_radius"])
        if run["order_independent_of_tie_order"]:
            np.testing.assert_array_equal(cells, expected[:, :3])
            np.testing.assert_allclose(scores, expected[:, 3], atol=1e-6)
    cells, _ = heatmaps.peaks(arrays[case["name"]], threshold=0.02, radius_cells=7.8125)
    voxels = geometry.voxel_between(geometry.cell_to_voxel(cells, 8), 16.0, 13.1)
    np.testing.assert_allclose(voxels, arrays[f"{case['name']}_voxel13.1_float32"][:, :3], rtol=1e-6)


@pytest.mark.parametrize("name", ["plateau", "below"])
def test_flat_heatmaps_give_one_peak_or_none(name):
    """Of cells that are equally high the first is kept; below the threshold there is nothing."""
    arrays = recorded("decode", "cases.npz")
    cells, scores = heatmaps.peaks(arrays[name], threshold=0.02, radius_cells=7.8125)
    expected = arrays[f"{name}_3d_float32"]
    assert len(cells) == len(expected)
    np.testing.assert_allclose(scores, expected[:, 3])


@pytest.mark.parametrize("case", cases("decode", "nms"), ids=lambda case: str(case["i"]))
def test_points_keep_apart_as_in_the_original_solution(case):
    """The same points survive their better neighbours."""
    arrays = recorded("decode", "nms.npz")
    points = arrays[f"p{case['i']}"]
    kept = heatmaps.non_maximum_suppression(
        points[:, :3], points[:, 3], radius=case["nms_thres"], most=case["max_dets"]
    )
    np.testing.assert_array_equal(kept, arrays[f"keep{case['i']}"])


def test_points_exactly_at_the_radius_are_both_kept():
    """Only what is nearer is suppressed."""
    arrays = recorded("decode", "nms.npz")
    points = arrays["p_edge"]
    kept = heatmaps.non_maximum_suppression(points[:, :3], points[:, 3], radius=7.8125)
    np.testing.assert_array_equal(kept, arrays["keep_edge"])


@given(st.lists(st.tuples(*[st.integers(0, 20)] * 3), max_size=30), st.floats(0.5, 10))
def test_kept_points_are_apart_and_the_others_are_near_one(points, radius):
    """Nothing is kept too near, and nothing is dropped without a reason."""
    points = np.array(points).reshape(-1, 3)
    kept = heatmaps.non_maximum_suppression(points, np.arange(len(points)), radius=radius)
    distances = np.sqrt(((points[:, None] - points[kept]) ** 2).sum(axis=-1))
    assert (distances[kept][~np.eye(len(kept), dtype=bool)] >= radius).all()
    assert (distances.min(axis=1, initial=np.inf)[np.setdiff1d(np.arange(len(points)), kept)] < radius).all()


def test_dark_blobs_are_found_without_learning():
    """Two dark balls in noise are the two best blobs, the darker one first, and a bright one is none."""
    generator = np.random.default_rng(0)
    voxels = generator.integers(100, 140, (96, 144, 192)).astype(np.uint8)
    z, y, x = np.ogrid[:96, :144, :192]
    for (a, b, c), level in (((48, 40, 50), -25), ((30, 100, 150), -40), ((60, 110, 60), 40)):
        voxels[(z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2 < 12**2] += np.array(level).astype(np.uint8)
    points, scores = baselines.blobs(voxels, 16.0)
    assert np.abs(points[:2] - [[30, 100, 150], [48, 40, 50]]).max() < 6
    assert scores[0] > scores[1] > 2 * scores[2]
    distances = np.sqrt(((points[:, None] - points) ** 2).sum(axis=-1))
    assert (distances[~np.eye(len(points), dtype=bool)] >= 1000 / 16).all()


def test_a_volume_of_one_grey_level_has_no_standout_blob():
    """No spread, no NaN."""
    _, scores = baselines.blobs(np.full((20, 30, 40), 7, np.uint8), 16.0)
    assert not scores.any()


def test_a_dark_border_or_padding_is_no_blob():
    """A ball of 200 Å is found although a corner is darker and a padded side is black."""
    rng = np.random.default_rng(4)
    z, y, x = np.ogrid[:70, :110, :150]
    voxels = 140 + rng.normal(0, 4, (70, 110, 150))
    voxels -= 25 * np.exp(-((z - 31) ** 2 + (y - 52) ** 2 + (x - 67) ** 2) / (2 * 13**2))
    voxels -= 90 * np.exp(-((z - 2) ** 2 + (y - 104) ** 2 + (x - 148) ** 2) / (2 * 5**2))
    voxels[:, :20] = 0
    points, scores = baselines.blobs(voxels.clip(0, 255).astype(np.uint8), 15.3)
    assert np.abs(points[0] - (31, 52, 67)).max() * 15.3 <= 200
    assert (points * 15.3 >= 150).all() and np.isfinite(scores).all()
    assert len(baselines.blobs(np.full((9, 14, 21), 7, np.uint8), 15.3)[0]) == 1


@given(st.tuples(st.floats(3, 9), st.floats(4, 12), st.floats(2, 17)), st.floats(0.9, 2.5), st.floats(0.01, 1))
def test_the_top_of_a_gaussian_is_found_between_cells(centre, width, height):
    """Wherever it is, however wide and high; along an axis where it is at the border, the cell stays."""
    grid = height * np.exp(
        -sum((a - c) ** 2 for a, c in zip(np.ogrid[:13, :17, :21], centre, strict=True)) / 2 / width**2
    )
    cells = np.round([centre]).astype(int)
    np.testing.assert_allclose(heatmaps.between_cells(grid, cells), [centre], atol=2e-3)
    cut = grid[cells[0, 0] :]
    found = heatmaps.between_cells(cut, cells - [[cells[0, 0], 0, 0]])
    np.testing.assert_allclose(found, [[0, *centre[1:]]], atol=2e-3)


def test_a_flat_top_stays_where_it_is_and_no_peak_leaves_its_cell():
    """By hand: of 0.1, 0.4, 0.2 the parabola through the logarithms has its top 0.5 ln 2 / ln 8 = 1/6 to the right."""
    line = np.array([0.1, 0.4, 0.2, 0.2, 0.2, 0.0, 0.5, 0.5])[None, None]
    cells = np.array([[0, 0, k] for k in (1, 3, 6)])
    found = heatmaps.between_cells(line, cells)
    np.testing.assert_allclose(found[:, 2], [1 + 1 / 6, 3, 6.5], atol=1e-6)
    assert found[:, :2].tolist() == [[0, 0]] * 3
    assert heatmaps.between_cells(line, cells[:0]).shape == (0, 3)
