"""The house drawn: floors and rooms of the library, from its imports and docstrings, for the README.

python tests/house.py --write
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LIBRARY = REPOSITORY / "lib" / "motors"
MODULES = sorted(LIBRARY.rglob("*.py"))
WIDTH = 118


def room(path: Path) -> str:
    """The room of the house that a file of the library belongs to."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> tuple[tuple[str, str], ...]:
    """What a file imports of the library: full name of the module and the name taken from it."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    assert not any(node.level for node in nodes), "relative import: write the module's full name"
    known = [node for node in nodes if node.module.startswith("motors")]
    return tuple((node.module, alias.name) for node in known for alias in node.names)


def below(path: Path) -> set[str]:
    """The other rooms that a file takes something from."""
    taken = {name if module == "motors" else module.split(".")[1] for module, name in imports(path)}
    return taken - {room(path)}


@cache
def floors() -> dict[str, int]:
    """The floor of each room: one above the highest that it takes something from. A circle has none."""
    needs = {}
    for path in MODULES:
        needs.setdefault(room(path), set()).update(below(path))
    needs.pop("__init__")
    found: dict[str, int] = {}
    while ready := [name for name in needs if name not in found and needs[name] <= set(found)]:
        found |= {name: 1 + max((found[other] for other in needs[name]), default=-1) for name in ready}
    assert set(found) == set(needs), f"these import each other: {sorted(set(needs) - set(found))}"
    return found


def purpose(name: str) -> str:
    """The first sentence of a room about itself; where that is long, up to a colon, or to a comma near the end."""
    path = LIBRARY / f"{name}.py"
    path = path if path.exists() else LIBRARY / name / "__init__.py"
    text = re.split(r"\.\s", ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "")[0].removesuffix(".")
    return re.split(r"[:,] (?=[^:,]*$)", text)[0] if len(text) > WIDTH - 20 else text


def drawing() -> str:
    """The house as text, the roof first."""
    lines = []
    for floor in range(max(floors().values()), -1, -1):
        lines += [("├───┼" if lines else "┌───┬") + "─" * (WIDTH - 5)]
        rooms = sorted(name for name, at in floors().items() if at == floor)
        for k, name in enumerate(rooms):
            lines += [f"│{floor if k == 0 else '':>2} │ {name:<13} {purpose(name)}"]
    return "\n".join(["```text", *lines, "└───┴" + "─" * (WIDTH - 5), "```"])


def lines() -> dict[str, int]:
    """How many lines each room has, docstrings and all."""
    found: dict[str, int] = {}
    for path in MODULES:
        found[room(path)] = found.get(room(path), 0) + len(path.read_text("utf-8").splitlines())
    return found


def replaced(text: str, name: str, block: str) -> str:
    """The text of a page with another block between the marks of this name."""
    new, count = re.subn(
        rf"(<!-- {name}: [^\n]*-->\n).*?(\n<!-- end of {name} -->)",
        lambda m: m[1] + block + m[2],
        text,
        flags=re.DOTALL,
    )
    assert count == 1, f"the page has {count} blocks called {name}, not one"
    return new


if __name__ == "__main__":
    page = REPOSITORY / "README.md"
    if sys.argv[1:] == ["--write"]:
        page.write_text(replaced(page.read_text("utf-8"), "house", drawing()), encoding="utf-8")
    print(drawing())
    print(f"{sum(lines().values()):,} lines")
