"""The judge that measures, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from data.prosody.claims import find_claims, truth_of
from data.records import Example, Prompt
from rewards.judges.base import DIMENSIONS, JudgeContext, JudgeError, load_judge
from rewards.judges.measured import MeasuredJudge, fluency, interpretation
from tests.unit.make_groups import CHOICES, make_group

CONTEXT = JudgeContext("clips")
PROSODY = {
    "pitch": "high",
    "energy": "low",
    "rate": "normal",
    "intonation": "flat",
    "pitch_change": "rising",
    "pitch_to_below": 0.9,
    "energy_to_above": 0.1,
    "rate_to_below": 0.2,
    "rate_to_above": 0.6,
    "intonation_to_falling": 0.2,
    "intonation_to_expressive": 1.4,
}


def scores_of(text: str, prosody: dict[str, Any] | None = PROSODY, **options: Any):
    example = Example("clip-1", "clip-1.wav", "angry", "?", CHOICES, prosody=prosody)
    prompt = Prompt(example, "", make_group([""]).prompt.token_ids, None, 0)
    (found,) = MeasuredJudge(CONTEXT, **options).judge(prompt, [text])
    return found


@pytest.mark.parametrize(
    ("text", "factual", "completeness"),
    [
        # All four true; two of four; one right of one; one wrong of one.
        ("High pitch, low energy, normal rate, flat intonation.", 5, 5),
        ("High pitch, low energy.", 5, 3),
        ("High pitch.", 5, 2),
        ("Low pitch.", 1, 2),
        # Two true of four: 1 + 4 x 0.5.
        ("High pitch, high rate, flat intonation, low energy, but a slow rate.", 4, 5),
        ("Low pitch, low energy, fast rate, flat intonation.", 3, 5),
        # Energy is low, 0.1 deviations below normal: "normal" is half true, "high" is not.
        ("Normal energy.", 3, 2),
        ("High energy.", 1, 2),
        # Rate is normal: 0.2 above slow (half true), 0.6 below fast (false).
        ("A slow rate.", 3, 2),
        ("A fast rate.", 1, 2),
        # A flat intonation, 0.2 deviations from a falling one.
        ("Falling intonation.", 3, 2),
        ("Expressive intonation.", 1, 2),
        ("Rising intonation.", 1, 2),
        ("The pitch is not low.", 5, 2),
        ("The pitch is not high.", 1, 2),
        # Saying it twice is no more true; saying both is false.
        ("High pitch, high pitch, low rate.", 4, 3),
        ("High pitch, low pitch.", 1, 2),
        ("The pitch is high, not high.", 1, 2),
        ("The speaker is sad.", 1, 1),
    ],
)
def test_facts_and_coverage(text: str, factual: float, completeness: float):
    found = scores_of(text)
    assert found.missing == ""
    assert found.scores["factual_alignment"] == pytest.approx(factual)
    assert found.scores["caption_completeness"] == pytest.approx(completeness)


def test_the_margin_makes_the_difference():
    assert scores_of("Normal energy.", margin=0.05).scores["factual_alignment"] == 1
    assert scores_of("A fast rate.", margin=0.7).scores["factual_alignment"] == 3


def test_a_clip_without_measurements_is_missing_not_bad():
    found = scores_of("High pitch.", None)
    assert found.scores == dict.fromkeys(DIMENSIONS, None)
    assert found.missing == "no prosody in the manifest"


def test_an_attribute_that_was_not_measured_is_neither_true_nor_false():
    whispered = {**PROSODY, "pitch": None, "intonation": None}
    assert scores_of("High pitch, low energy.", whispered).scores["factual_alignment"] == 5
    assert scores_of("Low energy, normal rate.", whispered).scores["caption_completeness"] == 5
    only_pitch = scores_of("High pitch.", whispered)
    assert only_pitch.scores["factual_alignment"] is None
    assert only_pitch.missing == "claims on unmeasured prosody only"


def test_details_tell_which_claims_hold():
    text = "High pitch, loud voice."
    claims = scores_of(text).details["claims"]
    assert [(c["attribute"], c["level"], c["truth"]) for c in claims] == [
        ("pitch", "high", 1.0),
        ("energy", "high", 0.0),
    ]
    assert [text[c["start"] : c["end"]] for c in claims] == ["High", "loud"]


def test_a_change_is_checked_against_the_measured_change():
    assert truth_of(*find_claims("The volume falls."), {"energy_change": "falling"}, 0.25) == 1
    assert truth_of(*find_claims("The volume falls."), {"energy_change": "rising"}, 0.25) == 0
    assert truth_of(*find_claims("The volume falls."), {}, 0.25) is None


def test_interpretation_is_a_keyword_check():
    assert interpretation("High pitch.") == 1
    assert interpretation("High pitch, so he is angry.") == 3
    assert interpretation("The high pitch suggests anger.") == 5


def test_fluency_by_hand():
    good = "The pitch is high and the rate is fast here."
    assert fluency(good, 8, 20) == 1
    assert fluency(good.lower(), 8, 20) == pytest.approx(0.8)
    assert fluency(good[:-1], 8, 20) == pytest.approx(0.8)
    assert fluency(good, 11, 20) == pytest.approx(0.8)
    assert fluency("The the pitch is high and the rate is fast.", 8, 20) == pytest.approx(0.8)
    # Ten words a time: 28 triples, 10 of them different.
    assert fluency(f"{good} {good} {good}", 8, 40) == pytest.approx(0.8)
    assert fluency("", 8, 20) == pytest.approx(0.4)  # no word twice, no triple twice


def test_it_loads_by_name_with_its_options():
    judge = load_judge("rewards.judges.measured:MeasuredJudge", {"margin": 0.5}, CONTEXT)
    assert judge.dimensions == DIMENSIONS
    with pytest.raises(JudgeError, match=r"judge_options \['margins'\] do not fit MeasuredJudge"):
        load_judge("rewards.judges.measured:MeasuredJudge", {"margins": 0.5}, CONTEXT)
    with pytest.raises(JudgeError, match=r"'os' is not in rewards\.packages"):
        load_judge("os:system", {}, CONTEXT)
    with pytest.raises(JudgeError, match="has no class fluency"):
        load_judge("rewards.judges.measured:fluency", {}, CONTEXT)
    with pytest.raises(JudgeError, match="margin -1"):
        MeasuredJudge(CONTEXT, margin=-1)
