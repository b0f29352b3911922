"""Claimed levels under moved clips: policies that hear, that are deaf, that go by the speaker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from data.prosody.measure import measure
from data.prosody.renditions import change_by, is_clean
from data.records import Completion, Group, Prompt
from evaluation.controls import CONTROLS, Clip
from evaluation.shift import LevelShift, level_shifts, sampled_levels, shift_metrics
from tests.fixtures import make_example
from tests.unit.data.prosody.test_measure import voice

SPEAKERS_ST = (-4.0, -2.0, 0.0, 1.0, 3.0, 4.0)
"""Pitch of six speakers; each has three clips, 4 st below, at and above it."""
WORDS = ("low", "normal", "high")
Policy = Callable[[float, int], str]
"""Pitch of the clip in semitones and its speaker -> the pitch that a text claims."""


def group_of(*texts: str) -> Group:
    prompt = Prompt(make_example(1), "...", np.arange(3), None, 0)
    return Group(
        prompt,
        tuple(
            Completion(
                np.array([1]),
                np.zeros(1, np.float32),
                f"<think>{text}</think><answer>sad</answer>",
                "stop",
                0,
            )
            for text in texts
        ),
    )


def by_level(value_st: float) -> str:
    return WORDS[1 + int(value_st > 2) - int(value_st < -2)]


def rows_of(policy: Policy, moved_st: float, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{speaker}/{offset}",
            "speaker": f"s{speaker}",
            "levels": sampled_levels(group_of(f"The pitch is {policy(pitch, speaker)}.")),
            **more,
        }
        for speaker, middle in enumerate(SPEAKERS_ST)
        for offset in (-4.0, 0.0, 4.0)
        for pitch in (middle + offset + moved_st,)
    ]


def pitch_shift(policy: Policy, name: str = "pitch_up", moved_st: float = 4.0) -> LevelShift:
    controls = {"resynthesis": rows_of(policy, 0.0), name: rows_of(policy, moved_st, clean=True)}
    return level_shifts([], controls)[name].attributes["pitch"]


def test_what_the_shift_says_of_a_policy():
    hears = pitch_shift(lambda pitch, speaker: by_level(pitch))
    levels = [[by_level(m + o) for o in (-4, 0, 4)] for m in SPEAKERS_ST]
    moved = [[by_level(m + o + 4) for o in (-4, 0, 4)] for m in SPEAKERS_ST]
    by_hand = np.mean(
        [
            WORDS.index(after) - WORDS.index(before)
            for before_them, afters in zip(levels, moved, strict=True)
            for before, after in zip(before_them, afters, strict=True)
        ]
    )
    assert hears.shift == pytest.approx(by_hand) and by_hand > 0.5
    assert hears.interval is not None and hears.interval.low > 0
    assert (hears.num_clips, hears.num_speakers, hears.unclaimed_frac) == (18, 6, 0.0)
    # Downwards the direction makes it positive too; a policy that goes the wrong way is negative.
    down = pitch_shift(lambda pitch, speaker: by_level(pitch), "pitch_down", -4.0).shift
    wrong = pitch_shift(lambda pitch, speaker: by_level(-pitch)).shift
    assert down is not None and down > 0.5 and wrong is not None and wrong < -0.5

    deaf = pitch_shift(lambda pitch, speaker: "high")
    assert (deaf.shift, deaf.interval, deaf.num_clips) == (0.0, None, 18)
    # Right about most clips, from the voice that it knows: it has not heard the move.
    knows = pitch_shift(lambda pitch, speaker: by_level(SPEAKERS_ST[speaker]))
    assert knows.shift == 0.0


def row(id: str, *texts: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "levels": sampled_levels(group_of(*texts)), **more}


HIGH, NORMAL, LOW = (f"The volume is {level}." for level in reversed(WORDS))


def test_what_claims_nothing_is_in_no_mean():
    plain = [
        row("a", HIGH, NORMAL, "A voice."),  # 1.5 of two
        row("b", LOW, LOW, "The volume is not high."),  # 0 of two: a denial is no single level
        row("c", "A voice.", "A voice.", "A voice."),
        {"id": "d"},  # answered, and could not be sampled
    ]
    louder = [
        row("a", HIGH, HIGH, HIGH, clean=True),  # +0.5
        row("b", NORMAL, "A voice.", "A voice.", clean=True),  # +1
        row("c", HIGH, HIGH, HIGH, clean=True),  # nothing to compare with
        row("d", HIGH, HIGH, HIGH, clean=True),
    ]
    shift = level_shifts(plain, {"energy_up": louder})["energy_up"]
    energy = shift.attributes["energy"]
    assert (shift.num_clips, shift.num_unclean, energy.num_clips) == (3, 0, 2)
    assert energy.shift == pytest.approx(0.75)
    assert energy.unclaimed_frac == pytest.approx(7 / 18)
    assert shift.attributes["pitch"].shift is None
    assert shift_metrics({"energy_up": shift}) == pytest.approx(
        {
            "control_energy_up_shift_unclean_frac": 0.0,
            "control_energy_up_shift_energy": 0.75,
            "control_energy_up_shift_energy_num": 2.0,
            "control_energy_up_shift_energy_unclaimed_frac": 7 / 18,
            "control_energy_up_shift_pitch_unclaimed_frac": 1.0,
            "control_energy_up_shift_rate_unclaimed_frac": 1.0,
        }
    )


def test_a_mean_of_nothing_may_hide_two_that_cancel():
    # Low voices are followed; high ones, with no room above, are called low once they are raised.
    before = {"low": LOW, "normal": NORMAL, "high": HIGH}
    after = {"low": NORMAL, "normal": NORMAL, "high": NORMAL}
    plain = [row(level, text, measured={"energy": level}) for level, text in before.items()]
    plain += [row("unmeasured", LOW), row("odd", LOW, measured={"energy": None})]
    louder = [row(level, text, clean=True) for level, text in after.items()]
    louder += [row(name, LOW, clean=True) for name in ("unmeasured", "odd")]
    shifts = level_shifts(plain, {"energy_up": louder})
    by_level = shifts["energy_up"].by_level
    assert shifts["energy_up"].attributes["energy"].shift == 0.0
    assert {level: part.shift for level, part in by_level.items()} == {
        "low": 1.0,
        "normal": 0.0,
        "high": -1.0,
    }
    assert [part.num_clips for part in by_level.values()] == [1, 1, 1]
    metrics = shift_metrics(shifts)
    assert metrics["control_energy_up_shift_of_low"] == 1.0
    assert metrics["control_energy_up_shift_of_high"] == -1.0


def test_the_interval_is_that_of_the_speakers():
    moves = (1, 1, 1, 0, 0)
    plain = [row(str(n), LOW, speaker=f"s{n}") for n in range(5)]
    louder = [row(str(n), NORMAL if up else LOW, clean=True) for n, up in enumerate(moves)]
    energy = level_shifts(plain, {"energy_up": louder})["energy_up"].attributes["energy"]
    by_hand = stats.ttest_1samp(moves, 0).confidence_interval(0.95)
    assert energy.num_speakers == 5 and energy.interval is not None
    assert (energy.interval.low, energy.interval.high) == pytest.approx(tuple(by_hand))
    # With fewer speakers, or an unknown one, clips are what is independent.
    few = [{**before, "speaker": "one"} for before in plain]
    energy = level_shifts(few, {"energy_up": louder})["energy_up"].attributes["energy"]
    assert energy.num_speakers is None and energy.interval is not None
    assert energy.interval.low == pytest.approx(by_hand.low)


def test_unclean_clips_are_counted_and_left_out():
    plain = [row("a", LOW), row("b", LOW)]
    louder = [row("a", HIGH, clean=False), row("b", NORMAL, clean=True)]
    shift = level_shifts(plain, {"energy_up": louder})["energy_up"]
    assert (shift.num_clips, shift.num_unclean) == (2, 1)
    assert shift.attributes["energy"].shift == 1.0
    nothing = level_shifts(plain, {"energy_up": louder[:1]})["energy_up"].attributes["energy"]
    assert (nothing.num_clips, nothing.shift, nothing.unclaimed_frac) == (0, None, None)


def test_effects_across_attributes():
    def said(pitch: str, energy: str) -> str:
        return f"The pitch is {pitch} and the volume is {energy}."

    before = [row("a", said("low", "high"), said("low", "normal"))]
    after = [row("a", said("normal", "low"), said("low", "normal"), clean=True)]
    shift = level_shifts([], {"resynthesis": before, "pitch_up": after})["pitch_up"]
    assert shift.attributes["pitch"].shift == pytest.approx(0.5)
    assert shift.attributes["energy"].shift == pytest.approx(-1.0)
    assert shift.attributes["rate"].shift is None


def test_controls_without_samples_have_no_shift():
    rows = [{"id": "a"}]
    assert level_shifts(rows, {"silence": rows, "energy_up": rows, "pitch_up": rows}) == {}


def test_clean_is_what_was_asked_and_nothing_else():
    clip = Clip(voice([150, 140], 1.0))
    heard = {"": clip.samples, "resynthesis": CONTROLS["resynthesis"].alter(clip)}
    plain = {name: measure(samples, None) for name, samples in heard.items()}
    for name, control in CONTROLS.items():
        if not control.attribute:
            continue
        before, after = plain[control.baseline], measure(control.alter(clip), None)
        assert is_clean(before, after, control.change), name
        assert not is_clean(before, before, control.change), name
        size = {"pitch": 4.0, "energy": 6.0, "rate": 1.25}[control.attribute]
        assert control.change == change_by(control.attribute, control.direction, size)
        opposite = change_by(control.attribute, -control.direction, size)
        assert not is_clean(before, after, opposite), name
        assert after.energy_dbfs is not None and after.f0_median_hz is not None
        louder = replace(after, energy_dbfs=after.energy_dbfs + 1.5)
        higher = replace(after, f0_median_hz=after.f0_median_hz * 2 ** (1.5 / 12))
        longer = replace(after, speech_s=after.speech_s * 1.1)
        whispered = replace(after, f0_median_hz=None)
        for spoilt in (louder, higher, longer, whispered):
            assert not is_clean(before, spoilt, control.change), name
