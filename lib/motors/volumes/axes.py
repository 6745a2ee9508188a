"""Axes by their names: what a file holds brought to z, y, x, with channels, times and volumes chosen."""

from typing import Any, NamedTuple

import numpy as np

from motors.geometry import Spacing

CHOSEN = {"c": "channel", "t": "time", "v": "image"}  # the parameter that chooses along an axis


class Stored(NamedTuple):
    """What a file holds, as it lies there.

    Its axes have a letter each: z, y, x; c for channels, t for times, s for colours, v for volumes, and others where
    the file does not say what they are.
    """

    voxels: Any  # numpy or Zarr array; may still be on disk
    axes: str
    spacing: Spacing | None = None  # what the file states, ångström per voxel along z, y, x; None if it states nothing
    grey: bool = False  # whether the file says that its numbers are grey levels from 0 to 255
    images: int = 1  # how many the file has, of which this is one


def as_zyx(stored: Stored, axes: str | None = None, **chosen: int | None) -> np.ndarray:
    """Return the volume in a file as `(z, y, x)`, a view where possible.

    Axes of length one are dropped; the last that the file has no name for is z, if nothing else is, and one before it
    counts images. The letters in `axes` go before those of the file, such as "yzx" for slices that are planes of z and
    x; `chosen` are channel, time and image, numbers from 0.

    Raises ValueError if there is no z, y or x, several channels, times or volumes of which none is chosen, or colours.
    """
    voxels, names = stored.voxels, list(filter(str.isalpha, str(axes).lower()) if axes else stored.axes.lower())
    while axes and voxels.ndim > len(names) and voxels.shape[0] == 1:
        voxels = voxels[0]
    left = ["v", "z"] if "z" not in names else ["v"]
    for k, side in reversed(list(enumerate(voxels.shape[: len(names)]))):
        if names[k] not in "zyxctsv" and not axes:
            names[k] = str(k) if side == 1 else left.pop() if left else "?"
    if voxels.ndim != len(names) or len(set(names)) < len(names) or "?" in names:
        what = f"its shape is {voxels.shape}, its axes are {axes or stored.axes!r}"
        raise ValueError(f"{what}: give one letter for each as axes=")
    sides = dict(zip(names, voxels.shape, strict=True))
    if sides.get("s", 1) > 1:
        what = f"it has {sides['s']} samples a pixel, as colours are"
        raise ValueError(f"{what}: save it in grey levels, or say axes= if they are something else")
    if lost := [name for name in "zyx" if sides.get(name, 1) == 1]:
        what = f"its axes are {axes or stored.axes}, shape {voxels.shape}, which is no volume"
        flat = np.count_nonzero(np.array(voxels.shape) > 1) < 3
        advice = f"{lost[0]} is missing, slices in TIFF, PNG or JPEG are read by their folder"
        raise ValueError(f"{what}: {advice}" if flat else f"{what}: say axes='zyx' if one of them is z")
    index = []
    for name, side in sides.items():
        word = CHOSEN.get(name, name)
        index += [slice(None) if name in "zyx" else which(chosen.get(word), side, word, f"has {side} along {word}")]
    for name, word in CHOSEN.items():
        if chosen.get(word) and name not in sides:
            raise ValueError(f"{word}={chosen[word]} is not there, its axes are {''.join(names)}: leave it out")
    order = [name for name in names if name in "zyx"]
    return np.transpose(voxels[tuple(index)], [order.index(name) for name in "zyx"])


def which(number: int | None, count: int, word: str, what: str) -> int:
    """Return which of `count` entries is taken, from 0: the `number` that the caller gave as `word`, or the only one.

    Raises ValueError, which says `what` the file has, if none of several is chosen, or one that is not there.
    """
    if number is None and count > 1:
        raise ValueError(f"it {what}: choose one of them, {word}=0 to {word}={count - 1}")
    if number is not None and number not in range(count):
        raise ValueError(f"it {what}, there is no {word}={number!r}: choose one from 0 on")
    return int(number or 0)
