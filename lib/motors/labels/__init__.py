"""Where the motors are: one table of tomograms, one of motors, and the files they come from and go to."""
