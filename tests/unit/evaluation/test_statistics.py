"""Intervals cover at their rate, and paired comparisons give the numbers of the textbook."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.statistics import (
    Interval,
    bootstrap,
    classification_intervals,
    classification_report,
    compare,
    mean_share_interval,
    numbers,
    share_interval,
)

CHOICES = ("a", "b", "c")


def answers_of(labels: list[str], right: float, draw: np.random.Generator) -> list[str]:
    return [
        label if draw.random() < right else str(draw.choice([c for c in CHOICES if c != label]))
        for label in labels
    ]


@pytest.mark.parametrize("seed", range(5))
def test_numbers_equal_those_of_the_report(seed: int):
    draw = np.random.default_rng(seed)
    labels = [str(label) for label in draw.choice(CHOICES[: 2 + seed % 2], 40)]
    answers = [None if draw.random() < 0.1 else a for a in answers_of(labels, 0.6, draw)]
    report = classification_report(labels, answers, CHOICES)
    found = numbers(report.confusion[None])
    assert found["accuracy"][0] == pytest.approx(report.accuracy)
    assert found["ua"][0] == pytest.approx(report.ua)
    assert found["macro_f1"][0] == pytest.approx(report.macro_f1)


def test_intervals_cover_the_truth_at_their_rate():
    """Accuracy 0.7 over 120 clips, 300 times: 95 % of the intervals hold it, give or take."""
    draw = np.random.default_rng(0)
    covered = {"accuracy": 0, "ua": 0}
    for repeat in range(300):
        labels = [CHOICES[i % 3] for i in range(120)]
        found = classification_intervals(
            labels, answers_of(labels, 0.7, draw), CHOICES, seed=repeat
        )
        for name in covered:
            covered[name] += found[name].low <= 0.7 <= found[name].high
    for name, count in covered.items():
        assert 0.91 <= count / 300 <= 0.98, (name, count)


def test_intervals_over_speakers_cover_where_those_over_clips_do_not():
    """Ten speakers of very different difficulty: the clips of one rise and fall together."""
    draw = np.random.default_rng(1)
    over_clips = over_speakers = 0
    for repeat in range(200):
        labels, answers, speakers = [], [], []
        for speaker in range(10):
            ease = draw.choice([0.4, 1.0])  # 0.7 on average
            own = [CHOICES[i % 3] for i in range(30)]
            labels += own
            answers += answers_of(own, ease, draw)
            speakers += [str(speaker)] * 30
        clips = classification_intervals(labels, answers, CHOICES, seed=repeat)["accuracy"]
        voices = classification_intervals(labels, answers, CHOICES, clusters=speakers, seed=repeat)
        over_clips += clips.low <= 0.7 <= clips.high
        over_speakers += voices["accuracy"].low <= 0.7 <= voices["accuracy"].high
    assert over_clips / 200 < 0.6
    assert 0.82 <= over_speakers / 200 <= 0.98  # ten clusters are few for the method


def test_counting_cells_draws_as_drawing_examples_does():
    """A cluster for every example is the plain bootstrap, drawn the long way."""
    draw = np.random.default_rng(2)
    labels = [CHOICES[i % 3] for i in range(90)]
    answers = answers_of(labels, 0.7, draw)
    short = classification_intervals(labels, answers, CHOICES, seed=0)
    long = classification_intervals(
        labels, answers, CHOICES, clusters=[str(i) for i in range(90)], seed=1
    )
    for name, interval in short.items():
        assert interval.low == pytest.approx(long[name].low, abs=0.02)
        assert interval.high == pytest.approx(long[name].high, abs=0.02)


def test_a_bootstrap_draws_as_many_as_there_are_and_leaves_out_what_is_undefined():
    def statistics(counts: np.ndarray) -> dict[str, np.ndarray]:
        assert counts.shape == (50, 3) and (counts.sum(axis=1) == 10).all()
        assert (counts[:, 1] == 0).all()
        undefined = np.arange(50)
        return {
            "half": np.where(undefined < 25, np.nan, 1.0),
            "most": np.where(undefined < 26, np.nan, 1.0),
            "share": counts[:, 0] / 10,
        }

    found = bootstrap(statistics, [6, 0, 4], seed=0, resamples=50)
    assert list(found) == ["half", "share"]
    assert found["half"] == Interval(1.0, 1.0)
    assert found["share"].low < 0.6 < found["share"].high


def test_intervals_of_shares():
    """400 clips, half of them right: a standard error of 1/40. A sure share beside it halves it."""
    half = share_interval([True, False] * 200)
    assert half.low == pytest.approx(0.5 - 1.96 / 40, abs=0.005)
    assert half.high == pytest.approx(0.5 + 1.96 / 40, abs=0.005)
    mean = mean_share_interval([(200, 400), (7, 7)])
    assert mean.low == pytest.approx(0.75 - 0.98 / 40, abs=0.003)
    assert mean.high == pytest.approx(0.75 + 0.98 / 40, abs=0.003)


def rows(right: list[bool]) -> list[dict[str, object]]:
    return [{"id": str(index), "correct": value} for index, value in enumerate(right)]


def test_a_paired_comparison_by_hand():
    """100 clips: 9 gained, 1 lost. McNemar exact: 2 P(X <= 1) for Binomial(10, 1/2) = 22 / 1024."""
    first = [False] * 9 + [True] * 91
    second = [True] * 9 + [False] + [True] * 90
    found = compare(rows(first), rows(second))
    assert (found.num_examples, found.gained, found.lost) == (100, 9, 1)
    assert found.difference == pytest.approx(0.08)
    assert found.p == pytest.approx(22 / 1024)
    # Standard error of the difference: sqrt((9 + 1 - 100 x 0.08^2)) / 100 = 0.0306.
    assert found.interval.low == pytest.approx(0.08 - 1.96 * 0.0306, abs=0.015)
    assert found.interval.high == pytest.approx(0.08 + 1.96 * 0.0306, abs=0.015)


def test_equal_and_different_evaluations():
    same = compare(rows([True, False]), rows([True, False]))
    assert (same.difference, same.p, same.interval.low, same.interval.high) == (0, 1, 0, 0)
    # One id in two benchmarks is two examples.
    twice = [{"id": "0", "benchmark": name, "correct": name == "a"} for name in ("a", "b")]
    assert compare(twice, list(reversed(twice))).num_examples == 2
    with pytest.raises(ValueError, match="not of the same examples"):
        compare(rows([True]), rows([True, False]))
