"""Hashes of the code that a notebook runs: its own cells and the library modules they import."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from motors.workspace.files import json_sha256, read_json

LIBRARY = Path(__file__).parents[1]
SILENT = ("former.", "cli.", "commands/", "pipeline/", "workspace/", "review/widget.", "training/watch.")  # not hashed


def notebook_hash(notebook: Path, parameters: dict[str, Any]) -> str:
    """Return a hash of all that determines a notebook's results: parameters, code and imported library modules.

    Ignored are outputs, prose, comments, docstrings, line breaks, and the modules in `SILENT`, which compute nothing.
    """
    parts = python_cells(notebook)
    behind = library_behind("\n".join(code for code, *_ in parts))
    return json_sha256([[(bare(code), rest) for code, rest, _ in parts], behind, parameters])


def python_cells(notebook: Path) -> list[tuple[str, str, Iterable[str]]]:
    """Return Python code, the rest, as magics, and tags of each code cell; raises ValueError if it is no notebook."""
    try:
        cells = [cell for cell in read_json(notebook)["cells"] if cell["cell_type"] == "code"]
        return [(*_python("".join(cell["source"])), cell["metadata"].get("tags", ())) for cell in cells]
    except (AttributeError, KeyError, TypeError) as error:
        what = f"is no notebook of format 4 ({error!r})"
        raise ValueError(f"{notebook.name} {what}: open it in JupyterLab and save it") from None


def code_of(*modules: str) -> dict[str, str]:
    """Return code hashes by module name, for `modules` (full names) and the library modules they import."""
    behind = library_behind("\n".join(f"import {name}" for name in modules if name.startswith(LIBRARY.name)))
    hashes = {path: hashlib.sha256(code.encode()).hexdigest()[:16] for path, code in sorted(behind.items()) if code}
    return {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): each for path, each in hashes.items()}


def library_behind(code: str) -> dict[str, str]:
    """Return the library files that Python `code` imports, directly or indirectly, as `bare` code by path."""
    found: dict[str, str] = {}
    waiting = [(code, "")]
    while waiting:
        for name in _imports(*waiting.pop()):
            for file in _files(name):
                key = file.relative_to(LIBRARY).as_posix()
                if key not in found and not key.startswith(SILENT):
                    text = file.read_text(encoding="utf-8")
                    found[key] = bare(text)
                    waiting.append((text, ".".join(file.parent.relative_to(LIBRARY.parent).parts)))
    return found


@cache
def bare(code: str) -> str:
    """Return Python `code` in a uniform layout, without comments, docstrings and `TYPE_CHECKING` blocks."""
    tree = _parsed(code)
    for node in ast.walk(tree):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and ast.get_docstring(node):
            del node.body[0]
    return ast.unparse(tree)


def _python(cell: str) -> tuple[str, str]:
    """Return the Python code of a cell, and the rest: magics and shell commands, or all if it is not Python."""
    lines = cell.splitlines()
    others = [line for line in lines if line.lstrip().startswith(("%", "!"))]
    code = "\n".join(line for line in lines if line not in others)
    try:
        ast.parse(code)
    except SyntaxError:
        return "", cell
    return code, "\n".join(others)


def _parsed(code: str) -> ast.Module:
    """Return the syntax tree of `code` without `if TYPE_CHECKING` blocks."""
    tree = ast.parse(code)
    guarded = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    tree.body = [node for node in tree.body if node not in guarded]
    return tree


@cache
def _imports(code: str, package: str) -> tuple[str, ...]:
    """Return the full names that `code` in `package` imports at run time; some are objects, not modules."""
    found = []
    for node in ast.walk(_parsed(code)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _files(name: str) -> Iterator[Path]:
    """Yield the library files that are run when `name` is imported: the module and its parent packages."""
    parts = name.split(".")
    if parts[0] == LIBRARY.name:
        for length in range(1, len(parts) + 1):
            path = LIBRARY.parent.joinpath(*parts[:length])
            yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
