"""The level words of a piece of English, and whether they are said of a voice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data.prosody.claim import EITHER, RANKS, direction
from data.prosody.claim_words import (
    BEFORE_COMPARISON,
    COMPARISONS,
    COPULAS,
    FUNCTION,
    GROWING,
    LINKS,
    MEANINGS,
    MEASURES,
    NOUNS,
    OF_MIND,
    REACH,
    VOICES,
    Meaning,
)

ORDINAL = {"slow": "low", "fast": "high"}
JOINING = frozenset(
    [
        "to",
        "into",
        "slightly",
        "rather",
        "quite",
        "very",
        "fairly",
        "somewhat",
        "relatively",
        "a",
        "little",
        "bit",
        "even",
        "almost",
        "mildly",
        "moderately",
        "the",
    ]
)
"""Words between the two levels of a range."""

ADVERBS = frozenset(
    [
        "so",
        "very",
        "quite",
        "rather",
        "too",
        "a",
        "bit",
        "little",
        "also",
        "even",
        "still",
        "both",
        "all",
        "more",
        "most",
        "less",
        "not",
        "just",
        "only",
    ]
)
"""Words between a copula and its level word."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a phrase."""

    text: str
    start: int
    end: int
    phrase: Meaning | None
    """What it says if it is a whole phrase."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A level word of a segment."""

    """A level word of a segment."""

    position: int
    """Which word of the segment."""
    attribute: str
    """Its own attribute; empty if it takes that of a noun."""
    level: str
    is_move: bool


def find_marks(text: str, words: Sequence[Word]) -> Iterator[Mark]:
    """Yield the level words of a segment; those of a range as one."""
    held: Mark | None = None
    for mark in _single_marks(words):
        joined = held and _joined(text, words, held, mark)
        if held and not joined:
            yield held
        held = joined or mark
    if held:
        yield held


def _joined(text: str, words: Sequence[Word], one: Mark, other: Mark) -> Mark | None:
    """Return the mark of "moderate to high", or "from quiet to loud"; None for any other two."""
    between = [word.text for word in words[one.position + 1 : other.position]]
    gap = text[words[one.position].end : words[other.position].start]
    spanning = "to" in between and all(w in FUNCTION or w in JOINING for w in between)
    if gap != "-" and not spanning:
        return None
    attributes = {one.attribute, other.attribute} - {""}
    if len(attributes) > 1:
        return None
    attribute = next(iter(attributes), "")
    before = [word.text for word in words[max(0, one.position - 3) : one.position]]
    spans = any(word.startswith(("rang", "var", "fluctuat", "between")) for word in before)
    if "from" in before and not spans and not (one.is_move or other.is_move):
        return Mark(other.position, attribute, direction(one.level, other.level), is_move=True)
    levels = {ORDINAL.get(level, level) for level in (one.level, other.level)}
    if len(levels & {"low", "high"}) == 2:  # all of the scale: it moves, or nothing is said
        return Mark(other.position, attribute, "expressive", is_move=True)
    level = EITHER.join(sorted(levels))
    return Mark(other.position, attribute, level, one.is_move and other.is_move)


def _single_marks(words: Sequence[Word]) -> Iterator[Mark]:
    growing = moves = False
    for i, word in enumerate(words):
        meaning = word.phrase or MEANINGS.get(word.text)
        growing = word.text in GROWING or (growing and is_link(word))
        if meaning is None or not meaning.level:
            continue
        before = [other.text for other in words[max(0, i - REACH) : i]]
        if moves and "from" in before[1:] and not meaning.is_move:
            continue  # "slows from a fast clip to a crawl"
        if before and before[-1] in BEFORE_COMPARISON:
            continue  # the "normal" of "higher than normal"
        if meaning.level == "normal" and not COMPARISONS.isdisjoint(before):
            continue  # and of "higher than in her usual voice"
        after = words[i + 1].text if i + 1 < len(words) else ""
        if after in OF_MIND and not meaning.attribute:
            continue  # "a neutral state", "deep sorrow"
        if meaning.level == "steady" and after in MEANINGS and MEANINGS[after].is_move:
            continue  # "a steady rise"
        if meaning.level == "normal" and word.text.endswith("ly") and after in MEANINGS:
            continue  # "moderately high"
        if meaning.level != "normal" and _describes_other(words, i):
            continue  # "a high-stakes call"
        level, is_move = meaning.level, meaning.is_move
        if word.text in GROWING and after in MEANINGS:
            continue  # "grows louder"
        if growing and not is_move and level in RANKS and level != "normal":
            level, is_move = direction("normal", level), True
        moves = moves or is_move
        yield Mark(i, meaning.attribute, level, is_move)


def _describes_other(words: Sequence[Word], position: int) -> bool:
    """Whether a level word stands before a noun that is no part of speaking."""
    word = words[position].text
    if words[position].phrase or word.endswith(("ly", "s", "ted")):
        return False
    if word in MEANINGS and MEANINGS[word].is_move and not word.endswith(("ing", "y")):
        return False
    start = position
    while start and (words[start - 1].text in ADVERBS or words[start - 1].text.endswith("ly")):
        start -= 1
    if start and words[start - 1].text in COPULAS:
        return False
    named = False
    for other in words[position + 1 : position + 1 + REACH]:
        if other.text in NOUNS or other.text in VOICES:
            return False
        if other.phrase or other.text in MEANINGS:
            if other.phrase or MEANINGS[other.text].is_move:
                return False
            continue
        if other.text in MEASURES:
            continue
        if other.text == "of" and not named:
            continue
        if other.text in FUNCTION or other.text.endswith("ly"):
            return named
        named = True
    return named


def is_link(word: Word) -> bool:
    """Whether a word may stand between what was named and its level."""
    is_term = word.phrase is not None or word.text in MEANINGS or word.text in NOUNS
    return is_term or word.text in LINKS or word.text.endswith("ly")
