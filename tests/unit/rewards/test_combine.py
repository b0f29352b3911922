"""From term values to rewards, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import RewardsConfig, RewardTermConfig, TrustConfig
from data.records import RewardTerms, ScoredGroup
from rewards.combine import CombineRules, combine
from rewards.judges.base import UNREADABLE
from tests.unit.make_groups import make_group

WEIGHTS = {"format": 0.3, "accuracy": 1.0}
JUDGED = {**WEIGHTS, "reasoning": 0.5}
RULES = CombineRules(judged=frozenset({"reasoning"}))
GOOD = "<think>high pitch</think><answer>angry</answer>"
Values = tuple[float | None, ...]


def combined(weights: dict[str, float], rules: CombineRules = RULES, **values: Values):
    formats = values.get("format") or (1.0,) * len(next(iter(values.values())))
    group = make_group([GOOD if well else "loud" for well in formats])
    return combine(group, RewardTerms(values), weights, rules)


def judged(reasoning: Values, accuracy: Values, rules: CombineRules = RULES, **more: Values):
    formats = (1.0,) * len(reasoning)
    return combined(
        JUDGED, rules, format=more.get("format", formats), accuracy=accuracy, reasoning=reasoning
    )


def test_right_malformed_and_wrong():
    scored = combined(WEIGHTS, format=(1.0, 0.0, 1.0), accuracy=(1.0, 0.0, 0.0))
    assert scored.rewards == pytest.approx((1.3, 0.0, 0.3))
    assert scored.weights == {"format": 0.3, "accuracy": 1.0}
    assert scored.trust == 1.0


def test_what_cannot_be_read_takes_the_lowest_score_and_what_failed_the_mean():
    values = {"format": (1.0,) * 4, "accuracy": (0.0,) * 4, "reasoning": (0.9, 0.5, None, None)}
    details = ({}, {}, {"missing": "timeout"}, {"missing": "script", "unreadable": True})
    terms = RewardTerms(values, {"reasoning": details})
    scored = combine(make_group([GOOD] * 4), terms, JUDGED, replace(RULES, one_sided="tau_one"))
    assert scored.filled["reasoning"] == pytest.approx((0.9, 0.5, 0.7, 0.5))


@pytest.mark.parametrize("num", [2, 4])
def test_who_cannot_be_read_gets_the_floor_however_many_do_it(num: int):
    """In a group of two the lowest of the others would be what the other one has."""
    unread = {"missing": "script", **UNREADABLE}
    values = {"format": (1.0,) * num, "accuracy": (0.0,) * num}
    terms = RewardTerms(
        values | {"reasoning": (0.9,) + (None,) * (num - 1)},
        {"reasoning": ({},) + (unread,) * (num - 1)},
    )
    rules = replace(RULES, one_sided="tau_one", min_judged=0.5)
    scored = combine(make_group([GOOD] * num), terms, JUDGED, rules)
    assert scored.filled["reasoning"] == pytest.approx((0.9,) + (0.2,) * (num - 1))
    assert scored.rewards[1] == pytest.approx(0.3 + 0.5 * 0.2)


# The paper's reward, METHOD's golden values.


def test_right_with_a_trusted_judge():
    scored = judged((0.8, 0.2), (1.0, 0.0))
    assert scored.trust == 1.0
    assert scored.rewards == pytest.approx((1.70, 0.40))


def test_wrong_with_the_best_reasoning_under_a_judge_that_prefers_wrong_answers():
    scored = judged((0.8, 0.6, 0.9, 0.9), (1.0, 1.0, 0.0, 0.0))
    assert scored.trust == pytest.approx(0.818731, abs=1e-6)
    best = judged((0.8, 0.8, 1.0, 1.0), (1.0, 1.0, 0.0, 0.0))
    assert best.trust == pytest.approx(0.818731, abs=1e-6)
    assert best.rewards[2] == pytest.approx(0.709365, abs=1e-6)
    assert best.factors["reasoning"] == pytest.approx(0.5 * 0.818731, abs=1e-6)
    assert best.weights["reasoning"] == 0.5  # the trust stands apart from the weight


def test_trust_never_scales_format_and_accuracy():
    scored = judged((0.2, 1.0), (1.0, 0.0))
    assert scored.trust == pytest.approx(math.exp(-0.8))
    assert scored.rewards == pytest.approx(
        (1.3 + 0.5 * math.exp(-0.8) * 0.2, 0.3 + 0.5 * math.exp(-0.8))
    )


def test_without_trust_the_judge_counts_in_full():
    scored = judged((0.2, 1.0), (1.0, 0.0), replace(RULES, damp=False))
    assert scored.trust == 1.0
    assert scored.rewards == pytest.approx((1.4, 0.8))


# One-sided groups.


@pytest.mark.parametrize("accuracy", [(1.0, 1.0), (0.0, 0.0)])
def test_one_sided_groups_by_rule(accuracy: tuple[float, float]):
    base = 0.3 + accuracy[0]
    dropped = judged((0.8, 0.4), accuracy)
    assert dropped.rewards == pytest.approx((base, base))
    assert dropped.weights["reasoning"] == 0.0 and dropped.trust == 1.0
    full = judged((0.8, 0.4), accuracy, replace(RULES, one_sided="tau_one"))
    assert full.rewards == pytest.approx((base + 0.4, base + 0.2)) and full.trust == 1.0
    skipped = judged((0.8, 0.4), accuracy, replace(RULES, one_sided="skip_group"))
    assert skipped.rewards == (0.0, 0.0)
    assert skipped.weights == {"format": 0.0, "accuracy": 0.0, "reasoning": 0.0}


def test_a_group_whose_judged_rows_are_one_sided_is_one_sided():
    # The only wrong completion is malformed: no judge has seen it.
    scored = judged((0.8, 0.4, None), (1.0, 1.0, 0.0), format=(1.0, 1.0, 0.0))
    assert scored.rewards == pytest.approx((1.3, 1.3, 0.0))
    assert scored.weights["reasoning"] == 0.0


# Missing scores.


def test_a_malformed_completion_earns_nothing_of_the_judge_and_leaves_its_trust_alone():
    scored = judged((0.8, None, 0.9), (1.0, 0.0, 0.0), format=(1.0, 0.0, 1.0))
    # Were the malformed one a wrong answer of score 0, the judge would seem to prefer right ones.
    assert scored.trust == pytest.approx(math.exp(-0.1))
    factor = 0.5 * math.exp(-0.1)
    assert scored.rewards == pytest.approx((1.3 + factor * 0.8, 0.0, 0.3 + factor * 0.9))


def test_what_a_plug_in_says_of_malformed_completions_moves_no_trust():
    """They are always wrong: praised, they would make the judge seem to prefer wrong answers."""
    scored = judged((0.8, 1.0, 0.9), (1.0, 0.0, 0.0), format=(1.0, 0.0, 1.0))
    assert scored.trust == pytest.approx(math.exp(-0.1))
    assert scored.filled["reasoning"] == (0.8, 0.0, 0.9)
    alone = judged((0.8, 1.0, 1.0), (1.0, 0.0, 0.0), format=(1.0, 0.0, 0.0))
    assert alone.weights["reasoning"] == 0.0  # of the well-formed none is wrong


def test_a_row_that_the_judge_missed_takes_the_mean_of_the_others():
    scored = judged((0.8, None, 0.4), (1.0, 0.0, 0.0))
    assert scored.trust == 1.0
    assert scored.filled["reasoning"] == pytest.approx((0.8, 0.6, 0.4))
    assert scored.rewards == pytest.approx((1.7, 0.6, 0.5))
    assert scored.terms.values["reasoning"] == (0.8, None, 0.4)


def test_missing_is_not_zero_in_trust():
    # With a 0 for the missing wrong answer, the mean of the wrong ones would fall to 0.45.
    scored = judged((0.7, 0.9, None), (1.0, 0.0, 0.0))
    assert scored.trust == pytest.approx(math.exp(-0.2))


def test_with_too_few_judged_rows_all_rows_fall_back():
    scored = judged((0.8, None, None, None), (1.0, 0.0, 0.0, 1.0))
    assert scored.rewards == pytest.approx((1.3, 0.3, 0.3, 1.3))
    assert scored.weights["reasoning"] == 0.0
    enough = judged((0.8, 0.4, None, None), (1.0, 0.0, 0.0, 1.0))
    assert enough.weights["reasoning"] == 0.5
    strict = judged((0.8, 0.4, None, None), (1.0, 0.0, 0.0, 1.0), replace(RULES, min_judged=0.6))
    assert strict.weights["reasoning"] == 0.0


def test_the_share_of_judged_rows_is_one_of_the_well_formed():
    formats = (1.0, 1.0, 0.0, 0.0)
    scored = judged((0.8, 0.4, None, None), (1.0, 0.0, 0.0, 0.0), format=formats)
    assert scored.weights["reasoning"] == 0.5  # 2 of 2, not 2 of 4
    assert scored.rewards == pytest.approx((1.7, 0.5, 0.0, 0.0))


def test_a_row_without_outcome_leaves_the_trust_means():
    scored = judged((0.6, 0.9, 0.2), (1.0, 0.0, None), replace(RULES, min_judged=0.3))
    assert scored.trust == pytest.approx(math.exp(-0.3))


def test_a_plug_in_that_misses_rows_is_filled_or_left_out():
    weights = {"accuracy": 1.0, "humor": 0.2}
    filled = combined(weights, accuracy=(1.0, 0.0, 0.0), humor=(1.0, None, 0.5))
    assert filled.rewards == pytest.approx((1.2, 0.15, 0.1))
    left_out = combined(weights, accuracy=(1.0, 0.0, 0.0), humor=(1.0, None, None))
    assert left_out.rewards == pytest.approx((1.0, 0.0, 0.0))
    assert left_out.weights == {"accuracy": 1.0, "humor": 0.0}


def test_a_term_not_introduced_yet_has_weight_zero():
    weights = {"accuracy": 1.0, "reasoning": 0.0}
    for values in [(None, None), (0.9, 0.1)]:
        scored = combined(weights, accuracy=(0.0, 1.0), reasoning=values)
        assert scored.rewards == (0.0, 1.0)
        assert scored.weights == {"accuracy": 1.0, "reasoning": 0.0}
        assert scored.trust == 1.0


def test_no_complete_term_leaves_a_flat_group():
    scored = combined(WEIGHTS, format=(None, None), accuracy=(None, None))
    assert scored.rewards == (0.0, 0.0)
    assert scored.weights == {"format": 0.0, "accuracy": 0.0}


VALUE = st.none() | st.floats(0.2, 1)
OUTCOME = st.sampled_from([0.0, 1.0])
ROWS = st.lists(st.tuples(OUTCOME, OUTCOME, VALUE), min_size=2, max_size=16)
ANY_RULES = st.builds(
    CombineRules,
    judged=st.just(frozenset({"reasoning"})),
    damp=st.booleans(),
    one_sided=st.sampled_from(["drop_reasoning", "tau_one", "skip_group"]),
    min_judged=st.floats(0.1, 1),
)


def of_rows(rows: list[tuple], rules: CombineRules) -> ScoredGroup:
    formats, accuracy, reasoning = zip(*rows, strict=True)
    right = tuple(a * f for a, f in zip(accuracy, formats, strict=True))
    known = tuple(r if f else None for r, f in zip(reasoning, formats, strict=True))
    return combined(JUDGED, rules, format=formats, accuracy=right, reasoning=known)


@given(ROWS, ANY_RULES, st.randoms())
def test_permuted_completions_get_permuted_rewards(rows: list[tuple], rules: CombineRules, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    straight = of_rows(rows, rules)
    permuted = of_rows([rows[i] for i in order], rules)
    assert permuted.rewards == tuple(straight.rewards[i] for i in order)
    assert (permuted.weights, permuted.trust) == (straight.weights, straight.trust)


@given(ROWS, ANY_RULES)
def test_right_always_beats_wrong_and_rewards_follow_from_the_record(
    rows: list[tuple], rules: CombineRules
):
    scored = of_rows(rows, rules)
    assert math.exp(-0.8) - 1e-12 <= scored.trust <= 1
    outcomes = scored.terms.values["accuracy"]
    if scored.weights["accuracy"]:
        right = [r for r, a in zip(scored.rewards, outcomes, strict=True) if a == 1]
        wrong = [r for r, a in zip(scored.rewards, outcomes, strict=True) if a == 0]
        assert not right or not wrong or min(right) > max(wrong)
    for i, reward in enumerate(scored.rewards):  # as a reader of the sample files would
        total = 0.0
        for name, weight in scored.weights.items():
            values = scored.terms.values[name]
            known = [value for value in values if value is not None]
            if weight == 0:
                continue
            value = values[i]
            if value is None:  # a malformed completion earns 0, a missing score is the mean
                well_formed = scored.terms.values["format"][i] == 1
                value = math.fsum(known) / len(known) if well_formed else 0.0
            total += weight * value * (scored.trust if name == "reasoning" else 1.0)
        assert reward == pytest.approx(total)


def test_rules_come_from_the_configuration():
    config = RewardsConfig(
        terms=[RewardTermConfig(name="a"), RewardTermConfig(name="b", judged=True)],
        outcome="a",
        trust=TrustConfig(enabled=False, one_sided="tau_one", min_judged=0.75),
    )
    assert CombineRules.from_config(config) == CombineRules(
        frozenset({"b"}), "a", False, "tau_one", 0.75
    )
