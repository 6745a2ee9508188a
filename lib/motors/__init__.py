"""Find flagellar motors in cryo-electron tomograms of bacteria."""

from importlib import import_module
from typing import Any

FORMER = ("fusion", "inference", "scoring", "submission")  # packages that had these names in version 0.1


def __getattr__(name: str) -> Any:
    """Return a package by its former name."""
    if name in FORMER:
        return import_module("motors.former").package(name)
    raise AttributeError(f"module 'motors' has no attribute {name!r}")
