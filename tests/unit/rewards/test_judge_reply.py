"""How a judge's reply is read: four whole numbers in one form, and nothing else."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from rewards.judges.base import DIMENSIONS, JudgeError
from rewards.judges.prompt import (
    MAX_REPLY_CHARS,
    parse_scores,
    response_schema,
)


def reply(value: Any = 4, **changed: Any) -> str:
    return json.dumps({**dict.fromkeys(DIMENSIONS, value), **changed})


@pytest.mark.parametrize("text", [reply(), f" \n\t{reply()}\r\n ", reply().replace(", ", ",\n\t")])
def test_four_whole_numbers_are_scores(text: str):
    assert parse_scores(text) == dict.fromkeys(DIMENSIONS, 4.0)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{reply()}\n```",
        f"```\n{reply()}\n```",
        f"```JSON {reply()}```",
        f"~~~json\n{reply()}\n~~~",
        "Here are my scores:\n\n" + reply(),
        reply() + "\n\nThe pitch is not mentioned.",
        f"Scores [1 to 5]: {reply()} I hope this helps.",
        f"<think>It says five: {reply(5)}. I disagree.</think>\n{reply()}",
        f"<think>\n{'Hm. ' * MAX_REPLY_CHARS}\n</think>\n\n```json\n{reply()}\n```",
        f"Well, the pitch ...</think>{reply()}",  # the template has opened it
        f"<thinking>Hm.</thinking> {reply()}",
        reply("4"),
        reply(" 4 "),
        reply(4, factual_alignment="4"),
    ],
)
def test_what_models_write_around_the_scores_is_let_through(text: str):
    assert parse_scores(text) == dict.fromkeys(DIMENSIONS, 4.0)


def test_where_the_policy_names_the_keys_only_the_bare_object_counts():
    asks = 'The pitch is high. ("Factual_Alignment": 5, ...)'
    assert parse_scores(reply(), asks) == dict.fromkeys(DIMENSIONS, 4.0)
    assert parse_scores(f"```json\n{reply()}\n```", asks) == dict.fromkeys(DIMENSIONS, 4.0)
    with pytest.raises(JudgeError, match="quoted json"):
        parse_scores(f"It wants me to write {reply(5)}, which I will not.", asks)


@pytest.mark.parametrize(
    "piece",
    ["<think>", "</think>", "{", "}", "[", "```json", '"', " ", "{}", "</thinking><reasoning>"],
)
def test_a_reply_is_read_in_linear_time(piece: str):
    start = time.process_time()
    with pytest.raises(JudgeError):
        parse_scores(piece * (4_000_000 // len(piece)))
    assert time.process_time() - start < 2.0


def test_scores_keep_to_their_dimensions():
    given = dict(zip(reversed(DIMENSIONS), (1, 2, 3, 5), strict=True))
    assert parse_scores(json.dumps(given)) == given
    assert tuple(parse_scores(json.dumps(given))) == DIMENSIONS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not json"),
        ("4", "not json"),
        ("null", "not json"),
        ("four", "not json"),
        (reply()[:-1], "not json"),
        (reply() + "}", "not json"),
        (f"I said {{}} and mean {reply()}", "nested json"),
        (f"Not {reply(5)}, but {reply(1)}", "nested json"),
        (f"It demands \u201c{reply(5)}\u201d.", "quoted json"),
        (f"'{reply(5)}' is what it wants.", "quoted json"),
        (f"reasoning-fence-0123456789abcdef\n{reply(5)}", "quoted json"),
        (f"<think>{reply(5)}", "unfinished thinking"),
        (f"<think>4 each.</think>\n<think>No: {reply(5)}", "unfinished thinking"),
        (f"<think>Is it {reply(5)}?</think> I cannot say.", "not json"),
        (reply() + reply(), "nested json"),
        (f"[{reply()}]", "nested json"),
        ("[" * 900, "nested json"),
        (reply(fluency_and_structural_clarity={"score": 4}), "nested json"),
        (reply(fluency_and_structural_clarity=[4]), "nested json"),
        ("{}", "wrong keys"),
        (reply(comment=4), "wrong keys"),
        (json.dumps(dict.fromkeys(DIMENSIONS[:3], 4)), "wrong keys"),
        (reply()[:-1] + ', "factual_alignment": 5}', "wrong keys"),
        (reply().replace("factual", "Factual"), "wrong keys"),
        (reply(True), "not an integer"),
        (reply(None), "not an integer"),
        (reply("4.5"), "not an integer"),
        (reply("four"), "not an integer"),
        (reply("4/5"), "not an integer"),
        (reply("\u0664"), "not an integer"),
        (reply("6"), "not an integer"),
        (reply("44"), "not an integer"),
        (reply(4.0), "not an integer"),
        (reply(float("nan")), "not an integer"),
        (reply(float("inf")), "not an integer"),
        (reply(0), "out of range"),
        (reply(6), "out of range"),
        (reply(9), "out of range"),
        (reply(-3), "out of range"),
        (reply(factual_alignment=10**300), "out of range"),
        (reply() + " " * MAX_REPLY_CHARS, "reply too long"),
    ],
)
def test_any_other_reply_is_refused_with_a_reason(text: str, reason: str):
    with pytest.raises(JudgeError) as caught:
        parse_scores(text)
    assert str(caught.value) == reason


def test_the_schema_allows_what_the_parser_takes():
    schema = response_schema()
    assert schema["required"] == list(schema["properties"]) == list(DIMENSIONS)
    assert schema["additionalProperties"] is False
    for rule in schema["properties"].values():
        assert rule == {"type": "integer", "enum": [1, 2, 3, 4, 5]}
