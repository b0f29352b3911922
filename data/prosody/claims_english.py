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

from data.prosody.claim import CHANGES, EITHER, LEVELS, RANKS, Claim, either, whole_clip
from data.prosody.claim_corrections import without_corrections, without_retracted
from data.prosody.claim_marks import (
    JOINING,
    ORDINAL,
    Mark,
    Word,
    attribute_of,
    find_marks,
    is_link,
    is_of_other,
)
from data.prosody.claim_phrases import (
    ARC,
    BETWEEN,
    CLAUSE_ENDS,
    GROWN,
    LISTED,
    PHRASES,
    REPEATED,
    SEGMENT_ENDS,
    WORD,
)
from data.prosody.claim_scope import without_asides, without_suppositions
from data.prosody.claim_words import (
    ARTICLES,
    BUT_REACH,
    DENIALS,
    DENIED_AFTER,
    DENYING_BEFORE,
    DENYING_PAIRS,
    ENDS,
    FAR_REACH,
    FINISHES,
    FUNCTION,
    KEEP_NOUN,
    LACKS,
    LINKS,
    NO_DENIAL_BEFORE,
    NOUN_PHRASE,
    NOUNS,
    OF_MIND,
    OF_VOICE,
    ONE_WORD,
    OR_REACH,
    REACH,
    SCOPE_ENDS,
    STARTS,
)

SENTENCE_ENDS = frozenset([".", "!", "?", ";", "\n", ""])

VARIED: Mapping[str, str] = {"low": "flat", "high": "expressive"}
"""Level of how much the pitch varies -> that of the intonation."""

TOPICS = frozenset(["in", "as", "when", "looking", "regarding", "concerning", "for", "on"])
"""Words before what a sentence is about: "In pitch, the utterance ..."."""


@dataclass(frozen=True, slots=True)
class _Segment:
    words: tuple[Word, ...]
    nouns: Mapping[int, str]
    """Position -> attribute."""
    places: tuple[int, ...]
    """The positions, ascending."""
    marks: tuple[Mark, ...]
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
    text, corrections = without_corrections(text)
    text = without_suppositions(without_asides(text))
    text = ARC.sub(lambda match: match[1] + " " * len(match[2]), text)
    text = REPEATED.sub(lambda match: "ever".ljust(len(match[0])), text)
    text = GROWN.sub(lambda match: match[0].replace(" and ", "\t" * 5).replace(",", "\t"), text)
    text = LISTED.sub(lambda match: match[1] + " " * len(match[2]), text)
    text = BETWEEN.sub(lambda match: match[1] + " to ", text)
    yield from without_retracted(text, list(_all_claims(text)), corrections)


def _all_claims(text: str) -> Iterator[Claim]:
    """Yield the claims, sentence by sentence."""
    sentence: list[tuple[Claim, str]] = []
    pending: list[tuple[Claim, str]] = []
    noun = ""
    asks = False
    for start, end, opened_by, closed_by in _clauses(text):
        segments = list(_segments(text, start, end))
        borrowed = ""
        if segments:
            about_it = _is_about_it(segments[0])
            reach = REACH if opened_by == "?" or asks or about_it else BUT_REACH
            goes_on = opened_by in KEEP_NOUN or asks or about_it
            borrowed = noun if goes_on and _borrows(segments[0], reach) else ""
            claims = list(_with_ranges(text, list(_clause_claims(segments, borrowed))))
            sentence += claims if closed_by != "?" else ()
            noun = next((s.nouns[s.places[-1]] for s in reversed(segments) if s.places), borrowed)
            # "Let me check the pitch. Low."
            asks = not claims and closed_by in SENTENCE_ENDS
        elif opened_by in SENTENCE_ENDS - KEEP_NOUN:
            noun, asks = "", False
        if closed_by in SENTENCE_ENDS:
            if pending and not any(phase == "end" for _, phase in sentence):
                yield from whole_clip(text, pending)
                pending = []
            # "It starts out fast. Then it slows down."
            pending += sentence
            if not any(phase == "start" for _, phase in sentence):
                yield from whole_clip(text, pending)
                pending = []
            sentence = []
    yield from whole_clip(text, pending)


def _clauses(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield the bounds of the clauses, and what opens and closes each."""
    start, opened_by = 0, ""
    for match in CLAUSE_ENDS.finditer(text):
        yield start, match.start(), opened_by, match[0]
        start, opened_by = match.end(), match[0]
    yield start, len(text), opened_by, ""


def _segments(text: str, start: int, end: int) -> Iterator[_Segment]:
    """Yield the segments of a clause that say something about a voice."""
    joint = ""
    named: list[str] = []
    last: _Segment | None = None
    for cut in [*SEGMENT_ENDS.finditer(text, start, end), None]:
        stop = cut.start() if cut else end
        segment = _segment(text, start, stop, joint, named, last)
        if segment.nouns or segment.marks or segment.has_voice:
            yield segment
        if segment.words:
            last = segment
        if cut is not None:
            start, joint = cut.end(), cut[0]


def _segment(
    text: str, start: int, end: int, joint: str, named: list[str], last: _Segment | None
) -> _Segment:
    """Return a segment; `named` takes the attributes that the clause names, in order."""
    words = tuple(
        Word(m.group(), m.start(), m.end(), PHRASES[m.lastindex - 1][0] if m.lastindex else None)
        for m in WORD.finditer(text, start, end)
    )
    nouns: dict[int, str] = {}
    for place, word in enumerate(words):
        attribute = attribute_of(word)
        if attribute and not (place and words[place - 1].text in OF_MIND):
            nouns[place] = attribute
            named.append(nouns[place])
        elif word.text in ("former", "latter") and len(named) >= 2:
            nouns[place] = named[0 if word.text == "former" else 1]
    others = (place for place, word in enumerate(words) if not is_link(word))
    subject = next(others, len(words))
    marks = tuple(find_marks(text, words))
    # What a segment without a subject tells is of the one before: "starts low and quiet".
    goes_on = bool(last and marks and not nouns and marks[0].position <= subject)
    has_voice = any(word.text in ("voice", "tone") for word in words)
    has_voice = has_voice or bool(goes_on and last and last.has_voice)
    phase = _phase(text, start, end)
    related = bool(words) and words[0].text in ("which", "that")
    # Of a word goes on only what is told of it: "which is spoken slowly".
    leads = last is not None and (related if last.phase == "word" else not last.marks)
    if not phase and last and (goes_on or leads or joint == "with"):
        phase = last.phase
    lost = goes_on and last is not None and last.is_other
    is_other = bool(marks) and (lost or is_of_other(words, marks[0]))
    return _Segment(
        words, nouns, tuple(nouns), marks, subject, has_voice, phase, is_other, joint == "or"
    )


def _phase(text: str, start: int, end: int) -> str:
    """Return which part of the clip a segment tells of; empty for all of it."""
    if ONE_WORD.search(text, start, end):
        return "word"
    phases = [
        (m.start(), name)
        for name, m in (
            ("start", STARTS.search(text, start, end)),
            ("end", FINISHES.search(text, start, end)),
        )
        if m
    ]
    return min(phases)[1] if phases else ""


def _is_about_it(segment: _Segment) -> bool:
    """Whether a sentence begins with "it": "Then it slides down"."""
    words = [word.text for word in segment.words[:3]]
    return "it" in words and all(w in LINKS or w in FUNCTION for w in words[: words.index("it")])


def _clause_claims(segments: Sequence[_Segment], noun: str) -> Iterator[tuple[Claim, str]]:
    """Yield the claims of a clause with the part of the clip that they tell of.

    Its segments may lend each other attribute or level.
    """
    following: list[_Segment | None] = []  # from the last segment on: the next one with a level
    lender: _Segment | None = None
    topic = ""
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
                fronted = any(later.has_voice for later in segments[place + 1 : place + 3])
                attribute = attribute or _attribute(segment, mark, noun, topic, fronted=fronted)
                yield from _claim(segment, mark, attribute, denied)
                # "An absence of energy or of a fast pace" denies both.
                denied |= not LACKS.isdisjoint(segment.words[mark.position].text.split())
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
        topic = noun if segment.words[0].text in TOPICS and not segment.marks else ""


def _with_ranges(text: str, claims: Sequence[tuple[Claim, str]]) -> Iterator[tuple[Claim, str]]:
    """Yield the claims, two as one where the text says "normal or slightly raised".

    "Fast or slow" says neither.
    """
    place = 0
    while place < len(claims):
        one, phase = claims[place]
        other = claims[place + 1][0] if place + 1 < len(claims) else one
        levels = one.levels | other.levels
        between = text[one.end : other.start].lstrip(",").split()
        chosen = between[:1] == ["or"] and all(
            word in JOINING or word.endswith("ly") for word in between[1:]
        )
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


def _described(pair: Sequence[_Segment], mark: Mark) -> str:
    """Return the noun of "a low and steady pitch" for the "low"; empty for anything else."""
    words = pair[0].words
    if len(pair) < 2 or mark.position < 1 or mark.position != len(words) - 1:
        return ""
    place = pair[1].places[0] if pair[1].places else REACH
    ends = words[mark.position - 1].text in ARTICLES and place < REACH - 1
    return pair[1].nouns[place] if ends else ""


def _attribute(segment: _Segment, mark: Mark, noun: str, topic: str, *, fronted: bool) -> str:
    """Return the attribute that a level word belongs to; empty if none is in sight.

    Fronted is "deep and loud, the voice ...", the topic that of "as for loudness, the voice ...".
    """
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
    near_words = segment.words[max(0, mark.position - FAR_REACH) : mark.position + FAR_REACH]
    if mark.is_move and any(other.text == "tone" for other in near_words):
        return "intonation"
    if segment.has_voice or (fronted and not noun and segment.subject == len(segment.words)):
        noun = OF_VOICE.get(word, topic)
    elif mark.position > segment.subject:
        noun = topic
    rest = {*following, *(w.text for w in segment.words[mark.position + REACH :][:1])}
    return noun or ("intonation" if mark.is_move and rest & ENDS else "")


def _is_denied(segment: _Segment, mark: Mark) -> bool:
    """Whether a denial stands before a level word: "not", "far from", but not "not only"."""
    start, stop = max(0, mark.position - FAR_REACH), mark.position + 1 + FAR_REACH
    texts = [word.text for word in segment.words[start:stop]]
    place = mark.position - start
    before, after = texts[:place], texts[place + 1 :]
    if DENYING_BEFORE.search(" ".join(before)) or DENIED_AFTER.search(" ".join(after)):
        return True
    words = texts[max(0, place - REACH) : place + 1]
    for word, after in reversed(list(pairwise(words))):
        if word in SCOPE_ENDS:
            return False
        if word in DENIALS and after not in NO_DENIAL_BEFORE:
            return True
        if (word, after) in DENYING_PAIRS:
            return True
    return False


def _claim(
    segment: _Segment, mark: Mark, attribute: str, negated: bool
) -> Iterator[tuple[Claim, str]]:
    """Yield the claim of a level word on an attribute, unless the two do not go together."""
    word = segment.words[mark.position]
    levels = set(mark.level.split(EITHER))
    if mark.attribute == "intonation" or (mark.is_move and attribute in ("pitch", "intonation")):
        levels = {"flat" if level == "steady" else level for level in levels}
        attribute = "intonation"
    elif attribute == "variation":  # "pitch variation is low"
        levels = {VARIED.get(level, level) for level in levels}
        attribute = "intonation"
        if "normal" in levels or mark.is_move:
            return
    elif mark.is_move and attribute:
        attribute = CHANGES[attribute]
        if not levels <= {"rising", "falling", "steady"}:
            return  # a loudness that rises and falls
    elif attribute == "rate":
        levels = {{"high": "fast", "low": "slow"}.get(level, level) for level in levels}
    elif attribute not in ("pitch", "energy") or mark.is_move:
        return  # a level without attribute, or "high intonation"
    else:
        levels = {ORDINAL.get(level, level) for level in levels}
    if attribute in LEVELS and not levels <= set(LEVELS[attribute]):
        return  # "low to rising"
    if attribute == "intonation" and levels & set(RANKS):
        return
    claim = Claim(attribute, either(attribute, levels), negated, word.start, word.end)
    yield claim, segment.phase
