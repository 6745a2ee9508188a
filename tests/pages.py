"""Pages of the documentation, from docstrings: one for each command and each format, one for `import motors`.

python tests/pages.py --write
"""

import inspect
import re
import sys
from pathlib import Path

from typer.main import get_command

import motors
from motors import cli
from motors.picks.formats import FORMATS
from motors.volumes import formats, mrc, ome_zarr, slices, tiff

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "lib" / "docs"
TOMOGRAMS = {  # by page: what reads them
    "mrc": mrc.open_mrc,
    "ome-zarr": ome_zarr.read_zarr,
    "slices": slices.read_slices,
    "tiff": tiff.read_tiff,
    "any-tomogram": formats.read,
}


def commands(command: object, words: str = "motors") -> dict[str, str]:
    """The page of a command and of all below it, by file: what its --help says at 80 columns."""
    context = command.context_class(command, info_name=words, terminal_width=78, help_option_names=["-h", "--help"])
    text = re.sub(r"[ \t]+$", "", command.get_help(context), flags=re.MULTILINE)
    found = {f"commands/{words.replace(' ', '-')}.md": f"# {words}\n\n```text\n{text}\n```\n"}
    for name, each in getattr(command, "commands", {}).items():
        found |= commands(each, f"{words} {name}")
    return found


def reading(name: str, function: object) -> str:
    """The page of what reads tomograms."""
    return f"# {name}\n\n```text\n{function.__name__}{inspect.signature(function)}\n\n{inspect.getdoc(function)}\n```\n"


def points() -> dict[str, str]:
    """The page of each format of points: its row of the table of conventions, and what reads and writes it."""
    table = (REPOSITORY / "lib" / "motors" / "picks" / "README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    about = {row[0].strip("`"): list(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}
    found = {}
    for name, kind in FORMATS.items():
        lines = [f"- {what}: {text}" for what, text in [("ending", f"`{kind.ending}`"), *about[name]]]
        said = [inspect.getdoc(each) for each in (kind.write, kind.read) if each.__doc__]
        link = "[All formats beside each other](../../motors/picks/README.md)."
        found[f"formats/points-{name}.md"] = "\n".join(
            [f"# {name}", "", *lines, "", *said, *([""] if said else []), link, ""]
        )
    return found


def pages() -> dict[str, str]:
    """All pages by file."""
    public = [f"## motors.{name}\n\n```text\n{inspect.getdoc(getattr(motors, name))}\n```\n" for name in motors.__all__]
    found = {"import-motors.md": "\n".join(["# import motors\n", *public])}
    found |= commands(get_command(cli.app)) | points()
    found |= {f"formats/{name}.md": reading(name, function) for name, function in TOMOGRAMS.items()}
    links = [f"- [{text.splitlines()[0].removeprefix('# ')}]({path})" for path, text in sorted(found.items())]
    return found | {"README.md": "\n".join(["# Commands, formats, functions", "", *links, ""])}


if __name__ == "__main__":
    for path, text in pages().items():
        if sys.argv[1:] == ["--write"]:
            (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
            (DOCS / path).write_text(text, encoding="utf-8")
