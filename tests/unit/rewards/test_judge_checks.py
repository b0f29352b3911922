"""What a judge model is told of a text's claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.records import Example, Prompt
from rewards.judges.checks import render_checks
from rewards.judges.prompt import JudgePrompt

PROSODY: dict[str, Any] = {
    "pitch": "low",
    "pitch_to_above": 0.1,
    "pitch_group": "speaker",
    "energy": "high",
    "energy_to_below": 0.9,
    "rate": None,
    "rate_from": "letters",
    "intonation": "flat",
    "intonation_group": "speaker",
    "energy_change": "falling",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "pitch -, energy -, rate -, intonation -"),
        ("The pitch is low.", "pitch low true, energy -, rate -, intonation -"),
        # Not far from the measured level.
        ("The pitch is normal.", "pitch normal half true, energy -, rate -, intonation -"),
        ("The energy is low.", "pitch -, energy low false, rate -, intonation -"),
        ("The energy is not low.", "pitch -, energy not low true, rate -, intonation -"),
        ("The pace is fast.", "pitch -, energy -, rate fast unknown, intonation -"),
        # Both cannot be.
        ("Low pitch. High pitch.", "pitch low and high false, energy -, rate -, intonation -"),
        (
            "The energy fades towards the end.",
            "pitch -, energy -, rate -, intonation -, energy change falling true",
        ),
        ('She says "the pitch is high".', "pitch -, energy -, rate -, intonation -"),
    ],
)
def test_claims_stand_with_their_truth(text: str, expected: str):
    assert render_checks(text, PROSODY) == expected


def rendered(folder: Path, text: str, prosody: dict[str, Any] | None) -> str:
    path = folder / "prompt.txt"
    path.write_text("{fence}\n{reasoning}\n{fence}\n{checks}")
    example = Example("a", "a.wav", "sad", "?", ("sad",), prosody=prosody)
    prompt = Prompt(example, "", np.zeros(0, np.int64), None, 0)
    return JudgePrompt(str(path)).render(prompt, text).rpartition("\n")[2]


def test_a_message_may_have_them(tmp_path: Path):
    text = "The pitch is low. {checks}"
    assert rendered(tmp_path, text, PROSODY) == "pitch low true, energy -, rate -, intonation -"
    # Levels of another origin may be other words.
    assert rendered(tmp_path, text, {"pitch": "lowish"}) == "not measured"
    assert rendered(tmp_path, text, None) == "not measured"
