"""From a network and a tomogram to candidates."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import ndimage
from torch import nn
from torch.nn.functional import avg_pool2d, avg_pool3d

from motors import geometry, heatmaps
from motors.detection import detector, engine, heatmap
from motors.detection.averaging import scaled_range
from motors.detection.heatmap import Grid
from motors.detection.queue import detect_all
from motors.detection.tiling import cell_strides
from motors.experiments.original import MAXVIT_TINY, RESNEXT50
from motors.geometry import PLANAR_SYMMETRIES, SYMMETRIES, Symmetry
from motors.volumes import formats, levels, quality_control, resampling
from motors.volumes.levels import to_uint8
from motors.volumes.slices import write_slices
from motors.volumes.tomogram import Tomogram

REFERENCE = Path(__file__).parent / "reference"
SOLID = replace(RESNEXT50, name="solid", patch=(32, 64, 96))
PLANAR = replace(MAXVIT_TINY, name="planar", patch=(3, 64, 96))
SHAPE = (48, 100, 150)


def brightness(tiles: torch.Tensor) -> torch.Tensor:
    """A 3D network that answers how bright each cell is, wherever it lies and however it is turned."""
    return (avg_pool3d(tiles, 16) - 128) / 16


def planar_brightness(tiles: torch.Tensor) -> torch.Tensor:
    """The same for a 2D network."""
    return (avg_pool2d(tiles.mean(dim=1, keepdim=True), 16) - 128) / 16


def noise(shape=SHAPE, seed=0) -> np.ndarray:
    """A tomogram of nothing, whose cells differ."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, [-(-side // 8) for side in shape], dtype=np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)[tuple(map(slice, shape))]


def with_ball(shape, centre, radius: float) -> np.ndarray:
    """A dark tomogram with one bright ball."""
    axes = np.ogrid[tuple(map(slice, shape))]
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)))
    return (255 * np.exp(-0.5 * (distance / radius) ** 2)).astype(np.uint8)


# What the original solution computed


def recorded_volume(settings: dict) -> np.ndarray:
    """The made-up tomogram that the original solution was run on."""
    generator, shape = np.random.default_rng(settings["seed"]), settings["shape"]
    coarse = generator.integers(0, 256, [-(-side // 16) for side in shape], dtype=np.uint8)
    coarse = coarse.repeat(16, 0).repeat(16, 1).repeat(16, 2)[tuple(map(slice, shape))]
    voxels = (coarse // 2 + generator.integers(0, 256, shape, dtype=np.uint8) // 2) // 4 + np.uint8(60)
    for *centre, radius, height in settings["blobs"]:
        box = tuple(slice(max(0, c - radius), c + radius) for c in centre)
        axes = np.ogrid[tuple(slice(part.start, min(part.stop, side)) for part, side in zip(box, shape, strict=True))]
        squares = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
        ball = np.where(squares < radius**2, height * (radius**2 - squares) // radius**2, 0)
        voxels[box] = (voxels[box] + ball).clip(0, 255)
    assert hashlib.sha256(voxels.tobytes()).hexdigest() == settings["sha256"]
    return voxels


def recorded_network(offset: float, planar: bool):
    """The formula that stood for a network; the original showed slices to 2D networks in descending order."""

    def network(tiles: torch.Tensor) -> torch.Tensor:
        if planar:
            tiles = tiles.flip(1)
            tiles = avg_pool2d(0.2 * tiles[:, :1] + 0.5 * tiles[:, 1:2] + 0.3 * tiles[:, 2:], 16)
        else:
            tiles = avg_pool3d(tiles, 16)
            tiles = tiles + 14 * 0.02 * torch.arange(tiles.shape[2])[:, None, None]
        y, x = (torch.arange(side) for side in tiles.shape[-2:])
        return (tiles - 180) / 14 + offset - 0.013 * y[:, None] + 0.007 * x

    return network


@pytest.mark.parametrize("kind", ["3d", "2d"])
def test_heatmaps_and_candidates_are_those_of_the_original_solution(kind):
    """Whole tomograms with the original's placement of tiles; half precision in the original explains what differs."""
    recorded = json.loads((REFERENCE / "e2e" / f"{kind}.json").read_text())
    experiment = {"3d": RESNEXT50, "2d": MAXVIT_TINY}[kind]
    cells = cell_strides(experiment)
    with np.load(REFERENCE / "e2e" / f"{kind}.npz") as arrays:
        for tomogram in (each for each in recorded["tomograms"] if each["id"] in recorded["recorded"]):
            voxels = resampling.resample(recorded_volume(tomogram), tomogram["spacing"], experiment.spacing)
            for name in recorded["recorded"][tomogram["id"]]:
                session = next(each for each in recorded["sessions"] if name in each["agg_name"])
                network = recorded_network(recorded["offsets"][session["sig"]], experiment.is_2d)
                mean, total = 0.0, 0.0
                for symmetry, weight, to in zip(session["tta"], session["weight"], session["agg_name"], strict=True):
                    if to == name:
                        answer = engine.logits(network, experiment, voxels, symmetries=[symmetry], original=True)
                        mean, total = mean + weight * answer, total + weight
                found = 1 / (1 + np.exp(-mean / total))
                np.testing.assert_allclose(found, arrays[f"heat__{name}__{tomogram['id']}"][0], atol=1e-3)
                check_candidates(found, cells, experiment, tomogram, arrays[f"kpts__{name}__{tomogram['id']}"])


def check_candidates(found, cells, experiment, tomogram, expected) -> None:
    """Compare the peaks of a heatmap with candidates in voxels that were rounded to half precision."""
    peaks, scores = heatmaps.peaks(found, threshold=0.02 if not experiment.is_2d else 0.01, radius_cells=7.8125)
    points = geometry.voxel_between(geometry.cell_to_voxel(peaks, cells), experiment.spacing, tomogram["spacing"])
    expected = expected[expected[:, 3] > 0]
    assert len(points) == len(expected)
    if len(expected):
        assert np.abs(points - expected[:, :3]).max() < 0.6
        assert np.abs(scores - expected[:, 3]).max() < 1e-3


@pytest.mark.parametrize("kind", ["3d", "2d"])
def test_ranges_are_rounded_as_in_the_original_solution(kind):
    """Also where both ends round to a range of another length; a range below one cell gets one, in 3D as in 2D."""
    for case in json.loads((REFERENCE / "sliding" / "positions.json").read_text())["scale_range"]["cases"]:
        if round((case["end"] - case["start"]) * case["scale_num"] / case["scale_den"]) or kind == "2d":
            found = scaled_range(case["start"], case["end"], case["scale_num"] / case["scale_den"], case["maxv"])
            assert [found.start, found.stop] == case[kind]


# Tiles and orientations


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (32, 32, 32)},
        {"tile": (64, 128, 160)},
        {"voxels_at_once": 64**3},
        {"overlap": 0.25},
        {"overlap": 16, "batch": 3},
        {"batch": 100},
    ],
    ids=str,
)
def test_the_heatmap_does_not_depend_on_the_tiles(options):
    """A network that looks no farther than a cell says the same in every tile, so seams cannot be seen."""
    expected = engine.heatmap(brightness, SOLID, noise())
    assert expected.shape == (6, 12, 19) and expected.dtype == np.float32
    np.testing.assert_allclose(engine.heatmap(brightness, SOLID, noise(), **options), expected, atol=1e-5)


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=lambda symmetry: symmetry.name)
def test_an_equivariant_network_says_the_same_in_every_orientation(symmetry):
    """What is turned before the network is turned back after it; three different sides would show a mistake."""
    expected = engine.heatmap(brightness, SOLID, noise())
    found = engine.heatmap(brightness, SOLID, noise(), symmetries=[symmetry.name])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_planar_networks_say_the_same_in_every_orientation():
    """All eight at once."""
    names = [symmetry.name for symmetry in PLANAR_SYMMETRIES]
    expected = engine.heatmap(planar_brightness, PLANAR, noise((13, 100, 150)))
    assert expected.shape == (3, 12, 19)
    found = engine.heatmap(planar_brightness, PLANAR, noise((13, 100, 150)), symmetries=names, batch=4)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_orientations_are_averaged_as_logits():
    """By hand: a network that answers with its own x axis sees each cell from both sides."""

    def ramp(tiles: torch.Tensor) -> torch.Tensor:
        return torch.arange(6.0).expand(len(tiles), 1, 2, 4, 6)

    voxels = np.zeros((32, 64, 96), np.uint8)
    forth = engine.logits(ramp, SOLID, voxels)
    assert forth[0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5]
    np.testing.assert_array_equal(engine.logits(ramp, SOLID, voxels, symmetries=["zyx_x"]), forth[..., ::-1])
    both = engine.logits(ramp, SOLID, voxels, symmetries=["zyx", "zyx_x"])
    np.testing.assert_array_equal(both, np.full((4, 8, 12), 2.5))


@pytest.mark.parametrize("symmetry", [Symmetry.from_name("zxy_xz"), Symmetry.from_name("zyx_y")], ids=str)
def test_a_turned_tomogram_has_a_turned_heatmap(symmetry):
    """Sides that divide by the stride, so that no cell hangs over the end."""
    voxels = noise((32, 64, 96))
    found = engine.heatmap(brightness, SOLID, symmetry.apply(voxels), tile=(32, 32, 32))
    np.testing.assert_allclose(found, symmetry.apply(engine.heatmap(brightness, SOLID, voxels)), atol=1e-5)


def test_slices_reach_a_planar_network_in_ascending_order():
    """The original solution showed them upside down, other than in training."""
    voxels = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], (24, 64, 96))

    def upward(tiles: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(tiles[:, 2:] - tiles[:, :1], 16)

    np.testing.assert_array_equal(engine.logits(upward, PLANAR, voxels), np.full((6, 8, 12), 20.0))


@given(st.integers(1, 40), st.integers(10, 120), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=30)
def test_every_cell_is_covered(depth, side, planar, original):
    """Whatever the size of the tomogram, also if smaller than a tile; an uncovered cell would be an error."""
    network, experiment = (planar_brightness, PLANAR) if planar else (brightness, SOLID)
    voxels = np.full((depth, side, 64), 128, np.uint8)
    found = engine.heatmap(network, experiment, voxels, original=original)
    cells = cell_strides(experiment)
    assert found.shape == tuple(max(1, round(n / c)) for n, c in zip(voxels.shape, cells, strict=True))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("experiment", [SOLID, PLANAR], ids=lambda experiment: experiment.name)
def test_cells_are_cubes_of_128_angstrom(experiment):
    """In 3D and in 2D, whose slices are twice as thick as their pixels."""
    cells = cell_strides(experiment)
    assert [cell * spacing for cell, spacing in zip(cells, experiment.spacing, strict=True)] == [128.0] * 3


# What is refused


class Silent(nn.Module):
    """A network with one weight."""

    def __init__(self, answer: float = 0.0) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.tensor(answer))
        self.calls = 0

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        self.calls += len(tiles)
        return brightness(tiles) + self.answer


@pytest.mark.parametrize(
    ("network", "experiment", "options", "sentence"),
    [
        (Silent(), SOLID, {}, "call network.eval"),
        (Silent(float("nan")).eval(), SOLID, {}, "NaN or infinity"),
        (
            lambda tiles: avg_pool3d(tiles, 8),
            SOLID,
            {"tile": (32, 64, 96)},
            r"answers \(1, 4, 8, 12\) .* wanted \(1, 2, 4, 6\)",
        ),
        (brightness, SOLID, {"tile": (32, 64, 90)}, "multiple of 32"),
        (planar_brightness, PLANAR, {"tile": (5, 64, 96)}, "z must be 3"),
        (brightness, SOLID, {"symmetries": []}, "at least one"),
        (brightness, SOLID, {"cell_stride": 5}, "do not divide the stride"),
        (planar_brightness, PLANAR, {"symmetries": ["zyx_z"]}, "cannot be mirrored along z"),
        (planar_brightness, PLANAR, {"cell_stride": 2}, "covered by no tile"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(network, experiment, options, sentence):
    """Each says what came and what to do."""
    with pytest.raises(ValueError, match=sentence):
        engine.heatmap(network, experiment, noise(), **options)


def test_voxels_other_than_grey_levels_are_refused():
    """A float volume has not been through the same rounding as in training."""
    with pytest.raises(ValueError, match="wanted grey levels uint8 z y x"):
        engine.heatmap(brightness, SOLID, noise().astype(np.float32))


# Candidates


@pytest.mark.parametrize(("network", "experiment"), [(brightness, SOLID), (planar_brightness, PLANAR)])
@pytest.mark.parametrize("symmetries", [["zyx"], ["zxy_x", "zyx_y"]])
def test_a_motor_is_found_within_a_cell_where_it_is_in_the_original_tomogram(network, experiment, symmetries):
    """At another spacing than that of the network, with three different sides."""
    centre = np.array([40.0, 150.0, 70.0])
    tomogram = Tomogram("ball", with_ball((100, 200, 160), centre, radius=14), spacing=10.0)
    found = detector.detect(network, experiment, tomogram, symmetries=symmetries, threshold=0.01)
    assert len(found) == len(symmetries)
    assert found["run"].unique().tolist() == [experiment.name] and found["symmetry"].tolist() == symmetries
    assert found.dtypes["score"] == np.float32
    assert np.abs(found[["z", "y", "x"]] - centre).to_numpy().max() * 10 <= (128 if experiment.is_2d else 64)


def test_orientations_can_share_one_list():
    """One mean heatmap gives one candidate, whose symmetry names them all."""
    tomogram = Tomogram("ball", with_ball((60, 80, 90), (30, 40, 50), radius=14), spacing=16.0)
    names = ["zyx", "zxy"]
    found = detector.detect(brightness, SOLID, tomogram, run="r", symmetries=names, average=True, threshold=0.3)
    assert found[["run", "symmetry"]].to_numpy().tolist() == [["r", "zyx+zxy"]]


def test_candidates_lie_inside_their_tomogram():
    """A cell at the end may reach over it, an answer must not."""
    voxels = np.zeros((20, 44, 60), np.uint8)
    voxels[:, 32:, 48:] = 255
    found = detector.detect(brightness, SOLID, Tomogram("edge", voxels, 16.0))
    assert found[["y", "x"]].to_numpy().tolist() == [[43, 59]]  # the cell is centred at 43.5, 59.5


def test_a_spacing_that_nobody_knows_is_refused_and_one_that_is_given_is_used():
    """Kaggle's tomograms do not know their own."""
    tomogram = Tomogram("ball", with_ball((60, 80, 90), (30, 40, 50), radius=14), spacing=None)
    with pytest.raises(ValueError, match="ball does not know its spacing"):
        detector.detect(brightness, SOLID, tomogram)
    given, own = (
        detector.detect(brightness, SOLID, replace(tomogram, spacing=own), spacing=16.0) for own in (None, 16.0)
    )
    pd.testing.assert_frame_equal(given, own)


@pytest.fixture
def tomograms(tmp_path) -> dict[str, Path]:
    """Three tomograms on disk, the middle one empty."""
    folder = tmp_path / "tomograms"
    folder.mkdir()
    for name, radius in (("001", 14), ("empty", 0.1), ("b", 20)):
        np.save(folder / f"{name}.npy", with_ball((48, 64, 96), (30, 40, 50), radius))
    return {name: folder / f"{name}.npy" for name in ("001", "empty", "b")}


def test_many_tomograms_give_one_table_and_a_file_each(tomograms, tmp_path):
    """Whether they come as files or as tomograms; an empty one has an empty file; names stay text."""
    network = Silent().eval()
    found = detect_all(network, SOLID, tomograms, tmp_path / "out", spacing=dict.fromkeys(tomograms, 16.0))
    assert found["tomo_id"].tolist() == ["001", "b"]
    (folder,) = (tmp_path / "out").glob("solid-*")
    assert {path.name for path in folder.iterdir()} == {"settings.json", "001.csv", "empty.csv", "b.csv"}
    again = (formats.read(path, name=name, spacing=16.0) for name, path in tomograms.items())
    pd.testing.assert_frame_equal(detect_all(network, SOLID, again, tmp_path / "other"), found)


def test_wrapped_levels_are_put_right_before_networks_see_them_unless_told_otherwise(tmp_path):
    """The candidates are those of the healthy tomogram, and it is noted what was wrong; slices do as well."""
    density = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((48, 64, 96)), 0.8)
    density += 4 * density.std() * (with_ball((48, 64, 96), (30, 40, 50), 14) / 255)
    healthy = Tomogram("ball", to_uint8(density.astype(np.float32)), 16.0)
    wrapped = replace(healthy, voxels=levels.unwrap(healthy.voxels, 60))
    write_slices(tmp_path / "ball", wrapped.voxels)
    network, settings = Silent().eval(), {"spacing": 16.0}
    wanted = detect_all(network, SOLID, [healthy], tmp_path / "healthy", **settings)
    assert quality_control.findings(tmp_path / "healthy" / "findings").empty
    mended = detect_all(network, SOLID, [wrapped], tmp_path / "mended", **settings)
    pd.testing.assert_frame_equal(mended, wanted)
    read = detect_all(network, SOLID, {"ball": tmp_path / "ball"}, tmp_path / "read", **settings)
    torn = detect_all(network, SOLID, [wrapped], tmp_path / "torn", mend=False, **settings)
    best = [found[["z", "y", "x"]].iloc[0].tolist() for found in (wanted, read, torn)]
    assert best[0] == best[1] != best[2]
    for name in ("mended", "read"):
        noted = quality_control.findings(tmp_path / name / "findings")
        assert noted[["tomo_id", "finding", "mended"]].to_numpy().tolist() == [["ball", "wrapped", True]]
    assert not (tmp_path / "torn" / "findings").exists()


def test_what_was_found_before_is_not_computed_again(tomograms, tmp_path):
    """After an interruption the rest is computed, and the table is the same as in one go."""

    class Interrupted(Silent):
        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            if self.calls >= 4:
                raise KeyboardInterrupt
            return super().forward(tiles)

    settings = {"spacing": 16.0}
    network = Interrupted().eval()
    with pytest.raises(KeyboardInterrupt):
        detect_all(network, SOLID, tomograms, tmp_path / "out", **settings)
    network = Silent().eval()
    found = detect_all(network, SOLID, tomograms, tmp_path / "out", **settings)
    assert network.calls == 2  # the two tiles of the last tomogram
    pd.testing.assert_frame_equal(detect_all(Silent().eval(), SOLID, tomograms, tmp_path, **settings), found)


def test_other_weights_other_settings_or_a_newer_tomogram_are_computed_again(tomograms, tmp_path):
    """Results of an earlier network never pass for those of a later one."""

    def calls(network: Silent, **settings) -> int:
        detect_all(network, SOLID, tomograms, tmp_path / "out", spacing=16.0, **settings)
        return network.calls

    assert calls(Silent().eval()) == 6
    assert calls(Silent().eval(), batch=2) == 0
    assert calls(Silent(0.5).eval()) == 6
    assert calls(Silent().eval(), threshold=0.5) == 6
    os.utime(tomograms["b"], (2e9, 2e9))
    assert calls(Silent().eval()) == 2


def test_only_what_is_certainly_the_same_is_taken_from_before(tomograms, tmp_path, monkeypatch):
    """Tomograms in memory may be others of the same name, slices may be rewritten in place, code may have changed."""
    voxels = np.load(tomograms["b"])
    folder = write_slices(tmp_path / "slices", voxels)

    def calls(given) -> int:
        network = Silent().eval()
        detect_all(network, SOLID, given, tmp_path / "out", spacing=16.0, mend=False)
        return network.calls

    assert calls([Tomogram("memory", voxels, 16.0)]) == calls([Tomogram("memory", voxels, 16.0)]) == 2
    assert [calls({"slices": folder}), calls({"slices": folder})] == [2, 0]
    os.utime(folder / "slice_0003.jpg", (2e9, 2e9))
    assert calls({"slices": folder}) == 2
    assert [calls(tomograms), calls(tomograms)] == [6, 0]
    monkeypatch.setattr(detector, "_code", lambda: "changed")
    assert calls(tomograms) == 6


def test_heatmaps_are_kept_and_read_back(tomograms, tmp_path):
    """One of float16 per orientation, as `heatmap` answers it, with the size of a cell and what the tomogram was."""
    shown = {"symmetries": ["zyx", "zxy_x"], "spacing": 10.0, "keep": True}
    detect_all(Silent().eval(), SOLID, tomograms, tmp_path, **shown)
    found = heatmap.kept(tmp_path, "b")
    assert list(found) == [("solid", "zyx"), ("solid", "zxy_x")]
    grid = found["solid", "zxy_x"]
    voxels = resampling.resample(np.load(tomograms["b"]), 10.0, SOLID.spacing)
    expected = engine.heatmap(brightness, SOLID, voxels, symmetries=["zxy_x"])
    np.testing.assert_allclose(grid.cells, expected, rtol=1e-3, atol=1e-7)
    assert (grid.size, grid.shape, grid.spacing) == ((128, 128, 128), (48, 64, 96), 10)
    candidates = detect_all(Silent().eval(), SOLID, tomograms, tmp_path, **shown)
    again = grid.candidates("b", "solid", "zxy_x", threshold=0.05)
    rows = candidates[(candidates.tomo_id == "b") & (candidates.symmetry == "zxy_x")].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, rows, rtol=1e-3)
    with pytest.raises(FileNotFoundError, match="no heatmap of c in"):
        heatmap.kept(tmp_path, "c")


def test_the_heatmaps_of_the_last_time_are_read(tomograms, tmp_path):
    """What was kept with other weights is passed over; candidates without a heatmap are computed again."""

    def detect(answer: float, keep: bool = True) -> int:
        network = Silent(answer).eval()
        detect_all(network, SOLID, tomograms, tmp_path, spacing=16.0, keep=keep)
        return network.calls

    assert [detect(0.0, keep=False), detect(0.0), detect(0.0), detect(1.0)] == [6, 6, 0, 6]
    brighter = heatmap.kept(tmp_path, "b")["solid", "zyx"].cells
    assert detect(0.0) == 0
    assert (heatmap.kept(tmp_path, "b")["solid", "zyx"].cells < brighter).all()


def test_a_heatmap_is_interpolated_where_it_lies():
    """A ramp in ångström stays the same ramp on cells of other sizes, and flat beyond its last centres."""

    def centres(axis: int, grid: Grid) -> np.ndarray:
        return (np.arange(grid.cells.shape[axis]) + 0.5) * grid.size[axis]

    coarse = Grid(np.zeros((4, 6, 8)), (256.0, 192.0, 160.0), (64, 72, 80), 16.0)
    fine = Grid(np.zeros((8, 9, 10)), (128.0, 128.0, 128.0), (64, 72, 80), 16.0)
    for axis in range(3):
        ramp = np.moveaxis(np.broadcast_to(centres(axis, coarse), np.roll((4, 6, 8), 2 - axis)), 2, axis)
        found = np.moveaxis(replace(coarse, cells=ramp).onto(fine), axis, 0)[:, 0, 0]
        expected = centres(axis, fine).clip(*centres(axis, coarse)[[0, -1]])
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same():
    """In half precision, up to its rounding."""
    network = nn.Conv3d(1, 1, 16, stride=16).eval()
    on_cpu = engine.heatmap(network, SOLID, noise(), device="cpu")
    np.testing.assert_allclose(engine.heatmap(network, SOLID, noise(), device="cuda"), on_cpu, atol=1e-2)


def test_tiles_overlap_as_the_experiment_says():
    """The share of its settings is what is used where none is given, and a given one replaces it."""
    voxels, half = noise(), replace(SOLID, overlap=0.5)
    seen: list[int] = []

    def network(tiles: torch.Tensor) -> torch.Tensor:
        seen.append(len(tiles))
        return brightness(tiles)

    counts = []
    for experiment, options in ((SOLID, {}), (half, {}), (SOLID, {"overlap": 0.5}), (half, {"overlap": 0})):
        seen.clear()
        engine.heatmap(network, experiment, voxels, tile=(32, 64, 96), **options)
        counts.append(sum(seen))
    assert counts[0] == counts[3] == 2 * 2 * 2 and counts[1] == counts[2] == 2 * 3 * 3
