"""A judge's dimensions as one number."""

from __future__ import annotations

import pytest

from rewards.judges.base import DIMENSIONS, JudgeContext, JudgeError, Judgement
from rewards.reasoning import ReasoningReward, normalized_weights
from tests.unit.make_groups import make_group

HERE = "tests.unit.rewards.test_reasoning"
CONTEXT = {"audio_root": "clips", "packages": ["rewards", "tests"]}


class Spelled:
    """Reads its scores from the reasoning: four numbers, `-` for a missing one."""

    dimensions = DIMENSIONS

    def __init__(self, context: JudgeContext, told: list[str] | None = None) -> None:
        assert context.audio_root == "clips"
        self.told = told

    def judge(self, prompt, reasonings):
        found = []
        for text in reasonings:
            values = [None if part == "-" else float(part) for part in text.split()]
            missing = "timeout" if None in values else ""
            scores = dict(zip(DIMENSIONS, values, strict=True))
            found.append(Judgement(scores, missing, {"calls": 1}))
        return found

    def close(self) -> None:
        pass


class Two(Spelled):
    """Answers two dimensions."""

    dimensions = DIMENSIONS[:2]

    def judge(self, prompt, reasonings):
        return [
            Judgement(dict(zip(self.dimensions, map(float, t.split()), strict=True)))
            for t in reasonings
        ]


def score(*thinks: str, judge: str = "Spelled", **options):
    reward = ReasoningReward(f"{HERE}:{judge}", context=CONTEXT, **options)
    texts = [f"<think>{think}</think><answer>sad</answer>" for think in thinks]
    return reward.score(make_group(texts))


def test_the_mean_of_four_dimensions_over_five():
    found = score("5 5 5 5", "1 1 1 1", "4 3 2 5")
    assert found.values == pytest.approx((1.0, 0.2, 0.7))
    assert found.details[2]["scores"] == dict(zip(DIMENSIONS, (4, 3, 2, 5), strict=True))
    assert found.details[2]["calls"] == 1


def test_weights_are_scaled_to_sum_one():
    weights = {"factual_alignment": 3.0, "fluency_and_structural_clarity": 1.0}
    assert score("5 1 1 1", dimension_weights=weights).values == pytest.approx((0.8,))


def test_malformed_completions_are_not_shown_to_the_judge():
    reward = ReasoningReward(f"{HERE}:Spelled", context=CONTEXT)
    # Were the malformed one judged, it would fail to be four numbers.
    found = reward.score(make_group(["nothing", "<think>5 5 5 5</think><answer>sad</answer>"]))
    assert found.values == (None, pytest.approx(1.0))
    assert found.details[0] == {"malformed": True}


def test_a_missing_dimension_that_counts_is_a_missing_value():
    found = score("5 - 5 5", "5 5 5 5")
    assert found.values == (None, pytest.approx(1.0))
    assert found.details[0]["missing"] == "timeout"
    only = score("5 - 5 5", dimension_weights={"factual_alignment": 1.0})
    assert only.values == (pytest.approx(1.0),)


def test_a_judge_of_fewer_dimensions_shares_the_weight_among_them():
    assert score("5 1", judge="Two").values == pytest.approx((0.6,))


def test_scores_out_of_range_are_a_fault_of_the_judge():
    for text in ("5 5 5 9", "0 5 5 5", "nan 5 5 5"):
        with pytest.raises(JudgeError, match=r"judge Spelled scored \w+ with"):
            score(text)


def test_weights_that_fit_no_dimension_are_refused():
    with pytest.raises(JudgeError, match="unknown 'style'"):
        normalized_weights({"style": 1.0}, DIMENSIONS)
    with pytest.raises(JudgeError, match="needs weights >= 0"):
        normalized_weights({"factual_alignment": -1.0, "caption_completeness": 2.0}, DIMENSIONS)
    with pytest.raises(JudgeError, match="a dimension that the judge answers: factual_alignment"):
        normalized_weights({"caption_completeness": 1.0}, ("factual_alignment",))
