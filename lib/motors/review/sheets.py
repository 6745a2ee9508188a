"""The disagreement sheet: a table of points to be decided on, and a picture of every tomogram in it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from motors.labels.table import Labels
from motors.review.disagreements import caption, verdicts
from motors.tables import POINT, read_table
from motors.visualization import plots
from motors.volumes.cuts import layer, slab
from motors.volumes.tomogram import Tomogram
from motors.workspace.files import json_sha256, renamed, write_table
from motors.workspace.progress import progress

BESIDE = 8  # voxels from the slice in the middle to its neighbours, as the original solution drew them


def sheet(labels: Labels, matches: pd.DataFrame, *, doubt: float = 0.0) -> pd.DataFrame:
    """Return the rows of `match` of all tomograms in which a label or a candidate has no partner.

    Labels without a candidate come first, then candidates without a label, the most confident first. Four columns are
    added: asked, whether a decision on this label or candidate is wanted; case, the number of the tomogram in this
    sheet; frame, the shape and spacing that its coordinates refer to; and image, the name of its picture: verdict,
    case, tomogram, shape and spacing, as in the original solution; then a hash of its numbered points, so that tags of
    another sheet are never mistaken for tags of this one.

    `matches` come from `match` with these `labels`. Labels whose candidates score below `doubt` are asked about too: a
    network that has memorised a wrong label finds it again, but seldom with the confidence that it has in a motor.
    """
    asked = matches["verdict"].isin(["FN", "FP"]) | ((matches["entry"] == "label") & (matches["score"] < doubt))
    strength = matches[asked].groupby("tomo_id")["score"].max()
    cases = pd.DataFrame({"verdict": verdicts(matches), "score": strength}).loc[strength.index]
    cases = cases.sort_values(["verdict", "score"], ascending=[True, False], kind="stable")
    frames, about = labels.frames(), cases["verdict"].items()
    points = matches[["entry", "number", *POINT]].round(2)
    groups = matches.groupby("tomo_id").groups.items()
    keys = {tomo_id: json_sha256(points.loc[rows].to_csv(index=False))[:6] for tomo_id, rows in groups}
    images = [
        f"{verdict}-{case:04d}-{tomo_id}-{frames[tomo_id].replace('@', '-spacing')}-{keys[tomo_id]}.jpg"
        for case, (tomo_id, verdict) in enumerate(about)
    ]
    images = [re.sub(r"[/\\]", "_", image) for image in images]  # an id may have them, a file name may not
    numbered = pd.DataFrame({"tomo_id": cases.index, "case": range(len(cases)), "image": images})
    table = matches.assign(asked=asked, frame=matches["tomo_id"].map(frames)).merge(numbered, on="tomo_id")
    return table.sort_values("case", kind="stable", ignore_index=True)


def write_sheet(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a sheet as CSV and return the path; raises ValueError if decisions or other files would be lost."""
    path = Path(path)
    if path.is_file() and "decision" in map(str.lower, read_table(path)):
        raise ValueError(f"{path.name} holds decisions and would be written over: rename it to decisions.csv")
    return write_table(path, table)


def write_images(
    table: pd.DataFrame,
    read: Callable[[str], Tomogram],
    folder: str | Path,
    *,
    heatmap: Callable[[Tomogram], np.ndarray] | None = None,
) -> list[Path]:
    """Draw every case of a sheet into `folder`, under the names in the sheet, and return the paths.

    `read` returns the tomogram of an id, with its spacing; `heatmap` the prediction of the networks for a tomogram,
    `(z, y, x)` in [0, 1], a grid that covers it. The folder is made if necessary; upload its content to CVAT.
    """
    import matplotlib.pyplot as plt

    paths = []
    cases = table.groupby(["tomo_id", "image"], sort=False)
    with progress(total=len(cases), title="disagreement sheet") as meter, plt.style.context("default"):
        for (tomo_id, image), rows in cases:
            tomogram = read(tomo_id)
            figure = picture(rows, tomogram, None if heatmap is None else heatmap(tomogram))
            with renamed(Path(folder) / image) as partial:
                figure.savefig(partial, format="jpg", dpi=80)
            plt.close(figure)
            paths.append(Path(folder) / image)
            meter.advance()
    return paths


def picture(rows: pd.DataFrame, tomogram: Tomogram, heatmap: np.ndarray | None = None):
    """Return a figure of one case: for each label and candidate its slice, the slices around it, and the heatmap.

    Labels have amber corners around them, candidates blue cross-hairs; all slices are means of five. Matched pairs are
    shown, too, as they tell what else is in the tomogram. `rows` are those of one tomogram in a `sheet`, `heatmap` is
    `(z, y, x)` in [0, 1], a grid that covers the tomogram.
    """
    columns = 3 if heatmap is None else 4
    figure, grid = plots.panels(columns * len(rows), columns=columns, size=2.8)
    depth = len(tomogram.voxels)
    for k, row in enumerate(rows.to_dict("records")):
        views = grid[columns * k : columns * (k + 1)]
        z, *centre = (row[axis] for axis in POINT)
        for axes, step in zip(views, (0, -BESIDE, BESIDE), strict=False):
            plane = int(np.clip(round(z) + step, 0, depth - 1))
            mark = {"motors_yx" if row["entry"] == "label" else "candidates_yx": [centre]}
            image = slab(tomogram.voxels, plane)
            plots.slice_image(axes, image, tomogram.spacing, title=f"z = {plane}", levels=None, **mark)
        if heatmap is not None:
            image, cells = slab(tomogram.voxels, z), layer(heatmap, z, depth)
            plots.heatmap(views[3], image, cells, tomogram.spacing, title="heatmap", levels=None)
        views[0].set_title(caption(row), fontsize=9, color=plots.VERDICTS[row["verdict"]])
    figure.suptitle(f"{tomogram.name}, {tomogram.spacing:g} Å per voxel", fontsize=10)
    return figure
