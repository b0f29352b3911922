"""Calibration of a judge: it is asked as in a run, and what it says is kept and summed up."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import UserError
from configs.schema import RunConfig
from data.files import read_rows, write_rows
from data.prompts import PromptBuilder, prompt_function
from evaluation.calibration.judge import judge_texts
from evaluation.calibration.page import calibration_page
from evaluation.calibration.probes import Probe, probes_of
from evaluation.calibration.summary import (
    accuracy_summary,
    calibration_summary,
    drift_summary,
    human_summary,
    read_ratings,
)
from evaluation.calibration.text_alone import TEXT_ALONE, text_alone
from rewards.judges.base import Judgement
from rewards.judges.rows import JudgeRow
from rewards.pool import RewardPool

logger = logging.getLogger(__name__)


def score_probes(
    config: RunConfig, judge: RewardPool, rows: Sequence[JudgeRow]
) -> list[dict[str, Any]]:
    """Return the lines of `scores.jsonl`, one per probe; see `summary.Row`."""
    build = prompt_function(PromptBuilder(config.model.path, config.data), config.data)
    probes = probes_of(rows)
    texts = [[probe.reasoning for probe in probes[row.example.id]] for row in rows]
    judged = judge_texts(judge, (build(row.example) for row in rows), texts)
    return [
        _line(row, probe, judgement)
        for row, judgements in zip(rows, judged, strict=True)
        for probe, judgement in zip(probes[row.example.id], judgements, strict=True)
    ]


def _line(row: JudgeRow, probe: Probe, judgement: Judgement) -> dict[str, Any]:
    gold: dict[str, Any] = {}
    if probe.kind == "held_out":
        gold = {"gold": dict(row.scores), "num_words": len(probe.reasoning.split())}
    scored = None not in judgement.scores.values()
    return {
        "id": probe.id,
        "row": probe.row,
        "kind": probe.kind,
        "payload": probe.payload,
        "clip": row.example.audio,
        "text_sha256": hashlib.sha256(probe.reasoning.encode("utf-8", "surrogatepass")).hexdigest(),
        "scores": dict(judgement.scores) if scored else None,
        "missing": judgement.missing,
        **gold,
    }


def write_calibration(
    folder: Path,
    scored: Mapping[str, Sequence[dict[str, Any]]],
    rows: Sequence[JudgeRow],
    *,
    train: Sequence[JudgeRow],
    seed: int,
    human: str = "",
    against: str = "",
    completions: Mapping[str, Sequence[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    """Write `scores.jsonl`, `summary.json`, `report.md` and `report.png` of judges.

    Args:
        folder: Made if need be.
        scored: Name of a judge -> its scored probes; the last one's go to `scores.jsonl`.
        rows: The held-out rows that they are about.
        train: What a reader without the clip may learn from (`text_alone`); without any he is left
            out.
        seed: Of the bootstrap and of that reader.
        human: CSV of human scores; empty = none.
        against: `scores.jsonl` of an earlier calibration; empty = none.
        completions: Name of a judge -> scored completions of a run, see `accuracy_summary`.

    Returns:
        The summary: name of a judge -> its numbers.

    Raises:
        UserError: A file that cannot be compared, or a judge that scored nothing.
    """
    from evaluation.calibration.figure import calibration_figure

    summary = {name: calibration_summary(lines, seed=seed) for name, lines in scored.items()}
    last = list(scored)[-1]
    if alone := text_alone(scored[last], rows, train, seed=seed):
        summary = {TEXT_ALONE: calibration_summary(alone, seed=seed)} | summary
    for name, lines in scored.items():
        if human:
            summary[name]["human"] = human_summary(lines, read_ratings(Path(human)))
        if against:
            summary[name]["drift"] = drift_summary(_earlier(Path(against)), lines)
        if completions and name in completions:
            summary[name]["accuracy"] = accuracy_summary(completions[name])
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "scores.jsonl", scored[last])
    text = json.dumps(summary, indent=1) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    (folder / "report.md").write_text(calibration_page(summary), encoding="utf-8")
    calibration_figure(folder / "report.png", scored[last], summary[last])
    logger.info(f"calibration: {folder / 'report.md'}")
    return summary


def _earlier(path: Path) -> list[dict[str, Any]]:
    try:
        return read_rows(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as scores.jsonl: {error}") from error
