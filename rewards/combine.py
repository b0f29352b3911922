"""From the scores of a group to its rewards."""

from __future__ import annotations

from collections.abc import Mapping

from data.records import Group, RewardTerms, ScoredGroup


def combine(group: Group, terms: RewardTerms, weights: Mapping[str, float]) -> ScoredGroup:
    """Return the group with the weighted sum of its terms as rewards.

    A missing score never counts as zero. Where a term misses even one completion it is left out for
    the whole group, since the completions of a group are only ever compared with each other: its
    weight in the result is 0, and the group falls back to the terms that are complete.

    Args:
        group: The group, G completions.
        terms: Raw values of every term in `weights`.
        weights: Term name -> weight; 0 = not introduced yet.

    Returns:
        Rewards `R_i = sum_k w_k v_ik` [G], with the weights that were applied; trust is 1.

    Source: EmotionThinker, the reward of GRPO-PTR (0.3 format + 1.0 accuracy + ...).
    """
    assert terms.values.keys() == weights.keys(), (terms.values.keys(), weights.keys())
    applied: dict[str, float] = {}
    rewards = [0.0] * len(group.completions)
    for name, weight in weights.items():
        values = [value for value in terms.values[name] if value is not None]
        complete = len(values) == len(rewards)
        applied[name] = weight if complete else 0.0
        if complete:
            rewards = [
                reward + weight * value for reward, value in zip(rewards, values, strict=True)
            ]
    return ScoredGroup(group, terms, weights=applied, trust=1.0, rewards=tuple(rewards))
