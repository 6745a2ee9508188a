"""Damaged grey levels are found and named, mended where that is possible, and healthy tomograms are left alone."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given, strategies as st
from scipy import ndimage

from motors.volumes import levels, quality_control
from motors.volumes.levels import to_uint8
from motors.volumes.quality_control import LIMITS, Finding, examine_histogram

LISTED = "08bf73 24a095 37c426 3a0914 3b8291 5b359d 648adf 67ff4e 692081 6b1fd3 774aae 9f918e ac4f0d b18127 d8c917"
KNOWN = {f"tomo_{code}" for code in LISTED.split()}  # that the original solution mends by adding 127
OFFSETS = range(32, 225, 32)


def made_up(seed: int = 0, *, fine: float = 0.8, dots: int = 60) -> np.ndarray:
    """A healthy tomogram: noise, darker at some dots, stretched between the two percentiles of the competition."""
    rng = np.random.default_rng(seed)
    density = ndimage.gaussian_filter(rng.standard_normal((48, 64, 96)), fine)
    points = np.zeros(density.shape)
    points.ravel()[rng.integers(points.size, size=dots)] = 1
    spread = density.std()
    return to_uint8((density - 600 * spread * ndimage.gaussian_filter(points, 2)).astype(np.float32))


def through_jpeg(voxels: np.ndarray) -> np.ndarray:
    """What is left of a tomogram after it was kept as slices."""
    slices = [cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for plane in voxels]
    return np.stack([cv2.imdecode(plane, cv2.IMREAD_UNCHANGED) for plane in slices])


def names(found: list[Finding]) -> list[str]:
    """The names of findings."""
    return [finding.name for finding in found]


@pytest.fixture(scope="module")
def histograms(real) -> dict[str, np.ndarray]:
    """The grey levels of the 648 training tomograms."""
    table = json.loads((real / "labels" / "histogram.json").read_text())
    return {tomo_id: np.array(row["hist"], dtype=float) for tomo_id, row in sorted(table.items())}


@pytest.mark.parametrize("fine", [0.5, 0.8, 1.5], ids=lambda fine: f"noise of {fine} voxels")
def test_a_healthy_tomogram_is_returned_untouched(fine):
    """The very array: nothing is copied, nothing is found, before and after JPEG."""
    voxels = made_up(fine=fine)
    for healthy in (voxels, through_jpeg(voxels)):
        mended, found = quality_control.repair(healthy, compressed=True, shift_dark=True)
        assert mended is healthy
        assert found == []


@given(st.integers(32, 224), st.integers(0, 3))
@examples(20)
def test_a_wrapped_tomogram_is_mended_exactly(offset, seed):
    """Whatever the levels were moved by, it is found and taken back."""
    voxels = made_up(seed)
    mended, found = quality_control.repair(levels.unwrap(voxels, offset))
    assert names(found) == ["wrapped"]
    assert found[0].offset == offset
    assert found[0].margin > 0
    assert np.array_equal(mended, voxels)


@pytest.mark.parametrize("offset", OFFSETS)
def test_after_jpeg_at_most_one_voxel_in_two_hundred_is_off(offset):
    """Compression pushes levels over the seam, which neighbours mostly put right again."""
    voxels = made_up()
    squeezed = through_jpeg(levels.unwrap(voxels, offset))
    mended, found = quality_control.repair(squeezed, compressed=True)
    assert names(found) == ["wrapped"]
    assert np.mean(np.abs(mended.astype(int) - voxels) > 16) <= 0.005
    careless, _ = quality_control.repair(squeezed)
    assert np.mean(np.abs(careless.astype(int) - voxels) > 16) > 0.005, "this test needs a harder tomogram"


def test_levels_that_never_reach_the_ends_are_centred():
    """With a gap in the circle of levels nobody knows where in it the seam was: it goes to the middle of the gap."""
    voxels = (made_up() // 2 + 90).astype(np.uint8)  # 90 to 217
    mended, found = quality_control.repair(levels.unwrap(voxels, 100))
    assert names(found) == ["wrapped"]
    assert np.ptp(mended.astype(int) - voxels) == 0
    assert abs((int(mended.min()) + int(mended.max())) / 2 - 127.5) <= 1


def test_wrapped_levels_are_judged_as_they_were_before():
    """Wrapping by 190 crowds the levels near black; that is no second finding."""
    wrapped = levels.unwrap((made_up() // 3 + 80).astype(np.uint8), 140)
    assert "dark-shifted" in names(examine_histogram(quality_control.histogram(wrapped)))
    assert names(quality_control.examine(wrapped)) == ["wrapped"]


def test_a_dark_shifted_tomogram_is_named_and_shifted_only_when_asked():
    """Adding 127 is what the original solution did, and no repair."""
    dark = (4 + 250 * (made_up() / 255.0) ** 4).astype(np.uint8)
    mended, found = quality_control.repair(dark)
    assert names(found) == ["dark-shifted"]
    assert mended is dark
    shifted, _ = quality_control.repair(dark, shift_dark=True)
    assert np.array_equal(shifted, levels.unwrap(dark, 127))


def test_clipped_levels_in_two_heaps_are_saturated_and_bimodal_but_not_wrapped():
    """The levels of one training tomogram: two heaps at the ends, cut off there, and nothing in between."""
    far = np.where(made_up() > 90, 300, -45) + (made_up(1) - 127.5) * 0.7
    found = quality_control.examine(far.clip(0, 255).astype(np.uint8))
    assert names(found) == ["saturated", "bimodal"]


def test_constant_slices_are_counted_and_named():
    """A tomogram may be padded, or have lost slices."""
    voxels = made_up()
    voxels[[3, 40]] = 128
    found = quality_control.examine(voxels)
    assert names(found) == ["constant slices"]
    assert found[0].statistic == 2
    assert "3, 40" in found[0].about


def test_inverted_contrast_is_named():
    """Dense things are few and small, and dark: where details are bright, black and white were exchanged."""
    assert names(quality_control.examine(255 - made_up())) == ["inverted"]


def test_a_tomogram_of_one_level_is_no_reason_to_fail():
    """It is damaged in two ways, and cannot be mended."""
    mended, found = quality_control.repair(np.full((4, 6, 8), 7, np.uint8))
    assert names(found) == ["dark-shifted", "constant slices"]
    assert (mended == 7).all()


def test_what_was_found_is_noted_by_name_until_the_tomogram_is_another_one(tmp_path):
    """A wrapped tomogram is repaired, a dark one is only named, and a healthy one leaves no note; NA is a name."""
    healthy = made_up()
    dark = (4 + 250 * (healthy / 255.0) ** 4).astype(np.uint8)

    def note(name: str, voxels: np.ndarray) -> None:
        quality_control.note(tmp_path, name, quality_control.repair(voxels)[1])

    note("NA", healthy)
    assert quality_control.findings(tmp_path).empty
    note("dark", dark)
    note("NA", levels.unwrap(healthy, 100))
    noted = quality_control.findings(tmp_path)
    assert noted[["tomo_id", "finding", "repaired"]].to_numpy().tolist() == [
        ["NA", "wrapped", True],
        ["dark", "dark-shifted", False],
    ]
    assert (noted["statistic"] > noted["limit"]).all()
    note("NA", healthy)
    assert quality_control.findings(tmp_path)["tomo_id"].tolist() == ["dark"]


@pytest.mark.parametrize("counts", [np.zeros(256), np.ones(255), -np.ones(256)], ids=["empty", "short", "negative"])
def test_what_is_no_histogram_is_refused(counts):
    """One sentence."""
    with pytest.raises(ValueError, match="not a histogram of intensities: give 256 counts"):
        examine_histogram(counts)


def test_the_known_tomograms_and_no_others_are_dark_shifted(histograms):
    """The 15 of the original solution's list, and none of the other 633."""
    found = {tomo_id for tomo_id, counts in histograms.items() if "dark-shifted" in names(examine_histogram(counts))}
    assert len(histograms) == 648
    assert found == KNOWN


@pytest.mark.parametrize("half", [0, 1])
def test_a_limit_chosen_on_one_half_separates_the_other_half(histograms, half):
    """Halfway, on a scale of ratios, between the two kinds of every second tomogram; the limit in use suits both."""
    ratio = {tomo_id: counts[:25].sum() / counts[25:].sum() for tomo_id, counts in histograms.items()}
    healthy = [value for tomo_id, value in ratio.items() if tomo_id not in KNOWN]
    damaged = [value for tomo_id, value in ratio.items() if tomo_id in KNOWN]
    limit = np.sqrt(max(healthy[half::2]) * min(damaged[half::2]))
    for chosen in (limit, LIMITS["dark-shifted"]):
        assert max(healthy[1 - half :: 2]) < chosen < min(damaged[1 - half :: 2])
    assert max(healthy) < 0.24 < 0.44 < min(damaged)


def test_the_saturated_and_bimodal_training_tomogram_is_named(histograms):
    """tomo_f672c0, which is not on the list, is both; one that is on the list is saturated, too."""
    found = {tomo_id: names(examine_histogram(counts)) for tomo_id, counts in histograms.items()}
    assert found["tomo_f672c0"] == ["saturated", "bimodal"]
    assert found["tomo_d8c917"] == ["dark-shifted", "saturated"]
    others = [tomo_id for tomo_id, each in found.items() if set(each) & {"saturated", "bimodal"}]
    assert sorted(others) == ["tomo_d8c917", "tomo_f672c0"]


def test_real_tomograms_are_not_wrapped_and_mended_if_they_are(real):
    """Coarse renderings of real tomograms; where few levels are unused, the levels come back but for a few."""
    for path in sorted((real / "volumes").glob("*.npz")):
        voxels = np.load(path)["volume"]
        if (quality_control.histogram(voxels) > 0).sum() < 64:
            continue  # a picture of sixteen grey levels only
        assert "wrapped" not in names(quality_control.examine(voxels)), path.name
        for offset in OFFSETS:
            crossed = min((voxels >= 256 - offset).mean(), (voxels < 256 - offset).mean())
            mended, found = quality_control.repair(levels.unwrap(voxels, offset))
            if crossed > 0.02:
                assert names(found)[:1] == ["wrapped"], (path.name, offset)
                moved = (mended.astype(int) - voxels + 128) % 256 - 128
                assert np.ptp(moved) == 0 and abs(moved.flat[0]) <= 16


def test_levels_are_counted_whatever_the_order_of_voxels_in_memory():
    """As numpy counts them: in a copy, in a view that runs backwards, and on disk where nothing may be written."""
    voxels = np.random.default_rng(0).integers(0, 256, (6, 24, 40), np.uint8)
    voxels[:3] = 255
    locked = voxels[::-1, ::2, ::-1]
    locked.flags.writeable = False
    for each in (voxels, locked):
        assert quality_control.histogram(each).tolist() == np.bincount(each.ravel(), minlength=256).tolist()
