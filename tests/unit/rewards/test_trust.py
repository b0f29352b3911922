"""The trust weight, by hand and by property."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.trust import MAX_DEALS, null_trusts, trust_weight


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ([0.8, 0.6], [0.9, 0.9], 0.818731),  # exp(0.7 - 0.9)
        ([0.9, 0.9], [0.8, 0.6], 1.0),
        ([0.7], [0.7, 0.7, 0.7], 1.0),  # equal means
        ([0.2], [1.0], 0.449329),  # the worst that scores in [0.2, 1] allow: exp(-0.8)
        ([0.85], [0.9], 0.951229),
        ([0.6, 1.0, 0.8], [0.9], 0.904837),  # exp(-0.1)
    ],
)
def test_golden_values(right: list[float], wrong: list[float], expected: float):
    scores = right + wrong
    flags = [True] * len(right) + [False] * len(wrong)
    assert trust_weight(scores, flags) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("flags", [[], [True, True], [False, False, False]])
def test_a_one_sided_group_has_no_trust(flags: list[bool]):
    assert trust_weight([0.5] * len(flags), flags) is None


ROWS = st.lists(st.tuples(st.floats(0.2, 1), st.booleans()), min_size=2, max_size=16)


@given(ROWS, st.randoms())
def test_permuting_a_group_changes_nothing(rows: list[tuple[float, bool]], random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert trust_weight(*map(list, zip(*rows, strict=True))) == trust_weight(  # type: ignore
        *map(list, zip(*shuffled, strict=True))  # type: ignore
    )


@given(ROWS)
def test_it_is_below_one_exactly_where_wrong_answers_score_higher(rows: list[tuple[float, bool]]):
    scores, flags = map(list, zip(*rows, strict=True))
    tau = trust_weight(scores, flags)  # type: ignore[arg-type]
    right = [score for score, flag in rows if flag]
    wrong = [score for score, flag in rows if not flag]
    if not right or not wrong:
        assert tau is None
        return
    gap = math.fsum(right) / len(right) - math.fsum(wrong) / len(wrong)
    assert tau is not None and math.exp(-0.8) - 1e-12 <= tau <= 1
    assert (tau == 1) == (gap >= 0 or math.exp(gap) == 1)
    assert tau == pytest.approx(min(1.0, math.exp(gap)))


def test_null_trusts_by_hand():
    """One right of three: each of them may be it. exp(0.2 - 0.7), exp(0.4 - 0.6) and 1."""
    found = null_trusts([0.2, 0.4, 1.0], [False, True, False])
    assert sorted(found) == pytest.approx([math.exp(-0.5), math.exp(-0.2), 1.0])
    assert not len(null_trusts([0.2, 0.4], [True, True]))


def test_null_trusts_do_not_depend_on_who_is_right():
    scores = [0.3, 0.9, 0.5, 0.7, 0.2, 0.6, 0.8, 0.4]
    for right in ([True] * 3 + [False] * 5, [False] * 5 + [True] * 3):
        found = null_trusts(scores, right)
        assert len(found) == math.comb(8, 3)
        assert found.mean() == pytest.approx(null_trusts(scores, right[::-1]).mean())


def test_null_trusts_of_a_large_group_are_a_sample_of_all():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.2, 1, 16).tolist()
    drawn = null_trusts(scores, [True] * 8 + [False] * 8)
    assert len(drawn) == MAX_DEALS
    deals = [rng.permutation(16) < 8 for _ in range(4000)]
    exact = np.mean([trust_weight(scores, deal.tolist()) for deal in deals])
    assert drawn.mean() == pytest.approx(exact, abs=0.01)


def test_a_judge_of_pure_noise_has_the_trust_of_its_null():
    rng = np.random.default_rng(1)
    right = [True] * 4 + [False] * 4
    groups = rng.uniform(0.4, 1, (600, 8))
    taus = [trust_weight(group.tolist(), right) for group in groups]
    nulls = [null_trusts(group.tolist(), right).mean() for group in groups]
    assert np.mean(taus) == pytest.approx(np.mean(nulls), abs=0.01)
    assert 0.93 < np.mean(nulls) < 0.97
