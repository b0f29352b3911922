"""What a text quotes: the words of a speaker, which say nothing about his voice."""

from __future__ import annotations

import re

_CLOSING = {
    '"': '"',
    "\u201c": "\u201d\u201c",
    "\u201d": "\u201d",
    "\u201e": "\u201c\u201d",
    "\u00ab": "\u00bb",
    "\u00bb": "\u00ab",
    "\u2039": "\u203a",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
    "\u300a": "\u300b",
    "`": "`",
    "'": "'",
    "\u2018": "\u2019",
}
"""Opening mark -> the marks that close it."""

# A single mark inside a word, or before one that nothing closes, is an apostrophe.
_OPENING = re.compile(
    "[\"\u201c\u201d\u201e\u00ab\u00bb\u2039\u300c\u300e\u300a`]|(?<!\\w)['\u2018](?=\\w)"
)
_CLOSE = {
    opening: re.compile(rf"[{closing}]" + (r"(?!\w)" if opening in "'\u2018" else ""))
    for opening, closing in _CLOSING.items()
}
_NAMING = re.compile(
    r"(?<!word)(?<!words)(?<!sentence)(?<!phrase)(?<!text)(?<!line)(?<!transcript)"
    r" (?:is|are|as|at|seems|sounds|remains|pitch|volume|energy|rate|pace|intonation) (?:\w+ )?$"
)
_NAME = re.compile(r"(?:(?:\w+ly|very|quite|rather) )?[\w-]+[.,]?")
"""What is said of a voice and no quote, after those words: the pitch is "low"."""
_SENTENCE_FOLLOWS = re.compile(r"\s*(?:$|[A-Z\n])")


def without_quotes(text: str) -> str:
    """Return a text with what stands in quotation marks blanked out, every place kept.

    Double, single, angle and corner marks and backticks are quotation marks; an apostrophe is not.
    A quote that is never closed blanks nothing, and a name is none: the pitch is "low". The comma
    or full stop with which a quote ends stays where it ends a part of the sentence around it. Time
    is linear, also for a text of such quotes.
    """
    parts: list[str] = []
    place = 0
    unclosed: set[str] = set()
    for opening in _OPENING.finditer(text):
        kind, start = opening[0], opening.start()
        if start < place or kind in unclosed:
            continue
        closing = _CLOSE[kind].search(text, start + 1)
        if closing is None:
            unclosed.add(kind)
            continue
        if _NAME.fullmatch(text, start + 1, closing.start()) and _NAMING.search(
            text, max(0, start - 32), start
        ):
            parts += [text[place:start], " ", text[start + 1 : closing.start()], " "]
            place = closing.end()
            continue
        last, end = text[closing.start() - 1], closing.end()
        ends = last if last in ",;" else ""
        if last in ".!?" and _SENTENCE_FOLLOWS.match(text, end):
            ends = "."
        parts += [text[place:start], " " * (end - start - len(ends)), ends]
        place = end
    return "".join([*parts, text[place:]])
