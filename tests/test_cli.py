"""The command `motors`: quick to start, one sentence for an error, values as they were typed."""

import getpass
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version

import pandas as pd
import pytest
import toys

import motors
from motors import cli
from motors.commands import terminal
from motors.commands.terminal import CODES
from motors.ensemble import bundle
from motors.pipeline.lean import lean
from motors.volumes.sources import collect


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty workspace as the current folder."""
    root = toys.workspace(tmp_path / "a clone")
    monkeypatch.chdir(root)
    return root


def test_the_help_loads_nothing_that_is_slow(root):
    """Neither NumPy nor PyTorch, whatever commands there are; each line fits a terminal."""
    code = "import sys; from motors import cli; code = cli.main(['--help']);"
    code += "assert not {'torch', 'pandas', 'numpy', 'papermill', 'kaggle'} & set(sys.modules); sys.exit(code)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert max(map(len, answer.stdout.splitlines())) <= 80
    assert "..." not in answer.stdout.partition("Commands:")[2], "a command's first sentence is too long to be read"
    for code, words in CODES.items():
        assert f"{code:>3}  {words}" in answer.stdout


def test_the_exit_codes_are_in_the_readme():
    """The same table."""
    readme = (toys.REPOSITORY / "README.md").read_text(encoding="utf-8")
    for code, words in CODES.items():
        assert f"| {code} | {words} |" in readme


def readme_commands() -> list[str]:
    """Every line of the README's blocks for a shell, and every command in the text, without remarks."""
    text = (toys.REPOSITORY / "README.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines += re.findall(r"`((?:motors|make|python|papermill) [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return sorted({line.partition(" # ")[0].strip() for line in lines} - {""})


@pytest.mark.kernel
@pytest.mark.parametrize("line", readme_commands())
def test_a_command_of_the_readme_is_understood_as_printed(line, monkeypatch, capsys):
    """Its words, options, notebooks and their parameters; what it would do is not done."""
    monkeypatch.chdir(toys.REPOSITORY)
    program, *words = shlex.split(line)
    if program == "make":
        answer = subprocess.run(["make", "--dry-run", *words], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
    elif program == "motors":
        assert cli.main([*words, "--help"]) == 0, capsys.readouterr().err
    elif program == "python":
        subprocess.run([sys.executable, words[0], "--help"], check=True, capture_output=True)
    else:
        assert program in ("papermill", "source"), line
    with lean():
        from papermill import inspect_notebook

    for notebook in [word for word in words if word.startswith("notebooks/")]:
        given = {name for flag, name in zip(words, words[1:], strict=False) if flag == "-p"}
        assert given <= set(inspect_notebook(notebook)), line


def test_the_console_script_is_the_command():
    """`motors` and `python -m motors` are one."""
    about = tomllib.loads((toys.REPOSITORY / "lib" / "pyproject.toml").read_text(encoding="utf-8"))
    assert about["project"]["scripts"] == {"motors": "motors.cli:main"}


def test_values_arrive_as_they_were_typed(root, monkeypatch):
    """A minus, blanks, braces, equals signs, nothing at all, and what looks like an option."""
    values = {"RATE": "-1e-5", "PATH": "a b/{c}", "SET": "sigma=300 steps=-2"}
    values |= {"EMPTY": "", "FLAG": "--cores", "P": "-p"}
    seen = []
    monkeypatch.setattr("motors.pipeline.runner.run", lambda path, given, show: seen.append((path, given)) or DONE)
    DONE = {"status": "succeeded", "seconds": 1.0, "run": "demo"}
    words = [word for name, value in values.items() for word in ("-p", name, value)]
    assert cli.main(["--traceback", "run", "notebooks/my notebook.ipynb", *words, "--parameter", "LAST", "=x="]) == 0
    assert seen == [("notebooks/my notebook.ipynb", values | {"LAST": "=x="})]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "gone.ipynb"], "there is no notebook gone.ipynb"),
        (["run", "x.ipynb", "-p", "RATE"], "-p RATE has no value"),
        (["run", "x.ipynb", "-p", "A", "1", "-p", "B", "2", "-p", "A", "3"], "-p A is given twice: give it one value"),
        (["run", "gone.ipynb", "-p", "my-title", "2"], "there is no notebook gone.ipynb"),
        (["run", "x.ipynb", "--speed"], "No such option: --speed"),
        (["run"], "Missing argument"),
        (["dream"], "No such command 'dream'"),
        (["reproduce", "--seed", "x"], "Invalid value for '--seed'"),
        (["reproduce", "--seed", "-1"], "Invalid value for '--seed'"),
        (["reproduce", "--cores", "0"], "Invalid value for '--cores'"),
        (["reproduce", "--shards", "-3"], "Invalid value for '--shards'"),
        (["reproduce", "--experiment", "EXP09", "--fold", "-2"], "Invalid value for '--fold'"),
        (["simulate", "made", "--profile", "smoke", "--seed", "-1"], "Invalid value for '--seed'"),
        (["runs", "--profile", "dmeo"], "no such network is trained: train one first"),
        (["reproduce", "--profile", "dmeo"], "experiments.yaml"),
        (["simulate", "made", "--profile", "dmeo"], "no recipe 'dmeo'"),
        (["score", "gone.csv", "gone.csv"], "gone.csv is not there"),
        (["kaggle", "package", "motors-lib", "--seed", "-1"], "Invalid value for '--seed'"),
        (["kaggle", "publish", "motors-lib"], "Missing option '--owner'"),
        (["kaggle", "publish", "motors-lib", "--owner", "alice"], "motors-lib is missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_the_code_of_refusal(root, capsys, words, sentence):
    """No traceback, nothing on standard output, nothing written."""
    assert cli.main(words) == terminal.REFUSED
    said = capsys.readouterr()
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert not any((root / "outputs").iterdir())


@pytest.mark.parametrize("word", ["30_validate", "notebooks/30_validat.ipynb", "20_validate.ipynb"])
def test_a_notebook_that_is_not_there_has_its_nearest_named(root, capsys, word):
    """Without its folder, its ending or a letter."""
    for name in ("30_validate", "40_ensemble"):
        toys.notebook(root, name)
    assert cli.main(["run", word]) == terminal.REFUSED
    assert capsys.readouterr().err.endswith("did you mean notebooks/30_validate.ipynb?\n")


def test_the_version_is_said(capsys):
    """By the command and by the package: that of the installed one."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == motors.__version__ == version("motors")


def test_two_networks_that_are_right_about_the_same_tomograms_are_said_to_be(monkeypatch, capsys):
    """No empty table of pandas."""
    same = pd.DataFrame({"tomo_id": ["a"], "one": ["TP"], "other": ["TP"], "changed": [False]})
    figures = {"one": 0.5, "other": 0.75, "difference": 0.25, "low": 0.125, "high": 0.375}
    monkeypatch.setattr("motors.workspace.paths.find", lambda: None)
    monkeypatch.setattr("motors.evaluation.runs.compared", lambda *_: (same, figures))
    assert cli.main(["compare", "a", "b"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "no tomogram changed sides" and second.startswith("F2 0.500 and 0.750, difference +0.250")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (RuntimeError("the server\nis away"), terminal.FAILED, "the server"),
        (KeyboardInterrupt(), terminal.INTERRUPTED, ""),
        (ModuleNotFoundError("no", name="zarr"), terminal.FAILED, "zarr is not installed"),
        (OSError("disk full"), terminal.REFUSED, "disk full"),
    ],
    ids=["failed", "interrupted", "not installed", "refused"],
)
def test_every_end_has_its_code(root, monkeypatch, capsys, error, code, sentence):
    """With `--traceback`, the error itself."""

    def broken(*_, **__):
        raise error

    monkeypatch.setattr("motors.pipeline.reproduce.keep", broken)
    assert cli.main(["keep"]) == code
    assert capsys.readouterr().err.startswith(sentence)
    if code in (terminal.FAILED, terminal.REFUSED):
        with pytest.raises(type(error)):
            cli.main(["--traceback", "keep"])


def test_threads_wait_without_spinning(root, monkeypatch):
    """Unless the user wants it otherwise: what a command starts inherits it."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for given, seen in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        os.environ.pop("OMP_WAIT_POLICY", None)
        os.environ.update(given)
        cli.main(["run", "missing.ipynb"])
        assert os.environ["OMP_WAIT_POLICY"] == seen


def test_a_submission_is_scored(root, capsys):
    """Two of three motors within 1000 Å and no false alarm: F2 is 10 / 14."""
    (root / "truth.csv").write_text(
        "tomo_id,z,y,x,spacing,has_motor\na,10,20,30,13.1,True\nb,5,50,70,15.5,True\nc,9,9,9,20,True\nd,-1,-1,-1,10,False\n"
    )
    (root / "mine.csv").write_text(
        "tomo_id,Motor axis 0,Motor axis 1,Motor axis 2\na,10,20,31\nb,5,50,70\nc,90,9,9\nd,-1,-1,-1\n"
    )
    assert cli.main(["score", "mine.csv", "truth.csv"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("F2 0.714, 95 % interval ")
    assert said.endswith(", 4 tomograms\n")


TRUTH = "tomo_id,z,y,x,spacing,has_motor\na,1,2,3,10,True\nb,-1,-1,-1,10,no\n"
MINE = "tomo_id,Motor axis 0,Motor axis 1,Motor axis 2\na,1,2,3\nb,-1,-1,-1\n"


@pytest.mark.parametrize(
    ("mine", "truth", "sentence"),
    [
        (MINE.replace("a,1", "a,one"), TRUTH, "mine.csv, line 2: tomogram a has a coordinate that is not a number"),
        (MINE + "a,1,2,3\n", TRUTH, "mine.csv, line 4: tomogram a is answered twice"),
        (MINE.replace("\n", ",9\n").replace("2,9", "2,z", 1), TRUTH, "the column z is there twice"),
        ("tomo_id,z,y,x,has_motor\na,1,2,3,no\nb,-1,-1,-1,no\n", TRUTH, "mine.csv, line 2: tomogram a has has_motor"),
        ("tomo_id,z,y\na,1,2\n", TRUTH, "mine.csv has no column x"),
        (
            MINE,
            TRUTH.replace("3,10", "3,10A"),
            "truth.csv, line 2: tomogram a has a position or spacing that cannot be",
        ),
        (MINE, TRUTH + "a,50,2,3,12,True\n", "truth.csv, line 2: tomogram a has several spacings"),
        (MINE, TRUTH.replace("1,2,3", "1,-1,3"), "truth.csv, line 2: tomogram a has -1 in some coordinates only"),
        (MINE, TRUTH.partition("a,")[0], "truth.csv has no tomogram"),
    ],
)
def test_what_cannot_be_scored_is_refused_for_its_own_reason(root, capsys, mine, truth, sentence):
    """With the file and the line, where there is one."""
    (root / "mine.csv").write_text(mine)
    (root / "truth.csv").write_text(truth)
    assert cli.main(["score", "mine.csv", "truth.csv"]) == 2
    assert sentence in capsys.readouterr().err


def test_a_part_of_a_benchmark_is_not_asked_of_a_table(root, capsys):
    """It would be passed over, and all of the table scored."""
    (root / "mine.csv").write_text(MINE)
    (root / "truth.csv").write_text(TRUTH)
    for option in ("--split", "--object"):
        assert cli.main(["score", "mine.csv", "truth.csv", option, "test"]) == 2
        assert "are for a benchmark's metadata.json, not truth.csv" in capsys.readouterr().err


def test_the_competitions_own_labels_are_a_truth(root, capsys):
    """One row for each motor, as train_labels.csv has them."""
    head = "row_id,tomo_id,Motor axis 0,Motor axis 1,Motor axis 2,Array shape (axis 0),Array shape (axis 1),"
    rows = "0,a,1,2,3,48,64,96,13.1,1\n1,b,-1,-1,-1,48,64,96,20,0\n"
    (root / "labels.csv").write_text(f"{head}Array shape (axis 2),Voxel spacing,Number of motors\n{rows}")
    (root / "mine.csv").write_text(MINE)
    assert cli.main(["score", "mine.csv", "labels.csv"]) == 0
    assert capsys.readouterr().out.startswith("F2 1.000")


def test_code_that_computes_the_same_is_accepted_when_asked_for(root, monkeypatch):
    """Through the environment, which the kernels of notebooks inherit."""
    monkeypatch.setenv("MOTORS_ACCEPT_CODE", "0")
    assert cli.main(["--accept-code", "keep", "--filter"]) in CODES
    assert os.environ["MOTORS_ACCEPT_CODE"] == "1"


@pytest.mark.kernel
def test_nobody_has_to_listen(root):
    """Closed streams, as of a daemon, and a full or broken one: the code is that of the work."""
    path = toys.notebook(root, "heard", "print('å')")
    command = f"{shlex.quote(sys.executable)} -m motors"
    for streams, code in (("<&- >&- 2>&-", 0), ("2>/dev/full", 0), ("2>&1 | true; exit ${PIPESTATUS[0]}", 0)):
        line = f"{command} run {shlex.quote(str(path))} {streams}"
        assert subprocess.run(["bash", "-c", line], cwd=root, check=False).returncode == code, streams
        assert toys.record(root, "heard")["status"] == "succeeded"
    line = f"{command} run nowhere.ipynb 2>&-"
    assert subprocess.run(["bash", "-c", line], cwd=root, check=False).returncode == 2


def test_a_folder_that_is_gone_is_named_as_the_reason(tmp_path, monkeypatch, capsys):
    """The system says no more than that something is not there."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.main(["runs"]) == 2
    assert "the current folder is gone" in capsys.readouterr().err


@pytest.mark.kernel
def test_letters_that_the_terminal_lacks_are_escaped():
    """The work is done then: an error would say that it is not."""
    code = "from motors import cli; cli.settle_in(); print('\u4e2d')"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"\\u4e2d\n")


def test_who_has_no_home_gets_one(monkeypatch):
    """A container's system does not know who runs: the folder of temporary files is home, the number is the name."""
    monkeypatch.delenv("HOME", raising=False)
    for name in ("LOGNAME", "USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid not found")))
    terminal.settle_in()
    assert os.path.expanduser("~/a") == os.path.join(tempfile.gettempdir(), "a")
    assert getpass.getuser() == str(os.getuid())


def test_a_home_is_found_where_no_shell_looks_for_it(root, monkeypatch, capsys):
    """`--out=~/found` is left to us by shells, which else makes a folder called ~; a name may begin so all the same."""
    monkeypatch.setenv("HOME", str(root / "home"))
    (root / "home").mkdir()
    for name in ("~mine.csv", "home/mine.csv"):
        (root / name).write_text(MINE)
    (root / "home" / "truth.csv").write_text(TRUTH)
    for name in ("~mine.csv", "~/mine.csv"):
        assert cli.main(["score", name, "~/truth.csv"]) == 0
    (root / "home" / "other.txt").touch()
    assert cli.main(["simulate", "~", "--profile", "smoke"]) == 2
    assert f"{root / 'home'} holds" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=re.escape(str(root / "home" / "w"))):
        bundle.find("~/w")
    assert [*collect("~mine.csv")[0]] == ["~mine"] and not (root / "~").exists()


@pytest.mark.kernel
def test_docstrings_need_not_be_there(root):
    """PYTHONOPTIMIZE=2 of a user takes away what libraries add to when they are imported."""
    code = "import sys; from motors import cli; sys.argv = ['motors', 'runs']; import os\n"
    code += "os.execv = lambda file, words: sys.exit(f'{words[1:]} {os.environ.get(\"PYTHONOPTIMIZE\")}'); cli.main()"
    said = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=False).stderr
    assert said == "['-X', 'utf8', '-m', 'motors', 'runs'] None\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b cannot be used (Permission denied): check its folder"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (FileNotFoundError("b is missing: make it"), "b is missing: make it"),
    ],
)
def test_what_the_system_says_is_a_sentence(monkeypatch, capsys, error, sentence):
    """Without numbers; what it is about first."""
    monkeypatch.setattr(cli, "app", lambda *_, **__: (_ for _ in ()).throw(error))
    assert cli.main(["runs"]) == (1 if "space" in sentence else 2)  # a full disk is no wrong input
    assert capsys.readouterr().err.startswith(sentence)
