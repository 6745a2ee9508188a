"""`motors download ...`: the competition's data, and weights of networks; each complete or not at all."""

from typing import Annotated

import typer
from typer import Option

from motors.commands.terminal import pass_on, run_notebook, say

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="The competition's data, and weights.")


@app.command()
def competition() -> None:
    """The competition's data, 70 GB.

    Needs twice the space until they are unpacked; only missing files are fetched.
    """
    from motors.kaggle.competition import download
    from motors.workspace.paths import find

    say(f"{download(find(), show=pass_on)} is complete")


@app.command()
def pretrained() -> None:
    """Pretrained weights for training, 0.5 GB."""
    from motors.networks.pretrained import DATASET, addresses, fetch
    from motors.workspace.paths import new_dataset

    files = fetch(new_dataset(DATASET), addresses(), show=say)
    say(f"{len(files)} files of weights in {files[0].parent}")


@app.command()
def published() -> None:
    """The original author's five trained networks.

    From his dataset on Kaggle, converted for 90_submit, with the settings of his final submission.
    """
    from motors.kaggle.published import fetch
    from motors.workspace.paths import find

    say(f"the ensemble of the final submission: {fetch(find(), show=say)}")


@app.command("demo-weights")
def demo_weights(
    owner: Annotated[str, Option(help="user name of whoever published motors-weights, if you have not made them")] = "",
) -> None:
    """Networks of make demo, or their dataset.

    They are trained on simulated tomograms only, for trying things out.
    """
    from motors.kaggle.client import ask
    from motors.workspace.paths import PACKAGED, find

    home = find()
    run = home.run("90_submit", "demo")
    if owner:
        where = {"path": str(home.new_dataset(PACKAGED)), "unzip": True}
        ask("datasets download", lambda api: api.dataset_download_files(f"{owner}/{PACKAGED}", **where))
    try:
        say(f"networks of the demo, put together by {run.input('40_ensemble') / 'ensemble.json'}")
    except FileNotFoundError:
        raise FileNotFoundError("there are no networks of the demo: run make demo, or give --owner") from None


@app.command()
def external() -> int:
    """Tomograms with external labels, 200 GB.

    From the CryoET Data Portal, by the notebook 13_external_data.
    """
    from motors.workspace.paths import find

    return run_notebook(str(find().root / "notebooks" / "13_external_data.ipynb"), {"PROFILE": "full"})
