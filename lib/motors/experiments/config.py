"""All settings that determine one trained network, in a frozen dataclass."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, field, fields
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

SLICES = 3  # that a 2D network sees at once

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
GONE = ("table",)  # settings of version 0.1 without effect: ignored when read
RENAMED = {"lightly": "unaugmented", "recompute": "checkpointing"}  # former names of settings, still read


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class Experiment:
    """All settings that determine one trained network; saved as JSON beside its weights.

    Lengths are ångström, sizes are voxels after resampling, axes are z, y, x. The labels it is trained on are chosen in
    `10_prepare_labels`, not here. Raises ValueError, which names the setting, if one is unknown, of another type than
    annotated, or invalid.
    """

    name: str
    family: str  # resnext50, densenet121, x3d_m, maxvit_tiny, coat_medium, ...: one training notebook each

    # the network
    encoder: str  # "smp/<name>", "x3d/<size>", "slices/<timm's name>" or, for a 2D network, "timm/<name>"
    encoder_options: dict[str, Any] = field(default_factory=dict)  # passed to the encoder's constructor
    neck: Literal["fpn", "pan"] = "fpn"  # in "pan" every level keeps its own number of channels
    neck_channels: Whole = 32  # per level; 0 keeps each level's own number (3D only)
    neck_hidden: Count = 2  # hidden width of the neck as a multiple of its channels
    decoder_channels: Count = 192
    normalisation: Literal["imagenet", "half", "kinetics"] = "imagenet"  # how intensities are scaled inside the network
    prior: Annotated[float, Field(gt=0, lt=1)] | None = None  # initial probability of every cell; null: about 0.00005
    checkpointing: bool = False  # activation (gradient) checkpointing: less memory, one more forward pass
    starts_from: str = ""  # experiment whose trained weights it starts from; empty: pretrained or random ones

    # input and prediction
    patch: tuple[int, int, int] = (224, 448, 448)
    spacing: tuple[Positive, Positive, Positive] = (16.0, 16.0, 16.0)
    resampling: Literal["linear", "mean"] = "linear"  # see `volumes.resample`; mean is for much coarser voxels
    stride: Count = 16  # voxels per cell of the predicted grid, in z too for 3D networks
    sigma: Positive = 200.0  # standard deviation of a target blob
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of a tile shared by its neighbour: for small patches

    # sampling and augmentation of patches
    most_motors: Count | None = None  # tomograms with more are not trained on; null trains on all
    background: NotNegative = 0.05  # background samples per foreground sample
    background_from_positive: NotNegative = 0.25  # of those from tomograms with motors, per one from tomograms without
    repeats: Count = 16  # per epoch: symmetries of each window (3D), repetitions of each slice (2D)
    augment: bool = True
    unaugmented: Share = 0.0  # share of the patches that are only rotated (2D: and flipped), for short trainings
    mixup: Share = 0.0  # share of the patches that are mixed with another one (Zhang et al. 2018)
    mixup_alpha: Positive = 1.0  # parameter of the beta distribution of the mixing weights
    mixup_motors: Count | None = None  # most motors in a mixed patch; null mixes any two

    # optimisation
    positive_weight: Positive = 1.0  # of motor cells in the cross-entropy
    tversky: Share = 0.0  # share of the Tversky loss (Salehi et al. 2017) beside the cross-entropy
    batch: Count = 2  # patches per micro-batch
    accumulate: Count = 2  # micro-batches per optimiser step
    optimiser: Literal["adamw", "muon"] = "adamw"  # muon is better in short trainings; not in the original solution
    learning_rate: Positive = 5e-4
    warmup: Whole = 3000  # optimiser steps
    steps: Count = 32_000  # optimiser steps, the period of the cosine
    stop_at: Count | None = None  # step whose weights are used, if before the end of the schedule
    save_every: Count = 2000  # optimiser steps between checkpoints
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99  # decay of the EMA of weights, per micro-batch
    precision: Literal["16-mixed", "bf16-mixed", "32-true"] = "16-mixed"  # on a GPU; a CPU has float32
    seed: Whole = 0
    fold: Annotated[int, Field(ge=-1)] = -1  # held out; minus one trains on every tomogram

    def __post_init__(self) -> None:
        sides = self.patch[1:] if self.is_2d else self.patch
        if any(side % 32 or side <= 0 for side in sides):
            raise ValueError(
                f"patch {self.patch} must divide by 32, the encoder's deepest reduction;"
                f" the nearest is {tuple(max(32, round(side / 32) * 32) for side in sides)}"
            )
        if self.is_2d and self.patch[0] != SLICES:
            raise ValueError(
                f"patch {self.patch} has {self.patch[0]} slices, but a 2D network sees {SLICES}: make it"
                f" {(SLICES, *sides)}, or choose a 3D encoder"
            )
        if self.optimiser_steps > self.steps:
            raise ValueError(f"it must stop within its {self.steps} steps, not at {self.optimiser_steps}")

    @property
    def is_2d(self) -> bool:
        """True for 2D networks, which see three slices at once and predict for the middle one."""
        return self.encoder.startswith("timm/")

    @property
    def encoder_pools(self) -> bool:
        """True for encoders that pool over the whole tile (squeeze-and-excitation), on which their output depends."""
        return re.search("x3d|se_?res|(?<!den)senet|efficientnet_b", self.encoder) is not None

    @property
    def strides(self) -> tuple[int, int, int]:
        """Voxels per cell along z, y, x; a 2D network predicts for its three slices with one layer of cells."""
        return (self.patch[0] if self.is_2d else self.stride, self.stride, self.stride)

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
    def from_json(cls, text: str | bytes) -> Experiment:
        """Return the experiment that `to_json` wrote; raises ValueError if it is not a JSON object, or invalid."""
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError(f"it is a {type(settings).__name__}, not an object of settings by name")
        kept = {RENAMED.get(name, name): value for name, value in settings.items() if name not in GONE}
        try:
            return TypeAdapter(cls).validate_json(json.dumps(kept))
        except ValidationError as error:
            raise ValueError(sentence(error)) from None

    @classmethod
    def read(cls, path: Path) -> Experiment:
        """Return the experiment in the file `path`; raises ValueError, which names the file, if it holds none."""
        try:
            return cls.from_json(Path(path).read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} holds no experiment of this version of motors: {error}") from error


def sentence(error: ValidationError) -> str:
    """Return pydantic's first error in one sentence; for an unknown setting it names the nearest."""
    first = error.errors(include_url=False)[0]
    name, kind = (str(first["loc"][0]) if first["loc"] else ""), first["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        near = get_close_matches(name, [each.name for each in fields(Experiment)], 1, 0.5)
        return f"there is no setting {name!r}" + (f": did you mean {near[0]}?" if near else ": see motors.experiments")
    if kind.startswith("missing") and len(first["loc"]) == 1:
        return f"setting {name!r} is missing: this is not the experiment.json beside a network's weights"
    what = first["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if not name:
        return what
    came = "too few numbers" if kind == "missing" else repr(first["input"])
    return f"{name} is {came}, but {'needs three' if kind == 'missing' else what}"


def _in_a_sentence(init: Callable[..., None]) -> Callable[..., None]:
    """Return the constructor with errors in one sentence that names the experiment."""

    @wraps(init)
    def checked(self: Experiment, **settings: Any) -> None:
        try:
            init(self, **settings)
        except ValidationError as error:
            raise ValueError(f"experiment {settings.get('name')}: {sentence(error)}") from None

    return checked


Experiment.__init__ = _in_a_sentence(Experiment.__init__)
