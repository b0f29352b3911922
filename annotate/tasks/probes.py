"""Held-out questions about prosody: what a policy hears, task by task.

Source: EmotionThinker (arXiv 2601.15668), Table 5: accuracy on pitch, speed, energy, intonation and
stress before and after supervised fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from annotate.tasks.attributes import attribute_rows
from annotate.tasks.base import Row, made_rows, row_rng
from annotate.tasks.stress import stress_rows
from data.prosody.levels import LEVELS_OF
from data.stored import text_column

PROBES = (*LEVELS_OF, "stress")
"""Tasks that ask one thing of one clip, with a few choices."""


def probe_rows(
    rows: Sequence[Row], task: str, num_rows: int, *, seed: int, margin: float
) -> list[dict[str, Any]]:
    """Return questions of one task, as evenly as may be over its answers, with measured prosody.

    Clips with several stressed words are left out: among their choices only the right one is a list
    of words.

    Args:
        rows: Of an annotated manifest, of clips that are not trained on.
        task: One of PROBES.
        num_rows: Most questions; what an answer lacks is not made up by others beyond an even
            share, unless there is no other way to reach this number.
        seed: Draws clips and phrasings.
        margin: See `attribute_rows`.
    """

    def ask(clips: Sequence[Row]) -> list[dict[str, Any]]:
        if task == "stress":
            made = [row for row in stress_rows(clips, seed=seed) if "," not in row["label"]]
        else:
            made = attribute_rows(clips, task, seed=seed, margin=margin)
        measured = {clip["id"]: clip["prosody"] for clip in clips} if made else {}
        return [row | {"prosody": measured[row["source"]]} for row in made]

    every = made_rows(rows, {task: ask})[task]
    order = row_rng(seed, f"probe/{task}").permutation(len(every))
    if task != "stress":
        labels = text_column(every[index]["label"] for index in order.tolist())
        # Round by round, one of each answer: a rare answer ends early, the others go on.
        turns = np.zeros(len(labels), np.int64)
        for label in np.unique(labels):
            turns[labels == label] = np.arange((labels == label).sum())
        order = order[np.lexsort((labels, turns))]
    return sorted((every[index] for index in order[:num_rows].tolist()), key=lambda row: row["id"])
