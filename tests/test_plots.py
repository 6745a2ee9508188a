"""Pictures show what they were given, where it is, and a scale that is true."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from torch import Tensor
from torch.nn import functional

from motors import geometry
from motors.detection import preview
from motors.experiments.original import MAXVIT_TINY, RESNEXT50
from motors.labels.table import Labels
from motors.tables import MOTORS, TOMOGRAMS
from motors.visualization import detections, plots
from motors.volumes.cuts import around, slab
from motors.volumes.prepared import write_prepared
from motors.volumes.tomogram import Tomogram

STORED = (25.0, 25.0, 25.0)  # the prepared volumes, in ångström
SHAPES = {"p": (64, 128, 100), "n": (64, 80, 90), "q": (40, 70, 64)}  # of the tomograms, voxels of 50 ångström
KNOWN = Labels(
    pd.DataFrame([[name, *shape, 50.0] for name, shape in SHAPES.items()], columns=TOMOGRAMS),
    pd.DataFrame([["p", 40.0, 90.0, 30.0], ["q", 8.0, 20.0, 50.0]], columns=MOTORS),
)
SOLID = replace(RESNEXT50, name="solid", patch=(32, 64, 96), spacing=STORED, batch=2)
PLANAR = replace(MAXVIT_TINY, name="planar", patch=(3, 64, 96), spacing=(50.0, *STORED[1:]))


def brightness(tiles: Tensor) -> Tensor:
    """A network that answers how bright a cell is: 7.5 where all is white, -10 where all is black."""
    planar = tiles.ndim == 4
    mean = functional.avg_pool2d(tiles[:, 1:2], 16) if planar else functional.avg_pool3d(tiles, 16)
    return mean * 17.5 / 255 - 10


@pytest.fixture
def folder(tmp_path):
    """Volumes that are white within 400 ångström of the height of their motor, above and below it black."""
    heights = dict(zip(KNOWN.motors["tomo_id"], KNOWN.motors["z"], strict=True))
    for name, shape in SHAPES.items():
        voxels = np.zeros(geometry.resampled_shape(shape, 50.0, STORED), np.uint8)
        if name in heights:
            middle = geometry.voxel_between((heights[name], 0, 0), 50.0, STORED)[0]
            voxels[round(middle - 16) : round(middle + 16)] = 255
        write_prepared(tmp_path, name, voxels)
    return tmp_path


@pytest.fixture(autouse=True)
def closed():
    """Figures are closed after each test."""
    yield
    plt.close("all")


@pytest.mark.parametrize("experiment", [SOLID, PLANAR], ids=lambda experiment: experiment.name)
def test_answers_are_drawn_at_the_height_of_the_motor_with_the_motor_on_them(experiment, folder):
    """Tomograms without a motor are left out; 2D networks see volumes that were prepared for 3D ones."""
    figure = plots.predictions(preview.previews(brightness, experiment, KNOWN, folder, spacing=STORED))
    shown = [axes for axes in figure.axes if axes.get_visible()]
    titles = {axes.get_title().split(": ")[0]: float(axes.get_title().split(": ")[1]) for axes in shown}
    assert list(titles) == ["p", "q"]
    for axes, name in zip(shown, titles, strict=True):
        (image,) = axes.images
        assert image.get_array().min() == 255, "another slice than the motor's"
        assert image.get_array().shape == (SHAPES[name][1] * 2, SHAPES[name][2] * 2)
        assert titles[name] > 0.9
        y, x = geometry.voxel_between(KNOWN.of(name)[0], 50.0, STORED)[1:]
        assert middles(axes, plots.MOTOR) == [pytest.approx((x, y))]
    assert len({(axes.get_xlim(), axes.get_ylim(), axes.texts[0].get_text()) for axes in shown}) == 1, "two scales"


def middles(axes, colour: str) -> list[tuple[float, float]]:
    """x and y of the middle of every mark of one colour."""
    marks = [line.get_xydata() for line in axes.lines if line.get_color() == colour]
    return [tuple((np.nanmin(mark, axis=0) + np.nanmax(mark, axis=0)) / 2) for mark in marks]


def test_no_more_answers_are_drawn_than_wanted_and_none_without_motors(folder):
    """The first ones."""
    one = plots.predictions(preview.previews(brightness, SOLID, KNOWN, folder, count=1))
    assert [axes.get_title()[0] for axes in one.axes if axes.get_visible()] == ["p"]
    none = plots.predictions(preview.previews(brightness, SOLID, KNOWN.select(["n"]), folder))
    assert not [axes for axes in none.axes if axes.get_visible()]


def test_a_training_is_drawn_as_loss_and_rate_over_its_steps():
    """The loss as it was and smoothed, on a logarithmic scale; four steps are enough."""
    for steps in (4, 500):
        table = pd.DataFrame({"step": np.arange(1, steps + 1), "loss": np.tile([1.0, 3.0], steps // 2)})
        left, right = plots.training(table.assign(learning_rate=table.step / steps)).axes
        raw, smooth = (line.get_ydata() for line in left.lines)
        assert raw.tolist() == table.loss.tolist() and left.get_yscale() == "log"
        assert len(smooth) == steps and (steps == 4 or abs(smooth[100:] - 2).max() < 0.11)
        assert (
            right.lines[0].get_xydata().tolist()
            == table.assign(rate=table.step / steps)[["step", "rate"]].values.tolist()
        )
    judged = table.assign(validation_loss=1.0, validation_f2=0.9, validation_ap=0.95)
    right = plots.training(judged).axes[1]
    assert [line.get_marker() for line in right.get_legend().legend_handles] == ["s", "o"] and right.get_ylim()[0] == 0


def test_a_picture_in_colours_is_drawn_as_it_is():
    """Three slices as red, green and blue."""
    axes = plots.slice_image(plots.panels(1)[1][0], np.full((48, 64, 3), 7, np.uint8), 16.0, title="colours")
    assert axes.images[0].get_array().shape == (48, 64, 3)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 63.5), (47.5, -0.5))


@pytest.mark.parametrize(
    ("width", "spacing", "expected"), [(50, 13.1, 200), (231, 13.1, 1000), (1050, 13.1, 2000), (96, 16.0, 500)]
)
def test_a_scale_bar_is_as_long_as_it_says_and_spans_at_most_a_third(width, spacing, expected):
    """655 Å wide: 200 Å; 3026 Å wide: 1000 Å; 13755 Å wide: 2000 Å, because 5000 Å would be more than a third."""
    axes = plots.slice_image(plots.panels(1)[1][0], np.zeros((40, width)), spacing)
    (bar,) = axes.lines
    assert np.diff(bar.get_xdata())[0] * spacing == pytest.approx(expected)
    assert [text.get_text() for text in axes.texts] == [f"{expected} Å"]


def test_a_scale_bar_wider_than_its_image_is_refused():
    """1000 Å on 600 Å; without a bar the image is drawn."""
    axes, image = plots.panels(1)[1][0], np.zeros((60, 60))
    with pytest.raises(ValueError, match="1000 Å does not fit"):
        plots.slice_image(axes, image, 10.0, bar=1000)
    assert not plots.slice_image(axes, image, 10.0, bar=0).lines


def test_a_slab_is_the_mean_of_five_slices_and_of_fewer_at_the_border():
    """Along each axis of a volume with three sides."""
    voxels = np.arange(7 * 8 * 9, dtype=np.uint16).reshape(7, 8, 9)
    for axis, count in enumerate(voxels.shape):
        for index, (low, high) in {0: (0, 3), 3.4: (1, 6), count + 5: (count - 3, count)}.items():
            expected = np.take(voxels, range(low, high), axis).mean(axis)
            np.testing.assert_allclose(slab(voxels, index, axis=axis), expected)


@given(point=st.tuples(*[st.floats(-3, side + 3) for side in (7, 11, 15)]), reach=st.floats(0.5, 9))
def test_what_is_around_a_point_always_has_the_same_size_and_the_point_where_it_was(point, reach):
    """Also beyond the border, where it is filled up."""
    voxels = np.random.default_rng(0).integers(1, 256, (7, 11, 15), np.uint8)
    block, inside = around(voxels, point, reach)
    assert block.shape == (2 * int(np.ceil(reach)) + 1,) * 3
    assert np.abs(inside - block.shape[0] // 2).max() <= 0.5
    voxel, cell = np.round(point).astype(int), np.round(inside).astype(int)
    if (voxel >= 0).all() and (voxel < voxels.shape).all() and (np.abs(np.mod(point, 1) - 0.5) > 1e-3).all():
        assert block[tuple(cell)] == voxels[tuple(voxel)]


def test_three_planes_show_the_point_at_one_scale_with_contours_where_the_heatmap_is_high():
    """A white voxel at z 20, y 30.5, x 44; the heatmap peaks in its cell and covers the tomogram."""
    voxels = np.full((40, 64, 80), 90, np.uint8)
    voxels[20, 30, 44] = 250
    heatmap = np.zeros((5, 8, 10))
    heatmap[2, 3, 5] = 1.0
    figure = plots.planes(
        Tomogram("t", voxels, 30.0), (20, 30, 44), heatmap, motors=[(20, 31, 44), (33, 30, 44)], reach=270
    )
    for axes, name, marks in zip(figure.axes, ("XY", "XZ", "YZ"), (1, 2, 2), strict=True):
        picture = axes.images[0].get_array()
        assert axes.get_title() == name and picture.shape == (19, 19)
        assert np.argwhere(picture == picture.max()).tolist() == [[9, 9]], "the voxel is not in the middle"
        assert len(middles(axes, plots.MOTOR)) == marks
        paths = np.vstack([path.vertices for path in axes.collections[0].get_paths() if len(path.vertices)])
        centre = {"XY": (43.5 - 35, 27.5 - 21), "XZ": (43.5 - 35, 19.5 - 11), "YZ": (27.5 - 21, 19.5 - 11)}[name]
        assert (paths.min(axis=0) + paths.max(axis=0)) / 2 == pytest.approx(centre)


def test_all_finds_are_on_the_projection_whatever_their_height():
    """Scores are written beside candidates."""
    voxels = np.random.default_rng(0).integers(100, 140, (60, 80, 100), np.uint8)
    voxels[:, 30:36] = 10
    tomogram, motors, found = Tomogram("t", voxels, 20.0), [(5, 30, 40), (50, 20, 70)], [(50, 60, 90)]
    flat = detections.projection(tomogram, motors, found, [0.75])
    assert middles(flat, plots.MOTOR) == [(40, 30), (70, 20)] and middles(flat, plots.CANDIDATE) == [(90, 60)]
    assert "0.75" in [text.get_text() for text in flat.texts]


def test_a_find_has_its_contours_however_sure_the_network_was():
    """They are shares of its own peak: the same for 0.2 as for 0.8."""
    tomogram, cells = Tomogram("t", np.full((30, 40, 50), 128, np.uint8), 40.0), np.zeros((3, 4, 5))
    cells[1, 2, 2] = 0.8
    strong, weak, none = (detections.picture(tomogram, [(15, 25, 25)], [0.3], c) for c in (cells, cells / 4, None))
    assert (strong == weak).all() and (strong != none).any()


def test_the_parts_of_a_picture_of_finds_stand_above_each_other_s_middle():
    """The projection above is narrower than the three planes."""
    tomogram = Tomogram("t", np.full((30, 40, 50), 128, np.uint8), 40.0)
    dark = np.flatnonzero((detections.picture(tomogram, [(15, 25, 25)], [0.3])[:400] < 250).any(axis=(0, 2)))
    whole = detections.picture(tomogram, [(15, 25, 25)], [0.3]).shape[1]
    assert (dark[0] + dark[-1]) / 2 == pytest.approx(whole / 2, rel=0.05) and dark[-1] - dark[0] < 0.9 * whole


def test_a_picture_of_finds_says_in_which_slice_each_plane_lies(monkeypatch):
    """The score, the plane, its axis and the voxel: what another program is opened at."""
    titles = []
    drawn = detections._drawn
    monkeypatch.setattr(
        detections, "_drawn", lambda f, dots: titles.extend(a.get_title() for a in f.axes) or drawn(f, dots)
    )
    detections.picture(Tomogram("cell", np.full((30, 40, 60), 128, np.uint8), 20.0), [(7.4, 25.5, 51.6)], [0.625])
    assert titles == ["cell: 1 motor", "1: 0.62 XY, z 7", "1: 0.62 XZ, y 26", "1: 0.62 YZ, x 52"]


def test_lines_without_a_colour_differ_in_colour_and_style():
    """Those with one keep it."""
    axes = plots.panels(1)[1][0]
    for k in range(3):
        plots.curve(axes, [0, 1], [0, k], xlabel="x", ylabel="y")
    plots.curve(axes, [0, 1], [0, 3], xlabel="x", ylabel="y", color="black")
    looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
    assert len(set(looks)) == 4 and len({style for _, style in looks[:3]}) == 3 and looks[3] == ("black", "-")


def test_a_row_of_a_table_is_a_mark_on_its_interval_the_first_on_top():
    """Also one without an interval, and one that has nothing."""
    table = pd.DataFrame(
        {"F2": [0.5, 0.7, np.nan], "low": [0.4, np.nan, np.nan], "high": [0.8, np.nan, np.nan]}, index=list("abc")
    )
    axes = plots.intervals(table, value="F2", low="low", high="high", xlabel="F2")
    drawn = [(line.get_xdata(), line.get_ydata()) for line in axes.lines]
    assert np.allclose(np.concatenate([np.ravel(x) for x, _ in drawn[:2]]), [0.4, 0.8, 0.5])
    assert np.allclose([y for _, y in drawn[2:4]][1], 1)
    assert np.isfinite(np.concatenate([np.ravel(x) for x, _ in drawn[2:]])).sum() == 1
    assert axes.get_ylim() == (2.5, -0.5)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    plt.close(axes.figure)
