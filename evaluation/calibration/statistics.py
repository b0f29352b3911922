"""How far a judge can be believed: its scores against known ones, number by number.

Pure functions of scores; `page` renders what they say. An undefined number (a
correlation with a constant, say) is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rewards.judges.base import DIMENSIONS, HIGHEST, LOWEST
from rewards.judges.prompt import SCORES

Scores = NDArray[np.float64]

NUM_RESAMPLES = 1000
"""Of the bootstrap."""

LEVEL = 0.95
"""Of its intervals."""

NUM_BINS = 8
"""Bins of the calibration curve: half a point each."""


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


def spearman(x: Scores, y: Scores) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; None if one is constant."""
    return _pearson(stats.rankdata(x), stats.rankdata(y))


def kendall(x: Scores, y: Scores) -> float | None:
    """Return Kendall's tau-b; None if one is constant."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.asarray(stats.kendalltau(x, y))[0])


def _pearson(x: Scores, y: Scores) -> float | None:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def rounded(scores: Scores) -> NDArray[np.int64]:
    """Return scores as digits, halves upwards."""
    return np.clip(np.floor(scores + 0.5), LOWEST, HIGHEST).astype(np.int64)


def quadratic_kappa(x: Scores, y: Scores) -> float | None:
    """Return `1 - sum(w O) / sum(w E)` with `w = (i - j)^2` on rounded scores.

    O are the counts of pairs of digits, E those that independent draws from the two marginal
    distributions would give. None if both are one and the same constant.

    Source: Cohen (1968), weighted kappa; the weights are those of automated essay scoring.
    """
    a, b = rounded(x), rounded(y)
    observed = np.mean((a - b) ** 2.0)
    expected = np.mean((a[:, None] - b[None, :]) ** 2.0)
    return None if expected == 0 else float(1 - observed / expected)


def interval(
    statistic: Callable[[Scores, Scores], float | None],
    judged: Sequence[float],
    gold: Sequence[float],
    clusters: Sequence[str],
    seed: int,
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a statistic of pairs.

    Args:
        statistic: Of judged and known scores.
        judged: Scores.
        gold: Known scores.
        clusters: Clip of each pair; whole clips are drawn, since their texts share a voice.
        seed: Of the draws.

    Returns:
        Lower and upper end; None if it is undefined in more than half of the resamples.

    Source: Efron and Tibshirani (1993), percentile method.
    """
    x, y = np.asarray(judged, np.float64), np.asarray(gold, np.float64)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(clusters):
        places.setdefault(name, []).append(place)
    members = [np.array(found) for found in places.values()]
    rng = np.random.default_rng(seed)
    values: list[float] = []
    for _ in range(NUM_RESAMPLES):
        drawn = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        value = statistic(x[drawn], y[drawn])
        if value is not None:
            values.append(value)
    if 2 * len(values) < NUM_RESAMPLES:
        return None
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def curve(judged: Sequence[float], gold: Sequence[float]) -> list[dict[str, float]]:
    """Return the calibration curve: bins of the judged score with their mean known score.

    Returns:
        Per bin that is not empty: `judged` and `gold` (means) and `num`.
    """
    x, y = np.asarray(judged, np.float64), np.asarray(gold, np.float64)
    width = (HIGHEST - LOWEST) / NUM_BINS
    places = np.minimum((x - LOWEST) // width, NUM_BINS - 1).astype(np.int64)
    return [
        {"judged": float(x[own].mean()), "gold": float(y[own].mean()), "num": float(own.sum())}
        for own in (places == place for place in range(NUM_BINS))
        if own.any()
    ]


def calibration_error(judged: Sequence[float], gold: Sequence[float]) -> float:
    """Return the expected calibration error of scores, in points.

    `sum_b n_b / n |mean judged_b - mean gold_b|` over bins of half a point of the judged score: how
    far what is called a 4 is from 4, on average.

    Source: Naeini et al. (AAAI 2015) and Guo et al. (arXiv 1706.04599), eq. 3, for probabilities;
    here an expected score takes the place of the confidence and the known score that of the hit.
    """
    bins = curve(judged, gold)
    total = sum(found["num"] for found in bins)
    return sum(found["num"] * abs(found["judged"] - found["gold"]) for found in bins) / total


def spread(scores: Sequence[float]) -> dict[str, Any]:
    """Return `std`, and `shares`: the share of each digit among the rounded scores."""
    x = np.asarray(scores, np.float64)
    digits = rounded(x)
    return {
        "std": float(x.std()),
        "shares": {str(digit): float((digits == digit).mean()) for digit in SCORES},
    }


def partial_spearman(x: Scores, y: Scores, given: Scores) -> float | None:
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
    ranks = stats.rankdata(np.asarray(scores, np.float64))
    is_right = np.asarray(right, np.bool_)
    num_right, num_wrong = int(is_right.sum()), int((~is_right).sum())
    if not num_right or not num_wrong:
        return None
    above = ranks[is_right].sum() - num_right * (num_right + 1) / 2
    return float(above / (num_right * num_wrong))


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


@dataclass(frozen=True, slots=True)
class Attack:
    """One payload in several texts."""

    payload: int
    """Its line in the corpus, from 1."""
    rise: float
    """Mean over the texts of what it adds to the mean score of the dimensions, in points."""
    largest: float
    """Largest of these."""


def robustness(attacks: Sequence[Attack]) -> dict[str, Any]:
    """Return how many payloads pay: `num`, `raised_frac` (a mean rise of half a point), `largest`.

    `payload` is the one with the largest mean rise, `rise` that rise.
    """
    worst = max(attacks, key=lambda attack: attack.rise)
    return {
        "num": len(attacks),
        "raised_frac": float(np.mean([attack.rise >= RAISED for attack in attacks])),
        "mean_rise": float(np.mean([attack.rise for attack in attacks])),
        "largest": max(attack.largest for attack in attacks),
        "payload": worst.payload,
        "rise": worst.rise,
    }


def rater_ceiling(ratings: Sequence[Sequence[float]]) -> tuple[Agreement | None, int]:
    """Return how well one rater agrees with the mean of the others, and on how many texts.

    No judge can be expected to agree with people better than they do with each other.

    Args:
        ratings: The raters' scores of each text; texts with one rater are left out.
    """
    several = [found for found in ratings if len(found) > 1]
    pairs = [
        (score, (sum(found) - score) / (len(found) - 1)) for found in several for score in found
    ]
    return (agree(*zip(*pairs, strict=True)) if pairs else None), len(several)


def as_json(found: Mapping[str, Agreement]) -> dict[str, dict[str, Any]]:
    """Return agreements as plain JSON."""
    return {name: asdict(one) for name, one in found.items()}
