"""All notebooks of a profile: what waits for what, which are current, and the Snakemake run of the others."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motors.workspace.places import Run, Workspace, find
from motors.workspace.records import write_text
from motors.workspace.sources import fingerprint

PLAN = "experiments.yaml"
UNITS = {"hours": "{} h", "disk": "{} GB on disk", "gpu": "{} GB of GPU memory"}  # of what a step is expected to take


@dataclass(frozen=True)
class Step:
    """One notebook in the graph of a profile."""

    run: Run
    parameters: dict[str, Any]
    after: tuple[Step, ...]  # whose outputs it reads
    alone: bool  # takes every core

    @property
    def flag(self) -> str:
        """The file that says this step has succeeded, relative to the workspace."""
        return (self.run.folder / "finished").relative_to(self.run.workspace.root).as_posix()

    @property
    def source(self) -> Path:
        """The notebook itself."""
        return self.run.workspace.root / "notebooks" / f"{self.run.notebook}.ipynb"

    @property
    def executed(self) -> Path:
        """The notebook with its outputs."""
        return self.run.folder / self.source.name

    @property
    def code(self) -> str:
        """A hash of what decides what this step does."""
        return fingerprint(self.source, self.parameters)


def steps(workspace: Workspace, profile: str, seed: int = 0) -> dict[str, Step]:
    """Return the steps of a profile by notebook, each after those it waits for, as `experiments.yaml` has them.

    A notebook that the profile leaves out is skipped over: who waits for it waits for those it would have waited for.

    Raises
    ------
    ValueError
        If `experiments.yaml` is broken, the profile is not in it, or a notebook is named there that does not exist.
    """
    plan = _read(workspace)
    if profile not in plan["profiles"]:
        raise ValueError(f"{PLAN} has no profile {profile!r}: choose one of {', '.join(plan['profiles'])}")
    settings, graph = plan["profiles"][profile], plan["graph"]

    def before(notebook: str) -> list[str]:
        """Notebooks of this profile that `notebook` waits for."""
        return [n for name in graph[notebook] for n in ([name] if name in settings else before(name))]

    found: dict[str, Step] = {}
    for notebook in graph:  # written in an order in which it can be run
        if notebook in settings:
            run = workspace.run(notebook, profile, seed)
            parameters = {"PROFILE": profile, "SEED": run.seed, **(settings[notebook] or {})}
            after = tuple(found[name] for name in dict.fromkeys(before(notebook)))
            found[notebook] = Step(run, parameters, after, notebook in plan["alone"].get(profile, ()))
            if not found[notebook].source.is_file():
                raise ValueError(f"{PLAN} names {notebook}, but there is no {found[notebook].source.name}")
    return found


def reproduce(
    profile: str = "demo",
    seed: int = 0,
    *,
    cores: int | None = None,
    dry_run: bool = False,
    start: Path | str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Run the notebooks of a profile that are not current and return Snakemake's exit code, 0 for success.

    A step is current when it has succeeded with this code and these parameters, and after those it waits for. An
    interrupted reproduction is gone on with by starting it again.

    Parameters
    ----------
    profile : which notebooks run with which parameters: a profile of `experiments.yaml`
    seed : seed of every notebook; it names the runs
    cores : how many processor cores to use, by default all
    dry_run : only say which steps are current and which would run, what each waits for, and what it is expected to take
    start : a folder in the workspace, by default the current one
    say : is given each line of the report

    Raises
    ------
    ValueError
        If the profile does not fit the notebooks there are, or another reproduction is running.
    """
    workspace = find(start)
    plan = steps(workspace, profile, seed)
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", "notebooks/Snakefile", "--cores"]
    snakemake += [str(cores or os.cpu_count()), "--config", f"profile={profile}", f"seed={seed}", "quiet=True"]
    snakemake += ["--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input"]
    snakemake += ["--scheduler", "greedy", "--quiet", "host"]
    began = time.time()
    with _the_only_one(workspace) as lock:
        if any((workspace.root / ".snakemake").glob("locks/*")):  # nobody else is alive: what is locked is stale
            subprocess.run([*snakemake, "--unlock"], cwd=workspace.root, check=True, capture_output=True)
        pending = _pending(workspace, snakemake)
        for notebook, step in plan.items():
            say(f"{notebook}: {'will run' if step.flag in pending else 'skipped: current'}")
        if dry_run:
            for line in _plan(_read(workspace).get("expect", {}).get(profile, {}), plan):
                say(line)
            return 0
        code = _supervised(snakemake, workspace, lock) if pending else 0
    for line in _result(workspace, plan) if code == 0 else _failures(plan, began):
        say(line)
    return code


def keep(profile: str = "demo", seed: int = 0, *, start: Path | str | None = None) -> list[Path]:
    """Put the executed notebooks of a profile in the place of the notebooks themselves and return their paths.

    Only outputs and execution counts are taken over, and no metadata that changes from run to run.

    Raises
    ------
    ValueError
        If a notebook has not succeeded as it is now, or ran with injected parameters.
    """
    kept = []
    for notebook, step in steps(find(start), profile, seed).items():
        source = json.loads(step.source.read_text())
        executed = json.loads(step.executed.read_text()) if step.executed.is_file() else {"cells": []}
        succeeded = (step.run.workspace.root / step.flag).is_file()
        if not succeeded or _sources(source) != _sources(executed):
            raise ValueError(
                f"{notebook} has not been run as it is now, with its own values: reproduce {profile} first"
            )
        for cell, done in zip(source["cells"], executed["cells"], strict=True):
            if cell["cell_type"] == "code":
                cell |= {"outputs": done["outputs"], "execution_count": done["execution_count"]}
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        source["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
        kept.append(write_text(step.source, json.dumps(source, indent=1, ensure_ascii=False) + "\n"))
    return kept


def _sources(notebook: dict[str, Any]) -> list[str]:
    """The text of every cell."""
    return ["".join(cell["source"]) for cell in notebook["cells"]]


@contextmanager
def _the_only_one(workspace: Workspace) -> Iterator[Any]:
    """Hold the workspace; the operating system lets go when this process and the Snakemake it started are dead."""
    folder = workspace.root / ".snakemake"
    folder.mkdir(exist_ok=True)
    with open(folder / "reproduce.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another reproduction is running in {workspace.root}: wait for it or end it") from None
        yield lock


def _read(workspace: Workspace) -> dict[str, Any]:
    """Return what `experiments.yaml` says, once it is seen to hang together."""
    import yaml

    try:
        plan = yaml.safe_load((workspace.root / "notebooks" / PLAN).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{PLAN} is no YAML: {' '.join(str(error).split())}: correct it there") from error
    _check(plan)
    return plan


def _check(plan: Any) -> None:
    """Refuse an `experiments.yaml` that does not hang together."""
    for table, kind in {"graph": list, "alone": list, "profiles": dict}.items():
        if not isinstance(plan, dict) or not isinstance(plan.get(table), dict):
            raise ValueError(f"{PLAN} has no table {table}: write one")
        for name, entry in plan[table].items():
            if not isinstance(entry, kind):
                raise ValueError(f"{PLAN}: {name} in {table} is {entry!r}: make it a {kind.__name__}, such as {kind()}")
    names = list(plan["graph"])
    for position, name in enumerate(names):
        for other in (other for other in plan["graph"][name] if other not in names[:position]):
            below = "does not stand above it: move it up, or end the circle"
            wrong = below if other in names else "the graph does not know: correct the name"
            raise ValueError(f"{PLAN}: {name} waits for {other}, which {wrong}")
    if lost := ", ".join(str(profile) for profile in plan["alone"] if profile not in plan["profiles"]):
        raise ValueError(f"{PLAN}: alone has {lost}, which is no profile: correct the name")
    for profile, chosen in plan["profiles"].items():
        if wrong := [name for name, values in chosen.items() if not isinstance(values, dict | None)]:
            raise ValueError(f"{PLAN}: profile {profile} gives {wrong[0]} no table of settings: write {{NAME: value}}")
    for table, verb in (("profiles", "runs"), ("alone", "runs alone")):
        for profile, chosen in plan[table].items():
            if unknown := ", ".join(str(name) for name in chosen if name not in names):
                raise ValueError(f"{PLAN}: profile {profile} {verb} {unknown}, which the graph does not know")


def _plan(expected: dict[str, dict[str, Any]], plan: dict[str, Step]) -> Iterator[str]:
    """Lines on what each step waits for, and what it and what is done by hand are expected to take."""
    yield "what waits for what" + (", and what it is expected to take:" if expected else ":")
    for name in dict.fromkeys([*expected, *plan]):
        after = ", ".join(before.run.notebook for before in plan[name].after) if name in plan else ""
        first = "by hand" if name not in plan else f"after {after}" if after else "first"
        takes = [_amount(unit, expected.get(name, {}).get(kind)) for kind, unit in UNITS.items()]
        yield f"  {name}: {'; '.join([first, *filter(None, takes)])}"
    if expected:
        hours, disk, gpu = ([_number(each.get(kind, 0)) for each in expected.values()] for kind in UNITS)
        yield f"in all {sum(hours):.0f} h one after the other; {sum(disk):.0f} GB on disk; a GPU with {max(gpu):.0f} GB"


def _amount(unit: str, value: Any) -> str:
    """Say an amount of `experiments.yaml`, where ~ marks an estimate and < a limit."""
    if value is None:
        return ""
    words = unit.format(str(value).lstrip("~").replace("<", "less than "))
    return f"{words} (estimated)" if str(value).startswith("~") else words


def _number(value: Any) -> float:
    """The number of such an amount."""
    return float(str(value).lstrip("~<"))


def _pending(workspace: Workspace, snakemake: list[str]) -> set[str]:
    """Flags of the steps that Snakemake wants to run."""
    answer = subprocess.run([*snakemake, "--summary"], cwd=workspace.root, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ValueError(f"the Snakefile cannot be used:\n{answer.stderr.strip()}")
    rows = csv.DictReader(answer.stdout.splitlines(), delimiter="\t")
    return {row["output_file"] for row in rows if row["plan"] != "no update"}


def _supervised(snakemake: list[str], workspace: Workspace, lock: Any) -> int:
    """Run Snakemake to its end; a signal to us interrupts it and its jobs, and we wait until they have tidied up."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    process = subprocess.Popen(snakemake, cwd=workspace.root, start_new_session=True, pass_fds=[lock.fileno()])

    def interrupt(*_: object) -> None:
        os.killpg(process.pid, signal.SIGINT)

    earlier = {number: signal.signal(number, interrupt) for number in signals}
    try:
        return process.wait()
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _result(workspace: Workspace, plan: dict[str, Step]) -> Iterator[str]:
    """Lines on what was reached and where it lies."""
    last = list(plan.values())[-1].run
    score, submission = last.folder / "score.json", last.folder / "submission.csv"
    if score.is_file():
        score = json.loads(score.read_text())
        yield (
            f"F2 {score['f2']:.3f} on the hidden test (95 % interval {score['low']:.3f} to {score['high']:.3f};"
            f" {score['f2_original_quantile']:.3f} at the original solution's quantile 0.55)"
        )
    if submission.is_file():
        yield f"submission: {os.path.relpath(submission)}"
    yield "executed notebooks:"
    yield from (f"  {os.path.relpath(step.executed)}" for step in plan.values())


def _failures(plan: dict[str, Step], began: float) -> Iterator[str]:
    """Lines on the steps that were run and did not succeed."""
    for notebook, step in plan.items():
        file = step.run.folder / "record.json"
        record = json.loads(file.read_text()) if file.is_file() and file.stat().st_mtime >= began else {}
        if record.get("status") == "running":
            yield f"{notebook} was killed"
        elif record.get("status") in ("failed", "interrupted"):
            yield f"{notebook} {record['status']}: {record['error']} (see {os.path.relpath(step.executed)})"
    yield "run the same command again to go on: finished steps are skipped"
