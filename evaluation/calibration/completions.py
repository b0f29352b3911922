"""Completions of a run, judged again: does a judge prefer right answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configs.errors import UserError
from configs.load import load_config
from configs.schema import RunConfig
from data.files import read_rows
from data.manifest import read_manifest
from data.parsing import parse_output
from data.prompts import PromptBuilder, prompt_function
from evaluation.calibration.judge import judge_texts
from rewards.pool import RewardPool

NUM_PROMPTS = 200
"""Prompts of the newest steps whose completions are judged."""


def read_completions(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Return group -> the well-formed completions of the newest prompts of a run.

    Args:
        run: Folder with `samples/*.jsonl`.

    Returns:
        At most `NUM_PROMPTS` groups; the rows as `trainer.metrics.sample_rows` writes them, with
        the reasoning as `think`.

    Raises:
        UserError: There are none.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((run / "samples").glob("*.jsonl"), reverse=True):
        for row in read_rows(file):
            name = f"{row['step']}/{row['group']}"
            think = parse_output(row["text"]).think
            # A completion without an answer was malformed in training, cut ones included.
            malformed = think is None or row["answer"] is None
            if malformed or (name not in groups and len(groups) >= NUM_PROMPTS):
                continue
            groups.setdefault(name, []).append({**row, "think": think})
        if len(groups) >= NUM_PROMPTS:
            break
    if not groups:
        raise UserError(
            f"{run}: has no samples/*.jsonl with well-formed completions; set log.samples_every"
        )
    return groups


def score_completions(config: RunConfig, judge: RewardPool, run: Path) -> list[dict[str, Any]]:
    """Return a run's completions with a judge's scores, for `accuracy_summary`.

    Args:
        config: Of the calibration.
        judge: Of `start_judge`.
        run: Folder of an RL run; clips and facts are those of its manifest.

    Raises:
        UserError: It has no completions, or its manifest lacks their clips.
    """
    groups = read_completions(run)
    data = load_config(run / "config.yaml").data
    examples = {
        example.id: example
        for example in read_manifest(
            data.manifest,
            audio_root=data.audio_root,
            choices=data.choices,
            question_template=data.question,
            follow_links=data.follow_links,
        )
    }
    lost = sorted({rows[0]["id"] for rows in groups.values()} - examples.keys())
    if lost:
        raise UserError(f"{run}: {data.manifest} has no row {lost[0]!r} any more")
    build = prompt_function(PromptBuilder(config.model.path, data), data)
    prompts = (build(examples[rows[0]["id"]]) for rows in groups.values())
    texts = [[row["think"] for row in rows] for rows in groups.values()]
    judged = judge_texts(judge, prompts, texts)
    return [
        {
            "group": name,
            "correct": row["correct"],
            "scores": None if None in judgement.scores.values() else dict(judgement.scores),
        }
        for (name, rows), judgements in zip(groups.items(), judged, strict=True)
        for row, judgement in zip(rows, judgements, strict=True)
    ]
