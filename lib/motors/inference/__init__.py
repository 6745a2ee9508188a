"""From a trained network and a tomogram to candidates."""

from motors.inference.detection import detect, detect_all
from motors.inference.grids import Grid, kept
from motors.inference.tiling import cell_strides, heatmap, logits, snug_patch, tiles_at_once

__all__ = ["Grid", "cell_strides", "detect", "detect_all", "heatmap", "kept", "logits", "snug_patch", "tiles_at_once"]
