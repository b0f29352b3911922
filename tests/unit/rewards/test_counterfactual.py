"""What claims on a moved clip are paid: by hand, and for texts that did not listen."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from data.records import Group, Move
from rewards.base import Scores
from rewards.counterfactual import CounterfactualReward
from tests.unit.make_groups import make_group

WORDS = ("low", "normal", "high")
SILENT = "The voice is pleasant."
REWARD = CounterfactualReward()


def said(reasoning: str) -> str:
    return f"<think>{reasoning}</think><answer>sad</answer>"


def pitch(level: int) -> str:
    return f"The pitch is {WORDS[level]}."


def half(texts: Sequence[str], others: Sequence[str], direction: int = 1, **more: object) -> Group:
    """The half of a pair that says `texts`; the other half said `others`."""
    move = replace(Move("pitch", direction, 4.0, clean=True), **more)
    group = make_group([said(text) for text in texts])
    completions = make_group([said(text) for text in others]).completions
    return replace(group, prompt=replace(group.prompt, move=move), others=completions)


def scores(*args: object, **more: object) -> Scores:
    return REWARD.score(half(*args, **more))  # type: ignore[arg-type]


PLAIN = [pitch(0), pitch(1), pitch(1), SILENT]
"""Claims 2/3 of a level on average."""


def test_by_hand():
    up = scores([pitch(2), pitch(1), pitch(0), SILENT], PLAIN)
    assert up.values == pytest.approx((5 / 6, 7 / 12, 1 / 3, 0))
    down = scores([pitch(0), pitch(2), "The pitch is not high."], PLAIN, -1)
    assert down.values == pytest.approx((2 / 3, 1 / 6, 0))
    # A whole scale apart, and the other way.
    assert scores([pitch(2), pitch(0)], [pitch(0)]).values == (1.0, 0.5)
    assert scores([pitch(2), pitch(0)], [pitch(0)], -1).values == (0.0, 0.5)
    # Who has nobody to be compared with is compared with the middle.
    assert scores([pitch(2), pitch(1)], [SILENT]).values == (0.75, 0.5)
    assert scores([pitch(2), pitch(1)], []).values == (0.75, 0.5)


def test_the_facts_that_become_metrics():
    details = scores([pitch(2), pitch(0), SILENT], PLAIN).details
    assert [detail["level"] for detail in details] == [2, 0, None]
    assert [detail["metrics"] for detail in details] == [
        {"claimed": 1, "clean": 1, "shift_pitch": pytest.approx(4 / 3)},
        {"claimed": 1, "clean": 1, "shift_pitch": pytest.approx(-2 / 3)},
        {"claimed": 0, "clean": 1},
    ]
    lone = scores([pitch(2)], [SILENT]).details
    assert lone[0]["metrics"] == {"claimed": 1, "clean": 1}, "no shift without a level before"
    fall = scores([pitch(0)], [pitch(1)], -1).details
    assert fall[0]["metrics"]["shift_pitch"] == 1, "downwards is right when it was moved down"


def test_only_what_was_moved_counts():
    text = "The pitch is high and the pace is slow."
    assert scores([text], ["The pace is normal."], attribute="rate").values == (0.25,)
    assert scores([text], [pitch(1)], attribute="energy").values == (0,)
    malformed = half([], PLAIN)
    malformed = replace(malformed, completions=make_group(["The pitch is high."]).completions)
    assert REWARD.score(malformed).values == (0,)


@pytest.mark.parametrize("more", [{"direction": 0}, {"clean": False}])
def test_what_is_compared_with_and_what_was_not_clean_is_not_scored(more: dict[str, object]):
    found = scores([pitch(2), SILENT], PLAIN, **more)
    assert found.values == (None, None)
    assert all(detail["not_applicable"] for detail in found.details)
    assert [detail["metrics"]["claimed"] for detail in found.details] == [1, 0]
    assert all("shift_pitch" not in detail["metrics"] for detail in found.details)


def test_a_group_that_is_no_half_of_a_pair_is_not_scored():
    found = REWARD.score(make_group([said(pitch(2))] * 2))
    assert found.values == (None, None)
    assert all(detail["not_applicable"] for detail in found.details)


CONSTANT = (
    *map(pitch, range(3)),
    SILENT,
    "The pitch is not low.",
    "The pitch is not high and not low.",
    "The pitch is moderate to high.",
    "The pitch is high. The pitch is low.",
    "The pitch is rather high, but not very high.",
)


def listener(st: float, draw: np.random.Generator) -> str:
    """Right about three clips in five; a guess about the others."""
    heard = draw.random() < 0.6
    return pitch(1 + int(st > 2) - int(st < -2) if heard else int(draw.integers(3)))


def test_no_text_that_did_not_listen_is_paid_like_one_that_did():
    draw = np.random.default_rng(0)
    paid: dict[str, list[float]] = {text: [] for text in (*CONSTANT, "listener")}
    for clip_st in draw.normal(0, 4, 150):
        others = [listener(clip_st, draw) for _ in range(4)]
        for direction in (1, -1):  # of a fair coin
            heard = listener(clip_st + 4 * direction, draw)
            values = scores([*CONSTANT, heard], others, direction).values
            for text, value in zip(paid, values, strict=True):
                assert value is not None
                paid[text].append(value)
    means = {text: statistics.fmean(values) for text, values in paid.items()}
    assert means.pop("listener") > 0.55
    for text, value in means.items():
        assert value <= 0.5 + 1e-9, text
    assert [means[pitch(level)] for level in range(3)] == pytest.approx([0.5] * 3)
    assert means[SILENT] == 0


def test_what_the_unmoved_half_would_earn_does_not_depend_on_what_it_says():
    """Why it is not paid: over both ways, every level would earn the same."""
    moved = {1: 1.8, -1: 0.4}  # mean levels of a listener, moved up and down
    for level in range(3):
        # Its own clip lies below one that was moved up, and above one that was moved down.
        earned = [0.5 - way * (level - mean) / 4 for way, mean in moved.items()]
        assert statistics.fmean(earned) == pytest.approx(0.5 + (1.8 - 0.4) / 8)
