"""The numbers and the page of an evaluation, with worked numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.page import evaluation_page
from evaluation.summary import (
    MAX_CLASSES,
    AnsweredSet,
    evaluation_summary,
    pooled,
    quality,
    summary_of_sets,
)

CHOICES = ["sad", "contempt | disgust"]


def rows() -> list[dict[str, Any]]:
    """Corpus one: 3 of 4 right; corpus two: 1 of 2, one of them without an answer."""
    told = [
        ("one", "sad", "sad"),
        ("one", "sad", "sad"),
        ("one", "contempt | disgust", "contempt | disgust"),
        ("one", "contempt | disgust", "sad"),
        ("two", "sad", None),
        ("two", "sad", "sad"),
    ]
    return [
        {
            "id": str(index),
            "dataset": dataset,
            "speaker": f"s{index}",
            "label": label,
            "answer": answer,
            "correct": label == answer,
        }
        for index, (dataset, label, answer) in enumerate(told)
    ]


def test_micro_and_macro_of_corpora():
    found = evaluation_summary(rows(), CHOICES, seed=0)
    assert found["overall"]["accuracy"] == pytest.approx(4 / 6)
    assert found["overall"]["ua"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["datasets"]["one"]["accuracy"] == pytest.approx(3 / 4)
    assert found["datasets"]["two"]["accuracy"] == pytest.approx(1 / 2)
    assert found["macro"]["accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["confusion"] == [[3, 0, 1], [1, 1, 0]]
    assert found["classes"]["sad"] == {
        "examples": 4,
        "precision": 3 / 4,
        "recall": 3 / 4,
        "f1": 6 / 8,
    }
    # Six speakers: intervals over them too; they hold the value.
    for name in ("interval", "interval_speakers"):
        interval = found["overall"][name]["accuracy"]
        assert interval["low"] <= 4 / 6 <= interval["high"]
    assert found["datasets"]["two"]["interval_speakers"] == {}


def test_a_class_that_nobody_has_or_answers_is_undefined():
    found = evaluation_summary(rows()[:2], [*CHOICES, "fear"], seed=0)
    assert found["classes"]["fear"] == {
        "examples": 0,
        "precision": None,
        "recall": None,
        "f1": None,
    }
    assert found["datasets"] == {}


def answered(name: str, told: list[tuple[str, str | None]], choices: tuple[str, ...], **more: Any):
    found = [
        {"id": str(i), "label": label, "answer": answer, "correct": label == answer}
        for i, (label, answer) in enumerate(told)
    ]
    facts = {"is_benchmark": True, "is_probe": False, **more}
    return AnsweredSet(name=name, choices=choices, rows=found, **facts)


def three_sets() -> list[AnsweredSet]:
    """Calm or happy: 3 of 4; happy or sad: 0 of 1; a probe: 1 of 1."""
    first = [("calm", "calm"), ("calm", "calm"), ("happy", "happy"), ("happy", None)]
    return [
        answered("ravdess", first, ("calm", "happy")),
        answered("savee", [("Happy", "sad")], ("Happy", "sad")),
        answered("pitch", [("high", "high")], ("low", "high"), is_probe=True),
    ]


def test_means_over_benchmarks_leave_probes_out():
    found = summary_of_sets(three_sets(), seed=0)
    means = found["means"]
    assert (means["sets"], means["examples"]) == (["ravdess", "savee"], 5)
    assert means["micro"]["accuracy"] == pytest.approx(3 / 5)
    assert means["macro"]["accuracy"] == pytest.approx((3 / 4 + 0) / 2)
    assert means["macro"]["ua"] == pytest.approx((3 / 4 + 0) / 2)
    # Wilson: 3 of 4 is 0.3006 to 0.9544, 0 of 1 is 0 to 0.7935; half of what they add up to.
    low, high = means["macro"]["interval"].values()
    assert low == pytest.approx(3 / 8 - (3 / 4 - 0.3006) / 2, abs=1e-4)
    assert high == pytest.approx(3 / 8 + np.hypot(0.9544 - 3 / 4, 0.7935) / 2, abs=1e-4)
    # Without a test split the whole is all of them, over all labels.
    assert found["of"] == "all benchmarks"
    assert found["choices"] == ["calm", "happy", "sad"]
    assert found["confusion"] == [[2, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]
    assert list(found["sets"]) == ["ravdess", "savee", "pitch"]
    assert found["sets"]["pitch"]["overall"]["accuracy"] == 1.0


def test_the_test_split_is_the_whole_where_there_is_one():
    split = answered("test", [("calm", "happy")], ("calm", "happy"), is_benchmark=False)
    found = summary_of_sets([split, *three_sets()], seed=0)
    assert found["of"] == "split test"
    assert found["confusion"] == [[0, 1, 0], [0, 0, 0]]
    assert found["means"]["micro"]["accuracy"] == pytest.approx(3 / 6)
    only = summary_of_sets(three_sets()[2:], seed=0)
    assert only["means"] is None and only["choices"] == ["low", "high"]


def test_metric_keys_of_split_and_benchmark():
    split = answered("test", [("calm", "calm")], ("calm", "happy"), is_benchmark=False)
    split.metrics["vote_accuracy"] = 0.5
    metrics = split.all_metrics()
    assert metrics["test_after/accuracy"] == 1.0 and metrics["test_after/vote_accuracy"] == 0.5
    assert "bench/ravdess_recall_calm" in three_sets()[0].all_metrics()


def test_the_words_of_sentences_are_no_classes():
    words = tuple(f"word{n}" for n in range(MAX_CLASSES + 1))
    found = answered("stress", [(words[0], words[0]), (words[1], words[0])], words, is_probe=True)
    assert found.all_metrics() == {"bench/stress_accuracy": 0.5, "bench/stress_format_frac": 1.0}
    summary = summary_of_sets([found, three_sets()[2]], seed=0)
    numbers = summary["sets"]["stress"]
    assert numbers["overall"]["accuracy"] == 0.5 and numbers["overall"]["ua"] is None
    assert numbers["confusion"] == [] and numbers["classes"] == {}
    assert summary["choices"] == ["low", "high"]  # the set that has classes
    assert "accuracy is the only number" in page(summary)


def test_pooled_labels_are_spelled_once():
    found, choices = pooled(three_sets()[:2])
    assert choices == ("calm", "happy", "sad")
    assert found[-1]["label"] == "happy"


def test_quality_counts_complete_scores_alone():
    told = [
        {"facts": 4.0, "words": 2.0},
        {"facts": 5.0, "words": None},
        {},
        {"facts": 2, "words": 2},
    ]
    found = quality([{"scores": {"reasoning": scores}} for scores in told] + [{}])
    assert found == {
        "reasoning": {"mean": 2.5, "scored": 2, "dimensions": {"facts": 3.0, "words": 2.0}}
    }
    assert quality([{"scores": {"reasoning": {}}}]) == {}


def page(summary: dict[str, Any]) -> str:
    facts = {"model": "runs/x/export", "mode": "reasoned", "samples": 4, "temperature": 1.0}
    latency = {"clips": 3.0, "p50_s": 0.25, "p95_s": 0.5, "device": "a | b"}
    return evaluation_page({**summary, **facts, "judges": {"reasoning": "J"}, "latency": latency})


def test_the_page():
    nulls = {
        **{"train": 9, "examples": 6, "forest_train": 8, "forest_examples": 5, "majority": 0.5},
        **{"loudness_length": 0.25, "without_f0": 0.75, "measured": None},
        **{"levels": {"pitch": 0.7}, "facts": {"gold": 4.0, "answer": None}},
    }
    found = AnsweredSet("test", False, False, tuple(CHOICES), rows(), nulls=nulls)
    found.metrics.update(
        control_silence_accuracy=0.5,
        control_silence_changed_frac=0.25,
        control_pitch_up_accuracy=0.5,
        control_pitch_up_changed_frac=0.5,
        control_pitch_up_follow_num=20.0,
        control_pitch_up_follow_frac=0.5,
        control_pitch_up_against_frac=0.0,
        vote_accuracy=0.75,
        sampled_accuracy=0.5,
        pass_at_n=1.0,
        vote_agreement=0.625,
    )
    for row in found.rows:
        row |= {"votes": ["sad"], "scores": {"reasoning": {"facts": 4.0}}}
    lines = page(summary_of_sets([found, three_sets()[0]], seed=0)).splitlines()
    assert "`runs/x/export`, greedy answers, with their reasoning." in lines
    assert any(line.startswith("| test | 66.7 % [") for line in lines)
    assert any(line.startswith("| all clips of test, ravdess (micro) | 70.0 % [") for line in lines)
    assert any(line.startswith("| mean of these sets (macro) | 70.8 % [") for line in lines)
    assert "| mean of the corpora (macro) | 62.5 % | 62.5 % | 70.0 % | | |" in lines
    assert r"| contempt \| disgust | 2 | 100.0 % | 50.0 % | 66.7 % |" in lines
    assert r"| contempt \| disgust | 1 | 1 | 0 |" in lines
    follow = "50.0 % [29.9, 70.1] | 0.0 % [0.0, 16.1] | 20 |"
    assert f"| pitch_up | 50.0 % | 50.0 % | {follow}" in lines
    assert "| silence | 50.0 % | 25.0 % | - | - | - |" in lines
    assert any(
        line.startswith("| 75.0 % [") and line.endswith("| 50.0 % | 100.0 % | 62.5 % |")
        for line in lines
    )
    assert any(r"3 clips one after another on a \| b: median 0.250 s" in line for line in lines)
    assert "| facts | 4.00 |" in lines
    assert "| this policy | 66.7 % |" in lines and "| most frequent label | 50.0 % |" in lines
    assert "| random forest, all measurements but those of F0 | 75.0 % |" in lines
    assert "| random forest, all measurements | - |" in lines
    assert any("gold label: 4.00; of the policy's answer: -." in line for line in lines)
    assert any(line.endswith("gets right: pitch 70.0 %.") for line in lines)


def test_hearing_and_faithfulness_on_the_page():
    found = AnsweredSet("test", False, False, tuple(CHOICES), rows())
    plain: dict[str, list[int | None]] = {"pitch": [None], "energy": [0], "rate": [1]}
    for place, row in enumerate(found.rows):
        row |= {"id": str(place), "levels": plain, "votes": ["sad", "sad", "calm"]}
        row["measured"] = {"energy": "high" if place == 1 else "low"}
        row["vote_claims"] = ["A", "A", "B"]
    louder = [
        {"id": row["id"], "clean": place > 0, "levels": {**plain, "energy": [min(place, 2)]}}
        for place, row in enumerate(found.rows)
    ]
    summary = summary_of_sets([replace(found, controls={"energy_up": louder})], seed=0)
    moved = summary["sets"]["test"]["shifts"]["energy_up"]["attributes"]["energy"]
    text = page(summary)
    ends = f"[{moved['interval']['low']:.2f}, {moved['interval']['high']:.2f}]"
    # The first one is unclean; of the other five the first rises by one level, four by two.
    moves = f"- | +1.80 {ends} | +0.00 | +2.00 | - | +1.00"
    assert f"| energy_up | {moves} | 0.0 % | 5, 1 |" in text
    assert "100.0 % of the pairs with the same claims and in 0.0 % of those with others" in text
    assert "difference +100.0 points over the 6 clips" in text
