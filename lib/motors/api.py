"""Detection of motors in files with one call. It is `motors.detect`; a module of that name would hide it."""

import tempfile
import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from motors.detection import backends, heatmap
from motors.detection.memory import parse, voxels_at_once
from motors.detection.queue import Workers, detect_all
from motors.detection.workers import all_devices, check_device
from motors.ensemble import bundle
from motors.ensemble.bundle import Bundle
from motors.ensemble.combine import LOWEST, combine
from motors.geometry import Shape
from motors.networks import checkpoints
from motors.picks import formats as picks
from motors.picks.conventions import PICKS
from motors.results import ABOUT, WORK, Detections, claim_folder, remove_stale, write_results
from motors.tables import CANDIDATE, SIZE, join, read_table
from motors.volumes import quality_control
from motors.volumes.formats import plain
from motors.volumes.sources import DRAWN, collect, recall_warnings
from motors.volumes.tomogram import check_spacing
from motors.workspace.files import on_disk

READING = ("axes", "channel", "time", "image", "invert")  # parameters of `formats.read`
Size = tuple[Shape, float]  # of a tomogram: its shape in voxels, and ångström per voxel


def detect(
    paths: str | Path | Iterable[str | Path],
    *,
    weights: str | Path | None = None,
    spacing: float | None = None,
    threshold: float | None = None,
    max_detections: int | None = None,
    out: str | Path | None = None,
    formats: str | Sequence[str] = (),
    plot: bool = False,
    force: bool = False,
    recursive: bool = False,
    device: str | None = None,
    memory: str | None = None,
    **options: Any,
) -> Detections:
    """Detect motors in tomograms with all networks of an ensemble, fused, and decide which tomograms have one.

    Parameters
    ----------
    paths : files that `motors.read` reads, folders of slices, folders that hold such, or patterns like `*.mrc`
    weights : a folder of networks, see `motors.ensemble.bundle.find`; by default those of the workspace
    spacing : ångström per voxel; overrides that of files
    threshold : the lowest score of a motor; by default the one chosen out-of-fold for these networks
    max_detections : maximum number in a tomogram; by default all that reach the threshold
    out : folder for `tomograms.csv`, detections in `formats`, and `work`, with candidates and heatmaps, from which
        the same call resumes if it was interrupted. By default nothing is written
    formats : one or more keys of `motors.picks.formats.FORMATS`, by default csv
    plot : True adds `pictures`: for each tomogram its projection, and three planes through each detection
    force : True overwrites the results of another call in `out`
    recursive : True also looks for tomograms in subfolders
    device : such as cuda:0 or cpu, or several separated by commas, each in a process of its own (in a script, call this
        below `if __name__ == "__main__":`); by default the GPU if there is one
    memory : budget for activations, such as "8GiB", shared by processes on the CPU: tiles of 3D networks become as
        large as it allows; by default they have the usual size, or less if little memory is free
    options : of `motors.read` (axes, channel, time, image, and invert if dense is bright) and of
        `motors.detection.queue.detect_all`, such as `backend`: "auto" uses the fastest

    Raises FileNotFoundError if there is no such file, no tomogram in a folder, or there are no networks;
    FileExistsError if `out` holds something else, also by a call that ended meanwhile; ValueError if a number is
    invalid, a network does not load, or none of the tomograms could be predicted.
    """
    devices, out = _devices(device, options.get("backend")), on_disk(Path(out)) if out else None
    _check(spacing, threshold, max_detections, memory, not out and (plot or force or formats))
    sources, notes = collect(paths, recursive=recursive)
    formats = picks.check(formats or "csv", sources)
    networks = bundle.find(weights)
    level, reading = _level(threshold, networks), _reading(options)
    settings = {"networks": str(networks.folder.resolve()), "spacing": spacing, "threshold": level}
    settings |= {"max_detections": max_detections} | reading | options
    if out:
        claim_folder(out, settings, sources, force)
    with nullcontext(out) if out else tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / WORK
        options |= {"devices": devices, "memory": memory, "reading": reading, "spacing": spacing}
        rows, faults, said = _predicted(networks, sources, work, **options)
        sizes = {name: _size(work, name) for name in sources if name not in faults}
        notes += recall_warnings(said, sources, work) + _doubts(networks, reading, work, list(sources))
        if not sizes:
            raise ValueError(next(iter(faults.values())))
        rows = _fused(networks, rows, sizes, work)
        found = _decided(networks, sources, rows, sizes, faults, level, max_detections, notes)
        if out:
            formats = remove_stale(out, claim_folder(out, settings, sources, force), sizes, formats)
            write_results(found, sources, out, formats, plot or (out / DRAWN).is_dir(), reading)
    return found


def _devices(device: str | None, backend: str | None) -> list[str]:
    """Return the names of devices; raises ValueError if one cannot compute, or not by this backend."""
    names = [check_device(name.strip()) for name in (device or "").split(",") if name.strip()]
    if backend:
        backends.check(backend, (names or all_devices())[0])
    return names


def _check(spacing: float | None, threshold: float | None, most: int | None, memory: str | None, lost: Any) -> None:
    """Raise ValueError if a number is invalid, or `lost`: files are requested without `out`."""
    if lost:
        raise ValueError("plot, force and formats are about files: say where, such as out='found' (--out found)")
    if memory:
        parse(memory)
    if spacing is not None:
        check_spacing((spacing,))
    if threshold is not None and (isinstance(threshold, str) or not 0 <= threshold <= 1):
        raise ValueError(f"the threshold is {threshold}, not a score: give a number from 0 to 1")
    if most is not None and (isinstance(most, str) or most < 1 or most % 1):
        raise ValueError(f"at most {most} detections were wanted: give a whole number, 1 or more")


def _reading(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the parameters for reading from options, and return them; axes may be a list."""
    found = {name: value for name in READING if (value := options.pop(name, None)) is not None and value is not False}
    return found | ({"axes": "".join(found["axes"])} if "axes" in found else {})


def _level(threshold: float | None, networks: Bundle) -> float:
    """Return the threshold: the given one, the one chosen out-of-fold, or an uncalibrated default."""
    chosen = (threshold, networks.threshold, bundle.UNCALIBRATED)
    return max(LOWEST, next(float(value) for value in chosen if value is not None))


def _predicted(
    networks: Bundle, sources: dict[str, Path], work: Path, *, devices: list[str], memory: str | None, **options: Any
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """Return the candidates of all members, reasons of failures by tomogram, and warnings."""
    options = {"policy": "carry on"} | options | ({"device": devices[0]} if len(devices) == 1 else {})
    tables, faults, left = [], {}, dict(sources)
    several = Workers(devices) if len(devices) > 1 else nullcontext()
    with several as workers, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        for k, (run, folder) in enumerate(networks.networks.items(), start=1):
            network, experiment = checkpoints.load(folder)
            mine = networks.members[networks.members["run"] == run]["symmetry"].tolist()
            title = f"{k}/{len(networks.networks)} {experiment.name}"
            settings = {"run": run, "symmetries": mine, "threshold": LOWEST, "save_heatmaps": True, "title": title}
            voxels = voxels_at_once(network, experiment, memory, devices or all_devices())
            settings |= {"devices": workers, "voxels_at_once": voxels}
            tables.append(detect_all(network, experiment, left, work, **settings, **options))
            lost = read_table(work / "faults.csv").set_index("tomo_id")["reason"]
            faults |= {name: f"{name}: {lost[name]}" if name not in lost[name] else lost[name] for name in lost.index}
            left = {name: path for name, path in left.items() if name not in faults}
    return join(tables), faults, [str(each.message) for each in said if issubclass(each.category, UserWarning)]


def _size(work: Path, name: str) -> Size:
    """Return the size of a tomogram, the same in the heatmaps of all members."""
    grid = next(iter(heatmap.load_heatmaps(work, name).values()))
    return grid.shape, float(grid.spacing)


def _fused(networks: Bundle, candidates: pd.DataFrame, sizes: dict[str, Size], work: Path) -> pd.DataFrame:
    """Return the candidates of all members fused, best first in each tomogram."""
    spacings = {name: spacing for name, (_, spacing) in sizes.items()}
    mine = candidates[candidates["tomo_id"].isin(list(sizes))]
    fused = combine(networks.method, mine, weights=networks.votes, spacings=spacings, output=work, skip=networks.skip)
    return fused[PICKS].astype({name: CANDIDATE[name] for name in PICKS}).reset_index(drop=True)


def _doubts(networks: Bundle, reading: dict[str, Any], work: Path, names: list[str]) -> list[str]:
    """Return notes about the networks, how tomograms were read, and their intensities."""
    notes = ["these networks have seen simulated tomograms only: do not trust them on real ones"] * networks.simulated
    if "axes" in reading:
        notes.append(f"places are in the z, y, x that {reading['axes']} makes, no longer in the file's order of axes")
    found = quality_control.findings(work / "findings")
    for row in found[found["tomo_id"].isin(names)].to_dict("records"):
        advice = ": invert it (invert=True, --invert) if dense is bright" if row["finding"] == "inverted" else ""
        notes.append(f"{row['tomo_id']} is {row['finding']}, {row['about']}{advice}")
    return notes


def _decided(
    networks: Bundle,
    sources: dict[str, Path],
    fused: pd.DataFrame,
    sizes: dict[str, Size],
    faults: dict[str, str],
    level: float,
    most: int | None,
    notes: list[str],
) -> Detections:
    """Return the detections, and for each tomogram whether it has one, or why it failed."""
    table = fused[fused["score"] >= level].groupby("tomo_id", sort=False).head(most or len(fused) + 1)
    counts, best, rows = table["tomo_id"].value_counts(), fused.groupby("tomo_id")["score"].max(), []
    for name, path in sources.items():
        row = {"tomo_id": name, "path": plain(path), "fault": faults.get(name, ""), "motor": None, "detections": 0}
        if name in sizes:
            (shape, spacing), count = sizes[name], int(counts.get(name, 0))
            row |= dict(zip(SIZE, map(int, shape), strict=True)) | {"spacing": spacing}
            row |= {"motor": count > 0, "detections": count, "score": float(best.get(name, 0.0))}
        rows.append(row)
    measured = networks.threshold is not None and level == max(LOWEST, networks.threshold)
    quality = (networks.precision, networks.recall) if measured else (None, None)
    tomograms, notes = pd.DataFrame(rows, columns=ABOUT), list(dict.fromkeys(notes))
    return Detections(tomograms, table.reset_index(drop=True), fused, level, *quality, notes, networks)
