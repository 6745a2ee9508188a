"""Random views of slices: chances, one map for voxels and motors, the crop that keeps a motor, grey levels."""

from collections import Counter

import numpy as np
import pytest
from examples import examples
from hypothesis import given, strategies as st
from scipy import ndimage

from motors.patches.augment import intensity, slices as augment_slices
from motors.patches.augment.slices import FILL, RESIZINGS, Augmentation, augmented, canvas, crop, move

SHAPE = (70, 96)  # slices
PATCH = (64, 80)
WIDE = 100.0  # ångström per voxel: a motor keeps ten voxels around it
NONE = np.empty((0, 2)), np.empty((0, 2, 2))
DRAWS = 10_000
CORNERS = ((0.05, 0.1), (0.1, 0.02), (0.15, 0.1), (0.03, 0.12))
MAPS = {
    "nothing": Augmentation(),
    "flips": Augmentation(flips=(True, False)),
    "zoom": Augmentation(zoom=(1.2, 0.7)),
    "turn": Augmentation(flips=(True, True), rotation=0.7),
    "lean": Augmentation(zoom=(0.8, 1.1), rotation=4.0, shear=(0.3, -0.2)),
    "perspective": Augmentation(flips=(False, True), corners=CORNERS),
}


def noise(shape: tuple[int, ...] = (3, *SHAPE), seed: int = 0) -> np.ndarray:
    """Return uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def ball(point_yx: np.ndarray, std: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Return three equal slices, grey but for one bright ball."""
    squares = ((np.moveaxis(np.indices(shape), 0, -1) - point_yx) ** 2).sum(axis=-1)
    return np.repeat((128 + 120 * np.exp(-0.5 * squares / std**2)).astype(np.uint8)[None], 3, axis=0)


def look(slices: np.ndarray, draw: Augmentation, points=NONE[0], covariances=NONE[1], patch: tuple[int, int] = PATCH):
    """Return `augmented` slices."""
    return augmented(slices, patch, np.asarray(points), np.asarray(covariances), draw, spacing=WIDE)


# chance


@pytest.fixture(scope="module")
def draws() -> list[Augmentation]:
    """Many random draws."""
    rng = np.random.default_rng(0)
    return [augment_slices.random_augmentation(rng) for _ in range(DRAWS)]


def step(*beginning):
    """Return a test for draws with a step on the grey levels that begins like this."""
    return lambda draw: any(found[: len(beginning)] == beginning for found in draw.steps)


def brightness(b: tuple[float, float], c: tuple[float, float]):
    """Return a test for draws with brightness and contrast of these ranges."""
    inside = lambda s: s[0] == "brightness" and b[0] <= s[1] <= b[1] and c[0] <= s[2] <= c[1]  # noqa: E731
    return lambda draw: any(map(inside, draw.steps))


def resized(*how: str):
    """Return a test for draws that lose resolution in this way."""
    return lambda draw: any(found[0] == "downscale" and found[2:] == how for found in draw.steps)


LEANS = lambda draw: np.abs(draw.shear).max() > np.radians(5)  # noqa: E731
CHANCES = {
    "mirrored in y": (lambda draw: draw.flips[0], 0.5),
    "mirrored in x": (lambda draw: draw.flips[1], 0.5),
    "mirrored in both": (lambda draw: all(draw.flips), 0.25),
    "gauss": (step("gauss"), 0.1 * 0.6),
    "speckle": (step("speckle"), 0.1 * 0.4),
    "downscale": (step("downscale"), 0.25 * 0.6),
    "area, lanczos": (resized("area", "lanczos4"), 0.25 * 0.6 * 0.1),
    "area, linear": (resized("area", "linear"), 0.25 * 0.6 * 0.1),
    "linear, linear": (resized("linear", "linear"), 0.25 * 0.6 * 0.8),
    "jpeg": (step("jpeg"), 0.25 * 0.3),
    "posterise": (step("posterise"), 0.25 * 0.1),
    "four bits": (step("posterise", 4), 0.25 * 0.1 / 3),
    "six bits": (step("posterise", 6), 0.25 * 0.1 / 3),
    "emboss": (step("emboss"), 0.1 * 0.4),
    "sharpen": (step("sharpen"), 0.1 * 0.5),
    "clahe": (step("clahe", 4.0), 0.1 * 0.1),
    "darker, less contrast": (brightness((-0.3, 0), (-0.2, 0)), 0.5 * 0.4 * 0.4),
    "brighter, less contrast": (brightness((0, 0.4), (-0.5, 0)), 0.5 * 0.4 * 0.4),
    "darker, more contrast": (brightness((-0.3, 0), (0, 0.5)), 0.5 * 0.4 * 0.1),
    "brighter, more contrast": (brightness((0, 0.3), (0, 0.5)), 0.5 * 0.4 * 0.1),
    "tone": (step("tone"), 0.5 * 0.4),
    "gamma": (step("gamma"), 0.5 * 0.2),
    "no step": (lambda draw: not draw.steps, 0.9 * 0.75 * 0.9 * 0.5),
    "noise and lost quality": (lambda d: {"gauss", "jpeg"} <= {s[0] for s in d.steps}, 0.1 * 0.6 * 0.25 * 0.3),
    "affine": (lambda draw: draw.rotation != 0, 0.8 * 0.7),
    "leans by more than 5 degrees": (LEANS, 0.8 * 0.3 * (1 - 1 / 16)),
    "perspective": (lambda draw: draw.corners is not None, 0.8 * 0.3),
    "no map": (lambda draw: draw.corners is None and draw.rotation == 0, 0.2),
}


@pytest.mark.parametrize("name", CHANCES)
def test_every_transform_comes_as_often_as_it_should(draws: list[Augmentation], name: str):
    """The share among many draws is the effective probability, within four standard errors."""
    happens, chance = CHANCES[name]
    share = np.mean([bool(happens(draw)) for draw in draws])
    assert abs(share - chance) < 4 * np.sqrt(chance * (1 - chance) / DRAWS)


def amounts(name: str, place: int):
    """Return a function from draws to the amounts at some place of a step."""
    return lambda draw: [step[place] for step in draw.steps if step[0] == name]


RANGES = {  # what is drawn, from where to where
    "zoom": (lambda d: d.zoom if d.rotation else (), 0.6, 1.2),
    "turn": (lambda d: (d.rotation,) if d.rotation else (), 0, 2 * np.pi),
    "crop": (lambda d: d.crop, 0, 1),
    "variance": (lambda d: np.square(amounts("gauss", 1)(d)), 60, 120),
    "downscale": (amounts("downscale", 1), 0.5, 0.9),
    "jpeg": (amounts("jpeg", 1), 20, 80),
    "emboss": (amounts("emboss", 1), 0.3, 0.6),
    "emboss strength": (amounts("emboss", 2), 0.2, 0.8),
    "sharpen": (amounts("sharpen", 1), 0.1, 0.3),
    "lightness": (amounts("sharpen", 2), 0.0, 0.4),
    "gamma": (amounts("gamma", 1), 0.6, 1.5),
}


@pytest.mark.parametrize("name", RANGES)
def test_parameters_fill_their_ranges_evenly(draws: list[Augmentation], name: str):
    """Nothing lies outside, the ends are reached, and the mean is in the middle."""
    drawn, low, high = RANGES[name]
    found = np.concatenate([np.array(drawn(draw), float) for draw in draws])
    width, error = high - low, (high - low) / np.sqrt(12 * len(found))
    assert low <= found.min() < low + 0.03 * width
    assert high - 0.03 * width < found.max() <= high
    assert abs(found.mean() - (low + high) / 2) < 4 * error


def test_the_two_axes_are_zoomed_and_lean_apart(draws: list[Augmentation]):
    """What happens to y says nothing about x."""
    maps = [draw for draw in draws if draw.rotation]
    for each in (np.array([draw.zoom for draw in maps]), np.array([draw.shear for draw in maps])):
        assert abs(np.corrcoef(each.T)[0, 1]) < 4 / np.sqrt(len(maps))
    assert np.degrees(np.abs([draw.shear for draw in maps]).max()) <= 20


def test_tone_curves_and_corners_are_drawn_from_normal_distributions(draws: list[Augmentation]):
    """Handles about 0.25 and 0.75 with deviation 0.3, clipped; corners with 0.05 to 0.12 of a side, inwards."""
    handles = np.array([step[1:] for draw in draws for step in draw.steps if step[0] == "tone"])
    assert np.abs(np.median(handles, axis=0) - (0.25, 0.75)).max() < 0.04
    assert 0 == handles.min() < handles.max() == 1
    assert abs(np.mean(handles[:, 0] < 0.55) - 0.841) < 0.04  # a deviation above the mean
    corners = np.array([draw.corners for draw in draws if draw.corners])
    assert corners.min() >= 0 and corners.max() < 0.32
    assert abs(corners.mean() - 0.085 * np.sqrt(2 / np.pi)) < 0.003


def test_a_draw_depends_on_its_generator_alone():
    """The same seed, the same augmentation; and seeds of noise never repeat."""
    first, again = (
        [augment_slices.random_augmentation(np.random.default_rng(k)) for k in range(300)] for _ in range(2)
    )
    assert first == again
    seeds = Counter(step[-1] for draw in first for step in draw.steps if step[0] in ("gauss", "speckle"))
    assert len(seeds) > 10 and max(seeds.values()) == 1


def test_what_is_drawn_lightly_is_only_flipped_turned_and_placed():
    """With the share 1 nothing else happens; with the share 0 every augmentation is what it is without one."""
    for k in range(50):
        turned = augment_slices.random_augmentation(np.random.default_rng(k), unaugmented=1.0)
        assert turned == Augmentation(flips=turned.flips, rotation=turned.rotation, crop=turned.crop)
        assert 0 < turned.rotation < 2 * np.pi
        assert augment_slices.random_augmentation(
            np.random.default_rng(k), unaugmented=0.0
        ) == augment_slices.random_augmentation(np.random.default_rng(k))
    draws = [augment_slices.random_augmentation(np.random.default_rng(k), unaugmented=0.5) for k in range(2000)]
    assert np.mean([draw.steps == () for draw in draws]) == pytest.approx(0.5 + 0.5 * 0.304, abs=0.05)


# one map for voxels and motors


def test_nothing_drawn_changes_nothing():
    """The middle of the slices, voxel for voxel."""
    slices = noise()
    found, points, covariances = look(slices, Augmentation(), [[30.0, 40.0]], np.eye(2)[None])
    start = (SHAPE[0] - PATCH[0]) // 2, (SHAPE[1] - PATCH[1]) // 2
    assert np.array_equal(found, slices[:, start[0] : start[0] + PATCH[0], start[1] : start[1] + PATCH[1]])
    assert points.tolist() == [[30.0 - start[0], 40.0 - start[1]]]
    assert np.array_equal(covariances, np.eye(2)[None])


def test_flips_and_quarter_turns_are_exact():
    """They permute the voxels, and a canvas of other sides holds them all."""
    slices, tall = noise(), (96, 70)
    assert np.array_equal(look(slices, Augmentation(flips=(True, True)), patch=SHAPE)[0], slices[:, ::-1, ::-1])
    turned = look(slices, Augmentation(rotation=np.pi / 2), patch=tall)[0]
    assert np.array_equal(turned, np.rot90(slices, 1, (1, 2)))
    assert canvas(Augmentation(rotation=np.pi / 2), SHAPE)[1] == tall


@pytest.mark.parametrize("zoom", [(0.5, 1.0), (1.0, 2.0), (0.75, 1.25)])
def test_the_axes_are_magnified_apart(zoom: tuple[float, float]):
    """The canvas has as many voxels as the far ends are apart, and the centre stays the centre."""
    matrix, size = canvas(Augmentation(zoom=zoom), SHAPE)
    assert size == tuple(int(np.ceil((side - 1) * z + 1)) for side, z in zip(SHAPE, zoom, strict=True))
    assert np.allclose(np.diag(matrix), (*zoom[::-1], 1))
    assert np.allclose(matrix @ (47.5, 34.5, 1), (47.5 * zoom[1], 34.5 * zoom[0], 1))


def test_a_canvas_holds_the_slices_and_no_more():
    """Whatever is drawn, the four corners lie on it and touch each of its sides."""
    rng = np.random.default_rng(1)
    for draw in (augment_slices.random_augmentation(rng) for _ in range(300)):
        matrix, size = canvas(draw, SHAPE)
        corners = np.array([[0, 0, 1], [95, 0, 1], [95, 69, 1], [0, 69, 1]]) @ matrix.T
        assert corners[:, 2].min() > 0  # nothing is turned inside out
        yx = (corners[:, :2] / corners[:, 2:])[:, ::-1]
        assert np.allclose(yx.min(axis=0), 0, atol=1e-3)
        assert np.all(np.abs(np.subtract(size, 1) - yx.max(axis=0) - 0.5) <= 0.501)


def test_a_perspective_makes_a_rectangle_of_its_four_points():
    """As wide as the longer of its two horizontal sides, as high as the longer of the vertical ones."""
    matrix, _ = canvas(Augmentation(corners=CORNERS), SHAPE)
    y, x = np.array(CORNERS).T * np.array(SHAPE)[:, None]
    found = np.array([[x[0], y[0]], [95 - x[1], y[1]], [95 - x[2], 69 - y[2]], [x[3], 69 - y[3]]])
    moved = np.column_stack([found, np.ones(4)]) @ matrix.T
    moved = moved[:, :2] / moved[:, 2:]
    width = max(np.linalg.norm(found[1] - found[0]), np.linalg.norm(found[2] - found[3]))
    height = max(np.linalg.norm(found[3] - found[0]), np.linalg.norm(found[2] - found[1]))
    assert np.allclose(moved - moved[0], [[0, 0], [width, 0], [width, height], [0, height]], atol=1e-3)


@pytest.mark.parametrize("name", MAPS)
def test_the_crop_is_composed_into_the_one_interpolation(name: str):
    """The patch is what would be cut out of the whole canvas, and grey outside of it."""
    draw, slices, point = MAPS[name], noise(), [[30.0, 50.0]]
    _, size = canvas(draw, SHAPE)
    whole, place, _ = look(slices, draw, point, np.eye(2)[None], patch=size)
    found, moved, _ = look(slices, draw, point, np.eye(2)[None])
    start = tuple((place - moved)[0].round().astype(int))
    inside = whole[:, start[0] : start[0] + PATCH[0], start[1] : start[1] + PATCH[1]]
    part = np.full(found.shape, FILL)
    part[:, : inside.shape[1], : inside.shape[2]] = inside
    assert np.abs(found - part).max() <= 9  # OpenCV rounds positions to a 32nd of a voxel
    assert np.mean(found != part) < 0.1


@pytest.mark.parametrize("name", MAPS)
def test_a_ball_stays_under_its_point(name: str):
    """Within a fifth of a voxel, for points near the middle and off it."""
    for point in ([34.0, 46.0], [40.0, 60.0], [25.0, 30.0]):
        found, points, _ = look(ball(np.array(point), 3), MAPS[name], [point], 9 * np.eye(2)[None], patch=(128, 160))
        bright = np.maximum(found[1].astype(float) - 140, 0)
        assert np.abs(np.array(ndimage.center_of_mass(bright)) - points[0]).max() < (
            0.5 if name == "perspective" else 0.2
        )


def test_a_motor_stays_round_and_grows_with_the_more_magnified_axis():
    """As in the original solution; a turn changes nothing."""
    draw = Augmentation(zoom=(0.7, 1.1), rotation=1.0, shear=(0.1, 0.2))
    covariances = look(noise(), draw, [[30.0, 50.0]], 4 * np.eye(2)[None])[2]
    assert np.allclose(covariances, 4 * 1.1**2 * np.eye(2))


def test_in_a_perspective_a_motor_grows_with_the_longer_row_of_the_matrix():
    """Computed by hand from the matrix; a row whose diagonal element is negative counts as negative."""
    draw = Augmentation(corners=CORNERS)
    matrix, _ = canvas(draw, SHAPE)
    rows = [np.hypot(*matrix[0, :2]), np.hypot(*matrix[1, :2])]
    assert np.allclose(move(np.zeros((1, 2)), np.eye(2)[None], matrix, draw)[1], max(rows) ** 2 * np.eye(2))
    signed = np.array([[-9.0, 0, 0], [0, 2, 0], [0, 0, 1]])
    assert move(np.zeros((1, 2)), np.eye(2)[None], signed, draw)[2] == 2


# the crop


def test_a_crop_lies_anywhere_that_keeps_the_motor():
    """Counted by hand: a motor at 40 with 10 around it needs the voxels 30.5 to 50.5 of corners."""
    size, patch, motor = (100, 90), (32, 64), np.array([[40.0, 30.0]])
    chances = [(0.5, u, v) for u in np.linspace(0, 1, 101) for v in np.linspace(0, 1, 101)]
    starts = {tuple(crop(size, patch, motor, 10, each).tolist()) for each in chances}
    assert starts == {(y, x) for y in range(19, 31) for x in range(21)}


def test_every_motor_gets_its_turn():
    """The first number chooses one of three motors, each for a third of its range."""
    motors = np.array([[20.0, 20.0], [50.0, 60.0], [80.0, 100.0]])
    starts = [crop((100, 120), (24, 24), motors, 10, (u, 0.5, 0.5)).tolist() for u in (0, 0.32, 0.34, 0.67, 1)]
    assert starts[0] == starts[1] == [9, 9] and starts[2] == [39, 49] and starts[3] == starts[4] == [69, 89]


@pytest.mark.parametrize(
    ("size", "motor", "last"),
    [
        ((100, 90), [5.0, 45.0], (68, 26)),  # the room reaches out of the canvas
        ((30, 90), [15.0, 45.0], (0, 26)),  # the canvas is too small in y
        ((20, 40), [10.0, 20.0], (0, 0)),
    ],
)
def test_where_a_motor_cannot_be_kept_the_crop_lies_anywhere(size: tuple, motor: list, last: tuple):
    """From the first to the last place on the canvas; where that is smaller than the patch, at its beginning."""
    for motors in (np.array([motor]), NONE[0]):
        ends = [crop(size, (32, 64), motors, 10, (0.5, u, u)).tolist() for u in (0, 1)]
        assert ends == [[0, 0], list(last)]


@examples(60)
@given(st.integers(0, 10**6), st.tuples(st.floats(15, 54), st.floats(15, 80)))
def test_a_motor_that_can_be_kept_is_in_the_patch(seed: int, point: tuple[float, float]):
    """Together with its surroundings, whatever is drawn, as long as the canvas is large enough."""
    draw = augment_slices.random_augmentation(np.random.default_rng(seed))
    matrix, size = canvas(draw, SHAPE)
    moved, _, scale = move(np.array([point]), np.eye(2)[None], matrix, draw)
    reach, patch = 5 * scale, np.array([40, 48])
    start = crop(size, tuple(patch), moved, reach, draw.crop)
    fits = np.all(moved[0] + 0.5 >= reach) and np.all(moved[0] + 0.5 <= np.subtract(size, reach))
    if fits and np.all(patch <= size) and 2 * reach + 1 <= patch.min():
        assert np.all(moved[0] + 0.5 - reach >= start) and np.all(moved[0] + 0.5 + reach <= start + patch)


def test_small_slices_lie_at_the_upper_left_on_grey():
    """Nothing is stretched to fill a patch."""
    slices = noise((3, 40, 50))
    found = look(slices, Augmentation())[0]
    assert np.array_equal(found[:, :40, :50], slices)
    assert np.all(found[:, 40:] == 128) and np.all(found[:, :, 50:] == 128)


# grey levels


def changed(slices: np.ndarray, *step) -> np.ndarray:
    """Return slices after one step."""
    return intensity.change(slices, (step,))


LEVEL = np.full((3, *SHAPE), 100, np.uint8)


def test_noise_has_its_deviation_and_is_the_same_for_all_slices():
    """Normal noise is drawn on half the grid and interpolated, so neighbours are alike; speckle is not."""
    found = changed(LEVEL, "gauss", 10.0, 3).astype(int) - 100
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    assert 5 < found.std() < 10 and abs(found.mean()) < 1
    assert np.corrcoef(found[0, :, 1:].ravel(), found[0, :, :-1].ravel())[0, 1] > 0.5
    ratio = changed(LEVEL, "speckle", 0.6, 1.4, 3) / 100
    assert np.array_equal(ratio[0], ratio[2]) and 0.6 <= ratio.min() < 0.62 and 1.38 < ratio.max() <= 1.4
    assert abs(np.corrcoef(ratio[0, :, 1:].ravel(), ratio[0, :, :-1].ravel())[0, 1]) < 0.1
    assert not np.array_equal(changed(LEVEL, "gauss", 10.0, 4), changed(LEVEL, "gauss", 10.0, 3))


def test_lost_resolution_is_that_of_two_interpolations():
    """A finer pattern than the smaller grid can hold is gone; what is level stays so."""
    stripes = np.tile(np.array([0, 200], np.uint8), (3, 70, 48))
    for how in RESIZINGS:
        assert np.array_equal(changed(LEVEL, "downscale", 0.6, *how), LEVEL)
        found = changed(stripes, "downscale", 0.5, *how)
        assert found.shape == stripes.shape and np.abs(found.astype(int) - 100).max() <= 1


def test_jpeg_loses_more_with_less_quality_and_posterising_keeps_the_upper_bits():
    """Slice by slice, without mixing them."""
    slices = noise()
    errors = [np.abs(changed(slices, "jpeg", q).astype(int) - slices).mean() for q in (20, 50, 80)]
    assert errors[0] > errors[1] > errors[2] > 0
    alone = changed(slices[:1], "jpeg", 50)
    assert np.array_equal(changed(slices, "jpeg", 50)[:1], alone)
    assert np.array_equal(changed(slices, "posterise", 4), slices & 0b11110000)


def test_embossing_and_sharpening_are_their_filters():
    """At a step from 100 to 120: by hand."""
    edge = LEVEL.copy()
    edge[:, :, 50:] = 120
    embossed = changed(edge, "emboss", 0.5, 0.5).astype(int)
    assert np.array_equal(embossed[:, :, 0], LEVEL[:, :, 0])  # a level stays
    # (1 - a) v + a (v + rises to the right), which are (1 + 2 s) * 20 on either side of the edge
    assert embossed[0, 30, 49] == 100 + 0.5 * (0.5 + 1.5) * 20 and embossed[0, 30, 50] == 120 + 0.5 * (0.5 + 1.5) * 20
    sharpened = changed(edge, "sharpen", 0.2, 0.0).astype(int)
    # (1 - a) v + a (8 v - neighbours), three of which are on the other side
    assert sharpened[0, 30, 49] == 0.8 * 100 - 0.2 * 3 * 20 and sharpened[0, 30, 50] == 0.8 * 120 + 0.2 * 3 * 20
    assert changed(edge, "sharpen", 0.2, 0.4)[0, 30, 10] == 0.8 * 100 + 0.2 * 0.4 * 100


def test_contrast_is_equalised_in_tiles():
    """Faint noise becomes stronger."""
    faint = (100 + noise() / 32).astype(np.uint8)
    assert changed(faint, "clahe", 4.0).std() > 1.5 * faint.std()


def test_brightness_contrast_tone_and_gamma_are_their_curves():
    """By hand at single levels."""
    slices = np.zeros((2, 2, 2), np.uint8)
    slices[0], slices[1] = [[10, 200], [50, 140]], [[0, 0], [0, 100]]  # means 100 and 25
    found = changed(slices, "brightness", 0.2, 0.5)
    assert found.tolist() == [[[35, 255], [95, 230]], [[5, 5], [5, 155]]]
    assert changed(slices, "gamma", 0.5)[0].ravel().tolist() == [50, 226, 113, 189]  # 255 (v / 255) ** 0.5
    ramp = np.arange(256, dtype=np.uint8)[None, :, None]
    assert np.array_equal(changed(ramp, "tone", 1 / 3, 2 / 3), ramp)  # handles on the diagonal
    curve = changed(ramp, "tone", 0.0, 1.0).ravel()
    assert (curve[0], curve[51], curve[255]) == (0, round(255 * (3 * 0.8 * 0.04 + 0.008)), 255)


def test_steps_follow_each_other_before_the_map():
    """In the order drawn; the grey around the slices is not changed."""
    draw = Augmentation(steps=(("posterise", 4), ("gamma", 2.0)), zoom=(0.5, 0.5))
    found = look(LEVEL, draw)[0]
    assert found[0, 10, 10] == 36  # 255 (96 / 255) ** 2
    assert found[0, -1, -1] == FILL


def test_an_unknown_step_is_refused():
    """With those there are."""
    with pytest.raises(ValueError, match="no step on slices is called 'blur': choose one of gauss, speckle"):
        changed(LEVEL, "blur", 3)


def test_a_shear_along_an_axis_moves_along_it():
    """By a quarter of the distance along the other one: 40 voxels apart along x, 10 along y; and vice versa."""
    lean = np.arctan(0.25)
    for shear, apart, moved in (((lean, 0.0), (0, 40), (10, 40)), ((0.0, lean), (40, 0), (40, 10))):
        settings = Augmentation(shear=shear)
        matrix, _ = canvas(settings, (64, 96))
        points = np.array([[5.0, 7.0], [5.0 + apart[0], 7.0 + apart[1]]])
        one, other = move(points, np.zeros((2, 2, 2)), matrix, settings)[0]
        assert np.allclose(other - one, moved)


def test_a_magnified_motor_keeps_as_much_more_room():
    """By hand: at 100 Å, zoomed by 1.5 about the middle (50, 100), a motor is at 75, 150 with 15 voxels of room.

    The first patch of 64 x 96 that holds them begins at 27, 70: the motor is at 48, 80.
    """
    settings = Augmentation(zoom=(1.5, 1.5), crop=(0, 0, 0))
    slices, point = np.zeros((1, 101, 201), np.uint8), np.array([[50.0, 100.0]])
    _, points, _ = augmented(slices, (64, 96), point, np.eye(2)[None], settings, spacing=100.0)
    assert np.allclose(points, [[48, 80]])


def test_the_only_place_that_keeps_a_motor_is_taken_and_none_where_a_side_is_too_short():
    """20 voxels to each side of 50 are 41, from 30; on a canvas of 50 rows a patch of 64 goes anywhere."""
    assert crop((100, 120), (41, 51), np.array([[50.0, 60.0]]), 20.0, (0, 0, 0)).tolist() == [30, 30]
    assert crop((50, 300), (64, 96), np.array([[25.0, 150.0]]), 20.0, (0, 0, 0)).tolist() == [0, 0]
