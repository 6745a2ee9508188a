"""Random views of a tomogram: chances, one map for voxels and motors, grey levels, dropout."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import given, strategies as st
from scipy import ndimage

from motors.patches.augment import blocks
from motors.patches.augment.blocks import Augmentation, source_map
from motors.patches.augment.intensity import coarsen, drop_boxes, grey_table, regrade
from motors.patches.augment.warp import warp, warp_blocks

SHAPE = (48, 70, 96)  # a tomogram
PATCH = (32, 40, 64)  # a window in it
START = (7, 13, 20)
TURN = Augmentation(rotation=(0.7, 0, 0), scale=(0.8, 1.2, 0.9))
TILT = Augmentation(zoom=(1.1, 0.8, 0.9), rotation=(2.0, 0.2, -0.25), shear=(0.2, -0.1, 0.15), scale=(1.2, 0.9, 1.1))
ZOOM = Augmentation(zoom=(0.7, 1.15, 0.8))
MAPS = {"nothing": Augmentation(), "zoom": ZOOM, "turn": TURN, "tilt": TILT}
NONE = np.empty((0, 3)), np.empty((0, 3, 3))
DRAWS = 10_000


def noise(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    """Return uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def blob(point_zyx: np.ndarray, covariance: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return a volume that is dark but for one bright Gaussian."""
    away = np.moveaxis(np.indices(shape), 0, -1) - point_zyx
    return (250 * np.exp(-0.5 * np.einsum("...i,ij,...j", away, np.linalg.inv(covariance), away))).astype(np.uint8)


def look(
    voxels: np.ndarray, draw: Augmentation, points: np.ndarray = NONE[0], covariances: np.ndarray = NONE[1], **options
):
    """Return the `augmented` window."""
    options = {"start": START, "patch": PATCH, "spacing": 16.0} | options
    start, patch = options.pop("start"), options.pop("patch")
    return blocks.augmented(voxels, start, patch, points, covariances, draw, **options)


def exact(voxels: np.ndarray, draw: Augmentation, start: tuple = START, shape: tuple = PATCH) -> np.ndarray:
    """Return what SciPy makes of the same map, truncated."""
    matrix, offset = source_map(draw, start, shape)
    found = ndimage.affine_transform(voxels.astype(float), matrix, offset, shape, order=1, mode="grid-constant")
    return np.floor(found + 1e-9)


def centre_of_mass(voxels: np.ndarray, above: float = 60) -> np.ndarray:
    """Return the centre of what is brighter than `above`."""
    return np.array(ndimage.center_of_mass(np.maximum(voxels.astype(float) - above, 0)))


# chance


@pytest.fixture(scope="module")
def draws() -> list[Augmentation]:
    """Many random draws."""
    rng = np.random.default_rng(0)
    return [blocks.random_augmentation(rng) for _ in range(DRAWS)]


def step(name: str, low: float = -np.inf, high: float = np.inf):
    """Return a test for draws with that step and its amount in that range."""
    return lambda draw: any(found == name and low <= amount <= high for found, amount in draw.steps if found == name)


def resampled(down: str, up: str):
    """Return a test for draws that lose quality in that way."""
    return lambda draw: draw.quality is not None and draw.quality[1:] == (down, up)


EACH = 1 - np.sqrt(0.5)
NEAREST = "nearest-exact"
RESAMPLINGS = {
    ("trilinear", "trilinear"): 0.4, ("trilinear", NEAREST): 0.1, ("area", "trilinear"): 0.1,
    ("area", NEAREST): 0.1, (NEAREST, "trilinear"): 0.2, (NEAREST, NEAREST): 0.1,
}  # fmt: skip
TILTED = lambda draw: any(draw.rotation[1:])  # noqa: E731
CHANCES = {
    "zoom": (lambda draw: draw.zoom != (1, 1, 1), 0.4),
    "slight affine": (lambda draw: draw.rotation[0] != 0 and not TILTED(draw), 0.5),
    "heavy affine": (TILTED, 0.25),
    "zoom and heavy affine": (lambda draw: draw.zoom != (1, 1, 1) and TILTED(draw), 0.1),
    "no map": (lambda draw: draw.zoom == (1, 1, 1) and draw.rotation == (0, 0, 0), 0.15),
    "any step": (lambda draw: len(draw.steps) > 0, 0.5),
    "add": (step("add"), 0.4 * 0.5 * EACH),
    "add deviations": (step("add_deviations"), 0.4 * 0.5 * EACH),
    "less contrast": (step("contrast", high=0), 0.4 * 0.7 * EACH),
    "more contrast": (step("contrast", low=0), 0.4 * 0.3 * EACH),
    "shift, then contrast": (lambda draw: len(draw.steps) == 2, 0.4 * EACH**2),
    "multiply": (step("multiply"), 0.2 * 0.5),
    "gamma": (step("gamma"), 0.3 * 0.5),
    "histogram": (lambda draw: [name for name, _ in draw.steps] == ["histogram"], 0.1 * 0.5),
    "lost quality": (lambda draw: draw.quality is not None, 0.2),
    **{", ".join(pair): (resampled(*pair), 0.2 * chance) for pair, chance in RESAMPLINGS.items()},
    "dropout": (lambda draw: draw.dropout is not None, 0.1),
}


@pytest.mark.parametrize("name", CHANCES)
def test_every_transform_comes_as_often_as_it_should(draws: list[Augmentation], name: str):
    """The share among many draws is the effective probability, within four standard errors."""
    happens, chance = CHANCES[name]
    share = sum(map(happens, draws)) / DRAWS
    assert abs(share - chance) < 4 * np.sqrt(chance * (1 - chance) / DRAWS)


RANGES = {  # of draws that have it: what is drawn, from where to where
    "zoom": (lambda d: d.zoom if d.zoom != (1, 1, 1) else (), 0.6, 1.2),
    "turn about z": (lambda d: d.rotation[:1] if any(d.rotation) else (), 0, 2 * np.pi),
    "tilt": (lambda d: d.rotation[1:] if TILTED(d) else (), -np.pi / 12, np.pi / 12),
    "shear": (lambda d: d.shear if TILTED(d) else (), -0.2, 0.2),
    "scale": (lambda d: d.scale if any(d.rotation) else (), 0.7, 1.3),
    "add": (lambda d: [a for n, a in d.steps if n == "add"], -40, 80),
    "add deviations": (lambda d: [a for n, a in d.steps if n == "add_deviations"], -0.7, 1.2),
    "less contrast": (lambda d: [a for n, a in d.steps if n == "contrast" and a < 0], -0.6, 0),
    "more contrast": (lambda d: [a for n, a in d.steps if n == "contrast" and a >= 0], 0, 0.8),
    "multiply": (lambda d: [a for n, a in d.steps if n == "multiply"], -0.7, 0.7),
    "gamma": (lambda d: [a for n, a in d.steps if n == "gamma"], 0.25, 1.75),
    "quality": (lambda d: d.quality[:1] if d.quality else (), 0.6, 0.9),
}


@pytest.mark.parametrize("name", RANGES)
def test_parameters_fill_their_ranges_evenly(draws: list[Augmentation], name: str):
    """Nothing lies outside, the ends are reached, and the mean is in the middle."""
    amounts, low, high = RANGES[name]
    found = np.concatenate([np.array(amounts(draw), float) for draw in draws])
    width, error = high - low, (high - low) / np.sqrt(12 * len(found))
    assert low <= found.min() < low + 0.02 * width
    assert high - 0.02 * width < found.max() <= high
    assert abs(found.mean() - (low + high) / 2) < 4 * error


def test_histogram_maps_rise_between_fixed_ends(draws: list[Augmentation]):
    """Ten to twenty knots from 0 to 1, in order."""
    maps = [draw.steps[0][1] for draw in draws if draw.steps and draw.steps[0][0] == "histogram"]
    assert {len(knots) for knots in maps} == set(range(10, 21))
    assert all(knots[0] == 0 and knots[-1] == 1 and np.all(np.diff(knots) >= 0) for knots in maps)


def test_what_happens_without_an_affine_has_neither_shear_nor_scale(draws: list[Augmentation]):
    """The four numbers of an affine come together; a slight one does not shear."""
    for draw in draws:
        if not any(draw.rotation):
            assert (draw.shear, draw.scale) == ((0, 0, 0), (1, 1, 1))
        elif not TILTED(draw):
            assert draw.shear == (0, 0, 0)


def test_what_is_drawn_lightly_is_only_turned_about_z():
    """With the share 1 nothing else happens; with the share 0 every augmentation is what it is without one."""
    for k in range(50):
        turned = blocks.random_augmentation(np.random.default_rng(k), unaugmented=1.0)
        assert turned == Augmentation(rotation=(turned.rotation[0], 0.0, 0.0)) and 0 < turned.rotation[0] < 2 * np.pi
        assert blocks.random_augmentation(np.random.default_rng(k), unaugmented=0.0) == blocks.random_augmentation(
            np.random.default_rng(k)
        )
    share = np.mean(
        [blocks.random_augmentation(np.random.default_rng(k), unaugmented=0.3).steps == () for k in range(2000)]
    )
    assert share == pytest.approx(0.3 + 0.7 * 0.5, abs=0.05)  # half of all other patches keep their grey levels


def test_a_draw_depends_on_its_generator_only():
    """The same seed gives the same augmentation, another seed another."""
    one, two, other = (blocks.random_augmentation(np.random.default_rng(seed)) for seed in ([5, 1], [5, 1], [5, 2]))
    assert one == two != other


# the map


def test_without_a_draw_the_window_is_cut_out():
    """Voxels are copied, not interpolated."""
    voxels = noise()
    found, _, _ = look(voxels, Augmentation())
    assert np.array_equal(found, voxels[7:39, 13:53, 20:84])
    assert not np.shares_memory(found, voxels)


@pytest.mark.parametrize("name", MAPS)
def test_a_view_is_what_scipy_makes_of_the_same_map(name: str):
    """One trilinear interpolation of the tomogram, truncated: equal within one level, and nearly everywhere equal."""
    voxels = noise()
    found, wanted = look(voxels, MAPS[name])[0], exact(voxels, MAPS[name])
    assert found.dtype == np.uint8
    assert np.abs(found - wanted).max() <= 1
    assert np.mean(found != wanted) < 0.005


@examples(25)
@given(st.integers(0, 2**32), st.tuples(st.integers(-9, 30), st.integers(-9, 30), st.integers(-9, 40)))
def test_the_two_ways_to_warp_agree(seed: int, start: tuple[int, int, int]):
    """Slice by slice or by blocks: equal within one level for every map that keeps z apart, at every place."""
    draw = blocks.random_augmentation(np.random.default_rng(seed))
    draw = replace(draw, rotation=(draw.rotation[0], 0, 0), shear=(0, 0, 0))
    matrix, offset = source_map(draw, start, PATCH)
    voxels = noise()
    one = warp(voxels, matrix, offset, PATCH)
    two = warp_blocks(voxels, matrix, offset, PATCH)
    assert np.abs(one.astype(int) - two).max() <= 1


def test_even_the_strongest_map_fits_into_blocks():
    """Where a block would need more of the tomogram than one image holds, blocks become smaller."""
    draw = Augmentation(zoom=(0.3, 0.2, 0.3), rotation=(0.8, 0.26, 0.26), shear=(0.2,) * 3, scale=(1.3,) * 3)
    voxels = noise((150, 210, 180))
    found, wanted = look(voxels, draw)[0], exact(voxels, draw)
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("name", MAPS)
def test_threads_do_not_change_a_view(name: str):
    """Every voxel depends on the tomogram alone."""
    voxels = noise()
    assert np.array_equal(look(voxels, MAPS[name], threads=1)[0], look(voxels, MAPS[name], threads=3)[0])


@pytest.mark.parametrize("name", MAPS)
def test_a_memory_mapped_tomogram_gives_the_same_view(name: str, tmp_path):
    """Volumes are read from disk where they are needed."""
    np.save(tmp_path / "a.npy", noise())
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert np.array_equal(look(mapped, MAPS[name])[0], look(noise(), MAPS[name])[0])


GREY = {name: Augmentation(steps=(step,)) for name, step in {
    "add": ("add", -20.0), "add deviations": ("add_deviations", 0.7), "contrast": ("contrast", 0.4),
    "multiply": ("multiply", -0.3), "gamma": ("gamma", 0.6), "histogram": ("histogram", (0.0, 0.2, 0.6, 0.7, 1.0)),
}.items()}  # fmt: skip
QUALITY = {f"{a}, {b}": Augmentation(quality=(0.7, a, b)) for a, b in blocks.RESAMPLINGS}


@pytest.mark.parametrize("name", [*MAPS, *GREY, *QUALITY, "everything"])
def test_motors_move_with_the_voxels(name: str):
    """A bright ball at a motor is, after any transform, centred where the motor is said to be, within half a voxel."""
    everything = replace(TILT, steps=GREY["contrast"].steps, quality=(0.7, "trilinear", "trilinear"))
    draw = (MAPS | GREY | QUALITY | {"everything": everything})[name]
    point, covariance = np.array([24.3, 31.6, 50.8]), 9 * np.eye(3)
    voxels = np.maximum(blob(point, covariance), 40)
    found, points, _ = look(voxels, draw, point[None], covariance[None])
    level = (found.min() + float(found.max())) / 2
    assert np.abs(centre_of_mass(found, level) - points[0]).max() < 0.5


@examples(40)
@given(st.integers(0, 2**32), st.tuples(st.floats(20, 27), st.floats(28, 38), st.floats(42, 62)))
def test_motors_move_with_the_voxels_under_random_maps(seed: int, point: tuple[float, float, float]):
    """Whatever is drawn, as long as the ball stays in view."""
    draw = replace(blocks.random_augmentation(np.random.default_rng(seed)), steps=(), quality=None, dropout=None)
    found, points, _ = look(blob(point, 4 * np.eye(3)), draw, np.array([point]), 4 * np.eye(3)[None])
    if len(points) and np.all((points > 8) & (points < np.subtract(PATCH, 9))):
        assert np.abs(centre_of_mass(found) - points[0]).max() < 0.5


@pytest.mark.parametrize("name", ["zoom", "turn", "tilt"])
def test_extents_change_with_the_voxels(name: str):
    """The second moments of a Gaussian after the map are the covariance that is carried along."""
    point, covariance = np.array([23.0, 33.0, 52.0]), np.array([[5.0, 1, 0], [1, 7, -2], [0, -2, 6]])
    found, points, moved = look(blob(point, covariance), MAPS[name], point[None], covariance[None])
    away = np.moveaxis(np.indices(PATCH), 0, -1) - points[0]
    weights = (found + 0.5) * (found > 0)  # levels are truncated
    weights /= weights.sum()
    moments = np.einsum("zyx,zyxi,zyxj->ij", weights, away, away)
    assert np.abs(moments - moved[0]).max() < 0.08 * np.abs(moved[0]).max()


def test_a_zoom_out_shows_the_real_neighbourhood():
    """Around the window there is tomogram, not padding."""
    voxels = np.full(SHAPE, 100, np.uint8)
    voxels[7:39, 13:53, 20:84] = 200
    found, _, _ = look(voxels, Augmentation(zoom=(0.8, 0.8, 0.8)))
    assert found.min() == 100
    assert found[0, 0, 0] == 100 and found[16, 20, 32] == 200


def test_a_motor_from_outside_the_window_comes_into_view_and_one_inside_leaves():
    """Zooming out labels a neighbour; magnifying drops a motor near the rim."""
    near, rim = np.array([[5.0, 33.0, 52.0]]), np.array([[8.0, 14.0, 21.0]])
    extent = np.eye(3)[None]
    assert len(look(noise(), Augmentation(), near, extent)[1]) == 0
    assert len(look(noise(), Augmentation(zoom=(0.7, 0.7, 0.7)), near, extent)[1]) == 1
    assert len(look(noise(), Augmentation(), rim, extent)[1]) == 1
    assert len(look(noise(), Augmentation(zoom=(1.2, 1.2, 1.2)), rim, extent)[1]) == 0


@pytest.mark.parametrize("name", ["zoom", "turn", "tilt"])
def test_only_what_lies_outside_the_tomogram_is_zero(name: str):
    """A corner window of a bright tomogram: dark exactly where its map leaves the tomogram by a voxel or more."""
    draw = replace(MAPS[name], scale=(1.3, 1.3, 1.3))
    found, _, _ = look(np.full(SHAPE, 255, np.uint8), draw, start=(0, 0, 0))
    matrix, offset = source_map(draw, (0, 0, 0), PATCH)
    source = np.moveaxis(np.indices(PATCH), 0, -1) @ matrix.T + offset
    beyond = np.maximum(-source, source - np.subtract(SHAPE, 1)).max(axis=-1)
    assert np.all(found[beyond >= 1] == 0)
    assert np.all(found[beyond <= 0] >= 254)
    assert (beyond >= 1).any() and (beyond <= 0).any()


def test_a_window_larger_than_the_tomogram_is_padded_before_it():
    """What the tomogram lacks is zero on the low side, whatever is done to the rest, and motors move by as much."""
    voxels = noise((20, 70, 96)) // 2 + 100
    draw = Augmentation(zoom=(1.1, 0.8, 0.9), steps=(("add", 30.0),), quality=(0.8, "area", NEAREST))
    point, extent = np.array([[9.5, 32.0, 52.0]]), np.eye(3)[None]
    found, points, _ = look(voxels, draw, point, extent, start=(-12, 13, 20))
    assert not found[:12].any()
    assert found[12:].min() > 120
    matrix, offset = source_map(draw, (0, 13, 20), (20, 40, 64))
    assert np.allclose(points - [12, 0, 0], np.linalg.solve(matrix, (point - offset).T).T)


def test_the_middle_of_a_window_stays_where_it_is():
    """Every map is about the centre of the window."""
    centre = np.subtract(PATCH, 1) / 2
    for draw in MAPS.values():
        matrix, offset = source_map(draw, START, PATCH)
        assert np.allclose(matrix @ centre + offset, START + centre)


def test_zoom_above_one_magnifies_and_scale_above_one_shows_more():
    """The two have opposite senses, as in the original solution; a turn keeps lengths."""
    along = {
        "zoom": source_map(Augmentation(zoom=(1.2, 1, 1)), START, PATCH)[0][0, 0],
        "scale": source_map(Augmentation(scale=(1.2, 1, 1)), START, PATCH)[0][0, 0],
    }
    assert along == {"zoom": pytest.approx(1 / 1.2), "scale": pytest.approx(1.2)}
    turn = source_map(Augmentation(rotation=(1.0, 0.2, -0.1)), START, PATCH)[0]
    assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) > 0


@pytest.mark.kernel  # to import MONAI takes seconds, here and in two tests below
def test_turns_and_scales_are_monais():
    """The affine of the original solution, with axes x, y, z instead of z, y, x; two of the angles count backwards."""
    spatial = pytest.importorskip("monai.transforms.spatial.array")
    draw = replace(TILT, zoom=(1, 1, 1), shear=(0, 0, 0))  # newer versions of MONAI shear otherwise, see below
    z, y, x = draw.rotation
    theirs = spatial.Affine(rotate_params=(-x, y, -z), scale_params=draw.scale[::-1], lazy=True)
    moved, _ = theirs(np.zeros((1, *PATCH[::-1]), np.float32))
    ours, _ = source_map(draw, START, PATCH)
    assert np.allclose(np.asarray(moved.peek_pending_affine())[:3, :3], ours[::-1, ::-1], atol=1e-6)


def test_shear_moves_x_with_y_and_z_and_y_with_x():
    """As in the MONAI of the original solution: one matrix with the three numbers beside its diagonal."""
    matrix, _ = source_map(Augmentation(shear=(0.1, 0.2, 0.3)), START, PATCH)
    assert np.allclose(matrix @ [1, 0, 0], [1, 0, 0.2])
    assert np.allclose(matrix @ [0, 1, 0], [0, 1, 0.1])
    assert np.allclose(matrix @ [0, 0, 1], [0, 0.3, 1])


# grey levels


def test_steps_do_what_they_say():
    """Levels 10, 20, 30 and 40, one voxel each, by hand: mean 25.5 (of the levels' middles), deviation sqrt(125)."""
    counts = np.zeros(256)
    counts[[10, 20, 30, 40]] = 1

    def after(*steps: tuple) -> list[int]:
        return grey_table(steps, counts)[[10, 20, 30, 40]].tolist()

    assert after() == [10, 20, 30, 40]
    assert after(("add", 5.0)) == [15, 25, 35, 45]
    assert after(("add", -15.0)) == [0, 5, 15, 25]
    assert after(("add_deviations", 1.0)) == [21, 31, 41, 51]  # + 11.18
    assert after(("contrast", 1.0)) == [0, 15, 35, 55]  # 25.5 -+ 10 and 30
    assert after(("multiply", 0.5)) == [15, 30, 45, 60]
    assert after(("gamma", 2.0)) == [10, 13, 23, 40]  # 10.5 + 30 * (1/9, 4/9)
    assert after(("histogram", (0.0, 0.25, 1.0))) == [10, 15, 25, 40]  # 18 at the middle, 25.5
    assert after(("add", 5.0), ("contrast", 1.0)) == [0, 20, 40, 60]  # the mean has moved too
    assert after(("multiply", 9.0)) == [105, 205, 255, 255]


@pytest.mark.kernel
@pytest.mark.parametrize("name", GREY)
def test_steps_are_those_of_monai(name: str):
    """MONAI's transform of a float volume, truncated, differs by one level at most, rounding the input aside."""
    intensity = pytest.importorskip("monai.transforms.intensity.array")
    ((kind, amount),) = GREY[name].steps
    levels = noise((8, 9, 10)) // 2 + 40
    values = levels.astype(np.float32) + 0.5
    if kind == "histogram":
        shift = intensity.RandHistogramShift(num_control_points=5, prob=1.0)
        shift.randomize()
        shift.reference_control_points, shift.floating_control_points = np.linspace(0, 1, 5), np.array(amount)
        wanted = shift(values, randomize=False)
    else:
        wanted = {
            "add": lambda: intensity.ShiftIntensity(amount)(values),
            "add_deviations": lambda: intensity.StdShiftIntensity(amount)(values),
            "contrast": lambda: intensity.ScaleIntensityFixedMean(amount)(values),
            "multiply": lambda: intensity.ScaleIntensity(minv=None, maxv=None, factor=amount)(values),
            "gamma": lambda: intensity.AdjustContrast(amount)(values),
        }[kind]()
    regrade(levels, GREY[name].steps)
    assert np.abs(levels - np.clip(np.asarray(wanted), 0, 255).astype(int)).max() <= 1


def test_an_unknown_step_is_refused():
    """The message names it."""
    with pytest.raises(ValueError, match="'sharpen'"):
        grey_table((("sharpen", 1.0),), np.ones(256))


def test_a_patch_of_one_level_survives_every_step():
    """An empty background has neither range nor deviation."""
    for draw in GREY.values():
        voxels = np.full((4, 5, 6), 90, np.uint8)
        regrade(voxels, draw.steps)
        assert len(np.unique(voxels)) == 1


@pytest.mark.kernel
@pytest.mark.parametrize("name", QUALITY)
def test_losing_quality_is_monais_simulated_low_resolution(name: str):
    """The same two interpolations, on voxels."""
    spatial = pytest.importorskip("monai.transforms.spatial.array")
    factor, down, up = QUALITY[name].quality
    theirs = spatial.RandSimulateLowResolution(1.0, down, up, zoom_range=(factor, factor))
    wanted = np.asarray(theirs(noise(PATCH)[None].astype(np.float32)))[0]
    found = coarsen(noise(PATCH), factor, down, up)
    assert np.abs(found - np.floor(wanted)).max() <= 1
    assert found.astype(float).std() < noise(PATCH).std() + 1


# dropout


def test_boxes_are_as_many_and_as_large_as_they_should_be():
    """Three to eight boxes of 31 to 125 voxels at 16 ångström, and every size and number occurs."""
    sizes, numbers = [], Counter()
    for seed in range(60):
        rng = Spy(seed)
        drop_boxes(np.zeros((130, 140, 150), np.uint8), *NONE, 16.0, rng)
        numbers[len(rng.boxes)] += 1
        sizes += rng.boxes
    assert set(numbers) == set(range(3, 9))
    assert (np.min(sizes), np.max(sizes)) == (31, 125)


class Spy:
    """A generator that notes the boxes it fills."""

    def __init__(self, seed: int) -> None:
        self.rng, self.boxes = np.random.default_rng(seed), []

    def integers(self, *args, **options) -> np.ndarray:
        """Draw integers; those of eight bits fill a box."""
        if options.get("dtype") is np.uint8:
            self.boxes.append(tuple(args[2]))
        return self.rng.integers(*args, **options)


def test_boxes_are_filled_with_noise_and_the_rest_stays():
    """Inside a box all levels are equally frequent."""
    voxels = np.full((130, 140, 150), 255, np.uint8)
    drop_boxes(voxels, *NONE, 16.0, np.random.default_rng(1))
    inside = voxels[voxels < 255]
    assert 31**3 <= len(inside) < voxels.size
    assert abs(inside.mean() - 127) < 2 and abs(inside.std() - 73.6) < 2


def test_boxes_spare_motors():
    """No voxel within 2.5 standard deviations of a motor, along the axes, is ever touched."""
    points = np.array([[20.0, 30.0, 40.0], [40.0, 60.0, 80.0]])
    covariances = np.array([np.diag([4.0, 9.0, 16.0])] * 2)
    touched = np.zeros(SHAPE, bool)
    for seed in range(100):
        voxels = np.full(SHAPE, 255, np.uint8)
        drop_boxes(voxels, points, covariances, 32.0, np.random.default_rng(seed))
        touched |= voxels < 255
    where = np.argwhere(touched)
    for point in points:
        assert not np.any(np.all(np.abs(where - point) <= 2.5 * np.array([2, 3, 4]), axis=1))
    assert touched.mean() > 0.8


def test_no_box_is_forced_where_there_is_no_room():
    """A motor that fills the patch keeps it whole."""
    voxels = np.full(PATCH, 255, np.uint8)
    centre = np.subtract(PATCH, 1)[None] / 2
    drop_boxes(voxels, centre, 900 * np.eye(3)[None], 16.0, np.random.default_rng(0))
    assert voxels.min() == 255


def test_dropout_depends_on_its_seed_only():
    """An augmentation with dropout gives the same patch again."""
    one, two, other = (look(noise(), Augmentation(dropout=seed))[0] for seed in (3, 3, 4))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_a_motor_in_view_is_one_between_the_first_and_the_last_voxel_that_there_is():
    """Half a voxel from the first is in view; zoomed to 26.5 of 20 slices it is not, though the patch has 32."""
    voxels, patch, blobs = np.zeros((20, 64, 96), np.uint8), (32, 64, 96), np.eye(3)[None]
    for zoom, z, seen in ((1.0, 0.5, [[12.5, 10.0, 30.0]]), (2.0, 18.0, [])):
        points = np.array([[z, 10.0, 30.0]])
        settings = Augmentation(zoom=(zoom, 1.0, 1.0))
        found = blocks.augmented(voxels, (-12, 0, 0), patch, points, blobs, settings, spacing=16.0)[1]
        np.testing.assert_allclose(found, np.reshape(seen, (-1, 3)))


def test_a_heavy_affine_tilts_about_both_axes_in_the_plane():
    """Evenly up to 15 degrees."""
    drawn = [blocks.random_augmentation(np.random.default_rng(seed)) for seed in range(2000)]
    tilts = np.degrees([each.rotation[1:] for each in drawn if any(each.shear)])
    assert (np.abs(tilts).max(axis=0) > 14).all() and np.abs(tilts).max() <= 15


def test_knots_of_histograms_move_to_either_side():
    """Between their neighbours, up as often as down, about."""
    drawn = [blocks.random_augmentation(np.random.default_rng(seed)).steps for seed in range(3000)]
    levels = [np.array(steps[0][1]) for steps in drawn if steps and steps[0][0] == "histogram"]
    up = np.mean([(each > np.linspace(0, 1, len(each)) + 1e-9).mean() for each in levels])
    assert len(levels) > 20 and 0.2 < up < 0.8


def test_boxes_are_given_up_after_ten_in_a_row_that_touch_a_motor():
    """Nine refused and one filled, three times over, are three boxes; the tenth refusal would have been the last."""

    class Scripted:
        """Starts of boxes of 2 x 3 x 4 voxels at the motor, but for every tenth."""

        def __init__(self):
            self.tries = 0

        def integers(self, low, high, size=None, dtype=None, *, endpoint=False):
            if size is not None:
                return np.full(size, 7, dtype)
            if np.ndim(low):
                return np.array([2, 3, 4])
            if np.ndim(high):
                self.tries += 1
                return np.array([0, 0, 0]) if self.tries % 10 else np.array([10, 20, 3 * self.tries])
            return 3

    voxels = np.zeros((20, 40, 100), np.uint8)
    drop_boxes(voxels, np.array([[1.0, 1.0, 1.0]]), np.eye(3)[None] / 4, 16.0, Scripted())
    assert np.argwhere(voxels).min(axis=0).tolist() == [10, 20, 30] and (voxels == 7).sum() == 3 * 2 * 3 * 4


def test_half_a_voxel_along_z_is_between_two_slices():
    """Of 10 and 21 there is 15.5, truncated, though the map moves by whole voxels along y and x."""
    voxels = np.repeat(np.array([10, 21, 30], np.uint8), 4 * 5).reshape(3, 4, 5)
    assert np.unique(warp(voxels, np.eye(3), np.array([0.5, 1.0, 2.0]), (1, 3, 3))).tolist() == [15]


def test_a_map_may_move_each_slice_by_its_height():
    """x grows by z: slice 2 begins two voxels further to the right."""
    voxels = np.random.default_rng(0).integers(0, 256, (3, 4, 9), dtype=np.uint8)
    found = warp(voxels, np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 1]]), np.zeros(3), (3, 4, 6))
    assert all(np.array_equal(found[z], voxels[z, :, z : z + 6]) for z in range(3))
    half = warp(voxels, np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 1]]), np.array([-0.5, 0, 0]), (1, 4, 6))
    assert np.array_equal(half[0], voxels[0, :, :6] // 2)  # between the first slice and nothing
