"""Run the notebooks of a profile that are not current, and keep their outputs."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motors.pipeline.graph import Step, expectations, steps
from motors.pipeline.plan import read_plan
from motors.pipeline.records import newest, settle
from motors.pipeline.runner import heeding
from motors.pipeline.tidy import tidied, written
from motors.workspace import files
from motors.workspace.files import locked, read_json, write_text
from motors.workspace.paths import MARK, Workspace, find

if TYPE_CHECKING:
    from motors.pipeline.asked import Request


def reproduce(
    profile: str = "demo",
    seed: int = 0,
    *,
    cores: int | None = None,
    dry_run: bool = False,
    asked: Request | None = None,
    executor: str = "",
    shards: int = 0,
    start: Path | str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Run the notebooks of a profile that are not current and return an exit code, 0 for success, 130 if interrupted.

    A step is current if it has succeeded with its present code and parameters, after those it waits for. Start an
    interrupted reproduction again to continue it.

    Parameters
    ----------
    profile : which notebooks run with which parameters: a profile of `experiments.yaml`
    seed : seed of every notebook; it names the runs
    cores : how many processor cores to use, by default all
    dry_run : only report which steps are current and which would run, what each waits for, and its expected resources
    asked : trainings, with their dependencies and evaluation, instead of the whole profile
    executor : Snakemake's executor, such as slurm; the user's `SNAKEMAKE_PROFILE` gives account and partition. Empty
        means this machine; with an executor, failed jobs are retried once, and other jobs go on
    shards : number of jobs that share the tomograms of `sharded` notebooks in `experiments.yaml`; 0 for none
    start : a folder in the workspace, by default the current one
    say : called with each line of the report

    Raises ValueError if the profile does not fit the notebooks, outputs is not a folder, or another reproduction runs.
    """
    workspace = find(start)
    plan = steps(workspace, profile, seed, asked)
    config: dict[str, Any] = {"profile": profile, "seed": seed, "quiet": True}
    config |= {"cluster": True} if executor else {}
    config |= {"shards": shards, "sharded": " ".join(read_plan(workspace).get("sharded", []))} if shards else {}
    config |= {"asked": json.dumps(asdict(asked))} if asked else {}
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", "notebooks/Snakefile", *_executor(executor, cores)]
    snakemake += ["--config", *(f"{name}={value}" for name, value in config.items()), "--workflow-profile", "none"]
    snakemake += ["--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input"]
    snakemake += ["--scheduler", "greedy", "--quiet", "host"]
    began, own = time.time(), _folder(workspace)
    running = ValueError(f"another reproduction is running in {workspace.root}: wait for it or end it")
    with locked(own / "reproduce.lock", held=running) as lock:  # until this process and Snakemake end
        if any(own.glob("locks/*")):  # of dead processes, as we hold the lock
            subprocess.run([*snakemake, "--unlock"], cwd=workspace.root, check=True, capture_output=True)
        _put_right(plan)
        pending = _pending(workspace, snakemake)
        for notebook, step in plan.items():
            say(f"{notebook}: {'will run' if step.flag in pending else 'skipped: current'}")
        if dry_run:
            for line in expectations(read_plan(workspace).get("expect", {}).get(profile, {}), plan):
                say(line)
            return 0
        code = _supervised(snakemake, workspace, lock) if pending else 0
    for line in _result(workspace, plan) if code == 0 else _failures(plan, began):
        say(line)
    return code


def _put_right(plan: dict[str, Step]) -> None:
    """Mark killed executions, and reset flags from the future (wrong clock), which make Snakemake fail later steps."""
    for step in plan.values():
        settle(step.run.folder)
        flag = step.run.folder / MARK
        if flag.is_file() and flag.stat().st_mtime > time.time():
            os.utime(flag)


def _folder(workspace: Workspace) -> Path:
    """Return Snakemake's folder in the workspace; its cache goes there too if the user's is not writable."""
    own = workspace.root / ".snakemake"
    own.mkdir(exist_ok=True)
    usual = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    with suppress(OSError):
        usual.mkdir(parents=True, exist_ok=True)
        if os.access(usual, os.W_OK):
            return own
    os.environ["XDG_CACHE_HOME"] = str(own / "cache")
    return own


def _executor(name: str, cores: int | None) -> list[str]:
    """Return Snakemake's options for jobs on this machine, or on a cluster, whose scheduler knows its own limits."""
    if not name:  # without the user's own profile, which may set anything
        return ["--cores", str(cores or files.cores()), "--profile", "none"]
    if importlib.util.find_spec(f"snakemake_executor_plugin_{name.replace('-', '_')}") is None:
        raise ValueError(f"the executor {name} needs its plugin: pip install snakemake-executor-plugin-{name}")
    return ["--executor", name, "--jobs", str(cores or 100), "--latency-wait", "60", "--retries", "1", "--keep-going"]


def keep(profile: str = "demo", seed: int = 0, *, start: Path | str | None = None) -> list[Path]:
    """Replace the notebooks of a profile by their executed versions and return the paths.

    Only outputs and execution counts are copied, without metadata that changes from run to run. Raises ValueError if
    a notebook has not succeeded in its present form, or ran with injected parameters.
    """
    kept = []
    for notebook, step in steps(find(start), profile, seed).items():
        source, executed = read_json(step.source), read_json(step.executed)
        if not (step.run.folder / MARK).is_file() or _sources(source) != _sources(executed):
            what = f"{notebook} has not been run as it is now, with its own values"
            raise ValueError(f"{what}: reproduce {profile} first")
        for cell, done in zip(source["cells"], executed["cells"], strict=True):
            if cell["cell_type"] == "code":
                cell |= {"outputs": done["outputs"], "execution_count": done["execution_count"]}
        kept.append(write_text(step.source, written(tidied(source))))
    return kept


def _sources(notebook: dict[str, Any]) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook.get("cells", ())]


def _pending(workspace: Workspace, snakemake: list[str]) -> set[str]:
    line = [*snakemake, "--summary"]
    finished = subprocess.run(line, cwd=workspace.root, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise ValueError(f"the Snakefile cannot be used: {' '.join(finished.stderr.split())[-300:]}")
    rows = csv.DictReader(finished.stdout.splitlines(), delimiter="\t")
    return {row["output_file"] for row in rows if row["plan"] != "no update"}


def _supervised(snakemake: list[str], workspace: Workspace, lock: Any) -> int:
    """Return Snakemake's exit code; on a signal, interrupt it and its jobs, and return 130 when they have ended."""
    how = {"cwd": workspace.root, "start_new_session": True, "pass_fds": [lock.fileno()]}
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs ignore it
    process = subprocess.Popen(snakemake, preexec_fn=hears, **how)
    heard: list[None] = []
    with heeding(lambda: heard.append(os.killpg(process.pid, signal.SIGINT))):
        code = process.wait()
    return 128 + signal.SIGINT if heard and code else code


def _result(workspace: Workspace, plan: dict[str, Step]) -> Iterator[str]:
    last = list(plan.values())[-1].run
    score, submission = read_json(last.folder / "score.json"), last.folder / "submission.csv"
    if score:
        interval = f"95 % interval {score['low']:.3f} to {score['high']:.3f}"
        other = f"{score['f2_original_quantile']:.3f} at the original solution's quantile 0.55"
        yield f"F2 {score['f2']:.3f} on the hidden test ({interval}; {other})"
    if submission.is_file():
        yield f"submission: {os.path.relpath(submission)}"
    yield "executed notebooks:"
    yield from (f"  {os.path.relpath(step.executed)}" for step in plan.values())


def _failures(plan: dict[str, Step], began: float) -> Iterator[str]:
    for notebook, step in plan.items():
        settle(step.run.folder)
        file = newest(step.run.folder)
        record = read_json(file)
        if record.get("status") in ("failed", "interrupted") and file.stat().st_mtime >= began:
            executed = os.path.relpath(file.with_name(step.source.name))
            yield f"{notebook} {record['status']}: {record['error']} (see {executed})"
    yield "run the same command again to go on: finished steps are skipped"
