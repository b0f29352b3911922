"""Levels as questions: only where they are clear, with the annotation's level as the answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from annotate.tasks.attributes import QUESTIONS, attribute_rows
from annotate.tasks.base import row_rng
from configs.errors import UserError
from data.prosody.levels import LEVELS, LEVELS_OF
from tests.unit.task_clips import speech, write_corpus


def clip(name: str, **prosody: Any) -> dict[str, Any]:
    return {"id": name, "audio": f"{name}.wav", "speaker": "s1", "split": "train",
            "label": "sad", "prosody": prosody}  # fmt: skip


def pitch(level: str, below: float | None, above: float | None) -> Mapping[str, Any]:
    return {"pitch": level, "pitch_to_below": below, "pitch_to_above": above}


def test_only_clear_levels_are_asked_for():
    rows = [
        clip("low", **pitch("low", None, 0.25)),
        clip("near", **pitch("low", None, 0.249)),
        clip("middle", **pitch("normal", 0.4, 0.3)),
        clip("middle near", **pitch("normal", 0.4, 0.2)),
        clip("high", **pitch("high", 1.5, None)),
        clip("whisper", **pitch(None, None, None)),  # type: ignore[arg-type]
        {**clip("failed"), "prosody": None},
    ]
    found = attribute_rows(rows, "pitch", seed=0)
    assert [row["id"] for row in found] == ["pitch/low", "pitch/middle", "pitch/high"]
    assert [row["label"] for row in found] == ["low", "normal", "high"]
    assert found[0] == {
        "id": "pitch/low",
        "task": "pitch",
        "audio": "low.wav",
        "question": found[0]["question"],
        "choices": ["low", "normal", "high"],
        "label": "low",
        "target": "<answer>low</answer>",
        "speaker": "s1",
        "split": "train",
        "dataset": None,
        "source": "low",
    }
    assert "low, normal, high" in found[0]["question"] and "{" not in found[0]["question"]
    assert len(attribute_rows(rows, "pitch", seed=0, margin=0)) == 5


def test_an_intonation_is_clear_if_it_is_far_from_all_others():
    far = {
        "intonation_to_flat": 0.9,
        "intonation_to_falling": 0.3,
        "intonation_to_expressive": None,
    }
    rows = [
        clip("a", intonation="expressive", intonation_to_rising=0.8, **far),
        clip("b", intonation="expressive", intonation_to_rising=0.2, **far),
    ]
    (row,) = attribute_rows(rows, "intonation", seed=0)
    assert row["source"] == "a" and row["label"] == "expressive"
    assert row["choices"] == ["flat", "falling", "expressive", "rising"]


def test_real_speech_gets_the_levels_that_its_voice_had(tmp_path: Path):
    """Nine clips of one speaker at pitches 20 to 84: the outer two of each third are clear."""
    clips = {f"p{pitch}": speech(pitch=pitch, text="at nine.") for pitch in range(20, 85, 8)}
    rows = write_corpus(tmp_path, clips)
    levels = {row["source"]: row["label"] for row in attribute_rows(rows, "pitch", seed=0)}
    assert levels["p20"] == levels["p28"] == "low"
    assert levels["p52"] == "normal"
    assert levels["p76"] == levels["p84"] == "high"


def test_phrasings_vary_and_other_rows_do_not_move_them():
    rows = [clip(str(index), **pitch("low", None, 1.0)) for index in range(60)]
    asked = {row["source"]: row["question"] for row in attribute_rows(rows, "pitch", seed=3)}
    assert len(set(asked.values())) == len(QUESTIONS["pitch"])
    fewer = attribute_rows(rows[7:9], "pitch", seed=3)
    assert [row["question"] for row in fewer] == [asked["7"], asked["8"]]
    others = attribute_rows(rows, "pitch", seed=4)
    assert [row["question"] for row in others] != list(asked.values())
    assert row_rng(3, "ab").random() != row_rng(3, "ba").random()


def test_every_phrasing_names_the_choices():
    assert LEVELS_OF.keys() == QUESTIONS.keys() == {*LEVELS, "intonation"}
    for questions in QUESTIONS.values():
        assert len(questions) >= 3 and all("{choices}" in question for question in questions)


def test_a_level_from_elsewhere_is_refused():
    with pytest.raises(UserError, match=r"'x'.*'very high'.*low, normal, high"):
        attribute_rows([clip("x", **pitch("very high", 1.0, None))], "pitch", seed=0)
    with pytest.raises(UserError, match="0 distances"):
        attribute_rows([clip("x", pitch="high")], "pitch", seed=0)


def test_names_of_the_released_corpus_are_taken():
    row = clip("x", **pitch("high", 1.0, None))
    row["audio_path"] = row.pop("audio")
    assert attribute_rows([row], "pitch", seed=0)[0]["audio"] == "x.wav"
