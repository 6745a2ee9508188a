"""What every training in a process of its own reads first, read once before they are forked: modules and their code."""

import test_training

from motors.workspace.code_hash import code_of

code_of(test_training.training_run.__name__, "motors.networks.factory")
