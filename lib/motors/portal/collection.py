"""Resumable download of many tomograms from the portal into one folder."""

import errno
import json
import re
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from motors.geometry import Shape, Spacing
from motors.portal.catalogue import PatientClient, Source, look_up
from motors.portal.conversion import METADATA, PlaneReader, convert, fingerprint
from motors.portal.transfer import Patience, fetch, flatten, image
from motors.tables import SIZE
from motors.volumes.units import ROUNDING
from motors.workspace.files import read_json, write_text
from motors.workspace.progress import progress

RAW = ".raw"  # subfolder for downloads that are not converted yet


def collect(
    names: Iterable[str],
    folder: str | Path,
    *,
    url: str | None = None,
    form: str = "zarr",
    workers: int = 4,
    patience: Patience | None = None,
    stamp: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Store the tomograms of runs on the portal as stacks of JPEG slices, and return a report, one row per run.

    Tomograms already in the folder are skipped. If killed at any point, it continues when called again: a tomogram
    appears under its name only when its slices and its record are complete, and partial downloads are resumed. A
    failure does not stop the others. Columns are tomo_id, status ("stored", "already there" or "failed"), remarks
    (the reason of a failure, or caveats), seconds. Raises ValueError if a name cannot be that of a folder, OSError if
    the disk is full.

    Parameters
    ----------
    names : of the runs
    folder : gets `<name>/slice_0000.jpg` and so on, with `metadata.json` beside them
    url : of the portal's catalogue, by default the real one
    form : "zarr" or "mrc", the preferred one if a tomogram has both
    workers : tomograms downloaded in parallel; they are converted one at a time
    patience : retries and timeout
    stamp : provenance recorded with each tomogram, such as `Run.stamp()`
    """
    names, folder, client = sorted(set(names)), Path(folder), PatientClient(url, patience)
    if odd := [name for name in names if not re.fullmatch(r"\w[\w.+-]*", name)]:
        raise ValueError(f"{odd[0]!r} is no run name, only letters, digits and . + - _ are: correct the label table")
    work = partial(_one, client=client, folder=folder, form=form, converting=Lock(), stamp=stamp)
    with ThreadPoolExecutor(workers) as pool:
        rows = list(progress(pool.map(work, names), total=len(names), title="downloading"))
    return pd.DataFrame(rows, columns=["tomo_id", "status", "remarks", "seconds"])


def stored(folder: str | Path, name: str) -> dict[str, Any] | None:
    """Return the record of a tomogram that is in the folder with all its slices, else None; slices are not decoded."""
    place = Path(folder) / name
    record = read_json(place / METADATA)
    return record if record and fingerprint(place, deep=False).items() <= record["slices"].items() else None


def table(folder: str | Path) -> pd.DataFrame:
    """Return the tomograms stored in a folder, one row each, by name.

    Columns are tomo_id, size_z, size_y, size_x, spacing of what is stored; native_z, native_y, native_x, native_spacing
    of the original; dataset_id; wrapped, whether intensities were repaired; remarks; sha256 of the slices.
    """
    rows = []
    for name in _names(folder):
        record = read_json(Path(folder) / name / METADATA)
        row = [name, *record["target_shape"], record["target_spacing"], *record["ori_shape"], record["ori_spacing"]]
        remarks = "; ".join(record.get("remarks", []))
        rows.append([*row, record.get("dataset_id"), record["mended"], remarks, record["slices"]["sha256"]])
    columns = ["tomo_id", *SIZE, "spacing", "native_z", "native_y", "native_x", "native_spacing"]
    return pd.DataFrame(rows, columns=[*columns, "dataset_id", "wrapped", "remarks", "sha256"])


def verify(folder: str | Path) -> pd.DataFrame:
    """Return the stored tomograms whose slices differ from their record: tomo_id and problem."""
    rows = []
    for name in progress(_names(folder), title="checking"):
        place = Path(folder) / name
        recorded = read_json(place / METADATA)["slices"]
        try:
            changed = ", ".join(what for what, value in fingerprint(place).items() if recorded[what] != value)
            problem = changed and f"{changed} of its slices differ from its record: remove it, collect again"
        except FileNotFoundError as error:
            problem = str(error)
        rows += [[name, problem]] if problem else []
    return pd.DataFrame(rows, columns=["tomo_id", "problem"])


def _names(folder: str | Path) -> list[str]:
    return sorted(path.parent.name for path in Path(folder).glob(f"[!.]*/{METADATA}"))


def _one(
    name: str, *, client: PatientClient, folder: Path, form: str, converting: Lock, stamp: dict[str, Any] | None
) -> dict[str, Any]:
    begin, status, remarks = time.monotonic(), "stored", ""
    try:
        if record := stored(folder, name):
            status, remarks = "already there", "; ".join(record.get("remarks", []))
        else:
            source = look_up(client, name, form)
            raw, spacing = _download(source, folder / RAW / name, client.patience)
            about = _about(source, spacing, stamp)
            with converting:
                convert(raw, folder, name=name, spacing=source.spacing, about=about)
            remarks = "; ".join(about["remarks"])
        shutil.rmtree(folder / RAW / name, ignore_errors=True)  # may be missing if already stored
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:  # the others would fail too
            raise
        status, remarks = "failed", str(error)
    return {"tomo_id": name, "status": status, "remarks": remarks, "seconds": round(time.monotonic() - begin, 1)}


def _download(source: Source, folder: Path, patience: Patience) -> tuple[Path, Spacing | None]:
    """Download a tomogram to its own folder, check its shape, and return the file and the spacing it states."""
    if not (note := folder / "url").is_file() or note.read_text("utf-8") != source.url:  # leftovers of another file
        shutil.rmtree(folder, ignore_errors=True)
    write_text(note, source.url)
    if source.form == "zarr":
        array, spacing = patience(image, source.url, folder / "image.zarr", patience.timeout)
        _check_shape(source, array.shape)
        return flatten(array, folder / "voxels.npy", patience), spacing
    path = folder / "voxels.mrc"
    patience(partial(fetch, source.url, path, timeout=patience.timeout, size=source.size))
    try:
        planes = PlaneReader(path)
        _check_shape(source, planes.shape)
    except ValueError:
        path.unlink()
        raise
    return path, planes.stated


def _check_shape(source: Source, shape: Shape) -> None:
    if tuple(shape) != source.shape:
        raise ValueError(f"{source.url} has the shape {shape}, its catalogue says {source.shape}: report it")


def _about(source: Source, spacing: Spacing | None, stamp: dict[str, Any] | None) -> dict[str, Any]:
    """Return the provenance recorded for a tomogram; `spacing` is what the file itself states."""
    remarks = list(source.remarks)
    if spacing and not np.allclose(spacing, source.spacing, rtol=ROUNDING):
        stated = " x ".join(f"{length:g}" for length in spacing)
        remarks.append(f"the file states {stated} Å per voxel along z, y, x, the catalogue {source.spacing:g}")
    attributes = {f"PORTAL__{key}": value for key, value in source.attributes.items()}
    record = {"dataset_id": source.dataset, "remarks": remarks, "form": source.form, "url": source.url, "made": stamp}
    return json.loads(json.dumps(record | attributes, default=str))  # dates become text
