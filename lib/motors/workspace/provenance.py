"""Provenance of results: their inputs, the commit and the package versions."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from motors.workspace.files import json_sha256, read_json, sha256, write_json

INPUTS = "inputs.json"
ACCEPT = "MOTORS_ACCEPT_CODE"  # environment variable: 1 accepts results of other code
PACKAGES = ("motors", "torch", "torchvision", "numpy", "pandas", "timm", "openvino", "lightning")
PACKAGES += ("papermill", "snakemake")


def commit(root: Path) -> dict[str, Any]:
    """Return `{"commit": hash, "changed": bool}` of `lib` and `notebooks` in `root`, both None without git."""
    hook = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}  # of another repository
    environment = {name: value for name, value in os.environ.items() if name not in hook}

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(root), *arguments]
        try:
            finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        except OSError:  # a machine without git, as Kaggle's
            return None
        return finished.stdout.strip() if finished.returncode == 0 else None

    code = ["--", "lib", "notebooks"]
    head = git("rev-parse", "--verify", "HEAD") if git("ls-files", *code) else None  # not an outer repository's
    changes = git("status", "--porcelain", "-unormal", *code)  # new files too, whatever the user's settings
    return {"commit": head, "changed": None if head is None or changes is None else changes != ""}


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that affect results; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), **dict.fromkeys(PACKAGES)}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@dataclass(frozen=True)
class Inputs:
    """The inputs of an artifact, stored as `inputs.json` beside it."""

    settings: dict[str, Any] = field(default_factory=dict)  # JSON values
    code: dict[str, str] = field(default_factory=dict)  # hashes of modules by name, see `code_hash.code_of`
    upstream: dict[str, str] = field(default_factory=dict)  # digests, by names such as "volume tomo_x"
    noted: dict[str, Any] = field(default_factory=dict)  # saves reading something again; not hashed

    @property
    def digest(self) -> str:
        """Hash of all but `noted`."""
        return json_sha256(asdict(self) | {"noted": 0})


def write_inputs(place: Path, inputs: Inputs) -> Path:
    """Write the inputs of the artifact in the folder `place`, or to `place` itself if it ends in .json."""
    return write_json(_file(place), asdict(inputs))


def read_inputs(place: Path) -> Inputs | None:
    """Return the inputs of the artifact in a folder, None if it has none; raises ValueError if damaged."""
    file = _file(place)
    if not file.is_file():
        return None
    try:
        found = Inputs(**json.loads(file.read_bytes()))
        if strange := [name for name, each in vars(found).items() if not isinstance(each, dict)]:
            raise TypeError(f"{strange[0]} is not a table")
        return found
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error}): make what lies beside it again") from None


def digest(place: Path) -> str:
    """Return the hash of the inputs of the artifact in a folder; raises FileNotFoundError if it has none."""
    inputs = read_inputs(place)
    if inputs is None:
        raise FileNotFoundError(f"there is no {INPUTS} in {place}, of an older version: run its notebook again")
    return inputs.digest


def state(folder: Path) -> str:
    """Return the hash of an artifact's weights in provenance.json, or else its `digest`; raises as `digest`."""
    return read_json(folder / "provenance.json").get("weights") or digest(folder)


def outdated(folder: Path, outputs: Path) -> str | None:
    """Return a sentence on the first input of the artifact in a run's `folder` that has changed since, or None.

    Upstream artifacts are runs in `outputs`, <notebook>/<run>, or files beside that folder.
    """
    inputs = read_inputs(folder)
    for name, before in inputs.upstream.items() if inputs else ():
        place = next((root / name for root in (outputs, outputs.parent) if (root / name).exists()), None)
        if place is None:  # a volume, a label: compared where it is read
            continue
        if before != (sha256(place) if place.is_file() else state(place)):
            return f"{folder.parent.name} ({folder.name}) was made from another {name} than there is now"
        if place.is_dir() and (deeper := outdated(place, outputs)):
            return deeper
    return None


def differences(place: Path, inputs: Inputs) -> list[str]:
    """Return the differences between the inputs of the artifact in a folder and `inputs`, each in a few words.

    If the environment variable MOTORS_ACCEPT_CODE is 1, other code is accepted: the old code hashes are moved to
    `noted` and replaced by the new. An artifact without inputs, as of version 0.1, then counts as made from `inputs`.
    """
    there, accept = read_inputs(place), os.environ.get(ACCEPT) == "1"
    if there is None and accept:
        write_inputs(place, replace(inputs, noted=inputs.noted | {"accepted code": [None]}))
    if there is None:
        return [] if accept else [f"it has no {INPUTS}"]
    here = Inputs(**json.loads(json.dumps(asdict(inputs))))  # tuples become lists
    found = [f"{name} is {old!r} there, {new!r} here" for name, old, new in _changed(there.settings, here.settings)]
    for name, old, new in _changed(there.upstream, here.upstream):
        found.append(f"the {name}{' (new)' if old is None else ' (gone)' if new is None else ''}")
    code = [name for name, *_ in _changed(there.code, here.code)]
    if code and accept:
        accepted = [*there.noted.get("accepted code", []), there.code]
        write_inputs(place, replace(there, code=here.code, noted=there.noted | {"accepted code": accepted}))
        return found
    return found + ([f"the code of {', '.join(code[:3])}{', ...' * (len(code) > 3)}"] if code else [])


def _changed(there: dict[str, Any], here: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield names whose values differ, with both; None if missing."""
    for name in dict.fromkeys([*there, *here]):
        if there.get(name) != here.get(name):
            yield name, there.get(name), here.get(name)


def _file(place: Path) -> Path:
    return place if place.suffix == ".json" else place / INPUTS
