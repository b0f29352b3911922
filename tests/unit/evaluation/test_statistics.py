"""Intervals cover at their rate, and paired comparisons give the numbers of the textbook."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.statistics import (
    Interval,
    bootstrap,
    classification_intervals,
    classification_report,
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        found = voices.get("accuracy", Interval(1.0, 1.0))  # all alike: nothing is said
        over_speakers += found.low <= 0.7 <= found.high
    assert over_clips / 200 < 0.6
    assert 0.9 <= over_speakers / 200 <= 0.99


def test_a_cluster_for_every_example_is_no_cluster():
    draw = np.random.default_rng(2)
    labels = [CHOICES[i % 3] for i in range(90)]
    answers = answers_of(labels, 0.7, draw)
    short = classification_intervals(labels, answers, CHOICES, seed=0)
    long = classification_intervals(
        labels, answers, CHOICES, clusters=[str(i) for i in range(90)], seed=1
    )
    for name, interval in short.items():
        assert interval.low == pytest.approx(long[name].low, abs=0.03)
        assert interval.high == pytest.approx(long[name].high, abs=0.03)


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
    """400 clips, half of them right: a standard error of 1/40. The mean with another share."""
    half = share_interval([True, False] * 200)
    assert half.low == pytest.approx(0.5 - 1.96 / 40, abs=0.005)
    assert half.high == pytest.approx(0.5 + 1.96 / 40, abs=0.005)
    mean = mean_share_interval([(200, 400), (7, 7)])
    # 7 of 7 is 0.646 to 1; above, the other share alone adds to it.
    assert mean.low == pytest.approx(0.75 - ((1.96 / 40) ** 2 + 0.354**2) ** 0.5 / 2, abs=0.003)
    assert mean.high == pytest.approx(0.75 + 0.98 / 40, abs=0.003)


def test_none_of_n_is_not_known_to_be_none():
    """Wilson: 0 of 20 is 0 to z^2 / (20 + z^2) = 0.161, and 20 of 20 its mirror image."""
    none, every = share_interval([False] * 20), share_interval([True] * 20)
    assert (none.low, none.high) == (0.0, pytest.approx(0.1611, abs=1e-4))
    assert (every.low, every.high) == (pytest.approx(0.8389, abs=1e-4), 1.0)
    found = classification_intervals(["a"] * 20 + ["b"] * 20, ["c"] * 40, CHOICES)
    assert found["accuracy"].low == 0.0 and found["accuracy"].high == pytest.approx(
        0.0876, abs=1e-4
    )
    # Two recalls of 0 of 20 each: 0.1611 / sqrt 2.
    assert found["ua"].high == pytest.approx(0.1611 / 2**0.5, abs=1e-4)
    assert "macro_f1" not in found


def test_speakers_that_are_all_alike_say_nothing_of_the_next():
    labels, speakers = ["a", "b"] * 12, [str(i // 4) for i in range(24)]
    assert classification_intervals(labels, labels, CHOICES, clusters=speakers) == {}


@pytest.mark.parametrize("spread", [0.0, 0.15])
def test_intervals_over_eight_speakers_cover(spread: float):
    """30 clips each; how easy a speaker is varies around 0.6 by `spread`."""
    draw = np.random.default_rng(4)
    covered = {"accuracy": 0, "ua": 0}
    for repeat in range(250):
        labels, answers, speakers = [], [], []
        for speaker in range(8):
            own = [CHOICES[i % 3] for i in range(30)]
            labels += own
            answers += answers_of(own, float(np.clip(draw.normal(0.6, spread), 0, 1)), draw)
            speakers += [str(speaker)] * 30
        found = classification_intervals(labels, answers, CHOICES, clusters=speakers, seed=repeat)
        for name in covered:
            covered[name] += found[name].low <= 0.6 <= found[name].high
    for name, count in covered.items():
        print(f"{name}, spread {spread}: {count / 250:.3f}")
        assert 0.91 <= count / 250 <= 0.985, (name, count)
