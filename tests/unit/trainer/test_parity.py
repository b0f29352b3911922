"""The gate before step 1, by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from configs.schema import ParityConfig
from data.records import FloatArray, Group
from tests.unit.make_samples import make_completion, make_sample
from trainer.parity import ParityError, ParityReport, check_parity, compare

GOOD = ParityReport(
    max_gap=1e-3, mean_gap=2e-4, p99_gap=8e-4, correlation=0.99999, worst_id="clip-7"
)
LIMITS = ParityConfig(max_gap=2e-3, mean_gap=5e-4, p99_gap=1e-3, min_correlation=0.995)


def make_group(id: str, *engine: Sequence[float]) -> Group:
    """A group whose completions have these log-probs by the engine."""
    completions = tuple(make_completion([5] * len(values), values) for values in engine)
    return Group(make_sample([1], [[5]], id=id).group.prompt, completions)


def arrays(*learner: Sequence[float]) -> list[FloatArray]:
    return [np.array(values, np.float32) for values in learner]


def test_gaps_by_hand():
    groups = [make_group("a", [-1, -2], [-3]), make_group("b", [-4, -1], [-2])]
    learner = [arrays([-1, -2.25], [-3]), arrays([-4, -1], [-1.5])]
    report = compare(groups, learner)
    assert report.max_gap == 0.5
    assert report.mean_gap == pytest.approx(0.75 / 6)
    assert report.worst_id == "b"
    expected = np.corrcoef([-1, -2, -3, -4, -1, -2], [-1, -2.25, -3, -4, -1, -1.5])[0, 1]
    assert report.correlation == pytest.approx(expected)
    assert expected < 0.99


def test_the_percentile_is_that_of_all_tokens():
    gaps = np.arange(201) / 100  # of 201 tokens, the 199th in order is 1.98 off
    report = compare([make_group("a", np.zeros(201))], [arrays(gaps)])
    assert report.p99_gap == pytest.approx(1.98)
    assert report.max_gap == 2.0


def test_a_shift_has_gaps_but_full_correlation():
    report = compare([make_group("a", [-1, -2, -4])], [arrays([-1.5, -2.5, -4.5])])
    assert report[:2] == (0.5, 0.5)
    assert report.correlation == pytest.approx(1.0)


def test_without_spread_the_correlation_is_one():
    assert compare([make_group("a", [-1, -1])], [arrays([-1, -2])]).correlation == 1.0


def test_agreement_passes():
    check_parity(GOOD, LIMITS)
    check_parity(GOOD._replace(max_gap=2e-3, mean_gap=5e-4), LIMITS)


@pytest.mark.parametrize(
    "bad",
    [
        {"max_gap": 0.36},
        {"mean_gap": 6e-4},
        {"p99_gap": 2e-3},
        {"correlation": 0.99},
        *({name: math.nan} for name in ("max_gap", "mean_gap", "p99_gap", "correlation")),
    ],
)
def test_disagreement_is_refused_and_names_the_worst_clip(bad: dict[str, float]):
    with pytest.raises(ParityError, match=r"engine and learner disagree.*worst clip: clip-7\b"):
        check_parity(GOOD._replace(**bad), LIMITS)


def test_the_message_has_the_numbers():
    with pytest.raises(ParityError) as caught:
        check_parity(GOOD._replace(max_gap=0.36), LIMITS)
    assert (
        "log-prob gap max 3.60e-01 (allowed 2.0e-03), mean 2.00e-04 (5.0e-04), 99th percentile "
        "8.00e-04 (1.0e-03), correlation 1.0000 (at least 0.995); worst clip: clip-7"
    ) in str(caught.value)
    assert str(caught.value).endswith("(parity.max_gap)")


def test_metrics_are_the_figures():
    assert GOOD.to_metrics() == {
        "parity/max_gap": 1e-3,
        "parity/mean_gap": 2e-4,
        "parity/p99_gap": 8e-4,
        "parity/correlation": 0.99999,
    }
