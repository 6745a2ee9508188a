"""How a network is trained: loss, schedule, averaged weights, and `train`, which a kill does not change."""

from motors.training.callbacks import WeightAverage, newest
from motors.training.recipe import Stream, Training, learning_rate, loss
from motors.training.run import train

__all__ = ["Stream", "Training", "WeightAverage", "learning_rate", "loss", "newest", "train"]
