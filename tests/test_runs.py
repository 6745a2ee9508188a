"""The table of all runs says what their records say; two runs are compared on what both have not seen."""

import json

import pandas as pd
import pytest
import toys

from motors import cli
from motors.evaluation import runs
from motors.experiments import catalogue
from motors.labels.formats import write
from motors.labels.table import Labels
from motors.tables import POINT, TOMOGRAMS
from motors.workspace import paths
from motors.workspace.files import write_json, write_table
from motors.workspace.provenance import Inputs, write_inputs

NETS = ("20_train_resnext50/demo", "22_train_x3d_m/demo")
HIDDEN = {"F2": 0.65, "low": 0.5, "high": 0.75, "AP": 0.7}  # of the second, as 90_submit writes them


@pytest.fixture
def home(tmp_path):
    """A workspace with two trained networks, validated on three tomograms."""
    workspace = paths.find(toys.workspace(tmp_path / "home"))
    for name, about in zip(NETS, ({"learning_rate": 0.0125}, {}), strict=True):
        run = workspace.run(name.partition("/")[0], "demo")
        experiment = catalogue.get(run.notebook.partition("_train_")[2] + "_demo")
        settings = json.loads(experiment.to_json()) | about
        write_json(run.output / "weights" / "experiment.json", settings)
        record = {"seconds": 5400.0, "peak_memory_mib": 1536, "commit": "0123456789ab", "profile": "demo", "seed": 0}
        write_json(run.folder / "record.json", record)
    judge = workspace.run("30_validate", "demo")
    figures = [{"run": NETS[0], "F2": 0.5, "low": 0.25, "high": 0.75, "AP": 0.6}, {"run": NETS[1], "F2": 0.7}]
    write_table(judge.output / "runs.csv", pd.DataFrame(figures))
    known = pd.DataFrame([[name, 70, 90, 110, 13.7] for name in "abc"], columns=TOMOGRAMS)
    labels = Labels(known, pd.DataFrame([[n, 20.0, 30.0, 40.0] for n in "ab"], columns=["tomo_id", *POINT]))
    write(workspace.run("10_prepare_labels", "demo").output, labels)
    held = pd.DataFrame([{"run": net, "tomo_id": name} for net in NETS for name in "abc"])
    write_table(judge.output / "judged.csv", held)
    write_table(judge.output / "held_out.csv", known)
    rows = [["a", 0.9, NETS[0]], ["b", 0.2, NETS[0]], ["c", 0.8, NETS[0]], ["a", 0.9, NETS[1]], ["b", 0.8, NETS[1]]]
    found = pd.DataFrame(rows, columns=["tomo_id", "score", "run"]).assign(z=20.0, y=30.0, x=40.0, symmetry="zyx")
    write_table(judge.output / "candidates.csv", found)
    write_json(workspace.run("90_submit", "demo").output / "score.json", {"parts": {NETS[1]: HIDDEN}})
    return workspace


def test_the_table_of_all_runs_says_what_records_say(home):
    """The best first; settings that were changed, hours, GiB, commit; what is missing stays empty."""
    found = runs.table(home, "demo", 0).set_index("run")
    assert found.index.tolist() == [NETS[1], NETS[0]]
    assert found.loc[NETS[0], ["changed", "F2", "low", "high", "AP", "fold"]].tolist() == [
        "learning_rate=0.0125",
        0.5,
        0.25,
        0.75,
        0.6,
        0,
    ]
    assert found.loc[NETS[1], "changed"] == ""
    assert found.loc[NETS[1], [f"hidden_{name}" for name in HIDDEN]].tolist() == list(HIDDEN.values())
    assert found["hours"].tolist() == [1.5, 1.5] and found["GiB"].tolist() == [1.5, 1.5]
    assert found["commit"].tolist() == ["01234567"] * 2 and found["hidden_F2"].isna().tolist() == [False, True]
    assert runs.table(home, "demo", 7).empty and list(runs.table(home, "smoke")) == list(runs.table(home))


def test_runs_that_nobody_trained_are_refused_with_those_there_are(home, monkeypatch, capsys):
    """An empty table would look like a result."""
    monkeypatch.chdir(home.root)
    for words in (["--profile", "x"], ["--seed", "7"]):
        assert cli.main(["runs", *words]) == 2
        said = capsys.readouterr()
        assert said.err == "no such network is trained: there are --profile demo --seed 0\n" and not said.out
    assert cli.main(["runs", "--profile", "demo"]) == 0


def test_a_cost_that_a_record_does_not_know_stays_empty(home):
    """A run that goes on has no seconds, some kernels no memory of their own; a training has its own seconds."""
    write_json(home.outputs / NETS[1] / "record.json", {"seconds": None, "peak_memory_mib": None, "commit": None})
    found = runs.table(home, "demo", 0).set_index("run")
    assert found.loc[NETS[1], ["hours", "GiB"]].isna().all() and found.loc[NETS[1], "commit"] == ""
    assert found.loc[NETS[0], "hours"] == 1.5
    (home.outputs / NETS[0] / "metrics.csv").write_text("step,loss,seconds\n1,0.5,1800\n2,0.25,7200\n")
    assert runs.table(home).set_index("run").loc[NETS[0], "hours"] == 2
    (home.outputs / NETS[0] / "metrics.csv").write_text("")  # as after a power failure
    assert runs.table(home).set_index("run").loc[NETS[0], "hours"] == 1.5


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        (f"{NETS[0]}/metrics.csv", "step,loss\n1,2,3\n", "metrics.csv, line 2: 3 values for 2 columns"),
        ("30_validate/demo/runs.csv", "", "runs.csv is not a table"),
        ("30_validate/demo/runs.csv", "run,F2\n", "runs.csv has no column low, high, AP, only run, F2"),
    ],
)
def test_a_file_of_figures_that_is_damaged_or_old_is_named(home, file, text, sentence):
    """Among dozens of runs one looks for it otherwise."""
    (home.outputs / file).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        runs.table(home)


def test_figures_of_weights_that_are_gone_are_not_shown(home):
    """A network was trained anew after it was validated: its figures are those of another."""
    weights = dict(zip(NETS, ("w0", "w1"), strict=True))
    for name, noted in weights.items():
        write_json(home.outputs / name / "provenance.json", {"weights": noted})
    for notebook in ("30_validate", "90_submit"):
        write_inputs(home.outputs / notebook / "demo", Inputs(upstream=weights))
    assert runs.table(home, "demo", 0).F2.tolist() == [0.7, 0.5]
    write_json(home.outputs / NETS[1] / "provenance.json", {"weights": "anew"})
    found = runs.table(home, "demo", 0).set_index("run")
    assert found.loc[NETS[0], "F2"] == 0.5 and found.loc[NETS[1], ["F2", "hidden_F2"]].isna().all()
    with pytest.raises(ValueError, match=f"{NETS[1]} was not validated as it is now: .* such as {NETS[0]}$"):
        runs.compared(home, *NETS)


def test_two_runs_are_compared_tomogram_by_tomogram(home):
    """By hand: the second finds b and leaves c alone; both find a."""
    table, figures = runs.compared(home, *NETS)
    assert table.set_index("tomo_id")["changed"].to_dict() == {"b": True, "c": True, "a": False} or figures["one"] < 1
    assert figures["other"] == 1 and figures["difference"] == pytest.approx(1 - figures["one"])
    assert 0 <= figures["low"] <= figures["difference"] <= figures["high"]
    back = runs.compared(home, f"outputs/{NETS[1]}/", NETS[0])[1]  # as the shell completes it
    assert back["difference"] == -figures["difference"] and back["low"] == pytest.approx(-figures["high"], abs=0.15)


def test_the_symmetries_of_a_run_are_fused_before_it_is_compared(home):
    """Half of what one saw and the other did not: the figure is the one that `30_validate` gives the run."""
    file = home.run("30_validate", "demo").folder / "candidates.csv"
    found = pd.read_csv(file)
    extra = found[found.run == NETS[0]].assign(symmetry="zxy", score=0.1)
    write_table(file, pd.concat([found, extra]))
    table, _ = runs.compared(home, *NETS)
    assert table.set_index("tomo_id").one_score["a"] == pytest.approx((0.9 + 0.1) / 2)


def test_a_run_that_was_not_validated_cannot_be_compared(home):
    """It says which can; two runs without a tomogram in common neither."""
    with pytest.raises(ValueError, match="not validated.*20_train_resnext50/demo"):
        runs.compared(home, NETS[0], "21_train_densenet121/demo")
    judge = home.run("30_validate", "demo")
    held = pd.read_csv(judge.folder / "judged.csv")
    write_table(judge.folder / "judged.csv", held[(held.run == NETS[0]) == (held.tomo_id == "a")])
    with pytest.raises(ValueError, match="other tomograms"):
        runs.compared(home, *NETS)
