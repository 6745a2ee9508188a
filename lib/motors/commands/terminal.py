"""Shared by all commands: exit codes, and messages on standard error, apart from results on standard output."""

import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from typing import TextIO

QUIET = 10.0  # seconds between two progress lines where there is no terminal
DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
CODES = {  # the one table of them: help and README are made from it
    DONE: "done",
    FAILED: "failed: a notebook, a server, or a part of the work",
    REFUSED: "refused: the input is wrong, nothing was done",
    INTERRUPTED: "interrupted: the same command goes on from what is written",
}
OF_A_RUN = {"succeeded": DONE, "failed": FAILED, "refused": REFUSED, "interrupted": INTERRUPTED}


def settle_in() -> None:
    """Open missing standard streams, lest files get descriptors 0 to 2; set a home directory if there is none."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout, sys.stderr = (each or open(os.devnull, "w", encoding="utf-8") for each in (sys.stdout, sys.stderr))
    sys.__stderr__ = sys.__stderr__ or sys.stderr
    if hasattr(sys.stdout, "reconfigure"):  # letters that the terminal's encoding lacks are escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = tempfile.gettempdir()
        os.environ.setdefault("LOGNAME", str(os.getuid()))


class Meter:
    """One line that is overwritten on a terminal; elsewhere a new one now and then."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.terminal = sys.stderr.isatty()
        self.shown = -QUIET

    def show(self, line: str) -> None:
        """Show the newest line."""
        text = f"{self.name}: {line}"
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            _write(sys.stderr, f"\r\x1b[K{text[:width]}")
        elif time.monotonic() - self.shown >= QUIET:
            self.shown = time.monotonic()
            say(text)

    def end(self) -> None:
        """Clear the line."""
        if self.terminal:
            _write(sys.stderr, "\r\x1b[K")


def say(line: str) -> None:
    """Write one line to standard error, apart from results."""
    _write(sys.stderr, f"{line}\n")


def pass_on(text: str) -> None:
    """Write a piece of a line to the original standard error, also while that of Kaggle's client is redirected."""
    _write(sys.__stderr__, text)


def _write(stream: TextIO, text: str) -> None:
    """Write and flush; ignore errors, as when the terminal or a reader is gone."""
    with suppress(OSError):
        stream.write(text)
        stream.flush()


def run_notebook(notebook: str, parameters: dict[str, str]) -> int:
    """Run one notebook strictly, with its progress on the terminal, and return the exit code."""
    from pathlib import Path

    from motors.pipeline.runner import run

    name = Path(notebook).stem
    meter = Meter(name)
    try:
        record = run(notebook, parameters, show=meter.show)
    finally:
        meter.end()
    done, where = record["status"] == "succeeded", f"outputs/{name}/{record['run']}/{name}.ipynb"
    ended = f" in {record['seconds']:.0f} s: {where}" if done else f": {record['error']}"
    say(f"{name}: {record['status']}{ended}")
    return OF_A_RUN[record["status"]]
