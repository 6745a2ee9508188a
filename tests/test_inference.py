"""From a network and a tomogram to candidates."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, strategies as st
from torch import nn
from torch.nn.functional import avg_pool2d, avg_pool3d

from motors import geometry, heatmaps
from motors.detection import engine
from motors.detection.heatmap import Grid
from motors.detection.tiling import cell_strides
from motors.experiments.original import MAXVIT_TINY, RESNEXT50
from motors.geometry import SYMMETRIES, SYMMETRIES_2D, Symmetry
from motors.volumes import resampling

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


def recorded_tomograms() -> list:
    """Every tomogram that both were run on; the two of a hundred million voxels take seconds each."""
    found = []
    for kind in ("3d", "2d"):
        for name in json.loads((REFERENCE / "e2e" / f"{kind}.json").read_text())["recorded"]:
            marks = pytest.mark.kernel if name.endswith("win") else ()
            found.append(pytest.param(kind, name, id=f"{kind}-{name}", marks=marks))
    return found


@pytest.mark.parametrize(("kind", "tomogram"), recorded_tomograms())
def test_heatmaps_and_candidates_are_those_of_the_original_solution(kind, tomogram):
    """Whole tomograms with the original's placement of tiles; half precision in the original explains what differs."""
    recorded = json.loads((REFERENCE / "e2e" / f"{kind}.json").read_text())
    names, experiment = recorded["recorded"][tomogram], {"3d": RESNEXT50, "2d": MAXVIT_TINY}[kind]
    tomogram = next(each for each in recorded["tomograms"] if each["id"] == tomogram)
    voxels = resampling.resample(recorded_volume(tomogram), tomogram["spacing"], experiment.spacing)
    with np.load(REFERENCE / "e2e" / f"{kind}.npz") as arrays:
        for name in names:
            session = next(each for each in recorded["sessions"] if name in each["agg_name"])
            network = recorded_network(recorded["offsets"][session["sig"]], experiment.is_2d)
            mean, total = 0.0, 0.0
            for symmetry, weight, to in zip(session["tta"], session["weight"], session["agg_name"], strict=True):
                if to == name:
                    answer = engine.logits(network, experiment, voxels, symmetries=[symmetry], original=True)
                    mean, total = mean + weight * answer, total + weight
            found, key = 1 / (1 + np.exp(-mean / total)), f"{name}__{tomogram['id']}"
            np.testing.assert_allclose(found, arrays[f"heat__{key}"][0], atol=1e-3)
            check_candidates(found, cell_strides(experiment), experiment, tomogram, arrays[f"kpts__{key}"])


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
            found = engine.scaled_range(case["start"], case["end"], case["scale_num"] / case["scale_den"], case["maxv"])
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
    names = [symmetry.name for symmetry in SYMMETRIES_2D]
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
    np.testing.assert_allclose(both, np.full((4, 8, 12), 2.5), rtol=1e-6)


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
@examples(30)
def test_every_cell_is_covered(depth, side, planar, original):
    """Whatever the size of the tomogram, also if smaller than a tile; an uncovered cell would be an error."""
    network, experiment = (planar_brightness, PLANAR) if planar else (brightness, SOLID)
    voxels = np.full((depth, side, 64), 128, np.uint8)
    found = engine.heatmap(network, experiment, voxels, original=original)
    cells = cell_strides(experiment)
    assert found.shape == tuple(max(1, round(n / c)) for n, c in zip(voxels.shape, cells, strict=True))
    assert np.isfinite(found).all()


def test_with_the_tiles_of_the_original_cells_may_have_any_size():
    """It put predictions at the nearest cell; aligned ones have to divide the stride."""
    found = engine.logits(brightness, SOLID, np.full((40, 50, 60), 128, np.uint8), cell_stride=5, original=True)
    assert found.shape == (8, 10, 12)


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
            r"gives \(1, 4, 8, 12\) .* wanted \(1, 2, 4, 6\)",
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
    with pytest.raises(ValueError, match="give uint8 intensities"):
        engine.heatmap(brightness, SOLID, noise().astype(np.float32))


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


@pytest.mark.kernel
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_a_large_tensor_frees_is_kept_for_the_next_one_until_the_end():
    """Pages that are filled in anew are counted, for three tensors of 64 MiB, in a process of its own."""
    code = """
        import contextlib, pathlib, resource, torch
        from motors.detection import engine

        def faults():
            torch.ones(2**24)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(3):
                torch.ones(2**24)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        def pages():
            return int(pathlib.Path("/proc/self/statm").read_text().split()[1])

        outside, before = faults(), pages()
        with contextlib.suppress(KeyError), engine.kept_pages():
            inside = min(faults() for _ in range(5))  # something small may have been put in between
            raise KeyError("a network's own")
        print(outside, inside, pages() - before)
    """
    environment = os.environ | {"THP_MEM_ALLOC_ENABLE": "0"}
    line = [sys.executable, "-c", textwrap.dedent(code)]
    printed = subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout
    outside, inside, left = map(int, printed.split())
    assert outside > 90 and 5 * inside < outside and left < 2**12  # 96 where all pages are huge


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


@pytest.mark.parametrize(("original", "middle"), [(False, [0.2086, 0.5, 0.7914]), (True, [0.5, 0.5, 0.5])])
def test_what_a_tile_says_near_its_edge_counts_for_little(original, middle):
    """Two tiles of 6 cells share 3: exp(-1.389) / (exp(-1.389) + exp(-0.056)) = 0.2086. In the original, halves."""

    def index(tiles: torch.Tensor) -> torch.Tensor:
        return torch.arange(float(len(tiles))).reshape(-1, 1, 1, 1, 1).expand(-1, 1, 2, 4, 6)

    options = {"tile": (32, 64, 96), "overlap": 0.5, "batch": 2, "cell_stride": 16}
    found = engine.logits(index, SOLID, np.zeros((32, 64, 144), np.uint8), original=original, **options)
    np.testing.assert_allclose(found[1, 2], [0, 0, 0, *middle, 1, 1, 1], atol=1e-4)
