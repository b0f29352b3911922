"""Two evaluations of the same examples: the difference, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from evaluation.statistics import LEVEL, Counts, Interval, cluster_mean_interval, cluster_places

MIN_CLUSTERS = 5
"""Speakers from which they, and not their clips, are what is compared: with fewer there is no
telling how much they differ."""

MAX_EXACT = 12
"""Speakers up to which every way of exchanging the two evaluations is tried; of more speakers
NUM_EXCHANGES are drawn."""

NUM_EXCHANGES = 10_000


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
    """Two-sided p of McNemar's exact test, or of its like over speakers."""
    num_speakers: int | None
    """Speakers that interval and p are over; None: examples are taken as independent, since no
    speakers are known, or fewer than five."""

    @property
    def over(self) -> str:
        """What interval and p take as independent, in words."""
        return "clips" if self.num_speakers is None else f"{self.num_speakers} speakers"


def compare(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], seed: int = 0
) -> Paired:
    """Compare two evaluations example by example.

    The clips of one speaker rise and fall together: where five speakers or more are known, interval
    and p are over speakers. Taken as independent, clips of eight speakers call a difference of
    nothing "significant at 5 %" in 9 to 16 % of the cases.

    Args:
        first: Rows with `id`, `correct`, and `benchmark` where there are several, `speaker` and
            `dataset` where known.
        second: Rows of the same examples.
        seed: Of the draws, with more than twelve speakers.

    Raises:
        ValueError: They are not of the same examples.

    Source: McNemar (1947), with the exact binomial distribution of the discordant pairs. Over
    speakers: the same exchange of the two evaluations under the null, of whole speakers in place of
    examples (a sign-flip permutation test), and the jackknife's interval. Over examples: the
    interval of Bonett and Price (2012), "Adjusted Wald confidence interval for a difference of
    binomial proportions based on paired data", which has a width where nothing changed too.
    """
    # One id in two benchmarks is two examples.
    before, after = (
        {(row.get("benchmark") or "", row["id"]): bool(row["correct"]) for row in rows}
        for rows in (first, second)
    )
    if before.keys() != after.keys() or len(before) != len(second):
        raise ValueError("the two evaluations are not of the same examples")
    changes = np.array([int(after[key]) - int(right) for key, right in before.items()])
    gained, lost = int((changes > 0).sum()), int((changes < 0).sum())
    places = speaker_places(first)
    if places is None:
        p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
        interval, num_speakers = _over_examples(gained, lost, len(changes)), None
    else:
        num_speakers = int(places.max()) + 1
        interval, p = _over_speakers(changes, places, seed)
        if not gained + lost:  # no speaker changed, which says little of the next one
            interval = _over_examples(0, 0, num_speakers)
    return Paired(len(changes), float(changes.mean()), interval, gained, lost, p, num_speakers)


def speaker_places(rows: Sequence[Mapping[str, Any]]) -> Counts | None:
    """Return the place of each row's speaker among all speakers.

    None where clips are what is compared: a speaker is not known, or they are fewer than
    MIN_CLUSTERS.
    """
    if any(row.get("speaker") is None for row in rows):
        return None
    # A name is known within its corpus.
    places = cluster_places(
        [f"{row.get('dataset') or row.get('benchmark') or ''}/{row['speaker']}" for row in rows]
    )
    return places if places.max(initial=-1) + 1 >= MIN_CLUSTERS else None


def _over_examples(gained: int, lost: int, num: int) -> Interval:
    more, less = (gained + 1) / (num + 2), (lost + 1) / (num + 2)
    middle = more - less
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt(
        (more + less - middle**2) / (num + 2)
    )
    return Interval(max(-1.0, middle - reach), min(1.0, middle + reach))


def _over_speakers(changes: Counts, places: Counts, seed: int) -> tuple[Interval, float]:
    """Return interval and p of the mean change, where speakers are what is independent."""
    sums = np.bincount(places, weights=changes)
    interval = cluster_mean_interval(changes, places, -1.0, 1.0)
    num = len(sums)
    if num <= MAX_EXACT:
        signs = 1 - 2 * ((np.arange(2**num)[:, None] >> np.arange(num)) & 1)
    else:
        signs = np.random.default_rng(seed).choice((-1, 1), size=(NUM_EXCHANGES, num))
        signs[0] = 1  # what was seen is one of the ways
    # Sums of whole numbers: equal ones are equal.
    return interval, float((np.abs(signs @ sums) >= abs(sums.sum())).mean())
