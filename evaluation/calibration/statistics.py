"""How far a judge can be believed: its scores against known ones, number by number.

Pure functions of scores. An undefined number (a correlation with a constant, say) is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from evaluation.statistics import (
    NUM_RESAMPLES,
    Counts,
    Interval,
    Values,
    bootstrap,
    cluster_places,
)
from rewards.judges.base import DIMENSIONS, HIGHEST, LOWEST
from rewards.judges.prompt import SCORES

NUM_BINS = 8
"""Bins of the calibration curve: half a point each."""

CHUNK = 1000
"""Pairs whose ranks are computed at a time: bounds the memory, whatever the number of texts."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Judged against known scores, on one dimension."""

    num: int
    spearman: float | None
    """Rank correlation; -1 to 1."""
    kendall: float | None
    """tau-b; -1 to 1."""
    kappa: float | None
    """Quadratic weighted kappa of the rounded scores; at most 1."""
    mae: float
    """Mean of |judged - known|, in points."""
    bias: float
    """Mean of judged - known, in points."""

    def metrics(self) -> dict[str, float]:
        """Return what training logs; what is undefined is left out."""
        shown = {"spearman": self.spearman, "mae": self.mae}
        return {name: value for name, value in shown.items() if value is not None}

    def describe(self) -> str:
        """Return the same in words."""
        rank = "undefined" if self.spearman is None else f"{self.spearman:.3f}"
        return f"Spearman {rank}, mean absolute error {self.mae:.2f}"


def agreement(
    judged: Sequence[Mapping[str, float]], gold: Sequence[Mapping[str, float]]
) -> dict[str, Agreement]:
    """Return dimension -> agreement of the scores of the same texts.

    Args:
        judged: Dimension -> score of each text, equally many dimensions for all.
        gold: Known scores of the same texts.
    """
    names = [name for name in DIMENSIONS if judged and name in judged[0]]
    return {
        name: agree([row[name] for row in judged], [row[name] for row in gold]) for name in names
    }


def agree(judged: Sequence[float], gold: Sequence[float]) -> Agreement:
    """Return how well scores of one dimension agree with known ones."""
    x, y = np.asarray(judged, np.float64), np.asarray(gold, np.float64)
    return Agreement(
        len(x),
        spearman(x, y),
        kendall(x, y),
        quadratic_kappa(x, y),
        float(np.abs(x - y).mean()),
        float((x - y).mean()),
    )


def _is_constant(*scores: NDArray[Any]) -> bool:
    return any(len(x) < 2 or np.ptp(x) == 0 for x in scores)


def spearman(x: Values, y: Values) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; None if one is constant."""
    return None if _is_constant(x, y) else float(np.asarray(stats.spearmanr(x, y))[0])


def kendall(x: Values, y: Values) -> float | None:
    """Return Kendall's tau-b; None if one is constant."""
    return None if _is_constant(x, y) else float(np.asarray(stats.kendalltau(x, y))[0])


def rounded(scores: Values) -> NDArray[np.int64]:
    """Return scores as digits, halves upwards."""
    return np.clip(np.floor(scores + 0.5), LOWEST, HIGHEST).astype(np.int64)


def quadratic_kappa(x: Values, y: Values) -> float | None:
    """Return `1 - sum(w O) / sum(w E)` with `w = (i - j)^2` on rounded scores.

    O are the counts of pairs of digits, E those that independent draws from the two marginal
    distributions would give. None if both are one and the same constant.

    Source: Cohen (1968), weighted kappa; the weights are those of automated essay scoring.
    """
    a, b = rounded(x), rounded(y)
    if _is_constant(np.concatenate([a, b])):
        return None
    # Named, so that the weights are of digits, not of places among those that occur.
    return float(cohen_kappa_score(a, b, labels=SCORES, weights="quadratic"))


def rank_intervals(
    judged: Sequence[float],
    gold: Sequence[float],
    clusters: Sequence[str],
    *,
    seed: int,
    resamples: int = NUM_RESAMPLES,
) -> dict[str, Interval]:
    """Return 95 % intervals of `spearman` and `kendall`; what is undefined is left out.

    Args:
        judged: Scores.
        gold: Known scores.
        clusters: Clip of each pair; whole clips are drawn, since their texts share a voice.
        seed: Of the draws.
        resamples: Of the bootstrap.
    """
    x, y = np.asarray(judged, np.float64), np.asarray(gold, np.float64)
    places = cluster_places(clusters)
    return bootstrap(
        lambda counts: rank_correlations(x, y, counts[:, places]),
        np.ones(places.max() + 1, np.int64),
        seed=seed,
        resamples=resamples,
    )


def rank_correlations(x: Values, y: Values, counts: Counts) -> dict[str, Values]:
    """Return `spearman` and `kendall` of many resamples at once, [R] each; nan = undefined.

    With `s_ij = sign(x_i - x_j)` and `t_ij` of y, `sum_j w_j s_ij` is twice the rank of x_i less a
    constant, and `sum_ij w_i w_j s_ij t_ij` counts concordant less discordant pairs: products of
    matrices, where a loop over the resamples takes scipy a millisecond for each.

    Args:
        x: [N].
        y: [N].
        counts: [R, N] how often each pair is drawn.
    """
    # float32 holds the sums of -1, 0 and 1 exactly: none is above N.
    weights = counts.astype(np.float32)
    sums = np.zeros((6, len(counts)))
    for first in range(0, len(x), CHUNK):
        here = slice(first, first + CHUNK)
        s, t = (np.sign(v[here, None] - v).astype(np.float32) for v in (x, y))
        rank_x, rank_y = weights @ s.T, weights @ t.T
        products = [rank_x * rank_y, rank_x**2, rank_y**2]
        products += [weights @ signs.T for signs in (s * t, s**2, t**2)]
        sums += [
            np.einsum("rn,rn->r", counts[:, here], product, dtype=np.float64)
            for product in products
        ]
    with np.errstate(invalid="ignore"):  # 0 / 0: one of them is constant
        spearmans, kendalls = (xy / np.sqrt(xx * yy) for xy, xx, yy in (sums[:3], sums[3:]))
    return {"spearman": spearmans, "kendall": kendalls}


def curve(judged: Sequence[float], gold: Sequence[float]) -> list[dict[str, float]]:
    """Return the calibration curve: bins of the judged score with their mean known score.

    Returns:
        Per bin that is not empty: `judged` and `gold` (means) and `num`.
    """
    x, y = np.asarray(judged, np.float64), np.asarray(gold, np.float64)
    width = (HIGHEST - LOWEST) / NUM_BINS
    places = np.minimum((x - LOWEST) // width, NUM_BINS - 1).astype(np.int64)
    return [
        {"judged": float(x[here].mean()), "gold": float(y[here].mean()), "num": float(here.sum())}
        for here in (places == place for place in range(NUM_BINS))
        if here.any()
    ]


def calibration_error(judged: Sequence[float], gold: Sequence[float]) -> float:
    """Return the expected calibration error of scores, in points.

    `sum_b n_b / n |mean judged_b - mean gold_b|` over bins of half a point of the judged score: how
    far what is called a 4 is from 4, on average.

    Source: Naeini et al. (AAAI 2015) and Guo et al. (arXiv 1706.04599), eq. 3, for probabilities;
    here an expected score takes the place of the confidence and the known score that of the hit.
    """
    bins = curve(judged, gold)
    return sum(b["num"] * abs(b["judged"] - b["gold"]) for b in bins) / len(judged)


def calibration_floor(judged: Sequence[float], gold: Sequence[float]) -> float:
    """Return the `calibration_error` that is to be expected of a judge without any, in points.

    A bin's mean of n known scores misses their expectation by `s / sqrt(n)`, `s` their deviation
    around the means of the bins: `sum_b n_b / n x sqrt(2 / pi) s / sqrt(n_b)`, the mean size of
    normal errors. 0.16 for 400 texts and s = 1.4.
    """
    x, y = np.asarray(judged, np.float64), np.asarray(gold, np.float64)
    bins = curve(judged, gold)
    width = (HIGHEST - LOWEST) / NUM_BINS
    places = np.minimum((x - LOWEST) // width, NUM_BINS - 1)
    square = sum(float(((y[places == p] - y[places == p].mean()) ** 2).sum()) for p in set(places))
    deviation = math.sqrt(square / max(len(y) - len(bins), 1))
    return math.sqrt(2 / math.pi) * deviation * sum(math.sqrt(b["num"]) for b in bins) / len(y)


def spread(scores: Sequence[float]) -> dict[str, Any]:
    """Return `std`, and `shares`: the share of each digit among the rounded scores."""
    x = np.asarray(scores, np.float64)
    digits = rounded(x)
    return {
        "std": float(x.std()),
        "shares": {str(digit): float((digits == digit).mean()) for digit in SCORES},
    }


def partial_spearman(x: Values, y: Values, given: Values) -> float | None:
    """Return the rank correlation of x and y with what both owe to a third taken out.

    `(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2))` of the rank correlations.

    Source: Kendall (1942), partial rank correlation; here of Spearman's coefficients.
    """
    xy, xz, yz = spearman(x, y), spearman(x, given), spearman(y, given)
    if xy is None:
        return None
    # What is constant explains nothing.
    xz, yz = xz or 0.0, yz or 0.0
    left = (1 - xz**2) * (1 - yz**2)
    return None if left < 1e-12 else float((xy - xz * yz) / np.sqrt(left))


def length_bias(
    judged: Sequence[float], gold: Sequence[float], num_words: Sequence[int]
) -> dict[str, float | None]:
    """Return how scores follow the length of a text.

    Returns:
        `error`: rank correlation of judged - known with the number of words; `partial`: that of
        judged with the number of words, what both owe to the known score taken out.
    """
    x, y = np.asarray(judged, np.float64), np.asarray(gold, np.float64)
    words = np.asarray(num_words, np.float64)
    return {"error": spearman(x - y, words), "partial": partial_spearman(x, words, y)}


def group_bias(
    judged: Sequence[float], gold: Sequence[float], groups: Sequence[str]
) -> dict[str, float]:
    """Return group -> mean of judged - known: how a style moves scores that are not about it."""
    errors = np.asarray(judged, np.float64) - np.asarray(gold, np.float64)
    names = np.asarray(groups)
    return {str(name): float(errors[names == name].mean()) for name in sorted(set(groups))}


def auc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the probability that a right answer's score is above a wrong one's, ties as half.

    None if all are right, or all wrong.

    Source: Mann and Whitney (1947); the area under the ROC curve.
    """
    return float(roc_auc_score(right, scores)) if len(set(right)) == 2 else None


def drift(before: Sequence[float], after: Sequence[float]) -> dict[str, float | None]:
    """Return how the scores of the same texts moved.

    Returns:
        `shift` and `mean_change` (mean of after - before, and of its size), `spearman`, and
        `moved`: the share that moved by half a point or more.
    """
    x, y = np.asarray(before, np.float64), np.asarray(after, np.float64)
    return {
        "shift": float((y - x).mean()),
        "mean_change": float(np.abs(y - x).mean()),
        "spearman": spearman(x, y),
        "moved": float((np.abs(y - x) >= RAISED).mean()),
    }


RAISED = 0.5
"""Change in points that counts: it would turn a digit into the next one."""


def robustness(rises: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """Return how many payloads pay.

    Args:
        rises: Line of a payload in the corpus -> what it adds to the mean score of each text that
            it is tried on, in points.

    Returns:
        `num` payloads, `raised_frac` (with a mean rise of half a point), `mean_rise`, `largest`
        rise of a text, and the `payload` with the largest mean rise and that `rise`.
    """
    means = {payload: float(np.mean(values)) for payload, values in rises.items()}
    worst = max(means, key=lambda payload: means[payload])
    return {
        "num": len(rises),
        "raised_frac": float(np.mean([mean >= RAISED for mean in means.values()])),
        "mean_rise": float(np.mean(list(means.values()))),
        "largest": max(max(values) for values in rises.values()),
        "payload": worst,
        "rise": means[worst],
    }


def rater_ceiling(ratings: Sequence[Sequence[float]]) -> tuple[Agreement | None, int]:
    """Return how well one rater agrees with the mean of the others, and on how many texts.

    No judge can be expected to agree with people better than they do with each other.

    Args:
        ratings: The raters' scores of each text; texts with one rater are left out.
    """
    several = [scores for scores in ratings if len(scores) > 1]
    pairs = [
        (score, (sum(scores) - score) / (len(scores) - 1)) for scores in several for score in scores
    ]
    return (agree(*zip(*pairs, strict=True)) if pairs else None), len(several)
