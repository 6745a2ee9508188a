"""The networks at their full size: one optimiser step on one real-size patch, on a machine with 16 GiB.

Slow: minutes to half an hour for each network. `python -m pytest tests/test_full_size.py -m slow -s` says what it took.
"""

import json
import subprocess
import sys

import pytest

from motors.experiments.catalogue import EXPERIMENTS

GIBIBYTE = 2**30
LIMIT = 16 * GIBIBYTE
FULL = sorted(name for name, each in EXPERIMENTS.items() if name == each.family)

STEP = """
import json, resource, sys, tempfile, time
from dataclasses import replace

import torch

from motors.experiments import catalogue
from motors.training.run import train

name, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # rather no memory for this than none for the others
one = dict(checkpointing=True, batch=1, accumulate=1, steps=1, stop_at=None, warmup=0, save_every=1)
experiment = replace(catalogue.get(name), **one)


class OnePatch(torch.utils.data.Dataset):
    def __getitem__(self, k):
        shape = experiment.patch if experiment.is_2d else (1, *experiment.patch)
        grid = experiment.grid if experiment.is_2d else (1, *experiment.grid)
        generator = torch.Generator().manual_seed(k)
        image = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return {"image": image, "target": torch.rand(grid, generator=generator) ** 9}


with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    train(experiment, OnePatch(), folder, workers=0, accelerator="cpu")
    seconds = time.perf_counter() - start
    step, loss, *_ = open(f"{folder}/metrics.csv").read().splitlines()[1].split(",")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"step": int(step), "loss": float(loss), "peak": peak, "seconds": seconds}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_a_full_size_network_takes_a_step_within_16_gib(name):
    """In float32 on a CPU, with the optimiser, the averaged weights and all libraries; activations are recomputed."""
    command = [sys.executable, "-c", STEP, name, str(LIMIT + GIBIBYTE)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    took = json.loads(answer.stdout.splitlines()[-1])
    sys.stdout.write(f"{name}: {took['peak'] / GIBIBYTE:.1f} GiB, {took['seconds']:.0f} s, loss {took['loss']:.3f}\n")
    assert took["step"] == 1 and 0 < took["loss"] < 2
    assert took["peak"] <= LIMIT
