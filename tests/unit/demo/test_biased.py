"""The judge with a known lean that the trust experiment trains with."""

from __future__ import annotations

import numpy as np
import pytest

from data.records import Group
from demo.biased import LARGEST_LEAN, BiasedReward
from rewards.trust import trust_weight
from tests.unit.make_groups import make_group

RIGHT, WRONG = (f"<think>a</think><answer>{label}</answer>" for label in ("angry", "sad"))
TEXTS = [RIGHT] * 4 + [WRONG] * 4


def groups(num: int = 300) -> list[Group]:
    return [make_group(TEXTS, id=f"clip-{number}") for number in range(num)]


def values(reward: BiasedReward, group: Group) -> list[float]:
    return [score for score in reward.score(group).values if score is not None]


def lean(scores: list[float]) -> float:
    """Return how much more wrong completions score than right ones."""
    return float(np.mean(scores[4:]) - np.mean(scores[:4]))


@pytest.mark.parametrize("bias", [0.0, 0.2, 0.4])
def test_without_noise_every_clip_has_one_of_three_leans(bias: float):
    reward = BiasedReward(bias, noise=0)
    leans = [round(lean(values(reward, group)), 6) for group in groups()]
    expected = {0.0, bias, 2 * bias}
    assert set(leans) == expected
    for level in expected:  # a third of the clips each: 100 of 300, standard deviation 8
        assert leans.count(level) / len(leans) == pytest.approx(1 / len(expected), abs=0.1)


def test_a_score_is_the_middle_less_half_the_lean_if_right_and_more_if_wrong():
    scores = {tuple(np.round(values(BiasedReward(0.2, noise=0), group), 6)) for group in groups(30)}
    assert scores == {(0.6,) * 8, (0.5,) * 4 + (0.7,) * 4, (0.4,) * 4 + (0.8,) * 4}


def test_a_lean_beyond_the_scale_is_cut():
    scores = [values(BiasedReward(0.7, noise=0), group) for group in groups(30)]
    assert max(map(lean, scores)) == pytest.approx(LARGEST_LEAN)
    assert min(map(min, scores)) == pytest.approx(0.2)
    assert max(map(max, scores)) == pytest.approx(1.0)


def test_the_same_clip_and_texts_have_the_same_scores():
    one, other = BiasedReward(0.2), BiasedReward(0.2)
    group = make_group(TEXTS)
    assert one.score(group).values == other.score(group).values
    assert one.score(group).values != one.score(make_group(TEXTS, id="clip-2")).values


@pytest.mark.parametrize("damp", ["drawn", "mean"])
def test_a_placebo_has_the_mean_of_trust_and_knows_nothing(damp: str):
    plain, damped = BiasedReward(0.4), BiasedReward(0.4, damp=damp)  # pyright: ignore
    right = [True] * 4 + [False] * 4
    trusts, factors = [], []
    for group in groups(600):
        scores = values(plain, group)
        trusts.append(trust_weight(scores, right))
        ratios = np.array(values(damped, group)) / scores
        assert np.ptp(ratios) < 1e-9  # one factor for the group
        factors.append(ratios[0])
    assert np.mean(factors) == pytest.approx(np.mean(trusts), abs=0.02)
    assert abs(np.corrcoef(trusts, factors)[0, 1]) < 0.1
    spread = np.std(trusts)
    assert np.std(factors) == pytest.approx(spread if damp == "drawn" else spread / 8, rel=0.2)


def test_a_group_with_answers_of_one_kind_is_not_damped():
    group = make_group([RIGHT] * 8)
    assert BiasedReward(0.4, damp="drawn").score(group) == BiasedReward(0.4).score(group)


def test_a_lean_towards_right_answers_is_refused():
    with pytest.raises(ValueError, match="bias -1"):
        BiasedReward(-1)
