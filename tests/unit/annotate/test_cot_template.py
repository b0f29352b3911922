"""Reasoning from templates has no fault in the eyes of the filters, whatever the row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.cot.filters import Limits, find_faults
from annotate.cot.lexicon import find_mentions, without_quotes
from annotate.cot.template import ENDINGS, STATES, write_reasoning
from configs.schema import NINE_LABELS
from data.prosody.claims import find_claims
from tests.unit.make_rows import ATTRIBUTES, LEVELS_OF, draw_rows

CLEAR_LOW_PITCH = {
    "pitch": "low",
    "pitch_to_above": 0.9,
    "energy": "high",
    "energy_to_below": 0.7,
    "rate": "normal",
    "rate_to_below": 0.1,
    "rate_to_above": 0.5,
}


def faults_of(row: dict[str, Any], text: str) -> tuple[str, ...]:
    return find_faults(text, row["label"], NINE_LABELS, row["prosody"], Limits())


def is_describable(row: dict[str, Any]) -> bool:
    num_measured = sum(row["prosody"][name] is not None for name in ATTRIBUTES)
    return num_measured >= (1 if row.get("text") else 2)


@pytest.mark.slow
@pytest.mark.parametrize("nearest", [0.0, 0.3])
@pytest.mark.parametrize("with_words", [True, False])
def test_no_text_has_a_fault(nearest: float, with_words: bool):
    rows = draw_rows(400, seed=3, nearest=nearest, missing=0.2)
    rows = [row if with_words else {**row, "text": None} for row in rows]
    rows = [row for row in rows if is_describable(row)]
    assert len(rows) > 350
    for row in rows:
        for attempt in range(2):
            text = write_reasoning(row, attempt, seed=0)
            assert faults_of(row, text) == (), text


def test_every_level_is_said_and_read_back():
    said: dict[str, set[str]] = {name: set() for name in ATTRIBUTES}
    for row in draw_rows(400, seed=4, missing=0.0):
        found = find_claims(without_quotes(write_reasoning(row, 0, seed=0)))
        for claim in found:
            if claim.attribute in said and not claim.negated:
                assert row["prosody"][claim.attribute] == claim.level
                said[claim.attribute].add(claim.level)
    assert said == {name: set(levels) for name, levels in LEVELS_OF.items()}


def test_clear_cues_are_told_and_borderline_ones_are_not():
    row = {"id": "a", "label": "sad", "text": "hello", "prosody": CLEAR_LOW_PITCH}
    for attempt in range(20):
        found = find_claims(write_reasoning(row, attempt, seed=0))
        assert {claim.attribute for claim in found} == {"pitch", "energy"}
    # Of borderline cues alone the two clearest are told.
    near = {**CLEAR_LOW_PITCH, "pitch_to_above": 0.2, "energy_to_below": 0.05}
    found = find_claims(write_reasoning({**row, "prosody": near}, 0, seed=0))
    assert {claim.attribute for claim in found} == {"pitch", "rate"}


def test_attempts_differ_and_the_seed_decides():
    for row in draw_rows(200, seed=5, missing=0.5):
        texts = [write_reasoning(row, attempt, seed=1) for attempt in range(len(ENDINGS))]
        assert len(set(texts)) == len(ENDINGS)
        assert texts == [write_reasoning(row, attempt, seed=1) for attempt in range(len(ENDINGS))]
    rows = draw_rows(50, seed=5)
    same = sum(write_reasoning(row, 0, seed=1) == write_reasoning(row, 0, seed=2) for row in rows)
    assert same < 5


@pytest.mark.parametrize("label", [*STATES, "bored", "nostalgia"])
def test_every_label_is_concluded(label: str):
    choices = [label, "envy"]
    row = {"id": "a", "label": label, "text": "so what", "prosody": CLEAR_LOW_PITCH}
    for attempt in range(8):
        text = write_reasoning(row, attempt, seed=0)
        assert find_mentions(text, choices)[-1].label == label
        assert find_faults(text, label, choices, CLEAR_LOW_PITCH, Limits()) == ()


FOREIGN = st.text(st.characters(exclude_characters="<|"), max_size=80)


@given(FOREIGN, st.integers(0, 200), st.integers(0, 9), st.integers(0, 2**63))
def test_whatever_is_said_in_the_clip(said: str, number: int, attempt: int, seed: int):
    row = {**ROWS[number % len(ROWS)], "text": said}
    text = write_reasoning(row, attempt, seed)
    assert faults_of(row, text) == ()
    assert '""' not in text


ROWS = [row for row in draw_rows(60, seed=6, missing=0.2) if is_describable({**row, "text": ""})]
