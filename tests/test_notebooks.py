"""Every notebook runs, on the smallest setting of its parameters, from a simulated competition to a submission."""

import json
import shutil

import pandas as pd
import pytest
import torch
import toys
from published_checkpoint import checkpoint, theirs

from motors.experiments import catalogue
from motors.pipeline.graph import steps
from motors.review.corrections import CORRECTIONS
from motors.tables import MOTORS
from motors.training import data as training_data
from motors.workspace import files, paths

pytestmark = pytest.mark.kernel

# What torch and its libraries compute with: the same on every processor since 2013.
INSTRUCTIONS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The run of the profile "smoke" in a workspace of its own: the user's outputs stay as they are."""
    root = tmp_path_factory.mktemp("smoke") / "clone"
    for folder in ("notebooks", "lib"):
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
        shutil.copytree(toys.REPOSITORY / folder, root / folder, ignore=ignored)
    toys.packages(root)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in INSTRUCTIONS.items():
            patch.setenv(name, value)
        answer = toys.command(root, "reproduce", "--profile", "smoke", "--cores", "2")
    assert answer.returncode == 0, answer.stderr
    return root


@pytest.fixture
def own(smoke, tmp_path):
    """A copy of that workspace, for a test that changes it: the others find it as it was."""
    return shutil.copytree(smoke, tmp_path / "own", symlinks=True)


def test_every_notebook_succeeds_and_its_record_is_true(smoke):
    """Status, parameters and hashes are those of what lies there."""
    for name, step in steps(paths.find(smoke), "smoke").items():
        record = toys.record(smoke, name, "smoke")
        assert (record["status"], record["error"], record["notebook"]) == ("succeeded", None, name)
        assert record["parameters"].items() >= step.parameters.items()
        assert record["executed"]["sha256"] == files.sha256(step.executed)
        for file, about in record["outputs"].items():
            assert about["sha256"] in (files.sha256(step.run.folder / file), None)


def test_the_submission_answers_for_every_tomogram_once(smoke):
    """The ids of the sample submission, and three finite numbers each."""
    competition = paths.find(smoke).run("90_submit", "smoke").competition
    sample = pd.read_csv(competition / "sample_submission.csv")
    answer = pd.read_csv(smoke / "outputs" / "90_submit" / "smoke" / "submission.csv")
    assert list(answer.columns) == ["tomo_id", "Motor axis 0", "Motor axis 1", "Motor axis 2"]
    assert sorted(answer.tomo_id) == sorted(sample.tomo_id)
    assert not answer.isna().any(axis=None)


def test_the_score_is_between_nothing_and_everything(smoke):
    """No claim on how good it is: four steps of training are none."""
    score = json.loads((smoke / "outputs" / "90_submit" / "smoke" / "score.json").read_text())
    assert 0 <= score["low"] <= score["f2"] <= score["high"] <= 1
    parts = score["parts"]
    assert parts["all together"]["F2"] == score["f2"]
    trained = {f"{name}/smoke" for name in steps(paths.find(smoke), "smoke") if "_train_" in name}
    assert set(parts) == trained | {"all together"}


def test_a_second_run_has_nothing_to_do(smoke):
    """Everything is current."""
    answer = toys.command(smoke, "reproduce", "--profile", "smoke", "--dry-run")
    assert "will run" not in answer.stderr
    assert answer.stderr.count("skipped: current") == len(steps(paths.find(smoke), "smoke"))


def test_the_six_trainings_end_with_the_bytes_that_they_ended_with_before(smoke):
    """Whoever changes them on purpose, a default or an order of random numbers, writes down the new ones."""
    outputs = paths.find(smoke).outputs
    volumes = files.sha256(outputs / "11_prepare_volumes" / "smoke" / "volumes.csv")
    pinned = json.loads((toys.REPOSITORY / "tests" / "reference" / "smoke_weights.json").read_text())
    known = pinned.get(f"torch {torch.__version__.partition('+')[0]}, volumes {volumes[:16]}")
    found = sorted(outputs.glob("2?_train_*/smoke/weights/weights.safetensors"))
    found = {path.parts[-4]: files.sha256(path) for path in found}
    if known is None:
        pytest.skip(f"torch {torch.__version__} and volumes {volumes[:16]} have no pinned weights; here: {found}")
    assert found == known


def run(root, name: str, *values: str):
    """Run one notebook of the smallest setting with further parameters."""
    pairs = [word for value in ("PROFILE=smoke", *values) for word in ("-p", *value.split("=", 1))]
    return toys.command(root, "run", f"notebooks/{name}.ipynb", *pairs)


def test_a_fine_tuned_network_and_one_of_slices_in_a_volume_are_trained_and_validated(own):
    """The first by the labels that it learnt from itself: of what its first weights had seen, one motor each."""
    labels = own / "outputs" / "10_prepare_labels" / "smoke"
    motors, folds = pd.read_csv(labels / "motors.csv"), pd.read_csv(labels / "folds.csv").set_index("tomo_id").fold
    second = motors[motors.tomo_id.map(folds) > 0].head(1)
    pd.concat([motors, second.assign(z=second.z + 9)]).to_csv(labels / "motors.csv", index=False)
    for name, experiment in (("22_train_x3d_m", "EXP01"), ("22_train_x3d_m", "EXP03"), ("20_train_resnext50", "EXP09")):
        answer = run(own, name, f"EXPERIMENT={experiment}")
        assert answer.returncode == 0, answer.stderr
    names = ["20_train_resnext50/smoke-EXP09", "22_train_x3d_m/smoke-EXP03"]
    answer = run(own, "30_validate", f"NETWORKS={' '.join(names)}", "SET=others")
    assert answer.returncode == 0, answer.stderr
    (judged,) = own.glob("outputs/30_validate/smoke*others*/runs.csv")
    assert sorted(pd.read_csv(judged).run) == names


def test_external_tomograms_and_corrections_reach_the_prepared_volumes(own):
    """Also corrections of external labels; what was decided in another frame is refused, and nothing is made."""
    made = own / "outputs" / "13_external_data" / "smoke"
    motor = pd.read_csv(made / "motors.csv").iloc[0].to_dict() | {"action": "remove", "run": "30", "round": "leaky"}
    table = pd.DataFrame([motor]).reindex(columns=CORRECTIONS)
    path, twin = (own / place / "31_review_labels" / "smoke" / "corrections.csv" for place in ("one", "two"))
    files.write_table(twin, table[:0])  # of a second reviewer, with the same folders
    settings = ("EXTERNAL=true", f"CORRECTIONS={path} {twin}")
    path.parent.mkdir(parents=True)
    table.assign(frame="1x2x3@13.1").to_csv(path, index=False)
    refused = run(own, "10_prepare_labels", *settings)
    assert refused.returncode != 0
    assert "tomogram wrapped was reviewed in another frame: give labels of that shape and spacing" in refused.stderr
    table.to_csv(path, index=False)
    for name, values in (("10_prepare_labels", settings), ("11_prepare_volumes", ())):
        answer = run(own, name, *values)
        assert answer.returncode == 0, answer.stderr
    prepared = own / "outputs" / "10_prepare_labels" / "smoke"
    motors = pd.read_csv(prepared / "motors.csv").query("tomo_id == 'wrapped'")
    assert len(motors) == len(pd.read_csv(made / "motors.csv")) - 1
    assert (motors["source"] == "external").all()
    hashes = json.loads((prepared / "provenance.json").read_text())["inputs"]
    assert hashes["13_external_data/smoke/motors.csv"] == files.sha256(made / "motors.csv")
    assert {files.sha256(path), files.sha256(twin)} <= {*hashes.values()}
    assert "wrapped" in set(pd.read_csv(own / "outputs" / "11_prepare_volumes" / "smoke" / "volumes.csv").tomo_id)


def test_picks_of_another_program_become_corrections_and_labels(own):
    """A motor in a tomogram that had none; the others stay as they are."""
    prepared = own / "outputs" / "10_prepare_labels" / "smoke" / "motors.csv"
    before = pd.read_csv(prepared)[MOTORS]
    name = min(set(pd.read_csv(prepared.with_name("tomograms.csv"))["tomo_id"]) - set(before["tomo_id"]))
    (picked := own / f"{name}.ndjson").write_text('{"type": "point", "location": {"z": 5, "y": 6.5, "x": 7}}\n')
    made = own / "outputs" / "31_review_labels" / "smoke" / "corrections.csv"
    for notebook, value in (("31_review_labels", f"PICKS={picked}"), ("10_prepare_labels", f"CORRECTIONS={made}")):
        answer = run(own, notebook, value)
        assert answer.returncode == 0, answer.stderr
    after = pd.read_csv(prepared)[MOTORS]
    assert after[after["tomo_id"] == name].values.tolist() == [[name, 5.0, 6.5, 7.0]]
    assert after[after["tomo_id"] != name].values.tolist() == before[before["tomo_id"] != name].values.tolist()


def test_the_notebook_about_labels_says_what_is_known_of_the_real_tables(own, real):
    """Computed from the tables in a folder, and written beside the pictures."""
    answer = run(own, "02_look_at_labels", f"TABLES={real / 'labels'}", "SHOWN=all_gt_v3")
    assert answer.returncode == 0, answer.stderr
    folder = own / "outputs" / "02_look_at_labels" / "smoke"
    tables = pd.read_csv(folder / "tables.csv").set_index("table")[["tomograms", "motors", "with", "without"]]
    assert tables.loc["gt"].tolist() == [648, 451, 362, 286]
    assert tables.loc["all_gt_v3"].tolist() == [1935, 2245, 1713, 222]
    said = (folder / "02_look_at_labels.ipynb").read_text()
    for sentence in (
        "gt_v2 adds 72 motors in 59 tomograms to gt, and changes nothing",
        "gt_v3 adds 54 motors in 46 tomograms to gt_v2, and changes nothing",
        "the column is wrong for 4 tomograms tomo_2b3cdf tomo_62eea8 tomo_c84b8e tomo_e6f7f7",
        "all_gt_v3: z from 77 to 800 voxels, 380.4 on average",
    ):
        assert sentence in said
    pairs = pd.read_csv(folder / "pairs.csv").set_index(["one", "other"])
    assert pairs.loc[("gt", "second_place_coordinates"), ["both", "only_one", "only_other"]].tolist() == [450, 1, 165]


def test_a_published_checkpoint_takes_the_place_of_a_training(own, tmp_path):
    """It is validated, fused and packed like a network trained here, and each says where it came from."""
    made = own / "outputs" / "22_train_x3d_m" / "smoke"
    published = checkpoint(tmp_path / "EXP16.ckpt", theirs(catalogue.of("x3d_m", "smoke")))
    there = paths.find(own).run("22_train_x3d_m", "smoke")
    with pytest.raises(FileExistsError, match="holds other weights, perhaps of a training"):
        training_data.trained(there, catalogue.of("x3d_m", "smoke"), None, None, checkpoint=published)
    shutil.move(made, tmp_path / "trained")
    answer = run(own, "22_train_x3d_m", f"CHECKPOINT={published}")
    assert answer.returncode == 0, answer.stderr
    assert json.loads((made / "provenance.json").read_text())["checkpoint"] == "EXP16.ckpt"
    assert not (made / "metrics.csv").exists()
    for name in ("30_validate", "40_ensemble", "50_package_for_kaggle"):
        values = ["NETWORKS=22_train_x3d_m"] if name == "30_validate" else []
        answer = run(own, name, *values)
        assert answer.returncode == 0, answer.stderr
    card = own / "kaggle_datasets" / "motors-weights" / "22_train_x3d_m" / "smoke" / "README.md"
    assert "converted by `22_train_x3d_m` from `EXP16.ckpt`" in card.read_text()
