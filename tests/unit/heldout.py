"""Sets of reasoning texts that the template does not write, told truly or with one cue flipped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotate.cot.filters import Limits, find_faults
from demo.texts import NUM_PHRASINGS, describe
from tests.unit.make_rows import ATTRIBUTES, LEVELS_OF

_DATA = Path(__file__).parents[1] / "data"
PARAGRAPHS = (_DATA / "phrasings.txt").read_text().split("\n\n")
"""Free prose, whose first readings showed what `data.prosody.claims` did not understand.

`{pitch:low|mid|high}` holds the words of each level in order, and what stands in square brackets is
left out where a cue in it was not measured.
"""

UNSEEN = (_DATA / "phrasings_unseen.txt").read_text().split("\n\n")
"""The same, written when `data.prosody.claims` was done: nothing was changed for their sake. Keep
it so; what they show is to be mended with other examples."""

EMOTIONS = {
    "neutral": "neutrality",
    "happy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "contempt or disgust": "contempt",
    "confused": "confusion",
    "whisper": "whispering",
    "surprise": "surprise",
    "fear": "fear",
}
"""Label -> how the paragraphs call it."""

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(pitch|energy|rate|intonation):([^{}]*)\}")


def paragraph(template: str, row: Mapping[str, Any], levels: Mapping[str, Any]) -> str:
    """Return a paragraph on a row, its voice described by the levels."""

    def choose(slot: re.Match[str]) -> str:
        return slot[2].split("|")[LEVELS_OF[slot[1]].index(levels[slot[1]])]

    def keep(part: re.Match[str]) -> str:
        names = [slot[1] for slot in _SLOT.finditer(part[1])]
        return _SLOT.sub(choose, part[1]) if all(levels[name] for name in names) else ""

    told = _OPTIONAL.sub(keep, template)
    filled = told.replace("{text}", row["text"]).replace("{emotion}", EMOTIONS[row["label"]])
    tidy = re.sub(r"(?:\s*,)*\s*\.", ".", " ".join(filled.split()))
    return tidy.removeprefix(", ")


def demo_text(phrasing: int, row: Mapping[str, Any], levels: Mapping[str, Any]) -> str:
    """Return a description of the demo with a conclusion."""
    emotion = EMOTIONS[row["label"]]
    return f"{describe(levels, phrasing)} What is heard here is the sound of {emotion}."


@dataclass(frozen=True, slots=True)
class Case:
    """A text about a row, and how it lies."""

    source: int
    """Paragraph, or phrasing of the demo."""
    row: Mapping[str, Any]
    text: str
    flipped: str
    """Attribute that is told falsely; empty if none is."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What the filters say."""
        label, choices = self.row["label"], tuple(EMOTIONS)
        return find_faults(self.text, label, choices, self.row["prosody"], Limits())

    @property
    def is_caught(self) -> bool:
        """Whether the flipped cue, and not something else, is called a contradiction."""
        return any(
            fault.startswith("contradicts:") and fault.endswith(f" {self.flipped}")
            for fault in self.faults
        )


def demo_cases(rows: list[dict[str, Any]], rng: np.random.Generator) -> Iterator[Case]:
    """Yield a true and a flipped text for every row that a phrasing of the demo can describe."""
    for number, row in enumerate(rows):
        phrasing = number % NUM_PHRASINGS
        levels = {name: row["prosody"][name] for name in ATTRIBUTES}
        text = demo_text(phrasing, row, {**levels, "intonation": "{intonation}"})
        told = [name for name in ATTRIBUTES if name != "intonation" or "{intonation}" in text]
        if all(levels[name] for name in told):
            flipped = told[int(rng.integers(len(told)))]
            lie = {**levels, flipped: _other(flipped, levels[flipped], rng)}
            yield Case(phrasing, row, demo_text(phrasing, row, levels), "")
            yield Case(phrasing, row, demo_text(phrasing, row, lie), flipped)


def paragraph_cases(rows: list[dict[str, Any]], rng: np.random.Generator) -> Iterator[Case]:
    """Yield a true and a flipped paragraph for every row."""
    return _prose_cases(PARAGRAPHS, rows, rng)


def unseen_cases(rows: list[dict[str, Any]], rng: np.random.Generator) -> Iterator[Case]:
    """Yield the same of paragraphs that no code was written from."""
    return _prose_cases(UNSEEN, rows, rng)


def _prose_cases(
    paragraphs: list[str], rows: list[dict[str, Any]], rng: np.random.Generator
) -> Iterator[Case]:
    for number, row in enumerate(rows):
        source = number % len(paragraphs)
        levels = {name: row["prosody"][name] for name in ATTRIBUTES}
        text = paragraph(paragraphs[source], row, levels)
        lies = [
            (name, paragraph(paragraphs[source], row, {**levels, name: other}))
            for name in ATTRIBUTES
            if levels[name] and (other := _other(name, levels[name], rng))
        ]
        told = [(name, lie) for name, lie in lies if lie != text]
        if told:
            flipped, lie = told[int(rng.integers(len(told)))]
            yield Case(source, row, text, "")
            yield Case(source, row, lie, flipped)


def _other(name: str, level: str, rng: np.random.Generator) -> str:
    others = [other for other in LEVELS_OF[name] if other != level]
    return others[int(rng.integers(len(others)))]
