"""A signal to the whole process group of a command, as terminals and GNU `timeout` send it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.command import RunFiles, Shell, command, wait_until
from tests.e2e.conftest import WriteConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

GROUPS_PER_STEP = 6


@pytest.mark.parametrize(
    ("phase", "number", "step"),
    [
        pytest.param(
            phase,
            number,
            step,
            id=phase,
            marks=pytest.mark.fault(
                f"{number.name} to the whole process group in {what}",
                happens="Ray and the actors live on until the run has saved; exit code 75",
                lost="nothing",
            ),
        )
        for phase, number, step, what in (
            ("start", signal.SIGTERM, 0, "the start of Ray"),
            ("step", signal.SIGTERM, 2, "a step"),
        )
    ],
)
def test_a_signal_to_the_group_is_a_request_to_stop(
    phase: str,
    number: signal.Signals,
    step: int,
    tmp_path: Path,
    shell: Shell,
    write_config: WriteConfig,
) -> None:
    run, output = RunFiles(tmp_path), tmp_path / "output.txt"
    process = shell.start(*command("rl", write_config(tmp_path)), output=output)

    def reached() -> bool:
        if process.poll() is not None:
            return True
        if phase == "start":
            return "run folder:" in output.read_text()
        return run.groups_scored() > GROUPS_PER_STEP

    wait_until(reached, phase)
    assert process.poll() is None, output.read_text()
    os.killpg(process.pid, number)
    assert process.wait(timeout=300) == 75, output.read_text()
    status = run.status()
    assert (status["state"], status["step"]) == ("preempted", step)
    if phase == "step":
        assert "saved after step 2" in output.read_text()
        # The row of step 2 waits for its evaluation, which the signal has ended as well.
        assert [row["step"] for row in run.rows()] == [0, 1]
    wait_until(lambda: not shell.processes(), "Ray ends with its driver", 60)
