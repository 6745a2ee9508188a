"""Random augmentations of 3D patches, with the probabilities and ranges of the original solution."""

from dataclasses import dataclass

import numpy as np

from motors import geometry
from motors.patches.augment.intensity import Step, choose, coarsen, drop_boxes, regrade
from motors.patches.augment.warp import warp

Vector = tuple[float, float, float]  # along or about z, y, x
AFFINES = {"none": 0.25, "slight": 0.5, "heavy": 0.25}
GREY = {"shift and contrast": 0.4, "multiply": 0.2, "gamma": 0.3, "histogram": 0.1}  # one is drawn, applied with 50 %

RESAMPLINGS = {  # for loss of resolution: torch's names of the interpolations when down- and upsampling
    ("trilinear", "trilinear"): 0.4,
    ("trilinear", "nearest-exact"): 0.1,
    ("area", "trilinear"): 0.1,
    ("area", "nearest-exact"): 0.1,
    ("nearest-exact", "trilinear"): 0.2,
    ("nearest-exact", "nearest-exact"): 0.1,
}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The augmentation of one patch; the default changes nothing."""

    zoom: Vector = (1.0, 1.0, 1.0)  # magnification along z, y, x
    rotation: Vector = (0.0, 0.0, 0.0)  # radians about z, y, x
    shear: Vector = (0.0, 0.0, 0.0)  # how much x moves with y, x with z, and y with x
    scale: Vector = (1.0, 1.0, 1.0)  # factor of the field of view along z, y, x
    steps: tuple[Step, ...] = ()  # changes of the intensities, in this order (see `grey_table`)
    quality: tuple[float, str, str] | None = None  # factor and interpolations down and up again (see `coarsen`)
    dropout: int | None = None  # seed of the boxes and of the noise that fills them (see `drop_boxes`)


def random_augmentation(rng: np.random.Generator, *, unaugmented: float = 0.0) -> Augmentation:
    """Return a random augmentation of one patch: a function of `rng` alone.

    Probabilities: zoom 40 %; slight affine map (rotation about z by any angle, scaling) 50 %, or heavy one 25 %, which
    also tilts by up to 15 degrees and shears; changed intensities 50 %; lower resolution 20 %; boxes of noise 10 %. A
    share `unaugmented` of the patches is only rotated about z; in the original solution it is 0.
    """
    if unaugmented and rng.random() < unaugmented:
        return Augmentation(rotation=(rng.uniform(0, 2 * np.pi), 0.0, 0.0))
    found: dict[str, object] = {}
    if rng.random() < 0.4:
        found["zoom"] = _uniform(rng, 0.6, 1.2)
    kind = choose(rng, AFFINES)
    if kind != "none":
        tilt = np.radians(15) if kind == "heavy" else 0.0
        found["rotation"] = (rng.uniform(0, 2 * np.pi), rng.uniform(-tilt, tilt), rng.uniform(-tilt, tilt))
        found["shear"] = _uniform(rng, -0.2, 0.2) if kind == "heavy" else (0.0, 0.0, 0.0)
        found["scale"] = _uniform(rng, 0.7, 1.3)
    found["steps"] = _draw_steps(rng)
    if rng.random() < 0.2:
        found["quality"] = (rng.uniform(0.6, 0.9), *choose(rng, RESAMPLINGS))
    if rng.random() < 0.1:
        found["dropout"] = int(rng.integers(2**63))
    return Augmentation(**found)


def _draw_steps(rng: np.random.Generator) -> tuple[Step, ...]:
    kind = choose(rng, GREY)
    if kind == "shift and contrast":
        each = 1 - np.sqrt(0.5)  # so that half of these patches stay as they are
        shift = ("add", rng.uniform(-40, 80)) if rng.random() < 0.5 else ("add_deviations", rng.uniform(-0.7, 1.2))
        contrast = ("contrast", rng.uniform(-0.6, 0) if rng.random() < 0.7 else rng.uniform(0, 0.8))
        return tuple(step for step in (shift, contrast) if rng.random() < each)
    if rng.random() >= 0.5:
        return ()
    if kind == "multiply":
        return (("multiply", rng.uniform(-0.7, 0.7)),)
    if kind == "gamma":
        return (("gamma", rng.uniform(0.25, 1.75)),)
    levels = np.linspace(0, 1, rng.integers(10, 20, endpoint=True))
    for i in range(1, len(levels) - 1):
        levels[i] = rng.uniform(levels[i - 1], levels[i + 1])
    return (("histogram", tuple(levels.tolist())),)


def _uniform(rng: np.random.Generator, low: float, high: float) -> Vector:
    return tuple(rng.uniform(low, high, 3).tolist())


def augmented(
    voxels: np.ndarray,
    start: geometry.Shape,
    patch: geometry.Shape,
    points_zyx: np.ndarray,
    covariances: np.ndarray,
    settings: Augmentation,
    *,
    spacing: geometry.PerAxis,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an augmented patch of a tomogram, and the points and covariances of the motors in it.

    The patch is uint8; `(m, 3)` points and `(m, 3, 3)` covariances are in its voxels. What a zoom or rotation brings in
    from outside the patch is read from the tomogram; only what lies outside the tomogram is zero. Where the patch
    itself reaches beyond the tomogram it is zero too, whatever the settings.

    Parameters
    ----------
    voxels : `(z, y, x)` uint8, the tomogram; of a memory-mapped file only the part in view is read
    start : first voxel of the patch, may be negative
    patch : `(z, y, x)` of the patch, in voxels
    points_zyx : `(n, 3)` motors, in voxels of the tomogram
    covariances : `(n, 3, 3)` squared extent of each motor, in voxels squared
    settings : the augmentation
    spacing : ångström per voxel, for the size of dropped boxes
    threads : their number; the result does not depend on it
    """
    low, shape, matrix, offset = _box(settings, voxels.shape, start, patch)
    box = warp(voxels, matrix, offset, shape, threads=threads)
    points_zyx, covariances = move(points_zyx, covariances, matrix, offset)
    regrade(box, settings.steps)
    if settings.quality is not None:
        box = coarsen(box, *settings.quality)
    if settings.dropout is not None:
        drop_boxes(box, points_zyx, covariances, spacing, np.random.default_rng(settings.dropout))
    inside = np.all((points_zyx >= 0) & (points_zyx <= np.subtract(shape, 1)), axis=1)
    before = low - start
    voxels = box if shape == tuple(patch) else geometry.cut(box, tuple(-before), patch)
    return voxels, points_zyx[inside] + before, covariances[inside]


def seen(
    points_zyx: np.ndarray,
    covariances: np.ndarray,
    size: geometry.Shape,
    start: geometry.Shape,
    patch: geometry.Shape,
    settings: Augmentation,
) -> tuple[np.ndarray, np.ndarray]:
    """Return points and covariances in voxels of the patch made by `augmented`, including those outside it."""
    low, _, matrix, offset = _box(settings, size, start, patch)
    points_zyx, covariances = move(points_zyx, covariances, matrix, offset)
    return points_zyx + (low - start), covariances


def _box(settings: Augmentation, size: geometry.Shape, start: geometry.Shape, patch: geometry.Shape) -> tuple:
    """Return first voxel and shape of the part of a patch inside the tomogram, and its `source_map`."""
    low, high = np.maximum(start, 0), np.minimum(np.add(start, patch), size)
    shape = tuple((high - low).tolist())
    return low, shape, *source_map(settings, tuple(low.tolist()), shape)


def source_map(settings: Augmentation, start: geometry.Shape, shape: geometry.Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return a `(3, 3)` matrix and a `(3,)` offset: voxel p of the result shows voxel `matrix @ p + offset`.

    The map is about the centre of the box, of this `start` and `shape` in voxels of the tomogram, that would be cut out
    unaugmented. The matrix is the original solution's: inverse zoom, rotations about x, y and z, shear, scale.
    """
    xy, xz, yx = settings.shear
    shear = np.array([[1, 0, 0], [0, 1, yx], [xz, xy, 1]])
    z, y, x = (_rotation(axis, angle) for axis, angle in enumerate(settings.rotation))
    matrix = np.diag(1 / np.array(settings.zoom)) @ x @ y @ z @ shear @ np.diag(settings.scale)
    centre = np.subtract(shape, 1) / 2
    return matrix, np.array(start) + centre - matrix @ centre


def _rotation(axis: int, angle: float) -> np.ndarray:
    i, j = (other for other in range(3) if other != axis)
    matrix = np.eye(3)
    matrix[[i, j, i, j], [i, j, j, i]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
    return matrix


def move(
    points_zyx: np.ndarray, covariances: np.ndarray, matrix: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return `(n, 3)` points and `(n, 3, 3)` covariances in voxels of the result of a `source_map`."""
    forward = np.linalg.inv(matrix)
    return (np.asarray(points_zyx, dtype=np.float64) - offset) @ forward.T, forward @ covariances @ forward.T
