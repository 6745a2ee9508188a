"""Files written whole or not at all, and what says which code made them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import math
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from unicodedata import normalize

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)
LITTER = ("thumbs.db", "desktop.ini", "system volume information", "recycler", "_gsdata_")  # of Windows
LITTER += ("__macosx", "network trash folder", "temporary items", "lost+found")  # of macOS and Linux
MACHINE = Path("/proc/meminfo")  # where Linux says how much memory is left
CGROUPS, OUR_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # Linux: limits, and whose are ours
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, 524)  # of DVS
WIDTHLESS = "[\x1a\xad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"  # of pages, editors, DOS
MARKED = r"(?s)[.~].*|.*~|#.*#|#(recycle|snapshot)|\$recycle.*|@(eadir|tmp|recycle|recently.*)"  # hidden, open, of NAS


def write_json(path: Path | str, content: Any) -> Path:
    """Write indented JSON, whole or not at all, and return the path; numpy's numbers become floats.

    Raises ValueError for NaN or infinite numbers.
    """
    return write_text(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False, default=float) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, an empty one where there is no such file."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=once) if path.is_file() else {}
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}, not an object")
        return content
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again, or remove it") from error


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raises TypeError if it has a name twice, of which the first would be lost."""
    if len(content := dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise TypeError(f"{max(names, key=names.count)} is there twice")
    return content


def write_table(path: Path | str, frame: pandas.DataFrame) -> Path:
    """Write `frame` as CSV without its index under a temporary name, rename it to `path` and return that path."""
    return write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def write_text(path: Path | str, text: str) -> Path:
    """Write `text` in UTF-8 under a temporary name, rename it to `path` and return that path; makes the folder."""
    with renamed(Path(path), "~") as partial:  # a glob such as *.json does not match it
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    return Path(path)


def cores() -> int:
    """Return how many processor cores this process may use: a cluster or a container gives less than there are."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in cgroups("cpu"):
        files = [folder / name for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
        quota = " ".join(file.read_text("ascii") for file in files if file.is_file()).split()
        if len(quota) == 2 and quota[0].isdigit():
            count = min(count, -(-int(quota[0]) // int(quota[1])))
    return count


def memory_left() -> float:
    """Return the bytes of memory that are left here, or to this container if it has fewer; infinite if nobody knows."""
    said = MACHINE.read_text("ascii") if MACHINE.is_file() else ""
    found = [1024.0 * int(each) for each in re.findall(r"^MemAvailable: *(\d+)", said, re.MULTILINE)]
    for folder in cgroups("memory"):
        for names in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):  # of version 2, of version 1
            files = [folder / f"memory.{each}" for each in (*names, "stat")]
            most, used, of = (each.read_text("ascii") if each.is_file() else "" for each in files)
            unused = re.findall(r"^(?:total_)?inactive_file (\d+)", of, re.MULTILINE)  # pages of files
            found += [int(most) - int(used) + max(map(int, unused), default=0)] if most.strip().isdecimal() else []
    return max(2.0**20, min(found, default=math.inf))


def cgroups(controller: str) -> Iterator[Path]:
    """Yield where Linux keeps the limits of this process's control groups and those above, of both versions."""
    lines = OUR_CGROUP.read_text("utf-8", "replace").splitlines() if OUR_CGROUP.is_file() else []
    for place in {Path(line.split(":", 2)[2]) for line in lines}:
        for each in (place, *place.parents):
            yield from (CGROUPS / str(each)[1:], CGROUPS / controller / str(each)[1:])


def visible(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that somebody made: not hidden, no leftover of an operating system or an editor."""
    named = [(each, each.name.lower()) for each in paths]
    return [each for each, name in named if not (re.fullmatch(MARKED, name) or name in LITTER)]


def is_visible(path: Path) -> bool:
    """Return whether neither the end of a relative path nor a folder on the way to it is hidden, as for `visible`."""
    return len(visible(map(Path, path.parts))) == len(path.parts)


def text_of(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 if its mark says so, as of PowerShell."""
    marked = path.read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff")
    return path.read_text(encoding="utf-16" if marked else "utf-8-sig")


def on_disk(path: Path) -> Path:
    """Return a path as its disk spells it, in whichever form of Unicode; a tilde before it is the home of a user."""
    path = Path(os.path.expanduser(path))
    if path.exists() or path == path.parent:
        return path
    above, name = on_disk(path.parent), normalize("NFC", path.name)
    names = os.listdir(above) if above.is_dir() and os.access(above, os.R_OK) else []
    return above / next((each for each in sorted(names) if normalize("NFC", each) == name), path.name)


def normalized(name: str) -> str:
    """Return a name as tables have it: in one form of Unicode, without what has no width, its minus that of numbers."""
    return re.sub(r"^[\u2212\u2013](?=[\d.])", "-", re.sub(WIDTHLESS, "", normalize("NFC", name)))


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of the file `path`, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(content: Any) -> str:
    """Return the SHA-256 of what JSON can say, in hexadecimal; the order of names does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=float).encode()).hexdigest()


@contextmanager
def renamed(path: Path, end: str = "") -> Iterator[Path]:
    """Yield a hidden path beside `path`; what was written there is renamed to `path` in the end (atomic write)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.urandom(4).hex()}-{path.name[-50:]}{end}")
    try:
        yield partial
        partial.replace(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def listed(text: str) -> list[Path]:
    """Return the files that a parameter names: one, or several with blanks between them, those with blanks quoted."""
    try:
        names = [text.strip()] if os.path.isfile(os.path.expanduser(text.strip())) else shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} names no files ({error}): quote blanks") from error
    return [Path(os.path.expanduser(name)) for name in names]


@contextmanager
def locked(path: Path, patience: float = 0.0, held: Exception | type[Exception] = BlockingIOError) -> Iterator[IO]:
    """Hold the file `path`, made for nothing else; the operating system lets go when this process is dead.

    On a file system without locks, as some of clusters, it is not held, and the log says so. Raises `held` if somebody
    else still holds it after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    with open(path, "w+", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in NO_LOCKS:
                    log.warning("%s cannot be locked (%s): do not start the same twice", path.parent, error.strerror)
                    break
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.monotonic() > deadline:
                    raise held from None
                time.sleep(0.2)
        yield lock
