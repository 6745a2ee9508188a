"""Former entry point of the command line; use `python -m motors` instead."""

import sys
from importlib import import_module

sys.exit(import_module("motors.cli").main())
