"""Wheels for a machine without internet: the library's own, and those of what Kaggle's image lacks."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from motors.workspace import files
from motors.workspace.files import write_text

IMAGE = "image.txt"  # versions in Kaggle's image, as name==version
LOCK = "requirements.txt"  # what it lacks, with hashes
PYTHON = "3.12"  # of Kaggle's image
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "any")
NEVER = ("torch", "torchvision", "triton")  # gigabytes, and only the image's fits its GPUs

# The parts of the library that stay at home, as patterns of paths in it: they make data, fetch them, ask somebody, run
# notebooks, and send. Training, predicting and handing in, which Kaggle's machine is for, import none of them.
HOME = ("simulate/*", "portal/*", "review/*", "pipeline/*", "cli.py", "__main__.py")
HOME += tuple(f"kaggle/{name}.py" for name in "client competition metadata packages publishing wheels".split())
EPOCH = "946684800"  # for the times inside a wheel, so that the same code makes the same bytes


def build(source: Path, output: Path) -> Path:
    """Build the wheel of the package in the folder `source` and return it, in `output`; needs no network.

    The same source gives the same bytes. The parts of `motors` in `HOME` are left out.

    Raises
    ------
    RuntimeError
        If setuptools cannot build it.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as folder:
        clean = Path(folder) / "lib"  # setuptools leaves things behind, and takes in what it left
        shutil.copytree(source, clean, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".*"))
        for path in filter(stays_at_home, list(clean.glob("motors/**/*.py"))):
            path.unlink()
        about = (clean / "pyproject.toml").read_text(encoding="utf-8")
        scripts = re.compile(r"^\[project\.scripts\]\n(?:[^\[\n].*\n|\n)*", re.MULTILINE)  # the command stays too
        (clean / "pyproject.toml").write_text(scripts.sub("", about), encoding="utf-8")
        code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
        line = [sys.executable, "-c", code, str(folder)]
        environment = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}
        answer = subprocess.run(line, cwd=clean, env=environment, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise RuntimeError(f"the wheel of {source} cannot be built: {answer.stderr.strip().splitlines()[-1]}")
        (built,) = Path(folder).glob("*.whl")
        return built.replace(output / built.name)


def stays_at_home(path: Path) -> bool:
    """Return whether a file of the library is no part of the wheel."""
    return any(path.match(pattern) for pattern in HOME)


def download(lock: Path, output: Path) -> list[Path]:
    """Download the wheels that `lock` names, for Kaggle's Python and platform, and return them.

    Those that are in `output` already, with the right hash, are not downloaded again.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RuntimeError
        If pip cannot download one or a hash differs.
    """
    if not lock.is_file():
        raise FileNotFoundError(f"{lock} is missing: make it with `motors kaggle lock`")
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock.read_text(encoding="utf-8")))

    def have() -> list[Path]:
        return [path for path in sorted(output.glob("*.whl")) if files.sha256(path) in hashes]

    if len(have()) < len(hashes):
        _pip_download(output, "--require-hashes", "-r", str(lock))
    return have()


def lock(wheel: Path, image: Path, target: Path) -> Path:
    """Write the newest versions of what `wheel` needs and `image` lacks, with hashes, to `target` and return it.

    Raises
    ------
    ValueError
        If the image has a package in a version that does not fit, or one that never travels is missing.
    RuntimeError
        If pip finds no wheel.
    """
    lines = []
    have = versions(image)
    with tempfile.TemporaryDirectory() as folder:
        waiting = missing(wheel, have)
        while waiting:
            need = waiting.pop()
            got = _pip_download(Path(folder) / str(len(lines)), need)
            name, version = got.name.split("-")[:2]
            have[_plain(name)] = version
            lines.append(f"{_plain(name)}=={version} --hash=sha256:{files.sha256(got)}\n")
            waiting = list(dict.fromkeys([*waiting, *missing(got, have)]))
    return write_text(target, "".join(sorted(lines)))


def versions(image: Path) -> dict[str, str]:
    """Return the versions listed in a file, by package; what follows # is a remark."""
    lines = [line.split("#")[0].split() for line in image.read_text(encoding="utf-8").splitlines()]
    return {_plain(name): version for name, _, version in (line[0].partition("==") for line in lines if line)}


def missing(wheel: Path, have: dict[str, str]) -> list[str]:
    """Return what a wheel needs and does not find among the versions in `have`.

    Raises
    ------
    ValueError
        If a version that is there does not fit, or one is missing that never travels.
    """
    found = []
    for need in _needs(wheel):
        name, version = _plain(need.name), have.get(_plain(need.name))
        if version is None and name in NEVER:
            raise ValueError(f"{wheel.name} needs {need}, which is not listed and never packed: list the image's own")
        if version is None:
            found.append(str(need).partition(";")[0].strip())
        elif not need.specifier.contains(version, prereleases=True):
            raise ValueError(f"{wheel.name} needs {need}, but Kaggle's image has {version}: widen the bound, and test")
    return found


def _needs(wheel: Path) -> Iterable:
    """The requirements in a wheel's metadata that count on Kaggle."""
    from packaging.requirements import Requirement

    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = email.message_from_bytes(archive.read(name))
    there = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "extra": "", "sys_platform": "linux"}
    for line in about.get_all("Requires-Dist") or []:
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate(there):
            yield need


def _pip_download(output: Path, *wanted: str) -> Path:
    """Let pip download wheels for Kaggle's machine, without what they depend on; return the newest of the folder."""
    output.mkdir(parents=True, exist_ok=True)
    there = [word for name in PLATFORMS for word in ("--platform", name)]
    options = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *there]
    line = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(output), *options, *wanted]
    answer = subprocess.run(line, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"pip cannot download {wanted[-1]}: {answer.stderr.strip().splitlines()[-1]}")
    return max(output.glob("*.whl"), key=lambda path: path.stat().st_mtime)


def _plain(name: str) -> str:
    """A package's name as indices write it."""
    return re.sub(r"[-_.]+", "-", name).lower()
