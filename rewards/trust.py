"""How far a group's judge is trusted: damped where it prefers wrong answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations

import numpy as np

from data.records import BoolArray, FloatArray

MAX_DEALS = 256
"""Most ways of dealing out right and wrong that a null value is the mean of."""


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


def null_trusts(scores: Sequence[float], right: Sequence[bool]) -> FloatArray:
    """Return the trust weights of a group whose scores have nothing to do with who is right.

    The scores stay, and right and wrong are dealt out anew: in every way there is, or in 256 drawn
    ones (the same for all groups of a size) where there are more. What `trust_weight` says beside
    their mean is what the judge knows; the mean itself falls below 1 with the scores' spread alone.

    Args:
        scores: As of `trust_weight`.
        right: As of `trust_weight`.

    Returns:
        [D] tau in (0, 1]; empty for a one-sided group.
    """
    values = np.asarray(scores, dtype=np.float64)
    num, num_right = len(values), sum(right)
    if not 0 < num_right < num:
        return np.zeros(0, dtype=np.float32)
    deals = _deals(num, num_right)
    of_right, of_wrong = deals @ values / num_right, ~deals @ values / (num - num_right)
    return np.exp(np.minimum(0.0, of_right - of_wrong)).astype(np.float32)


@cache
def _deals(num: int, num_right: int) -> BoolArray:
    """Return [D, num] ways of calling `num_right` of `num` right."""
    if math.comb(num, num_right) <= MAX_DEALS:
        chosen = list(combinations(range(num), num_right))
    else:
        rng = np.random.default_rng(0)
        chosen = [tuple(rng.permutation(num)[:num_right].tolist()) for _ in range(MAX_DEALS)]
    deals = np.zeros((len(chosen), num), dtype=np.bool_)
    for row, places in zip(deals, chosen, strict=True):
        row[list(places)] = True
    return deals


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one number, the same for every order of them."""
    return math.fsum(values) / len(values)
