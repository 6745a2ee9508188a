"""Detection in one tomogram: it is read, repaired, resampled and predicted."""

import hashlib
import json
import math
import os
import pickle
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from motors.detection.backends import Backends
from motors.detection.engine import Network, heatmap, logits
from motors.detection.heatmap import Grid
from motors.detection.tiling import MULTIPLE, cell_strides, planned
from motors.experiments.config import Experiment
from motors.geometry import Shape
from motors.networks.checkpoints import digest
from motors.tables import join
from motors.volumes import formats, quality_control, resampling, slices
from motors.volumes.axes import Stored, as_zyx
from motors.volumes.quality_control import Finding
from motors.volumes.tomogram import Tomogram, TomogramWarning, doubts
from motors.workspace import code_hash
from motors.workspace.files import json_sha256, write_json

MOST_ENLARGED = 4  # largest upsampling along each axis if the spacing is implausible
OPTIONS = {*signature(logits).parameters, "backend"}  # allowed in `Detector.options`
SAMPLED = 8  # approximate number of files of a tomogram whose start is hashed
Source = Tomogram | str | Path


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
    repair: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Return the candidates that a network finds in a tomogram; warns of faulty intensities.

    Columns are tomo_id; z, y, x in voxels of the tomogram; score, float32; run; symmetry, joined by "+" if averaged.
    Candidates of one run and symmetry are at least 1000 ångström from each other, best first.

    Parameters
    ----------
    network, experiment : as for `heatmap`
    tomogram : in any spacing
    spacing : ångström per voxel; overrides that of the tomogram, with a warning if they differ
    run : name of the trained network, by default that of the experiment
    symmetries : names, for test-time augmentation; each gives its own candidates, as in the original solution
    average : True averages the logits of all symmetries, which gives one list of candidates
    threshold : the lowest score of a candidate
    most : maximum number of candidates in a list
    repair : True repairs wrapped intensities first, see `quality_control.repair`
    options : of `heatmap`, and `backend`, see `detection.backends`: "rewritten" gives the same bytes every time, "auto"
        uses the fastest

    Raises ValueError if the spacing is unknown, or as `heatmap`.
    """
    how = (run, tuple(symmetries), average, threshold, most, repair)
    detector = Detector(network, experiment, *how, options=options)
    ready = detector.prepare(tomogram, spacing=spacing)
    for finding in ready.findings:
        warnings.warn(f"{ready.name} is {finding.name}: {finding.about}", TomogramWarning, stacklevel=2)
    return detector.candidates(ready.name, detector.grids(ready))


class Ready(NamedTuple):
    """A tomogram resampled for an experiment, with its original shape and spacing, and findings."""

    name: str
    voxels: np.ndarray
    shape: Shape
    spacing: float
    findings: list[Finding]


@dataclass(frozen=True)
class Detector:
    """A network with all settings that determine its candidates; the parameters are those of `detect`.

    `fill` interpolates a few missing or damaged slices, see `slices.read_repaired`, else such a stack is refused;
    `reading` has parameters of `formats.read`, such as axes and invert.
    """

    network: Network | None
    experiment: Experiment
    run: str = ""
    symmetries: tuple[str, ...] = ("zyx",)
    average: bool = False
    threshold: float = 0.05
    most: int = 100
    repair: bool = True
    fill: bool = False
    reading: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if wrong := sorted({*self.options}.difference(OPTIONS)):
            raise TypeError(f"detection has no parameter {wrong[0]!r}: see the documentation of detect")

    def prepare(self, source: Source, *, name: str = "", spacing: float | None = None) -> Ready:
        """Return a tomogram, given itself or as a file or folder of slices, prepared for the network.

        Raises FileNotFoundError or ValueError if it cannot be read, or its spacing is unknown or implausible.
        """
        stack = not isinstance(source, Tomogram) and Path(source).is_dir() and not formats.is_zarr(Path(source))
        tomogram, findings = self._open(source, name, spacing, stack)
        spacing = _agreed(tomogram, spacing)
        voxels, doubt = tomogram.voxels, doubts(tomogram.voxels.shape, spacing, chosen=True)
        nothing = min(tomogram.voxels.shape) * spacing < max(self.experiment.spacing)  # would remain
        if doubt and (nothing or spacing > MOST_ENLARGED * min(self.experiment.spacing)):
            raise ValueError(f"{tomogram.name}: {doubt[0]}")
        if self.repair:
            voxels, found = quality_control.repair(voxels, compressed=stack)
            findings += found
        ready = resampling.resample(voxels, spacing, self.experiment.spacing, by=self.experiment.resampling)
        return Ready(tomogram.name, ready, tomogram.voxels.shape, spacing, findings)

    def _open(self, source: Source, name: str, spacing: float | None, stack: bool) -> tuple[Tomogram, list[Finding]]:
        """Return a tomogram as it is stored, and a finding if slices were interpolated."""
        if isinstance(source, Tomogram):
            return source, []
        try:
            return formats.read(source, name=name or None, spacing=spacing, **self.reading), []
        except (FileNotFoundError, ValueError) as error:
            if not (self.fill and stack and any(Path(source).glob("slice_[0-9][0-9][0-9][0-9]*.jpg"))):
                raise
            why = error
        voxels, wrong = slices.read_repaired(source)
        chosen = {name: value for name, value in self.reading.items() if name != "invert"}
        voxels = as_zyx(Stored(voxels, "zyx"), **chosen)
        voxels = 255 - voxels if self.reading.get("invert") else voxels
        few = ", ".join(map(str, sorted(wrong)[:5])) + (", ..." if len(wrong) > 5 else "")
        about = f"z = {few or 'none'} interpolated, because {next(iter(wrong.values()), why)}"
        tomogram = Tomogram(name or Path(source).name, voxels, spacing)
        return tomogram, [Finding("filled slices", len(wrong), about)]

    def grids(self, ready: Ready, smaller: bool = False) -> dict[str, Grid]:
        """Return the heatmaps of a tomogram by symmetry.

        If memory runs out, it warns, and halves the sides of tiles up to twice, then uses the CPU; `smaller` begins
        with halved tiles. Raises ValueError as `heatmap`; MemoryError or torch.OutOfMemoryError if nothing helps.
        """
        for change, options in list(self._attempts(ready.voxels.shape))[smaller:]:
            try:
                grids = self._grids(ready, **options)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                last = error
                continue
            if change:
                warnings.warn(f"{ready.name} was predicted {change}: memory had run out", stacklevel=2)
            return grids
        raise last

    def _attempts(self, shape: Shape) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield options that need less and less memory, each after its description."""
        options = dict(self.options)
        yield "", options
        tile = planned(shape, self.experiment, options).tile
        for _ in range(2):
            smaller = tuple(max(MULTIPLE, side // 2 // MULTIPLE * MULTIPLE) for side in tile)
            tile = (tile[0], *smaller[1:]) if self.experiment.is_2d else smaller
            yield f"in tiles of {tile}", options | {"tile": tile, "batch": 1}
        if torch.cuda.is_available() and not str(options.get("device") or "").startswith("cpu"):
            yield "on the CPU", options | {"device": "cpu"}

    def _grids(self, ready: Ready, **options: Any) -> dict[str, Grid]:
        """Return the heatmaps of a tomogram by symmetry, in one attempt."""
        cells = cell_strides(self.experiment, options.get("cell_stride", 8))
        size = tuple(cell * spacing for cell, spacing in zip(cells, self.experiment.spacing, strict=True))
        device = torch.device(options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu"))
        tiles = planned(ready.voxels.shape, self.experiment, options)
        network = self.backends.get(options.pop("backend", "rewritten"), tiles, device)
        names, grids = list(self.symmetries), {}
        for group in [names] if self.average else [[name] for name in names]:
            probabilities = heatmap(network, self.experiment, ready.voxels, symmetries=group, **options)
            grids["+".join(group)] = Grid(probabilities, size, ready.shape, ready.spacing)
        return grids

    @cached_property
    def backends(self) -> Backends:
        """The network's backends, built when needed."""
        return Backends(self.network, self.experiment)

    @property
    def computed_by(self) -> str:
        """Names of the backends used so far, separated by spaces."""
        return " ".join(sorted({name for name, *_ in self.backends.made})) or "eager"

    def candidates(self, name: str, grids: Mapping[str, Grid]) -> pd.DataFrame:
        """Return the candidates in all heatmaps of the tomogram called `name`."""
        run, original = self.run or self.experiment.name, bool(self.options.get("original"))
        how = {"threshold": self.threshold, "most": self.most, "refine": not original}
        return join(grid.candidates(name, run, symmetry, **how) for symmetry, grid in grids.items())

    def folder(self, output: Path, **settings: Any) -> Path:
        """Return the folder in `output` for results with these settings, made with a settings.json."""
        without = ("batch", "device")  # affect only the speed
        names = ("symmetries", "average", "threshold", "most", "repair", "fill", "reading")
        settings = {
            "run": self.run or self.experiment.name,
            "experiment": json.loads(self.experiment.to_json()),
            "weights": weights_key(self.network),
            "code": _code(),
            **{name: getattr(self, name) for name in names},
            **{name: value for name, value in self.options.items() if name not in without},
            **settings,
        }
        name = f"{self.experiment.name}-{json_sha256(settings)[:8]}"
        path = write_json(output / name / "settings.json", settings)
        last = max(each.stat().st_mtime for each in output.glob("*/settings.json")) + 2  # even if the clock is wrong
        with suppress(OSError):  # some network drives refuse it; the time only says which is the last
            os.utime(path, (last, last))
        return path.parent


def _agreed(tomogram: Tomogram, spacing: float | None) -> float:
    """Return the spacing to use: the given one, else the tomogram's own."""
    own = tomogram.spacing
    if spacing is None and own is None:
        raise ValueError(f"{tomogram.name} does not know its spacing: give it, in ångström per voxel (--spacing)")
    if spacing is not None and own is not None and not math.isclose(own, spacing, rel_tol=0.01):
        sentence = f"{tomogram.name} states {own} Å per voxel, but {spacing} Å was given and is used"
        warnings.warn(sentence, TomogramWarning, stacklevel=3)
    return float(own if spacing is None else spacing)


def out_of_memory(error: Exception) -> bool:
    """Return whether an exception means that memory ran out, on a GPU or the host."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(each in str(error) for each in words)


def source_key(source: Source) -> str | None:
    """Return a hash of path, size and times of a tomogram's files, and the start of some; None if in memory."""
    if isinstance(source, Tomogram):
        return None
    files = [file.resolve() for file in formats.parts(Path(source))]
    stats = [(file, file.stat()) for file in files]
    about = [(str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats]
    starts = []
    for file in files[:: max(1, len(files) // SAMPLED)]:  # two files that swapped names may have equal times
        with file.open("rb") as opened:
            starts.append(zlib.crc32(opened.read(1 << 20)))
    return json_sha256([about, starts])


def weights_key(network: Network | None) -> str:
    """Return a hash of a network's weights, or of a pickled function; random if it cannot be pickled."""
    if isinstance(network, torch.nn.Module):
        return digest(network)
    try:
        return hashlib.sha256(pickle.dumps(network)).hexdigest()
    except (pickle.PicklingError, AttributeError, TypeError):  # such as a lambda
        return os.urandom(8).hex()


@cache
def _code() -> str:
    return json_sha256(code_hash.library_behind("import motors.detection.detector, motors.networks.factory"))
