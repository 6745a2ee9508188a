"""The networks shrunk: a demo that two cores train in minutes, and a smoke test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from motors.experiments.config import Experiment
from motors.experiments.original import COAT_MEDIUM, MAXVIT_TINY, RESNEXT50, X3D_M
from motors.experiments.others import EFFICIENTNET_LITE0


def _demo(original: Experiment, **changes: Any) -> Experiment:
    """A network of the original solution that learns the simulated competition in minutes."""
    small = {
        "name": f"{original.family}_demo",
        "resampling": "mean",
        "stride": 8,
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


def _smoke(demo: Experiment) -> Experiment:
    """The demo's network after four steps: does it run at all?"""
    return replace(demo, name=f"{demo.family}_smoke", steps=4, warmup=1, save_every=2)


# Family and code path of the original, shrunk to what two cores train in minutes on the simulated competition. Small
# patches, because a motor teaches as much in a small one; coarse voxels, 8 to a cell to keep cells narrow.
RESNEXT50_DEMO = _demo(
    RESNEXT50,
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
    lightly=0.4,
    overlap=0.34,
    batch=2,  # with 1, torch takes its slow 3D convolutions on a CPU
    steps=850,
)

RESNEXT50_SMOKE = _smoke(RESNEXT50_DEMO)

# A quarter of the growth and a third of the layers of DenseNet-121, behind three small kernels instead of one of 7³.
DENSENET121_DEMO = replace(
    RESNEXT50_DEMO,
    name="densenet121_demo",
    family="densenet121",
    encoder="smp/tu-densenet121",
    encoder_options={"growth_rate": 8, "block_config": [2, 4, 8, 6], "stem_type": "deep"},
    steps=1000,
)

DENSENET121_SMOKE = _smoke(DENSENET121_DEMO)

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

X3D_M_SMOKE = _smoke(X3D_M_DEMO)

# In 2D a patch takes in most of a slice of the demo. The same blocks, fewer and narrower.
MAXVIT_TINY_DEMO = _demo(
    MAXVIT_TINY,
    encoder_options={"depths": [1, 1, 2, 1], "embed_dim": [8, 16, 32, 64], "stem_width": 8, "transformer_dim_head": 8},
    neck_channels=16,
    decoder_channels=48,
    patch=(3, 128, 128),
    spacing=(2 * RESNEXT50_DEMO.spacing[0], *RESNEXT50_DEMO.spacing[1:]),  # slices twice as thick
    steps=950,
)

MAXVIT_TINY_SMOKE = _smoke(MAXVIT_TINY_DEMO)

COAT_MEDIUM_DEMO = replace(
    MAXVIT_TINY_DEMO,
    name="coat_medium_demo",
    family="coat_medium",
    encoder=COAT_MEDIUM.encoder,
    encoder_options={"serial_depths": [1, 1, 2, 1], "embed_dims": [32, 48, 64, 96]},
    normalisation=COAT_MEDIUM.normalisation,
    steps=1000,
)

COAT_MEDIUM_SMOKE = _smoke(COAT_MEDIUM_DEMO)

# A whole network, not a shrunk one: it begins with ImageNet weights and needs few steps. So few that an average over
# the last hundred of them would still hold some of the weights it began with: this one goes over the last twenty. Its
# shares of background and of patches that are only turned were not varied: it was tried with these.
EFFICIENTNET_LITE0_DEMO = replace(
    MAXVIT_TINY_DEMO,
    name="efficientnet_lite0_demo",
    family="efficientnet_lite0",
    encoder=EFFICIENTNET_LITE0.encoder,
    encoder_options={},
    background=1.0,
    lightly=0.4,
    optimiser="adamw",
    learning_rate=2e-3,
    average=0.95,
    steps=300,
)

EFFICIENTNET_LITE0_SMOKE = _smoke(EFFICIENTNET_LITE0_DEMO)
