"""The calibration of a judge, from its scores of the probes of a judge file."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import UserError
from evaluation.calibration.statistics import (
    agree,
    auc,
    calibration_error,
    calibration_floor,
    curve,
    drift,
    group_bias,
    length_bias,
    rank_intervals,
    rater_ceiling,
    robustness,
    spread,
)
from evaluation.statistics import NUM_RESAMPLES
from rewards.judges.base import DIMENSIONS, HIGHEST, LOWEST

Row = Mapping[str, Any]
"""A line of scores.jsonl: `id`, `row`, `kind`, `payload`, `clip`, `text_sha256`, `scores` (None =
not scored) and `missing`; those of kind `held_out` also have `gold` and `num_words`."""

FLUENCY = "fluency_and_structural_clarity"
"""The dimension that a style is about; the others are not to follow it."""


def calibration_summary(
    rows: Sequence[Row], *, seed: int, resamples: int = NUM_RESAMPLES
) -> dict[str, Any]:
    """Return everything that a judge's scores say by themselves, as JSON.

    Args:
        rows: Of all probes.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Returns:
        `num` held-out texts that were scored, `missing` (reason -> number, over all probes),
        `dimensions` (see `_dimension`), `style` (kind -> dimension -> mean change) and `attacks`
        (`bare` and `padded`, see `evaluation.calibration.statistics.robustness`).

    Raises:
        UserError: Not one held-out text was scored.
    """
    held = _held_out(rows)
    missing = Counter(row["missing"] for row in rows if not row["scores"])
    if not held:
        raise UserError(f"no held-out text was scored: {dict(missing)}")
    names = [name for name in DIMENSIONS if name in held[0]["scores"]]
    return {
        "num": len(held),
        "missing": dict(missing),
        "dimensions": {name: _dimension(held, name, seed, resamples) for name in names},
        "style": {kind: _changes(rows, kind, names) for kind in ("lower", "filler")},
        "attacks": {kind: _attacks(rows, kind) for kind in ("bare", "padded")},
    }


def _held_out(rows: Sequence[Row]) -> list[Row]:
    """Return the texts as they are, those that were scored."""
    return [row for row in rows if row["kind"] == "held_out" and row["scores"]]


def _dimension(rows: Sequence[Row], name: str, seed: int, resamples: int) -> dict[str, Any]:
    """Return agreement, intervals, calibration, spread and biases of one dimension."""
    judged = [row["scores"][name] for row in rows]
    gold = [row["gold"][name] for row in rows]
    clips = [row["clip"] for row in rows]
    intervals = rank_intervals(judged, gold, clips, seed=seed, resamples=resamples)
    fluency = [f"{row['gold'][FLUENCY]:.0f}" for row in rows]
    return {
        **asdict(agree(judged, gold)),
        **{
            f"{kind}_interval": astuple(intervals[kind]) if kind in intervals else None
            for kind in ("spearman", "kendall")
        },
        "calibration_error": calibration_error(judged, gold),
        "calibration_floor": calibration_floor(judged, gold),
        "curve": curve(judged, gold),
        "judged": spread(judged),
        "gold": spread(gold),
        "length": length_bias(judged, gold, [row["num_words"] for row in rows]),
        "by_fluency": {} if name == FLUENCY else group_bias(judged, gold, fluency),
    }


def _by_row(rows: Sequence[Row], kind: str) -> dict[str, Row]:
    return {row["row"]: row for row in rows if row["kind"] == kind and row["scores"]}


def _changes(rows: Sequence[Row], kind: str, names: Sequence[str]) -> dict[str, float]:
    """Return dimension -> mean change of the score when a text is restyled."""
    before, after = _by_row(rows, "held_out"), _by_row(rows, kind)
    both = [row for row in after if row in before]
    return {
        name: float(
            np.mean([after[row]["scores"][name] - before[row]["scores"][name] for row in both])
        )
        for name in names
        if both
    }


def _attacks(rows: Sequence[Row], kind: str) -> dict[str, Any]:
    """Return how many payloads raise the mean score; empty if none was scored."""
    before = _by_row(rows, "nothing" if kind == "bare" else "held_out")
    rises: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row["kind"] == kind and row["scores"] and row["row"] in before:
            rises[row["payload"]].append(_mean(row) - _mean(before[row["row"]]))
    return robustness(dict(sorted(rises.items()))) if rises else {}


def _mean(row: Row) -> float:
    return float(np.mean(list(row["scores"].values())))


def drift_summary(before: Sequence[Row], after: Sequence[Row]) -> dict[str, Any]:
    """Return how the scores of the probes that two calibrations share moved.

    Returns:
        `num` held-out texts in both, and dimension -> see `statistics.drift`.

    Raises:
        UserError: They share none, or an id has another text.
    """
    earlier = {row["id"]: row for row in _held_out(before)}
    both = [(earlier[row["id"]], row) for row in _held_out(after) if row["id"] in earlier]
    changed = [row["id"] for old, row in both if old["text_sha256"] != row["text_sha256"]]
    if changed:
        raise UserError(
            f"{len(changed)} texts are not the ones that were scored then, such as {changed[0]!r}; "
            "drift is measured on a frozen judge file"
        )
    if not both:
        raise UserError("the two calibrations share no scored text")
    names = [name for name in DIMENSIONS if all(name in row["scores"] for p in both for row in p)]
    return {
        "num": len(both),
        "dimensions": {
            name: drift([o["scores"][name] for o, _ in both], [n["scores"][name] for _, n in both])
            for name in names
        },
    }


def accuracy_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how a judge's mean score goes with the right answer.

    Args:
        rows: Completions of a run: `scores`, `correct` and `group`, the prompt they answer.

    Returns:
        `num`, `right` and `wrong` (mean score of each kind), `auc` over all pairs, `within` over
        the pairs of the same prompt, which is what trust sees, and the number of these `groups`.
    """
    scored = [row for row in rows if row["scores"]]
    means = {
        kind: [_mean(row) for row in scored if bool(row["correct"]) is kind]
        for kind in (True, False)
    }
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in scored:
        groups[row["group"]].append(row)
    within = [
        area
        for group in groups.values()
        if (area := auc([_mean(r) for r in group], [bool(r["correct"]) for r in group])) is not None
    ]
    return {
        "num": len(scored),
        "right": float(np.mean(means[True])) if means[True] else None,
        "wrong": float(np.mean(means[False])) if means[False] else None,
        "auc": auc([_mean(r) for r in scored], [bool(r["correct"]) for r in scored]),
        "within": float(np.mean(within)) if within else None,
        "groups": len(within),
    }


def read_ratings(path: Path) -> dict[str, list[dict[str, float]]]:
    """Return id -> ratings of a CSV of human scores, one rater's of a text a line.

    Args:
        path: UTF-8, with a header that has `id` and all of `DIMENSIONS`; other columns are ignored.

    Raises:
        UserError: It cannot be read, a column is missing, or a score is none from 1 to 5.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lacking = [
                name for name in ("id", *DIMENSIONS) if name not in (reader.fieldnames or [])
            ]
            if lacking:
                raise UserError(f"{path}: has no column {', '.join(lacking)}")
            ratings: dict[str, list[dict[str, float]]] = defaultdict(list)
            for line in reader:
                where = f"{path}:{reader.line_num}"
                ratings[line["id"]].append({n: _rating(where, n, line[n]) for n in DIMENSIONS})
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    return dict(ratings)


def _rating(where: str, name: str, text: str | None) -> float:
    try:
        score = float(text or "")
    except ValueError:
        score = float("nan")
    if not LOWEST <= score <= HIGHEST:
        raise UserError(f"{where}: {name} is {text!r}; allowed is a number from 1 to 5")
    return score


def human_summary(
    rows: Sequence[Row], ratings: Mapping[str, Sequence[Mapping[str, float]]]
) -> dict[str, Any]:
    """Return how a judge agrees with people, and people with each other.

    Args:
        rows: Of all probes; those of kind `held_out` whose id has ratings count.
        ratings: From `read_ratings`.

    Returns:
        `num` texts, and dimension -> `judge` (against the mean rating), `prescribed` (the file's
        own scores against it), `rater` (one rater against the mean of the others, or None) and
        `several`, the texts with more than one rater.

    Raises:
        UserError: No scored text has a rating.
    """
    held = [row for row in _held_out(rows) if row["row"] in ratings]
    if not held:
        raise UserError("no id of the ratings is that of a held-out text that was scored")
    summary: dict[str, Any] = {"num": len(held), "dimensions": {}}
    for name in [name for name in DIMENSIONS if name in held[0]["scores"]]:
        given = [[rating[name] for rating in ratings[row["row"]]] for row in held]
        means = [float(np.mean(scores)) for scores in given]
        ceiling, several = rater_ceiling(given)
        summary["dimensions"][name] = {
            "judge": asdict(agree([row["scores"][name] for row in held], means)),
            "prescribed": asdict(agree([row["gold"][name] for row in held], means)),
            "rater": asdict(ceiling) if ceiling else None,
            "several": several,
        }
    return summary
