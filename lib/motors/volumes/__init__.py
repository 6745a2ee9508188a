"""Tomograms: reading, resampling and quality control."""

from motors.former import names_of

__getattr__ = names_of(__name__)  # names of version 0.1
