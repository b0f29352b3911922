"""What a text says about a voice, found by rules, and whether the measurements bear it out.

English only. A sentence is cut into segments at commas and "and"; in a segment every level word
belongs to the attribute word next to it ("high pitch", "the pitch is high"), or to that of its
neighbour segment ("high pitch and energy", "the pitch is high and steady"). Some words and phrases
carry their attribute with them ("loud", "monotone", "little variation"). What a question, a "would
be" or a mood is said to be ("a deep sadness") claims nothing. Time is linear in the text's length.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from data.prosody.claim_words import (
    ARTICLES,
    BEFORE_COMPARISON,
    BUT_REACH,
    CLAUSE_ENDS,
    COMPARISONS,
    DENIALS,
    DENYING_PAIRS,
    ENDS,
    HYPOTHETICAL,
    KEEP_NOUN,
    LINKS,
    MEANINGS,
    NO_DENIAL_BEFORE,
    NOUN_PHRASE,
    NOUNS,
    OF_MIND,
    OF_VOICE,
    OR_REACH,
    PHRASES,
    REACH,
    SCOPE_ENDS,
    SEGMENT_ENDS,
    WORD,
    Meaning,
    without_quotes,
)

ATTRIBUTES = ("pitch", "energy", "rate", "intonation")
"""What a description of a voice should cover."""

MARGIN = 0.25
"""Distance to a claimed level, in standard deviations, within which the claim is half true."""

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


TURNS = ("rising-falling", "falling-rising")
"""Intonations that are checked against the contour's shape, not against its range."""

LEVELS: Mapping[str, tuple[str, ...]] = {
    "pitch": ("low", "normal", "high"),
    "energy": ("low", "normal", "high"),
    "rate": ("slow", "normal", "fast"),
}
"""Attributes whose levels are in order."""


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    phrase: Meaning | None
    """What it says if it is a whole phrase."""


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
    subject: int
    """Position of the first word that could be what the segment speaks of, without being a noun
    from above; the number of words if there is none."""
    has_voice: bool
    """Whether it speaks of a voice."""
    after_or: bool
    """Whether it is joined to the one before by "or"."""


def find_claims(text: str) -> tuple[Claim, ...]:
    """Return the claims of a text, in the order of their level words; duplicates included."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose lower case is longer would shift the places
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    claims: list[Claim] = []
    noun = ""
    for start, end, opened_by, closed_by in _clauses(lowered):
        segments = list(_segments(lowered, start, end))
        if not segments:
            noun = noun if opened_by in KEEP_NOUN else ""
            continue
        borrowed = noun if opened_by in KEEP_NOUN and _borrows(segments[0], BUT_REACH) else ""
        if closed_by != "?" and not HYPOTHETICAL.search(lowered, start, end):
            claims += _without_choices(lowered, list(_clause_claims(segments, borrowed)))
        noun = next((s.nouns[s.places[-1]] for s in reversed(segments) if s.places), borrowed)
    return tuple(claims)


def _clauses(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield the bounds of the clauses, and what opens and closes each."""
    start, opened_by = 0, ""
    for found in CLAUSE_ENDS.finditer(text):
        yield start, found.start(), opened_by, found[0]
        start, opened_by = found.end(), found[0]
    yield start, len(text), opened_by, ""


def _segments(text: str, start: int, end: int) -> Iterator[_Segment]:
    """Yield the segments of a clause that say something about a voice."""
    after_or = False
    named: list[str] = []
    for cut in [*SEGMENT_ENDS.finditer(text, start, end), None]:
        segment = _segment(text, start, cut.start() if cut else end, after_or, named)
        if segment.nouns or segment.marks:
            yield segment
        if cut is not None:
            start, after_or = cut.end(), cut[0] == "or"


def _segment(text: str, start: int, end: int, after_or: bool, named: list[str]) -> _Segment:
    """Return a segment; `named` takes the attributes that the clause names, in order."""
    words = tuple(
        _Word(m.group(), m.start(), m.end(), PHRASES[m.lastindex - 1][0] if m.lastindex else None)
        for m in WORD.finditer(text, start, end)
    )
    nouns: dict[int, str] = {}
    for place, word in enumerate(words):
        if word.text in NOUNS:
            nouns[place] = NOUNS[word.text]
            named.append(nouns[place])
        elif word.text in ("former", "latter") and len(named) >= 2:
            nouns[place] = named[0 if word.text == "former" else 1]
    others = (place for place, word in enumerate(words) if not _is_link(word))
    subject = next(others, len(words))
    has_voice = any(word.text == "voice" for word in words)
    return _Segment(words, nouns, tuple(nouns), tuple(_marks(words)), subject, has_voice, after_or)


def _is_link(word: _Word) -> bool:
    """Whether a word may stand between what was named and its level."""
    known = word.phrase is not None or word.text in MEANINGS or word.text in NOUNS
    return known or word.text in LINKS or word.text.endswith("ly")


def _marks(words: Sequence[_Word]) -> Iterator[_Mark]:
    for i, word in enumerate(words):
        found = word.phrase or MEANINGS.get(word.text)
        if found is None or not found.level:
            continue
        before = [other.text for other in words[max(0, i - REACH) : i]]
        if before and before[-1] in BEFORE_COMPARISON:
            continue  # the "normal" of "higher than normal"
        if found.level == "normal" and not COMPARISONS.isdisjoint(before):
            continue  # and of "higher than in her usual voice"
        after = words[i + 1].text if i + 1 < len(words) else ""
        if after in OF_MIND and not found.attribute:
            continue  # "a neutral state", "deep sorrow"
        if found.level == "steady" and after in MEANINGS and MEANINGS[after].is_move:
            continue  # "a steady rise"
        yield _Mark(i, found.attribute, found.level, found.is_move)


def _clause_claims(segments: Sequence[_Segment], noun: str) -> Iterator[Claim]:
    """Yield the claims of a clause, whose segments may lend each other attribute or level."""
    following: list[_Segment | None] = []  # from the last segment on: the next one with a level
    lender: _Segment | None = None
    for segment in reversed(segments):
        following.append(lender)
        lender = segment if segment.marks else lender
    last: _Segment | None = None
    denied = False
    for place, (segment, after) in enumerate(zip(segments, reversed(following), strict=True)):
        carried = segment.after_or and denied
        if segment.marks:
            for mark in segment.marks:
                denied = _is_denied(segment, mark) or (carried and mark.position < OR_REACH)
                attribute = mark.attribute or _described(segments[place : place + 2], mark)
                attribute = attribute or _attribute(segment, mark, noun)
                yield from _claim(segment, mark, attribute, denied)
            last = segment
        elif all(word.text in NOUN_PHRASE or word.text in NOUNS for word in segment.words):
            # Attributes alone: "the pitch and the energy are low", "high pitch and energy".
            leads = after is not None and _noun_comes_first(after)
            source = after if leads else None if after and _borrows(after, REACH) else last
            if source is not None:
                mark = source.marks[0] if leads else source.marks[-1]
                for attribute in segment.nouns.values() if not mark.attribute else ():
                    yield from _claim(source, mark, attribute, _is_denied(source, mark))
        noun = segment.nouns[segment.places[-1]] if segment.places else noun


def _without_choices(text: str, claims: Sequence[Claim]) -> Iterator[Claim]:
    """Yield the claims without those of "fast or slow", which says neither."""
    chosen: set[int] = set()
    for place, (one, other) in enumerate(pairwise(claims)):
        same = one.attribute == other.attribute and not (one.negated or other.negated)
        if same and one.level != other.level and text[one.end : other.start].strip() == "or":
            chosen |= {place, place + 1}
    yield from (claim for place, claim in enumerate(claims) if place not in chosen)


def _noun_comes_first(segment: _Segment) -> bool:
    """Whether the segment reads "energy is low" rather than "low energy"."""
    return bool(segment.places) and segment.places[0] < segment.marks[0].position


def _borrows(segment: _Segment, reach: int) -> bool:
    """Whether the segment reads "which is low", about what was named before."""
    if segment.nouns or not segment.marks or segment.marks[0].attribute:
        return False
    return segment.marks[0].position <= min(reach, segment.subject)


def _described(pair: Sequence[_Segment], mark: _Mark) -> str:
    """Return the noun of "a low and steady pitch" for the "low"; empty for anything else."""
    words = pair[0].words
    if len(pair) < 2 or mark.position < 1 or mark.position != len(words) - 1:
        return ""
    place = pair[1].places[0] if pair[1].places else REACH
    ends = words[mark.position - 1].text in ARTICLES and place < REACH - 1
    return pair[1].nouns[place] if ends else ""


def _attribute(segment: _Segment, mark: _Mark, noun: str) -> str:
    """Return the attribute that a level word belongs to; empty if none is in sight."""
    places = segment.places
    after = bisect(places, mark.position)
    near = places[max(0, after - 1) : after + 1]
    if near:
        # Of two at the same distance the noun that follows: "high pitch".
        return segment.nouns[min(near, key=lambda p: (abs(p - mark.position), p < mark.position))]
    if segment.has_voice:
        noun = OF_VOICE.get(segment.words[mark.position].text, "")
    elif mark.position > segment.subject:
        noun = ""
    rest = {other.text for other in segment.words[mark.position + 1 : mark.position + 1 + REACH]}
    return noun or ("intonation" if mark.is_move and rest & ENDS else "")


def _is_denied(segment: _Segment, mark: _Mark) -> bool:
    """Whether a denial stands before a level word: "not", "far from", but not "not only"."""
    words = [word.text for word in segment.words[max(0, mark.position - REACH) : mark.position + 1]]
    for word, after in reversed(list(pairwise(words))):
        if word in SCOPE_ENDS:
            return False
        if word in DENIALS and after not in NO_DENIAL_BEFORE:
            return True
        if (word, after) in DENYING_PAIRS:
            return True
    return False


def _claim(segment: _Segment, mark: _Mark, attribute: str, negated: bool) -> Iterator[Claim]:
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
    yield Claim(attribute, level, negated, word.start, word.end)


def truth_of(claim: Claim, prosody: Mapping[str, Any], margin: float) -> float | None:
    """Return how true a claim is: 1, 0.5 (borderline) or 0; None if it was not measured.

    Args:
        claim: What the text says.
        prosody: Measurements of the clip, as `data.prosody.levels.describe` writes them.
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


_WORST_FIRST = ("false", "half", "unknown", "true")


def claim_pieces(text: str, prosody: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a text cut at its claims on the voice, each piece with its class.

    `true`, `half` (borderline), `false` or `unknown` (not measured); empty for what claims nothing.
    What stands in double quotes claims nothing.
    """
    kinds: dict[tuple[int, int], str] = {}
    for claim in find_claims(without_quotes(text)):
        truth = truth_of(claim, prosody, MARGIN)
        kind = "unknown" if truth is None else {0.0: "false", 0.5: "half", 1.0: "true"}[truth]
        word = claim.start, claim.end
        # Of the claims that one word makes ("pitch and energy are low") the worst is shown.
        kinds[word] = min(kind, kinds.get(word, kind), key=_WORST_FIRST.index)
    pieces: list[tuple[str, str]] = []
    place = 0
    for (start, end), kind in sorted(kinds.items()):
        pieces += [(text[place:start], ""), (text[start:end], kind)]
        place = end
    return [piece for piece in [*pieces, (text[place:], "")] if piece[0]]
