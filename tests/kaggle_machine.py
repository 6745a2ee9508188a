"""A machine laid out like Kaggle's: its packages and no others, mounted datasets, no internet."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import toys
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from motors.kaggle import wheels
from motors.workspace.files import sha256
from motors.workspace.paths import Run

IMAGE = toys.REPOSITORY / "kaggle_datasets" / "motors-wheels" / "image.txt"
GUARD = """
import socket
def refuse(self, address, *_, _connect=socket.socket.connect):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"there is no internet: {address}")
    return _connect(self, address)
socket.socket.connect = socket.socket.connect_ex = refuse
"""


def python(folder: Path, packages: Path | None = None) -> Path:
    """Make an environment that has what Kaggle's image has and cannot reach the internet; return its interpreter.

    Its packages are those of this environment whose names are in the recorded list, in the versions that are here, with
    what they need; or those in the folder `packages`.
    """
    venv.create(folder / "venv", symlinks=True)
    site = next((folder / "venv").glob("lib/python*/site-packages"))
    if packages is None:
        packages = folder / "image"
        packages.mkdir()
        _link_image(packages)
    (site / "image.pth").write_text(f"{packages}\n")
    (site / "sitecustomize.py").write_text(GUARD)
    return folder / "venv" / "bin" / "python"


def wheels_without_network(run: Run) -> None:
    """Put wheels of what Kaggle's image lacks where packing looks for them, in the versions installed here."""
    lines = []
    for name in ("mrcfile", "segmentation-models-pytorch"):
        path = repack(name, run.output / "wheels")
        lines.append(f"{name}=={importlib.metadata.version(name)} --hash=sha256:{sha256(path)}\n")
    (run.workspace.new_dataset("motors-wheels") / wheels.LOCK).write_text("".join(lines))


def repack(name: str, output: Path) -> Path:
    """Write the wheel that an installed package came from, as far as installing again goes, and return it."""
    output.mkdir(exist_ok=True)
    found = importlib.metadata.distribution(name)
    path = output / f"{name.replace('-', '_')}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in found.files:
            if ".." not in file.parts and "__pycache__" not in file.parts and file.suffix != ".pyc":
                archive.write(found.locate_file(file), str(file))
    return path


def link_torch(packages: Path) -> None:
    """Put this environment's PyTorch into a folder of packages; the image's own takes gigabytes."""
    there = {
        canonicalize_name(each.metadata["Name"]) for each in importlib.metadata.distributions(path=[str(packages)])
    }
    _link([name for name in _closure(["torch", "torchvision"]) if name not in there], packages)


def mount(kaggle: Path, datasets: dict[str, Path], where: str) -> None:
    """Lay datasets out below `input`, as copies that nobody may write to, and an empty `working`."""
    for slug, source in datasets.items():
        target = kaggle / "input" / where / slug
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("dataset-metadata.json"))
    (kaggle / "working").mkdir(parents=True)
    for path in (kaggle / "input").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Times and hashes of all files in a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, sha256(path)) for path in files}


def run(interpreter: Path, kaggle: Path, notebook: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a notebook from `working` as Kaggle does."""
    shutil.copy(notebook, kaggle / "working" / "__notebook__.ipynb")
    line = [interpreter, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", "__notebook__.ipynb"]
    wanted = {
        "PATH": os.environ["PATH"],
        "HOME": str(kaggle / "working" / ".home"),
        "MOTORS_KAGGLE_ROOT": str(kaggle),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        line, cwd=kaggle / "working", env=wanted | environment, capture_output=True, text=True, check=False
    )


def _link_image(packages: Path) -> None:
    """Link what is listed and installed here."""
    here = {canonicalize_name(each.metadata["Name"]) for each in importlib.metadata.distributions()}
    _link(_closure([name for name in wheels.versions(IMAGE) if name in here]), packages)


def _closure(names: list[str]) -> list[str]:
    """Packages, and those that they need, as far as they are installed here."""
    found, waiting = [], list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if name not in found:
            found.append(name)
            every = [Requirement(need) for need in needs]
            waiting += [need.name for need in every if need.marker is None or need.marker.evaluate({"extra": ""})]
    assert not {"motors", "mrcfile", "segmentation-models-pytorch"} & set(found)
    return found


def _link(names: list[str], packages: Path) -> None:
    """Link the folders and modules of packages."""
    site = Path(sysconfig.get_path("purelib"))
    for name in names:
        for file in importlib.metadata.distribution(name).files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (packages / top).exists() and (site / top).exists():
                (packages / top).symlink_to(site / top)


def install(versions: list[str], packages: Path) -> None:
    """Install these versions into a folder, without what they depend on; needs the network."""
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, *versions]
    subprocess.run(line, check=True)
