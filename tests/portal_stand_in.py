"""A stand-in for the CryoET Data Portal on this machine: its catalogue, by its own schema, and its store of files.

The store speaks HTTP, or HTTPS if it is given a certificate. There is none for S3: nothing here talks to S3, see
`motors.portal.transfer`.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
import zlib
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import mrcfile
import numpy as np
import zarr
from graphql import GraphQLEnumType, execute_sync, get_named_type, parse

from motors.portal.catalogue import read_schema

BLANK = {"String": "", "Boolean": False, "Int": 0, "Float": 0.0, "DateTime": "2024-01-02T03:04:05+00:00"}
CHUNK = (32, 32, 32)


def blank(kind: str) -> dict:
    """Return a row of the schema in which nothing is said."""
    schema = read_schema().schema
    types = {name: get_named_type(field.type) for name, field in schema.type_map[kind].fields.items()}
    choices = {name: next(iter(each.values)) for name, each in types.items() if isinstance(each, GraphQLEnumType)}
    return choices | {name: BLANK[each.name] for name, each in types.items() if each.name in BLANK}


class Portal:
    """A portal of made-up runs that fails when it is told to.

    Parameters
    ----------
    folder : gets the files of the store
    context : with a certificate; by default nothing is encrypted

    Attributes
    ----------
    faults : by the end of a path, what the next requests for it get: "500", "404", "hang", "cut", "short", "page",
        "no length", "garbage"; each once
    asked : how often each path was asked for
    delay : seconds before each file
    most : files asked for at the same time, at most
    """

    def __init__(self, folder: Path, context: ssl.SSLContext | None = None) -> None:
        self.scheme = "https" if context else "http"
        self.folder, self.runs, self.tomograms, self.annotations = folder, [], [], []
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.asked: Counter[str] = Counter()
        self.delay, self.now, self.most = 0.0, 0, 0
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"portal": self}))
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Address of the catalogue."""
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}/graphql"

    def close(self) -> None:
        """Stop serving."""
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def add_run(self, name: str, dataset: int = 10139) -> int:
        """Add a run without a tomogram and return its number."""
        self.runs.append(
            {"id": 1000 - len(self.runs), "name": name, "datasetId": dataset, **dict.fromkeys(PREFIXES, "")}
        )
        return self.runs[-1]["id"]

    def add(self, name: str, voxels: np.ndarray, spacing: float, *, forms: str = "zarr mrc", **changes) -> dict:
        """Add a run with one tomogram, write its files, and return the row of the tomogram, to be changed."""
        run = changes.pop("run", None) or self.add_run(name, changes.pop("dataset", 10139))
        number = len(self.tomograms) + 1
        sizes = dict(zip(("sizeZ", "sizeY", "sizeX"), voxels.shape, strict=True))
        row = blank("Tomogram") | sizes | {"id": number, "runId": run, "voxelSpacing": spacing, "name": name}
        row["depositionId"] = 1
        row["reconstructionSoftware"] = "made up"
        store = self.url.replace("graphql", "files")
        if "zarr" in forms:
            write_zarr(self.folder / f"{number}.zarr", voxels, spacing)
            row |= {"httpsOmezarrDir": f"{store}/{number}.zarr", "fileSizeOmezarr": 1.0}
        if "mrc" in forms:
            path = self.folder / f"{number}.mrc"
            path.parent.mkdir(exist_ok=True)
            mrcfile.write(path, voxels, voxel_size=spacing)
            row |= {"httpsMrcFile": f"{store}/{number}.mrc", "fileSizeMrc": float(path.stat().st_size)}
        self.tomograms.append(row | changes)
        return self.tomograms[-1]

    def answer(self, query: str) -> dict:
        """Return what the catalogue answers to a GraphQL query."""
        kinds = ("runs", "tomograms", "annotations", "annotationShapes", "annotationFiles")
        lists = {kind: self._select(kind) for kind in kinds}
        schema = read_schema().schema  # the one by which the client has checked what it asks
        result = execute_sync(schema, parse(query), lists)
        errors = {"errors": [error.formatted for error in result.errors]} if result.errors else {}
        return {"data": result.data, **errors}

    def annotate(self, run: int, points: list, *, spacing: int, deposition: int = 1, **changes) -> dict:
        """Add an annotation of motors to a run, with points x, y, z of one voxel spacing, and return its row."""
        number = len(self.annotations) + 1
        path = self.folder / f"{number}.ndjson"
        path.parent.mkdir(exist_ok=True)
        lines = [{"type": "point", "location": dict(zip("xyz", point, strict=True))} for point in points]
        path.write_text("\n".join(map(json.dumps, lines)))
        file = {"httpsPath": f"{self.url.replace('graphql', 'files')}/{path.name}", "fileSize": path.stat().st_size}
        row = {"id": number, "runId": run, "objectId": "GO:0120100", "groundTruthStatus": True, "file": file}
        self.annotations.append(row | {"depositionId": deposition, "spacing": spacing, "shape": "Point"} | changes)
        return self.annotations[-1]

    def rows(self, kind: str) -> list[dict]:
        """Return the rows of a list: what the schema wants and nobody asks for is empty."""
        listed = getattr(self, kind, None)
        if kind == "annotationShapes":
            listed = [{"id": 100 + a["id"], "annotationId": a["id"], "shapeType": a["shape"]} for a in self.annotations]
        if kind == "annotationFiles":
            about = [(a["id"], a["spacing"], a["file"]) for a in self.annotations]
            listed = [
                {"id": 200 + n, "annotationShapeId": 100 + n, "tomogramVoxelSpacingId": at, "format": "ndjson", **file}
                for n, at, file in about
            ]
        return [blank(kind[0].upper() + kind[1:-1]) | row for row in listed] if kind.startswith("anno") else listed

    def _select(self, kind: str):
        """Return what resolves a list: rows in which every condition of the form {field: {_eq or _in: value}} holds."""

        def resolve(_info, where=None, **_):
            tests = {name: test.get("_in", [test.get("_eq")]) for name, test in (where or {}).items()}
            return [row for row in self.rows(kind) if all(row[name] in want for name, want in tests.items())]

        return resolve


PREFIXES = ("s3Prefix", "httpsPrefix")


class Handler(BaseHTTPRequestHandler):
    """Answers as the portal, or as badly as it is told to."""

    portal: Portal
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a question to the catalogue."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(lambda: (200, json.dumps(self.portal.answer(json.loads(content)["query"])).encode(), {}))

    def do_GET(self) -> None:
        """Send a file, or the part of it that is asked for."""
        with self.portal.lock:
            self.portal.now += 1
            self.portal.most = max(self.portal.most, self.portal.now)
        time.sleep(self.portal.delay)
        self._send(self._file)
        with self.portal.lock:
            self.portal.now -= 1

    def _file(self) -> tuple[int, bytes, dict[str, str]]:
        path = self.portal.folder / unquote(self.path.removeprefix("/files/"))
        if not path.is_file():
            return 404, b"<Error>NoSuchKey</Error>", {}
        data = path.read_bytes()
        begin = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        if begin >= len(data):
            return 416, b"", {"Content-Range": f"bytes */{len(data)}"}
        about = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}", "ETag": f'"{zlib.crc32(data)}"'}
        return 206, data[begin:], about

    def _send(self, make) -> None:
        """Send what `make` gives, after the fault that waits for this path, if any."""
        with self.portal.lock:
            self.portal.asked[self.path] += 1
            waiting = [faults for end, faults in self.portal.faults.items() if self.path.endswith(end) and faults]
            fault = waiting[0].pop(0) if waiting else ""
        if fault == "hang":
            self.portal.closing.wait(10)
            self.close_connection = True
            return
        status, data, headers = make()
        if fault == "page":
            status, data, headers = 200, b"<html>Something went wrong</html>", {}
        elif fault == "garbage":
            data = bytes(len(data))
        elif fault.isdigit():
            status, data, headers = int(fault), b"<html>Something went wrong</html>", {}
        length = len(data) // 2 if fault == "short" else len(data)
        if fault in ("short", "no length"):
            status, headers = 200, {}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault == "no length":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "cut" else data[:length])
        self.close_connection = self.close_connection or fault in ("cut", "no length")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def write_zarr(path: Path, voxels: np.ndarray, spacing: float) -> None:
    """Write an OME-Zarr image of two levels as the portal has them: version 0.4, chunks compressed."""
    group = zarr.create_group(path, zarr_format=2)
    for level in (0, 1):
        data = voxels[:: 2**level, :: 2**level, :: 2**level]
        separator = {"name": "v2", "separator": "/"}
        array = group.create_array(
            str(level), shape=data.shape, dtype=data.dtype, chunks=CHUNK, chunk_key_encoding=separator
        )
        array[...] = data
    scales = [[{"type": "scale", "scale": [spacing * 2**level] * 3}] for level in (0, 1)]
    datasets = [{"path": str(level), "coordinateTransformations": scales[level]} for level in (0, 1)]
    axes = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
