"""The tables of an evaluation: overall, by corpus, by emotion, confusion, grounding controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from data.controls import CONTROLS
from trainer.evaluate import EvalReport, classification_report
from trainer.intervals import bootstrap

MIN_SPEAKERS = 5
"""Speakers from which intervals over speakers are given as well."""

NUMBERS = {"accuracy": "accuracy (WA)", "ua": "UA", "macro_f1": "macro F1"}

Row = Mapping[str, Any]


def evaluation_summary(rows: Sequence[Row], choices: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Return everything that the page shows, as JSON.

    Args:
        rows: Answers: `label`, `answer`, `correct`, and where known `dataset` and `speaker`.
        choices: The K classes.
        seed: Of the bootstrap.

    Returns:
        `overall`, `datasets` (name -> the same numbers, if there are several), `macro` (their
        mean), `classes` (precision, recall, F1, examples), `confusion` [K, K + 1] and `choices`.
    """
    by_dataset: dict[str, list[Row]] = {}
    for row in rows:
        by_dataset.setdefault(row.get("dataset") or "unnamed", []).append(row)
    datasets = {name: _numbers(found, choices, seed) for name, found in sorted(by_dataset.items())}
    report = _report(rows, choices)
    return {
        "overall": _numbers(rows, choices, seed),
        "datasets": datasets if len(datasets) > 1 else {},
        "macro": {
            name: float(np.mean([found[name] for found in datasets.values()])) for name in NUMBERS
        },
        "classes": _classes(report),
        "choices": list(choices),
        "confusion": report.confusion.tolist(),
    }


def _report(rows: Sequence[Row], choices: Sequence[str]) -> EvalReport:
    labels, answers = [row["label"] for row in rows], [row["answer"] for row in rows]
    return classification_report(labels, answers, choices)


def _numbers(rows: Sequence[Row], choices: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the numbers of some rows with their intervals."""
    report = _report(rows, choices)
    labels, answers = [row["label"] for row in rows], [row["answer"] for row in rows]
    speakers = [row.get("speaker") for row in rows]
    known = None not in speakers and len(set(speakers)) >= MIN_SPEAKERS
    clips = bootstrap(labels, answers, choices, seed=seed)
    voices = bootstrap(labels, answers, choices, clusters=speakers, seed=seed) if known else {}
    return {
        "examples": report.num_examples,
        "format_frac": report.format_frac,
        **{name: getattr(report, name) for name in NUMBERS},
        "interval": {name: asdict(found) for name, found in clips.items()},
        "interval_speakers": {name: asdict(found) for name, found in voices.items()},
    }


def _classes(report: EvalReport) -> dict[str, dict[str, float | int | None]]:
    """Return class -> precision, recall, F1 and examples; None where it is undefined."""
    size = len(report.choices)
    gold = report.confusion.sum(axis=1)
    answered = report.confusion[:, :size].sum(axis=0)
    found: dict[str, dict[str, float | int | None]] = {}
    for place, name in enumerate(report.choices):
        right = int(report.confusion[place, place])
        both = int(gold[place] + answered[place])
        found[name] = {
            "examples": int(gold[place]),
            "precision": right / int(answered[place]) if answered[place] else None,
            "recall": right / int(gold[place]) if gold[place] else None,
            "f1": 2 * right / both if both else None,
        }
    return found


def evaluation_page(summary: Mapping[str, Any], model: str, split: str) -> str:
    """Return the report as Markdown.

    Args:
        summary: Of `evaluation_summary`, with `metrics` for the controls.
        model: Folder of the policy.
        split: What was evaluated.
    """
    overall = summary["overall"]
    lines = [
        "# Evaluation",
        "",
        f"`{model}` on `{split}`: {overall['examples']} clips, greedy answers, "
        f"{_percent(overall['format_frac'])} of them readable.",
        "",
        "Intervals: 95 %, bootstrap over clips"
        + (", and over speakers" if overall["interval_speakers"] else "")
        + ".",
        "",
        "| | " + " | ".join(NUMBERS.values()) + " | clips |",
        "|---|" + "--:|" * (len(NUMBERS) + 1),
        _numbers_row("all clips (micro)", overall),
    ]
    if summary["datasets"]:
        lines += [_numbers_row(name, found) for name, found in summary["datasets"].items()]
        means = " | ".join(_percent(summary["macro"][name]) for name in NUMBERS)
        lines.append(f"| mean of the corpora (macro) | {means} | |")
    lines += ["", "## By emotion", "", "| emotion | clips | precision | recall | F1 |"]
    lines.append("|---|--:|--:|--:|--:|")
    for name, found in summary["classes"].items():
        cells = " | ".join(_percent(found[key]) for key in ("precision", "recall", "f1"))
        lines.append(f"| {_cell(name)} | {found['examples']} | {cells} |")
    lines += ["", "## Confusion", "", "Rows: gold; columns: answer; `-`: none or another.", ""]
    head = [*map(_cell, summary["choices"]), "-"]
    lines += ["| | " + " | ".join(head) + " |", "|---|" + "--:|" * len(head)]
    for name, counts in zip(summary["choices"], summary["confusion"], strict=True):
        lines.append(f"| {_cell(name)} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join([*lines, *_controls(summary["metrics"]), ""])


def _controls(metrics: Mapping[str, float]) -> list[str]:
    """Return the table of the grounding controls; nothing if there were none."""
    names = [name for name in CONTROLS if f"test_after/control_{name}_accuracy" in metrics]
    if not names:
        return []
    lines = [
        "",
        "## Grounding",
        "",
        "The same questions with altered clips. Follow, against: of the examples that claim a",
        "level before and after, those whose claim moved with the clip, or the other way.",
        "",
        "| clips | accuracy | answers changed | claims follow | against |",
        "|---|--:|--:|--:|--:|",
    ]
    for name in names:
        key = f"test_after/control_{name}"
        cells = [
            _percent(metrics.get(f"{key}_{what}"))
            for what in ("accuracy", "changed_frac", "follow_frac", "against_frac")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _numbers_row(name: str, found: Mapping[str, Any]) -> str:
    cells = []
    for key in NUMBERS:
        shown = _percent(found[key]) + _interval(found["interval"][key])
        if found["interval_speakers"]:
            shown += " / " + _interval(found["interval_speakers"][key]).strip()
        cells.append(shown)
    return f"| {_cell(name)} | {' | '.join(cells)} | {found['examples']} |"


def _interval(found: Mapping[str, float]) -> str:
    return f" [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
