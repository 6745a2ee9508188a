"""Random augmentations of slices, with the probabilities and ranges of the original solution."""

from dataclasses import dataclass

import cv2
import numpy as np

from motors.geometry import MATCH_RADIUS, Symmetry
from motors.patches.augment.intensity import Step, change, choose

Pair = tuple[float, float]  # along y, x
Size = tuple[int, int]  # y, x

GROUPS = {  # in this order: probability of a group, and of each kind in it
    "noise": (0.1, {"gauss": 0.6, "speckle": 0.4}),
    "quality": (0.25, {"downscale": 0.6, "jpeg": 0.3, "posterise": 0.1}),
    "texture": (0.1, {"emboss": 0.4, "sharpen": 0.5, "clahe": 0.1}),
    "intensity": (0.5, {"brightness": 0.4, "tone": 0.4, "gamma": 0.2}),
    "geometry": (0.8, {"slight": 0.4, "heavy": 0.3, "perspective": 0.3}),
}

RESIZINGS = {("area", "lanczos4"): 0.1, ("area", "linear"): 0.1, ("linear", "linear"): 0.8}  # down, up again

BRIGHTNESS = {  # ranges of brightness and contrast
    ((-0.3, 0.0), (-0.2, 0.0)): 0.4,
    ((0.0, 0.4), (-0.5, 0.0)): 0.4,
    ((-0.3, 0.0), (0.0, 0.5)): 0.1,
    ((0.0, 0.3), (0.0, 0.5)): 0.1,
}

AMOUNTS = {  # random amounts of each step
    "gauss": lambda rng: (float(np.sqrt(rng.uniform(60, 120))), int(rng.integers(2**63))),
    "speckle": lambda rng: (0.6, 1.4, int(rng.integers(2**63))),
    "downscale": lambda rng: (rng.uniform(0.5, 0.9), *choose(rng, RESIZINGS)),
    "jpeg": lambda rng: (int(rng.integers(20, 80, endpoint=True)),),
    "posterise": lambda rng: (int(rng.integers(4, 6, endpoint=True)),),
    "emboss": lambda rng: (rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.8)),
    "sharpen": lambda rng: (rng.uniform(0.1, 0.3), rng.uniform(0.0, 0.4)),
    "clahe": lambda rng: (4.0,),
    "brightness": lambda rng: [rng.uniform(*span) for span in choose(rng, BRIGHTNESS)],
    "tone": lambda rng: np.clip(rng.normal((0.25, 0.75), 0.3), 0, 1).tolist(),
    "gamma": lambda rng: (rng.uniform(0.6, 1.5),),
}
SHEARS = {"slight": 5.0, "heavy": 20.0}  # degrees
DEEPEST = 0.32  # largest shift of a corner by a perspective, as a share of the side
FILL = 128  # intensity outside the slices


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The augmentation of one triplet of slices; the default only cuts a patch out of their middle.

    With `corners` a perspective replaces zoom, rotation and shear: it maps four points to a rectangle. Their distances
    from the corners of the slices (upper left, upper right, lower right, lower left) are given as shares of the sides
    y, x. Three numbers from 0 to 1 are the `crop`: which of the motors stays in the patch, and where the patch lies in
    y and x among all places that keep it.
    """

    flips: tuple[bool, bool] = (False, False)  # mirror along y, x
    steps: tuple[Step, ...] = ()  # then changes of the intensities, in this order (see `change`)
    zoom: Pair = (1.0, 1.0)  # magnification along y, x
    rotation: float = 0.0  # radians, from y towards x
    shear: Pair = (0.0, 0.0)  # radians by which the y and x axes are sheared
    corners: tuple[Pair, Pair, Pair, Pair] | None = None
    crop: tuple[float, float, float] = (0.5, 0.5, 0.5)


def random_augmentation(rng: np.random.Generator, *, unaugmented: float = 0.0) -> Augmentation:
    """Return a random augmentation of one triplet: a function of `rng` alone.

    Probabilities: each flip 50 %; noise 10 %; lower quality 25 %; changed texture 10 %; changed intensities 50 %; an
    affine map that rotates by any angle, scales and shears by up to 5 degrees 32 %, one that shears by up to 20 degrees
    24 %, a perspective 24 %. The place of the patch is always random. A share `unaugmented` of the triplets is only
    flipped, rotated and placed; in the original solution it is 0.
    """
    if unaugmented and rng.random() < unaugmented:
        flips, crop = rng.random(2) < 0.5, rng.random(3)
        return Augmentation(flips=tuple(flips.tolist()), rotation=rng.uniform(0, 2 * np.pi), crop=tuple(crop.tolist()))
    flips = tuple((rng.random(2) < 0.5).tolist())
    chosen = {group: choose(rng, kinds) for group, (chance, kinds) in GROUPS.items() if rng.random() < chance}
    place = _place(rng, chosen.pop("geometry", None))
    steps = tuple((kind, *AMOUNTS[kind](rng)) for kind in chosen.values())
    return Augmentation(flips=flips, steps=steps, crop=tuple(rng.random(3).tolist()), **place)


def _place(rng: np.random.Generator, kind: str | None) -> dict[str, object]:
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


def augmented(
    slices: np.ndarray,
    patch: Size,
    points_yx: np.ndarray,
    covariances: np.ndarray,
    settings: Augmentation,
    *,
    spacing: float,
    keep: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an augmented patch of slices, and the points and covariances of the motors.

    The patch is `(n, *patch)` uint8; points and covariances, in its voxels, include motors that are now outside. Flips
    come first, then intensities, then one map, composed of geometry, the larger canvas that contains its result, and
    the crop: each voxel of the patch, and no other, is interpolated once. Slices smaller than the patch lie at its
    upper left; outside of them it is grey.

    Parameters
    ----------
    slices : `(n, y, x)` uint8
    patch : `(y, x)` of the result, in voxels
    points_yx : `(m, 2)` motors, in voxels of the slices; integers are voxel centres
    covariances : `(m, 2, 2)` squared extent of each motor, in voxels squared
    settings : the augmentation
    spacing : ångström per voxel, for the margin of the motor that is kept
    keep : number of motors, from the first, of which one is kept; by default all
    """
    flips = Symmetry(flips=(False, *settings.flips))
    slices = change(flips.apply(slices), settings.steps)
    shape = slices.shape[1:]
    flat = np.column_stack([np.zeros(len(points_yx)), np.reshape(points_yx, (-1, 2))])
    matrix, size = canvas(settings, shape)
    points, covariances, scale = move(flips.move_points(flat, (1, *shape))[:, 1:], covariances, matrix, settings)
    start = crop(size, patch, points[:keep], MATCH_RADIUS / spacing * scale, settings.crop)
    return _warp(slices, _shift(-start[::-1]) @ matrix, patch), points - start, covariances


def canvas(settings: Augmentation, shape: Size) -> tuple[np.ndarray, Size]:
    """Return the map from voxels of slices to voxels of a canvas that contains all of them, and the canvas size.

    The map is a zoom, a rotation and a shear, in this order, about the centre; or the perspective that maps four points
    in the slices to a rectangle, as wide and high as the longer of opposite sides. It is a `(3, 3)` matrix of
    homogeneous coordinates x, y, 1, as OpenCV wants them; shape and size are `(y, x)`, in voxels.
    """
    far = np.subtract(shape[::-1], 1)
    corners = far * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    if settings.corners is None:
        (y, x), (lean_y, lean_x), angle = settings.zoom, np.tan(settings.shear), settings.rotation
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        matrix = np.eye(3)
        matrix[:2, :2] = np.array([[1, lean_x], [lean_y, 1]]) @ turn @ np.diag([x, y])
        matrix = _shift(far / 2) @ matrix @ _shift(-far / 2)
    else:
        inward = np.array(settings.corners)[:, ::-1] * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        found = corners + inward * shape[::-1]
        top, right, bottom, left = np.linalg.norm(np.roll(found, -1, axis=0) - found, axis=1)
        rectangle = np.array([max(top, bottom), max(left, right)]) * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        matrix = cv2.getPerspectiveTransform(found.astype(np.float32), rectangle.astype(np.float32))
    moved = _apply(matrix, corners)
    low, high = moved.min(axis=0), moved.max(axis=0)
    size = np.ceil(np.round(high - low + 1, 6)).astype(int)
    return _shift(-low) @ matrix, tuple(size[::-1].tolist())


def move(
    points_yx: np.ndarray, covariances: np.ndarray, matrix: np.ndarray, settings: Augmentation
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return points and covariances in voxels of a canvas, and the factor by which the motors are enlarged.

    As in the original solution a motor stays round; the factor is the larger magnification of the axes: in a
    perspective, the larger norm of the matrix's first two rows, with the sign of their diagonal element.
    """
    scale = max(settings.zoom)
    if settings.corners is not None:
        scale = float(max(np.sign(np.diag(matrix)[:2]) * np.linalg.norm(matrix[:2, :2], axis=1)))
    return _apply(matrix, points_yx[:, ::-1])[:, ::-1], np.asarray(covariances) * scale**2, scale


def crop(
    size: Size, patch: Size, points_yx: np.ndarray, reach: float, chances: tuple[float, float, float]
) -> np.ndarray:
    """Return the first voxel of a patch on a canvas, `(2,)` integers from 0, so that a motor stays in it if possible.

    A margin of `reach` voxels around that motor stays in it too. If a side of the canvas is smaller than the patch, or
    the margin extends beyond the canvas or the patch, the patch lies anywhere on the canvas. Both are `(y, x)` voxels;
    the `chances` choose one of the `(n, 2)` motors, y and x: from 0 for the first to 1 for the last.
    """
    spare = np.maximum(np.subtract(size, patch), 0)
    low, high = np.zeros(2, int), spare
    if len(points_yx) and np.all(np.greater_equal(size, patch)):
        centre = points_yx[min(int(chances[0] * len(points_yx)), len(points_yx) - 1)] + 0.5
        first = np.maximum(np.ceil(centre + reach - patch), 0).astype(int)
        last = np.minimum(np.floor(centre - reach), spare).astype(int)
        if np.all(first <= last):
            low, high = first, last
    return np.minimum(low + (np.array(chances[1:]) * (high - low + 1)).astype(int), high)


def _warp(slices: np.ndarray, matrix: np.ndarray, patch: Size) -> np.ndarray:
    """Return slices mapped to a patch, linearly interpolated."""
    options = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_CONSTANT, "borderValue": FILL}
    affine = np.array_equal(matrix[2], (0, 0, 1))
    warp, matrix = (cv2.warpAffine, matrix[:2]) if affine else (cv2.warpPerspective, matrix)
    return np.stack([warp(each, matrix, patch[::-1], **options) for each in slices])


def _apply(matrix: np.ndarray, points_xy: np.ndarray) -> np.ndarray:
    moved = np.column_stack([points_xy, np.ones(len(points_xy))]) @ matrix.T
    return moved[:, :2] / moved[:, 2:]


def _shift(by_xy: np.ndarray) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2, 2] = by_xy
    return matrix
