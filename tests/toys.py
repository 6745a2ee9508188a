"""Toy workspaces: a few notebooks of a few lines, in a folder laid out like the repository; a toy image."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile

REPOSITORY = Path(__file__).parents[1]
PARAMETERS = (
    'PROFILE: str = "demo"  # smoke, demo or full\nSEED: int = 0  # of everything random\nSTEPS: int = 3  # steps\n'
)


def workspace(root: Path) -> Path:
    """Make the folders of an empty workspace and return its root."""
    for name in ("notebooks", "kaggle_datasets", "outputs"):
        (root / name).mkdir(parents=True)
    return root


def notebook(root: Path, name: str, *cells: str, parameters: str = PARAMETERS, tag: str = "parameters") -> Path:
    """Write a notebook of code cells below a cell of parameters and one that opens the run; return its path."""
    opening = f'from motors.workspace import files, paths\nrun = paths.open_run("{name}", PROFILE, SEED)'
    written = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A toy\n> Runs in no time."}]
    for number, source in enumerate((parameters, opening, *cells)):
        cell = {"cell_type": "code", "id": f"c{number}", "metadata": {"tags": [tag]} if number == 0 else {}}
        written.append(cell | {"source": source, "outputs": [], "execution_count": None})
    path = root / "notebooks" / f"{name}.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": written, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


def graph(root: Path, plan: str) -> None:
    """Give the workspace `plan` as its experiments.yaml, and the repository's Snakefile."""
    (root / "notebooks" / "experiments.yaml").write_text(plan)
    shutil.copy(REPOSITORY / "notebooks" / "Snakefile", root / "notebooks" / "Snakefile")


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run `python -m motors` with `arguments` in the workspace."""
    line = [sys.executable, "-m", "motors", *map(str, arguments)]
    return subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)


def start(root: Path, *arguments: str) -> subprocess.Popen:
    """Start `python -m motors` with `arguments` in the workspace, to be interrupted."""
    line = [sys.executable, "-m", "motors", *map(str, arguments)]
    return subprocess.Popen(line, cwd=root, stderr=subprocess.PIPE, text=True)


def record(root: Path, name: str, run: str = "demo") -> dict:
    """Return the record of a run."""
    return json.loads((root / "outputs" / name / run / "record.json").read_text())


def alive(pid: int) -> bool:
    """True if a process is there and is not merely waiting to be buried."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


WEIGHTS = b"made-up weights that no network has learnt"


def library(root: Path) -> None:
    """Copy the library, to be packed."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
    shutil.copytree(REPOSITORY / "lib", root / "lib", ignore=left_out)


def packages(root: Path) -> None:
    """Copy what the repository keeps of the datasets, without their payload."""
    kept = ["*/dataset-metadata.json", "*/README.md", "motors-wheels/*.txt"]
    for source in [path for pattern in kept for path in (REPOSITORY / "kaggle_datasets").glob(pattern)]:
        target = root / source.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def outputs(root: Path, run: str = "demo") -> None:
    """Write made-up outputs of the notebooks that datasets are packed from, and copy what belongs to the packages."""
    packages(root)
    for name in ("50_package_for_kaggle.ipynb", "90_submit.ipynb", "kernel-metadata.json"):
        shutil.copy(REPOSITORY / "notebooks" / name, root / "notebooks" / name)
    provenance = {"commit": "abc", "versions": {"torch": "2.5"}, "time": "2026-01-01T00:00:00+00:00"}
    member = {"run": f"20_train_resnext50/{run}", "symmetry": "zyx", "weight": 1.0, "F2": 0.5}
    ensemble = {"members": [member]}
    files = {
        "20_train_resnext50/weights/weights.safetensors": WEIGHTS,
        "20_train_resnext50/weights/experiment.json": b'{"name": "toy", "steps": 4}',
        "20_train_resnext50/metrics.csv": b"step,loss\n1,0.5\n",
        "20_train_resnext50/provenance.json": json.dumps(provenance).encode(),
        "11_prepare_volumes/tomo_a.npy": b"made-up grey levels",
        "40_ensemble/ensemble.json": json.dumps(ensemble).encode(),
        **{f"10_prepare_labels/{name}.csv": b"tomo_id\na\n" for name in ("folds", "tomograms", "motors")},
    }
    for path, content in files.items():
        notebook, _, rest = path.partition("/")
        target = root / "outputs" / notebook / run / rest
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def in_files(folder: Path, planes: np.ndarray) -> list[Path]:
    """Write each plane of an OME-TIFF image in a file of its own, which names all files."""
    folder.mkdir(parents=True)
    paths = [folder / f"cell_{k}.ome.tif" for k in range(len(planes))]
    places = "".join(
        f'<TiffData FirstZ="{k}" IFD="0"><UUID FileName="{path.name}">urn:uuid:{k}</UUID></TiffData>'
        for k, path in enumerate(paths)
    )
    size = 'DimensionOrder="XYZCT" Type="uint8" SizeC="1" SizeT="1"'
    size += "".join(f' Size{axis}="{side}"' for axis, side in zip("ZYX", planes.shape, strict=True))
    for k, path in enumerate(paths):
        image = f'<Image ID="Image:0"><Pixels ID="Pixels:0" {size}>{places}</Pixels></Image>'
        space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
        about = f'<?xml version="1.0"?><OME xmlns="{space}" UUID="urn:uuid:{k}">{image}</OME>'
        tifffile.imwrite(path, planes[k], description=about, metadata=None)
    return paths
