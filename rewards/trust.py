"""How far a group's judge is trusted: damped where it prefers wrong answers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def trust_weight(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the trust weight of one group: 1, or less where wrong completions score higher.

    With the mean score of the right and of the wrong completions, `tau = 1` if
    `mean_right >= mean_wrong`, else `exp(mean_right - mean_wrong)`. Exact under reordering.

    Args:
        scores: Reasoning scores `R_t` in [0, 1] of the judged completions, missing ones left out.
            A judge's scores of 1 to 5 divided by 5 lie in [0.2, 1], so tau is at least exp(-0.8).
        right: Whether each of them has the right answer.

    Returns:
        tau in (0, 1]; None for a one-sided group, whose trust is undefined: no right or no wrong
        completion among those that were judged.

    Source: EmotionThinker (arXiv 2601.15668), trust weight of GRPO-PTR; the same function as the
    gamma of SophiaVL-R1 (arXiv 2505.17018). Unlike that one's code, wrong completions are judged.
    """
    of_right = [score for score, is_right in zip(scores, right, strict=True) if is_right]
    of_wrong = [score for score, is_right in zip(scores, right, strict=True) if not is_right]
    if not of_right or not of_wrong:
        return None
    return math.exp(min(0.0, mean(of_right) - mean(of_wrong)))


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one number, the same for every order of them."""
    return math.fsum(values) / len(values)
