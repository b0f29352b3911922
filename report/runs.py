"""Tables of several runs: a sweep's own, and of runs that are named to be compared."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from report.data import read_run
from report.run_facts import RunFacts, judged_terms
from trainer.progress import duration

RESULTS = "results.csv"
MAX_DIFFERENCES = 6
NOT_SETTINGS = ("name", "output_dir", "log.", "checkpoint.")
"""Beginnings of keys in which two runs may differ without being different experiments."""

CURVE = "rollout/accuracy"

Block = dict[str, Any]
"""A piece of a page: `heading` or `text`, or `heads` and `rows` of a table."""


def sweep_of(run: Path) -> Path | None:
    """Return the folder of the sweep that a run belongs to; None if it has no results there."""
    # SWEEP/TRIAL/seed_N, or SWEEP/prepare/STAGE/seed_N.
    for folder in run.resolve().parents[1:3]:
        if (folder / RESULTS).is_file():
            return folder
    return None


def place_in_sweep(run: Path, sweep: Path) -> str:
    """Return which of a sweep's runs a folder is, in words."""
    trial, seed = run.resolve().parent.relative_to(sweep).as_posix(), run.resolve().name
    labels = {row["trial"]: row["label"] for row in _read_results(sweep)}
    return f"{labels.get(trial, trial)}, {seed.replace('_', ' ')}"


def _read_results(sweep: Path) -> list[dict[str, str]]:
    with (sweep / RESULTS).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sweep_blocks(sweep: Path) -> list[Block]:
    """Return the headings, texts and tables of a sweep's results.md; none if it is not there."""
    path = sweep / "results.md"
    return markdown_blocks(path.read_text(encoding="utf-8")) if path.is_file() else []


def markdown_blocks(text: str) -> list[Block]:
    """Return a page of our own in pieces: headings, paragraphs and tables; pictures are left out.

    Args:
        text: Markdown as `report.sweep_results` writes it.
    """
    blocks: list[Block] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = part.strip().splitlines()
        if lines[0].startswith("#"):
            blocks.append({"heading": lines[0].lstrip("# ")})
        elif lines[0].startswith("|"):
            heads, _, *rows = [_cells(line) for line in lines]
            blocks.append({"heads": heads, "rows": rows})
        elif not lines[0].startswith("!["):
            blocks.append({"text": " ".join(lines).replace("**", "")})
    return blocks


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def sweep_runs(sweep: Path) -> tuple[Block, int, int]:
    """Return the table of a sweep's runs, how many are done, and how many there are.

    Each row has a `link` to the run's own report, empty if it was not written.
    """
    found = _read_results(sweep)
    names = [name for name in (found[0] if found else {}) if name not in _NOT_METRICS]
    rows: list[list[str]] = []
    links: list[str] = []
    for run in found:
        report = f"{run['trial']}/seed_{run['seed']}/report.html"
        links.append(report if (sweep / report).is_file() else "")
        wall = duration(float(run["wall_s"])) if run["wall_s"] else ""
        values = [f"{float(run[name]):.3f}" if run[name] else "" for name in names]
        rows.append([run["label"], run["seed"], run["state"], wall, *values])
    heads = ["trial", "seed", "state", "wall time", *names]
    num_done = sum(run["state"] == "done" for run in found)
    return {"heads": heads, "rows": rows, "links": links}, num_done, len(found)


_NOT_METRICS = ("trial", "label", "seed", "state", "wall_s")


def sweep_picture(sweep: Path) -> str:
    """Return the figure of a sweep as a data URI; empty if there is none."""
    path = sweep / "results.png"
    if not path.is_file():
        return ""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def sweep_curves(sweep: Path) -> dict[str, list[tuple[float, float]]]:
    """Return trial -> (step, accuracy of the rollouts, mean over its seeds), by step.

    Steps that not every seed of the trial has are left out, and so are trials without rollouts.
    """
    curves: dict[str, list[dict[int, float]]] = {}
    for run in _read_results(sweep):
        folder = sweep / run["trial"] / f"seed_{run['seed']}"
        if run["state"] == "done" and folder.is_dir():
            rows = read_run(folder).rows
            curve = {int(row["step"]): float(row[CURVE]) for row in rows if CURVE in row}
            if curve:
                curves.setdefault(run["label"], []).append(curve)
    means: dict[str, list[tuple[float, float]]] = {}
    for label, seeds in curves.items():
        steps = sorted(set.intersection(*map(set, seeds)))
        if steps:
            means[label] = [
                (step, float(np.mean([seed[step] for seed in seeds]))) for step in steps
            ]
    return means


def compared(run: Path, others: Sequence[Path]) -> Block:
    """Return a table of runs, this one first.

    Args:
        run: Folder of a run.
        others: Folders of other runs.

    Raises:
        UserError: One of them holds no run.
    """
    found = [read_run(folder) for folder in (run, *others)]
    columns = _columns(found)
    rows = [
        [str(facts.config["name"]), str(facts.status["state"])]
        + [columns[head][index] for head in columns]
        + ["" if facts is found[0] else differences(found[0].config, facts.config)]
        for index, facts in enumerate(found)
    ]
    heads = ["run", "state", *columns, f"differs from {found[0].config['name']} in"]
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
        "accuracy before": [_share(found.get("accuracy")) for found in before],
        "accuracy after": [_share(found.get("accuracy")) for found in after],
        "UA after": [_share(found.get("ua")) for found in after],
        **{f"{name} after": [_plain(x.get(f"{name}_mean")) for x in after] for name in judged},
        "last evaluation": [_share(facts.last("eval").get("accuracy")) for facts in runs],
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


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
