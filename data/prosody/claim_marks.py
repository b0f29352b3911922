"""The level words of a piece of English, and whether they are said of a voice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from data.prosody.claim import EITHER, RANKS, direction
from data.prosody.claim_words import (
    ARTICLES,
    BEFORE_COMPARISON,
    COMPARISONS,
    COPULAS,
    FAR_REACH,
    FUNCTION,
    GROWING,
    LINKS,
    MEANINGS,
    MEASURES,
    NOUNS,
    OF_MIND,
    OTHERS,
    REACH,
    VOICES,
    Meaning,
    words_of,
)

ORDINAL = {"slow": "low", "fast": "high"}
JOINING = words_of(
    "to into slightly rather quite very fairly somewhat relatively a little bit even almost mildly "
    "moderately maybe perhaps possibly else at as most least the"
)
"""Words between the two levels of a range."""

TOWARDS = frozenset(["to", "into", "until"])
"""Words before what a change ends with."""

ADVERBS = words_of(
    "so very quite rather too a bit little also even still both all more most less not just only"
)
"""Words between a copula and its level word."""


PERSONS = frozenset(["speaker", "person", "man", "woman", "guy", "girl", "boy", "voice", "one"])
ANOTHER = frozenset(["second", "other", "another"])
"""Words before one who is not the speaker."""

PRONOUNS = frozenset(
    ["hers", "theirs", "he", "she", "they", "it", "i", "we", "who", "this", "that", "what", "which"]
)

_NORM_BEFORE = re.compile(
    r"\b(?:than|(?:compared|relative|comparison|next) (?:to|with))"
    r"(?: (?!is |are |was |were |it |he |she |they )\w+){0,5} $"
)
"""What a "normal" after it is a norm to compare with: "high relative to the speaker's usual"."""


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
    if gap not in ("-", "/") and not spanning:
        return None
    attributes = {one.attribute, other.attribute} - {""}
    if len(attributes) > 1:
        return None
    attribute = next(iter(attributes), "")
    before = [word.text for word in words[max(0, one.position - 3) : one.position]]
    spans = any(
        word.startswith(("rang", "var", "fluctuat", "between", "any", "somewhere"))
        for word in before
    )
    if "from" in before and not spans and not (one.is_move or other.is_move):
        return Mark(other.position, attribute, direction(one.level, other.level), is_move=True)
    levels = {ORDINAL.get(level, level) for level in (one.level, other.level)}
    if len(levels & {"low", "high"}) == 2:  # all of the scale: it moves, or nothing is said
        return Mark(other.position, attribute, "expressive", is_move=True)
    level = EITHER.join(sorted(levels))
    return Mark(other.position, attribute, level, one.is_move and other.is_move)


def _single_marks(words: Sequence[Word]) -> list[Mark]:
    marks: list[Mark] = []
    growing = moves = article = False
    for i, word in enumerate(words):
        meaning = word.phrase or MEANINGS.get(word.text)
        growing = word.text in GROWING or (growing and is_link(word))
        article = growing and (article or word.text in ("a", "an", "the"))
        if meaning is None or not meaning.level:
            continue
        before = [other.text for other in words[max(0, i - REACH) : i]]
        ends = not {"from", *TOWARDS}.isdisjoint(before[1:]) or "until" in before[:1]
        ends = ends or word.text.split()[0] in TOWARDS
        if moves and ends and not meaning.is_move:  # "slows from a fast clip to a crawl"
            if not (
                marks[-1].attribute
                or any(other.text in NOUNS for other in words[max(0, i - FAR_REACH) : i])
            ):
                marks[-1] = replace(marks[-1], attribute=meaning.attribute)
            continue
        if before and before[-1] in BEFORE_COMPARISON:
            continue  # the "normal" of "higher than normal"
        after = words[i + 1].text if i + 1 < len(words) else ""
        near = before[before.index("to") + 1 :] if "to" in before else before
        far = "".join(f"{other.text} " for other in words[max(0, i - FAR_REACH) : i])
        is_norm = not COMPARISONS.isdisjoint(near) or _NORM_BEFORE.search(far)
        spans = before[-1:] == ["from"] and after in TOWARDS  # "from normal to fast"
        if meaning.level == "normal" and is_norm and not spans:
            continue  # and of "higher than in her usual voice"
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
        grows = growing and (not article or word.text.endswith("er") or "more" in before)
        if grows and not is_move and level in RANKS and level != "normal":
            level, is_move = direction("normal", level), True
        moves = moves or is_move
        marks.append(Mark(i, meaning.attribute, level, is_move))
    return marks


def _describes_other(words: Sequence[Word], position: int) -> bool:
    """Whether a level word stands before a noun that is no part of speaking."""
    word = words[position].text
    if words[position].phrase or word.endswith(("ly", "s", "ted")):
        return False
    if word in MEANINGS and MEANINGS[word].is_move and not word.endswith(("ing", "y")):
        return False
    start = position
    while start and (words[start - 1].text in ADVERBS or words[start - 1].text.endswith("ly")):
        if words[start - 1].text == "a" and words[start].text not in ("bit", "little"):
            break  # "a flat refusal", and not "a bit flat"
        start -= 1
    if start and words[start - 1].text in COPULAS and words[max(0, start - 2)].text != "there":
        return False
    named = False
    for other in words[position + 1 : position + 1 + REACH]:
        if other.text in MEASURES or other.text in ("pitched", "paced"):
            continue
        if other.text in NOUNS or other.text in VOICES:
            return named and other.text in ("this", "these", "those")  # "a loud world these days"
        if other.phrase or other.text in MEANINGS:
            if other.phrase or MEANINGS[other.text].is_move:
                return False
            continue
        if other.text == "of" and not named:
            continue
        if other.text in FUNCTION or other.text.endswith("ly"):
            return named
        named = True
    return named


def attribute_of(word: Word) -> str:
    """Return the attribute that a word or phrase names; empty for any other."""
    is_noun = word.phrase is not None and not word.phrase.level
    return NOUNS.get(word.text) or (word.phrase.attribute if word.phrase and is_noun else "")


def is_link(word: Word) -> bool:
    """Whether a word may stand between what was named and its level."""
    is_term = word.phrase is not None or word.text in MEANINGS or word.text in NOUNS
    return is_term or word.text in LINKS or word.text.endswith("ly")


def is_of_other(words: Sequence[Word], mark: Mark) -> bool:
    """Whether the level is said to be that of no voice: "the music in the room is loud"."""
    if _follows_other(words[: mark.position]):
        return True
    copula = next((i for i in range(mark.position) if words[i].text in COPULAS), None)
    if copula is None or not all(is_link(w) for w in words[copula : mark.position]):
        return False
    subject = [word.text for word in words[:copula]]
    if any(word in PRONOUNS for word in subject):
        return False
    if not OTHERS.isdisjoint(subject):
        return True
    nouns = (i for i, word in enumerate(words[:copula]) if attribute_of(word))
    if any(not i or subject[i - 1] not in OF_MIND for i in nouns):
        return False
    head = ""
    for word in subject:
        if word in FUNCTION and word not in MEASURES:
            if head and word not in ARTICLES:
                break
        elif word not in MEASURES:
            head = word
    vocal = head in VOICES or head in MEANINGS or head in NOUNS
    mental = len(subject) > 1 and head in NOUNS and subject[subject.index(head) - 1] in OF_MIND
    return bool(head) and (mental or not vocal)


def _follows_other(words: Sequence[Word]) -> bool:
    """Whether of what could have a level something else than a voice was named last."""
    for place, word in reversed(list(enumerate(words))):
        if word.text in OTHERS or (
            word.text in PERSONS and place and words[place - 1].text in ANOTHER
        ):
            return True
        if word.text in NOUNS or word.text in PRONOUNS or word.text in VOICES:
            return False
    return False
