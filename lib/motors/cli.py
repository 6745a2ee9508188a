"""Command line: `python -m motors run | reproduce | keep`."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from motors.pipeline.reproduce import keep, reproduce
from motors.pipeline.runner import Refused, run
from motors.workspace.paths import PROFILES

QUIET = 10.0  # seconds between two progress lines where there is no terminal
CODES = {"succeeded": 0, "failed": 1, "refused": 2, "interrupted": 130}


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for and return the exit code: 0 succeeded, 1 failed, 2 refused, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "run":
            return _run(options)
        if options.command == "reproduce":
            return reproduce(options.profile, options.seed, cores=options.cores, dry_run=options.dry_run, say=_say)
        for path in keep(options.profile, options.seed):
            _say(f"kept {path.name}")
        return 0
    except (Refused, ValueError, FileNotFoundError) as error:
        _say(str(error))
        return CODES["refused"]
    except KeyboardInterrupt:
        return CODES["interrupted"]


def _parser() -> argparse.ArgumentParser:
    """The three commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m motors", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="run one notebook strictly")
    one.add_argument("notebook", type=Path)
    one.add_argument("-p", "--parameter", nargs=2, metavar=("NAME", "VALUE"), action="append", default=[])
    every = commands.add_parser("reproduce", help="run all notebooks of a profile that are not current")
    every.add_argument("--cores", type=int, help="processor cores to use, by default all")
    every.add_argument("--dry-run", action="store_true", help="only say what would run")
    kept = commands.add_parser("keep", help="put executed notebooks in the place of the notebooks, to commit them")
    for command in (every, kept):
        command.add_argument("--profile", choices=PROFILES, default="demo")
        command.add_argument("--seed", type=int, default=0)
    return parser


def _run(options: argparse.Namespace) -> int:
    """Run one notebook, with its progress on the terminal."""
    sys.modules.setdefault("rfc3987_syntax", None)  # a grammar of web addresses: no notebook needs it, it loads for 3 s
    name = options.notebook.stem
    meter = _Meter(name)
    try:
        record = run(options.notebook, dict(options.parameter), show=meter.show)
    finally:
        meter.end()
    if record["status"] == "succeeded":
        _say(f"{name}: succeeded in {record['seconds']:.0f} s")
    else:
        _say(f"{name}: {record['status']}: {record['error']}")
    return CODES[record["status"]]


class _Meter:
    """One line that is written over on a terminal; elsewhere a new line now and then."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.terminal = sys.stderr.isatty()
        self.shown = -QUIET

    def show(self, line: str) -> None:
        text = f"{self.name}: {line}"
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{text[:width]}")
            sys.stderr.flush()
        elif time.monotonic() - self.shown >= QUIET:
            self.shown = time.monotonic()
            _say(text)

    def end(self) -> None:
        if self.terminal:
            sys.stderr.write("\r\x1b[K")


def _say(line: str) -> None:
    """Write one line to the terminal, beside results on standard output."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
