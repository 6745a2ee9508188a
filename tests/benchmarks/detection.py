"""A whole tomogram through each network: the original solution's procedure, MONAI's, and ours, in turn in one run.

    python tests/benchmarks/detection.py                          # 3D networks, half the sides of a hidden tomogram
    python tests/benchmarks/detection.py --scale 1 --no-monai     # whole ones, 40 minutes on two cores
    python tests/benchmarks/detection.py --scale 1 --slices 30 --networks maxvit_tiny coat_medium --backend auto

*original*: its windows one by one, eager float32, the neck computed everywhere, memory as glibc hands it out. *monai*:
`sliding_window_inference` with a quarter of overlap and Gaussian weights. *ours*: tight tiles, batch norms and stem
folded, the neck where asked, pages of memory kept. Of 2D networks both have the same windows, so a few slices have the
ratio of all. Each runs in a process of its own.
Weights are random: nothing is claimed about what is found. One JSON per run goes to `outputs/benchmarks`.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from measured import save
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from motors.detection import backends, engine
from motors.detection.tiling import plan
from motors.experiments import catalogue
from motors.networks.factory import build
from motors.networks.neck import Branch
from motors.workspace.progress import progress

HIDDEN = (327, 1146, 859)  # voxels of 16 ångström: 400 x 1400 x 1050 of 13.1
REFERENCE = 0.02  # share of the time that slow reference kernels of oneDNN may take, or the figures are of no use
T4 = 65e12 * 0.25  # multiplications and additions per second of a T4 in half precision, a quarter of its peak: a guess
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    begin = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


@contextmanager
def neck_everywhere():
    """Every branch of the neck computed on its whole level, then interpolated, as in the original."""
    ours = Branch.forward

    def forward(self, level, grid):
        for layer in self:
            level = layer(level)
        return functional.interpolate(level, size=tuple(grid), mode=self.mode)

    Branch.forward = forward
    try:
        yield
    finally:
        Branch.forward = ours


def peak() -> float:
    """Multiplications and additions per second of a large matrix product: the limit of this machine in float32."""
    matrix = torch.rand(2048, 2048, device=DEVICE)
    matrix @ matrix
    return 2 * 2048**3 / min(seconds(lambda: matrix @ matrix) for _ in range(5))


def reference_share(network: Callable, example: torch.Tensor) -> float:
    """The share of oneDNN's time that its reference kernels took, by what it says of each primitive it executes."""
    with tempfile.TemporaryFile("w+") as said, torch.inference_mode():
        output = os.dup(1)
        os.dup2(said.fileno(), 1)  # oneDNN writes there
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                network(example)
        finally:
            os.dup2(output, 1)
            os.close(output)
        said.seek(0)
        lines = re.findall(r"^onednn_verbose,.*?exec,\w+,\w+,([^,]*),.*,([\d.]+)$", said.read(), re.MULTILINE)
    times = [(kernel.startswith("ref"), float(took)) for kernel, took in lines]
    return sum(took for slow, took in times if slow) / max(sum(took for _, took in times), 1e-9)


def monai(network, experiment, voxels: np.ndarray) -> np.ndarray:
    """The same network in MONAI's engine."""
    from monai.inferers import sliding_window_inference

    tiles = torch.from_numpy(voxels)[None, None].to(DEVICE).float()
    with torch.inference_mode():
        return (
            sliding_window_inference(tiles, experiment.patch, 1, network, overlap=0.25, mode="gaussian").cpu().numpy()
        )


def parts(network: torch.nn.Module, tile: torch.Tensor, limit: float) -> dict[str, dict[str, float]]:
    """Gigaflop and seconds of each part of a network on one tile, and the share of the peak that it reaches."""
    times, begins = dict.fromkeys(dict(network.named_children()), 0.0), {}

    def before(name: str) -> None:
        begins[name] = time.perf_counter()

    def after(name: str) -> None:
        times[name] += time.perf_counter() - begins[name]

    with torch.inference_mode(), engine.kept_pages():
        with FlopCounterMode(display=False) as counter:
            network(tile)
        for name, part in network.named_children():
            part.register_forward_pre_hook(lambda *_, name=name: before(name))
            part.register_forward_hook(lambda *_, name=name: after(name))
        network(tile)
    counts = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    found = {name: (counts.get(f"{type(network).__name__}.{name}", 0), took) for name, took in times.items() if took}
    return {
        name: {"gigaflop": flops / 1e9, "seconds": took, "share of the measured peak": flops / took / limit}
        for name, (flops, took) in found.items()
    }


def setting(name: str, scale: float, slices: int | None) -> tuple:
    """The network, its settings, a tomogram of noise and our plan for it; the same in every process."""
    experiment = catalogue.get(name)
    if not experiment.is_2d:  # tiles shrink with the tomogram, and with them what a network needs around a motor
        window = tuple(32 * max(1, round(scale * side / 32)) for side in experiment.patch)
        experiment = replace(experiment, patch=window, spacing=tuple(each / scale for each in experiment.spacing))
    depth, *sides = (round(scale * side) for side in HIDDEN)
    depth = slices or depth
    shape = (round(depth * experiment.spacing[1] / experiment.spacing[0]), *sides)
    torch.manual_seed(0)
    voxels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return build(experiment).eval().to(DEVICE), experiment, voxels, plan(shape, experiment)


def ours(network, experiment, tiles, backend: str) -> tuple[Callable, str]:
    """The network as a backend computes it, and which that is."""
    if backend == "auto":
        return backends.choose(network, experiment, tiles.tile, device=DEVICE, tiles=10**6, batch=tiles.batch)[::-1]
    example = torch.zeros((tiles.batch, *(() if experiment.is_2d else (1,)), *tiles.tile), device=DEVICE)
    return backends.make(backend, network, example), backend


def timed(way: str, backend: str, *about) -> tuple[float, np.ndarray]:
    """Seconds of one way over the tomogram, after a single tile to warm up, and what it says."""
    network, experiment, voxels, tiles = setting(*about)
    options, tile = {"device": DEVICE, "tile": tiles.tile}, tiles.tile
    if way == "ours":
        network, _ = ours(network, experiment, tiles, backend)
    else:
        options, tile = {"device": DEVICE, "original": True, "batch": 1}, experiment.patch

    def predict(volume: np.ndarray) -> np.ndarray:
        if way == "monai":
            return monai(network, experiment, volume)
        with ExitStack() as stack:
            if way == "original":
                stack.enter_context(neck_everywhere())
                stack.enter_context(patch.object(engine, "kept_pages", nullcontext))
            return engine.logits(network, experiment, volume, **options)

    found = []
    predict(voxels[tuple(map(slice, tile))])
    return seconds(lambda: found.append(predict(voxels))), found[0]


def apart(way: str, *about) -> tuple[float, np.ndarray]:
    """What `timed` returns, in a process of its own: only ours asks for huge pages, and none finds memory in use."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = str(int(way == "ours"))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(timed, way, *about).result()


def measure(
    name: str, scale: float, rounds: int, backend: str, slices: int | None, limit: float, *, peer: bool = True
) -> dict:
    """Seconds of each way for one network, and how far what is predicted differs."""
    network, experiment, voxels, tiles = setting(name, scale, slices)
    quick, backend = ours(network, experiment, tiles, backend)
    one = torch.zeros((1, *(() if experiment.is_2d else (1,)), *tiles.tile), device=DEVICE)
    slow = reference_share(quick, one.expand(tiles.batch, *one.shape[1:])) if DEVICE.type == "cpu" else 0.0
    if slow > REFERENCE:
        raise SystemExit(
            f"{slow:.0%} of the time of {name} by {backend} went to reference kernels: use another backend"
        )
    ways = ["original", "ours", *(["monai"] if peer and not experiment.is_2d else [])]
    times, found = {way: [] for way in ways}, {}
    for way in progress(ways * rounds, title=name):
        took, found[way] = apart(way, backend, name, scale, slices)
        times[way].append(took)
    median = {way: statistics.median(each) for way, each in times.items()}
    off = np.abs(1 / (1 + np.exp(-found["ours"])) - 1 / (1 + np.exp(-found["original"])))
    return {
        "network": name, "shape": voxels.shape, "patch": experiment.patch, "tile": tiles.tile, "backend": backend,
        "windows": len(plan(voxels.shape, experiment, original=True).starts), "tiles": len(tiles.starts),
        "waste": len(tiles.starts) * math.prod(tiles.tile) / math.prod(voxels.shape),
        "share of reference kernels": slow,
        "seconds": median, "runs": times, "ratio": median["original"] / median["ours"],
        "parts of one tile, eager": parts(network, one, limit),
        "difference of probabilities, median and largest": [float(np.median(off)), float(off.max())],
    }  # fmt: skip


def main() -> None:
    """Measure, print a table, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnext50", "densenet121", "x3d_m"])
    parser.add_argument("--scale", type=float, default=0.5)
    parser.add_argument("--slices", type=int, help="as many as there are, if not given")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--backend", default="rewritten")
    parser.add_argument("--no-monai", action="store_true", help="whose engine takes the longest")
    options = parser.parse_args()
    limit, rows, lines = peak(), [], {}
    for name in options.networks:
        how = (options.scale, options.rounds, options.backend, options.slices, limit)
        row = measure(name, *how, peer=not options.no_monai)
        rows.append(row)
        stages = row["parts of one tile, eager"]
        row["gigaflop per tile"] = sum(each["gigaflop"] for each in stages.values())
        flops = row["gigaflop per tile"] * 1e9 * row["tiles"]
        whole = flops * math.prod(HIDDEN) / math.prod(row["shape"])
        row["share of the measured peak"] = flops / row["seconds"]["ours"] / limit
        row["hours for a pass over 900 on two T4, on paper"] = whole * 900 / (2 * T4) / 3600
        times = ", ".join(f"{way} {took:.1f} s" for way, took in row["seconds"].items())
        lines[f"{name}, {' x '.join(map(str, row['shape']))}"] = (
            f"{times}: {row['ratio']:.2f} times by {row['backend']}, {row['share of the measured peak']:.0%} of"
            f" {limit / 1e9:.0f} Gflop/s"
        )
        print(f"{name}: {list(lines.values())[-1]}", flush=True)
        for part, each in stages.items():
            reached = f"{each['seconds']:.2f} s, {each['share of the measured peak']:.0%} of the peak"
            print(f"  {part}: {each['gigaflop']:.1f} Gflop, {reached}", flush=True)
    print(save("detection", lines, rows, device=str(DEVICE), scale=options.scale))


if __name__ == "__main__":
    main()
