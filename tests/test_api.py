"""What `import motors` offers, and the command that a wheel installs."""

import os
import subprocess
import sys

import pytest
from toys import REPOSITORY

import motors


def test_the_package_alone_loads_nothing_and_its_names_come_when_they_are_asked_for():
    """No numpy, no torch; a module that is imported later takes no name away."""
    code = """
import sys
import motors
assert not {"numpy", "pandas", "torch"} & set(sys.modules), "import motors loads too much"
assert set(motors.__all__) <= set(dir(motors))
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


@pytest.mark.slow
def test_a_wheel_installs_the_command(tmp_path):
    """Built and installed without a network; the script runs from any folder."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(REPOSITORY / "lib")]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(place), str(wheel)], check=True)
    environment = os.environ | {"PYTHONPATH": str(place)}
    line = [str(place / "bin" / "motors"), "detect", "--help"]
    answer = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "--max-detections" in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 80
