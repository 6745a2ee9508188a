"""What the plan of tiles changes: motors found by ours beside those of the original's windows, on the same networks.

    python tests/benchmarks/windows.py               # after make demo: its networks, its held-out tomograms
    python tests/benchmarks/windows.py --count 20    # fewer tomograms

*original*: windows of the training patch, the last one flush with the end, every logit at the nearest cell, all
counting alike. *ours*: the default of `motors.detection`. A motor is found by a candidate within 1000 Å whose score is
at least `LEAST`. A picture of how far the two candidates are apart lies beside the JSON.
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import numpy as np
from measured import ROOT, save

from motors import matching
from motors.detection.detector import detect
from motors.labels import formats as labels_formats
from motors.networks import checkpoints
from motors.tables import POINT, read_table
from motors.volumes import formats
from motors.workspace.paths import find
from motors.workspace.progress import progress

LEAST = 0.1  # of a score: the EfficientNet of the demo is sure of little


def compared(network, experiment, tomogram, motors: np.ndarray) -> np.ndarray:
    """Return where each way finds each motor, `(2, n, 3)` in voxels; NaN where it does not."""
    view, places = "yx" if experiment.is_2d else "zyx", np.full((2, *motors.shape), np.nan)
    for way, original in enumerate((True, False)):
        found = detect(network, experiment, tomogram, symmetries=[view], original=original)
        points = found[found.score >= LEAST][POINT].to_numpy()
        for motor, point, _ in matching.nearest_pairs(motors, points, spacing=tomogram.spacing):
            places[way, motor] = points[point]
    return places


def main() -> None:
    """Measure, draw, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="tomograms; by default all that were held out")
    home = find(ROOT)
    trained = [run for kind in sorted(home.outputs.glob("2?_train_*")) for run in home.runs(kind.name, "demo", 0)]
    trained = [run for run in trained if not run.tag and checkpoints.is_whole(run.folder / "weights")]
    count = parser.parse_args().count
    if not trained:
        print("windows: there is no network of the demo to compare with; run make demo first")
        return
    tables = trained[0].input("10_prepare_labels")
    folds = read_table(tables / "folds.csv")
    names = folds.tomo_id[folds.fold == 0].tolist()[:count]
    known = labels_formats.read(tables)
    spacings = known.tomograms.set_index("tomo_id").spacing
    names = [name for name in names if name in set(known.motors.tomo_id)]
    rows = []
    figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for run in trained:
        network, experiment = checkpoints.load(run.folder / "weights")
        places = []
        for name in progress(names, title=run.notebook):
            tomogram = formats.read(run.competition / "train" / name, spacing=spacings[name])
            motors = known.motors[known.motors.tomo_id == name][POINT].to_numpy()
            places.append(compared(network.eval(), experiment, tomogram, motors) * tomogram.spacing)
        original, ours = np.concatenate(places, axis=1)
        seen, found = np.isfinite(original[:, 0]), np.isfinite(ours[:, 0])
        both = np.linalg.norm(original - ours, axis=1)[seen & found]
        alone = int((seen & ~found).sum()), int((found & ~seen).sum())
        rows.append({"network": run.notebook, "apart": both.tolist(), "motors": len(ours), "alone": alone})
        axes.ecdf(both, label=f"{run.notebook[3:].removeprefix('train_')}: {len(both)} of {len(ours)}, {alone}")
    axes.set(xlabel="ångström between what our tiles and the original's windows find", ylabel="share of motors")
    axes.legend(fontsize="small", title="found by both, (original's, ours alone)", title_fontsize="small")
    apart, alone = np.concatenate([row["apart"] for row in rows]), np.sum([row["alone"] for row in rows], axis=0)
    lines = {
        "our tiles beside the original's windows": f"{len(apart)} of {sum(row['motors'] for row in rows)} motors of"
        f" {len(rows)} networks found by both, {np.median(apart):.0f} Å apart in the middle, 95 % within"
        f" {np.quantile(apart, 0.95):.0f} Å; {alone[0]} by the original's alone, {alone[1]} by ours"
    }
    path = save("windows", lines, rows, tomograms=len(names), threshold=LEAST)
    figure.savefig(path.with_suffix(".png"), dpi=130)
    print("\n".join(f"{what}: {found}" for what, found in lines.items()))
    print(path)


if __name__ == "__main__":
    main()
