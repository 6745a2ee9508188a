"""Where the motors are: one table of tomograms, one of motors, and the files they come from and go to."""

from motors.former import names_of

__getattr__ = names_of(__name__)  # names of version 0.1
