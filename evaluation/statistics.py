"""How sure an evaluation is: bootstrap intervals of its numbers, and paired comparisons of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

NUM_RESAMPLES = 2000
LEVEL = 0.95

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Percentile bootstrap interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """Two evaluations of the same examples."""

    num_examples: int
    difference: float
    """Accuracy of the second minus that of the first."""
    interval: Interval
    """Of the difference."""
    gained: int
    """Examples that only the second has right."""
    lost: int
    """Examples that only the first has right."""
    p: float
    """Two-sided p of McNemar's exact test."""


def numbers(confusion: Counts) -> dict[str, NDArray[np.float64]]:
    """Return accuracy, UA and macro F1 of [R, K, K + 1] confusion counts, [R] each.

    A class without examples in a resample does not count in it; see
    `evaluation.answers.classification_report` for the definitions.
    """
    num_choices = confusion.shape[1]
    right = np.einsum("rkk->rk", confusion[:, :, :num_choices]).astype(np.float64)
    gold = confusion.sum(axis=2)
    answered = confusion[:, :, :num_choices].sum(axis=1)
    present = gold > 0
    count = present.sum(axis=1)
    recall = np.where(present, right / np.maximum(gold, 1), 0.0).sum(axis=1) / count
    f1 = np.where(present, 2 * right / np.maximum(gold + answered, 1), 0.0).sum(axis=1) / count
    return {"accuracy": right.sum(axis=1) / gold.sum(axis=1), "ua": recall, "macro_f1": f1}


def bootstrap(
    labels: Sequence[str],
    answers: Sequence[str | None],
    choices: Sequence[str],
    *,
    clusters: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return 95 % intervals of accuracy, UA and macro F1.

    Args:
        labels: Gold class of each example.
        answers: What was answered; None = no readable answer.
        choices: The K classes.
        clusters: Whom each example belongs to: whole clusters are drawn, since the clips of one
            speaker rise and fall together. None: examples are drawn.
        seed: Of the draws.

    Source: Efron and Tibshirani (1993), percentile method; the cluster bootstrap draws clusters
    with replacement and keeps their examples.
    """
    index = {choice: place for place, choice in enumerate(choices)}
    size = len(choices)
    cells = np.array(
        [
            index[label] * (size + 1) + index.get(answer if answer is not None else "", size)
            for label, answer in zip(labels, answers, strict=True)
        ]
    )
    rng = np.random.default_rng(seed)
    num_cells = size * (size + 1)
    if clusters is None:
        # How often each cell is drawn, which is all that counts of the drawn examples.
        shares = np.bincount(cells, minlength=num_cells) / len(cells)
        counts = rng.multinomial(len(cells), shares, size=NUM_RESAMPLES)
    else:
        known = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        # [clusters, cells]: a resample is a sum of rows.
        table = np.zeros((len(known), num_cells), dtype=np.int64)
        np.add.at(table, (np.array([known[name] for name in clusters]), cells), 1)
        equal = np.full(len(known), 1 / len(known))
        counts = rng.multinomial(len(known), equal, size=NUM_RESAMPLES) @ table
    found = numbers(counts.reshape(NUM_RESAMPLES, size, size + 1))
    return {name: _interval(values) for name, values in found.items()}


def mean_share_interval(shares: Sequence[tuple[int, int]], *, seed: int = 0) -> Interval:
    """Return the 95 % interval of a mean of shares, each of examples of its own.

    One share is resampled by drawing its examples: the number of right ones is then binomial.

    Args:
        shares: (right, examples) of each; at least one, examples above 0.
        seed: Of the draws.

    Source: as `bootstrap`.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.binomial(num, right / num, NUM_RESAMPLES) / num for right, num in shares]
    return _interval(np.mean(drawn, axis=0))


def share_interval(right: Sequence[bool], *, seed: int = 0) -> Interval:
    """Return the 95 % interval of the share of right examples."""
    return mean_share_interval([(sum(right), len(right))], seed=seed)


def key_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return what tells a row of an evaluation from all others: its benchmark and its id."""
    return row.get("benchmark") or "", row["id"]


def compare(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], seed: int = 0
) -> Paired:
    """Compare two evaluations example by example.

    Args:
        first: Rows with `id`, `correct`, and `benchmark` where there are several.
        second: Rows of the same examples.
        seed: Of the bootstrap.

    Raises:
        ValueError: They are not of the same examples.

    Source: McNemar (1947), with the exact binomial distribution of the discordant pairs.
    """
    right = {key_of(row): bool(row["correct"]) for row in first}
    if right.keys() != {key_of(row) for row in second} or len(right) != len(second):
        raise ValueError("the two evaluations are not of the same examples")
    gains = np.array([int(row["correct"]) - int(right[key_of(row)]) for row in second])
    gained, lost = int((gains > 0).sum()), int((gains < 0).sum())
    num = len(gains)
    rng = np.random.default_rng(seed)
    shares = [lost / num, 1 - (gained + lost) / num, gained / num]
    drawn = rng.multinomial(num, shares, size=NUM_RESAMPLES)
    differences = (drawn[:, 2] - drawn[:, 0]) / num
    discordant = gained + lost
    p = float(stats.binomtest(gained, discordant).pvalue) if discordant else 1.0
    return Paired(num, float(gains.mean()), _interval(differences), gained, lost, p)


def _interval(values: NDArray[np.float64]) -> Interval:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))
