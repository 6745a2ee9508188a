"""What the plan of tiles changes: points found by ours beside those of the original's windows, on the same networks.

    python tests/benchmarks/windows.py               # after make demo: its networks, its held-out tomograms
    python tests/benchmarks/windows.py --count 20    # fewer tomograms

*original*: windows of the training patch, the last one flush with the end, every logit at the nearest cell, all
counting alike. *ours*: the default of `motors.detection`. Candidates of at least `LEAST` are paired within 1000 Å. A
picture of the distances lies beside the JSON.
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
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


def compared(network, experiment, tomogram) -> tuple[list[float], list[float]]:
    """Return how far the points that both find are apart, in ångström, and the scores of those that only one finds."""
    view = "yx" if experiment.is_2d else "zyx"
    found = [detect(network, experiment, tomogram, symmetries=[view], original=original) for original in (True, False)]
    one, other = (table[table.score >= LEAST] for table in found)
    pairs = matching.nearest_pairs(one[POINT].to_numpy(), other[POINT].to_numpy(), spacing=tomogram.spacing)
    alone = [
        one.score.drop(one.index[[k for k, _, _ in pairs]]),
        other.score.drop(other.index[[k for _, k, _ in pairs]]),
    ]
    return [apart for _, _, apart in pairs], pd.concat(alone).tolist()


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
    spacings = labels_formats.read(tables).tomograms.set_index("tomo_id").spacing
    rows, lines = [], {}
    figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for run in trained:
        network, experiment = checkpoints.load(run.folder / "weights")
        apart, alone = [], []
        for name in progress(names, title=run.notebook):
            tomogram = formats.read(run.competition / "train" / name, spacing=spacings[name])
            paired, single = compared(network.eval(), experiment, tomogram)
            apart, alone = apart + paired, alone + single
        median, most = np.quantile(apart, [0.5, 0.95]) if apart else (np.nan, np.nan)
        rows.append({"network": run.notebook, "ångström apart": apart, "scores of what one way alone finds": alone})
        lines[f"tiles beside the original's windows, {experiment.name}"] = (
            f"{len(apart)} points of both, {median:.0f} Å apart in the middle, 95 % within {most:.0f} Å; {len(alone)}"
            f" of one alone, with scores of {np.median(alone) if alone else 0:.2f} in the middle"
        )
        axes.ecdf(apart or [0], label=f"{run.notebook[3:].removeprefix('train_')} ({len(apart)}, {len(alone)} alone)")
    axes.set(xlabel="ångström between the point of our tiles and of the original's windows", ylabel="share of points")
    axes.legend(fontsize="small")
    path = save("windows", lines, rows, tomograms=len(names), threshold=LEAST)
    figure.savefig(path.with_suffix(".png"), dpi=130)
    print("\n".join(f"{what}: {found}" for what, found in lines.items()))
    print(path)


if __name__ == "__main__":
    main()
