"""What a Chinese text says about a voice, found by rules.

The clauses between marks are read one by one. A level belongs to the attributes that were named
before it in its clause ("音调和音量都很高"), or to the one that follows it ("较高的音调"). A clause
that names none goes on about those of the clause before ("语速起初缓慢，随后逐渐加快").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from data.prosody import claim_words_chinese as words
from data.prosody.claim import Claim, either, whole_clip
from data.prosody.claim_clause_chinese import Clause
from data.prosody.claim_corrections import without_retracted
from data.prosody.claim_scope_chinese import Scope, phases_of
from data.prosody.claim_tokens_chinese import tokens_of

_TO_SIMPLIFIED = str.maketrans(words.TRADITIONAL, words.SIMPLIFIED)

_HOW_MUCH = re.compile("(?<=变化|起伏|波动|幅度|范围)[：:]")
"""The mark of a list before how much the voice moves: "音高变化：小"."""
_SENTENCE = re.compile(r"[^。！？；!?;\n]+[。！？；!?;\n]?")
# A longer clause, which no one writes, is cut, so that time stays linear.
_CLAUSE = re.compile(r"[^，,：:。！？；!?;\n]{1,300}")
_EARLIER = re.compile(
    "[比于较](?:起|之)?(?:开头|之前|前面|刚才|前半|前一句|起初|一开始|上一句|开始时)"
)
_ALTERNATIVE = re.compile("(?:要么|或者|或是|抑或|就是|亦或|甚至|乃至|或(?!许))")
_AGAIN = re.compile("又|再|后|然后|接着|最后|继而|转而|随即|而后|但|却|结尾|末|句尾")
_TOPIC = re.compile("方面|来看|来说|而言|来讲|上$|至于|关于|就\\w|论")
_TAKEN_BACK = re.compile(
    "[，。！？；…,.!?;\\s]{1,5}(?:哦|嗯|等等|啊|哎)?[，,]?"
    "(?:不对|说错了|更正一下|(?:更?准确|严格)(?:地|来)?说|应该说|不如说)[，,]?"
)
"""Words that take back what is before them."""
_FILLER = "|".join(sorted(words.FILLERS.split(), key=len, reverse=True))
_GOES_ON = re.compile(f"(?:(?>随着\\w{{0,10}}?(?=逐|渐|慢|越|而|$)|{_FILLER}|\\s))*+")
_LIST_MARK = re.compile(r"[\s*#>|•·\-—]+|[(（]?\d+[)）.、．]")


@dataclass(slots=True)
class _Reader:
    """What a clause needs to know of those before it."""

    nouns: list[str] = field(default_factory=list[str])
    open_topic: bool = False
    """The nouns were named and nothing was told of them: "音调：", "就语速而言，"."""


def find_chinese(text: str) -> list[Claim]:
    """Return the claims of a text without quotes, in the order of their level words."""
    text = text.translate(_TO_SIMPLIFIED)
    places = [match.span() for match in _TAKEN_BACK.finditer(text)]
    return without_retracted(text, list(_all_claims(text)), places)


def _all_claims(text: str) -> Iterator[Claim]:
    text = _HOW_MUCH.sub("较", text)
    reader = _Reader()
    claims: list[tuple[Claim, str]] = []
    scope = Scope()
    for sentence in _SENTENCE.finditer(text):
        clauses = [(m.start() + sentence.start(), m[0]) for m in _CLAUSE.finditer(sentence[0])]
        goes_on = bool(clauses) and scope.started and phases_of(clauses[0][1], ends=True)
        if not goes_on:
            yield from whole_clip(text, claims)
            claims = []
            if not reader.open_topic:
                reader = _Reader()
        scope.begin(keep_phase=bool(goes_on))
        is_question = sentence[0][-1] in "？?"
        for place, (start, clause) in enumerate(clauses):
            is_asked = is_question and place == len(clauses) - 1
            clause_claims = _read(clause, start, reader, scope, is_asked=is_asked)
            _join(claims, clause_claims, clause)
    yield from whole_clip(text, claims)


def _read(
    clause: str, offset: int, reader: _Reader, scope: Scope, *, is_asked: bool
) -> list[tuple[Claim, str]]:
    """Return the claims of a clause, each with the part of the clip that it is told of."""
    tokens = tokens_of(clause)
    if not scope.admits(clause, tokens[0].start if tokens else len(clause)) or is_asked:
        if scope.supposed or scope.is_other or any(t.kind == "noun" for t in tokens):
            reader.nouns = [t.value for t in tokens if t.kind == "noun"][-1:]
        reader.open_topic = is_asked and bool(reader.nouns)
        return []
    level = next((t for t in tokens if t.kind in ("level", "own")), None)
    noun = next((t for t in tokens if t.kind == "noun"), None)
    if level and reader.nouns and (noun is None or noun.start > level.start):
        lead = clause[: level.start]
        filled = _GOES_ON.match(_LIST_MARK.sub("", lead))
        whole = filled is not None and filled.end() == len(_LIST_MARK.sub("", lead))
        if not whole and not reader.open_topic:
            reader.nouns = []
    elif noun:
        reader.nouns = []
    parser = Clause(clause, tokens, offset, list(reader.nouns), _EARLIER.search(clause) is not None)
    parser.fresh = bool(reader.nouns) and not reader.open_topic
    claims = parser.claims()
    if scope.is_other and not any(scope.own_noun(name) for name in parser.nouns):
        claims = []
    if tokens:
        reader.nouns = parser.nouns
        reader.open_topic = bool(parser.nouns) and not parser.fresh and not level
        if reader.open_topic and parser.nouns[-1] == "voice" and not _TOPIC.search(clause):
            reader.open_topic = len(clause) <= 6
    return [(claim, scope.phase(claim.start - offset)) for claim in claims]


def _join(claims: list[tuple[Claim, str]], more: list[tuple[Claim, str]], clause: str) -> None:
    """Add the claims of one more clause; some go on with the last: "先是上扬，随后回落"."""
    for claim, phase in more:
        last = claims[-1][0] if claims else None
        if last and last.attribute == claim.attribute and not (last.negated or claim.negated):
            pair = (last.level, claim.level)
            level = ""
            if pair[0] != pair[1] and _ALTERNATIVE.match(clause.strip()):
                level = either(claim.attribute, {*last.levels, *claim.levels})
            elif last.level in ("steady", "flat") and claims[-1][1] == "start":
                claims.pop()  # how it was before it moved
            elif set(pair) == {"rising", "falling"} and _AGAIN.search(clause):
                level = "-".join(pair)
            if level:
                claims.pop()
                if "-" not in level or claim.attribute == "intonation":
                    claims.append(
                        (Claim(claim.attribute, level, False, claim.start, claim.end), "")
                    )
                continue
        claims.append((claim, phase))
