"""Files written whole or not at all, and what says which code made them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

PACKAGES = ("motors", "torch", "torchvision", "numpy", "pandas", "timm", "lightning", "papermill", "snakemake")


def write_json(path: Path | str, content: Any) -> Path:
    """Write `content` as indented JSON under a temporary name, rename it to `path` and return that path.

    Raises
    ------
    ValueError
        If `content` holds NaN or an infinite number, which JSON has no word for.
    """
    return write_text(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_table(path: Path | str, frame: pandas.DataFrame) -> Path:
    """Write `frame` as CSV without its index under a temporary name, rename it to `path` and return that path."""
    return write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def write_text(path: Path | str, text: str) -> Path:
    """Write `text` in UTF-8 under a temporary name, rename it to `path` and return that path; makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of the file `path`, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit(root: Path) -> dict[str, Any]:
    """Return `{"commit": hash, "changed": bool}` of the code in `root`; both are None where git does not know it.

    `changed` says that `lib` or `notebooks` differ from that commit.
    """

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(root), *arguments]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:  # a machine without git, as Kaggle's
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    head, changes = git("rev-parse", "--verify", "HEAD"), git("status", "--porcelain", "--", "lib", "notebooks")
    return {"commit": head, "changed": None if head is None or changes is None else changes != ""}


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that decide results; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
