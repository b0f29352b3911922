"""Tables of several runs in a report: runs side by side, and a sweep's."""

from __future__ import annotations

import base64
from pathlib import Path

from launch.report import main
from report.page import write_report
from report.runs import differences
from report.sweep_results import RunResult, SweepResults, read_results, write_results
from tests.unit.report.test_page import make_run, sample, words_of


def test_runs_side_by_side(tmp_path: Path):
    run = make_run(tmp_path, [sample(0)])
    other = make_run(
        tmp_path, [sample(0)], name="other", overrides=("seed=3", "rewards.trust.enabled=false")
    )
    assert main([str(run), "--compare", str(other)]) == 0
    words = words_of((run / "report.html").read_text())
    row = "finished {} 2 40.0 % 65.0 % 6s"
    assert f"mine {row.format(0)} other {row.format(3)}" in words
    assert "seed: 3; rewards.trust.enabled: False" in words


def test_differences_are_cut_when_there_are_many():
    first = {"a": {str(n): n for n in range(9)}, "name": "x"}
    second = {"a": {str(n): -n for n in range(9)}, "name": "y"}
    listed = differences(first, second)
    assert listed.startswith("a.1: -1; a.2: -2") and listed.endswith("and 2 more")
    assert differences(first, {**first, "name": "y"}) == ""
    assert differences({"t": [{"w": 1}]}, {"t": [{"w": 2}]}) == "t.0.w: 2"


def make_sweep(folder: Path) -> Path:
    """A sweep of two trials with two seeds, three of the runs done."""
    run = make_run(folder, [sample(0)], name="sweep/full/seed_0")
    sweep = folder / "runs" / "sweep"
    (sweep / "results.png").write_bytes(b"a picture")
    done = [
        ("base", "base", 0, 0.5),
        ("full", "with | trust", 0, 0.6),
        ("full", "with | trust", 1, 0.8),
    ]
    runs = [
        RunResult(trial, label, seed, "done", 90.0, {"test_after/accuracy": value})
        for trial, label, seed, value in done
    ]
    runs.insert(1, RunResult("base", "base", 1, "new", None, {}))
    heads = {"test_after/accuracy": "WA"}
    write_results(sweep, SweepResults("mine", 2, 1, "base", heads, runs))
    return run


def test_the_tables_of_a_sweep_are_in_its_own_page(tmp_path: Path):
    run = make_sweep(tmp_path)
    write_report(run)
    sweep = run.parents[1]
    assert main([str(sweep)]) == 0
    page = (sweep / "report.html").read_text()
    words = words_of(page)
    assert "A sweep: 3 of 4 runs are done. Unfinished: 3 of 4 runs are done." in words
    # 12.706 x 0.1414 / sqrt(2) = 1.271 around 0.7
    assert (
        "trial seeds WA wall time base 1 0.500 1m30s with | trust 2 0.700 [-0.571, 1.971]" in words
    )
    assert "Differences to base Paired by seed" in words
    assert "with | trust WA 1 +0.100" in words
    assert "base 1 new with | trust 0 done 1m30s 0.600 with | trust 1 done 1m30s 0.800" in words
    assert '<a href="full/seed_0/report.html">with | trust</a>' in page
    assert "data:image/png;base64," + base64.b64encode(b"a picture").decode() in page
    assert 'aria-label="accuracy of the rollouts, mean over seeds"' in page


def test_a_run_of_a_sweep_shows_the_sweeps_tables(tmp_path: Path):
    words = words_of(write_report(make_sweep(tmp_path)).read_text())
    assert "This run is with | trust, seed 0, in the sweep sweep:" in words
    assert "with | trust 2 0.700 [-0.571, 1.971]" in words


def test_results_are_read_back_as_they_were_written(tmp_path: Path):
    sweep = make_sweep(tmp_path).parents[1]
    results = read_results(sweep)
    assert (results.name, results.baseline, results.num_done) == ("mine", "base", 3)
    assert results.runs[1] == RunResult("base", "base", 1, "new", None, {})
    assert results.runs[3].values == {"test_after/accuracy": 0.8}
    written = [(sweep / name).read_bytes() for name in ("results.csv", "results.json")]
    write_results(sweep, results)
    assert [(sweep / name).read_bytes() for name in ("results.csv", "results.json")] == written


def test_results_of_an_older_version_have_means_under_the_names_of_the_columns(tmp_path: Path):
    sweep = make_sweep(tmp_path).parents[1]
    (sweep / "results.json").unlink()
    assert main([str(sweep)]) == 0
    words = words_of((sweep / "report.html").read_text())
    assert "repeated parts included. trial seeds test_after/accuracy wall time base 1" in words
    assert "Differences" not in words
