"""The format term."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data.records import RewardTerms
from evaluation.answer_reader import AnswerReader
from rewards.accuracy import AccuracyReward
from rewards.combine import CombineRules, combine
from rewards.format import FormatReward
from tests.unit.make_groups import make_group
from trainer.metrics import rollout_metrics, sample_rows

RIGHT = "<think>loud</think><answer>angry</answer>"


def test_one_for_well_formed_and_zero_for_the_rest_with_the_reason():
    scores = FormatReward().score(make_group([RIGHT, "angry", f"{RIGHT}!", f" {RIGHT}"]))
    assert scores.values == (1.0, 0.0, 0.0, 1.0)
    assert [detail["reason"] for detail in scores.details] == [
        "ok",
        "missing <think>",
        "text outside",
        "ok",
    ]


@pytest.mark.parametrize("allowed", [False, True])
def test_a_completion_that_never_ends_is_malformed_for_all_readers_unless_allowed(allowed: bool):
    group = make_group([f"{RIGHT}{' ' * 40}", RIGHT, "<think>loud"])
    whole, ended, cut = (
        replace(completion, finish_reason=reason, allow_truncated=allowed)
        for completion, reason in zip(group.completions, ("length", "stop", "length"), strict=True)
    )
    group = replace(group, completions=(whole, ended, cut))
    scores = FormatReward().score(group)
    assert scores.values == (float(allowed), 1.0, 0.0)
    reasons = ["ok" if allowed else "truncated", "ok", "missing </think>"]
    assert [detail["reason"] for detail in scores.details] == reasons
    # Every other reader says the same of it.
    accuracy = AccuracyReward().score(group)
    assert accuracy.values == scores.values
    assert [detail["reason"] for detail in accuracy.details] == reasons
    rules = CombineRules()
    terms = RewardTerms({"format": scores.values, "accuracy": accuracy.values})
    item = combine(group, terms, {"format": 0.3, "accuracy": 1.0}, rules)
    metrics = rollout_metrics([item], 1, rules)
    assert metrics["rollout/format_frac"] == metrics["reward/format_mean"]
    assert metrics["rollout/accuracy"] == metrics["reward/accuracy_mean"]
    assert metrics["rollout/truncated_frac"] == pytest.approx(2 / 3)
    rows = sample_rows(1, [item], [], {})
    assert [row["correct"] for row in rows] == [allowed, True, False]
    reader = AnswerReader.of(group.prompt.example.choices, {})
    read = [reader.answer(group.prompt.example, completion) for completion in group.completions]
    assert read == [row["answer"] for row in rows] == ["angry" if allowed else None, "angry", None]


def test_the_answer_does_not_matter():
    wrong = "<think>loud</think><answer>no such label</answer>"
    assert FormatReward().score(make_group([wrong], label="angry")).values == (1.0,)


def test_order_and_group_size_do_not_change_a_score():
    texts = [RIGHT, "", f"{RIGHT}{RIGHT}", RIGHT]
    whole = FormatReward().score(make_group(texts)).values
    backwards = FormatReward().score(make_group(texts[::-1])).values
    alone = tuple(FormatReward().score(make_group([text])).values[0] for text in texts)
    assert whole == backwards[::-1] == alone == (1.0, 0.0, 0.0, 1.0)
