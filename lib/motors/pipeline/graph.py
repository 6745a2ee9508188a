"""All notebooks of a profile: what waits for what, which are current, and the Snakemake run of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motors.workspace.code_hash import fingerprint
from motors.workspace.paths import Run, Workspace

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
    plan = read_plan(workspace)
    if profile not in plan["profiles"]:
        raise ValueError(f"{PLAN} has no profile {profile!r}: choose one of {', '.join(plan['profiles'])}")
    settings, graph = plan["profiles"][profile], plan["graph"]

    def before(notebook: str) -> list[str]:
        """Notebooks of this profile that `notebook` waits for."""
        return [n for name in graph[notebook] for n in ([name] if name in settings else before(name))]

    found: dict[str, Step] = {}
    for notebook in graph:  # written in an order in which it can be run
        if notebook in settings:
            parameters = {"PROFILE": profile, "SEED": int(seed), **(settings[notebook] or {})}
            run = workspace.run_of(notebook, parameters)
            after = tuple(found[name] for name in dict.fromkeys(before(notebook)))
            found[notebook] = Step(run, parameters, after, notebook in plan["alone"].get(profile, ()))
            if not found[notebook].source.is_file():
                raise ValueError(f"{PLAN} names {notebook}, but there is no {found[notebook].source.name}")
    return found


def read_plan(workspace: Workspace) -> dict[str, Any]:
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


def expectations(expected: dict[str, dict[str, Any]], plan: dict[str, Step]) -> Iterator[str]:
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
