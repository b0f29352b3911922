"""Labels that the policy answers and gets right over a window, by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from configs.schema import LogConfig
from data.records import RewardTerms, ScoredGroup
from tests.unit.make_groups import make_group
from trainer.alarms import Alarms
from trainer.classes import ClassWindow, class_metrics


def scored(label: str, answers: list[str]) -> ScoredGroup:
    texts = [f"<think>x</think><answer>{answer}</answer>" if answer else "?" for answer in answers]
    group = make_group(texts, label=label)
    return ScoredGroup(group, RewardTerms({}), {}, 1.0, (0.0,) * len(texts))


def test_recall_f1_and_how_often_a_label_is_answered():
    step = [
        scored("sad", ["sad", "sad", "sad", "angry"]),
        scored("angry", ["angry", "sad", "", "angry"]),
        scored("contempt or disgust", ["sad", "sad", "sad", "angry"]),
    ]
    # asked 4 each; answered: sad 7, angry 4, disgust 0; right: 3, 2, 0.
    found = ClassWindow(3, {}).observe(step)
    assert found == pytest.approx(
        {
            "classes/recall_sad": 3 / 4,
            "classes/recall_angry": 2 / 4,
            "classes/recall_contempt_or_disgust": 0,
            "classes/answered_sad": 7 / 4,
            "classes/answered_angry": 4 / 4,
            "classes/answered_contempt_or_disgust": 0,
            "classes/given_up": 1,
            "classes/ua": (3 / 4 + 2 / 4 + 0) / 3,
            # 2 right / (asked + answered): 6 / 11, 4 / 8, 0 / 4
            "classes/macro_f1": (6 / 11 + 4 / 8 + 0) / 3,
        }
    )


def test_a_label_that_is_answered_0_3_times_as_often_as_asked_is_not_given_up():
    counts = {("sad", "sad"): 30, ("angry", "sad"): 14, ("angry", "angry"): 6}
    assert class_metrics(counts)["classes/given_up"] == 0
    counts = {("sad", "sad"): 30, ("angry", "sad"): 15, ("angry", "angry"): 5}
    assert class_metrics(counts)["classes/given_up"] == 1


def test_only_the_last_steps_count_and_aliases_are_their_labels():
    window = ClassWindow(2, {"mad": "angry"})
    window.observe([scored("angry", ["sad"] * 4)])
    window.observe([scored("angry", ["mad", "angry"])])
    found = window.observe([scored("sad", ["sad", "mad"])])
    assert found["classes/recall_angry"] == 1 and found["classes/answered_angry"] == 3 / 2
    assert found["classes/recall_sad"] == 1 / 2


def test_a_resumed_run_counts_on():
    first, second = ClassWindow(2, {}), ClassWindow(2, {})
    for answers in (["sad", "sad"], ["angry", "sad"]):
        first.observe([scored("sad", answers)])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    step = [scored("angry", ["angry", "sad"])]
    assert second.observe(step) == first.observe(step)
    second.load_state_dict({})
    assert second.observe(step)["classes/ua"] == 1 / 2


def test_labels_that_are_given_up_for_long_are_reported():
    window, alarms = ClassWindow(1, {}), Alarms(replace(LogConfig(), alarm_steps=2), [])
    lines = []
    for answers in (["sad"], ["angry"], ["sad"], ["sad"]):
        step = [scored("angry", answers * 4), scored("sad", ["sad"] * 4)]
        metrics = {"rollout/completion_tokens_mean": 9.0, "rollout/accuracy": 0.5}
        lines.append(alarms.observe(metrics | window.observe(step)))
    assert lines[:3] == [[], [], []]
    assert (
        "seldom been answered for their clips (angry; accuracy 0.50, macro F1 0.33)" in lines[3][0]
    )
