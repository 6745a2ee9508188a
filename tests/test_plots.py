"""Pictures that several notebooks draw: a training, and answers to held-out tomograms."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from torch import Tensor
from torch.nn import functional

from motors import geometry
from motors.detection import preview
from motors.experiments.original import MAXVIT_TINY, RESNEXT50
from motors.labels.table import Labels
from motors.tables import MOTORS, TOMOGRAMS
from motors.visualization import plots
from motors.volumes.prepared import write_prepared

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
        image, glow = axes.images
        assert image.get_array().min() == 255, "another slice than the motor's"
        assert image.get_array().shape == (SHAPES[name][1] * 2, SHAPES[name][2] * 2)
        assert titles[name] == pytest.approx(glow.get_array().max(), abs=0.005) and titles[name] > 0.9
        (circle,) = axes.patches
        y, x = geometry.voxel_between(KNOWN.of(name)[0], 50.0, STORED)[1:]
        assert circle.center == pytest.approx((x, y))


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


def test_a_picture_in_colours_is_drawn_as_it_is():
    """Three slices as red, green and blue."""
    axes = plots.slice_image(plots.panels(1)[1][0], np.full((48, 64, 3), 7, np.uint8), 16.0, title="colours")
    assert axes.images[0].get_array().shape == (48, 64, 3)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 63.5), (47.5, -0.5))
