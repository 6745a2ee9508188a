"""Peak memory and idle time of a prediction, from slices on disk to candidates, beside the network on one of its tiles.

    python tests/benchmarks/memory.py                                  # X3D-M, 400 x 1400 x 1050 voxels of 13.1 Å
    python tests/benchmarks/memory.py --network resnext50 --memory 8GiB

What it takes above libraries, weights and activations is the tomogram, as it came and resampled, and the heatmap.
Several tomograms follow each other, since each is read while the one before is computed. All is measured in a process
of its own, with random weights.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measured import save

from motors.detection import backends, memory
from motors.detection.queue import detect_all
from motors.detection.tiling import plan
from motors.experiments import catalogue
from motors.networks.factory import build
from motors.volumes.slices import write_slices

SHAPE, SPACING = (400, 1400, 1050), 13.1


def peak() -> float:
    """GiB of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def count_forward(seconds: list[float]) -> None:
    """Note how long each call of any backend takes."""
    get = backends.Backends.get

    def timed(self, *about):
        network = get(self, *about)

        def forward(tiles: torch.Tensor) -> torch.Tensor:
            begin = time.perf_counter()
            outputs = network(tiles)
            seconds.append(time.perf_counter() - begin)
            return outputs

        return forward

    backends.Backends.get = timed


def measure(name: str, folder: Path, budget: int | None, count: int) -> dict:
    """Return the peaks of each part, one after the other, the seconds of all and of the forward passes, the tile."""
    experiment = catalogue.get(name)
    network = build(experiment).eval()
    voxels = memory.voxels_within(network, experiment, budget) if budget else None
    resampled = tuple(round(side * SPACING / to) for side, to in zip(SHAPE, experiment.spacing, strict=True))
    tiles = plan(resampled, experiment, voxels=voxels)
    example = torch.zeros((tiles.batch, *(() if experiment.is_2d else (1,)), *tiles.tile))
    quick, found = backends.make("rewritten", network, example), {"libraries and weights": peak()}
    with torch.inference_mode():
        quick(example)
    forward: list[float] = []
    count_forward(forward)
    found["and one tile"], begin = peak(), time.perf_counter()
    options = {"spacing": SPACING, "backend": "rewritten", "voxels_at_once": voxels}
    detect_all(network, experiment, {f"tomo{k}": folder for k in range(count)}, folder.parent / "work", **options)
    times = {"seconds": time.perf_counter() - begin, "forward": sum(forward)}
    return found | times | {"all of it": peak(), "tile": tiles.tile, "tomograms": count}


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="x3d_m")
    parser.add_argument("--memory", type=memory.parse, help="budget of activations; by default that of a patch")
    parser.add_argument("--count", type=int, default=3, help="tomograms, one after the other")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, rng = Path(folder) / "tomo", np.random.default_rng(0)
        path.mkdir()
        write_slices(path, rng.integers(0, 256, SHAPE, dtype=np.uint8))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (options.network, path, options.memory, options.count))
    base, tile, whole = (found[name] for name in ("libraries and weights", "and one tile", "all of it"))
    where = f"memory of {options.network} on {' x '.join(map(str, SHAPE))}"
    parts = f"{whole - tile:.2f} of it above one tile ({tile - base:.2f}) and libraries and weights ({base:.2f})"
    beside = (
        f"{1 - found['forward'] / found['seconds']:.1%} of {found['seconds']:.0f} s for {options.count} not computing"
    )
    lines = {where: f"at most {whole:.2f} GiB, {parts}; {beside}"}
    print(*lines.values())
    print(save("memory", lines, found))


if __name__ == "__main__":
    main()
