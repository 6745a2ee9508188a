"""What the strict runner costs, beside papermill itself: seconds for a notebook of twenty trivial cells."""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import toys

REPEATS = 5


def seconds(command: list[str], root: Path) -> tuple[float, float]:
    """Wall time and processor time of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


with tempfile.TemporaryDirectory() as folder:
    root = toys.workspace(Path(folder) / "clone")
    toys.notebook(root, "twenty", *["1 + 1"] * 18)
    python = [sys.executable, "-m"]
    ways = {
        "papermill": [*python, "papermill", "notebooks/twenty.ipynb", "out.ipynb", "--cwd", "notebooks"],
        "strict runner": [*python, "motors", "run", "notebooks/twenty.ipynb"],
    }
    for way, command in ways.items():
        times = [seconds(command, root) for _ in range(REPEATS + 1)][1:]  # the first one warms up
        wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{way:15s} {wall:5.2f} s, of these {processor:5.2f} s on a processor (medians of {REPEATS})")
