"""Executes the runs of a sweep, some at a time, and passes a stop request on to them."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from data.files import append_row
from launch.command import EXIT_DONE, EXIT_PREEMPTED
from launch.preflight import ROOT
from launch.sweep_plan import PlannedRun
from trainer.progress import duration
from trainer.run_folder import RunFolderError

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 60.0

Ending = Literal["done", "failed", "interrupted", "not started"]


class Process(Protocol):
    """A run that was started: a `subprocess.Popen`, or what can do as much."""

    def poll(self) -> int | None:
        """Return the exit code, or None while the run goes on."""
        ...

    def terminate(self) -> None:
        """Ask the run to save and leave; a second time, to leave at once."""
        ...


class Backend(Protocol):
    """Where runs execute."""

    poll_s: float
    """Time between two looks at the runs."""

    def start(self, run: PlannedRun) -> Process:
        """Start a run, or go on with it; its output is added to `run.log_path`."""
        ...


class LocalBackend:
    """Runs on this machine, each with a Ray of its own unless RAY_ADDRESS names one."""

    poll_s = 0.2

    def start(self, run: PlannedRun) -> Process:
        """Start a run in a session of its own, so that a Ctrl-C reaches it through us alone."""
        script, *arguments = run.arguments
        with run.log_path.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, str(ROOT / script), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


class StopSignals:
    """Counts SIGTERM and Ctrl-C; all of them are passed on to the runs."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        self.count += 1


@dataclass(frozen=True)
class Outcome:
    """How a run ended in this sweep."""

    run: PlannedRun
    ending: Ending
    reason: str
    """For people, such as the exit code; empty if it is done."""


class Runner:
    """Executes runs until all have ended or a stop was requested."""

    def __init__(
        self, backend: Backend, concurrency: int, stop: StopSignals, attempts_path: Path
    ) -> None:
        """Make a runner; `attempts_path` gets a JSON line for every execution, with its time."""
        self._backend = backend
        self._concurrency = concurrency
        self._stop = stop
        self._attempts_path = attempts_path
        self._active: dict[str, tuple[PlannedRun, Process, float]] = {}
        self._outcomes: list[Outcome] = []
        self._num_stops_sent = 0

    def execute(self, todo: Sequence[PlannedRun]) -> list[Outcome]:
        """Execute runs in order, each after the ones among them that it needs.

        Args:
            todo: runs that are not done; what they need and is not among them is done.

        Returns:
            One outcome per run, in the order they ended.
        """
        waiting = list(todo)
        next_progress = time.monotonic() + PROGRESS_EVERY_S
        while waiting or self._active:
            self._pass_on_stop()
            for title in list(self._active):
                self._end_if_over(title)
            waiting = self._start_ready(waiting)
            if time.monotonic() >= next_progress:
                steps = ", ".join(
                    f"{title} {run.folder.last_step()}/{run.config.train.num_steps}"
                    for title, (run, _, _) in self._active.items()
                )
                logger.info(f"{len(self._outcomes)} of {len(todo)} runs ended; steps: {steps}")
                next_progress = time.monotonic() + PROGRESS_EVERY_S
            if waiting or self._active:
                time.sleep(self._backend.poll_s)
        return self._outcomes

    def _pass_on_stop(self) -> None:
        while self._num_stops_sent < self._stop.count:
            self._num_stops_sent += 1
            logger.info(
                f"stop requested: passed on to {len(self._active)} runs, which save and leave"
            )
            for _, process, _ in self._active.values():
                process.terminate()

    def _end_if_over(self, title: str) -> None:
        run, process, start = self._active[title]
        code = process.poll()
        if code is None:
            return
        del self._active[title]
        wall_s = time.monotonic() - start
        ending, reason = _ending(run, code, stopped=self._num_stops_sent > 0)
        record = {"run": title, "exit_code": code, "wall_s": round(wall_s, 1)}
        append_row(self._attempts_path, record)
        self._outcomes.append(Outcome(run, ending, reason))
        logger.info(
            f"{ending}: {title} after {duration(wall_s)}" + (f" ({reason})" if reason else "")
        )

    def _start_ready(self, waiting: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Start what can be started; return what has to wait."""
        ended = {outcome.run.title: outcome.ending for outcome in self._outcomes}
        waiting_titles = {run.title for run in waiting}
        still: list[PlannedRun] = []
        for run in waiting:
            lost = [need for need in run.needs if ended.get(need, "done") != "done"]
            if self._stop.count or lost:
                reason = "stop requested" if self._stop.count else f"{lost[0]} is {ended[lost[0]]}"
                self._outcomes.append(Outcome(run, "not started", reason))
            elif len(self._active) >= self._concurrency or any(
                need in self._active or need in waiting_titles for need in run.needs
            ):
                still.append(run)
            else:
                run.log_path.parent.mkdir(parents=True, exist_ok=True)
                logger.info(f"start: {run.title}; output in {run.log_path}")
                self._active[run.title] = (run, self._backend.start(run), time.monotonic())
        return still


def _ending(run: PlannedRun, code: int, *, stopped: bool) -> tuple[Ending, str]:
    if code == EXIT_DONE:
        try:
            state = run.state()
        except RunFolderError as error:
            return "failed", str(error)
        if state == "done":
            return "done", ""
        return "failed", f"exit code 0, but {run.folder.root} is {state}"
    reason = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    return "interrupted" if code == EXIT_PREEMPTED or stopped else "failed", reason
