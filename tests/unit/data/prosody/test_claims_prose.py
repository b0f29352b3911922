"""What free prose says about a voice: the cases in which words beside each other mislead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.prosody.claim_words import MEANINGS, NOUNS
from data.prosody.claims import find_claims, truth_of
from tests.unit.data.prosody.test_claims import said
from tests.unit.make_rows import draw_rows


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        # A level with an attribute of its own is not lent to another attribute.
        ("Fast speech, and the pitch.", ["rate fast"]),
        ("Spoken softly and, judging by the pitch, which is high, in fear.",
         ["energy low", "pitch high"]),
        # An attribute of which something else is said takes no level from its neighbour.
        ("The volume is low and the tempo is comparable.", ["energy low"]),
        ("A low and steady pitch.", ["pitch low", "intonation flat"]),
        ("A moderate, even brisk pace", ["rate normal", "rate fast"]),
        # What a cue stands for is no cue.
        ("The high pitch suggests deep sadness.", ["pitch high"]),
        ("The low pitch points to a neutral state.", ["pitch low"]),
        ("The low pitch, a neutral state.", ["pitch low"]),
        ("The pitch is high and the words are neutral.", ["pitch high"]),
        # Denials.
        ("The pitch is not high but low.", ["!pitch high", "pitch low"]),
        ("It is not only fast but loud.", ["rate fast", "energy high"]),
        ("The melody is anything but flat.", ["!intonation flat"]),
        ("It is far from loud.", ["!energy high"]),
        ("It is not loud or fast.", ["!energy high", "!rate fast"]),
        ("The voice isn't loud.", ["!energy high"]),
        ("One does not mind how loud it is.", ["energy high"]),
        # Comparisons.
        ("The pitch is higher than in her normal voice.", ["pitch high"]),
        ("It is as loud as usual.", ["energy normal"]),
        ("A moderately loud voice.", ["energy normal"]),
        ("The volume is louder than average.", ["energy high"]),
        # Questions, choices and what would be.
        ("Is it loud? The pitch is low.", ["pitch low"]),
        ("And the pitch? Low.", ["pitch low"]),
        ("Fast or slow, the volume is low.", ["energy low"]),
        ("An angry speaker would be louder.", []),
        # A voice is not what was named before it.
        ("The volume is low, the deep voice moves.", ["energy low", "pitch low"]),
        ("The pace is slow, the voice is normal.", ["rate slow"]),
        # Amounts.
        ("There is little variation in the pitch.", ["intonation flat"]),
        ("With hardly any inflection.", ["intonation flat"]),
        ("A wide pitch range and a lot of energy.", ["intonation expressive", "energy high"]),
        ("Little variation in loudness", ["energy_change steady"]),
        ("It is barely above a whisper.", ["energy low"]),
        ("The voice never rises above a murmur.", ["energy low"]),
        ("The melody hardly moves.", ["intonation flat"]),
        # Ends.
        ("The voice rises towards the end.", ["intonation rising"]),
        ("Each phrase comes down at the end.", ["intonation falling"]),
        ("The intonation shows a steady rise.", ["intonation rising"]),
        ("The pitch matters and the energy is telling: the former is low, the latter high.",
         ["pitch low", "energy high"]),
    ],
)  # fmt: skip
def test_prose(text: str, claims: list[str]):
    assert said(text) == claims


WORDS = [*MEANINGS, *NOUNS, "not", "but", "and", "or", "voice", "is", "a", ",", ".", "?", "which"]
PROSODY = [row["prosody"] for row in draw_rows(20, 1)]


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.sampled_from(PROSODY))
def test_every_claim_can_be_checked(words: list[str], prosody: dict[str, object]):
    text = " ".join(words)
    for claim in find_claims(text):
        assert truth_of(claim, prosody, 0.25) in (None, 0, 0.5, 1)
        assert text[claim.start : claim.end].strip()
