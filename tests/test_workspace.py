"""Where things live, how files are written, what a progress line says, and which code a notebook runs."""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import toys

from motors.workspace import code_hash, files, paths, progress, provenance
from motors.workspace.files import listed, locked, read_json, renamed, sha256, write_json, write_table, write_text
from motors.workspace.paths import canonical_tag, new_dataset, open_run
from motors.workspace.provenance import Inputs, differences, write_inputs


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty workspace, with its notebooks as the current folder."""
    monkeypatch.setenv("MOTORS_KAGGLE_ROOT", str(tmp_path / "no_kaggle"))
    root = toys.workspace(tmp_path / "clone")
    monkeypatch.chdir(root / "notebooks")
    return root


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """A machine laid out like Kaggle's, with its working folder as the current one."""
    kaggle = tmp_path / "kaggle"
    for folder in ("input/plain", "input/datasets/somebody/owned", "input/competitions/contest", "working"):
        (kaggle / folder).mkdir(parents=True)
    monkeypatch.setenv("MOTORS_KAGGLE_ROOT", str(kaggle))
    monkeypatch.chdir(kaggle / "working")
    return kaggle


def test_the_workspace_is_found_from_any_folder_inside_it(root):
    """A notebook, a test and a command of the Makefile start in different folders."""
    deep = root / "outputs" / "a" / "b"
    deep.mkdir(parents=True)
    assert {paths.find(folder).root for folder in (root, root / "notebooks", deep)} == {root}
    assert paths.find().outputs == root / "outputs"


def test_outside_of_a_workspace_there_is_one_sentence(tmp_path, monkeypatch):
    """It names the folder and what was looked for."""
    monkeypatch.setenv("MOTORS_KAGGLE_ROOT", str(tmp_path / "no_kaggle"))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} is not inside the workspace.*kaggle_datasets"):
        paths.find(tmp_path)


@pytest.mark.parametrize("name", ["notebooks", "kaggle_datasets"])
def test_a_workspace_whose_disk_is_not_mounted_is_told_from_none(root, name):
    """Its folder is a link that leads nowhere."""
    (root / name).rmdir()
    (root / name).symlink_to(root / "not mounted")
    with pytest.raises(FileNotFoundError, match=f"{root}/{name} is a file, or leads nowhere: .*mount its disk"):
        paths.find(root)


def test_names_are_chosen_from_those_that_are_known():
    """By the path of a folder too; one that is not known is not left out in silence."""
    known = ["20_a/demo", "21_b/demo", "20_a/demo"]
    assert files.chosen(" ", known) == known[:2]
    assert files.chosen("outputs/21_b/demo/ 20_a/demo", known) == ["21_b/demo", "20_a/demo"]
    with pytest.raises(ValueError, match="there is no 21_c/demo to choose: name some of 20_a/demo, 21_b/demo"):
        files.chosen("20_a/demo 21_c/demo", known)


@pytest.mark.parametrize("slug", ["plain", "owned", "contest"])
def test_kaggle_mounts_a_dataset_in_one_of_three_places(kaggle, slug):
    """Beside the others, below its owner, or among the competitions."""
    assert paths.dataset(slug).is_relative_to(kaggle / "input")
    assert paths.dataset(slug).name == slug


def test_on_kaggle_outputs_and_new_datasets_go_to_the_working_folder(kaggle):
    """Inputs are read-only there."""
    assert open_run("90_submit", "full").output == kaggle / "working" / "90_submit" / "full"
    made = new_dataset("made-there")
    assert made == kaggle / "working" / "made-there"
    assert paths.dataset("made-there") == made


def test_a_clone_on_kaggle_is_at_home_and_sees_the_inputs(kaggle, monkeypatch):
    """Outputs stay in the clone; a dataset that is not in it is looked for in the machine's inputs."""
    clone = toys.workspace(kaggle / "working" / "clone")
    monkeypatch.chdir(clone)
    assert paths.find().outputs == clone / "outputs"
    assert paths.dataset("contest") == kaggle / "input" / "competitions" / "contest"


def test_a_missing_dataset_is_one_sentence_that_says_where_it_was_looked_for(root):
    """The folder it would have been in, and what to do."""
    with pytest.raises(
        FileNotFoundError, match=f"motors-labels is missing, looked for {root}/kaggle_datasets/motors-l"
    ):
        paths.dataset("motors-labels")
    with pytest.raises(FileNotFoundError, match="motors-simulated-demo is missing.*run 00_start_here first"):
        _ = open_run("10_prepare_labels", "demo").competition
    with pytest.raises(FileNotFoundError, match="byu-locating.*download the competition"):
        _ = open_run("10_prepare_labels", "full").competition


def test_a_simulated_competition_is_found_where_it_was_made(root):
    """By the run of the same profile and seed, and by no other."""
    made = new_dataset(open_run("00_start_here", "demo", 1).competition_slug)
    assert made == root / "kaggle_datasets" / "motors-simulated-demo-seed1"
    assert open_run("90_submit", "demo", 1).competition == made
    with pytest.raises(FileNotFoundError):
        _ = open_run("90_submit", "demo", 2).competition


def test_what_decides_a_run_names_it(root):
    """What is usual is not worth a word: seed 0, fold 0 and the experiment that the notebook is about."""
    names = [open_run("x", "demo", seed).name for seed in (0, 1, 12)]
    assert names == ["demo", "demo-seed1", "demo-seed12"]
    for seed in (1.5, True, "one", None):  # as plain papermill may hand it on; 1.5 would be called seed1
        with pytest.raises(ValueError, match=f"x: the seed is {seed}: give a whole number from 0 up"):
            open_run("x", "demo", seed)
    for fold in (1.5, "one", -2):
        with pytest.raises(ValueError, match=f"20_train_a: the fold is {fold}: give a whole number from -1 up"):
            open_run("20_train_a", "demo", fold=fold)
    assert open_run("x", "smoke").output == root / "outputs" / "x" / "smoke"
    train = "20_train_resnext50"
    assert (
        open_run(train, "demo", 0, "resnext50", 0).name == open_run(train, "demo", 0, "resnext50_demo").name == "demo"
    )
    assert open_run(train, "demo", fold=-1).name == "demo-fold-1"
    run = open_run(train, "full", 1, "resnet50", 2, "steps=200 learning_rate=1e-4")
    assert run.name == "full-resnet50-fold2-seed1-learning_rate=1e-4_steps=200"
    assert run.folder == root / "outputs" / train / run.name
    assert open_run(train, "demo").experiment == "resnext50"
    assert open_run("10_prepare_labels", "demo").experiment == ""


def test_runs_that_differ_in_anything_never_share_a_name(root):
    """Nor does a word in one place look like another in the next."""
    free = ("", "seed1", "fold1", "steps=1", "steps=1 sigma=2", "steps='1_sigma=2'", "x-seed1")
    found = {}
    for profile, seed, experiment, fold, tag in itertools.product(
        ("demo", "full"), (0, 1), ("", "a", "a_b"), (None, 1, -1), free
    ):
        run = open_run("20_train_a_c", profile, seed, experiment, fold, tag)
        found.setdefault(run.name, []).append(run)
    assert all(len(runs) == 1 for runs in found.values())
    for wrong in ("fold1", "seed2", "a-b", "a/b", "a=b", "å"):
        with pytest.raises(ValueError, match="cannot name an experiment"):
            open_run("20_train_a", "demo", experiment=wrong)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("", ""),
        ("  ", ""),
        ("sigma=300.0 learning_rate=0.0001", "learning_rate=1e-4_sigma=300"),
        ("sigma=3e2 learning_rate=1.0e-04", "learning_rate=1e-4_sigma=300"),
        ("rate=-1.5e-5 mixup=0.25", "mixup=0.25_rate=-1.5e-5"),
        ("patch=(96,128,160)", "patch=96,128,160"),
        ("patch='(96, 128, 160)'", "patch=96,128,160"),
        ("patch=[ 96, 128,\n160 ] steps=2", "patch=96,128,160_steps=2"),
        ("augment=False", "augment=false"),
        ("augment=true", "augment=true"),
        ("stop_at=None", "stop_at=null"),
        ("again", "tag=again"),
    ],
)
def test_settings_have_one_way_of_writing(text, tag):
    """Order, blanks and the writing of a number make no other run; a tag is its own tag."""
    assert canonical_tag(text) == tag
    assert canonical_tag(tag) == tag


def test_a_folder_that_is_another_runs_is_not_written_to(root):
    """As where a disk takes tag=A and tag=a for one folder; a note of another version may say less, or more."""
    run = paths.find(root).run("20_train_a", "demo", tag="a")
    folder = run.output
    assert run.output == folder
    write_json(folder / "run.json", {"profile": "demo", "seed": 0, "colour": "red"})
    assert run.output == folder
    write_json(folder / "run.json", run.identity | {"tag": "tag=A"})
    with pytest.raises(
        ValueError, match="demo-tag=a is of another run, by its run.json: move it away, or choose another"
    ):
        run.output  # noqa: B018


def test_a_dataset_of_two_owners_is_refused(kaggle):
    """Somebody else's weights would be taken for ours; one that lies elsewhere too is found there first."""
    (kaggle / "input" / "datasets" / "else" / "owned").mkdir(parents=True)
    with pytest.raises(ValueError, match="owned is in datasets of else and somebody: attach only one of them"):
        paths.dataset("owned")
    (kaggle / "input" / "owned").mkdir()
    assert paths.dataset("owned") == kaggle / "input" / "owned"
    run, owners = paths.find().run("90_submit", "demo"), [kaggle / "input" / "datasets" / name for name in "ab"]
    for owner in owners:
        with pytest.raises(FileNotFoundError, match="run 20_train_x first"):
            run.input("20_train_x")
        (owner / "motors-weights" / "20_train_x" / owner.name).mkdir(parents=True)
    (owners[1] / "motors-weights" / "20_train_x" / "demo").mkdir()
    run = paths.find().run("90_submit", "demo")
    assert run.input("20_train_x") == owners[1] / "motors-weights" / "20_train_x" / "demo"
    (owners[0] / "motors-weights" / "20_train_x" / "demo").mkdir()
    with pytest.raises(ValueError, match="motors-weights/20_train_x/demo is in datasets of a and b: attach only one"):
        run.input("20_train_x")


@pytest.mark.parametrize(
    "about", [{}, {"profile": "large", "seed": 0}, {"profile": "demo", "seed": "x"}, {"profile": "demo", "seed": None}]
)
def test_a_folder_that_says_it_is_of_no_run_is_named(root, about):
    """Of another version, or edited: one sentence, wherever runs are listed."""
    write_json(root / "outputs" / "20_train_a" / "x" / "run.json", about)
    with pytest.raises(ValueError, match=r"20_train_a/x/run.json is of no run \(.*\): copy it again, or remove"):
        paths.find(root).runs("20_train_a")


def test_cores_are_those_that_this_process_may_use():
    """A cluster's job has fewer than its node; a restriction is passed on to what is started."""
    code = "from motors.workspace.files import cores; print(cores())"
    one = {min(os.sched_getaffinity(0))}
    run = {"capture_output": True, "text": True, "check": True}
    found = subprocess.run([sys.executable, "-c", code], preexec_fn=lambda: os.sched_setaffinity(0, one), **run)
    assert found.stdout == "1\n"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
    ids=["1.5 of version 2", "2", "3 of version 1", "1", "none"],
)
def test_the_time_that_a_container_gives_counts_as_cores(tmp_path, monkeypatch, limits: dict, expected: int):
    """Docker's --cpus, Kubernetes' limits and systemd's CPUQuota change no affinity."""
    for name, text in limits.items():
        files.write_text(tmp_path / name, text)
    monkeypatch.setattr(files, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert files.cores() == expected
    monkeypatch.setattr(files, "OUR_CGROUP", tmp_path / "hidden")  # as in a container without /proc
    assert files.cores() == 64


def test_a_tag_is_safe_for_every_file_system():
    """Long ones and odd characters end in a hash of the whole; two of them are never one."""
    odd = ["a=../x", "a=..:x", "a='b c'", "a='b  c'", "a={'b':1}", "a=å", *(f"a={'x' * n}" for n in (70, 71))]
    tags = [canonical_tag(text) for text in odd]
    assert len(set(tags)) == len(odd)
    assert all(re.fullmatch(r"[A-Za-z0-9_.,=+-]{1,64}", tag) and canonical_tag(tag) == tag for tag in tags)
    with pytest.raises(ValueError, match="twice"):
        canonical_tag("steps=1 steps=2")
    with pytest.raises(ValueError, match="quot"):
        canonical_tag("steps='1")


def test_the_runs_of_a_notebook_say_what_they_are(root):
    """Read from what they noted, not from their names; older ones, which noted profile and seed, are among them."""
    made = [open_run("20_train_a", "demo", 1, fold=2), open_run("20_train_a", "demo", 0, "b", tag="steps=3")]
    made += [open_run("20_train_a", "full")]
    for run in made:
        assert run.output.is_dir()
    old = open_run("20_train_a", "smoke", 4)
    write_json(old.folder / "record.json", {"profile": "smoke", "seed": 4, "status": "succeeded"})
    (root / "outputs" / "20_train_a" / "something else").mkdir()
    home = paths.find()
    assert set(home.runs("20_train_a")) == {*made, old}
    assert home.runs("20_train_a", "demo") == [made[1], made[0]]
    assert home.runs("20_train_a", seed=1) == [made[0]]
    assert (home.runs("20_train_a", "demo")[0].experiment, home.runs("20_train_a", "demo")[0].tag) == ("b", "steps=3")
    assert home.runs("30_other") == []


def test_a_run_reads_what_was_prepared_for_its_profile_and_seed(root):
    """Labels know of no fold, experiment or setting; another run of a network is asked for by name."""
    labels = open_run("10_labels", "demo", 1).output
    other = open_run("20_train_a", "demo", 1, "b", 3).output
    run = open_run("20_train_a", "demo", 1, "b", 2, "steps=3")
    assert run.input("10_labels") == labels
    assert run.competition_slug == "motors-simulated-demo-seed1"
    assert run.input("20_train_a", "demo-b-fold3-seed1") == other


def test_the_parameters_of_a_notebook_name_its_run(root):
    """Those that change nothing about results do not."""
    home, values = paths.find(), {"PROFILE": "demo", "SEED": 2, "EXPERIMENT": "", "FOLD": 3, "SET": "", "WORKERS": 4}
    assert home.run_of("20_train_a", values) == home.run("20_train_a", "demo", 2, fold=3)
    assert home.run_of("20_train_a", values | {"WORKERS": 0}) == home.run_of("20_train_a", values)


def test_a_notebook_that_keeps_a_parameter_to_itself_is_stopped(root, monkeypatch):
    """The strict runner writes the record of fold 1: the notebook must not write to the folder of fold 0."""
    monkeypatch.setenv("MOTORS_RUN", "20_train_a/demo-fold1")
    assert open_run("20_train_a", "demo", fold=1).name == "demo-fold1"
    assert open_run("10_labels", "demo").name == "demo"
    with pytest.raises(ValueError, match=r"20_train_a/demo-fold1, not demo: hand .* on to open_run"):
        open_run("20_train_a", "demo")


def test_writing_to_a_run_without_the_strict_runner_outdates_its_record(root, monkeypatch):
    """Plain papermill, or somebody in Jupyter: the record would tell an old story. Looking changes nothing."""
    run = open_run("10_labels", "demo")
    file = write_json(run.folder / "record.json", {"profile": "demo", "seed": 0, "status": "succeeded", "seconds": 3})
    (run.folder / "finished").touch()
    assert paths.find().run("10_labels", "demo").output == run.folder  # the runner itself, or a test
    assert open_run("20_train_a", "demo").input("10_labels") == run.folder
    monkeypatch.setenv("MOTORS_RUN", "10_labels/demo")
    assert run.output == run.folder
    assert json.loads(file.read_text())["status"] == "succeeded"
    monkeypatch.delenv("MOTORS_RUN")
    for _ in range(2):
        assert run.output == run.folder
        record = json.loads(file.read_text())
        assert (record["status"], record["seconds"]) == ("stale", 3)
        assert "strict runner; before that, succeeded" in record["error"]
    write_json(file, record | {"status": "succeeded"})
    monkeypatch.setenv("MOTORS_RUN", "10_labels-Copy1/demo")
    assert (run.output, json.loads(file.read_text())["status"]) == (run.folder, "stale")
    assert not (run.folder / "finished").exists()


def test_a_misspelt_profile_is_refused(root):
    """It would otherwise make a run of its own, silently."""
    with pytest.raises(ValueError, match="no profile 'dmeo': choose one of smoke, demo, full"):
        open_run("x", "dmeo")


def test_the_output_of_a_notebook_is_the_input_of_the_next(root):
    """In the run of the same name; before it was run, the sentence says what to run."""
    later = open_run("20_train", "demo", 1)
    with pytest.raises(FileNotFoundError, match="run 11_prepare first: 20_train reads .*demo-seed1, which is missing"):
        later.input("11_prepare")
    made = open_run("11_prepare", "demo", 1).output
    assert later.input("11_prepare") == made


def test_a_stamp_says_what_made_a_file(root):
    """Notebook, profile, seed, versions, time, and what is added; it can be written as JSON."""
    stamp = open_run("x", "demo", 3).stamp(tomograms=5)
    assert (stamp["notebook"], stamp["profile"], stamp["seed"], stamp["tomograms"]) == ("x", "demo", 3, 5)
    assert stamp["versions"]["numpy"] == np.__version__
    assert stamp["commit"] is None  # nobody keeps this clone in git
    json.dumps(stamp)


def test_a_commit_is_changed_when_the_code_is_and_not_when_outputs_are(root):
    """Outputs are not part of the code."""

    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *arguments], cwd=root, check=True)

    (root / "notebooks" / "a.py").write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    (root / "outputs" / "result").write_text("2")
    clean = provenance.commit(root)
    assert len(clean["commit"]) == 40
    assert clean["changed"] is False
    (root / "notebooks" / "a.py").write_text("3")
    assert provenance.commit(root) == {**clean, "changed": True}
    git("checkout", "--quiet", "notebooks")
    git("config", "status.showUntrackedFiles", "no")  # as users of large folders have it
    assert provenance.commit(root) == clean
    (root / "notebooks" / "new.py").write_text("4")
    assert provenance.commit(root) == {**clean, "changed": True}


def test_a_commit_is_never_that_of_another_repository(root, tmp_path, monkeypatch):
    """Not of one around the workspace that does not know it, nor of the one whose hook started us."""
    for folder, ignored in ((tmp_path, "*"), (tmp_path / "other", "")):
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text(ignored)
        for words in ("init --quiet", "add --force .gitignore", "-c user.name=n -c user.email=e commit --quiet -m a"):
            subprocess.run(["git", *words.split()], cwd=folder, check=True)
    (root / "notebooks" / "a.py").write_text("1")
    assert provenance.commit(root)["commit"] is None
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert provenance.commit(root)["commit"] is None


def test_where_git_cannot_be_started_nobody_knows_the_commit(root, monkeypatch):
    """Python says so in another way where a folder of PATH is closed."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "git")))
    assert provenance.commit(root) == {"commit": None, "changed": None}


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """What cannot be written leaves the old file as it was, and nothing beside it."""
    path = write_json(tmp_path / "new" / "a.json", {"å": [1, 2.5]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError):
        write_json(path, {"a": path})
    with monkeypatch.context() as full_disk, pytest.raises(OSError, match="no space"):
        full_disk.setattr(type(path), "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
        write_json(path, {"b": 1})
    assert json.loads(path.read_text()) == {"å": [1, 2.5]}
    assert list(path.parent.iterdir()) == [path]


def test_a_table_comes_back_as_it_was_written(tmp_path):
    """Without its index, numbers to the last digit."""
    frame = pd.DataFrame({"tomo_id": ["a", "b"], "score": [0.1 + 0.2, 1e-9]})
    pd.testing.assert_frame_equal(pd.read_csv(write_table(tmp_path / "t.csv", frame)), frame, check_exact=True)


def test_a_parameter_may_name_files_with_blanks(tmp_path):
    """One as it is, several in quotes; none is none."""
    one, other = tmp_path / "my files.csv", tmp_path / "b.csv"
    one.touch()
    assert listed(str(one)) == listed(f"'{one}'") == [one]
    assert listed(f"{other} '{one}'") == listed(f'{other}   "{one}"') == [other, one]
    assert listed(f" {one}\n") == [one]
    assert listed("") == listed("  ") == []


def test_quotes_do_not_hide_a_home_and_have_to_be_closed(tmp_path, monkeypatch):
    """A shell leaves ~ in quotes to us."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "it's one.csv").touch()
    assert listed("~/a.csv '~/b c.csv'") == [tmp_path / "a.csv", tmp_path / "b c.csv"]
    assert listed("~/it's one.csv") == [tmp_path / "it's one.csv"]
    with pytest.raises(ValueError, match="names no files .No closing quotation.: quote blanks"):
        listed("it's gone.csv")


def test_a_lock_is_held_once_and_not_at_all_where_there_are_none(tmp_path, monkeypatch, caplog):
    """A cluster's file system may say so: the work goes on, and the log tells."""
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock"):
        pass
    for number in (errno.ENOLCK, errno.ENOSYS, errno.EBADF, 524, errno.EIO):
        caplog.clear()
        monkeypatch.setattr(fcntl, "flock", lambda *_, number=number: (_ for _ in ()).throw(OSError(number, "no")))
        expected = pytest.raises(OSError, match="no") if number == errno.EIO else contextlib.nullcontext()
        with expected, locked(tmp_path / "lock") as lock:
            assert "cannot be locked" in caplog.text
            assert lock.readable() and lock.writable()  # NFS wants both
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "held")))
    with pytest.raises(BlockingIOError), locked(tmp_path / "lock"):  # as SMB says it
        pass


def test_machines_that_share_a_disk_share_no_temporary_name(tmp_path, monkeypatch):
    """Processes in two containers may have one number; names of 255 bytes, the longest of disks, are written too."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    long = tmp_path / f"{'é' * 125}.csv"
    with renamed(long) as one, renamed(long) as other:
        assert one != other and {one.suffix, other.suffix} == {".csv"}
        one.write_text("a")
        other.write_text("b")
    assert write_text(long, "c").read_text() == "c"
    assert list(tmp_path.iterdir()) == [long]


@pytest.mark.parametrize("content", [b"", b"[1]", b"null", b"\xff\x00", b'{"a": '])
def test_json_that_is_no_object_is_damaged_by_name(tmp_path, content):
    """As a power cut leaves it; a byte order mark does no harm."""
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"record.json is damaged .*copy it again"):
        read_json(path)
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}


def test_no_work_ends_because_its_progress_cannot_be_told(tmp_path, monkeypatch):
    """The disk of temporary files is full, or whoever read there is gone."""
    monkeypatch.setenv("MOTORS_PROGRESS", str(tmp_path / "gone" / "progress"))
    assert list(progress.progress(range(3))) == [0, 1, 2]


def test_the_hash_is_that_of_sha256sum(tmp_path):
    """The known hash of three letters."""
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves, and the lines that were sent, with the second each was sent in."""

    class Clock:
        now = 0.0
        sent: list

    Clock.sent = []
    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(progress, "_in_kernel", lambda: True)
    show = lambda self, line: Clock.sent.append((Clock.now, line))  # noqa: E731
    monkeypatch.setattr(progress.Progress, "_show_in_notebook", show)
    return Clock


def test_progress_is_sent_once_per_second_and_at_the_end(clock):
    """Four hundred steps in ten seconds are ten lines, and the last one says that all are done."""
    for _ in progress.progress(range(400), title="training"):
        clock.now += 0.025
    times = [time for time, _ in clock.sent]
    assert len(times) <= 11
    assert np.diff(times[:-1]).min() >= 1
    assert "400/400" in clock.sent[-1][1]
    assert clock.sent[-1][1].startswith("training")


def test_progress_shows_numbers_and_goes_on_without_a_total(clock, tmp_path, monkeypatch):
    """The newest of each; the file that the environment names holds the newest line."""
    monkeypatch.setenv("MOTORS_PROGRESS", str(tmp_path / "line"))
    with progress.progress(title="tomograms") as line:
        line.advance(2, loss=0.123456)
        clock.now += 5
        line.advance(loss=0.1, found=3)
    assert "3it" in clock.sent[-1][1]
    assert "loss=0.1, found=3" in clock.sent[-1][1]
    assert (tmp_path / "line").read_text() == clock.sent[-1][1]


def test_progress_is_silent_where_nobody_looks(capfd):
    """Neither a notebook nor a terminal: the library prints nothing."""
    assert list(progress.progress([1, 2, 3])) == [1, 2, 3]
    assert capfd.readouterr() == ("", "")


def test_a_notebook_is_known_by_its_code_its_values_and_the_library_behind_it(tmp_path, monkeypatch):
    """Outputs, comments and modules out of reach do not count; a module behind a package does."""
    library = tmp_path / "motors"
    (library / "deep").mkdir(parents=True)
    files = {"__init__.py": "", "a.py": "from motors import deep\n", "b.py": "B = 1\n"}
    files |= {"deep/__init__.py": "def f():\n    from .inner import C\n", "deep/inner.py": "C = 1\n"}
    for name, text in files.items():
        (library / name).write_text(text)
    monkeypatch.setattr(code_hash, "LIBRARY", library)
    toys.workspace(tmp_path / "clone")

    def known(cell="from motors import a", values=None):
        path = toys.notebook(tmp_path / "clone", "n", "%matplotlib inline\n" + cell)
        path.write_text(path.read_text().replace("from motors.workspace import files, paths", "pass"))
        return code_hash.notebook_hash(path, values or {})

    first = known()
    assert known("from motors import a  # a remark") == first
    assert known("from motors import b") != first
    assert known(values={"SEED": 1}) != first
    (library / "b.py").write_text("B = 2\n")
    (library / "a.py").write_text("# a remark\nfrom motors import deep\n")
    assert known() == first
    (library / "deep" / "inner.py").write_text("C = 2\n")
    assert known() != first


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small library in the place of ours."""
    folder = tmp_path / "motors"
    files = {
        "__init__.py": "",
        "a.py": '"""A."""\nfrom motors import deep, cli\n\ndef f():\n    """Say."""\n    return 1\n',
    }
    files |= {"deep/__init__.py": "from . import inner\n", "deep/inner.py": "C = 1\n", "cli.py": "import motors.b\n"}
    for name, text in (files | {"b.py": "B = 1\n"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(code_hash, "LIBRARY", folder)
    return folder


def test_code_is_known_by_module_whatever_is_said_about_it(library):
    """Comments and docstrings are no code, nor is a room that computes nothing, and what only that imports."""
    first = code_hash.code_of("motors.a", "numpy")
    assert set(first) == {"a", "deep", "deep.inner"}
    (library / "a.py").write_text("from motors import deep, cli  # a remark\n\n\ndef f():\n    return 1\n")
    (library / "cli.py").write_text("import motors.b, os\n")
    assert code_hash.code_of("motors.a") == first
    (library / "deep/inner.py").write_text('C = """1"""\n')
    changed = code_hash.code_of("motors.a")
    assert {name for name in first if first[name] != changed[name]} == {"deep.inner"}


def test_what_only_checkers_of_types_import_is_no_code(library):
    """A module that is imported below `if TYPE_CHECKING` is not behind the one that does so, whatever is in there."""
    guarded = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    {}\n\nA = 1\n"
    (library / "a.py").write_text(guarded.format("from motors import b"))
    first = code_hash.code_of("motors.a")
    assert set(first) == {"a"}
    (library / "a.py").write_text(guarded.format("from motors import deep"))
    assert code_hash.code_of("motors.a") == first
    (library / "a.py").write_text("from motors import b\n\nA = 1\n")
    assert set(code_hash.code_of("motors.a")) == {"a", "b"}


def test_a_notebook_may_hold_other_languages_than_python(tmp_path, library):
    """Magics, a cell of bash, an assignment from a shell: each counts as it is written, and breaks nothing."""
    toys.workspace(tmp_path / "clone")

    def known(cell):
        return code_hash.notebook_hash(toys.notebook(tmp_path / "clone", "n", cell), {})

    cells = ["%%bash\nfor f in *; do echo $f; done", "%%bash\nls", "%%sh\nls", "files = !ls", "1", "%%time\n1"]
    cells += ["1\n!python prepare.py", "1\n!python other.py", "1\n%run other.py"]
    assert len({known(cell) for cell in cells}) == len(cells)
    before = known("%%time\nfrom motors import b")
    (library / "b.py").write_text("B = 2\n")
    assert known("%%time\nfrom motors import b") != before


def test_what_an_artifact_was_made_from_is_noted_and_compared(tmp_path):
    """Each difference is named; what is only noted makes none."""
    made = Inputs({"rate": 1e-3, "patch": (1, 2, 3)}, {"a": "1", "b": "2"}, {"label table": "x"}, {"when": 1})
    assert differences(tmp_path, made) == ["it has no inputs.json"]
    with pytest.raises(FileNotFoundError, match="older version: run its notebook again"):
        provenance.digest(tmp_path)
    write_inputs(tmp_path, made)
    assert differences(tmp_path, made) == differences(tmp_path, replace(made, noted={})) == []
    assert provenance.digest(tmp_path) == made.digest == replace(made, noted={}).digest
    other = Inputs(
        {"rate": 2e-3, "patch": (1, 2, 3)}, {"a": "1", "b": "3", "c": "1"}, {"label table": "y", "volume t": "z"}
    )
    found = ["rate is 0.001 there, 0.002 here", "the label table", "the volume t (new)", "the code of b, c"]
    assert differences(tmp_path, other) == found
    assert other.digest != made.digest
    for part in ('"settings": null', '"upstream": ["a"]', '"code": "b"'):
        (tmp_path / "inputs.json").write_text(f"{{{part}}}")
        with pytest.raises(ValueError, match=f"inputs.json is damaged .{part.split(chr(34))[1]} is not a table"):
            differences(tmp_path, made)
    (tmp_path / "inputs.json").write_text("{}", encoding="utf-8-sig")  # as an editor may save it
    assert provenance.read_inputs(tmp_path) == Inputs()
    (tmp_path / "inputs.json").write_text('{"settings": ')
    with pytest.raises(ValueError, match=r"inputs.json is damaged .* make what lies beside it again"):
        differences(tmp_path, made)


def test_opening_a_run_imports_nothing_heavy():
    """Every notebook does it, on Kaggle without the packages that training needs."""
    heavy = "{'torch', 'pandas', 'papermill', 'snakemake', 'yaml', 'IPython'}"
    code = f"import sys; from motors.workspace import paths; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def chain(tmp_path):
    """A workspace where labels were made, a network was trained and validated: and what writes an artifact there."""
    root = toys.workspace(tmp_path / "clone")

    def made(name, upstream, **settings):
        folder = root / "outputs" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_inputs(folder, Inputs(settings, upstream=upstream))
        return provenance.state(folder)

    (root / "kaggle_datasets" / "c").mkdir(parents=True)
    (root / "kaggle_datasets" / "c" / "train_labels.csv").write_text("tomo_id\n")
    made("20_train_x/demo", {"label table": "1", "volume a": "2"})
    write_json(root / "outputs" / "20_train_x" / "demo" / "provenance.json", {"weights": "w1"})
    hashed = {"kaggle_datasets/c/train_labels.csv": sha256(root / "kaggle_datasets/c/train_labels.csv")}
    labels = made("10_prepare_labels/demo", hashed)
    made("30_validate/demo", {"10_prepare_labels/demo": labels, "20_train_x/demo": "w1", "20_train_gone/demo": "w3"})
    return made


def test_what_was_made_from_something_else_than_is_there_now_is_not_read(chain, tmp_path):
    """Labels, weights or a file in front of them changed: each is named, by whoever reads, however far behind."""
    home = paths.find(tmp_path / "clone")
    reads = home.run("40_ensemble", "demo")
    assert reads.input("30_validate").name == "demo"  # what is gone is not compared
    about = home.outputs / "20_train_x" / "demo" / "provenance.json"
    write_json(about, {"weights": "w2"})
    with pytest.raises(ValueError, match=r"30_validate \(demo\) .* another 20_train_x/demo .*: run 30_validate again"):
        reads.input("30_validate")
    write_json(about, {"weights": "w1"})
    validated = chain("30_validate/demo", provenance.read_inputs(home.outputs / "30_validate" / "demo").upstream)
    chain("40_ensemble/demo", {"30_validate/demo": validated})
    last = home.run("90_submit", "demo")
    assert last.input("40_ensemble").is_dir()
    hashed = provenance.read_inputs(home.outputs / "10_prepare_labels" / "demo").upstream
    chain("10_prepare_labels/demo", hashed, folds=5)
    with pytest.raises(ValueError, match=r"30_validate \(demo\) .* another 10_prepare_labels/demo"):
        last.input("40_ensemble")
    chain("10_prepare_labels/demo", hashed)
    (home.root / "kaggle_datasets" / "c" / "train_labels.csv").write_text("tomo_id,z\n")
    with pytest.raises(ValueError, match=r"10_prepare_labels \(demo\) .*train_labels.csv .*: run 10_pre"):
        last.input("40_ensemble")
