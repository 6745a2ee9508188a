"""All notebooks of a profile: what waits for what, which are current, and the Snakemake run of the others."""

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
from motors.workspace.code_hash import notebook_hash
from motors.workspace.files import read_json
from motors.workspace.paths import MARK, PROFILES, Run, Workspace

if TYPE_CHECKING:
    from motors.pipeline.asked import Request, TrainingJob

LABELS = "10_prepare_labels"


@dataclass(frozen=True)
class Step:
    """One notebook in the graph of a profile."""

    run: Run
    parameters: dict[str, Any] = field(hash=False)
    after: tuple[Step, ...]  # whose outputs it reads
    alone: bool  # takes every core
    expected: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)  # hours, disk, GPU memory

    @property
    def flag(self) -> str:
        """The file that says this step has succeeded, relative to the workspace."""
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
        """What Snakemake calls this step."""
        name = self.run.notebook if self.run.name in PROFILES else f"{self.run.notebook}_{self.run.name}"
        return "run_" + re.sub(r"\W", lambda found: f"_{ord(found[0]):x}_", name)

    @property
    def resources(self) -> dict[str, int]:
        """What a cluster is asked for: minutes, half as many again; memory in MiB; a GPU."""
        gpu = {"mem_mb": 64_000, "gpu": 1} if "gpu" in self.expected else {"mem_mb": 32_000}
        return {"runtime": max(30, round(90 * number(self.expected.get("hours", 1)))), **gpu}

    def shards(self, count: int) -> Step:
        """The steps that share this one's tomograms in `count` jobs; Snakemake's wildcard `{shard}` is their number."""
        tag = f"{{shard}}of{count}"
        return replace(self, run=replace(self.run, tag=f"tag={tag}"), parameters={**self.parameters, "SET": tag})

    @property
    def code(self) -> str:
        """A hash of what decides what this step does."""
        return notebook_hash(self.source, self.parameters)


def steps(workspace: Workspace, profile: str, seed: int = 0, asked: Request | None = None) -> dict[str, Step]:
    """Return the steps of a profile by notebook, each after those it waits for, as `experiments.yaml` has them.

    A notebook that the profile leaves out is skipped over: who waits for it waits for those it would have waited for.
    If trainings are `asked` for, it is they, what they read, and the notebooks that judge them; one that is not the
    profile's own is called notebook/run. Raises ValueError if `experiments.yaml` is broken, the profile is not in it, a
    notebook is named there that does not exist, what is asked for makes no sense, or outputs is no folder.
    """
    names = re.findall(r"\{([^{}]*)\}", str(workspace.root))
    if not all(map(str.isidentifier, names)) or len({*names}) < len(names):
        raise ValueError(f"Snakemake cannot run in {workspace.root}, whose braces it takes for a pattern: rename it")
    if os.path.lexists(workspace.outputs) and not workspace.outputs.is_dir():
        raise ValueError(f"{workspace.outputs} is a file, or leads nowhere: move it away, or mount its disk")
    plan = read_plan(workspace)
    if profile not in plan["profiles"]:
        raise ValueError(f"{PLAN} has no profile {profile!r}: choose one of {', '.join(plan['profiles'])}")
    maker = _Maker(workspace, plan, profile)
    if asked is None:
        for notebook in plan["graph"]:  # written in an order in which it can be run
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
    """Makes steps, each once, by their names, with those they wait for before them."""

    def __init__(self, workspace: Workspace, plan: dict[str, Any], profile: str) -> None:
        self.workspace, self.plan, self.profile = workspace, plan, profile
        self.settings = plan["profiles"][profile]
        self.found: dict[str, Step] = {}
        self.trained: list[Step] = []

    def before(self, notebook: str) -> list[str]:
        """Notebooks of this profile that `notebook` waits for."""
        if (names := self.plan["graph"].get(notebook)) is None:
            raise ValueError(f"{PLAN} has no {notebook} in its graph: say there what it waits for")
        return [n for name in names for n in ([name] if name in self.settings else self.before(name))]

    def usual(self, notebook: str, seed: int, settings: str = "") -> Step:
        """The step that a profile has for a notebook; with `settings`, its SET, one beside it."""
        after = [self.usual(name, seed) for name in self.before(notebook)]
        return self.step(notebook, {"SEED": seed} | ({"SET": settings} if settings else {}), after, own=not settings)

    def training(self, asked: TrainingJob) -> Step:
        """A step that trains, and those before it; the weights that it starts from are trained first."""
        after = [self.usual(name, asked.seed, asked.volumes) for name in self.before(asked.notebook)]
        if asked.first:
            after.append(self.training(asked.first))
        self.trained.append(self.step(asked.notebook, asked.parameters, after))
        return self.trained[-1]

    def judge(self, notebook: str, seed: int, asked: Request) -> Step:
        """A step that judges the trainings that were asked for; across seeds, or those of one seed."""
        across = notebook in self.plan.get("across", ())
        judged = [step for step in self.trained if across or step.run.seed == seed]
        names = " ".join(f"{step.run.notebook}/{step.run.name}" for step in dict.fromkeys(judged))
        wanted = {"SEED": seed, "NETWORKS": names, "SET": asked.label, "FOLD": asked.fold}
        known = declared(self.workspace, notebook)
        earlier = [step for step in self.found.values() if step.run.notebook in self.plan["graph"][notebook]]
        after = [*judged, *(step for step in earlier if across or step.run.seed == seed)]
        return self.step(notebook, {name: value for name, value in wanted.items() if name in known}, after)

    def step(self, notebook: str, parameters: dict[str, Any], after: list[Step], *, own: bool = False) -> Step:
        """The step of a notebook with these parameters and those of the profile, whose own it may be."""
        parameters = {"PROFILE": self.profile, **(self.settings.get(notebook) or {}), **parameters}
        known = declared(self.workspace, notebook)  # its own values name the run too, as in the runner
        for name, value in parameters.items():
            if not isinstance(name, str) or (isinstance(known.get(name), str) and not isinstance(value, str)):
                raise ValueError(f"{PLAN}: {notebook} has {name!r}: {value!r}, which is no text: put it in quotes")
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
    """Return the parameters of a notebook, with their defaults where those are plain; none if it is not there."""
    cells = read_json(workspace.root / "notebooks" / f"{notebook}.ipynb").get("cells", ())
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    found: dict[str, Any] = {}
    for node in ast.parse("\n".join(tagged)).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            with suppress(ValueError):  # what is not plain the strict runner refuses
                found[ast.unparse(target)] = ast.literal_eval(node.value)
    return found


def expectations(expected: dict[str, dict[str, Any]], plan: dict[str, Step]) -> Iterator[str]:
    """Lines on what each step waits for, and what it and what is done by hand are expected to take."""
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
    """Say an amount of `experiments.yaml`, where ~ marks an estimate and < a limit."""
    if value is None:
        return ""
    words = unit.format(str(value).lstrip("~").replace("<", "less than "))
    return f"{words} (estimated)" if str(value).startswith("~") else words
