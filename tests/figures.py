"""The figures of the README, from what the runs of a profile wrote: after `make demo`, for every seed that was run.

python tests/figures.py --write
"""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path

import pandas as pd
from house import REPOSITORY, replaced

sys.path.insert(0, str(REPOSITORY / "tests" / "benchmarks"))
import measured


def read(path: Path) -> dict:
    """What a JSON file says; of none, nothing."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def two(value: float | None) -> str:
    """A figure of a table."""
    return "–" if value is None or pd.isna(value) else f"{value:.2f}"


def pair(row: dict) -> str:
    """F2 and average precision."""
    return f"{two(row.get('F2'))} / {two(row.get('AP', row.get('average precision')))}"


def label(name: str) -> str:
    """How a table names a network, or whatever stands beside networks."""
    short = name.partition("/")[0]
    return f"`{short}`" if "_train_" in short else short


def runs(outputs: Path, profile: str) -> dict[str, dict]:
    """The scores of all seeds that have been submitted, by the names of the runs, seed 0 first."""
    files = [outputs / "90_submit" / profile / "score.json"]
    files += sorted((outputs / "90_submit").glob(f"{profile}-seed*/score.json"))
    return {file.parent.name: found for file in files if (found := read(file))}


def whole(scores: dict[str, dict]) -> list[str]:
    """A table of submissions: a row for each seed."""
    head = ["run", "F2, 80 hidden tomograms", "95 % interval", "at the original's quantile, 0.55", "commit"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for run, score in scores.items():
        interval, commit = f"{score['low']:.2f} – {score['high']:.2f}", (score.get("commit") or "unknown")[:8]
        row = [f"`{run}`", f"{score['f2']:.3f}", interval, two(score["f2_original_quantile"])]
        lines += [f"| {' | '.join([*row, commit])} |"]
    if len(scores) > 1:
        means = (pd.Series([score[key] for score in scores.values()]).mean() for key in ("f2", "f2_original_quantile"))
        lines += ["| mean | {:.3f} | | {:.2f} | |".format(*means)]
    return lines


def networks(outputs: Path, scores: dict[str, dict]) -> list[str]:
    """A table of networks: F2 and average precision, out-of-fold in the first run and hidden in each."""
    first = next(iter(scores))
    ensemble = read(outputs / "40_ensemble" / first / "ensemble.json")
    judged = {name: row["alone"] for name, row in ensemble["leave_one_out"].items()}
    judged["all together"] = ensemble["methods"][ensemble["method"]]
    hidden = {run: {key.partition("/")[0]: row for key, row in score["parts"].items()} for run, score in scores.items()}
    head = [
        "F2 / average precision",
        f"out-of-fold, `{first}`",
        "95 % interval",
        *(f"hidden, `{run}`" for run in scores),
    ]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    table = outputs / "30_validate" / first / "networks.csv"
    baselines = pd.read_csv(table, index_col="network").to_dict("index") if table.is_file() else {}
    for name, row in ({k: v for k, v in baselines.items() if "_train_" not in k} | judged).items():
        short = name.partition("/")[0]
        parts = [pair(hidden[run].get(short, {})) for run in scores]
        interval = f"{two(row['low'])} – {two(row['high'])}"
        lines += [f"| {' | '.join([label(name), pair(row), interval, *parts])} |"]
    return lines


def folds(outputs: Path, profile: str) -> list[str]:
    """A table of the newest cross-validation, if there is one: F2 of each network by fold, and of all pooled."""
    found = sorted(outputs.glob(f"40_ensemble/{profile}*folds=*/ensemble.json"), key=lambda path: read(path)["time"])
    if not found:
        return []
    ensemble, table = read(found[-1]), pd.read_csv(outputs / "30_validate" / found[-1].parent.name / "networks.csv")
    parts = [name for name in table if name.startswith("fold ")]
    table = pd.concat([table, pd.DataFrame([ensemble["methods"][ensemble["method"]] | {"network": "all together"}])])
    head = [f"F2, {table['tomograms'].max():.0f} tomograms out-of-fold", *parts, "pooled", "95 % interval", "AP"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in table.to_dict("records"):
        cells = [*(two(row[part]) for part in parts), two(row["F2"]), f"{two(row['low'])} – {two(row['high'])}"]
        lines += [f"| {' | '.join([label(row['network']), *cells, two(row['AP'])])} |"]
    return ["", *lines]


def block(outputs: Path, profile: str) -> str:
    """The tables, one below the other."""
    scores = runs(outputs, profile)
    if not scores:
        sys.exit(f"no score of {profile!r} in {outputs.name}: run `motors reproduce --profile {profile}` first")
    return "\n".join([*whole(scores), "", *networks(outputs, scores), *folds(outputs, profile)])


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--outputs", type=Path, default=REPOSITORY / "outputs")
    parser.add_argument("--write", action="store_true", help="into the README")
    asked = parser.parse_args()
    text, page = block(asked.outputs, asked.profile), REPOSITORY / "README.md"
    if asked.write:
        page.write_text(replaced(page.read_text("utf-8"), "figures", text), encoding="utf-8")
        if list(measured.OUTPUTS.glob("*.json")):  # after `make bench`
            page.write_text(replaced(page.read_text("utf-8"), "benchmarks", measured.table()), encoding="utf-8")
    print(text)
