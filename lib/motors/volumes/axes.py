"""Named axes: stored arrays transposed to z, y, x, with one channel, time and image selected."""

from typing import Any, NamedTuple

import numpy as np

from motors.geometry import Spacing

CHOSEN = {"c": "channel", "t": "time", "v": "image"}  # the parameter that selects along an axis


class Stored(NamedTuple):
    """The array in a file, as stored.

    Each axis has a letter: z, y, x; c for channels, t for times, s for colours, v for volumes; any other character
    means that the file does not name the axis.
    """

    voxels: Any  # NumPy or Zarr array; may still be on disk
    axes: str
    spacing: Spacing | None = None  # stated by the file, ångström per voxel along z, y, x; None if not stated
    grey: bool = False  # whether the file declares its values as grey levels from 0 to 255
    images: int = 1  # number of images in the file, including this one


def as_zyx(stored: Stored, axes: str | None = None, **chosen: int | None) -> np.ndarray:
    """Return the volume in a file as `(z, y, x)`, a view where possible.

    Axes of length one are dropped. Of unnamed axes, the last becomes z if no axis is named z, and the one before it
    counts images. `axes` overrides the letters of the file, such as "yzx" if each slice is a z-x plane; `chosen` has
    the zero-based indices channel, time and image.

    Raises ValueError if z, y or x is missing, none of several channels, times or volumes is chosen, or for colours.
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
        what = f"its axes are {axes or stored.axes}, shape {voxels.shape}, which is not a volume"
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
    """Return the zero-based index of one of `count` entries: `number`, the parameter called `word`, or 0 if it is None.

    Raises ValueError, which says `what` the file has, if `number` is out of range, or None for several entries.
    """
    if number is None and count > 1:
        raise ValueError(f"it {what}: choose one of them, {word}=0 to {word}={count - 1}")
    if number is not None and number not in range(count):
        raise ValueError(f"it {what}, there is no {word}={number!r}: choose one from 0 on")
    return int(number or 0)
