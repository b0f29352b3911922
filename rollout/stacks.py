"""Stacks of actors on request, even of one that is stuck: a signal, answered below Python."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ANSWER_S = 2.0
"""Longest wait for a process to write its stacks."""

NODES_TIMEOUT_S = 120.0
"""Longest wait for the nodes."""


def _file_of(pid: int | str) -> Path:
    context = ray.get_runtime_context()
    # Who shares a machine has another node id; processes of another run, another job.
    name = f"stacks-{context.get_node_id()[:12]}-{context.get_job_id()}-{pid}.txt"
    return Path(tempfile.gettempdir()) / name


def listen() -> None:
    """Have this actor's process write the stacks of all its threads when asked to."""
    path = _file_of(os.getpid())
    path.unlink(missing_ok=True)
    # Exclusively: the folder is everyone's. It stays open as long as the process lives.
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    faulthandler.register(signal.SIGUSR1, file=number, all_threads=True)


def stacks_of_node() -> dict[str, str]:
    """Return the stacks of the actors of this job on this node, by what they do."""
    stacks: dict[str, str] = {}
    pattern = _file_of("*")
    for path in sorted(pattern.parent.glob(pattern.name)):
        pid = int(path.stem.rpartition("-")[2])
        # It may have ended, now or long ago.
        with suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").decode()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            stacks[f"{title}, process {pid}"] = _ask(path, pid, state)
            continue
        path.unlink(missing_ok=True)
    return stacks


def _ask(path: Path, pid: int, state: str) -> str:
    if state in "Tt":
        return "is stopped (SIGSTOP or a debugger)"
    before = path.stat().st_size
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        time.sleep(0.1)
        size = path.stat().st_size
        time.sleep(0.1)
        if size > before and path.stat().st_size == size:
            break
    return path.read_text()[before:] or f"wrote nothing in {ANSWER_S:g} s (state {state})"


def all_stacks() -> dict[str, str]:
    """Return the stacks of all actors of this job that listen, node by node."""
    task = ray.remote(stacks_of_node)
    calls = [
        task.options(
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote()
        for node in ray.nodes()
        if node["Alive"]
    ]
    done, _ = ray.wait(calls, num_returns=len(calls), timeout=NODES_TIMEOUT_S)
    stacks: dict[str, str] = {}
    if len(done) < len(calls):
        silent = len(calls) - len(done)
        stacks[f"{silent} of {len(calls)} nodes"] = f"gave no answer in {NODES_TIMEOUT_S:g} s"
    for call in done:
        with suppress(ray.exceptions.RayError):  # a node that is gone says nothing
            stacks |= ray.get(call, timeout=NODES_TIMEOUT_S)
    return stacks
