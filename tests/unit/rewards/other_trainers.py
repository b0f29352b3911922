"""Reward functions in the forms of verl, TRL and ms-swift, and ones that go wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """verl: a number."""
    assert data_source == "iemocap" and extra_info["speaker"] == "Ses01F"
    return 2.0 if ground_truth in solution_str else -0.5


def compute_dict(data_source, solution_str, ground_truth, extra_info, scale=1.0):
    """verl: a dict."""
    right = ground_truth in solution_str
    pred = solution_str.split(">")[-1]
    return {"score": np.float32(scale * right), "acc": right, "pred": pred, "odd": {1, 2}}


def old_dict(data_source, solution_str, ground_truth, extra_info=None):
    return {"reward": 0.25}


def without_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"acc": 1.0}


async def compute_async(data_source, solution_str, ground_truth, extra_info=None):
    """verl: as it asks a server; all rows must be under way before the first may end."""
    WAITING.append(solution_str)
    while len(WAITING) < 3:
        await asyncio.sleep(0.001)
    return float(len(solution_str))


WAITING: list[str] = []


def fails_on_sad(data_source, solution_str, ground_truth, extra_info=None):
    if "sad" in solution_str:
        raise KeyError("no such emotion")
    return 1.0


async def async_fails_on_sad(data_source, solution_str, ground_truth, extra_info=None):
    if "sad" in solution_str:
        raise SystemExit(3)
    return 1.0


def wants_more(data_source, solution_str, ground_truth, tokenizer):
    return 1.0


def lengths(prompts, completions, **kwargs):
    """TRL: a standard one."""
    assert prompts == ["..."] * len(completions)
    return [float(len(completion)) for completion in completions]


def token_lengths(completion_ids, **kwargs):
    return [float(len(ids)) for ids in completion_ids]


def of_task(prompts, completions, answer, speaker, trainer_state, log_extra, log_metric, **kwargs):
    """TRL: conversational, with columns and loggers, None for what it does not apply to."""
    texts = [completion[0]["content"] for completion in completions]
    assert prompts[0] == [{"role": "user", "content": "Which emotion?"}]
    assert speaker == ["Ses01F"] * len(texts)
    log_extra("seen", texts)
    log_metric("step", trainer_state.global_step)
    log_metric("of", trainer_state.max_steps)
    return [None if t == "skip" else float(a in t) for t, a in zip(texts, answer, strict=True)]


async def asks_a_server(completions, **kwargs):
    await asyncio.sleep(0)
    return [1.0 if completion else 0.0 for completion in completions]


def names_two(prompts, completions):
    """TRL: one without `**kwargs`."""
    return [1.0] * len(completions)


def one_too_few(completions, **kwargs):
    return [1.0] * (len(completions) - 1)


def one_number(completions, **kwargs):
    return 1.0


def a_nan(completions, **kwargs):
    return [0.0, float("nan"), *[0.0] * (len(completions) - 2)]


def a_text(completions, **kwargs):
    return ["high"] * len(completions)


def wants_steps(completions, steps, **kwargs):
    return [1.0] * len(completions)


def all_none(completions, **kwargs) -> list[Any]:
    return [None] * len(completions)


NOT_A_FUNCTION = 1
