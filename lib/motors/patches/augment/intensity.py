"""Augmentations of intensities, for blocks and slices."""

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional

from motors import geometry

Step = tuple[str, float | tuple[float, ...]]  # name and amounts of a change of intensities
LEVELS = np.arange(256)
INTERPOLATIONS = {"area": cv2.INTER_AREA, "lanczos4": cv2.INTER_LANCZOS4, "linear": cv2.INTER_LINEAR}
UNCHANGED = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
RIDGE = np.array([[-1, -1, 0], [-1, 0, 1], [0, 1, 1]])  # emboss kernel, lit from the upper left
TILES = (16, 16)  # of contrast equalisation
BOX_SIDES = (500.0, 2000.0)  # ångström: the smallest and the largest side of a dropped box
MOTOR_REACH = 2.5003  # standard deviations: the ball that holds 90 % of a 3D Gaussian, sqrt(chi2.ppf(0.9, 3))


def choose(rng: np.random.Generator, chances: dict) -> object:
    """Return one of the keys, drawn with their probabilities."""
    return list(chances)[rng.choice(len(chances), p=list(chances.values()))]


def change(slices: np.ndarray, steps: tuple[Step, ...]) -> np.ndarray:
    """Return `(n, y, x)` uint8 slices with changed intensities; every slice gets the same changes and noise.

    The steps, with v the value: `gauss` (deviation, seed) adds normal noise drawn at half the resolution; `speckle`
    (low, high, seed) multiplies every voxel by its own random factor; `downscale` (factor, down, up) downsamples and
    upsamples again; `jpeg` (quality) compresses; `posterise` (bits) reduces the levels; `emboss` (share, strength), lit
    from the upper left, and `sharpen` (share, lightness) are blended with v by their share; `clahe` (limit) equalises
    contrast in tiles; `brightness` (b, c) is v * (1 + c) + b * mean of the slice; `tone` (low, high) a Bézier curve
    from black to white whose two control points have these heights; `gamma` (g) 255 * (v / 255) ** g. They are applied
    in order, and after each of them values are rounded and clipped.
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


def _downscale(slices: np.ndarray, factor: float, down: str, up: str) -> np.ndarray:
    size = slices.shape[:0:-1]  # OpenCV wants x before y
    small = tuple(max(1, round(side * factor)) for side in size)
    lower = (cv2.resize(each, small, interpolation=INTERPOLATIONS[down]) for each in slices)
    return np.stack([cv2.resize(each, size, interpolation=INTERPOLATIONS[up]) for each in lower])


def _jpeg(slices: np.ndarray, quality: int) -> np.ndarray:
    files = (cv2.imencode(".jpg", each, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for each in slices)
    return np.stack([cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) for file in files])


def _filtered(slices: np.ndarray, share: float, kernel: np.ndarray) -> np.ndarray:
    """Return the slices blended with their filtered version."""
    return np.stack([cv2.filter2D(each, -1, (1 - share) * UNCHANGED + share * kernel) for each in slices])


def _brightness(slices: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    return np.stack([_rounded(LEVELS * (1 + contrast) + brightness * each.mean())[each] for each in slices])


def _tone(slices: np.ndarray, low: float, high: float) -> np.ndarray:
    t = LEVELS / 255
    return _rounded(255 * (3 * (1 - t) ** 2 * t * low + 3 * (1 - t) * t**2 * high + t**3))[slices]


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


STEPS = {  # functions of slices and amounts
    "gauss": _gauss,
    "speckle": lambda v, low, high, seed: _rounded(v * np.random.default_rng(seed).uniform(low, high, v.shape[1:])),
    "downscale": _downscale,
    "jpeg": _jpeg,
    "posterise": lambda v, bits: functional.posterize(torch.from_numpy(v), bits).numpy(),
    "emboss": lambda v, share, strength: _filtered(v, share, UNCHANGED + strength * RIDGE + np.diag([-1, 0, 1])),
    "sharpen": lambda v, share, lightness: _filtered(v, share, (9 + lightness) * UNCHANGED - 1),
    "clahe": lambda v, limit: np.stack([cv2.createCLAHE(limit, TILES).apply(each) for each in v]),
    "brightness": _brightness,
    "tone": _tone,
    "gamma": lambda v, gamma: functional.adjust_gamma(torch.from_numpy(v), gamma).numpy(),
}


def grey_table(steps: tuple[Step, ...], counts: np.ndarray) -> np.ndarray:
    """Return the look-up table of `steps` for the 256 intensities, `(256,)` uint8, which occur `counts` times.

    The steps, with v the value and mean, deviation, min and max those of the patch before the step: `add` v + a;
    `add_deviations` v + a * deviation; `contrast` (v - mean) * (1 + a) + mean; `multiply` v * (1 + a); `gamma`
    ((v - min) / (max - min)) ** a * (max - min) + min; `histogram` a piecewise linear map from [min, max] to itself
    with equidistant knots. Values are clipped and truncated only after the last step.

    A level stands for the values that were truncated to it, so the steps are applied to its middle. Compared with steps
    on unrounded values, the error is up to half a level times the slope of the map.
    """
    values, weights = np.arange(256) + 0.5, counts / counts.sum()
    for name, amount in steps:
        mean, low, high = weights @ values, values[counts > 0].min(), values[counts > 0].max()
        if name == "add":
            values = values + amount
        elif name == "add_deviations":
            values = values + amount * np.sqrt(weights @ (values - mean) ** 2)
        elif name == "contrast":
            values = (values - mean) * (1 + amount) + mean
        elif name == "multiply":
            values = values * (1 + amount)
        elif name == "gamma":
            values = (np.clip(values - low, 0, high - low) / (high - low + 1e-7)) ** amount * (high - low) + low
        elif name == "histogram":
            knots = np.linspace(0, 1, len(amount)) * (high - low) + low
            values = np.interp(values, knots, np.array(amount) * (high - low) + low)
        else:
            raise ValueError(f"no step on intensities is called {name!r}: see `grey_table`")
    return np.clip(values, 0, 255).astype(np.uint8)


def regrade(voxels: np.ndarray, steps: tuple[Step, ...]) -> None:
    """Change the intensities of `(z, y, x)` uint8 voxels in place."""
    if steps:
        flat = voxels.reshape(len(voxels), -1)
        counts = cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel()  # its shape depends on the version of cv2
        cv2.LUT(flat, grey_table(steps, counts), dst=flat)


def coarsen(voxels: np.ndarray, factor: float, down: str, up: str) -> np.ndarray:
    """Return `(z, y, x)` uint8 voxels downsampled by `factor` and upsampled again, with torch's interpolations.

    Nearest is "nearest-exact": torch's plain "nearest", as in the original solution, shifts the volume by up to a
    voxel, and the labels would not follow.
    """
    low = [max(1, round(side * factor)) for side in voxels.shape]
    small = interpolate(torch.from_numpy(voxels)[None, None].float(), size=low, mode=down)
    return interpolate(small, size=voxels.shape, mode=up)[0, 0].to(torch.uint8).numpy()


def drop_boxes(
    voxels: np.ndarray,
    points_zyx: np.ndarray,
    covariances: np.ndarray,
    spacing: geometry.PerAxis,
    rng: np.random.Generator,
) -> None:
    """Fill three to eight random boxes of `(z, y, x)` uint8 voxels with noise, in place; none touches a motor.

    A motor reaches as far as 90 % of its Gaussian. After ten boxes in a row that would touch one, no more are tried.
    """
    reach = MOTOR_REACH * np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    smallest, largest = (np.array([length // s for s in geometry.per_axis(spacing)], int) for length in BOX_SIDES)
    wanted, refused = rng.integers(3, 8, endpoint=True), 0
    while wanted and refused < 10:
        sides = np.minimum(rng.integers(smallest, largest, endpoint=True), voxels.shape)
        start = rng.integers(0, voxels.shape - sides, endpoint=True)
        if np.any(np.all((points_zyx + reach > start) & (points_zyx - reach < start + sides - 1), axis=1)):
            refused += 1
            continue
        box = tuple(slice(a, a + n) for a, n in zip(start, sides, strict=True))
        voxels[box] = rng.integers(0, 255, sides, dtype=np.uint8)
        wanted, refused = wanted - 1, 0
