"""Command line: `python -m motors.kaggle download | lock | package | publish | push | submit`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from motors.kaggle import competition, publishing, wheels
from motors.kaggle.client import KaggleError
from motors.kaggle.packages import check, package, packed
from motors.workspace.paths import COMPETITION, PROFILES, Run, find

NOTEBOOK = "50_package_for_kaggle"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for and return the exit code: 0 done, 1 Kaggle refused, 2 refused here."""
    options = _parser().parse_args(arguments)
    try:
        options.do(options)
    except KaggleError as error:
        _say(f"{error}\n")
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        _say(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m motors.kaggle", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, do, sentence: str, *extra: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=sentence)
        command.set_defaults(do=do)
        if "run" in extra:
            command.add_argument("--profile", choices=PROFILES, default="demo")
            command.add_argument("--seed", type=int, default=0)
            command.add_argument("--networks", default="", help="training notebooks; by default all of the ensemble")
        if "owner" in extra:
            command.add_argument("--owner", required=True, help="your user name on Kaggle")
        return command

    add("download", _download, "the competition's data into kaggle_datasets")
    add("lock", _lock, "look up versions and hashes of the wheels that Kaggle's image lacks")
    add("package", _package, "fill the folders of datasets", "run").add_argument("slugs", nargs="+")
    sending = add("publish", _publish, "send packed datasets", "run", "owner")
    sending.add_argument("slugs", nargs="+")
    sending.add_argument("--public", action="store_true", help="let everybody see new datasets")
    add("push", _push, "send the notebook 90_submit, which Kaggle then runs", "run", "owner")
    handing = add("submit", _submit, "hand in the output of a pushed notebook")
    handing.add_argument("notebook", help="<user name>/<slug>, as push said")
    handing.add_argument("version", type=int)
    handing.add_argument("--competition", default=COMPETITION)
    handing.add_argument("-m", "--message", required=True)
    return parser


def _run(options: argparse.Namespace) -> Run:
    return find().run(NOTEBOOK, options.profile, options.seed)


def _download(options: argparse.Namespace) -> None:
    _say(f"{competition.download(find(), show=_say)} is complete\n")


def _lock(options: argparse.Namespace) -> None:
    home = find()
    folder = home.new_dataset("motors-wheels")
    with tempfile.TemporaryDirectory() as output:
        built = wheels.build(home.root / "lib", Path(output))
        _say(wheels.lock(built, folder / wheels.IMAGE, folder / wheels.LOCK).read_text(encoding="utf-8"))


def _package(options: argparse.Namespace) -> None:
    for slug in options.slugs:
        made = package(slug, _run(options), options.networks.split())
        _say(f"{slug}: {len(made.files)} files, {made.size:,} bytes\n")


def _publish(options: argparse.Namespace) -> None:
    run = _run(options)
    packages = [packed(slug, run) for slug in options.slugs]
    check(packages, options.owner)
    for each in packages:
        done = publishing.publish(each, options.owner, run.workspace, public=options.public, show=_say)
        _say(f"{options.owner}/{each.slug}: {done}\n")


def _push(options: argparse.Namespace) -> None:
    folder = publishing.kernel(_run(options), options.owner, {"NETWORKS": options.networks})
    ref, version = publishing.push(folder, show=_say)
    _say(f"pushed: python -m motors.kaggle submit {ref} {version} -m <message>, once it is complete\n")


def _submit(options: argparse.Namespace) -> None:
    _say(f"{publishing.submit(options.competition, options.notebook, options.version, options.message)}\n")


def _say(text: str) -> None:
    """Write to the terminal, beside results on standard output."""
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
