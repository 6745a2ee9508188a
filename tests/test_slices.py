"""What a 2D network sees: slices and proportions from the tables, and samples that depend on their number alone."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fake_networks import with_balls
from torch.utils.data import DataLoader

from motors import heatmaps
from motors.detection import engine
from motors.experiments import catalogue
from motors.labels import folds as labels_folds
from motors.labels.table import Labels
from motors.labels.wide import read_wide
from motors.networks import checkpoints
from motors.patches.augment.slices import Augmentation
from motors.patches.epochs import SliceEpoch, motor_slices
from motors.patches.slices import Slices
from motors.tables import MOTORS, TOMOGRAMS
from motors.training import run
from motors.volumes import prepared, resampling
from motors.volumes.prepared import write_prepared

PATCH = (64, 96)
SMALL = replace(
    catalogue.get("maxvit_tiny_smoke"),
    name="small",
    patch=(3, *PATCH),
    spacing=(100.0, 50.0, 50.0),
    resampling="linear",
    stride=16,
    background=0.5,
    repeats=6,
    seed=7,
)
STORED = (50.0, 50.0, 50.0)  # the volumes: a triplet takes every other slice
SHAPES = {"a": (48, 70, 128), "b": (60, 128, 96), "c": (20, 40, 50)}  # c has no motor
POINTS = {"a": [[20.0, 30.0, 40.0], [24.0, 60.0, 100.0], [20.2, 40.0, 90.0]], "b": [[30.0, 100.0, 70.0]]}


def table(shapes: dict, points: dict, spacing: float = 50.0) -> Labels:
    """Return labels of tomograms."""
    tomograms = pd.DataFrame([[name, *shape, spacing] for name, shape in shapes.items()], columns=TOMOGRAMS)
    motors = pd.DataFrame([[name, *p] for name, found in points.items() for p in found], columns=MOTORS)
    return Labels(tomograms, motors)


@cache
def balls(name: str) -> np.ndarray:
    """A volume with balls at its motors."""
    return with_balls(SHAPES[name], POINTS.get(name, []), seed=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Prepared volumes with balls at their motors."""
    for name in SHAPES:
        write_prepared(tmp_path, name, balls(name))
    return tmp_path


@pytest.fixture
def slices(folder: Path) -> Slices:
    """Samples of the three tomograms."""
    return Slices(SMALL, table(SHAPES, POINTS), folder, spacing=STORED)


# slices and epochs


@pytest.mark.parametrize(
    ("name", "table", "tomograms", "found", "length"),
    [("maxvit_tiny", "all_gt_v3", 1935, 2219, 116_500), ("coat_medium", "all_gt", 1794, 2081, 130_050)],
)
def test_the_real_tables_give_the_epochs_of_the_original_solution(
    real: Path, name: str, table: str, tomograms: int, found: int, length: int
):
    """Slices with motors, and samples per epoch; CoaT trains without the tomograms of fold 0."""
    experiment, known = catalogue.get(name), real / "labels"
    second, third = (read_wide(known / f"gt_{version}.csv") for version in ("v2", "v3"))
    folds = labels_folds.folds(second, reviewed=third).set_index("tomo_id")["fold"]
    every = read_wide(known / f"{table}.csv")
    ids = every.tomograms["tomo_id"]
    trained = every.select(ids[ids.map(folds).ne(experiment.fold) | (experiment.fold < 0)])
    assert len(trained.tomograms) == tomograms
    epoch = SliceEpoch(motor_slices(trained, experiment.spacing), ("p", "n"), experiment)
    assert (len(epoch.slices), len(epoch)) == (found, length)


def test_a_slice_counts_once_however_many_motors_it_holds():
    """Rounded in original voxels: 20 and 20.2 are one slice, though the prepared volume has others."""
    found = motor_slices(table(SHAPES, POINTS), (25.0, 50.0, 50.0))
    assert found.to_numpy().tolist() == [["a", 40.5], ["a", 48.5], ["b", 60.5]]


def test_a_slice_is_the_nearest_whole_one():
    """20.6 and 21.2 are slice 21, 21.6 is slice 22."""
    found = motor_slices(table(SHAPES, {"a": [[20.6, 3, 4], [21.2, 30, 50], [21.6, 9, 9]]}), STORED)
    assert found.to_numpy().tolist() == [["a", 20.6], ["a", 21.6]]


def test_an_epoch_shows_every_slice_as_often_as_it_should(slices: Slices):
    """Six times each, in every epoch in another order, and half as much background of all tomograms."""
    orders = []
    for start in (0, len(slices)):
        picked = [slices.epoch.pick(k)[:2] for k in range(start, start + len(slices))]
        counts = Counter(each for each in picked if each[1] is not None)
        assert counts == {("a", 20.0): 6, ("a", 24.0): 6, ("b", 30.0): 6}
        assert len(picked) == len(slices) == 6 * (3 + 2)  # half of three, rounded to even
        orders.append(picked)
    assert orders[0] != orders[1]


def test_background_comes_from_all_tomograms_alike():
    """With motors or without."""
    rows = pd.DataFrame({"tomo_id": ["p"] * 50, "z": np.arange(50.0)})
    epoch = SliceEpoch(rows, ("p", "n"), replace(SMALL, background=10.0))
    counts = Counter(name for name, z, _ in map(epoch.pick, range(len(epoch))) if z is None)
    total = counts.total()
    assert total == 10 * 6 * 50
    assert abs(counts["p"] / total - 0.5) < 4 * 0.5 / np.sqrt(total)


# samples


def test_a_sample_is_what_training_expects(slices: Slices):
    """Shapes and types of image and target."""
    sample = slices[3]
    assert (sample["image"].shape, sample["image"].dtype) == ((3, *PATCH), torch.uint8)
    assert (sample["target"].shape, sample["target"].dtype) == ((1, 4, 6), torch.float32)
    assert sample["image"].is_contiguous() and sample["target"].is_contiguous()


def test_a_sample_depends_on_its_number_only(folder: Path, slices: Slices):
    """Not on what was made before it or on the object; another seed gives another one."""
    numbers = [5, 0, len(slices) + 5, 17]
    one = [slices.triplet(k) for k in numbers]
    again = Slices(SMALL, table(SHAPES, POINTS), folder, spacing=STORED)
    for first, k in reversed(list(zip(one, numbers, strict=True))):
        second = again.triplet(k)
        assert (first.augmentation, first.tomo_id, first.heights) == (
            second.augmentation,
            second.tomo_id,
            second.heights,
        )
        assert np.array_equal(first.voxels, second.voxels)
        assert np.array_equal(first.heatmap, second.heatmap)
    assert one[0].augmentation != one[2].augmentation
    other = Slices(replace(SMALL, seed=8), table(SHAPES, POINTS), folder, spacing=STORED)
    assert other.triplet(5).augmentation != one[0].augmentation


def test_any_number_of_workers_gives_the_same_stream(slices: Slices):
    """None or two processes, also after this process has used its own threads."""
    numbers = list(range(40, 64))
    slices.triplet(0)
    streams = [
        list(DataLoader(slices, batch_size=4, sampler=numbers, num_workers=workers, timeout=100 if workers else 0))
        for workers in (0, 2)
    ]
    for one, two in zip(*streams, strict=True):
        assert torch.equal(one["image"], two["image"]) and torch.equal(one["target"], two["target"])
        assert one["tomo_id"] == two["tomo_id"]


def middle(slices: Slices, count: int) -> list[tuple[str, float | None, int]]:
    """Return tomogram, height of the motors or None, and middle slice of the first samples."""
    found = []
    for k in range(count):
        tomo_id, z, rng = slices.epoch.pick(k)
        found.append((tomo_id, z, slices._height(tomo_id, SHAPES[tomo_id][0], z, rng)))
    return found


def test_slices_with_motors_are_within_one_standard_deviation(slices: Slices):
    """200 Å are four voxels; nearer ones are more frequent, as in a normal distribution cut off there."""
    away = np.array([height - z for _, z, height in middle(slices, 6000) if z is not None])
    share = {-4: 0.0451, 0: 0.1457, 3: 0.1100}  # of the normal distribution between half voxels, over 0.6827
    assert set(away) == set(range(-4, 5))
    for each, chance in share.items():
        assert abs(np.mean(away == each) - chance) < 4 * np.sqrt(chance * (1 - chance) / len(away))


def test_a_standard_deviation_is_counted_in_stored_slices(folder: Path):
    """At 25 Å a slice 200 Å are eight of them; of two that make one, the middle is half a slice above the first."""
    for name, (z, y, x) in SHAPES.items():
        write_prepared(folder, name, np.zeros((2 * z, y, x), np.uint8))
    fine = Slices(
        replace(SMALL, spacing=(50.0,) * 3, resampling="mean"), table(SHAPES, POINTS), folder, spacing=(25, 50, 50)
    )
    rng = np.random.default_rng(3)
    away = np.array([fine._height("b", 120, 60.5, rng) + 0.5 - 60.5 for _ in range(4000)])
    assert (away.min(), away.max()) == (-8.5 + 0.5, 8.5 - 0.5) and abs(away.mean()) < 0.25
    free = {fine._height("b", 120, None, rng) for _ in range(4000)}  # the motor is at 60.5: 1000 Å are 40 slices
    assert free == {*range(20), *range(100, 120)}


def test_heights_are_counted_in_stored_slices(folder: Path):
    """From the middle of two slices of 25 Å that make one: a motor 112.5 Å, an unsure point 512.5 Å away."""
    write_prepared(folder, "d", np.zeros((120, *PATCH), np.uint8))
    known = table({"d": (60, *PATCH)}, {"d": [[34.25, 30.0, 40.0]]})  # z = 69 of 120
    unsure = pd.DataFrame([["d", 42.25, 30.0, 40.0]], columns=MOTORS)  # z = 85, 500 Å away
    experiment = replace(SMALL, spacing=(50.0,) * 3, resampling="mean")
    samples, whole = Slices(experiment, known, folder, spacing=(25, 50, 50)), np.load(folder / "d.npy")
    found = samples._make("d", whole, 64, Augmentation())
    wanted = heatmaps.target_2d(np.array([[30.0, 40.0]]), PATCH, 50.0, distances=np.array([4.5 * 25]))
    assert np.allclose(found.heatmap, wanted)
    samples = Slices(experiment, replace(known, unsure=unsure), folder, spacing=(25, 50, 50))
    open_cells = np.isnan(samples._make("d", whole, 64, Augmentation()).heatmap)
    reach = np.sqrt(
        1000**2 - (20.5 * 25) ** 2
    )  # 859 Å in the slice: cells of 800 Å, their centres at 7.5 + 16 k voxels
    near = [[np.hypot(7.5 + 16 * y - 30, 7.5 + 16 * x - 40) * 50 <= reach for x in range(6)] for y in range(4)]
    assert np.array_equal(open_cells, near)


def test_no_slice_is_beyond_the_ends(slices: Slices):
    """A motor on the last slice, or the first."""
    rng = np.random.default_rng(0)
    assert {slices._height("b", 60, 59.0, rng) for _ in range(300)} == set(range(55, 60))
    assert {slices._height("b", 60, 0.0, rng) for _ in range(300)} == set(range(5))


def test_background_is_far_from_every_motor_or_in_the_middle(slices: Slices):
    """20 voxels are 1000 Å: of a only the last slices are left, of b both ends, of c all."""
    free = {"a": range(44, 48), "b": [*range(10), *range(50, 60)], "c": range(20)}
    counts = Counter((name, height) for name, z, height in middle(slices, 6000) if z is None)
    assert set(counts) == {(name, height) for name, heights in free.items() for height in heights}
    inner = [counts["c", height] for height in free["c"]]
    assert min(inner) > 0.5 * np.mean(inner)
    wide = Slices(SMALL, table({"a": SHAPES["a"]}, {"a": [[2.0, 5, 5], [40.0, 5, 5]]}), slices.folder, spacing=STORED)
    assert wide._height("a", 48, None, np.random.default_rng(0)) == 24


@pytest.mark.parametrize(("spacing", "step"), [((100.0, 100.0, 50.0, 50.0), 1), ((50.0, 100.0, 50.0, 50.0), 2)])
def test_a_triplet_is_three_slices_in_ascending_order(folder: Path, spacing: tuple, step: int):
    """As far apart as the experiment says, whatever the spacing of the stored volumes; clamped at the ends."""
    stored, experiment = (spacing[0], 50.0, 50.0), replace(SMALL, spacing=spacing[1:], augment=False)
    known = table({"c": SHAPES["c"]}, {"c": [[0.0, 20.0, 25.0], [19.0, 20.0, 25.0]]})
    known.tomograms["spacing"] = 50.0
    if stored[0] == 100.0:  # every other slice is stored
        write_prepared(folder, "c", resampling.resample(np.load(folder / "c.npy"), 50.0, stored))
    samples, whole = Slices(experiment, known, folder, spacing=stored), np.load(folder / "c.npy")
    centres = set()
    for found in map(samples.triplet, range(len(samples))):
        centre = found.heights[1]
        centres.add(centre)
        assert found.heights == tuple(np.clip([centre - step, centre, centre + step], 0, len(whole) - 1))
        assert np.array_equal(found.voxels[:, :40, :50], whole[list(found.heights)])
    assert {0, len(whole) - 1} <= centres


def test_where_prediction_averages_so_do_the_samples(folder: Path):
    """Two stored slices make one, exactly as in the resampled volume; the target knows the height of their middle."""
    experiment = replace(SMALL, patch=(3, 128, 96), resampling="mean", augment=False)
    samples = Slices(experiment, table(SHAPES, POINTS), folder, spacing=STORED)
    whole = np.load(folder / "b.npy")  # of 60 x 128 x 96 voxels, with a motor at 30
    means = resampling.resample(whole, STORED, experiment.spacing, by="mean")
    heights = set()
    for found in map(samples.triplet, range(len(samples))):
        height = found.heights[1]
        if found.tomo_id == "b" and height % 2 == 0 and len(found.points_yx):
            assert np.array_equal(found.voxels, means[height // 2 - 1 : height // 2 + 2])
            options = {"distances": np.array([(height + 0.5 - 30) * 50])}
            assert np.allclose(found.heatmap, heatmaps.target_2d(found.points_yx, (128, 96), 50.0, **options))
            heights.add(height)
    assert heights


def test_only_three_slices_are_read(slices: Slices, monkeypatch: pytest.MonkeyPatch):
    """The volume stays on the disk but for them."""
    asked = []

    class Watched:
        """A volume that notes what is asked of it."""

        def __init__(self, voxels):
            self.voxels = voxels

        def __len__(self):
            return len(self.voxels)

        def __getitem__(self, key):
            asked.append(np.asarray(key).tolist())
            return self.voxels[key]

    open_prepared = prepared.open_prepared
    monkeypatch.setattr("motors.patches.slices.open_prepared", lambda *where: Watched(open_prepared(*where)))
    heights = [list(slices.triplet(k).heights) for k in range(10)]
    assert asked == heights


FORCED = {
    "nothing": Augmentation(),
    "flip": Augmentation(flips=(True, False)),
    "turn": Augmentation(flips=(False, True), zoom=(1.1, 0.8), rotation=2.5, shear=(0.05, -0.05)),
    "perspective": Augmentation(corners=((0.05, 0.1), (0.1, 0.02), (0.1, 0.1), (0.03, 0.12))),
    "grey": Augmentation(steps=(("gamma", 1.2), ("downscale", 0.8, "linear", "linear"))),
}


@pytest.mark.parametrize("name", FORCED)
def test_the_ball_at_a_motor_is_where_the_target_is(slices: Slices, name: str):
    """The bright ball is centred at the point, within half a voxel, and the target peaks there."""
    seen = 0
    for k in range(len(slices)):
        found = slices.triplet(k, FORCED[name])
        if found.tomo_id != "b" or len(found.points_yx) != 1:
            continue
        point = found.points_yx[0]
        if np.any(point < 9) or np.any(point > np.subtract(PATCH, 10)):
            continue
        seen += 1
        bright = np.maximum(found.voxels[1].astype(float) - 150, 0)
        if bright.any():
            centre = [(np.indices(PATCH)[axis] * bright).sum() / bright.sum() for axis in range(2)]
            assert np.abs(np.array(centre) - point).max() < 0.5
        cell = np.unravel_index(found.heatmap.argmax(), found.heatmap.shape)
        assert np.abs((np.array(cell) + 0.5) * 16 - 0.5 - point).max() <= 8
    assert seen


def test_a_target_is_as_bright_as_the_slice_is_near_and_as_wide_as_the_motor_is_magnified(slices: Slices):
    """Drawn by hand: zoomed by 0.7 and 1.2, a blob of 200 Å = 4 voxels is drawn with 4.8."""
    seen = set()
    for k in range(2 * len(slices)):
        found = slices.triplet(k, Augmentation(zoom=(1.2, 0.7), crop=(0.5, 1.0, 0.5)))
        if found.tomo_id == "b" and len(found.points_yx):
            away = (found.heights[1] - 30) * 50.0
            seen.add(abs(away))
            options = {"distances": np.array([away]), "std_voxels": np.array([4.8])}
            assert np.allclose(found.heatmap, heatmaps.target_2d(found.points_yx, PATCH, 50.0, **options))
    assert len(seen) > 2


def test_a_sample_counts_its_motors(slices: Slices):
    """Up to three of a's."""
    counts = [slices[k]["motors"] for k in range(len(slices))]
    assert counts == [len(slices.triplet(k).points_yx) for k in range(len(slices))] and max(counts) > 1


def test_a_motor_in_view_is_one_within_the_borders_of_the_outer_voxels(slices: Slices):
    """Of a patch of 64 x 96 that begins at 0, 0: y from -0.5 to 63.5."""
    slices.motors["d"] = np.array([[5.0, 0.2, 40.0], [5.0, 63.4, 50.0], [5.0, 63.8, 60.0]])
    found = slices._make("d", np.zeros((20, 68, 96), np.uint8), 5, Augmentation(crop=(0, 0, 0)))
    assert found.points_yx.tolist() == [[0.2, 40.0], [63.4, 50.0]]


def test_a_patch_keeps_a_motor_not_a_point_that_is_unsure(slices: Slices):
    """The last of all is 210 voxels to the right of the only motor; half-way of the places from 0 to 20 is 10."""
    slices.motors["d"], slices.unsure["d"] = np.array([[5.0, 30, 40]]), np.array([[5.0, 30, 250]])
    found = slices._make("d", np.zeros((20, 64, 300), np.uint8), 5, Augmentation(crop=(1, 0.5, 0.5)))
    assert found.points_yx.tolist() == [[30.0, 30.0]]


def test_motors_just_above_or_below_count(slices: Slices):
    """Up to one slice more than a standard deviation, five voxels: at 24 both of a's heights are seen, at 19 one is."""
    seen = {}
    for k in range(3 * len(slices)):
        found = slices.triplet(k, Augmentation(zoom=(0.5, 0.5)))
        if found.tomo_id == "a":
            seen[found.heights[1]] = len(found.points_yx)
    assert {height: count for height, count in seen.items() if height < 30} == {
        height: 2 * (abs(height - 20) <= 5) + (abs(height - 24) <= 5) for height in seen if height < 30
    }


def test_without_augmentation_patches_come_as_they_are(folder: Path):
    """The motor's surroundings if they fit, else the middle; grey beyond the slices."""
    plain = Slices(replace(SMALL, augment=False), table(SHAPES, POINTS), folder, spacing=STORED)
    for k in range(0, len(plain), 3):
        found = plain.triplet(k)
        whole = np.load(folder / f"{found.tomo_id}.npy")[list(found.heights)]
        assert found.augmentation == Augmentation()
        size = np.minimum(whole.shape[1:], PATCH)
        part = found.voxels[:, : size[0], : size[1]]
        views = np.lib.stride_tricks.sliding_window_view(whole, part.shape)
        assert (views == part).all(axis=(-3, -2, -1)).any()
        assert np.all(found.voxels[:, size[0] :] == 128) and np.all(found.voxels[:, :, size[1] :] == 128)


@pytest.mark.parametrize(("height", "zoom", "count"), [(20, 1.0, 5), (34, 1.0, 1), (40, 1.0, 0), (20, 2.0, 12)])
def test_what_is_within_1000_angstrom_of_an_unsure_point_is_open(folder: Path, height: int, zoom: float, count: int):
    """Cells of 800 Å: the point's own and its four neighbours in its slice; its own alone 700 Å above, none at 1000 Å.

    Twice as large, 40 voxels from 15, 31: three rows of four cells by hand.
    """
    write_prepared(folder, "d", np.zeros((48, *PATCH), np.uint8))
    known = table({"a": SHAPES["a"], "d": (48, *PATCH)}, {"a": POINTS["a"]})
    unsure = pd.DataFrame([["d", 20.0, 23.5, 39.5]], columns=MOTORS)
    samples = Slices(SMALL, replace(known, unsure=unsure), folder, spacing=STORED)
    found = samples._make("d", np.load(folder / "d.npy"), height, Augmentation(zoom=(zoom, zoom)))
    cells = np.argwhere(np.isnan(found.heatmap))
    assert len(cells) == count and (not count or cells.mean(axis=0).tolist() == ([1, 2] if zoom == 1 else [1, 1.5]))
    assert found.points_yx.shape == (0, 2)


# training


@pytest.mark.parametrize("family", [pytest.param("maxvit_tiny", marks=pytest.mark.kernel), "coat_medium"])
def test_a_2d_network_trains_and_predicts(folder: Path, tmp_path: Path, family: str):
    """Two steps on the CPU; then it answers for a whole tomogram."""
    experiment = replace(
        catalogue.of(family, "smoke"), patch=(3, 64, 96), spacing=SMALL.spacing, batch=2, neck_channels=4, steps=2
    )
    samples = Slices(experiment, table(SHAPES, POINTS), folder, spacing=STORED)
    weights = run.train(experiment, samples, tmp_path / "run", workers=0, accelerator="cpu")
    assert len(pd.read_csv(tmp_path / "run" / "metrics.csv")) == 2
    network, again = checkpoints.load(weights)
    assert again == experiment
    voxels = resampling.resample(np.load(folder / "a.npy"), STORED, experiment.spacing)
    found = engine.heatmap(network, experiment, voxels, batch=4)
    assert found.shape == (6, 9, 16) and 0 < found.min() <= found.max() < 0.5


# bad input


def test_a_motor_outside_its_tomogram_is_refused(folder: Path):
    """The message names the tomogram."""
    with pytest.raises(ValueError, match="b has a motor outside its shape"):
        Slices(SMALL, table(SHAPES, POINTS | {"b": [[30.0, 128.0, 80.0]]}), folder, spacing=STORED)


def test_a_missing_volume_and_one_at_another_spacing_are_refused(folder: Path):
    """Before training starts, by name."""
    with pytest.raises(FileNotFoundError, match="d.npy"):
        Slices(SMALL, table(SHAPES | {"d": (48, 64, 96)}, POINTS), folder, spacing=STORED)
    with pytest.raises(ValueError, match=r"a.npy has shape \(48, 70, 128\), its labels mean \(24, 70, 128\)"):
        Slices(SMALL, table(SHAPES, POINTS), folder)


@pytest.mark.parametrize("stored", [(50.0, 25.0, 50.0), (50.0, 50.0, 25.0), (150.0, 50.0, 50.0)])
def test_volumes_that_do_not_serve_the_experiment_are_refused(folder: Path, stored: tuple):
    """Other voxels in the plane, or slices too far apart."""
    with pytest.raises(ValueError, match=r"do not serve small, which wants \(100.0, 50.0, 50.0\)"):
        Slices(SMALL, table(SHAPES, POINTS), folder, spacing=stored)


@pytest.mark.parametrize(
    ("change", "kept", "message"),
    [({"repeats": 0}, "ab", "repeats is 0"), ({}, "c", "no slice has a motor")],
)
def test_proportions_that_cannot_be_had_are_refused(folder: Path, change: dict, kept: str, message: str):
    """One sentence says what is missing."""
    with pytest.raises(ValueError, match=message):
        known = table(SHAPES, POINTS).select(list(kept))
        Slices(replace(SMALL, **change), known, folder, spacing=STORED)


def test_samples_are_counted_from_zero(slices: Slices):
    """A negative number is no sample."""
    with pytest.raises(ValueError, match="sample -1 does not exist"):
        slices[-1]


def test_2d_samples_are_mixed_too(folder: Path, slices: Slices):
    """All of them where all are to be, with shapes and kinds unchanged."""
    mixing = Slices(replace(SMALL, mixup=1.0), table(SHAPES, POINTS), folder, spacing=STORED)
    for k in range(4):
        one, other = slices[k], mixing[k]
        assert not torch.equal(one["image"], other["image"])
        assert (one["image"].dtype, one["image"].shape) == (other["image"].dtype, other["image"].shape)
        assert other["motors"] >= one["motors"]
