"""Every notebook runs, on the smallest setting of its parameters, from a simulated competition to a submission."""

import json
import shutil

import pandas as pd
import pytest
import toys

from motors import workspace
from motors.workspace.graph import steps


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The run of the profile "smoke" in a workspace of its own: the user's outputs stay as they are."""
    if not list((toys.REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        pytest.skip("there are no notebooks yet")
    root = tmp_path_factory.mktemp("smoke") / "clone"
    for folder in ("notebooks", "lib"):
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
        shutil.copytree(toys.REPOSITORY / folder, root / folder, ignore=ignored)
    toys.packages(root)
    answer = toys.command(root, "reproduce", "--profile", "smoke", "--cores", "2")
    assert answer.returncode == 0, answer.stderr
    return root


def test_every_notebook_succeeds_and_its_record_is_true(smoke):
    """Status, parameters and hashes are those of what lies there."""
    for name, step in steps(workspace.find(smoke), "smoke").items():
        record = toys.record(smoke, name, "smoke")
        assert (record["status"], record["error"], record["notebook"]) == ("succeeded", None, name)
        assert record["parameters"].items() >= step.parameters.items()
        assert record["executed"]["sha256"] == workspace.sha256(step.executed)
        for file, about in record["outputs"].items():
            assert about["sha256"] in (workspace.sha256(step.run.folder / file), None)


def test_the_submission_answers_for_every_tomogram_once(smoke):
    """The ids of the sample submission, and three finite numbers each."""
    competition = workspace.find(smoke).run("90_submit", "smoke").competition
    sample = pd.read_csv(competition / "sample_submission.csv")
    answer = pd.read_csv(smoke / "outputs" / "90_submit" / "smoke" / "submission.csv")
    assert list(answer.columns) == ["tomo_id", "Motor axis 0", "Motor axis 1", "Motor axis 2"]
    assert sorted(answer.tomo_id) == sorted(sample.tomo_id)
    assert not answer.isna().any(axis=None)


def test_the_score_is_between_nothing_and_everything(smoke):
    """No claim on how good it is: four steps of training are none."""
    score = json.loads((smoke / "outputs" / "90_submit" / "smoke" / "score.json").read_text())
    assert 0 <= score["low"] <= score["f2"] <= score["high"] <= 1


def test_a_second_run_has_nothing_to_do(smoke):
    """Everything is current."""
    answer = toys.command(smoke, "reproduce", "--profile", "smoke", "--dry-run")
    assert "will run" not in answer.stderr
    assert answer.stderr.count("skipped: current") == len(steps(workspace.find(smoke), "smoke"))
