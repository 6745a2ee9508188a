"""Inference on one device, here or in a worker process: the next tomogram is read while one is computed."""

import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pandas as pd
import torch

from motors.detection.detector import Detector, Ready, Source, source_key
from motors.detection.heatmap import save_heatmaps
from motors.volumes import quality_control
from motors.volumes.tomogram import Tomogram
from motors.workspace.files import cores, sha256, write_table, write_text

KEPT = 2**28  # bytes of prepared tomograms in the cache
CAPABILITY = (7, 0)  # the lowest compute capability that PyTorch's kernels are built for: a P100 has 6.0


class Task(NamedTuple):
    """One tomogram to predict, and where its candidates go."""

    name: str
    source: Source
    spacing: float | None
    folder: Path
    save_heatmaps: bool
    limit: float  # seconds that reading may take
    ends: int = 0  # deaths of its workers; after two, tiles are smaller, as memory is the usual cause


class Outcome(NamedTuple):
    """The candidates of one tomogram, or the stage and error of its failure; both if only writing failed."""

    name: str
    candidates: pd.DataFrame | None
    stage: str = ""
    error: Exception | None = None
    warnings: tuple[tuple[str, type[Warning]], ...] = ()
    backend: str = ""


class Predictor:
    """Inference with one network on one device; `kept` is a cache of prepared tomograms."""

    def __init__(self, detector: Detector, kept: dict[str, Ready] | None = None) -> None:
        self.detector, self.kept = detector, kept
        self.ahead: dict[tuple, Future] = {}  # by name, source and spacing

    def work(self, task: Task, following: Task | None = None) -> Outcome:
        """Return the outcome of a tomogram, and write its candidates; meanwhile read the `following` one."""
        stage, found = "read", None
        try:
            reading = self.ahead.pop(_asked(task), None) or _reading(self.detector, task, self.kept)
            read, _ = wait([reading], task.limit)
            self.ahead = {_asked(following): _reading(self.detector, following, self.kept)} if following else {}
            if not read:
                raise TimeoutError(f"it could not be read within {task.limit:g} seconds: check the disk, or allow more")
            ready, key = reading.result()
            stage = "predict"
            grids = self.detector.grids(ready, smaller=task.ends > 1)
            found = self.detector.candidates(task.name, grids)
            stage = "write"
            self._write(task, ready, key, grids, found)
        except Exception as error:  # noqa: BLE001 - handled by the policy of the queue
            return Outcome(task.name, found, stage, error)
        return Outcome(task.name, found, backend=self.detector.computed_by)

    def _write(self, task: Task, ready: Ready, key: str | None, grids: dict, found: pd.DataFrame) -> None:
        """Write the results of a tomogram, and at last the key of its files, which makes them valid."""
        mark, heatmaps = (task.folder / f"{task.name}{ending}" for ending in (".source", ".npz"))
        for old in (mark, heatmaps):  # perhaps of another file
            old.unlink(missing_ok=True)
        if self.detector.repair or self.detector.fill:
            quality_control.note(task.folder.parent / "findings", task.name, ready.findings)
        if task.save_heatmaps:
            save_heatmaps(heatmaps, grids)
        write_table(task.folder / f"{task.name}.csv", found)
        if key:
            write_text(mark, key + result_hashes(task.folder, task.name))


def _asked(task: Task) -> tuple[str, str, float | None]:
    """Return what identifies a tomogram among those of its name."""
    source = "" if isinstance(task.source, Tomogram) else str(task.source)
    return task.name, source, task.spacing


def result_hashes(folder: Path, name: str) -> str:
    """Return hashes of the result files of a tomogram, to detect damage."""
    files = [folder / f"{name}.csv", folder / f"{name}.npz", folder.parent / "findings" / f"{name}.csv"]
    return "".join(f" {sha256(file)}" for file in files if file.is_file())


def _reading(detector: Detector, task: Task, kept: dict[str, Ready] | None) -> Future:
    """Return a future of a tomogram and the key of its files; its daemon thread can be abandoned."""
    result: Future = Future()

    def read() -> None:
        try:
            key = source_key(task.source)  # first, so that files that change meanwhile do not match
            result.set_result((_prepared(replace(detector, network=None), task, key, kept), key))
        except Exception as error:  # noqa: BLE001 - for the caller
            result.set_exception(error)

    Thread(target=read, daemon=True).start()
    return result


def _prepared(detector: Detector, task: Task, key: str | None, kept: dict[str, Ready] | None) -> Ready:
    """Return a tomogram prepared for the network; small ones are cached for the next networks."""
    how = (detector.experiment.spacing, detector.experiment.resampling, detector.repair, detector.fill)
    about = repr((key, task.name, task.spacing, *how, *sorted(detector.reading.items())))
    ready = (kept or {}).get(about) or detector.prepare(task.source, name=task.name, spacing=task.spacing)
    if kept is not None and key is not None:
        kept[about] = ready
        for old in tuple(kept):  # an abandoned thread may add, too
            if sum(each.voxels.nbytes for each in tuple(kept.values())) > KEPT:
                kept.pop(old, None)
    return ready


class Device:
    """A worker process for one device, started when needed, which keeps the networks sent to it."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.victims: set[str] = set()  # tomograms at which it died, since it last finished one
        self.following: Task | None = None  # being read; computed next
        self.known: set[str] = set()  # keys of its networks
        self.pool: ProcessPoolExecutor | None = None

    def submit(self, detector: Detector, key: str, network: bytes, task: Task) -> Future:
        """Submit a tomogram; the network, identified by `key`, is sent unless it was used before."""
        detector = replace(detector, options={**detector.options, "device": self.name})
        new = None if key in self.known else network
        try:
            return self._pool().submit(_work, key, new, detector, task, self.following)
        except BrokenProcessPool:  # it died while idle
            self.close()
            return self._pool().submit(_work, key, network, detector, task, self.following)

    def _pool(self) -> ProcessPoolExecutor:
        if self.pool is None:
            # Forked from a process that has imported this, and uses neither threads nor CUDA: importing takes seconds,
            # each time that a worker has died. Libraries of other systems than Linux may not survive it.
            start = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
            start.set_forkserver_preload([__name__])
            self.pool = ProcessPoolExecutor(1, start, _settle, (self.threads, dict(os.environ)))
            self.process: Future = self.pool.submit(os.getpid)
        return self.pool

    def close(self) -> None:
        """Kill the process."""
        if self.pool is not None:
            with suppress(BrokenProcessPool, ProcessLookupError, TimeoutError):  # it is gone already
                os.kill(self.process.result(timeout=60), signal.SIGKILL)
            self.pool.shutdown(wait=False, cancel_futures=True)
        self.pool, self.known = None, set()


def check_device(name: str) -> str:
    """Return the name of a device that can compute.

    Raises ValueError if there is no such device, or PyTorch has no kernels for it: it would allocate memory, then fail.
    """
    try:
        device = torch.device(name)
        if device.type == "cuda":
            found = torch.cuda.get_device_capability(device)
            if found < CAPABILITY:
                raise ValueError(f"it is a {torch.cuda.get_device_name(device)} of capability {found[0]}.{found[1]}")
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        reason = "PyTorch knows no such device" if reason.startswith("Expected one of") else reason
        raise ValueError(f"{name} cannot compute ({reason}): choose cpu, or a GPU of capability 7.0 or more") from error
    return name


def all_devices(small: bool = False) -> list[str]:
    """Return the names of all GPUs, or else "cpu": once, or for `small` networks once per core, up to four."""
    # Threads that share the work of a small network mostly wait.
    return [f"cuda:{k}" for k in range(torch.cuda.device_count())] or ["cpu"] * (min(cores(), 4) if small else 1)


_kept: dict[str, Ready] = {}  # cache of prepared tomograms, for the next network
_networks: dict[str, Any] = {}  # of a worker process, by the keys of their weights
_predictors: list[Predictor] = []  # the current one, if any
_said: list[tuple[str, type[Warning]]] = []  # warnings, to be passed to the parent process


def _settle(threads: int, environment: dict[str, str]) -> None:
    """Initialise a worker process: it ends with its parent, has its environment, and collects warnings for it."""
    os.environ.update(environment)  # the server has that of its start
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupts are for the parent process
    torch.set_num_threads(threads)
    warnings.showwarning = lambda message, category, *_, **__: _said.append((str(message), category))

    def follow() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    Thread(target=follow, daemon=True).start()


def _work(key: str, network: bytes | None, detector: Detector, task: Task, following: Task | None) -> Outcome:
    """Return the outcome of a tomogram, in a worker process."""
    if network is not None:
        _networks[key] = pickle.loads(network)
    detector = replace(detector, network=_networks[key])
    if not _predictors or _predictors[0].detector != detector:
        _predictors[:] = [Predictor(detector, _kept)]  # reading ahead for another network is of no use
    outcome = _predictors[0].work(task, following)
    said, _said[:] = tuple(_said), []
    error = outcome.error
    if error is not None and type(error).__module__ != "builtins":  # it might not survive pickling
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return outcome._replace(error=error, warnings=said)
