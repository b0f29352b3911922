"""A judge under calibration: the one term of a reward pool, asked about texts as they stand.

One that raises, hangs or cannot be built ends its calibration by name; one that dies is started
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count, islice
from typing import Any

import numpy as np

from configs.rules import LOCAL_JUDGE
from configs.schema import RewardTermConfig, RunConfig
from data.records import Completion, Group, Prompt
from rewards.base import CALIBRATED_TERM, judge_context
from rewards.judges.base import Judgement
from rewards.pool import RewardPool
from rewards.reasoning import ReasoningReward

START_TIMEOUT_S = 600.0
"""Longest wait for a judge to load and warm up."""

CLIP_TIMEOUT_S = 1800.0
"""Longest wait for the texts about one clip, which may be more than a hundred; judges have shorter
deadlines of their own, so that this one ends those that hang."""

CLIPS_AT_A_TIME = 64
"""Clips whose features are kept at a time."""


class TextReward(ReasoningReward):
    """The reasoning term of texts that no policy wrote: each is judged, whatever its form."""

    def reasonings(self, group: Group) -> list[str | None]:
        """Return the texts of the group."""
        return [completion.text for completion in group.completions]


def local_judge(config: RunConfig, model_path: str) -> tuple[str, dict[str, Any]]:
    """Return target and options of the judge that serves a checkpoint of a judge run.

    Args:
        config: The run; what stands in `judge.options` wins.
        model_path: Folder of the checkpoint.
    """
    of_run = {
        "model_path": model_path,
        "prompt_file": config.judge.prompt_file,
        "dtype": config.model.dtype,
    }
    return LOCAL_JUDGE, of_run | config.judge.options


def start_judge(
    config: RunConfig,
    target: str,
    options: Mapping[str, Any],
    places: Mapping[str, Sequence[Mapping[str, Any]]],
) -> RewardPool:
    """Return a pool of one worker that holds the judge, once it can judge.

    Args:
        config: The run; Ray is connected.
        target: "module:Class" of the judge.
        options: Its keyword arguments.
        places: As `RewardPool` takes them.

    Raises:
        RewardError: It cannot be built.
    """
    term = RewardTermConfig(
        name=CALIBRATED_TERM,
        target=f"{TextReward.__module__}:{TextReward.__name__}",
        concurrency=config.judge.concurrency,
        gpus=config.judge.gpus,
        timeout_s=CLIP_TIMEOUT_S,
        on_error="stop",
        options={
            "judge": target,
            "judge_options": dict(options),
            "context": judge_context(config),
        },
    )
    pool = RewardPool([term], [*config.rewards.packages, "evaluation"], START_TIMEOUT_S, places)
    pool.ping()
    return pool


def judge_texts(
    judge: RewardPool, prompts: Iterable[Prompt], texts: Iterable[Sequence[str]]
) -> list[list[Judgement]]:
    """Return the judgements of texts about several clips, in order.

    Args:
        judge: Of `start_judge`.
        prompts: One of each clip; taken as the judge gets on.
        texts: Of each clip, what is said about it.

    Raises:
        RewardError: The judge raised or gave no result in time, or its process died again and
            again.
    """
    judgements: dict[int, list[Judgement]] = {}
    groups = map(_group, prompts, texts, count())
    for first in groups:
        some = chain([first], islice(groups, CLIPS_AT_A_TIME - 1))
        for group, terms in judge.score(some, {CALIBRATED_TERM: 1.0}):
            judgements[group.index] = [
                Judgement(detail["scores"], detail["missing"])
                for detail in terms.details[CALIBRATED_TERM]
            ]
    return [judgements[index] for index in range(len(judgements))]


def _group(prompt: Prompt, texts: Sequence[str], index: int) -> Group:
    no_tokens, no_logprobs = np.zeros(0, np.int64), np.zeros(0, np.float32)
    completions = (Completion(no_tokens, no_logprobs, text, "stop", 0) for text in texts)
    return Group(prompt, tuple(completions), index)
