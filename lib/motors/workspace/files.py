"""Atomic writes, file names, hashes and locks; available cores and memory."""

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
MACHINE = Path("/proc/meminfo")  # available memory, on Linux
CGROUPS, OUR_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # Linux: all, and this process's
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, 524)  # 524: Cray's DVS file system
LONGEST = 230  # bytes of a name: most disks allow 255 with the extension
WIDTHLESS = "[\x1a\xad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"  # from web, editors, DOS
MARKED = r"(?s)[.~].*|.*~|#.*#|#(recycle|snapshot)|\$recycle.*|@(eadir|tmp|recycle|recently.*)"  # hidden, editor, NAS


def write_json(path: Path | str, content: Any) -> Path:
    """Write indented JSON atomically and return the path; NumPy numbers become floats.

    Raises ValueError for NaN or infinite numbers.
    """
    return write_text(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False, default=float) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty one without a file; raises ValueError if it is damaged."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=once) if path.is_file() else {}
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}, not an object")
        return content
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again, or remove it") from error


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raises TypeError for a duplicate name, whose first value would be lost."""
    if len(content := dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise TypeError(f"{max(names, key=names.count)} is there twice")
    return content


def write_table(path: Path | str, frame: pandas.DataFrame) -> Path:
    """Write `frame` atomically as CSV, without its index, and return the path."""
    return write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def write_text(path: Path | str, text: str) -> Path:
    """Write `text` atomically in UTF-8, making the folder if necessary, and return the path."""
    with renamed(Path(path), "~") as partial:  # a glob such as *.json does not match it
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    return Path(path)


def cores() -> int:
    """Return the number of cores that this process may use, which clusters and containers limit."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in cgroups("cpu"):
        files = [folder / name for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
        quota = " ".join(file.read_text("ascii") for file in files if file.is_file()).split()
        if len(quota) == 2 and quota[0].isdigit():
            count = min(count, -(-int(quota[0]) // int(quota[1])))
    return count


def memory_left() -> float:
    """Return the available memory of this machine or, if less, this container, in bytes; infinite if unknown."""
    said = MACHINE.read_text("ascii") if MACHINE.is_file() else ""
    found = [1024.0 * int(each) for each in re.findall(r"^MemAvailable: *(\d+)", said, re.MULTILINE)]
    for folder in cgroups("memory"):
        for names in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):  # cgroups v2, v1
            files = [folder / f"memory.{each}" for each in (*names, "stat")]
            most, used, of = (each.read_text("ascii") if each.is_file() else "" for each in files)
            unused = re.findall(r"^(?:total_)?inactive_file (\d+)", of, re.MULTILINE)  # reclaimable cache
            found += [int(most) - int(used) + max(map(int, unused), default=0)] if most.strip().isdecimal() else []
    return max(2.0**20, min(found, default=math.inf))


def cgroups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups and their parents, in Linux cgroups v1 and v2."""
    lines = OUR_CGROUP.read_text("utf-8", "replace").splitlines() if OUR_CGROUP.is_file() else []
    for place in {Path(line.split(":", 2)[2]) for line in lines}:
        for each in (place, *place.parents):
            yield from (CGROUPS / str(each)[1:], CGROUPS / controller / str(each)[1:])


def visible(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that are not hidden and no leftovers of operating systems, editors or NAS devices."""
    named = [(each, each.name.lower()) for each in paths]
    return [each for each, name in named if not (re.fullmatch(MARKED, name) or name in LITTER)]


def is_visible(path: Path) -> bool:
    """Return whether every part of a relative path is `visible`."""
    return len(visible(map(Path, path.parts))) == len(path.parts)


def text_of(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark, as from PowerShell."""
    marked = path.read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff")
    return path.read_text(encoding="utf-16" if marked else "utf-8-sig")


def on_disk(path: Path) -> Path:
    """Return a path in the Unicode form in which it is on disk; a leading tilde is expanded."""
    path = Path(os.path.expanduser(path))
    if path.exists() or path == path.parent:
        return path
    above, name = on_disk(path.parent), normalize("NFC", path.name)
    names = os.listdir(above) if above.is_dir() and os.access(above, os.R_OK) else []
    return above / next((each for each in sorted(names) if normalize("NFC", each) == name), path.name)


def normalized(name: str) -> str:
    """Return a name as used in tables: NFC, without zero-width characters, with an ASCII minus before a number."""
    return re.sub(r"^[\u2212\u2013](?=[\d.])", "-", re.sub(WIDTHLESS, "", normalize("NFC", name)))


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of the file `path`, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(content: Any) -> str:
    """Return the SHA-256 of JSON content, in hexadecimal; the order of names does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=float).encode()).hexdigest()


@contextmanager
def renamed(path: Path, end: str = "") -> Iterator[Path]:
    """Yield a temporary, hidden path beside `path`, and rename it to `path` on success (atomic write)."""
    path = Path(os.path.expanduser(path))
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
    """Return the files in a parameter: one, or several separated by blanks; names with blanks are quoted."""
    try:
        names = [text.strip()] if os.path.isfile(os.path.expanduser(text.strip())) else shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} names no files ({error}): quote blanks") from error
    return [Path(os.path.expanduser(name)) for name in names]


def chosen(text: str, known: Iterable[str]) -> list[str]:
    """Return the names in `text`, separated by blanks, or all that are `known`; raises ValueError for an unknown one.

    A run, <notebook>/<run>, may be named by the path of its folder.
    """
    known = list(dict.fromkeys(known))
    names = ["/".join(Path(word).parts[-2:]) for word in text.split()]
    if wrong := next((name for name in names if name not in known), None):
        raise ValueError(f"there is no {wrong} to choose: name some of {', '.join(known) or 'none so far'}")
    return names or known


@contextmanager
def locked(path: Path, patience: float = 0.0, held: Exception | type[Exception] = BlockingIOError) -> Iterator[IO]:
    """Lock the file `path`, which has no other use; the operating system releases it when this process dies.

    On a file system without locks, as on some clusters, it only logs a warning. Raises `held` if another process still
    holds the lock after `patience` seconds.
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
