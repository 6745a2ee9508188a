"""`motors kaggle ...`: datasets, the notebook and its output, sent in the steps of notebook 50."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from motors.commands.terminal import pass_on, say

if TYPE_CHECKING:
    from motors.workspace.paths import Run

PACKING = "50_package_for_kaggle"
Slugs = Annotated[list[str], Argument(help="folders of kaggle_datasets, such as motors-lib motors-weights")]
Profile = Annotated[str, Option(metavar="smoke|demo|full", help="whose outputs")]
Seed = Annotated[int, Option(min=0, help="whose outputs")]
Networks = Annotated[str, Option(help="training notebooks; by default all of the ensemble")]
Owner = Annotated[str, Option(help="your user name on Kaggle")]
DryRun = Annotated[bool, Option("--dry-run", help="check everything, send nothing, say what would be sent")]

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Datasets, notebook and submission to Kaggle.")


def _run(profile: str, seed: int) -> Run:
    from motors.workspace.paths import find

    return find().run(PACKING, profile, seed)


@app.command()
def package(slugs: Slugs, profile: Profile = "demo", seed: Seed = 0, networks: Networks = "") -> None:
    """Fill the folders of datasets."""
    from motors.kaggle.packages import package as fill

    for slug in slugs:
        made = fill(slug, _run(profile, seed), networks.split())
        say(f"{slug}: {len(made.files)} files, {made.size:,} bytes")


@app.command()
def publish(
    slugs: Slugs,
    owner: Owner,
    profile: Profile = "demo",
    seed: Seed = 0,
    public: Annotated[bool, Option("--public", help="let everybody see new datasets")] = False,
    dry_run: DryRun = False,
) -> None:
    """Send packed datasets.

    Unchanged datasets are not sent again.
    """
    from motors.kaggle import publishing
    from motors.kaggle.packages import check, packed

    run = _run(profile, seed)
    packages = [packed(slug, run) for slug in slugs]
    check(packages, owner)
    for each in packages:
        if dry_run:
            say(f"would run: {publishing.plan(each, owner)}")
        else:
            say(f"{owner}/{each.slug}: {publishing.publish(each, owner, run.workspace, public=public, show=pass_on)}")


@app.command()
def push(
    owner: Owner, profile: Profile = "demo", seed: Seed = 0, networks: Networks = "", dry_run: DryRun = False
) -> None:
    """Send the notebook 90_submit, which Kaggle then runs."""
    from motors.kaggle import publishing

    folder = publishing.kernel(_run(profile, seed), owner, {"NETWORKS": networks})
    if dry_run:
        say(f"would push {folder}")
        return
    ref, version = publishing.push(folder)
    say(f"pushed: motors kaggle submit {ref} {version} -m <message>, once it is complete")


@app.command()
def submit(
    notebook: Annotated[str, Argument(help="<user name>/<slug>, as push said")],
    version: Annotated[int, Argument(help="as push said")],
    message: Annotated[str, Option("-m", "--message", help="what the submission is")],
    competition: Annotated[str, Option(help="by default that of the motors")] = "",
    dry_run: DryRun = False,
) -> None:
    """Hand in the output of a pushed notebook, once."""
    from motors.kaggle import publishing
    from motors.workspace.paths import COMPETITION

    say(publishing.submit(competition or COMPETITION, notebook, version, message, dry_run=dry_run))


@app.command()
def lock() -> None:
    """Look up the wheels that Kaggle lacks.

    Versions and hashes of what the library needs and Kaggle's image lacks.
    """
    import tempfile

    from motors.kaggle import wheels
    from motors.workspace.paths import find

    home = find()
    folder = home.new_dataset("motors-wheels")
    with tempfile.TemporaryDirectory() as output:
        built = wheels.build(home.root / "lib", Path(output))
        typer.echo(wheels.lock(built, folder / wheels.IMAGE, folder / wheels.LOCK).read_text(encoding="utf-8").rstrip())
