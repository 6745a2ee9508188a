"""Time over a factor of 16 in voxels, and memory over many tomograms: one tile size, whatever the tomogram.

    python tests/benchmarks/scaling.py                # five sizes, 100 tomograms: some three minutes on two cores
    python tests/benchmarks/scaling.py --count 20     # fewer

The network has random weights and a tile of at most 64 x 64 x 64 voxels. A picture lies beside the JSON.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from measured import save

from motors.detection import backends, engine
from motors.detection.queue import detect_all
from motors.experiments import catalogue
from motors.networks.factory import build
from motors.volumes.tomogram import Tomogram
from motors.workspace.progress import progress

SHAPES = [(64, 128, 128), (64, 128, 256), (64, 256, 256), (128, 256, 256), (128, 256, 512)]  # a factor of 16


def resident() -> float:
    """MiB of memory that this process has."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    """Measure, draw, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="tomograms")
    count = parser.parse_args().count
    experiment = replace(catalogue.of("resnext50", "demo"), patch=(64, 64, 64), overlap=0)
    network, rng = build(experiment).eval(), np.random.default_rng(0)
    quick, seconds = backends.make("rewritten", network, torch.zeros(1)), []
    for shape in progress(SHAPES, title="sizes"):
        voxels = rng.integers(0, 256, shape, dtype=np.uint8)
        begin = time.perf_counter()
        engine.logits(quick, experiment, voxels)
        seconds.append(time.perf_counter() - begin)
    millions = np.prod(SHAPES, axis=1) / 1e6
    power = float(np.polyfit(np.log(millions), np.log(seconds), 1)[0])
    memory: list[float] = []

    def tomograms():
        for k in range(count):
            sides = rng.integers(40, 160, 3)
            yield Tomogram(f"t{k:03d}", rng.integers(0, 256, sides, dtype=np.uint8), experiment.spacing[0])
            memory.append(resident())

    with tempfile.TemporaryDirectory() as folder:
        detect_all(network, experiment, tomograms(), folder, repair=False, title=f"memory of {count}")
    early, late = (max(memory[k : k + count // 4]) for k in (count // 4, count - count // 4))
    lines = {
        "time for 16 times the voxels": f"{seconds[-1] / seconds[0]:.1f} times (voxels to the power {power:.2f})",
        f"memory over {count} tomograms": f"at most {early:.0f} MiB in the second quarter, {late:.0f} in the last",
    }
    rows = {"voxels": millions.tolist(), "seconds": seconds, "MiB after each tomogram": memory}
    path = save("scaling", lines, rows, tile=experiment.patch)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    left.loglog(millions, seconds, "o-")
    left.set(xlabel="voxels, millions", ylabel="seconds", title=f"power {power:.2f}")
    right.plot(memory)
    right.set(xlabel="tomograms", ylabel="resident memory, MiB", ylim=(0, None))
    figure.savefig(path.with_suffix(".png"))
    print("\n".join(f"{what}: {found}" for what, found in lines.items()))
    print(path)


if __name__ == "__main__":
    main()
