"""Everything that decides one trained network, in one frozen record; the experiments of the project by name."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides one trained network; saved as JSON beside its weights.

    Lengths are ångström, sizes are voxels after resampling, axes are z, y, x.
    """

    name: str
    family: str  # resnext50, densenet121, x3d_m, maxvit_tiny, coat_medium: one training notebook each

    # the network
    encoder: str  # what `networks.build` makes: "smp/<name>", "x3d/<size>" or "timm/<name>"
    encoder_options: dict[str, Any] = field(default_factory=dict)  # passed to the encoder's constructor
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
    table: str = "all_gt_v3"  # the label table: official plus reviewed plus external motors
    background: float = 0.05  # background samples per foreground sample
    background_from_positive: float = 0.25  # of those from tomograms with motors, per one from tomograms without
    repeats: int = 16  # 3D: the orientations of each window; 2D: times each slice is visited in an epoch
    augment: bool = True
    lightly: float = 0.0  # 3D: share of the patches that are only turned, where there is no time to learn all the rest

    # optimisation
    batch: int = 2  # patches per micro-batch
    accumulate: int = 2  # micro-batches per optimiser step
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
        if not 0 <= self.average < 1:
            raise ValueError(f"experiment {self.name}: average {self.average} must be at least 0 and below 1")

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


RESNEXT50 = Experiment(
    name="resnext50", family="resnext50", encoder="smp/resnext50_32x4d", steps=32_010, stop_at=32_000, seed=6112210
)
DENSENET121 = replace(
    RESNEXT50,
    name="densenet121",
    family="densenet121",
    encoder="smp/densenet121",
    steps=32_000,
    stop_at=None,
    seed=2210,
)
X3D_M = replace(
    DENSENET121,
    name="x3d_m",
    family="x3d_m",
    encoder="x3d/m",
    neck_channels=0,
    normalisation="kinetics",
    table="all_gt",
    background=0.25,
    background_from_positive=0.10,
    warmup=1000,
    steps=30_000,
    save_every=1000,
    seed=42,
)
MAXVIT_TINY = Experiment(
    name="maxvit_tiny",
    family="maxvit_tiny",
    encoder="timm/maxvit_tiny_tf_512.in1k",
    neck_channels=64,
    neck_hidden=1,
    decoder_channels=256,
    normalisation="half",
    patch=(3, 896, 896),
    spacing=(32.0, 16.0, 16.0),
    repeats=50,
    batch=8,
    accumulate=4,
    learning_rate=1e-4,
    warmup=0,
    steps=20_000,
    seed=20250305,
)
COAT_MEDIUM = replace(
    MAXVIT_TINY,
    name="coat_medium",
    family="coat_medium",
    encoder="timm/coat_lite_medium_384.in1k",
    normalisation="imagenet",
    table="all_gt",
    background=0.25,
    batch=4,
    accumulate=8,
    steps=16_100,
    stop_at=10_000,  # mid-schedule: the original solution used this checkpoint
    save_every=10_000,
    seed=42,
    fold=0,
)

# The demo: family and code path as above, shrunk to small patches of coarse voxels, 8 to a cell to keep cells narrow.
RESNEXT50_DEMO = replace(
    RESNEXT50,
    name="resnext50_demo",
    encoder="smp/tu-resnext50_32x4d",
    encoder_options={
        "layers": [2, 2, 2, 2],
        "cardinality": 4,
        "base_width": 32,
        "stem_type": "deep",
        "stem_width": 4,
        "channels": [16, 32, 64, 96],
    },
    neck_channels=8,
    neck_hidden=1,
    decoder_channels=48,
    patch=(32, 64, 64),
    spacing=(24.0, 24.0, 24.0),
    resampling="mean",
    stride=8,
    table="competition",
    background=0.4,
    lightly=0.4,
    overlap=0.5,
    batch=4,
    accumulate=1,
    learning_rate=3e-3,
    warmup=50,
    steps=1600,
    stop_at=None,
    save_every=200,
    seed=0,
    fold=0,
)
RESNEXT50_SMOKE = replace(RESNEXT50_DEMO, name="resnext50_smoke", steps=4, warmup=1, save_every=2)

MAXVIT_TINY_DEMO = replace(
    MAXVIT_TINY,
    name="maxvit_tiny_demo",
    encoder_options={"depths": [1, 1, 2, 1], "embed_dim": [8, 16, 32, 64], "stem_width": 8, "transformer_dim_head": 8},
    neck_channels=16,
    decoder_channels=48,
    patch=(3, 128, 128),
    spacing=(2 * RESNEXT50_DEMO.spacing[0], *RESNEXT50_DEMO.spacing[1:]),  # every other slice of the same volumes
    table="competition",
    background=0.25,
    accumulate=1,
    learning_rate=1e-3,
    warmup=50,
    steps=1000,
    save_every=200,
    seed=0,
    fold=0,
)
MAXVIT_TINY_SMOKE = replace(MAXVIT_TINY_DEMO, name="maxvit_tiny_smoke", steps=4, warmup=1, save_every=2)
COAT_MEDIUM_DEMO = replace(
    MAXVIT_TINY_DEMO,
    name="coat_medium_demo",
    family="coat_medium",
    encoder=COAT_MEDIUM.encoder,
    encoder_options={"serial_depths": [1, 1, 2, 1], "embed_dims": [32, 48, 64, 96]},
    normalisation="imagenet",
)
COAT_MEDIUM_SMOKE = replace(COAT_MEDIUM_DEMO, name="coat_medium_smoke", steps=4, warmup=1, save_every=2)

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *(RESNEXT50, DENSENET121, X3D_M, MAXVIT_TINY, COAT_MEDIUM),
        *(RESNEXT50_DEMO, MAXVIT_TINY_DEMO, COAT_MEDIUM_DEMO, RESNEXT50_SMOKE, MAXVIT_TINY_SMOKE, COAT_MEDIUM_SMOKE),
    )
}


def get(name: str) -> Experiment:
    """Return the experiment called `name`.

    Raises
    ------
    ValueError
        If there is none; the message lists those there are.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}: choose one of {', '.join(sorted(EXPERIMENTS))}")
    return EXPERIMENTS[name]


def of(family: str, profile: str) -> Experiment:
    """Return the experiment of a network `family` in a `profile`: "full" is the original, others are shrunk."""
    return get(family if profile == "full" else f"{family}_{profile}")
