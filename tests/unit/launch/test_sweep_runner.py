"""Executing a sweep's runs, with small programs in the place of training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launch.sweep_plan import PlannedRun
from launch.sweep_runner import Outcome, Runner, StopSignals
from tests.unit.launch.test_sweep import leave_behind, plan, write_sweep

WAITS_FOR_A_STOP = (
    "import signal, sys, time; "
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); "
    "print('ready', flush=True); time.sleep(30)"
)


class Programs:
    """A backend that runs a given program for each run; `exit 0` leaves a finished run behind."""

    poll_s = 0.02

    def __init__(self, programs: dict[str, str]) -> None:
        self.programs = programs
        self.started: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, run: PlannedRun) -> subprocess.Popen[bytes]:
        self.started.append(run.title)
        program = self.programs.get(run.title, "")
        if program == "":
            leave_behind(run, "finished")
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        if program == WAITS_FOR_A_STOP:
            assert process.stdout is not None
            process.stdout.readline()
        self.processes.append(process)
        return process


class NoSignals(StopSignals):
    """Stop requests of the test's own."""

    def __init__(self) -> None:
        self.count = 0


def endings(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.run.title: outcome.ending for outcome in outcomes}


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    """The cold starts of two seeds, then two trials, seed by seed each."""
    runs = plan(write_sweep(tmp_path))
    return sorted(runs, key=lambda run: (not run.title.startswith("prepare"), run.title))


def test_a_failure_stops_only_what_needs_it(tmp_path: Path, runs: list[PlannedRun]):
    backend = Programs({"prepare/sft/seed_0": "import sys; sys.exit(4)"})
    attempts = tmp_path / "attempts.jsonl"
    outcomes = Runner(backend, 2, NoSignals(), attempts).execute(runs)
    assert endings(outcomes) == {
        "prepare/sft/seed_0": "failed",
        "prepare/sft/seed_1": "done",
        "plain/seed_0": "not started",
        "plain/seed_1": "done",
        "untrained/seed_0": "done",
        "untrained/seed_1": "done",
    }
    reasons = {outcome.run.title: outcome.reason for outcome in outcomes}
    assert reasons["prepare/sft/seed_0"] == "exit code 4"
    assert reasons["plain/seed_0"] == "prepare/sft/seed_0 is failed"
    assert len(attempts.read_text().splitlines()) == 5


def test_a_run_that_left_nothing_finished_has_failed(tmp_path: Path, runs: list[PlannedRun]):
    backend = Programs({"untrained/seed_0": "pass"})
    outcomes = Runner(backend, 1, NoSignals(), tmp_path / "a").execute(runs[4:5])
    assert (outcomes[0].ending, "is new" in outcomes[0].reason) == ("failed", True)


def test_a_stop_reaches_the_running_and_nothing_new_starts(tmp_path: Path, runs: list[PlannedRun]):
    stop = NoSignals()

    class StopsAtTheSecond(Programs):
        def start(self, run: PlannedRun) -> subprocess.Popen[bytes]:
            process = super().start(run)
            stop.count = int(len(self.started) == 2)
            return process

    waiting = {run.title: WAITS_FOR_A_STOP for run in runs[4:]}
    backend = StopsAtTheSecond({**waiting, "prepare/sft/seed_0": WAITS_FOR_A_STOP})
    todo = [runs[4], runs[5], runs[0], runs[2]]
    outcomes = Runner(backend, 2, stop, tmp_path / "a").execute(todo)
    assert endings(outcomes) == {
        "prepare/sft/seed_0": "not started",
        "plain/seed_0": "not started",
        "untrained/seed_0": "interrupted",
        "untrained/seed_1": "interrupted",
    }
    assert backend.started == ["untrained/seed_0", "untrained/seed_1"]
    assert [process.returncode for process in backend.processes] == [75, 75]


def test_a_run_that_was_preempted_by_itself_is_no_failure(tmp_path: Path, runs: list[PlannedRun]):
    backend = Programs({"untrained/seed_0": "import sys; sys.exit(75)"})
    outcomes = Runner(backend, 1, NoSignals(), tmp_path / "a").execute(runs[4:])
    assert endings(outcomes) == {"untrained/seed_0": "interrupted", "untrained/seed_1": "done"}
