"""Toy workspaces: a few notebooks of a few lines, in a folder laid out like the repository."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PARAMETERS = (
    'PROFILE: str = "demo"  # smoke, demo or full\nSEED: int = 0  # of everything random\nSTEPS: int = 3  # steps\n'
)


def workspace(root: Path) -> Path:
    """Make the folders of an empty workspace and return its root."""
    for name in ("notebooks", "kaggle_datasets", "outputs"):
        (root / name).mkdir(parents=True)
    return root


def notebook(root: Path, name: str, *cells: str, parameters: str = PARAMETERS, tag: str = "parameters") -> Path:
    """Write a notebook of code cells below a cell of parameters and one that opens the run; return its path."""
    opening = f'from motors import workspace\nrun = workspace.open_run("{name}", PROFILE, SEED)'
    written = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A toy\n> Runs in no time."}]
    for number, source in enumerate((parameters, opening, *cells)):
        cell = {"cell_type": "code", "id": f"c{number}", "metadata": {"tags": [tag]} if number == 0 else {}}
        written.append(cell | {"source": source, "outputs": [], "execution_count": None})
    path = root / "notebooks" / f"{name}.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": written, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


def graph(root: Path, plan: str) -> None:
    """Give the workspace `plan` as its experiments.yaml, and the repository's Snakefile."""
    (root / "notebooks" / "experiments.yaml").write_text(plan)
    shutil.copy(REPOSITORY / "notebooks" / "Snakefile", root / "notebooks" / "Snakefile")


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run `python -m motors.workspace` with `arguments` in the workspace."""
    line = [sys.executable, "-m", "motors.workspace", *map(str, arguments)]
    return subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)


def start(root: Path, *arguments: str) -> subprocess.Popen:
    """Start `python -m motors.workspace` with `arguments` in the workspace, to be interrupted."""
    line = [sys.executable, "-m", "motors.workspace", *map(str, arguments)]
    return subprocess.Popen(line, cwd=root, stderr=subprocess.PIPE, text=True)


def record(root: Path, name: str, run: str = "demo") -> dict:
    """Return the record of a run."""
    return json.loads((root / "outputs" / name / run / "record.json").read_text())


def alive(pid: int) -> bool:
    """True if a process is there and is not merely waiting to be buried."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
