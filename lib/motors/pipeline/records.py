"""Files that the execution of a notebook leaves: its record, corrected metadata, and products."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from motors.pipeline.plan import PLAN, read_plan
from motors.workspace.files import locked, read_json, sha256, visible, write_json, write_text
from motors.workspace.paths import IDENTITY, MARK, Run

RECORD = "record.json"
ATTEMPT = "attempt"  # folder in a run's folder: a failed execution after an earlier success
LARGE = 2**28  # bytes: the record has only the size of larger outputs
OWN_FILES = (RECORD, IDENTITY, MARK, ".lock")  # in a run's folder, beside the executed notebook


@contextmanager
def attempt(named: Run) -> Iterator[Path]:
    """Yield the folder for a record and an executed notebook.

    Those of an earlier success are kept until this execution succeeds, too; if it fails and has changed products, the
    earlier record is marked as stale. A record that cannot be finished, as on a full disk, is removed.
    """
    (named.folder / MARK).unlink(missing_ok=True)  # the graph's mark of an earlier success
    good = read_json(named.folder / RECORD)
    place = named.folder / ATTEMPT if good.get("status") == "succeeded" else named.folder
    place.mkdir(exist_ok=True)
    try:
        yield place
    except BaseException:
        (place / RECORD).unlink(missing_ok=True)
        raise
    status = read_json(place / RECORD)["status"]
    if status == "succeeded":
        for name in (RECORD, f"{named.notebook}.ipynb"):
            (place / name).replace(named.folder / name)
            (named.folder / ATTEMPT / name).unlink(missing_ok=True)
        with suppress(OSError):  # missing, or with other files in it
            (named.folder / ATTEMPT).rmdir()
    elif place != named.folder:
        _outdate(named.folder, good, status)


def _outdate(folder: Path, good: dict[str, Any], status: str) -> None:
    """Mark the record of an earlier success as stale if an attempt has changed its products."""
    there = good.get("outputs")  # may be missing in a foreign record
    if not isinstance(there, dict) or any(_about(folder / path) != was for path, was in there.items()):
        error = f"overwritten by an attempt that {status}"
        write_json(folder / RECORD, good | {"status": "stale", "error": error})


def settle(folder: Path) -> None:
    """Mark a killed execution as interrupted: its record says running, but no process holds its lock."""
    file, good = newest(folder), read_json(folder / RECORD)
    record = read_json(file)
    if record.get("status") == "running":
        with suppress(BlockingIOError), locked(folder / ".lock"):
            write_json(file, record | {"status": "interrupted", "error": "killed before it had ended"})
            if good.get("status") == "succeeded":
                _outdate(folder, good, "was killed")


def newest(folder: Path) -> Path:
    """Return the path of the last execution's record in a run's folder; it may be missing."""
    failed = folder / ATTEMPT / RECORD
    return failed if failed.is_file() else folder / RECORD


def declared_products(named: Run) -> list[str] | None:
    """Return the patterns of files that a notebook writes, in parentheses if optional; None if not declared.

    Raises ValueError if `experiments.yaml` is broken.
    """
    if not (named.workspace.root / "notebooks" / PLAN).is_file():
        return None
    return (read_plan(named.workspace).get("products") or {}).get(named.notebook)


def products(named: Run, executed: Path, record: dict[str, Any], declared: list[str] | None) -> dict[str, Any]:
    """Return the part of the record on written files; a missing product makes the run a failure."""
    found: dict[Path, None] = {}
    missing = []
    for pattern in ["(**/*)"] if declared is None else declared:
        paths = sorted(path for path in visible(named.folder.glob(pattern.strip("()"))) if path.is_file())
        found |= dict.fromkeys(paths)
        missing += [] if paths or pattern.startswith("(") else [pattern]
    own = {named.folder / name for name in (*OWN_FILES, f"{named.notebook}.ipynb")}
    paths = sorted(path for path in found if path not in own and named.folder / ATTEMPT not in path.parents)
    about = {"name": executed.name, "sha256": sha256(executed)} if executed.is_file() else None
    part = {"executed": about, "outputs": {path.relative_to(named.folder).as_posix(): _about(path) for path in paths}}
    if missing and record["status"] == "succeeded":
        part |= {"status": "failed", "error": f"{', '.join(missing)} is missing, which {PLAN} declares as its product"}
    return part


def never_executed(executed: Path) -> str | None:
    """Return a sentence on the first code cell without an execution count: papermill calls `sys.exit()` a success."""
    for position, cell in enumerate(json.loads(executed.read_text(encoding="utf-8"))["cells"], start=1):
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip() and cell["execution_count"] is None:
            return f"the notebook ended before its cell at position {position} was executed"
    return None


def tell_the_truth(executed: Path, status: str) -> None:
    """Correct papermill's metadata: drop local paths, and mark cells that a dead kernel never reached as pending."""
    if not executed.is_file():
        return
    try:
        content = json.loads(executed.read_text(encoding="utf-8"))
    except ValueError:  # truncated, as on a full disk: the error itself is known already
        executed.unlink()
        return
    about = content["metadata"].setdefault("papermill", {})
    about |= {"input_path": executed.name, "output_path": executed.name, "exception": status != "succeeded"}
    about.pop("environment_variables", None)
    for cell in content["cells"]:
        mark = cell["metadata"].get("papermill")
        if cell["cell_type"] == "code" and cell["execution_count"] is None and mark:
            mark["status"] = "pending"
    write_text(executed, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _about(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    size = path.stat().st_size
    return {"bytes": size, "sha256": sha256(path) if size <= LARGE else None}
