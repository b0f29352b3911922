"""What the faults of a soak do, how they heal, and how it is known that they fired."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import soundfile

from tests.faults.soak_plan import CLIP_LEAD, Fault

if TYPE_CHECKING:
    from tests.faults.soak import Judge, Run

EVIDENCE = {
    "engine killed": r"engine 0 died: .*another takes its place",
    "engine frozen": r"engine 0 gave no answer in .*another takes its place",
    "judge answers 503": r"judge/reasoning_missing_frac",
    "judge hangs": r"judge/reasoning_missing_frac",
    "clip damaged": r"left out example '{id}'|leaving out \d+ of",
    "clip poisoned": r"left out example '{id}'|leaving out \d+ of",
    "SIGTERM": r"stop requested: saving",
    "SIGTERM to the group": r"stop requested: saving",
    "driver killed": r"resuming after step",
    "disk full under a checkpoint": r"alarm: no checkpoint of step",
    "disk full under the driver": r"the disk is full",
}
"""What the run's output says after the fault; of a judge the name of a metric that is above 0."""

EXITS = {
    "SIGTERM": 75,
    "SIGTERM to the group": 75,
    "driver killed": -signal.SIGKILL,
    "disk full under the driver": 4,
}
"""Exit codes of the command after faults that end it."""

FILE_LIMIT = 2**21
"""Bytes a file may have while the disk is full: less than the parts of a checkpoint, more than the
run's other files."""


class Faults:
    """Carries a plan out."""

    def __init__(
        self, plan: Sequence[Fault], run: Run, judge: Judge, samples: Path, corpus: Path
    ) -> None:
        """Take a plan; `samples` are those of the undisturbed run, `corpus` the run's own."""
        self._left = list(plan)
        self._run, self._judge, self._samples, self._corpus = run, judge, samples, corpus
        self._healing: Fault | None = None
        self._at_s: float | None = None
        self.expected_exit = 0
        """Exit code of this life, once a fault has ended it."""
        self.fired: list[dict[str, Any]] = []
        """{step: after which it came, kind, from: place in the output, id: of a clip, refused:
        requests of a judge, back_s: seconds to the next row}."""

    def after(self, step: int) -> None:
        """Heal and inject what is due after a step, which has just been written."""
        if self._at_s is not None:
            self.fired[-1]["back_s"] = round(time.monotonic() - self._at_s, 1)
            self._at_s = None
        if self._healing is not None and step >= self._healing.until:
            self._heal(self._healing.kind)
            self._healing = None
        if self._left and step >= self._left[0].step and self._healing is None:
            fault = self._left.pop(0)
            output = self._run.output
            self.fired.append({"step": step, "kind": fault.kind, "from": output.stat().st_size})
            print(f"after step {step}: {fault.kind}", flush=True)
            self._inject(fault, self.fired[-1])
            self._at_s = time.monotonic()
            self.expected_exit = EXITS.get(fault.kind, 0)

    def _inject(self, fault: Fault, note: dict[str, Any]) -> None:
        driver = self._run.process.pid
        match fault.kind:
            case "engine killed" | "engine frozen":
                (engine,) = self._run.pids("ray::EngineActor")
                os.kill(engine, signal.SIGKILL if "killed" in fault.kind else signal.SIGSTOP)
            case "judge answers 503" | "judge hangs":
                self._judge.refused = 0
                self._judge.mood = "503" if "503" in fault.kind else "hang"
                self._healing = fault
            case "clip damaged" | "clip poisoned":
                note["id"] = self._break_clip(note["step"], poison="poisoned" in fault.kind)
            case "SIGTERM":
                os.kill(driver, signal.SIGTERM)
            case "SIGTERM to the group":
                os.killpg(driver, signal.SIGTERM)
            case "driver killed":
                os.kill(driver, signal.SIGKILL)
            case "disk full under a checkpoint":
                self._limit_files(FILE_LIMIT)
                self._healing = fault
            case "disk full under the driver":
                # The row of the next step does not fit any more; another process has no limit.
                size = (self._run.root / "metrics.jsonl").stat().st_size
                psutil.Process(driver).rlimit(psutil.RLIMIT_FSIZE, (size + 1, size + 1))
            case _:
                raise AssertionError(fault.kind)

    def _heal(self, kind: str) -> None:
        if kind.startswith("judge"):
            self._judge.mood = ""
            self.fired[-1]["refused"] = self._judge.refused
            self._judge.server.released.set()
            self._judge.server.released.clear()
        else:
            self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, num_bytes: int) -> None:
        (learner,) = self._run.pids("ray::LearnerActor")
        for pid in (learner, self._run.process.pid):
            limit = (num_bytes, resource.RLIM_INFINITY)
            psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, limit)

    def _break_clip(self, step: int, *, poison: bool) -> str:
        """Break the last clip whose turn comes `CLIP_LEAD` steps on, and return its id."""
        row = rows_of(self._samples / f"step_{step + CLIP_LEAD:06d}.jsonl")[-1]
        path = self._corpus / row["audio"]
        if poison:
            samples, rate = soundfile.read(path, dtype="float32")
            samples[len(samples) // 2] = np.nan
            soundfile.write(path, samples, rate, subtype="FLOAT")
        else:
            os.truncate(path, path.stat().st_size // 2)
        return row["id"]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a samples file or of metrics.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def not_fired(
    fired: Sequence[dict[str, Any]], output: bytes, metrics: Sequence[dict[str, Any]]
) -> list[str]:
    """Return the faults of which the run shows no trace.

    Args:
        fired: see `Faults.fired`.
        output: all that the run has printed.
        metrics: its rows.
    """
    missing: list[str] = []
    for fault in fired:
        text = output[fault["from"] :].decode(errors="replace")
        sign = EVIDENCE[fault["kind"]].format(id=fault.get("id"))
        if fault["kind"].startswith("judge"):
            hit = [row for row in metrics if row["step"] > fault["step"] and row.get(sign, 0) > 0]
            seen = bool(fault.get("refused") and hit and hit[0]["step"] <= fault["step"] + 2)
        else:
            seen = re.search(sign, text) is not None
        if not seen:
            missing.append(f"after step {fault['step']}, {fault['kind']}: no sign of it")
    return missing
