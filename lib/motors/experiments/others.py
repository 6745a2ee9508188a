"""Other networks that the original solution tried or might have: full size, each trained as one of the final five."""

from dataclasses import replace

from motors.experiments.config import Experiment
from motors.experiments.original import DENSENET121, MAXVIT_TINY, X3D_M

# 2D networks, inflated as the DenseNet-121 is.
INFLATED = {
    "resnet18": "smp/resnet18",
    "resnet34": "smp/resnet34",
    "resnet50": "smp/resnet50",
    "resnet101": "smp/resnet101",
    "resnext101": "smp/resnext101_32x8d",
    "se_resnet50": "smp/se_resnet50",
    "densenet161": "smp/densenet161",
    "densenet169": "smp/densenet169",
    "densenet201": "smp/densenet201",
    "efficientnet_b0": "smp/tu-efficientnet_b0",
    "efficientnet_b2": "smp/tu-efficientnet_b2",
}

# 2D networks that see every other slice of a block with its neighbours; between their stages depth is halved.
SLICED = {
    "convnext_nano_slices": "slices/convnext_nano.in12k_ft_in1k",
    "convnext_tiny_slices": "slices/convnext_tiny.in12k_ft_in1k",
    "efficientnet_b0_slices": "slices/efficientnet_b0.ra_in1k",
}

# 2D networks for three slices.
SLICES = {
    "convnext_tiny": "timm/convnext_tiny.in12k_ft_in1k",
    "convnext_small": "timm/convnext_small.in12k_ft_in1k",
    "efficientnet_b0_2d": "timm/efficientnet_b0.ra_in1k",
    "efficientvit_b1": "timm/efficientvit_b1.r224_in1k",
    "swinv2_tiny": "timm/swinv2_tiny_window8_256.ms_in1k",
}

# A small 2D network whose ImageNet weights come in a pip package: the demo can start from them, offline.
EFFICIENTNET_LITE0 = replace(
    MAXVIT_TINY, name="efficientnet_lite0", family="efficientnet_lite0", encoder="timm/tf_efficientnet_lite0.in1k"
)

OTHERS: tuple[Experiment, ...] = (
    *(replace(DENSENET121, name=name, encoder=encoder) for name, encoder in (INFLATED | SLICED).items()),
    replace(X3D_M, name="x3d_m_pan", neck="pan"),
    replace(X3D_M, name="x3d_l", encoder="x3d/l"),
    *(replace(MAXVIT_TINY, name=name, encoder=e, normalisation="imagenet") for name, e in SLICES.items()),
)
