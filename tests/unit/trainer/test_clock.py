"""Where the time of a step goes."""

from __future__ import annotations

import time

from trainer.clock import StepClock


def spin(duration_s: float) -> None:
    """Take at least this long."""
    end = time.perf_counter() + duration_s
    while time.perf_counter() < end:
        pass


def test_laps_split_the_step_without_gap_or_overlap():
    start = time.perf_counter()
    clock = StepClock()
    spin(0.002)
    clock.lap("data")
    spin(0.004)
    clock.lap("update")
    lapped = time.perf_counter()
    metrics = clock.metrics()
    assert metrics.keys() == {"time/data_s", "time/update_s", "time/step_s"}
    assert metrics["time/data_s"] >= 0.002
    assert metrics["time/update_s"] >= 0.004
    parts = metrics["time/data_s"] + metrics["time/update_s"]
    assert parts <= lapped - start
    assert parts <= metrics["time/step_s"] <= time.perf_counter() - start


def test_a_part_can_have_several_laps():
    clock = StepClock()
    spin(0.002)
    clock.lap("data")
    first = clock.metrics()["time/data_s"]
    clock.lap("sync")
    spin(0.002)
    clock.lap("data")
    assert clock.metrics()["time/data_s"] >= first + 0.002
    assert clock.metrics()["time/sync_s"] < 0.002


def test_a_part_that_did_not_happen_took_no_time():
    assert StepClock().metrics().keys() == {"time/step_s"}


def test_a_part_that_ended_before_it_was_looked_at_counts_until_then():
    clock = StepClock()
    spin(0.002)
    ended = time.perf_counter()
    spin(0.004)
    clock.lap("rollout", until=ended)
    clock.lap("reward")
    metrics = clock.metrics()
    assert 0.002 <= metrics["time/rollout_s"] <= metrics["time/step_s"] - 0.004
    assert metrics["time/reward_s"] >= 0.004


def test_a_part_that_ended_before_the_last_lap_took_no_time():
    ended = time.perf_counter()
    spin(0.002)
    clock = StepClock()
    clock.lap("data")
    clock.lap("rollout", until=ended)
    assert clock.metrics()["time/rollout_s"] == 0.0
