"""Tables of several runs: a sweep's own, and of runs that are named to be compared."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from report.data import read_run
from report.formats import number, percent
from report.run_facts import RunFacts, judged_terms
from report.sweep_results import VALUES, Block, SweepResults
from trainer.progress import duration
from trainer.run_folder import RunFolder

MAX_DIFFERENCES = 6
NOT_SETTINGS = ("name", "output_dir", "log.", "checkpoint.")
"""Beginnings of keys in which two runs may differ without being different experiments."""

CURVE = "rollout/accuracy"


def sweep_of(run: Path) -> Path | None:
    """Return the folder of the sweep that a run belongs to; None if it has no results there."""
    # SWEEP/TRIAL/seed_N, or SWEEP/prepare/STAGE/seed_N.
    for folder in run.resolve().parents[1:3]:
        if (folder / VALUES).is_file():
            return folder
    return None


def place_in_sweep(run: Path, sweep: Path, results: SweepResults) -> str:
    """Return which of a sweep's runs a folder is, in words."""
    trial, seed = run.resolve().parent.relative_to(sweep).as_posix(), run.resolve().name
    labels = {row.trial: row.label for row in results.runs}
    return f"{labels.get(trial, trial)}, {seed.replace('_', ' ')}, in the sweep {sweep.name}"


def sweep_runs(sweep: Path, results: SweepResults) -> Block:
    """Return the table of a sweep's runs.

    Each row has a `link` to the run's own report, empty if it was not written.
    """
    rows: list[list[str]] = []
    links: list[str] = []
    for run in results.runs:
        report = f"{run.trial}/seed_{run.seed}/report.html"
        links.append(report if (sweep / report).is_file() else "")
        wall = "" if run.wall_s is None else duration(run.wall_s)
        values = [number(run.values.get(name), 3) for name in results.heads]
        rows.append([run.label, str(run.seed), run.state, wall, *values])
    heads = ["trial", "seed", "state", "wall time", *results.heads]
    return {"heads": heads, "rows": rows, "links": links}


def sweep_picture(sweep: Path) -> str:
    """Return the figure of a sweep as a data URI; empty if there is none."""
    path = sweep / "results.png"
    if not path.is_file():
        return ""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def sweep_curves(sweep: Path, results: SweepResults) -> dict[str, list[tuple[float, float]]]:
    """Return trial -> (step, accuracy of the rollouts, mean over its seeds), by step.

    Steps that not every seed of the trial has are left out, and so are trials without rollouts.
    """
    means: dict[str, list[tuple[float, float]]] = {}
    for trial, runs in results.trials.items():
        folders = [sweep / trial / f"seed_{run.seed}" for run in runs if run.state == "done"]
        curves = [
            {
                int(row["step"]): float(row[CURVE])
                for row in RunFolder(folder).rows()
                if CURVE in row
            }
            for folder in folders
            if folder.is_dir()
        ]
        curves = [curve for curve in curves if curve]
        steps = sorted(set.intersection(*map(set, curves))) if curves else []
        if steps:
            means[runs[0].label] = [(s, statistics.fmean(c[s] for c in curves)) for s in steps]
    return means


def compared(run: Path, others: Sequence[Path]) -> Block:
    """Return a table of runs, this one first.

    Args:
        run: Folder of a run.
        others: Folders of other runs.

    Raises:
        UserError: One of them holds no run.
    """
    runs = [read_run(folder) for folder in (run, *others)]
    columns = _columns(runs)
    rows = [
        [str(facts.config["name"]), str(facts.status["state"])]
        + [columns[head][index] for head in columns]
        + ["" if facts is runs[0] else differences(runs[0].config, facts.config)]
        for index, facts in enumerate(runs)
    ]
    heads = ["run", "state", *columns, f"differs from {runs[0].config['name']} in"]
    return {"heads": heads, "rows": rows}


def _columns(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    """Return head -> cell of each run; columns that no run has are left out."""
    judged = dict.fromkeys(name for facts in runs for name in judged_terms(facts.config))
    before = [facts.last("test_before") for facts in runs]
    after = [facts.last("test_after") for facts in runs]
    times = [facts.seconds() for facts in runs]
    columns = {
        "seed": [str(facts.config["seed"]) for facts in runs],
        "steps": [str(facts.step) for facts in runs],
        "accuracy before": [percent(values.get("accuracy")) for values in before],
        "accuracy after": [percent(values.get("accuracy")) for values in after],
        "UA after": [percent(values.get("ua")) for values in after],
        **{f"{name} after": [number(x.get(f"{name}_mean"), 3) for x in after] for name in judged},
        "last evaluation": [percent(facts.last("eval").get("accuracy")) for facts in runs],
        "time of all steps": [duration(seconds) if seconds else "" for seconds in times],
    }
    return {head: cells for head, cells in columns.items() if any(cells)}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return the settings of the second configuration that differ from the first."""
    before, after = _flat("", first), _flat("", second)
    keys = [*after, *(key for key in before if key not in after)]
    changed = [
        f"{key}: {after.get(key, '(absent)')}"
        for key in keys
        if before.get(key) != after.get(key) and not key.startswith(NOT_SETTINGS)
    ]
    more = len(changed) - MAX_DIFFERENCES
    return "; ".join([*changed[:MAX_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    """Return dotted key -> leaf; lists of mappings are opened, other lists are leaves."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {prefix: value}
    dot = f"{prefix}." if prefix else ""
    return {
        k: leaf for name, item in value.items() for k, leaf in _flat(f"{dot}{name}", item).items()
    }
