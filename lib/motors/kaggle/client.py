"""The installed `kaggle` command, run as it is, and its complaints in one sentence each."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

LOGIN = (
    "Kaggle accepted no credentials: there are none, or they have expired. Run `kaggle auth login`, or put a new token"
    " from kaggle.com/settings/api into ~/.kaggle/access_token"
)

ADVICE = {
    400: "refused it without a reason; most often the title or slug is taken, also by a notebook: choose another",
    403: "does not allow it: the owner has to be your user name",
    404: "knows no such thing: check the owner and the slug",
    429: "is asked too often: wait some minutes and run this again, what has arrived is not sent twice",
}

BUSY = "has trouble of its own: wait some minutes and run this again, what has arrived is not sent twice"
GONE = "cannot be reached or hung up: run this again once the connection works, what has arrived is not sent twice"

# What the client says although it ends with 0.
FAILURES = re.compile(r".*(?:(?:creation|push) error:|are not valid (?:dataset|competition|kernel) sources).*")


class KaggleError(RuntimeError):
    """Kaggle, or the way to it, did not do what was asked; the message says what and what to do about it."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status  # of HTTP, where there was one


def call(*arguments: str | Path, show: Callable[[str], None] | None = None) -> str:
    """Run `kaggle` with `arguments` and return what it says.

    Parameters
    ----------
    arguments : of the command line, as in `kaggle datasets files owner/slug`
    show : is given what the command says while it runs, such as the progress of an upload

    Raises
    ------
    FileNotFoundError
        If the client is not installed.
    KaggleError
        If it fails, and also if it says so but ends as if it had not, as `kaggle datasets create` does.
    """
    command = Path(sysconfig.get_path("scripts")) / "kaggle"
    if not command.exists():
        raise FileNotFoundError('the `kaggle` command is not installed: pip install -e "./lib[kaggle]"')
    line = [str(command), *map(str, arguments)]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said = b""
        while piece := os.read(process.stdout.fileno(), 65536):
            said += piece
            if show:
                show(piece.decode(errors="replace"))
    text = said.decode(errors="replace")
    failure = FAILURES.search(text)
    if process.returncode or failure:
        raise _error(" ".join(["kaggle", *map(str, arguments[:2])]), failure.group() if failure else text)
    return text


def rows(*arguments: str | Path) -> list[dict[str, str]]:
    """Return the table that a listing command of `kaggle` prints, page by page, as one dict per row.

    Raises
    ------
    FileNotFoundError, KaggleError
        As `call`.
    """
    found: list[dict[str, str]] = []
    token: list[str] = []
    while True:
        said = call(*arguments, "--csv", "--page-size", "200", *token)
        table = re.search(r"^[A-Za-z]+(,[A-Za-z]+)+\r?$", said, re.MULTILINE)  # the header; what is above is talk
        found += csv.DictReader(io.StringIO(said[table.start() :])) if table else []
        following = re.search(r"^Next Page Token = (\S+)", said, re.MULTILINE)
        if not following:
            return found
        token = ["--page-token", following[1]]


def _error(command: str, text: str) -> KaggleError:
    """Put what the client said into one sentence."""
    number = re.search(r"\b([45]\d\d) (?:Client|Server) Error", text)
    status = int(number[1]) if number else None
    if "Authentication required" in text or status == 401:
        return KaggleError(LOGIN, 401)
    if re.search("accept .*rules", text):
        return KaggleError("Kaggle wants the competition's rules accepted first: do that on its page, tab Rules", 403)
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
    if status:
        return KaggleError(f"{command}: Kaggle answered {status}, it {ADVICE.get(status, BUSY)}", status)
    if re.search("Max retries exceeded|Connection aborted|Connection refused|NameResolution|timed out", text):
        return KaggleError(f"{command}: Kaggle {GONE}")
    if "already in use" in last:
        return KaggleError(f"{command}: {last.rstrip('.')}: choose another in its metadata")
    return KaggleError(f"{command}: {last[:300]}")
