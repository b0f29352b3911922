"""Alarm lines, by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from configs.schema import AlarmName, LogConfig
from trainer.alarms import Alarms
from trainer.guard import AlarmError

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


def step(**figures: float) -> dict[str, float]:
    """Metrics of a step; `__` stands for the slash."""
    named = {key.replace("__", "/"): value for key, value in figures.items()}
    return {"rollout/completion_tokens_mean": 30.0, **named}


@pytest.mark.parametrize(
    ("name", "good", "bad", "nearly", "words"),
    [
        (
            "accuracy",
            step(rollout__accuracy=0.6),
            step(rollout__accuracy=0.29),
            step(rollout__accuracy=0.3),
            r"below half of its best \(0\.290, 0\.600 then\)",
        ),
        (
            "entropy",
            step(policy__entropy=1.2),
            step(policy__entropy=0.119),
            step(policy__entropy=0.121),
            r"below a tenth of that at the start \(0\.1190 nats, 1\.2000 then\)",
        ),
        (
            "classes",
            step(reward__accuracy_mean_sad=0.35, reward__accuracy_mean_calm=0.1),
            step(reward__accuracy_mean_sad=0.0, reward__accuracy_mean_calm=0.0),
            step(reward__accuracy_mean_sad=0.01, reward__accuracy_mean_calm=0.0),
            r"no clip of 'sad' has been answered right \(up to 0\.35 were\)",
        ),
        (
            "truncated",
            step(rollout__truncated_frac=0.0),
            step(rollout__truncated_frac=0.51),
            step(rollout__truncated_frac=0.5),
            r"most completions were cut .* \(51%\)",
        ),
        (
            "flat",
            step(advantage__flat_frac=0.4),
            step(advantage__flat_frac=0.95),
            step(advantage__flat_frac=0.94),
            r"next to all groups were flat",
        ),
        (
            "judge_drift",
            step(reward__reasoning_mean=0.5, rollout__accuracy=0.4),
            step(reward__reasoning_mean=0.8, rollout__accuracy=0.42),
            step(reward__reasoning_mean=0.8, rollout__accuracy=0.46),
            r"drifted while accuracy stood still \(\+0\.300 since the start, accuracy \+0\.020",
        ),
        (
            "hacking",
            step(reward__reasoning_mean=0.5, rollout__accuracy=0.4),
            step(reward__reasoning_mean=0.7, rollout__accuracy=0.28),
            step(reward__reasoning_mean=0.7, rollout__accuracy=0.31),
            r"pleased more and more while accuracy falls \(\+0\.200 since the start, accuracy -0\.",
        ),
    ],
)
def test_the_thresholds_of_the_page(
    name: AlarmName,
    good: dict[str, float],
    bad: dict[str, float],
    nearly: dict[str, float],
    words: str,
):
    config = replace(CONFIG, alarm_stop=[name])
    alarms = Alarms(config, ["reasoning"])
    assert not any(lines_of(alarms, [good] * 5 + [nearly] * 9))
    alarms = Alarms(config, ["reasoning"])
    found = lines_of(alarms, [good] * 5 + [bad] * 3)
    assert [len(lines) for lines in found] == [0] * 7 + [1]
    assert re.search(words, found[-1][0])
    with pytest.raises(AlarmError, match=f"step 8: alarm: .*log.alarm_stop names '{name}'"):
        alarms.stop_if_asked(8)
    alarms.observe(good)
    alarms.stop_if_asked(9)
    other = Alarms(replace(CONFIG, alarm_stop=["length"]), ["reasoning"])
    lines_of(other, [good] * 5 + [bad] * 3)
    other.stop_if_asked(8)


def test_a_collapse_in_the_second_step_is_seen():
    alarms = Alarms(replace(CONFIG, alarm_steps=2), [])
    broken = step(rollout__accuracy=0.0, rollout__truncated_frac=1.0, advantage__flat_frac=1.0)
    found = lines_of(alarms, [step(rollout__accuracy=0.4), broken, broken])
    assert [len(lines) for lines in found] == [0, 0, 3]


def test_a_step_without_a_class_says_nothing_about_it():
    alarms = Alarms(CONFIG, [])
    with_it, without = step(reward__accuracy_mean_sad=0.0), step()
    lines_of(alarms, [step(reward__accuracy_mean_sad=0.5)] * 5)
    found = lines_of(alarms, [with_it, without, with_it, without, with_it])
    assert [len(lines) for lines in found] == [0, 0, 0, 0, 1]


def test_what_is_not_finite_leaves_the_state_sound():
    alarms = Alarms(CONFIG, ["reasoning"])
    bad = step(policy__entropy=float("nan"), rollout__accuracy=float("inf"))
    lines_of(alarms, [bad, step(policy__entropy=1.0, rollout__accuracy=0.5)])
    state = json.loads(json.dumps(alarms.state_dict(), allow_nan=False))
    assert state["firsts"]["entropy"] == [1.0] and state["bests"]["accuracy"] == 0.5
    again = Alarms(CONFIG, ["reasoning"])
    again.load_state_dict(state)
    assert again.state_dict() == alarms.state_dict()
    again.load_state_dict({"counts": {"length": 1}, "base": [30.0]})  # of an older run
    assert again.state_dict()["base"] == [30.0]
