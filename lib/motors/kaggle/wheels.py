"""Wheels for a machine without internet: the library's own, and those that Kaggle's image lacks."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packaging.utils import canonicalize_name

from motors.workspace import files
from motors.workspace.files import write_text

IMAGE = "image.txt"  # versions in Kaggle's image, as name==version
LOCK = "requirements.txt"  # packages that it lacks, with hashes
PYTHON = "3.12"  # of Kaggle's image
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "any")
NEVER = ("torch", "torchvision", "triton")  # gigabytes, and only the image's fit its GPUs

# Parts of the library that the wheel for Kaggle leaves out, as path patterns: simulation, download, review, notebook
# runner, evaluation, plots and publishing. Training, inference and submission, which run on Kaggle, import none of
# them.
HOME = tuple(f"{room}/*" for room in "commands picks pipeline portal review simulate".split())
HOME += ("cli.py", "__main__.py", "api.py", "results.py", "workspace/__main__.py")
HOME += tuple(
    f"{room}/{name}.py"
    for room, names in {
        "detection": "memory",
        "ensemble": "bundle",
        "evaluation": "baselines benchmark cross_validation runs",
        "kaggle": "client competition metadata packages published publishing wheels",
        "labels": "consensus external folds joining wide",
        "visualization": "detections events planes report viewer",
        "networks": "pretrained",
        "volumes": "kinds mrc npy ome_zarr sources tiff units",
    }.items()
    for name in names.split()
)
EPOCH = "946684800"  # for the times inside a wheel, so that the same code makes the same bytes


def build(source: Path, output: Path) -> Path:
    """Build the wheel of the package in the folder `source` and return it, in `output`; needs no network.

    The same source gives the same bytes. The parts in `HOME` are left out. Raises RuntimeError if setuptools fails.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as folder:
        clean = Path(folder) / "lib"  # setuptools leaves files behind and packs them the next time
        shutil.copytree(source, clean, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".*"))
        for path in [path for path in clean.glob("motors/**/*.py") if any(map(path.match, HOME))]:
            path.unlink()
        about = (clean / "pyproject.toml").read_text(encoding="utf-8")
        away = r"^\[project\.(?:scripts|optional-dependencies)\]\n(?:[^\[\n].*\n|\n)*"  # left out, too
        (clean / "pyproject.toml").write_text(re.sub(away, "", about, flags=re.MULTILINE), encoding="utf-8")
        code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
        line = [sys.executable, "-c", code, str(folder)]
        environment = os.environ | {"SOURCE_DATE_EPOCH": EPOCH, "HOME": folder}  # without the user's settings
        finished = subprocess.run(line, cwd=clean, env=environment, capture_output=True, text=True, check=False)
        if finished.returncode:
            raise RuntimeError(f"the wheel of {source} cannot be built: {finished.stderr.strip().splitlines()[-1]}")
        (built,) = Path(folder).glob("*.whl")
        packed = built.with_suffix(".packed")
        with zipfile.ZipFile(built) as loose, zipfile.ZipFile(packed, "w") as tight:
            for each in loose.infolist():
                tight.writestr(each, loose.read(each), zipfile.ZIP_DEFLATED, compresslevel=9)
        return packed.replace(output / built.name)


def download(lock: Path, output: Path) -> list[Path]:
    """Download the wheels that `lock` names, for Kaggle's Python and platform, and return them.

    Wheels that are in `output` already, with the right hash, are not downloaded again.

    Raises FileNotFoundError if `lock` is missing, RuntimeError if pip cannot download one or a hash differs.
    """
    if not lock.is_file():
        raise FileNotFoundError(f"{lock} is missing: make it with `motors kaggle lock`")
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock.read_text(encoding="utf-8")))

    def have() -> list[Path]:
        return [path for path in sorted(output.glob("*.whl")) if files.sha256(path) in hashes]

    if len(have()) < len(hashes):
        _pip_download(output, "--no-deps", "--require-hashes", "-r", str(lock))
    return have()


def lock(wheel: Path, image: Path, target: Path) -> Path:
    """Write the versions and hashes of packages that `wheel` needs and `image` lacks to `target` and return it.

    pip resolves them for Kaggle's Python and platform, given the versions in the image.

    Raises RuntimeError if pip finds none that fit, ValueError if the image lacks PyTorch, which is never packed.
    """
    with tempfile.TemporaryDirectory() as folder:
        have = {name: f"{version.partition('+')[0]}+image" for name, version in versions(image).items()}
        for name, version in have.items():
            _stand_in(Path(folder), name, version)
        fixed = write_text(Path(folder) / "image.txt", "".join(f"{name}=={each}\n" for name, each in have.items()))
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--report", str(report), "--target", folder, "-c", str(fixed)]
        _pip("install", f"versions for {wheel.name}", *options, "--find-links", folder, str(wheel))
        found = [each["metadata"] for each in json.loads(report.read_text(encoding="utf-8"))["install"]]
        wanted = {canonicalize_name(each["name"]): each["version"] for each in found}
        wanted = {name: wanted[name] for name in sorted(set(wanted) - set(have) - {wheel.name.partition("-")[0]})}
        if never := sorted(set(wanted) & set(NEVER)):
            advice = f"list the image's own in {image.name}"
            raise ValueError(f"{wheel.name} needs {never[0]}, which is never packed: {advice}")
        lines = []
        for name, version in wanted.items():
            got = _pip_download(Path(folder) / name, "--no-deps", f"{name}=={version}")
            lines.append(f"{name}=={version} --hash=sha256:{files.sha256(got)}\n")
    return write_text(target, "".join(lines))


def versions(image: Path) -> dict[str, str]:
    """Return the versions listed in a file, by package; # begins a comment."""
    lines = [line.split("#")[0].split() for line in image.read_text(encoding="utf-8").splitlines()]
    pairs = (line[0].partition("==") for line in lines if line)
    return {canonicalize_name(name): version for name, _, version in pairs}


def _stand_in(folder: Path, name: str, version: str) -> None:
    """Write a stand-in wheel of a package in the image, without dependencies, whatever an index says of it."""
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        about = f"{stem}.dist-info"
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")


def _pip_download(output: Path, *wanted: str) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    _pip("download", wanted[-1], "--dest", str(output), *wanted)
    return max(output.glob("*.whl"), key=lambda path: path.stat().st_mtime)


def _pip(command: str, what: str, *options: str) -> None:
    """Run pip for Kaggle's platform rather than for this machine."""
    there = [word for name in PLATFORMS for word in ("--platform", name)]
    there += ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    line = [sys.executable, "-m", "pip", command, "--disable-pip-version-check", *there, *options]
    finished = subprocess.run(line, capture_output=True, text=True, check=False)
    if finished.returncode:
        # the sides of a conflict
        telling = re.findall(r"(?:.* depends on |The user requested \(constraint\) ).*", finished.stdout)
        reason = telling or re.findall(r"ERROR: (.*)", finished.stderr) or [finished.stderr]
        raise RuntimeError(f"pip finds no {what}: {', '.join(map(str.strip, reason))[:300]}")
