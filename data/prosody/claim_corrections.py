"""What an English text takes back: "the pitch is low, wait, no, it is high" claims a high pitch."""

from __future__ import annotations

import re
from bisect import bisect, bisect_left
from collections.abc import Sequence

from data.prosody.claim import CHANGES, Claim

_INTO_IT = r"(?:(?:hold on|wait|actually|oh|hm+|well|no|sorry|okay|but|or)[,.!\u2026 ]{1,5}){0,3}"
_THAT = r"(?:that|this|it|myself)"
_TAKEN_BACK = (
    r"wait|sorry|actually|(?:oh|hm+|well|hold on),? no|no,? (?:wait|actually|sorry|rather)"
    r"|make (?:that|it)|(?:or )?to put it (?:correctly|better|right|more \w+)"
    r"|to be (?:exact|precise)"
    r"|nope|the other way a?round|on listening again|or (?:does|is) (?:it|he|she)"
    rf"|(?:scratch|strike) {_THAT}|i take {_THAT} back|my mistake|correction"
    rf"|(?:let me|i have to|i must|i need to|i should) (?:correct|rephrase|revise) {_THAT}"
    rf"|let me (?:listen|check|look)(?: to| at)? ?(?:{_THAT})?(?: again| once more)?"
    r"|(?:on|at) (?:a )?second (?:thoughts?|listen(?:ing)?|hearing|look)|(?:or|no,?) rather"
    rf"|i mean(?:t)?|i mis(?:heard|read|judged) {_THAT}|i (?:was|am) (?:wrong|mistaken)"
    r"|that(?: (?:impression|reading|guess))?(?: was| is|'s) (?:wrong|incorrect|a mistake"
    r"|not (?:quite )?(?:right|it))"
)
_MARK = "[.,;:!?\u2026\u2013\u2014-]"
# Bounded, so that time stays linear.
_CORRECTION = re.compile(
    rf"{_MARK}{{1,5}} {{0,3}}(?:and "
    rf"|but )?(?:{_INTO_IT}\b(?:{_TAKEN_BACK})\b[,.;:! ]{{0,5}}){{1,3}}"
    r"(?:no, )?|[.!?;\u2026]{1,5} {1,3}no,(?= )"
)
_MISTAKEN = re.compile(
    r"\b(?:i\s+(?:\w+ly |had |first )?(?:thought|assumed|guessed|believed|took|wrote|said)"
    r"|my\s+(?:impression|guess|thought|reading) (?:was|had been))\b"
    r"[^.;!?\n]{3,120}?"
    r"(?P<turn>[,.;] {0,2}(?:(?:but|however|yet)\b,?|(?=(?:it is )?(?:in fact|actually)\b)))"
)
"""What was thought first, up to where it is put right: "I thought it was high, but it is low"."""
_SENTENCE_END = re.compile("[.!?\n\u3002\uff01\uff1f]")

MOST = 50
"""Claims before and after a correction that it is about, so that time stays linear."""

_BASE = {change: attribute for attribute, change in CHANGES.items()}

Places = Sequence[tuple[int, int]]
"""Where the words stand that take back what is before them."""

_FIRST_THOUGHT = re.compile(
    r"\b(?:(?:at first|initially|originally|earlier),?(?= i \w+)|(?<=i )(?:first|initially)\b"
    r"|(?<=my )(?:first|initial)(?= (?:impression|thought|guess|reading)))"
)
"""What is of the listening, and not of the clip."""


def without_corrections(text: str) -> tuple[str, Places]:
    """Return a lower-case text without the words that take something back, and their places.

    A comma stands in their stead, so that what follows goes on with the sentence before.
    """
    text = _FIRST_THOUGHT.sub(lambda match: "\t" * len(match[0]), text)
    places: list[tuple[int, int]] = []
    parts: list[str] = []
    place = 0
    spans = [match.span("turn") for match in _MISTAKEN.finditer(text)]
    spans += [match.span() for match in _CORRECTION.finditer(text)]
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start < place:
            continue
        parts += [text[place:start], ",".ljust(end - start)]
        places.append((start, end))
        place = end
    return "".join([*parts, text[place:]]), places


def without_retracted(text: str, claims: Sequence[Claim], places: Places) -> list[Claim]:
    """Return the claims that the text, English or Chinese, does not take back.

    What is taken back is what the sentence before the correction claims of an attribute of which
    the sentence after it claims something else; all of its last part if that claims nothing.
    """
    if not places:
        return list(claims)
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    starts = [claim.start for claim in claims]
    kept = [True] * len(claims)
    for start, end in places:
        sentence = bisect(ends, start)
        first = ends[sentence - 1] if sentence else 0
        following = bisect(ends, end)
        last = ends[following] if following < len(ends) else len(text)
        before = range(bisect_left(starts, first), bisect_left(starts, start))[-MOST:]
        after = range(bisect_left(starts, end), bisect_left(starts, last))[:MOST]
        replaced = {_attribute(claims[i]) for i in after}
        if not replaced:
            cut = max(text.rfind(",", first, start), first)
            replaced = {_attribute(claims[i]) for i in before if starts[i] >= cut}
        for i in before:
            kept[i] = kept[i] and _attribute(claims[i]) not in replaced
    return [claim for claim, keep in zip(claims, kept, strict=True) if keep]


def _attribute(claim: Claim) -> str:
    return _BASE.get(claim.attribute, claim.attribute)
