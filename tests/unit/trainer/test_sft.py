"""The reference answer as a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.schema import DataConfig
from data.prompts import PromptBuilder, PromptError
from data.records import Prompt
from tests.fixtures import make_example
from trainer.packing import build_row, completion_weights
from trainer.sft import target_sample

EXAMPLE = make_example(2, reasoning="The voice is low and slow.")  # labelled "sad"
ANSWER = "<think>The voice is low and slow.</think><answer>sad</answer>"


@pytest.fixture(scope="module")
def builder(tiny_checkpoint: Path) -> PromptBuilder:
    return PromptBuilder(tiny_checkpoint, DataConfig())


@pytest.fixture(scope="module")
def prompt(builder: PromptBuilder) -> Prompt:
    return builder.build(EXAMPLE, np.zeros((128, 40), np.float32), 40)


def test_the_target_is_the_reference_answer_and_the_end_token(builder, prompt: Prompt):
    sample = target_sample(prompt, builder)
    (answer,) = sample.group.completions
    assert sample.group.prompt is prompt
    assert answer.text == ANSWER
    assert builder.decode(answer.token_ids) == ANSWER
    assert answer.token_ids[-1] == builder.end_token_id
    assert builder.end_token_id not in answer.token_ids[:-1]
    assert answer.finish_reason == "stop"


def test_every_token_is_trained_the_end_token_too(builder, prompt: Prompt):
    sample = target_sample(prompt, builder)
    assert sample.loss_mask.tolist() == [True]
    assert sample.advantages.tolist() == [1.0]
    row = build_row([sample], completion_weights([sample], "token_mean"))
    (answer,) = sample.group.completions
    assert row.target.tolist() == answer.token_ids.tolist()
    assert row.target[-1] == builder.end_token_id
    assert row.loss_weights.tolist() == pytest.approx([1 / len(answer.token_ids)] * len(row.target))
    assert len(row.rollout_logprobs) == len(row.target)


def test_an_example_without_reasoning_is_refused(builder):
    example = make_example(3)
    prompt = builder.build(example, np.zeros((128, 40), np.float32), 40)
    with pytest.raises(PromptError, match=r"example 'clip-3' has no 'reasoning'"):
        target_sample(prompt, builder)
