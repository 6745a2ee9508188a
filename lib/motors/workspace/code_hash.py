"""Which code a notebook runs: its own cells and, through its imports, a part of the library."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[1]


def fingerprint(notebook: Path, parameters: dict[str, Any]) -> str:
    """Return a hash of what decides what a notebook does: its parameters, its code and the library behind that.

    Outputs, prose, comments and line breaks do not count, nor do modules that the notebook never reaches.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    lines = [line for line in code.splitlines() if not line.startswith(("%", "!"))]  # IPython's own language
    content = [bare("\n".join(lines)), library_behind("\n".join(lines)), parameters]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def library_behind(code: str) -> dict[str, str]:
    """Return the library's files that Python `code` imports, and those that they import, as bare code by name."""
    found: dict[str, str] = {}
    waiting = [(code, "")]
    while waiting:
        for name in _imports(*waiting.pop()):
            for file in _files(name):
                key = file.relative_to(LIBRARY).as_posix()
                if key not in found:
                    text = file.read_text(encoding="utf-8")
                    found[key] = bare(text)
                    waiting.append((text, ".".join(file.parent.relative_to(LIBRARY.parent).parts)))
    return found


def bare(code: str) -> str:
    """Return Python `code` without comments and in one layout."""
    return ast.unparse(ast.parse(code))


def _imports(code: str, package: str) -> Iterator[str]:
    """Full names that `code`, which is part of `package`, imports; some are objects, not modules."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _files(name: str) -> Iterator[Path]:
    """The library's files that are run when `name` is imported: the module and the packages on the way to it."""
    parts = name.split(".")
    if parts[0] == LIBRARY.name:
        for length in range(1, len(parts) + 1):
            path = LIBRARY.parent.joinpath(*parts[:length])
            yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
