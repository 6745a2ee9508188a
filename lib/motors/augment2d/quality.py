"""What happens to grey levels of slices: noise, lost quality, texture, intensity.

Posterising and gamma are torchvision's. It has no other of these as the original solution used them: it sharpens by
blurring, changes brightness in proportion, knows neither embossing nor tone curves, and its JPEG is about to be
removed. Those are OpenCV's filters, interpolations and JPEG, tables of 256 grey levels, and NumPy's noise.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional

from motors.augment2d.chance import Step

LEVELS = np.arange(256)
INTERPOLATIONS = {"area": cv2.INTER_AREA, "lanczos4": cv2.INTER_LANCZOS4, "linear": cv2.INTER_LINEAR}
UNCHANGED = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
TILES = (16, 16)  # in which contrast is equalised


def change(slices: np.ndarray, steps: tuple[Step, ...]) -> np.ndarray:
    """Return slices with other grey levels; the same is done to each slice, with the same noise.

    The steps, with v the value: `gauss` (deviation, seed) adds normal noise that is drawn on half the grid;
    `speckle` (low, high, seed) multiplies every voxel by a number of its own; `downscale` (factor, down, up) makes
    slices small and large again; `jpeg` (quality) and `posterise` (bits) as they say; `emboss` (share, strength) lights
    from the upper left and `sharpen` (share, lightness) from everywhere, blended with v by their share; `clahe` (limit)
    equalises contrast in tiles; `brightness` (b, c) v * (1 + c) + b * mean of the slice; `tone` (low, high) a Bézier
    curve from black to white whose two handles have these heights; `gamma` (g) 255 * (v / 255) ** g.

    Parameters
    ----------
    slices : `(n, y, x)` uint8
    steps : names and amounts, in order

    Returns
    -------
    `(n, y, x)` uint8, rounded and clipped after each step
    """
    for name, *amounts in steps:
        if name not in STEPS:
            raise ValueError(f"no step on slices is called {name!r}: choose one of {', '.join(STEPS)}")
        slices = STEPS[name](slices, *amounts)
    return slices


def _gauss(slices: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    y, x = slices.shape[1:]
    noise = np.random.default_rng(seed).normal(0, deviation, (max(1, y // 2), max(1, x // 2)))
    return _rounded(slices + cv2.resize(noise, (x, y)))


def _speckle(slices: np.ndarray, low: float, high: float, seed: int) -> np.ndarray:
    return _rounded(slices * np.random.default_rng(seed).uniform(low, high, slices.shape[1:]))


def _downscale(slices: np.ndarray, factor: float, down: str, up: str) -> np.ndarray:
    size = slices.shape[:0:-1]  # OpenCV wants x before y
    small = tuple(max(1, round(side * factor)) for side in size)
    lower = (cv2.resize(each, small, interpolation=INTERPOLATIONS[down]) for each in slices)
    return np.stack([cv2.resize(each, size, interpolation=INTERPOLATIONS[up]) for each in lower])


def _jpeg(slices: np.ndarray, quality: int) -> np.ndarray:
    files = (cv2.imencode(".jpg", each, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for each in slices)
    return np.stack([cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) for file in files])


def _posterise(slices: np.ndarray, bits: int) -> np.ndarray:
    return functional.posterize(torch.from_numpy(slices), bits).numpy()


def _emboss(slices: np.ndarray, share: float, strength: float) -> np.ndarray:
    light = UNCHANGED + strength * np.array([[-1, -1, 0], [-1, 0, 1], [0, 1, 1]]) + np.diag([-1, 0, 1])
    return _filtered(slices, share, light)


def _sharpen(slices: np.ndarray, share: float, lightness: float) -> np.ndarray:
    return _filtered(slices, share, (9 + lightness) * UNCHANGED - 1)


def _filtered(slices: np.ndarray, share: float, kernel: np.ndarray) -> np.ndarray:
    """Return a blend of the slices and what a kernel makes of them."""
    return np.stack([cv2.filter2D(each, -1, (1 - share) * UNCHANGED + share * kernel) for each in slices])


def _clahe(slices: np.ndarray, limit: float) -> np.ndarray:
    return np.stack([cv2.createCLAHE(limit, TILES).apply(each) for each in slices])


def _brightness(slices: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    return np.stack([_rounded(LEVELS * (1 + contrast) + brightness * each.mean())[each] for each in slices])


def _tone(slices: np.ndarray, low: float, high: float) -> np.ndarray:
    t = LEVELS / 255
    return _rounded(255 * (3 * (1 - t) ** 2 * t * low + 3 * (1 - t) * t**2 * high + t**3))[slices]


def _gamma(slices: np.ndarray, gamma: float) -> np.ndarray:
    return functional.adjust_gamma(torch.from_numpy(slices), gamma).numpy()


def _rounded(values: np.ndarray) -> np.ndarray:
    """Return values as grey levels."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


STEPS = {
    "gauss": _gauss,
    "speckle": _speckle,
    "downscale": _downscale,
    "jpeg": _jpeg,
    "posterise": _posterise,
    "emboss": _emboss,
    "sharpen": _sharpen,
    "clahe": _clahe,
    "brightness": _brightness,
    "tone": _tone,
    "gamma": _gamma,
}
