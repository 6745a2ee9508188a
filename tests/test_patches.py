"""What a network sees: windows and proportions from the tables, and samples that depend on their number alone."""

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
from motors.experiments import catalogue
from motors.geometry import SYMMETRIES
from motors.labels.table import Labels, prepared
from motors.labels.wide import read_wide
from motors.patches import epochs as patches_epochs
from motors.patches.augment.blocks import Augmentation
from motors.patches.blocks import Blocks
from motors.patches.epochs import START, Epoch, shuffled
from motors.patches.samples import mixed
from motors.tables import MOTORS, POINT, SIZE, TOMOGRAMS
from motors.volumes.prepared import write_prepared

PATCH = (32, 64, 64)
SMALL = replace(
    catalogue.get("resnext50_smoke"),
    name="small",
    patch=PATCH,
    spacing=(16.0, 16.0, 16.0),
    stride=16,
    sigma=200.0,
    background=0.5,
    background_from_positive=0.25,
    repeats=16,
    augment=True,
    seed=7,
)
SHAPES = {"a": (48, 70, 128), "b": (40, 128, 96), "c": (20, 64, 150)}  # at 16 ångström; c has no motor
POINTS = {"a": [[20.0, 30.0, 40.0], [41.0, 60.0, 100.0]], "b": [[30.0, 100.0, 80.0]]}


def table(shapes: dict, points: dict, spacing: float = 16.0) -> Labels:
    """Return labels of tomograms."""
    tomograms = pd.DataFrame([[name, *shape, spacing] for name, shape in shapes.items()], columns=TOMOGRAMS)
    motors = pd.DataFrame([[name, *p] for name, found in points.items() for p in found], columns=MOTORS)
    return Labels(tomograms, motors)


@cache
def balls(name: str) -> np.ndarray:
    """A volume with balls at its motors."""
    return with_balls(SHAPES[name], POINTS.get(name, []), seed=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Prepared volumes with balls at their motors."""
    for name in SHAPES:
        write_prepared(tmp_path, name, balls(name))
    return tmp_path


@pytest.fixture
def blocks(folder: Path) -> Blocks:
    """Samples of the three tomograms."""
    return Blocks(SMALL, table(SHAPES, POINTS), folder)


# windows and epochs


def original(found: Labels) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables at 16 ångström as the original solution resampled for training: corner to corner."""
    ratio = found.tomograms.set_index("tomo_id")["spacing"] / 16
    tomograms, motors = found.tomograms[["tomo_id", *SIZE]].copy(), found.motors[MOTORS].copy()
    tomograms[SIZE] = np.round((tomograms[SIZE].to_numpy() - 1) * ratio.to_numpy()[:, None] + 1).astype(int)
    motors[POINT] = motors[POINT].to_numpy() * motors["tomo_id"].map(ratio).to_numpy()[:, None]
    return tomograms, motors


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("resnext50", (4206, 4210, 13470, 70_661), (4208, 4210, 13468, 70_694)),
        ("x3d_m", (4111, 4390, 13_385, 82_220), (4113, 4390, 13_383, 82_260)),
    ],
)
def test_the_real_tables_give_the_epochs_of_the_original_solution(real: Path, name: str, theirs: tuple, ours: tuple):
    """Windows with motors, without in tomograms without, without in tomograms with; and samples per epoch.

    Ours differ by two windows: we keep motors half a voxel from where the original's corner-to-corner map put them, and
    floor the sizes that it rounded.
    """
    experiment, table = catalogue.get(name), {"resnext50": "all_gt_v3", "x3d_m": "all_gt"}[name]
    known = read_wide(real / "labels" / f"{table}.csv")
    for found, expected in ((original(known), theirs), (prepared(known, experiment.spacing), ours)):
        epoch = Epoch(patches_epochs.windows(*found, experiment.patch), experiment)
        assert (len(epoch.foreground), *map(len, epoch.backgrounds), len(epoch)) == expected


def test_windows_cover_the_tomograms_and_know_their_motors():
    """Counted by hand: 2 x 2 x 2, 2 x 2 x 2 and 1 x 1 x 3 windows; the shared middle of a belongs to several."""
    found = patches_epochs.windows(*prepared(table(SHAPES, POINTS), (16.0,) * 3), PATCH)
    assert found["tomo_id"].value_counts(sort=False).to_dict() == {"a": 8, "b": 8, "c": 3}
    seen = {tuple(row) for row in found[found["motors"] > 0].drop(columns=["positive"]).itertuples(index=False)}
    first = {("a", z, y, 0, 1) for z in (0, 16) for y in (0, 6)}  # 20 is in 0-31 and in 16-47, 30 in 0-63 and in 6-69
    assert seen == first | {("a", 16, y, 64, 1) for y in (0, 6)} | {("b", z, 64, 32, 1) for z in (0, 8)}
    assert found.loc[found["tomo_id"] == "c", "start_z"].unique().tolist() == [-12]
    assert found.groupby("tomo_id")["positive"].all().to_dict() == {"a": True, "b": True, "c": False}


def test_prepared_tables_are_those_of_the_prepared_volumes():
    """Sizes are floored, points keep their place between the corners."""
    found = table({"a": (100, 120, 140)}, {"a": [[9.5, 49.5, 99.5]]}, spacing=13.1)
    tomograms, motors = prepared(found, (32.0, 16.0, 16.0))
    assert tomograms.to_numpy().tolist() == [["a", 40, 98, 114]]
    assert np.allclose(motors[POINT], [[10 * 13.1 / 32 - 0.5, 50 * 13.1 / 16 - 0.5, 100 * 13.1 / 16 - 0.5]])


def test_an_epoch_shows_every_window_with_a_motor_in_every_orientation_once(blocks: Blocks):
    """And as much background on top as the experiment wants, in every epoch, each in another order."""
    length, orders = len(blocks), []
    for start in (0, length):
        picked = [blocks.epoch.pick(k)[:2] for k in range(start, start + length)]
        foreground = [(row.name, symmetry) for row, symmetry in picked if row["motors"]]
        assert len(set(foreground)) == len(foreground) == 16 * len(blocks.epoch.foreground)
        assert length - len(foreground) == round(0.5 * len(foreground))
        orders.append(foreground)
    assert orders[0] != orders[1]


def test_background_comes_from_either_kind_of_tomogram_as_often_as_it_should():
    """One from tomograms with motors per four from tomograms without, whatever the numbers of windows."""
    rows = [("p", 0, 0, 0, 1, True)] * 50 + [("p", 0, 0, 64, 0, True)] * 70 + [("n", 0, 0, 0, 0, False)] * 5
    windows = pd.DataFrame(rows, columns=["tomo_id", *START, "motors", "positive"])
    epoch = Epoch(windows, replace(SMALL, background=4.0, seed=1))
    picked = [epoch.pick(k)[:2] for k in range(len(epoch))]
    counts = Counter(row["tomo_id"] for row, _ in picked if not row["motors"])
    total = counts.total()
    assert total == 4 * 16 * 50
    assert abs(counts["p"] / total - 0.2) < 4 * np.sqrt(0.2 * 0.8 / total)
    turns = Counter(symmetry for row, symmetry in picked if not row["motors"])
    assert len(turns) == 16 and min(turns.values()) > 0.7 * total / 16


def test_the_order_is_a_permutation_of_every_epoch():
    """Each item once per epoch; another seed, another order."""
    epochs = [[shuffled(k, 10, seed) for k in range(10 * e, 10 * e + 10)] for seed in (0, 1) for e in (0, 1)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 4


def test_the_order_of_an_epoch_has_randomness_of_its_own():
    """That of a sample is drawn from the seed and its number alone."""
    for epoch in range(3):
        order = [shuffled(k, 50, 9) for k in range(50 * epoch, 50 * epoch + 50)]
        assert order != np.random.default_rng([9, epoch]).permutation(50).tolist()


def test_a_motor_on_the_first_and_the_last_voxel_of_a_window_is_in_it():
    """Of 48 x 64 x 96 voxels two windows along z, from 0 and 16: z = 31 is in both, 15.5 and 31.5 in one."""
    points = {"a": [[0.0, 63.0, 0.0], [31.0, 0.0, 95.0], [15.5, 1, 1], [31.5, 2, 2]]}
    found = patches_epochs.windows(*prepared(table({"a": (48, 64, 96)}, points), (16.0,) * 3), (32, 64, 96))
    assert dict(zip(found["start_z"], found["motors"], strict=True)) == {0: 3, 16: 2}


def test_one_window_of_background_is_enough_and_its_share_is_rounded():
    """Three windows with a motor, nine tenths as much background: 2.7 are three."""
    rows = [("p", 0, 0, 32 * k, 1, True) for k in range(3)] + [("n", 0, 0, 0, 0, False)]
    windows = pd.DataFrame(rows, columns=["tomo_id", *START, "motors", "positive"])
    epoch = Epoch(windows, replace(SMALL, background=0.9, repeats=1, seed=1))
    assert Counter(epoch.pick(k)[0]["tomo_id"] for k in range(len(epoch))) == {"p": 3, "n": 3}


# samples


def test_a_sample_is_what_training_expects(blocks: Blocks):
    """Shapes and types of image and target."""
    sample = blocks[3]
    assert (sample["image"].shape, sample["image"].dtype) == ((1, *PATCH), torch.uint8)
    assert (sample["target"].shape, sample["target"].dtype) == ((1, 2, 4, 4), torch.float32)
    assert sample["image"].is_contiguous() and sample["target"].is_contiguous()


def test_a_sample_depends_on_its_number_only(folder: Path, blocks: Blocks):
    """Not on what was made before it, on the object, or on the threads; another seed gives another one."""
    numbers = [5, 0, len(blocks) + 5, 17]
    one = [blocks.block(k) for k in numbers]
    again = Blocks(SMALL, table(SHAPES, POINTS), folder, threads=2)
    for first, k in reversed(list(zip(one, numbers, strict=True))):
        second = again.block(k)
        assert (first.augmentation, first.symmetry, first.start) == (second.augmentation, second.symmetry, second.start)
        assert np.array_equal(first.voxels, second.voxels)
        assert np.array_equal(first.heatmap, second.heatmap)
    assert one[0].augmentation != one[2].augmentation
    other = Blocks(replace(SMALL, seed=8), table(SHAPES, POINTS), folder)
    assert other.block(5).augmentation != one[0].augmentation


def test_randomness_never_repeats(blocks: Blocks):
    """Neither within an epoch nor in the next one."""
    numbers = [blocks.epoch.pick(k)[2].bytes(8) for k in range(2 * len(blocks))]
    assert len(set(numbers)) == len(numbers)


def test_any_number_of_workers_gives_the_same_stream(blocks: Blocks):
    """None, one or two processes, also after this process has used its own threads."""
    numbers = list(range(40, 52))
    blocks.block(0)
    streams = [
        list(DataLoader(blocks, batch_size=3, sampler=numbers, num_workers=workers, timeout=60 if workers else 0))
        for workers in (0, 1, 2)
    ]
    for batches in zip(*streams, strict=True):
        for batch in batches[1:]:
            assert torch.equal(batch["image"], batches[0]["image"])
            assert torch.equal(batch["target"], batches[0]["target"])
            assert batch["tomo_id"] == batches[0]["tomo_id"]


FORCED = {
    "nothing": Augmentation(),
    "zoom": Augmentation(zoom=(0.9, 1.1, 0.8)),
    "turn": Augmentation(rotation=(0.6, 0, 0), scale=(1.1, 0.9, 1.0)),
    "tilt": Augmentation(rotation=(4.0, 0.2, -0.1), shear=(0.1, 0.1, -0.1)),
    "grey": Augmentation(steps=(("gamma", 1.2),), quality=(0.8, "trilinear", "trilinear")),
}


@pytest.mark.parametrize("name", FORCED)
def test_the_ball_at_a_motor_is_where_the_target_is(blocks: Blocks, name: str):
    """In six orientations the bright ball is centred at the point, within half a voxel, and the target peaks there."""
    seen = set()
    for k in range(len(blocks)):
        block = blocks.block(k, FORCED[name])
        if len(seen) == 6:
            break
        if block.symmetry in seen or len(block.points_zyx) != 1:
            continue
        point = block.points_zyx[0]
        if np.any(point < 7) or np.any(point > np.subtract(PATCH, 8)):
            continue
        seen.add(block.symmetry)
        bright = np.maximum(block.voxels.astype(float) - 150, 0)
        centre = np.array([(np.indices(PATCH)[axis] * bright).sum() / bright.sum() for axis in range(3)])
        assert np.abs(centre - point).max() < 0.5
        cell = np.unravel_index(block.heatmap.argmax(), block.heatmap.shape)
        assert block.heatmap[cell] == 1
        assert np.abs((np.array(cell) + 0.5) * 16 - 0.5 - point).max() <= 8
    assert len(seen) == 6


def test_a_target_is_drawn_with_the_shortest_axis_of_the_moved_blob(blocks: Blocks):
    """Zoomed by 0.8 along x, a blob of 200 Å = 12.5 voxels is drawn with 10."""
    draw = Augmentation(zoom=(1.2, 1.0, 0.8))
    block = next(b for b in (blocks.block(k, draw) for k in range(len(blocks))) if len(b.points_zyx) == 1)
    points = block.symmetry.inverse.move_points(block.points_zyx, PATCH)
    wanted = heatmaps.target_3d(points, PATCH, 16.0, std_voxels=np.array([10.0]))
    assert np.allclose(block.heatmap, block.symmetry.apply(wanted))


def test_flat_voxels_have_flat_blobs_and_balls(folder: Path):
    """At 32 Å along z a blob of 200 Å is 6.25 voxels high: zoomed by two there, 12.5, as it is long.

    Around the centre of the first cell 15 of 16 lie within 1000 Å in its layer (768 Å twice is too far), and 13 in the
    next one, 512 Å below.
    """
    flat = replace(SMALL, spacing=(32.0, 16.0, 16.0), background=0.0)
    write_prepared(folder, "d", np.zeros((32, 64, 64), np.uint8))
    tomograms = pd.DataFrame([["d", 64, 64, 64, 16.0]], columns=TOMOGRAMS)
    motors = pd.DataFrame([["d", 32.5, 40.0, 30.0]], columns=MOTORS)  # z = 16 of 32
    unsure = pd.DataFrame([["d", 15.5, 7.5, 7.5]], columns=MOTORS)  # z = 7.5 of 32
    samples = Blocks(flat, Labels(tomograms, motors), folder)
    block = samples._make("d", (0, 0, 0), SYMMETRIES[0], Augmentation(zoom=(2.0, 1.0, 1.0)))
    wanted = heatmaps.target_3d(block.points_zyx, PATCH, flat.spacing, std_voxels=np.array([12.5]))
    assert np.allclose(block.heatmap, wanted) and len(block.points_zyx) == 1
    samples = Blocks(flat, replace(Labels(tomograms, motors), unsure=unsure), folder)
    block = samples._make("d", (0, 0, 0), SYMMETRIES[0], Augmentation())
    assert np.isnan(block.heatmap).sum(axis=(1, 2)).tolist() == [15, 13]


def test_an_open_ball_lies_where_its_point_is_in_a_patch_that_begins_before_the_tomogram(folder: Path):
    """24 of its voxels along y are before: y = 7.5 is its 31.5, in the middle of its cells, which are all near.

    Were it at 7.5, of the last row, 768 Å away, a quarter of the cells and more would be too far.
    """
    write_prepared(folder, "d", np.zeros((32, 40, 64), np.uint8))
    known = table({"a": SHAPES["a"], "d": (32, 40, 64)}, {"a": POINTS["a"]})
    unsure = pd.DataFrame([["d", 7.5, 7.5, 7.5]], columns=MOTORS)
    samples = Blocks(SMALL, replace(known, unsure=unsure), folder)
    block = samples._make("d", (0, -24, 0), SYMMETRIES[0], Augmentation())
    assert np.isnan(block.heatmap).sum(axis=(0, 2)).tolist() == [8, 8, 8, 8]


def test_patches_that_are_only_turned_are_as_many_as_the_experiment_says(folder: Path):
    """All of them: no zoom, no shear, nothing else."""
    samples = Blocks(replace(SMALL, unaugmented=1.0), table(SHAPES, POINTS), folder)
    found = [samples.block(k).augmentation for k in range(10)]
    assert found == [Augmentation(rotation=each.rotation) for each in found]


@pytest.mark.parametrize(
    ("point", "zoom", "count"),
    [
        ((7.5, 7.5, 7.5), 1.0, 30),
        ((23.5, 39.5, 39.5), 0.5, 24),
        ((7.5, 7.5, 110.0), 1.0, 4),
        ((60.0, 7.5, 7.5), 1.0, 19),
    ],
)
def test_what_is_within_1000_angstrom_of_an_unsure_point_is_open(folder: Path, point: tuple, zoom: float, count: int):
    """Of 32 cells of 256 Å, by hand; three to the side are 768 Å away, three along both y and x 1086 Å.

    Half as large, the ball is as well. A point outside the patch reaches into it: from 872 Å to the right 4 cells, from
    584 Å below 13 of the lower layer and 6 of the upper one.
    """
    shape = (120, 64, 128)
    write_prepared(folder, "d", np.zeros(shape, np.uint8))
    known = table({"a": SHAPES["a"], "d": shape}, {"a": POINTS["a"]})
    unsure = pd.DataFrame([["d", *point]], columns=MOTORS)
    samples = Blocks(SMALL, replace(known, unsure=unsure), folder)
    turned = SYMMETRIES[5]
    block = samples._make("d", (0, 0, 0), turned, Augmentation(zoom=(zoom,) * 3))
    cells = np.argwhere(np.isnan(turned.inverse.apply(block.heatmap)))
    assert len(cells) == count
    assert samples.label_digest != Blocks(SMALL, known, folder).label_digest


def test_without_augmentation_windows_come_as_they_are(folder: Path):
    """Neither turned nor changed, with zeros before the tomogram."""
    plain = Blocks(replace(SMALL, augment=False), table(SHAPES, POINTS), folder)
    for k in range(0, len(plain), 7):
        block, whole = plain.block(k), np.load(folder / f"{plain.block(k).tomo_id}.npy")
        before = np.maximum(0, -np.array(block.start))
        part = whole[tuple(slice(max(0, s), s + p) for s, p in zip(block.start, PATCH, strict=True))]
        assert np.array_equal(block.voxels[tuple(slice(b, None) for b in before)], part)
        assert not block.voxels[: before[0]].any()
        points = np.array(POINTS.get(block.tomo_id, np.empty((0, 3)))) - block.start
        inside = np.all((points >= 0) & (points <= np.subtract(PATCH, 1)), axis=1)
        assert np.allclose(block.points_zyx, points[inside])


def test_the_symmetry_of_a_sample_turns_voxels_and_target_alike(blocks: Blocks):
    """Undone, a sample without augmentation is the plain window."""
    for k in range(20):
        block = blocks.block(k, Augmentation())
        voxels = block.symmetry.invert(block.voxels)
        points = block.symmetry.inverse.move_points(block.points_zyx, PATCH)
        whole = np.load(blocks.folder / f"{block.tomo_id}.npy")
        start = np.maximum(block.start, 0)
        offset = start - block.start
        part = voxels[tuple(slice(o, None) for o in offset)]
        assert np.array_equal(part, whole[tuple(slice(s, s + n) for s, n in zip(start, part.shape, strict=True))])
        assert np.allclose(
            block.symmetry.invert(block.heatmap),
            heatmaps.target_3d(points, PATCH, 16.0, std_voxels=np.full(len(points), 12.5)),
        )


def test_all_sixteen_orientations_are_used(blocks: Blocks):
    """No symmetry is forgotten."""
    assert {blocks.epoch.pick(k)[1] for k in range(len(blocks))} == set(SYMMETRIES)


# bad input


def test_a_motor_outside_its_tomogram_is_refused(folder: Path):
    """The message names the tomogram."""
    with pytest.raises(ValueError, match="b has a motor outside its shape"):
        Blocks(SMALL, table(SHAPES, POINTS | {"b": [[30.0, 128.0, 80.0]]}), folder)


def test_a_missing_volume_is_refused(folder: Path):
    """Before training starts, by name."""
    with pytest.raises(FileNotFoundError, match="d.npy"):
        Blocks(SMALL, table(SHAPES | {"d": (48, 64, 96)}, POINTS), folder)


def test_a_volume_at_another_spacing_is_refused(folder: Path):
    """Its shape gives it away."""
    with pytest.raises(ValueError, match=r"a.npy has shape \(48, 70, 128\), its labels mean \(39, 57, 104\)"):
        Blocks(SMALL, table(SHAPES, POINTS, spacing=13.1), folder)


def test_patches_that_cannot_be_turned_are_refused(folder: Path):
    """A quarter turn exchanges y and x; without quarter turns any patch will do."""
    long = replace(SMALL, patch=(32, 64, 96))
    with pytest.raises(ValueError, match="cannot make quarter turns"):
        Blocks(long, table(SHAPES, POINTS), folder)
    assert Blocks(replace(long, repeats=8), table(SHAPES, POINTS), folder).block(0).voxels.shape == (32, 64, 96)


@pytest.mark.parametrize(
    ("change", "kept", "message"),
    [
        ({"repeats": 17}, "ab", "repeats 17 is not 1 to 16"),
        ({}, "c", "no window has a motor"),
        ({"background_from_positive": 0.0}, "ab", "background 0.5 needs windows without motor"),
    ],
)
def test_proportions_that_cannot_be_had_are_refused(folder: Path, change: dict, kept: str, message: str):
    """One sentence says what is missing."""
    with pytest.raises(ValueError, match=message):
        Blocks(replace(SMALL, **change), table(SHAPES, POINTS).select(list(kept)), folder)


def test_samples_are_counted_from_zero(blocks: Blocks):
    """A negative number is no sample."""
    with pytest.raises(ValueError, match="sample -1 does not exist"):
        blocks[-1]


# mixup


def test_no_mixup_changes_no_sample(folder: Path, blocks: Blocks):
    """With a share of nothing, and where mixtures would show more motors than they may."""
    for change in ({"mixup": 0.0}, {"mixup": 1.0, "mixup_motors": 1}):
        mixing = Blocks(replace(SMALL, **change), table(SHAPES, POINTS), folder)
        for k in range(12):
            one, other = blocks[k], mixing[k]
            if change["mixup"] == 0 or other["motors"] > 1:  # more than one of its own: it stays as it is
                assert torch.equal(one["image"], other["image"]) and torch.equal(one["target"], other["target"])


def test_a_mixture_is_a_weighted_mean_of_two_samples_and_of_their_targets():
    """With the same weight for both; the share of mixtures is what was asked for; sample k is always the same."""
    small = replace(SMALL, mixup=0.3, mixup_alpha=0.7, seed=5)

    def sample(k):
        return {
            "image": torch.full((1, 2, 3, 4), k, dtype=torch.uint8),
            "target": torch.full((1, 1, 1, 2), k / 200),
            "motors": k % 2,
        }

    found = [mixed(sample, k, 200, small) for k in range(200)]
    changed = [k for k, each in enumerate(found) if not torch.equal(each["target"], sample(k)["target"])]
    assert 0.2 < len(changed) / 200 < 0.4
    for k, each in enumerate(found):
        assert each["image"].dtype == torch.uint8 and len(each["image"].unique()) == 1
        assert abs(float(each["image"][0, 0, 0, 0]) - 200 * float(each["target"][0, 0, 0, 0])) < 1 + 1e-3
        assert each["motors"] in ((k % 2), (k % 2) + 1)
    assert all(torch.equal(mixed(sample, k, 200, small)["target"], found[k]["target"]) for k in range(0, 200, 17))
    few = [mixed(sample, k, 200, replace(small, mixup=1.0, mixup_motors=1)) for k in range(200)]
    assert max(each["motors"] for each in few) == 1 and min(each["motors"] for each in few) == 0
    assert sum(float(each["target"][0, 0, 0, 0]) != k / 200 for k, each in enumerate(few)) > 100


def test_a_mixture_shows_the_motors_of_both_and_as_many_as_it_may():
    """One and one are two; an epoch of a single sample is mixed with itself."""

    def sample(k):
        return {"image": torch.full((1, 2, 3, 4), 9, dtype=torch.uint8), "target": torch.ones(1, 1, 1, 2), "motors": 1}

    counts = [
        mixed(sample, k, 1, replace(SMALL, mixup=1.0, mixup_motors=most))["motors"] for k, most in ((0, 2), (1, 1))
    ]
    assert counts == [2, 1]
