"""Lettered multiple choice: what names an option, and what names none."""

from __future__ import annotations

import pytest

from data.options import is_lettered, option_of, with_options

FEELINGS = ["angry", "very sad", "neutral"]


def test_options_stand_below_the_question_and_are_found_there():
    asked = with_options("How does she feel?", FEELINGS)
    assert asked == "How does she feel?\n(A) angry\n(B) very sad\n(C) neutral"
    assert is_lettered(asked, FEELINGS)
    assert is_lettered(with_options("?", FEELINGS, "{letter}. {choice}"), FEELINGS)
    assert not is_lettered(asked, [*FEELINGS, "happy"])
    assert not is_lettered("angry, very sad or neutral?", FEELINGS)
    # In another order the letters would mean other choices.
    assert not is_lettered(asked, FEELINGS[::-1])


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("very sad", "very sad"),
        (" Very  SAD. ", "very sad"),
        ("B", "very sad"),
        ("(b)", "very sad"),
        ("B.", "very sad"),
        ("[C]", "neutral"),
        ("(A) angry", "angry"),
        ("B) Very sad.", "very sad"),
        ("B: very sad", "very sad"),
        ("B - very sad", "very sad"),
        ("B very sad", "very sad"),
        # The letter and the text disagree.
        ("(A) very sad", None),
        # There is no such letter, or more than a choice.
        ("D", None),
        ("A or B", None),
        ("A, B", None),
        ("angry or neutral", None),
        ("(A) angry (B) very sad", None),
        ("The answer is B", None),
        ("sad", None),
        ("", None),
    ],
)
def test_what_names_an_option(text: str, choice: str | None):
    assert option_of(text, FEELINGS) == choice


def test_a_choice_that_may_be_a_letter_or_a_text_is_not_guessed():
    assert option_of("B", ["A", "C", "B"]) is None
    assert option_of("A", ["A", "B"]) == "A"
    assert option_of("A man", ["woman", "man"]) is None
    assert option_of("A man", ["a woman", "a man"]) == "a man"
