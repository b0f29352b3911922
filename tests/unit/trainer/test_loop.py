"""When the loop does what has a period of its own, and when it ends early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configs.schema import CheckpointConfig, EarlyStopConfig, EvalConfig
from rollout.engine import RolloutError
from tests.faults.loop_run import Run
from trainer.loop import is_due

STOPS: dict[str, Any] = {
    "eval": EvalConfig(every_steps=2),
    "early_stop": EarlyStopConfig(metric="eval/accuracy", patience=2),
    "checkpoint": CheckpointConfig(every_steps=5, keep_last=9),
}
"""Evaluated after steps 2, 4 and 6 to the same accuracy: two values that are no better."""


def test_what_has_a_period_is_due_on_it_and_at_the_end():
    assert [step for step in range(1, 8) if is_due(step, 3, 7)] == [3, 6, 7]


def test_a_period_of_zero_is_never_due_so_the_last_checkpoint_can_be_switched_off():
    assert not any(is_due(step, 0, 7) for step in range(1, 8))


def test_a_run_that_no_longer_gets_better_ends_with_its_test_and_a_checkpoint(tmp_path: Path):
    run = Run(tmp_path, **STOPS)
    assert run.train() == 6
    assert "eval/accuracy has not been better than 0.5 of step 2" in run.early_stop.reason
    tested = ["test_after/accuracy" in row for row in run.folder.rows()]
    assert tested == [False] * 5 + [True]
    assert run.saved()[0] == 6
    run.folder.close()
    again = Run(tmp_path, **STOPS)
    again.early_stop.load_state_dict(run.saved()[1]["early_stop"])
    assert again.train(6) == 6 and again.steps() == [1, 2, 3, 4, 5, 6], "it is over, and stays so"


def test_a_resumed_run_counts_the_values_of_before(tmp_path: Path):
    def fail() -> None:
        raise RolloutError("gone")

    first = Run(tmp_path, **STOPS)
    first.at["rollout", 6] = fail
    with pytest.raises(RolloutError):
        first.train()
    step, state = first.saved()
    assert step == 5 and state["early_stop"]["num_worse"] == 1
    first.folder.close()
    second = Run(tmp_path, **STOPS)
    second.early_stop.load_state_dict(state["early_stop"])
    assert second.train(5) == 6
