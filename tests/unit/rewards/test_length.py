"""The soft penalty on long completions, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from configs.load import load_config
from launch.preflight import ROOT
from rewards.base import RewardError, limits_of, load_reward, validate_scores, with_run_options
from rewards.length import OverlongPenalty
from tests.unit.make_groups import make_group


@pytest.mark.parametrize(
    ("num_tokens", "penalty"),
    [(1, 0.0), (384, 0.0), (385, -1 / 128), (448, -0.5), (511, -127 / 128), (512, -1), (600, -1)],
)
def test_the_penalty_by_hand(num_tokens: int, penalty: float):
    reward = OverlongPenalty(cache_tokens=128, max_tokens=512)
    group = make_group(["short", "short"])
    long = replace(
        group.completions[1],
        token_ids=np.arange(num_tokens),
        rollout_logprobs=np.zeros(num_tokens, np.float32),
    )
    group = replace(group, completions=(group.completions[0], long))
    found = validate_scores("length", group, reward.score(group), limits_of(reward))
    assert found.values == (0.0, pytest.approx(penalty))
    assert found.details[1] == {"tokens": num_tokens}


def test_the_limit_is_the_one_of_the_rollouts():
    config = load_config(
        ROOT / "configs" / "tiny.yaml",
        [
            "rewards.terms.0.name=length",
            "rewards.terms.0.target=rewards.length:OverlongPenalty",
            "rewards.terms.0.options.cache_tokens=16",
        ],
    )
    term = with_run_options(config)[0]
    reward = load_reward(term.target, term.options, ["rewards"])
    assert isinstance(reward, OverlongPenalty)
    limit = config.rollout.max_completion_tokens
    assert [reward.penalty(n) for n in (limit - 16, limit - 8, limit)] == [0.0, -0.5, -1.0]


@pytest.mark.parametrize("cache_tokens", [0, 65])
def test_a_slope_that_does_not_fit_is_refused(cache_tokens: int):
    with pytest.raises(RewardError, match="allowed is 1 to max_tokens, 64"):
        OverlongPenalty(cache_tokens=cache_tokens, max_tokens=64)
