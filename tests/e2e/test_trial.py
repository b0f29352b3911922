"""The trial step at the largest size: it happens, and the run is the same as without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import RunFiles, Shell, command
from tests.e2e.conftest import WriteConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TIMED = ("time/", "perf/completion")


def numbers(run: RunFiles) -> list[dict[str, float]]:
    """All metrics of a run but those of the clock."""
    return [{k: v for k, v in row.items() if not k.startswith(TIMED)} for row in run.rows()]


@pytest.mark.exact
def test_a_trial_changes_no_number(
    tmp_path: Path, shell: Shell, write_config: WriteConfig, finished_run: RunFiles
) -> None:
    run = RunFiles(tmp_path)
    done = shell.run(*command("rl", write_config(tmp_path), {"train.trial_step": "true"}))
    assert done.returncode == 0, done.stderr
    # The longest clip that leaves room for 24 tokens in 512; 14 groups of 488 + 4 x 24 tokens fill
    # the budget of 8192 but for 16.
    assert "trial step at the largest size: prompts of 488 tokens, a row of 8176" in done.stdout
    assert "trial step done in" in done.stdout
    assert numbers(run) == numbers(finished_run)
