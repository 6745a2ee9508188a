"""The rules of the house: where code goes, how long it is, and what a notebook looks like."""

import ast
import json
import re
import statistics
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from house import LIBRARY, MODULES, drawing, floors, imports, lines, replaced
from toys import REPOSITORY

from motors import FORMER
from motors.former import NAMES, package
from motors.pipeline.lean import lean

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))
README = REPOSITORY / "README.md"
MEBIBYTE = 2**20
MOST_LINES = 19_069
PLACE = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work|mnt|media|tmp|var|opt|srv)/[\w.-]+|[A-Z]:\\\\Users")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def tracked() -> list[Path]:
    """Files that are or would be in git; where git does not know the folder, nothing."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip("this copy is not in git: its files cannot be told from what lies around")
    return [path for name in answer.stdout.splitlines() if (path := REPOSITORY / name).is_file()]


@cache
def parsed(path: Path) -> ast.Module:
    """A file of Python as a tree, which nobody changes."""
    return ast.parse(path.read_text())


@cache
def defined(path: Path) -> set[str]:
    """The names that a file gives a value itself, rather than importing them."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_a_room_imports_only_rooms_of_lower_floors():
    """Who has read the floors below knows everything that is used; the README draws them."""
    assert floors()["geometry"] == 0
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert page == replaced(page, "house", drawing()), "the house has changed: python tests/house.py --write"


def test_the_library_does_not_grow_unnoticed():
    """Its lines, with docstrings, room by room; the limit is what there is, rounded up to the next 100."""
    print(*(f"{name:<14}{count:>7,}" for name, count in lines().items()), sep="\n")
    total = sum(lines().values())
    print(f"{total:,} lines")
    assert total <= MOST_LINES, f"{total} lines: take something away, or say why the library needs more"


def test_everything_is_imported_from_the_module_that_defines_it():
    """Never through a package's face, nor by a name that begins with an underscore inside the library."""
    here = Path(__file__).parent
    for path in (*MODULES, *sorted(here.rglob("*.py"))):
        for module, name in imports(path):
            home = LIBRARY.joinpath(*module.split(".")[1:])
            if not any((home / name).with_suffix(suffix).exists() for suffix in ("", ".py")):
                source = home.with_suffix(".py") if home.with_suffix(".py").exists() else home / "__init__.py"
                assert name in defined(source), f"{path}: {name} is not defined in {module}"
                assert not name.startswith("_") or path.is_relative_to(here), f"{path}: {module}.{name} is private"


def test_every_former_name_still_works_from_outside():
    """Those of packages that are gone, and those that were taken from the face of one that is still there."""
    for room, homes in NAMES.items():
        for old, _, new in (name.partition("=") for name in " ".join(homes.values()).split()):
            old_room = import_module(f"motors.{room}") if room not in FORMER else package(room)
            for module in homes:
                import_module(f"motors.{module}")  # which must not take the place of a name
            found = getattr(old_room, old)
            assert not isinstance(found, ModuleType), f"{room}.{old} is hidden by a module of that name"
            assert found is not None and (not new or getattr(found, "__name__", new) == new), f"{old} is not {new}"


def test_a_module_is_at_most_300_lines_and_a_function_40():
    """Docstrings of functions are not counted: they are for those who use them."""
    assert [path for path in MODULES if len(path.read_text().splitlines()) > 300] == []
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                described = ast.get_docstring(node) is not None
                docstring = first.end_lineno - first.lineno + 1 if described else 0
                assert node.end_lineno - node.lineno + 1 - docstring <= 40, f"{path}: {node.name} is too long"


def test_what_is_public_has_a_docstring():
    """One sentence at least."""
    for path in MODULES:
        if parsed(path).body:
            assert ast.get_docstring(parsed(path)), f"{path} says nothing about itself"
        for node in parsed(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name} says nothing about itself"


def test_what_is_raised_is_a_sentence_where_it_has_no_other_section():
    """Two headings are more than one sentence needs."""
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                sections = re.findall(r"^(\w+)\n-+$", ast.get_docstring(node) or "", re.MULTILINE)
                assert sections != ["Raises"], f"{path}: {node.name} has a section for a sentence"


def test_no_file_names_a_folder_of_somebodys_machine():
    """Code, prose and notebooks work wherever they are cloned to."""
    for path in tracked():
        if path.suffix in {".py", ".md", ".ipynb", ".toml", ".yml", ".yaml", ".json", ".csv", ""} and path != Path(
            __file__
        ):
            found = PLACE.search(path.read_text(errors="replace"))
            assert not found, f"{path.relative_to(REPOSITORY)} names {found and found.group()}"


def test_no_file_is_larger_than_a_mebibyte():
    """A clone is small."""
    assert [path.name for path in tracked() if path.stat().st_size > MEBIBYTE] == []


@pytest.mark.kernel
def test_predicting_needs_none_of_the_packages_for_training():
    """Kaggle's machine has them in other versions or not at all."""
    code = """
import sys
for name in ("lightning", "snakemake", "jupyterlab", "monai", "sklearn", "papermill"):
    sys.modules[name] = None
from importlib import import_module
for name in "detection.queue networks.checkpoints ensemble.combine ensemble.select kaggle.submission".split():
    import_module(f"motors.{name}")
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_conda_users_get_what_the_package_asks_for():
    """environment.yml names Python, the PyTorch of the Makefile and the package, which has the one list."""
    package = tomllib.loads((REPOSITORY / "lib" / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == [f"python={package['requires-python'].removeprefix('>=')}", "pip"]
    *torch, itself = pip["pip"]
    assert itself == "-e ./lib[dev]"
    assert "dev" in package["optional-dependencies"]
    assert f"TORCH := {' '.join(torch)}\n" in (REPOSITORY / "Makefile").read_text()
    allowed = dict(
        re.match(r"(\w+)(.*)", line).groups() for line in package["dependencies"] if line.startswith("torch")
    )
    for name, version in (line.split("==") for line in torch):
        minor = re.match(r"(\d+)\.(\d+)", version)
        next_one = f"<{minor[1]}.{int(minor[2]) + 1}"
        assert next_one in allowed[name], f"{name} {version} is installed, but the upper bound is not {next_one}"


def test_every_dependency_has_a_lower_and_an_upper_bound():
    """Upper bounds are what was run."""
    package = tomllib.loads((REPOSITORY / "lib" / "pyproject.toml").read_text())["project"]
    extras = [line for lines in package["optional-dependencies"].values() for line in lines]
    for line in package["dependencies"] + extras:
        assert line.startswith("motors[") or (">=" in line and "<" in line), line


@cache
def notebook(path: Path) -> dict:
    """What is in the file of a notebook, which nobody changes."""
    return json.loads(path.read_text())


def cells(path: Path, kind: str | None = None) -> list[dict]:
    """The cells of a notebook, their sources as one text."""
    found = notebook(path)["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found if kind in (None, cell["cell_type"])]


@each_notebook
def test_a_notebook_begins_with_a_title_and_one_quoted_sentence(path):
    """What it is and why."""
    lines = [line for line in cells(path)[0]["source"].splitlines() if line]
    assert cells(path)[0]["cell_type"] == "markdown"
    assert lines[0].startswith("# ")
    assert lines[1].startswith("> ")


@each_notebook
def test_papermill_sees_every_parameter(path):
    """One plain scalar a line, each with a remark; PROFILE and SEED are among them."""
    with lean():
        from papermill import inspect_notebook

    tagged = [cell for cell in cells(path, "code") if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    lines = [line for line in tagged[0]["source"].splitlines() if line.strip()]
    seen = inspect_notebook(path)
    assert {"PROFILE", "SEED"} <= set(seen)
    assert list(seen) == [re.match(r"[A-Z][A-Z0-9_]*", line).group() for line in lines]
    for line in lines:
        assert re.fullmatch(r"\w+: (str|int|float|bool) = [^#=]+  # [^=]+", line), line
    for parameter in seen.values():
        assert isinstance(ast.literal_eval(parameter["default"]), str | int | float | bool)
    assert (seen["PROFILE"]["default"].strip("\"'"), seen["SEED"]["default"]) == ("demo", "0")


@each_notebook
def test_a_notebook_is_short_and_says_what_it_does(path):
    """Cells of 25 lines, 40 of them, a megabyte, and prose for every other cell of code."""
    assert len(cells(path)) <= 40
    assert path.stat().st_size <= MEBIBYTE
    assert max(len(cell["source"].splitlines()) for cell in cells(path, "code")) <= 25
    assert len(cells(path, "markdown")) >= 0.5 * len(cells(path, "code"))


def test_half_of_all_code_cells_have_at_most_six_lines():
    """Say, do, look, check."""
    lengths = [len(cell["source"].splitlines()) for path in NOTEBOOKS for cell in cells(path, "code")]
    assert statistics.median(lengths) <= 6


@each_notebook
def test_a_notebook_ends_with_what_was_learnt_and_leads_on(path):
    """Figures computed above it; links to the notebooks before and after, and to a module."""
    prose = "\n".join(cell["source"] for cell in cells(path, "markdown"))
    assert "## What we learnt" in prose
    assert re.search(r"(Next|Back to): *\[", prose.replace("\n", " ")) and "](../lib/motors/" in prose


def test_links_lead_somewhere():
    """From notebooks and pages to files here, and to headings of the README."""
    pages = {path: path.read_text(encoding="utf-8") for path in tracked() if path.suffix == ".md"}
    pages |= {path: "\n".join(cell["source"] for cell in cells(path, "markdown")) for path in NOTEBOOKS}
    headings = [line.lstrip("# ").lower() for line in pages[README].splitlines()]
    anchors = {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}
    for path, text in pages.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = link.partition("#")
            assert ":" in file or (path.parent / file).exists(), f"{path.name} links to {link}"
            assert file or path != README or anchor in anchors, f"{path.name} links to {link}"


@each_notebook
def test_a_notebook_is_committed_as_it_was_executed(path):
    """From top to bottom in one go, without an error, and without what changes from run to run."""
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert all(output["output_type"] != "error" for output in outputs)
    assert all(set(cell["metadata"]) <= {"tags"} for cell in cells(path))
    assert set(notebook(path)["metadata"]) == {"kernelspec", "language_info"}


def test_no_cell_of_more_than_five_lines_is_in_two_notebooks():
    """What two notebooks do belongs in the library."""
    sources = [cell["source"].strip() for path in NOTEBOOKS for cell in cells(path, "code")]
    long = Counter(source for source in sources if len(source.splitlines()) > 5)
    assert [source for source, times in long.items() if times > 1] == []


def test_the_graph_knows_every_notebook():
    """And nothing else, once there are any; whoever is waited for is written above."""
    plan = yaml.safe_load((REPOSITORY / "notebooks" / "experiments.yaml").read_text())
    names = list(plan["graph"])
    for position, name in enumerate(names):
        assert set(plan["graph"][name]) <= set(names[:position])
    assert set(plan["alone"]) == set(plan["profiles"])
    for profile, alone in plan["alone"].items():
        assert set(alone) <= set(plan["profiles"][profile])
    if NOTEBOOKS:
        assert {path.stem for path in NOTEBOOKS} == set(names)
