"""The rehearsal of the submission: notebook 90 on many small tomograms, some damaged in every way, against the clock.

It prints one JSON with figures and fails unless every tomogram has its row and every fault is in the report.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
import toys
from benchmarks.measured import save

from motors.experiments import catalogue
from motors.kaggle import submission
from motors.networks import checkpoints
from motors.networks.factory import build
from motors.tables import read_table
from motors.volumes import slices
from motors.workspace import paths
from motors.workspace.files import write_json

SHARE = 0.05  # of tomograms that are damaged
FEW, MANY = [9], [3, 4, 5, 6, 9]  # slices: repaired from their neighbours, and not
NETWORKS = {"20_train_resnext50": "resnext50", "25_train_efficientnet_lite0": "efficientnet_lite0"}


def spoil(path: Path, kind: str) -> None:
    """Damage one slice."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    data = path.read_bytes()
    path.unlink()
    if kind == "unreadable":
        path.mkdir()
    elif kind != "missing":
        changed = {
            "truncated": data[: len(data) // 2],
            "empty": b"",
            "foreign": b"<html>404 not found</html>",
            "odd-sized": cv2.imencode(".jpg", picture[:-8])[1].tobytes(),
            "coloured": cv2.imencode(".jpg", np.dstack([picture, picture // 2, picture]))[1].tobytes(),
            "16-bit PNG": cv2.imencode(".png", picture.astype(np.uint16) * 200)[1].tobytes(),
        }
        path.write_bytes(changed[kind])


KINDS = ("truncated", "empty", "foreign", "missing", "odd-sized", "coloured", "unreadable", "16-bit PNG")


def damage(folder: Path, number: int) -> str:
    """Damage a tomogram in one of all ways; return which."""
    whole = ("no slices", "one slice", "no folder")
    ways = [f"{kind}, {amount}" for kind in KINDS for amount in ("few", "many")] + list(whole)
    way = ways[number % len(ways)]
    if way in whole:
        for path in sorted(folder.iterdir())[way == "one slice" :]:
            path.unlink()
        if way == "no folder":
            folder.rmdir()
        return way
    kind, _, amount = way.partition(", ")
    for k in FEW if amount == "few" else MANY:
        spoil(folder / f"slice_{k:04d}.jpg", kind)
    return way


def simulate(competition: Path, count: int, seed: int = 0) -> dict[str, str]:
    """Write the test half of a competition; return how tomograms are damaged, by name."""
    rng, damaged = np.random.default_rng(seed), {}
    for k in range(count):
        folder = competition / "test" / f"tomo_{rng.integers(1 << 32):08x}"
        shape = (int(rng.integers(24, 41)), *(int(side) for side in rng.integers(60, 131, 2)))
        centre = [rng.uniform(0.2, 0.8) * side for side in shape]
        axes = np.ogrid[tuple(map(slice, shape))]
        square = sum(((axis - c) / 8) ** 2 for axis, c in zip(axes, centre, strict=True))
        voxels = rng.normal(120, 20, shape) - 60 * np.exp(-0.5 * square)
        slices.write_slices(folder, voxels.clip(0, 255).astype(np.uint8))
        if k % round(1 / SHARE) == 3:
            damaged[folder.name] = damage(folder, len(damaged))
        sample = competition / "names"
        with sample.open("a") as names:
            names.write(f"{folder.name}\n")
    names = sample.read_text().split()
    sample.unlink()
    axes = dict.fromkeys(submission.COLUMNS[1:], -1)
    pd.DataFrame({"tomo_id": names}).assign(**axes).to_csv(competition / "sample_submission.csv", index=False)
    return damaged


def workspace(root: Path) -> paths.Workspace:
    """Make a workspace with the notebooks, two networks that have learnt nothing, and an ensemble of them."""
    toys.workspace(root)
    shutil.rmtree(root / "notebooks")
    shutil.copytree(toys.REPOSITORY / "notebooks", root / "notebooks")
    home, members = paths.find(root), []
    for notebook, name in NETWORKS.items():
        torch.manual_seed(0)
        experiment = catalogue.of(name, "smoke")
        network = build(experiment)
        list(network.parameters())[-1].data.zero_()  # the bias of the last layer: doubtful everywhere
        checkpoints.save(network, experiment, home.run(notebook, "smoke").folder / "weights")
        views = ("yx", "xy") if experiment.is_2d else ("zyx", "zxy")
        members += [{"run": f"{notebook}/smoke", "symmetry": view, "weight": 1.0} for view in views]
    parts = enumerate(member["run"] for member in members)
    worth = {run: {"without it": {"F2": k / 10}, "alone": {"quantile": 0.5}} for k, run in parts}
    ensemble = {"method": "distance", "quantile": 0.5, "skip": 0.0, "members": members, "leave_one_out": worth}
    write_json(home.run("40_ensemble", "smoke").folder / "ensemble.json", ensemble)
    return home


def memory(root: int) -> dict[int, int]:
    """Return the resident memory in MiB of a process and of all below it."""
    parents, sizes = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            parents[int(path.name)], sizes[int(path.name)] = (
                int(stat[1]),
                int(stat[21]) * os.sysconf("SC_PAGESIZE") >> 20,
            )
        except (OSError, IndexError):
            continue  # it has just ended
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return {pid: sizes.get(pid, 0) for pid in family}


def run(home: paths.Workspace, hours: float) -> tuple[float, list[int]]:
    """Run notebook 90; return its seconds, and the memory of all its processes together every second, in MiB."""
    line = [sys.executable, "-m", "motors", "run", "notebooks/90_submit.ipynb"]
    given = {"PROFILE": "smoke", "POLICY": "carry on", "HOURS": hours, "DEVICES": "cpu cpu", "SPACING": 13.1}
    for name, value in given.items():
        line += ["-p", name, str(value)]
    begin, sizes = time.monotonic(), []
    environment = os.environ | {"PYTHONPATH": str(toys.REPOSITORY / "lib"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(line, cwd=home.root, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            sizes.append(sum(memory(process.pid).values()))
            time.sleep(1)
    if process.returncode:
        raise SystemExit(f"notebook 90 ended with {process.returncode}: its copy is below {home.outputs}")
    return time.monotonic() - begin, sizes


def main() -> None:
    """Rehearse and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tomograms", type=int, default=900)
    parser.add_argument("--hours", type=float, default=1.0, help="time budget of the notebook")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = workspace(Path(folder) / "rehearsal")
        competition = home.new_dataset("motors-simulated-smoke")
        damaged = simulate(competition, asked.tomograms)
        seconds, sizes = run(home, asked.hours)
        output = home.run("90_submit", "smoke").folder
        ids = read_table(competition / "sample_submission.csv").tomo_id.tolist()
        shapes = submission.shapes({name: competition / "test" / name for name in ids})
        table = submission.read_and_validate(output / "submission.csv", ids, shapes)
        faults, passes = read_table(output / "faults.csv"), pd.read_csv(output / "passes.csv")
    lost = {name for name, way in damaged.items() if not way.endswith(", few")}
    half, warm = sizes[len(sizes) // 2 :], sizes[len(sizes) // 4 : len(sizes) // 2]
    figures = {
        "tomograms": asked.tomograms,
        "budget, hours": asked.hours,
        "seconds": round(seconds),
        "rows": len(table),
        "motors": int((table["Motor axis 0"] >= 0).sum()),
        "damaged": len(damaged),
        "reported": len(faults),
        "repaired from neighbours": len(damaged) - len(lost),
        "passes": dict(zip(passes.run + " " + passes.symmetry, passes.state, strict=True)),
        "peak memory of all processes, MiB": max(sizes),
        "peak in the second quarter and second half, MiB": [max(warm, default=0), max(half, default=0)],
    }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    assert set(faults.tomo_id) == lost, sorted(set(faults.tomo_id) ^ lost)
    found = (
        f"{seconds:.0f} s for {len(passes)} passes by two processes; {len(table)} rows, all valid; of {len(damaged)}"
        f" damaged {len(faults)} reported, {len(damaged) - len(lost)} repaired; at most {max(sizes)} MiB"
    )
    path = save("rehearsal", {f"`90_submit` on {asked.tomograms} small tomograms": found}, figures)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
