"""All notebooks of a profile: what is current is skipped, what changed is run, what failed is said."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import toys
import yaml

from motors.pipeline.graph import steps
from motors.pipeline.reproduce import keep, reproduce
from motors.workspace import paths
from motors.workspace.files import write_json

PLAN = """
graph: {00_first: [], 01_look: [00_first], 10_middle: [00_first], 20_last: [10_middle]}
alone: {demo: [20_last]}
profiles:
  demo: {00_first: , 10_middle: {STEPS: 7}, 20_last: }
  smoke: {00_first: , 10_middle: }
  full: {01_look: , 20_last: }
"""
SCORE = "workspace.write_json(run.output / 'score.json', dict(f2=0.91, low=0.8, high=0.97, f2_original_quantile=0.88))"


@pytest.fixture
def root(tmp_path):
    """A workspace of four toy notebooks; the demo runs three of them."""
    root = toys.workspace(tmp_path / "clone")
    toys.notebook(root, "00_first")
    toys.notebook(root, "01_look", "run.input('00_first')")
    toys.notebook(root, "10_middle", "run.input('00_first')\nprint(STEPS)")
    toys.notebook(
        root, "20_last", "run.input('10_middle')", SCORE + "\n(run.output / 'submission.csv').write_text('x')"
    )
    toys.graph(root, PLAN)
    return root


def said(root, *arguments) -> tuple[int, list[str]]:
    """Reproduce, and return the exit code and the lines that were said."""
    answer = toys.command(root, "reproduce", "--cores", "2", *arguments)
    return answer.returncode, answer.stderr.splitlines()


def plan_of(lines: list[str]) -> dict[str, str]:
    """What was said about each step beforehand."""
    return {line.split(": ")[0]: line.split(": ", 1)[1] for line in lines if line.endswith(("will run", "current"))}


def test_a_step_waits_for_those_that_the_left_out_ones_wait_for(root):
    """A profile that leaves a notebook out keeps the order of the others."""
    found = paths.find(root)
    waiting = {name: [s.run.notebook for s in step.after] for name, step in steps(found, "demo").items()}
    assert waiting == {"00_first": [], "10_middle": ["00_first"], "20_last": ["10_middle"]}
    assert [s.run.notebook for s in steps(found, "full")["20_last"].after] == []
    toys.graph(root, PLAN.replace("full: {01_look: , 20_last: }", "full: {00_first: , 20_last: }"))
    assert [s.run.notebook for s in steps(found, "full")["20_last"].after] == ["00_first"]
    assert steps(found, "demo")["10_middle"].parameters == {"PROFILE": "demo", "SEED": 0, "STEPS": 7}


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (PLAN.replace("10_middle: {", "10_midle: {"), "runs 10_midle, which the graph does not know"),
        (PLAN.replace("10_middle", "15_gone"), "names 15_gone, but there is no 15_gone.ipynb"),
        (PLAN.replace("demo:", "laptop:"), "no profile 'demo': choose one of laptop, smoke, full"),
        (
            PLAN.replace("01_look: [00_first]", "01_look: [00_frist]"),
            "01_look waits for 00_frist, which the graph does",
        ),
        (PLAN.replace("00_first: []", "00_first: [20_last]"), "00_first waits for 20_last, which does not stand above"),
        (
            PLAN.replace("[10_middle]", "[20_last]"),
            "20_last waits for 20_last, which does not stand above it: move it up",
        ),
        (PLAN.replace("01_look: [00_first]", "01_look: 00_first"), "01_look in graph is '00_first': make it a list"),
        (PLAN.replace("demo: [20_last]", "demo: [20_lats]"), "demo runs alone 20_lats, which the graph does not know"),
        (PLAN.replace("alone: {demo", "alone: {dmeo"), "alone has dmeo, which is no profile"),
        (PLAN.replace("alone: {demo: [20_last]}\n", ""), "experiments.yaml has no table alone: write one"),
        (PLAN.replace("smoke: {00_first: , 10_middle: }", "smoke:"), "smoke in profiles is None: make it a dict"),
        (PLAN.replace("{STEPS: 7}", "STEPS=7"), "demo gives 10_middle no table of settings: write {NAME: value}"),
        (PLAN.replace("[20_last]}", "[20_last}"), "experiments.yaml is no YAML: while parsing .* line 3"),
        ("", "experiments.yaml has no table graph: write one"),
    ],
)
def test_a_plan_that_does_not_fit_the_notebooks_is_one_sentence(root, plan, sentence):
    """Before anything runs."""
    toys.graph(root, plan)
    with pytest.raises(ValueError, match=sentence):
        reproduce("demo", start=root)


def test_a_dry_run_says_what_waits_for_what_and_what_it_takes(root):
    """Estimates are called so, limits too; what is done by hand is listed; hours and disk are added up."""
    expect = """
expect:
  full:
    make data: {disk: 70}
    00_first: {hours: 0.5}
    20_last: {hours: ~2, disk: 180, gpu: <48}
"""
    toys.graph(root, PLAN.replace("full: {01_look: , 20_last: }", "full: {00_first: , 01_look: , 20_last: }") + expect)
    _, lines = said(root, "--profile", "full", "--dry-run")
    assert lines[lines.index("what waits for what, and what it is expected to take:") + 1 :] == [
        "  make data: by hand; 70 GB on disk",
        "  00_first: first; 0.5 h",
        "  20_last: after 00_first; 2 h (estimated); 180 GB on disk; less than 48 GB of GPU memory",
        "  01_look: after 00_first",
        "in all 2 h one after the other; 250 GB on disk; a GPU with 48 GB",
    ]
    _, lines = said(root, "--dry-run")
    graph = ["  00_first: first", "  10_middle: after 00_first", "  20_last: after 10_middle"]
    assert lines[lines.index("what waits for what:") + 1 :] == graph


def test_the_full_profile_says_what_each_of_its_steps_takes():
    """All have hours, those that train or predict a GPU; data come first, with their 70 and 180 GB."""
    expected = yaml.safe_load((toys.REPOSITORY / "notebooks" / "experiments.yaml").read_text())["expect"]["full"]
    plan = steps(paths.find(toys.REPOSITORY), "full")
    assert {name for name in plan if "hours" not in expected.get(name, {})} == set()
    assert {name for name in plan if "gpu" not in expected[name] and ("train" in name or name[0] == "9")} == set()
    assert list(expected.items())[:2] == [("make data", {"disk": 70}), ("13_external_data", {"disk": 180})]


def test_finished_steps_are_skipped_and_changed_ones_run_with_what_follows(root):
    """The first run says the score and where things lie; a dry run does nothing; a remark changes nothing."""
    assert set(plan_of(said(root, "--dry-run")[1]).values()) == {"will run"}
    assert not (root / "outputs" / "00_first").exists()
    code, lines = said(root)
    assert code == 0
    assert "F2 0.910 on the hidden test (95 % interval 0.800 to 0.970; 0.880 at the original" in " ".join(lines)
    assert "submission: outputs/20_last/demo/submission.csv" in lines
    assert "  outputs/10_middle/demo/10_middle.ipynb" in lines
    assert toys.record(root, "10_middle")["parameters"]["STEPS"] == 7

    code, lines = said(root)
    assert (code, set(plan_of(lines).values())) == (0, {"skipped: current"})
    assert "submission: outputs/20_last/demo/submission.csv" in lines
    assert not any("succeeded" in line for line in lines)

    toys.notebook(root, "10_middle", "run.input('00_first')\nprint(STEPS)  # a remark")
    assert set(plan_of(said(root, "--dry-run")[1]).values()) == {"skipped: current"}
    toys.graph(root, PLAN.replace("STEPS: 7", "STEPS: 8"))
    changed = {"00_first": "skipped: current", "10_middle": "will run", "20_last": "will run"}
    assert plan_of(said(root, "--dry-run")[1]) == changed
    toys.graph(root, PLAN)
    toys.notebook(root, "10_middle", "run.input('00_first')\nprint(STEPS + 1)")
    assert plan_of(said(root)[1]) == changed
    assert toys.record(root, "10_middle")["started"] > toys.record(root, "00_first")["started"]


def test_a_failure_is_said_and_gone_on_from(root):
    """Its executed notebook is kept, what follows is not run, and the steps before it are not run again."""
    toys.notebook(root, "10_middle", "raise ValueError('no motors today')")
    code, lines = said(root)
    assert code == 1
    sentence = "10_middle failed: cell 4: ValueError: no motors today (see outputs/10_middle/demo/10_middle.ipynb)"
    assert sentence in lines
    assert (root / "outputs" / "10_middle" / "demo" / "10_middle.ipynb").exists()
    assert not (root / "outputs" / "20_last").exists()
    toys.notebook(root, "10_middle", "2")
    code, lines = said(root)
    assert code == 0
    assert plan_of(lines)["00_first"] == "skipped: current"
    assert toys.record(root, "20_last")["status"] == "succeeded"


def test_a_step_that_was_run_by_hand_is_not_taken_for_the_plans(root):
    """It may have run with other values."""
    assert said(root, "--profile", "smoke")[0] == 0
    toys.command(root, "run", "notebooks/10_middle.ipynb", "-p", "PROFILE", "smoke", "-p", "STEPS", "1")
    found = plan_of(said(root, "--profile", "smoke", "--dry-run")[1])
    assert found == {"00_first": "skipped: current", "10_middle": "will run"}


def test_who_waits_for_a_step_that_ran_again_runs_again_too(root):
    """Also when the reproduction ended in between: then only the time of the step's mark tells."""
    assert said(root, "--profile", "smoke")[0] == 0
    toys.notebook(root, "00_first", "'another first step'")
    line = ["--snakefile", "notebooks/Snakefile", "--cores", "1", "--config", "profile=smoke", "seed=0"]
    line += ["--until", "run_00_first"]
    subprocess.run([sys.executable, "-m", "snakemake", *line], cwd=root, check=True, capture_output=True)
    found = plan_of(said(root, "--profile", "smoke", "--dry-run")[1])
    assert found == {"00_first": "skipped: current", "10_middle": "will run"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_reproduction_is_gone_on_with(root, number):
    """Nothing is left running, nobody has to unlock anything, and the finished step is skipped."""
    slow = "import os, time\n(run.output / 'pid').write_text(str(os.getpid()))\ntime.sleep(60)"
    toys.notebook(root, "10_middle", slow)
    process = toys.start(root, "reproduce", "--profile", "smoke")
    mark = root / "outputs" / "10_middle" / "smoke" / "pid"
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    kernel = int(mark.read_text())
    if number == signal.SIGINT:
        process.send_signal(number)
    else:  # a machine that lost power: everybody at once
        other = toys.command(root, "reproduce", "--profile", "smoke")
        assert (other.returncode, "another reproduction is running" in other.stderr) == (2, True)
        _kill_with_children(process.pid)
    assert process.wait(timeout=30) != 0
    deadline = time.monotonic() + 10
    while toys.alive(kernel) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not toys.alive(kernel)
    assert toys.record(root, "10_middle", "smoke")["status"] == (
        "interrupted" if number == signal.SIGINT else "running"
    )
    toys.notebook(root, "10_middle", "2")
    code, lines = said(root, "--profile", "smoke")
    assert code == 0
    assert plan_of(lines) == {"00_first": "skipped: current", "10_middle": "will run"}


def test_kept_notebooks_are_the_executed_ones_without_what_changes_from_run_to_run(root):
    """Outputs and counts are taken over; a notebook that has changed since is refused; keeping changes no code."""
    toys.graph(root, PLAN.replace("{STEPS: 7}, 20_last: ", ""))
    assert said(root)[0] == 0
    assert toys.command(root, "keep").returncode == 0
    path = root / "notebooks" / "10_middle.ipynb"
    kept = json.loads(path.read_text())
    counts = [cell["execution_count"] for cell in kept["cells"] if cell["cell_type"] == "code"]
    assert counts == [1, 2, 3]
    assert "".join(kept["cells"][-1]["outputs"][0]["text"]) == "3\n"
    assert "papermill" not in path.read_text()
    assert "iopub" not in path.read_text()
    assert set(plan_of(said(root, "--dry-run")[1]).values()) == {"skipped: current"}
    toys.notebook(root, "10_middle", "3")
    answer = toys.command(root, "keep")
    assert answer.returncode == 2
    assert "10_middle has not been run as it is now" in answer.stderr


def test_a_step_whose_executed_notebook_is_gone_is_not_kept(root):
    """One sentence, although its mark of success is still there."""
    step = steps(paths.find(root), "demo")["00_first"]
    (step.run.output / "finished").touch()
    with pytest.raises(ValueError, match="00_first has not been run as it is now, .*: reproduce demo first"):
        keep("demo", start=root)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("seed", "name"), [("0", "demo"), ("1", "demo-seed1")])
def test_a_review_makes_only_what_it_reads_and_has_not_succeeded(root, seed, name):
    """However it was run; the experiment itself runs each time, and nothing runs after a failure."""
    python = root / ".venv" / "bin" / "motors"
    python.parent.mkdir(parents=True)
    (root / "lib").mkdir()
    for file in (root / "lib" / "pyproject.toml", python.parents[1] / "installed"):
        file.touch()
    for notebook, status in (("00_start_here", "succeeded"), ("10_prepare_labels", "failed")):
        write_json(root / "outputs" / notebook / name / "record.json", {"status": status, "error": None})
    write_json(root / "outputs" / "32_review_experiment" / name / "record.json", {"status": "succeeded"})
    line = ["make", "-f", toys.REPOSITORY / "Makefile", "review", "VENV=.venv", "PROFILE=demo", f"SEED={seed}"]
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    for code, ran in (
        (0, ["10_prepare_labels", "11_prepare_volumes", "32_review_experiment"]),
        (1, ["10_prepare_labels"]),
    ):
        python.write_text(f'#!/bin/sh\necho "$@" >> {root}/calls\nexit {code}\n')
        python.chmod(0o755)
        answer = subprocess.run(line, cwd=root, env=surroundings, capture_output=True, text=True, check=False)
        assert (answer.returncode == 0) == (code == 0), answer.stderr
        calls = (root / "calls").read_text().splitlines()
        values = f"-p PROFILE demo -p SEED {seed}"
        assert calls == [f"run notebooks/{notebook}.ipynb {values}" for notebook in ran]
        (root / "calls").unlink()


def _kill_with_children(pid: int) -> None:
    """Kill a process that the test started and what that has started, but no kernel: it has to notice by itself."""
    lines = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in lines.splitlines()]
    family = {pid}
    for _ in range(5):
        family |= {int(row[0]) for row in rows if int(row[1]) in family and "ipykernel" not in row[2]}
    for member in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
