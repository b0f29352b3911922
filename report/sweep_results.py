"""What a sweep has come to: results.csv and results.json, and results.md and results.png of them.

The CSV holds the values of the runs, the JSON how to read them; every page is made from the two.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from configs.sweep import HypothesisConfig, MetricConfig, SweepConfig, reported
from data.files import read_appended, write_atomically
from evaluation.files import FOLDER
from evaluation.nulls import NULLS
from report.formats import csv_text, from_csv_text, interval, measured, number
from report.hypotheses import hypothesis_blocks
from report.render import render
from report.seeds import Estimate, RunResult, estimate, interval_factor, paired, values_of
from report.sweep_figure import draw_results
from trainer.progress import duration
from trainer.run_folder import RunFolder

VALUES, SETTINGS = "results.csv", "results.json"
FACTS = ("trial", "label", "seed", "state", "wall_s")
"""First columns of results.csv; the others are metrics."""

Block = dict[str, Any]
"""A piece of a page: `heading`; `text`, which may be `strong`; or `heads` and `rows` of a table,
whose first `num_texts` columns are words."""


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep, as far as its results go."""

    row: str
    """Its stage or trial."""
    seed: int
    title: str
    """As in the record of the executions."""
    state: str
    """`done`, or why it has no values."""
    folder: RunFolder


@dataclass(frozen=True)
class SweepResults:
    """What all runs came to, and how to read it: results.json without the runs."""

    name: str
    num_seeds: int
    """Planned for every trial."""
    concurrency: int | None
    """Runs at a time; None where an older version did not write it down."""
    baseline: str
    """Trial that the others are compared with; empty = no comparison."""
    heads: Mapping[str, str]
    """Column of a metric -> its head in tables."""
    runs: Sequence[RunResult]
    hypotheses: Sequence[HypothesisConfig] = ()
    """What was to be decided, in order."""
    nulls: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Trial -> accuracies that need no listening, on the clips that its first finished run was
    tested on; without trials that have none."""

    @property
    def trials(self) -> dict[str, list[RunResult]]:
        """Trial -> its runs, in the order of the tables."""
        trials: dict[str, list[RunResult]] = defaultdict(list)
        for run in self.runs:
            trials[run.trial].append(run)
        return dict(trials)

    @property
    def num_done(self) -> int:
        """How many runs have values."""
        return sum(run.state == "done" for run in self.runs)


def write_report(sweep: SweepConfig, runs: Sequence[SweepRun], attempts: Path) -> list[Path]:
    """Write the tables and the figure of what is done so far.

    Args:
        sweep: checked.
        runs: all of it, whatever was selected.
        attempts: record of the executions.

    Returns:
        The files for people.
    """
    wall_s = read_wall_times(attempts)
    results = SweepResults(
        name=sweep.name,
        num_seeds=len(sweep.seeds),
        concurrency=sweep.concurrency,
        baseline=sweep.baseline,
        heads={column(metric): metric.label or metric.key for metric in sweep.metrics},
        runs=[
            read_result(run, stage.label or stage.name, sweep.metrics, wall_s.get(run.title))
            for row, stage in reported(sweep)
            for run in runs
            if run.row == row
        ],
        hypotheses=tuple(sweep.hypotheses),
        nulls={
            row: nulls
            for row, _ in reported(sweep)
            for run in reversed(runs)
            if run.row == row and (nulls := read_nulls(run))
        },
    )
    folder = sweep.folder
    write_results(folder, results)
    page = render("sweep_results.md.j2", name=results.name, depth=2, blocks=result_blocks(results))
    write_atomically(folder / "results.md", page)
    draw_results(results.name, _panels(results), folder / "results.png")
    return [folder / f"results.{suffix}" for suffix in ("md", "csv", "png")]


def column(metric: MetricConfig) -> str:
    """Return the name of a metric's column in the CSV: the key, and which row if not the last."""
    return metric.key if metric.at == "last" else f"{metric.key}@{metric.at}"


def read_wall_times(attempts: Path) -> dict[str, float]:
    """Return title of a run -> wall time of all its executions in seconds."""
    total: dict[str, float] = defaultdict(float)
    for record in read_appended(attempts):
        total[record["run"]] += record["wall_s"]
    return dict(total)


def read_result(
    run: SweepRun, label: str, metrics: Sequence[MetricConfig], wall_s: float | None
) -> RunResult:
    """Return the values of a run; a run that is not done has none."""
    values: dict[str, float] = {}
    rows = run.folder.rows() if run.state == "done" else []
    for metric in metrics:
        series = [float(row[metric.key]) for row in rows if metric.key in row]
        if series:
            picks = {"last": series[-1], "first": series[0], "max": max(series), "min": min(series)}
            values[column(metric)] = picks[metric.at]
    return RunResult(run.row, label, run.seed, run.state, wall_s, values)


def read_nulls(run: SweepRun) -> dict[str, float | None]:
    """Return the baselines without listening of a run's test split; empty where it has none."""
    path = run.folder.root / FOLDER / "summary.json"
    if run.state != "done" or not path.is_file():
        return {}
    sets = json.loads(path.read_text(encoding="utf-8"))["sets"].values()
    nulls = next((s["nulls"] for s in sets if s.get("nulls") and not s["benchmark"]), None)
    return {name: nulls[name] for name in NULLS} if nulls else {}


def write_results(folder: Path, results: SweepResults) -> None:
    """Write results.csv, one line per run with what is missing left empty, and results.json."""
    text = io.StringIO()
    # Texts in quotes: else a carriage return in one would end its line.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([*FACTS, *map(csv_text, results.heads)])
    for run in results.runs:
        wall_s = "" if run.wall_s is None else run.wall_s
        values = [run.values.get(name, "") for name in results.heads]
        names = map(csv_text, (run.trial, run.label))
        writer.writerow([*names, run.seed, csv_text(run.state), wall_s, *values])
    write_atomically(folder / VALUES, text.getvalue())
    settings = {key: value for key, value in vars(results).items() if key != "runs"}
    settings["hypotheses"] = [asdict(hypothesis) for hypothesis in results.hypotheses]
    write_atomically(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")


def read_results(folder: Path) -> SweepResults:
    """Return the results of a sweep, also of an older version, which wrote no results.json."""
    with (folder / VALUES).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        reader.fieldnames = [from_csv_text(name) for name in reader.fieldnames or ()]
        runs = [
            RunResult(
                trial=from_csv_text(row["trial"]),
                label=from_csv_text(row["label"]),
                seed=int(row["seed"]),
                state=from_csv_text(row["state"]),
                wall_s=float(row["wall_s"]) if row["wall_s"] else None,
                values={k: float(v) for k, v in row.items() if k not in FACTS and v},
            )
            for row in reader
        ]
    path = folder / SETTINGS
    settings: dict[str, Any] = {
        "name": folder.name,
        "num_seeds": len({run.seed for run in runs}),
        "concurrency": None,
        "baseline": "",
        "heads": {name: name for name in reader.fieldnames or () if name not in FACTS},
    }
    if path.is_file():
        settings = json.loads(path.read_text(encoding="utf-8"))
        rows = settings.get("hypotheses", ())
        settings["hypotheses"] = tuple(HypothesisConfig(**fields) for fields in rows)
    return SweepResults(**settings, runs=runs)


def result_blocks(results: SweepResults) -> list[Block]:
    """Return the means and, if there is a baseline, the differences to it."""
    blocks: list[Block] = []
    if results.num_done < len(results.runs):
        unfinished = f"Unfinished: {results.num_done} of {len(results.runs)} runs are done."
        blocks.append({"text": unfinished, "strong": True})
    blocks += hypothesis_blocks(results.hypotheses, results.trials, results.baseline, results.heads)
    blocks += _means(results)
    return blocks + _differences(results) if results.baseline else blocks


def _means(results: SweepResults) -> list[Block]:
    at_a_time = f", up to {results.concurrency} at a time" if results.concurrency else ""
    text = (
        f"Mean over the finished seeds ({results.num_seeds} planned), in brackets the 95 % "
        "interval (Student's t over seeds). Empty: not measured. Wall time: mean per run, start-up "
        f"and repeated parts included{at_a_time}."
    )
    rows: list[list[str]] = []
    for runs in results.trials.values():
        done = [run for run in runs if run.state == "done"]
        cells = [_mean_cell(estimate(values_of(runs, name)), len(done)) for name in results.heads]
        times = [run.wall_s for run in done if run.wall_s is not None]
        wall = duration(statistics.fmean(times)) if times else ""
        rows.append([runs[0].label, str(len(done)), *cells, wall])
    heads = ["trial", "seeds", *results.heads.values(), "wall time"]
    table = {"heads": heads, "rows": rows, "num_texts": 1}
    return [{"text": text, "strong": False}, table, *_without_listening(results)]


def _without_listening(results: SweepResults) -> Iterator[Block]:
    """Yield a line for all trials that were tested on the same clips."""
    lines: dict[str, list[str]] = defaultdict(list)
    for trial, nulls in results.nulls.items():
        there = {NULLS[name]: value for name, value in nulls.items() if value is not None}
        line = ", ".join(f"{label} {measured(value)}" for label, value in there.items())
        lines[line].append(results.trials[trial][0].label)
    for line, labels in lines.items():
        of = "" if len(lines) == 1 else f" ({', '.join(labels)})"
        yield {"text": f"Accuracy without listening{of}: {line}.", "strong": False}


def _mean_cell(mean: Estimate | None, num_done: int) -> str:
    """Return a mean with its interval, and how many seeds have it if not all that are done."""
    if mean is None:
        return ""
    text = measured(mean.mean) + (f" {interval(*mean.ends)}" if mean.ends else "")
    return text if mean.num == num_done else f"{text} (n = {mean.num})"


def _differences(results: SweepResults) -> list[Block]:
    trials = results.trials
    base = trials[results.baseline]
    rows: list[list[str]] = []
    for trial, runs in trials.items():
        for name, head in results.heads.items() if trial != results.baseline else ():
            difference = estimate(paired(runs, base, name))
            cells = ["0", "", "", ""]
            if difference:
                low_high = " to ".join(measured(end, sign=True) for end in difference.ends or ())
                mean, p = measured(difference.mean, sign=True), number(difference.p_value, 3)
                cells = [str(difference.num), mean, low_high, p]
            rows.append([runs[0].label, head, *cells])
    num_tests = sum(bool(row[-1]) for row in rows)
    text = (
        "Paired by seed: mean of the differences, its 95 % interval, and p of the two-sided "
        f"paired t-test over n seeds. {_caution(results.num_seeds)} {num_tests} tests, not "
        "corrected: about one in twenty falls below 0.05 by chance alone."
    )
    heads = ["trial", "metric", "n", "difference", "95 % interval", "p"]
    return [
        {"heading": f"Differences to {base[0].label}"},
        {"text": text, "strong": False},
        {"heads": heads, "rows": rows, "num_texts": 2},
    ]


def _caution(num_seeds: int) -> str:
    """Return what so many seeds can show at best."""
    if num_seeds < 2:
        return "One seed shows no difference: there is no interval and no test."
    return (
        f"{num_seeds} seeds show little: a difference reaches p < 0.05 only if its mean is above "
        f"{interval_factor(num_seeds):.1f} standard deviations of the differences, and a larger p "
        "does not mean that the trials are equal."
    )


def _panels(results: SweepResults) -> list[Any]:
    """Return what the figure shows of the first three metrics."""
    panels: list[Any] = []
    for name, head in list(results.heads.items())[:3]:
        rows: dict[str, Any] = {}
        for runs in results.trials.values():
            values = values_of(runs, name)
            mean = estimate(values)
            ends = (mean.mean, mean.half_width) if mean else (None, None)
            rows[runs[0].label] = (values, *ends)
        panels.append((head, rows))
    return panels
