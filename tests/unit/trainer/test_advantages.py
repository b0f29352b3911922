"""Group advantages by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import AdvantageConfig
from data.records import RewardTerms, ScoredGroup
from tests.unit.make_groups import make_scored
from trainer.advantages import (
    group_advantages,
    has_credit,
    per_term_advantages,
    to_samples,
)


def by_std(rewards):
    return group_advantages(rewards, divide_by_std=True, tolerance=1e-6)


def by_mean(rewards):
    return group_advantages(rewards, divide_by_std=False, tolerance=1e-6)


def test_two_right_and_two_wrong():
    # mean 0.8, deviations 0.5, unbiased variance 4 * 0.25 / 3.
    a = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    assert a == pytest.approx(0.865876, abs=1e-6)
    assert by_std([1.3, 0.3, 0.3, 1.3]) == pytest.approx([a, -a, -a, a], rel=1e-6)
    assert by_mean([1.3, 0.3, 0.3, 1.3]) == pytest.approx([0.5, -0.5, -0.5, 0.5])


def test_one_right_of_eight():
    # mean 1/8, variance ((7/8)^2 + 7 (1/8)^2) / 7 = 1/8.
    std = math.sqrt(1 / 8) + 1e-4
    expected = [0.875 / std, *[-0.125 / std] * 7]
    assert by_std([1.0] + [0.0] * 7) == pytest.approx(expected, rel=1e-6)
    assert by_mean([1.0] + [0.0] * 7) == pytest.approx([0.875] + [-0.125] * 7)


def test_a_pair():
    assert by_std([1.0, 0.0]) == pytest.approx([0.707007, -0.707007], abs=1e-6)


@pytest.mark.parametrize("rewards", [[0.3] * 8, [0.0, 0.0], [0.1 + 0.2, 0.3], [1.3, 1.3 - 1e-9]])
@pytest.mark.parametrize("divide_by_std", [True, False])
def test_a_flat_group_is_exactly_zero(rewards: list[float], divide_by_std: bool):
    advantages = group_advantages(rewards, divide_by_std=divide_by_std, tolerance=1e-6)
    assert advantages.tolist() == [0.0] * len(rewards)


def test_the_tolerance_is_the_range_of_a_flat_group():
    rewards = [0.5, 0.5625, 0.5]
    assert not group_advantages(rewards, divide_by_std=True, tolerance=0.0625).any()
    assert group_advantages(rewards, divide_by_std=True, tolerance=0.0624).any()
    assert not group_advantages([0.5, 0.5], divide_by_std=True, tolerance=0.0).any()


def test_result_is_float32():
    assert by_std(np.array([1.0, 0.0], np.float32)).dtype == np.float32


@pytest.mark.parametrize("rewards", [[], [1.0]])
def test_a_lone_completion_has_no_baseline(rewards: list[float]):
    with pytest.raises(ValueError, match="at least 2"):
        by_std(rewards)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rewards_must_be_finite(bad: float):
    with pytest.raises(ValueError, match="finite"):
        by_std([1.0, bad])


REWARDS = st.lists(st.floats(-4, 4, allow_subnormal=False), min_size=2, max_size=32)


@given(REWARDS)
def test_advantages_sum_to_zero(rewards: list[float]):
    assert abs(by_mean(rewards).sum(dtype=np.float64)) < 1e-5
    assert abs(by_std(rewards).sum(dtype=np.float64)) < 1e-5


@given(REWARDS, st.randoms(), st.booleans())
def test_permuted_rewards_give_permuted_advantages(rewards, random, divide_by_std):
    order = list(range(len(rewards)))
    random.shuffle(order)
    straight = group_advantages(rewards, divide_by_std=divide_by_std, tolerance=1e-6)
    permuted = group_advantages(
        [rewards[i] for i in order], divide_by_std=divide_by_std, tolerance=1e-6
    )
    assert permuted.tolist() == straight[order].tolist()


@given(REWARDS, st.floats(-2, 2))
def test_a_constant_reward_term_changes_nothing(rewards: list[float], shift: float):
    moved = by_mean([reward + shift for reward in rewards])
    assert moved == pytest.approx(by_mean(rewards), abs=2e-6)


def test_to_samples_drops_flat_groups_and_keeps_order_and_size():
    scored = [
        make_scored([1.0, 0.0], id="a"),
        make_scored([0.3, 0.3, 0.3], id="b"),
        make_scored([0.0, 0.0, 1.0, 1.0], id="c"),
    ]
    samples = to_samples(scored, AdvantageConfig(normalize="mean"), kl_coef=0.0)
    assert [sample.group for sample in samples] == [scored[0].group, scored[2].group]
    assert samples[0].advantages.tolist() == [0.5, -0.5]
    assert samples[1].advantages.tolist() == [-0.5, -0.5, 0.5, 0.5]
    assert samples[1].loss_mask.tolist() == [True] * 4


def test_flat_groups_stay_where_there_is_a_kl_term():
    """With advantage 0, for the KL term alone; but not if no group of the step has any credit."""
    scored = [make_scored([1.0, 0.0], id="a"), make_scored([0.3, 0.3, 0.3], id="b")]
    keep = AdvantageConfig(flat_groups="keep")
    kept = to_samples(scored, keep, kl_coef=0.04)
    assert [sample.group for sample in kept] == [item.group for item in scored]
    assert kept[1].advantages.tolist() == [0.0] * 3 and kept[1].loss_mask.all()
    assert [has_credit(sample) for sample in kept] == [True, False]
    dropped = to_samples(scored, AdvantageConfig(), kl_coef=0.04)
    assert [sample.group for sample in dropped] == [scored[0].group]
    assert to_samples(scored[1:], keep, kl_coef=0.04) == []


def test_to_samples_divides_by_std_where_told():
    (sample,) = to_samples([make_scored([1.0, 0.0])], AdvantageConfig(), kl_coef=0.0)
    assert sample.advantages == pytest.approx([0.707007, -0.707007], abs=1e-6)


def test_to_samples_names_the_example():
    with pytest.raises(ValueError, match=r"'clip-7'.*at least 2"):
        to_samples([make_scored([1.0], id="clip-7")], AdvantageConfig(), kl_coef=0.0)


def test_completions_that_were_cut_count_for_the_baseline_but_are_masked_where_told():
    scored = make_scored([1.0, 0.0, 0.5], id="a")
    completions = list(scored.group.completions)
    completions[1] = replace(completions[1], finish_reason="length")
    scored = replace(scored, group=replace(scored.group, completions=tuple(completions)))
    config = AdvantageConfig(normalize="mean")
    assert to_samples([scored], config, kl_coef=0.0)[0].loss_mask.tolist() == [True, True, True]
    (sample,) = to_samples([scored], replace(config, mask_truncated=True), kl_coef=0.0)
    assert sample.loss_mask.tolist() == [True, False, True]
    assert sample.advantages.tolist() == [0.5, -0.5, 0.0]
    # Nothing is left to train on where only cut completions have an advantage.
    all_cut = tuple(replace(completion, finish_reason="length") for completion in completions)
    cut = replace(scored, group=replace(scored.group, completions=all_cut))
    assert to_samples([cut], replace(config, mask_truncated=True), kl_coef=0.0) == []


# Per-term normalization.


def with_terms(factors: dict[str, float], **filled: tuple[float, ...]) -> ScoredGroup:
    size = len(next(iter(filled.values())))
    rewards = tuple(sum(factors[k] * v[i] for k, v in filled.items()) for i in range(size))
    base = make_scored(rewards)
    return ScoredGroup(base.group, RewardTerms({}), factors, 1.0, rewards, filled, factors)


def test_terms_are_normalized_one_by_one_and_then_weighed():
    group = with_terms({"a": 1.0, "b": 0.5}, a=(1.0, 0.0), b=(0.2, 0.8))
    # Both terms become +-1 / sqrt 2 (up to the epsilon), so 1 - 0.5 and its negative are left,
    # whose deviation over the step is 0.5 / sqrt 2: +-1.
    (found,) = per_term_advantages([group], tolerance=1e-6)
    assert found == pytest.approx([1.0, -1.0], abs=1e-3)
    # Summed first, the second term would hardly count: 1.1 against 0.4.
    assert group.rewards == pytest.approx((1.1, 0.4))


def test_the_step_is_scaled_as_a_whole():
    first = with_terms({"a": 1.0, "b": 1.0}, a=(1.0, 0.0), b=(1.0, 0.0))
    second = with_terms({"a": 1.0, "b": 1.0}, a=(1.0, 0.0), b=(0.5, 0.5))
    found = per_term_advantages([first, second], tolerance=1e-6)
    # Credits +-2c and +-c: their root mean square is c sqrt(2.5).
    assert found[0] == pytest.approx([2 / 2.5**0.5, -2 / 2.5**0.5], abs=1e-3)
    assert found[1] == pytest.approx([1 / 2.5**0.5, -1 / 2.5**0.5], abs=1e-3)


def test_two_right_terms_earn_more_than_one_which_a_normalized_sum_cannot_see():
    both = with_terms({"a": 1.0, "b": 1.0}, a=(1.0, 0.0), b=(1.0, 0.0))
    one = with_terms({"a": 1.0, "b": 1.0}, a=(1.0, 0.0), b=(0.0, 0.0))
    summed = to_samples([both, one], AdvantageConfig(), kl_coef=0.0)
    assert summed[0].advantages == pytest.approx(summed[1].advantages, abs=1e-3)
    apart = to_samples([both, one], AdvantageConfig(normalize="per_term"), kl_coef=0.0)
    assert apart[0].advantages == pytest.approx(2 * apart[1].advantages)


def test_flat_terms_and_rounding_are_not_blown_up():
    flat = with_terms({"a": 1.0, "b": 1.0}, a=(0.3, 0.3), b=(0.5, 0.5 + 1e-9))
    assert per_term_advantages([flat], tolerance=1e-6)[0].tolist() == [0.0, 0.0]
    assert to_samples([flat], AdvantageConfig(normalize="per_term"), kl_coef=0.0) == []


def test_a_term_that_was_left_out_does_not_count():
    group = with_terms({"a": 1.0}, a=(1.0, 0.0))
    with_zero = with_terms({"a": 1.0, "b": 0.0}, a=(1.0, 0.0), b=(0.0, 1.0))
    one, other = (per_term_advantages([g], tolerance=1e-6)[0] for g in (group, with_zero))
    assert one.tolist() == other.tolist()


def test_a_bad_term_is_named_with_its_example():
    lone = with_terms({"a": 1.0}, a=(1.0,))
    with pytest.raises(ValueError, match=r"'clip-1', term 'a'.*at least 2"):
        to_samples([lone], AdvantageConfig(normalize="per_term"), kl_coef=0.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8), st.randoms())
def test_permuted_terms_give_permuted_advantages(rows: list[tuple[float, float]], random):
    order = list(range(len(rows)))
    random.shuffle(order)
    factors = {"a": 1.0, "b": 0.41}

    def advantages(these: list[tuple[float, float]]):
        a, b = zip(*these, strict=True)
        return per_term_advantages([with_terms(factors, a=a, b=b)], tolerance=1e-6)[0]

    assert advantages([rows[i] for i in order]).tolist() == advantages(rows)[order].tolist()
