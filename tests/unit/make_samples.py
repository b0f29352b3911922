"""Groups with real tokens, for tests of the learner's side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.records import Completion, Example, Group, GroupSample, Prompt

NUM_MELS = 128


def make_completion(
    token_ids: Sequence[int], rollout_logprobs: Sequence[float] | None = None
) -> Completion:
    """Return a completion of these tokens; without log-probs they are 0."""
    logprobs = np.zeros(len(token_ids)) if rollout_logprobs is None else rollout_logprobs
    return Completion(np.array(token_ids), np.array(logprobs, np.float32), "", "stop", 0)


def make_sample(
    prompt: Sequence[int],
    completions: Sequence[Sequence[int]],
    *,
    advantages: Sequence[float] | None = None,
    mask: Sequence[bool] | None = None,
    features: Any = None,
    num_frames: int = 0,
    id: str = "clip",
) -> GroupSample:
    """Return a sample; by default no advantage and every completion in the loss."""
    example = Example(id, f"{id}.wav", "sad", "Which emotion?", ("sad", "happy"))
    group = Group(
        Prompt(example, "", np.array(prompt), features, num_frames),
        tuple(make_completion(token_ids) for token_ids in completions),
    )
    size = len(completions)
    return GroupSample(
        group,
        np.array(np.zeros(size) if advantages is None else advantages, np.float32),
        np.array(np.ones(size) if mask is None else mask, np.bool_),
    )


def make_clip_sample(
    num_frames: int, completion_lengths: Sequence[int], *, audio_token_id: int, seed: int
) -> GroupSample:
    """Return a sample with a clip of noise, random tokens and normal advantages."""
    draw = np.random.default_rng(seed)
    # Two convolution strides and the pooling of the audio tower: a token is about four frames.
    num_audio_tokens = ((num_frames - 1) // 2 + 1 - 2) // 2 + 1
    prompt = [1, 20, 4, *[audio_token_id] * num_audio_tokens, 5, 30, 31, 2, 1]
    return make_sample(
        prompt,
        [draw.integers(20, 300, length).tolist() for length in completion_lengths],
        advantages=draw.standard_normal(len(completion_lengths)).tolist(),
        features=draw.standard_normal((NUM_MELS, num_frames)).astype(np.float32),
        num_frames=num_frames,
        id=f"clip-{seed}",
    )
