"""Multiple choice with lettered options: how they are shown, and which one an answer names."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

from data.parsing import normalize_label

LETTERS = string.ascii_uppercase
"""Of the options, in their order."""

_LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]*")
_LETTER_AND_TEXT = re.compile(r"[(\[]?([A-Za-z])(?:[)\].:]+\s*|\s+[-:]\s+|\s+)(\S.*)", re.DOTALL)


def with_options(question: str, choices: Sequence[str], form: str = "({letter}) {choice}") -> str:
    """Return a question with one line an option below it."""
    lines = [
        form.format(letter=letter, choice=choice)
        for letter, choice in zip(LETTERS, choices, strict=False)
    ]
    return "\n".join([question, *lines])


def is_lettered(question: str, choices: Sequence[str]) -> bool:
    """Return whether a question shows each of its choices behind its letter: `(A)`, `A.`, `A:`."""
    return 1 < len(choices) <= len(LETTERS) and all(
        re.search(rf"(?<!\w)\(?{letter}[).:]\s*{re.escape(choice)}", question)
        for letter, choice in zip(LETTERS, choices, strict=False)
    )


def option_of(
    text: str, choices: Sequence[str], key: Callable[[str], str] = normalize_label
) -> str | None:
    """Return the choice that an answer to a lettered question names, or None.

    An answer is the text of a choice, its letter (`B`, `(b)`, `B.`), or the letter and then the
    text (`(B) sad`, `B: sad`). It names nothing if letter and text disagree, if it can be read as
    two choices (choices that are letters themselves), or if it says anything else: no answer is
    guessed.

    Args:
        text: The answer alone.
        choices: In the order of their letters.
        key: Makes texts that mean the same equal.
    """
    text = text.strip()
    places: dict[str, int] = {key(choice): place for place, choice in enumerate(choices)}
    named: set[int] = {places[key(text)]} if key(text) in places else set()
    if letter := _LETTER.fullmatch(text):
        place = LETTERS.index(letter[1].upper())
        named |= {place} if place < len(choices) else set()
    elif not named and (both := _LETTER_AND_TEXT.fullmatch(text)):
        place, text_place = LETTERS.index(both[1].upper()), places.get(key(both[2]))
        named = {place} if place == text_place else set()
    return choices[named.pop()] if len(named) == 1 else None
