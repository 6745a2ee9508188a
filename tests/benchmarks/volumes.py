"""Time and memory of reading, stretching and resampling one tomogram of average size, beside plain OpenCV and torch.

Run `python tests/benchmarks/volumes.py`, or with three sides and a spacing behind it. Every line is measured in a
process of its own, in turn, and the median counts; seconds of all cores together also tell something on a busy machine.
Memory is what the process takes for itself at its peak, the inputs included unless they are mapped from disk, libraries
not: what torch and the others take when they are imported is subtracted.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from measured import save

from motors.volumes import formats, quality_control, resampling
from motors.volumes.levels import unwrap
from motors.volumes.prepared import write_prepared
from motors.volumes.slices import slice_paths, write_slices
from motors.workspace.progress import progress

SHAPE = (400, 1400, 1050) if len(sys.argv) < 2 else tuple(int(side) for side in sys.argv[1:4])
SPACING = 13.1 if len(sys.argv) < 5 else float(sys.argv[4])
TARGETS = ((16.0, 16.0, 16.0), (32.0, 16.0, 16.0))
ROUNDS = 3


def make(folder: Path) -> None:
    """Write a noisy tomogram as slices, as an array of bytes and as one of float32."""
    rng = np.random.default_rng(0)
    noise = rng.normal(128, 90, [side + 400 for side in SHAPE[1:]]).astype(np.float32)
    plane = np.clip(cv2.GaussianBlur(noise, (5, 5), 1.2), 0, 255)
    floats = np.lib.format.open_memmap(folder / "floats.npy", "w+", np.float32, SHAPE)
    for k in range(SHAPE[0]):
        floats[k] = np.roll(plane, (7 * k, 13 * k), (0, 1))[: SHAPE[1], : SHAPE[2]]
    levels = floats.astype(np.uint8)
    write_prepared(folder, "levels", levels)
    write_slices(folder / "slices", levels)
    write_slices(folder / "wrapped", unwrap(levels, 100))


def read_plainly(folder: Path) -> np.ndarray:
    """Read slices with OpenCV and check nothing."""
    paths = slice_paths(folder / "slices")
    voxels = np.empty(SHAPE, np.uint8)

    def decode(k: int) -> None:
        voxels[k] = cv2.imread(str(paths[k]), cv2.IMREAD_UNCHANGED)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(len(paths))))
    return voxels


def plainly(folder: Path) -> np.ndarray:
    """Read and resample as the original solution did: eight threads decode, then all is interpolated as float."""
    return resample_in_torch(read_plainly(folder), TARGETS[0])


def ours(folder: Path) -> np.ndarray:
    """Read with every check, and resample."""
    return resampling.resample(formats.read(folder / "slices").voxels, SPACING, TARGETS[0])


def read(folder: Path) -> np.ndarray:
    """Read slices with every check."""
    return formats.read(folder / "slices").voxels


def stretch(folder: Path) -> np.ndarray:
    """Bring float32 that is mapped from disk to grey levels."""
    return formats.read(folder / "floats.npy").voxels


def load(folder: Path) -> np.ndarray:
    """Read grey levels into memory."""
    return np.load(folder / "levels.npy")


def resample(voxels: np.ndarray, target: tuple[float, float, float]) -> np.ndarray:
    """Resample with the library."""
    return resampling.resample(voxels, SPACING, target)


def resample_in_torch(voxels: np.ndarray, target: tuple[float, float, float]) -> np.ndarray:
    """Resample as the original solution did."""
    import torch

    torch.set_num_threads(2)
    scale = tuple(SPACING / length for length in target)
    whole = torch.from_numpy(voxels)[None, None].float()
    settings = {"scale_factor": scale, "mode": "trilinear", "align_corners": False, "recompute_scale_factor": False}
    return torch.nn.functional.interpolate(whole, **settings)[0, 0].to(torch.uint8).numpy()


def prepare(folder: Path, slices: str = "slices") -> np.ndarray:
    """Do all that `11_prepare_volumes` does to a tomogram."""
    tomogram = formats.read(folder / slices, spacing=SPACING)
    repaired, found = quality_control.repair(tomogram.voxels, compressed=True)
    quality_control.note(folder / "findings", tomogram.name, found)
    voxels = resampling.resample(repaired, SPACING, TARGETS[0])
    return np.load(write_prepared(folder / "prepared", slices, voxels), mmap_mode="r")


def examine(voxels: np.ndarray, target: tuple[float, float, float]) -> np.ndarray:
    """Look for damaged grey levels, as prediction does."""
    return np.full((1, 1, 1), len(quality_control.examine(voxels)))


def taken() -> float:
    """GiB of memory that this process has for itself."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 2**20


def measure(work: Callable, target: tuple[float, float, float] | None, folder: Path, answers) -> None:
    """Send the seconds of `work`, those of all cores, the peak memory in GiB, and a sum that tells results apart."""
    libraries = taken()  # torch among them, which `measured` imports
    inputs = (folder,) if target is None else (load(folder), target)
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], taken() - libraries)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin, busy = time.perf_counter(), time.process_time()
    result = work(*inputs)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    done.set()
    watcher.join()
    answers.put((seconds, busy, peak[0], int(result[::7, ::7, ::7].sum(dtype=np.int64))))


def main() -> None:
    """Print the table."""
    context = multiprocessing.get_context("spawn")
    lines = [("read slices, plain OpenCV", read_plainly, None), ("read slices", read, None)]
    lines += [("read and resample, the original's way", plainly, None), ("read and resample", ours, None)]
    lines += [("float32 to grey levels", stretch, None), ("look for damage", examine, TARGETS[0])]
    lines += [("slices to prepared volume", prepare, None)]
    lines += [("the same, grey levels wrapped", partial(prepare, slices="wrapped"), None)]
    for target in TARGETS:
        lines += [
            (f"resample to {target}, torch", resample_in_torch, target),
            (f"resample to {target}", resample, target),
        ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        found: dict[str, list] = {title: [] for title, *_ in lines}
        for _ in range(ROUNDS):
            for title, work, target in progress(lines, title="lines"):
                answers = context.Queue()
                process = context.Process(target=measure, args=(work, target, folder, answers))
                process.start()
                found[title].append(answers.get())
                process.join()
    (theirs, _, room, _), (mine, _, little, _) = (
        [statistics.median(column) for column in zip(*found[title], strict=True)]
        for title in ("read and resample, the original's way", "read and resample")
    )
    figure = f"{theirs / mine:.1f} times as fast as the original's way: {mine:.1f} s and {little:.2f} GiB, "
    figure += f"not {theirs:.1f} s and {room:.2f} GiB"
    print(save("volumes", {f"slices of {SHAPE} to 16 Å": figure}, found, spacing=SPACING))
    print(f"{SHAPE} voxels of {SPACING} Å, median of {ROUNDS}\n")
    print("| what | seconds | of all cores | peak GiB | sum |\n|---|---|---|---|---|")
    for title, answers in found.items():
        seconds, busy, memory, sums = zip(*answers, strict=True)
        times = f"{statistics.median(seconds):.2f} | {statistics.median(busy):.2f}"
        print(f"| {title} | {times} | {max(memory):.2f} | {sums[0]} |")


if __name__ == "__main__":
    main()
