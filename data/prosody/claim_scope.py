"""Which parts of an English sentence tell how this voice is, and which how one might be."""

from __future__ import annotations

import re
from collections.abc import Iterator

_UNIT_ENDS = re.compile(
    r"[.!?;:\n]|\b(?:but|yet|however|whereas|while|although|though|instead)\b"
    r"|(?= (?:in this (?:clip|case|recording|audio|sample)|here,? (?:the|it|he|she))\b)"
)
"""What cuts a sentence where it may turn from what might be to what is."""

_PART_ENDS = re.compile(
    r", (?=(?:which|who|as|and|so|for|since|a|an|the|this|it|he|she|in|her|his|their|with|yet)\b)"
)
"""Commas that part a clause from another, not the members of a list."""

_VERBS_OF_SAYING = (
    r"describe|say|call|characteri[sz]e|put|rate|judge|argue|note|place|estimate"
    r"|seem|appear|hear|notice"
)
_AS_IF = re.compile(
    r"\b(?:(?:as if|as though|like someone)\b"
    r"|(?:than|as) (?:\w+ ){0,2}(?:would|might|could|should|expect(?:ed|s)?)\b)[^,.;:!?\n]*"
)
"""What a voice is compared with, up to the next mark."""
_CONDITION = re.compile(
    r"(?<!even )\bif\b(?! (?:anything|not|only|somewhat|slightly|a bit|a little))|\bunless\b"
    r"|\bsuppos(?:e|ing)\b|\bassuming\b|\botherwise\b"
    r"|\bwith(?:out)? (?:an? )?[^,.;]{0,60}, (?:\w+ ){1,3}would\b"
    r"|(?<![a-z] )\bwere (?:the|this|it|he|she|her|his)\b"
    r"|\bhad (?:the|this|it|he|she|her|his|their)\b[^,.;]{0,60} been\b"
    r"|\bwhen(?:ever)? (?:people|someone|somebody|one|a person|a speaker|speakers)\b"
)
"""What makes all of a unit a supposition."""
_MODAL = re.compile(
    rf"\bwould (?!(?:\w+ ){{0,2}}(?:{_VERBS_OF_SAYING})d?\b)"
    r"|\b(?:could|should|might|must) (?:\w+ )?have \w+|\bought to\b"
    r"|\bshould (?:be|sound|speak|rise|fall)\b"
    r"|\b(?:one|we|you|i|is|was|are|were)(?:'d| had| might| could)? expect(?:s|ed)?\b"
)
"""What makes the part of a unit around it one."""
_GENERAL = re.compile(
    r"(?<!than )(?<!as )\b(?:typically|usually|often|generally|commonly|normally|frequently"
    r"|in general|tends? to|(?:person|people|speakers?|someone|voice|speech) (?:can|might|may)"
    r"|(?:is|are) (?:\w+ )?(?:associated|linked|characteri[sz]ed|marked|accompanied)"
    r"|(?:is|are) (?:typical|characteristic) of)\b"
)
"""What tells how a kind of voice is, if the part does not speak of somebody."""
_DEFINITE = re.compile(
    r"\b(?:the|his|her|its|their|this|that|these|those|such|he|she|it|they|here|i)\b"
)
_NO_SUBJECT = re.compile(r"\W*(?:(?:and|so) )?(?:with|at|in(?! general)|delivered|spoken)\b")


def without_suppositions(text: str) -> str:
    """Return a lower-case text with what it does not say of this voice blanked out, places kept.

    Blank are suppositions ("if it were louder, ..."), expectations ("one would expect"), and what
    is said of emotions or people in general ("anger often comes with a loud voice").
    """
    text = _AS_IF.sub(lambda match: " " * len(match[0]), text)
    parts: list[str] = []
    place = 0
    for start, end in _spans(text):
        parts += [text[place:start], " " * (end - start)]
        place = end
    return "".join([*parts, text[place:]])


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for start, end in _cut(_UNIT_ENDS, text, 0, len(text)):
        if _CONDITION.search(text, start, end):
            yield start, end
            continue
        if not (_MODAL.search(text, start, end) or _GENERAL.search(text, start, end)):
            continue
        for first, last in _cut(_PART_ENDS, text, start, end):
            if _MODAL.search(text, first, last) or _is_general(text, first, last):
                yield first, last


def _cut(ends: re.Pattern[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in ends.finditer(text, start, end):
        yield start, match.start()
        start = match.end()
    yield start, end


def _is_general(text: str, start: int, end: int) -> bool:
    """Whether a part speaks of a kind: "fearful speech tends to be fast", not "the speech"."""
    general = _GENERAL.search(text, start, end)
    if general is None or _DEFINITE.search(text, start, general.start()):
        return False
    return not _NO_SUBJECT.match(text, start, end)
