"""What answers are worth, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from data.records import IntArray

NUM_RESAMPLES = 2000
LEVEL = 0.95

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassificationReport:
    """Classification results over K choices."""

    num_examples: int
    """Examples, at least 1."""
    accuracy: float
    """Share of right answers (WA), in [0, 1]."""
    ua: float
    """Mean recall over the classes that have examples, in [0, 1]."""
    macro_f1: float
    """Mean F1 over the classes that have examples, in [0, 1]."""
    format_frac: float
    """Share of examples with a readable answer, be it one of the choices or not."""
    classes: Mapping[str, Mapping[str, float | int | None]]
    """Choice -> `examples`, `precision`, `recall` and `f1`; None where there is nothing to divide
    by."""
    confusion: IntArray
    """[K, K + 1] examples by gold class and answer; the last column counts no or other answers."""

    def to_metrics(self, prefix: str = "eval") -> dict[str, float]:
        """Return `prefix/name` -> value: accuracy, ua, macro_f1, format_frac, recall_CLASS.

        A class without examples has no recall.
        """
        metrics = {
            f"{prefix}/accuracy": self.accuracy,
            f"{prefix}/ua": self.ua,
            f"{prefix}/macro_f1": self.macro_f1,
            f"{prefix}/format_frac": self.format_frac,
        }
        for label, numbers in self.classes.items():
            if (recall := numbers["recall"]) is not None:
                metrics[f"{prefix}/recall_{label.replace(' ', '_')}"] = recall
        return metrics


def classification_report(
    labels: Sequence[str], answers: Sequence[str | None], choices: Sequence[str]
) -> ClassificationReport:
    """Return accuracy, UA, macro F1 and confusion of answers against gold labels.

    An answer that is None or none of the choices is a wrong answer: it lowers the recall of its
    gold class and is nobody's false positive.

    Args:
        labels: gold class of each example, each one of `choices`.
        answers: what the policy answered; None = no readable answer.
        choices: the K classes, all different.

    Raises:
        ValueError: no examples, lengths that differ, or a gold label outside `choices`.
    """
    if not labels or len(labels) != len(answers):
        raise ValueError(f"{len(labels)} labels and {len(answers)} answers: need equal counts > 0")
    if unknown := sorted(set(labels) - set(choices)):
        raise ValueError(f"gold labels {unknown} are not among the choices {list(choices)}")
    size = len(choices)
    gold, answered = _places(labels, answers, choices)
    confusion = confusion_matrix(gold, answered, labels=range(size + 1))[:size]
    precision, recall, f1, examples = np.array(
        precision_recall_fscore_support(
            gold,
            answered,
            labels=range(size),
            zero_division=math.nan,  # type: ignore[arg-type]
        )
    )
    rates = {"precision": precision, "recall": recall, "f1": f1}
    present = examples > 0
    return ClassificationReport(
        num_examples=len(labels),
        accuracy=float(np.mean(gold == answered)),
        ua=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        format_frac=sum(answer is not None for answer in answers) / len(answers),
        classes={
            choice: {
                "examples": int(examples[place]),
                **{
                    name: None if math.isnan(rate[place]) else float(rate[place])
                    for name, rate in rates.items()
                },
            }
            for place, choice in enumerate(choices)
        },
        confusion=confusion,
    )


def _places(
    labels: Sequence[str], answers: Sequence[str | None], choices: Sequence[str]
) -> tuple[Counts, Counts]:
    """Return gold classes and answers as places among the choices; K = no or another answer."""
    index: dict[str | None, int] = {choice: place for place, choice in enumerate(choices)}
    return (
        np.array([index[label] for label in labels]),
        np.array([index.get(answer, len(choices)) for answer in answers]),
    )


def numbers(confusion: Counts) -> dict[str, Values]:
    """Return accuracy, UA and macro F1 of [R, K, K + 1] confusion counts, [R] each.

    A class without examples in a resample does not count in it; `classification_report` of all
    resamples at once.
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


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Values) -> Interval:
        """Return the percentile interval of a statistic's values in resamples; nan is left out."""
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.nanpercentile(values, [tail, 100 - tail])
        return cls(float(low), float(high))


def bootstrap(
    statistics: Callable[[Counts], Mapping[str, Values]],
    sizes: Sequence[int] | Counts,
    *,
    seed: int,
    resamples: int = NUM_RESAMPLES,
) -> dict[str, Interval]:
    """Return 95 % intervals of statistics of drawn examples.

    Of equal examples, or of clusters, it only counts how often each kind of them is drawn: a
    statistic is of these counts, of all resamples at once.

    Args:
        statistics: [R, kinds] how often each kind is drawn -> name -> [R] values; nan = undefined.
        sizes: How many there are of each kind; as many as all together are drawn.
        seed: Of the draws.
        resamples: R.

    Returns:
        Name -> interval, but for what is undefined in more than half of the resamples.

    Source: Efron and Tibshirani (1993), percentile method; the cluster bootstrap draws clusters
    with replacement and keeps their examples.
    """
    sizes = np.asarray(sizes)
    num = int(sizes.sum())
    counts = np.random.default_rng(seed).multinomial(num, sizes / num, size=resamples)
    return {
        name: Interval.of(values)
        for name, values in statistics(counts).items()
        if 2 * np.isnan(values).sum() <= resamples
    }


def cluster_places(clusters: Sequence[str]) -> Counts:
    """Return the place of each example's cluster among all clusters, as they appear."""
    index = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    return np.array([index[name] for name in clusters])


def classification_intervals(
    labels: Sequence[str],
    answers: Sequence[str | None],
    choices: Sequence[str],
    *,
    clusters: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return 95 % intervals of accuracy, UA and macro F1.

    Over clips, those of accuracy and UA are Wilson's (`mean_share_interval`), which say something
    of 0 of n too, and that of macro F1 is a bootstrap. Over clusters all are `jackknife_interval`s:
    with eight speakers a bootstrap over them covers too little. One without width is left out: that
    all clusters are alike says nothing of the next one.

    Args:
        labels: Gold class of each example.
        answers: What was answered; None = no readable answer.
        choices: The K classes.
        clusters: Whom each example belongs to, two or more, since the clips of one speaker rise and
            fall together. None: examples are independent.
        seed: Of the bootstrap.
    """
    size = len(choices)
    gold, answered = _places(labels, answers, choices)
    cells = gold * (size + 1) + answered
    num_cells = size * (size + 1)
    if clusters is None:
        # The cell of the confusion is all that counts of an example.
        intervals = bootstrap(
            lambda counts: {"macro_f1": numbers(counts.reshape(-1, size, size + 1))["macro_f1"]},
            np.bincount(cells, minlength=num_cells),
            seed=seed,
        )
        right, examples = np.bincount(gold[gold == answered], minlength=size), np.bincount(gold)
        recalls = [(int(right[k]), int(n)) for k, n in enumerate(examples) if n]
        intervals |= {
            "accuracy": mean_share_interval([(int(right.sum()), len(gold))]),
            "ua": mean_share_interval(recalls),
        }
        return {name: one for name, one in intervals.items() if one.low < one.high}
    places = cluster_places(clusters)
    table = np.zeros((places.max() + 1, num_cells), dtype=np.int64)
    np.add.at(table, (places, cells), 1)
    whole = numbers(table.sum(axis=0).reshape(1, size, size + 1))
    without = numbers((table.sum(axis=0) - table).reshape(-1, size, size + 1))
    intervals = {
        name: jackknife_interval(float(whole[name][0]), without[name], 0.0, 1.0) for name in whole
    }
    return {name: one for name, one in intervals.items() if one.low < one.high}


def jackknife_interval(value: float, without: Values, low: float, high: float) -> Interval:
    """Return the 95 % interval of a statistic of C clusters, for clusters like them.

    Args:
        value: The statistic of all clusters.
        without: [C] the statistic without each of them; C >= 2.
        low: Smallest value that it can have.
        high: Largest.

    Source: Tukey's jackknife, with the t distribution of C - 1 degrees of freedom; for few clusters
    (the CV3 variance): MacKinnon, Nielsen and Webb (2023), "Fast and reliable jackknife and
    bootstrap methods for cluster-robust inference".
    """
    num = len(without)
    deviation = math.sqrt((num - 1) / num * float(np.sum((without - value) ** 2)))
    reach = deviation * float(stats.t.ppf((1 + LEVEL) / 2, num - 1))
    return Interval(max(low, value - reach), min(high, value + reach))


def cluster_mean_interval(
    values: Values | Counts, places: Counts, low: float, high: float
) -> Interval:
    """Return the 95 % interval of a mean, for clusters like those of its values.

    Args:
        values: [N] numbers.
        places: [N] the cluster of each, 0 to C - 1; C >= 2.
        low: Smallest mean that there can be.
        high: Largest.

    Source: `jackknife_interval`. Each value a cluster of its own, it is the t interval of the mean.
    """
    sums, sizes = np.bincount(places, weights=values), np.bincount(places)
    without = (sums.sum() - sums) / (len(values) - sizes)
    return jackknife_interval(float(values.mean()), without, low, high)


def mean_share_interval(shares: Sequence[tuple[int, int]]) -> Interval:
    """Return the 95 % interval of a mean of shares, each of examples of its own.

    Of one share it is Wilson's, which has a width at 0 of n and at n of n too; of several their
    distances from their shares are added in squares.

    Args:
        shares: (right, examples) of each; at least one, examples above 0.

    Source: Wilson (1927); Zou and Donner (2008), "Construction of confidence limits about effect
    measures: a general approach" (MOVER), for the mean.
    """
    ends = [stats.binomtest(*share).proportion_ci(LEVEL, method="wilson") for share in shares]
    middles = [right / num for right, num in shares]
    below = math.hypot(*(middle - end.low for middle, end in zip(middles, ends, strict=True)))
    above = math.hypot(*(end.high - middle for middle, end in zip(middles, ends, strict=True)))
    mean = sum(middles) / len(shares)
    return Interval(mean - below / len(shares), mean + above / len(shares))


def share_interval(right: Sequence[bool]) -> Interval:
    """Return the 95 % interval of the share of right examples."""
    return mean_share_interval([(sum(right), len(right))])
