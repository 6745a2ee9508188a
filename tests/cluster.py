"""A SLURM cluster of one node on this machine, from Debian's packages slurm-wlm and munge; it ends with the program.

    python tests/cluster.py sbatch --wait --wrap "hostname"   # any command, with the cluster around it

Needs root. All is in a temporary folder, but for a link to it in /etc/slurm, because Snakemake's plugin drops
SLURM_CONF in its jobs. The node claims processors and memory that are not there.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("sbatch", "slurmctld", "slurmd", "munged")
NODE = "motors"
USUAL = Path("/etc/slurm/slurm.conf")
CONFIGURATION = """
ClusterName=motors
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
MinJobAge=600
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=256000
PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why there can be no cluster here, if so."""
    lost = [name for name in PROGRAMS if not shutil.which(name)]
    if lost:
        return f"{', '.join(lost)} not found: apt-get install slurm-wlm munge"
    if USUAL.exists() and not USUAL.is_symlink():
        return f"{USUAL} is there: this machine has a cluster of its own"
    return "" if os.geteuid() == 0 else "SLURM's daemons need root"


def _free_ports() -> list[int]:
    """Two ports that nobody uses."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], other.getsockname()[1]]


@contextmanager
def cluster(folder: Path, patience: float = 60.0) -> Iterator[dict[str, str]]:
    """Start the daemons; give the environment in which SLURM's commands find them. Logs are in `folder`."""
    folder.chmod(0o755)  # munge refuses what others could write to
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    about = {"folder": folder, "node": NODE, "host": socket.gethostname(), "ports": _free_ports()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**about))
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    munge = [f"--{kind}-file={folder / kind}" for kind in ("pid", "log", "seed")]
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket", *munge],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D", "-N", NODE],
    ]
    USUAL.unlink(missing_ok=True)  # left by one that was killed
    USUAL.symlink_to(folder / "slurm.conf")
    with ExitStack() as stack:
        stack.callback(USUAL.unlink, missing_ok=True)
        for daemon in daemons:
            log = stack.enter_context((folder / f"{daemon[0]}.log").open("w"))
            process = subprocess.Popen(daemon, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        end = time.monotonic() + patience
        while node_state(environment) != "idle":
            if time.monotonic() > end:
                raise TimeoutError(f"the node is {node_state(environment)!r}: see the logs in {folder}")
            time.sleep(0.5)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--user=root"], env=environment, check=False, capture_output=True)
            end = time.monotonic() + 20  # a daemon that ends before its jobs leaves their processes behind
            while _jobs(environment) and time.monotonic() < end:
                time.sleep(0.5)


def _jobs(environment: dict[str, str]) -> str:
    """Return what SLURM says of jobs that have not ended."""
    return subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True, check=False).stdout


def node_state(environment: dict[str, str]) -> str:
    """Return what SLURM says of the node, such as idle."""
    answer = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
    return answer.stdout.strip()


if __name__ == "__main__":
    if why := missing():
        sys.exit(why)
    with tempfile.TemporaryDirectory() as place, cluster(Path(place)) as around:
        sys.exit(subprocess.run(sys.argv[1:], env=around, check=False).returncode)
