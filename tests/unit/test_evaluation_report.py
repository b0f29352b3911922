"""The tables of an evaluation, with worked numbers."""

from __future__ import annotations

import pytest

from trainer.evaluation_report import evaluation_page, evaluation_summary

CHOICES = ["sad", "contempt | disgust"]


def rows() -> list[dict[str, object]]:
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


def test_micro_and_macro():
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


def test_the_page():
    summary = evaluation_summary(rows(), CHOICES, seed=0)
    summary["metrics"] = {
        "test_after/control_silence_accuracy": 0.5,
        "test_after/control_silence_changed_frac": 0.25,
    }
    page = evaluation_page(summary, "runs/x/export", "test").splitlines()
    assert "`runs/x/export` on `test`: 6 clips, greedy answers, 83.3 % of them readable." in page
    assert any(line.startswith("| all clips (micro) | 66.7 % [") for line in page)
    assert "| mean of the corpora (macro) | 62.5 % | 62.5 % | 70.0 % | |" in page
    assert r"| contempt \| disgust | 2 | 100.0 % | 50.0 % | 66.7 % |" in page
    assert r"| contempt \| disgust | 1 | 1 | 0 |" in page
    assert "| silence | 50.0 % | 25.0 % |  |  |" in page
