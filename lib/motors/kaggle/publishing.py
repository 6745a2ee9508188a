"""Publishing on Kaggle by its own client; success is judged by Kaggle's listings, not by the client's messages."""

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from motors.kaggle import metadata
from motors.kaggle.client import KaggleError, ask
from motors.kaggle.packages import Package, check
from motors.pipeline.lean import lean
from motors.workspace.files import write_json
from motors.workspace.paths import PACKAGED, Run, Workspace
from motors.workspace.provenance import commit

PAGE = 200  # entries per page of a listing
PATIENCE = 600.0  # seconds that Kaggle may take to unpack what has arrived
LOOK_AGAIN = 5.0  # seconds
SUBMIT = "90_submit"
NOWHERE = (403, 404)  # Kaggle's HTTP status for a missing dataset; 403 does not reveal which are private
BASE = ("motors-lib", "motors-wheels", PACKAGED)  # the datasets that the kernel mounts
Show = Callable[[str], None]


def plan(package: Package, owner: str) -> str:
    """Return the command that would send a package, for a dry run."""
    return f"kaggle datasets create --dir-mode zip -p kaggle_datasets/{package.slug}  # {owner}'s, or a new version"


def publish(
    package: Package,
    owner: str,
    home: Workspace,
    *,
    public: bool = False,
    patience: float = PATIENCE,
    show: Show | None = None,
) -> str:
    """Send a package as a dataset, or as a new version of it, and return "created", "versioned" or "unchanged".

    Nothing is sent if Kaggle has the same files already, so an interrupted call can be repeated. A version's note is
    the commit of the workspace `home`, which also holds the folder given to the client. `owner` is the logged-in user;
    a new `public` dataset is visible to everybody; `patience` is how many seconds Kaggle may take to list the files;
    `show` is called with the client's output. Raises FileNotFoundError or ValueError as `packages.check`, before
    anything is sent; KaggleError if Kaggle refuses or cannot be reached, or if files are missing in the end.
    """
    check([package], owner)
    ref = f"{owner}/{package.slug}"
    there = listing(ref)
    if there is not None and not absent(package, there):
        return "unchanged"
    name = ask("who you are", lambda api: api.config_values.get("username"))
    if name and name.lower() != owner.lower():  # Kaggle itself would only say so once everything is uploaded
        raise KaggleError(f"you are {name} on Kaggle, and not {owner}: give your own name as the owner")
    done = "created" if there is None else "versioned"
    what = {"folder": str(_stage(package, owner, home)), "dir_mode": "zip"}
    try:
        if there is None:
            ask("datasets create", lambda api: api.dataset_create_new(public=public, **what), show=show)
        else:
            about = commit(home.root)
            note = f"{about['commit'] or 'not in git'}{', changed' if about['changed'] else ''}"
            ask("datasets version", lambda api: api.dataset_create_version(version_notes=note, **what), show=show)
    except KaggleError as error:
        if error.status is None and not absent(package, listing(ref) or {}):
            return done  # only the answer was lost
        raise KaggleError(f"{package.slug} was not published. {error}", error.status) from None
    _wait(package, ref, patience)
    return done


def listing(ref: str) -> dict[str, int] | None:
    """Return bytes by path of a dataset's newest version, None if there is none; raises KaggleError as `client.ask`."""
    found, token = {}, None
    while token != "":
        page = _of_dataset("files", lambda api, token=token: api.dataset_list_files(ref, token, PAGE))
        if page is None:
            return None
        found |= {file.name: file.total_bytes for file in page.files}
        token = page.next_page_token or ""
    return found


def absent(package: Package, there: Mapping[str, int]) -> list[str]:
    """Return a package's files that are missing in `there`, bytes by path, or of another size."""
    return [path for path, about in package.files.items() if there.get(path) != about["bytes"]]


def kernel(run: Run, owner: str, parameters: Mapping[str, Any]) -> Path:
    """Write the folder that `push` sends: the notebook with its parameters, and its metadata; return the folder.

    Raises FileNotFoundError or ValueError if the notebook or its metadata is missing or would be refused.
    """
    with lean():
        from papermill.iorw import load_notebook_node
        from papermill.parameterize import parameterize_notebook

    source = run.workspace.root / "notebooks"
    about = metadata.read(source / metadata.KERNEL)
    real = run.profile == "full"  # a simulated competition is a dataset like any other
    about["competition_sources"] = [run.competition_slug] if real else []
    wanted = [*BASE] if real else [*BASE, run.competition_slug]
    about["dataset_sources"] = [f"{metadata.OWNER}/{slug}" for slug in wanted]
    about = metadata.owned(about, owner)
    notebook = load_notebook_node(str(source / f"{SUBMIT}.ipynb"))
    notebook = parameterize_notebook(notebook, {"PROFILE": run.profile, "SEED": run.seed, **parameters})
    notebook.metadata.pop("papermill", None)
    folder = run.output / "kernel"
    write_json(folder / metadata.KERNEL, about)
    write_json(folder / about["code_file"], notebook)
    metadata.check_kernel(about, folder)
    return folder


def push(folder: Path) -> tuple[str, int]:
    """Send the notebook in `folder` to Kaggle, which runs it; return <user name>/<slug> and the number of its version.

    Raises FileNotFoundError or ValueError if the metadata would be refused, KaggleError if one of its datasets is not
    there, and nothing is sent then; KaggleError also if Kaggle refuses it.
    """
    about = metadata.read(folder / metadata.KERNEL)
    metadata.check_kernel(about, folder)
    for ref in about["dataset_sources"]:
        if _of_dataset("status", lambda api, ref=ref: api.dataset_status(ref)) is None:
            raise KaggleError(f"{about['id']} was not pushed, it needs {ref}, which is not there yet: publish it")
    pushed = ask("kernels push", lambda api: api.kernels_push(str(folder)))
    kinds = {"dataset": pushed.invalid_dataset_sources, "competition": pushed.invalid_competition_sources}
    if refused := [f"{kind} {ref}" for kind, refs in kinds.items() for ref in refs or ()]:
        raise KaggleError(f"{about['id']} was pushed without the {refused[0]}, which is not valid there: push it again")
    if not pushed.version_number:
        raise KaggleError(f"{about['id']} may not have been pushed, it has no version: look for it on Kaggle")
    return about["id"], pushed.version_number


def submit(competition: str, ref: str, version: int, message: str, *, dry_run: bool = False) -> str:
    """Submit a pushed notebook's output, once, and return Kaggle's message; raises KaggleError if it fails."""
    if not re.fullmatch(r"[\w-]+/[\w-]+", ref) or version < 1:
        raise ValueError(
            f"{ref} version {version} is not a pushed notebook: give <user name>/<slug>, a version from 1 up"
        )
    note = f"{message} ({ref} version {version})"
    if note in _submissions(competition):
        return "submitted before, nothing was sent"
    status = ask("kernels status", lambda api: api.kernels_status(ref)).status.name
    if status != "COMPLETE":
        raise KaggleError(f"{ref} is {status.lower()}: submit once it is complete")
    if dry_run:
        return f"would submit {note} to {competition}"
    handing = {"file_name": "submission.csv", "message": note, "competition": competition, "kernel": ref}
    said = ask("competitions submit", lambda api: api.competition_submit_code(kernel_version=version, **handing))
    if note not in _submissions(competition):
        raise KaggleError(f"Kaggle lists no submission of {ref} version {version}; it said: {said.message}")
    return said.message


def _submissions(competition: str) -> list[str]:
    """Return the notes of the newest submissions; Kaggle accepts a handful a day."""
    listed = ask("competitions submissions", lambda api: api.competition_submissions(competition, page_size=PAGE))
    return [each.description for each in listed or ()]


def _of_dataset(what: str, question: Callable[[Any], Any]) -> Any:
    """Return what Kaggle answers to a question about a dataset, None if there is no such dataset."""
    try:
        return ask(f"datasets {what}", question)
    except KaggleError as error:
        if error.status in NOWHERE:
            return None
        raise


def _stage(package: Package, owner: str, home: Workspace) -> Path:
    """Return a folder of links to the files to be sent, always the same, so that the client can resume an upload."""
    folder = home.outputs / "kaggle" / package.slug
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for top in {path.partition("/")[0] for path in package.files}:
        source, target = package.folder / top, folder / top
        try:
            target.symlink_to(source)
        except OSError:  # a disk without links
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    about = metadata.owned(package.about, owner)
    readme = package.folder / "README.md"
    about["description"] = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    (folder / metadata.DATASET).write_text(json.dumps(about), encoding="utf-8")
    return folder


def _wait(package: Package, ref: str, patience: float) -> None:
    """Wait until all files are listed; raise KaggleError if some are missing in the end."""
    end = time.monotonic() + patience
    while True:
        there = listing(ref) or {}
        missing = absent(package, there)
        if not missing:
            return
        if package.manifest in there or time.monotonic() > end:  # the new version is shown, but not all of it
            what = f"{len(missing)} of {len(package.files)} files are missing or of another size there"
            raise KaggleError(f"{package.slug} has arrived in part: {what}, first {missing[0]}: publish it again")
        time.sleep(min(LOOK_AGAIN, patience))
