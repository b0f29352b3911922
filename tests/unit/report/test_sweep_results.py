"""The tables of a sweep, with numbers worked out by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from scipy import stats

from configs.sweep import MetricConfig, load_sweep
from launch.sweep_plan import plan_runs, results_of
from report.docs_tables import BLOCK, PAGE, RESULTS, with_tables
from report.seeds import estimate, interval_factor
from report.sweep_results import read_result, read_results, write_report
from tests.unit.launch.test_sweep import leave_behind, write_sweep

KEY = "test_after/accuracy"


def test_the_interval_is_students():
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.num, found.mean) == (3, 2.0)
    # t(0.975, 2) = 4.3027, s = 1, sqrt(3) = 1.7321
    assert found.half_width == pytest.approx(2.4841, abs=1e-4)
    # t = 2 sqrt(3) = 3.4641 with 2 degrees of freedom: p = 1 - t / sqrt(2 + t^2) = 0.0742
    assert found.p_value == pytest.approx(0.0742, abs=1e-4)
    assert interval_factor(2) == pytest.approx(8.985, abs=1e-3)


def test_differences_are_tested_as_a_paired_t_test():
    ours, base = [0.61, 0.58, 0.66, 0.59], [0.55, 0.57, 0.60, 0.58]
    found = estimate([a - b for a, b in zip(ours, base, strict=True)])
    assert found is not None
    assert found.p_value == pytest.approx(stats.ttest_rel(ours, base).pvalue)


def test_what_cannot_be_known_is_not_said():
    assert estimate([]) is None
    one = estimate([0.5])
    assert one is not None
    assert (one.mean, one.half_width, one.p_value) == (0.5, None, None)
    same = estimate([0.5, 0.5])
    assert same is not None
    assert (same.half_width, same.p_value) == (0.0, None)


@pytest.mark.parametrize(("at", "value"), [("last", 0.4), ("first", 0.0), ("max", 0.7), ("min", 0)])
def test_a_metric_names_its_row(tmp_path: Path, at: str, value: float):
    run = plan_runs(load_sweep(write_sweep(tmp_path)))[4]
    leave_behind(run, "finished")
    rows = [
        {"step": 2, "a": 0.7},
        {"step": 0, "a": 0.0},
        {"step": 5, "b": 1},
        {"step": 4, "a": 0.4},
    ]
    run.folder.metrics_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = [MetricConfig(key="a", at=at), MetricConfig(key="c")]
    (done,) = results_of([run])
    result = read_result(done, "a trial", metrics, None)
    assert list(result.values.values()) == [value]


def test_the_report_leaves_empty_what_is_missing(tmp_path: Path):
    three = ("[0, 1]", "[0, 1, 2]")
    sweep = load_sweep(write_sweep(tmp_path, three, ("accuracy}", "accuracy, label: WA}")))
    runs = plan_runs(sweep)
    by_title = {run.title: run for run in runs}
    for seed, (plain, untrained) in enumerate([(0.50, 0.61), (0.52, 0.62), (0.51, 0.66)]):
        leave_behind(by_title[f"plain/seed_{seed}"], "finished", **{KEY: plain})
        state = "running" if seed == 2 else "finished"
        leave_behind(by_title[f"untrained/seed_{seed}"], state, **{KEY: untrained})
    attempts = tmp_path / "attempts.jsonl"
    lines = [{"run": "plain/seed_0", "exit_code": code, "wall_s": 60.0} for code in (75, 0)]
    attempts.write_text("".join(json.dumps(line) + "\n" for line in lines))

    page_path, csv_path, figure_path = write_report(sweep, results_of(runs), attempts)
    rows = list(csv.DictReader(csv_path.open()))
    assert [(row["trial"], row["seed"], row[KEY]) for row in rows] == [
        ("plain", "0", "0.5"),
        ("plain", "1", "0.52"),
        ("plain", "2", "0.51"),
        ("untrained", "0", "0.61"),
        ("untrained", "1", "0.62"),
        ("untrained", "2", ""),
    ]
    assert [row["wall_s"] for row in rows[:2]] == ["120.0", ""]
    assert rows[5]["state"] == "half-done"
    page = page_path.read_text()
    assert "Unfinished: 5 of 6 runs are done." in page
    # s = 0.01 and 2.484 of it around 0.51; two seeds: s = 0.00707 and 8.985 of it.
    assert "| plain | 3 | 0.510 [0.485, 0.535] | 2m00s |" in page
    assert "| untrained | 2 | 0.615 [0.551, 0.679] |  |" in page
    # Differences 0.11 and 0.10: t = 0.105 / 0.005 = 21, and p = 2 / pi x atan(1 / 21).
    assert "| untrained | WA | 2 | +0.105 | +0.041 to +0.169 | 0.030 |" in page
    assert "above 2.5 standard deviations" in page
    assert figure_path.read_bytes().startswith(b"\x89PNG")

    block = f"before\n<!-- sweep: {sweep.folder.name} -->\nold\n<!-- end of sweep -->\nafter\n"
    once = with_tables(block, sweep.folder.parent)
    assert "| plain | 3 | 0.510 [0.485, 0.535] | 2m00s |" in once
    assert (
        "#### Differences to plain" in once and "Wall time of the 1 runs together: 2m00s." in once
    )
    assert "old" not in once and "results.png" not in once and once.endswith("-->\nafter\n")
    assert with_tables(once, sweep.folder.parent) == once


def test_the_tables_say_what_needs_no_listening(tmp_path: Path):
    sweep = load_sweep(write_sweep(tmp_path))
    runs = plan_runs(sweep)
    nulls = {"majority": 1 / 9, "loudness_length": 0.315, "without_f0": None, "measured": 0.928}
    bench = {"benchmark": True, "nulls": dict.fromkeys(nulls, 1.0)}
    for run in runs:
        if not run.row.startswith("prepare/"):
            leave_behind(run, "finished", **{KEY: 0.5})
            (run.folder.root / "evaluation").mkdir()
            sets = {"b": bench, "test": {"benchmark": False, "nulls": nulls | {"train": 9}}}
            summary = json.dumps({"sets": sets})
            (run.folder.root / "evaluation" / "summary.json").write_text(summary)
    line = "most frequent label 0.111, loudness and length 0.315,{} all measurements 0.928."
    page_path, _, _ = write_report(sweep, results_of(runs), tmp_path / "none")
    assert f"Accuracy without listening: {line.format('')}" in page_path.read_text()
    other = json.dumps({"sets": {"test": {"benchmark": False, "nulls": nulls | {"without_f0": 1}}}})
    for run in runs:
        if run.row == "untrained":
            (run.folder.root / "evaluation" / "summary.json").write_text(other)
    page_path, _, _ = write_report(sweep, results_of(runs), tmp_path / "none")
    page = page_path.read_text()
    assert f"Accuracy without listening (plain): {line.format('')}" in page
    assert f"Accuracy without listening (untrained): {line.format(' all but F0 1.000,')}" in page
    assert read_results(sweep.folder).nulls["untrained"]["without_f0"] == 1


def test_the_page_has_the_tables_of_the_results_that_are_kept():
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page
    assert sorted(found[2] for found in BLOCK.finditer(page)) == sorted(
        folder.name for folder in RESULTS.iterdir()
    )


def test_an_empty_sweep_has_a_report_too(tmp_path: Path):
    sweep = load_sweep(write_sweep(tmp_path))
    sweep.folder.mkdir(parents=True)
    page_path, _, _ = write_report(sweep, results_of(plan_runs(sweep)), tmp_path / "none")
    page = page_path.read_text()
    assert "| plain | 0 |  |  |" in page
    assert "| untrained | test_after/accuracy | 0 |  |  |  |" in page


def test_a_label_cannot_break_a_table(tmp_path: Path):
    label = "name: untrained\n    label: 'a | b'"
    sweep = load_sweep(write_sweep(tmp_path, ("name: untrained", label)))
    sweep.folder.mkdir(parents=True)
    page_path, _, _ = write_report(sweep, results_of(plan_runs(sweep)), tmp_path / "none")
    assert r"| a \| b | 0 |  |  |" in page_path.read_text()
