"""Notebooks that were run again and saved differ in git only where results do."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path

import pytest
import toys

from motors.pipeline.tidy import KERNEL, WIDGET, install, tidied, written

BAR = "toy: 100%|█████| 16/16 [00:{:02d}<00:00,  {}it/s, loss=0.{}]"


def notebook(second: int, *, count: int = 1, result: str = "F2 0.926") -> dict:
    """A notebook as JupyterLab saves it: run in some second, with a result."""
    data = {"image/jpeg": "abcd", "text/plain": ["<Viewer>"], WIDGET: {"model_id": f"{second}"}}
    text = f"{result} after {second / 7:.1f} minutes\n"
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {"text/plain": [BAR.format(second, second, second)]}},
        {"output_type": "stream", "name": "stdout", "text": [text]},
        {"output_type": "execute_result", "execution_count": count, "metadata": {"w": 1}, "data": data},
    ]
    about = {"tags": ["parameters"], "execution": {"iopub.execute_input": f"2026-01-01T00:00:{second:02d}Z"}}
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {"editable": True}, "source": ["# Title"]},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": about,
            "execution_count": count,
            "source": ["x"],
            "outputs": outputs,
        },
    ]
    state = {"widgets": {"state": {f"{second}": {}}}, "language_info": {"name": "python", "version": f"3.{second}"}}
    return {"cells": cells, "metadata": state, "nbformat": 4, "nbformat_minor": 5}


def test_what_changes_from_run_to_run_goes_and_outputs_and_tags_stay():
    """The picture of a widget stays, the widget goes; a notebook that is tidy stays as it is."""
    once = tidied(notebook(3, count=5))
    assert once["metadata"] == KERNEL
    assert [cell["metadata"] for cell in once["cells"]] == [{}, {"tags": ["parameters"]}]
    code = once["cells"][1]
    assert code["execution_count"] == code["outputs"][2]["execution_count"] == 1
    assert set(code["outputs"][2]["data"]) == {"image/jpeg", "text/plain"}
    assert written(tidied(once)) == written(once)
    assert written(tidied(notebook(4, count=7), once)) == written(once)


def test_a_result_that_changed_is_seen_whole():
    """With the durations of the run that gave it; so is one of another source, and cells run out of order."""
    once, again = tidied(notebook(3)), notebook(4, result="F2 0.927")
    assert "F2 0.927 after 0.6" in tidied(again, once)["cells"][1]["outputs"][1]["text"][0]
    other = copy.deepcopy(notebook(4))
    other["cells"][1]["source"] = ["y"]
    assert "after 0.6" in tidied(other, once)["cells"][1]["outputs"][1]["text"][0]
    jumped = notebook(3)
    jumped["cells"] = [{**jumped["cells"][1], "execution_count": count, "id": str(count)} for count in (4, 2)]
    assert [cell["execution_count"] for cell in tidied(jumped)["cells"]] == [4, 2]


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["toy.ipynb", "a toy.ipynb"])
def test_git_sees_no_difference_after_a_run_and_a_save(tmp_path, monkeypatch, name):
    """In a clone of its own, also with a blank in the name; a file that is not a notebook is committed as it is."""
    paths = os.pathsep.join([str(toys.REPOSITORY / "lib"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)

    def git(*words: str) -> str:
        line = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(line, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    with pytest.raises(ValueError, match="no clone"):
        install(Path(tmp_path))
    git("init", "-q")
    install(Path(tmp_path))
    (tmp_path / ".gitattributes").write_text("*.ipynb filter=notebooks\n")
    (tmp_path / "broken.ipynb").write_text("none")
    (tmp_path / name).write_text(json.dumps(notebook(3)))
    git("add", "-A")
    git("commit", "-qm", "first")
    assert json.loads(git("show", f"HEAD:{name}"))["metadata"] == KERNEL
    assert git("show", "HEAD:broken.ipynb") == "none"
    (tmp_path / name).write_text(json.dumps(notebook(9, count=4)))
    git("add", "-A")
    assert git("status", "--porcelain") == ""
    (tmp_path / name).write_text(json.dumps(notebook(9, result="F2 0.9")))
    assert "F2 0.9 after 1.3" in git("diff")
