"""Which word is stressed, from clips whose words an aligner has found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from annotate.tasks.base import Row, required_text, row_rng, task_row
from configs.errors import UserError
from data.manifest import answer
from data.manifest_row import fill_choices
from data.prosody.stress import read_words

QUESTIONS = (
    "Which word does the speaker stress? Words: {choices}. If it is more than one, name them in "
    "spoken order, separated by commas.",
    "Name the stressed word, or the stressed words in order with commas between. Choose from: "
    "{choices}.",
    "Listen for emphasis. Which of these words stands out (several: in order, with commas): "
    "{choices}?",
)
"""Phrasings of the question. All leave open how many words it is, so that none tells it."""

_EDGES = re.compile(r"^\W+|\W+$")


def stress_rows(rows: Iterable[Row], *, seed: int) -> list[dict[str, Any]]:
    """Return one question for each clip with at least one stressed word, in the clips' order.

    The question shows the distinct words of the alignment, without punctuation around them. They
    are the `choices` too; where several words are stressed, the label ("word, word" in spoken
    order) comes after them, in `choices` only: shown in the question, it would be the answer.

    Args:
        rows: Annotated rows of a manifest, with `words`; a clip without stressed words, or with
            fewer than two different words, gives no question.
        seed: Draws the phrasings.

    Raises:
        UserError: `words` is malformed, or does not hold a stressed word.
    """
    made: list[dict[str, Any]] = []
    for row in rows:
        stressed = (row.get("prosody") or {}).get("stressed_words")
        if not stressed or not row.get("words"):
            continue
        try:
            words = _distinct(word.text for word in read_words(row["words"]))
        except ValueError as error:
            raise UserError(f"row {row.get('id')!r}: {error}") from error
        if len(words) < 2:
            continue
        named = _distinct(stressed)
        missing = [word for word in named if word not in words]
        if missing or not named:
            raise UserError(
                f"row {row.get('id')!r}: stressed words {stressed!r} are not among its 'words'; "
                "measure the clip again with launch/annotate.py"
            )
        label = ", ".join(named)
        rng = row_rng(seed, f"stress/{required_text(row, 'id')}")
        made.append(
            task_row(
                row,
                "stress",
                audio=required_text(row, "audio"),
                question=fill_choices(QUESTIONS[rng.integers(len(QUESTIONS))], words),
                choices=words if len(named) == 1 else [*words, label],
                label=label,
                target=answer(label),
            )
        )
    return made


def _distinct(words: Iterable[str]) -> list[str]:
    """Return each word once, without punctuation around it."""
    plain = (_EDGES.sub("", word) for word in words)
    return list(dict.fromkeys(word for word in plain if word))
