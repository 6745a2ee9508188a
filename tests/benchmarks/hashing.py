"""What it costs to know what a result was made from: the hashes of one tomogram beside the work that is done on it.

python tests/benchmarks/hashing.py  # 400 × 1400 × 1050 voxels at 13.1 Å, or three sides and a spacing
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from motors.detection.tiling import plan
from motors.experiments import catalogue
from motors.networks.factory import build
from motors.volumes import formats, quality_control, resampling
from motors.volumes.prepared import is_current, volume_digest, volume_inputs, write_prepared
from motors.workspace.code_hash import code_of


def timed(what: str, work, times: dict[str, float]):
    """Do it, note the CPU seconds of all cores, and return what came."""
    begin = time.process_time()
    found = work()
    times[what] = time.process_time() - begin
    return found


def main() -> None:
    """Print CPU seconds of each, and the share of the hashes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("numbers", nargs="*", type=float, default=[400, 1400, 1050, 13.1])
    *shape, spacing = parser.parse_args().numbers
    depth, height, width = map(int, shape)
    experiment, rng, hashes, work = catalogue.get("resnext50"), np.random.default_rng(0), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        stack = Path(folder) / "tomo"
        stack.mkdir()
        for z in range(depth):
            picture = cv2.GaussianBlur(rng.normal(128, 60, (height, width)), (0, 0), 1.5)
            cv2.imwrite(str(stack / f"slice_{z:04d}.jpg"), np.clip(picture, 0, 255).astype(np.uint8))
        settings = {"spacing": spacing, "target": list(experiment.spacing), "by": "linear"}
        timed("code of the library", lambda: code_of("motors.training.run", "motors.networks.factory"), hashes)
        inputs = timed("slices", lambda: volume_inputs(folder, "tomo", stack, settings), hashes)
        voxels = timed("read", lambda: formats.read(stack, spacing=spacing).voxels, work)
        voxels, _ = timed("repair", lambda: quality_control.repair(voxels, compressed=True), work)
        small = timed("resample", lambda: resampling.resample(voxels, spacing, experiment.spacing, by="linear"), work)
        timed("write, with its digest", lambda: write_prepared(folder, "tomo", small, inputs), hashes)
        timed("asked again", lambda: [is_current(folder, "tomo", inputs), volume_digest(folder, "tomo")], hashes)
        network, tiles = build(experiment).eval(), len(plan(small.shape, experiment).starts)
        with torch.inference_mode():
            tile = torch.zeros(1, 1, *experiment.patch)
            timed("forward", lambda: network(tile), work)
        work["forward"] *= tiles
    for name, seconds in (hashes | work).items():
        print(f"{name:<24}{seconds:>9.2f} s")
    without = sum(work.values()) - work["forward"]
    print(
        f"{sum(hashes.values()) / sum(work.values()):.2%} of it all, {sum(hashes.values()) / without:.2%} of preparing"
    )


if __name__ == "__main__":
    main()
