"""Blocks of tomograms for 3D networks: a torch dataset whose sample k depends on the experiment and k alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from motors import geometry, heatmaps
from motors.experiments.config import Experiment
from motors.geometry import SYMMETRIES, Symmetry
from motors.labels.table import Labels, prepared
from motors.patches.augment import blocks
from motors.patches.augment.blocks import Augmentation
from motors.patches.epochs import START, Epoch, label_digest, windows
from motors.patches.mixup import mixed
from motors.tables import POINT
from motors.volumes.prepared import check_volumes, open_prepared


@dataclass(frozen=True, eq=False)
class Block:
    """One training sample of a 3D network, with all that one may want to look at.

    Parameters
    ----------
    tomo_id : the tomogram
    start : first voxel of the window in the prepared volume, z, y, x; may be negative
    symmetry, augmentation : what was done to it, the augmentation first
    voxels : `(z, y, x)` uint8 grey levels
    points_zyx : `(n, 3)` motors in view, in voxels of the patch
    heatmap : `(z / stride, y / stride, x / stride)` float32, what the network should answer
    """

    tomo_id: str
    start: geometry.Shape
    symmetry: Symmetry
    augmentation: Augmentation
    voxels: np.ndarray
    points_zyx: np.ndarray
    heatmap: np.ndarray


class Blocks(Dataset):
    """The training samples of a 3D network, without end: sample `k` depends on the experiment and `k` alone.

    Parameters
    ----------
    experiment : proportions, patch, seed; with `augment=False` windows come as they are, never turned
    labels : the tomograms to train on, in original voxels
    folder : their volumes at the experiment's spacing (see `volumes.write_prepared`)
    threads : how many work on one sample; of use where samples are not made by several workers

    Raises
    ------
    FileNotFoundError
        If a volume has not been prepared.
    ValueError
        If a volume has another shape than the labels say, the labels or the proportions do not make sense (see
        `Epoch`), or patches cannot be turned because y and x differ.
    """

    def __init__(self, experiment: Experiment, labels: Labels, folder: Path | str, *, threads: int = 1) -> None:
        turned = experiment.augment and any(symmetry.quarter_turn for symmetry in SYMMETRIES[: experiment.repeats])
        if turned and experiment.patch[1] != experiment.patch[2]:
            raise ValueError(
                f"experiment {experiment.name}: patch {experiment.patch} cannot make quarter turns: use equal y and x"
            )
        self.experiment, self.folder, self.threads = experiment, Path(folder), threads
        tomograms, motors = prepared(labels, experiment.spacing)
        check_volumes(tomograms, self.folder, experiment.spacing)
        self.label_digest = label_digest(tomograms, motors)  # of the labels, for `training.train`
        self.tomo_ids = tuple(tomograms["tomo_id"])
        points, rows = motors[POINT].to_numpy(float), motors.groupby("tomo_id").indices
        self.motors = {tomo_id: points[those] for tomo_id, those in rows.items()}
        self.epoch = Epoch(
            windows(tomograms, motors, experiment.patch),
            background=experiment.background,
            background_from_positive=experiment.background_from_positive,
            repeats=experiment.repeats,
            seed=experiment.seed,
        )

    def __len__(self) -> int:
        """Return the number of samples in an epoch; larger numbers belong to the epochs that follow."""
        return len(self.epoch)

    def __getitem__(self, k: int) -> dict[str, Any]:
        """Return sample `k` as tensors: image `(1, z, y, x)` uint8 and target `(1, z, y, x)` float32, a grid of cells.

        With them come tomo_id and the number of motors in view; some are mixed, see `patches.mixup`.
        """
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # a forked worker has lost its parent's threads; with 1 it would wait for them
        return mixed(self._sample, int(k), len(self), self.experiment)

    def _sample(self, k: int) -> dict[str, Any]:
        """Sample `k` before any mixup."""
        block = self.block(k)
        return {
            "image": torch.from_numpy(block.voxels)[None],
            "target": torch.from_numpy(block.heatmap)[None],
            "tomo_id": block.tomo_id,
            "motors": len(block.points_zyx),
        }

    def block(self, k: int, augmentation: Augmentation | None = None) -> Block:
        """Return sample `k`; with `augmentation`, that is done to it instead of what chance wants."""
        window, symmetry, rng = self.epoch.pick(k)
        if not self.experiment.augment:
            symmetry = Symmetry()
        if augmentation is None:
            unaugmented = self.experiment.unaugmented
            augmentation = (
                blocks.random_augmentation(rng, unaugmented=unaugmented) if self.experiment.augment else Augmentation()
            )
        return self._make(window["tomo_id"], tuple(window[START]), symmetry, augmentation)

    def _make(self, tomo_id: str, start: geometry.Shape, symmetry: Symmetry, augmentation: Augmentation) -> Block:
        """Return the sample that one window becomes; the grid is drawn before both are turned."""
        patch, spacing = self.experiment.patch, self.experiment.spacing
        points = self.motors.get(tomo_id, np.empty((0, 3)))
        blobs = np.tile(np.diag(np.square(np.divide(self.experiment.sigma, spacing))), (len(points), 1, 1))
        whole = open_prepared(self.folder, tomo_id)
        voxels, points, blobs = blocks.augmented(
            whole, start, patch, points, blobs, augmentation, spacing=spacing, threads=self.threads
        )
        std = heatmaps.smallest_std(blobs)
        heatmap = heatmaps.target_3d(points, patch, spacing, stride=self.experiment.strides, std_voxels=std)
        return Block(
            tomo_id=tomo_id,
            start=start,
            symmetry=symmetry,
            augmentation=augmentation,
            voxels=symmetry.apply(voxels),
            points_zyx=symmetry.move_points(points, patch),
            heatmap=symmetry.apply(heatmap),
        )
