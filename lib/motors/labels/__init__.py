"""Where the motors are: one table of tomograms, one of motors, and the files they come from and go to."""

from motors.labels.agreement import agreement, compare, describe, nearest_pairs
from motors.labels.external import gather, read_external, read_native
from motors.labels.files import (
    MOTOR_AXES,
    read,
    read_competition,
    read_wide,
    to_wide,
    write,
    write_competition,
    wrong_counts,
)
from motors.labels.joining import additions, join
from motors.labels.splitting import folds
from motors.labels.table import MOTORS, NO_MOTOR, POINT, SIZE, TOMOGRAMS, Labels, need, numbers, read_table, refuse

__all__ = [
    "MOTORS",
    "MOTOR_AXES",
    "NO_MOTOR",
    "POINT",
    "SIZE",
    "TOMOGRAMS",
    "Labels",
    "additions",
    "agreement",
    "compare",
    "describe",
    "folds",
    "gather",
    "join",
    "nearest_pairs",
    "need",
    "numbers",
    "read",
    "read_competition",
    "read_external",
    "read_native",
    "read_table",
    "read_wide",
    "refuse",
    "to_wide",
    "write",
    "write_competition",
    "wrong_counts",
]
