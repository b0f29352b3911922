"""What a text says about a voice, found by rules, and whether the measurements bear it out.

English only. A sentence is cut into segments at commas and "and"; in a segment every level word
belongs to the attribute word next to it ("high pitch", "the pitch is high"), or to that of its
neighbour segment ("high pitch and energy", "the pitch is high and steady"). Some words carry their
attribute with them ("loud", "quickly", "monotone"). Time is linear in the length of the text.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ATTRIBUTES = ("pitch", "energy", "rate", "intonation")
"""What a description of a voice should cover."""

CHANGES = {"pitch": "pitch_change", "energy": "energy_change", "rate": "rate_change"}
"""Attribute -> the attribute that its change within the clip is."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement about the voice."""

    attribute: str
    """One of `ATTRIBUTES`, or a change: `pitch_change`, `energy_change`, `rate_change`."""
    level: str
    """`low`, `normal`, `high` of pitch and energy; `slow`, `normal`, `fast` of rate; `flat`,
    `falling`, `rising`, `expressive`, `rising-falling`, `falling-rising` of intonation; `falling`,
    `steady`, `rising` of a change."""
    negated: bool
    """The text denies it: "not high"."""
    start: int
    """Where its level word begins in the text."""
    end: int
    """Where it ends."""


def _table(lines: Mapping[str, str]) -> dict[str, str]:
    return {word: meaning for meaning, words in lines.items() for word in words.split()}


_NOUNS = _table(
    {
        "pitch": "pitch pitched pitches f0 register key",
        "energy": "energy volume loudness intensity power amplitude",
        "rate": "rate pace tempo speed pacing cadence",
        "intonation": "intonation contour melody inflection inflections modulation",
    }
)
"""Words that name an attribute."""

_LEVELS = _table(
    {
        "high": "high higher highest raised elevated heightened increased strong stronger above",
        "low": "low lower lowest lowered reduced decreased deep deeper weak weaker below",
        "normal": "normal moderate medium average usual mid middle ordinary typical neutral",
    }
)
"""Words for a level of whatever attribute is named beside them."""

_OWN = _table(
    {
        "energy high": "loud louder loudly booming shouting shouted yelling forceful powerful",
        "energy low": "quiet quieter quietly soft softer softly faint faintly hushed muted",
        "rate fast": "fast faster quick quicker quickly rapid rapidly brisk briskly hurried "
        "hurriedly rushed swift swiftly",
        "rate slow": "slow slower slowly sluggish sluggishly unhurried leisurely",
        "intonation flat": "flat flatly monotone monotonous monotonously unvarying",
        "intonation expressive": "expressive lively animated varied dynamic melodic",
        "intonation rising-falling": "rising-falling rise-fall",
        "intonation falling-rising": "falling-rising fall-rise",
    }
)
"""Words that bring their attribute with them."""

_MOVES = _table(
    {
        "rising": "rise rises rising rose upward upwards increase increases increasing climbs "
        "climbing climb grows growing ascends ascending swells",
        "falling": "fall falls falling fell downward downwards decrease decreases decreasing drops "
        "dropping drop fades fading descends descending declines declining sinks sinking",
        "steady": "steady stable constant unchanged",
    }
)
"""Words for a change of whatever attribute is named beside them."""

_OWN_MOVES = _table(
    {
        "rate rising": "accelerates accelerating quickens quickening speeds speeding",
        "rate falling": "decelerates decelerating slows slowing",
        "energy falling": "softens softening quietens",
    }
)
"""Words for a change that bring their attribute with them."""

TURNS = ("rising-falling", "falling-rising")
"""Intonations that are checked against the contour's shape, not against its range."""

LEVELS: Mapping[str, tuple[str, ...]] = {
    "pitch": ("low", "normal", "high"),
    "energy": ("low", "normal", "high"),
    "rate": ("slow", "normal", "fast"),
}
"""Attributes whose levels are in order."""

_DENIALS = frozenset(
    ["not", "no", "never", "without", "neither", "nor", "hardly", "isn", "lacks", "lacking"]
)
_BEFORE_COMPARISON = frozenset(["than", "above", "below"])
_DENIAL_REACH = 4  # words back

_SENTENCE_ENDS = re.compile(
    r"[.!?;\n]|\b(?:but|while|whereas|although|though|yet|however|despite|because|since)\b"
)
_SEGMENT_ENDS = re.compile(r"[,:()]|\b(?:and|or|with|plus|alongside)\b")
_WORD = re.compile(r"ris(?:ing|e)-fall(?:ing)?|fall(?:ing)?-ris(?:ing|e)|[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """A level word of a segment."""

    position: int
    """Which word of the segment."""
    attribute: str
    """Its own attribute; empty if it takes that of a noun."""
    level: str
    is_move: bool


@dataclass(frozen=True, slots=True)
class _Segment:
    words: tuple[_Word, ...]
    nouns: Mapping[int, str]
    """Position -> attribute."""
    places: tuple[int, ...]
    """The positions, ascending."""
    marks: tuple[_Mark, ...]


def find_claims(text: str) -> tuple[Claim, ...]:
    """Return the claims of a text, in the order of their level words; duplicates included."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose lower case is longer would shift the places
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    claims: list[Claim] = []
    for start, end in _pieces(lowered, 0, len(lowered), _SENTENCE_ENDS):
        bounds = _pieces(lowered, start, end, _SEGMENT_ENDS)
        segments = [segment for a, b in bounds if (segment := _segment(lowered, a, b)) is not None]
        claims += _sentence_claims(segments)
    return tuple(claims)


def _pieces(text: str, start: int, end: int, cut: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Yield the bounds of what lies between the cuts."""
    for found in cut.finditer(text, start, end):
        yield start, found.start()
        start = found.end()
    yield start, end


def _segment(text: str, start: int, end: int) -> _Segment | None:
    """Return the segment of these bounds; None if it says nothing about a voice."""
    words = tuple(_Word(m.group(), m.start(), m.end()) for m in _WORD.finditer(text, start, end))
    nouns = {i: _NOUNS[word.text] for i, word in enumerate(words) if word.text in _NOUNS}
    marks = tuple(_marks([word.text for word in words]))
    return _Segment(words, nouns, tuple(nouns), marks) if nouns or marks else None


def _marks(words: Sequence[str]) -> Iterator[_Mark]:
    for i, word in enumerate(words):
        if i and words[i - 1] in _BEFORE_COMPARISON and word not in _NOUNS:
            continue  # the "normal" of "higher than normal"
        if word in _OWN_MOVES:
            attribute, level = _OWN_MOVES[word].split()
            yield _Mark(i, attribute, level, True)
        elif word in _OWN:
            attribute, level = _OWN[word].split()
            yield _Mark(i, attribute, level, False)
        elif word in _MOVES:
            yield _Mark(i, "", _MOVES[word], True)
        elif word in _LEVELS:
            yield _Mark(i, "", _LEVELS[word], False)


def _sentence_claims(segments: Sequence[_Segment]) -> Iterator[Claim]:
    """Yield the claims of a sentence, whose segments may lend each other attribute or level."""
    following: list[_Segment | None] = []  # from the last segment on: the next one with a level
    lender: _Segment | None = None
    for segment in reversed(segments):
        following.append(lender)
        lender = segment if segment.marks else lender
    last: _Segment | None = None
    noun = ""
    for segment, after in zip(segments, reversed(following), strict=True):
        if segment.marks:
            for mark in segment.marks:
                yield from _claim(segment, mark, mark.attribute or _nearest(segment, mark) or noun)
            last = segment
        else:
            # Attributes alone: "the pitch and the energy are low", "high pitch and energy".
            leads = after is not None and _noun_comes_first(after)
            source = after if leads else last
            if source is not None:
                mark = source.marks[0] if leads else source.marks[-1]
                for attribute in segment.nouns.values():
                    yield from _claim(source, mark, attribute)
        noun = segment.nouns[segment.places[-1]] if segment.places else ""


def _noun_comes_first(segment: _Segment) -> bool:
    """Whether the segment reads "energy is low" rather than "low energy"."""
    return bool(segment.nouns) and min(segment.nouns) < segment.marks[0].position


def _nearest(segment: _Segment, mark: _Mark) -> str:
    """Return the attribute that a level word belongs to; empty if the segment names none."""
    places = segment.places
    after = bisect(places, mark.position)
    near = places[max(0, after - 1) : after + 1]
    # Of two at the same distance the noun that follows: "high pitch".
    found = min(near, key=lambda p: (abs(p - mark.position), p < mark.position), default=None)
    return "" if found is None else segment.nouns[found]


def _claim(segment: _Segment, mark: _Mark, attribute: str) -> Iterator[Claim]:
    """Yield the claim of a level word on an attribute, unless the two do not go together."""
    word = segment.words[mark.position]
    if mark.attribute == "intonation" or (mark.is_move and attribute in ("pitch", "intonation")):
        level = "flat" if mark.level == "steady" else mark.level
        attribute = "intonation"
    elif mark.is_move and attribute:
        attribute, level = CHANGES[attribute], mark.level
    elif attribute in ("pitch", "energy") and not mark.is_move:
        level = mark.level
    elif attribute == "rate":
        level = {"high": "fast", "low": "slow"}.get(mark.level, mark.level)
    else:
        return  # a level without attribute, or "high intonation"
    recent = segment.words[max(0, mark.position - _DENIAL_REACH) : mark.position]
    negated = any(word.text in _DENIALS for word in recent)
    yield Claim(attribute, level, negated, word.start, word.end)


def truth_of(claim: Claim, prosody: Mapping[str, Any], margin: float) -> float | None:
    """Return how true a claim is: 1, 0.5 (borderline) or 0; None if it was not measured.

    Args:
        claim: What the text says.
        prosody: Measurements of the clip, as `data.prosody_levels.describe` writes them.
        margin: Width of the borderline, in standard deviations.
    """
    two_parts = claim.attribute == "intonation" and claim.level in TURNS
    level = prosody.get("contour" if two_parts else claim.attribute)
    if level is None:
        return None
    truth = 1.0 if level == claim.level else 0.0
    if truth == 0:
        distance = _distance(claim, level, prosody)
        truth = 0.5 if distance is not None and distance <= margin else 0.0
    return 1.0 - truth if claim.negated else truth


def _distance(claim: Claim, level: str, prosody: Mapping[str, Any]) -> float | None:
    """Return how far a measurement lies outside the claimed level, in deviations; None if far."""
    if claim.attribute == "intonation":
        return prosody.get(f"intonation_to_{claim.level}")
    if claim.attribute not in LEVELS:
        return None
    order = LEVELS[claim.attribute]
    steps = order.index(claim.level) - order.index(level)
    if abs(steps) != 1:
        return None
    side = "above" if steps > 0 else "below"
    return prosody.get(f"{claim.attribute}_to_{side}")
