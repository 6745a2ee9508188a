"""The five networks of the original solution, as it trained them."""

from dataclasses import replace

from motors.experiments.config import Experiment

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
    background=0.25,
    batch=4,
    accumulate=8,
    steps=16_100,
    stop_at=10_000,  # mid-schedule: the original solution used this checkpoint
    save_every=10_000,
    seed=42,
    fold=0,
)
