"""A progress line for long loops, shown in a notebook or a terminal and passed on to the strict runner."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

PROGRESS_FILE = "MOTORS_PROGRESS"  # environment variable: a file that holds the newest line
INTERVAL = 1.0  # seconds between messages: with too many, output is lost


class Progress:
    """A progress line; iterate over it, or use it in a `with` and call `.advance(n, loss=0.1)`.

    The line is sent at most once per second and once at the end: to the notebook, which keeps the last one only,
    or to a terminal; and to the file that the environment variable MOTORS_PROGRESS names, for the strict runner.
    It begins with `title`; the `total` of steps is by default the length of `iterable`, if it has one.
    """

    def __init__(self, iterable: Iterable | None = None, *, total: int | None = None, title: str = "") -> None:
        self.iterable = iterable
        self.total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
        self.title = title
        self.count = 0
        self.numbers: dict[str, Any] = {}
        self._start = self._shown = time.monotonic()
        self._display = None

    def advance(self, n: int = 1, **numbers: Any) -> None:
        """Count `n` more steps, remember `numbers` (loss=0.1) to be shown, and show the line if a second has passed."""
        self.count += n
        self.numbers.update(numbers)
        if time.monotonic() - self._shown >= INTERVAL:
            self._show()

    def close(self) -> None:
        """Show the last line."""
        self._show(last=True)

    @property
    def line(self) -> str:
        """The current line: title, bar, steps done and in total, times, numbers."""
        from tqdm import tqdm

        postfix = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.numbers.items())
        elapsed = time.monotonic() - self._start
        meter = tqdm.format_meter(self.count, self.total, elapsed, ncols=80, prefix=self.title, postfix=postfix)
        return meter.rstrip()

    def __iter__(self) -> Iterator:
        if self.iterable is None:
            raise TypeError("progress was given nothing to iterate over: use it in a `with` and call advance()")
        with self:
            for item in self.iterable:
                yield item
                self.advance()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _show(self, last: bool = False) -> None:
        """Send the line to the notebook or the terminal, and to the file that the environment names."""
        self._shown = time.monotonic()
        line = self.line
        if path := os.environ.get(PROGRESS_FILE):
            with suppress(OSError):  # such as a full disk
                Path(path).write_text(line, encoding="utf-8")
        if _in_kernel():
            self._show_in_notebook(line)
        elif sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{line}" + "\n" * last)
            sys.stderr.flush()

    def _show_in_notebook(self, line: str) -> None:
        """Replace the line shown below the cell, so that the notebook keeps the last one only."""
        from IPython.display import display

        content = {"text/plain": line}
        if self._display is None:
            self._display = display(content, raw=True, display_id=True)
        else:
            self._display.update(content, raw=True)


progress = Progress  # for loops


def _in_kernel() -> bool:
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
