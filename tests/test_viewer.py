"""The viewer shows the planes through a point, what is near them, and moves as it is told."""

from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pandas as pd
import pytest

from motors.visualization import events, plots
from motors.visualization.planes import Look, Planes
from motors.visualization.viewer import browse
from motors.volumes.tomogram import Tomogram

SHAPE = (40, 60, 80)
NONE = np.empty((0, 3))
BARE = Look(slab=0, crosshair=False, opacity=0)
COLOURS = {name: np.array(list(bytes.fromhex(name[1:])[::-1]), int) for name in (plots.MOTOR, plots.CANDIDATE)}


@pytest.fixture
def tomogram() -> Tomogram:
    """Grey, but for one white voxel at z 7, y 20, x 65."""
    voxels = np.full(SHAPE, 100, np.uint8)
    voxels[7, 20, 65] = 255
    return Tomogram("t", voxels, 33.0)


def drawn(image: np.ndarray, colour: str) -> np.ndarray:
    """Middle of what has a colour, down and right; empty if nothing has."""
    where = np.argwhere(np.abs(image.astype(int) - COLOURS[colour]).max(axis=2) < 12)
    return (where.min(axis=0) + where.max(axis=0)) / 2 if len(where) else np.empty(0)


@pytest.mark.parametrize(
    ("plane", "sides", "place"), [(0, (60, 80), (20, 65)), (1, (40, 80), (7, 65)), (2, (60, 40), (20, 7))]
)
def test_each_plane_shows_its_slice_at_one_scale(tomogram, plane, sides, place):
    """XY, XZ below it, YZ beside it with z to the right; four pixels a voxel because the tomogram is small."""
    planes = Planes(tomogram, NONE, NONE)
    image = planes.picture(plane, (7, 20, 65), BARE)
    assert image.shape == (4 * sides[0], 4 * sides[1], 3)
    clean = image[: 4 * sides[0] - 40] if plane == 0 else image  # above the scale bar
    brightest = np.argwhere(clean[:, :, 0] == clean[:, :, 0].max()).mean(axis=0)
    assert brightest == pytest.approx((np.array(place) + 0.5) * 4 - 0.5, abs=0.6)
    elsewhere = planes.picture(plane, (9, 23, 60), BARE)
    assert elsewhere[: len(clean), :, 0].max() < 110
    slab = planes.picture(plane, (9, 22, 63), Look(slab=2, crosshair=False))
    assert slab[: len(clean), :, 0].max() > 120, "the mean of five slices has a fifth of it"


def test_marks_are_near_their_plane_only_and_can_be_switched_off(tomogram):
    """Half a motor's width is 6.8 voxels of 33 Å: a motor 6 voxels away is drawn, one 7 voxels away is not."""
    planes = Planes(tomogram, np.array([[20.0, 30, 40]]), np.array([[26.0, 18, 22]]), [0.75])
    for z, motor, candidate in ((20, True, True), (14, True, False), (13, False, False), (27, False, True)):
        image = planes.picture(0, (z, 0, 0), BARE)
        assert [drawn(image, colour).size > 0 for colour in COLOURS] == [motor, candidate]
    assert drawn(planes.picture(0, (20, 0, 0), BARE), plots.MOTOR) == pytest.approx((122, 162), abs=1)
    off = Look(slab=0, motors=False, candidates=False)
    assert not any(drawn(planes.picture(0, (20, 0, 0), off), colour).size for colour in COLOURS)


def test_the_heatmap_tints_where_it_is_high(tomogram):
    """One cell of it, in its place."""
    cells = np.zeros((5, 6, 10))
    cells[2, 3, 7] = 1
    planes = Planes(tomogram, NONE, NONE, heatmap=cells)
    image = planes.picture(0, (20, 0, 0), Look(crosshair=False, opacity=1.0)).astype(int)
    blue = np.argwhere(image[:, :, 0] - image[:, :, 2] > 150)
    assert blue.mean(axis=0) == pytest.approx((3.5 * 40 - 0.5, 7.5 * 32 - 0.5), abs=1)
    plain = planes.picture(0, (20, 0, 0), Look(crosshair=False, opacity=0.0))
    assert (plain[..., 0] == plain[..., 2]).all()


def test_contrast_stretches_between_its_levels(tomogram):
    """100 between 50 and 150 is half way."""
    assert Planes(tomogram, NONE, NONE).picture(1, (0, 0, 0), Look(levels=(50, 150), crosshair=False))[9, 9, 0] == 127


def test_a_viewer_opens_at_its_first_find_and_walks_through_all(tomogram):
    """Labels, then candidates by score; where the planes met before does not matter."""
    table = pd.DataFrame({"z": [1, 39], "y": [2, 59], "x": [3, 79], "score": [0.25, 0.75]})
    viewer = browse(tomogram, [(20, 30, 40)], table)
    assert viewer.point == [20, 30, 40]
    seen = []
    for key in "nnnp":
        viewer.handle("key", key)
        seen.append(viewer.point)
    assert seen == [[39, 59, 79], [1, 2, 3], [20, 30, 40], [1, 2, 3]]
    assert "score 0.25" in viewer.about.value
    viewer.go((0, 0, 0))
    viewer.handle("key", "n")
    assert viewer.point == [1, 2, 3], "back to where it was"


def test_keys_wheel_and_clicks_move_the_planes_and_stop_at_the_border(tomogram):
    """A click in YZ sets z to the right and y down."""
    viewer = browse(tomogram)
    assert viewer.point == [20, 30, 40]
    for event in (("key", "ArrowUp"), ("key", "ArrowLeft"), ("key", "PageDown"), ("wheel", 0, 1), ("wheel", 2, -1)):
        viewer.handle(*event)
    assert viewer.point == [22, 29, 38]
    viewer.handle("click", 2, 0.5, 0.99)
    assert viewer.point == [39, 30, 38]
    viewer.handle("key", ".")
    assert viewer.point == [39, 30, 38]
    before = [image.value for image in viewer.images]
    viewer.places[0].value = 7
    viewer.handle("key", "x")
    assert all(image.value != old for image, old in zip(viewer.images, before, strict=True))
    thick, shown = viewer.slab.value, viewer.opacity.value
    for key in "+h":
        viewer.handle("key", key)
    assert (viewer.slab.value, viewer.opacity.value, shown > 0) == (thick + 1, 0, True)


def test_the_volume_stays_in_the_kernel(tomogram):
    """What travels is pictures, a few kilobytes, and a still beside the widget for where no kernel runs."""
    viewer = browse(tomogram, [(20, 30, 40)])
    assert sum(len(image.value) for image in viewer.images) < tomogram.voxels.size
    bundle = viewer._repr_mimebundle_()
    still = cv2.imdecode(np.frombuffer(base64.b64decode(bundle["image/jpeg"]), np.uint8), cv2.IMREAD_COLOR)
    assert still.shape == (4 * (60 + 40) + 4, 4 * (80 + 40) + 4, 3)
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_events_that_are_sent_twice_happen_once():
    """A front end sends the last few together, and several views may be open."""
    told = []
    widget = events.listen([], ["a"], lambda *event: told.append(event))
    field = widget.children[0]
    for view, log in (("v", [[1, "key", "a"]]), ("v", [[1, "key", "a"], [2, "wheel", 0, 1]]), ("w", [[1, "key", "b"]])):
        field.value = json.dumps([view, log])
    assert told == [("key", "a"), ("wheel", 0, 1), ("key", "b")]
    assert re.search(r'onerror="[^"]+keydown[^"]+"', widget.children[1].value)
