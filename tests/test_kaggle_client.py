"""Sending and fetching with Kaggle's own package, against a stand-in of its servers that may fail."""

import contextlib
import shutil
import subprocess
import sys
import zipfile

import cv2
import kaggle_machine
import kaggle_stand_in
import numpy as np
import pytest
import toys

from motors.cli import main
from motors.kaggle import client, packages, publishing
from motors.kaggle.client import KaggleError
from motors.kaggle.competition import check, download
from motors.kaggle.publishing import BASE
from motors.tables import MOTOR_AXES
from motors.workspace import paths

KERNEL = pytest.mark.kernel  # starts one, or the `kaggle` command
REF = "alice/motors-weights"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A workspace with made-up outputs of a demo, as the current folder."""
    monkeypatch.setenv("MOTORS_KAGGLE_ROOT", str(tmp_path / "no_kaggle"))
    root = toys.workspace(tmp_path / "clone")
    toys.outputs(root)
    monkeypatch.chdir(root)
    return paths.find()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A stand-in for Kaggle's servers that Kaggle's package, in the test and in what it starts, speaks to."""
    with kaggle_stand_in.serving() as stand_in:
        kaggle_stand_in.connect(stand_in, tmp_path / "user", monkeypatch)
        yield stand_in


@pytest.fixture
def package(home):
    """A dataset with a file and a folder."""
    return packages.package("motors-weights", home.run("50_package_for_kaggle", "demo"), ["20_train_resnext50"])


def publish(package, home, **options):
    """Send as alice, with little patience."""
    return publishing.publish(package, "alice", home, patience=0.1, **options)


def same(package, server) -> bool:
    """True if the newest version on the server has the very bytes of the package, and nothing else."""
    there = server.datasets[REF][-1]
    return there == {path: (package.folder / path).read_bytes() for path in package.files}


def test_a_dataset_is_created_then_left_alone_then_versioned(package, home, server):
    """Folders travel too, the README is the description, nothing is sent twice, a change makes a version."""
    assert publish(package, home) == "created"
    assert same(package, server)
    about = server.about[REF]
    assert about["description"] == (package.folder / "README.md").read_text()
    assert (about["licenseName"], about["isPrivate"]) == ("other", True)
    sent = server.calls["StartBlobUpload"]
    assert publish(package, home) == "unchanged"
    assert (len(server.datasets[REF]), server.calls["StartBlobUpload"]) == (1, sent)
    source = home.run("20_train_resnext50", "demo").folder / "weights" / "weights.safetensors"
    source.unlink()
    source.write_bytes(b"others, yet as long"[: len(toys.WEIGHTS)].ljust(len(toys.WEIGHTS)))
    changed = packages.package("motors-weights", home.run("50_package_for_kaggle", "demo"), ["20_train_resnext50"])
    assert publish(changed, home) == "versioned"
    assert same(changed, server)
    assert (len(server.datasets[REF]), server.about[REF]["notes"]) == (2, "not in git")


FAULTS = {  # what fails, how often, and the sentence; None: the client gets over it by itself
    "400 without a reason": ("CreateDataset", "400", 1, "400, it refused it without a reason; most often the title"),
    "403": ("CreateDataset", "403", 1, "403, it does not allow it: the owner has to be your user name"),
    "429 at the end": ("CreateDataset", "429", 1, None),
    "429 at the start": ("ListDatasetFiles", "429", 1, "429, it is asked too often: wait some minutes"),
    "500": ("CreateDataset", "500", 1, "500, it has trouble of its own: wait some minutes"),
    "503 while uploading": ("/upload/", "503", 1, None),
    "connection cut in an upload": ("/upload/", "cut", 1, None),
    "connection cut at the end": ("CreateDataset", "cut", 1, None),
    "no answer at the end": ("CreateDataset", "mute", 1, None),
    "an upload refused": ("/upload/", "403", 1, "datasets create: Upload unsuccessful: "),
    "a file lost by the server": ("CreateDataset", "lose", 1, "has arrived in part: 1 of"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_never_called_a_success_and_a_second_run_completes(fault, package, home, server):
    """One sentence on what happened; afterwards one dataset is there, whole, and in no more versions than needed."""
    call, kind, times, sentence = FAULTS[fault]
    server.fail(call, kind, times)
    if sentence is None:
        assert publish(package, home) == "created"
    else:
        with pytest.raises(KaggleError) as error:
            publish(package, home)
        assert sentence in str(error.value)
        if "unsuccessful" in sentence:  # of the file that came first on this disk
            assert str(error.value).endswith(tuple(package.files))
        assert "\n" not in str(error.value)
        assert publish(package, home) == ("versioned" if "in part" in sentence else "created")
    assert same(package, server)
    assert list(server.datasets) == [REF]
    assert len(server.datasets[REF]) == (2 if sentence and "in part" in sentence else 1)


@pytest.mark.parametrize(
    ("credentials", "sentence"),
    [
        pytest.param({"KAGGLE_USERNAME": None, "KAGGLE_KEY": None}, "no credentials: there are none", id="none"),
        pytest.param({"KAGGLE_USERNAME": None, "KAGGLE_API_TOKEN": "old"}, "or they have expired", id="old token"),
        pytest.param({"KAGGLE_KEY": "wrong"}, "put a new token from kaggle", id="wrong key"),
    ],
)
def test_without_good_credentials_nothing_is_sent(credentials, sentence, package, home, server, monkeypatch):
    """They come from the client's own places; the sentence says where to get them."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(KaggleError, match=sentence):
        publish(package, home)
    assert server.calls["StartBlobUpload"] == 0


def test_a_good_token_is_as_good_as_a_key(package, home, server, monkeypatch):
    """The client's newer way to log in."""
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.setenv("KAGGLE_API_TOKEN", kaggle_stand_in.TOKEN)
    assert publishing.listing(REF) is None


def test_a_title_that_is_taken_is_said_to_be_although_the_client_ends_well(package, home, server):
    """`kaggle datasets create` prints an error and exits with 0."""
    server.about["bob/other"] = {"title": "Motors: trained networks"}
    sentence = 'motors-weights was not published.*"Motors: trained networks" is already in use .*: choose another'
    with pytest.raises(KaggleError, match=sentence):
        publish(package, home)
    assert server.datasets == {}


def test_another_owners_slug_is_refused_in_a_sentence(package, home, server):
    """Before anything is uploaded, whoever's it is, and whether it is there or not."""
    server.datasets = {"bob/motors-weights": [{"a.csv": b"1"}]}
    for owner in ("bob", "carol"):
        with pytest.raises(KaggleError, match=f"you are alice on Kaggle, and not {owner}: give your own name"):
            publishing.publish(package, owner, home)
    assert server.calls["StartBlobUpload"] == 0


def seed(server, *slugs: str) -> None:
    """Let the server have the datasets that every pushed notebook mounts, and these."""
    server.datasets = {f"alice/{slug}": [{}] for slug in (*BASE, *slugs)}


def pushed_notebook(home, server) -> tuple[str, int]:
    """Push the notebook of a full run, whose datasets are there, and return its name and version."""
    seed(server)
    return publishing.push(publishing.kernel(home.run("50_package_for_kaggle", "full"), "alice", {"SPACING": 13.1}))


def test_a_notebook_is_pushed_and_handed_in(home, server):
    """Internet off, two T4s, its datasets; then the file that it left is submitted."""
    ref, version = pushed_notebook(home, server)
    pushed = server.kernels[ref][-1]
    assert (ref, version) == ("alice/motors-submit", 1)
    assert pushed["enableInternet"] is False
    assert (pushed["enableGpu"], pushed["machineShape"]) == (True, "NvidiaTeslaT4")
    assert pushed["competitionDataSources"] == ["byu-locating-bacterial-flagellar-motors-2025"]
    assert 'PROFILE = "full"' in pushed["text"].replace("\\", "")
    assert "Successfully submitted" in publishing.submit("byu", ref, version, "try")
    assert [each["description"] for each in server.submissions] == ["try (alice/motors-submit version 1)"]


def test_what_is_no_pushed_notebook_is_refused_before_anybody_is_asked():
    """Also where nobody is logged in."""
    for ref, version in (("motors-submit", 1), ("alice/motors-submit/1", 1), ("alice/motors-submit", 0)):
        with pytest.raises(ValueError, match=f"{ref} version {version} is not a pushed notebook"):
            publishing.submit("byu", ref, version, "try", dry_run=True)


def test_a_notebook_is_watched_fetched_and_handed_in_only_once(home, server, tmp_path):
    """Not before it is complete, and not again by a second run: submissions are few a day."""
    ref, version = pushed_notebook(home, server)
    server.outputs = {"submission.csv": b"tomo_id\n"}
    client.ask("kernels output", lambda api: api.kernels_output(ref, str(tmp_path / "out")))
    assert (tmp_path / "out" / "submission.csv").read_bytes() == b"tomo_id\n"
    assert (
        publishing.submit("byu", ref, version, "try", dry_run=True)
        == "would submit try (alice/motors-submit version 1) to byu"
    )
    assert server.submissions == []
    server.status = "RUNNING"
    with pytest.raises(KaggleError, match="alice/motors-submit is running: submit once it is complete"):
        publishing.submit("byu", ref, version, "try")
    server.status = "COMPLETE"
    assert "Successfully submitted" in publishing.submit("byu", ref, version, "try")
    assert publishing.submit("byu", ref, version, "try") == "submitted before, nothing was sent"
    assert len(server.submissions) == 1


@pytest.mark.parametrize("kind", ["400", "429", "500", "cut", "mute"])
def test_a_fault_in_handing_in_neither_loses_nor_doubles_it(kind, home, server):
    """In pushing, too, an error is never a success; a second run of each completes."""
    server.fail("SaveKernel", kind)
    with contextlib.suppress(KaggleError):  # not if the client gets over it
        assert pushed_notebook(home, server)[1] == len(server.kernels["alice/motors-submit"])
    ref, version = pushed_notebook(home, server)
    assert version == len(server.kernels[ref])
    server.fail("CreateCodeSubmission", kind)
    with contextlib.suppress(KaggleError):
        publishing.submit("byu", ref, version, "try")
        assert len(server.submissions) == 1
    publishing.submit("byu", ref, version, "try")
    assert len(server.submissions) == 1


def test_a_notebook_without_its_data_is_not_pushed_or_not_called_so(home, server):
    """The client pushes it all the same, says so, and ends well; it would run on Kaggle, and fail there."""
    folder = publishing.kernel(home.run("50_package_for_kaggle", "demo"), "alice", {})
    with pytest.raises(KaggleError, match="was not pushed, it needs alice/motors-lib, which is not there yet"):
        publishing.push(folder)
    assert server.kernels == {}
    seed(server, "motors-simulated-demo")
    server.fail("SaveKernel", "lose")
    with pytest.raises(KaggleError, match="without the dataset alice/motors-lib, which is not valid"):
        publishing.push(folder)


def run_notebook(home, *datasets: str):
    """Run the notebook that packs these datasets, and let it publish them and push."""
    values = ("-p", "PUBLISH", "True", "-p", "OWNER", "alice", "-p", "DATASETS", " ".join(datasets))
    return toys.command(home.root, "run", "notebooks/50_package_for_kaggle.ipynb", *values)


@KERNEL
def test_the_notebook_fails_when_a_file_was_lost(home, server):
    """As anybody would run it, with PUBLISH true: the sentence, a code other than 0, no notebook pushed."""
    seed(server, "motors-simulated-demo")
    server.fail("CreateDataset", "lose")
    answer = run_notebook(home, "motors-labels")
    assert answer.returncode == 1
    assert "motors-labels has arrived in part: 1 of 5 files are missing" in answer.stderr
    assert toys.record(home.root, "50_package_for_kaggle")["status"] == "failed"
    assert server.kernels == {}


@KERNEL
@pytest.mark.slow
def test_the_notebook_publishes_everything_once_and_a_change_as_a_version(home, server):
    """Every dataset there is; again, and nothing is sent; with other weights, and only they are."""
    toys.library(home.root)
    kaggle_machine.wheels_without_network(home.run("50_package_for_kaggle", "demo"))
    simulated = home.dataset("motors-simulated-demo")
    (simulated / "sample_submission.csv").write_text("tomo_id\n")
    slugs = sorted(path.parent.name for path in home.root.glob("kaggle_datasets/*/dataset-metadata.json"))
    answer = run_notebook(home, *slugs)
    assert answer.returncode == 0, answer.stderr
    assert sorted(server.datasets) == [f"alice/{slug}" for slug in slugs]
    sent = server.calls["StartBlobUpload"]
    assert run_notebook(home, *slugs).returncode == 0
    assert server.calls["StartBlobUpload"] == sent
    source = home.run("20_train_resnext50", "demo").folder / "weights" / "weights.safetensors"
    source.unlink()
    source.write_bytes(b"others")
    assert run_notebook(home, *slugs).returncode == 0
    versions = {ref: len(each) for ref, each in server.datasets.items()}
    assert versions == {f"alice/{slug}": 1 + (slug == "motors-weights") for slug in slugs}
    assert list(server.kernels) == ["alice/motors-submit"]


SLUG = "byu-locating-bacterial-flagellar-motors-2025"


def competition(tmp_path, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zipped competition: one training tomogram of 3 slices, one hidden of 2."""
    path = tmp_path / "made.zip"
    slice_ = cv2.imencode(".jpg", np.zeros((4, 6), np.uint8))[1].tobytes()
    columns = [*MOTOR_AXES, *(f"Array shape (axis {axis})" for axis in range(3)), "Voxel spacing"]
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("sample_submission.csv", "tomo_id,Motor axis 0\ntomo_bb,-1\n")
        archive.writestr("train_labels.csv", f"tomo_id,{','.join(columns)}\ntomo_aa,-1,-1,-1,3,4,6,13.1\n")
        for name in [f"train/tomo_aa/slice_000{k}.jpg" for k in range(3)] + ["test/tomo_bb/slice_0000.jpg"]:
            archive.writestr(name, slice_)
        archive.writestr("test/tomo_bb/slice_0001.jpg", slice_ + bytes(3 * 2**20))  # more than one piece
    return path.read_bytes()


def test_the_competition_arrives_whole_over_a_cut_connection_and_only_once(home, server, tmp_path):
    """The client resumes; what is complete is not asked for again."""
    server.archives[SLUG] = competition(tmp_path)
    server.fail("/storage/", "cut")
    folder = download(home)
    assert check(folder) == 2
    assert sorted(path.name for path in folder.iterdir()) == [
        "sample_submission.csv",
        "test",
        "train",
        "train_labels.csv",
    ]
    asked = server.calls["DownloadDataFiles"]
    assert download(home) == folder
    assert server.calls["DownloadDataFiles"] == asked
    (folder / "train" / "tomo_aa" / "slice_0002.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 tomograms are not whole.*is \(2, 4, 6\), its label says \(3, 4, 6"):
        check(folder)


def test_whoever_downloads_the_competition_sees_how_far_it_is(home, server, tmp_path, capfd):
    """What the client says of its progress is passed on as it comes."""
    server.archives[SLUG] = competition(tmp_path)
    assert main(["download", "competition"]) == 0
    assert "100%" in capfd.readouterr().err


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_with_a_changed_byte_is_said_to_be_damaged(home, server, tmp_path, capsys, compression):
    """Nothing half unpacked is left, the exit code is 2, and without that archive the data arrive."""
    whole = competition(tmp_path, compression)
    begin = whole.index(b"test/tomo_bb/slice_0001.jpg")
    damaged = bytearray(whole)
    damaged[begin + 27 : begin + 40] = bytes(255 - byte for byte in whole[begin + 27 : begin + 40])  # of its content
    server.archives[SLUG] = bytes(damaged)
    assert main(["download", "competition"]) == 2
    sentence = f"{SLUG}.zip is damaged at test/tomo_bb/slice_0001.jpg: remove it and download again\n"
    assert capsys.readouterr().err.endswith(sentence)
    folder = home.dataset(SLUG)
    assert [path.name for path in (folder / "test" / "tomo_bb").iterdir()] == ["slice_0000.jpg"]
    (folder / f"{SLUG}.zip").unlink()
    server.archives[SLUG] = whole
    assert check(download(home)) == 2


def test_a_competition_that_is_not_whole_is_refused_in_a_sentence(tmp_path):
    """A slice cut short, a picture of another size than the label says, no folder, a table without its columns."""
    competition(tmp_path)
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        archive.extractall(tmp_path / "whole")
    assert check(tmp_path / "whole") == 2

    def refused(sentence, change):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / "other", dirs_exist_ok=True)
        change(folder)
        with pytest.raises(ValueError, match=sentence):
            check(folder)

    def cut(folder):
        path = folder / "train" / "tomo_aa" / "slice_0001.jpg"
        path.write_bytes(path.read_bytes()[:-9])

    def relabel(folder, old, new):
        (folder / "train_labels.csv").write_text((folder / "train_labels.csv").read_text().replace(old, new))

    refused(r"1 of 2 tomograms are not whole \(.*slice_0001.jpg is cut short: get it again\): download them again", cut)
    refused(r"tomo_aa is \(3, 4, 6\), its label says \(3, 6, 4\)", lambda folder: relabel(folder, "3,4,6", "3,6,4"))
    refused(
        "train_labels.csv has no column Array shape .axis 0.*add it", lambda folder: relabel(folder, "axis 0)", "z)")
    )
    refused("sample_submission.csv is not a table", lambda folder: (folder / "sample_submission.csv").write_text(""))
    refused("tomo_bb holds no JPEG slices", lambda folder: shutil.rmtree(folder / "test" / "tomo_bb"))


def test_which_rules_to_accept_is_said(home, server, capsys):
    """One sentence with the page, and the exit code of a failure."""
    server.rules_accepted = False
    assert main(["download", "competition"]) == 1
    assert "accept its rules on https://www.kaggle.com/competitions/byu-" in capsys.readouterr().err


def command(*words) -> str:
    """Run the `kaggle` command as a user would, and return what it says."""
    answer = subprocess.run([kaggle_stand_in.KAGGLE, *words], capture_output=True, text=True, check=False)
    return answer.stdout + answer.stderr


@KERNEL
def test_what_is_packed_can_be_sent_by_the_plain_command(package, home, server):
    """With the user's name in the place of OWNER: a dataset and the notebook; a title of 5 letters is refused."""
    about = package.folder / "dataset-metadata.json"
    about.write_text(about.read_text().replace("OWNER", "alice").replace("Motors: trained networks", "Motor"))
    words = ("datasets", "create", "-p", package.folder, "--dir-mode", "zip")
    assert "between 6 and 50 characters" in command(*words)
    about.write_text(about.read_text().replace('"Motor"', '"Motors: trained networks"'))
    assert "is being created" in command(*words)
    assert same(package, server)
    seed(server, "motors-simulated-demo")
    folder = publishing.kernel(home.run("50_package_for_kaggle", "demo"), "alice", {})
    assert "Kernel version 1 successfully pushed" in command("kernels", "push", "-p", folder)


def test_a_dry_run_checks_and_says_but_sends_nothing(package, home, server, capsys):
    """Publishing, pushing and submitting by the command line."""
    seed(server, "motors-simulated-demo")
    server.kernels["alice/motors-submit"] = [{}]
    for words in (
        ["publish", "motors-weights", "--owner", "alice"],
        ["push", "--owner", "alice"],
        ["submit", "alice/motors-submit", "1", "-m", "-try {x}"],
    ):
        assert main(["kaggle", *words, "--dry-run"]) == 0
        assert "would" in capsys.readouterr().err
    assert not {"StartBlobUpload", "CreateDataset", "SaveKernel", "CreateCodeSubmission"} & set(server.calls)
    (package.folder / package.manifest).unlink()
    assert main(["kaggle", "publish", "motors-weights", "--owner", "alice", "--dry-run"]) == 2


def test_one_missing_slice_is_fetched_alone(home, server, tmp_path):
    """Not the whole archive; a slice cut short too, and one of a tomogram of unknown height if another follows it."""
    server.archives[SLUG] = competition(tmp_path)
    folder = download(home)
    asked = server.calls["DownloadDataFiles"]
    (folder / "train" / "tomo_aa" / "slice_0002.jpg").unlink()
    (folder / "test" / "tomo_bb" / "slice_0000.jpg").unlink()
    cut = folder / "train" / "tomo_aa" / "slice_0000.jpg"
    cut.write_bytes(cut.read_bytes()[:-9])
    assert check(download(home)) == 2
    assert (server.calls["DownloadDataFile"], server.calls["DownloadDataFiles"]) == (3, asked)
    (folder / "train_labels.csv").unlink()
    assert check(download(home)) == 2
    assert (server.calls["DownloadDataFile"], server.calls["DownloadDataFiles"]) == (3, asked + 1)


def test_a_slice_that_was_downloaded_twice_is_named(home, server, tmp_path):
    """A browser counts its copies; the number in the name is none of a slice."""
    server.archives[SLUG] = competition(tmp_path)
    folder = download(home)
    (folder / "test" / "tomo_bb" / "slice_0000 (1).jpg").write_bytes(b"copy")
    with pytest.raises(ValueError, match=r"slice_0000 \(1\)\.jpg is called otherwise"):
        download(home)


def test_hidden_files_of_another_system_are_no_slices(home, server, tmp_path):
    """What macOS leaves beside every file on a foreign disk: the data are whole, and nothing is fetched."""
    server.archives[SLUG] = competition(tmp_path)
    folder = download(home)
    asked = sum(server.calls.values())
    for path in list((folder / "train" / "tomo_aa").glob("slice_*.jpg")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(4092))
    assert download(home) == folder
    assert sum(server.calls.values()) == asked


def test_no_test_reaches_the_real_servers(server):
    """The package speaks to loopback only, whatever the user has configured."""
    with client.logged_in().build_kaggle_client() as kaggle:
        assert kaggle.http_client()._endpoint.startswith("http://localhost")


def test_who_is_not_logged_in_hears_one_sentence(monkeypatch):
    """The client has a page of its own about that, and ends the program."""

    def log_in():
        sys.stdout.write("You need to authenticate. Option A: ...")
        raise SystemExit(1)

    heard = []
    monkeypatch.setattr(client, "logged_in", log_in)
    with pytest.raises(KaggleError, match="accepted no credentials"):
        client.ask("competitions download", lambda api: None, show=heard.append)
    assert not heard
    monkeypatch.setattr(client, "logged_in", dict)
    client.ask("files", lambda api: sys.stdout.write("50 %"), show=heard.append)
    assert "50 %" in heard
