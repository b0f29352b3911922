"""Rows of an annotated manifest with drawn prosody, as `data.prosody.levels.describe` writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from annotate.splits import SPLITS, draw_splits
from configs.schema import NINE_LABELS
from data.prosody.levels import INTONATIONS, LEVELS
from demo.texts import SENTENCES

ATTRIBUTES = (*LEVELS, "intonation")
LEVELS_OF = {**LEVELS, "intonation": INTONATIONS}
CHANGES = ("rising", "falling", "steady")


def draw_prosody(
    rng: np.random.Generator, *, nearest: float = 0.3, missing: float = 0.15
) -> dict[str, Any]:
    """Return levels and distances from `nearest` to 2 deviations; some are not measured."""
    facts: dict[str, Any] = {}
    for name, levels in LEVELS.items():
        index = int(rng.integers(3))
        below, above = (float(d) for d in rng.uniform(nearest, 2, size=2).round(3))
        facts[name] = levels[index]
        facts[f"{name}_to_below"] = None if index == 0 else below
        facts[f"{name}_to_above"] = None if index == 2 else above
    facts["intonation"] = chosen = INTONATIONS[int(rng.integers(4))]
    for name in INTONATIONS:
        distance = round(float(rng.uniform(nearest, 2)), 3)
        facts[f"intonation_to_{name}"] = None if name == chosen else distance
    for name in ("pitch_change", "energy_change"):
        facts[name] = CHANGES[int(rng.integers(3))]
    gone = [name for name in ATTRIBUTES if rng.random() < missing]
    return {key: None if key.startswith(tuple(gone)) else value for key, value in facts.items()}


def draw_rows(num_rows: int, seed: int, **options: float) -> list[dict[str, Any]]:
    """Return rows with drawn labels, words and prosody."""
    rng = np.random.default_rng(seed)
    return [
        {
            "id": f"clip-{number}",
            "audio": f"clip-{number}.wav",
            "label": NINE_LABELS[int(rng.integers(len(NINE_LABELS)))],
            "text": SENTENCES[int(rng.integers(len(SENTENCES)))],
            "split": "train",
            "prosody": draw_prosody(rng, **options),
        }
        for number in range(num_rows)
    ]


def assign_splits(rows: Sequence[Mapping[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """Return the rows, in the same order, with the `split` that `draw_splits` draws."""
    splits = draw_splits(rows, **options)
    return [{**row, "split": SPLITS[place]} for row, place in zip(rows, splits, strict=True)]
