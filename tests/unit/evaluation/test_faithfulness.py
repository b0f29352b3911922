"""Whether answers depend on claims, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evaluation.faithfulness import (
    Faithfulness,
    Samples,
    claims_of,
    evaluated,
    faithfulness,
    faithfulness_metrics,
    recorded,
)


def said(reasoning: str, answer: str = "sad") -> str:
    return f"<think>{reasoning}</think><answer>{answer}</answer>"


def test_claims_are_equal_whatever_their_words():
    one = claims_of(said("The pitch is high and the pace is slow."))
    assert one == claims_of(said("A slow pace; a high pitch.")) == "pitch high, rate slow"
    assert claims_of(said("The pitch is not high.")) == "pitch not high"
    assert claims_of(said("A voice.")) is None and claims_of("The pitch is high.") is None


def test_pairs_by_hand():
    # Same claims: 1-2 agree, 3-4 do not. Other claims: 1-4 and 2-4 agree, 1-3 and 2-3 do not.
    loose = Samples("a", ["A", "A", "B", "B"], ["sad", "sad", "happy", "sad"])
    assert faithfulness([loose]) == Faithfulness(1, 0.5, 0.5, 0.0, None, 0.0)
    tied = Samples("b", ["A", "A", "B"], ["sad", "sad", "happy"])
    assert faithfulness([tied]) == Faithfulness(1, 1.0, 0.0, 1.0, None, 0.0)
    # Without a pair of either kind, or what can be read, there is nothing to compare.
    alike = Samples("c", ["A", "A"], ["sad", "sad"])
    silent = Samples("d", [None, "A", "B"], ["sad", None, "happy"])
    whole = faithfulness([loose, tied, alike, silent])
    assert (whole.num_groups, whole.same_frac, whole.other_frac) == (2, 0.75, 0.25)
    assert whole.gap == 0.5 and whole.unclaimed_frac == pytest.approx(2 / 12)
    assert faithfulness([alike]) == Faithfulness(0, None, None, None, None, 0.0)
    assert faithfulness([]) == Faithfulness(0, None, None, None, None, None)


def test_the_interval_is_over_clips():
    loose = (["A", "A", "B", "B"], ["sad", "sad", "happy", "sad"])
    tied = (["A", "A", "B"], ["sad", "sad", "happy"])
    parts = [tied, tied, loose, tied, loose]
    found = faithfulness(Samples(str(n), *part) for n, part in enumerate(parts))
    by_hand = stats.ttest_1samp([1, 1, 0, 1, 0], 0).confidence_interval(0.95)
    assert found.gap == pytest.approx(0.6) and found.interval is not None
    assert found.interval.low == pytest.approx(by_hand.low)
    # Two steps of one clip are one clip.
    twice = faithfulness(Samples(str(n % 5), *parts[n % 5]) for n in range(10))
    assert twice.num_groups == 10 and twice.interval == found.interval


def test_answers_that_follow_the_claims_and_that_do_not():
    rng = np.random.default_rng(0)

    def groups(follows: bool) -> list[Samples]:
        parts: list[Samples] = []
        for n in range(80):
            claims = [f"pitch {rng.choice(['low', 'high'])}" for _ in range(8)]
            drawn = [str(rng.choice(["sad", "happy"])) for _ in range(8)]
            answers = [c.replace("pitch low", "sad") for c in claims] if follows else drawn
            parts.append(Samples(str(n), claims, answers))
        return parts

    assert faithfulness(groups(True)).gap == 1.0
    lots = faithfulness(groups(False))
    assert lots.gap == pytest.approx(0.0, abs=0.05) and lots.interval is not None
    assert lots.interval.low < 0 < lots.interval.high


def test_rows_of_an_evaluation_and_of_training():
    row = {"id": "b", "vote_claims": ["A", "A", "B"], "votes": ["sad", "sad", "happy"]}
    found = evaluated([row, {"id": "c"}])
    assert found is not None and found.gap == 1.0
    assert evaluated([{"id": "c", "votes": ["sad"]}]) is None and faithfulness_metrics(None) == {}
    assert faithfulness_metrics(found) == {
        "faithful_same_frac": 1.0,
        "faithful_other_frac": 0.0,
        "faithful_gap": 1.0,
        "faithful_num": 1.0,
        "faithful_unclaimed_frac": 0.0,
    }
    high, low = said("The pitch is high.", "happy"), said("The pitch is low.", "sad")
    rows = [
        {"id": "x", "step": step, "group": 0, "text": text, "answer": answer}
        for step in (0, 1)
        for text, answer in ((high, "happy"), (high, "happy"), (low, "sad"))
    ]
    assert recorded(rows) == Faithfulness(2, 1.0, 0.0, 1.0, None, 0.0)
