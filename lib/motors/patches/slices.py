"""Triplets of slices for 2D networks: a torch dataset whose sample k depends on the experiment and k alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri

from motors import geometry, heatmaps
from motors.experiments.config import Experiment
from motors.geometry import MATCH_RADIUS
from motors.labels.table import Labels
from motors.patches.augment import slices
from motors.patches.augment.slices import Augmentation
from motors.patches.epochs import SliceEpoch, motor_slices
from motors.patches.samples import Samples
from motors.volumes.prepared import open_prepared


@dataclass(frozen=True, eq=False)
class Triplet:
    """One training sample of a 2D network, with all that is needed to inspect it.

    `heights` are the z of the slices in the prepared volume, in voxels, ascending; if several stored slices are
    averaged, that of the first. The network predicts for the middle one.
    """

    tomo_id: str
    heights: tuple[int, ...]
    augmentation: Augmentation  # applied to them
    voxels: np.ndarray  # `(3, y, x)` uint8 intensities
    points_yx: np.ndarray  # `(n, 2)` motors in view, in voxels of the patch
    heatmap: np.ndarray  # `(y, x) / stride` float32, the target of the network; NaN around unsure points


class Slices(Samples):
    """The endless training samples of a 2D network: sample `k` depends on the experiment and `k` alone.

    The slice of a sample with motors lies at most `sigma` above or below one, drawn from a normal distribution
    truncated there. A background slice is at least 1000 ångström from every motor, or the middle one if there is no
    such slice. If the experiment resamples by the mean, several stored slices are averaged into one, as in prediction.

    Parameters are as for `Blocks`; with `augment=False` patches are cut from the middle. `spacing` is that of the
    prepared volumes, in ångström per voxel: if finer than the experiment's along z, 2D and 3D networks can share them.

    Raises FileNotFoundError if a volume has not been prepared; ValueError if its shape differs from that in the labels,
    labels or proportions are invalid (see `SliceEpoch`), or the spacing does not suit the experiment.
    """

    def __init__(
        self, experiment: Experiment, labels: Labels, folder: Path | str, *, spacing: geometry.Spacing | None = None
    ) -> None:
        spacing = tuple(spacing or experiment.spacing)
        if spacing[1:] != experiment.spacing[1:] or spacing[0] > experiment.spacing[0]:
            raise ValueError(
                f"volumes prepared at {spacing} Å do not serve {experiment.name}, which wants"
                f" {experiment.spacing}: prepare them with its y and x, and with its z or a finer one"
            )
        super().__init__(experiment, labels, folder, spacing)
        self.thick = round(experiment.spacing[0] / spacing[0]) if experiment.resampling == "mean" else 1
        self.epoch = SliceEpoch(motor_slices(labels, spacing), self.tomo_ids, experiment)

    def _parts(self, k: int) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
        triplet = self.triplet(k)
        return triplet.tomo_id, triplet.voxels, triplet.points_yx, triplet.heatmap

    def triplet(self, k: int, augmentation: Augmentation | None = None) -> Triplet:
        """Return sample `k`; a given `augmentation` replaces the random one."""
        tomo_id, z, rng = self.epoch.pick(k)
        whole = open_prepared(self.folder, tomo_id)
        height = self._height(tomo_id, len(whole), z, rng)
        if not self.experiment.augment:
            augmentation = augmentation or Augmentation()
        augmentation = augmentation or slices.random_augmentation(rng, unaugmented=self.experiment.unaugmented)
        return self._make(tomo_id, whole, height, augmentation)

    def _height(self, tomo_id: str, count: int, z: float | None, rng: np.random.Generator) -> int:
        """Return which of `count` slices a sample shows: near the motors at `z`, or for None far from all."""
        if z is not None:
            away = ndtri(rng.uniform(*ndtr([-1, 1])))  # standard deviations, within -1 to 1
            first = z - (self.thick - 1) / 2 + away * self.experiment.sigma / self.spacing[0]
            return int(np.clip(round(first), 0, count - 1))
        free, reach = np.ones(count, bool), MATCH_RADIUS / self.spacing[0]
        for motor in self.motors.get(tomo_id, ()):
            free[max(round(motor[0] - reach), 0) : max(round(motor[0] + reach), 0)] = False
        return int(rng.choice(np.flatnonzero(free))) if free.any() else count // 2

    def _make(self, tomo_id: str, whole: np.ndarray, height: int, augmentation: Augmentation) -> Triplet:
        """Return the sample of the slice at this height, with the slices below and above it."""
        experiment, (deep, _, wide) = self.experiment, self.spacing
        steps = np.arange(experiment.patch[0]) - experiment.patch[0] // 2
        heights = np.clip(np.rint(height + steps * experiment.spacing[0] / deep), 0, len(whole) - 1).astype(int)
        motors, centre = self.motors.get(tomo_id, np.empty((0, 3))), height + (self.thick - 1) / 2
        motors = motors[np.abs(motors[:, 0] - centre) <= round(experiment.sigma / deep) + 1]
        unsure = self.unsure.get(tomo_id, np.empty((0, 3)))
        reach = MATCH_RADIUS**2 - np.square((unsure[:, 0] - centre) * deep)  # squared radii of their balls in the slice
        unsure, reach = unsure[reach > 0], reach[reach > 0]
        squares = np.concatenate([np.full(len(motors), experiment.sigma**2), reach]) / wide**2
        patch, count = experiment.patch[1:], len(motors)
        seen = whole[heights]
        if self.thick > 1:  # averages as thick as the experiment's slices
            seen = whole[np.minimum(heights[:, None] + np.arange(self.thick), len(whole) - 1)]
            seen = seen.mean(axis=1).astype(np.uint8)
        both = np.concatenate([motors, unsure])[:, 1:]
        blobs = squares[:, None, None] * np.eye(2)
        voxels, both, blobs = slices.augmented(seen, patch, both, blobs, augmentation, spacing=wide, keep=count)
        points = both[:count]
        heatmap = heatmaps.target_2d(
            points,
            patch,
            wide,
            distances=(motors[:, 0] - centre) * deep,
            stride=experiment.stride,
            sigma=experiment.sigma,
            std_voxels=heatmaps.smallest_std(blobs[:count]),
        )
        heatmap[heatmaps.inside(both[count:], blobs[count:], patch, experiment.stride)] = np.nan
        inside = points[~geometry.outside(points, patch)]
        return Triplet(tomo_id, tuple(heights.tolist()), augmentation, voxels, inside, heatmap)
