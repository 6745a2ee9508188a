"""`python -m motors` is the command `motors`."""

import sys

from motors.cli import main

sys.exit(main())
