"""The report of a run: whole pages that open from disk, with what the run's files say."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import toys
from bleach._vendor import html5lib

from motors.visualization.report import write_report
from motors.workspace.files import write_json

PLAN = """
graph: {20_train_toy: [], 30_validate: [20_train_toy], 90_submit: [30_validate]}
alone: {}
profiles: {demo: {20_train_toy: , 30_validate: , 90_submit: }}
"""
TABLE = """<div>
<style scoped>
.dataframe tbody tr th { vertical-align: top; }
</style>
<table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th><th>F2</th></tr></thead>
<tbody><tr><th>a</th><td>1</td></tr></tbody></table></div>"""


def picture(grey: int) -> str:
    """A JPEG in base64."""
    return base64.b64encode(cv2.imencode(".jpg", np.full((40, 60), grey, np.uint8))[1]).decode()


def executed(path: Path, number: int) -> None:
    """Write an executed notebook: a link, a figure, a table, a widget beside its still, and an error."""
    shown = {"text/plain": "<Figure>", "image/jpeg": picture(20 * number)}
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1", "version_major": 2, "version_minor": 0}}
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": shown},
        {"output_type": "display_data", "metadata": {}, "data": shown | widget},
        {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/html": TABLE}},
        {"output_type": "stream", "name": "stdout", "text": "one < two & three\n"},
        {
            "output_type": "error",
            "ename": "ValueError",
            "evalue": "<no>",
            "traceback": ["\u001b[31mValueError\u001b[0m"],
        },
    ]
    text = "# Title\n> Why & how.\n\n- a [link](30_validate.ipynb)\n- x < y\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": text},
        {"cell_type": "code", "id": "b", "metadata": {}, "execution_count": 1, "source": "1 < 2", "outputs": outputs},
    ]
    about = {"widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"1": {}}, "version_major": 2}}}
    path.write_text(json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def workspace(tmp_path) -> Path:
    """A run of three notebooks, the last of which failed."""
    root = toys.workspace(tmp_path / "work space")
    (root / "notebooks" / "experiments.yaml").write_text(PLAN)
    for number, name in enumerate(("20_train_toy", "30_validate", "90_submit"), start=1):
        toys.notebook(root, name)
        folder = root / "outputs" / name / "demo"
        folder.mkdir(parents=True)
        executed(folder / f"{name}.ipynb", number)
        record = {"status": "failed" if number == 3 else "succeeded", "seconds": 90.0 * number, "peak_memory_mib": None}
        record |= {"parameters": {"PROFILE": "demo", "SEED": 0, "STEPS": "<7>"}, "commit": "abc123", "changed": True}
        record |= {
            "versions": {"python": "3.11.9"},
            "started": f"2026-01-0{number}",
            "outputs": {"x": {"bytes": 2**20}},
        }
        write_json(folder / "record.json", record)
    parts = {"all together": {"F2": 0.9, "AP": 0.8}, "20_train_toy/demo": {"F2": 0.7512}}
    write_json(
        folder / "score.json", {"f2": 0.912, "low": 0.85, "high": 0.97, "f2_original_quantile": 0.8, "parts": parts}
    )
    (folder / "submission.csv").write_text("tomo_id,Motor axis 0\n" + "".join(f"tomo_{k},{k}.0\n" for k in range(20)))
    return root


def test_the_first_page_says_what_came_out_and_where_it_lies(workspace):
    """Score, networks, submission, timings, environment, and a link that works to everything."""
    index = write_report("demo", start=workspace)
    assert index == workspace / "outputs" / "demo" / "index.html"
    page = index.read_text(encoding="utf-8")
    for words in (
        "F2 0.912",
        "0.850 to 0.970",
        "0.751",
        "20 rows",
        "tomo_11",
        "abc123, changed",
        "3.11.9",
        "9 minutes",
    ):
        assert words in page, words
    assert "tomo_12" not in page and "STEPS=&lt;7&gt;" in page and '<span class="failed">failed</span>' in page
    for link in re.findall(r'href="([^"#]+)"', page):
        assert (index.parent / link).is_file(), link
    assert page.count("data:image/jpeg;base64,") == 2, "one picture of each of two notebooks"


def test_pages_are_valid_whole_and_ask_for_nothing_from_elsewhere(workspace):
    """HTML5 without errors, under 5 MiB, no script, no address but in links; widgets are shown as pictures."""
    folder = write_report("demo", start=workspace).parent
    pages = sorted(folder.glob("*.html"))
    assert [page.stem for page in pages] == ["20_train_toy", "30_validate", "90_submit", "index"]
    for path in pages:
        page = path.read_text(encoding="utf-8")
        parser = html5lib.HTMLParser(strict=False)
        parser.parse(page)
        assert list(parser.errors) == []
        assert not re.search(r"<script|<link|<iframe|@import|url\(|(?:src|srcset)=\"(?!data:)", page)
        assert not re.search(r"border=|<style scoped|widget-view", page) and len(page) < 5 * 2**20
        assert 'name="viewport"' in page
    page = pages[0].read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2 and 'href="30_validate.html"' in page
    assert "one &lt; two &amp; three" in page and "\u001b" not in page


def test_what_was_not_run_is_left_out_and_nothing_at_all_is_refused(workspace):
    """A reproduction that stopped early has a report too."""
    (workspace / "outputs" / "90_submit" / "demo" / "record.json").unlink()
    page = write_report("demo", start=workspace).read_text(encoding="utf-8")
    assert "90_submit.html" not in page and "30_validate.html" in page
    for run, words in (("demo-seed1", "nothing of 'demo-seed1'"), ("full", "no profile"), ("demo-seedx", "not a seed")):
        with pytest.raises(ValueError, match=words):
            write_report(run, start=workspace)
