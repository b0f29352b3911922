"""What runs with several seeds came to: values by seed, their differences, intervals and tests."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class RunResult:
    """What one run came to: a line of results.csv."""

    trial: str
    label: str
    """Name of the trial in tables."""
    seed: int
    state: str
    """`done`, or why it has no values."""
    wall_s: float | None
    """Time of all its executions in this sweep; None if it was not executed here."""
    values: Mapping[str, float]
    """Column -> value; without those that the run does not have."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and what is known about it."""

    num: int
    mean: float
    half_width: float | None
    """Of the 95 % interval; None with fewer than two values."""
    p_value: float | None = None
    """Two-sided, that the mean is zero; None if it cannot be tested."""

    @property
    def ends(self) -> tuple[float, float] | None:
        """Ends of the interval."""
        half = self.half_width
        return None if half is None else (self.mean - half, self.mean + half)

    @property
    def ends_90(self) -> tuple[float, float] | None:
        """Ends of the 90 % interval: two one-sided tests at 5 % ask whether it lies in a margin."""
        if self.half_width is None:
            return None
        factor = interval_factor(self.num, 0.90) / interval_factor(self.num)
        return self.mean - factor * self.half_width, self.mean + factor * self.half_width


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return mean, 95 % interval and the test against zero.

    Applied to the differences of paired runs, this is the paired t-test.

    Args:
        values: one per seed.

    Returns:
        None without values. Equal values have an interval of width 0 and no test.

    Source: Student's t: mean +- t(0.975, n - 1) s / sqrt(n), with the unbiased s.
    """
    if not values:
        return None
    num, mean = len(values), statistics.fmean(values)
    if len(set(values)) == 1:
        return Estimate(num, mean, None if num == 1 else 0.0)
    test: Any = stats.ttest_1samp(values, 0.0)  # its class has no types
    low, high = test.confidence_interval(CONFIDENCE)
    return Estimate(num, mean, float(high - low) / 2, float(test.pvalue))


def interval_factor(num: int, confidence: float = CONFIDENCE) -> float:
    """Return half the width of the interval in standard deviations over the seeds.

    Args:
        num: seeds, at least 2.
        confidence: share of such intervals that hold the mean.
    """
    return float(stats.t.ppf((1 + confidence) / 2, num - 1)) / math.sqrt(num)


def detectable(sd: float, num: int) -> float:
    """Return the difference that is told from 0 in 80 of 100 experiments.

    Args:
        sd: standard deviation of the paired differences over seeds.
        num: seeds, at least 2.

    Source: the power of the t-test at 5 %, in the usual approximation
    `(t(0.975, n - 1) + t(0.8, n - 1)) s / sqrt(n)`.
    """
    return _quantiles(num, (1 + CONFIDENCE) / 2, 0.8) * sd / math.sqrt(num)


def detectable_margin(sd: float, num: int, *, sides: int) -> float:
    """Return the margin within which 80 of 100 experiments find no difference where there is none.

    Args:
        sd, num: as in `detectable`.
        sides: 2 for equality, 1 for "not less".

    Source: one-sided tests at 5 %, a fifth of the failures on each side of an equality:
    `(t(0.95, n - 1) + t(1 - 0.2 / sides, n - 1)) s / sqrt(n)`.
    """
    return _quantiles(num, 0.95, 1 - 0.2 / sides) * sd / math.sqrt(num)


def _quantiles(num: int, *shares: float) -> float:
    """Return the sum of quantiles of Student's t over so many seeds."""
    return sum(float(stats.t.ppf(share, num - 1)) for share in shares)


def values_of(runs: Sequence[RunResult], name: str) -> list[float]:
    """Return the values of the seeds that have one in a column."""
    return [run.values[name] for run in runs if name in run.values]


def paired(ours: Sequence[RunResult], base: Sequence[RunResult], name: str) -> list[float]:
    """Return ours minus the baseline's for every seed that both have."""
    of_base = {run.seed: run.values[name] for run in base if name in run.values}
    return [
        run.values[name] - of_base[run.seed]
        for run in ours
        if name in run.values and run.seed in of_base
    ]
