"""The largest step a run can meet, made before its first one.

A lack of memory then shows in the first minute, and not when the longest clips happen to meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from configs.schema import RunConfig
from data.audio import SAMPLE_RATE_HZ
from data.features import FRAMES_PER_TOKEN, HOP_SAMPLES, MIN_FRAMES, NUM_MEL_BINS
from data.prompts import PromptBuilder
from data.records import (
    ClipFeatures,
    Completion,
    Example,
    FloatArray,
    Group,
    GroupSample,
    Microbatch,
    Prompt,
)
from trainer.packing import build_row, num_row_tokens, padding_row


def longest_prompt(
    builder: PromptBuilder,
    config: RunConfig,
    examples: Sequence[Example],
    publish: Callable[[FloatArray], Any],
) -> Prompt:
    """Return the longest prompt that a run can meet: the most clips, the longest texts and clips.

    Each clip is silence of `data.max_duration_s`, slowed down if pairs do that, or as much of it as
    leaves room: for `rollout.max_completion_tokens` in `rollout.max_model_len`, and several in a
    row of the learner.

    Args:
        examples: the training rows; at least one.
    """
    example = max(examples, key=_size)
    num_clips = len(example.clips)
    longest_s = config.data.max_duration_s * config.rollout.counterfactual.max_stretch
    num_frames = int(longest_s * SAMPLE_RATE_HZ) // HOP_SAMPLES
    room = None
    if config.loss.kind == "policy":
        room = config.rollout.max_model_len - config.rollout.max_completion_tokens
    elif num_clips > 1:
        room = config.learner.tokens_per_microbatch
    if num_clips and room is not None:
        shortest = [ClipFeatures(None, MIN_FRAMES, 0)] * len(example.others)
        empty = builder.build(example, None, MIN_FRAMES if example.audio else 0, shortest)
        # The shortest clip is one token, which the longest replaces.
        fitting = FRAMES_PER_TOKEN * ((room - len(empty.token_ids)) // num_clips + 1)
        num_frames = max(MIN_FRAMES, min(num_frames, fitting))

    def silence(num_frames: int) -> ClipFeatures:
        features = np.zeros((NUM_MEL_BINS, num_frames), np.float32)
        return ClipFeatures.of(features, publish)

    beside = [silence(num_frames) for _ in example.others]
    clip = silence(num_frames if example.audio else 0)
    return builder.build(example, clip.value, clip.num_frames, beside)


def _size(example: Example) -> tuple[int, int]:
    return len(example.clips), len(example.question) + sum(len(turn.text) for turn in example.turns)


def largest_row(prompt: Prompt, config: RunConfig, token_id: int) -> Microbatch:
    """Return the largest row that the token budget allows, of longest completions, without weight.

    A single group above the budget is a row of its own, as in `trainer.packing.pack_rows`.

    Args:
        token_id: token that the completions are made of.
    """
    budget = config.learner.tokens_per_microbatch
    if config.loss.kind == "policy":
        lengths = [config.rollout.max_completion_tokens] * config.rollout.group_size
    else:
        lengths = [max(1, budget - len(prompt.token_ids))]
    whole = _sample(prompt, lengths, token_id)
    samples = [whole] * max(1, budget // num_row_tokens(whole))
    left = budget - sum(map(num_row_tokens, samples)) - len(prompt.token_ids)
    if left > 0:
        samples.append(_sample(prompt, _cut(lengths, left), token_id))
    return padding_row(build_row(samples, [[0.0] * len(s.group.completions) for s in samples]))


def _cut(lengths: Sequence[int], total: int) -> list[int]:
    """Return the first lengths, the last one shortened, so that they add up to a total."""
    ends = np.cumsum(lengths)
    kept = np.minimum(ends, total) - np.minimum(ends - lengths, total)
    return [int(length) for length in kept if length]


def _sample(prompt: Prompt, lengths: Sequence[int], token_id: int) -> GroupSample:
    completions = tuple(Completion.unsampled(np.full(n, token_id)) for n in lengths)
    nothing = np.zeros(len(lengths), np.float32)
    return GroupSample(Group(prompt, completions), nothing, np.ones(len(lengths), np.bool_))
