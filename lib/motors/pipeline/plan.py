"""What `experiments.yaml` says, read strictly, and the parameters that notebooks take."""

import ast
import re
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from math import isfinite
from typing import Any

from motors.workspace.paths import Workspace

PLAN = "experiments.yaml"
TABLES = {"graph": list, "alone": list, "profiles": dict}  # of the plan, and what their entries are
MORE = {"products": list, "judges": list, "expect": dict, "sweeps": object}  # which it may have
LISTS = ("across", "sharded")
UNITS = {"hours": "{} h", "disk": "{} GB on disk", "gpu": "{} GB of GPU memory"}  # of what a step is expected to take


def typed(notebook: str, known: Mapping[str, Any], name: str, value: Any) -> Any:
    """Return the value of a parameter in the type that its default in `known` has.

    Raises ValueError if there is no such parameter, or the value is of another type or cannot be written.
    """
    if name not in known:
        near = get_close_matches(name.upper(), known, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"{notebook} has no parameter {name}: {guess}it knows {', '.join(known)}")
    wanted = type(known[name])
    if isinstance(value, str) and wanted is not str:
        with suppress(ValueError, SyntaxError):  # what is no value is refused below, as the text that it is
            value = ast.literal_eval(value.capitalize() if value.lower() in ("true", "false", "none") else value)
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted and known[name] is not None:
        raise ValueError(f"{notebook}: {name} wants {wanted.__name__}, as its default {known[name]!r}; got {value!r}")
    if (isinstance(value, float) and not isfinite(value)) or not is_text(str(value)):
        raise ValueError(f"{notebook}: {name} cannot be {value!r}: give a finite number, or text in UTF-8")
    return value


def is_text(text: str) -> bool:
    """Return whether all of a text can be written in UTF-8."""
    return text.encode(errors="ignore").decode() == text


def read_plan(workspace: Workspace) -> dict[str, Any]:
    """Return what `experiments.yaml` says, once it is seen to hang together."""
    import yaml

    try:
        loader = yaml.SafeLoader((workspace.root / "notebooks" / PLAN).read_text(encoding="utf-8"))
        _refuse_twice(node := loader.get_single_node())  # before what is merged into tables is among their own
        plan = loader.construct_document(node) if node else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{PLAN} is no YAML in UTF-8: {' '.join(str(error).split())}: correct it there") from error
    _check(plan)
    return plan


def _refuse_twice(node: Any) -> None:
    """Refuse a name that a table of YAML has twice: the last one would count, without a word."""
    parts = getattr(node, "value", "")
    if getattr(node, "id", "") == "mapping":
        names = [key.value for key, _ in parts]
        if twice := next((key for key, _ in parts if names.count(key.value) > 1), None):
            raise ValueError(f"{PLAN}, line {twice.start_mark.line + 1}: {twice.value} is there twice: keep one")
        parts = [value for _, value in parts]
    for part in () if isinstance(parts, str) else parts:
        _refuse_twice(part)


def _check(plan: Any) -> None:
    plan = plan if isinstance(plan, dict) else {}
    known = [*TABLES, *MORE, *LISTS]
    if strange := next((table for table in plan if table not in known), None):
        near = get_close_matches(str(strange), known, 1, 0.5) or known
        raise ValueError(f"{PLAN} has a table {strange}, which nothing reads: did you mean {', '.join(near)}?")
    for table, kind in (TABLES | {table: MORE[table] for table in MORE if table in plan}).items():
        if not isinstance(plan.get(table), dict):
            raise ValueError(f"{PLAN} has no table {table}: write one")
        for name, entry in plan[table].items():
            if not isinstance(entry, kind):
                raise ValueError(f"{PLAN}: {name} in {table} is {entry!r}: make it a {kind.__name__}, such as {kind()}")
    if wrong := [name for name in LISTS if not isinstance(plan.get(name, []), list)]:
        raise ValueError(f"{PLAN}: {wrong[0]} is {plan[wrong[0]]!r}: make it a list, such as []")
    names = list(plan["graph"])
    for position, name in enumerate(names):
        for other in (other for other in plan["graph"][name] if other not in names[:position]):
            below = "does not stand above it: move it up, or end the circle"
            wrong = below if other in names else "the graph does not know: correct the name"
            raise ValueError(f"{PLAN}: {name} waits for {other}, which {wrong}")
    for table in ("alone", "expect"):
        if lost := ", ".join(str(profile) for profile in plan.get(table, ()) if profile not in plan["profiles"]):
            raise ValueError(f"{PLAN}: {table} has {lost}, which is no profile: correct the name")
    for profile, chosen in plan["profiles"].items():
        if wrong := [name for name, values in chosen.items() if not isinstance(values, dict | None)]:
            raise ValueError(f"{PLAN}: profile {profile} gives {wrong[0]} no table of settings: write {{NAME: value}}")
        if wrong := [name for name, values in chosen.items() if {"PROFILE", "SEED"} & {*(values or ())}]:
            raise ValueError(f"{PLAN}: profile {profile} gives {wrong[0]} PROFILE or SEED: the command says those")
    for table, verb in (("profiles", "runs"), ("alone", "runs alone"), ("judges", "judges with")):
        for profile, chosen in plan.get(table, {}).items():
            if unknown := ", ".join(str(name) for name in chosen if name not in names):
                raise ValueError(f"{PLAN}: profile {profile} {verb} {unknown}, which the graph does not know")
    for table in ("products", *LISTS):
        if unknown := ", ".join(str(name) for name in plan.get(table, ()) if name not in names):
            raise ValueError(f"{PLAN}: {table} has {unknown}, which the graph does not know: correct the name")
    _check_amounts(plan.get("expect", {}))


def _check_amounts(expect: Mapping[str, Any]) -> None:
    """Refuse amounts that are none."""
    for name, amounts in (pair for steps in expect.values() for pair in steps.items()):
        for kind, value in amounts.items() if isinstance(amounts, dict) else [(amounts, "")]:
            if kind not in UNITS or not re.fullmatch(r"[~<]?\d+(\.\d+)?", str(value)):
                raise ValueError(f"{PLAN}: {name} is to take {kind}: {value}: give {', '.join(UNITS)}, as 2, ~2 or <2")


def number(value: Any) -> float:
    """Return the number of an amount of `experiments.yaml`, where ~ marks an estimate and < a limit."""
    return float(str(value).lstrip("~<"))
