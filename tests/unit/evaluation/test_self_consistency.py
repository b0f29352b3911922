"""Votes by hand: ties, unreadable samples, agreement, pass@N."""

from __future__ import annotations

import numpy as np
import pytest

from data.records import Completion, Group, Prompt
from evaluation.answer_reader import AnswerReader
from evaluation.self_consistency import Votes, vote_metrics, vote_row, voted, votes_of
from tests.fixtures import LABELS, make_example


@pytest.mark.parametrize(
    ("answers", "majority", "agreement"),
    [
        (("sad", "happy", "happy"), "happy", 2 / 3),
        # Ties: the answer that was sampled first, right or wrong.
        (("sad", "happy", "happy", "sad"), "sad", 1 / 2),
        (("happy", "sad"), "happy", 1 / 2),
        # An unreadable sample has no vote, and does not agree.
        ((None, None, "sad"), "sad", 1 / 3),
        ((None, None), None, 0.0),
    ],
)
def test_the_majority(answers: tuple[str | None, ...], majority: str | None, agreement: float):
    votes = Votes(answers, "happy")
    assert votes.majority == majority
    assert votes.agreement == pytest.approx(agreement)


def test_metrics_by_hand():
    found = [
        Votes(("happy", "happy", "sad", "happy"), "happy"),  # vote right, 3 of 4, agreement 3/4
        Votes(("sad", "happy", "sad", "happy"), "happy"),  # tie, first is wrong: 2 of 4, 2/4
        Votes((None, "sad", "sad", None), "happy"),  # wrong, 0 of 4, 2/4
        Votes((None, None, None, None), "happy"),  # nothing
    ]
    assert vote_metrics(found) == pytest.approx(
        {
            "vote_accuracy": 1 / 4,
            "sampled_accuracy": 5 / 16,
            "vote_agreement": (3 + 2 + 2 + 0) / 16,
            "pass_at_n": 2 / 4,
        }
    )


def test_rows_and_back():
    votes = Votes(("sad", None), "happy")
    row = vote_row(votes)
    assert row == {"votes": ["sad", None], "vote": "sad", "vote_correct": False}
    assert voted([{**row, "label": "happy"}, {"label": "sad"}]) == [votes]


def test_samples_are_read_as_greedy_answers_are():
    prompt = Prompt(make_example(1), "...", np.arange(3), None, 0)
    texts = ("<think>x</think><answer>Happy.</answer>", "happy", "<answer>happy</answer>")
    group = Group(
        prompt,
        tuple(Completion(np.array([1]), np.zeros(1, np.float32), t, "stop", 0) for t in texts),
    )
    reader = AnswerReader.of(LABELS, {})
    assert votes_of(group, reader) == Votes(("happy", None, None), "happy")
