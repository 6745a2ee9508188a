"""What made a result: the commit and the versions of the packages."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("motors", "torch", "torchvision", "numpy", "pandas", "timm", "lightning", "papermill", "snakemake")


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
