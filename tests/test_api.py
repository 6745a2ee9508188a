"""What `import motors` offers, and the command that a wheel installs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import DOCS, pages
from toys import REPOSITORY

import motors
from motors.experiments import catalogue
from motors.networks import checkpoints, factory


def test_the_package_alone_loads_nothing_and_its_names_come_when_they_are_asked_for():
    """No numpy, no torch; a module that is imported later takes no name away."""
    code = """
import sys
import motors
assert not {"numpy", "pandas", "torch"} & set(sys.modules), "import motors loads too much"
assert {*dir(motors)} == {*motors.__all__, "__version__"}, "names that nobody outside needs"
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    from motors import api
    from motors.commands import detect

    assert motors.detect is api.detect is not detect


def test_every_public_name_says_what_it_is():
    """And one that is none is refused."""
    for name in motors.__all__:
        assert getattr(motors, name).__doc__, name
    with pytest.raises(AttributeError, match="guess"):
        motors.guess  # noqa: B018


def test_the_pages_of_commands_and_formats_are_those_of_the_docstrings():
    """One for each, none left over, and no line of help is wider than 80 columns."""
    there = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
    assert there == pages(), "python tests/pages.py --write"
    helped = [text for name, text in there.items() if name.startswith("commands/")]
    assert max(len(line) for text in helped for line in text.splitlines()) <= 80


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The library as a wheel, built without a network; and a network with random weights."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    subprocess.run([sys.executable, *build, str(folder), str(REPOSITORY / "lib")], check=True)
    experiment = catalogue.get("resnext50_smoke")
    checkpoints.save(factory.build(experiment), experiment, folder / "weights")
    np.save(folder / "cell.npy", np.random.default_rng(0).integers(0, 255, (40, 50, 60), np.uint8))
    return next(folder.glob("*.whl"))


def interpreter(version: str) -> Path:
    """A Python of this version whose environment has what the library depends on."""
    for python in [sys.executable, *os.environ.get("MOTORS_PYTHONS", "").split()]:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        if subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == version:
            return Path(python)
    pytest.skip(f"no environment of Python {version} with the library's dependencies is named in MOTORS_PYTHONS")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_brings_the_command_to_a_fresh_environment(wheel, version, tmp_path):
    """Offline, from any folder: help, a refusal, a detection and what the shell completes."""
    python = interpreter(version)
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    dependencies = subprocess.run(where, capture_output=True, text=True, check=True).stdout
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(dependencies)
    new = tmp_path / "venv" / "bin"
    pip = ["-m", "pip", "--quiet", "install", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([new / "python", *pip, wheel], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words, **more):
        how = {"cwd": tmp_path, "env": environment | more, "capture_output": True, "text": True, "check": False}
        return subprocess.run([new / "motors", *words], **how)

    place = "import motors; print(motors.__file__)"
    found = subprocess.run([new / "python", "-c", place], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert Path(found.stdout.strip()).is_relative_to(site)
    answer = run("detect", "--help")
    assert answer.returncode == 0, answer.stderr
    assert "--max-detections" in answer.stdout and max(map(len, answer.stdout.splitlines())) <= 80
    answer = run("detect", "cell.mrc")
    assert (answer.returncode, answer.stdout) == (2, "") and "cell.mrc does not exist" in answer.stderr
    words = ["--weights", wheel.parent / "weights", "--spacing", "16", "--threshold", "0", "--max-detections", "1"]
    answer = run("detect", wheel.parent / "cell.npy", *words, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["tomograms"][0]["size_x"] == 60
    asked = {"_MOTORS_COMPLETE": "complete_bash", "COMP_WORDS": "motors det", "COMP_CWORD": "1"}
    assert run(**asked).stdout.split() == ["detect"]
