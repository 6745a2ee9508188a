"""Resumable downloads from the portal: MRC files, and OME-Zarr chunk by chunk into one plain array.

All are fetched over HTTPS, which the portal offers for every file. The portal's own client fetches folders from S3,
because it has to list them; but the metadata of a Zarr define its chunks, and HTTPS gives the length of each. So one
implementation of errors, resuming and checks serves both forms, without credentials or regions.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import requests
import tenacity
import zarr
from zarr.storage import LocalStore, WrapperStore

from motors.geometry import Spacing
from motors.volumes.ome_zarr import open_zarr

CHUNKS = 4  # of one image that are fetched and decompressed in parallel
BLOCK = 1 << 16  # bytes written at a time
METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")  # an image has one or two of them
BUSY = 429  # HTTP status: too many requests


@dataclass(frozen=True)
class Patience:
    """A retry policy; calling it with a function runs that function, again after each ConnectionError."""

    attempts: int = 6  # maximum number of attempts
    wait: float = 1.0  # seconds before the second one, doubled before each later one, plus up to `wait` at random
    longest: float = 60.0  # seconds, upper limit of doubling
    timeout: float = 60.0  # seconds without a byte after which an attempt has failed

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=tenacity.wait_exponential(self.wait, self.longest) + tenacity.wait_random(0, self.wait),
            retry=tenacity.retry_if_exception_type(ConnectionError),
            reraise=True,
        )
        return retrying(work, *arguments)


def fetch(url: str, path: Path, *, timeout: float = Patience.timeout, size: int | None = None) -> Path:
    """Download a file to `path`, which appears only when complete, and return `path`.

    An existing `path` is kept. A partial download is kept beside it, and the next call resumes it. `timeout` is the
    seconds to wait without receiving a byte, `size` the known size of the file in bytes.

    Raises ConnectionError if the server fails, times out, or sends less than announced: retrying may help;
    FileNotFoundError if there is no such file, ValueError if it has another size: retrying does not help.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part, note = (path.with_name(f".{path.name}.{end}") for end in ("part", "etag"))
    begin = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={begin}-"}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            begin, length = _announced(response, part, begin)
            if size is not None and size != length:
                raise ValueError(f"{url} has {length} bytes, its catalogue says {size}: report it to the portal")
            etag = response.headers.get("ETag", "")
            if 0 < begin < length and note.is_file() and note.read_text("utf-8") != etag:
                part.unlink()
                raise ConnectionError(
                    f"{url} has changed since a part of it was downloaded: run this again to start over"
                )
            note.write_text(etag, "utf-8")
            with part.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                for block in response.iter_content(BLOCK) if begin < length else ():
                    file.write(block)
    except requests.RequestException as error:
        what = f"was silent for {timeout:g} s" if "timed out" in str(error) else "broke off"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            what = "has a certificate that this machine does not trust"
        raise ConnectionError(f"{url} {what}: run this again, what has come is kept") from error
    if part.stat().st_size != length:
        part.unlink()
        raise ConnectionError(f"{url} is not the {length} bytes that it says: run this again")
    note.unlink(missing_ok=True)
    return part.replace(path)


def _announced(response: requests.Response, part: Path, begin: int) -> tuple[int, int]:
    """Return the first byte of this response and the length of the whole file."""
    status, url = response.status_code, response.url
    if status >= 500 or status == BUSY:
        raise ConnectionError(f"{url} answers {status} {response.reason}: run this again, later")
    ranged = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
    if status == 416 and ranged and int(ranged[2]) == begin:  # nothing is left to send
        part.touch()
        return begin, begin
    if status == 416:
        part.unlink(missing_ok=True)
        raise ConnectionError(f"{url} is shorter than what has come of it: run this again, it begins anew")
    if status == 206 and ranged and ranged[1] == str(begin):
        return begin, int(ranged[2])
    if status != 200:
        raise FileNotFoundError(f"{url} answers {status} {response.reason}: look the run up on the portal's page")
    if "Content-Length" not in response.headers:
        raise ConnectionError(f"{url} does not state its length, so completeness cannot be checked: run this again")
    return 0, int(response.headers["Content-Length"])


class Remote(WrapperStore):
    """A Zarr store that downloads each file to a folder when it is first read."""

    def __init__(self, store: LocalStore, url: str, timeout: float) -> None:
        super().__init__(store)
        self.url, self.timeout = url, timeout

    def _with_store(self, store: LocalStore) -> Remote:
        return Remote(store, self.url, self.timeout)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return the content of a file; None for a metadata file that is missing."""
        path = self._store.root / key
        try:
            await asyncio.to_thread(partial(fetch, f"{self.url}/{key}", path, timeout=self.timeout))
        except FileNotFoundError:
            if path.name not in METADATA:
                raise
            return None
        return await super().get(key, prototype, byte_range)

    def forget(self, key: str) -> None:
        """Remove the copy of a chunk that turned out to be damaged."""
        (self._store.root / key).unlink(missing_ok=True)

    def forget_metadata(self) -> None:
        """Remove the copies of all metadata, as one turned out to be damaged."""
        for path in [path for name in METADATA for path in self._store.root.rglob(name)]:
            path.unlink()


def image(source: str | Path, folder: Path, timeout: float = Patience.timeout) -> tuple[zarr.Array, Spacing | None]:
    """Return the finest level of an OME-Zarr image, whose voxels are read lazily, and the spacing it states.

    `source` is the image's URL, whose chunks are downloaded into `folder`, or a folder on disk; `timeout` is the
    seconds to wait without receiving a byte. Raises ConnectionError if the server does not answer or sends no OME-Zarr
    image; ValueError if the folder holds none, or it is not a volume.
    """
    if isinstance(source, Path):
        store = LocalStore(source, read_only=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        store = Remote(LocalStore(folder), source, timeout)
    try:
        array, axes, spacing, *_ = open_zarr(store)
    except ValueError as error:
        if isinstance(store, Remote):
            store.forget_metadata()
        kind = ConnectionError if isinstance(store, Remote) else ValueError  # the next copy may be whole
        raise kind(f"{source} is not an OME-Zarr image ({error}): look the run up on the portal's page") from error
    if axes != "zyx" or array.ndim != 3 or array.dtype.kind not in "iuf":
        raise ValueError(f"{source} has {axes} {array.shape} {array.dtype}, not (z, y, x) numbers: take the MRC file")
    return array, spacing


def flatten(array: zarr.Array, path: Path, patience: Patience | None = None) -> Path:
    """Write a Zarr array as one `.npy` file, a few chunks at a time, and return its path; an existing file is kept.

    Raises ConnectionError if a chunk is not sent or damaged (on disk: ValueError), FileNotFoundError if it is missing.
    """
    if path.exists():
        return path
    part, writing, sides = path.with_name(f".{path.name}.part"), Lock(), array.shards or array.chunks
    path.parent.mkdir(parents=True, exist_ok=True)
    np.lib.format.open_memmap(part, "w+", array.dtype.newbyteorder("="), array.shape)  # creates the file

    def move(index: tuple[int, ...]) -> None:
        where = tuple(slice(i * side, (i + 1) * side) for i, side in zip(index, sides, strict=True))
        chunk = _chunk(array, index, where)
        with writing:  # in a new map, so that written pages do not stay in memory
            np.lib.format.open_memmap(part, "r+")[where] = chunk

    with ThreadPoolExecutor(CHUNKS) as pool:
        grid = product(*(range(-(-n // side)) for n, side in zip(array.shape, sides, strict=True)))
        for _ in pool.map(partial(patience or Patience(), move), grid):
            pass
    return part.replace(path)


def _chunk(array: zarr.Array, index: tuple[int, ...], where: tuple[slice, ...]) -> np.ndarray:
    try:
        return array[where]
    except (RuntimeError, TypeError, ValueError, zlib.error) as error:  # errors of decompressors
        key, store = f"{array.path}/{array.metadata.encode_chunk_key(index)}", array.store
        if not isinstance(store, Remote):
            raise ValueError(f"{key} of {store} is damaged ({error}): copy it again") from error
        store.forget(key)
        raise ConnectionError(f"{store.url}/{key} is damaged ({error}): run this again") from error
