"""The experiments of the original solution by number, EXP01 to EXP31: what each tried and what it scored.

Scores are its author's, on the public leaderboard (P: the private one); "alone" means trained on the
competition's own tomograms, without external ones. EXP17 is in none of his lists. The labels of a training are chosen
in `10_prepare_labels`, so experiments that differed in labels only (21 and 23; 19 and 25) have the same settings here.

Tried by him and left out here: I3D, MViT, Hiera, MedNeXt and TSM are in none of the libraries of the other
encoders, none was in his final ensemble, and each would be a vendored network of its own to maintain.
"""

from dataclasses import replace
from typing import Any

from motors.experiments.config import Experiment
from motors.experiments.original import COAT_MEDIUM, DENSENET121, MAXVIT_TINY, RESNEXT50, X3D_M

NUMBERED: dict[str, Experiment] = {}
TRIED: dict[str, str] = {}  # by name: what it tried and what it scored


def _tried(number: int, base: Experiment, remark: str, **changes: Any) -> Experiment:
    name = f"EXP{number:02d}"
    NUMBERED[name], TRIED[name] = replace(base, name=name, **changes), remark
    return NUMBERED[name]


CONVNEXT = "slices/convnext_tiny.in12k_ft_in1k"
PICO = {"encoder": "slices/maxvit_rmlp_pico_rw_256.sw_in1k", "encoder_options": {"lstm": True}, "normalisation": "half"}

EXP01 = _tried(1, X3D_M, "X3D-M, the first 3D network")
EXP02 = _tried(2, X3D_M, "X3D-L, a deeper X3D; 0.822 alone", encoder="x3d/l")
EXP03 = _tried(
    3,
    X3D_M,
    "cool-down: the X3D-M goes on, without augmentation, on tomograms with at most one motor; no gain. A fifth of the"
    " rate and of the steps is our guess",
    starts_from="EXP01",
    augment=False,
    most_motors=1,
    learning_rate=1e-4,
    steps=6000,
    warmup=0,
)
EXP04 = _tried(4, DENSENET121, "3D ResNet-101; 0.788 alone", encoder="smp/resnet101")
EXP05 = _tried(5, DENSENET121, "3D ResNet-50; 0.814 alone", encoder="smp/resnet50")
EXP06 = _tried(6, X3D_M, "X3D-M with mixup (alpha 1) in a fifth of the patches; no clear gain", mixup=0.2)
EXP07 = _tried(7, DENSENET121, "3D DenseNet-121; 0.806 alone")
EXP08 = _tried(8, DENSENET121, "ConvNeXt-tiny through slices, depth halved by averages; 0.824 alone", encoder=CONVNEXT)
EXP09 = _tried(9, EXP08, "the same with a bidirectional LSTM along z; 0.818 alone", encoder_options={"lstm": True})
EXP10 = _tried(10, EXP04, "3D ResNet-101 at a fifth of the rate", learning_rate=1e-4)
EXP11 = _tried(11, DENSENET121, "MaxViT-pico through slices with an LSTM; 0.770 alone", **PICO)
EFFICIENTNET = "slices/efficientnet_b0.ra_in1k"
EXP12 = _tried(12, EXP09, "EfficientNet-B0 through slices with an LSTM; 0.790 alone", encoder=EFFICIENTNET)
EXP13 = _tried(13, DENSENET121, "3D ResNeXt-50; 0.806 alone", encoder=RESNEXT50.encoder)
EXP14 = _tried(14, DENSENET121, "3D EfficientNet-B0; 0.748 alone", encoder="smp/tu-efficientnet_b0")
EXP15 = _tried(15, EXP11, "MaxViT-pico through slices with an LSTM, again")
EXP16 = _tried(16, X3D_M, "X3D-M with external tomograms; 0.858, P 0.836; in the final ensemble")
EXP18 = _tried(18, X3D_M, "X3D-M with the neck of two paths; 0.841", neck="pan")
EXP19 = _tried(19, COAT_MEDIUM, "2D CoaT-lite-medium; 0.848, P 0.833; in the final ensemble")
EXP20 = _tried(
    20, MAXVIT_TINY, "2D ConvNeXt; 0.833", encoder="timm/convnext_tiny.in12k_ft_in1k", normalisation="imagenet"
)
EXP21 = _tried(21, X3D_M, "X3D-M on the labels of the third review", steps=36_000)
EXP22 = _tried(22, EXP08, "ConvNeXt-tiny through slices with external tomograms; 0.848")
EXP23 = _tried(23, EXP21, "X3D-M on the labels of the third review, again; 0.848, P 0.846")
EXP24 = _tried(24, EXP08, "ConvNeXt-tiny through slices, again; 0.837, P 0.824")
EXP25 = _tried(25, COAT_MEDIUM, "2D CoaT-lite-medium on the labels of the third review")
EXP26 = _tried(26, EXP05, "3D ResNet-50 on the labels of the third review; 0.854, P 0.830")
EXP27 = _tried(27, MAXVIT_TINY, "2D MaxViT-tiny; 0.855, P 0.826; in the final ensemble")
EXP28 = _tried(28, DENSENET121, "3D DenseNet-121; 0.860, P 0.858; in the final ensemble")
EXP29 = _tried(29, EXP02, "X3D-L with external tomograms; 0.852, P 0.839")
EXP30 = _tried(30, EXP18, "neck of two paths and mixup in a tenth of the patches; 0.845, P 0.846", mixup=0.1)
EXP31 = _tried(31, RESNEXT50, "3D ResNeXt-50; 0.858, P 0.862; in the final ensemble")
