"""What is packed for Kaggle, what is refused before anything is sent, and which wheels travel."""

import ast
import errno
import json
import os
import re
import shutil
import zipfile

import kaggle_machine
import pytest
import toys
from packaging.requirements import Requirement

from motors.kaggle import metadata, packages, publishing, wheels
from motors.workspace import paths
from motors.workspace.files import sha256

KEPT = toys.REPOSITORY / "kaggle_datasets"
SLUGS = sorted(path.parent.name for path in KEPT.glob("*/dataset-metadata.json"))
NETWORKS = ["20_train_resnext50"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The packing notebook's run, in a workspace with made-up outputs of a demo."""
    monkeypatch.setenv("MOTORS_KAGGLE_ROOT", str(tmp_path / "no_kaggle"))
    root = toys.workspace(tmp_path / "clone")
    toys.outputs(root)
    return paths.find(root).run("50_package_for_kaggle", "demo")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library's wheel."""
    return wheels.build(toys.REPOSITORY / "lib", tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize("slug", SLUGS)
def test_the_metadata_of_every_dataset_is_what_kaggle_takes(slug):
    """Lengths, licence and keywords, before there is any payload; and a README beside it."""
    about = metadata.owned(metadata.read(KEPT / slug / "dataset-metadata.json"), "alice")
    metadata.check_dataset(about, slug, {"README.md": 1, "payload": 1})
    assert len((KEPT / slug / "README.md").read_text()) > 200


BROKEN = {
    "no owner": ({"id": "OWNER/motors-toy"}, {}, "make it <user name>/motors-toy"),
    "another slug": ({"id": "alice/other"}, {}, "make it <user name>/motors-toy"),
    "a short title": ({"title": "Motor"}, {}, "title has to have 6 to 50 characters"),
    "a long title": ({"title": "M" * 51}, {}, "title has to have 6 to 50 characters"),
    "a short subtitle": ({"subtitle": "s" * 19}, {}, "subtitle has 19 characters: make it 20 to 80"),
    "a long subtitle": ({"subtitle": "s" * 81}, {}, "subtitle has 81 characters: make it 20 to 80"),
    "no licence": ({"licenses": []}, {}, "0 licences: name exactly one"),
    "two licences": ({"licenses": [{"name": "other"}, {"name": "GPL-3.0"}]}, {}, "2 licences: name exactly one"),
    "an unknown licence": ({"licenses": [{"name": "MIT"}]}, {}, "is none of Kaggle's"),
    "a loud keyword": ({"keywords": ["Biology"]}, {}, "keywords have to be in lower case"),
    "a resource that is not there": ({"resources": [{"path": "gone.csv"}]}, {}, "gone.csv.* is not there"),
    "a name the client drops": ({}, {"kernel-metadata.json": 1}, "would leave out .*kernel-metadata"),
    "a folder the client drops": ({}, {".git/config": 1}, "would leave out .*git/config"),
    "a licence that is text": ({"licenses": ["MIT"]}, {}, r'licenses is ."MIT".: make it a list of objects'),
    "resources that are none": ({"resources": {}}, {}, "resources is {}: make it a list of objects"),
    "keywords that are nothing": ({"keywords": None}, {}, "keywords is null: make it a list of texts"),
    "a keyword that is a number": ({"keywords": ["em", 3]}, {}, r'keywords is ."em", 3.: make it a list of texts'),
    "a title that is a number": ({"title": 5}, {}, "title is 5: make it a text"),
    "an odd name": ({}, {"a&b.csv": 3}, r"Kaggle takes no & or @ in names such as \['a&b.csv'\]: rename it"),
    "a licence of no text": ({"licenses": [{"name": ["MIT"]}]}, {}, "is none of Kaggle's"),
    "an archive": ({}, {"deep/masks.tar.gz": 1}, "would unpack .*masks.tar.gz"),
    "an empty file": ({}, {"empty.csv": 0}, "empty.csv.* is empty"),
    "too much": ({}, {"large.npy": 2**37}, "has 128 GiB, more than 100"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_rule_is_one_sentence(fault):
    """It says which dataset, which rule, and what to do."""
    changes, more, sentence = BROKEN[fault]
    about = {"id": "alice/motors-toy", "title": "Motors: a toy", "licenses": [{"name": "other"}]}
    metadata.check_dataset(about, "motors-toy", {"a.csv": 1})
    with pytest.raises(ValueError, match=f"^dataset motors-toy cannot be sent: .*{sentence}"):
        metadata.check_dataset(about | changes, "motors-toy", {"a.csv": 1} | more)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"enable_internet": None}, "enable_internet has to be false"),
        ({"enable_internet": "false"}, "enable_internet has to be false"),
        ({"machine_shape": "NvidiaTeslaP100"}, "machine_shape has to be NvidiaTeslaT4"),
        ({"title": "Submit"}, "its title makes the slug submit, but its id says motors-submit"),
        ({"title": "Sub"}, "title has to have 5 to 50 characters"),
        ({"title": "s" * 51}, "title has to have 5 to 50 characters"),
        ({"code_file": "gone.ipynb"}, "there is no gone.ipynb beside it"),
        ({"dataset_sources": ["motors-lib"]}, "dataset_sources have to be <user name>/<slug>"),
        ({"dataset_sources": ["a/motors-lib", "b/motors-lib"]}, "two of its dataset_sources have one slug"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_notebook_that_would_run_otherwise_is_refused(run, change, sentence):
    """Silence about the internet means yes to the client, whatever its documentation says."""
    folder = publishing.kernel(run, "alice", {})
    about = metadata.read(folder / "kernel-metadata.json") | change
    with pytest.raises(ValueError, match=sentence):
        metadata.check_kernel({name: value for name, value in about.items() if value is not None}, folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"code_file": None}, "notebook None cannot be sent: its code_file is null: make it a text"),
        ({"title": 5}, "its title is 5: make it a text"),
        ({"id": ["alice"]}, r'its id is ."alice".: make it a text'),
        ({"model_sources": "alice/model"}, 'its model_sources is "alice/model": make it a list of texts'),
        ({"dataset_sources": [1]}, r"its dataset_sources is .1.: make it a list of texts"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_metadata_of_another_kind_than_text_and_lists_are_refused(tmp_path, change, sentence):
    """Before anybody counts their characters."""
    with pytest.raises(ValueError, match=sentence):
        metadata.check_kernel({"id": "alice/motors-submit", "title": "Motors submit", **change}, tmp_path)


def test_metadata_that_are_no_text_are_refused_by_name(tmp_path):
    """Such as a picture; an editor's mark before them means nothing."""
    (tmp_path / "dataset-metadata.json").write_text('\ufeff{"id": "a/b"}', encoding="utf-8")
    assert metadata.read(tmp_path / "dataset-metadata.json") == {"id": "a/b"}
    (tmp_path / "dataset-metadata.json").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match=r"dataset-metadata.json is not JSON \(.*\): correct it"):
        metadata.read(tmp_path / "dataset-metadata.json")
    (tmp_path / "dataset-metadata.json").write_text('{"id": "a/b", "licenses": [{"name": "MIT", "name": "other"}]}')
    with pytest.raises(ValueError, match=r"dataset-metadata.json is not JSON \(name is there twice\): correct it"):
        metadata.read(tmp_path / "dataset-metadata.json")


def test_the_pushed_notebook_has_the_parameters_of_the_run_and_nobodys_name(run):
    """It mounts the simulated competition as a dataset; in the repository its metadata say OWNER."""
    folder = publishing.kernel(run, "alice", {"SPACING": 15.5})
    about = metadata.read(folder / "kernel-metadata.json")
    assert about["dataset_sources"][-1] == "alice/motors-simulated-demo"
    assert about["competition_sources"] == []
    cells = json.loads((folder / "90_submit.ipynb").read_text())["cells"]
    injected = next(cell for cell in cells if "injected-parameters" in cell["metadata"]["tags"])
    assert 'PROFILE = "demo"' in "".join(injected["source"])
    assert "SPACING = 15.5" in "".join(injected["source"])


def test_files_are_linked_not_copied_and_listed_with_their_hashes(run):
    """The list's own name changes when anything does."""
    made = packages.package("motors-weights", run, NETWORKS)
    source = run.input(NETWORKS[0]) / "weights" / "weights.safetensors"
    path = "20_train_resnext50/demo/weights/weights.safetensors"
    assert (made.folder / path).samefile(source)
    assert made.files[path] == {"bytes": len(toys.WEIGHTS), "sha256": sha256(source)}
    assert "dataset-metadata.json" not in made.files
    assert packages.packed("motors-weights", run) == made
    assert packages.package("motors-weights", run, NETWORKS).manifest == made.manifest
    source.unlink()
    source.write_bytes(toys.WEIGHTS[::-1])
    changed = packages.package("motors-weights", run, NETWORKS)
    assert changed.manifest != made.manifest
    assert len(list(changed.folder.glob("package-*.json"))) == 1


def test_without_names_all_networks_of_the_ensemble_are_packed(run):
    """Nothing of the ensemble is forgotten, and a network that it needs and that is not there is said."""
    assert (
        packages.package("motors-weights", run).manifest == packages.package("motors-weights", run, NETWORKS).manifest
    )
    ensemble = run.input("40_ensemble") / "ensemble.json"
    about = json.loads(ensemble.read_text())
    about["members"].append(about["members"][0] | {"run": "22_train_x3d_m/demo"})
    ensemble.write_text(json.dumps(about))
    with pytest.raises(FileNotFoundError, match="run 22_train_x3d_m first"):
        packages.package("motors-weights", run)
    ensemble.write_text(json.dumps({"networks": {"20_train_resnext50": ["toy zyx"]}, "weights": {"toy zyx": 1.0}}))
    with pytest.raises(ValueError, match="old"):
        packages.package("motors-weights", run)


def test_resampled_tomograms_are_packed_whatever_they_are_called(run):
    """External ones, too: the folds list them."""
    (run.input("11_prepare_volumes") / "external-7.npy").write_bytes(b"made up")
    found = packages.package("motors-tomograms", run).files
    assert {"demo/tomo_a.npy", "demo/external-7.npy"} <= set(found)


def test_packing_again_removes_what_is_no_longer_in_it_and_nothing_else(run):
    """A file that no packing put there stops it."""
    (run.input("10_prepare_labels") / "unsure.csv").write_text("tomo_id,z,y,x\n")
    folder = packages.package("motors-labels", run).folder
    assert (folder / "demo-unsure.csv").is_file()
    other = run.workspace.run("50_package_for_kaggle", "full")
    toys.outputs(run.workspace.root, "full")
    assert set(packages.package("motors-labels", other).files) >= {"full-folds.csv", "README.md"}
    assert not (folder / "demo-motors.csv").exists()
    assert not (folder / "full-motors.csv").exists(), "labels of the competition may not be passed on"
    for litter in (".DS_Store", "._README.md", "Thumbs.db"):  # of Finder and Explorer
        (folder / litter).write_text("x")
    assert not {".DS_Store", "._README.md", "Thumbs.db"} & {*packages.package("motors-labels", other).files}
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes.txt was not put there by a packing: move it elsewhere"):
        packages.package("motors-labels", run)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("packed_before", [True, False])
def test_a_packing_that_was_interrupted_can_be_done_again_with_other_contents(run, monkeypatch, packed_before):
    """While it hashed, or amid a copy; until then nobody takes what lies there for a package."""

    def interrupted(*_):
        raise KeyboardInterrupt

    def half(source, target):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    def elsewhere(*_):
        raise OSError(errno.EXDEV, "another file system")

    if packed_before:
        packages.package("motors-labels", run)
    for patches in ([(packages, "sha256", interrupted)], [(os, "link", elsewhere), (shutil, "copyfile", half)]):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            for patch in patches:
                patched.setattr(*patch)
            packages.package("motors-labels", run)
        with pytest.raises(FileNotFoundError, match="package motors-labels first"):
            packages.packed("motors-labels", run)
    toys.outputs(run.workspace.root, "full")
    other = run.workspace.run("50_package_for_kaggle", "full")
    made = packages.package("motors-labels", other)
    assert set(made.files) == {"README.md", "full-folds.csv", made.manifest}
    assert packages.packed("motors-labels", other) == made
    assert {path.name for path in made.folder.iterdir()} == {*made.files, "dataset-metadata.json"}


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_a_disk_without_links_gets_copies(run, monkeypatch, number):
    """exFAT, network shares, files of somebody else: what is packed and what is sent are all there."""

    def refused(*_):
        raise OSError(number, "no link")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "symlink", refused)
    made = packages.package("motors-weights", run, NETWORKS)
    file = f"{NETWORKS[0]}/demo/weights/weights.safetensors"
    assert (made.folder / file).read_bytes() == toys.WEIGHTS
    staged = publishing._stage(made, "alice", run.workspace)
    assert (staged / file).read_bytes() == toys.WEIGHTS and (staged / made.manifest).is_file()


def test_an_old_list_goes_only_when_the_new_one_is_written(run, monkeypatch):
    """A simulated competition lies in its folder already; interrupted, its list is still there."""
    run.competition.mkdir(parents=True, exist_ok=True)
    (run.competition / "sample_submission.csv").write_text("tomo_id\n")
    made = packages.package(run.competition_slug, run)
    (run.competition / "sample_submission.csv").write_text("tomo_id\na\n")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(packages, "sha256", interrupted)
        packages.package(run.competition_slug, run)
    assert (run.competition / made.manifest).is_file()
    again = packages.package(run.competition_slug, run)
    assert [path.name for path in run.competition.glob("package-*.json")] == [again.manifest]
    assert again.manifest != made.manifest


def test_a_card_says_where_a_network_comes_from(run):
    """Trained here, with the losses of its training; or converted from what somebody else trained, without."""
    folder = run.input(NETWORKS[0])
    provenance = json.loads((folder / "provenance.json").read_text()) | {"checkpoint": ""}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    packages.package("motors-weights", run, NETWORKS)
    card = (run.output / f"{NETWORKS[0]}-demo.md").read_text()
    assert "trained by `20_train_resnext50` on simulated tomograms, none of them real, 4 steps." in card
    assert "Licence: MIT." in card
    assert "losses in `metrics.csv`" in card
    provenance["checkpoint"] = "last.ckpt"
    (folder / "provenance.json").write_text(json.dumps(provenance))
    (folder / "metrics.csv").unlink()
    made = packages.package("motors-weights", run, NETWORKS)
    assert "20_train_resnext50/demo/metrics.csv" not in made.files
    card = (made.folder / "20_train_resnext50" / "demo" / "README.md").read_text()
    origin = "converted by `20_train_resnext50` from `last.ckpt`, which the original solution's author published."
    assert origin in card
    assert "Licence: that of the checkpoint." in card
    assert not re.search("trained by|steps|MIT|metrics.csv", card)


def test_missing_weights_and_changed_files_are_refused(run):
    """One network of two has not been trained; a file was touched after packing."""
    with pytest.raises(FileNotFoundError, match="run 21_train_densenet121 first"):
        packages.package("motors-weights", run, [*NETWORKS, "21_train_densenet121"])
    with pytest.raises(FileNotFoundError, match="package motors-weights first"):
        packages.packed("motors-weights", run)
    for path in ("weights/weights.safetensors", "weights/experiment.json", "provenance.json"):
        file = run.input(NETWORKS[0]) / path
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(FileNotFoundError, match=f"{file.name} is missing: run {NETWORKS[0]} again, to its end"):
            packages.package("motors-weights", run, NETWORKS)
        file.write_bytes(content)
    made = packages.package("motors-weights", run, NETWORKS)
    (made.folder / "20_train_resnext50" / "demo" / "metrics.csv").write_text("step,loss\n")
    with pytest.raises(ValueError, match="metrics.csv is not what was packed: package motors-weights again"):
        packages.check([made], "alice")


def test_a_packaged_network_is_found_where_no_notebook_has_run(run):
    """As on Kaggle; at home what was trained here comes first."""
    packages.package("motors-weights", run, NETWORKS)
    trained = run.input(NETWORKS[0])
    trained.rename(trained.with_name("elsewhere"))
    found = run.input(NETWORKS[0])
    assert found == run.workspace.root / "kaggle_datasets" / "motors-weights" / NETWORKS[0] / "demo"
    assert (found / "weights" / "weights.safetensors").read_bytes() == toys.WEIGHTS


def test_the_librarys_wheel_is_small_and_the_same_every_time(library, tmp_path, monkeypatch):
    """Under 200 KiB; built twice, one hash, whatever settings of setuptools the user has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".pydistutils.cfg").write_text("[bdist_wheel]\nuniversal = 1\n")
    assert library.stat().st_size < 200 * 2**10
    assert sha256(wheels.build(toys.REPOSITORY / "lib", tmp_path)) == sha256(library)


def imported(code: str) -> set[str]:
    """The modules that code imports when it runs, and what it takes from them as if they were modules too."""
    tree = ast.parse(code)
    guards = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    tree.body = [node for node in tree.body if node not in guards]
    nodes = list(ast.walk(tree))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = [(node.module, alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return whole | {module for module, _ in parts} | {f"{module}.{name}" for module, name in parts}


def test_what_the_wheel_leaves_out_is_asked_for_by_nothing_on_kaggle(library):
    """Whole but for what stays at home; neither the rest of it nor the notebooks that train and submit import that."""
    source = toys.REPOSITORY / "lib"
    with zipfile.ZipFile(library) as archive:
        inside = {name for name in archive.namelist() if name.endswith(".py")}
        assert not [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    names = {path.relative_to(source).as_posix() for path in (source / "motors").rglob("*.py")}
    left_out = names - inside
    assert inside <= names
    assert {"motors/kaggle/submission.py", "motors/kaggle/__init__.py", "motors/detection/queue.py"} <= inside
    assert {
        "motors/cli.py",
        "motors/kaggle/client.py",
        "motors/simulate/scene.py",
        "motors/review/widget.py",
        "motors/visualization/report.py",
        "motors/evaluation/runs.py",
        "motors/api.py",
    } <= left_out
    absent = {name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for name in left_out}
    kinds = {f"motors.volumes.{name}" for name in ("kinds", "tiff", "units")}
    readers = {"motors/volumes/formats.py": kinds, "motors/volumes/slices.py": {"motors.volumes.tiff"}}
    for name in inside:  # the competition's are JPEG slices, which state no spacing
        wanted = imported((source / name).read_text(encoding="utf-8")) & absent
        assert wanted <= readers.get(name, set()), name
    for path in sorted((toys.REPOSITORY / "notebooks").glob("[29]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        lines = [line for line in code.splitlines() if not line.lstrip().startswith(("%", "!"))]
        assert not imported("\n".join(lines)) & absent, path.name


def test_image_and_wheels_have_all_that_the_library_needs(library):
    """By name and version, for Kaggle's Python; and every wheel has a hash, and none is PyTorch."""
    lock = (KEPT / "motors-wheels" / "requirements.txt").read_text()
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lock.splitlines())
    packed = wheels.versions(KEPT / "motors-wheels" / "requirements.txt")
    image = wheels.versions(kaggle_machine.IMAGE)
    assert not set(packed) & {*wheels.NEVER, *image}
    with zipfile.ZipFile(library) as archive:
        about = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    needs = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.*)$", about, re.MULTILINE)]
    needs = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    assert needs
    have = image | packed
    assert [str(need) for need in needs if not need.specifier.contains(have[need.name.lower()], prereleases=True)] == []


def toy_wheel(folder, name, version, *needs):
    """Write a wheel that needs others."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(path, "w") as archive:
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{about}"
        archive.writestr(f"{name}-{version}.dist-info/METADATA", head)
        archive.writestr(f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path


@pytest.mark.kernel
def test_versions_are_resolved_together(tmp_path, monkeypatch):
    """One version of each, although c wants an older b; what the image has stays there, a clash with it is said."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    for version in ("1.9", "2.0"):
        toy_wheel(tmp_path, "b", version)
    toy_wheel(tmp_path, "c", "1.0", "b<2", "numpy>=2")
    (tmp_path / "source").mkdir()
    mine = toy_wheel(tmp_path / "source", "mine", "1.0", "b", "c", "torch>=2.5")
    image, lock = tmp_path / "image.txt", tmp_path / "lock.txt"
    image.write_text("numpy==2.1\ntorch==2.11.0+cu128  # a remark\n")
    found = wheels.lock(mine, image, lock).read_text().splitlines()
    assert [line.split()[0] for line in found] == ["b==1.9", "c==1.0"]
    assert found[0].endswith(sha256(tmp_path / "b-1.9-py3-none-any.whl"))
    assert [path.name for path in wheels.download(lock, tmp_path / "got")] == [
        f"{n}-py3-none-any.whl" for n in ("b-1.9", "c-1.0")
    ]
    image.write_text("numpy==2.1\ntorch==2.4.1\n")
    with pytest.raises(RuntimeError, match="torch>=2.5.*2.4.1"):
        wheels.lock(mine, image, lock)
    toy_wheel(tmp_path, "torch", "2.6")
    image.write_text("numpy==2.1\n")
    with pytest.raises(ValueError, match="needs torch, which is never packed"):
        wheels.lock(mine, image, lock)
