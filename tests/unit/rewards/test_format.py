"""The format term."""

from __future__ import annotations

from rewards.format import FormatReward
from tests.unit.make_groups import make_group

RIGHT = "<think>loud</think><answer>angry</answer>"


def test_one_for_well_formed_and_zero_for_the_rest_with_the_reason():
    scores = FormatReward().score(make_group([RIGHT, "angry", f"{RIGHT}!", f" {RIGHT}"]))
    assert scores.values == (1.0, 0.0, 0.0, 1.0)
    assert [detail["reason"] for detail in scores.details] == [
        "ok",
        "missing <think>",
        "text outside",
        "ok",
    ]


def test_the_answer_does_not_matter():
    wrong = "<think>loud</think><answer>no such label</answer>"
    assert FormatReward().score(make_group([wrong], label="angry")).values == (1.0,)


def test_order_and_group_size_do_not_change_a_score():
    texts = [RIGHT, "", f"{RIGHT}{RIGHT}", RIGHT]
    whole = FormatReward().score(make_group(texts)).values
    backwards = FormatReward().score(make_group(texts[::-1])).values
    alone = tuple(FormatReward().score(make_group([text])).values[0] for text in texts)
    assert whole == backwards[::-1] == alone == (1.0, 0.0, 0.0, 1.0)
