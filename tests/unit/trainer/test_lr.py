"""Learning rates by hand."""

from __future__ import annotations

from typing import Any

import pytest

from configs.schema import OptimConfig
from trainer.lr import learning_rate


def rates(num_steps: int, **knobs: Any) -> list[float]:
    return [learning_rate(step, num_steps, OptimConfig(**knobs)) for step in range(num_steps)]


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"schedule": "constant"}, [8, 8, 8, 8, 8, 8, 8]),
        ({"schedule": "constant", "warmup_steps": 4}, [2, 4, 6, 8, 8, 8, 8]),
        ({"schedule": "linear", "warmup_steps": 2}, [4, 8, 8, 6, 4, 2, 0]),
        ({"schedule": "linear", "warmup_steps": 2, "min_lr_frac": 0.5}, [4, 8, 8, 7, 6, 5, 4]),
        # 4 + 4 cos of 0, 30, ... 180 degrees.
        ({"schedule": "cosine"}, [8, 7.464102, 6, 4, 2, 0.535898, 0]),
        (
            {"schedule": "cosine", "warmup_steps": 3, "min_lr_frac": 0.25},
            [8 / 3, 16 / 3, 8, 8, 6.5, 3.5, 2],
        ),
    ],
)
def test_rates(knobs: dict[str, Any], expected: list[float]):
    assert rates(7, lr=8.0, **knobs) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_run_that_is_shorter_than_its_warmup_only_warms_up(schedule: str):
    assert rates(3, lr=8.0, warmup_steps=4, schedule=schedule) == [2, 4, 6]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_single_step_has_the_peak_rate(schedule: str):
    assert rates(1, lr=8.0, schedule=schedule) == [8]
    assert rates(5, lr=8.0, warmup_steps=4, schedule=schedule) == [2, 4, 6, 8, 8]
