"""Paired comparisons: the numbers of the textbook, and intervals that cover at their rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from evaluation.paired import compare


def rows(right: list[bool], speakers: list[str] | None = None) -> list[dict[str, Any]]:
    return [
        {"id": str(index), "correct": value, "speaker": speakers[index] if speakers else None}
        for index, value in enumerate(right)
    ]


def test_a_comparison_by_hand():
    """100 clips: 9 gained, 1 lost. McNemar exact: 2 P(X <= 1) for Binomial(10, 1/2) = 22 / 1024."""
    first = [False] * 9 + [True] * 91
    second = [True] * 9 + [False] + [True] * 90
    found = compare(rows(first), rows(second))
    assert (found.num_examples, found.gained, found.lost) == (100, 9, 1)
    assert (found.num_speakers, found.over) == (None, "clips")
    assert found.difference == pytest.approx(0.08)
    assert found.p == pytest.approx(22 / 1024)
    # 10 / 102 and 2 / 102: 0.0784 +- 1.96 x sqrt((12 / 102 - 0.0784^2) / 102).
    reach = 1.96 * ((12 / 102 - (8 / 102) ** 2) / 102) ** 0.5
    assert found.interval.low == pytest.approx(8 / 102 - reach, abs=1e-4)
    assert found.interval.high == pytest.approx(8 / 102 + reach, abs=1e-4)


def test_equal_and_different_evaluations():
    same = compare(rows([True, False]), rows([True, False]))
    assert (same.difference, same.p) == (0, 1)
    # Of two clips that did not change little is known.
    assert same.interval.low == -same.interval.high < -0.5
    # One id in two benchmarks is two examples.
    twice = [{"id": "0", "benchmark": name, "correct": name == "a"} for name in ("a", "b")]
    assert compare(twice, list(reversed(twice))).num_examples == 2
    with pytest.raises(ValueError, match="not of the same examples"):
        compare(rows([True]), rows([True, False]))


def test_a_comparison_over_speakers_by_hand():
    """Six speakers of two clips; sums of changes 2, 1, 1, 1, 1, 0. The 64 ways of exchanging them
    give a sum of 6 or -6 where the first five keep one sign, whatever the sixth has: 4 of 64."""
    speakers = [name for name in "abcdef" for _ in range(2)]
    second = [True, True] + [True, False] * 4 + [False, False]
    found = compare(rows([False] * 12, speakers), rows(second, speakers))
    assert found.num_speakers == 6 and found.over == "6 speakers"
    assert found.difference == pytest.approx(0.5)
    assert found.p == pytest.approx(4 / 64)
    # Without one: 4, 5, 5, 5, 5, 6 of 10; deviations 0.1, 0 and 0.1: sqrt(5/6 x 0.02).
    reach = float(stats.t.ppf(0.975, 5)) * (5 / 6 * 0.02) ** 0.5
    assert found.interval.low == pytest.approx(0.5 - reach)
    assert found.interval.high == pytest.approx(0.5 + reach)


def test_speakers_count_where_all_are_known_and_five_or_more():
    right = [True, False] * 5
    known = [name for name in "abcde" for _ in range(2)]
    assert compare(rows(right, known), rows(right, known)).num_speakers == 5
    few = [*known[:8], "a", "a"]
    assert compare(rows(right, few), rows(right, few)).num_speakers is None
    one_unknown = rows(right, known)
    one_unknown[3]["speaker"] = None
    assert compare(one_unknown, rows(right, known)).num_speakers is None
    # The first speaker of one corpus is not that of another.
    two = [{**row, "dataset": "x" if i % 2 else "y"} for i, row in enumerate(rows(right, known))]
    assert compare(two, two).num_speakers == 10


def test_many_speakers_are_exchanged_in_drawn_ways():
    draw = np.random.default_rng(0)
    speakers = [str(i // 10) for i in range(300)]
    first = (draw.random(300) < 0.4).tolist()
    second = (draw.random(300) < 0.7).tolist()
    found = compare(rows(first, speakers), rows(second, speakers))
    assert found.num_speakers == 30 and 0 < found.p < 0.01
    assert found.p == compare(rows(first, speakers), rows(second, speakers)).p
    swapped = compare(rows(second, speakers), rows(first, speakers))
    assert swapped.p == pytest.approx(found.p) and swapped.difference == -found.difference


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.1])
def test_eight_speakers_whose_gains_differ(spread: float):
    """30 clips each; the gain of a speaker is normal around 0. Clip by clip, a nominal 5 % rejects
    more and more; over speakers it keeps its rate, and intervals cover at theirs."""
    draw = np.random.default_rng(5)
    speakers = [str(i // 30) for i in range(240)]
    num, rejected, by_clip, covered = 200, 0, 0, 0
    for _ in range(num):
        gains = draw.normal(0, spread, 8).repeat(30)
        ease = draw.random(240)  # the same clip is as easy for both
        first = (0.5 * ease + 0.5 * draw.random(240) < 0.6).tolist()
        second = (0.6 + gains > 0.5 * ease + 0.5 * draw.random(240)).tolist()
        found = compare(rows(first, speakers), rows(second, speakers))
        rejected += found.p < 0.05
        covered += found.interval.low <= 0 <= found.interval.high
        by_clip += compare(rows(first), rows(second)).p < 0.05
    print(
        f"spread {spread}: rejects {rejected / num:.3f}, by clip {by_clip / num:.3f}; "
        f"covers {covered / num:.3f}"
    )
    assert rejected / num <= 0.08
    assert 0.9 <= covered / num <= 0.98
    if spread == 0.1:
        assert by_clip / num > 0.12
