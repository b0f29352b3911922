"""When a run ends because a metric has stopped getting better, by hand."""

from __future__ import annotations

import json
import math

import pytest

from configs.schema import EarlyStopConfig
from trainer.early_stop import EarlyStop

CONFIG = EarlyStopConfig(metric="eval/ua", patience=2, min_delta=0.01)


def stopped_at(stop: EarlyStop, values: list[float | None], first: int = 1) -> int:
    """Step after which the run ends; 0 = never."""
    for step, value in enumerate(values, start=first):
        stop.observe(step, {"policy/kl": 1.0} | ({} if value is None else {"eval/ua": value}))
        if stop.reason:
            return step
    return 0


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([0.5, 0.52, 0.52, 0.525], 4),
        # 0.531 beats 0.52 by more than 0.01, 0.529 does not.
        ([0.5, 0.52, 0.529, 0.531, 0.5, 0.5], 6),
        ([0.5, 0.4, 0.52, 0.51, 0.6], 0),
        # Steps without a value, or with one that is not finite, are no bad values.
        ([0.5, None, None, 0.5, math.nan, None, 0.6], 0),
        ([0.5, None, 0.5, None, 0.5], 5),
    ],
)
def test_values_in_a_row_that_do_not_beat_the_best(values: list[float | None], step: int):
    assert stopped_at(EarlyStop(CONFIG), values) == step


def test_lower_may_be_better():
    config = EarlyStopConfig(metric="eval/ua", better="lower", patience=1)
    assert stopped_at(EarlyStop(config), [0.5, 0.4, 0.3, 0.3]) == 4


def test_the_reason_names_metric_best_value_and_its_step():
    stop = EarlyStop(CONFIG)
    stopped_at(stop, [0.5, 0.6123, 0.6, 0.6])
    assert "eval/ua has not been better than 0.6123 of step 2 for 2 values" in stop.reason


def test_without_a_metric_a_run_goes_to_its_end():
    assert stopped_at(EarlyStop(EarlyStopConfig(patience=1)), [0.5] * 9) == 0


def test_a_resumed_run_keeps_the_best_value_and_its_count():
    first = EarlyStop(CONFIG)
    stopped_at(first, [0.6, 0.5])
    state = json.loads(json.dumps(first.state_dict()))
    second = EarlyStop(CONFIG)
    second.load_state_dict(state)
    assert stopped_at(second, [0.55], first=3) == 3
    patient = EarlyStop(EarlyStopConfig(metric="eval/ua", patience=3))
    patient.load_state_dict(second.state_dict())
    assert not patient.reason, "more patience lets a run that has ended go on"
    other = EarlyStop(EarlyStopConfig(metric="eval/accuracy", patience=1))
    other.load_state_dict(state)
    assert other.state_dict()["best"] is None, "the best of another metric"
