"""Which patches a network sees: epochs as functions of the tables, and torch datasets that make the samples."""

from motors.patches.blocks import Block, Blocks
from motors.patches.epochs import START, Epoch, prepared, shuffled, windows

__all__ = ["START", "Block", "Blocks", "Epoch", "prepared", "shuffled", "windows"]
