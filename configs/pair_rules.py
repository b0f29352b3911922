"""Rules for counterfactual pairs: what `rollout.counterfactual` needs of the other settings."""

from __future__ import annotations

from collections.abc import Iterator

from configs.reward_schema import COUNTERFACTUAL_TARGET
from configs.schema import RunConfig

MAX_CLIP_S = 300.0
"""Longest clip that the audio encoder takes, in seconds."""


def check_pairs(config: RunConfig) -> Iterator[str]:
    """Yield one line per setting that does not go with the pairs, or with their absence."""
    pairs, rollout = config.rollout.counterfactual, config.rollout
    terms = [t for t in config.rewards.terms if t.target == COUNTERFACTUAL_TARGET]
    if not pairs.moves:
        yield from (
            f"rewards.terms: {term.name!r} scores counterfactual pairs, and there are none; set "
            "rollout.counterfactual.moves, such as [pitch]"
            for term in terms
            if term.weight > 0 or term.shadow
        )
        return
    key = "rollout.counterfactual.moves"
    if len(set(pairs.moves)) < len(pairs.moves):
        yield f"{key}: found {', '.join(pairs.moves)}; name each move once"
    if rollout.group_size % 2 or rollout.group_size < 4:
        yield (
            f"rollout.group_size: found {rollout.group_size}; {key} cuts every group in two, and a "
            "half needs at least 2 completions: take an even number of 4 or more"
        )
    if not any(term.weight > 0 or term.shadow for term in terms):
        yield (
            f"{key}: no reward term scores the moved half of the groups; add one with target "
            f"{COUNTERFACTUAL_TARGET} and a weight, or with `shadow: true`"
        )
    yield from (
        f"rewards.terms: {term.name!r} is judged, and trust needs right and wrong answers, which a "
        "moved clip has not; leave `judged` out"
        for term in terms
        if term.judged
    )
    if config.advantage.refill_rounds:
        yield (
            f"advantage.refill_rounds: found {config.advantage.refill_rounds}; {key} needs 0, "
            "since a refill would replace one half of a pair"
        )
    longest = config.data.max_duration_s * pairs.max_stretch
    if longest > MAX_CLIP_S:
        yield (
            f"data.max_duration_s: {config.data.max_duration_s:g} s slowed down by "
            f"rollout.counterfactual.rate are {longest:g} s, and the audio encoder takes "
            f"{MAX_CLIP_S:g} s; lower one of them"
        )
