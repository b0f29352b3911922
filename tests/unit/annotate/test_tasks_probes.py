"""Held-out questions: even over their answers, and none with an answer of another kind."""

from __future__ import annotations

from collections import Counter
from typing import Any

from annotate.tasks.probes import PROBES, probe_rows


def clip(number: int, **fields: Any) -> dict[str, Any]:
    name = f"c{number:03d}"
    return {"id": name, "audio": f"{name}.wav", "speaker": "s1", "split": "test", **fields}


def energy(number: int, level: str) -> dict[str, Any]:
    ends = {"energy_to_below": 0.5, "energy_to_above": 0.5}
    return clip(number, prosody={"energy": level, **ends})


def test_answers_are_as_even_as_the_clips_allow():
    levels = ["low"] * 30 + ["normal"] * 3 + ["high"] * 20
    rows = [energy(i, level) for i, level in enumerate(levels)]
    found = probe_rows(rows, "energy", 18, seed=0, margin=0.25)
    # Rounds of three while there are any, then of two: 3 x 3, then 9 more from two answers.
    assert Counter(row["label"] for row in found) == {"low": 7, "normal": 3, "high": 8}
    assert [row["id"] for row in found] == sorted(row["id"] for row in found)
    assert all(row["choices"] == ["low", "normal", "high"] for row in found)
    # The measurements of the clip, for what can be had of the probe without listening.
    assert all(row["prosody"]["energy"] == row["label"] for row in found)
    assert len(probe_rows(rows, "energy", 500, seed=0, margin=0.25)) == 53
    assert probe_rows(rows, "energy", 18, seed=0, margin=0.75) == []


def test_the_seed_draws_the_clips():
    rows = [energy(i, "low" if i % 2 else "high") for i in range(40)]
    first = [row["source"] for row in probe_rows(rows, "energy", 10, seed=0, margin=0)]
    assert first == [row["source"] for row in probe_rows(rows, "energy", 10, seed=0, margin=0)]
    assert first != [row["source"] for row in probe_rows(rows, "energy", 10, seed=1, margin=0)]


def test_several_stressed_words_are_not_asked_for():
    words = [
        {"word": word, "start_s": 0.3 * i, "end_s": 0.3 * i + 0.2}
        for i, word in enumerate(["you", "never", "call"])
    ]
    rows = [
        clip(0, words=words, prosody={"stressed_words": ["never"]}),
        clip(1, words=words, prosody={"stressed_words": ["you", "call"]}),
        clip(2, words=words, prosody={"stressed_words": []}),
    ]
    (row,) = probe_rows(rows, "stress", 10, seed=0, margin=0.25)
    assert row["source"] == "c000" and row["label"] == "never"
    assert row["choices"] == ["you", "never", "call"]


def test_the_probes_are_those_of_the_paper():
    assert PROBES == ("pitch", "energy", "rate", "intonation", "stress")
