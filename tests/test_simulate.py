"""A simulated competition has the format of the real one, hides what that hides, and obeys the physics it claims."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given, strategies as st

from motors.labels.folds import folds
from motors.labels.formats import read_competition, wrong_counts
from motors.labels.table import Labels
from motors.simulate import competition, density as simulate_density, imaging, recipe as simulate_recipe
from motors.simulate.cell import GAP, Capsule
from motors.simulate.recipe import REAL_SPACINGS, RECIPES
from motors.simulate.scene import Scene, arrange
from motors.tables import MOTORS, TOMOGRAMS
from motors.volumes import formats

TINY = replace(RECIPES["smoke"], name="tiny", train=4, test=2)
SHAPE = (48, 64, 96)
OPTICS = imaging.Optics(defocus=80_000, tilt=60, amplitude=0.25, damping=3000, noise=0.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """Return a competition of four training tomograms and two hidden ones."""
    return competition.simulate(tmp_path_factory.mktemp("tiny") / "competition", TINY, seed=3)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def specimen(recipe: simulate_recipe.Recipe, seed: int, k: int) -> Scene:
    """Return what lies where in tomogram `k`."""
    return arrange(recipe, simulate_recipe.plans(recipe, seed)[k], seed)


def test_the_labels_are_a_table_of_the_real_competition(tiny):
    """Columns, numbering, rows of -1 and the number of motors are those of the real file."""
    table = pd.read_csv(tiny / "train_labels.csv")
    assert list(table) == [
        "row_id", "tomo_id", "Motor axis 0", "Motor axis 1", "Motor axis 2", "Array shape (axis 0)",
        "Array shape (axis 1)", "Array shape (axis 2)", "Voxel spacing", "Number of motors",
    ]  # fmt: skip
    assert table["row_id"].tolist() == list(range(len(table)))
    assert table["tomo_id"].str.fullmatch("tomo_[0-9a-f]{6}").all() and table["tomo_id"].is_monotonic_increasing
    empty = table["Number of motors"] == 0
    assert (table.loc[empty].filter(like="Motor axis") == -1).all(axis=None)
    assert table.loc[empty, "tomo_id"].is_unique and empty.sum() == 2
    read = read_competition(tiny / "train_labels.csv")
    assert read.counts().to_dict() == table.groupby("tomo_id")["Number of motors"].first().to_dict()
    assert wrong_counts(tiny / "train_labels.csv").empty


def test_the_slices_have_the_shapes_of_the_table(tiny):
    """Every training tomogram is a folder of grey JPEG slices of three different sides."""
    table = read_competition(tiny / "train_labels.csv").tomograms
    assert sorted(path.name for path in (tiny / "train").iterdir()) == table["tomo_id"].tolist()
    for row in table.itertuples():
        shape = formats.read(tiny / "train" / row.tomo_id).voxels.shape
        assert shape == (row.size_z, row.size_y, row.size_x) and len(set(shape)) == 3


def test_hidden_tomograms_tell_nothing_but_their_voxels(tiny):
    """Neither labels nor the sample submission nor the files themselves hold spacings or motors of hidden ones."""
    hidden = sorted(path.name for path in (tiny / "test").iterdir())
    sample = pd.read_csv(tiny / "sample_submission.csv")
    assert list(sample) == ["tomo_id", "Motor axis 0", "Motor axis 1", "Motor axis 2"]
    assert sample["tomo_id"].tolist() == hidden and (sample.drop(columns="tomo_id") == -1).all(axis=None)
    assert not any(name in (tiny / "train_labels.csv").read_text() for name in hidden)
    assert not any(name in (tiny / "manifest.json").read_text() for name in hidden)
    files = [path for path in (tiny / "test").rglob("*") if path.is_file()]
    assert all(path.name.startswith("slice_") and path.suffix == ".jpg" for path in files)
    for path in files[:: len(files) // 3]:  # the same bytes as the bare pixels give: no comment, no density of pixels
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert path.read_bytes()[:20] == cv2.imencode(".jpg", picture)[1].tobytes()[:20]
        assert b"Exif" not in path.read_bytes() and b"\xff\xfe" not in path.read_bytes()[:600]


def test_the_solution_knows_the_hidden_half_and_nothing_else(tiny):
    """Scoring finds position, spacing and presence of a motor for each hidden tomogram."""
    solution = pd.read_csv(tiny / "solution.csv")
    assert list(solution) == ["tomo_id", "z", "y", "x", "spacing", "has_motor"]
    assert sorted(solution["tomo_id"]) == sorted(path.name for path in (tiny / "test").iterdir())
    assert (solution["spacing"] == 13.1).all() and solution["has_motor"].sum() == 1


def test_motors_are_whole_voxels_inside_of_their_tomogram(tiny):
    """A motor is where there are voxels, as in the real labels."""
    known = read_competition(tiny / "train_labels.csv")
    points = known.motors.merge(known.tomograms, on="tomo_id")
    assert len(points) >= 2
    for axis in "zyx":
        assert (points[axis] % 1 == 0).all() and points[axis].between(0, points[f"size_{axis}"] - 1).all()


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tiny, tmp_path):
    """Nothing depends on the time, the machine's threads or the order of things."""
    again = competition.simulate(tmp_path / "again", TINY, seed=3)
    assert contents(again) == contents(tiny)
    other = competition.simulate(tmp_path / "other", replace(TINY, train=1, test=0), seed=4)
    assert not set(contents(other)) & {name for name in contents(tiny) if name.endswith(".jpg")}


def test_one_tomogram_is_the_one_of_the_competition(tiny):
    """Tomogram k is a function of the recipe, the seed and k, whoever asks for it."""
    plan = simulate_recipe.plans(TINY, 3)[5]
    tomogram, points = competition.tomogram(TINY, 3, 5)
    assert (tomogram.name, tomogram.spacing) == (plan.name, plan.spacing) and len(points) == plan.motors
    stored = formats.read(tiny / "test" / plan.name).voxels.astype(int)
    assert stored.shape == tomogram.voxels.shape and np.abs(stored - tomogram.voxels).mean() < 4  # JPEG
    with pytest.raises(ValueError, match="makes 6 tomograms"):
        competition.tomogram(TINY, 3, 6)


def test_a_competition_that_is_there_is_reused(tiny, monkeypatch):
    """Running a notebook again costs nothing."""
    monkeypatch.setattr("motors.simulate.competition.render", None)
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    assert competition.simulate(tiny, TINY, seed=3) == tiny
    assert before == {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}


def test_an_interrupted_simulation_is_completed(tiny, tmp_path, monkeypatch):
    """A kill leaves whole tomograms only; the next call makes the missing ones and the tables."""
    folder, render = tmp_path / "interrupted", competition.render

    def stop_at_the_third(recipe, scene, seed, k):
        if k == 2:
            raise KeyboardInterrupt
        return render(recipe, scene, seed, k)

    with monkeypatch.context() as patched:
        patched.setattr("motors.simulate.competition.render", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            competition.simulate(folder, TINY, seed=3)
    names = [plan.name for plan in simulate_recipe.plans(TINY, 3)]
    assert sorted(path.name for path in (folder / "train").iterdir()) == names[:2]
    assert not (folder / "train_labels.csv").exists()
    shutil.copytree(folder / "train" / names[0], folder / "train" / f".1-{names[3]}")  # as a kill while writing leaves
    assert contents(competition.simulate(folder, TINY, seed=3)) == contents(tiny)


@pytest.mark.kernel
def test_several_processes_write_the_same_bytes(tiny, tmp_path, monkeypatch):
    """Which of them writes a tomogram decides nothing."""
    monkeypatch.setattr(competition, "FEW", 1)
    assert contents(competition.simulate(tmp_path / "together", TINY, seed=3)) == contents(tiny)


def test_a_folder_that_holds_something_else_is_left_alone(tiny, tmp_path):
    """Neither another simulation nor the real data is mixed with a new simulation."""
    with pytest.raises(FileExistsError, match="holds another simulation.*recipe tiny, seed 3"):
        competition.simulate(tiny, TINY, seed=4)
    with pytest.raises(FileExistsError, match="holds another simulation"):
        competition.simulate(tiny, replace(TINY, noise=2.0), seed=3)
    (tmp_path / "train").mkdir()
    with pytest.raises(FileExistsError, match="no manifest.json.*give a new folder"):
        competition.simulate(tmp_path, TINY)


def test_half_of_the_tomograms_hold_no_motor_and_hidden_ones_at_most_one():
    """The shares of the recipe hold in both halves; several motors occur in training only, as in the real one."""
    plans = simulate_recipe.plans(RECIPES["demo"], seed=0)
    motors = {split: np.array([plan.motors for plan in plans if plan.split == split]) for split in ("train", "test")}
    assert len(motors["train"]) == 260 and len(motors["test"]) == 80
    for counts in motors.values():
        assert 0.45 <= (counts == 0).mean() <= 0.55
    assert motors["test"].max() == 1 and motors["train"].max() > 1 and (motors["train"] > 1).mean() < 0.1
    assert len({plan.name for plan in plans}) == 340
    assert {plan.spacing for plan in plans if plan.split == "test"} == {13.1}
    assert {plan.spacing for plan in plans if plan.split == "train"} == {value for value, _ in REAL_SPACINGS}


def test_each_of_four_folds_holds_enough_tomograms_out_to_judge_a_network():
    """Sixty, whatever the seed; those with several motors are never held out."""
    for seed in range(3):
        plans = [plan for plan in simulate_recipe.plans(RECIPES["demo"], seed) if plan.split == "train"]
        tomograms = pd.DataFrame([[plan.name, 9, 9, 9, plan.spacing] for plan in plans], columns=TOMOGRAMS)
        motors = pd.DataFrame([[p.name, float(k), 1, 1] for p in plans for k in range(p.motors)], columns=MOTORS)
        fold = folds(Labels(tomograms, motors)).fold
        assert fold[fold >= 0].value_counts().between(60, 61).all()


def test_hidden_spacings_can_be_unknown():
    """A parameter draws the spacings of the hidden tomograms from a list; the solution remembers them."""
    plans = simulate_recipe.plans(replace(RECIPES["demo"], test_spacings=((13.1, 1), (19.7, 1))), seed=0)
    hidden = [plan.spacing for plan in plans if plan.split == "test"]
    assert set(hidden) == {13.1, 19.7} and hidden.count(19.7) == 40


@pytest.mark.parametrize("wrong", [{"noise": 0.0}, {"spacings": ((0.0, 1),)}, {"train": -1}, {"cells": 0}])
def test_a_recipe_of_nonsense_is_refused(wrong):
    """A spacing of zero or a negative count is said at once."""
    with pytest.raises(ValueError, match="recipe demo"):
        replace(RECIPES["demo"], **wrong)


@examples(15)
@given(seed=st.integers(0, 10_000), k=st.integers(0, 103))
def test_motors_sit_in_the_envelope_and_point_outwards(seed, k):
    """The centre is on the inner membrane; the normal leads straight to the outer one and away from the cell's axis."""
    scene = specimen(RECIPES["demo"], seed, k)
    envelope = scene.envelope
    assert len(set(scene.grid.shape)) == 3
    assert len(scene.motors) <= simulate_recipe.plans(RECIPES["demo"], seed)[k].motors
    for motor in scene.motors:
        centre, normal = motor.seat.centre, motor.seat.normal
        across = envelope.inner.at(centre + np.array([[-150.0], [0.0], [150.0]]) * normal)
        assert abs(across[1]) < 15 and across[0] < -110 and across[2] > 110
        assert abs(envelope.outer.at((centre + motor.seat.gap * normal)[None])[0]) < 40
        assert 0.5 * GAP < motor.seat.gap < 2.5 * GAP
        assert np.isclose(np.linalg.norm(normal), 1)
        nearest = min(envelope.cells, key=lambda cell: abs(cell.distance(*np.float32(centre)) + motor.seat.gap))
        step = nearest.distance(*np.float32(centre + 50 * normal)) - nearest.distance(*np.float32(centre))
        assert step > 40  # of 50, away from the arc of the cell
    centres = np.reshape([motor.seat.centre for motor in scene.motors], (-1, 3))
    assert np.abs(scene.points_zyx * scene.grid.spacing - centres).max(initial=0) <= scene.grid.spacing / 2


def test_every_motor_that_is_planned_finds_a_seat():
    """Labels keep the shares of the recipe because no planned motor is left out."""
    plans = [plan for plan in simulate_recipe.plans(RECIPES["demo"], 0) if plan.motors][::12]
    assert [len(specimen(RECIPES["demo"], 0, plan.k).motors) for plan in plans] == [plan.motors for plan in plans]


def test_a_motor_has_a_ring_inside_of_the_inner_membrane():
    """What a motor adds to the density lies around its axis: below its centre at the radius of the C ring."""
    k = next(plan.k for plan in simulate_recipe.plans(TINY, 3) if plan.motors == 1)
    scene = specimen(TINY, 3, k)
    with_motor, without = (np.zeros(scene.grid.shape, np.float32) for _ in range(2))
    simulate_density.density(replace(scene, filaments=[]), 3, k, with_motor)
    others = [machine for machine in scene.machines if machine.kind != "motor"]
    simulate_density.density(replace(scene, filaments=[], machines=others), 3, k, without)
    added, seat = with_motor - without, scene.motors[0].seat
    offset = np.moveaxis(np.indices(added.shape), 0, -1) * scene.grid.spacing - seat.centre
    height = offset @ seat.normal
    radius = np.linalg.norm(offset - height[..., None] * seat.normal, axis=-1)
    assert added.min() >= 0 and added.max() > 0.5
    assert (added[np.linalg.norm(offset, axis=-1) > 900] == 0).all()
    size = scene.motors[0].size
    layer = np.abs(height + 180 * size) < 15
    ring = np.array([added[layer & (np.abs(radius - r) < 20)].mean() for r in range(20, 400, 40)])
    assert abs(20 + 40 * (ring[2:].argmax() + 2) - 195 * size) < 45 and ring[-1] < 0.05 * ring.max()


def test_the_knob_of_contrast_moves_motors_only():
    """Twice the contrast is the same scene with motors twice as dense."""
    k = next(plan.k for plan in simulate_recipe.plans(TINY, 3) if plan.motors)
    usual, strong = (specimen(replace(TINY, contrast=contrast), 3, k) for contrast in (1.0, 2.0))
    assert np.array_equal(usual.points_zyx, strong.points_zyx) and np.array_equal(usual.ribosomes, strong.ribosomes)
    for one, two in zip(usual.machines, strong.machines, strict=True):
        assert np.isclose(two.density, one.density * (2 if one.kind == "motor" else 1))


def imaged(optics: imaging.Optics, density: np.ndarray) -> np.ndarray:
    """Return what is reconstructed of a density of 13.1 Å per voxel."""
    spectrum, volume = imaging.blank(density.shape)
    volume[:] = density
    imaging.image(spectrum, density.shape, 13.1, optics, (0,))
    assert np.shares_memory(spectrum, volume)
    return volume


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_the_missing_wedge_is_empty(noise):
    """No frequency beyond the largest tilt about the y axis is there, neither of the specimen nor of the noise."""
    rng = np.random.default_rng(0)
    volume = imaged(replace(OPTICS, noise=noise), rng.standard_normal(SHAPE))
    power = np.abs(np.fft.fftn(volume)) ** 2
    kz, kx = np.fft.fftfreq(SHAPE[0])[:, None, None], np.fft.fftfreq(SHAPE[2])
    missing = np.broadcast_to(np.abs(kz) > 1.0001 * np.tan(np.radians(60)) * np.abs(kx), SHAPE)
    assert 0.2 < missing.mean() < 0.4
    assert power[missing].max() < 1e-9 * power[~missing].max()
    assert np.isfinite(volume).all() and power[~missing].mean() > 0


def test_contrast_turns_over_at_the_zeros_of_the_transfer_function():
    """Dense is dark at low frequencies, bright between the first zero and the second."""
    point = np.zeros(SHAPE)
    point[tuple(side // 2 for side in SHAPE)] = 1
    transfer = np.fft.fftn(np.fft.ifftshift(imaged(OPTICS, point))).real[0, 0, : SHAPE[2] // 2]
    k = np.arange(len(transfer)) / SHAPE[2]  # per voxel
    turns = (np.array([1, 2]) * np.pi - OPTICS.amplitude) / (np.pi * imaging.WAVELENGTH * OPTICS.defocus)
    first, second = np.sqrt(turns) * 13.1
    assert 0.2 < first < second < 0.5
    assert (transfer[k < first - 0.01] < 0).all()
    assert (transfer[(k > first + 0.01) & (k < second - 0.01)] > 0).all()


def test_noise_has_the_strength_asked_for():
    """The standard deviation per voxel is the setting, for even and odd widths."""
    for shape in (SHAPE, (48, 64, 97)):
        assert np.isclose(imaged(replace(OPTICS, noise=3.0), np.zeros(shape)).std(), 3.0, rtol=0.05)


def test_grey_levels_are_like_the_real_ones():
    """Mean, deviation and share of 0 and 255 lie in the ranges of the real tomograms, at 13.1 Å and at others."""
    few = replace(TINY, spacings=((13.1, 1), (16.8, 1)), train=4, test=0)
    for k in range(4):
        tomogram, _ = competition.tomogram(few, 1, k)
        voxels, ends = tomogram.voxels, np.isin(tomogram.voxels, (0, 255)).mean() / 2
        assert 85 < voxels.mean() < 155 and 33 < voxels.std() < 62
        assert 0.005 < ends < 0.02 if tomogram.spacing == 13.1 else ends < 0.003


def test_smooth_fields_are_the_same_by_plane_and_by_point():
    """A field drawn out plane by plane has the values that it has when asked point by point."""
    field = specimen(TINY, 3, 0).envelope.outer
    grid = field.grid
    plane = field.plane(30)
    y, x = np.mgrid[10 : grid.shape[1] - 10 : 7, 10 : grid.shape[2] - 10 : 5].reshape(2, -1)
    points = np.stack([np.full(y.size, 30), y, x], axis=1) * grid.spacing
    assert plane.shape == grid.shape[1:] and np.allclose(plane[y, x], field.at(points), atol=1.0)


def test_distances_in_a_straight_cell_are_those_of_a_capsule():
    """Beside the axis the distance is to the axis, beyond its end it is to the end."""
    cell = Capsule(np.array([100.0, 200.0, 300.0]), np.eye(3)[[2, 1, 0]], 1e6, 50.0, 30.0)
    distance = cell.distance(*(np.float32(v) for v in ([100, 100, 140], [200, 280, 200], [300, 320, 380])))
    assert np.allclose(distance, [-30, 50, 20], atol=0.2)
