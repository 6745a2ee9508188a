"""How long training samples take, and how much memory: in 3D ours beside MONAI's lazy pipeline, the original's kind.

    python tests/benchmarks/patches.py                 # ours and MONAI's, then samples per second
    python tests/benchmarks/patches.py --monai 0       # ours alone

One sample is a patch of 224 x 448 x 448 voxels from a tomogram of 300 x 960 x 928, with all augmentations as they come;
samples per second are counted for triplets of 896 x 896 from the same tomogram, too.
Each way runs in its own process, so that its peak memory is its own; they take turns, so that both meet the same load.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from motors.experiments import catalogue
from motors.labels.table import Labels
from motors.patches.augment.blocks import RESAMPLINGS
from motors.patches.blocks import Blocks
from motors.patches.slices import Slices
from motors.tables import MOTORS, TOMOGRAMS
from motors.volumes.prepared import open_prepared, write_prepared

SHAPE = (300, 960, 928)
EXPERIMENT, PLANAR = catalogue.get("resnext50"), catalogue.get("maxvit_tiny")
KINDS = ["plain", "zoom", "turn", "tilt"]  # what the map does; the last does not keep z apart


def write_tomogram(folder: Path) -> Labels:
    """Write a made-up tomogram, smooth noise, with one motor; return its labels."""
    rng = np.random.default_rng(0)
    slices = [cv2.GaussianBlur(rng.integers(0, 256, SHAPE[1:], np.uint8), (5, 5), 1) for _ in range(SHAPE[0])]
    write_prepared(folder, "made_up", np.stack(slices))
    motors = pd.DataFrame([["made_up", 120.0, 500.0, 400.0]], columns=MOTORS)
    return Labels(pd.DataFrame([["made_up", *SHAPE, 16.0]], columns=TOMOGRAMS), motors)


def ours(folder: Path, labels: Labels, threads: int) -> Callable[[int], str]:
    """Return what makes sample k our way and says which kind it was."""
    blocks = Blocks(EXPERIMENT, labels, folder, threads=threads)

    def make(k: int) -> str:
        draw = blocks.block(k).augmentation
        if any(draw.rotation[1:]):
            return "tilt"
        return "turn" if draw.rotation[0] else "zoom" if draw.zoom != (1, 1, 1) else "plain"

    return make


def monai(folder: Path, labels: Labels, threads: int) -> Callable[[int], str]:
    """Return what makes sample k with MONAI's lazy transforms, in the order and with the chances of the original."""
    from monai import transforms as t

    torch.set_num_threads(threads)
    tilt, each = np.pi / 12, 1 - np.sqrt(0.5)
    scale = {"scale_range": [(-0.3, 0.3)] * 3, "padding_mode": "zeros", "prob": 0.75, "lazy": True}
    space = t.Compose(
        [
            t.SpatialCrop(roi_start=(416, 448, 76), roi_end=(864, 896, 300), lazy=True),
            t.RandZoom(0.4, [0.6] * 3, [1.2] * 3, mode="trilinear", padding_mode="constant", lazy=True),
            t.OneOf(
                [
                    t.RandAffine(rotate_range=[(0, 0), (0, 0), (0, 2 * np.pi)], **scale),
                    t.RandAffine(
                        rotate_range=[(-tilt, tilt), (-tilt, tilt), (0, 2 * np.pi)],
                        shear_range=[(-0.2, 0.2)] * 3,
                        **scale,
                    ),
                ],
                weights=[2, 1],
                lazy=True,
            ),
        ],
        lazy=True,
        overrides={"mode": "bilinear", "padding_mode": "zeros", "dtype": torch.float32},
    )
    shift = t.OneOf([t.RandShiftIntensity((-40, 80), prob=each), t.RandStdShiftIntensity((-0.7, 1.2), prob=each)])
    contrast = t.OneOf(
        [t.RandScaleIntensityFixedMean(each, (-0.6, 0)), t.RandScaleIntensityFixedMean(each, (0, 0.8))], weights=[7, 3]
    )
    multiply, gamma = t.RandScaleIntensity((-0.7, 0.7), prob=0.5), t.RandAdjustContrast(0.5, (0.25, 1.75))
    grey = t.OneOf(
        [t.Compose([shift, contrast]), multiply, gamma, t.RandHistogramShift((10, 20), 0.5)], weights=[4, 2, 3, 1]
    )
    ways = [t.RandSimulateLowResolution(0.2, down, up, (0.6, 0.9)) for down, up in RESAMPLINGS]
    chain = t.Compose([space, grey, t.OneOf(ways, weights=list(RESAMPLINGS.values()))])
    voxels = torch.from_numpy(np.array(open_prepared(folder, "made_up"))).permute(2, 1, 0)[None]

    def make(k: int) -> str:
        chain.set_random_state(k)
        chain(voxels).permute(0, 3, 2, 1).clamp(0, 255).to(torch.uint8).contiguous()
        return "all"

    return make


def resident(field: str) -> float:
    """Return how much memory this process has (VmRSS) or had at most since it was last asked (VmHWM), in GiB."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak
    return int(status.split(f"{field}:")[1].split()[0]) / 2**20


def serve(pipe, way: Callable, folder: Path, labels: Labels, threads: int) -> None:
    """Make the samples that are asked for; answer with kind, seconds, seconds of CPU and peak memory in GiB."""
    way(folder, labels, threads)  # imports what it needs
    before = resident("VmRSS")
    make = way(folder, labels, threads)
    while (k := pipe.recv()) is not None:
        start, cpu = time.perf_counter(), time.process_time()
        kind = make(k)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        pipe.send((kind, seconds, cpu, resident("VmHWM") - before))


def compare(counts: dict[Callable, int], *shared: object) -> pd.DataFrame:
    """Return one row per sample and way: way, kind, seconds, cpu, peak."""
    context, rows = multiprocessing.get_context("spawn"), []
    servers = {}
    for way in counts:
        here, there = context.Pipe()
        servers[way] = here, context.Process(target=serve, args=(there, way, *shared))
        servers[way][1].start()
    for k in range(max(counts.values()) + 1):  # the first is not counted: files and libraries become warm
        for way, (pipe, _) in servers.items():
            if k <= counts[way]:
                pipe.send(k)
                answer = pipe.recv()
                rows += [(way.__name__, *answer)] if k else []
    for pipe, process in servers.values():
        pipe.send(None)
        process.join()
    return pd.DataFrame(rows, columns=["way", "kind", "seconds", "cpu", "peak"])


def throughput(samples: torch.utils.data.Dataset, workers: int, count: int) -> float:
    """Return samples per second of a data loader with one thread per worker."""
    loader = torch.utils.data.DataLoader(samples, batch_size=1, sampler=range(1, 1 + count), num_workers=workers)
    stream = iter(loader)
    next(stream)
    start = time.perf_counter()
    made = sum(1 for _ in stream)
    return made / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60, help="samples made our way")
    parser.add_argument("--monai", type=int, default=20, help="samples made with MONAI")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        labels = write_tomogram(Path(place))
        counts = {ours: options.samples} | ({monai: options.monai} if options.monai else {})
        table = compare(counts, Path(place), labels, options.threads)
        print(f"with {options.threads} threads; seconds per sample; memory beyond the libraries, in GiB, at its peak")
        print("| | samples | median | mean | longest | CPU, median | memory |\n|---|---|---|---|---|---|---|")
        for name, part in [*table.groupby("way"), *table[table["way"] == "ours"].groupby("kind")]:
            seconds, cpu, peak = (part[column] for column in ("seconds", "cpu", "peak"))
            numbers = (seconds.median(), seconds.mean(), seconds.max(), cpu.median(), peak.max())
            print(f"| {name} | {len(part)} |", *(f"{number:.2f} |" for number in numbers))
        if options.monai:
            medians = table.groupby("way")["seconds"].median()
            print(f"ours is {medians['monai'] / medians['ours']:.1f} times as fast")
        blocks = Blocks(EXPERIMENT, labels, Path(place))
        print(f"3D: {throughput(blocks, options.threads, options.samples):.2f} samples per second")
        slices = Slices(PLANAR, labels, Path(place), spacing=EXPERIMENT.spacing)
        print(f"2D: {throughput(slices, options.threads, 10 * options.samples):.2f} samples per second")


if __name__ == "__main__":
    main()
