"""Stressed words as questions: the words of the alignment to choose from."""

from __future__ import annotations

from typing import Any

import pytest

from annotate.tasks.stress import QUESTIONS, stress_rows
from configs.errors import UserError


def clip(stressed: list[str] | None, words: list[str]) -> dict[str, Any]:
    aligned = [
        {"word": word, "start_s": 0.3 * index, "end_s": 0.3 * index + 0.2}
        for index, word in enumerate(words)
    ]
    return {"id": "c", "audio": "c.wav", "words": aligned, "prosody": {"stressed_words": stressed}}


def test_one_word():
    (row,) = stress_rows([clip(["you,"], ["I", "told", "you,", "I", "did."])], seed=0)
    assert row["id"] == "stress/c" and row["task"] == "stress"
    assert row["choices"] == ["I", "told", "you", "did"]
    assert row["label"] == "you" and row["target"] == "<answer>you</answer>"
    assert "I, told, you, did" in row["question"]


def test_several_words_are_one_answer_that_the_question_does_not_show():
    (row,) = stress_rows([clip(["told", "did"], ["I", "told", "you", "I", "did"])], seed=0)
    assert row["label"] == "told, did" and row["target"] == "<answer>told, did</answer>"
    assert row["choices"] == ["I", "told", "you", "did", "told, did"]
    assert "told, did" not in row["question"]


def test_the_question_does_not_tell_how_many():
    one = stress_rows([clip(["told"], ["I", "told", "you"])], seed=5)
    two = stress_rows([clip(["I", "you"], ["I", "told", "you"])], seed=5)
    assert one[0]["question"] == two[0]["question"]
    assert all("{choices}" in question for question in QUESTIONS)


def test_clips_without_an_answer_are_left_out():
    words = ["I", "told", "you"]
    rows = [
        clip(None, words),
        clip([], words),
        clip(["no"], ["no", "no", "no"]),
        {**clip(["I"], words), "words": None},
        {**clip(["I"], words), "prosody": None},
    ]
    assert stress_rows(rows, seed=0) == []


def test_old_measurements_and_broken_alignments_are_refused():
    with pytest.raises(UserError, match=r"row 'c'.*'them'.*launch/annotate.py"):
        stress_rows([clip(["them"], ["I", "told", "you"])], seed=0)
    broken = clip(["I"], ["I", "told", "you"])
    broken["words"][1]["end_s"] = 0
    with pytest.raises(UserError, match=r"row 'c'.*start_s < end_s"):
        stress_rows([broken], seed=0)
