"""Controls alter clips as they say, and claims are compared before and after by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.schema import CONTROL_NAMES
from data.audio import AudioError, read_audio
from data.prosody.measure import measure
from evaluation.controls import (
    CONTROLS,
    ENERGY_DB,
    PITCH_ST,
    RATE,
    Clip,
    alter_clip,
    shuffled,
    with_baselines,
)
from evaluation.grounding import ClaimShift, claim_shift, claimed_level, control_metrics
from tests.fixtures import make_example, write_tone
from tests.unit.data.prosody.test_measure import voice


def test_the_names_are_those_of_the_configuration():
    assert tuple(CONTROLS) == CONTROL_NAMES


def test_controls_move_what_they_say():
    clip = np.concatenate([np.zeros(2000, np.float32), voice([150, 140], 1.0)])
    altered = {name: control.alter(Clip(clip)) for name, control in CONTROLS.items()}
    plain = measure(altered["resynthesis"], None)
    assert plain.f0_median_hz is not None and plain.energy_dbfs is not None
    for name, steps in (("pitch_up", PITCH_ST), ("pitch_down", -PITCH_ST)):
        found = measure(altered[name], None).f0_median_hz
        assert found == pytest.approx(plain.f0_median_hz * 2 ** (steps / 12), rel=0.02)
    original = measure(clip, None).energy_dbfs
    assert original is not None
    for name, gain in (("energy_up", ENERGY_DB), ("energy_down", -ENERGY_DB)):
        assert measure(altered[name], None).energy_dbfs == pytest.approx(original + gain, abs=0.05)
    for name, factor in (("rate_up", RATE), ("rate_down", 1 / RATE)):
        assert len(altered[name]) == pytest.approx(len(clip) / factor, rel=0.02)
    silent = altered["silence"]
    assert len(silent) == len(clip) and 0 < np.abs(silent).max() <= 1e-5


def test_a_clip_is_altered_for_several_controls_at_once(tmp_path: Path):
    path = write_tone(tmp_path / "tone.wav", duration_s=0.5)
    found = alter_clip(path, ["silence", "resynthesis", "rate_up"], 0.1, 30.0)
    assert list(found.samples) == ["silence", "resynthesis", "rate_up"] and not found.clean
    clip = Clip(read_audio(path, min_duration_s=0.1, max_duration_s=30.0))
    for name, samples in found.samples.items():
        np.testing.assert_array_equal(samples, CONTROLS[name].alter(clip))
    with pytest.raises(AudioError, match="shorter"):
        alter_clip(path, ["silence"], 1.0, 30.0)


def test_shuffled_clips_come_from_other_speakers():
    examples = [make_example(n, speaker=f"s{n % 3}") for n in range(12)]
    found = shuffled(examples, seed=3)
    by_audio = {example.audio: example for example in examples}
    assert [example.id for example in found] == [example.id for example in examples]
    assert sorted(example.audio for example in found) == sorted(by_audio)
    for example, other in zip(examples, found, strict=True):
        assert by_audio[other.audio].speaker != example.speaker
    assert found == shuffled(examples, seed=3) != shuffled(examples, seed=4)
    (alone,) = shuffled(examples[:1], seed=0)
    assert alone == examples[0]


def said(reasoning: str) -> str:
    return f"<think>{reasoning}</think><answer>sad</answer>"


def test_the_claimed_level():
    assert claimed_level(said("The pitch is high and the pace is slow."), "pitch") == 2
    assert claimed_level(said("The pitch is high and the pace is slow."), "rate") == 0
    assert claimed_level(said("The pitch is high and the pace is slow."), "energy") is None
    assert claimed_level(said("The pitch is not high."), "pitch") is None
    assert claimed_level(said("High pitch. A low pitch."), "pitch") is None
    assert claimed_level("The pitch is high.", "pitch") is None  # malformed


def row(name: str, reasoning: str, *, answer: str = "sad", correct: bool = True):
    return {"id": name, "text": said(reasoning), "answer": answer, "correct": correct}


LOW, NORMAL, HIGH = (f"The pitch is {level}." for level in ("low", "normal", "high"))


def test_shifts_by_hand():
    before = [row("a", LOW), row("b", NORMAL), row("c", HIGH), row("d", LOW), row("e", NORMAL)]
    after = [row("a", NORMAL), row("b", HIGH), row("c", HIGH), row("d", LOW), row("e", LOW)]
    # c is at the top already; of a, b, d, e two rise and one falls.
    assert claim_shift(before, after, "pitch", 1) == ClaimShift(4, 0.5, 0.25)
    # Downwards a and d are at the bottom: b rises, c stays, e falls.
    assert claim_shift(before, after, "pitch", -1) == ClaimShift(3, 1 / 3, 1 / 3)
    assert claim_shift(before, after, "energy", 1) == ClaimShift(0, None, None)


def test_metrics_of_the_controls():
    plain = [row("a", LOW), row("b", LOW)]
    resynthesis = [row("a", NORMAL), row("b", LOW)]
    up = [row("a", HIGH, answer="happy", correct=False), row("b", NORMAL)]
    found = control_metrics(plain, {"resynthesis": resynthesis, "pitch_up": up})
    assert found == {
        "control_resynthesis_accuracy": 1.0,
        "control_resynthesis_changed_frac": 0.0,
        "control_pitch_up_accuracy": 0.5,
        "control_pitch_up_changed_frac": 0.5,
        "control_pitch_up_follow_num": 2.0,
        "control_pitch_up_follow_frac": 1.0,
        "control_pitch_up_against_frac": 0.0,
    }


def test_baselines_come_along():
    assert with_baselines(["rate_up", "silence"]) == ["silence", "resynthesis", "rate_up"]
    assert with_baselines([]) == []
