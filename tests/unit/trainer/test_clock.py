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
    first = clock.seconds("data")
    clock.lap("sync")
    spin(0.002)
    clock.lap("data")
    assert clock.seconds("data") >= first + 0.002
    assert clock.metrics()["time/data_s"] == clock.seconds("data")


def test_a_part_that_did_not_happen_took_no_time():
    assert StepClock().seconds("reward") == 0.0
    assert StepClock().metrics().keys() == {"time/step_s"}


def test_a_stream_counts_until_its_last_item_and_what_follows_does_not():
    clock = StepClock()

    def produce():
        for item in "ab":
            spin(0.002)
            yield item

    received = []
    for item in clock.until_exhausted("rollout", produce()):
        received.append(item)
        assert clock.seconds("rollout") == 0.0  # counted once, at the end
        spin(0.001)
    spin(0.003)
    clock.lap("reward")
    assert received == ["a", "b"]
    assert clock.seconds("rollout") >= 2 * 0.002 + 2 * 0.001
    assert clock.seconds("reward") >= 0.003
    parts = clock.seconds("rollout") + clock.seconds("reward")
    assert parts <= clock.metrics()["time/step_s"]
