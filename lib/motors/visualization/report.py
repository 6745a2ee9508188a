"""A report of a whole run: HTML pages that open from disk, without a server, a network or other files."""

import html
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from motors.pipeline.graph import Step, steps
from motors.pipeline.lean import lean
from motors.tables import read_table
from motors.workspace.files import read_json, write_text
from motors.workspace.paths import find

PICTURES = {"90_submit": "Found in the test set", "30_validate": "Validation: misses and false alarms first"}
ROWS = 12  # of the submission on the first page
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; } a { color: #0072b2; } a.anchor-link { visibility: hidden; }
img, svg { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
pre { overflow-x: auto; padding: 0.5rem; margin: 0.3rem 0; font-size: 0.85rem; } .highlight pre { background: #f5f6f8; }
div[class*=output] { overflow-x: auto; } .score { font-size: 2rem; margin: 0.5rem 0; }
.failed { color: #b34700; font-weight: bold; } small { color: #666; }
"""


def write_report(run: str = "demo", *, start: Path | str | None = None) -> Path:
    """Write the report of a reproduction to `outputs/<run>` and return its first page, index.html.

    `run` is a profile, with its seed where that is not 0: "demo", "demo-seed1"; `start` a folder in the workspace, by
    default the current one. Raises ValueError if there is no such profile, or none of its notebooks has been run.
    """
    with lean():
        from nbconvert import HTMLExporter

    workspace = find(start)
    profile, _, seed = run.partition("-seed")
    if seed and not seed.isdigit():
        raise ValueError(f"run {run!r}: {seed!r} is not a seed: write <profile> or <profile>-seed<N>")
    plan = steps(workspace, profile, int(seed or 0))
    records = {name: record for name, step in plan.items() if (record := read_json(step.run.folder / "record.json"))}
    if not records:
        raise ValueError(f"nothing of {run!r} has been run: motors reproduce --profile {profile} first")
    folder, plan = workspace.outputs / run, {name: plan[name] for name in records}
    shown = [name for name in records if plan[name].executed.is_file()]
    plain = {"exclude_anchor_links": True, "exclude_input_prompt": True, "exclude_output_prompt": True}
    export = HTMLExporter(template_name="basic", **plain)
    for name in shown:
        body = _rendered(plan[name].executed, export)
        links = f'<p><a href="index.html">report of {run}</a> · {_neighbours(shown, name)}</p>'
        write_text(folder / f"{name}.html", _page(name, links + body + links))
    submitted = plan["90_submit"].run.folder if "90_submit" in plan else folder
    score = read_json(submitted / "score.json")
    parts = [f"<h1>Report of {html.escape(run)}</h1>", *_scores(score), *_networks(score, records), *_pictures(plan)]
    parts += [*_submission(submitted, folder), *_timings(records, shown), *_environment(records)]
    return write_text(folder / "index.html", _page(f"Report of {run}", "\n".join(parts)))


def _page(title: str, body: str) -> str:
    from pygments.formatters import HtmlFormatter

    style = STYLE + HtmlFormatter().get_style_defs(".highlight")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table in HTML; cells that begin with "<a" or "<span" are not escaped."""

    def cell(value: Any) -> str:
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        return text if text.startswith(("<a", "<span")) else html.escape(text)

    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{cell(value)}</td>' for value in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>'


def _neighbours(names: list[str], name: str) -> str:
    k = names.index(name)
    near = [(word, names[n]) for word, n in (("before", k - 1), ("next", k + 1)) if 0 <= n < len(names)]
    return " · ".join(f'{word}: <a href="{other}.html">{other}</a>' for word, other in near)


def _rendered(executed: Path, export: Any) -> str:
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)  # without widget states, their pictures are shown
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        if "text/html" in data:  # by pandas, no longer valid HTML
            valid = re.sub(r"<style scoped>.*?</style>", "", data["text/html"], flags=re.DOTALL)
            data["text/html"] = valid.replace('border="1" ', "").replace("<th></th>", "<td></td>")
    body, _ = export.from_notebook_node(notebook)
    body = re.sub(r'href="(\d\d_\w+)\.ipynb', r'href="\1.html', body)
    return re.sub(r"<(/?)main\b", r"<\1div", body)


def _pictures(plan: dict[str, Step]) -> list[str]:
    """Return the largest JPEG of notebooks in `PICTURES`."""
    parts = []
    for name, title in PICTURES.items():
        notebook = read_json(plan[name].executed) if name in plan else {}
        outputs = [output.get("data", {}) for cell in notebook.get("cells", []) for output in cell.get("outputs", [])]
        found = ["".join(data["image/jpeg"]).replace("\n", "") for data in outputs if "image/jpeg" in data]
        if found:
            best = max(found, key=len)
            parts.append(f'<h2>{title}</h2>\n<img alt="{title}" src="data:image/jpeg;base64,{best}">')
            parts.append(f'<p><a href="{name}.html">{name}</a></p>')
    return parts


def _scores(score: dict[str, Any]) -> list[str]:
    if not score:
        return ["<p>The answers of the test set are not known here: no score.</p>"]
    interval = f"95 % interval {score['low']:.3f} to {score['high']:.3f}"
    other = f"; {score['f2_original_quantile']:.3f} at the original solution's quantile, 0.55"
    return [f'<p class="score">F2 {score["f2"]:.3f}</p>\n<p>on the hidden test set; {interval}{other}</p>']


def _networks(score: dict[str, Any], records: dict[str, dict]) -> list[str]:
    """Return a table of trained networks: each alone on the test set, F2 and AP, and minutes of its notebook."""
    parts = {name.partition("/")[0]: values for name, values in score.get("parts", {}).items()}
    trained = sorted(name for name in records if re.match(r"2\d_train_", name))
    rows = []
    for name in dict.fromkeys([*parts, *trained]):
        record, values = records.get(name, {}), parts.get(name, {})
        minutes = f"{record['seconds'] / 60:.1f}" if record.get("seconds") else "–"
        rows.append([name, values.get("F2", "–"), values.get("AP", "–"), minutes])
    head = ["network", "F2", "average precision", "minutes of its notebook"]
    return ["<h2>Networks</h2>", _table(head, rows)] if rows else []


def _submission(submitted: Path, folder: Path) -> list[str]:
    path = submitted / "submission.csv"
    if not path.is_file():
        return []
    table = read_table(path)
    text = f"{len(table)} rows, the first {min(ROWS, len(table))}; −1 is no motor."
    link = f'<a href="{html.escape(os.path.relpath(path, folder))}">submission.csv</a>'
    return ["<h2>Submission</h2>", f"<p>{link}: {text}</p>", _table(list(table), table.head(ROWS).to_numpy().tolist())]


def _timings(records: dict[str, dict], shown: list[str]) -> list[str]:
    rows = []
    for name, record in records.items():
        link = f'<a href="{name}.html">{name}</a>' if name in shown else name
        status = record.get("status", "unknown")
        status = status if status == "succeeded" else f'<span class="failed">{html.escape(status)}</span>'
        sizes = sum(about["bytes"] for about in record.get("outputs", {}).values())
        parameters = {k: v for k, v in record.get("parameters", {}).items() if k not in ("PROFILE", "SEED")}
        words = ", ".join(f"{name}={value}" for name, value in parameters.items()) or "–"
        peak = record.get("peak_memory_mib") or "–"
        rows.append([link, status, f"{record.get('seconds') or 0:.0f}", peak, f"{sizes / 2**20:.1f}", words])
    head = ["notebook", "status", "seconds", "peak MiB", "MiB written", "parameters"]
    total = sum(record.get("seconds") or 0 for record in records.values()) / 60
    return ["<h2>Notebooks</h2>", f"<p>{total:.0f} minutes, one after the other</p>", _table(head, rows)]


def _environment(records: dict[str, dict]) -> list[str]:
    last = max(records.values(), key=lambda record: record.get("started", ""))
    commit = f"{(last.get('commit') or 'unknown')[:12]}{', changed' if last.get('changed') else ''}"
    rows = [["commit", commit], ["started", last.get("started", "unknown")], *last.get("versions", {}).items()]
    return ["<h2>Environment</h2>", _table(["what", "value"], rows)]
