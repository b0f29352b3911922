"""Words by which an English text names an emotion, to see what it concludes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from data.prosody.quotes import without_quotes

STEMS: Mapping[str, str] = {
    "neutral": "neutral neutrality composed matter-of-fact dispassionate unemotional indifferent",
    "calm": "calm calmness serene relaxed tranquil",
    "happy": "happy happiness happily joy joyful joyous cheer* delight* glad pleased elated",
    "excited": "excited excitement thrilled enthusias*",
    "sad": "sad sadness sadly sorrow* grief griev* gloom* mourn* melanchol* dejected downcast",
    "angry": "angry angrily anger furious fury irritat* annoy* rage outrage* indignant hostile",
    "frustrated": "frustrat*",
    "contempt": "contempt contemptuous* scorn* disdain*",
    "disgust": "disgust* revulsion repulsed",
    "confused": "confus* puzzled puzzlement bewilder* perplex* unsure",
    "whisper": "whisper*",
    "surprise": "surpris* astonish* amazed amazement startled shock*",
    "fear": "fear fearful* afraid scared frightened terrified terror anxious anxiety dread",
    "bored": "bored boredom",
}
"""Emotion -> words; `*` stands for any ending."""

_NEGATION = re.compile(
    r"\b(?:not|no|never|without|neither|nor|hardly|rather than|instead of|lack(?:s|ing)?|absence of"
    r"|above|un)\b(?:(?!\bbut\b)[^.!?;,]){0,24}$"
)

_NEGATION_REACH = 48
"""Characters before a word in which a negation of it begins at the earliest."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One emotion word of a text."""

    label: str
    start: int


def find_mentions(text: str, labels: Sequence[str]) -> tuple[Mention, ...]:
    """Return the emotions that a text names, in order, without denied ones and quotations.

    Args:
        text: English.
        labels: The labels that count; a label of several words, such as "contempt or disgust", is
            named by each of its parts. A label without words here is named by itself.
    """
    lowered = without_quotes(text).lower()
    pattern, by_group = _pattern(tuple(labels))
    return tuple(
        Mention(by_group[match.lastgroup], match.start())
        for match in pattern.finditer(lowered)
        if match.lastgroup is not None
        and not _NEGATION.search(lowered[max(0, match.start() - _NEGATION_REACH) : match.start()])
    )


@lru_cache(maxsize=64)
def _pattern(labels: tuple[str, ...]) -> tuple[re.Pattern[str], Mapping[str, str]]:
    """Return one pattern for all labels, and the label of each of its groups."""
    by_group: dict[str, str] = {}
    parts: list[str] = []
    for index, label in enumerate(labels):
        words: list[str] = []
        for part in re.split(r"\s+or\s+|/|\s*,\s*", label.lower()):
            words += STEMS.get(part, part).split() if part in STEMS else [part]
        by_group[f"g{index}"] = label
        either = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in words)
        parts.append(rf"(?P<g{index}>\b(?:{either})\b)")
    return re.compile("|".join(parts)), by_group
