"""The gate of the judges: each is asked once before the first step."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from configs.errors import UserError
from configs.schema import RewardTermConfig, RunConfig
from data.records import Completion, Group, Prompt
from rewards.pool import RewardPool

logger = logging.getLogger(__name__)

TEXTS = (
    "The voice is calm and even, and the pitch hardly moves.",
    "The speaker talks fast and loudly, with a high pitch that jumps.",
    "The pitch is low and falls towards the end, and the pace is slow.",
    "The voice trembles a little, and there are long pauses between the words.",
)
"""Reasoning as a policy might write it. One that is not scored proves nothing; all of them do."""


class JudgeGateError(UserError):
    """A judge answers, and nothing that it says can be read: the run would learn nothing of it."""


def check_judges(
    rewards: RewardPool, terms: Sequence[RewardTermConfig], config: RunConfig, prompt: Prompt
) -> None:
    """Ask every judged term that the run uses about a few texts on one clip.

    A judge that cannot be reached is only warned of: its scores are missing until it is back.

    Args:
        rewards: Holds these terms.
        prompt: Of a training row.

    Raises:
        JudgeGateError: A judge answered, and none of its replies can be read.
    """
    weights = {
        t.name: float(t.judged and (t.weight > 0 or t.shadow or config.eval.judged)) for t in terms
    }
    if not any(weights.values()):
        return
    answers = [f"<think>{t}</think><answer>{prompt.example.label}</answer>" for t in TEXTS]
    nothing = np.zeros(1, np.int64)
    group = Group(prompt, tuple(Completion.unsampled(nothing, text) for text in answers))
    ((_, scores),) = rewards.score([group], weights)
    for term in terms:
        if not weights[term.name] or any(x is not None for x in scores.values[term.name]):
            continue
        details = scores.details[term.name]
        replies = [detail["reply"] for detail in details if "reply" in detail]
        reason = details[0].get("missing", "")
        judge = term.options.get("judge_options", {})
        where = str(judge.get("url") or term.options.get("judge", term.target))
        if len(replies) < len(TEXTS):
            logger.warning(
                "judge %r (%s) scored nothing before step 1: %s", term.name, where, reason
            )
            continue
        # One line in ASCII, which no terminal takes for orders.
        said = f"; it replied {str(replies[0])[:100]!a}" if replies[0] else ""
        raise JudgeGateError(
            f"judge {term.name!r} ({where}): none of {len(TEXTS)} replies can be read "
            f"({reason}){said}. Serve the model where response_format with a JSON schema is "
            "obeyed, or take another model or address; launch/calibrate.py tries a judge alone"
        )
