"""Where datasets and outputs live, how files are written, and the one strict way to run a notebook."""

from motors.workspace.graph import keep, reproduce
from motors.workspace.meter import Progress, progress
from motors.workspace.places import Run, Workspace, dataset, find, new_dataset, open_run
from motors.workspace.records import commit, sha256, versions, write_json, write_table
from motors.workspace.runner import Refused, run

__all__ = [
    "Progress",
    "Refused",
    "Run",
    "Workspace",
    "commit",
    "dataset",
    "find",
    "keep",
    "new_dataset",
    "open_run",
    "progress",
    "reproduce",
    "run",
    "sha256",
    "versions",
    "write_json",
    "write_table",
]
