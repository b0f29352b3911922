"""The largest step: as long as the budgets allow, and of no weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from configs.load import load_config
from configs.schema import CounterfactualConfig, RunConfig
from data.prompts import PromptBuilder
from data.records import Example, Turn
from launch.preflight import ROOT
from trainer.trial import largest_row, longest_prompt

TOKEN = 7
FRAMES_OF_30_S = 3000
TOKENS_OF_30_S = 750


def run(checkpoint: Path, *overrides: str, config: str = "tiny") -> RunConfig:
    settings = [f"model.path={checkpoint}", *overrides]
    return load_config(ROOT / "configs" / f"{config}.yaml", settings)


def example(question: str, audio: str = "a.wav") -> Example:
    return Example(id=question, audio=audio, label="sad", question=question, choices=("sad", "no"))


ROWS = [example("Short?"), example("Which emotion does the speaker express, in one word?")]


def longest(config: RunConfig, rows: list[Example] = ROWS) -> tuple[Any, Any]:
    kept: list[np.ndarray] = []
    builder = PromptBuilder(config.model.path, config.data)
    prompt = longest_prompt(builder, config, rows, lambda array: kept.append(array) or array)
    return prompt, kept[0]


def test_the_longest_clip_with_the_longest_question(tiny_checkpoint: Path) -> None:
    config = run(tiny_checkpoint, "rollout.max_model_len=2048")
    prompt, features = longest(config)
    assert prompt.example is ROWS[1]
    assert prompt.num_frames == FRAMES_OF_30_S
    assert features.shape == (128, FRAMES_OF_30_S) and not features.any()
    words = len(prompt.token_ids) - TOKENS_OF_30_S
    assert 10 < words < 40


def test_a_clip_that_leaves_room_for_the_completion(tiny_checkpoint: Path) -> None:
    config = run(tiny_checkpoint, "rollout.max_model_len=512", "rollout.max_completion_tokens=48")
    prompt, _ = longest(config)
    assert len(prompt.token_ids) == 512 - 48


def test_a_clip_that_pairs_slow_down(tiny_checkpoint: Path) -> None:
    config = run(tiny_checkpoint, "rollout.max_model_len=2048")
    slowed = CounterfactualConfig(moves=["rate"], rate=1.5)
    config = replace(config, rollout=replace(config.rollout, counterfactual=slowed))
    assert longest(config)[0].num_frames == 1.5 * FRAMES_OF_30_S


def test_text_only_rows_have_no_clip(tiny_checkpoint: Path) -> None:
    prompt, features = longest(run(tiny_checkpoint), [example("Which?", audio="")])
    assert prompt.num_frames == 0 and features.shape == (128, 0)


def test_the_most_clips_share_the_room(tiny_checkpoint: Path) -> None:
    config = run(tiny_checkpoint, "rollout.max_model_len=1024", "rollout.max_completion_tokens=48")
    turns = (Turn("user", "", "b.wav"),)
    three = structs.replace(ROWS[0], before=("c.wav",), turns=turns)
    prompt, _ = longest(config, [*ROWS, three])
    assert prompt.example is three
    frames = {clip.shape[1] for clip in prompt.clips}
    assert len(prompt.clips) == 3 and len(frames) == 1
    assert 976 - 3 < len(prompt.token_ids) <= 976
    # Of a row that is about no clip, those of its turns are as long.
    none = structs.replace(three, audio="", before=())
    prompt, _ = longest(config, [none])
    assert [clip.shape[1] > 2500 for clip in prompt.clips] == [True, False]
    assert prompt.features.shape == (128, 0)
    # A supervised row of several clips fits into a row of the learner.
    config = run(tiny_checkpoint, "learner.tokens_per_microbatch=1000", config="tiny_sft")
    assert 997 < len(longest(config, [three])[0].token_ids) <= 1000


@pytest.mark.parametrize("budget", [1000, 1600, 4000])
def test_a_row_fills_the_token_budget(tiny_checkpoint: Path, budget: int) -> None:
    config = run(
        tiny_checkpoint,
        f"learner.tokens_per_microbatch={budget}",
        "rollout.max_completion_tokens=100",
        "rollout.group_size=4",
    )
    prompt, _ = longest(config)  # 412 tokens, so that a group has 812
    row = largest_row(prompt, config, TOKEN)
    group = len(prompt.token_ids) + 400
    # What is left over cannot hold another prompt and a token.
    left = budget - len(row.input_ids)
    assert 0 <= left <= len(prompt.token_ids)
    assert len(row.input_ids) >= group
    assert len(row.features) == row.group_ids.max() + 1
    assert not row.loss_weights.any() and not row.advantages.any()
    sizes = np.unique(row.group_ids, return_counts=True)[1]
    assert set(sizes[:-1].tolist()) <= {group}


def test_a_group_above_the_budget_is_a_row_of_its_own(tiny_checkpoint: Path) -> None:
    config = run(tiny_checkpoint, "learner.tokens_per_microbatch=64")
    prompt, _ = longest(config)
    row = largest_row(prompt, config, TOKEN)
    assert len(row.input_ids) == len(prompt.token_ids) + 8 * 48
    assert len(row.target) == 8 * 48 and set(row.target.tolist()) == {TOKEN}


def test_a_supervised_row_is_one_long_answer(tiny_checkpoint: Path) -> None:
    config = run(tiny_checkpoint, "learner.tokens_per_microbatch=2000", config="tiny_sft")
    prompt, _ = longest(config)
    assert prompt.num_frames == FRAMES_OF_30_S
    row = largest_row(prompt, config, TOKEN)
    assert len(row.input_ids) == 2000
    assert len(row.target) == 2000 - len(prompt.token_ids)
