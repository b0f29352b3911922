"""Alarm lines, by hand."""

from __future__ import annotations

import json

from configs.schema import LogConfig
from trainer.alarms import Alarms

CONFIG = LogConfig(alarm_steps=3, alarm_growth=2.0)


def metrics(gap: float | None = None, tokens: float = 30.0) -> dict[str, float]:
    found = {"rollout/completion_tokens_mean": tokens}
    return found if gap is None else {**found, "judge/reasoning_right_wrong_gap": gap}


def lines_of(alarms: Alarms, steps: list[dict[str, float]]) -> list[list[str]]:
    return [alarms.observe(step) for step in steps]


def test_a_judge_that_prefers_wrong_answers_is_reported_after_k_steps_and_again():
    found = lines_of(Alarms(CONFIG, ["reasoning"]), [metrics(-0.1)] * 6)
    assert [len(lines) for lines in found] == [0, 0, 1, 0, 0, 1]
    assert found[2][0].startswith("alarm: for 3 steps the judge of 'reasoning' has scored wrong")
    assert "0.100" in found[2][0]


def test_one_good_step_or_one_without_a_judge_ends_the_row():
    for other in (metrics(0.01), metrics(None)):
        steps = [metrics(-0.1), metrics(-0.1), other, metrics(-0.1), metrics(-0.1)]
        assert lines_of(Alarms(CONFIG, ["reasoning"]), steps) == [[]] * 5


def test_reasoning_that_runs_away_in_length_is_reported():
    steps = [metrics(tokens=30.0)] * 5 + [metrics(tokens=61.0)] * 3
    found = lines_of(Alarms(CONFIG, []), steps)
    assert [len(lines) for lines in found] == [0] * 7 + [1]
    assert "2.0 times as long as at the start (61 tokens, 30 then)" in found[-1][0]
    steps = [metrics(tokens=30.0)] * 5 + [metrics(tokens=59.0)] * 9
    assert not any(lines_of(Alarms(CONFIG, []), steps))


def test_alarms_can_be_switched_off():
    off = Alarms(LogConfig(alarm_steps=0), ["reasoning"])
    assert not any(lines_of(off, [metrics(-1.0)] * 50))


def test_a_resumed_run_counts_on():
    first = Alarms(CONFIG, ["reasoning"])
    lines_of(first, [metrics(-0.1, 30.0)] * 2)
    second = Alarms(CONFIG, ["reasoning"])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert len(second.observe(metrics(-0.1, 30.0))) == 1
    assert second.state_dict()["base"] == [30.0] * 3
