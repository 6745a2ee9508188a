"""The results of `motors.detect`, and its output folder."""

import json
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from motors.detection import heatmap
from motors.ensemble.bundle import Bundle
from motors.ensemble.combine import fuse_grids
from motors.picks import formats as picks
from motors.tables import POINT, SIZE, read_table
from motors.volumes.formats import read
from motors.volumes.sources import CALL, DRAWN
from motors.workspace.files import read_json, renamed, write_json, write_table
from motors.workspace.progress import progress

TABLE = "tomograms.csv"  # in the output: one row per tomogram
WORK = "work"  # folder in the output: candidates and heatmaps of each network
ABOUT = ["tomo_id", "motor", "detections", "score", *SIZE, "spacing", "path", "fault"]


@dataclass(frozen=True, eq=False)
class Detections:
    """Candidates and detections in tomograms; true if any tomogram has a detection.

    Parameters
    ----------
    tomograms : one row each: tomo_id; motor, whether there is one; detections, how many; score, of the best candidate;
        size_z, size_y, size_x in voxels; spacing in ångström; path; fault, why it could not be predicted, or empty
    table : the detections, best first in each tomogram: tomo_id; z, y, x in voxels, integers are centres; score
    candidates : the same, with those below the threshold or beyond the maximum number
    threshold : the lowest score of a detection
    precision, recall : of decisions about tomograms by their best candidate, at this threshold, out-of-fold;
        None if not measured
    notes : warnings and remarks, a sentence each
    networks : the networks and settings used
    """

    tomograms: pd.DataFrame
    table: pd.DataFrame
    candidates: pd.DataFrame
    threshold: float
    precision: float | None = None
    recall: float | None = None
    notes: list[str] = field(default_factory=list)
    networks: Bundle | None = None

    def __bool__(self) -> bool:
        return len(self.table) > 0

    def __repr__(self) -> str:
        return f"{self.tomograms[ABOUT[:4]]}\n{self.summary}"

    @property
    def summary(self) -> str:
        """The threshold and its precision and recall, in a sentence."""
        if self.precision is None or self.recall is None:
            return f"a motor scores {self.threshold:.3g} or more, which nobody has calibrated for these networks"
        right = f"{self.precision:.0%} of such tomograms were right, {self.recall:.0%} of those with a motor were found"
        return f"a motor scores {self.threshold:.3g} or more; out-of-fold {right}"


def claim_folder(out: Path, settings: dict[str, Any], sources: Iterable[str], force: bool) -> list[str]:
    """Write a call's settings into `out` (FileExistsError if it holds anything else); return ids of a former call.

    It is called before anything is computed, and again before results are written: another call may have ended there.
    """
    path = out / CALL
    if (out.exists() or out.is_symlink()) and not out.is_dir():
        raise FileExistsError(f"{out} is a file, or leads nowhere: give a folder for what is found")
    settings = json.loads(json.dumps(settings, default=float))  # as they will be read again: a tuple is a list there
    there, before = read_json(path), pd.DataFrame(columns=ABOUT)
    differing = sorted(name for name in {*there, *settings} if there.get(name) != settings.get(name))
    with suppress(ValueError) if force else nullcontext():
        before = read_table(out / TABLE, ABOUT) if (out / TABLE).is_file() and there else before
    lost = next((name for name in before["tomo_id"][before["fault"].isna()] if name not in sources), None)
    if (differing or lost) and out.is_dir() and any(out.iterdir()) and not force:
        kinds = [f"the result of a call with another {name}" if there else "other files" for name in differing]
        what = [*kinds, f"the result for {lost}, which this call leaves out"][0]
        raise FileExistsError(f"{out} holds {what}: give a new folder, or write over it with force (--force)")
    write_json(path, settings)
    return before["tomo_id"].tolist()


def remove_stale(out: Path, before: list[str], now: Iterable[str], formats: Iterable[str]) -> list[str]:
    """Return formats with those of an earlier call; remove its results for tomograms that are not in `now`."""
    there = [kind for kind in picks.FORMATS if any((out / picks.place(kind, name)).is_file() for name in before)]
    for name in set(before).difference(now):
        paths = [out / picks.place(kind, name) for kind in there if picks.FORMATS[kind].each]
        paths += [folder / f"{name}{end}" for folder in out.glob(f"{WORK}/*/") for end in (".csv", ".npz", ".source")]
        for path in [*paths, out / DRAWN / f"{name}.png"]:
            path.unlink(missing_ok=True)
    return list(dict.fromkeys([*formats, *there]))


def write_results(
    found: Detections, sources: dict[str, Path], out: Path, kinds: Iterable[str], plot: bool, reading: dict[str, Any]
) -> None:
    """Write the tables, and with `plot` pictures of the tomograms that were predicted."""
    known = found.tomograms[found.tomograms["spacing"].notna()]
    picks.write(out, found.table, known, kinds)
    for row in progress(known.to_dict("records"), title="pictures") if plot else ():
        from matplotlib.image import imsave

        from motors.visualization.detections import picture

        tomogram = read(sources[row["tomo_id"]], spacing=row["spacing"], name=row["tomo_id"], **reading)
        mine = found.table[found.table["tomo_id"] == row["tomo_id"]]
        cells = fuse_grids(heatmap.load_heatmaps(out / WORK, row["tomo_id"]), found.networks.votes).cells
        image = picture(tomogram, mine[POINT].to_numpy(), mine["score"].to_numpy(), cells)
        with renamed(out / DRAWN / f"{row['tomo_id']}.png") as partial:
            imsave(partial, image, origin="upper", cmap="gray")  # regardless of the user's style
    write_table(out / TABLE, found.tomograms)
