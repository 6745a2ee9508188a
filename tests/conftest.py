"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("motors", deadline=None)  # a busy machine is no failure
settings.load_profile("motors")


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder with real tomograms and label tables, which are not part of this repository."""
    folder = os.environ.get("MOTORS_REAL")
    if not folder:
        pytest.skip("MOTORS_REAL is not set: no real data to check against")
    return Path(folder)
