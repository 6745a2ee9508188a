"""Cleaning of notebooks for commits: outputs and tags stay, what changes from run to run does not.

`python -m motors.pipeline.tidy NOTEBOOK` is a clean filter for git: after *Run All* and a save, there is no difference
if the results are the same. It filters standard input to standard output; `install` sets it up in a clone.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# Durations, rates and progress bars: "4.3 minutes", "1600/1600 [04:23<00:00, 6.08it/s, loss=0.07853]"
TIME = re.compile(r"\|[^|\n]*\| *\d+/\d+ \[[^]\n]*\]|\d+(?:\.\d+)? ?(?:ms|s|min|minutes?|seconds?|hours?|it/s|s/it)\b")


def tidied(notebook: dict[str, Any], committed: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a `notebook` in nbformat 4, cleaned for a commit.

    Sources, outputs and tags of cells are kept. Widgets with a picture, which is shown where no kernel runs, are
    removed; cells that were run from top to bottom are numbered from one. If the outputs of an unchanged cell differ
    from those of the `committed` notebook only in durations, the latter are kept.
    """
    before = {cell.get("id"): cell for cell in (committed or {}).get("cells", [])}
    cells = [_cell(cell, before.get(cell.get("id"))) for cell in notebook["cells"]]
    run = [cell for cell in cells if cell.get("execution_count")]
    counts = [cell["execution_count"] for cell in run]
    if counts == sorted(set(counts)):
        for number, cell in enumerate(run, start=1):
            for numbered in (cell, *cell["outputs"]):
                if "execution_count" in numbered:
                    numbered["execution_count"] = number
    return {**notebook, "cells": cells, "metadata": KERNEL}


def _cell(cell: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    tags = cell.get("metadata", {}).get("tags")
    cell = {**cell, "metadata": {"tags": tags} if tags else {}}
    if cell["cell_type"] != "code":
        return cell
    outputs = [_output(output) for output in cell["outputs"]]
    if before and "".join(before["source"]) == "".join(cell["source"]):
        if _without_times(before.get("outputs", [])) == _without_times(outputs):
            outputs = json.loads(json.dumps(before["outputs"]))
    return {**cell, "outputs": outputs}


def _output(output: dict[str, Any]) -> dict[str, Any]:
    output = {name: value for name, value in output.items() if name != "transient"}
    if "data" in output:
        data = dict(output["data"])
        if any(name.startswith("image/") for name in data):
            data.pop(WIDGET, None)
        output |= {"data": data, "metadata": {}}
    return output


def _without_times(outputs: list[dict[str, Any]]) -> str:
    whole = [{name: value for name, value in output.items() if name != "execution_count"} for output in outputs]
    for output in whole:
        if "text" in output:
            output["text"] = TIME.sub("", "".join(output["text"]))
        elif "data" in output:
            pairs = output["data"].items()
            data = {name: "".join(value) if isinstance(value, list) else value for name, value in pairs}
            output["data"] = data | {"text/plain": TIME.sub("", data.get("text/plain", ""))}
    return json.dumps(whole, sort_keys=True)


def written(notebook: dict[str, Any]) -> str:
    """Return the text of a notebook's file, as JupyterLab and papermill write it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def install(root: Path) -> str:
    """Make git clean notebooks when added or compared, and return the command; raises ValueError without a clone."""
    command = f'"{sys.executable}" -m motors.pipeline.tidy %f'
    setting = ["git", "-C", str(root), "config", "filter.notebooks.clean", command]
    finished = subprocess.run(setting, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise ValueError(f"git has no clone in {root.name}: {finished.stderr.strip()}")
    return command


def main() -> int:
    """Clean the notebook on standard input; anything else is passed through unchanged."""
    text = sys.stdin.buffer.read()
    try:
        notebook = json.loads(text)
        known = subprocess.run(["git", "show", f":{sys.argv[1]}"], capture_output=True, check=False).stdout
        text = written(tidied(notebook, json.loads(known or "null"))).encode()
    except (ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{sys.argv[1]} is committed as it is, it is not a notebook: {error}\n")
    sys.stdout.buffer.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
