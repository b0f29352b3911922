"""The accuracy term and its alias table."""

from __future__ import annotations

import pytest

from data.parsing import parse_output
from rewards.accuracy import AccuracyReward, answer_of, is_correct, normalize_aliases
from tests.unit.make_groups import make_group

ALIASES = {"Disgust": "contempt or disgust", "contempt": "Contempt or Disgust."}


def say(answer: str) -> str:
    return f"<think>loud</think><answer>{answer}</answer>"


def test_right_wrong_and_malformed():
    scores = AccuracyReward().score(make_group([say("angry"), say("sad"), "angry"], label="angry"))
    assert scores.values == (1.0, 0.0, 0.0)
    assert scores.details == (
        {"answer": "angry", "reason": "ok"},
        {"answer": "sad", "reason": "ok"},
        {"answer": None, "reason": "missing <think>"},
    )


@pytest.mark.parametrize(
    ("answer", "label", "right"),
    [
        ("Angry", "angry", True),
        (" angry.\n", "angry", True),
        ("angry", "Angry", True),
        ("contempt  or\ndisgust", "contempt or disgust", True),
        ("very angry", "angry", False),
        ("angry, sad", "angry", False),
        ("ang", "angry", False),
        ("neutral, happy, sad, angry", "angry", False),
        ("disgust", "contempt or disgust", False),
    ],
)
def test_labels_are_compared_whole_and_normalized(answer: str, label: str, right: bool):
    assert is_correct(parse_output(say(answer)), label) is right
    assert AccuracyReward().score(make_group([say(answer)], label)).values == (float(right),)


@pytest.mark.parametrize(
    ("answer", "label", "right"),
    [
        ("disgust", "contempt or disgust", True),
        ("CONTEMPT!", "contempt or disgust", True),
        ("contempt or disgust", "disgust", True),
        ("disgust", "angry", False),
        ("angry", "angry", True),
    ],
)
def test_an_alias_counts_as_its_label_on_either_side(answer: str, label: str, right: bool):
    assert is_correct(parse_output(say(answer)), label, ALIASES) is right
    assert AccuracyReward(ALIASES).score(make_group([say(answer)], label)).values == (float(right),)


def test_answer_of_is_the_canonical_label():
    assert answer_of(parse_output(say(" Disgust.")), ALIASES) == "contempt or disgust"
    assert answer_of(parse_output(say(" Disgust."))) == "disgust"
    assert answer_of(parse_output("disgust"), ALIASES) is None


def test_a_malformed_completion_is_wrong_even_where_the_label_is_in_it():
    assert not is_correct(parse_output(f"{say('angry')} <answer>angry</answer>"), "angry")
    assert not is_correct(parse_output("<answer>angry</answer>"), "angry")


def test_order_and_group_size_do_not_change_a_score():
    texts = [say("angry"), say("sad"), "angry", say("Angry!")]
    term = AccuracyReward()
    whole = term.score(make_group(texts)).values
    backwards = term.score(make_group(texts[::-1])).values
    alone = tuple(term.score(make_group([text])).values[0] for text in texts)
    assert whole == backwards[::-1] == alone == (1.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"": "sad"}, "empty side"),
        ({"sad": "..."}, "empty side"),
        ({"mad": "angry", "MAD": "sad"}, "both 'angry' and 'sad'"),
        ({"mad": "angry", "angry": "anger"}, "'mad' -> 'angry' -> 'anger'"),
    ],
)
def test_an_ambiguous_alias_table_is_refused(aliases: dict[str, str], message: str):
    with pytest.raises(ValueError, match=message):
        AccuracyReward(aliases)


def test_an_alias_may_stand_for_itself():
    assert normalize_aliases({"Sad": "sad", "low": "sad"}) == {"sad": "sad", "low": "sad"}
