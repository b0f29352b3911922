"""An RL run over two Ray nodes on one machine, which meet over a network as two hosts do.

Each node lives in a network namespace of its own; a virtual cable joins the two, and nothing leads
out. File systems, home and token are shared, as on a cluster. Linux, root and iproute2 are needed:

    python examples/two_nodes/run.py --config configs/tiny.yaml learner.num_ranks=2 \
        learner.zero_stage=3 rollout.num_engines=2 name=two_nodes

The words after the script are those of launch/rl.py, and so is the exit code. It is asked to stop
by Ctrl-C or SIGTERM, saves, and goes on when the same command is given again. See docs/clusters.md.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RAY = str(Path(sys.executable).parent / "ray")
PORT = 6379
START_TIMEOUT_S = 180


class MissingToolError(RuntimeError):
    """This machine cannot make network namespaces; the message says why."""


@dataclass(frozen=True)
class Host:
    """A network namespace that stands for a machine."""

    name: str
    """Of the namespace."""
    address: str
    ray_dir: Path
    """The node's own Ray folder; short, because the paths of Unix sockets are limited."""

    def words(self, *command: str) -> list[str]:
        """Return a command line that runs a command there, as the same process."""
        return ["ip", "netns", "exec", self.name, *command]

    def kill(self) -> None:
        """End all that runs there without a warning, as a loss of power does."""
        for number in _ip("netns", "pids", self.name).split():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)

    def set_link(self, state: str) -> None:
        """Plug the cable in (`up`) or pull it (`down`)."""
        _ip("-n", self.name, "link", "set", "eth0", state)


class TwoNodes:
    """Two joined hosts, and Ray on them; `open_two_nodes` makes them.

    Args:
        head: host of the head node, where runs are started.
        other: host of the second node.
        environment: of all commands that run there.
    """

    def __init__(self, head: Host, other: Host, environment: Mapping[str, str]) -> None:
        self.head, self.other = head, other
        self._environment = environment

    def variables(self) -> dict[str, str]:
        """Return the environment variables with which a run on the head joins the cluster."""
        return {"RAY_ADDRESS": f"{self.head.address}:{PORT}", **_ray_variables(self.head)}

    def start(self, host: Host) -> None:
        """Start a host's Ray node; returns when it has joined.

        Raises:
            subprocess.CalledProcessError: it did not start; its output tells why.
        """
        place = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        if host is self.other:
            place = [f"--address={self.head.address}:{PORT}"]
        options = [f"--node-ip-address={host.address}", "--disable-usage-stats"]
        subprocess.run(
            host.words(RAY, "start", *place, *options),
            env={**self._environment, **_ray_variables(host)},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=START_TIMEOUT_S,
            check=True,
            start_new_session=True,
        )


def _ray_variables(host: Host) -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", "RAY_TMPDIR": str(host.ray_dir)}


@contextmanager
def open_two_nodes(environment: Mapping[str, str]) -> Iterator[TwoNodes]:
    """Make the hosts, start Ray on both, and at last end all that runs there.

    Args:
        environment: of all commands that run there; names the home with Ray's token.

    Raises:
        MissingToolError: there is no iproute2, or this user may not make namespaces.
    """
    if shutil.which("ip") is None:
        raise MissingToolError("the command `ip` is missing: install iproute2")
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        hosts = [
            Host(f"rl-{os.getpid()}-{name}", f"192.0.2.{number}", Path(folder) / name)
            for number, name in enumerate("ab", start=1)
        ]
        try:
            _join(hosts)
            _make_token(environment)
            nodes = TwoNodes(*hosts, environment)
            for host in hosts:
                host.ray_dir.mkdir()
                nodes.start(host)
            yield nodes
        finally:
            for host in hosts:
                with suppress(subprocess.CalledProcessError):
                    host.kill()
                    _ip("netns", "delete", host.name)


def _join(hosts: Sequence[Host]) -> None:
    """Make the namespaces and the cable between them."""
    ends = [("name", "eth0", "netns", host.name) for host in hosts]
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        _ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
    except subprocess.CalledProcessError as error:
        raise MissingToolError(f"no network namespaces here: {error.stderr.strip()}") from error
    for host in hosts:
        _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", host.name, "link", "set", link, "up")


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, check=True, text=True).stdout


def _make_token(environment: Mapping[str, str]) -> None:
    """Make the cluster's token in the home folder, unless there is one."""
    command = [RAY, "get-auth-token", "--generate"]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True, umask=0o077)


def main(words: Sequence[str]) -> int:
    """Run launch/rl.py with the given words over two nodes; returns its exit code."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        with open_two_nodes(os.environ) as nodes:
            driver = subprocess.Popen(
                nodes.head.words(sys.executable, "launch/rl.py", *words),
                cwd=ROOT,
                env={**os.environ, **nodes.variables()},
                start_new_session=True,
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda number, _frame: driver.send_signal(number))
            return driver.wait()
    except MissingToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
