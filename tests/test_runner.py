"""One strict run of one notebook: refused, succeeded, failed, killed or interrupted, and never a lie about it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import toys

from motors.pipeline import records, runner
from motors.pipeline.plan import typed
from motors.pipeline.records import newest, settle, tell_the_truth
from motors.pipeline.runner import Refused
from motors.workspace import files, paths
from motors.workspace.files import locked, write_json

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A workspace for toy notebooks."""
    return toys.workspace(tmp_path_factory.mktemp("runner") / "clone")


def executed(root: Path, name: str, run: str = "demo") -> dict:
    """The executed notebook."""
    return json.loads((root / "outputs" / name / run / f"{name}.ipynb").read_text())


def test_an_unknown_parameter_is_refused_before_anything_runs(root):
    """papermill would carry on with the default; the sentence lists what there is."""
    path = toys.notebook(root, "refused")
    with pytest.raises(Refused, match="no parameter WIDTH: it knows PROFILE, SEED, STEPS"):
        runner.run(path, {"WIDTH": 3})
    assert not (root / "outputs" / "refused").exists()


def test_a_misspelt_parameter_is_refused_with_the_one_that_was_meant(root):
    """On the command line too, with an exit code of its own and no traceback."""
    toys.notebook(root, "misspelt")
    answer = toys.command(root, "run", "notebooks/misspelt.ipynb", "-p", "STEP", "4")
    assert answer.returncode == 2
    assert answer.stderr == "misspelt has no parameter STEP: did you mean STEPS? it knows PROFILE, SEED, STEPS\n"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"STEPS": "many"}, "STEPS wants int, as its default 3; got 'many'"),
        ({"STEPS": 2.5}, "STEPS wants int, as its default 3; got 2.5"),
        ({"STEPS": True}, "STEPS wants int, as its default 3; got True"),
        ({"PROFILE": 1}, "PROFILE wants str, as its default 'demo'; got 1"),
        ({"RATE": "1e400"}, "RATE cannot be inf: give a finite number"),
        ({"TITLE": "caf\udce9.csv"}, r"TITLE cannot be 'caf\\udce9.csv': give a finite number, or text in UTF-8"),
        ({"PROFILE": "dmeo"}, "no profile 'dmeo': choose one of smoke, demo, full"),
        ({"SEED": "-1"}, "the seed is -1: give a whole number from 0 up"),
    ],
)
def test_a_value_of_another_kind_than_the_default_is_refused(root, values, sentence):
    """Text is not a number, and half a step is no step."""
    with pytest.raises(Refused, match=sentence):
        runner.run(toys.notebook(root, "typed", parameters=f'{toys.PARAMETERS}RATE = 0.5\nTITLE = "a"\n'), values)


def test_a_word_may_have_blanks_around_it():
    """As a number may."""
    for given in (" true", "TRUE ", "True"):
        assert typed("x", {"EXTERNAL": False}, "EXTERNAL", given) is True
    assert typed("x", {"SEED": 0}, "SEED", " 7 ") == 7


@pytest.mark.parametrize("given", ["(3, 4)", (3, 4)])
def test_a_value_that_papermill_would_write_otherwise_is_refused(given):
    """A tuple comes as a text, a number that names a value as one, too; lists and the default arrive as they are."""
    known = {"SIZE": (1, 2), "SIZES": [[1]], "TABLE": {"a": 1}}
    with pytest.raises(ValueError, match=r"x: SIZE would be another value than \(3, 4\) there: write a list"):
        typed("x", known, "SIZE", given)
    for name, value in (("SIZES", "[(1, 2)]"), ("TABLE", "{1: 2}")):
        with pytest.raises(ValueError, match=f"{name} would be another value"):
            typed("x", known, name, value)
    assert typed("x", known, "SIZE", "(1, 2)") == (1, 2)
    assert typed("x", known, "SIZES", '[["a", None, 1e-5]]') == [["a", None, 1e-5]]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"tag": "params"}, "papermill sees no parameter PROFILE \\(none at all\\): tag one cell `parameters`"),
        ({"parameters": 'PROFILE: str | None = "demo"'}, "papermill sees no parameter PROFILE"),
        ({"parameters": 'PROFILE = "demo"\nSTEPS = 2 * 3'}, "STEPS = 2 \\* 3 is not a plain number or text"),
    ],
)
def test_a_notebook_whose_parameters_cannot_be_seen_is_refused(root, how, sentence):
    """The tag was lost, or the cell says more than names and values."""
    with pytest.raises(Refused, match=sentence):
        runner.run(toys.notebook(root, "unseen", **how))


def test_what_papermill_can_do_without_is_not_loaded(root):
    """Nor kept from whoever wants it later, and what was there before stays."""
    path = toys.notebook(root, "lean")
    code = f"""
import sys
from pathlib import Path
import requests
from motors.pipeline.lean import VAIN, lean
from motors.pipeline.runner import visible_parameters
print(visible_parameters(Path({str(path)!r}))["STEPS"], "papermill" in sys.modules, {{*VAIN}} & {{*sys.modules}})
sys.modules["github"] = requests
with lean():
    import github
    print(github is requests, sys.modules["pyarrow"])
print(sys.modules["github"] is requests, "pyarrow" in sys.modules)"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == ["3 True set()", "True None", "True False"]


def test_what_is_no_notebook_is_refused(root):
    """The sentence names it."""
    with pytest.raises(Refused, match="no notebook nowhere.ipynb in"):
        runner.run(root / "notebooks" / "nowhere.ipynb")
    broken = root / "notebooks" / "broken.ipynb"
    for text in (
        "",
        "{}",
        "[1]",
        '{"cells": []',
        '{"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    ):
        broken.write_text(text)
        with pytest.raises(Refused, match="broken.ipynb is not a notebook of Python"):
            runner.run(broken)


@pytest.mark.parametrize("told", [{}, {"kernelspec": {"name": "conda-env-mine", "display_name": "mine"}}])
def test_a_notebook_may_leave_out_its_kernel(root, told):
    """As cleaning tools do: it runs in this environment anyway. One of another language is refused."""
    path = toys.notebook(root, "bare")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"metadata": told}))
    assert runner.visible_parameters(path)["STEPS"] == 3
    path.write_text(json.dumps(content | {"metadata": told | {"language_info": {"name": "R"}}}))
    with pytest.raises(Refused, match="bare.ipynb is not a notebook of Python: it is of R"):
        runner.run(path)


def test_a_link_to_a_notebook_runs_where_the_link_is(root, tmp_path):
    """Its outputs belong to the workspace that has it."""
    path = toys.notebook(toys.workspace(tmp_path / "shared"), "linked")
    (root / "notebooks" / "linked.ipynb").symlink_to(path)
    assert runner.run(root / "notebooks" / "linked.ipynb")["status"] == "succeeded"
    assert toys.record(root, "linked")["status"] == "succeeded"
    assert list((tmp_path / "shared" / "outputs").iterdir()) == []


def test_only_what_is_in_the_folder_of_notebooks_is_run(root, tmp_path):
    """Not the executed notebook, over itself; not one outside of every workspace."""
    path = toys.notebook(root, "n")
    for copy, sentence in (
        (root / "outputs" / "n" / "demo" / "n.ipynb", r"n.ipynb is in .*outputs/n/demo: run the one in the folder"),
        (tmp_path / "elsewhere" / "n.ipynb", "elsewhere is not inside the workspace"),
    ):
        copy.parent.mkdir(parents=True)
        copy.write_text(path.read_text())
        with pytest.raises(Refused, match=sentence):
            runner.run(copy)


def test_a_run_leaves_the_executed_notebook_and_a_truthful_record(root):
    """Values reach the notebook, hashes are those of the files, progress is forwarded and its last line kept."""
    cells = [
        "print('steps', STEPS, run.name)\nfiles.write_json(run.output / 'sub' / 'a.json', STEPS)",
        "import time\nfrom motors.workspace.progress import progress",
        "for _ in progress(range(25), title='walking'):\n    time.sleep(0.1)",
        "import sys; print(sys.executable)\nassert 'MOTORS_PROGRESS' in __import__('os').environ",
    ]
    shown = []
    record = runner.run(toys.notebook(root, "works", *cells), {"STEPS": "5", "SEED": 1}, show=shown.append)
    assert (record["status"], record["error"], record["seed"]) == ("succeeded", None, 1)
    assert record["parameters"] == {"PROFILE": "demo", "SEED": 1, "STEPS": 5}
    assert record == toys.record(root, "works", "demo-seed1")
    folder = root / "outputs" / "works" / "demo-seed1"
    assert record["outputs"] == {"sub/a.json": {"bytes": 2, "sha256": files.sha256(folder / "sub" / "a.json")}}
    assert record["executed"] == {"name": "works.ipynb", "sha256": files.sha256(folder / "works.ipynb")}
    assert record["seconds"] >= 2.5
    assert record["versions"]["papermill"]
    outputs = [
        cell["outputs"] for cell in executed(root, "works", "demo-seed1")["cells"] if cell["cell_type"] == "code"
    ]
    assert "".join(outputs[-4][0]["text"]) == "steps 5 demo-seed1\n"
    assert len(outputs[-2]) == 1
    assert "25/25" in "".join(outputs[-2][0]["data"]["text/plain"])
    assert any("walking" in line for line in shown)
    assert "".join(outputs[-1][0]["text"]).strip() == sys.executable


def test_the_kernel_is_this_environment_whatever_the_user_has_installed(root, tmp_path, monkeypatch):
    """A kernel called python3 in the user's own folder is not asked."""
    hijack = tmp_path / "kernels" / "python3"
    hijack.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Another", "language": "python"}
    (hijack / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert runner.run(toys.notebook(root, "hijacked"))["status"] == "succeeded"


def test_the_kernel_runs_and_shows_nothing_of_the_users_own(root, tmp_path, monkeypatch):
    """Neither scripts at the start of Python and IPython nor styles; and what a notebook asserts is asserted."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("list = 5\nget_ipython().ast_node_interactivity = 'all'\n")
    (tmp_path / "start.py").write_text("raise SystemExit\n")
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 7\ntext.usetex: True\n")
    own = {"IPYTHONDIR": tmp_path / "ipython", "PYTHONSTARTUP": tmp_path / "start.py", "MATPLOTLIBRC": tmp_path}
    own |= {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "MPLBACKEND": "TkAgg"}
    for name, value in own.items():
        monkeypatch.setenv(name, str(value))
    cell = "import matplotlib\n3\nprint(list('ab'), matplotlib.rcParams['figure.dpi'], __debug__)"
    assert runner.run(toys.notebook(root, "own", cell))["status"] == "succeeded"
    (output,) = executed(root, "own")["cells"][-1]["outputs"]
    assert "".join(output["text"]) == "['a', 'b'] 100.0 True\n"


def test_a_folder_may_have_braces(tmp_path):
    """Which papermill would fill in."""
    root = toys.workspace(tmp_path / "a {x} {{y}} %7B")
    assert runner.run(toys.notebook(root, "braces"), {"STEPS": 5})["status"] == "succeeded"


def test_a_failing_cell_fails_the_run_and_keeps_the_notebook(root):
    """The error is one sentence without this machine's folders."""
    path = toys.notebook(root, "fails", "print('got here')\nraise FileNotFoundError(f'{run.output}/a is missing')", "2")
    answer = toys.command(root, "run", path)
    assert answer.returncode == 1
    sentence = "cell 3: FileNotFoundError: outputs/fails/demo/a is missing"
    assert answer.stderr == f"fails: started\nfails: failed: {sentence}\n"
    record = toys.record(root, "fails")
    assert (record["status"], record["error"]) == ("failed", sentence)
    assert "got here" in json.dumps(executed(root, "fails"))


def test_a_failed_attempt_leaves_what_succeeded_as_it_was(root):
    """Record and notebook of the attempt lie beside; only if it changed a product is the good record outdated."""
    cell = "files.write_json(run.output / 'a.json', STEPS if STEPS < 9 else 1)\nassert STEPS != 4 and STEPS != 9"
    path, folder = toys.notebook(root, "tries", cell), root / "outputs" / "tries" / "demo"
    assert runner.run(path, {"STEPS": 1})["status"] == "succeeded"
    good = {name: (folder / name).read_bytes() for name in ("record.json", "tries.ipynb")}
    (folder / "finished").touch()
    assert runner.run(path, {"STEPS": 9})["status"] == "failed"
    assert {name: (folder / name).read_bytes() for name in good} == good
    assert not (folder / "finished").exists()
    assert json.loads((folder / "attempt" / "record.json").read_text())["status"] == "failed"
    assert runner.run(path, {"STEPS": 4})["status"] == "failed"
    record = toys.record(root, "tries")
    assert (record["status"], record["parameters"]["STEPS"]) == ("stale", 1)
    assert runner.run(path, {"STEPS": 2})["outputs"].keys() == {"a.json"}
    assert toys.record(root, "tries")["status"] == "succeeded"
    assert runner.run(path, {"STEPS": 4})["status"] == "failed"
    assert runner.run(path, {"STEPS": 3})["status"] == "succeeded"
    assert not (folder / "attempt").exists()
    assert runner.run(path, {"STEPS": 4})["status"] == "failed"
    (folder / "attempt" / "notes.txt").write_text("somebody's")
    assert runner.run(path, {"STEPS": 3})["status"] == "succeeded"
    assert [each.name for each in (folder / "attempt").iterdir()] == ["notes.txt"]


@pytest.fixture
def named(tmp_path):
    """A run with an executed notebook and two files, in a workspace that declares products."""
    home = toys.workspace(tmp_path / "declares")
    run = paths.find(home).run("n", "demo")
    for name in ("n.ipynb", "a.csv", "found/b.csv", "of somebody else"):
        (run.output / name).parent.mkdir(exist_ok=True)
        (run.folder / name).write_text(name)

    def products(declared):
        plan = f"graph: {{n: [], other: []}}\nalone: {{}}\nprofiles: {{}}\nproducts: {declared}\n"
        (home / "notebooks" / "experiments.yaml").write_text(plan)
        record = {"status": "succeeded", "error": None}
        return record | records.products(run, run.folder / "n.ipynb", record, records.declared_products(run))

    return products


def test_a_run_lists_the_products_that_are_declared_and_misses_none(named):
    """What somebody else left in the folder is not listed; a missing file fails the run, unless it is in brackets."""
    record = named("{n: [a.csv, found/*.csv, (maybe.csv)]}")
    assert (record["status"], list(record["outputs"])) == ("succeeded", ["a.csv", "found/b.csv"])
    record = named("{n: [a.csv, '*.json', metrics.csv]}")
    assert record["status"] == "failed"
    assert "metrics.csv is missing" in record["error"]
    assert set(named("{other: [a.csv]}")["outputs"]) == {"a.csv", "found/b.csv", "of somebody else"}


@pytest.mark.parametrize("error", [OSError(28, "the disk is full"), RuntimeError("nobody expects this")])
def test_an_error_of_the_runner_leaves_no_record_that_runs_for_ever(root, monkeypatch, error):
    """It cannot be finished, so it goes; a good one from before stays."""
    name = type(error).__name__
    path, folder = toys.notebook(root, name, "1"), root / "outputs" / name / "demo"

    def fill(*_):
        raise error

    for before in ("nothing", "succeeded"):
        with monkeypatch.context() as patch, pytest.raises(type(error), match=error.args[-1]):
            patch.setattr(runner, "_execute", fill)
            runner.run(path)
        assert (folder / "record.json").exists() == (before == "succeeded")
        assert not (folder / "attempt" / "record.json").exists()
        write_json(folder / "record.json", {"status": "succeeded", "outputs": {}})


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    """The disk behind `outputs` is not mounted."""
    home = toys.workspace(tmp_path / "clone")
    (home / "outputs").rmdir()
    (home / "outputs").symlink_to(tmp_path / "not mounted" / "outputs")
    with pytest.raises(Refused, match=r"outputs.* cannot be written .*: mount or make it"):
        runner.run(toys.notebook(home, "n"))


def test_a_killed_kernel_fails_the_run(root):
    """papermill calls every cell completed then; here those that were not reached are pending."""
    path = toys.notebook(root, "dies", "import os\nos.kill(os.getpid(), 9)", "2")
    record = runner.run(path)
    assert (record["status"], record["error"]) == ("failed", "the kernel died (out of memory?)")
    assert toys.record(root, "dies") == record
    notebook = executed(root, "dies")
    assert notebook["metadata"]["papermill"]["exception"] is True
    assert notebook["cells"][-1]["metadata"]["papermill"]["status"] == "pending"
    assert toys.command(root, "run", path).returncode == 1


@pytest.mark.parametrize("said", ["Kernel didn't respond in 60 seconds", "Kernel died before replying to kernel_info"])
def test_a_kernel_that_does_not_respond_is_started_once_more(root, monkeypatch, said):
    """Two kernels that start at one moment may be told the same port; nothing has run yet. Twice is a failure."""
    papermill, silent = runner._papermill, iter([True, False, True, True])

    def once_silent(*arguments) -> None:
        if next(silent):
            raise RuntimeError(said)
        papermill(*arguments)

    monkeypatch.setattr(runner, "_papermill", once_silent)
    path = toys.notebook(root, "silent")
    assert runner.run(path)["status"] == "succeeded"
    record = runner.run(path, {"STEPS": 5})
    assert (record["status"], record["error"]) == ("failed", f"RuntimeError: {said}")


def test_a_notebook_that_leaves_early_has_not_succeeded(root):
    """papermill takes `sys.exit()` for a success."""
    record = runner.run(toys.notebook(root, "leaves", "import sys\nsys.exit()", "2"))
    assert record["status"] == "failed"
    assert record["error"] == "the notebook ended before its cell at position 5 was executed"


def test_the_executed_notebook_and_the_record_name_no_folder_of_this_machine(root):
    """papermill writes its absolute paths into the notebook."""
    runner.run(toys.notebook(root, "private"), {"STEPS": 4})
    folder = root / "outputs" / "private" / "demo"
    for path in (folder / "private.ipynb", folder / "record.json"):
        assert str(root.parent) not in path.read_text()
        assert str(Path.home()) + "/" not in path.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_leaves_no_kernel(root, number):
    """By the terminal or by a scheduler; the record is written before the command ends."""
    name = f"slow_{number.name}"
    path = toys.notebook(
        root, name, "import os, time\n(run.output / 'pid').write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    process = toys.start(root, "run", path)
    kernel = _number_in(root / "outputs" / name / "demo" / "pid")
    assert toys.record(root, name)["status"] == "running"
    process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert process.stderr.read().endswith(f"{name}: interrupted: interrupted before it had ended\n")
    assert toys.record(root, name)["status"] == "interrupted"
    assert not toys.alive(kernel)


def test_who_is_deaf_to_a_hangup_is_not_ended_by_one(root):
    """`nohup` has SIGHUP ignored; the run goes on when its terminal closes."""
    name = "nohup"
    path = toys.notebook(root, name, "import time\n(run.output / 'pid').touch()\ntime.sleep(2)")
    line = [sys.executable, "-m", "motors", "run", str(path)]
    deaf = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    process = subprocess.Popen(line, cwd=root, stderr=subprocess.PIPE, text=True, preexec_fn=deaf)
    begun = root / "outputs" / name / "demo" / "pid"
    while not begun.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    assert "succeeded" in process.communicate(timeout=60)[1] and process.returncode == 0


def test_an_experiment_that_cannot_be_is_refused_before_anything_is_written(root):
    """As its name, as a setting, as a fold, with quotes that are not closed."""
    parameters = (
        toys.PARAMETERS + 'EXPERIMENT: str = "resnext50"  # one\nFOLD: int = 0  # held out\nSET: str = ""  # more\n'
    )
    path = toys.notebook(root, "20_train_resnext50", parameters=parameters)
    wrong = {"EXPERIMENT": "nosuch", "SET": "learnin_rate=1", "FOLD": -2}
    for name, value in wrong.items():
        with pytest.raises(Refused, match="nosuch|learning_rate|fold is -2"):
            runner.run(path, {name: value})
    with pytest.raises(Refused, match="^SET .*300.* has quotes that are not closed: close them$"):
        runner.run(path, {"SET": "sigma='300"})
    with pytest.raises(Refused, match="use 23_train_maxvit_tiny"):
        runner.run(path, {"EXPERIMENT": "maxvit_tiny"})
    assert not (root / "outputs" / "20_train_resnext50").exists()


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path):
    """A notebook says where it lies, in UTF-8."""
    root = toys.workspace(tmp_path / os.fsdecode(b"\xff") / "clone")
    with pytest.raises(Refused, match="not a path in UTF-8.*rename"):
        runner.run(toys.notebook(root, "bytes"))


def test_a_killed_runner_takes_its_kernel_along_and_claims_no_success(root):
    """Whoever looks next notes that it was killed, and whether it had begun to overwrite an earlier success."""
    slow = "import os, time\n(run.output / 'pid').write_text(str(os.getpid()))\ntime.sleep(60 if STEPS == 3 else 0)"
    path = toys.notebook(root, "killed", slow)
    process = toys.start(root, "run", path)
    kernel = _number_in(root / "outputs" / "killed" / "demo" / "pid")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert toys.record(root, "killed")["status"] == "running"
    deadline = time.monotonic() + 10
    while toys.alive(kernel) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not toys.alive(kernel)
    folder = root / "outputs" / "killed" / "demo"
    settle(folder)
    assert toys.record(root, "killed")["error"] == "killed before it had ended"
    assert runner.run(path, {"STEPS": 1})["status"] == "succeeded"
    for changed, status in ((False, "succeeded"), (True, "stale")):
        killed = toys.record(root, "killed") | {"status": "running"}
        (folder / "attempt").mkdir(exist_ok=True)
        (folder / "attempt" / "record.json").write_text(json.dumps(killed))
        (folder / "pid").write_text("another" if changed else (folder / "pid").read_text())
        with locked(folder / ".lock"):  # it still runs
            settle(folder)
        assert json.loads(newest(folder).read_text())["status"] == "running"
        settle(folder)
        assert json.loads(newest(folder).read_text())["status"] == "interrupted"
        assert toys.record(root, "killed")["status"] == status


@pytest.mark.parametrize("outputs", [None, ["a.csv"], {"a.csv": None}])
def test_a_record_that_says_nothing_of_its_products_is_no_more_a_good_one(root, outputs):
    """As one of another version, or edited: when a later execution was killed, nobody knows what is left of them."""
    folder = root / "outputs" / "old" / "demo"
    (folder / "attempt").mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps({"status": "succeeded", "outputs": outputs}))
    (folder / "attempt" / "record.json").write_text(json.dumps({"status": "running"}))
    settle(folder)
    assert toys.record(root, "old")["status"] == ("succeeded" if isinstance(outputs, dict) else "stale")


def test_the_same_run_is_not_written_twice_at_once(root, monkeypatch):
    """The second waits a little and is refused."""
    monkeypatch.setattr("motors.pipeline.runner.PATIENCE", 0.3)
    slow = "import os, time\n(run.output / 'pid').write_text(str(os.getpid()))\ntime.sleep(60)"
    path = toys.notebook(root, "twice", slow)
    process = toys.start(root, "run", path)
    _number_in(root / "outputs" / "twice" / "demo" / "pid")
    with pytest.raises(Refused, match="twice \\(demo\\) is already running"):
        runner.run(path)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)


def _number_in(path: Path, patience: float = 30.0) -> int:
    """Wait for a notebook to write a number to `path`."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.1)
    raise TimeoutError(f"{path} was not written")


def test_a_reply_whose_signal_was_lost_is_found_all_the_same(monkeypatch):
    """The socket says nothing while it is waited for; looked at again, the message is there. Time limits still hold."""
    from queue import Empty

    from motors.pipeline.kernel import PatientChannel

    class Socket:
        looks = 0

        async def poll(self, timeout):
            assert timeout is not None  # it would wait for ever
            self.looks += 1
            return self.looks == 3

    async def receive(self):
        return {"content": "reply"}

    channel = object.__new__(PatientChannel)
    channel.socket = Socket()
    monkeypatch.setattr(PatientChannel, "_recv", receive)
    assert asyncio.run(channel.get_msg()) == {"content": "reply"}
    with pytest.raises(Empty):
        asyncio.run(channel.get_msg(timeout=0.1))


def test_a_notebook_that_a_full_disk_cut_short_does_not_hide_why(tmp_path):
    """What is half there is taken away, and the run ends with what the disk said."""
    (tmp_path / "cut.ipynb").write_text('{"cells": [{"cell_ty')
    tell_the_truth(tmp_path / "cut.ipynb", "failed")
    assert not (tmp_path / "cut.ipynb").exists()
