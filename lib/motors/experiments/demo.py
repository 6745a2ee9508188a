"""Small networks: six that two cores train in minutes, and a rule that shrinks any other in the same way."""

import re
from dataclasses import replace
from typing import Any

from motors.experiments.config import Experiment
from motors.experiments.original import COAT_MEDIUM, DENSENET121, MAXVIT_TINY, RESNEXT50, X3D_M
from motors.experiments.others import EFFICIENTNET_LITE0


def _demo(original: Experiment, **changes: Any) -> Experiment:
    """Return a small version of `original` that learns the simulated competition in minutes."""
    small = {
        "name": f"{original.family}_demo",
        "resampling": "mean",
        "stride": 8,
        "prior": 0.02,  # about the mean target in its patches: a short training cannot rise from 0.00005
        "background": 0.4,
        "accumulate": 1,
        "warmup": 50,
        "stop_at": None,
        "optimiser": "muon",
        "learning_rate": 4e-3,
        "save_every": 200,
        "seed": 0,
        "fold": 0,
    }
    return replace(original, **small | changes)


STAGES = {"layers": [2, 2, 2, 2], "channels": [16, 32, 64, 96], "stem_type": "deep", "stem_width": 4}  # of ResNets

# Family and code path of the original, small enough to train on two cores in minutes on the simulated competition.
# Patches are small, as a motor teaches as much in them; voxels are coarse, with 8 to a cell to keep cells narrow.
RESNEXT50_DEMO = _demo(
    RESNEXT50,
    encoder="smp/tu-resnext50_32x4d",
    encoder_options=STAGES | {"cardinality": 4, "base_width": 32},
    neck_channels=8,
    neck_hidden=1,
    decoder_channels=48,
    patch=(32, 64, 64),
    spacing=(24.0, 24.0, 24.0),
    unaugmented=0.4,
    overlap=0.34,
    batch=2,  # with 1, torch takes its slow 3D convolutions on a CPU
    steps=850,
)

# A quarter of the growth and a third of the layers of DenseNet-121; the stem has three small kernels, not one of 7³.
DENSENET121_DEMO = replace(
    RESNEXT50_DEMO,
    name="densenet121_demo",
    family="densenet121",
    encoder="smp/tu-densenet121",
    encoder_options={"growth_rate": 8, "block_config": [2, 4, 8, 6], "stem_type": "deep"},
    steps=1000,
)

# A third of X3D-M's blocks and a third of its channels, the stem's a multiple of 8: CPUs are slow with others.
X3D_M_DEMO = replace(
    RESNEXT50_DEMO,
    name="x3d_m_demo",
    family="x3d_m",
    encoder=X3D_M.encoder,
    encoder_options={"depths": [1, 2, 4, 3], "channels": [8, 24, 48, 64]},
    neck_channels=X3D_M.neck_channels,
    normalisation=X3D_M.normalisation,
    steps=1100,
)

# In 2D a patch covers most of a slice of the demo. The same blocks, fewer and narrower.
MAXVIT_TINY_DEMO = _demo(
    MAXVIT_TINY,
    encoder_options={"depths": [1, 1, 2, 1], "embed_dim": [8, 16, 32, 64], "stem_width": 8, "transformer_dim_head": 8},
    neck_channels=16,
    decoder_channels=48,
    patch=(3, 128, 128),
    spacing=(2 * RESNEXT50_DEMO.spacing[0], *RESNEXT50_DEMO.spacing[1:]),  # slices twice as thick
    steps=950,
)

COAT_MEDIUM_DEMO = replace(
    MAXVIT_TINY_DEMO,
    name="coat_medium_demo",
    family="coat_medium",
    encoder=COAT_MEDIUM.encoder,
    encoder_options={"serial_depths": [1, 1, 2, 1], "embed_dims": [32, 48, 64, 96]},
    normalisation=COAT_MEDIUM.normalisation,
    steps=1000,
)

# A full-size network: it starts from ImageNet weights and needs few steps, so few that an average over the last
# hundred would still contain some of the initial weights: this one is over the last twenty. Its `background` and
# `unaugmented` were not tuned: only these values were tried.
EFFICIENTNET_LITE0_DEMO = replace(
    MAXVIT_TINY_DEMO,
    name="efficientnet_lite0_demo",
    family="efficientnet_lite0",
    encoder=EFFICIENTNET_LITE0.encoder,
    encoder_options={},
    background=1.0,
    unaugmented=0.4,
    optimiser="adamw",
    learning_rate=2e-3,
    average=0.95,
    steps=300,
)

WHOLE = {each.family: each for each in (RESNEXT50, DENSENET121, X3D_M, MAXVIT_TINY, COAT_MEDIUM, EFFICIENTNET_LITE0)}
SMALL = (RESNEXT50_DEMO, DENSENET121_DEMO, X3D_M_DEMO, MAXVIT_TINY_DEMO, COAT_MEDIUM_DEMO, EFFICIENTNET_LITE0_DEMO)
DEMO = {each.family: each for each in SMALL}

# Settings of an experiment that its small version keeps: what it is about, nothing that costs time.
ABOUT = "neck normalisation checkpointing starts_from sigma most_motors augment average precision".split()
ABOUT += "mixup mixup_alpha mixup_motors positive_weight tversky".split()

# Options of a narrow encoder, by a pattern in its name; the first match is used.
NARROW = {
    "resnet101": STAGES | {"layers": [2, 2, 6, 2]},
    "resnext101": STAGES | {"layers": [2, 2, 6, 2], "cardinality": 4, "base_width": 64},
    "resnext": RESNEXT50_DEMO.encoder_options,
    "resnet": STAGES,
    "densenet121": DENSENET121_DEMO.encoder_options,
    "densenet161": {"growth_rate": 12, "block_config": [2, 4, 12, 8], "stem_type": "deep"},
    "densenet": {"growth_rate": 8, "block_config": [2, 4, 12, 8], "stem_type": "deep"},
    "x3d/l": {"depths": [2, 4, 9, 5], "channels": X3D_M_DEMO.encoder_options["channels"]},
    "x3d": X3D_M_DEMO.encoder_options,
    "maxvit": MAXVIT_TINY_DEMO.encoder_options,
    "coat": COAT_MEDIUM_DEMO.encoder_options,
    "convnext_small": {"depths": [1, 1, 4, 1], "dims": [16, 32, 64, 96]},
    "convnext": {"depths": [1, 1, 2, 1], "dims": [16, 32, 64, 96]},
    "swinv2": {"depths": [1, 1, 2, 1], "embed_dim": 24, "num_heads": [1, 2, 4, 8]},
}


def shrunk(experiment: Experiment, profile: str) -> Experiment:
    """Return the small version of any experiment, by rule: `profile` is demo or smoke.

    It is the demo version of the experiment's family, except for the settings in `ABOUT`, which are those of
    `experiment`, and for learning rate and steps, which are in the same proportion to the family's. Its encoder has the
    same blocks, fewer and narrower (`NARROW`), so that a step takes about a second on two cores.

    Raises ValueError if there is no such profile.
    """
    if profile not in ("demo", "smoke"):
        raise ValueError(f"there is no profile {profile!r} of experiments: choose full, demo or smoke")
    small, whole = DEMO[experiment.family], WHOLE[experiment.family]
    if experiment != whole:
        encoder, options = narrow(experiment)
        small = replace(
            small,
            **{name: getattr(experiment, name) for name in ABOUT},
            encoder=encoder,
            encoder_options=options,
            learning_rate=small.learning_rate * experiment.learning_rate / whole.learning_rate,
            steps=round(small.steps * experiment.optimiser_steps / whole.optimiser_steps),
            warmup=small.warmup if experiment.warmup or not whole.warmup else 0,
        )
    small = replace(small, name=f"{experiment.name}_{profile}")
    return small if profile == "demo" else replace(small, steps=4, warmup=1, save_every=2)


def narrow(experiment: Experiment) -> tuple[str, dict[str, Any]]:
    """Return encoder and options of an experiment with fewer and narrower blocks; those not in `NARROW` stay whole."""
    kind, _, name = experiment.encoder.partition("/")
    found = next((options for pattern, options in NARROW.items() if re.search(pattern, experiment.encoder)), {})
    if kind == "smp" and not name.startswith("tu-"):  # only timm's take options
        name = f"tu-{name.replace('se_resnet', 'seresnet')}"
    return f"{kind}/{name}", found | experiment.encoder_options
