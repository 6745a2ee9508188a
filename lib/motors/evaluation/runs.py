"""Table of all trained networks, from the records of their runs, and comparison of two of them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from motors.ensemble.wbf import fuse
from motors.evaluation.cross_validation import judge, sure
from motors.evaluation.metrics import verdicts
from motors.experiments import catalogue
from motors.experiments.config import Experiment
from motors.geometry import MATCH_RADIUS
from motors.labels import formats
from motors.labels.table import solution
from motors.tables import CANDIDATE, TOMOGRAMS, read_table
from motors.workspace.files import read_json
from motors.workspace.paths import Run, Workspace
from motors.workspace.provenance import read_inputs, state

ABOUT = ["run", "experiment", "changed", "fold", "seed", "profile"]
SCORES = ["F2", "low", "high", "AP", "hidden_F2", "hidden_low", "hidden_high", "hidden_AP"]
COSTS = ["hours", "GiB", "commit", "notebook"]


def table(workspace: Workspace, profile: str | None = None, seed: int | None = None) -> pd.DataFrame:
    """Return one row per trained network of the workspace, the best out-of-fold F2 first, those without one last.

    A profile or a seed restricts the runs. The columns are run, `<notebook>/<name>`; experiment; changed, the
    settings that differ from the experiment of that name; fold; seed; profile; F2, low, high and AP in its held-out
    tomograms, from `30_validate`; the same with prefix hidden_, from `90_submit`; hours of training; GiB of memory;
    commit; notebook, the executed one, relative to the workspace. Values that no run has written are NaN or empty.
    """
    kinds = sorted(path.name for path in workspace.outputs.glob("2?_train_*"))
    runs = [run for kind in kinds for run in workspace.runs(kind, profile, seed)]
    rows = [_row(run) for run in runs if (run.folder / "weights" / "experiment.json").is_file()]
    found = pd.DataFrame(rows, columns=[*ABOUT, *COSTS])
    for judged in (_validated(workspace, profile, seed), _hidden(workspace, profile, seed)):
        found = found.merge(judged, on="run", how="left")
    return found[[*ABOUT, *SCORES, *COSTS]].sort_values("F2", ascending=False, na_position="last", ignore_index=True)


def _row(run: Run) -> dict[str, Any]:
    experiment = Experiment.read(run.folder / "weights" / "experiment.json")
    record = read_json(run.folder / "record.json")
    executed = run.folder / f"{run.notebook}.ipynb"
    place = executed.relative_to(run.workspace.root).as_posix() if executed.is_file() else ""
    about = {"run": f"{run.notebook}/{run.name}", "experiment": experiment.name, "changed": _changed(experiment)}
    about |= {"fold": experiment.fold, "seed": run.seed, "profile": run.profile, "notebook": place}
    seconds, memory = (record.get(name) or np.nan for name in ("seconds", "peak_memory_mib"))  # None: not known
    if (curve := run.folder / "metrics.csv").is_file() and curve.stat().st_size:  # run again, it trains nothing
        seconds = read_table(curve).get("seconds", pd.Series([seconds])).max()
    return about | {"hours": seconds / 3600, "GiB": memory / 1024, "commit": (record.get("commit") or "")[:8]}


def _changed(experiment: Experiment) -> str:
    """Return the settings that differ from the experiment of this name, in the syntax of SET."""
    try:
        base = asdict(catalogue.get(experiment.name))
    except ValueError:
        return "unknown experiment"
    mine = asdict(experiment)
    names = [name for name in mine if mine[name] != base[name] and name not in catalogue.PARAMETERS]
    return " ".join(f"{name}={str(mine[name]).replace(' ', '')}" for name in names)


def _validated(workspace: Workspace, profile: str | None, seed: int | None) -> pd.DataFrame:
    """Return the scores of every validated run, from the newest validation that has it."""
    files = [run.folder / "runs.csv" for run in workspace.runs("30_validate", profile, seed)]
    files = sorted((file for file in files if file.is_file()), key=lambda file: file.stat().st_mtime_ns)
    found = [pd.DataFrame(columns=["run", "F2", "low", "high", "AP"])]
    for file in files:
        table = read_table(file, found[0])[list(found[0])]
        found.append(table[[_is_of(workspace, file, name) for name in table["run"]]])
    return pd.concat(found[1:] or found).drop_duplicates("run", keep="last")


def _hidden(workspace: Workspace, profile: str | None, seed: int | None) -> pd.DataFrame:
    """Return the scores of runs on the hidden tomograms, if a submission scored them."""
    rows = {}
    for run in workspace.runs("90_submit", profile, seed):
        file = run.folder / "score.json"
        for name, row in read_json(file).get("parts", {}).items():
            if _is_of(workspace, file, name):
                rows[name] = {f"hidden_{figure}": value for figure, value in row.items()}
    hidden = [name for name in SCORES if name.startswith("hidden_")]
    return pd.DataFrame(rows, index=hidden).T.rename_axis("run").reset_index().infer_objects()


def _is_of(workspace: Workspace, file: Path, run: str) -> bool:
    """Return whether the scores of a run in a file are of its current weights; True if not recorded."""
    inputs, folder = read_inputs(file.parent), workspace.outputs / run
    return inputs is None or run not in inputs.upstream or (folder.is_dir() and inputs.upstream[run] == state(folder))


def compared(workspace: Workspace, one: str, other: str) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return `compare` of two runs, on tomograms both held out; raises ValueError if none, or one is not validated."""
    one, other = ("/".join(Path(name).parts[-2:]) for name in (one, other))  # of paths, as the shell completes them
    (first, mine), (second, theirs) = (out_of_fold(workspace, name) for name in (one, other))
    shared = mine.merge(theirs, on=[*TOMOGRAMS])
    if shared.empty:
        raise ValueError(f"{one} and {other} held out other tomograms: compare runs of one seed and one fold")
    notebook, _, name = one.partition("/")
    run = next(each for each in workspace.runs(notebook) if each.name == name)
    labels = formats.read(workspace.run("10_prepare_labels", run.profile, run.seed).folder).select(shared["tomo_id"])
    inside = (sure(table[table["tomo_id"].isin(shared["tomo_id"])], labels) for table in (first, second))
    return compare(solution(labels), *inside)


def out_of_fold(workspace: Workspace, run: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the candidates of a run, fused over symmetries, from its newest `30_validate`, and what it held out.

    Raises ValueError if no `30_validate` has the run with its current weights.
    """
    files = sorted(workspace.outputs.glob("30_validate/*/judged.csv"), key=lambda file: -file.stat().st_mtime_ns)
    known: set[str] = set()
    for file in files:
        judged = read_table(file)
        current = {name for name in judged["run"].unique() if _is_of(workspace, file, name)}
        known |= current
        if run in current:
            found = read_table(file.with_name("candidates.csv")).astype(CANDIDATE)
            tomograms = read_table(file.with_name("held_out.csv"))
            mine = tomograms[tomograms["tomo_id"].isin(judged.loc[judged["run"] == run, "tomo_id"])]
            radii = (MATCH_RADIUS / mine.set_index("tomo_id")["spacing"]).to_dict()
            found = found[(found["run"] == run) & found["tomo_id"].isin(radii)]
            inputs = read_inputs(file.parent)
            skip = inputs.settings.get("skip", 0.0) if inputs else 0.0
            return fuse(found, radius_voxels=radii, skip=skip), mine[TOMOGRAMS]
    some = ", ".join(sorted(known)[:3]) or "none so far"
    raise ValueError(f"{run} was not validated as it is now: run 30_validate, or choose one that was, such as {some}")


def compare(truth: pd.DataFrame, one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the verdicts of two lists of candidates on each tomogram, and by how much the second is better.

    Each is thresholded as in `cross_validation.judge`; the truth is a `labels.table.solution` of the tomograms that
    both predicted. By tomogram: tomo_id, one, other (verdicts), one_score, other_score (of the best candidates),
    changed (whether right became wrong or wrong right); sorted by changed first, then by descending difference of
    scores. And F2 of one and other, their difference, and its 95 % interval low, high of the paired bootstrap.
    """
    first = judge(truth, one)
    second = judge(truth, other, first["answer"])
    tables = []
    for name, row in (("one", first), ("other", second)):
        verdict = verdicts(truth, row["answer"].drop(columns="score")).set_index("tomo_id")["verdict"]
        score = row["answer"].set_index("tomo_id")["score"]
        tables += [verdict.rename(name), score.rename(f"{name}_score")]
    found = pd.concat(tables, axis=1).rename_axis("tomo_id").reset_index()
    found["changed"] = found["one"].isin(["TP", "TN"]) != found["other"].isin(["TP", "TN"])
    found["far"] = (found["one_score"] - found["other_score"]).abs()
    found = found.sort_values(["changed", "far"], ascending=False, kind="stable", ignore_index=True)
    change = {"one": first["F2"], "other": second["F2"], "difference": second["F2"] - first["F2"]}
    change |= {"low": second["better_low"], "high": second["better_high"]}
    return found.drop(columns="far"), change
