"""Detection in many tomograms: one queue for all devices, cached results, reported failures."""

from __future__ import annotations

import errno
import os
import pickle
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from motors.detection.detector import Detector, Source, source_key, weights_key
from motors.detection.engine import Network
from motors.detection.heatmap import read_candidates
from motors.detection.workers import Device, Outcome, Predictor, Task, check_device, result_hashes
from motors.experiments.config import Experiment
from motors.tables import join
from motors.volumes.formats import name_of
from motors.volumes.tomogram import Tomogram
from motors.workspace.files import LONGEST, cores, on_disk, write_table
from motors.workspace.progress import Progress, progress

POLICIES = ("strict", "carry on")
FAULTS = ["tomo_id", "stage", "reason"]
LIMIT = 900.0  # seconds that reading one tomogram may take: the largest of the competition need about 20
PATIENCE = 5  # tomograms in a row that may kill a device's worker before it is given up: three may be large
GRACE = 60.0  # seconds for workers to finish their tomogram when the time is up


def detect_all(
    network: Network,
    experiment: Experiment,
    tomograms: Mapping[str, str | Path] | Source | Iterable[Source],
    output: str | Path,
    *,
    spacing: float | Mapping[str, float] | None = None,
    run: str = "",
    symmetries: Sequence[str] = ("zyx",),
    average: bool = False,
    threshold: float = 0.05,
    most: int = 100,
    repair: bool = True,
    reading: Mapping[str, Any] | None = None,
    save_heatmaps: bool = False,
    title: str = "detect",
    policy: str = "strict",
    devices: Workers | None = None,
    limit: float = LIMIT,
    until: float | None = None,
    report: str | Path | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return the candidates of many tomograms; those of each are written as soon as they are found.

    One CSV per tomogram goes to a folder in `output` named after the experiment and a hash of weights, settings and
    the library's code for inference. A tomogram given by path is not computed again if its CSV was made from the same
    files, by path, size, times and start. Candidates are as of `detect`, in the order of the tomograms; their `attrs`
    list the `backends` used in this call.

    Parameters
    ----------
    network, experiment, run, symmetries, average, threshold, most, options : as for `detect`
    tomograms : files or folders, by name or alone, or the tomograms themselves; the next is read while one is computed
    output : folder, made if necessary; several calls may share it, also concurrently, each with its own `report`
    spacing : ångström per voxel: one number, or one for each name; overrides that of files
    repair : as for `detect`; findings go to `output/findings`, see `quality_control.findings`
    reading : parameters of `formats.read`, such as axes and invert
    save_heatmaps : True saves a heatmap for each symmetry, in an `.npz` beside the CSV, see `load_heatmaps`
    title : text of the progress line
    policy : "strict" stops at the first tomogram that fails; "carry on" gives it no candidates, lists it in
        the report, and interpolates slices if only a few are missing or damaged
    devices : worker processes that share the tomograms; by default only this process computes
    limit : seconds that reading one tomogram may take
    until : time, by `time.monotonic`, after which no tomogram is started; those left are listed as faults
    report : CSV file of failed tomograms: tomo_id, stage, reason; by default `faults.csv` in `output`

    Raises ValueError if a name is that of two tomograms, or a path, the policy is unknown, or, with "strict", as
    `detect`; OSError, with "strict", if a tomogram cannot be read or the disk is full.
    """
    if policy not in POLICIES:
        raise ValueError(f"there is no policy {policy!r}: choose one of {', '.join(POLICIES)}")
    symmetries, fill = (symmetries,) if isinstance(symmetries, str) else tuple(symmetries), policy == "carry on"
    how = (run, symmetries, average, threshold, most, repair, fill, dict(reading or {}), options)
    detector = Detector(network, experiment, *how)
    output, spacing = on_disk(Path(output)), dict(spacing) if isinstance(spacing, Mapping) else spacing
    every = Task("", "", spacing, detector.folder(output, spacing=spacing), save_heatmaps, limit)
    found, faults, made, outcomes = {}, [], set(), devices.outcomes if devices else _here
    with progress(total=len(tomograms) if isinstance(tomograms, dict | list | tuple) else None, title=title) as meter:
        for outcome in outcomes(detector, _tasks(tomograms, every, found, meter), until):
            faults += _fault(outcome, policy)
            found[outcome.name], made = outcome.candidates, made | set(outcome.backend.split())
            meter.advance()
    write_table(Path(report or output / "faults.csv"), pd.DataFrame(faults, columns=FAULTS))
    candidates = join(table for table in found.values() if table is not None)
    candidates.attrs["backends"] = sorted(made)
    return candidates


def _tasks(tomograms: Mapping | Iterable, every: Task, found: dict[str, Any], meter: Progress) -> Iterator[Task]:
    """Yield tasks like `every` for tomograms without cached candidates; put the cached ones in `found`."""
    named, taken = isinstance(tomograms, Mapping), set()
    several = [tomograms] if isinstance(tomograms, Source) else tomograms
    for name, source in several.items() if named else ((_name(each), each) for each in several):
        name = str(name)
        if name.casefold() in taken:  # some file systems ignore case
            raise ValueError(f"two tomograms are called {name}: give each a name of its own")
        if Path(name).is_absolute() or ".." in Path(name).parts or len(os.fsencode(name)) > LONGEST:
            raise ValueError(f"a tomogram is called {name[:60]}: give a name of at most {LONGEST} bytes, no path")
        source = source if isinstance(source, Tomogram) else on_disk(Path(source))
        taken.add(name.casefold())
        found[name] = _done(every.folder, name, source, every.save_heatmaps)
        if found[name] is None:
            spacing = every.spacing.get(name) if isinstance(every.spacing, dict) else every.spacing
            yield every._replace(name=name, source=source, spacing=spacing)
        else:
            meter.advance()


def _name(source: Source) -> str:
    return source.name if isinstance(source, Tomogram) else name_of(Path(source))


def _fault(outcome: Outcome, policy: str) -> list[list[str]]:
    """Return the row of a tomogram in the report if it failed, or if "strict" raise; pass on warnings."""
    for message, category in outcome.warnings:
        warnings.warn(message, category, stacklevel=3)
    error = outcome.error
    if error is not None and policy == "strict":
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"the disk is full at tomogram {outcome.name}"
            raise OSError(error.errno, f"{what}: free some space and run again, the rest is kept")
        error.add_note(f"tomogram {outcome.name}, stage {outcome.stage}")
        raise error
    return [] if error is None else [[outcome.name, outcome.stage, str(error) or repr(error)]]


def _done(folder: Path, name: str, source: Source, save_heatmaps: bool) -> pd.DataFrame | None:
    """Return the cached candidates of the same files, or None; if wanted, heatmaps must be cached, too."""
    mark, found, heatmaps = (folder / f"{name}{ending}" for ending in (".source", ".csv", ".npz"))
    if isinstance(source, Tomogram) or not (Path(source).exists() and mark.is_file() and found.is_file()):
        return None
    if save_heatmaps and not heatmaps.is_file():
        return None
    key = f"{source_key(source)}{result_hashes(folder, name)}"
    return read_candidates(found) if mark.read_bytes() == key.encode() else None  # bytes: may be damaged too


def _late(task: Task) -> Outcome:
    """Return the outcome of a tomogram for which no time is left."""
    return Outcome(task.name, None, "time", TimeoutError("the time was up before it was predicted"))


def _here(detector: Detector, tasks: Iterator[Task], until: float | None) -> Iterator[Outcome]:
    """Yield the outcome of each tomogram, computed in this process on the device in the options."""
    predictor, task = Predictor(detector), next(tasks, None)
    while task is not None:
        late = until is not None and time.monotonic() >= until
        following = next(tasks, None)
        yield _late(task) if late else predictor.work(task, following)
        task = following


class Workers:
    """Worker processes, one for each of `names`; each keeps the networks that it was sent.

    Names are such as cuda:0; cpu twice makes two that share cores. Raises ValueError as `check_device`, or for none.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if not names:
            raise ValueError("no device is named: give at least one, such as cpu")
        for name in names:
            check_device(name)
        share = max(1, cores() // len(names))
        self.devices = [Device(name, share) for name in names]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for device in self.devices:
            device.close()

    def outcomes(self, detector: Detector, tasks: Iterator[Task], until: float | None) -> Iterator[Outcome]:
        """Yield the outcome of each tomogram, in order of completion."""
        return iter(_Round(self.devices, detector, tasks, until))


class _Round:
    """The tomograms of one call, handed out to devices; a device that keeps failing is removed."""

    def __init__(self, devices: list[Device], detector: Detector, tasks: Iterator[Task], until: float | None) -> None:
        self.devices, self.tasks, self.until = devices, tasks, until
        self.network = pickle.dumps(detector.network)
        self.key = f"{detector.experiment.name} {type(detector.network).__qualname__} {weights_key(detector.network)}"
        self.detector = replace(detector, network=None)
        self.busy: dict[Future, tuple[Device, Task]] = {}
        self.again: list[Task] = []  # tasks whose worker died: tried again after all others
        for device in devices:
            device.following = None  # left by an interrupted call

    def __iter__(self) -> Iterator[Outcome]:
        while True:
            late = self.until is not None and time.monotonic() >= self.until
            if late or not self.devices:
                yield from self._rest(late)
            else:
                self._hand_out()
            if not self.busy:
                return
            left = None if self.until is None else max(self.until - time.monotonic(), 0) + late * GRACE
            done = wait(self.busy, left, FIRST_COMPLETED).done
            if late and not done:
                yield from self._abandon()
            yield from filter(None, map(self._settle, done))

    def _take(self) -> Task | None:
        task = next(self.tasks, None)
        return self.again.pop() if task is None and self.again else task

    def _hand_out(self) -> None:
        """Give each idle device a tomogram, and the next one to read meanwhile."""
        working = [device for device, _ in self.busy.values()]
        for device in (device for device in self.devices if device not in working):
            task, device.following = device.following or self._take(), None
            if task is not None:
                device.following = self._take()
                self.busy[device.submit(self.detector, self.key, self.network, task)] = device, task

    def _settle(self, future: Future) -> Outcome | None:
        """Return the outcome of a tomogram; None if its worker died and it is tried again."""
        device, task = self.busy.pop(future)
        try:
            outcome = future.result()
        except BrokenProcessPool:
            sentence = "its worker was killed three times, last in smaller tiles: see the system's log, or free memory"
            outcome = Outcome(task.name, None, "worker", RuntimeError(sentence))
        if outcome.stage != "worker" and "CUDA error" not in str(outcome.error):
            device.victims.clear()
            device.known.add(self.key)
            return outcome
        device.close()
        device.victims.add(task.name)
        task = task._replace(ends=task.ends + 1)
        if task.ends > 2:  # the tomogram is to blame, not the devices
            for each in self.devices:
                each.victims.discard(task.name)
            return outcome
        self.again.append(task)
        if len(device.victims) >= PATIENCE:
            warnings.warn(f"{device.name} is given up, its work left to the others: {outcome.error}", stacklevel=2)
            self.devices.remove(device)
            self.again += [device.following] if device.following else []
        return None

    def _rest(self, late: bool) -> Iterator[Outcome]:
        """Yield failures for all tomograms that no device has started."""
        for device in self.devices:
            self.again += [device.following] if device.following else []
            device.following = None
        while (task := self._take()) is not None:
            lost = Outcome(task.name, None, "worker", RuntimeError("no device is left that computes: see the warnings"))
            yield _late(task) if late else lost

    def _abandon(self) -> Iterator[Outcome]:
        """Kill the workers that hang, and yield that time is up for their tomograms."""
        for device, task in self.busy.values():
            device.close()
            yield _late(task)
        self.busy.clear()
