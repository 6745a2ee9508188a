"""Random views of a tomogram for training: `draw` decides at random what is done to a patch, `view` does it."""

from motors.augment3d.chance import AFFINES, GREY, RESAMPLINGS, Draw, draw
from motors.augment3d.quality import coarsen, drop_boxes, grey_table, regrade
from motors.augment3d.views import move, source_map, view
from motors.augment3d.warp import warp, warp_blocks

__all__ = [
    "AFFINES",
    "GREY",
    "RESAMPLINGS",
    "Draw",
    "coarsen",
    "draw",
    "drop_boxes",
    "grey_table",
    "move",
    "regrade",
    "source_map",
    "view",
    "warp",
    "warp_blocks",
]
