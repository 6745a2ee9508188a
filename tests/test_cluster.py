"""The graph on a real scheduler: SLURM on this machine, see cluster.py; only where MOTORS_SLURM=1 asks for it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cluster
import pandas as pd
import pytest
import rehearsal
import toys

SHARDS, TOMOGRAMS = 3, 24
PLAN = """
graph: {90_submit: []}
alone: {smoke: [90_submit]}
profiles: {smoke: {90_submit: {POLICY: carry on}}}
sharded: [90_submit]
"""
PROFILE = """
slurm-init-seconds-before-status-checks: 1
slurm-status-command: squeue
slurm-no-account: true
seconds-between-status-checks: 2
"""


def reason() -> str:
    """Why the test is skipped, if it is."""
    if os.environ.get("MOTORS_SLURM") != "1":
        return "it starts SLURM's daemons for some minutes: ask for it with MOTORS_SLURM=1"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return 'the plugin is missing: pip install -e "./lib[slurm]"'
    return cluster.missing()


pytestmark = [pytest.mark.slow, pytest.mark.kernel, pytest.mark.skipif(bool(reason()), reason=reason())]


@contextmanager
def started(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster; the environment in which Snakemake and its jobs use it, and the library as it lies here."""
    for name in ("profile", "slurm"):
        (folder / name).mkdir()
    (folder / "profile" / "config.yaml").write_text(PROFILE)
    library = {"PYTHONPATH": str(toys.REPOSITORY / "lib"), "OMP_NUM_THREADS": "1"}
    with cluster.cluster(folder / "slurm") as environment:
        yield environment | library | {"SNAKEMAKE_PROFILE": str(folder / "profile")}


def scheduler(environment: dict[str, str], *words: str) -> str:
    """Return what a command of SLURM says."""
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


def wait_for(done, process: subprocess.Popen, seconds: float = 900) -> None:
    """Wait until something is true, while a process runs."""
    end = time.monotonic() + seconds
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)


def test_shards_on_a_cluster_survive_a_killed_job_and_a_drained_node_and_nothing_is_computed_twice(tmp_path):
    """One job in the midst of its tomograms is killed, the node drained and resumed: finished all the same."""
    home = rehearsal.workspace(tmp_path / "home")
    rehearsal.simulate(home.new_dataset("motors-simulated-smoke"), TOMOGRAMS)
    toys.graph(home.root, PLAN)
    output, seen = home.run("90_submit", "smoke").folder, {}

    def computed() -> int:
        for path in (output / "candidates").glob("*/*.source"):
            seen.setdefault(path, set()).add(path.stat().st_mtime_ns)
        return len(seen)

    with started(tmp_path) as environment, ExitStack() as stack:
        line = [sys.executable, "-m", "motors", "reproduce", "--profile", "smoke", "--executor", "slurm"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [*line, "--shards", str(SHARDS)], cwd=home.root, env=environment, stdout=log, stderr=log
            )
            stack.callback(process.kill)  # nothing once it has ended
            wait_for(lambda: computed() >= 3, process)
            killed = scheduler(environment, "squeue", "-h", "-r", "-t", "R", "-o", "%i").split()[0]
            scheduler(environment, "scancel", "--signal=KILL", "--full", killed)
            scheduler(environment, "scontrol", "update", f"nodename={cluster.NODE}", "state=drain", "reason=test")
            assert "drain" in cluster.node_state(environment)
            wait_for(lambda: computed() and cluster.node_state(environment).startswith("drained"), process)
            scheduler(environment, "scontrol", "update", f"nodename={cluster.NODE}", "state=resume")
            wait_for(lambda: computed() and (output / "finished").is_file(), process)
            assert process.wait(120) == 0, (tmp_path / "log").read_text()
        jobs = scheduler(environment, "squeue", "-h", "-t", "all", "-o", "%i %T")
    computed()
    assert len(jobs.splitlines()) >= SHARDS + 2, jobs  # one of them once more, and who gathers
    assert {len(times) for times in seen.values()} == {1}
    passes = json.loads((output / "provenance.json").read_text())["backends"]
    assert len(passes) == 4 and not any(passes.values())  # the gathering run computed nothing itself
    assert len(pd.read_csv(output / "submission.csv")) == TOMOGRAMS


def test_folds_are_trained_as_jobs_and_judged_together(tmp_path):
    """Two folds of one network: each step a job of the cluster, and one table over both folds in the end."""
    root = toys.workspace(tmp_path / "home")
    shutil.rmtree(root / "notebooks")
    shutil.copytree(toys.REPOSITORY / "notebooks", root / "notebooks")
    with started(tmp_path) as environment:
        line = [sys.executable, "-m", "motors", "reproduce", "--profile", "smoke", "--executor", "slurm"]
        line += ["--folds", "2", "--networks", "x3d_m"]
        done = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        jobs = scheduler(environment, "squeue", "-h", "-t", "all", "-o", "%i %T").splitlines()
    assert len(jobs) >= 7 and all(job.endswith("COMPLETED") for job in jobs)  # 00, 10, 11, two folds, 30, 33, 40
    (table,) = (root / "outputs" / "30_validate").glob("*/networks.csv")
    assert {"fold 0", "fold 1"} <= set(pd.read_csv(table).columns)
