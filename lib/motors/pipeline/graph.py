"""The graph of a profile's notebooks: their parameters, dependencies and expected resources."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motors.pipeline.plan import PLAN, UNITS, number, read_plan, typed
from motors.workspace.code_hash import notebook_hash, python_cells
from motors.workspace.paths import MARK, PROFILES, Run, Workspace

if TYPE_CHECKING:
    from motors.pipeline.asked import Request, TrainingJob

LABELS = "10_prepare_labels"


@dataclass(frozen=True)
class Step:
    """One notebook in the graph of a profile."""

    run: Run
    parameters: dict[str, Any] = field(hash=False)
    after: tuple[Step, ...]  # steps whose outputs it reads
    alone: bool  # uses all cores
    expected: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)  # hours, disk, GPU memory

    @property
    def flag(self) -> str:
        """The file that marks this step as succeeded, relative to the workspace."""
        return (self.run.folder / MARK).relative_to(self.run.workspace.root).as_posix()

    @property
    def source(self) -> Path:
        """The notebook itself."""
        return self.run.workspace.root / "notebooks" / f"{self.run.notebook}.ipynb"

    @property
    def executed(self) -> Path:
        """The notebook with its outputs."""
        return self.run.folder / self.source.name

    @property
    def rule(self) -> str:
        """Name of this step's Snakemake rule."""
        name = self.run.notebook if self.run.name in PROFILES else f"{self.run.notebook}_{self.run.name}"
        return "run_" + re.sub(r"\W", lambda found: f"_{ord(found[0]):x}_", name)

    @property
    def resources(self) -> dict[str, int]:
        """Cluster resources: minutes, 1.5 times the expected; memory in MiB; a GPU."""
        gpu = {"mem_mb": 64_000, "gpu": 1} if "gpu" in self.expected else {"mem_mb": 32_000}
        return {"runtime": max(30, round(90 * number(self.expected.get("hours", 1)))), **gpu}

    def shards(self, count: int) -> Step:
        """Return a step for `count` jobs that share the tomograms; Snakemake's wildcard `{shard}` is the job number."""
        tag = f"{{shard}}of{count}"
        return replace(self, run=replace(self.run, tag=f"tag={tag}"), parameters={**self.parameters, "SET": tag})

    @property
    def code(self) -> str:
        """Hash of this step's code and parameters."""
        return notebook_hash(self.source, self.parameters)


def steps(workspace: Workspace, profile: str, seed: int = 0, asked: Request | None = None) -> dict[str, Step]:
    """Return the steps of a profile by notebook, each after those it waits for, as defined in `experiments.yaml`.

    Notebooks that wait for one that the profile leaves out wait for its dependencies instead. With `asked`, the steps
    are the requested trainings, their dependencies, and the notebooks that evaluate them; a step that is not the
    profile's own has the key notebook/run. Raises ValueError if `experiments.yaml` is invalid, lacks the profile or
    names a notebook that does not exist, the request is invalid, or outputs is not a folder.
    """
    names = re.findall(r"\{([^{}]*)\}", str(workspace.root))
    if not all(map(str.isidentifier, names)) or len({*names}) < len(names):
        raise ValueError(f"Snakemake cannot run in {workspace.root}, whose braces it takes for a pattern: rename it")
    if os.path.lexists(workspace.outputs) and not workspace.outputs.is_dir():
        raise ValueError(f"{workspace.outputs} is a file, or leads nowhere: move it away, or mount its disk")
    if (place := workspace.root / "notebooks").resolve() != place:
        raise ValueError(f"{place} is a link, to notebooks of another workspace: link single ones, or copy them")
    plan = read_plan(workspace)
    if profile not in plan["profiles"]:
        raise ValueError(f"{PLAN} has no profile {profile!r}: choose one of {', '.join(plan['profiles'])}")
    maker = _Maker(workspace, plan, profile)
    if asked is None:
        for notebook in plan["graph"]:  # listed in an order in which it can run
            if notebook in plan["profiles"][profile]:
                maker.usual(notebook, int(seed))
        return maker.found
    trainings = asked.trainings(plan, profile, int(seed))
    prepared = declared(workspace, LABELS) | (plan["profiles"][profile].get(LABELS) or {})
    if beyond := [each.fold for each in trainings if each.fold >= prepared.get("FOLDS", each.fold + 1)]:
        raise ValueError(f"there is no fold {beyond[0]}: {LABELS} makes {prepared['FOLDS']}, counted from 0")
    for each in trainings:
        maker.training(each)
    for notebook in asked.judges(plan):
        for one in dict.fromkeys([int(seed)] if notebook in plan.get("across", ()) else [t.seed for t in trainings]):
            maker.judge(notebook, one, asked)
    return maker.found


class _Maker:
    """Builder of steps by name, each made once, after those it waits for."""

    def __init__(self, workspace: Workspace, plan: dict[str, Any], profile: str) -> None:
        self.workspace, self.plan, self.profile = workspace, plan, profile
        self.settings = plan["profiles"][profile]
        self.found: dict[str, Step] = {}
        self.trained: list[Step] = []

    def before(self, notebook: str) -> list[str]:
        """Return the profile's notebooks that `notebook` waits for."""
        if (names := self.plan["graph"].get(notebook)) is None:
            raise ValueError(f"{PLAN} has no {notebook} in its graph: say there what it waits for")
        return [n for name in names for n in ([name] if name in self.settings else self.before(name))]

    def usual(self, notebook: str, seed: int, settings: str = "") -> Step:
        """Return the profile's own step of a notebook; with `settings`, its SET, a separate one."""
        after = [self.usual(name, seed) for name in self.before(notebook)]
        return self.step(notebook, {"SEED": seed} | ({"SET": settings} if settings else {}), after, own=not settings)

    def training(self, asked: TrainingJob) -> Step:
        """Return a training step, after making those it waits for, such as that of its initial weights."""
        after = [self.usual(name, asked.seed, asked.volumes) for name in self.before(asked.notebook)]
        if asked.first:
            after.append(self.training(asked.first))
        self.trained.append(self.step(asked.notebook, asked.parameters, after))
        return self.trained[-1]

    def judge(self, notebook: str, seed: int, asked: Request) -> Step:
        """Return a step that evaluates the requested trainings, of all seeds or of one seed."""
        across = notebook in self.plan.get("across", ())
        judged = [step for step in self.trained if across or step.run.seed == seed]
        names = " ".join(f"{step.run.notebook}/{step.run.name}" for step in dict.fromkeys(judged))
        wanted = {"SEED": seed, "NETWORKS": names, "SET": asked.label, "FOLD": asked.fold}
        known = declared(self.workspace, notebook)
        earlier = [step for step in self.found.values() if step.run.notebook in self.plan["graph"][notebook]]
        after = [*judged, *(step for step in earlier if across or step.run.seed == seed)]
        return self.step(notebook, {name: value for name, value in wanted.items() if name in known}, after)

    def step(self, notebook: str, parameters: dict[str, Any], after: list[Step], *, own: bool = False) -> Step:
        """Return the step with the profile's and these parameters; `own` marks the profile's own step."""
        parameters = {"PROFILE": self.profile, **(self.settings.get(notebook) or {}), **parameters}
        known = declared(self.workspace, notebook)  # its defaults name the run too, as in the runner
        for name, value in parameters.items():
            if not isinstance(name, str) or (isinstance(known.get(name), str) and not isinstance(value, str)):
                raise ValueError(f"{PLAN}: {notebook} has {name!r}: {value!r}, which is not text: put it in quotes")
            if known:
                typed(notebook, known, name, value)
        run = self.workspace.run_of(notebook, known | parameters)
        usual = own or run == self.workspace.run_of(notebook, known | {n: parameters[n] for n in ("PROFILE", "SEED")})
        usual = usual and notebook not in self.found
        key = notebook if usual else f"{notebook}/{run.name}"
        if same := next((step for step in self.found.values() if step.run == run), None):
            return same
        alone = notebook in self.plan["alone"].get(self.profile, ())
        expected = self.plan.get("expect", {}).get(self.profile, {}).get(notebook, {})
        made = self.found[key] = Step(run, parameters, tuple(dict.fromkeys(after)), alone, expected)
        if not made.source.is_file():
            raise ValueError(f"{PLAN} names {notebook}, but there is no {made.source.name}")
        return made


def declared(workspace: Workspace, notebook: str) -> dict[str, Any]:
    """Return a notebook's parameters and defaults, if these are literals; none if the notebook is missing."""
    path = workspace.root / "notebooks" / f"{notebook}.ipynb"
    tagged = [code for code, _, tags in python_cells(path) if "parameters" in tags] if path.is_file() else []
    found: dict[str, Any] = {}
    for node in ast.parse("\n".join(tagged)).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            with suppress(ValueError):  # the strict runner refuses other defaults
                found[ast.unparse(target)] = ast.literal_eval(node.value)
    return found


def expectations(expected: dict[str, dict[str, Any]], plan: dict[str, Step]) -> Iterator[str]:
    """Yield lines on what each step waits for, and on the expected resources, also of manual steps."""
    yield "what waits for what" + (", and what it is expected to take:" if expected else ":")
    names = {step.flag: name for name, step in plan.items()}
    for name in dict.fromkeys([*expected, *plan]):
        after = ", ".join(names[before.flag] for before in plan[name].after) if name in plan else ""
        first = "by hand" if name not in plan else f"after {after}" if after else "first"
        takes = [_amount(unit, expected.get(name, {}).get(kind)) for kind, unit in UNITS.items()]
        yield f"  {name}: {'; '.join([first, *filter(None, takes)])}"
    if expected:
        hours, disk, gpu = ([number(each.get(kind, 0)) for each in expected.values()] for kind in UNITS)
        yield f"in all {sum(hours):.0f} h one after the other; {sum(disk):.0f} GB on disk; a GPU with {max(gpu):.0f} GB"


def _amount(unit: str, value: Any) -> str:
    """Return an amount in words; in `experiments.yaml`, ~ marks an estimate and < a limit."""
    if value is None:
        return ""
    words = unit.format(str(value).lstrip("~").replace("<", "less than "))
    return f"{words} (estimated)" if str(value).startswith("~") else words
