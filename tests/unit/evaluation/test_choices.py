"""Multiple choice by likelihood: the likeliest answer as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from configs.schema import DataConfig
from data.prompts import PromptBuilder
from data.records import FloatArray, Group, Prompt
from evaluation.choices import choice_group, choice_metrics
from tests.fixtures import make_example


class Preference:
    """A learner that finds one answer of each example likely and the others not."""

    def __init__(self, preferred: dict[str, str]) -> None:
        self.preferred = preferred

    def logprobs(self, groups: Sequence[Group]) -> list[list[FloatArray]]:
        """A preferred answer: -0.5 nats a token, so that long ones lose where sums are equal."""
        return [
            [
                np.full(
                    len(completion.token_ids),
                    -0.5
                    if f">{self.preferred[group.prompt.example.id]}<" in completion.text
                    else -9,
                    np.float32,
                )
                for completion in group.completions
            ]
            for group in groups
        ]


@pytest.fixture(scope="module")
def builder(tiny_checkpoint: Path) -> PromptBuilder:
    return PromptBuilder(tiny_checkpoint, DataConfig())


def ask(builder: PromptBuilder, number: int, label: str) -> Prompt:
    example = make_example(number, label=label, choices=("low", "normal", "high"))
    return builder.build(example, np.zeros((128, 40), np.float32), 40)


def test_every_choice_is_a_whole_answer_with_its_end_token(builder: PromptBuilder):
    group = choice_group(ask(builder, 0, "low"), builder)
    texts = [completion.text for completion in group.completions]
    assert texts == [f"<answer>{level}</answer>" for level in ("low", "normal", "high")]
    for completion in group.completions:
        assert completion.token_ids[-1] == builder.end_token_id
        assert builder.decode(completion.token_ids) == completion.text


def test_accuracy_and_ua_count_the_likeliest_choices(builder: PromptBuilder):
    prompts = [ask(builder, i, label) for i, label in enumerate(["low", "low", "low", "high"])]
    learner = Preference({"clip-0": "low", "clip-1": "low", "clip-2": "normal", "clip-3": "low"})
    metrics = choice_metrics("pitch", learner, prompts, builder)  # type: ignore[arg-type]
    # 2 of 4 right; recall 2/3 of low and 0 of high.
    assert metrics == {
        "probe/pitch_accuracy": 0.5,
        "probe/pitch_ua": pytest.approx(1 / 3),
    }
