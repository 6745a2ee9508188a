"""Everything that decides one trained network, in one frozen record."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

SLICES = 3  # that a 2D network sees at once

# What a setting may be, by its annotation, and how that is called.
KINDS = {
    "str": (str, "a text"),
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "int | None": ((int, type(None)), "a whole number or null"),
    "float": ((int, float), "a number"),
    "dict[str, Any]": (dict, "options by name"),
    "tuple[int, int, int]": (int, "three whole numbers, z y x"),
    "tuple[float, float, float]": ((int, float), "three numbers, z y x"),
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides one trained network; saved as JSON beside its weights.

    Lengths are ångström, sizes are voxels after resampling, axes are z, y, x. `table` records which of the original's
    label tables a network was trained on there: nothing reads it, and it chooses nothing here.

    Raises
    ------
    ValueError
        If a setting is of another kind than its annotation says, or makes no sense; the message names it.
    """

    name: str
    family: str  # resnext50, densenet121, x3d_m, maxvit_tiny, coat_medium, ...: one training notebook each

    # the network
    encoder: str  # "smp/<name>", "x3d/<size>", "slices/<timm's name>" or, for a 2D network, "timm/<name>"
    encoder_options: dict[str, Any] = field(default_factory=dict)  # passed to the encoder's constructor
    neck: str = "fpn"  # or "pan", whose levels keep their own numbers of channels
    neck_channels: int = 32  # per level; 0 keeps each level's own number (3D only)
    neck_hidden: int = 2  # hidden width of the neck as a multiple of its channels
    decoder_channels: int = 192
    normalisation: str = "imagenet"  # imagenet, half or kinetics: how grey levels are scaled inside the network
    recompute: bool = False  # activation checkpointing: less memory, one more forward pass

    # what it sees and what it answers
    patch: tuple[int, int, int] = (224, 448, 448)
    spacing: tuple[float, float, float] = (16.0, 16.0, 16.0)
    resampling: str = "linear"  # how `volumes.resample` gets there: linear, or mean for much coarser voxels
    stride: int = 16  # voxels per cell of the predicted grid, in z too for 3D networks
    sigma: float = 200.0  # standard deviation of a blob
    overlap: float = 0.0  # share of a tile that its neighbour sees too, when it predicts: small patches need much

    # which patches, in what proportion
    table: str = "all_gt_v3"  # of the original: official plus reviewed plus external motors; a record, no choice
    background: float = 0.05  # background samples per foreground sample
    background_from_positive: float = 0.25  # of those from tomograms with motors, per one from tomograms without
    repeats: int = 16  # 3D: the orientations of each window; 2D: times each slice is visited in an epoch
    augment: bool = True
    lightly: float = 0.0  # share of the patches that are only turned, where there is no time to learn all the rest

    # optimisation
    batch: int = 2  # patches per micro-batch
    accumulate: int = 2  # micro-batches per optimiser step
    optimiser: str = "adamw"  # or "muon", with which little time teaches more; no part of the original solution
    learning_rate: float = 5e-4
    warmup: int = 3000  # optimiser steps
    steps: int = 32_000  # optimiser steps, the period of the cosine
    stop_at: int | None = None  # the step whose weights are used, when before the end of the schedule
    save_every: int = 2000  # optimiser steps between checkpoints
    average: float = 0.99  # decay of the averaged weights, per micro-batch
    precision: str = "16-mixed"  # where there is a GPU; a CPU trains in float32
    seed: int = 0
    fold: int = -1  # held out; minus one trains on every tomogram

    def __post_init__(self) -> None:
        self._refuse_other_kinds()
        for name in ("patch", "spacing"):  # JSON gives lists back
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.patch) != 3 or len(self.spacing) != 3:
            raise ValueError(
                f"experiment {self.name}: patch {self.patch} and spacing {self.spacing} need three numbers, z y x"
            )
        sides = self.patch[1:] if self.planar else self.patch
        if any(side % 32 or side <= 0 for side in sides):
            raise ValueError(
                f"experiment {self.name}: patch {self.patch} must divide by 32, the encoder's deepest reduction;"
                f" the nearest is {tuple(max(32, round(side / 32) * 32) for side in sides)}"
            )
        if self.planar and self.patch[0] != SLICES:
            raise ValueError(
                f"experiment {self.name}: patch {self.patch} has {self.patch[0]} slices, but a 2D network sees"
                f" {SLICES}: make it {(SLICES, *sides)}, or choose a 3D encoder"
            )
        if min(self.spacing) <= 0:
            raise ValueError(f"experiment {self.name}: spacing {self.spacing} must be positive ångström per voxel")
        if not (self.batch >= 1 and self.accumulate >= 1 and self.save_every >= 1 and self.warmup >= 0):
            raise ValueError(
                f"experiment {self.name}: batch {self.batch}, accumulate {self.accumulate} and save_every"
                f" {self.save_every} must be at least 1, warmup {self.warmup} at least 0"
            )
        if not 1 <= self.optimiser_steps <= self.steps:
            stop = self.optimiser_steps
            raise ValueError(f"experiment {self.name}: it must stop within its {self.steps} steps, not at {stop}")
        if not (0 <= self.lightly <= 1 and 0 <= self.overlap < 1):
            raise ValueError(
                f"experiment {self.name}: lightly {self.lightly} and overlap {self.overlap} are shares, from 0 to 1"
            )
        if self.optimiser not in ("adamw", "muon"):
            raise ValueError(f"experiment {self.name}: optimiser {self.optimiser!r} must be adamw or muon")
        if not 0 <= self.average < 1:
            raise ValueError(f"experiment {self.name}: average {self.average} must be at least 0 and below 1")

    def _refuse_other_kinds(self) -> None:
        """Refuse what is not of the kind that its annotation says, as a mistyped value in JSON."""
        for setting in fields(self):
            kind, wanted = KINDS[setting.type]
            value = getattr(self, setting.name)
            several = setting.type.startswith("tuple")
            parts = value if several else [value]
            if not isinstance(parts, tuple | list) or not all(isinstance(part, kind) for part in parts):
                raise ValueError(
                    f"experiment {self.name}: {setting.name} is {value!r}, but must be {wanted}: correct it"
                )

    @property
    def planar(self) -> bool:
        """True for 2D networks, which see three slices at once and answer for the middle one."""
        return self.encoder.startswith("timm/")

    @property
    def strides(self) -> tuple[int, int, int]:
        """Voxels per cell along z, y, x; a 2D network answers for its three slices with one layer of cells."""
        return (self.patch[0] if self.planar else self.stride, self.stride, self.stride)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Cells of the predicted grid along z, y, x."""
        return tuple(side // step for side, step in zip(self.patch, self.strides, strict=True))

    @property
    def optimiser_steps(self) -> int:
        """Optimiser steps that are actually taken."""
        return self.steps if self.stop_at is None else self.stop_at

    def to_json(self) -> str:
        """Return the settings as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Experiment:
        """Return the experiment written by `to_json`.

        Raises
        ------
        ValueError
            If it is no JSON object, a setting is unknown, or one that has no default is missing.
        """
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError(f"a {type(settings).__name__} came, no settings by name")
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise ValueError(f"unknown settings {unknown}: correct them, or use the version of motors that wrote them")
        if missing := sorted({"name", "family", "encoder"} - set(settings)):
            raise ValueError(
                f"settings {missing} are missing: this is not the experiment.json beside a network's weights"
            )
        return cls(**settings)

    @classmethod
    def read(cls, path: Path) -> Experiment:
        """Return the experiment stored in the file `path`.

        Raises
        ------
        ValueError
            If it does not hold one; the message names the file.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} holds no experiment of this version of motors: {error}") from error
