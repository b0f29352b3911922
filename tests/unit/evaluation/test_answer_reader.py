"""Answers prefilled for the policy, answers to probes, and labels that are also aliases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.schema import DataConfig
from data.features import NUM_MEL_BINS
from data.prompts import PromptBuilder
from data.records import Completion, Group
from evaluation.answer_reader import (
    PREFILL,
    aliases_beside,
    choices_of,
    prefilled_group,
    prefilled_prompt,
    read_answer,
)
from tests.fixtures import make_example


def completion(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(np.array([5]), np.zeros(1, np.float32), text, finish_reason, 0)


def test_a_prefilled_prompt_is_the_prompt_and_the_tag_in_text_and_tokens(tiny_checkpoint: Path):
    builder = PromptBuilder(tiny_checkpoint, DataConfig(system_prompt=""))
    features = np.zeros((NUM_MEL_BINS, 40), np.float32)
    prompt = builder.build(make_example(), features, 40)
    prefilled = prefilled_prompt(prompt, builder)
    assert prefilled.text == prompt.text + PREFILL
    num = len(prompt.token_ids)
    assert prefilled.token_ids[:num].tolist() == prompt.token_ids.tolist()
    assert builder.decode(prefilled.token_ids[num:]) == PREFILL
    # The engine tokenizes the whole text, and must find the same tokens.
    whole = builder._token_ids(prefilled.text)
    clip = prompt.token_ids == builder.audio_token_id
    assert len(whole) == len(prefilled.token_ids) - clip.sum() + 1
    assert (prefilled.features is features, prefilled.num_frames, prefilled.example) == (
        True,
        40,
        prompt.example,
    )


@pytest.mark.parametrize(
    ("written", "finish_reason", "text", "answer"),
    [
        ("happy</answer>", "stop", "<answer>happy</answer>", "happy"),
        # A policy that knows no tags ends its answer without closing it.
        (" Happy.", "stop", "<answer> Happy.</answer>", "happy"),
        # One that was cut might have gone on.
        ("happy", "length", "<answer>happy", None),
        ("happy</answer> and sad", "stop", "<answer>happy</answer> and sad", None),
        ("<think>x</think>", "stop", "<answer><think>x</think></answer>", None),
        ("", "stop", "<answer></answer>", None),
    ],
)
def test_direct_answers(written: str, finish_reason: str, text: str, answer: str | None):
    group = Group(None, (completion(written, finish_reason),))  # type: ignore[arg-type]
    (found,) = prefilled_group(group).completions
    assert found.text == text
    assert read_answer(found, {}, bare=True) == answer


def test_a_bare_answer_is_readable_only_where_it_is_asked_for():
    reasoned = "<think>Loud.</think><answer>angry</answer>"
    assert read_answer(completion("<answer>high</answer>"), {}, bare=False) is None
    assert read_answer(completion("<answer>high</answer>"), {}, bare=True) == "high"
    for bare in (False, True):
        assert read_answer(completion(reasoned), {"angry": "cross"}, bare=bare) == "cross"
        assert read_answer(completion("angry"), {}, bare=bare) is None
        assert read_answer(completion("<think>x</think>" + reasoned), {}, bare=bare) is None


def test_a_label_of_the_set_is_no_alias():
    aliases = {"Disgust": "contempt or disgust", "furious": "angry"}
    assert aliases_beside(["disgust", "angry"], aliases) == {"furious": "angry"}
    assert aliases_beside(["contempt or disgust", "angry"], aliases) == aliases


def test_choices_in_order_of_appearance():
    examples = [
        make_example(0, choices=("low", "high")),
        make_example(1, choices=("High", "mid", "low")),
    ]
    assert choices_of(examples) == ("low", "high", "mid")
