"""The former name of the command: `python -m motors` is what it is called now."""

import sys
from importlib import import_module

sys.exit(import_module("motors.cli").main())
