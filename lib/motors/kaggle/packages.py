"""Packing of datasets: recipes for their files, which are linked rather than copied."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from motors.kaggle import metadata, wheels
from motors.tables import members
from motors.workspace.files import is_visible, read_json, renamed, sha256, write_json, write_text
from motors.workspace.paths import PACKAGED, Run

LARGEST_WHEEL = 210 * 2**10  # bytes: the library is nothing but code
KEPT = ("README.md", metadata.DATASET)  # in a package's folder, but not put there by a recipe
ENSEMBLE = "40_ensemble"
MANIFEST = "package-*.json"  # with a hash of what it lists
UNFINISHED = ".packing.json"  # in a package's folder while it is filled: all files of this and earlier packings


@dataclass(frozen=True)
class Package:
    """A folder that is ready to be sent as a dataset."""

    slug: str
    folder: Path
    files: dict[str, dict[str, Any]]  # bytes and SHA-256 by path, of all files to be sent

    @property
    def size(self) -> int:
        """Bytes to be sent, before the client zips folders."""
        return sum(about["bytes"] for about in self.files.values())

    @property
    def about(self) -> dict[str, Any]:
        """Its metadata: id, title, licence and so on."""
        return metadata.read(self.folder / metadata.DATASET)

    @property
    def manifest(self) -> str:
        """Name of the file that lists the others; the hash in it distinguishes versions in a listing of names."""
        return next(path for path in self.files if fnmatch(path, MANIFEST))


def package(slug: str, run: Run, networks: Iterable[str] = ()) -> Package:
    """Fill the folder of a dataset from the outputs of a run and return the package.

    Files are hard links to the notebooks' outputs. Files of an earlier packing that do not belong to this one are
    removed; all others are refused. An interrupted packing can be repeated, also with other contents.

    The slug is a key of `RECIPES`, or the run's simulated competition, which is in its folder already. Files that have
    to be built are written to the run's own output. `networks` are training notebooks, or <notebook>/<run>, for
    motors-weights; by default all of the ensemble.

    Raises FileNotFoundError or ValueError if an input is missing, there is no recipe, or the folder holds other files.
    """
    if slug == run.competition_slug and run.profile != "full":
        if not (run.competition / "sample_submission.csv").is_file():
            raise FileNotFoundError(f"{run.competition} holds no simulated competition: run 00_start_here first")
        return _seal(slug, run.competition)
    if slug not in RECIPES:
        raise ValueError(f"there is no recipe for {slug}: choose {', '.join([*RECIPES, 'motors-simulated-demo'])}")
    contents = RECIPES[slug](run, tuple(networks))
    folder = run.workspace.new_dataset(slug)
    _claim(folder, contents)
    for path, source in contents.items():
        _link(source, folder / path)
    return _seal(slug, folder)


def packed(slug: str, run: Run) -> Package:
    """Return the package in the folder of a dataset; raises FileNotFoundError if it was not packed completely."""
    folder = run.workspace.dataset(slug, hint="package it first")
    found = next(folder.glob(MANIFEST), None)
    if found is None or (folder / UNFINISHED).exists():
        raise FileNotFoundError(f"{folder} has no list of its contents: package {slug} first")
    return Package(slug, folder, _with_manifest(read_json(found), found))


def check(packages: Iterable[Package], owner: str) -> None:
    """Refuse packages that have changed since packing, or break a rule of Kaggle, see `metadata.check_dataset`.

    Raises FileNotFoundError or ValueError if a file is missing or not as packed, or a rule is broken.
    """
    for each in packages:
        for path, about in each.files.items():
            if not (each.folder / path).is_file() or (each.folder / path).stat().st_size != about["bytes"]:
                raise ValueError(f"{each.folder / path} is not what was packed: package {each.slug} again")
        about = metadata.owned(each.about, owner)
        metadata.check_dataset(about, each.slug, {path: about["bytes"] for path, about in each.files.items()})


def _library(run: Run, _: tuple[str, ...]) -> dict[str, Path]:
    built = wheels.build(run.workspace.root / "lib", run.output)
    if built.stat().st_size > LARGEST_WHEEL:
        raise ValueError(f"{built.name} has {built.stat().st_size} bytes, more than {LARGEST_WHEEL}: what got into it?")
    return {built.name: built}


def _wheels(run: Run, _: tuple[str, ...]) -> dict[str, Path]:
    folder = run.workspace.new_dataset("motors-wheels")
    return {path.name: path for path in wheels.download(folder / wheels.LOCK, run.output / "wheels")}


def _weights(run: Run, networks: tuple[str, ...]) -> dict[str, Path]:
    """Return the weights of a run's networks and its ensemble, in the folders in which notebooks look."""
    ensemble = _there(run.input(ENSEMBLE) / "ensemble.json", ENSEMBLE)
    found = {f"{ENSEMBLE}/{run.name}/ensemble.json": ensemble}
    for network in networks or members(read_json(ensemble))["run"].unique():
        notebook, _, name = network.partition("/")
        folder = run.input(notebook, name)
        inside = ["weights/weights.safetensors", "weights/experiment.json", "provenance.json"]
        for path in inside:
            _there(folder / path, notebook)
        card = write_text(run.output / f"{notebook}-{folder.name}.md", _card(run, folder))
        trained = ["metrics.csv", "weights/trained_on.json"]  # a network that was converted, not trained, has neither
        inside += [path for path in trained if (folder / path).is_file()]
        found |= {f"{notebook}/{folder.name}/{path}": folder / path for path in inside}
        found[f"{notebook}/{folder.name}/README.md"] = card
    return found


def _there(path: Path, notebook: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run {notebook} again, to its end")
    return path


def _labels(run: Run, _: tuple[str, ...]) -> dict[str, Path]:
    """Return the tables that may be published: all of a simulation; of the real data, our folds only."""
    folder, tables = run.input("10_prepare_labels"), ["folds.csv"]
    if run.profile != "full":
        tables += ["tomograms.csv", "motors.csv", *(path.name for path in folder.glob("unsure.csv"))]
    return {f"{run.name}-{table}": folder / table for table in tables}


def _tomograms(run: Run, _: tuple[str, ...]) -> dict[str, Path]:
    folder = run.input("11_prepare_volumes")
    return {f"{run.name}/{path.name}": path for path in sorted(folder.glob("*.npy"))}


RECIPES: Mapping[str, Callable[[Run, tuple[str, ...]], dict[str, Path]]] = {
    "motors-lib": _library,
    "motors-wheels": _wheels,
    PACKAGED: _weights,
    "motors-labels": _labels,
    "motors-tomograms": _tomograms,
}


def _card(run: Run, folder: Path) -> str:
    notebook = folder.parent.name
    settings, made = (read_json(folder / name) for name in ("weights/experiment.json", "provenance.json"))
    about = read_json(run.input(ENSEMBLE) / "ensemble.json")["members"]
    mine = [each for each in about if each["run"] == f"{notebook}/{folder.name}" and "F2" in each]
    scores = [f"- {each['symmetry']}: {each['F2']:.3f}" for each in mine]
    data = "the competition's tomograms" if run.profile == "full" else "simulated tomograms, none of them real"
    origin, licence = f"trained by `{notebook}` on {data}, {settings['steps']} steps", "MIT"
    losses = ", losses in `metrics.csv`" if (folder / "metrics.csv").is_file() else ""
    if made.get("checkpoint"):
        whose = "which the original solution's author published"
        origin = f"converted by `{notebook}` from `{made['checkpoint']}`, {whose}"
        licence, losses = "that of the checkpoint", ""
    lines = [
        f"# {settings['name']}",
        f"Finds flagellar motors in tomograms; {origin}.",
        f"Commit {made['commit']}, torch {made['versions']['torch']}, {made['time']}. Licence: {licence}.",
        "F2 on held-out tomograms, by symmetry:",
        "\n".join(scores) or "- not validated",
        f"Load it with `motors.load(folder)`. Settings are in `experiment.json`{losses}.",
    ]
    return "\n\n".join(lines) + "\n"


def _claim(folder: Path, contents: Mapping[str, Path]) -> None:
    """Check that all inputs exist, note which files are from packings, and remove those of earlier ones."""
    for path, source in contents.items():
        if not source.is_file():
            raise FileNotFoundError(f"{folder.name} needs {source} for {path}, which is missing: run its notebook")
    lists = [*folder.glob(MANIFEST), *folder.glob(UNFINISHED)]
    mine = {path for old in lists for path in [*read_json(old)["files"], old.name]}
    present = {*_inside(folder)}
    kept = {*contents, *_kept(folder)}
    if strange := sorted(present - mine - kept):
        raise ValueError(f"{folder / strange[0]} was not put there by a packing: move it elsewhere")
    write_json(folder / UNFINISHED, {"files": sorted(mine | set(contents))})
    for path in sorted((mine & present) - kept - {UNFINISHED}):
        (folder / path).unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _inside(folder: Path) -> dict[str, Path]:
    """Return all files below a folder by relative path, without system files such as `.DS_Store`."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name.as_posix(): path for name, path in found.items() if is_visible(name)}


def _kept(folder: Path) -> list[str]:
    """Return the files that belong to the repository, not to a packing."""
    return [*KEPT, wheels.IMAGE, wheels.LOCK] if folder.name == "motors-wheels" else list(KEPT)


def _link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy if that is impossible."""
    with renamed(target) as partial:  # renaming a link to another of its file keeps both; `renamed` removes it
        try:
            os.link(source, partial)
        except OSError:  # two disks, no hard links, or another user's file
            shutil.copyfile(source, partial)


def _seal(slug: str, folder: Path) -> Package:
    """Write the list of all files in the folder, named by a hash of its content, and remove older lists."""
    lists = {*folder.glob(MANIFEST), folder / UNFINISHED}
    files = {
        name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for name, path in _inside(folder).items()
        if path not in lists and path.name != metadata.DATASET
    }
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]
    written = write_json(folder / MANIFEST.replace("*", digest), {"files": files})
    for old in lists - {written}:
        old.unlink(missing_ok=True)
    return Package(slug, folder, _with_manifest({"files": files}, written))


def _with_manifest(content: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    return content["files"] | {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}}
