"""What was to be decided before a sweep, with numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.load import ConfigError
from configs.sweep import HypothesisConfig, load_sweep
from report.hypotheses import conclusion, describe_power, hypothesis_blocks
from report.seeds import RunResult, detectable, detectable_margin, estimate
from report.sweep_results import SweepResults, read_results, result_blocks, write_results
from tests.unit.launch.test_sweep import write_sweep

KEY = "test_after/accuracy"

# t(0.975, 2) / sqrt(3) = 2.484 and t(0.95, 2) / sqrt(3) = 1.686, so the differences 1, 2, 3 have
# the intervals 2 +- 2.484 (95 %) and 2 +- 1.686 (90 %).
DIFFERENCES = [1.0, 2.0, 3.0]
OPEN = "not decided; more than {} and less than {} are excluded"


@pytest.mark.parametrize(
    ("expect", "margin", "differences", "says"),
    [
        ("more", 0, DIFFERENCES, OPEN.format("+4.484", "-0.484")),
        ("more", 0, [11.0, 12.0, 13.0], "more"),
        ("more", 0, [-11.0, -12.0, -13.0], "less"),
        ("less", 0, [-11.0, -12.0, -13.0], "less"),
        ("equal", 3.7, DIFFERENCES, "equal within 3.700"),
        ("equal", 3.6, DIFFERENCES, OPEN.format("+4.484", "-0.484")),
        ("equal", 5.0, [11.0, 12.0, 13.0], "more"),
        ("not_less", 0.1, DIFFERENCES, "not less by 0.100"),
        ("not_less", 0.1, [-3.0, -2.0, -1.0], OPEN.format("+0.484", "-4.484")),
        ("not_less", 0.1, [-13.0, -12.0, -11.0], "less"),
        ("more", 0, [2.0], "too few seeds"),
        ("more", 0, [], "too few seeds"),
    ],
)
def test_a_conclusion_says_what_the_interval_supports(
    expect: str, margin: float, differences: list[float], says: str
):
    hypothesis = HypothesisConfig(trial="a", metric=KEY, expect=expect, margin=margin)
    assert conclusion(hypothesis, estimate(differences)) == says


def test_the_detectable_difference_is_that_of_the_power_of_80_percent():
    # (t(0.975, 2) + t(0.8, 2)) * 1 / sqrt(3) = (4.3027 + 1.0607) / 1.7321
    assert detectable(1.0, 3) == pytest.approx(3.0966, abs=1e-4)
    # An independent power calculation, rounded: 3.2, 1.7 and 1.1 for 3, 5 and 8 seeds.
    assert detectable(1.0, 5) == pytest.approx(1.662, abs=1e-3)
    assert detectable(1.0, 8) == pytest.approx(1.153, abs=1e-3)


@pytest.mark.parametrize(("sides", "margin"), [(1, 1.374), (2, 1.639)])
def test_a_detectable_margin_is_found_in_80_percent(sides: int, margin: float):
    """(t(0.95, 4) + t(0.8 or 0.9, 4)) / sqrt(5) = (2.1318 + 0.9410 or 1.5332) / 2.2361; and by
    simulation no difference is found within it in about 80 of 100 experiments."""
    assert detectable_margin(1.0, 5, sides=sides) == pytest.approx(margin, abs=1e-3)
    expect = "equal" if sides == 2 else "not_less"
    hypothesis = HypothesisConfig(trial="a", metric=KEY, expect=expect, margin=margin)
    rng = np.random.default_rng(0)
    says = [conclusion(hypothesis, estimate(rng.normal(size=5).tolist())) for _ in range(1000)]
    within = sum(one.startswith(("equal", "not less")) for one in says)
    assert 750 < within < 850


def runs(trial: str, values: list[float]) -> list[RunResult]:
    """Return the runs of one trial, a seed a value."""
    return [
        RunResult(trial, trial.upper(), seed, "done", None, {KEY: value})
        for seed, value in enumerate(values)
    ]


def test_a_page_begins_with_what_was_to_be_decided(tmp_path: Path):
    results = SweepResults(
        name="mine",
        num_seeds=3,
        concurrency=1,
        baseline="base",
        heads={KEY: "accuracy"},
        runs=[*runs("base", [0.0, 0.0, 0.0]), *runs("ours", DIFFERENCES)],
        hypotheses=(HypothesisConfig(trial="ours", metric=KEY, expect="not_less", margin=0.1),),
    )
    write_results(tmp_path, results)
    assert read_results(tmp_path) == results
    table = next(block for block in result_blocks(results) if "rows" in block)
    expected = ["OURS against BASE", "accuracy: at most 0.100 less", "3"]
    expected += ["+2.000", "-0.484 to +4.484", "3.097", "not less by 0.100"]
    assert table["rows"] == [expected]
    assert hypothesis_blocks([], {}, "base", {}) == []


def test_an_older_results_file_has_no_hypotheses(tmp_path: Path):
    results = SweepResults("mine", 1, 1, "", {KEY: "accuracy"}, runs("ours", [0.5]))
    write_results(tmp_path, results)
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace(',\n  "hypotheses": []', ""))
    assert "hypotheses" not in path.read_text()
    assert read_results(tmp_path) == replace(results, hypotheses=())


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("{trial: fully, metric: test_after/accuracy}", "hypotheses.0.trial: found fully"),
        ("{trial: full, against: full, metric: test_after/accuracy}", "with itself"),
        ("{trial: full, metric: accuracy}", "hypotheses.0.metric: found accuracy; name one of"),
        ("{trial: full, metric: test_after/accuracy, expect: equal}", "need one"),
        ("{trial: full, metric: test_after/accuracy, margin: 0.1}", "have none"),
    ],
)
def test_a_hypothesis_that_cannot_be_decided_is_refused(tmp_path: Path, lines: str, says: str):
    path = write_sweep(tmp_path)
    path.write_text(path.read_text() + f"\nhypotheses:\n  - {lines}\n")
    with pytest.raises(ConfigError, match="hypotheses") as refused:
        load_sweep(path)
    assert says in str(refused.value)


def test_a_dry_run_says_what_the_seeds_can_show(tmp_path: Path):
    rows = (
        "{trial: untrained, metric: test_after/accuracy, sd: 0.01}",
        "{trial: untrained, metric: test_after/accuracy, expect: equal, margin: 0.03, sd: 0.01}",
        "{trial: plain, against: untrained, metric: test_after/accuracy}",
    )
    added = ("baseline: plain\n", f"baseline: plain\nhypotheses: [{', '.join(rows)}]\n")
    seeds = ("[0, 1]", "[0, 1, 2, 3, 4]")
    path = write_sweep(tmp_path, added, seeds)
    assert describe_power(load_sweep(path)) == [
        "decides   untrained against plain, test_after/accuracy: more; "
        "5 seeds with an sd of 0.010 have a power of 80 % for a difference of 0.017",
        "decides   untrained against plain, test_after/accuracy: equal within 0.030; "
        "5 seeds with an sd of 0.010 have a power of 80 % for a margin of 0.016",
        "decides   plain against untrained, test_after/accuracy: more",
    ]
