"""A stand-in for Kaggle's servers on loopback: what Kaggle's own package asks for, checked as a server would.

It keeps datasets, kernels and submissions in memory, and can be told to fail.
"""

import base64
import io
import json
import os
import re
import sysconfig
import tempfile
import threading
import time
import zipfile
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

USER, KEY, TOKEN = "alice", "a-key", "a-token"
LICENCES = {"CC0-1.0", "CC-BY-4.0", "apache-2.0", "other", "copyright-authors"}
KAGGLE = Path(sysconfig.get_path("scripts")) / "kaggle"  # the command, as it was installed


class Answer(Exception):
    """Ends a request with a status, a body and headers."""

    def __init__(self, status: int, body: dict | bytes | None = None, **headers: str) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


class StandIn:
    """The servers' memory. `fail` plants a fault; `calls` counts what was asked for."""

    def __init__(self) -> None:
        self.datasets: dict[str, list[dict[str, bytes]]] = {}  # versions by owner/slug, each its files by name
        self.about: dict[str, dict] = {}  # title, licence and so on, by owner/slug
        self.blobs: dict[str, dict] = {}
        self.kernels: dict[str, list[dict]] = {}
        self.status = "COMPLETE"  # of the newest kernel session
        self.outputs: dict[str, bytes] = {}
        self.submissions: list[dict] = []
        self.archives: dict[str, bytes] = {}  # competitions by slug, zipped
        self.rules_accepted = True
        self.faults: list[dict] = []
        self.calls: Counter = Counter()
        self.lock = threading.Lock()

    def fail(self, call: str, kind: str, times: int = 1) -> None:
        """Let the next `times` requests whose path holds `call` end in `kind`.

        That is an HTTP status; "cut", which ends the connection in the middle; "mute", which does what is asked, and
        then ends it without an answer; or "lose", which does it in part.
        """
        self.faults.append({"call": call, "kind": kind, "left": times})

    def take(self, path: str) -> str | None:
        """Return the fault that hits a request, if any, and use it up."""
        with self.lock:
            self.calls[path.rpartition("/")[2] if "/api/" in path else path.split("/")[1]] += 1
            for fault in self.faults:
                if fault["left"] and fault["call"] in path:
                    fault["left"] -= 1
                    return fault["kind"]
        return None

    def environment(self, home: Path, **changes: str | None) -> dict[str, str]:
        """Return the environment in which `kaggle` speaks to this stand-in, with alice's key; None removes a value."""
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not re.match("kaggle_|.*_proxy$", name, re.I)}
        wanted = {
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),  # where the client notes uploads that are under way
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{self.port}",
            "KAGGLE_USERNAME": USER,
            "KAGGLE_KEY": KEY,
        }
        return {name: value for name, value in (kept | wanted | changes).items() if value is not None}


def connect(stand_in: StandIn, home: Path, monkeypatch) -> None:
    """Let Kaggle's package, in this process and in those it starts, speak to a stand-in, and wait for nothing."""
    from kaggle.api import kaggle_api_extended
    from kagglesdk import kaggle_env

    from motors.kaggle import client

    for name, value in stand_in.environment(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    hasty = SimpleNamespace(**{name: getattr(time, name) for name in ("time", "mktime", "strftime", "localtime")})
    hasty.sleep = lambda seconds: None
    monkeypatch.setattr(kaggle_api_extended, "time", hasty)
    assert kaggle_api_extended.KaggleApi.args == ["--local"]
    assert kaggle_api_extended.KaggleApi.config_dir == os.environ["KAGGLE_CONFIG_DIR"]
    assert kaggle_env.get_endpoint(kaggle_env.get_env()).startswith("http://localhost")
    client.logged_in.cache_clear()


@contextmanager
def serving():
    """Serve a new stand-in on a free port of loopback."""
    stand_in = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"stand_in": stand_in}))
    stand_in.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One request; addresses come whole, as to a proxy."""

    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def log_message(self, *arguments) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        self._serve(self._call)

    def do_PUT(self) -> None:
        self._serve(self._upload)

    def do_GET(self) -> None:
        self._serve(self._storage)

    def _serve(self, handle) -> None:
        path = urlsplit(self.path).path
        self.length = int(self.headers.get("Content-Length") or 0)
        fault = self.stand_in.take(path)
        try:
            if fault == "cut" and self.command != "GET":
                self.rfile.read(self.length // 2)
                raise ConnectionAbortedError
            if fault and fault.isdigit():
                self.rfile.read(self.length)
                raise Answer(int(fault), **({"Retry-After": "0"} if fault == "429" else {}))
            handle(path, fault)
        except Answer as answer:
            if fault == "mute":
                self._hang_up()
            else:
                self._reply(answer)
        except ConnectionAbortedError:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)

    def _reply(self, answer: Answer) -> None:
        kind = "application/json" if isinstance(answer.body, dict) else "application/octet-stream"
        body = json.dumps(answer.body).encode() if isinstance(answer.body, dict) else answer.body or b""
        self.send_response(answer.status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **answer.headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _call(self, path: str, fault: str | None) -> None:
        """One call of the API: known credentials, then the method of that name."""
        request = json.loads(self.rfile.read(self.length) or b"{}")
        name = path.rpartition("/")[2]
        if name == "IntrospectToken":
            active = request["token"] == TOKEN
            raise Answer(200, {"active": active, "username": USER if active else ""})
        basic = "Basic " + base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        if self.headers.get("Authorization") not in (basic, f"Bearer {TOKEN}"):
            raise Answer(401)
        method = getattr(Calls(self.stand_in, fault), name, None)
        if method is None:
            raise Answer(501, {"code": 501, "message": f"the stand-in does not know {path}"})
        with self.stand_in.lock:
            answer = method(request)
        raise Answer(200, answer)

    def _upload(self, path: str, fault: str | None) -> None:
        """A resumable upload: whole, from an offset, or the question how much has arrived."""
        blob = self.stand_in.blobs.get(path.rpartition("/")[2])
        if blob is None:
            raise Answer(404)
        whole = re.fullmatch(r"bytes (\*|(\d+)-(\d+))/(\d+)", self.headers.get("Content-Range") or "")
        if whole and int(whole[4]) != blob["size"]:
            raise Answer(400)
        if not whole:
            blob["data"] = self.rfile.read(self.length)
        elif whole[2] is not None:
            blob["data"] = blob["data"][: int(whole[2])] + self.rfile.read(self.length)
        if len(blob["data"]) == blob["size"]:
            raise Answer(200)
        raise Answer(308, **({"Range": f"bytes=0-{len(blob['data']) - 1}"} if blob["data"] else {}))

    def _storage(self, path: str, fault: str | None) -> None:
        """A file to be downloaded, from an offset if that is asked for."""
        name = path.removeprefix("/storage/")
        data = self.stand_in.archives.get(name.removesuffix(".zip")) or self.stand_in.outputs.get(name)
        data = data or self._in_an_archive(name)
        if data is None:
            raise Answer(404)
        headers = {"ETag": '"1"', "Accept-Ranges": "bytes", "Last-Modified": "Wed, 05 Mar 2025 00:00:00 GMT"}
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range") or "") or [0, 0])[1])
        if fault == "cut":
            headers["Content-Length"] = str(len(data) - start)
            self.send_response(206 if start else 200)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data[start : start + (len(data) - start) // 2])
            raise ConnectionAbortedError
        raise Answer(206 if start else 200, data[start:], **headers)

    def _in_an_archive(self, name: str) -> bytes | None:
        """One file of a competition or of a dataset, by the address that its call gives."""
        slug, _, path = name.partition("/")
        if slug in self.stand_in.archives:
            with zipfile.ZipFile(io.BytesIO(self.stand_in.archives[slug])) as archive:
                return archive.read(path) if path in archive.namelist() else None
        ref, _, path = name.replace("/", "\0", 1).partition("/")
        return self.stand_in.datasets.get(ref.replace("\0", "/"), [{}])[-1].get(path)


class Calls:
    """What the API does, by the names that the client uses."""

    def __init__(self, stand_in: StandIn, fault: str | None) -> None:
        self.here, self.fault = stand_in, fault

    def _versions(self, request: dict) -> list[dict[str, bytes]]:
        ref = f"{request['ownerSlug']}/{request['datasetSlug']}"
        if ref not in self.here.datasets:
            raise Answer(404)
        return self.here.datasets[ref]

    def GetDatasetStatus(self, request: dict) -> dict:
        self._versions(request)
        return {"status": "READY"}

    def ListDatasetFiles(self, request: dict) -> dict:
        files = sorted(self._versions(request)[-1].items())
        start, size = int(request.get("pageToken") or 0), request.get("pageSize") or 20
        more = {"nextPageToken": str(start + size)} if start + size < len(files) else {}
        date = "2026-01-01T00:00:00.000Z"
        listed = [{"name": n, "totalBytes": len(data), "creationDate": date} for n, data in files[start : start + size]]
        return {"datasetFiles": listed, **more}

    def StartBlobUpload(self, request: dict) -> dict:
        token = f"blob{len(self.here.blobs)}"
        self.here.blobs[token] = {"name": request["name"], "size": int(request.get("contentLength", 0)), "data": b""}
        return {"token": token, "createUrl": f"http://localhost/upload/{token}"}

    def _unpack(self, files: list[dict]) -> dict[str, bytes]:
        """The files of a version; an archive becomes a folder of its name."""
        found = {}
        for file in files:
            blob = self.here.blobs.get(file.get("token", ""))
            if blob is None or len(blob["data"]) != blob["size"]:
                raise Answer(400)
            if blob["name"].endswith(".zip"):
                with zipfile.ZipFile(io.BytesIO(blob["data"])) as archive:
                    names = [each for each in archive.namelist() if not each.endswith("/")]
                    found |= {f"{blob['name'][:-4]}/{each}": archive.read(each) for each in names}
            else:
                found[blob["name"]] = blob["data"]
        if self.fault == "lose":
            found.pop(min(found))
        return found

    def CreateDataset(self, request: dict) -> dict:
        ref, title = f"{request['ownerSlug']}/{request['slug']}", request["title"]
        if request["ownerSlug"] != USER:
            raise Answer(403)
        lengths = 6 <= len(title) <= 50 and 6 <= len(request["slug"]) <= 50
        subtitle = request.get("subtitle")
        if not lengths or request["licenseName"] not in LICENCES or (subtitle and not 20 <= len(subtitle) <= 80):
            raise Answer(400)
        if ref in self.here.datasets or title in [about["title"] for about in self.here.about.values()]:
            return {"status": "error", "error": f'The requested title "{title}" is already in use by a dataset.'}
        self.here.datasets[ref] = [self._unpack(request.get("files", []))]
        self.here.about[ref] = request
        return {"status": "ok", "ref": ref, "url": f"https://www.kaggle.com/datasets/{ref}", "invalidTags": []}

    def CreateDatasetVersion(self, request: dict) -> dict:
        versions, body = self._versions(request), request["body"]
        versions.append(self._unpack(body.get("files", [])))
        self.here.about[f"{request['ownerSlug']}/{request['datasetSlug']}"] |= {"notes": body.get("versionNotes")}
        return {"status": "ok", "url": "https://www.kaggle.com/datasets/a/b", "invalidTags": []}

    def SaveKernel(self, request: dict) -> dict:
        wanted = request.get("datasetDataSources", [])
        unknown = wanted[:1] if self.fault == "lose" else [ref for ref in wanted if ref not in self.here.datasets]
        versions = self.here.kernels.setdefault(request["slug"], [])
        versions.append(request)
        address = f"https://www.kaggle.com/code/{request['slug']}"
        return {"url": address, "versionNumber": len(versions), "invalidDatasetSources": unknown}

    def GetKernelSessionStatus(self, request: dict) -> dict:
        if f"{request['userName']}/{request['kernelSlug']}" not in self.here.kernels:
            raise Answer(403)
        return {"status": self.here.status}

    def ListKernelSessionOutput(self, request: dict) -> dict:
        files = [{"fileName": name, "url": f"http://localhost/storage/{name}"} for name in self.here.outputs]
        return {"files": files, "log": "[]"}

    def ListSubmissions(self, request: dict) -> dict:
        return {"submissions": self.here.submissions}

    def GetSubmissionLimits(self, request: dict) -> dict:
        return {"numAllowedNow": 5 - len(self.here.submissions)}

    def CreateCodeSubmission(self, request: dict) -> dict:
        versions = self.here.kernels.get(f"{request['kernelOwner']}/{request['kernelSlug']}", [])
        if not 1 <= int(request.get("kernelVersion", 0)) <= len(versions) or request["fileName"] != "submission.csv":
            raise Answer(400)
        entry = {"ref": len(self.here.submissions) + 1, "fileName": request["fileName"], "status": "PENDING"}
        entry |= {"date": "2026-01-01T00:00:00.000Z", "description": request.get("submissionDescription")}
        self.here.submissions.append(entry)
        return {"message": "Successfully submitted", "ref": entry["ref"]}

    def _rules(self) -> None:
        if not self.here.rules_accepted:
            message = "You must accept this competition's rules before you'll be able to download files."
            raise Answer(403, {"code": 403, "message": message})

    def DownloadDataFiles(self, request: dict) -> dict:
        self._rules()
        raise Answer(302, Location=f"http://localhost/storage/{request['competitionName']}.zip")

    def DownloadDataFile(self, request: dict) -> dict:
        self._rules()
        raise Answer(302, Location=f"http://localhost/storage/{request['competitionName']}/{request['fileName']}")

    def DownloadDataset(self, request: dict) -> dict:
        self._versions(request)
        place = f"{request['ownerSlug']}/{request['datasetSlug']}"
        if request.get("fileName"):
            raise Answer(302, Location=f"http://localhost/storage/{place}/{request['fileName']}")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, content in self._versions(request)[-1].items():
                archive.writestr(name, content)
        self.here.outputs[f"{place}.zip"] = packed.getvalue()
        raise Answer(302, Location=f"http://localhost/storage/{place}.zip")
