"""The words of a Chinese clause in which a voice is told of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from data.prosody import claim_words_chinese as words

_TURNED = {
    "rising": [level + way for level in "高大快响强急升扬" for way in ("起来", "了起来")],
    "falling": [
        level + way
        for level in "低小弱慢缓轻沉降落"
        for way in ("下去", "下来", "了下去", "了下来")
    ],
}
"""Moves that are told by a level and a direction: "慢下来"."""

_NOT_CHANGED = "(?![化得快慢大小高低轻响强弱])"
_ONLY_WHERE = {
    "中": "中(?=[到至偏等或])|(?<=[与和])中(?=之间)|(?<=或)中|(?<=[到至])中(?![间途段部心])",
    "中高": "中高(?!低)",
    "扬": "扬(?!长)",
    "直线": "(?<!成)直线",
    "一般": "(?<![像如似同])一般",
    "平均": "平均(?!每|$|、|而)|(?<=于)平均",
    "没怎么变": f"没怎么变{_NOT_CHANGED}",
    "没变": f"没变{_NOT_CHANGED}",
    "没有变": f"没有变{_NOT_CHANGED}",
    "未变": f"未变{_NOT_CHANGED}",
    "平": "平(?![时常日])",
    "不平": "不平(?![淡缓稳坦直板])",
    "和平": "和平(?![时日常均])",
}
"""Word -> where it is the level, and no part of another word."""


def _lexicon() -> dict[str, tuple[str, str]]:
    """Return word -> its kind, and what it names or tells."""
    tables: tuple[tuple[str, Mapping[str, str]], ...] = (
        ("noun", words.NOUNS),
        ("level", words.LEVELS),
        ("own", words.OWN),
    )
    lexicon = {
        word: (kind, value)
        for kind, table in tables
        for value, names in table.items()
        for word in names.split()
    }
    lexicon |= {word: ("level", value) for value, names in _TURNED.items() for word in names}
    return lexicon | dict.fromkeys(words.NO_LEVELS.split(), ("none", ""))


_LEXICON = _lexicon()
_WORD = re.compile(
    "很快(?=[就便又恢平静])|"
    + "|".join(_ONLY_WHERE.get(word, word) for word in sorted(_LEXICON, key=len, reverse=True))
)
_OF_PITCH = frozenset(words.OF_PITCH.split())
_BECAUSE = re.compile("(?:随着|由于|因为|因|出于)$")


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the lexicon in a clause."""

    text: str
    kind: str
    value: str
    start: int
    end: int


def tokens_of(clause: str) -> list[Token]:
    """Return the words of a clause; a thing's own sound or pace is the thing's: "音乐的节奏"."""
    tokens: list[Token] = []
    for match in _WORD.finditer(clause):
        kind, value = _LEXICON.get(match[0], ("none", ""))
        last = tokens[-1] if tokens else None
        between = clause[last.end : match.start()] if last else ""
        after_thing = last is not None and last.value == "thing"
        if after_thing and kind == "noun" and between in ("", "的", "里的", "中的", "本身的"):
            value = "thing"
        if not value and _BECAUSE.search(clause, max(0, match.start() - 3), match.start()):
            kind = "none"
        if last and (last.kind, last.value, last.end) == (kind, value, match.start()):
            same = (last.text in _OF_PITCH) == (match[0] in _OF_PITCH)
            if kind == "own" or (kind == "level" and same):
                tokens[-1] = replace(last, end=match.end())  # "低声耳语", "低沉浑厚"
                continue
        tokens.append(Token(match[0], kind, value, match.start(), match.end()))
    return tokens
