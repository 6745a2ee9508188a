"""All notebooks of a profile: what is current is skipped, what changed is run, what failed is said."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import date

import pytest
import toys
import yaml

from motors.experiments import catalogue
from motors.pipeline.asked import Request
from motors.pipeline.graph import declared, expectations, steps
from motors.pipeline.reproduce import keep, reproduce
from motors.pipeline.runner import run, visible_parameters
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
SCORE = "files.write_json(run.output / 'score.json', dict(f2=0.91, low=0.8, high=0.97, f2_original_quantile=0.88))"


@pytest.fixture
def root(tmp_path):
    """A workspace of four toy notebooks; the demo runs three of them."""
    return clone(tmp_path)


def clone(folder):
    """Make that workspace."""
    root = toys.workspace(folder / "clone")
    toys.notebook(root, "00_first")
    toys.notebook(root, "01_look", "run.input('00_first')")
    toys.notebook(root, "10_middle", "run.input('00_first')\nprint(STEPS)")
    toys.notebook(
        root, "20_last", "run.input('10_middle')", SCORE + "\n(run.output / 'submission.csv').write_text('x')"
    )
    toys.graph(root, PLAN)
    return root


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """Such a workspace whose demo has two notebooks, which have been reproduced."""
    root = clone(tmp_path_factory.mktemp("reproduced"))
    toys.graph(root, PLAN.replace("{STEPS: 7}, 20_last: ", ""))
    assert reproduce("demo", cores=2, start=root) == 0
    return root


@pytest.fixture
def finished(reproduced, tmp_path):
    """A copy of that workspace, with its times: the others find it as it was."""
    return shutil.copytree(reproduced, tmp_path / "clone")


def said(root, *arguments) -> tuple[int, list[str]]:
    """Reproduce, and return the exit code and the lines that were said."""
    answer = toys.command(root, "reproduce", "--cores", "2", *arguments)
    return answer.returncode, answer.stderr.splitlines()


def plan_of(lines: list[str]) -> dict[str, str]:
    """What was said about each step beforehand."""
    return {line.split(": ")[0]: line.split(": ", 1)[1] for line in lines if line.endswith(("will run", "current"))}


def planned(root, profile="demo") -> dict[str, str]:
    """What a dry run says about each step."""
    lines = []
    assert reproduce(profile, dry_run=True, start=root, say=lines.append) == 0
    return plan_of(lines)


def again(root, profile="demo") -> tuple[int, list[str]]:
    """Reproduce in this process, without the command's report, and return what `said` does."""
    lines = []
    return reproduce(profile, cores=2, start=root, say=lines.append), lines


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
        (PLAN.replace("10_middle: {", "10_midle: {"), "profiles, demo has 10_midle, which the graph does not know"),
        (PLAN.replace("10_middle", "15_gone"), "names 15_gone, but there is no 15_gone.ipynb"),
        (PLAN.replace("demo:", "laptop:"), "no profile 'demo': choose one of laptop, smoke, full"),
        (
            PLAN.replace("01_look: [00_first]", "01_look: [00_frist]"),
            "graph, 01_look has 00_frist, which the graph does",
        ),
        (PLAN.replace("00_first: []", "00_first: [20_last]"), "00_first waits for 20_last, which does not stand above"),
        (
            PLAN.replace("[10_middle]", "[20_last]"),
            "20_last waits for 20_last, which does not stand above it: move it up",
        ),
        (
            PLAN.replace("01_look: [00_first]", "01_look: 00_first"),
            "01_look in graph is '00_first': it should be a valid list",
        ),
        (PLAN.replace("demo: [20_last]", "demo: [20_lats]"), "alone, demo has 20_lats, which the graph does not know"),
        (PLAN.replace("alone: {demo", "alone: {dmeo"), "alone has dmeo, which the table of profiles does not know"),
        (PLAN.replace("alone: {demo: [20_last]}\n", ""), "experiments.yaml has no table alone: write one"),
        (
            PLAN.replace("smoke: {00_first: , 10_middle: }", "smoke:"),
            "smoke in profiles is None: it should be a valid dict",
        ),
        (
            PLAN.replace("{STEPS: 7}", "STEPS=7"),
            "10_middle in demo in profiles is 'STEPS=7': it should be a valid dict",
        ),
        (
            PLAN.replace("{STEPS: 7}", "{TITLE: null}"),
            "10_middle has 'TITLE': None, which is not text: put it in quotes",
        ),
        (PLAN.replace("{STEPS: 7}", "{TITLE: 7}"), "10_middle has 'TITLE': 7, which is not text: put it in quotes"),
        (PLAN.replace("{STEPS: 7}", "{TITLE: 007}"), "yaml, line 5: YAML reads 007 as another number: write that as"),
        (PLAN.replace("{STEPS: 7}", "{STEPS: 1:30}"), "yaml, line 5: YAML reads 1:30 as another number: write that as"),
        (PLAN + "sweeps: &all [*all]\n", "experiments.yaml is not YAML in UTF-8: maximum recursion"),
        (PLAN.replace("{STEPS: 7}", "{on: 7}"), "10_middle has True: 7, which is not text: put it in quotes"),
        (PLAN.replace("[20_last]}", "[20_last}"), "experiments.yaml is not YAML in UTF-8: while parsing .* line 3"),
        ("", "experiments.yaml has no table graph: write one"),
        (PLAN.replace("{STEPS: 7}", "{STEPS: 7, TITLE: a, STEPS: 8}"), "yaml, line 5: STEPS is there twice: keep one"),
        (PLAN + "graph: {}\n", "experiments.yaml, line 2: graph is there twice: keep one"),
        (PLAN.replace("{STEPS: 7}", "{STEP: 7}"), "10_middle has no parameter STEP: did you mean STEPS"),
        (PLAN.replace("{STEPS: 7}", "{STEPS: many}"), "10_middle: STEPS wants int, as its default 3; got 'many'"),
        (PLAN.replace("{STEPS: 7}", "{STEPS: [7]}"), r"10_middle: STEPS wants int, as its default 3; got \[7\]"),
        (PLAN.replace("{STEPS: 7}", "{PROFILE: full}"), "demo gives 10_middle PROFILE or SEED: the command says those"),
        (PLAN + "swepes: {}\n", "experiments.yaml has a table swepes, which nothing reads: did you mean sweeps"),
        (PLAN + "sweeps:\n", "sweeps is None: it should be a valid dict"),
        (PLAN + "sharded: 20_last\n", r"sharded is '20_last': it should be a valid list"),
        (PLAN + "across: [20_lats]\n", "across has 20_lats, which the graph does not know"),
        (PLAN + "products: {20_lats: [a.csv]}\n", "products has 20_lats, which the graph does not know"),
        (PLAN + "products: {20_last: a.csv}\n", "20_last in products is 'a.csv': it should be a valid list"),
        *(
            (PLAN + f"products: {{20_last: ['{name}']}}\n", "in products is .*: it should be files in the folder of")
            for name in ("/a/b.csv", "(/a/*)", "../a.csv", "a/..", "**.csv", "a**/b", "()", "")
        ),
        (PLAN + "expect: {dmeo: {}}\n", "expect has dmeo, which the table of profiles does not know"),
        (
            PLAN + "expect: {demo: {20_last: {hours: long}}}\n",
            "hours in 20_last in demo in expect is 'long': could not convert",
        ),
        (
            PLAN + "expect: {demo: {20_last: {hour: 3}}}\n",
            "hour in 20_last in demo in expect is 'hour': it should be 'hours', 'disk' or 'gpu'",
        ),
    ],
)
def test_a_plan_that_does_not_fit_the_notebooks_is_one_sentence(root, plan, sentence):
    """Before anything runs."""
    toys.graph(root, plan)
    toys.notebook(root, "10_middle", parameters=toys.PARAMETERS + 'TITLE: str = "a"\n')
    with pytest.raises(ValueError, match=sentence):
        reproduce("demo", start=root)


def test_a_parameters_cell_may_have_magics_and_mistakes(root):
    """As papermill, the graph looks at the Python in it; what is wrong with that is for the kernel to say."""
    toys.notebook(root, "10_middle", parameters=f"%matplotlib inline\n{toys.PARAMETERS}")
    assert declared(paths.find(root), "10_middle")["STEPS"] == 3
    toys.notebook(root, "10_middle", parameters=f"{toys.PARAMETERS}STEPS =")
    assert declared(paths.find(root), "10_middle") == {}


@pytest.mark.parametrize(
    "text", ['{"worksheets": [], "nbformat": 3}', '{"cells": [1]}', '{"cells": [{"cell_type": "code"}]}']
)
def test_a_notebook_of_another_format_is_one_sentence_in_the_graph(root, text):
    """An old one, or one that was edited by hand."""
    path = root / "notebooks" / "10_middle.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match="10_middle.ipynb is no notebook of format 4 .*: open it in JupyterLab"):
        steps(paths.find(root), "demo")


def test_notebooks_behind_a_link_are_not_taken_for_this_workspace(root, tmp_path):
    """Its outputs would be those of the other one; single notebooks may be links."""
    other = tmp_path / "other"
    (other / "kaggle_datasets").mkdir(parents=True)
    (other / "notebooks").symlink_to(root / "notebooks")
    with pytest.raises(ValueError, match="other/notebooks is a link, to notebooks of another workspace"):
        steps(paths.find(other), "demo")


def test_what_a_merged_table_of_the_plan_says_otherwise_is_not_there_twice(root):
    """YAML's own way to change one setting of many."""
    toys.graph(root, PLAN.replace("demo: {", "demo: &all {").replace("smoke: {00_first: , ", "smoke: {<<: *all, "))
    assert steps(paths.find(root), "smoke")["10_middle"].parameters == {"PROFILE": "smoke", "SEED": 0}


def test_nothing_runs_where_the_plan_is_no_utf_8_or_outputs_is_no_folder(root):
    """A file of that name, or a link to a disk that is not mounted."""
    for make in (lambda path: path.touch(), lambda path: path.symlink_to(root / "nowhere")):
        (root / "outputs").rename(root / "kept")
        make(root / "outputs")
        with pytest.raises(ValueError, match="outputs is a file, or leads nowhere: move it away"):
            reproduce("demo", start=root, dry_run=True)
        (root / "outputs").unlink()
        (root / "kept").rename(root / "outputs")
    with (root / "notebooks" / "experiments.yaml").open("ab") as file:
        file.write(b"# caf\xe9\n")
    with pytest.raises(ValueError, match="experiments.yaml is not YAML in UTF-8: .*correct it there"):
        reproduce("demo", start=root, dry_run=True)
    assert not (root / ".snakemake").exists()


@pytest.mark.kernel
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
    graph = ["  00_first: first", "  10_middle: after 00_first", "  20_last: after 10_middle"]
    assert list(expectations({}, steps(paths.find(root), "demo"))) == ["what waits for what:", *graph]


def test_the_full_profile_says_what_each_of_its_steps_takes():
    """All have hours, those that train or predict a GPU; data come first, with their 70 and 180 GB."""
    expected = yaml.safe_load((toys.REPOSITORY / "notebooks" / "experiments.yaml").read_text())["expect"]["full"]
    plan = steps(paths.find(toys.REPOSITORY), "full")
    assert {name for name in plan if "hours" not in expected.get(name, {})} == set()
    assert {name for name in plan if "gpu" not in expected[name] and ("train" in name or name[0] == "9")} == set()
    assert list(expected.items())[:2] == [
        ("motors download competition", {"disk": 70}),
        ("13_external_data", {"disk": 180}),
    ]


@pytest.mark.kernel
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
    assert set(planned(root).values()) == {"skipped: current"}
    toys.graph(root, PLAN.replace("STEPS: 7", "STEPS: 8"))
    changed = {"00_first": "skipped: current", "10_middle": "will run", "20_last": "will run"}
    assert planned(root) == changed
    toys.graph(root, PLAN)
    toys.notebook(root, "10_middle", "run.input('00_first')\nprint(STEPS + 1)")
    assert plan_of(again(root)[1]) == changed
    assert toys.record(root, "10_middle")["started"] > toys.record(root, "00_first")["started"]


@pytest.mark.kernel
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
    code, lines = again(root)
    assert code == 0
    assert plan_of(lines)["00_first"] == "skipped: current"
    assert toys.record(root, "20_last")["status"] == "succeeded"


@pytest.mark.kernel
def test_a_step_that_was_run_by_hand_is_not_taken_for_the_plans(finished):
    """It may have run with other values."""
    run(finished / "notebooks" / "10_middle.ipynb", {"STEPS": 1})
    assert planned(finished) == {"00_first": "skipped: current", "10_middle": "will run"}


@pytest.mark.kernel
def test_who_waits_for_a_step_that_ran_again_runs_again_too(finished):
    """Also when the reproduction ended in between: then only the time of the step's mark tells."""
    toys.notebook(finished, "00_first", "'another first step'")
    line = ["--snakefile", "notebooks/Snakefile", "--cores", "1", "--config", "profile=demo", "seed=0"]
    line += ["--until", "run_00_first"]
    subprocess.run([sys.executable, "-m", "snakemake", *line], cwd=finished, check=True, capture_output=True)
    assert planned(finished) == {"00_first": "skipped: current", "10_middle": "will run"}


@pytest.mark.kernel
def test_a_clock_that_was_wrong_stops_nothing(root):
    """A flag from the future: whoever waits for that step runs once, and is current then."""
    for name in ("00_first", "01_second"):
        toys.notebook(root, name, "1 + 1")
    toys.graph(
        root, "graph: {00_first: [], 01_second: [00_first]}\nalone: {}\nprofiles: {demo: {00_first: , 01_second: }}\n"
    )
    assert reproduce("demo", cores=1, start=root) == 0
    first, second = (root / "outputs" / name / "demo" / "finished" for name in ("00_first", "01_second"))
    os.utime(first, (time.time() + 3600,) * 2)
    second.unlink()
    assert reproduce("demo", cores=1, start=root) == 0
    said: list[str] = []
    assert reproduce("demo", cores=1, start=root, say=said.append) == 0
    assert said[:2] == ["00_first: skipped: current", "01_second: skipped: current"]


@pytest.mark.parametrize(("name", "runs"), [("{a}", True), ("{0}", False), ("{a}{a}", False)])
def test_braces_that_snakemake_takes_for_a_pattern_are_refused(tmp_path, name, runs):
    """It cannot lock such a folder; others it can."""
    root = toys.workspace(tmp_path / name / "clone")
    toys.notebook(root, "00_toy")
    toys.graph(root, "graph: {00_toy: []}\nalone: {}\nprofiles: {demo: {00_toy: }}\n")
    expected = contextlib.nullcontext() if runs else pytest.raises(ValueError, match="braces .* rename it")
    with expected:
        assert list(steps(paths.find(root), "demo")) == ["00_toy"]


@pytest.mark.kernel
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_reproduction_is_gone_on_with(root, number):
    """Nothing is left running, nobody has to unlock anything, and the finished step is skipped."""
    slow = "import os, time\n(run.output / 'pid').write_text(str(os.getpid()))\ntime.sleep(60)"
    toys.notebook(root, "10_middle", slow)
    process = toys.start(root, "reproduce", "--profile", "smoke")
    mark = root / "outputs" / "10_middle" / "smoke" / "pid"
    deadline = time.monotonic() + 180
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    kernel = int(mark.read_text())
    if number == signal.SIGINT:
        for _ in range(3):  # impatiently
            process.send_signal(number)
            time.sleep(0.1)
    else:  # a machine that lost power: everybody at once
        other = toys.command(root, "reproduce", "--profile", "smoke")
        assert (other.returncode, "another reproduction is running" in other.stderr) == (2, True)
        _kill_with_children(process.pid)
    assert process.wait(timeout=90) == (130 if number == signal.SIGINT else -number)
    deadline = time.monotonic() + 10
    while toys.alive(kernel) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not toys.alive(kernel)
    assert "Traceback" not in process.stderr.read()
    assert toys.record(root, "10_middle", "smoke")["status"] == (
        "interrupted" if number == signal.SIGINT else "running"
    )
    toys.notebook(root, "10_middle", "2")
    code, lines = again(root, "smoke")
    assert code == 0
    assert plan_of(lines) == {"00_first": "skipped: current", "10_middle": "will run"}


@pytest.mark.kernel
def test_kept_notebooks_are_the_executed_ones_without_what_changes_from_run_to_run(finished):
    """Outputs and counts are taken over; a notebook that has changed since is refused; keeping changes no code."""
    assert toys.command(finished, "keep").returncode == 0
    path = finished / "notebooks" / "10_middle.ipynb"
    kept = json.loads(path.read_text())
    counts = [cell["execution_count"] for cell in kept["cells"] if cell["cell_type"] == "code"]
    assert counts == [1, 2, 3]
    assert "".join(kept["cells"][-1]["outputs"][0]["text"]) == "3\n"
    assert "papermill" not in path.read_text()
    assert "iopub" not in path.read_text()
    assert set(planned(finished).values()) == {"skipped: current"}
    toys.notebook(finished, "10_middle", "3")
    answer = toys.command(finished, "keep")
    assert answer.returncode == 2
    assert "10_middle has not been run as it is now" in answer.stderr


def test_a_step_whose_executed_notebook_is_gone_is_not_kept(root):
    """One sentence, although its mark of success is still there."""
    step = steps(paths.find(root), "demo")["00_first"]
    (step.run.output / "finished").touch()
    with pytest.raises(ValueError, match="00_first has not been run as it is now, .*: reproduce demo first"):
        keep("demo", start=root)


@pytest.mark.kernel
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


TRAINED = """
graph:
  10_labels: []
  11_volumes: [10_labels]
  20_train_resnext50: [11_volumes]
  22_train_x3d_m: [11_volumes]
  30_validate: [20_train_resnext50, 22_train_x3d_m]
  33_compare: [30_validate]
alone: {demo: [30_validate]}
profiles:
  demo: {10_labels: , 11_volumes: , 20_train_resnext50: {WORKERS: 2}, 22_train_x3d_m: , 30_validate: }
judges: {experiment: [30_validate], cv: [30_validate], sweep: [30_validate, 33_compare]}
across: [33_compare]
sweeps:
  sigma: {experiment: resnext50, grid: {sigma: [150, 300]}, seeds: [0, 1]}
  spacing: {experiment: resnext50, grid: {spacing: [[20, 20, 20], [24, 24, 24]]}}
  one: {grid: {sigma: [150]}}
  broken: {grid: [150]}
  wrong: {grid: {sgima: [1, 2]}}
expect: {demo: {20_train_resnext50: {hours: ~2, gpu: 45}}}
"""
JUDGE = 'PROFILE: str = "demo"\nSEED: int = 0\nNETWORKS: str = ""\nSET: str = ""'
TRAIN = JUDGE.replace("NETWORKS", "EXPERIMENT") + "\nFOLD: int = 0\nWORKERS: int = 0"


@pytest.fixture
def trained(tmp_path):
    """A workspace whose notebooks train and judge."""
    root = toys.workspace(tmp_path / "trained")
    for name in yaml.safe_load(TRAINED)["graph"]:
        own = {"parameters": TRAIN if "_train_" in name else JUDGE} if name[0] in "23" else {}
        toys.notebook(root, name, **own)
    toys.graph(root, TRAINED)
    return paths.find(root)


def names(found) -> dict[str, list[str]]:
    """Steps and those they wait for, as notebook/run."""
    return {
        f"{s.run.notebook}/{s.run.name}": [f"{a.run.notebook}/{a.run.name}" for a in s.after] for s in found.values()
    }


def test_an_experiment_brings_what_it_needs_and_what_judges_it(trained):
    """EXP3 begins with the weights of EXP1, of the same fold, by the notebook that trains its kind."""
    found = steps(trained, "demo", 0, Request(experiment="EXP3", fold=1, settings="steps=20 learning_rate=1e-5"))
    mine, first = "22_train_x3d_m/demo-EXP03-fold1-learning_rate=1e-5_steps=20", "22_train_x3d_m/demo-EXP01-fold1"
    waiting = names(found)
    assert list(waiting)[:2] == ["10_labels/demo", "11_volumes/demo"]
    assert waiting[first] == ["11_volumes/demo"]
    assert waiting[mine] == ["11_volumes/demo", first]
    (judge,) = [step for step in found.values() if step.run.notebook == "30_validate"]
    assert judge.parameters["NETWORKS"] == f"{first} {mine}"
    assert [f"{step.run.notebook}/{step.run.name}" for step in judge.after] == [first, mine]
    assert judge.run.name != "demo"  # the judgement of the whole profile stays


def test_a_cross_validation_trains_every_fold_and_takes_over_what_the_profile_has(trained):
    """Fold 0 is the profile's own step, with its parameters: trained once, current in both."""
    found = steps(trained, "demo", 0, Request(folds=3))
    runs = [step for step in found.values() if "_train_" in step.run.notebook]
    assert [step.run.name for step in runs] == ["demo", "demo-fold1", "demo-fold2"] * 2
    usual = steps(trained, "demo")["20_train_resnext50"]
    assert (found["20_train_resnext50"].code, found["20_train_resnext50"].parameters) == (usual.code, usual.parameters)
    assert found["20_train_resnext50/demo-fold2"].parameters["WORKERS"] == 2
    found = steps(trained, "demo", 0, Request(folds=2, networks="x3d_m"))
    assert [step.run.notebook for step in found.values()] == [
        "10_labels", "11_volumes", "22_train_x3d_m", "22_train_x3d_m", "30_validate",
    ]  # fmt: skip
    assert list(expectations({}, found))[-1].endswith(": after 22_train_x3d_m, 22_train_x3d_m/demo-fold1")


def test_a_step_has_the_name_that_the_runner_gives_it(trained):
    """The own values of one that trains name its run too: the mark lies beside the record."""
    plain = 'PROFILE: str = "demo"\nSEED: int = 0\nFOLD: int = -1'
    toys.notebook(trained.root, "11_volumes", parameters=plain)
    assert steps(trained, "demo")["11_volumes"].flag == "outputs/11_volumes/demo/finished"
    toys.notebook(trained.root, "11_volumes", parameters=f'{plain}\nEXPERIMENT: str = ""')
    values = visible_parameters(trained.root / "notebooks" / "11_volumes.ipynb")
    mark = f"outputs/11_volumes/{trained.run_of('11_volumes', values).name}/finished"
    assert steps(trained, "demo")["11_volumes"].flag == mark == "outputs/11_volumes/demo-fold-1/finished"
    plan = TRAINED.replace("11_volumes: ,", "11_volumes: {FOLD: -1},").replace(
        "30_validate: }", "30_validate: {SET: x}}"
    )
    toys.graph(trained.root, plan)
    found = steps(trained, "demo")
    assert found["11_volumes"].flag == mark
    assert found["30_validate"].flag == "outputs/30_validate/demo-tag=x/finished"


def test_a_sweep_is_a_grid_for_each_seed_and_ends_in_one_comparison(trained):
    """Each seed has its own data and its own judgement; the comparison sees all."""
    found = names(steps(trained, "demo", 0, Request(sweep="sigma")))
    first = [f"20_train_resnext50/demo-sigma={sigma}" for sigma in (150, 300)]
    second = [f"20_train_resnext50/demo-seed1-sigma={sigma}" for sigma in (150, 300)]
    assert [found[name] for name in first + second] == [["11_volumes/demo"]] * 2 + [["11_volumes/demo-seed1"]] * 2
    assert paths.canonical_tag(Request(sweep="one of a b").label).startswith("sweep=one.of.a.b")
    assert found["30_validate/demo-sweep=sigma"] == first
    assert found["30_validate/demo-seed1-sweep=sigma"] == second
    judged = ["30_validate/demo-sweep=sigma", "30_validate/demo-seed1-sweep=sigma"]
    assert found["33_compare/demo-sweep=sigma"] == [*first, *second, *judged]


def test_a_sweep_of_the_spacing_prepares_volumes_for_each(trained):
    """At 24 Å, the demo's own, those that all share; at 20 Å others, prepared from the same labels."""
    toys.notebook(trained.root, "11_volumes", parameters='PROFILE: str = "demo"\nSEED: int = 0\nSET: str = ""')
    found = steps(trained, "demo", 0, Request(sweep="spacing"))
    coarse, fine = "11_volumes/demo", "11_volumes/demo-spacing=20,20,20"
    waiting = names(found)
    assert waiting["20_train_resnext50/demo-spacing=20,20,20"] == [fine] and waiting[fine] == ["10_labels/demo"]
    assert waiting["20_train_resnext50/demo-spacing=24,24,24"] == [coarse]
    assert found["11_volumes/demo-spacing=20,20,20"].parameters["SET"] == "spacing=[20.0,20.0,20.0]"
    alone = names(steps(trained, "demo", 0, Request(experiment="resnext50", settings="spacing=[20,20,20]")))
    assert fine in alone and coarse not in alone
    slices = catalogue.change(catalogue.of("maxvit_tiny", "demo"), "spacing=[40,20,20]")
    assert catalogue.volumes_of(slices, "demo") == ((20.0, 20.0, 20.0), "spacing=[20.0,20.0,20.0]")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"sweep": "sigam"}, "no sweep 'sigam': choose sigma"),
        ({"sweep": "one"}, "sweep one has one value"),
        ({"sweep": "broken"}, "sweep broken has no grid"),
        ({"sweep": "wrong"}, "sgima.*sigma"),
        ({"experiment": "EXP99"}, "no experiment is called 'EXP99'"),
        ({"experiment": "EXP09", "settings": "sgima=3"}, "sgima.*sigma"),
        ({"folds": 1}, "1 fold is not a cross-validation"),
        ({"folds": 2, "networks": "resnext51"}, "no experiment is called 'resnext51'.*resnext50"),
        ({"folds": 2, "sweep": "sigma"}, "ask for one thing"),
        ({"fold": 2}, "those of one experiment: say which"),
        ({"settings": "steps=2"}, "those of one experiment: say which"),
        ({"networks": "resnext50"}, "say how many folds"),
        ({}, "ask for one thing"),
        ({"settings": "steps=2", "sweep": "sigma"}, "fold and settings are those of one experiment"),
        ({"networks": "resnext50", "sweep": "sigma"}, "say how many folds"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_for_is_one_sentence(trained, asked, sentence):
    """Before anything runs."""
    with pytest.raises(ValueError, match=sentence) as error:
        steps(trained, "demo", 0, Request(**asked))
    assert "\n" not in str(error.value)


def test_a_fold_that_the_labels_do_not_have_is_refused_at_once(trained):
    """They are counted from 0; the plan may ask for more of them."""
    labels = trained.root / "notebooks" / "10_prepare_labels.ipynb"
    toys.notebook(trained.root, labels.stem, parameters=toys.PARAMETERS + "FOLDS: int = 3  # parts\n")
    try:
        assert steps(trained, "demo", 0, Request(folds=3))
        for asked in (Request(folds=4), Request(experiment="resnext50", fold=3)):
            with pytest.raises(ValueError, match="there is no fold 3: 10_prepare_labels makes 3"):
                steps(trained, "demo", 0, asked)
    finally:
        labels.unlink()


def test_a_cluster_is_asked_for_what_is_expected(trained):
    """Minutes with half as many again, a GPU where one is needed; rules have names that Snakemake takes."""
    found = steps(trained, "demo", 0, Request(experiment="resnext50", settings="sigma=250"))
    assert found["20_train_resnext50/demo-sigma=250"].resources == {"runtime": 180, "mem_mb": 64_000, "gpu": 1}
    assert found["11_volumes"].resources == {"runtime": 90, "mem_mb": 32_000}
    assert all(step.rule.isidentifier() for step in found.values())
    assert len({step.rule for step in found.values()}) == len(found)
    with pytest.raises(ValueError, match="executor moon needs its plugin: pip install snakemake-executor-plugin-moon"):
        reproduce("demo", start=trained.root, executor="moon")


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["--experiment", "EXP9", "--fold", "1", "--set", "steps=20 patch=[32,64,64]"], 4),
        (["--folds", "2", "--networks", "resnext50 x3d_m"], 7),
        (["--sweep", "sigma"], 11),
    ],
    ids=["experiment", "folds", "sweep"],
)
def test_snakemake_is_asked_for_the_same(trained, words, runs):
    """The command's words arrive in its own configuration: it plans each of these steps."""
    code, lines = said(trained.root, *words, "--dry-run")
    assert code == 0, lines
    assert set(plan_of(lines).values()) == {"will run"}
    assert len(plan_of(lines)) == runs


@pytest.mark.kernel
def test_the_steps_run_whatever_profile_the_user_has(root, tmp_path, monkeypatch):
    """Snakemake's own profiles, by environment or folder, may ask for a dry run: nobody is misled."""
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text("dry-run: True\n")
    shutil.copytree(tmp_path / "profile", root / "profiles" / "default")
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(tmp_path / "profile"))
    toys.graph(root, PLAN.replace("smoke: {00_first: , 10_middle: }", "smoke: {00_first: }"))
    assert said(root, "--profile", "smoke")[0] == 0
    assert toys.record(root, "00_first", "smoke")["status"] == "succeeded"


@pytest.mark.kernel
def test_any_text_of_a_plan_arrives_also_where_no_cache_can_be_written(root, monkeypatch):
    """Braces are no wildcards, nothing is something, and Snakemake keeps its cache in the workspace."""
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    texts = {"A": "{x} {output} 'q' $HOME", "B": "", "C": "--seed"}
    toys.notebook(root, "00_first", parameters=toys.PARAMETERS + "A = 'a'\nB = 'b'\nC = 'c'\n")
    given = f'{{A: "{texts["A"]}", B: "", C: --seed}}'
    toys.graph(root, PLAN.replace("smoke: {00_first: , 10_middle: }", f"smoke: {{00_first: {given}}}"))
    code, lines = said(root, "--profile", "smoke")
    assert (code, toys.record(root, "00_first", "smoke")["parameters"].items() >= texts.items()) == (0, True), lines


def test_a_training_that_the_graph_does_not_know_is_refused(root):
    """A plan may have been cut; it says what is missing there."""
    toys.graph(root, "graph: {}\nalone: {}\nprofiles: {demo: {}}\n")
    with pytest.raises(ValueError, match="has no 20_train_resnext50 in its graph"):
        steps(paths.find(root), "demo", 0, Request(experiment="resnext50"))


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


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"grid": {"sigma": [200, 200]}}, "sweep mine has one value: give at least two"),
        ({"grid": {"sigma": [200, 200.0]}}, "sweep mine has one value: give at least two"),
        ({"grid": {"sigma": [200, 300]}, "seeds": 7}, "sweep mine has no list of seeds, but 7: write"),
        ({"grid": {"sigma": [200, 300]}, "seeds": []}, r"sweep mine has no list of seeds, but \[\]: write"),
        ({"grid": {"sigma": [200, 300]}, "seeds": ["a"]}, r"sweep mine has no list of seeds, but \['a'\]: write"),
        ({"grid": {"sigma": [200, 300]}, "seeds": [-1]}, r"sweep mine has no list of seeds, but \[-1\]: write"),
        ({"grid": {"sigma": [200, 300]}, "seed": [1]}, "sweep mine has 'seed', which nothing reads: it may have exper"),
        ({"grid": {"sigma": [200, 300]}, "experiment": 9}, "sweep mine is of experiment 9: name one"),
    ],
)
def test_a_sweep_that_says_one_thing_twice_or_seeds_without_a_list_is_refused(about, sentence):
    """It would compare nothing, or end in the middle."""
    with pytest.raises(ValueError, match=sentence):
        Request(sweep="mine").trainings({"sweeps": {"mine": about}}, "demo", 0)


def test_a_value_of_a_sweep_is_what_it_was_and_trained_once():
    """100 is 100.0, blanks in a text are its own, and what JSON cannot say is refused by name."""

    def found(grid: dict) -> list[str]:
        about = {"grid": grid, "seeds": [3, 3]}
        return [each.settings for each in Request(sweep="mine").trainings({"sweeps": {"mine": about}}, "demo", 0)]

    assert found({"learning_rate": [0.1, 0.2, "1e-1"]}) == ["learning_rate=0.1", "learning_rate=0.2"]
    names = ["smp/a b", "smp/a'b", "smp/a\\b"]
    settings = found({"encoder": names})
    assert [catalogue.change(catalogue.get("resnext50"), each).encoder for each in settings] == names
    with pytest.raises(ValueError, match="learning_rate is '2026-05-01'"):
        found({"learning_rate": [date(2026, 5, 1), 1]})


def test_values_of_a_sweep_need_no_texts():
    """Yes and no, nothing, several options: as YAML has them, SET takes them."""
    grid = {"augment": [True, False], "most_motors": [None, 2], "encoder_options": [{"a": [1, 0.5]}]}
    found = Request(sweep="mine").trainings({"sweeps": {"mine": {"grid": grid}}}, "demo", 0)
    assert [each.settings for each in found] == [
        f'augment={augment} most_motors={most} encoder_options={{"a":[1,0.5]}}'
        for augment in ("true", "false")
        for most in ("null", "2")
    ]
