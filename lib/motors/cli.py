"""The command `motors`, quick to start because every command imports what it needs when it runs."""

import errno
import os
import sys
import warnings
from typing import Annotated

import typer
from typer import Argument, Option

from motors.commands import detect, download, kaggle
from motors.commands.terminal import CODES, DONE, FAILED, INTERRUPTED, REFUSED, run_notebook, say, settle_in

PLAIN = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "no_args_is_help": True}
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {words}" for code, words in CODES.items())
UsageError = typer.BadParameter.__base__  # click's, wherever typer keeps its own copy of click
Profile = Annotated[str, Option(metavar="smoke|demo|full", help="seconds, minutes on a laptop, or the real thing")]
Seed = Annotated[int, Option(min=0, help="of everything random; it names the runs")]

app = typer.Typer(**PLAIN, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
app.command()(detect.detect)
app.add_typer(download.app, name="download")
app.add_typer(kaggle.app, name="kaggle")


def _version(asked: bool) -> None:
    if asked:
        import motors

        typer.echo(motors.__version__)
        raise typer.Exit


@app.callback()
def motors(
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True, help="show the version")] = False,
    traceback: Annotated[bool, Option("--traceback", help="show where an error arose")] = False,
    accept_code: Annotated[bool, Option("--accept-code", help="accept results that older code made")] = False,
) -> None:
    """Find flagellar motors in cryo-electron tomograms of bacteria."""
    # Waiting threads yield their core: without this, a step of the demo took ten times as long on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if accept_code:  # a refactoring that computes the same: recorded beside the results
        from motors.workspace.provenance import ACCEPT

        os.environ[ACCEPT] = "1"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code; an error is one sentence on standard error."""
    settle_in()
    # In an ASCII locale, file names may not be; without docstrings (-OO) torchmetrics cannot be imported.
    if arguments is None and (sys.getfilesystemencoding() != "utf-8" or sys.flags.optimize > 1):
        os.environ.pop("PYTHONOPTIMIZE", None)
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-m", "motors", *sys.argv[1:]])
    words = _paired(sys.argv[1:] if arguments is None else arguments)
    try:
        os.getcwd()  # raises if it is gone
        return app(words, prog_name="motors", standalone_mode=False) or DONE
    except UsageError as error:
        message = error.format_message()
        say(message[0].upper() + message[1:] if message else error.ctx.get_help())  # no arguments: show the help
        return REFUSED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (RuntimeError, ValueError, OSError, ModuleNotFoundError) as error:
        if "--traceback" in words:
            raise
        say(_sentence(error))
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        return REFUSED if isinstance(error, ValueError | OSError) and not full else FAILED


def _sentence(error: Exception) -> str:
    """Return an error's message in one line."""
    if isinstance(error, ModuleNotFoundError):
        return f'{error.name} is not installed: pip install -e "./lib[dev]", or the extra that has it'
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename} cannot be used ({error.strerror}): check its folder, its owner and its disk"
        kept = ": free some space and run the same again, what is finished is kept"
        if error.errno == errno.ENOENT and not error.filename:
            return "the current folder is gone: change to one that exists"
        return what if error.filename else error.strerror + kept * (error.strerror == os.strerror(errno.ENOSPC))
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _paired(words: list[str]) -> list[str]:
    """Join `-p NAME VALUE` of the command `run` to one word, so that a value may begin with a minus."""
    joined: list[str] = []
    left, runs = list(words), next((word for word in words if not word.startswith("-")), None) == "run"
    while left:
        word = left.pop(0)
        if runs and word in ("-p", "--parameter") and len(left) > 1 and "=" not in left[0]:
            word = f"--parameter={left.pop(0)}={left.pop(0)}"
        joined.append(word)
    return joined


@app.command()
def run(
    notebook: Annotated[str, Argument(help="the .ipynb file, in the folder notebooks of a workspace")],
    parameter: Annotated[
        list[str] | None, Option("-p", "--parameter", metavar="NAME VALUE", help="may be given again")
    ] = None,
) -> int:
    """Run one notebook strictly.

    Unknown parameters are refused, and a dead kernel is a failure.
    """
    pairs = [word.partition("=") for word in parameter or []]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"-p {wrong[0]} has no value: write -p NAME VALUE")
    names = [name for name, *_ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"-p {twice[0]} is given twice: give it one value")
    return run_notebook(notebook, {name: value for name, _, value in pairs})


@app.command()
def reproduce(
    profile: Profile = "demo",
    seed: Seed = 0,
    experiment: Annotated[str, Option(help="only this one, with what it needs and what judges it")] = "",
    fold: Annotated[int, Option(min=-1, help="of the experiment, held out; -1 trains on all")] = 0,
    settings: Annotated[str, Option("--set", help='of the experiment: "learning_rate=1e-4 steps=200"')] = "",
    folds: Annotated[int, Option(help="cross-validation: how many folds are trained")] = 0,
    networks: Annotated[str, Option(help="of the cross-validation: experiments; by default all networks")] = "",
    sweep: Annotated[str, Option(help="a grid of experiments.yaml, such as sigma")] = "",
    cores: Annotated[int | None, Option(min=1, help="processor cores, or jobs on a cluster; by default all")] = None,
    executor: Annotated[str, Option(help="where jobs run: slurm; by default here")] = "",
    shards: Annotated[int, Option(min=0, help="jobs that share the tomograms of 90_submit, 20 to 50 each")] = 0,
    dry_run: Annotated[
        bool, Option("--dry-run", help="only say what would run, and what it is expected to take")
    ] = False,
) -> int:
    """Run the notebooks that are not current.

    Those of a profile, with a report at the end; or of one experiment, of a cross-validation, or of a sweep.
    """
    from motors.pipeline import reproduce as pipeline

    asked = None
    if experiment or fold or settings or folds or networks or sweep:
        from motors.pipeline.asked import Request

        asked = Request(experiment, fold, settings, folds, networks, sweep)
    options = {"cores": cores, "dry_run": dry_run, "asked": asked, "executor": executor, "shards": shards}
    code = pipeline.reproduce(profile, seed, say=say, **options)
    if code == DONE and not (dry_run or asked):
        report(f"{profile}-seed{seed}" if seed else profile)
    return code


@app.command()
def report(run: Annotated[str, Argument(help="profile, or <profile>-seed<N>")] = "demo") -> None:
    """Write pages about a run that open from disk.

    Score, networks, timings, the submission and every executed notebook, in outputs/RUN/index.html.
    """
    from motors.visualization.report import write_report

    say(f"report: {os.path.relpath(write_report(run))}")


@app.command()
def keep(
    profile: Profile = "demo",
    seed: Seed = 0,
    tidy: Annotated[bool, Option("--filter", help="only let git leave out what changes from run to run")] = False,
) -> None:
    """Keep executed notebooks, to commit them.

    Their outputs replace those of the notebooks themselves, without what changes from run to run.
    """
    from motors.pipeline import reproduce as pipeline, tidy as cleaning
    from motors.workspace.paths import find

    if tidy:
        say(f"git cleans notebooks with: {cleaning.install(find().root)}")
        return
    for path in pipeline.keep(profile, seed):
        say(f"kept {path.name}")


@app.command()
def simulate(
    folder: Annotated[str, Argument(help="where the competition goes; one begun is completed")],
    profile: Profile = "demo",
    seed: Seed = 0,
) -> None:
    """Make a competition of simulated tomograms.

    It has the format of the real one.
    """
    from motors.simulate import competition
    from motors.simulate.recipe import RECIPES

    if profile not in RECIPES:
        raise ValueError(f"there is no recipe {profile!r}: choose one of {', '.join(RECIPES)}")
    typer.echo(competition.simulate(folder, RECIPES[profile], seed))


@app.command()
def score(
    submission: Annotated[str, Argument(help="folder of `motors detect --out`, or a CSV: tomo_id and z, y, x or -1")],
    solution: Annotated[
        str, Argument(help="tomo_id, z, y, x, spacing, has_motor; train_labels.csv; metadata.json of a benchmark")
    ],
    split: Annotated[str, Option(help="of the benchmark, such as test; by default all of it")] = "",
    object_name: Annotated[str, Option("--object", help="of the benchmark: what its motors are called")] = "",
) -> None:
    """Score a submission as the competition does.

    F2, with a 95 % bootstrap interval over the tomograms.
    """
    from pathlib import Path

    from motors.evaluation import benchmark, metrics

    others = Path(solution).suffix.lower() == ".json"
    if (split or object_name) and not others:
        raise ValueError(f"--split and --object are for a benchmark's metadata.json, not {solution}: leave them out")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        names = {"split": split, "object_name": object_name}
        truth = benchmark.truth(solution, **names) if others else benchmark.solution(solution)
    for each in said:
        say(str(each.message))
    if Path(submission).is_dir():
        answer = benchmark.found(submission, angstrom=others)
        answer = answer[answer["tomo_id"].isin(truth["tomo_id"])]
    elif others:
        raise ValueError(f"{submission} is not a folder: a benchmark is compared with what motors detect --out wrote")
    else:
        answer = benchmark.answer(submission)
    value, (low, high) = metrics.f2(truth, answer), metrics.bootstrap(truth, answer)
    typer.echo(f"F2 {value:.3f}, 95 % interval {low:.3f} to {high:.3f}, {truth['tomo_id'].nunique()} tomograms")


@app.command()
def runs(
    profile: Annotated[str, Option(metavar="smoke|demo|full", help="only its runs; by default all")] = "",
    seed: Annotated[int | None, Option(min=0, help="only its runs; by default all")] = None,
    csv: Annotated[bool, Option("--csv", help="all columns, as a CSV table")] = False,
) -> None:
    """List every trained network with its score and its cost.

    Out-of-fold and on the hidden test; best first.
    """
    from motors.evaluation.runs import table
    from motors.workspace.paths import find

    found = table(find(), profile or None, seed)
    if found.empty:
        every = table(find())[["profile", "seed"]].drop_duplicates()
        there = ", ".join(f"--profile {name} --seed {number}" for name, number in every.to_numpy())
        raise ValueError(f"no such network is trained: {f'there are {there}' if there else 'train one first'}")
    short = found[["run", "changed", "F2", "low", "high", "AP", "hidden_F2", "hours"]].round(3)
    typer.echo(found.to_csv(index=False).rstrip() if csv else short.to_string(index=False, na_rep=""))


@app.command()
def compare(
    one: Annotated[str, Argument(help="a run, such as 20_train_resnext50/demo")],
    other: Annotated[str, Argument(help="another one")],
) -> None:
    """Compare two trained networks.

    On the tomograms that neither has seen: those that changed sides, and a paired bootstrap of the difference.
    """
    from motors.evaluation.runs import compared
    from motors.workspace.paths import find

    changed, figures = compared(find(), one, other)
    changed = changed[changed["changed"]].round(3)
    typer.echo(changed.to_string(index=False) if len(changed) else "no tomogram changed sides")
    difference = f"{figures['difference']:+.3f}, 95 % interval {figures['low']:+.3f} to {figures['high']:+.3f}"
    typer.echo(f"F2 {figures['one']:.3f} and {figures['other']:.3f}, difference {difference}")
