"""The numbers of an evaluation: of each test set, over all of them, and what judges say."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from data.files import Row
from data.parsing import normalize_label
from evaluation.faithfulness import evaluated
from evaluation.official import official_summary
from evaluation.self_consistency import voted
from evaluation.shift import level_shifts
from evaluation.statistics import (
    ClassificationReport,
    classification_intervals,
    classification_report,
    mean_share_interval,
    share_interval,
)

MIN_SPEAKERS = 5
"""Speakers from which intervals over speakers are given as well."""

MAX_CLASSES = 50
"""Most labels that count as classes. Where there are more, such as the words of sentences, they are
answers to questions of their own: they have an accuracy, and no recall, F1 or confusion."""

NUMBERS = ("accuracy", "ua", "macro_f1")


@dataclass(frozen=True)
class AnsweredSet:
    """A test set and what was answered."""

    name: str
    """Of the benchmark, or of the test split."""
    is_benchmark: bool
    """False for the test split."""
    is_probe: bool
    """Whether it asks about something else than the emotion; left out of the means."""
    choices: tuple[str, ...]
    """The K labels."""
    rows: list[dict[str, Any]]
    """Greedy answers: `label`, `answer`, `correct`, and where known `dataset`, `speaker`, `votes`
    and `scores`."""
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    """What was measured besides classification, without a prefix."""
    controls: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Name of a control -> greedy answers to the altered clips."""
    nulls: Mapping[str, Any] | None = None
    """What needs no listening (`evaluation.nulls.null_baselines`); None = not known."""

    def all_metrics(self) -> dict[str, float]:
        """Return all metrics by their keys: `test_after/X`, or `bench/NAME_X` of a benchmark."""
        prefix = f"bench/{self.name}_" if self.is_benchmark else "test_after/"
        report = _report(self.rows, self.choices)
        metrics = {key.partition("/")[2]: value for key, value in report.to_metrics().items()}
        if len(self.choices) > MAX_CLASSES:
            metrics = {key: metrics[key] for key in ("accuracy", "format_frac")}
        return {prefix + key: value for key, value in (metrics | self.metrics).items()}


def summary_of_sets(sets: Sequence[AnsweredSet], *, seed: int) -> dict[str, Any]:
    """Return everything that the page shows of the test sets, as JSON.

    Args:
        sets: At least one.
        seed: Of the bootstrap.

    Returns:
        `evaluation_summary` of the test split, or without one of all benchmarks together over all
        of their labels; `of` (what that is about); `sets` (name -> its `evaluation_summary`, with
        `benchmark`, `probe`, `metrics`, `quality`, `official`, `vote_interval`, `nulls`,
        `faithfulness`, `shifts`), and `means`.
    """
    closed = [one for one in sets if len(one.choices) <= MAX_CLASSES] or list(sets)
    emotions = [one for one in closed if not one.is_probe] or closed
    split = [one for one in sets if not one.is_benchmark]
    rows, choices = (split[0].rows, split[0].choices) if split else pooled(emotions)
    return {
        "of": f"split {split[0].name}" if split else "all benchmarks",
        **evaluation_summary(rows, choices, seed=seed),
        "sets": {one.name: _set_summary(one, seed) for one in sets},
        "means": means_over([one for one in sets if not one.is_probe], seed=seed),
    }


def _set_summary(answered: AnsweredSet, seed: int) -> dict[str, Any]:
    votes = [votes.majority == votes.label for votes in voted(answered.rows)]
    faithful = evaluated(answered.rows)
    shifts = level_shifts(answered.rows, answered.controls)
    return {
        "benchmark": answered.is_benchmark,
        "probe": answered.is_probe,
        **evaluation_summary(answered.rows, answered.choices, seed=seed),
        "metrics": dict(answered.metrics),
        "quality": quality(answered.rows),
        "official": official_summary(answered.rows),
        "vote_interval": asdict(share_interval(votes)) if votes else None,
        "nulls": answered.nulls,
        "faithfulness": asdict(faithful) if faithful else None,
        "shifts": {name: asdict(shift) for name, shift in shifts.items()},
    }


def pooled(sets: Sequence[AnsweredSet]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the rows and labels of several sets; a label is spelled as in the first of them."""
    names: dict[str, str] = {}
    for choice in (choice for answered in sets for choice in answered.choices):
        names.setdefault(normalize_label(choice), choice)

    def respelled(text: str | None) -> str | None:
        return None if text is None else names.get(normalize_label(text), text)

    rows = [
        {**row, "label": respelled(row["label"]), "answer": respelled(row["answer"])}
        for answered in sets
        for row in answered.rows
    ]
    return rows, tuple(names.values())


def means_over(sets: Sequence[AnsweredSet], *, seed: int) -> dict[str, Any] | None:
    """Return the means over several sets; None if there are none.

    Returns:
        `sets` (names), `examples`, `micro` (accuracy over all clips together: METHOD "Avg") and
        `macro` (mean of the sets), each with `accuracy` and `interval`, `macro` also with `ua` and
        `macro_f1`, None where a set has none.
    """
    if not sets:
        return None
    shares = [(sum(row["correct"] for row in one.rows), len(one.rows)) for one in sets]
    right, examples = (sum(column) for column in zip(*shares, strict=True))
    reports = [_report(one.rows, one.choices) for one in sets if len(one.choices) <= MAX_CLASSES]
    all_closed = len(reports) == len(sets)
    return {
        "sets": [one.name for one in sets],
        "examples": examples,
        "micro": {
            "accuracy": right / examples,
            "interval": asdict(mean_share_interval([(right, examples)])),
        },
        "macro": {
            "accuracy": statistics.fmean(hit / num for hit, num in shares),
            "ua": statistics.fmean(report.ua for report in reports) if all_closed else None,
            "macro_f1": statistics.fmean(r.macro_f1 for r in reports) if all_closed else None,
            "interval": asdict(mean_share_interval(shares)),
        },
    }


def evaluation_summary(rows: Sequence[Row], choices: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Return the classification numbers of one set, as JSON.

    Args:
        rows: Answers: `label`, `answer`, `correct`, and where known `dataset` and `speaker`.
        choices: The K classes.
        seed: Of the bootstrap.

    Returns:
        `overall`, `datasets` (name -> the same numbers, if there are several), `macro` (their
        mean), `classes` (precision, recall, F1, examples), `confusion` [K, K + 1] and `choices`.
        With more than MAX_CLASSES labels accuracy is the only number, and `classes` and `confusion`
        are empty.
    """
    by_dataset: dict[str, list[Row]] = {}
    for row in rows:
        by_dataset.setdefault(row.get("dataset") or "unnamed", []).append(row)
    datasets = {name: _numbers(part, choices, seed) for name, part in sorted(by_dataset.items())}
    closed = len(choices) <= MAX_CLASSES
    report = _report(rows, choices)
    return {
        "overall": _numbers(rows, choices, seed),
        "datasets": datasets if len(datasets) > 1 else {},
        "macro": {
            name: statistics.fmean(part[name] for part in datasets.values())
            for name in (NUMBERS if closed else ("accuracy",))
        },
        "classes": report.classes if closed else {},
        "choices": list(choices),
        "confusion": report.confusion.tolist() if closed else [],
    }


def _report(rows: Sequence[Row], choices: Sequence[str]) -> ClassificationReport:
    labels, answers = [row["label"] for row in rows], [row["answer"] for row in rows]
    return classification_report(labels, answers, choices)


def _numbers(rows: Sequence[Row], choices: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the numbers of some rows with their intervals."""
    report = _report(rows, choices)
    numbers = {"examples": report.num_examples, "format_frac": report.format_frac}
    if len(choices) > MAX_CLASSES:
        interval = share_interval([row["correct"] for row in rows])
        return {
            **numbers,
            **dict.fromkeys(NUMBERS),
            "accuracy": report.accuracy,
            "interval": {"accuracy": asdict(interval)},
            "interval_speakers": {},
        }
    labels, answers = [row["label"] for row in rows], [row["answer"] for row in rows]
    speakers = [str(row["speaker"]) for row in rows if row.get("speaker") is not None]
    by_speaker = len(speakers) == len(rows) and len(set(speakers)) >= MIN_SPEAKERS

    def intervals(clusters: Sequence[str] | None) -> dict[str, Any]:
        ends = classification_intervals(labels, answers, choices, clusters=clusters, seed=seed)
        return {name: asdict(interval) for name, interval in ends.items()}

    return {
        **numbers,
        **{name: getattr(report, name) for name in NUMBERS},
        "interval": intervals(None),
        "interval_speakers": intervals(speakers) if by_speaker else {},
    }


def quality(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return what the judges say of the reasoning, on their scale of 1 to 5.

    Args:
        rows: Answers; those of a judged evaluation have `scores`: term -> dimension -> score or
            None.

    Returns:
        Term -> `mean` (over the answers of the mean of their dimensions), `scored` (answers with
        all of the judge's dimensions; no others count) and `dimensions` (name -> mean); terms that
        scored nothing are left out.
    """
    by_term: dict[str, list[Mapping[str, float]]] = {}
    for row in rows:
        for term, scores in row.get("scores", {}).items():
            if scores and None not in scores.values():
                by_term.setdefault(term, []).append(scores)
    return {
        term: {
            "mean": statistics.fmean(statistics.fmean(scores.values()) for scores in complete),
            "scored": len(complete),
            "dimensions": {
                name: statistics.fmean(scores[name] for scores in complete) for name in complete[0]
            },
        }
        for term, complete in by_term.items()
    }
