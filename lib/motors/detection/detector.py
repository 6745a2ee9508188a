"""The candidates of one tomogram, or of many, each kept as soon as it is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from motors.detection.engine import Network, heatmap
from motors.detection.heatmap import Grid
from motors.detection.tiling import cell_strides
from motors.experiments.config import Experiment
from motors.geometry import Shape
from motors.tables import join
from motors.volumes import formats, quality_control, resampling
from motors.volumes.tomogram import Tomogram
from motors.workspace import code_hash
from motors.workspace.files import write_json


def detect(
    network: Network,
    experiment: Experiment,
    tomogram: Tomogram,
    *,
    spacing: float | None = None,
    run: str = "",
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
    run : name of the trained run, by default that of the experiment
    symmetries : names of orientations; each gives candidates of its own, as in the original solution
    average : True averages the orientations to one heatmap, which gives one list of candidates
    threshold : the lowest score of a candidate
    most : at most so many candidates in a list
    options : further parameters of `heatmap`

    Returns
    -------
    tomo_id; z, y, x in voxels of the tomogram; score, float32; run; symmetry, "+" between those averaged. Candidates
    of one run and symmetry are at least 1000 ångström from each other, best first

    Raises
    ------
    ValueError
        If the spacing is not known, or as `heatmap`.
    """
    ready = _resampled(tomogram, experiment, spacing)
    grids = _grids(network, experiment, ready, symmetries=symmetries, average=average, **options)
    return _candidates(ready.name, run or experiment.name, grids, threshold, most)


class _Resampled(NamedTuple):
    """A tomogram in the spacing of an experiment, and what it was before."""

    name: str
    voxels: np.ndarray
    shape: Shape
    spacing: float


def _opened(source: Tomogram | str | Path, name: str, notes: Path | None) -> Tomogram:
    """Return a tomogram, with its levels put right if there is a folder for notes on what was found."""
    if isinstance(source, Tomogram):
        return source if notes is None else quality_control.mend(source, notes)
    tomogram = formats.read(source, name=name)
    return tomogram if notes is None else quality_control.mend(tomogram, notes, compressed=Path(source).is_dir())


def _resampled(tomogram: Tomogram, experiment: Experiment, spacing: float | None) -> _Resampled:
    """Return the tomogram as the network of `experiment` wants it."""
    spacing = tomogram.spacing or spacing
    if spacing is None:
        raise ValueError(f"{tomogram.name} does not know its spacing: give it, in ångström per voxel")
    voxels = resampling.resample(tomogram.voxels, spacing, experiment.spacing, by=experiment.resampling)
    return _Resampled(tomogram.name, voxels, tomogram.voxels.shape, spacing)


def _grids(network, experiment, ready: _Resampled, *, symmetries, average: bool, **options: Any) -> dict[str, Grid]:
    """Return the heatmaps of a tomogram that is resampled already, by symmetry."""
    cells = cell_strides(experiment, options.get("cell_stride", 8))
    size = tuple(cell * spacing for cell, spacing in zip(cells, experiment.spacing, strict=True))
    names = [symmetries] if isinstance(symmetries, str) else list(symmetries)
    grids = {}
    for group in [names] if average else [[name] for name in names]:
        probabilities = heatmap(network, experiment, ready.voxels, symmetries=group, **options)
        grids["+".join(group)] = Grid(probabilities, size, ready.shape, ready.spacing)
    return grids


def _candidates(name: str, run: str, grids: Mapping[str, Grid], threshold: float, most: int) -> pd.DataFrame:
    """Return the candidates of all heatmaps of a tomogram."""
    return join(grid.candidates(name, run, key, threshold=threshold, most=most) for key, grid in grids.items())


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
    write_json(folder / "settings.json", settings)
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
    code = code_hash.library_behind("import motors.detection.detector, motors.networks.factory")
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()
