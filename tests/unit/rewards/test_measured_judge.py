"""The judge that measures, by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from data.prosody.claims import find_claims, truth_of
from data.records import Example, Prompt
from rewards.judges.base import DIMENSIONS, JudgeContext, JudgeError, load_judge
from rewards.judges.measured import MeasuredJudge, fluency, interpretation
from rewards.reasoning import ReasoningReward
from tests.unit.make_groups import CHOICES, make_group

CONTEXT = JudgeContext("clips")
PROSODY = {
    "pitch": "high",
    "energy": "low",
    "rate": "normal",
    "intonation": "flat",
    "pitch_change": "rising",
    "energy_change": "steady",
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
        # All four true; two of four; one right of one; one wrong of one, which tells nothing.
        ("High pitch, low energy, normal rate, flat intonation.", 5, 5),
        ("High pitch, low energy.", 5, 3),
        ("High pitch.", 5, 2),
        ("Low pitch.", 1, 1),
        # Rate is said twice, differently: three true of four, 1 + 4 x 3/4.
        ("High pitch, high rate, flat intonation, low energy, but a slow rate.", 4, 4),
        ("Low pitch, low energy, fast rate, flat intonation.", 3, 3),
        # Energy is low, 0.1 deviations below normal: "normal" is worth a guess of one in three,
        # 1 + 4/3; and a twelfth of what there is to tell, 1 + 4/12. "High" is false.
        ("Normal energy.", 7 / 3, 4 / 3),
        ("High energy.", 1, 1),
        # Rate is normal: 0.2 above slow (half true), 0.6 below fast (false).
        ("A slow rate.", 7 / 3, 4 / 3),
        ("A fast rate.", 1, 1),
        # A flat intonation, 0.2 deviations from a falling one: a guess of one in four.
        ("Falling intonation.", 2, 1.25),
        ("Expressive intonation.", 1, 1),
        ("Rising intonation.", 1, 1),
        # One level of three denied leaves two: worth 1/2. Two denied name the third.
        ("The pitch is not low.", 3, 1.5),
        ("The pitch is neither low nor normal.", 5, 2),
        ("The pitch is not high.", 1, 1),
        ("The intonation is not rising.", 1 + 4 / 3, 1 + 1 / 3),
        # Energy is low, but nearly normal: half of the half.
        ("The energy is not normal.", 2, 1.25),
        # What is named outright is worth that, whatever is denied beside it.
        ("The energy is low, not normal.", 5, 2),
        # All three denied, or named, leave none.
        ("The pitch is not low, not normal and not high.", 1, 1),
        ("The pitch is low, normal and high.", 1, 1),
        # Saying it twice is no more true; saying both is false.
        ("High pitch, high pitch, fast rate.", 3, 2),
        ("High pitch, low pitch.", 1, 1),
        ("The pitch is high, not high.", 1, 1),
        # A change is no attribute of its own: true, it adds nothing; false, it costs the energy.
        ("The volume is steady.", 1, 1),
        ("The volume falls.", 1, 1),
        ("High pitch, low energy. The volume is steady.", 5, 3),
        ("High pitch, low energy. The volume falls.", 3, 2),
        ("High pitch. The volume falls.", 3, 2),
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
    near = scores_of("A fast rate.", margin=0.7).scores["factual_alignment"]
    assert near == pytest.approx(1 + 4 / 3)


def test_a_clip_without_measurements_is_missing_not_bad():
    found = scores_of("High pitch.", None)
    assert found.scores == dict.fromkeys(DIMENSIONS, None)
    assert found.missing == "no prosody in the manifest"


def test_a_row_without_a_clip_has_no_scores_and_that_is_no_failure():
    prompt = make_group([""]).prompt
    prompt = replace(prompt, example=structs.replace(prompt.example, audio=""))
    (found,) = MeasuredJudge(CONTEXT).judge(prompt, ["High pitch."])
    assert found.scores == dict.fromkeys(DIMENSIONS)
    text = "<think>High pitch.</think><answer>sad</answer>"
    reward = ReasoningReward("rewards.judges.measured:MeasuredJudge")
    scores = reward.score(replace(make_group([text]), prompt=prompt))
    assert scores.values == (None,)
    assert scores.details[0]["not_applicable"]
    (detail,) = reward.score(make_group([text])).details
    assert "not_applicable" not in detail and detail["missing"] == "no prosody in the manifest"


def test_an_attribute_that_was_not_measured_is_neither_true_nor_false():
    whispered = {**PROSODY, "pitch": None, "intonation": None}
    assert scores_of("High pitch, low energy.", whispered).scores["factual_alignment"] == 5
    assert scores_of("Low energy, normal rate.", whispered).scores["caption_completeness"] == 5
    assert scores_of("High pitch.", dict.fromkeys(PROSODY)).missing == (
        "claims on unmeasured prosody only"
    )


def test_to_speak_only_of_what_was_not_measured_is_to_say_nothing():
    """Else a policy that fears to be wrong of a whisper would speak of its pitch, for the mean."""
    whispered = {**PROSODY, "pitch": None, "intonation": None}
    only_pitch = scores_of("High pitch.", whispered)
    assert only_pitch.scores["factual_alignment"] == 1 and not only_pitch.missing
    assert only_pitch.scores["caption_completeness"] == 1


def test_a_claim_on_a_change_alone_is_no_claim_even_where_it_was_not_measured():
    """Else a text could have itself left out, and be given the mean of its group."""
    found = scores_of("The rate is steady.")
    assert found.scores["factual_alignment"] == found.scores["caption_completeness"] == 1
    assert found.missing == ""


def test_a_conclusion_is_worth_no_more_than_its_cues():
    suggests = "{} pitch, which suggests a calm mood."
    assert scores_of(suggests.format("High")).scores["interpretative_quality"] == 5
    assert scores_of(suggests.format("Low")).scores["interpretative_quality"] == 1
    assert scores_of("High pitch, high energy, which suggests anger.").scores[
        "interpretative_quality"
    ] == pytest.approx(3)
    assert (
        scores_of("A calm mood, it seems, which suggests much.").scores["interpretative_quality"]
        == 1
    )


def test_base_rates_make_the_usual_worth_less():
    """Flat on 60 % of the clips: 1/3 of 1/0.6 = 5/9. Not rising, on 90 %: 1/3 of 1/0.9."""
    rates = {"intonation": {"rising": 0.1, "falling": 0.2, "flat": 0.6, "expressive": 0.1}}
    flat = scores_of("Flat intonation.", base_rates=rates)
    assert flat.scores["factual_alignment"] == pytest.approx(1 + 4 * 5 / 9)
    denied = scores_of("The intonation is not falling, not expressive.", base_rates=rates)
    assert denied.scores["factual_alignment"] == pytest.approx(1 + 4 * min(1 / 2, 1 / 3 / 0.7) / 2)
    assert scores_of("High pitch.", base_rates=rates).scores["factual_alignment"] == 5


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"tone": {"low": 1.0}}, "unknown 'tone'; allowed are pitch, energy, rate, intonation"),
        ({"pitch": {"low": 0.5, "high": 0.5}}, "pitch has low, high; give the share of each of"),
        ({"pitch": {"low": 0.5, "normal": 0.5, "high": 0.5}}, "are no shares: they sum to 1"),
        ({"pitch": {"low": -0.5, "normal": 0.5, "high": 1.0}}, "are no shares"),
    ],
)
def test_base_rates_that_are_none_are_refused(rates: Any, message: str):
    with pytest.raises(JudgeError, match=re.escape(message)):
        MeasuredJudge(CONTEXT, base_rates=rates)


def test_what_is_measured_counts_by_default():
    weights = ReasoningReward("rewards.judges.measured:MeasuredJudge")
    text = "<think>High pitch, low energy. The weather suggests a mood.</think><answer>sad</answer>"
    group = make_group([text])
    example = structs.replace(group.prompt.example, prosody=PROSODY)
    group = replace(group, prompt=replace(group.prompt, example=example))
    # Facts 5, coverage 3.
    assert weights.score(group).values == (pytest.approx(0.8),)


def test_details_tell_which_claims_hold():
    text = "High pitch, loud voice."
    details = scores_of(text).details
    claims = details["claims"]
    assert details["worths"] == {"pitch": 1.0, "energy": 0.0}
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
