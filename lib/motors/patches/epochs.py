"""Which patches a network sees, in what proportion and order: functions of the label tables alone."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from motors import geometry
from motors.experiments.config import Experiment
from motors.geometry import SYMMETRIES, Symmetry
from motors.labels.table import Labels, prepared
from motors.tables import POINT, SIZE

START = ["start_z", "start_y", "start_x"]  # first voxel of a window in the prepared volume, may be negative


def points(motors: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the points, `(n, 3)` zyx, of each tomogram that has any."""
    places = motors[POINT].to_numpy(float)
    return {tomo_id: places[rows] for tomo_id, rows in motors.groupby("tomo_id").indices.items()}


def tables(labels: Labels, spacing: geometry.Spacing) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the tables of labels at a spacing: tomograms, motors and unsure points, see `prepared`."""
    return *prepared(labels, spacing), prepared(replace(labels, motors=labels.unsure), spacing)[1]


def label_digest(labels: Labels, spacing: geometry.Spacing) -> str:
    """Return a hash of the `tables` of labels at a spacing, whatever the order of their rows."""
    tomograms, motors, unsure = tables(labels, spacing)
    given = [tomograms, motors, *([unsure] if len(unsure) else [])]
    rows = [table.sort_values(list(table)).to_csv(index=False) for table in given]
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def windows(tomograms: pd.DataFrame, motors: pd.DataFrame, patch: geometry.Shape) -> pd.DataFrame:
    """Return the windows that cover the tomograms, and the number of motors in each.

    A row per window of `(z, y, x)` voxels has tomo_id, start_z, start_y, start_x (see `geometry.tiles`), motors, and
    positive: whether the tomogram has any motor. A motor counts if it lies between the first and the last voxel centre;
    as the last two windows along an axis overlap, both may contain it. Tomograms are tomo_id, size_z, size_y, size_x,
    motors tomo_id, z, y, x, in the same voxels.
    """
    shapes = map(tuple, tomograms[SIZE].to_numpy().tolist())
    starts = [geometry.tiles(shape, patch) for shape in shapes]
    table = pd.DataFrame(np.concatenate(starts), columns=START)
    table.insert(0, "tomo_id", np.repeat(tomograms["tomo_id"].to_numpy(), [len(part) for part in starts]))
    pairs = table.reset_index().merge(motors, on="tomo_id")  # every window with every motor of its tomogram
    places = pairs[POINT].to_numpy(float) - pairs[START].to_numpy()
    inside = np.all((places >= 0) & (places <= np.subtract(patch, 1)), axis=1)
    counts = pairs.loc[inside, "index"].value_counts().reindex(table.index, fill_value=0)
    return table.assign(motors=counts, positive=table["tomo_id"].isin(motors["tomo_id"]))


@dataclass(frozen=True, eq=False)
class Epoch:
    """The windows a 3D network sees, in order: sample k is a function of k, the tables and the experiment.

    In an epoch every window with a motor occurs once under each of the symmetries. Background samples are added: each
    is a random window without motor, under a random symmetry, of a tomogram without motors or with. Raises ValueError
    if no window has a motor, background is wanted but there is none, or there are fewer symmetries than `repeats`.
    """

    windows: pd.DataFrame  # see `windows`
    experiment: Experiment

    def __post_init__(self) -> None:
        repeats, background = self.experiment.repeats, self.experiment.background
        if repeats > len(SYMMETRIES):
            raise ValueError(f"repeats {repeats} is not 1 to {len(SYMMETRIES)}: there are no more symmetries")
        if not len(self.foreground):
            raise ValueError("no window has a motor: train on tomograms with motors")
        if background and not self._weights.any():
            raise ValueError(f"background {background} needs windows without motor: add some, or set it to 0")

    @cached_property
    def foreground(self) -> np.ndarray:
        """Rows of the windows with a motor."""
        return np.flatnonzero(self.windows["motors"] > 0)

    @cached_property
    def backgrounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the windows without motor, first of tomograms without motors, then of tomograms with."""
        empty, positive = self.windows["motors"] == 0, self.windows["positive"]
        return np.flatnonzero(empty & ~positive), np.flatnonzero(empty & positive)

    @cached_property
    def _weights(self) -> np.ndarray:
        """Relative frequency of background from tomograms without and with motors."""
        return np.array([1.0, self.experiment.background_from_positive]) * [len(rows) > 0 for rows in self.backgrounds]

    def __len__(self) -> int:
        foreground = self.experiment.repeats * len(self.foreground)
        return foreground + round(self.experiment.background * foreground)

    def pick(self, k: int) -> tuple[pd.Series, Symmetry, np.random.Generator]:
        """Return window, symmetry and random generator of sample `k`, counted over all epochs from 0."""
        seed, repeats = self.experiment.seed, self.experiment.repeats
        window, symmetry = divmod(shuffled(k, len(self), seed), repeats)
        rng = np.random.default_rng([seed, k])
        if window < len(self.foreground):
            row = self.foreground[window]
        else:
            weights = self._weights / self._weights.sum()
            row = rng.choice(self.backgrounds[rng.choice(2, p=weights)])
            symmetry = rng.integers(repeats)
        return self.windows.iloc[row], SYMMETRIES[symmetry], rng


def motor_slices(labels: Labels, spacing: geometry.Spacing) -> pd.DataFrame:
    """Return the slices that contain motors: one row per tomogram and rounded z, in original voxels.

    Columns: tomo_id and z, not rounded, in voxels of volumes prepared at this `spacing`, in ångström along z, y, x.
    """
    motors = labels.motors
    again = motors.assign(z=motors["z"].round()).duplicated(["tomo_id", "z"])
    return prepared(replace(labels, motors=motors[~again]), spacing)[1][["tomo_id", "z"]].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class SliceEpoch:
    """The slices a 2D network sees, in order: sample k is a function of k, the tables and the experiment.

    In an epoch every slice with motors occurs `repeats` times, and with each `background` samples more: slices of
    random tomograms, with or without motors. Raises ValueError if no slice has a motor.
    """

    slices: pd.DataFrame  # tomo_id and z, see `motor_slices`
    tomograms: tuple[str, ...]  # that background is drawn from
    experiment: Experiment

    def __post_init__(self) -> None:
        if not len(self.slices):
            raise ValueError("no slice has a motor: train on tomograms with motors")

    def __len__(self) -> int:
        background = round(self.experiment.background * len(self.slices))
        return (len(self.slices) + background) * self.experiment.repeats

    def pick(self, k: int) -> tuple[str, float | None, np.random.Generator]:
        """Return tomogram, z of its motors (in voxels, or None) and random generator of sample `k` of all epochs."""
        item = shuffled(k, len(self), self.experiment.seed) // self.experiment.repeats
        rng = np.random.default_rng([self.experiment.seed, k])
        if item < len(self.slices):
            row = self.slices.iloc[item]
            return row["tomo_id"], float(row["z"]), rng
        return self.tomograms[rng.integers(len(self.tomograms))], None, rng


def shuffled(k: int, length: int, seed: int) -> int:
    """Return which of `length` items sample `k` is: each once per epoch, reshuffled. Raises ValueError for k < 0."""
    if k < 0:
        raise ValueError(f"sample {k} does not exist: samples are counted from 0")
    return int(_order(length, seed, k // length)[k % length])


@lru_cache(maxsize=4)
def _order(length: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of one epoch; the last number keeps its seed apart from that of any sample."""
    return np.random.default_rng([seed, epoch, 1]).permutation(length)
