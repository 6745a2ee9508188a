"""Many tomograms: detected one after the other, what is current taken from before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from motors.detection.detector import _candidates, _folder, _grids, _opened, _Resampled, _resampled
from motors.detection.engine import Network
from motors.detection.heatmap import Grid, keep_grids
from motors.experiments.config import Experiment
from motors.tables import CANDIDATE, join
from motors.volumes.tomogram import Tomogram
from motors.workspace.files import write_table
from motors.workspace.progress import progress


def detect_all(
    network: Network,
    experiment: Experiment,
    tomograms: Mapping[str, str | Path] | Iterable[Tomogram],
    output: str | Path,
    *,
    spacing: float | Mapping[str, float] | None = None,
    run: str = "",
    symmetries: Sequence[str] = ("zyx",),
    average: bool = False,
    threshold: float = 0.05,
    most: int = 100,
    mend: bool = True,
    keep: bool = False,
    title: str = "detect",
    **options: Any,
) -> pd.DataFrame:
    """Return the candidates of many tomograms; those of each are kept on disk as soon as they are found.

    One CSV per tomogram goes to a folder in `output` that is named after the experiment and a hash of its weights, of
    these settings and of the library's code for this. A tomogram that comes by its path and whose CSV is there, newer
    than all its files, is not computed again.

    Parameters
    ----------
    network, experiment, run, symmetries, average, threshold, most, options : as for `detect`
    tomograms : files or folders by name, or the tomograms themselves; the next one is read while one is computed
    output : folder, made if necessary
    spacing : ångström per voxel of tomograms that do not know their own: one number, or one for each name
    mend : True looks for damaged grey levels, puts wrapped ones right before networks see them, and notes what it found
        in `output/findings`, see `volumes.findings`; False takes all tomograms as they are
    keep : keep the heatmaps too, for `kept`: one for each orientation, in an `.npz` beside the CSV. As float16 they
        have 1.3 MB for a tomogram of the competition, before they are compressed
    title : what the progress line says

    Returns
    -------
    All candidates, see `detect`, in the order of the tomograms
    """
    run, notes = run or experiment.name, Path(output) / "findings" if mend else None
    settings = {"run": run, "symmetries": list(symmetries), "average": average, "threshold": threshold, "most": most}
    spacing = dict(spacing) if hasattr(spacing, "keys") else spacing
    folder = _folder(Path(output), network, experiment, settings | options | {"spacing": spacing, "mend": mend})
    names, paths = [], tomograms if isinstance(tomograms, Mapping) else {}

    def missing() -> Iterator[_Resampled | None]:
        """Yield the tomograms that have no file, None for those that have, and note all names."""
        for each in tomograms:
            names.append(name := each if paths else each.name)
            if _is_done(folder / f"{name}.csv", paths.get(name), keep):
                yield None
            else:
                own = spacing.get(name) if isinstance(spacing, dict) else spacing
                yield _resampled(_opened(paths.get(name, each), name, notes), experiment, own)

    with progress(total=len(tomograms) if hasattr(tomograms, "__len__") else None, title=title) as meter:
        for ready in _ahead(missing()):
            if ready:
                grids = _grids(network, experiment, ready, symmetries=symmetries, average=average, **options)
                _write(folder / f"{ready.name}.csv", grids, _candidates(ready.name, run, grids, threshold, most), keep)
            meter.advance()
    return join(pd.read_csv(folder / f"{name}.csv", dtype=CANDIDATE) for name in names)


def _write(path: Path, grids: Mapping[str, Grid], candidates: pd.DataFrame, keep: bool) -> None:
    """Keep the candidates of a tomogram, and first its heatmaps beside them if wanted."""
    if keep:
        keep_grids(path.with_suffix(".npz"), grids)
    write_table(path, candidates)


def _is_done(file: Path, source: str | Path | None, keep: bool) -> bool:
    """Return whether `file`, and the heatmaps beside it if wanted, are there and no older than what they are of."""
    files = [file, file.with_suffix(".npz")] if keep else [file]
    if source is None or not all(each.is_file() for each in files):
        return False
    source = Path(source)
    since = max(each.stat().st_mtime for each in (source, *(source.rglob("*") if source.is_dir() else ())))
    return all(each.stat().st_mtime >= since for each in files)


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Yield the items, the next of which is made by a thread meanwhile."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, items, end)
        while (item := waiting.result()) is not end:
            waiting = thread.submit(next, items, end)
            yield item
