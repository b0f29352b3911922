"""A real Slurm on this machine, with keys, ports and files of its own."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from launch.preflight import ROOT
from tests.e2e.command import free_ports, wait_until

DAEMONS = ("munged", "slurmctld", "slurmd")
"""What must be installed: Debian's packages `slurm-wlm` and `munge`."""

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A job that is requeued waits until its credentials have expired: 120 s, if nothing is said.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
# A container seldom may make control groups: a job is known by its tree of processes.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# A job whose time is up gets SIGTERM at once, and SIGKILL so many seconds later.
OverTimeLimit=0
KillWait=10
# By default a job that becomes eligible is looked at after up to 30 s.
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# Nodes may claim more than the machine has.
SlurmdParameters=config_overrides
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE
"""


@dataclass(frozen=True)
class SlurmCluster:
    """Speaks to the controller with Slurm's own commands."""

    environment: Mapping[str, str]
    """Of every command, and so of the jobs."""

    def run(self, *words: str) -> str:
        """Run a command in the repository's folder and return what it printed."""
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """Return what `scontrol show job` tells, such as `JobState` and `Restarts`."""
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def is_idle(self) -> bool:
        """Return whether all nodes are up and without a job."""
        states = self.run("sinfo", "--noheader", "--format=%T").split()
        return states == ["idle"]


@contextmanager
def open_slurm(
    folder: Path, environment: Mapping[str, str], num_nodes: int
) -> Iterator[SlurmCluster]:
    """Start a controller and nodes of two CPUs; at the end, cancel all jobs and stop them.

    Args:
        folder: An empty folder for all files; its path is short, for it holds a Unix socket.
        environment: Of the daemons, the commands and the jobs.
        num_nodes: `node1`, `node2` and so on, each a daemon on this machine.
    """
    slurm = SlurmCluster({**environment, "SLURM_CONF": str(folder / "slurm.conf")})
    names = [f"node{number}" for number in range(1, num_nodes + 1)]
    _write_files(folder, names)
    commands = [
        _munged(folder),
        ["slurmctld", "-D"],
        *(["slurmd", "-D", "-N", name] for name in names),
    ]
    with ExitStack() as stack:
        for words in commands:
            stack.enter_context(_daemon(words, slurm.environment, folder / "daemons.log"))
            if words[0] == "munged":
                wait_until((folder / "munge.socket").exists, "munged answers", 30)
        stack.callback(_cancel_jobs, slurm)
        wait_until(slurm.is_idle, f"Slurm is up; see {folder}/daemons.log", 60)
        yield slurm


def _write_files(folder: Path, names: Sequence[str]) -> None:
    host = socket.gethostname().partition(".")[0]
    port, *node_ports = free_ports(1 + len(names))
    nodes = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=2"
        for name, node_port in zip(names, node_ports, strict=True)
    ]
    settings = {"folder": folder, "host": host, "port": port, "user": getpass.getuser()}
    (folder / "slurm.conf").write_text(CONFIG.format(nodes="\n".join(nodes), **settings))
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    # Every job's commands pass through here to the socket, whoever owns them.
    folder.chmod(0o755)


def _munged(folder: Path) -> Sequence[str]:
    files = {
        "socket": "munge.socket",
        "key-file": "munge.key",
        "log-file": "munged.log",
        "pid-file": "munged.pid",
        "seed-file": "munged.seed",
    }
    return ["munged", "--foreground", *(f"--{key}={folder / name}" for key, name in files.items())]


@contextmanager
def _daemon(words: Sequence[str], environment: Mapping[str, str], output: Path) -> Iterator[None]:
    """Run a daemon in the foreground until the block ends."""
    with output.open("a") as file:
        process = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _cancel_jobs(slurm: SlurmCluster) -> None:
    slurm.run("scancel", "--me")
    wait_until(lambda: slurm.run("squeue", "--noheader") == "", "all jobs have ended", 60)
