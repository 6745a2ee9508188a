"""From a trained network and a tomogram to candidates."""

from motors.inference.detection import detect, detect_all
from motors.inference.tiling import cell_strides, heatmap, logits, snug_patch

__all__ = ["cell_strides", "detect", "detect_all", "heatmap", "logits", "snug_patch"]
