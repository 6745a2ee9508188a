"""Strict execution of notebooks by papermill: a misspelt parameter or a dead kernel is an error."""

import ast
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from motors.pipeline.lean import lean
from motors.pipeline.plan import is_text, typed
from motors.pipeline.records import RECORD, attempt, declared_products, never_executed, products, settle, tell_the_truth
from motors.workspace.files import locked, write_json
from motors.workspace.paths import STRICT, Run, Workspace, find
from motors.workspace.progress import INTERVAL, PROGRESS_FILE

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 30.0  # seconds to wait for another run of the same name to end


class Refused(ValueError):
    """The notebook was not started: its name, its parameters or their values are wrong."""


def run(
    notebook: Path | str,
    parameters: Mapping[str, Any] | None = None,
    *,
    show: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run a notebook in a fresh kernel and return the record of what happened.

    The executed notebook and `record.json` are written to `outputs/<notebook>/<run>/`, also when it fails; the run is
    named by the notebook's parameters PROFILE, SEED, EXPERIMENT, FOLD and SET. `parameters` are values by name; text
    is converted to the type of the default. Values equal to the defaults are not injected, so that a run with defaults
    gives the notebook itself with its outputs. If it fails after an earlier success, its record and notebook go to a
    subfolder `attempt`. `show` is called with new progress lines, at most one a second.

    The record, the content of `record.json`, has notebook, profile, seed, experiment, fold, tag, run (its name), status
    ("succeeded", "failed" or "interrupted"), error (one sentence or None), parameters, commit, changed, versions,
    started, seconds, peak_memory_mib (of the kernel; None where an earlier child of this process used more), executed
    (name and SHA-256 of the executed notebook) and outputs (bytes and SHA-256 of declared products).

    Raises Refused if there is no such notebook in the folder `notebooks` of a workspace, papermill finds no parameters
    in it, one of `parameters` is unknown or of the wrong type, or another process executes the same run.
    """
    notebook = Path(notebook).parent.resolve() / Path(notebook).name  # which may be a link
    known = visible_parameters(notebook)
    try:
        given = {name: typed(notebook.stem, known, name, value) for name, value in (parameters or {}).items()}
        values = known | given
        named = _home(notebook).run_of(notebook.stem, values)
        if "EXPERIMENT" in values:  # before anything is written
            from motors.experiments import catalogue

            own = {"seed": named.seed, "fold": named.fold}
            catalogue.chosen(notebook.stem, named.profile, named.experiment, values.get("SET", ""), **own)
        declared = declared_products(named)
        named.output  # noqa: B018  makes the folder
    except OSError as error:
        unmade = f"the folder {error.filename} cannot be written ({error.strerror}): mount or make it"
        raise Refused(unmade if error.filename else str(error)) from None
    except ValueError as error:
        raise Refused(str(error)) from None
    settle(named.folder)
    running = Refused(f"{named.notebook} ({named.name}) is already running: wait for its end")
    with locked(named.folder / ".lock", PATIENCE, running), _stopped_by_signals(), attempt(named) as place:
        record = named.stamp(status="running", error=None, parameters=values)
        record["started"] = record.pop("time")
        write_json(place / RECORD, record)
        show("started")
        changed = {name: value for name, value in values.items() if value != known[name]}
        record |= _execute(notebook, named, place / notebook.name, changed, show)
        record |= products(named, place / notebook.name, record, declared)
        write_json(place / RECORD, record)
    return record


def _home(notebook: Path) -> Workspace:
    """Return the workspace of a notebook; raises Refused if it is elsewhere than in the folder `notebooks` there."""
    home = find(notebook.parent)
    if notebook.parent != home.root / "notebooks":
        raise Refused(f"{notebook.name} is in {notebook.parent}: run the one in the folder notebooks of {home.root}")
    return home


def _literal(path: Path) -> str:
    """Return a path with escaped braces, which papermill fills in."""
    return str(path).replace("{", "{{").replace("}", "}}")


def visible_parameters(notebook: Path) -> dict[str, Any]:
    """Return the parameters that papermill finds, with defaults; raises Refused if notebook or PROFILE is missing."""
    with lean():
        from nbformat import ValidationError
        from papermill.iorw import load_notebook_node
        from papermill.translators import PythonTranslator
        from papermill.utils import find_first_tagged_cell_index

    if not notebook.is_file() or notebook.suffix != ".ipynb":
        near = get_close_matches(notebook.stem, [path.stem for path in Path("notebooks").glob("*.ipynb")], 1)
        guess = f"did you mean notebooks/{near[0]}.ipynb?" if near else "give the path of an .ipynb file"
        raise Refused(f"there is no notebook {notebook.name} in {notebook.parent}: {guess}")
    if not is_text(str(notebook)):
        raise Refused(f"{notebook} is not a path in UTF-8, which notebooks are written in: rename its folder")
    try:
        content = load_notebook_node(str(notebook))
        about, place = content.metadata, find_first_tagged_cell_index(content, "parameters")
        told = about.get("language_info", {}).get("name") or about.get("kernelspec", {}).get("language")
        if "python" not in (told or "python").lower():
            raise ValueError(f"it is of {told}")
        seen = PythonTranslator.inspect(content.cells[place]) if place >= 0 else []
    except (AttributeError, ValueError, ValidationError) as error:
        raise Refused(f"{notebook.name} is not a notebook of Python: {str(error).strip()[:200]}") from None
    found = {}
    for name, _, default, _ in seen:
        try:
            found[name] = ast.literal_eval(default)
        except (ValueError, SyntaxError):
            what = f"the parameter {name} = {default} is not a plain number or text"
            raise Refused(f"{notebook.stem}: {what}: derive it in the next cell") from None
    if "PROFILE" not in found:
        what = f"papermill sees no parameter PROFILE ({', '.join(found) or 'none at all'})"
        raise Refused(f"{notebook.stem}: {what}: tag one cell `parameters` and write one plain scalar a line there")
    return found


def _execute(
    notebook: Path, named: Run, executed: Path, parameters: dict, show: Callable[[str], None]
) -> dict[str, Any]:
    """Run the notebook in its own kernel and return the record's status, error, time and peak memory."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    start, before = time.monotonic(), _peak_of_children()
    status, error = "failed", None
    try:
        try:
            _papermill(notebook, named, executed, parameters, show)
        except RuntimeError as failure:
            if not any(words in str(failure) for words in ("didn't respond", "died before replying")):
                raise
            _papermill(notebook, named, executed, parameters, show)  # no cell has run; perhaps its port was taken
        error = never_executed(executed)
        status = "failed" if error else "succeeded"
    except PapermillExecutionError as failure:
        error = f"cell {failure.exec_count}: {failure.ename}: {failure.evalue}"
    except DeadKernelError:
        error = "the kernel died (out of memory?)"
    except KeyboardInterrupt:
        status, error = "interrupted", "interrupted before it had ended"
    except Exception as failure:  # noqa: BLE001  whatever else it was, the record has to say that the run failed
        error = f"{type(failure).__name__}: {failure}"
    seconds, peak = round(time.monotonic() - start, 1), _peak_of_children()
    tell_the_truth(executed, status)
    error = error and error.replace(f"{named.workspace.root}/", "")
    peak = peak if peak > before else None
    return {"status": status, "error": error, "seconds": seconds, "peak_memory_mib": peak}


def _papermill(notebook: Path, named: Run, executed: Path, parameters: dict, show: Callable[[str], None]) -> None:
    import papermill

    from motors.pipeline.kernel import kernel_of_this_environment, without_settings

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        line = Path(folder) / "progress"
        environment = {PROGRESS_FILE: str(line), STRICT: f"{named.notebook}/{named.name}"}
        environment |= without_settings(Path(folder))
        with _forwarded(line, show):
            papermill.execute_notebook(
                _literal(notebook),
                _literal(executed),
                parameters,
                kernel_name="python3",
                language="python",
                kernel_manager_class=kernel_of_this_environment(environment),
                cwd=notebook.parent,
                progress_bar=False,
            )


@contextmanager
def heeding(handler: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP call `handler`; ignore later ones, and those ignored as with `nohup`."""
    earlier = {number: was for number in ENDS if (was := signal.getsignal(number)) is not signal.SIG_IGN}

    def first(*_: object) -> None:
        for number in earlier:
            signal.signal(number, signal.SIG_IGN)
        handler()

    for number in earlier:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, was in earlier.items():
            signal.signal(number, was)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on the first signal in `ENDS`; later ones would disturb the kernel's end."""

    def stop() -> None:
        raise KeyboardInterrupt

    with heeding(stop) if threading.current_thread() is threading.main_thread() else nullcontext():
        yield


@contextmanager
def _forwarded(file: Path, show: Callable[[str], None]) -> Iterator[None]:
    """Pass new lines of the kernel's progress `file` to `show` while the notebook runs."""
    ended = threading.Event()

    def forward() -> None:
        shown = ""
        while not ended.wait(INTERVAL):
            line = file.read_text(encoding="utf-8") if file.exists() else ""
            if line and line != shown:
                show(line)
                shown = line

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _peak_of_children() -> int:
    """Return the peak memory of the largest child process that has ended, in MiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
