"""Pages of the documentation, made from the code.

One for each command and each format, one for `import motors`, one of all experiments and one of all settings.

python tests/pages.py --write
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from typer.main import get_command

import motors
from motors import cli
from motors.experiments import catalogue, config
from motors.experiments.numbered import TRIED
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
    return f"# {name}\n\n```text\n{called(function)}\n\n{inspect.getdoc(function)}\n```\n"


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


def called(function: Callable) -> str:
    """How a function is called: types without the modules that they come from."""
    text = re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", f"{function.__name__}{inspect.signature(function)}")
    return "\n".join(textwrap.wrap(text, 100, subsequent_indent="    ", break_on_hyphens=False))


def public(name: str) -> str:
    """The section of a public name: how a function is called, and what it does."""
    what = getattr(motors, name)
    call = f"{called(what)}\n\n" if inspect.isfunction(what) else ""
    return f"## motors.{name}\n\n```text\n{call}{inspect.getdoc(what)}\n```\n"


def experiments() -> str:
    """The page of what EXPERIMENT may be: each name, its encoder, the notebook that trains it, and what it tried."""
    rows = ["| experiment | encoder | trained by | |", "|---|---|---|---|"]
    for name, each in catalogue.EXPERIMENTS.items():
        if not name.endswith(("_demo", "_smoke")):
            place = f"`{each.encoder}` | `{catalogue.training_notebook(each)}`"
            rows.append(f"| `{name}` | {place} | {TRIED.get(name, '')} |")
    about = """Names for `EXPERIMENT`; the profiles `demo` and `smoke` take a small version of each. Scores are those of
the original's author: of the public leaderboard, P of the private one; alone means without external tomograms."""
    return "\n".join(["# Experiments", "", about, "", *rows, ""])


def settings() -> str:
    """The page of what SET may change: each setting of `Experiment`, its kind and default, and what is said of it."""
    rows = ["| setting | kind | default | |", "|---|---|---|---|"]
    line = re.compile(r"    (\w+): (.*?)(?: = (.*?))?(?:  # (.*))?$")
    for text in inspect.getsource(config.Experiment).partition("    def ")[0].splitlines():
        if (parts := line.match(text)) and parts[1] not in catalogue.PARAMETERS:
            kind, default = parts[2].replace("|", "or"), {"field(default_factory=dict)": "{}"}.get(parts[3], parts[3])
            cells = [f"`{parts[1]}`", f"`{kind}`", f"`{default}`" if default else "", parts[4] or ""]
            rows.append(f"| {' | '.join(cells)} |".replace("<", "\\<"))
        elif text.startswith("    # "):
            rows.append(f"| *{text[6:]}* | | | |")
    about = """Names for `SET`, as in `-p SET "learning_rate=1e-4 steps=200 patch=[32,64,64]"`. Lengths are ångström,
sizes are voxels after resampling, axes are z, y, x. An experiment may have other values than these defaults. `Share` is
from 0 to 1, `Count` a whole number from 1 and `Whole` from 0, `Positive` and `NotNegative` may be fractions."""
    return "\n".join(["# Settings", "", about, "", *rows, ""])


def pages() -> dict[str, str]:
    """All pages by file."""
    found = {"import-motors.md": "\n".join(["# import motors\n", *map(public, motors.__all__)])}
    found |= {"experiments.md": experiments(), "settings.md": settings()}
    found |= commands(get_command(cli.app)) | points()
    found |= {f"formats/{name}.md": reading(name, function) for name, function in TOMOGRAMS.items()}
    links = [f"- [{text.splitlines()[0].removeprefix('# ')}]({path})" for path, text in sorted(found.items())]
    return found | {"README.md": "\n".join(["# Commands, formats, functions", "", *links, ""])}


if __name__ == "__main__":
    for path, text in pages().items():
        if sys.argv[1:] == ["--write"]:
            (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
            (DOCS / path).write_text(text, encoding="utf-8")
