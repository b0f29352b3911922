"""What an English text says about a voice, found by rules.

A sentence is cut into segments at commas and "and"; in a segment every level word belongs to the
attribute word next to it ("high pitch", "the pitch is high"), or to that of its neighbour segment
("high pitch and energy", "the pitch is high and steady"). Some words and phrases carry their
attribute with them ("loud", "monotone", "little variation"). A level of anything but a voice ("the
fast-moving story"), of a single word or of a part of the clip is no claim; levels of two parts are
a change. Time is linear in the text's length.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from data.prosody.claim import CHANGES, EITHER, LEVELS, RANKS, Claim, direction, either, whole_clip
from data.prosody.claim_scope import without_suppositions
from data.prosody.claim_words import (
    ARC,
    ARTICLES,
    BEFORE_COMPARISON,
    BETWEEN,
    BUT_REACH,
    CLAUSE_ENDS,
    COMPARISONS,
    COPULAS,
    DENIALS,
    DENYING_PAIRS,
    ENDS,
    FINISHES,
    FUNCTION,
    GROWING,
    KEEP_NOUN,
    LINKS,
    MEANINGS,
    MEASURES,
    NO_DENIAL_BEFORE,
    NOUN_PHRASE,
    NOUNS,
    OF_MIND,
    OF_VOICE,
    ONE_WORD,
    OR_REACH,
    OTHERS,
    PHRASES,
    REACH,
    REPEATED,
    SCOPE_ENDS,
    SEGMENT_ENDS,
    STARTS,
    VOICES,
    WORD,
    Meaning,
)

SENTENCE_ENDS = frozenset([".", "!", "?", ";", "\n", ""])

_ORDINAL = {"slow": "low", "fast": "high"}
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

PRONOUNS = frozenset(["he", "she", "they", "it", "i", "we", "who", "this", "that", "what", "which"])
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
    phase: str
    """`start` or `end` if it tells of that part of the clip alone, `word` if of a single word."""
    is_other: bool
    """Whether what it says is of something else than a voice."""
    after_or: bool
    """Whether it is joined to the one before by "or"."""


def find_english(text: str) -> Iterator[Claim]:
    """Yield the claims of a lower-case text without quotes, in the order of their level words."""
    text = ARC.sub(lambda found: found[1] + " " * len(found[2]), without_suppositions(text))
    text = REPEATED.sub(lambda found: "ever".ljust(len(found[0])), text)
    text = BETWEEN.sub(lambda found: found[1] + " to ", text)
    sentence: list[tuple[Claim, str]] = []
    noun = ""
    for start, end, opened_by, closed_by in _clauses(text):
        segments = list(_segments(text, start, end))
        borrowed = ""
        if segments:
            keeps = opened_by in KEEP_NOUN and _borrows(segments[0], BUT_REACH)
            borrowed = noun if keeps else ""
            if closed_by != "?":
                sentence += _with_ranges(text, list(_clause_claims(segments, borrowed)))
            noun = next((s.nouns[s.places[-1]] for s in reversed(segments) if s.places), borrowed)
        elif opened_by not in KEEP_NOUN:
            noun = ""
        if closed_by in SENTENCE_ENDS:
            yield from whole_clip(text, sentence)
            sentence = []


def _clauses(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield the bounds of the clauses, and what opens and closes each."""
    start, opened_by = 0, ""
    for found in CLAUSE_ENDS.finditer(text):
        yield start, found.start(), opened_by, found[0]
        start, opened_by = found.end(), found[0]
    yield start, len(text), opened_by, ""


def _segments(text: str, start: int, end: int) -> Iterator[_Segment]:
    """Yield the segments of a clause that say something about a voice."""
    joint = ""
    named: list[str] = []
    last: _Segment | None = None
    for cut in [*SEGMENT_ENDS.finditer(text, start, end), None]:
        stop = cut.start() if cut else end
        segment = last = _segment(text, start, stop, joint, named, last)
        if segment.nouns or segment.marks:
            yield segment
        if cut is not None:
            start, joint = cut.end(), cut[0]


def _segment(
    text: str, start: int, end: int, joint: str, named: list[str], last: _Segment | None
) -> _Segment:
    """Return a segment; `named` takes the attributes that the clause names, in order."""
    words = tuple(
        _Word(m.group(), m.start(), m.end(), PHRASES[m.lastindex - 1][0] if m.lastindex else None)
        for m in WORD.finditer(text, start, end)
    )
    nouns: dict[int, str] = {}
    for place, word in enumerate(words):
        if word.text in NOUNS and not (place and words[place - 1].text in OF_MIND):
            nouns[place] = NOUNS[word.text]
            named.append(nouns[place])
        elif word.text in ("former", "latter") and len(named) >= 2:
            nouns[place] = named[0 if word.text == "former" else 1]
    others = (place for place, word in enumerate(words) if not _is_link(word))
    subject = next(others, len(words))
    marks = tuple(_marks(text, words))
    # What a segment without a subject tells is of the one before: "starts low and quiet".
    goes_on = bool(last and marks and not nouns and marks[0].position <= subject)
    has_voice = any(word.text in ("voice", "tone") for word in words)
    has_voice = has_voice or bool(goes_on and last and last.has_voice)
    phase = _phase(text, start, end)
    leads = last is not None and not last.marks and last.phase != "word"
    if not phase and last and (goes_on or leads or joint == "with"):
        phase = last.phase
    lost = goes_on and last is not None and last.is_other
    is_other = bool(marks) and (lost or _is_of_other(words, marks[0]))
    return _Segment(
        words, nouns, tuple(nouns), marks, subject, has_voice, phase, is_other, joint == "or"
    )


def _phase(text: str, start: int, end: int) -> str:
    """Return which part of the clip a segment tells of; empty for all of it."""
    if ONE_WORD.search(text, start, end):
        return "word"
    found = [
        (m.start(), name)
        for name, m in (
            ("start", STARTS.search(text, start, end)),
            ("end", FINISHES.search(text, start, end)),
        )
        if m
    ]
    return min(found)[1] if found else ""


def _is_of_other(words: Sequence[_Word], mark: _Mark) -> bool:
    """Whether the level is said to be that of no voice: "the music in the room is loud"."""
    copula = next((i for i in range(mark.position) if words[i].text in COPULAS), None)
    if copula is None or not all(_is_link(w) for w in words[copula : mark.position]):
        return False
    subject = [word.text for word in words[:copula]]
    if any(word in PRONOUNS for word in subject):
        return False
    if not OTHERS.isdisjoint(subject):
        return True
    if any(w in NOUNS and (not i or subject[i - 1] not in OF_MIND) for i, w in enumerate(subject)):
        return False
    head = ""
    for word in subject:
        if word in FUNCTION and word not in MEASURES:
            if head and word not in ARTICLES:
                break
        elif word not in MEASURES:
            head = word
    known = head in VOICES or head in MEANINGS or head in NOUNS
    mental = len(subject) > 1 and head in NOUNS and subject[subject.index(head) - 1] in OF_MIND
    return bool(head) and (mental or not known)


def _is_link(word: _Word) -> bool:
    """Whether a word may stand between what was named and its level."""
    known = word.phrase is not None or word.text in MEANINGS or word.text in NOUNS
    return known or word.text in LINKS or word.text.endswith("ly")


def _marks(text: str, words: Sequence[_Word]) -> Iterator[_Mark]:
    """Yield the level words of a segment; those of a range as one."""
    held: _Mark | None = None
    for mark in _single_marks(words):
        joined = held and _joined(text, words, held, mark)
        if held and not joined:
            yield held
        held = joined or mark
    if held:
        yield held


def _joined(text: str, words: Sequence[_Word], one: _Mark, other: _Mark) -> _Mark | None:
    """Return the mark of "moderate to high", or "from quiet to loud"; None for any other two."""
    between = [word.text for word in words[one.position + 1 : other.position]]
    gap = text[words[one.position].end : words[other.position].start]
    if gap != "-" and not (JOINING & set(between) and JOINING.issuperset(between)):
        if not ("to" in between and all(w in FUNCTION or w in JOINING for w in between)):
            return None
    attributes = {one.attribute, other.attribute} - {""}
    if len(attributes) > 1:
        return None
    attribute = next(iter(attributes), "")
    before = [word.text for word in words[max(0, one.position - 3) : one.position]]
    spans = any(word.startswith(("rang", "var", "fluctuat", "between")) for word in before)
    if "from" in before and not spans and not (one.is_move or other.is_move):
        return _Mark(other.position, attribute, direction(one.level, other.level), is_move=True)
    levels = {_ORDINAL.get(level, level) for level in (one.level, other.level)}
    if len(levels & {"low", "high"}) == 2:  # all of the scale: it moves, or nothing is said
        return _Mark(other.position, attribute, "expressive", is_move=True)
    level = EITHER.join(sorted(levels))
    return _Mark(other.position, attribute, level, one.is_move and other.is_move)


def _single_marks(words: Sequence[_Word]) -> Iterator[_Mark]:
    growing = moves = False
    for i, word in enumerate(words):
        found = word.phrase or MEANINGS.get(word.text)
        growing = word.text in GROWING or (growing and _is_link(word))
        if found is None or not found.level:
            continue
        before = [other.text for other in words[max(0, i - REACH) : i]]
        if moves and "from" in before[1:] and not found.is_move:
            continue  # "slows from a fast clip to a crawl"
        if before and before[-1] in BEFORE_COMPARISON:
            continue  # the "normal" of "higher than normal"
        if found.level == "normal" and not COMPARISONS.isdisjoint(before):
            continue  # and of "higher than in her usual voice"
        after = words[i + 1].text if i + 1 < len(words) else ""
        if after in OF_MIND and not found.attribute:
            continue  # "a neutral state", "deep sorrow"
        if found.level == "steady" and after in MEANINGS and MEANINGS[after].is_move:
            continue  # "a steady rise"
        if found.level == "normal" and word.text.endswith("ly") and after in MEANINGS:
            continue  # "moderately high"
        if _describes_other(words, i):
            continue  # "a high-stakes call"
        level, is_move = found.level, found.is_move
        if word.text in GROWING and after in MEANINGS:
            continue  # "grows louder"
        if growing and not is_move and level in RANKS and level != "normal":
            level, is_move = direction("normal", level), True
        moves = moves or is_move
        yield _Mark(i, found.attribute, level, is_move)


def _describes_other(words: Sequence[_Word], position: int) -> bool:
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


def _clause_claims(segments: Sequence[_Segment], noun: str) -> Iterator[tuple[Claim, str]]:
    """Yield the claims of a clause with the part of the clip that they tell of.

    Its segments may lend each other attribute or level.
    """
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
            for mark in segment.marks if not segment.is_other else ():
                denied = _is_denied(segment, mark) or (carried and mark.position < OR_REACH)
                attribute = mark.attribute or _described(segments[place : place + 2], mark)
                attribute = attribute or _attribute(segment, mark, noun)
                yield from _claim(segment, mark, attribute, denied)
            last = segment
        elif all(word.text in NOUN_PHRASE or word.text in NOUNS for word in segment.words):
            # Attributes alone: "the pitch and the energy are low", "high pitch and energy".
            leads = after is not None and _noun_comes_first(after)
            so = segment.words[0].text == "so"  # "and so is the energy"
            source = after if leads else None if after and _borrows(after, REACH) else last
            source = last if so else source
            if source is not None:
                mark = source.marks[0] if leads and not so else source.marks[-1]
                for attribute in segment.nouns.values() if so or not mark.attribute else ():
                    yield from _claim(source, mark, attribute, _is_denied(source, mark))
        noun = segment.nouns[segment.places[-1]] if segment.places else noun


def _with_ranges(text: str, claims: Sequence[tuple[Claim, str]]) -> Iterator[tuple[Claim, str]]:
    """Yield the claims, two as one where the text says "normal or slightly raised".

    "Fast or slow" says neither.
    """
    place = 0
    while place < len(claims):
        one, phase = claims[place]
        other = claims[place + 1][0] if place + 1 < len(claims) else one
        levels = one.levels | other.levels
        between = text[one.end : other.start].split()
        chosen = between[:1] == ["or"] and all(w in JOINING for w in between[1:])
        same = one.attribute == other.attribute and not (one.negated or other.negated)
        if not (chosen and same and len(levels) > 1):
            yield one, phase
            place += 1
            continue
        order = LEVELS.get(one.attribute)
        if not order or not {order[0], order[-1]} <= levels:
            yield replace(other, level=either(one.attribute, set(levels))), phase
        place += 2


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
    word = segment.words[mark.position].text
    after = bisect(places, mark.position)
    following = [other.text for other in segment.words[mark.position + 1 : mark.position + REACH]]
    if word in OF_VOICE and following[:1] in (["voice"], ["tone"]):
        return OF_VOICE[word]  # "a deep voice at a leisurely pace"
    if word in ("low", "lower") and following[:1] == ["tone"]:
        return "pitch"
    near = places[max(0, after - 1) : after + 1]
    if near:
        # Of two at the same distance the noun that follows: "high pitch".
        return segment.nouns[min(near, key=lambda p: (abs(p - mark.position), p < mark.position))]
    if mark.is_move and "tone" in {other.text for other in segment.words}:
        return "intonation"
    if segment.has_voice:
        noun = OF_VOICE.get(word, "")
    elif mark.position > segment.subject:
        noun = ""
    rest = {*following, *(w.text for w in segment.words[mark.position + REACH :][:1])}
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


def _claim(
    segment: _Segment, mark: _Mark, attribute: str, negated: bool
) -> Iterator[tuple[Claim, str]]:
    """Yield the claim of a level word on an attribute, unless the two do not go together."""
    word = segment.words[mark.position]
    levels = set(mark.level.split(EITHER))
    if mark.attribute == "intonation" or (mark.is_move and attribute in ("pitch", "intonation")):
        levels = {"flat" if level == "steady" else level for level in levels}
        attribute = "intonation"
    elif mark.is_move and attribute:
        attribute = CHANGES[attribute]
        if not levels <= {"rising", "falling", "steady"}:
            return  # a loudness that rises and falls
    elif attribute == "rate":
        levels = {{"high": "fast", "low": "slow"}.get(level, level) for level in levels}
    elif attribute not in ("pitch", "energy") or mark.is_move:
        return  # a level without attribute, or "high intonation"
    else:
        levels = {_ORDINAL.get(level, level) for level in levels}
    claim = Claim(attribute, either(attribute, levels), negated, word.start, word.end)
    yield claim, segment.phase
