"""The kernel that a notebook runs in, and a client that cannot miss its messages."""

import sys
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

LOOK_AGAIN = 1.0  # seconds


class PatientChannel(AsyncZMQSocketChannel):
    """A channel that polls every second while it waits.

    When a widget collects output, nbclient sends messages over the socket on which it waits for the cell's reply, and
    ZeroMQ's signal for that reply may be lost: papermill then waits for ever (seen in half of our runs of such a cell).
    """

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message; raise `queue.Empty` if there is none within `timeout` seconds."""
        while timeout is None:
            with suppress(Empty):
                return await super().get_msg(LOOK_AGAIN)
        return await super().get_msg(timeout)


class PatientClient(AsyncKernelClient):
    """A client whose replies and outputs come over patient channels."""

    shell_channel_class = PatientChannel
    iopub_channel_class = PatientChannel


def without_settings(folder: Path) -> dict[str, str]:
    """Return environment variables that hide a user's scripts and styles from a kernel and keep assertions on."""
    (folder / "matplotlibrc").touch()
    none = dict.fromkeys(("PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONWARNINGS"), "")
    backend = "module://matplotlib_inline.backend_inline"
    return none | {"IPYTHONDIR": str(folder), "MATPLOTLIBRC": str(folder), "MPLBACKEND": backend}


def kernel_of_this_environment(environment: dict[str, str]) -> type[AsyncKernelManager]:
    """Return a kernel manager that starts this very interpreter, whatever kernels the user has installed.

    The variables `environment` are added to those of the kernel.
    """
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
    spec = KernelSpec(argv=command, env=environment, display_name="Python 3", language="python", name="python3")

    class KernelOfThisEnvironment(AsyncKernelManager):
        kernel_spec = spec
        client_factory = PatientClient

    return KernelOfThisEnvironment
