"""One statement of a text about a voice, and the words in which it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ATTRIBUTES = ("pitch", "energy", "rate", "intonation")
"""What a description of a voice should cover."""

CHANGES = {"pitch": "pitch_change", "energy": "energy_change", "rate": "rate_change"}
"""Attribute -> the attribute that its change within the clip is."""

TURNS = ("rising-falling", "falling-rising")
"""Intonations that are checked against the contour's shape, not against its range."""

LEVELS: Mapping[str, tuple[str, ...]] = {
    "pitch": ("low", "normal", "high"),
    "energy": ("low", "normal", "high"),
    "rate": ("slow", "normal", "fast"),
}
"""Attributes whose levels are in order."""

RANKS = {"low": 0, "slow": 0, "normal": 1, "high": 2, "fast": 2}
"""Level -> its place on the scale of its attribute."""

EITHER = " or "
"""Between the levels of a claim that leaves open which of them it is."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement about the voice."""

    attribute: str
    """One of `ATTRIBUTES`, or a change: `pitch_change`, `energy_change`, `rate_change`."""
    level: str
    """`low`, `normal`, `high` of pitch and energy; `slow`, `normal`, `fast` of rate; `flat`,
    `falling`, `rising`, `expressive`, `rising-falling`, `falling-rising` of intonation; `falling`,
    `steady`, `rising` of a change. Of "moderate to high" it is `normal or high`."""
    negated: bool
    """The text denies it: "not high"."""
    start: int
    """Where its level word begins in the text."""
    end: int
    """Where it ends."""

    @property
    def levels(self) -> frozenset[str]:
        """The levels of which it claims one: `normal` and `high` of "moderate to high"."""
        return frozenset(self.level.split(EITHER))


def either(attribute: str, levels: set[str]) -> str:
    """Return the `level` of a claim that leaves open which of some levels it is."""
    order = LEVELS.get(attribute, ())
    places = {level: order.index(level) for level in levels if level in order}
    return EITHER.join(sorted(levels, key=lambda level: (places.get(level, 0), level)))


def direction(first: str, last: str) -> str:
    """Return which way it goes from a level to another; `steady` between equals."""
    step = RANKS.get(last, 1) - RANKS.get(first, 1)
    return "rising" if step > 0 else "falling" if step < 0 else "steady"


def whole_clip(text: str, claims: Sequence[tuple[Claim, str]]) -> list[Claim]:
    """Return what a sentence claims of all the clip.

    Levels of its beginning and its end become a change, and so does a comparative of its end alone;
    any other level of a part is left out, and all that is said of a word.
    """
    claims = [(claim, phase) for claim, phase in claims if phase != "word"]
    whole = [claim for claim, phase in claims if not phase or not _is_level(claim)]
    attributes = {claim.attribute for claim in whole}
    for attribute, change in CHANGES.items():
        change = "intonation" if attribute == "pitch" else change
        parts = [
            (claim, phase)
            for claim, phase in claims
            if phase in ("start", "end")
            and claim.attribute == attribute
            and _is_level(claim)
            and not claim.negated
        ]
        starts = [claim for claim, phase in parts if phase == "start"]
        ends = [claim for claim, phase in parts if phase == "end"]
        if change in attributes or not parts:
            continue
        last = parts[-1][0]
        first = starts[0].level if starts and ends else "normal"
        compared = text[last.start : last.end].endswith("er")
        if (compared or (starts and ends)) and first != last.level:
            pair = (first, last.level) if ends else (last.level, first)
            level = direction(*pair)
            whole.append(Claim(change, level, False, last.start, last.end))
    return sorted(whole, key=lambda claim: claim.start)


def _is_level(claim: Claim) -> bool:
    """Whether it tells how something is, and not how it moves."""
    return claim.attribute in LEVELS
