"""What a text takes back, says of others, or tells over several sentences."""

from __future__ import annotations

import time

import pytest

from data.prosody.claims import find_claims
from tests.unit.data.prosody.test_claims import said


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        # What is taken back.
        ("The pitch is high. Wait, no, it's actually low.", ["pitch low"]),
        ("Volume: high. Scratch that, normal.", ["energy normal"]),
        ("Energy low, sorry, I mean high, and slow speech.", ["energy high", "rate slow"]),
        ("She slows down. I misheard that. She speeds up.", ["rate_change rising"]),
        ("It is loud... no, that's the music, the voice is soft.", ["energy low"]),
        ("At first I thought the pace was slow, but on second listening it is fast.",
         ["rate fast"]),
        ("The pitch is low and the voice loud. Actually, the pitch is normal.",
         ["energy high", "pitch normal"]),
        # Another speaker is no measure, what is usual is one.
        ("He is louder than the other speaker.", []),
        ("Her pitch is higher than that of the interviewer.", []),
        ("Compared with the second speaker, her pace is faster.", []),
        ("He isn't as loud as the host.", []),
        ("He is louder than the average speaker.", ["energy high"]),
        ("The pace exceeds what is usual.", ["rate fast"]),
        # Nor is what else is heard.
        ("A dog is barking loudly behind her. She speaks slowly.", ["rate slow"]),
        ("There's a high-pitched beep. The voice is deep.", ["pitch low"]),
        # Words between a subject and its level.
        ("The volume is, I feel, a little weak.", ["energy low"]),
        ("Its pitch, however, is low.", ["pitch low"]),
        ("The pitch is extremely, like extremely low.", ["pitch low"]),
        # What a sentence is about, and what goes on with it.
        ("Let me check the volume. Low, I'd say.", ["energy low"]),
        ("Looking at the speed, it's slow.", ["rate slow"]),
        ("In terms of loudness, his voice is at a normal level.", ["energy normal"]),
        ("Deep and loud, the voice fills the room.", ["pitch low", "energy high"]),
        ("She starts out fast. Then she slows down.", ["rate_change falling"]),
        ("It begins softly. By the end it is loud.", ["energy_change rising"]),
        ("The volume drops to a whisper.", ["energy_change falling"]),
        ("The voice trails off until it is barely audible.", ["energy_change falling"]),
        # Denials told in several words.
        ("At no time does the volume climb.", ["!energy_change rising"]),
        ("Nobody could describe this voice as quiet.", ["!energy low"]),
        ("Loud is the last thing one would call this voice.", ["!energy high"]),
        ("A high pitch is missing.", ["!pitch high"]),
        # One word is not the clip.
        ('"Please" is stretched out slowly.', []),
        ('On "sorry" the pitch drops.', []),
        # Whispering is a label too.
        ("He is whispering. It is the sound of whispering.", ["energy low"]),
        ("His voice has dropped into a deep register.", ["pitch low"]),
        ("The pitch is about the same, a normal one.", ["pitch normal"]),
        # Idioms.
        ("He talks at a snail's pace.", ["rate slow"]),
        ("The melody is all over the place.", ["intonation expressive"]),
        ("The pitch goes up and then comes back down.", ["intonation rising-falling"]),
        ("He speaks in the upper register at the top of his voice.",
         ["pitch high", "energy high"]),
        ("The volume stays the same.", ["energy_change steady"]),
        ("At the same time, he laughs.", []),
    ],
)  # fmt: skip
def test_asides(text: str, claims: list[str]):
    assert said(text) == claims


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [". no, ", "wait, ", "goes up and then ", "louder than the ", "at no time ", "climbs to a "],
)
def test_degenerate_text_takes_no_longer_than_any_other(text: str):
    start = time.process_time()
    find_claims(text * (100_000 // len(text)))
    assert time.process_time() - start < 5  # quadratic time would take minutes
