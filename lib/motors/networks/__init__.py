"""The networks: built from an experiment, saved beside it, loaded from there."""

from motors.former import names_of

__getattr__ = names_of(__name__)  # names of version 0.1
