"""`motors download ...`: the competition's data and weights of others, each complete or not there."""

from __future__ import annotations

import typer

from motors.commands.terminal import run_notebook, say

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="The competition's data, and weights.")


@app.command()
def competition() -> None:
    """The competition's data: 70 GB, and as much again until they are unpacked."""
    from motors.kaggle.competition import download
    from motors.workspace.paths import find

    say(f"{download(find())} is complete")


@app.command()
def pretrained() -> None:
    """The weights that the original's five networks began with, 0.5 GB."""
    from motors.networks.pretrained import DATASET, addresses, fetch
    from motors.workspace.paths import new_dataset

    files = fetch(new_dataset(DATASET), addresses(), show=say)
    say(f"{len(files)} files of weights in {files[0].parent}")


@app.command()
def external() -> int:
    """Tomograms of the CryoET Data Portal that have external labels: 200 GB, by 13_external_data."""
    from motors.workspace.paths import find

    return run_notebook(str(find().root / "notebooks" / "13_external_data.ipynb"), {"PROFILE": "full"})
