"""Strict reading of `experiments.yaml`, and checks of notebook parameters."""

import ast
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from math import isfinite
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from motors.workspace.paths import Workspace

PLAN = "experiments.yaml"
UNITS = {"hours": "{} h", "disk": "{} GB on disk", "gpu": "{} GB of GPU memory"}  # expected resources of a step


def number(value: Any) -> float:
    """Return the number in an amount; in `experiments.yaml`, ~ marks an estimate and < a limit."""
    return float(str(value).lstrip("~<"))


Amount = Annotated[float, BeforeValidator(number), Field(ge=0, allow_inf_nan=False)]


def pattern(text: str) -> str:
    """Return a pattern of files, which may be in parentheses; raises ValueError if it is none of a run's folder."""
    path = PurePath(text.strip("()"))
    if path.is_absolute() or not path.parts or re.search(r"(^|/)\.\.(/|$)|[^/]\*\*|\*\*[^/]", str(path)):
        raise ValueError("it should be files in the folder of the run, such as *.csv or (**/*.npz)")
    return text


class ExperimentsFile(BaseModel, extra="forbid", strict=True):
    """The tables of `experiments.yaml`, which are explained there."""

    graph: dict[str, list[str]]
    alone: dict[str, list[str]]
    profiles: dict[str, dict[str, dict[Any, Any] | None]]  # parameters are checked by their notebooks
    products: dict[str, list[Annotated[str, AfterValidator(pattern)]]] = {}
    judges: dict[str, list[str]] = {}
    expect: dict[str, dict[str, dict[Literal[tuple(UNITS)], Amount]]] = {}
    sweeps: dict[str, Any] = {}
    across: list[str] = []
    sharded: list[str] = []


def typed(notebook: str, known: Mapping[str, Any], name: str, value: Any) -> Any:
    """Return a parameter in the type of its default in `known`; raises ValueError if unknown or of another type."""
    if name not in known:
        near = get_close_matches(name.upper(), known, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"{notebook} has no parameter {name}: {guess}it knows {', '.join(known)}")
    wanted = type(known[name])
    if isinstance(value, str) and wanted is not str:
        with suppress(ValueError, SyntaxError):  # text that is not a literal is refused below
            word = value.strip().capitalize()
            value = ast.literal_eval(word if word in ("True", "False", "None") else value)
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted and known[name] is not None:
        raise ValueError(f"{notebook}: {name} wants {wanted.__name__}, as its default {known[name]!r}; got {value!r}")
    if (isinstance(value, float) and not isfinite(value)) or not is_text(str(value)):
        raise ValueError(f"{notebook}: {name} cannot be {value!r}: give a finite number, or text in UTF-8")
    if value != known[name] and json.loads(json.dumps(value, skipkeys=True, default=repr)) != value:  # as a tuple
        raise ValueError(f"{notebook}: {name} would be another value than {value!r} there: write a list, or one number")
    return value


def is_text(text: str) -> bool:
    """Return whether all of a text can be written in UTF-8."""
    return text.encode(errors="ignore").decode() == text


def read_plan(workspace: Workspace) -> dict[str, Any]:
    """Return the content of `experiments.yaml`; raises ValueError if it is invalid."""
    import yaml

    try:
        loader = yaml.SafeLoader((workspace.root / "notebooks" / PLAN).read_text(encoding="utf-8"))
        _refuse_traps(node := loader.get_single_node())  # before YAML's merge keys are resolved
        plan = loader.construct_document(node) if node else None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{PLAN} is not YAML in UTF-8: {' '.join(str(error).split())}: correct it there") from error
    _check(plan)
    return plan


def _refuse_traps(node: Any) -> None:
    """Refuse duplicate keys, whose last value would count, and numbers like 010 and 1:30, read as 8 and 90."""
    parts = getattr(node, "value", "")
    if re.search("int$|float$", getattr(node, "tag", "")) and re.fullmatch(r"[+-]?0[0-7_]+|.*:.*", parts):
        what = f"YAML reads {parts} as another number: write that as you mean it, or a text in quotes"
        raise ValueError(f"{PLAN}, line {node.start_mark.line + 1}: {what}")
    if getattr(node, "id", "") == "mapping":
        names = [key.value for key, _ in parts]
        if twice := next((key for key, _ in parts if names.count(key.value) > 1), None):
            raise ValueError(f"{PLAN}, line {twice.start_mark.line + 1}: {twice.value} is there twice: keep one")
        parts = [value for _, value in parts]
    for part in () if isinstance(parts, str) else parts:
        _refuse_traps(part)


def _check(plan: Any) -> None:
    """Refuse values that do not fit `ExperimentsFile`, and unknown notebooks and profiles."""
    try:
        ExperimentsFile.model_validate(plan or {})
    except ValidationError as error:
        raise ValueError(_sentence(error.errors(include_url=False)[0])) from None
    order = {name: position for position, name in enumerate(plan["graph"])}
    for name, others in plan["graph"].items():
        if later := [other for other in others if order.get(other, -1) >= order[name]]:
            raise ValueError(f"{PLAN}: {name} waits for {later[0]}, which does not stand above it: move it up")
    notebooks = {name: plan.get(name, ()) for name in ("products", "across", "sharded")}
    notebooks |= {f"graph, {name}": others for name, others in plan["graph"].items()}
    for table in ("profiles", "alone", "judges"):
        notebooks |= {f"{table}, {name}": chosen for name, chosen in plan.get(table, {}).items()}
    profiles = {table: plan.get(table, ()) for table in ("alone", "expect")}
    for listed, known, what in ((notebooks, order, "graph"), (profiles, plan["profiles"], "table of profiles")):
        for where, names in listed.items():
            if unknown := ", ".join(name for name in names if name not in known):
                raise ValueError(f"{PLAN}: {where} has {unknown}, which the {what} does not know: correct the name")
    for profile, chosen in plan["profiles"].items():
        if wrong := [name for name, values in chosen.items() if {"PROFILE", "SEED"} & {*(values or ())}]:
            raise ValueError(f"{PLAN}: profile {profile} gives {wrong[0]} PROFILE or SEED: the command says those")


def _sentence(error: Mapping[str, Any]) -> str:
    """Return a pydantic error as one sentence, with its location from the inside out."""
    if error["type"] == "missing":
        return f"{PLAN} has no table {error['loc'][0]}: write one"
    if error["type"] == "extra_forbidden":
        known = list(ExperimentsFile.model_fields)
        near = get_close_matches(str(error["loc"][0]), known, 1, 0.5) or known
        return f"{PLAN} has a table {error['loc'][0]}, which nothing reads: did you mean {', '.join(near)}?"
    place = " in ".join(str(part) for part in reversed(error["loc"]) if part != "[key]")
    what = error["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"{PLAN}: {place or 'all of it'} is {error['input']!r}: {what}"
