"""Held-out questions about prosody: what a policy hears, task by task.

Source: EmotionThinker (arXiv 2601.15668), Table 5: accuracy on pitch, speed, energy, intonation and
stress before and after supervised fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from annotate.tasks.attributes import attribute_rows
from annotate.tasks.base import Row, row_rng
from annotate.tasks.stress import stress_rows
from data.prosody.levels import LEVELS_OF

PROBES = (*LEVELS_OF, "stress")
"""Tasks that ask one thing of one clip, with a few choices."""


def probe_rows(
    rows: Sequence[Row], task: str, num_rows: int, *, seed: int, margin: float
) -> list[dict[str, Any]]:
    """Return questions of one task, as evenly as may be over its answers.

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
    if task == "stress":
        every = [row for row in stress_rows(rows, seed=seed) if "," not in row["label"]]
        order = row_rng(seed, "probe/stress").permutation(len(every))
        return sorted((every[int(i)] for i in order[:num_rows]), key=lambda row: row["id"])
    every = attribute_rows(rows, task, seed=seed, margin=margin)
    order = row_rng(seed, f"probe/{task}").permutation(len(every))
    by_label: dict[str, list[dict[str, Any]]] = {}
    for index in order.tolist():
        by_label.setdefault(every[index]["label"], []).append(every[index])
    # Round by round, one of each answer: a rare answer ends early, the others go on.
    ranked = [(turn, row) for alike in by_label.values() for turn, row in enumerate(alike)]
    ranked.sort(key=lambda item: (item[0], item[1]["label"]))
    return sorted((row for _, row in ranked[:num_rows]), key=lambda row: row["id"])
