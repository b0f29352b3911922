"""An evaluation in a training run: clips that cannot be used are left out and counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from configs.load import load_config
from configs.schema import RunConfig
from data.audio import AudioError
from data.records import Completion, Example, Group, Prompt
from evaluation.evaluator import Evaluator
from tests.fixtures import LABELS, make_example

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"
EXAMPLES = [make_example(number) for number in range(4)]


class Right:
    """Engines whose answers are right, from the last prompt to the first."""

    def generate(self, prompts: Sequence[Prompt], **_: Any) -> Iterator[Group]:
        for index, prompt in reversed([*enumerate(prompts)]):
            text = f"<think>x</think><answer>{prompt.example.label}</answer>"
            yield Group(prompt, (Completion.unsampled(np.arange(3), text),), index)


def build(example: Example) -> Prompt:
    if example.id == "clip-1":
        raise AudioError("clip-1.wav: is silent")
    return Prompt(example, "", np.arange(5), None, num_frames=3)


def evaluator(bad_clips: str) -> Evaluator:
    config = load_config(TINY, [f"data.choices=[{', '.join(LABELS)}]", "rewards.aliases={}"])
    config = replace(
        config,
        data=replace(config.data, bad_clips=bad_clips),
        eval=replace(config.eval, judged=False),
    )
    return Evaluator(cast(RunConfig, config), cast(Any, Right()), cast(Any, None), build)


def test_a_clip_that_cannot_be_used_is_left_out_and_counted() -> None:
    evaluate = evaluator("skip")
    metrics = evaluate("eval", EXAMPLES)
    assert metrics["eval/skipped_clips"] == 1
    assert metrics["eval/accuracy"] == 1.0
    rows = evaluate.answered["eval"].rows
    assert [row["id"] for row in rows] == ["clip-0", "clip-2", "clip-3"]
    assert evaluate("eval", EXAMPLES[2:])["eval/skipped_clips"] == 0


def test_by_default_it_is_named_with_a_way_on() -> None:
    with pytest.raises(AudioError, match=r"example 'clip-1': .*data\.bad_clips=skip"):
        evaluator("error")("eval", EXAMPLES)
