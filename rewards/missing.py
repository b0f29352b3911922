"""When too many scores of a step are missing to train on what is left."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from configs.schema import RewardsConfig
from data.records import ScoredGroup

logger = logging.getLogger(__name__)


class MissingScoresError(RuntimeError):
    """Too many scores of a step are missing, and the run is set to stop then."""


def enough_scores(
    scored: Sequence[ScoredGroup], weights: Mapping[str, float], config: RewardsConfig
) -> bool:
    """Return whether a step's rewards may be trained on, given what is missing of them.

    Args:
        scored: The groups of a step.
        weights: Weights that the step was scored with.
        config: The limit, and what follows above it.

    Raises:
        MissingScoresError: Too much of a term is missing, and `on_missing` is `stop`.
    """
    judged = frozenset(term.name for term in config.terms if term.judged)
    limit = config.max_missing_frac
    over = {n: f for n, f in missing_fracs(scored, weights, judged).items() if f > limit}
    if not over or config.on_missing == "continue":
        return True
    terms = "; ".join(f"{name} misses {frac:.0%} of its scores" for name, frac in over.items())
    problem = f"{terms} (rewards.max_missing_frac is {limit:g}); the samples say why in `details`"
    if config.on_missing == "stop":
        raise MissingScoresError(problem)
    logger.warning("no update in this step: %s", problem)
    return False


def missing_fracs(
    scored: Sequence[ScoredGroup], weights: Mapping[str, float], judged: frozenset[str]
) -> dict[str, float]:
    """Return the share of missing scores of every term in use.

    Args:
        scored: The groups of a step.
        weights: Weights that the step was scored with; a term of weight 0 is not in use.
        judged: Terms that malformed completions are no concern of.

    Returns:
        Term name -> missing / asked for, in [0, 1]; a term that was asked for nothing is left out.
        What a reward itself calls not applicable counts as not asked for.
    """
    missing: dict[str, float] = {}
    for name, weight in weights.items():
        if weight == 0:
            continue
        values = [
            value
            for item in scored
            for value, completion, detail in zip(
                item.terms.values[name],
                item.group.completions,
                item.terms.details.get(name) or ({},) * len(item.group.completions),
                strict=True,
            )
            if (name not in judged or completion.parsed.well_formed)
            and not detail.get("not_applicable")
        ]
        if values:
            missing[name] = sum(value is None for value in values) / len(values)
    return missing
