"""Group advantages by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.make_groups import make_scored
from trainer.advantages import group_advantages, to_samples


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
    samples = to_samples(scored, normalize="mean", tolerance=1e-6)
    assert [sample.group for sample in samples] == [scored[0].group, scored[2].group]
    assert samples[0].advantages.tolist() == [0.5, -0.5]
    assert samples[1].advantages.tolist() == [-0.5, -0.5, 0.5, 0.5]
    assert samples[1].loss_mask.tolist() == [True] * 4


def test_to_samples_divides_by_std_where_told():
    (sample,) = to_samples([make_scored([1.0, 0.0])], normalize="std", tolerance=1e-6)
    assert sample.advantages == pytest.approx([0.707007, -0.707007], abs=1e-6)


def test_to_samples_names_the_example():
    with pytest.raises(ValueError, match=r"'clip-7'.*at least 2"):
        to_samples([make_scored([1.0], id="clip-7")], normalize="std", tolerance=1e-6)
