"""Steps ahead, dynamic sampling and early stop: a killed run ends like a whole one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.command import RunFiles, Shell, command, wait_until
from tests.e2e.conftest import WriteConfig
from tests.e2e.test_resume import export_digests, without_times

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SETTINGS = {
    "async.max_staleness": "1",
    # So that some groups count as flat with rewards of letters.
    "advantage.tolerance": "0.1",
    "advantage.refill_rounds": "2",
    "data.balance": "label",
    "checkpoint.best_metric": "rollout/accuracy",
    # This policy answers no label: of the first step's 6 all are given up, then 9 of 9.
    "early_stop.metric": "classes/given_up",
    "early_stop.better": "lower",
    "early_stop.patience": "2",
}


def test_a_run_that_refills_and_was_killed_ends_like_an_unbroken_one(
    tmp_path: Path, shell: Shell, write_config: WriteConfig
) -> None:
    whole, killed = RunFiles(tmp_path / "whole"), RunFiles(tmp_path / "killed")
    commands = {}
    for run in (whole, killed):
        run.folder.mkdir()
        commands[run] = command("rl", write_config(run.folder), SETTINGS)
    done = shell.run(*commands[whole])
    assert done.returncode == 0, done.stderr
    assert "finished 3 steps" in done.stdout.splitlines()[-1]
    assert "early stop: classes/given_up has not been better than 6 of step 1" in done.stdout
    status = whole.status()
    assert (status["state"], status["step"]) == ("finished", 3)
    assert status["reason"].startswith("early stop: classes/given_up")

    process = shell.start(*commands[killed], output=killed.folder / "output.txt")
    checkpoint = killed.root / "checkpoints" / "step_000002"
    wait_until(lambda: checkpoint.exists() or process.poll() is not None, "the checkpoint")
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=480) == -signal.SIGKILL
    wait_until(lambda: not shell.processes(), "Ray ends with a driver that was killed")
    again = shell.run(*commands[killed])
    assert again.returncode == 0, again.stderr
    assert "resuming after step 2" in again.stdout

    rows = whole.rows()[1:]
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert row["refill/groups_used"] <= 6 <= row["refill/groups_sampled"]
        assert row["advantage/flat_frac"] == pytest.approx(1 - row["refill/groups_used"] / 6)
    assert sum(row["refill/groups_replaced"] for row in rows) > 0
    assert "test_after/accuracy" in rows[-1]
    assert [row["rollout/staleness_max"] for row in rows] == [0, 1, 1]
    assert export_digests(killed) == export_digests(whole)
    for step in (1, 2, 3):
        name = f"samples/step_{step:06d}.jsonl"
        assert (killed.root / name).read_text() == (whole.root / name).read_text()
    # The best by the first of equal values: that of step 2, and not the last step's.
    assert (whole.root / "best" / "config.json").is_file()
    for name in ("best", "export"):
        files = (whole.root / name).glob("*.safetensors")
        assert all(
            (killed.root / name / file.name).read_bytes() == file.read_bytes() for file in files
        )
    for ours, theirs in zip(killed.rows(), whole.rows(), strict=True):
        assert without_times(ours) == without_times(theirs)
