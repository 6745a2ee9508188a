"""The candidates of one tomogram, or of many, each kept as soon as it is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from motors import volumes, workspace
from motors.experiments import Experiment
from motors.geometry import Shape
from motors.inference.grids import CANDIDATE, Grid, join, keep_grids
from motors.inference.tiling import Network, cell_strides, heatmap
from motors.volumes import Tomogram
from motors.workspace import sources


def detect(
    network: Network,
    experiment: Experiment,
    tomogram: Tomogram,
    *,
    spacing: float | None = None,
    symmetries: Sequence[str] = ("zyx",),
    average: bool = False,
    threshold: float = 0.05,
    most: int = 100,
    **options: Any,
) -> pd.DataFrame:
    """Return where a network believes that motors are in a tomogram.

    Parameters
    ----------
    network, experiment : as for `heatmap`
    tomogram : in any spacing
    spacing : ångström per voxel of a tomogram that does not know its own
    symmetries : names of orientations; each gives candidates of its own, as in the original solution
    average : True averages the orientations to one heatmap, which gives one list of candidates
    threshold : the lowest score of a candidate
    most : at most so many candidates in a list
    options : further parameters of `heatmap`

    Returns
    -------
    tomo_id; z, y, x in voxels of the tomogram; score, float32; source, the experiment and its orientations. Candidates
    of one source are at least 1000 ångström from each other, best first

    Raises
    ------
    ValueError
        If the spacing is not known, or as `heatmap`.
    """
    ready = _resampled(tomogram, experiment, spacing)
    grids = _grids(network, experiment, ready, symmetries=symmetries, average=average, **options)
    return _candidates(ready.name, grids, threshold, most)


def detect_all(
    network: Network,
    experiment: Experiment,
    tomograms: Mapping[str, str | Path] | Iterable[Tomogram],
    output: str | Path,
    *,
    spacing: float | Mapping[str, float] | None = None,
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
    network, experiment, symmetries, average, threshold, most, options : as for `detect`
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
    settings = {"symmetries": list(symmetries), "average": average, "threshold": threshold, "most": most}
    spacing = dict(spacing) if hasattr(spacing, "keys") else spacing
    about, notes = {"spacing": spacing, "mend": mend}, Path(output) / "findings" if mend else None
    folder = _folder(Path(output), network, experiment, settings | options | about)
    names: list[str] = []

    def missing() -> Iterator[_Resampled | None]:
        """Yield the tomograms that have no file, None for those that have, and note all names."""
        paths = tomograms if isinstance(tomograms, Mapping) else {}
        for each in tomograms:
            names.append(name := each if paths else each.name)
            if _is_done(folder / f"{name}.csv", paths.get(name), keep):
                yield None
            else:
                own = spacing.get(name) if isinstance(spacing, dict) else spacing
                yield _resampled(_opened(paths.get(name, each), name, notes), experiment, own)

    with workspace.progress(total=len(tomograms) if hasattr(tomograms, "__len__") else None, title=title) as meter:
        for ready in _ahead(missing()):
            if ready is not None:
                grids = _grids(network, experiment, ready, symmetries=symmetries, average=average, **options)
                _write(folder / f"{ready.name}.csv", grids, _candidates(ready.name, grids, threshold, most), keep)
            meter.advance()
    return join(pd.read_csv(folder / f"{name}.csv", dtype=CANDIDATE) for name in names)


class _Resampled(NamedTuple):
    """A tomogram in the spacing of an experiment, and what it was before."""

    name: str
    voxels: np.ndarray
    shape: Shape
    spacing: float


def _opened(source: Tomogram | str | Path, name: str, notes: Path | None) -> Tomogram:
    """Return a tomogram, with its levels put right if there is a folder for notes on what was found."""
    if isinstance(source, Tomogram):
        return source if notes is None else volumes.mend(source, notes)
    tomogram = volumes.read(source, name=name)
    return tomogram if notes is None else volumes.mend(tomogram, notes, compressed=Path(source).is_dir())


def _resampled(tomogram: Tomogram, experiment: Experiment, spacing: float | None) -> _Resampled:
    """Return the tomogram as the network of `experiment` wants it."""
    spacing = tomogram.spacing or spacing
    if spacing is None:
        raise ValueError(f"{tomogram.name} does not know its spacing: give it, in ångström per voxel")
    voxels = volumes.resample(tomogram.voxels, spacing, experiment.spacing, by=experiment.resampling)
    return _Resampled(tomogram.name, voxels, tomogram.voxels.shape, spacing)


def _grids(network, experiment, ready: _Resampled, *, symmetries, average: bool, **options: Any) -> dict[str, Grid]:
    """Return the heatmaps of a tomogram that is resampled already, by source."""
    cells = cell_strides(experiment, options.get("cell_stride", 8))
    size = tuple(cell * spacing for cell, spacing in zip(cells, experiment.spacing, strict=True))
    names = [symmetries] if isinstance(symmetries, str) else list(symmetries)
    grids = {}
    for group in [names] if average else [[name] for name in names]:
        probabilities = heatmap(network, experiment, ready.voxels, symmetries=group, **options)
        grids[f"{experiment.name} {'+'.join(group)}"] = Grid(probabilities, size, ready.shape, ready.spacing)
    return grids


def _candidates(name: str, grids: Mapping[str, Grid], threshold: float, most: int) -> pd.DataFrame:
    """Return the candidates of all heatmaps of a tomogram."""
    return join(grid.candidates(name, source, threshold=threshold, most=most) for source, grid in grids.items())


def _write(path: Path, grids: Mapping[str, Grid], candidates: pd.DataFrame, keep: bool) -> None:
    """Keep the candidates of a tomogram, and first its heatmaps beside them if wanted."""
    if keep:
        keep_grids(path.with_suffix(".npz"), grids)
    workspace.write_table(path, candidates)


def _folder(output: Path, network: Network, experiment: Experiment, settings: dict[str, Any]) -> Path:
    """Return the folder for what a network finds with these settings; it holds them as settings.json."""
    without = ("batch", "device")  # change nothing but the speed
    settings = {
        "experiment": json.loads(experiment.to_json()),
        "weights": _fingerprint(network),
        "code": _code(),
        **{name: value for name, value in settings.items() if name not in without},
    }
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = output / f"{experiment.name}-{key}"
    workspace.write_json(folder / "settings.json", settings)
    return folder


def _fingerprint(network: Network) -> str | None:
    """Return a hash of the weights of a network; None if it has no weights."""
    if not isinstance(network, torch.nn.Module):
        return None
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@cache
def _code() -> str:
    """Return a hash of the code that candidates depend on."""
    code = sources.library_behind("import motors.inference, motors.networks")
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()


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
