"""One answer from many: fusing what several networks say, and deciding which tomograms have a motor."""

from motors.fusion.answers import answer, best
from motors.fusion.points import fuse, fuse_boxes, fuse_points
from motors.fusion.ways import WAYS, combine, fuse_grids

__all__ = ["WAYS", "answer", "best", "combine", "fuse", "fuse_boxes", "fuse_grids", "fuse_points"]
