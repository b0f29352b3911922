"""How high, loud, fast or lively is it: one attribute of one clip, where its level is clear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from annotate.tasks.base import Row, required_text, row_rng, task_row
from configs.errors import UserError
from data.manifest import answer
from data.manifest_row import fill_choices
from data.prosody.levels import INTONATIONS, LEVELS_OF

MARGIN = 0.25
"""Distance to the nearest other level, in standard deviations, from which a level is clear."""

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "pitch": (
        "How high is the speaker's voice? Choose from: {choices}.",
        "What is the pitch of this speech: {choices}?",
        "Listen to the pitch of the voice. Which level fits it best? Options: {choices}.",
        "Classify the pitch level of the clip. Answer with one of: {choices}.",
    ),
    "energy": (
        "How loud does the speaker talk? Choose from: {choices}.",
        "What is the energy of this speech: {choices}?",
        "Listen to the energy of the voice. Which level fits it best? Options: {choices}.",
        "Classify the energy level of the clip. Answer with one of: {choices}.",
    ),
    "rate": (
        "How fast does the speaker talk? Choose from: {choices}.",
        "What is the speaking rate of this clip: {choices}?",
        "Listen to the pace of the speech. Which level fits it best? Options: {choices}.",
        "Classify the speaking rate of the clip. Answer with one of: {choices}.",
    ),
    "intonation": (
        "How does the melody of the speech move? Choose from: {choices}.",
        "What is the intonation of this speech: {choices}?",
        "Listen to the intonation. Which description fits it best? Options: {choices}.",
        "Classify the intonation of the clip. Answer with one of: {choices}.",
    ),
}
"""Attribute -> phrasings of the question."""


def attribute_rows(
    rows: Iterable[Row], attribute: str, *, seed: int, margin: float = MARGIN
) -> list[dict[str, Any]]:
    """Return one question for each clip whose level is clear, in the order of the clips.

    Args:
        rows: Annotated rows of a manifest; a clip without `prosody` or level gives no question.
        attribute: `pitch`, `energy`, `rate` or `intonation`; also the name of the task.
        seed: Draws the phrasings.
        margin: A clip with another level nearer than this is left out; standard deviations, >= 0.

    Raises:
        UserError: A level is not one of the attribute's, or stands without its distances.
    """
    choices, questions = LEVELS_OF[attribute], QUESTIONS[attribute]
    made: list[dict[str, Any]] = []
    for row in rows:
        prosody = row.get("prosody") or {}
        level = prosody.get(attribute)
        if level is None or min(_distances(row, attribute)) < margin:
            continue
        rng = row_rng(seed, f"{attribute}/{required_text(row, 'id')}")
        made.append(
            task_row(
                row,
                attribute,
                audio=required_text(row, "audio"),
                question=fill_choices(questions[rng.integers(len(questions))], choices),
                choices=choices,
                label=level,
                target=answer(level),
            )
        )
    return made


def _distances(row: Row, attribute: str) -> list[float]:
    """Return the distances to the other levels that there are; at least one."""
    prosody, levels = row["prosody"], LEVELS_OF[attribute]
    ends = INTONATIONS if attribute == "intonation" else ("below", "above")
    values = [prosody.get(f"{attribute}_to_{end}") for end in ends]
    distances = [float(value) for value in values if value is not None]
    if prosody[attribute] not in levels or not distances:
        raise UserError(
            f"row {row.get('id')!r}: prosody says {attribute} {prosody[attribute]!r}, with "
            f"{len(distances)} distances to other levels; expected one of {', '.join(levels)} and "
            "its distances, as launch/annotate.py writes them"
        )
    return distances
