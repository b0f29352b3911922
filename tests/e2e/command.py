"""The training commands as a user starts them: in a process of their own."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from launch.preflight import ROOT


@dataclass(frozen=True)
class Shell:
    """Starts commands of this repository with an environment of their own."""

    home: Path
    """Home folder, and with it the place of Ray's token."""
    ray_dir: Path
    """Ray's own folder; short, because the paths of Unix sockets are limited."""

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a command, without anything about the Ray of this process."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        own = {
            "HOME": str(self.home),
            "RAY_TMPDIR": str(self.ray_dir),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]]),
        }
        return {**inherited, **own, **variables}

    def start(self, *words: str, output: Path, **variables: str) -> subprocess.Popen[str]:
        """Start a command whose output is appended to a file."""
        with output.open("a") as file:
            return subprocess.Popen(
                words,
                cwd=ROOT,
                env=self.environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    def run(
        self, *words: str, timeout_s: float = 480, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            words,
            cwd=ROOT,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @property
    def has_used_ray(self) -> bool:
        """Whether any command of this shell has started Ray."""
        return any(self.ray_dir.iterdir())

    def processes(self) -> list[int]:
        """Return the ids of all living processes that come from this shell, Ray's included."""
        mark = os.fsencode(f"RAY_TMPDIR={self.ray_dir}")
        sessions: dict[int, int] = {}
        marked: set[int] = set()
        for folder in Path("/proc").glob("[0-9]*"):
            # A process may end while we look, and a zombie has no environment.
            with suppress(OSError):
                number = int(folder.name)
                sessions[number] = os.getsid(number)
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    marked.add(number)
        # Some of Ray's processes write their title over their environment.
        ours = {sessions[number] for number in marked} - {os.getsid(0)}
        return [
            number for number, session in sessions.items() if number in marked or session in ours
        ]

    def end_processes(self) -> None:
        """Kill whatever this shell has left running."""
        for number in self.processes():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


@contextmanager
def open_shell(home: Path) -> Iterator[Shell]:
    """Return a shell with its own Ray folder, and end at last whatever it has left running."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as ray_dir:
        shell = Shell(home, Path(ray_dir))
        try:
            yield shell
        finally:
            shell.end_processes()


class RunFiles(NamedTuple):
    """A run and what it left behind."""

    folder: Path
    """Holds `runs/run` and the trace of the toy reward."""

    @property
    def root(self) -> Path:
        """The run folder."""
        return self.folder / "runs" / "run"

    @property
    def trace(self) -> Path:
        """Grows by a byte with every group that is scored."""
        return self.folder / "trace"

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl."""
        return [json.loads(line) for line in (self.root / "metrics.jsonl").open()]

    def status(self) -> dict[str, Any]:
        """Return run_status.json."""
        return json.loads((self.root / "run_status.json").read_text())

    def groups_scored(self) -> int:
        """Return the number of groups over all lives of the run."""
        return self.trace.stat().st_size if self.trace.exists() else 0


def command(
    name: str, config: Path, overrides: Mapping[str, object] | None = None, *flags: str
) -> Sequence[str]:
    """Return the command line of a run; the name is `rl` or `sft`."""
    settings = [f"{key}={value}" for key, value in (overrides or {}).items()]
    return [sys.executable, f"launch/{name}.py", "--config", str(config), *settings, *flags]


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 480) -> None:
    """Wait for something that a run does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens to.

    None of those that the kernel gives out by itself (`ip_local_port_range`, from 32768 on), or
    another process may have one before it is listened to.
    """
    free: list[int] = []
    while len(free) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            free = [*dict.fromkeys([*free, port])]
    return free
