"""Blocks of tomograms for 3D networks: a torch dataset whose sample k depends on the experiment and k alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motors import geometry, heatmaps
from motors.experiments.config import Experiment
from motors.geometry import MATCH_RADIUS, SYMMETRIES, Symmetry
from motors.labels.table import Labels
from motors.patches.augment import blocks
from motors.patches.augment.blocks import Augmentation
from motors.patches.epochs import START, Epoch, windows
from motors.patches.samples import Samples
from motors.volumes.prepared import open_prepared


@dataclass(frozen=True, eq=False)
class Block:
    """One training sample of a 3D network, with all that is needed to inspect it."""

    tomo_id: str
    start: geometry.Shape  # first voxel of the window in the prepared volume, z, y, x; may be negative
    symmetry: Symmetry  # applied after the augmentation
    augmentation: Augmentation
    voxels: np.ndarray  # `(z, y, x)` uint8 intensities
    points_zyx: np.ndarray  # `(n, 3)` motors in view, in voxels of the patch
    heatmap: np.ndarray  # `(z, y, x) / stride` float32, the target of the network; NaN around unsure points


class Blocks(Samples):
    """The endless training samples of a 3D network: sample `k` depends on the experiment and `k` alone.

    The experiment sets proportions, patch and seed; with `augment=False` windows are neither augmented nor rotated.
    Labels are of the tomograms to train on, in original voxels; the folder has their volumes at the experiment's
    spacing (see `volumes.write_prepared`); several `threads` per sample only help without worker processes.

    Raises FileNotFoundError if a volume has not been prepared; ValueError if its shape differs from that in the labels,
    labels or proportions are invalid (see `Epoch`), or patches cannot be rotated because y and x differ.
    """

    def __init__(self, experiment: Experiment, labels: Labels, folder: Path | str, *, threads: int = 1) -> None:
        turned = experiment.augment and any(symmetry.quarter_turn for symmetry in SYMMETRIES[: experiment.repeats])
        if turned and experiment.patch[1] != experiment.patch[2]:
            what = f"experiment {experiment.name}: patch {experiment.patch}"
            raise ValueError(f"{what} cannot make quarter turns: use equal y and x")
        super().__init__(experiment, labels, folder, experiment.spacing)
        self.threads = threads
        self.epoch = Epoch(windows(*self.tables, experiment.patch), experiment)

    def _parts(self, k: int) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
        block = self.block(k)
        return block.tomo_id, block.voxels[None], block.points_zyx, block.heatmap

    def block(self, k: int, augmentation: Augmentation | None = None) -> Block:
        """Return sample `k`; a given `augmentation` replaces the random one."""
        window, symmetry, rng = self.epoch.pick(k)
        if not self.experiment.augment:
            symmetry, augmentation = Symmetry(), augmentation or Augmentation()
        augmentation = augmentation or blocks.random_augmentation(rng, unaugmented=self.experiment.unaugmented)
        return self._make(window["tomo_id"], tuple(window[START]), symmetry, augmentation)

    def _make(self, tomo_id: str, start: geometry.Shape, symmetry: Symmetry, augmentation: Augmentation) -> Block:
        """Return the sample of one window; the heatmap is drawn before both are rotated."""
        patch, spacing = self.experiment.patch, self.experiment.spacing
        points = self.motors.get(tomo_id, np.empty((0, 3)))
        blobs = np.tile(np.diag(np.square(np.divide(self.experiment.sigma, spacing))), (len(points), 1, 1))
        whole = open_prepared(self.folder, tomo_id)
        voxels, points, blobs = blocks.augmented(
            whole, start, patch, points, blobs, augmentation, spacing=spacing, threads=self.threads
        )
        std, strides = heatmaps.smallest_std(blobs), self.experiment.strides
        heatmap = heatmaps.target_3d(points, patch, spacing, stride=strides, std_voxels=std)
        if tomo_id in self.unsure:
            balls = np.tile(np.diag(np.square(np.divide(MATCH_RADIUS, spacing))), (len(self.unsure[tomo_id]), 1, 1))
            balls = blocks.seen(self.unsure[tomo_id], balls, whole.shape, start, patch, augmentation)
            heatmap[heatmaps.inside(*balls, patch, strides)] = np.nan
        return Block(
            tomo_id=tomo_id,
            start=start,
            symmetry=symmetry,
            augmentation=augmentation,
            voxels=symmetry.apply(voxels),
            points_zyx=symmetry.move_points(points, patch),
            heatmap=symmetry.apply(heatmap),
        )
