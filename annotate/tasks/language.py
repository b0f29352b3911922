"""What keeps a model's ears for words and its language: transcripts, and items without audio."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from annotate.tasks.base import (
    Row,
    reasoned_answer,
    required_text,
    row_rng,
    task_row,
    text_of,
)
from configs.errors import UserError
from data.manifest import first_of
from data.manifest_row import fill_choices
from data.prosody.levels import LEVELS_OF

MIN_LEVELS = 2
"""Known levels below which a delivery is not described."""

ASR_QUESTIONS = (
    "Write down what is said in this clip.",
    "Transcribe the speech.",
    "What does the speaker say? Answer with the words alone.",
    "Listen and give the transcript.",
)
"""Phrasings of the question for the words."""

EMOTION_QUESTIONS = (
    "A clip of speech is described like this. {description} Which emotion does the speaker most "
    "likely express? Choose from: {choices}.",
    "You cannot hear the clip, but know this of it. {description} Which of these emotions fits "
    "best: {choices}?",
    "{description} Given this delivery, name the emotion. Options: {choices}.",
)
"""Phrasings of the question about a described delivery."""


def asr_rows(rows: Iterable[Row], *, seed: int) -> list[dict[str, Any]]:
    """Return one item for each clip with a transcript: the target is the transcript, bare."""
    made: list[dict[str, Any]] = []
    for row in rows:
        text = text_of(row, "text")
        if text is None:
            continue
        words = text.strip()
        rng = row_rng(seed, f"asr/{required_text(row, 'id')}")
        made.append(
            task_row(
                row,
                "asr",
                audio=required_text(row, "audio"),
                question=ASR_QUESTIONS[rng.integers(len(ASR_QUESTIONS))],
                choices=(),
                label=words,
                target=words,
            )
        )
    return made


def described_rows(
    rows: Iterable[Row], labels: Sequence[str], *, seed: int
) -> list[dict[str, Any]]:
    """Return one item without audio for each clip with reasoning: its delivery in words.

    The description gives the levels of `prosody` that are known and what is said; the target is
    the clip's own reasoning and label.

    Args:
        rows: Annotated rows of a manifest; one without `reasoning` or with fewer than MIN_LEVELS
            levels gives no item.
        labels: The emotions to choose from.
        seed: Draws the phrasings.

    Raises:
        UserError: A row's label is none of them.
    """
    made: list[dict[str, Any]] = []
    for row in rows:
        reasoning, label = text_of(row, "reasoning"), text_of(row, "label")
        prosody = row.get("prosody") or {}
        levels = [(n, prosody[n]) for n, named in LEVELS_OF.items() if prosody.get(n) in named]
        if reasoning is None or label is None or len(levels) < MIN_LEVELS:
            continue
        if label not in labels:
            raise UserError(
                f"row {row.get('id')!r}: label {label!r} is none of: {', '.join(labels)}"
            )
        rng = row_rng(seed, f"described/{required_text(row, 'id')}")
        order = [levels[index] for index in rng.permutation(len(levels))]
        phrasing = EMOTION_QUESTIONS[rng.integers(len(EMOTION_QUESTIONS))]
        parts = [f"{name} is {level}" for name, level in order]
        described = f"The {', the '.join(parts[:-1])} and the {parts[-1]}."
        if (text := text_of(row, "text")) is not None:
            described += f' The words are: "{text.strip()}"'
        # The choices first: a transcript may hold braces.
        question = fill_choices(phrasing, labels).replace("{description}", described)
        made.append(
            task_row(
                row,
                "described",
                audio=None,
                question=question,
                choices=labels,
                label=label,
                target=reasoned_answer(reasoning.strip(), label),
            )
        )
    return made


def read_text_rows(path: Path, *, split: str) -> list[dict[str, Any]]:
    """Return the rows of a file of your own: JSON Lines of {"question", "target"}, no audio.

    Ids are `text/FILE/LINE` with the file's name without its suffix; other fields are ignored.

    Raises:
        UserError: The file cannot be read or holds no rows, or lines that are not such objects.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); expected JSON Lines in UTF-8"
        ) from error
    made: list[dict[str, Any]] = []
    problems: list[str] = []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        pair = _question_and_target(line)
        if isinstance(pair, str):
            problems.append(f"{path}:{number}: {pair}")
            continue
        source = {"id": f"{path.stem}/{number}", "split": split}
        question, target = pair
        row = task_row(
            source, "text", audio=None, question=question, choices=(), label=target, target=target
        )
        made.append(row | {"source": None})
    if problems:
        raise UserError(f"{path}: {len(problems)} problem(s) found\n{first_of(problems)}")
    if not made:
        raise UserError(f'{path}: holds no rows; write {{"question": ..., "target": ...}} per line')
    return made


def _question_and_target(line: str) -> tuple[str, str] | str:
    """Return both, or what is wrong."""
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        return f"is not JSON ({error.msg}, column {error.colno}); one object per line"
    if not isinstance(fields, dict):
        return f"is a JSON {type(fields).__name__}; write one object per line"
    pair = text_of(fields, "question"), text_of(fields, "target")
    if pair[0] is None or pair[1] is None:
        return "needs 'question' and 'target' as non-blank text"
    return pair[0], pair[1]
