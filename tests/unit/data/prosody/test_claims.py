"""What a text says about a voice."""

from __future__ import annotations

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.prosody.claims import find_claims, truth_of
from demo.texts import (
    ENERGY_LEVELS,
    INTONATIONS,
    NUM_PHRASINGS,
    PITCH_LEVELS,
    RATE_LEVELS,
    describe,
)


def said(text: str) -> list[str]:
    """The claims as `attribute level`, with a `!` before denied ones."""
    return [f"{'!' if c.negated else ''}{c.attribute} {c.level}" for c in find_claims(text)]


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("The pitch is high.", ["pitch high"]),
        ("A high-pitched voice and a rapid pace suggest panic.", ["pitch high", "rate fast"]),
        (
            "He speaks quickly and loudly, with a rising pitch towards the end.",
            ["rate fast", "energy high", "intonation rising"],
        ),
        ("The pitch and energy are low.", ["pitch low", "energy low"]),
        (
            "The pitch, energy and rate are all low",
            ["pitch low", "energy low", "rate slow"],
        ),
        ("High pitch and energy, spoken slowly.", ["pitch high", "energy high", "rate slow"]),
        ("The pitch is high and steady.", ["pitch high", "intonation flat"]),
        ("Pitch: high. Volume: low. Tempo: normal.", ["pitch high", "energy low", "rate normal"]),
        ("Flat and monotone; volume below average.", ["intonation flat"] * 2 + ["energy low"]),
        ("The pitch is higher than normal.", ["pitch high"]),
        ("It is a slow, quiet delivery with falling intonation.",
         ["rate slow", "energy low", "intonation falling"]),
        ("The energy drops towards the end while the pace slows.",
         ["energy_change falling", "rate_change falling"]),
        ("The loudness increases.", ["energy_change rising"]),
        ("Moderate volume, brisk tempo.", ["energy normal", "rate fast"]),
        ("The voice is not loud, but the pitch is high.", ["!energy high", "pitch high"]),
        ("There is no strong energy here.", ["!energy high"]),
        ("Energy level is high.", ["energy high"]),
        ("The speaker is happy.", []),
        ("A normal day, above all.", []),
        ("", []),
    ],
)  # fmt: skip
def test_phrasings(text: str, claims: list[str]):
    assert said(text) == claims


def test_every_description_of_the_demo_is_read_back():
    for pitch, energy, rate, intonation in product(
        PITCH_LEVELS, ENERGY_LEVELS, RATE_LEVELS, INTONATIONS
    ):
        levels = {"pitch": pitch, "energy": energy, "rate": rate, "intonation": intonation}
        for phrasing in range(NUM_PHRASINGS):
            text = describe(levels, phrasing)
            found = dict(claim.split(" ") for claim in said(text))
            assert found == {k: v for k, v in levels.items() if k in found}, text
            assert {"pitch", "energy", "rate"} <= found.keys()
            assert ("intonation" in found) == (intonation in text.replace("normal", ""))


def test_spans_point_at_the_level_word():
    text = "The PITCH is High, the rate İs slow."  # a letter whose lower case is two letters
    assert [text[c.start : c.end] for c in find_claims(text)] == ["High", "slow"]


@pytest.mark.slow
@given(st.text(max_size=300))
def test_any_text_is_read(text: str):
    for claim in find_claims(text):
        assert 0 <= claim.start < claim.end <= len(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["pitch ", "high ", ", and ", "not ", "pitch high ", "pitch, ", "high, ", "pitch, low and "],
)
def test_degenerate_text_takes_no_longer_than_any_other(text: str):
    start = time.process_time()
    find_claims(text * (100_000 // len(text)))
    assert time.process_time() - start < 5  # quadratic time would take minutes


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("The intonation is rising-falling.", "rising-falling"),
        ("A fall-rise contour, softly spoken.", "falling-rising"),
        ("She speaks with rise-fall inflection", "rising-falling"),
    ],
)
def test_a_turn_is_one_claim_and_is_checked_against_the_contour(text: str, level: str):
    claims = [claim for claim in find_claims(text) if claim.attribute == "intonation"]
    assert [(claim.level, text[claim.start : claim.end].lower()) for claim in claims] == [
        (level, next(word for word in text.lower().replace(".", "").split() if "-" in word))
    ]
    other = "falling-rising" if level == "rising-falling" else "rising-falling"
    for contour, truth in ((level, 1.0), (other, 0.0), ("flat", 0.0), (None, None)):
        assert truth_of(claims[0], {"intonation": "falling", "contour": contour}, 0.25) == truth
