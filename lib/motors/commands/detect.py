"""`motors detect`: find motors in tomograms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from motors.commands.terminal import DONE, FAILED, say

if TYPE_CHECKING:
    from motors.results import Detections

FORMATS = "csv, json, star, mod, tbl, copick, ndjson, cmm, napari"


def detect(
    paths: Annotated[list[str], Argument(metavar="PATH", help="MRC, TIFF, OME-Zarr, npy, folders of these or slices")],
    spacing: Annotated[str, Option(help="Å per voxel; goes before the file's own")] = "",
    weights: Annotated[str, Option(help="folder of networks, by default the workspace's")] = "",
    out: Annotated[str, Option(help="folder for the result; without it nothing is written")] = "",
    threshold: Annotated[float | None, Option(help="lowest score of a motor; by default as chosen out-of-fold")] = None,
    max_detections: Annotated[int | None, Option(help="at most so many in a tomogram")] = None,
    formats: Annotated[
        list[str] | None, Option("--format", metavar="NAME,...", help=f"of the detections: {FORMATS}; by default csv")
    ] = None,
    device: Annotated[str, Option(help="such as cpu or cuda:0,cuda:1")] = "",
    memory: Annotated[str, Option(help="for activations, such as 8GiB")] = "",
    backend: Annotated[str, Option(help="what computes, by default rewritten; auto takes the fastest")] = "",
    plot: Annotated[bool, Option("--plot", help="a picture of each tomogram and its finds")] = False,
    axes: Annotated[str, Option(help="in the file's order, such as yzx if its slices are xz planes")] = "",
    channel: Annotated[int | None, Option(help="one of several, from 0")] = None,
    time: Annotated[int | None, Option(help="one of several, from 0")] = None,
    image: Annotated[int | None, Option(help="one of several in a file, from 0")] = None,
    invert: Annotated[bool, Option("--invert", help="dense is bright in these tomograms")] = False,
    recursive: Annotated[bool, Option("--recursive", help="look in folders of folders too")] = False,
    force: Annotated[bool, Option("--force", help="write over what --out holds")] = False,
    as_json: Annotated[bool, Option("--json", help="the result on standard output, for machines")] = False,
) -> int:
    """Find motors in tomograms of your own.

    Says for each tomogram whether it has motors and where: z, y, x in voxels,
    from 0. Works from any folder; interrupted, the same command with --out goes on.
    """
    from motors import api

    reading = {"axes": axes or None, "channel": channel, "time": time, "image": image, "invert": invert}
    limits = {"threshold": threshold, "max_detections": max_detections}
    where = {"weights": weights or None, "out": out or None, "device": device or None, "memory": memory or None}
    how = {"plot": plot, "force": force, "recursive": recursive} | ({"backend": backend} if backend else {})
    how |= {"formats": ",".join(formats).replace(" ", "").lower().split(",")} if formats else {}
    found = api.detect(paths, spacing=_number(spacing), **limits, **where, **how, **reading)
    typer.echo(json.dumps(_plain(found), indent=1, ensure_ascii=False) if as_json else _summary(found))
    for note in found.notes:
        say(f"note: {note}")
    say(f"{found.summary}{f'; all of it is in {out}' if out else ''}")
    return FAILED if found.tomograms["fault"].any() else DONE


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError(f"the spacing is {text!r}, not a number: give ångström per voxel, such as 13.1") from None


def _summary(found: Detections) -> str:
    """Return a text table: a line for each tomogram, and for each further motor in it."""
    lines = [["tomogram", "motor", "score", "z", "y", "x"]]
    for row in found.tomograms.to_dict("records"):
        mine = found.table[found.table["tomo_id"] == row["tomo_id"]].to_dict("records")
        name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in row["tomo_id"])
        places = [[f"{each['score']:.2f}", *(f"{each[axis]:.1f}" for axis in "zyx")] for each in mine]
        if row["fault"]:
            lines.append([name, "failed", row["fault"]])
        elif not mine:
            lines.append([name, "no", f"{row['score']:.2f}"])
        lines += [["" if k else name, "" if k else "yes", *place] for k, place in enumerate(places)]
    widths = [max(len(line[k]) for line in lines if len(line) == 6 or k < 2) for k in range(6)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _plain(found: Detections) -> dict:
    rows = json.loads(found.tomograms.to_json(orient="records"))
    for row in rows:
        mine = found.table[found.table["tomo_id"] == row["tomo_id"]]
        row["detections"] = json.loads(mine[["z", "y", "x", "score"]].to_json(orient="records"))
    quality = {"threshold": found.threshold, "precision": found.precision, "recall": found.recall}
    return quality | {"notes": found.notes, "tomograms": rows}
