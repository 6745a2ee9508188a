"""What happens to slices, decided at random; the chances and ranges are those of the original solution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Pair = tuple[float, float]  # along y, x
Step = tuple  # what is done to the grey levels, and how much, see `change`

GROUPS = {  # in this order: how often anything of a group happens, and then what
    "noise": (0.1, {"gauss": 0.6, "speckle": 0.4}),
    "quality": (0.25, {"downscale": 0.6, "jpeg": 0.3, "posterise": 0.1}),
    "texture": (0.1, {"emboss": 0.4, "sharpen": 0.5, "clahe": 0.1}),
    "intensity": (0.5, {"brightness": 0.4, "tone": 0.4, "gamma": 0.2}),
    "geometry": (0.8, {"slight": 0.4, "heavy": 0.3, "perspective": 0.3}),
}
RESIZINGS = {("area", "lanczos4"): 0.1, ("area", "linear"): 0.1, ("linear", "linear"): 0.8}  # down, up again
BRIGHTNESS = {  # the ranges of brightness and contrast
    ((-0.3, 0.0), (-0.2, 0.0)): 0.4,
    ((0.0, 0.4), (-0.5, 0.0)): 0.4,
    ((-0.3, 0.0), (0.0, 0.5)): 0.1,
    ((0.0, 0.3), (0.0, 0.5)): 0.1,
}
SHEARS = {"slight": 5.0, "heavy": 20.0}  # degrees
DEEPEST = 0.32  # a share of the side: further than this no corner of a perspective moves


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What is done to one triplet of slices; the default only cuts a patch out of their middle.

    Parameters
    ----------
    flips : mirror along y, x
    steps : what is then done to the grey levels, in this order (see `change`)
    zoom : magnification along y, x
    rotation : radians, from y towards x
    shear : radians by which the y axis and the x axis lean over
    corners : instead of the last three a perspective: how far from each corner of the slices, upper left, upper right,
        lower right, lower left, the corners lie that become a rectangle, as shares of the sides y, x; or None
    crop : which of the motors stays in the patch, and where the patch lies in y and x, of all places that keep it:
        three numbers from 0 to 1, see `crop`
    """

    flips: tuple[bool, bool] = (False, False)
    steps: tuple[Step, ...] = ()
    zoom: Pair = (1.0, 1.0)
    rotation: float = 0.0
    shear: Pair = (0.0, 0.0)
    corners: tuple[Pair, Pair, Pair, Pair] | None = None
    crop: tuple[float, float, float] = (0.5, 0.5, 0.5)


def draw(rng: np.random.Generator, *, lightly: float = 0.0) -> Draw:
    """Return what is done to one triplet, at random.

    Each flip with 50 %; noise with 10 %; lost quality with 25 %; another texture with 10 %; another intensity with
    50 %; with 32 % an affine map that turns by any angle, stretches and shears by up to 5 degrees, with 24 % one that
    shears by up to 20, with 24 % a perspective; and a random place of the patch.

    Parameters
    ----------
    rng : what the draw depends on, and nothing else
    lightly : the share of triplets that are only flipped, turned and placed; none are in the original solution
    """
    if lightly and rng.random() < lightly:
        flips, crop = rng.random(2) < 0.5, rng.random(3)
        return Draw(flips=tuple(flips.tolist()), rotation=rng.uniform(0, 2 * np.pi), crop=tuple(crop.tolist()))
    flips = tuple((rng.random(2) < 0.5).tolist())
    chosen = {group: _choose(rng, kinds) for group, (chance, kinds) in GROUPS.items() if rng.random() < chance}
    place = _place(rng, chosen.pop("geometry", None))
    steps = tuple(_step(rng, kind) for kind in chosen.values())
    return Draw(flips=flips, steps=steps, crop=tuple(rng.random(3).tolist()), **place)


def _step(rng: np.random.Generator, kind: str) -> Step:
    """Return a step on the grey levels with its amounts."""
    if kind == "gauss":
        return (kind, float(np.sqrt(rng.uniform(60, 120))), int(rng.integers(2**63)))
    if kind == "speckle":
        return (kind, 0.6, 1.4, int(rng.integers(2**63)))
    if kind == "downscale":
        return (kind, rng.uniform(0.5, 0.9), *_choose(rng, RESIZINGS))
    if kind == "brightness":
        return (kind, *(rng.uniform(*span) for span in _choose(rng, BRIGHTNESS)))
    if kind == "tone":
        return (kind, *np.clip(rng.normal((0.25, 0.75), 0.3), 0, 1).tolist())
    if kind in ("jpeg", "posterise"):
        return (kind, int(rng.integers(*{"jpeg": (20, 80), "posterise": (4, 6)}[kind], endpoint=True)))
    spans = {"emboss": ((0.3, 0.6), (0.2, 0.8)), "sharpen": ((0.1, 0.3), (0.0, 0.4)), "gamma": ((0.6, 1.5),)}
    return (kind, 4.0) if kind == "clahe" else (kind, *(rng.uniform(*span) for span in spans[kind]))


def _place(rng: np.random.Generator, kind: str | None) -> dict[str, object]:
    """Return the settings of a map of some kind."""
    if kind is None:
        return {}
    if kind == "perspective":
        shares = np.abs(rng.normal(0, rng.uniform(0.05, 0.12), (4, 2))) % DEEPEST
        return {"corners": tuple(map(tuple, shares.tolist()))}
    lean = np.radians(SHEARS[kind])
    return {
        "zoom": tuple(rng.uniform(0.6, 1.2, 2).tolist()),
        "rotation": rng.uniform(0, 2 * np.pi),
        "shear": tuple(rng.uniform(-lean, lean, 2).tolist()),
    }


def _choose(rng: np.random.Generator, chances: dict) -> object:
    """Return one of the keys, each with its chance."""
    return list(chances)[rng.choice(len(chances), p=list(chances.values()))]
