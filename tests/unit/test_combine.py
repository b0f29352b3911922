"""From term values to rewards, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.records import RewardTerms
from rewards.combine import combine
from tests.unit.make_groups import make_group

WEIGHTS = {"format": 0.3, "accuracy": 1.0}
Values = tuple[float | None, ...]


def combined(weights: dict[str, float], **values: Values):
    group = make_group([""] * len(next(iter(values.values()))))
    return combine(group, RewardTerms(values), weights)


def test_right_malformed_and_wrong():
    scored = combined(WEIGHTS, format=(1.0, 0.0, 1.0), accuracy=(1.0, 0.0, 0.0))
    assert scored.rewards == pytest.approx((1.3, 0.0, 0.3))
    assert scored.weights == {"format": 0.3, "accuracy": 1.0}
    assert scored.trust == 1.0


def test_with_a_reasoning_term():
    weights = {**WEIGHTS, "reasoning": 0.5}
    scored = combined(weights, format=(1.0, 1.0), accuracy=(1.0, 0.0), reasoning=(0.8, 1.0))
    assert scored.rewards == pytest.approx((1.70, 0.80))


def test_a_term_that_misses_one_row_is_left_out_for_all_rows():
    weights = {**WEIGHTS, "reasoning": 0.5}
    scored = combined(
        weights, format=(1.0, 1.0, 0.0), accuracy=(1.0, 0.0, 0.0), reasoning=(0.8, None, 0.2)
    )
    assert scored.rewards == pytest.approx((1.3, 0.3, 0.0))
    assert scored.weights == {"format": 0.3, "accuracy": 1.0, "reasoning": 0.0}
    assert scored.terms.values["reasoning"] == (0.8, None, 0.2)


def test_missing_is_not_zero():
    weights = {"accuracy": 1.0, "reasoning": 0.5}
    missing = combined(weights, accuracy=(1.0, 0.0), reasoning=(0.8, None))
    zero = combined(weights, accuracy=(1.0, 0.0), reasoning=(0.8, 0.0))
    assert missing.rewards == pytest.approx((1.0, 0.0))
    assert zero.rewards == pytest.approx((1.4, 0.0))


def test_a_term_not_introduced_yet_has_weight_zero():
    weights = {"accuracy": 1.0, "reasoning": 0.0}
    for values in [(None, None), (0.9, 0.1)]:
        scored = combined(weights, accuracy=(0.0, 1.0), reasoning=values)
        assert scored.rewards == (0.0, 1.0)
        assert scored.weights == {"accuracy": 1.0, "reasoning": 0.0}


def test_no_complete_term_leaves_a_flat_group():
    scored = combined(WEIGHTS, format=(None, 1.0), accuracy=(1.0, None))
    assert scored.rewards == (0.0, 0.0)
    assert scored.weights == {"format": 0.0, "accuracy": 0.0}


VALUE = st.none() | st.floats(0, 1)


@given(st.lists(st.tuples(VALUE, VALUE), min_size=2, max_size=16), st.randoms())
def test_permuted_completions_get_permuted_rewards(rows: list[tuple], random):
    order = list(range(len(rows)))
    random.shuffle(order)
    fmt, acc = zip(*rows, strict=True)
    straight = combined(WEIGHTS, format=fmt, accuracy=acc)
    permuted = combined(
        WEIGHTS, format=tuple(fmt[i] for i in order), accuracy=tuple(acc[i] for i in order)
    )
    assert permuted.rewards == tuple(straight.rewards[i] for i in order)
    assert permuted.weights == straight.weights


def test_rewards_can_be_recomputed_from_the_record():
    scored = combined({"a": 0.7, "b": 2.0}, a=(0.25, 1.0), b=(0.5, None))
    again = [  # as a reader of the sample files would
        sum(
            weight * values[i]
            for name, weight in scored.weights.items()
            if weight
            for values in [scored.terms.values[name]]
        )
        for i in range(2)
    ]
    assert scored.rewards == pytest.approx(again) == (0.175, 0.7)
