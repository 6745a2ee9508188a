"""What benchmarks share: a JSON for each run, with what it was measured on, and the table of the newest ones."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from motors.workspace.files import write_json
from motors.workspace.paths import find
from motors.workspace.provenance import commit, versions

ROOT = find(Path(__file__).parent).root
OUTPUTS = ROOT / "outputs" / "benchmarks"


def save(name: str, lines: dict[str, str], rows: Any, **about: Any) -> Path:
    """Write what was measured: `lines` of the table, a figure in words for each question, and all `rows`."""
    machine = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores"
    about |= {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 2), "versions": versions()}
    stamp = time.strftime("%Y%m%d-%H%M%S")
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    found = {**commit(ROOT), "machine": machine, **about, "lines": lines, "rows": rows}
    return write_json(OUTPUTS / f"{name}-{stamp}.json", found)


def table() -> str:
    """Return the newest figure for every question, with the machine and the load it was measured under."""
    newest: dict[str, str] = {}
    for path in sorted(OUTPUTS.glob("*.json"), key=lambda path: (path.name.partition("-")[0], path.name)):
        found = json.loads(path.read_text(encoding="utf-8"))
        end = f"{found['machine']} | {found['load']} | {found['commit'][:8]} |"
        newest |= {what: f"| {what} | {figure} | {end}" for what, figure in found.get("lines", {}).items()}
    head = ["| measured by `make bench` | | machine | load | commit |", "|---|---|---|---|---|"]
    return "\n".join([*head, *newest.values()])


if __name__ == "__main__":
    print(table())
