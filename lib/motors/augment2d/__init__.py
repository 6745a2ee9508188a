"""Random views of slices for training: `draw` decides at random what is done to a triplet, `view` does it."""

from motors.augment2d.chance import BRIGHTNESS, GROUPS, RESIZINGS, Draw, draw
from motors.augment2d.quality import change
from motors.augment2d.views import FILL, canvas, crop, move, view

__all__ = [
    "BRIGHTNESS",
    "FILL",
    "GROUPS",
    "RESIZINGS",
    "Draw",
    "canvas",
    "change",
    "crop",
    "draw",
    "move",
    "view",
]
