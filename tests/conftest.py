"""What all tests share."""

import gc
import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Kaggle's package reads both when it is imported: no test may reach the real servers, nor anybody's credentials.
os.environ["KAGGLE_API_ENVIRONMENT"] = "LOCALHOST"
KAGGLE = tempfile.TemporaryDirectory(prefix="kaggle-")  # gone with this process
os.environ["KAGGLE_CONFIG_DIR"] = KAGGLE.name
# Tests run beside each other, a process per core, and so does what they start.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell: what tests start would be deaf
    signal.signal(signal.SIGINT, signal.default_int_handler)

gc.disable()  # until all is imported, which stays and is not searched for garbage again and again

settings.register_profile("motors", deadline=None)  # a busy machine is no failure
settings.register_profile("check", settings.get_profile("motors"), max_examples=40)  # `make check` names it
settings.load_profile("motors")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts kernels takes longest and comes first, or one process would wait for the other at the end."""
    items.sort(key=lambda item: item.get_closest_marker("kernel") is None)


def pytest_collection_finish() -> None:
    """From here on there is garbage, which is searched for more rarely than is usual."""
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder with real tomograms and label tables, which are not part of this repository."""
    folder = os.environ.get("MOTORS_REAL")
    if not folder:
        pytest.skip("MOTORS_REAL is not set: no real data to check against")
    return Path(folder)
