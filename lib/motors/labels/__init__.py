"""Labels: a table of tomograms and one of motors, and the files they are read from and written to."""

from motors.former import names_of

__getattr__ = names_of(__name__)  # names of version 0.1
