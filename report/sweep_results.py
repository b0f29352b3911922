"""What a sweep has found: results.md, results.csv and results.png."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from configs.sweep import MetricConfig, SweepConfig, reported
from data.files import read_appended, write_atomically
from report.sweep_figure import Row, draw_results
from trainer.progress import duration
from trainer.run_folder import RunFolder

CONFIDENCE = 0.95


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
class RunResult:
    """What one run came to."""

    seed: int
    state: str
    """`done`, or why it has no values."""
    values: Mapping[str, float]
    """Column -> value; without those that the run does not have."""
    wall_s: float | None
    """Time of all its executions in this sweep; None if it was not executed here."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and what is known about it."""

    num: int
    mean: float
    half_width: float | None
    """Of the 95 % interval; None with fewer than two values."""
    p_value: float | None = None
    """Two-sided, that the mean is zero; None if it cannot be tested."""


def write_report(sweep: SweepConfig, runs: Sequence[SweepRun], attempts: Path) -> list[Path]:
    """Write the tables and the figure of what is done so far.

    Args:
        sweep: checked.
        runs: all of it, whatever was selected.
        attempts: record of the executions.

    Returns:
        The files.
    """
    wall_s = read_wall_times(attempts)
    shown = dict(reported(sweep))
    results: dict[str, list[RunResult]] = {row: [] for row in shown}
    for run in runs:
        if run.row in results:
            results[run.row].append(read_result(run, sweep.metrics, wall_s.get(run.title)))
    labels = {row: stage.label or stage.name for row, stage in shown.items()}
    folder = sweep.folder
    write_atomically(folder / "results.csv", results_csv(sweep.metrics, results, labels))
    write_atomically(folder / "results.md", results_page(sweep, results, labels))
    panels = [
        (head(metric), {labels[row]: _drawn(found, metric) for row, found in results.items()})
        for metric in sweep.metrics[:3]
    ]
    draw_results(sweep.name, panels, folder / "results.png")
    return [folder / f"results.{suffix}" for suffix in ("md", "csv", "png")]


def _drawn(results: Sequence[RunResult], metric: MetricConfig) -> Row:
    values = values_of(results, metric)
    found = estimate(values)
    return (values, None, None) if found is None else (values, found.mean, found.half_width)


def head(metric: MetricConfig) -> str:
    """Return the head of a metric's column."""
    return metric.label or metric.key


def column(metric: MetricConfig) -> str:
    """Return the name of a metric's column in the CSV: the key, and which row if not the last."""
    return metric.key if metric.at == "last" else f"{metric.key}@{metric.at}"


def read_wall_times(attempts: Path) -> dict[str, float]:
    """Return title of a run -> wall time of all its executions in seconds."""
    total: dict[str, float] = defaultdict(float)
    for record in read_appended(attempts):
        total[record["run"]] += record["wall_s"]
    return dict(total)


def read_result(run: SweepRun, metrics: Sequence[MetricConfig], wall_s: float | None) -> RunResult:
    """Return the values of a run; a run that is not done has none."""
    values: dict[str, float] = {}
    if run.state == "done":
        rows = run.folder.rows()
        for metric in metrics:
            series = [float(row[metric.key]) for row in rows if metric.key in row]
            if series:
                picks = {"last": series[-1], "first": series[0]}
                extremes = {"max": max(series), "min": min(series)}
                values[column(metric)] = (picks | extremes)[metric.at]
    return RunResult(run.seed, run.state, values, wall_s)


def values_of(results: Sequence[RunResult], metric: MetricConfig) -> list[float]:
    """Return the values of the seeds that have one."""
    return [r.values[column(metric)] for r in results if column(metric) in r.values]


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return mean, 95 % interval and the test against zero.

    Applied to the differences of paired runs, this is the paired t-test.

    Args:
        values: one per seed.

    Returns:
        None without values. Equal values have an interval of width 0 and no test.

    Source: Student's t: mean +- t(0.975, n - 1) s / sqrt(n), with the unbiased s.
    """
    num = len(values)
    if num == 0:
        return None
    mean = statistics.fmean(values)
    if num == 1:
        return Estimate(1, mean, None)
    half_width = interval_factor(num) * statistics.stdev(values)
    if len(set(values)) == 1:
        return Estimate(num, mean, 0.0)
    t = mean * math.sqrt(num) / statistics.stdev(values)
    return Estimate(num, mean, half_width, 2 * float(stats.t.sf(abs(t), num - 1)))


def interval_factor(num: int) -> float:
    """Return half the width of the interval in standard deviations over the seeds.

    Args:
        num: seeds, at least 2.
    """
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, num - 1)) / math.sqrt(num)


def paired(
    ours: Sequence[RunResult], base: Sequence[RunResult], metric: MetricConfig
) -> list[float]:
    """Return ours minus the baseline's for every seed that both have."""
    name = column(metric)
    of_base = {r.seed: r.values[name] for r in base if name in r.values}
    return [
        r.values[name] - of_base[r.seed] for r in ours if name in r.values and r.seed in of_base
    ]


def results_csv(
    metrics: Sequence[MetricConfig],
    results: Mapping[str, Sequence[RunResult]],
    labels: Mapping[str, str],
) -> str:
    """Return one line per run; what is missing is empty."""
    names = [column(metric) for metric in metrics]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "label", "seed", "state", "wall_s", *names])
    for row, found in results.items():
        for result in found:
            values = [result.values.get(name, "") for name in names]
            wall_s = "" if result.wall_s is None else result.wall_s
            writer.writerow([row, labels[row], result.seed, result.state, wall_s, *values])
    return text.getvalue()


def results_page(
    sweep: SweepConfig,
    results: Mapping[str, Sequence[RunResult]],
    labels: Mapping[str, str],
) -> str:
    """Return the page with the means and, if there is a baseline, the differences to it."""
    lines = [f"# {sweep.name}", ""]
    num_done = sum(result.state == "done" for found in results.values() for result in found)
    num_runs = sum(map(len, results.values()))
    if num_done < num_runs:
        lines += [f"**Unfinished: {num_done} of {num_runs} runs are done.**", ""]
    lines += _means_table(sweep, results, labels)
    if sweep.baseline:
        lines += _differences_table(sweep, results, labels)
    return "\n".join([*lines, "![results](results.png)", ""])


def _means_table(
    sweep: SweepConfig,
    results: Mapping[str, Sequence[RunResult]],
    labels: Mapping[str, str],
) -> list[str]:
    lines = [
        f"Mean over the finished seeds ({len(sweep.seeds)} planned), in brackets the 95 % interval "
        "(Student's t over seeds). Empty: not measured. Wall time: mean per run, start-up and "
        f"repeated parts included, up to {sweep.concurrency} at a time.",
        "",
        f"| trial | seeds | {' | '.join(map(head, sweep.metrics))} | wall time |",
        f"|---|--:|{'--:|' * (len(sweep.metrics) + 1)}",
    ]
    for row, found in results.items():
        num_done = sum(result.state == "done" for result in found)
        cells = [_cell(estimate(values_of(found, m)), num_done) for m in sweep.metrics]
        times = [r.wall_s for r in found if r.state == "done" and r.wall_s is not None]
        cells.append(duration(statistics.fmean(times)) if times else "")
        lines.append(f"| {labels[row]} | {num_done} | {' | '.join(cells)} |")
    return [*lines, ""]


def _cell(found: Estimate | None, num_done: int) -> str:
    """Return a mean with its interval, and how many seeds have it if not all that are done."""
    if found is None:
        return ""
    text = _number(found.mean)
    if found.half_width is not None:
        low, high = found.mean - found.half_width, found.mean + found.half_width
        text += f" [{_number(low)}, {_number(high)}]"
    return text if found.num == num_done else f"{text} (n = {found.num})"


def _differences_table(
    sweep: SweepConfig,
    results: Mapping[str, Sequence[RunResult]],
    labels: Mapping[str, str],
) -> list[str]:
    rows: list[str] = []
    num_tests = 0
    for row, found in results.items():
        for metric in sweep.metrics if row != sweep.baseline else []:
            differences = paired(found, results[sweep.baseline], metric)
            result = estimate(differences)
            if result is None:
                rows.append(f"| {labels[row]} | {head(metric)} | 0 | | | |")
                continue
            low_high = ""
            if result.half_width is not None:
                low, high = result.mean - result.half_width, result.mean + result.half_width
                low_high = f"{_number(low, sign=True)} to {_number(high, sign=True)}"
            p = "" if result.p_value is None else f"{result.p_value:.3f}"
            num_tests += result.p_value is not None
            mean = _number(result.mean, sign=True)
            rows.append(
                f"| {labels[row]} | {head(metric)} | {result.num} | {mean} | {low_high} | {p} |"
            )
    return [
        f"## Differences to {labels[sweep.baseline]}",
        "",
        "Paired by seed: mean of the differences, its 95 % interval, and p of the two-sided "
        f"paired t-test over n seeds. {_caution(len(sweep.seeds))} {num_tests} tests, not "
        "corrected: about one in twenty falls below 0.05 by chance alone.",
        "",
        "| trial | metric | n | difference | 95 % interval | p |",
        "|---|---|--:|--:|--:|--:|",
        *rows,
        "",
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


def _number(value: float, *, sign: bool = False) -> str:
    digits = 3 if abs(value) < 10 else 1
    return f"{value:{'+' if sign else ''}.{digits}f}"
