"""Which patches a network sees: epochs as functions of the tables, and torch datasets that make the samples."""

from motors.patches.blocks import Block, Blocks
from motors.patches.epochs import START, Epoch, SliceEpoch, motor_slices, prepared, shuffled, windows
from motors.patches.slices import Slices, Triplet

__all__ = [
    "START",
    "Block",
    "Blocks",
    "Epoch",
    "SliceEpoch",
    "Slices",
    "Triplet",
    "motor_slices",
    "prepared",
    "shuffled",
    "windows",
]
